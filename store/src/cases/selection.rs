//! What runs said of a few cases among all that they told of.

use std::collections::{BTreeSet, HashMap};

use domain::results::Verdicts;
use domain::words::ids::{AttemptId, BuildId, CaseId};
use protocol::Verdict;

use crate::cases::verdicts::{CaseVerdicts, letters};
use crate::db::transaction::Read;
use crate::error::Result;

/// The cases that runs are asked about. Most runs share a list, in which each is looked for once.
pub(crate) struct CaseSelection<'c> {
    cases: &'c BTreeSet<CaseId>,
    lists: HashMap<i64, List>,
}

/// A list of cases, and where those asked about stand in it.
struct List {
    ids: Vec<CaseId>,
    places: Vec<(CaseId, usize)>,
    absent: Vec<CaseId>,
}

impl CaseSelection<'_> {
    pub(crate) fn new(cases: &BTreeSet<CaseId>) -> CaseSelection<'_> {
        CaseSelection { cases, lists: HashMap::new() }
    }

    fn look(&self, ids: Vec<CaseId>) -> List {
        let all = ids.iter().copied().zip(0..);
        let places: Vec<(CaseId, usize)> = all.filter(|(case, _)| self.cases.contains(case)).collect();
        let there: BTreeSet<CaseId> = places.iter().map(|(case, _)| *case).collect();
        let absent = self.cases.difference(&there).copied().collect();
        List { ids, places, absent }
    }

    fn unreached(&self) -> CaseVerdicts {
        self.cases.iter().map(|case| (*case, Verdict::Unreached)).collect()
    }
}

impl Read<'_> {
    /// What a build's own run said of these cases: one that it does not tell of is missing there, or, where the run
    /// broke off, was not reached.
    pub(crate) async fn verdicts_of_cases(
        &mut self,
        build: BuildId,
        asked: &mut CaseSelection<'_>,
    ) -> Result<CaseVerdicts> {
        let row = sqlx::query!(
            r#"select b.case_list_id as "list!", b.verdicts as "verdicts!", b.complete from build asked
                 join build b on b.id = coalesce(asked.same_as_id, asked.id)
             where asked.id = ? and b.case_list_id is not null"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        match row {
            Some(row) => self.said(row.list, &letters(&row.verdicts)?, row.complete == Some(1), asked).await,
            None => Ok(asked.unreached()),
        }
    }

    /// The same of an attempt that was told of too late. None: it came to no results.
    pub(crate) async fn late_verdicts(
        &mut self,
        attempt: AttemptId,
        asked: &mut CaseSelection<'_>,
    ) -> Result<Option<CaseVerdicts>> {
        let row = sqlx::query!(
            r#"select case_list_id as "list!", verdicts as "verdicts!", complete from late_report
             where attempt_id = ? and case_list_id is not null"#,
            attempt.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(self.said(row.list, &letters(&row.verdicts)?, row.complete == Some(1), asked).await?))
    }

    async fn said(
        &mut self,
        list: i64,
        verdicts: &Verdicts,
        complete: bool,
        asked: &mut CaseSelection<'_>,
    ) -> Result<CaseVerdicts> {
        if !asked.lists.contains_key(&list) {
            let looked = asked.look(self.case_ids(list).await?);
            asked.lists.insert(list, looked);
        }
        let List { ids, places, absent } = &asked.lists[&list];
        let mut said: CaseVerdicts =
            places.iter().filter_map(|(case, at)| Some((*case, verdicts.get(*at)?))).collect();
        match complete {
            true => {
                let of = |case| verdicts.get(ids.iter().position(|id| *id == case)?);
                said.extend(self.unreported(absent.clone(), of).await?);
            }
            false => said.extend(absent.iter().map(|case| (*case, Verdict::Unreached))),
        }
        Ok(said)
    }
}
