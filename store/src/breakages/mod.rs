//! Breakages and their cases.

pub mod backlog_claims;
pub mod evidence;
pub mod inputs;
pub mod new_failures;
pub mod notices;
mod proofs;
pub mod quotes;
pub mod searches;
pub mod selections;
pub mod self_checks;
mod takeovers;
pub mod variants;

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::{Fix, RegressionKind, StoredBreakage};
use domain::words::BreakageState;
use domain::words::ids::{BreakageId, BuilderId, CaseId, ChangeId, Timestamp, WorkerId};

use crate::db::journal::Topic;
use crate::db::number::{from_row, len_to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, one_row, word};

/// How many breakages are counted in one round.
const MAX_COUNTED: i64 = 100;

/// Cases of one builder that went bad between the same two changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakage {
    /// Its id.
    pub id: BreakageId,
    /// Its builder.
    pub builder: BuilderId,
    /// The last change at which its cases are good.
    pub good: ChangeId,
    /// The first change at which they are bad.
    pub bad: ChangeId,
    /// Its state.
    pub state: BreakageState,
    /// What the search found; it stays when the breakage is fixed.
    pub found: Option<BreakageState>,
    /// When the search ended.
    pub found_at: Option<Timestamp>,
    /// The culprit, once the search named one.
    pub culprit: Option<ChangeId>,
    /// The change below the culprit, which was seen to pass.
    pub parent: Option<ChangeId>,
    /// The worker that the search prefers.
    pub search_worker: Option<WorkerId>,
    /// Its repair, once the history shows one.
    pub fixed: Option<Fix>,
    /// Its cases.
    pub cases: BTreeSet<CaseId>,
    /// Those of its cases that are not run any more; the others fail.
    pub not_run: BTreeSet<CaseId>,
    /// Those of its cases that are not run any more and failed already.
    pub hidden: BTreeSet<CaseId>,
    /// Those of its cases that are repaired, while others are not.
    pub repaired: BTreeSet<CaseId>,
}

/// A breakage that is about to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBreakage {
    /// Its builder.
    pub builder: BuilderId,
    /// The last change at which its cases are good.
    pub good: ChangeId,
    /// The first change at which they are bad.
    pub bad: ChangeId,
    /// Its cases.
    pub cases: BTreeSet<CaseId>,
    /// Those of its cases that are not run any more.
    pub not_run: BTreeSet<CaseId>,
    /// Those of its cases that are not run any more and failed already.
    pub hidden: BTreeSet<CaseId>,
    /// Those of its cases that are repaired, while others are not.
    pub repaired: BTreeSet<CaseId>,
    /// Its repair, once the history shows one.
    pub fixed: Option<Fix>,
    /// The worker that the search prefers.
    pub search_worker: Option<WorkerId>,
    /// The breakage that it was split from.
    pub split_from: Option<BreakageId>,
    /// The earlier breakage of the same cases.
    pub again_of: Option<BreakageId>,
}

/// What a new evaluation of the history changes about a breakage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakageUpdate {
    /// The last change at which its cases are good.
    pub good: ChangeId,
    /// The first change at which they are bad.
    pub bad: ChangeId,
    /// The cases that stay; the others leave it.
    pub cases: BTreeSet<CaseId>,
    /// Those of its cases that are not run any more.
    pub not_run: BTreeSet<CaseId>,
    /// Those of its cases that are repaired, while others are not.
    pub repaired: BTreeSet<CaseId>,
    /// Its repair, if the history shows one.
    pub fixed: Option<Fix>,
}

impl Breakage {
    /// How one of its cases went bad.
    pub fn regression_kind(&self, case: CaseId) -> RegressionKind {
        RegressionKind::of(case, &self.not_run, &self.hidden)
    }
}

impl From<&Breakage> for StoredBreakage {
    fn from(row: &Breakage) -> StoredBreakage {
        StoredBreakage {
            id: row.id,
            good: row.good,
            bad: row.bad,
            state: row.state,
            culprit: row.culprit,
            cases: row.cases.clone(),
            lost: row.not_run.clone(),
            hidden: row.hidden.clone(),
            repaired: row.repaired.clone(),
            fixed: row.fixed,
        }
    }
}

/// A case, and 1 where it is no longer run, where it failed before that, and where it is repaired.
type CaseOfBreakage = (CaseId, u8, u8, u8);

macro_rules! breakages {
    ($self:ident, $rows:expr) => {{
        let rows = $rows;
        let mut cases = $self.cases_of_each(rows.iter().map(|row| BreakageId(row.id))).await?;
        let mut breakages = Vec::with_capacity(rows.len());
        for row in rows {
            let cases = cases.remove(&BreakageId(row.id)).unwrap_or_default();
            breakages.push(Breakage {
                id: BreakageId(row.id),
                builder: BuilderId(row.builder_id),
                good: ChangeId(row.good_change_id),
                bad: ChangeId(row.bad_change_id),
                state: word(&row.state, BreakageState::parse)?,
                found: row.found.as_deref().map(|f| word(f, BreakageState::parse)).transpose()?,
                found_at: row.found_at_ms.map(Timestamp),
                culprit: row.culprit_id.map(ChangeId),
                parent: row.parent_id.map(ChangeId),
                search_worker: row.search_worker_id.map(WorkerId),
                fixed: row
                    .fixed_after_id
                    .zip(row.fixed_by_id)
                    .map(|(after, by)| Fix { after: ChangeId(after), by: ChangeId(by) }),
                not_run: cases.iter().filter(|case| case.1 == 1).map(|case| case.0).collect(),
                hidden: cases.iter().filter(|case| case.2 == 1).map(|case| case.0).collect(),
                repaired: cases.iter().filter(|case| case.3 == 1).map(|case| case.0).collect(),
                cases: cases.into_iter().map(|case| case.0).collect(),
            });
        }
        breakages
    }};
}

impl Read<'_> {
    /// How many breakages of each builder were given a culprit since then.
    pub async fn recently_named(&mut self, since: Timestamp) -> Result<BTreeMap<BuilderId, u32>> {
        let rows = sqlx::query!(
            "select builder_id, count(*) as named from breakage indexed by breakage_found
             where found_at_ms is not null and found_at_ms >= ? and found = 'named' group by builder_id",
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| Ok((BuilderId(row.builder_id), from_row(row.named)?))).collect()
    }

    /// All breakages of a builder, including those that are over: a case that breaks again belongs to a new
    /// breakage after its last one.
    pub async fn breakages_of(&mut self, builder: BuilderId) -> Result<Vec<Breakage>> {
        let rows = sqlx::query!(
            "select id, builder_id, good_change_id, bad_change_id, state, found, found_at_ms, culprit_id, parent_id,
                 search_worker_id, fixed_after_id, fixed_by_id
             from breakage where builder_id = ? order by id",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(breakages!(self, rows))
    }

    /// The breakages of a builder that are not over, and those that one of these cases belongs to.
    pub(crate) async fn breakages_about(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Vec<Breakage>> {
        let cases = json(cases)?;
        let rows = sqlx::query!(
            r#"select id as "id!", builder_id as "builder_id!", good_change_id as "good_change_id!",
                 bad_change_id as "bad_change_id!", state as "state!", found, found_at_ms, culprit_id, parent_id,
                 search_worker_id, fixed_after_id, fixed_by_id
             from breakage where id in (
                 select k.id from breakage k where k.builder_id = ?1 and k.ended_at_ms is null
                 union select k.id from json_each(?2) wanted cross join breakage_case kc on kc.case_id = wanted.value
                     cross join breakage k on k.id = kc.breakage_id
                 where k.builder_id = ?1)
             order by id"#,
            builder.0,
            cases
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(breakages!(self, rows))
    }

    /// The cases of each breakage.
    async fn cases_of_each(
        &mut self,
        breakages: impl Iterator<Item = BreakageId>,
    ) -> Result<BTreeMap<BreakageId, Vec<CaseOfBreakage>>> {
        let ids = json(&breakages.collect::<Vec<_>>())?;
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(kc.breakage_id, kc.case_id, kc.not_run, kc.hidden,
                 kc.repaired)) as "rows!: String"
             from json_each(?) wanted cross join breakage_case kc on kc.breakage_id = wanted.value"#,
            ids
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let rows: Vec<(BreakageId, CaseId, u8, u8, u8)> =
            serde_json::from_str(&rows).map_err(|e| Error::Row(e.to_string()))?;
        let mut cases: BTreeMap<BreakageId, Vec<CaseOfBreakage>> = BTreeMap::new();
        for (breakage, case, not_run, hidden, repaired) in rows {
            cases.entry(breakage).or_default().push((case, not_run, hidden, repaired));
        }
        Ok(cases)
    }

    /// The breakages whose search has not ended.
    pub async fn undecided_breakages(&mut self) -> Result<Vec<Breakage>> {
        let rows = sqlx::query!(
            "select id, builder_id, good_change_id, bad_change_id, state, found, found_at_ms, culprit_id, parent_id,
                 search_worker_id, fixed_after_id, fixed_by_id
             from breakage where state in ('suspected', 'searching') and ended_at_ms is null order by id"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(breakages!(self, rows))
    }

    /// The repairs of each builder's last breakages that are fixed; so many of each at most.
    pub async fn last_repairs(&mut self, builders: &BTreeSet<BuilderId>, most: u32) -> Result<Vec<Fix>> {
        let builders = json(builders)?;
        let rows = sqlx::query!(
            r#"select k.fixed_after_id as "after!", k.fixed_by_id as "by!"
             from json_each(?) wanted cross join breakage k on k.id in (
                 select last.id from breakage last where last.builder_id = wanted.value and last.state = 'fixed'
                 order by last.id desc limit ?)
             where k.fixed_after_id <> k.fixed_by_id"#,
            builders,
            most
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| Fix { after: ChangeId(row.after), by: ChangeId(row.by) }).collect())
    }

    /// The breakages for which a change was found to be the culprit.
    pub async fn breakages_by(&mut self, culprit: ChangeId) -> Result<Vec<Breakage>> {
        let rows = sqlx::query!(
            "select id, builder_id, good_change_id, bad_change_id, state, found, found_at_ms, culprit_id, parent_id,
                 search_worker_id, fixed_after_id, fixed_by_id
             from breakage where culprit_id = ? and found in ('named', 'one-of-k') order by id",
            culprit.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(breakages!(self, rows))
    }

    /// Changes found to be culprits of something that their thread has not reported yet.
    pub async fn culprits_to_notify(&mut self) -> Result<Vec<ChangeId>> {
        let ids = sqlx::query_scalar!(
            r#"select distinct b.culprit_id as "id!" from breakage b
             where b.found in ('named', 'one-of-k') and b.culprit_id is not null and b.state <> 'gone'
                 and b.unmailed is not 'old' and not (b.unmailed is 'over' and b.state = 'fixed')
                 and (not exists (select 1 from notice_breakage nb join notice n on n.id = nb.notice_id
                         where nb.breakage_id = b.id and n.kind in ('named', 'spread')
                             and n.change_id = b.culprit_id
                             and not exists (select 1 from notice_breakage cb join notice c on c.id = cb.notice_id
                                 where cb.breakage_id = b.id and c.kind = 'correction' and c.id > n.id
                                     and c.change_id = n.change_id))
                     or (b.state = 'fixed' and not exists (select 1 from notice_breakage nb
                         join notice n on n.id = nb.notice_id
                         where nb.breakage_id = b.id and n.kind = 'fixed'))
                     -- A repair that was reported, and fell.
                     or (b.state in ('named', 'one-of-k') and (select n.kind from notice_breakage nb
                         join notice n on n.id = nb.notice_id where nb.breakage_id = b.id
                         order by n.id desc limit 1) is 'fixed'))"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(ChangeId).collect())
    }

    /// Breakages whose search has ended, and whose unreached tests were not counted yet.
    pub async fn uncounted_breakages(&mut self) -> Result<Vec<Breakage>> {
        let rows = sqlx::query!(
            "select id, builder_id, good_change_id, bad_change_id, state, found, found_at_ms, culprit_id, parent_id,
                 search_worker_id, fixed_after_id, fixed_by_id
             from breakage indexed by breakage_uncounted where unreached is null and found is not null order by id limit ?",
            MAX_COUNTED
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(breakages!(self, rows))
    }

    /// How many tests, beside its cases, the run that shows a breakage does not reach; 0 before they were counted.
    pub async fn unreached(&mut self, id: BreakageId) -> Result<usize> {
        let unreached = sqlx::query_scalar!(
            r#"select coalesce(unreached, 0) as "n!: i64" from breakage where id = ?"#,
            id.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        from_row(unreached)
    }

    /// One breakage. `NotFound` if there is none.
    pub async fn breakage(&mut self, breakage: BreakageId) -> Result<Breakage> {
        let rows = sqlx::query!(
            "select id, builder_id, good_change_id, bad_change_id, state, found, found_at_ms, culprit_id, parent_id,
                 search_worker_id, fixed_after_id, fixed_by_id
             from breakage where id = ?",
            breakage.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        breakages!(self, rows).pop().ok_or(Error::NotFound("breakage"))
    }

    /// Cases of a builder that a search proved to be flaky since then.
    pub async fn flaky_cases(&mut self, builder: BuilderId, since: Timestamp) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select bc.case_id from breakage b cross join breakage_case bc on bc.breakage_id = b.id
             where b.builder_id = ? and b.found = 'flaky' and b.found_at_ms >= ?",
            builder.0,
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Opens a breakage as suspected.
    pub async fn open_breakage(&mut self, opened: &NewBreakage, now: Timestamp) -> Result<BreakageId> {
        let (after, by) = (opened.fixed.map(|f| f.after.0), opened.fixed.map(|f| f.by.0));
        let (split, again) = (opened.split_from.map(|b| b.0), opened.again_of.map(|b| b.0));
        let worker = opened.search_worker.map(|w| w.0);
        let id = sqlx::query_scalar!(
            "insert into breakage (builder_id, good_change_id, bad_change_id, state, opened_at_ms,
                 fixed_after_id, fixed_by_id, search_worker_id, split_from_id, again_of_id)
             values (?, ?, ?, 'suspected', ?, ?, ?, ?, ?, ?) returning id as \"id!\"",
            opened.builder.0,
            opened.good.0,
            opened.bad.0,
            now.0,
            after,
            by,
            worker,
            split,
            again
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let id = BreakageId(id);
        self.put_breakage_cases(id, opened).await?;
        self.journal(Topic::Breakage, id.0, now);
        Ok(id)
    }

    async fn put_breakage_cases(&mut self, id: BreakageId, opened: &NewBreakage) -> Result<()> {
        // One statement, because a whole suite may break.
        let is_in = |cases: &BTreeSet<CaseId>, case: &CaseId| u8::from(cases.contains(case));
        let row = |case: &CaseId| {
            let NewBreakage { not_run, hidden, repaired, .. } = opened;
            (*case, is_in(not_run, case), is_in(hidden, case), is_in(repaired, case))
        };
        let rows: Vec<(CaseId, u8, u8, u8)> = opened.cases.iter().map(row).collect();
        let rows = json(&rows)?;
        sqlx::query!(
            "insert into breakage_case (breakage_id, case_id, not_run, hidden, repaired)
             select ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?)",
            id.0,
            rows
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Writes the ends and the repair of a breakage, which of its cases are not run, and removes the cases that left it. A breakage whose search
    /// has ended is fixed by its repair. `Conflict` if it is gone.
    pub async fn update_breakage(
        &mut self,
        id: BreakageId,
        update: &BreakageUpdate,
        now: Timestamp,
    ) -> Result<()> {
        let (after, by) = (update.fixed.map(|f| f.after.0), update.fixed.map(|f| f.by.0));
        let updated = sqlx::query!(
            "update breakage set good_change_id = ?, bad_change_id = ?, fixed_after_id = ?, fixed_by_id = ?
             where id = ? and state <> 'gone'",
            update.good.0,
            update.bad.0,
            after,
            by,
            id.0
        );
        one_row(updated.execute(&mut *self.connection).await?, "the breakage is gone")?;
        let ids = json(&update.cases)?;
        sqlx::query!(
            "delete from breakage_case
             where breakage_id = ? and case_id not in (select value from json_each(?))",
            id.0,
            ids
        )
        .execute(&mut *self.connection)
        .await?;
        let (not_run, repaired) = (json(&update.not_run)?, json(&update.repaired)?);
        sqlx::query!(
            "update breakage_case set not_run = case_id in (select value from json_each(?2)),
                 repaired = case_id in (select value from json_each(?3))
             where breakage_id = ?1 and (not_run <> (case_id in (select value from json_each(?2)))
                 or repaired <> (case_id in (select value from json_each(?3))))",
            id.0,
            not_run,
            repaired
        )
        .execute(&mut *self.connection)
        .await?;
        // A repair is withdrawn when the build that showed it no longer makes history.
        sqlx::query!(
            "update breakage set state = found, ended_at_ms = null
             where id = ? and state = 'fixed' and fixed_by_id is null",
            id.0
        )
        .execute(&mut *self.connection)
        .await?;
        self.end_if_fixed(id, now).await?;
        self.journal(Topic::Breakage, id.0, now);
        Ok(())
    }

    /// Records how many tests, beside its cases, the run that shows a breakage does not reach.
    pub async fn set_unreached(&mut self, id: BreakageId, unreached: usize) -> Result<()> {
        let unreached = len_to_row(unreached);
        sqlx::query!("update breakage set unreached = ? where id = ?", unreached, id.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Records that no mail is to report a breakage: since it was over when it was found, or since it is old, and those
    /// who are concerned know it.
    pub async fn mark_unmailed(&mut self, id: BreakageId, is_over: bool) -> Result<()> {
        let why = if is_over { "over" } else { "old" };
        sqlx::query!("update breakage set unmailed = ? where id = ?", why, id.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn end_if_fixed(&mut self, id: BreakageId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update breakage set state = 'fixed', ended_at_ms = ?
             where id = ? and fixed_by_id is not null and state in ('named', 'one-of-k', 'inconclusive')",
            now.0,
            id.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Ends a breakage whose changes are no longer in the history. One that is over stays as it is.
    pub async fn mark_breakage_gone(&mut self, id: BreakageId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update breakage set state = 'gone', ended_at_ms = ? where id = ? and ended_at_ms is null",
            now.0,
            id.0
        )
        .execute(&mut *self.connection)
        .await?;
        self.journal(Topic::Breakage, id.0, now);
        Ok(())
    }

    /// Starts a search, or moves it to another worker. `Conflict` if the search has ended.
    pub async fn mark_breakage_searching(
        &mut self,
        id: BreakageId,
        worker: Option<WorkerId>,
        now: Timestamp,
    ) -> Result<()> {
        let worker = worker.map(|w| w.0);
        let searched = sqlx::query!(
            "update breakage set state = 'searching', search_worker_id = ?
             where id = ? and state in ('suspected', 'searching')",
            worker,
            id.0
        );
        one_row(searched.execute(&mut *self.connection).await?, "the search has ended")?;
        self.journal(Topic::Breakage, id.0, now);
        Ok(())
    }

    /// Ends a search. `found` is one of named, one-of-k, inconclusive, flaky, environment. `Conflict` if it has
    /// ended already.
    pub async fn record_search_result(
        &mut self,
        id: BreakageId,
        found: BreakageState,
        culprit: Option<ChangeId>,
        parent: Option<ChangeId>,
        now: Timestamp,
    ) -> Result<()> {
        let (found, culprit, parent) = (found.as_str(), culprit.map(|c| c.0), parent.map(|c| c.0));
        let decided = sqlx::query!(
            "update breakage set state = ?, found = ?, found_at_ms = ?, culprit_id = ?, parent_id = ?
             where id = ? and state in ('suspected', 'searching')",
            found,
            found,
            now.0,
            culprit,
            parent,
            id.0
        );
        one_row(decided.execute(&mut *self.connection).await?, "the search has ended")?;
        self.end_if_fixed(id, now).await?;
        self.journal(Topic::Breakage, id.0, now);
        Ok(())
    }
}
