//! Where another change took a case of an open breakage over: it goes on failing, for another reason.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::leading_cases;
use domain::breakage::takeover::{
    CaseMessages, TakeoverInputs, compared, fails_alike, taken_over, verdict_after_takeover,
};
use domain::project_inputs::TimelineBuild;
use domain::words::BreakageState;
use domain::words::ids::{BuildId, BuilderId, CaseId, ChangeId};
use protocol::Verdict;

use super::Breakage;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json};

impl Read<'_> {
    /// The failure messages of these cases in a build; in one that points to an equal build, those of that one.
    async fn messages_of_cases(&mut self, build: BuildId, cases: &BTreeSet<CaseId>) -> Result<CaseMessages> {
        let cases = json(cases)?;
        let rows = sqlx::query!(
            r#"select n.case_id as "case_id!", x.text as "text!"
             from build b cross join json_each(?1) wanted
                 cross join case_failure n on n.build_id = coalesce(b.same_as_id, b.id) and n.case_id = wanted.value
                 cross join failure_message x on x.id = n.failure_message_id
             where b.id = ?2 and x.text <> ''"#,
            cases,
            build.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (CaseId(row.case_id), row.text)).collect())
    }

    /// The builds of a builder at which these cases were taken over, each with its cases.
    pub(crate) async fn takeovers(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<BTreeSet<(CaseId, BuildId)>> {
        let cases = json(cases)?;
        let rows = sqlx::query!(
            r#"select t.case_id as "case_id!", t.build_id as "build_id!"
             from json_each(?) wanted cross join case_takeover t on t.case_id = wanted.value
                 cross join build b on b.id = t.build_id
             where b.builder_id = ?"#,
            cases,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (CaseId(row.case_id), BuildId(row.build_id))).collect())
    }

    /// The cases of a breakage that were taken over at its bad end, each with the signature with which it failed until
    /// then: such a failure says nothing against the changes of its range.
    pub async fn failures_before_takeover(
        &mut self,
        breakage: &Breakage,
    ) -> Result<BTreeMap<CaseId, String>> {
        let cases = json(&breakage.cases)?;
        let rows = sqlx::query!(
            r#"select t.case_id as "case_id!", t.was as "was!"
             from json_each(?) wanted cross join case_takeover t on t.case_id = wanted.value
                 cross join build b on b.id = t.build_id
             where b.builder_id = ? and b.change_id = ? and b.makes_history"#,
            cases,
            breakage.builder.0,
            breakage.bad.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (CaseId(row.case_id), row.was)).collect())
    }

    /// Lets the failures of a run count as expected where they are those from before a takeover.
    pub(crate) async fn expect_failures_before_takeover(
        &mut self,
        build: BuildId,
        was: &BTreeMap<CaseId, String>,
        verdicts: &mut BTreeMap<CaseId, Verdict>,
    ) -> Result<()> {
        if was.is_empty() {
            return Ok(());
        }
        let messages = self.messages_of_cases(build, &was.keys().copied().collect()).await?;
        for (case, verdict) in verdicts {
            if let Some(was) = was.get(case) {
                *verdict = verdict_after_takeover(*verdict, messages.get(case).map(String::as_str), was);
            }
        }
        Ok(())
    }

    /// The cases that were taken over at an index of a builder's history, each with its signature before.
    async fn taken_over_at(
        &mut self,
        breakages: &[Breakage],
        history_builds: &[TimelineBuild],
        at: usize,
    ) -> Result<BTreeMap<CaseId, String>> {
        let now = history_builds[at].build;
        let mut taken = BTreeMap::new();
        let verdicts = self.case_verdicts(now).await?;
        // Cases that went bad together may be in several breakages, since some of them were found earlier.
        let mut together: BTreeMap<(ChangeId, Option<ChangeId>), BTreeSet<CaseId>> = BTreeMap::new();
        for breakage in breakages {
            together.entry((breakage.bad, breakage.culprit)).or_default().extend(&breakage.cases);
        }
        for ((bad, _), cases) in together {
            let Some((bad_end, before)) = compared(history_builds, at, bad) else { continue };
            let leading = leading_cases(&self.names_of_cases(&cases).await?);
            if !leading.iter().any(|case| verdicts.get(case).is_some_and(|verdict| verdict.is_bad())) {
                continue;
            }
            let inputs = TakeoverInputs {
                leading: &leading,
                at_bad_end: &self.messages_of_cases(bad_end, &leading).await?,
                before: &self.messages_of_cases(before, &leading).await?,
                now: &self.messages_of_cases(now, &leading).await?,
                verdicts: &verdicts,
            };
            taken.extend(taken_over(&inputs));
        }
        Ok(taken)
    }
}

impl Write<'_> {
    /// Records which cases of open breakages were taken over at a build that joined a builder's history, and at the
    /// build after it, which is compared with the new one from now on. Returns the cases whose takeovers changed.
    pub(crate) async fn put_takeovers(
        &mut self,
        builder: BuilderId,
        history_builds: &[TimelineBuild],
        at: usize,
    ) -> Result<BTreeSet<CaseId>> {
        let mut changed = BTreeSet::new();
        if at >= history_builds.len() {
            return Ok(changed);
        }
        let breakages = self.breakages_with_culprits(builder).await?;
        if breakages.is_empty() {
            return Ok(changed);
        }
        for index in at..history_builds.len().min(at + 2) {
            let build = history_builds[index].build;
            let taken = self.taken_over_at(&breakages, history_builds, index).await?;
            if index > at {
                changed.extend(self.withdraw_takeovers(history_builds[at].build, build).await?);
            }
            changed.extend(self.insert_takeovers(build, taken).await?);
        }
        Ok(changed)
    }

    /// Records takeovers at the build after one that joined a builder's history, once the breakages are in line with that:
    /// their bad end may be the new build. Returns the cases whose takeovers are new.
    pub async fn put_takeovers_behind(
        &mut self,
        builder: BuilderId,
        build: BuildId,
    ) -> Result<BTreeSet<CaseId>> {
        let branch = self.builder(builder).await?.branch;
        let history_builds = self.builder_timeline(builder, branch).await?.history_builds;
        let at = history_builds.iter().position(|joined| joined.build == build);
        let Some(next) = at.map(|at| at + 1).filter(|next| *next < history_builds.len()) else {
            return Ok(BTreeSet::new());
        };
        let breakages = self.breakages_with_culprits(builder).await?;
        let taken = self.taken_over_at(&breakages, &history_builds, next).await?;
        self.insert_takeovers(history_builds[next].build, taken).await
    }

    /// The breakages of a builder of which a change may have taken cases over.
    async fn breakages_with_culprits(&mut self, builder: BuilderId) -> Result<Vec<Breakage>> {
        let mut breakages = self.breakages_about(builder, &BTreeSet::new()).await?;
        breakages.retain(|it| !matches!(it.state, BreakageState::Flaky | BreakageState::Environment));
        Ok(breakages)
    }

    /// Returns the cases that were not recorded before.
    async fn insert_takeovers(
        &mut self,
        build: BuildId,
        taken: BTreeMap<CaseId, String>,
    ) -> Result<BTreeSet<CaseId>> {
        let rows = json(&taken.into_iter().collect::<Vec<_>>())?;
        let inserted = sqlx::query_scalar!(
            "insert into case_takeover (build_id, case_id, was)
             select ?, value ->> 0, value ->> 1 from json_each(?)
             where true on conflict (build_id, case_id) do nothing returning case_id as \"case_id!\"",
            build.0,
            rows
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(inserted.into_iter().map(CaseId).collect())
    }

    /// Withdraws the takeovers at a build of the cases that failed in the same way in the build before. Returns them.
    async fn withdraw_takeovers(&mut self, before: BuildId, build: BuildId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!("select case_id from case_takeover where build_id = ?", build.0)
            .fetch_all(&mut *self.connection)
            .await?;
        let mut cases: BTreeSet<CaseId> = ids.into_iter().map(CaseId).collect();
        if cases.is_empty() {
            return Ok(cases);
        }
        let earlier = self.messages_of_cases(before, &cases).await?;
        let now = self.messages_of_cases(build, &cases).await?;
        cases.retain(|case| fails_alike(earlier.get(case), now.get(case)));
        let rows = json(&cases)?;
        sqlx::query!(
            "delete from case_takeover where build_id = ? and case_id in (select value from json_each(?))",
            build.0,
            rows
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(cases)
    }
}
