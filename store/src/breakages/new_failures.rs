//! Cases that are new and fail from their first run on: what is recorded of them, and what their project's contacts know.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::flaky::is_of_step;
use domain::breakage::{ListChange, NewFailure, StoredNewFailure};
use domain::project_inputs::TimelineBuild;
use domain::words::ids::{BuildId, BuilderId, CaseId, ChangeId, Timestamp};
use protocol::Verdict;

use crate::cases::histories::Transitions;
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json, one_row};

/// New failures of one builder that began at one change, and of which its project's contacts were not informed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmailedNewFailures {
    /// The builder.
    pub builder: BuilderId,
    /// The change.
    pub since: ChangeId,
    /// Whether other inputs begin there.
    pub with_inputs: bool,
    /// When the first of them was seen.
    pub seen_at: Timestamp,
    /// The cases.
    pub cases: BTreeSet<CaseId>,
}

impl Read<'_> {
    /// The new failures of a builder.
    pub async fn new_failures(&mut self, builder: BuilderId) -> Result<Vec<StoredNewFailure>> {
        let rows = sqlx::query!(
            r#"select case_id, change_id, reruns, confirmed_at_ms is not null as "is_confirmed!: bool"
             from new_failure where builder_id = ? and ended_at_ms is null order by case_id"#,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut stored = Vec::with_capacity(rows.len());
        for row in rows {
            stored.push(StoredNewFailure {
                case: CaseId(row.case_id),
                since: ChangeId(row.change_id),
                reruns: from_row(row.reruns)?,
                is_confirmed: row.is_confirmed,
            });
        }
        Ok(stored)
    }

    /// The cases that were new failures of a builder once, and are none any more.
    pub(crate) async fn past_new_failures(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let cases = sqlx::query_scalar!(
            "select case_id from new_failure where builder_id = ? and ended_at_ms is not null",
            builder.0
        );
        Ok(cases.fetch_all(&mut *self.connection).await?.into_iter().map(CaseId).collect())
    }

    /// The steps that fail in a build: perhaps only along with a case that is new there.
    pub(crate) async fn failing_steps(&mut self, build: BuildId) -> Result<BTreeSet<CaseId>> {
        let verdicts = self.case_verdicts(build).await?;
        let bad = verdicts.into_iter().filter(|(_, verdict)| verdict.is_bad()).map(|(case, _)| case);
        let names = self.names_of_cases(&bad.collect()).await?;
        Ok(names.into_iter().filter(|(_, name)| is_of_step(name)).map(|(case, _)| case).collect())
    }

    /// How the list of names changed where one of these cases was run for the first time and failed, by index in a history.
    pub(crate) async fn list_changes(
        &mut self,
        history_builds: &[TimelineBuild],
        transitions: &Transitions,
    ) -> Result<BTreeMap<usize, ListChange>> {
        let begins =
            |was: Option<Verdict>| was.is_some_and(|was| matches!(was, Verdict::Missing | Verdict::Skip));
        let rows = transitions.values().flatten();
        let builds: BTreeSet<BuildId> = rows
            .filter(|(_, (was, became))| begins(*was) && became.is_bad())
            .map(|(build, _)| *build)
            .collect();
        if builds.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = json(&builds)?;
        let rows = sqlx::query!(
            r#"select t.build_id as "build_id!", sum(t.was is 'M') as "came!: i64", sum(t.became = 'M') as "went!: i64"
             from json_each(?) wanted cross join transition t on t.build_id = wanted.value group by t.build_id"#,
            wanted
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut by_build = BTreeMap::new();
        for row in rows {
            let change = ListChange { came: from_row(row.came)?, went: from_row(row.went)? };
            by_build.insert(BuildId(row.build_id), change);
        }
        let at = |(at, build): (usize, &TimelineBuild)| Some((at, *by_build.get(&build.build)?));
        Ok(history_builds.iter().enumerate().filter_map(at).collect())
    }

    /// The new failures that are certain, and of which nobody was informed, by builder and change.
    pub async fn unmailed_new_failures(&mut self) -> Result<Vec<UnmailedNewFailures>> {
        let rows = sqlx::query!(
            r#"select builder_id as "builder_id!", change_id as "change_id!", case_id as "case_id!",
                 with_inputs as "with_inputs!: bool", seen_at_ms as "seen_at_ms!"
             from new_failure indexed by new_failure_unnotified
             where confirmed_at_ms is not null and notified_at_ms is null and ended_at_ms is null
             order by builder_id, change_id, case_id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut found: Vec<UnmailedNewFailures> = Vec::new();
        for row in rows {
            let (builder, since) = (BuilderId(row.builder_id), ChangeId(row.change_id));
            let (case, seen_at) = (CaseId(row.case_id), Timestamp(row.seen_at_ms));
            match found.last_mut().filter(|last| last.builder == builder && last.since == since) {
                Some(last) => {
                    last.cases.insert(case);
                    last.seen_at = last.seen_at.min(seen_at);
                }
                None => found.push(UnmailedNewFailures {
                    builder,
                    since,
                    with_inputs: row.with_inputs,
                    seen_at,
                    cases: BTreeSet::from([case]),
                }),
            }
        }
        Ok(found)
    }

    /// Whether there is a notice with this `Message-ID`.
    pub async fn has_notice(&mut self, message_id: &str) -> Result<bool> {
        let known =
            sqlx::query_scalar!(r#"select 1 as "known!: i64" from notice where message_id = ?"#, message_id);
        Ok(known.fetch_optional(&mut *self.connection).await?.is_some())
    }
}

impl Write<'_> {
    /// Records a new failure, in place of what is recorded of its case. If its contacts know of it, that stays so.
    pub async fn put_new_failure(
        &mut self,
        builder: BuilderId,
        new: &NewFailure,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "insert into new_failure (builder_id, case_id, change_id, with_inputs, seen_at_ms) values (?, ?, ?, ?, ?)
             on conflict (builder_id, case_id) do update set change_id = excluded.change_id,
                 with_inputs = excluded.with_inputs, reruns = 0, ended_at_ms = null,
                 confirmed_at_ms = case when ended_at_ms is null then confirmed_at_ms end",
            builder.0,
            new.case.0,
            new.since.0,
            new.with_inputs,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that a null run of the change at which these cases were first run shows them failing once more.
    pub async fn count_rerun_of_new_failures(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
        failing: &BTreeSet<CaseId>,
    ) -> Result<()> {
        let cases = json(failing)?;
        sqlx::query!(
            "update new_failure set reruns = reruns + 1
             where builder_id = ? and change_id = ? and case_id in (select value from json_each(?))",
            builder.0,
            change.0,
            cases
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that enough runs have shown a new failure. `Conflict` if there is none of this case.
    pub async fn confirm_new_failure(
        &mut self,
        builder: BuilderId,
        case: CaseId,
        now: Timestamp,
    ) -> Result<()> {
        let confirmed = sqlx::query!(
            "update new_failure set confirmed_at_ms = ? where builder_id = ? and case_id = ?",
            now.0,
            builder.0,
            case.0
        );
        one_row(confirmed.execute(&mut *self.connection).await?, "the case is not new")
    }

    /// Records that a case is no longer new and failing, and was so until now.
    pub async fn end_new_failure(&mut self, builder: BuilderId, case: CaseId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update new_failure set ended_at_ms = ? where builder_id = ? and case_id = ?",
            now.0,
            builder.0,
            case.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Removes a case that is not new and failing, and never was as far as its history shows.
    pub async fn forget_new_failure(&mut self, builder: BuilderId, case: CaseId) -> Result<()> {
        sqlx::query!("delete from new_failure where builder_id = ? and case_id = ?", builder.0, case.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Records that the contacts were informed of these, or need not be.
    pub async fn mark_new_failures_notified(
        &mut self,
        new: &UnmailedNewFailures,
        now: Timestamp,
    ) -> Result<()> {
        let cases = json(&new.cases)?;
        sqlx::query!(
            "update new_failure set notified_at_ms = ?
             where builder_id = ? and case_id in (select value from json_each(?))",
            now.0,
            new.builder.0,
            cases
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
