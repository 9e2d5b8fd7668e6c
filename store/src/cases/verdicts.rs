//! What the cases of builds did: shared lists, one letter a case, and rows only for what changed.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::{ALWAYS_ENOUGH, CaseHistory};
use domain::project_inputs::{self, TimelineBuild};
use domain::readers;
use domain::results::{self, CaseList, Results, Verdicts, letter, repeated};
use domain::words::ids::{BuildId, BuilderId, CaseId, ChangeId};
use protocol::Verdict;

use crate::cases::histories::HistoryChange;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json};

/// What each case did in one build.
pub type CaseVerdicts = BTreeMap<CaseId, Verdict>;

/// How far back an unreached case's last verdict is looked for.
const UNREACHED_DEPTH: usize = 50;
/// No case list unpacks to more ids than a build may have cases.
const MAX_IDS_BYTES: usize = 4 * 200_000;
/// How many cases one statement writes.
const AT_ONCE: usize = 1_000;

/// What a run told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildVerdicts {
    pub case_verdicts: CaseVerdicts,
    /// Whether it told of all its cases.
    pub complete: bool,
}

/// The same as it is stored: the verdicts are in the order of the list.
struct Kept {
    list: i64,
    /// Packed.
    case_ids: Vec<u8>,
    verdicts: Verdicts,
    complete: bool,
}

impl Kept {
    /// Whether nothing of it leans on the builds before.
    fn is_whole(&self) -> bool {
        self.complete && self.verdicts.iter().all(|verdict| verdict != Verdict::Unreached)
    }

    fn case_verdicts(&self) -> Result<CaseVerdicts> {
        Ok(unpack(&self.case_ids)?.into_iter().zip(self.verdicts.iter()).collect())
    }

    /// What differs from an earlier run of the same list. Most builds are compared so, letter by letter.
    fn turns_since(&self, before: &Kept) -> Result<Vec<Turn>> {
        let pairs = before.verdicts.iter().zip(self.verdicts.iter()).enumerate();
        let differing: Vec<_> = pairs.filter(|(_, (was, became))| was != became).collect();
        if differing.is_empty() {
            return Ok(vec![]);
        }
        let ids = unpack(&self.case_ids)?;
        let turn = |(at, (was, became))| Some((*ids.get(at)?, Some(was), became));
        Ok(differing.into_iter().filter_map(turn).collect())
    }
}

/// A case, what it did before (if there was a before), and what it does.
type Turn = (CaseId, Option<Verdict>, Verdict);

fn unreached(case_verdicts: &CaseVerdicts) -> impl Iterator<Item = CaseId> {
    case_verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Unreached).map(|(case, _)| *case)
}

/// The case ids of a list.
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
    /// What each case did in a build; of one that points to an equal build, in that one. Empty without results.
    pub async fn case_verdicts(&mut self, build: BuildId) -> Result<CaseVerdicts> {
        Ok(self.build_verdicts(build).await?.case_verdicts)
    }

    /// What a build's cases did, and whether that was all.
    pub async fn build_verdicts(&mut self, build: BuildId) -> Result<BuildVerdicts> {
        match self.kept(build).await? {
            Some(kept) => Ok(BuildVerdicts { case_verdicts: kept.case_verdicts()?, complete: kept.complete }),
            None => Ok(BuildVerdicts { case_verdicts: CaseVerdicts::new(), complete: false }),
        }
    }

    async fn kept(&mut self, build: BuildId) -> Result<Option<Kept>> {
        let row = sqlx::query!(
            r#"select l.id as "list!", l.case_ids, b.verdicts, b.complete from build asked
                 join build b on b.id = coalesce(asked.same_as_id, asked.id)
                 join case_list l on l.id = b.case_list_id
             where asked.id = ?"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let verdicts = letters(&row.verdicts.unwrap_or_default())?;
        Ok(Some(Kept { list: row.list, case_ids: row.case_ids, verdicts, complete: row.complete == Some(1) }))
    }

    /// The cases of a list, in its order.
    pub(crate) async fn case_ids(&mut self, list: i64) -> Result<Vec<CaseId>> {
        let packed = sqlx::query_scalar!("select case_ids from case_list where id = ?", list)
            .fetch_one(&mut *self.connection)
            .await?;
        unpack(&packed)
    }

    /// What a run that told of all says of cases by not telling of them: a fault has passed, and another is missing; how
    /// often a name came is not known where that was bad.
    pub(crate) async fn unreported(
        &mut self,
        cases: Vec<CaseId>,
        told: impl Fn(CaseId) -> Option<Verdict>,
    ) -> Result<CaseVerdicts> {
        if cases.is_empty() {
            return Ok(CaseVerdicts::new());
        }
        let ids = json(&cases)?;
        let rows = sqlx::query!(
            r#"select n.id as "id!", n.name as "name!" from json_each(?) told cross join named_case n on n.id = told.value"#,
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
            let is_bad = counted.and_then(&told).is_some_and(|verdict| verdict.is_bad());
            let verdict = if is_bad { Verdict::Unreached } else { readers::unreported(&row.name) };
            unreported.insert(CaseId(row.id), verdict);
        }
        Ok(unreported)
    }

    async fn untold_in(
        &mut self,
        case_verdicts: &CaseVerdicts,
        cases: &BTreeSet<CaseId>,
    ) -> Result<CaseVerdicts> {
        let unreported = cases.iter().filter(|case| !case_verdicts.contains_key(case)).copied().collect();
        self.unreported(unreported, |case| case_verdicts.get(&case).copied()).await
    }

    /// Adds what a build says of these cases by not telling of them: of a run that told of all, a fault has passed.
    pub async fn add_unreported(
        &mut self,
        build: BuildId,
        case_verdicts: &mut CaseVerdicts,
        cases: impl IntoIterator<Item = CaseId>,
    ) -> Result<()> {
        let mut unreported = self.untold_in(case_verdicts, &cases.into_iter().collect()).await?;
        unreported.retain(|_, verdict| *verdict != Verdict::Missing);
        if !unreported.is_empty() && self.build_verdicts(build).await?.complete {
            case_verdicts.extend(unreported);
        }
        Ok(())
    }

    /// What each case did in a builder's history at this place: one that was not reached keeps what it last did.
    pub(crate) async fn effective_verdicts(
        &mut self,
        history_builds: &[(ChangeId, BuildId)],
        at: usize,
    ) -> Result<CaseVerdicts> {
        let BuildVerdicts { mut case_verdicts, complete: mut all_told } =
            self.build_verdicts(history_builds[at].1).await?;
        let mut open: BTreeSet<CaseId> = unreached(&case_verdicts).collect();
        for (_, earlier) in history_builds[..at].iter().rev().take(UNREACHED_DEPTH) {
            if all_told && open.is_empty() {
                break;
            }
            let earlier = self.build_verdicts(*earlier).await?;
            for (&case, &verdict) in &earlier.case_verdicts {
                if open.contains(&case) || (!all_told && !case_verdicts.contains_key(&case)) {
                    case_verdicts.insert(case, verdict);
                    if verdict == Verdict::Unreached {
                        open.insert(case)
                    } else {
                        open.remove(&case)
                    };
                }
            }
            if earlier.complete {
                // What it does not tell of was not there any more.
                all_told = true;
                open.retain(|case| earlier.case_verdicts.contains_key(case));
            }
        }
        Ok(case_verdicts)
    }

    /// What differs between a cover build and the one before it. Without one before, only what is not a pass.
    async fn turns(&mut self, history_builds: &[(ChangeId, BuildId)], at: usize) -> Result<Vec<Turn>> {
        let Some(before) = at.checked_sub(1) else {
            let case_verdicts = self.effective_verdicts(history_builds, at).await?;
            let others = case_verdicts.into_iter().filter(|(_, verdict)| *verdict != Verdict::Pass);
            return Ok(others.map(|(case, verdict)| (case, None, verdict)).collect());
        };
        if let (Some(was), Some(is)) =
            (self.kept(history_builds[before].1).await?, self.kept(history_builds[at].1).await?)
            && (was.list == is.list && was.is_whole() && is.is_whole())
        {
            return is.turns_since(&was);
        }
        let was = self.effective_verdicts(history_builds, before).await?;
        let is = self.effective_verdicts(history_builds, at).await?;
        let in_either: BTreeSet<CaseId> = was.keys().chain(is.keys()).copied().collect();
        let untold_then = self.untold_in(&was, &in_either).await?;
        let untold_now = self.untold_in(&is, &in_either).await?;
        let did = |side: &CaseVerdicts, unreported: &CaseVerdicts, case| {
            side.get(&case).or(unreported.get(&case)).copied().unwrap_or(Verdict::Missing)
        };
        let turn = |case| (case, Some(did(&was, &untold_then, case)), did(&is, &untold_now, case));
        let known = |case: &CaseId| untold_then.get(case) != Some(&Verdict::Unreached);
        let turns = in_either.iter().copied().filter(known).map(turn);
        Ok(turns.filter(|(_, was, is)| *was != Some(*is) && *is != Verdict::Unreached).collect())
    }

    /// The builds that make a builder's history, in order. At a baseline a change is in it once a side.
    pub async fn history_builds(&mut self, builder: BuilderId) -> Result<Vec<(ChangeId, BuildId)>> {
        let history = self.history(builder).await?;
        Ok(history.into_iter().map(|history_build| (history_build.change, history_build.build)).collect())
    }

    /// Those that were ever bad or lost, or are of a breakage.
    pub(crate) async fn cases_ever_bad(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let cases = sqlx::query_scalar!(
            r#"select t.case_id as "case_id!" from transition t join build b on b.id = t.build_id
             where b.builder_id = ? and (t.became in ('F', 'E')
                 or t.became in ('S', 'M') and t.was in ('P', 'x', 'X', 'F', 'E'))
             union select bc.case_id from breakage_case bc join breakage br on br.id = bc.breakage_id
             where br.builder_id = ?"#,
            builder.0,
            builder.0
        );
        Ok(cases.fetch_all(&mut *self.connection).await?.into_iter().map(CaseId).collect())
    }

    /// All that is written of these cases on a builder, also by builds that are history no more.
    pub(crate) async fn transitions(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Transitions> {
        let cases = json(cases)?;
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(t.case_id, t.build_id, t.was, t.became)) as "rows!: String"
             from json_each(?) asked cross join transition t on t.case_id = asked.value
                 cross join build b on b.id = t.build_id
             where b.builder_id = ?"#,
            cases,
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        type Row<'r> = (CaseId, BuildId, Option<&'r str>, &'r str);
        let rows: Vec<Row> = serde_json::from_str(&rows).map_err(|e| Error::Row(e.to_string()))?;
        let mut by_case = Transitions::new();
        for (case, build, was, became) in rows {
            let was = was.map(verdict).transpose()?;
            by_case.entry(case).or_default().insert(build, (was, verdict(became)?));
        }
        Ok(by_case)
    }

    /// How many other cases than these were good and are not run any more at a build; no more than make it an alarm.
    pub(crate) async fn others_lost(
        &mut self,
        builder: BuilderId,
        build: BuildId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<usize> {
        let (cases, enough) = (json(cases)?, ALWAYS_ENOUGH as i64);
        let lost = sqlx::query_scalar!(
            r#"select count(*) as "lost!: i64" from (select 1 from transition
                 where build_id = ? and became in ('S', 'M') and was in ('P', 'x', 'X')
                     and case_id not in (select value from json_each(?))
                     and case_id not in (select case_id from unstable_case where builder_id = ?) limit ?)"#,
            build.0,
            cases,
            builder.0,
            enough
        );
        Ok(lost.fetch_one(&mut *self.connection).await? as usize)
    }
}

/// What is written of each case: by build, what it did before (if there was a before), and what it does.
pub(crate) type Transitions = BTreeMap<CaseId, BTreeMap<BuildId, (Option<Verdict>, Verdict)>>;

pub(crate) fn case_histories(history: &[TimelineBuild], transitions: &Transitions) -> Vec<CaseHistory> {
    let begins = project_inputs::begins(history);
    transitions.iter().map(|(case, rows)| case_history(*case, history, &begins, rows)).collect()
}

/// Carries verdicts forward from row to row; before the first row a case did what that row says it did before.
fn case_history(
    case: CaseId,
    history: &[TimelineBuild],
    begins: &BTreeSet<usize>,
    rows: &BTreeMap<BuildId, (Option<Verdict>, Verdict)>,
) -> CaseHistory {
    // Also a row of a build that is history no more says what was before it.
    let first =
        history.iter().find_map(|history_build| rows.get(&history_build.build)).or(rows.values().next());
    let mut now = first.and_then(|(was, _)| *was);
    let verdicts = Vec::with_capacity(history.len());
    let mut case_history = CaseHistory { case, verdicts, sides: BTreeSet::new(), beside: Vec::new() };
    for (at, history_build) in history.iter().enumerate() {
        if let Some(&(_, became)) = rows.get(&history_build.build) {
            now = Some(became);
        }
        if begins.contains(&at) {
            case_history.sides.insert(case_history.verdicts.len());
        }
        case_history.verdicts.extend(now.map(|verdict| (history_build.change, verdict)));
    }
    case_history
}

impl Write<'_> {
    /// Keeps what a build's cases did.
    pub async fn put_results(&mut self, build: BuildId, list: &CaseList, results: &Results) -> Result<()> {
        let (list_id, ids) = self.put_case_list(list).await?;
        let letters = zstd::bulk::compress(results.verdicts.as_letters().as_bytes(), 3)?;
        let counts = results.verdicts.counts();
        let (passes, bads, skips) = (i64::from(counts.pass), counts.bad() as i64, i64::from(counts.skip));
        sqlx::query!(
            "update build set case_list_id = ?, verdicts = ?, complete = ?, passes = ?, bads = ?, skips = ? where id = ?",
            list_id,
            letters,
            results.complete,
            passes,
            bads,
            skips,
            build.0
        )
        .execute(&mut *self.connection)
        .await?;
        self.put_failure_messages(build, &ids, &results.notes).await
    }

    /// Makes a finished cover build history: its transitions, and those of the builds behind it that lean on it.
    pub async fn make_history(&mut self, builder: BuilderId, build: BuildId) -> Result<HistoryChange> {
        let branch = self.builder(builder).await?.branch;
        let past = self.builder_timeline(builder, branch).await?;
        let history_builds: Vec<(ChangeId, BuildId)> = past
            .history_builds
            .iter()
            .map(|history_build| (history_build.change, history_build.build))
            .collect();
        let mut cases = BTreeSet::new();
        // A build whose change was rewound meanwhile is no history.
        let at = history_builds.iter().position(|(_, id)| *id == build).unwrap_or(history_builds.len());
        for index in at..history_builds.len() {
            let turns = self.turns(&history_builds, index).await?;
            cases.extend(self.put_transitions(history_builds[index].1, &turns).await?);
            cases.extend(turns.iter().map(|(case, ..)| *case));
            if index > at && self.kept(history_builds[index].1).await?.is_some_and(|kept| kept.is_whole()) {
                break;
            }
        }
        Ok(HistoryChange { build, cases, past })
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
        let bytes: Vec<u8> = ids.iter().flat_map(|id| (id.0 as u32).to_le_bytes()).collect();
        let (packed, cases) = (zstd::bulk::compress(&bytes, 3)?, ids.len() as i64);
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

    /// Writes what differs between a cover build and the one before it, in place of what was written of it before. Says
    /// of which cases that was.
    async fn put_transitions(&mut self, build: BuildId, rows: &[Turn]) -> Result<Vec<CaseId>> {
        let before =
            sqlx::query_scalar!("delete from transition where build_id = ? returning case_id", build.0)
                .fetch_all(&mut *self.connection)
                .await?;
        let told = |(case, was, became): &Turn| (*case, was.map(letter), letter(*became));
        for rows in rows.chunks(AT_ONCE) {
            let rows = json(&rows.iter().map(told).collect::<Vec<_>>())?;
            sqlx::query!(
                "insert into transition (case_id, build_id, was, became)
                 select value ->> 0, ?, value ->> 1, value ->> 2 from json_each(?)",
                build.0,
                rows
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(before.into_iter().map(CaseId).collect())
    }
}
