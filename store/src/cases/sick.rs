//! Changes that break so many suites at once that the failures say more about the change than about each suite.

use std::collections::BTreeSet;

use domain::words::ids::{BranchId, ChangeId, Timestamp};

use crate::db::journal::Topic;
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::Result;

/// How many suites of a branch passed before a change, and how many of these fail on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakageShare {
    /// Suites that passed on the change before.
    pub were_good: u32,
    /// Those of them that fail on the change.
    pub failed: u32,
}

impl Read<'_> {
    /// How many suites a change broke. A baseline is left out, because it repeats the change with other project
    /// inputs: if it fails, that is not the change's fault. Builds with project inputs that are not in use are
    /// left out of a suite's history.
    pub async fn breakage_share(&mut self, branch: BranchId, change: ChangeId) -> Result<BreakageShare> {
        let row = sqlx::query!(
            r#"with place as (select position from branch_change
                 where branch_id = ?1 and change_id = ?2 and gone_at_ms is null)
             select count(*) as "were_good!: i64", coalesce(sum(now = 'failed'), 0) as "failed!: i64" from (
                 select (select b.outcome from build b where b.builder_id = br.id and b.change_id = ?2
                         and b.is_verdict and b.makes_history and b.reason <> 'baseline'
                         order by b.id desc limit 1) as now,
                     (select b.outcome from branch_change bc
                             cross join build b on b.builder_id = br.id and b.change_id = bc.change_id
                             cross join pin p on p.id = b.pin_id
                         where bc.branch_id = ?1 and bc.gone_at_ms is null
                             and p.state in ('current', 'past')
                             and bc.position < (select position from place)
                             and b.is_verdict and b.makes_history
                         order by bc.position desc, b.id desc limit 1) as before
                 from builder br where br.branch_id = ?1 and br.kind = 'suite' and br.state = 'active')
             where before = 'passed'"#,
            branch.0,
            change.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(BreakageShare { were_good: from_row(row.were_good)?, failed: from_row(row.failed)? })
    }

    /// The changes of a branch that are marked as sick, without those that were rewound.
    pub async fn sick_changes(&mut self, branch: BranchId) -> Result<BTreeSet<ChangeId>> {
        let ids = sqlx::query_scalar!(
            "select change_id from branch_change
             where branch_id = ? and gone_at_ms is null and sick_at_ms is not null",
            branch.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(ChangeId).collect())
    }
}

impl Write<'_> {
    /// Marks a change as sick, or removes the mark when a build in between showed that other changes did the
    /// damage.
    pub async fn set_change_sick(
        &mut self,
        branch: BranchId,
        change: ChangeId,
        sick: bool,
        now: Timestamp,
    ) -> Result<()> {
        let since = sick.then_some(now.0);
        let marked = sqlx::query!(
            "update branch_change set sick_at_ms = ?
             where branch_id = ? and change_id = ? and gone_at_ms is null and (sick_at_ms is null) = (? is not null)",
            since,
            branch.0,
            change.0,
            since
        );
        if marked.execute(&mut *self.connection).await?.rows_affected() > 0 {
            self.journal(Topic::Change, change.0, now);
        }
        Ok(())
    }
}
