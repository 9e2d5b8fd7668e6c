//! The cases that history builds did not reach. They keep their last verdict, but such a build is no evidence of it: it is
//! neither a good end nor a proof of a repair.

use std::collections::{BTreeMap, BTreeSet};

use domain::words::ids::{BuildId, BuilderId, CaseId, ChangeId};
use protocol::Verdict;

use crate::cases::histories::UNREACHED_DEPTH;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json};

impl Read<'_> {
    /// The history builds of a builder that did not reach these cases.
    pub(crate) async fn unreached_builds(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<BTreeMap<CaseId, BTreeSet<BuildId>>> {
        let cases = json(cases)?;
        let rows = sqlx::query!(
            r#"select u.case_id as "case_id!", u.build_id as "build_id!" from json_each(?) wanted
                 cross join unreached_case u on u.case_id = wanted.value cross join build b on b.id = u.build_id
             where b.builder_id = ?"#,
            cases,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut builds: BTreeMap<CaseId, BTreeSet<BuildId>> = BTreeMap::new();
        for row in rows {
            builds.entry(CaseId(row.case_id)).or_default().insert(BuildId(row.build_id));
        }
        Ok(builds)
    }

    /// Those of the cases that a build did not reach.
    async fn unreached_of(&mut self, build: BuildId, cases: &BTreeSet<CaseId>) -> Result<BTreeSet<CaseId>> {
        let run = self.build_verdicts(build).await?;
        let is_unreached = |case: &&CaseId| match run.case_verdicts.get(case) {
            Some(verdict) => *verdict == Verdict::Unreached,
            None => !run.complete,
        };
        Ok(cases.iter().filter(is_unreached).copied().collect())
    }
}

impl Write<'_> {
    /// Records which of the cases the history builds from `at` to `last` did not reach, in place of what was recorded of
    /// these builds; and of the cases of open breakages. What the builds right before `at` did not reach of `cases` is
    /// added: before a transition, that was of no interest.
    pub(crate) async fn put_unreached(
        &mut self,
        builder: BuilderId,
        history_builds: &[(ChangeId, BuildId)],
        (at, last): (usize, usize),
        cases: &BTreeSet<CaseId>,
    ) -> Result<()> {
        let mut watched = cases.clone();
        let open = self.breakages_about(builder, &BTreeSet::new()).await?;
        watched.extend(open.into_iter().flat_map(|breakage| breakage.cases));
        for (_, build) in &history_builds[at..=last] {
            sqlx::query!("delete from unreached_case where build_id = ?", build.0)
                .execute(&mut *self.connection)
                .await?;
            self.insert_unreached(*build, &watched).await?;
        }
        if cases.is_empty() {
            return Ok(());
        }
        for (_, build) in history_builds[..at].iter().rev().take(UNREACHED_DEPTH) {
            if self.insert_unreached(*build, cases).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Returns how many of the cases the build did not reach.
    async fn insert_unreached(&mut self, build: BuildId, cases: &BTreeSet<CaseId>) -> Result<usize> {
        let unreached = self.unreached_of(build, cases).await?;
        let rows = json(&unreached)?;
        sqlx::query!(
            "insert into unreached_case (build_id, case_id) select ?, value from json_each(?)
             where true on conflict (build_id, case_id) do nothing",
            build.0,
            rows
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(unreached.len())
    }
}
