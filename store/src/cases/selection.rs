//! The verdicts of a few cases out of the many that runs report.

use std::collections::{BTreeSet, HashMap};

use domain::project_inputs::CaseVerdicts;
use domain::results::Verdicts;
use domain::words::ids::{AttemptId, BuildId, CaseId};
use protocol::Verdict;

use crate::cases::verdicts::letters;
use crate::db::transaction::Read;
use crate::error::Result;

/// The cases whose verdicts are wanted. Most runs share a case list, which is searched once.
pub(crate) struct CaseSelection<'c> {
    cases: &'c BTreeSet<CaseId>,
    lists: HashMap<i64, List>,
}

/// A case list, and where the wanted cases are in it.
struct List {
    ids: Vec<CaseId>,
    positions: Vec<(CaseId, usize)>,
    absent: Vec<CaseId>,
}

impl CaseSelection<'_> {
    pub(crate) fn new(cases: &BTreeSet<CaseId>) -> CaseSelection<'_> {
        CaseSelection { cases, lists: HashMap::new() }
    }

    fn locate(&self, ids: Vec<CaseId>) -> List {
        let all = ids.iter().copied().zip(0..);
        let positions: Vec<(CaseId, usize)> = all.filter(|(case, _)| self.cases.contains(case)).collect();
        let listed: BTreeSet<CaseId> = positions.iter().map(|(case, _)| *case).collect();
        let absent = self.cases.difference(&listed).copied().collect();
        List { ids, positions, absent }
    }

    fn unreached(&self) -> CaseVerdicts {
        self.cases.iter().map(|case| (*case, Verdict::Unreached)).collect()
    }
}

impl Read<'_> {
    /// What these cases did in a build's own run. A case that the run does not report is missing or, if the run
    /// broke off, was not reached.
    pub(crate) async fn verdicts_of_cases(
        &mut self,
        build: BuildId,
        selection: &mut CaseSelection<'_>,
    ) -> Result<CaseVerdicts> {
        let row = sqlx::query!(
            r#"select b.case_list_id as "list!", b.verdicts as "verdicts!", b.complete from build own
                 join build b on b.id = coalesce(own.same_as_id, own.id)
             where own.id = ? and b.case_list_id is not null"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        match row {
            Some(row) => {
                self.selected_verdicts(row.list, &letters(&row.verdicts)?, row.complete == Some(1), selection)
                    .await
            }
            None => Ok(selection.unreached()),
        }
    }

    /// The same for an attempt whose report came too late; none if it has no results.
    pub(crate) async fn late_verdicts(
        &mut self,
        attempt: AttemptId,
        selection: &mut CaseSelection<'_>,
    ) -> Result<Option<CaseVerdicts>> {
        let row = sqlx::query!(
            r#"select case_list_id as "list!", verdicts as "verdicts!", complete from late_report
             where attempt_id = ? and case_list_id is not null"#,
            attempt.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(
            self.selected_verdicts(row.list, &letters(&row.verdicts)?, row.complete == Some(1), selection)
                .await?,
        ))
    }

    async fn selected_verdicts(
        &mut self,
        list: i64,
        verdicts: &Verdicts,
        complete: bool,
        selection: &mut CaseSelection<'_>,
    ) -> Result<CaseVerdicts> {
        if !selection.lists.contains_key(&list) {
            let located = selection.locate(self.case_ids(list).await?);
            selection.lists.insert(list, located);
        }
        let List { ids, positions, absent } = &selection.lists[&list];
        let mut found: CaseVerdicts =
            positions.iter().filter_map(|(case, at)| Some((*case, verdicts.get(*at)?))).collect();
        match complete {
            true => {
                let of = |case| verdicts.get(ids.iter().position(|id| *id == case)?);
                found.extend(self.unreported(absent.clone(), of).await?);
            }
            false => found.extend(absent.iter().map(|case| (*case, Verdict::Unreached))),
        }
        Ok(found)
    }
}
