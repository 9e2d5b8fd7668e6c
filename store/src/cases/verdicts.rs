//! What the cases of builds did: case lists that builds share, and one letter for each case.

use std::collections::BTreeSet;

use domain::project_inputs::CaseVerdicts;
use domain::readers;
use domain::results::{self, CaseList, Results, Verdicts, repeated};
use domain::words::ids::{BuildId, CaseId};
use protocol::Verdict;

use crate::db::number::{from_row, len_to_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, one_row};

/// No case list unpacks to more ids than a build may have cases.
const MAX_IDS_BYTES: usize = 4 * 200_000;
/// How many cases one statement writes.
pub(crate) const AT_ONCE: usize = 1_000;

/// The verdicts of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildVerdicts {
    /// What each case did.
    pub case_verdicts: CaseVerdicts,
    /// Whether the run reported all its cases.
    pub complete: bool,
}

/// The same as it is stored: the verdicts are in the order of the list.
pub(crate) struct StoredVerdicts {
    pub list: i64,
    /// Packed.
    case_ids: Vec<u8>,
    verdicts: Verdicts,
    complete: bool,
}

impl StoredVerdicts {
    /// Whether no verdict depends on the builds before: all cases were reported and reached.
    pub fn is_whole(&self) -> bool {
        self.complete && self.verdicts.iter().all(|verdict| verdict != Verdict::Unreached)
    }

    fn case_verdicts(&self) -> Result<CaseVerdicts> {
        Ok(unpack(&self.case_ids)?.into_iter().zip(self.verdicts.iter()).collect())
    }

    /// What differs from an earlier run of the same list. Most builds are compared in this way, letter by letter.
    pub fn transitions_since(&self, before: &StoredVerdicts) -> Result<Vec<CaseTransition>> {
        let pairs = before.verdicts.iter().zip(self.verdicts.iter()).enumerate();
        let differing: Vec<_> = pairs.filter(|(_, (was, became))| was != became).collect();
        if differing.is_empty() {
            return Ok(vec![]);
        }
        let ids = unpack(&self.case_ids)?;
        let transition = |(at, (was, became))| Some((*ids.get(at)?, Some(was), became));
        Ok(differing.into_iter().filter_map(transition).collect())
    }
}

/// A case, what it did before (if there was a before), and what it does.
pub(crate) type CaseTransition = (CaseId, Option<Verdict>, Verdict);

/// The case ids of a list, as its row has them.
fn pack(ids: &[CaseId]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4 * ids.len());
    for id in ids {
        let id: u32 = from_row(id.0)?;
        bytes.extend(id.to_le_bytes());
    }
    Ok(zstd::bulk::compress(&bytes, 3)?)
}

/// The inverse of [`pack`].
fn unpack(packed: &[u8]) -> Result<Vec<CaseId>> {
    let bytes = zstd::bulk::decompress(packed, MAX_IDS_BYTES)?;
    let ids = bytes.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]));
    Ok(ids.map(|id| CaseId(i64::from(id))).collect())
}

/// The verdicts of a build, in the order of its list.
pub(crate) fn letters(packed: &[u8]) -> Result<Verdicts> {
    let letters = zstd::bulk::decompress(packed, MAX_IDS_BYTES)?;
    let letters = String::from_utf8(letters).map_err(|e| Error::Row(e.to_string()))?;
    Verdicts::from_letters(letters).map_err(|e| Error::Row(e.to_string()))
}

/// A verdict of a transition, which is a letter.
pub(crate) fn verdict(text: &str) -> Result<Verdict> {
    let one = text.bytes().next().filter(|_| text.len() == 1);
    one.and_then(results::verdict).ok_or_else(|| Error::Row(format!("the verdict `{text}`")))
}

impl Read<'_> {
    /// What each case did in a build; for one that points to an equal build, in that one. Empty without results.
    pub async fn case_verdicts(&mut self, build: BuildId) -> Result<CaseVerdicts> {
        Ok(self.build_verdicts(build).await?.case_verdicts)
    }

    /// What a build's cases did, and whether the run reported all of them.
    pub async fn build_verdicts(&mut self, build: BuildId) -> Result<BuildVerdicts> {
        match self.stored_verdicts(build).await? {
            Some(stored) => {
                Ok(BuildVerdicts { case_verdicts: stored.case_verdicts()?, complete: stored.complete })
            }
            None => Ok(BuildVerdicts { case_verdicts: CaseVerdicts::new(), complete: false }),
        }
    }

    pub(crate) async fn stored_verdicts(&mut self, build: BuildId) -> Result<Option<StoredVerdicts>> {
        let row = sqlx::query!(
            r#"select l.id as "list!", l.case_ids, b.verdicts, b.complete from build own
                 join build b on b.id = coalesce(own.same_as_id, own.id)
                 join case_list l on l.id = b.case_list_id
             where own.id = ?"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let verdicts = letters(&row.verdicts.unwrap_or_default())?;
        Ok(Some(StoredVerdicts {
            list: row.list,
            case_ids: row.case_ids,
            verdicts,
            complete: row.complete == Some(1),
        }))
    }

    /// The cases of a list, in its order.
    pub(crate) async fn case_ids(&mut self, list: i64) -> Result<Vec<CaseId>> {
        let packed = sqlx::query_scalar!("select case_ids from case_list where id = ?", list)
            .fetch_one(&mut *self.connection)
            .await?;
        unpack(&packed)
    }

    /// The verdicts of cases that a complete run does not report: a fault has passed, and any other case is
    /// missing. How often a name occurred is unknown if that name is bad.
    pub(crate) async fn unreported(
        &mut self,
        cases: Vec<CaseId>,
        reported: impl Fn(CaseId) -> Option<Verdict>,
    ) -> Result<CaseVerdicts> {
        if cases.is_empty() {
            return Ok(CaseVerdicts::new());
        }
        let ids = json(&cases)?;
        let rows = sqlx::query!(
            r#"select n.id as "id!", n.name as "name!" from json_each(?) reported cross join named_case n on n.id = reported.value"#,
            ids
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut unreported = CaseVerdicts::new();
        for row in rows {
            let counted = match repeated(&row.name) {
                Some(name) => self.case_named(name).await?,
                None => None,
            };
            let is_bad = counted.and_then(&reported).is_some_and(Verdict::is_bad);
            let verdict = if is_bad { Verdict::Unreached } else { readers::unreported(&row.name) };
            unreported.insert(CaseId(row.id), verdict);
        }
        Ok(unreported)
    }

    pub(crate) async fn unreported_in(
        &mut self,
        case_verdicts: &CaseVerdicts,
        cases: &BTreeSet<CaseId>,
    ) -> Result<CaseVerdicts> {
        let unreported = cases.iter().filter(|case| !case_verdicts.contains_key(case)).copied().collect();
        self.unreported(unreported, |case| case_verdicts.get(&case).copied()).await
    }

    /// Adds the verdicts that follow from not being reported: in a complete run, a fault has passed.
    pub async fn add_unreported(
        &mut self,
        build: BuildId,
        case_verdicts: &mut CaseVerdicts,
        cases: impl IntoIterator<Item = CaseId>,
    ) -> Result<()> {
        let mut unreported = self.unreported_in(case_verdicts, &cases.into_iter().collect()).await?;
        unreported.retain(|_, verdict| *verdict != Verdict::Missing);
        if !unreported.is_empty() && self.build_verdicts(build).await?.complete {
            case_verdicts.extend(unreported);
        }
        Ok(())
    }
}

impl Write<'_> {
    /// Stores the results of a build. `Conflict` if there is no such build.
    pub async fn put_results(&mut self, build: BuildId, list: &CaseList, results: &Results) -> Result<()> {
        let (list_id, ids) = self.put_case_list(list).await?;
        let letters = zstd::bulk::compress(results.verdicts.as_letters().as_bytes(), 3)?;
        let counts = results.verdicts.counts();
        let (passes, bads, skips) =
            (i64::from(counts.pass), to_row(counts.bad().into()), i64::from(counts.skip));
        let stored = sqlx::query!(
            "update build set case_list_id = ?, verdicts = ?, complete = ?, passes = ?, bads = ?, skips = ? where id = ?",
            list_id,
            letters,
            results.complete,
            passes,
            bads,
            skips,
            build.0
        );
        one_row(stored.execute(&mut *self.connection).await?, "there is no such build")?;
        self.put_failure_messages(build, &ids, &results.failure_messages).await
    }

    pub(crate) async fn put_case_list(&mut self, list: &CaseList) -> Result<(i64, Vec<CaseId>)> {
        let sha256 = list.sha256();
        let sha = sha256.0.as_slice();
        let known = sqlx::query!("select id, case_ids from case_list where sha256 = ?", sha)
            .fetch_optional(&mut *self.connection)
            .await?;
        if let Some(row) = known {
            return Ok((row.id, unpack(&row.case_ids)?));
        }
        let names: Vec<&str> = list.names().collect();
        let mut ids = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            ids.extend(self.intern_cases(names).await?);
        }
        let (packed, cases) = (pack(&ids)?, len_to_row(ids.len()));
        let id = sqlx::query_scalar!(
            "insert into case_list (sha256, cases, case_ids) values (?, ?, ?) returning id as \"id!\"",
            sha,
            cases,
            packed
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok((id, ids))
    }
}
