//! How noisy cases are: their runs of the last weeks, compared with what their breakages make them expect.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::flaky::{BrokenPeriod, NoiseHistory, NoiseRun, history};
use domain::readers::is_fault;
use domain::words::ids::{BuilderId, CaseId, ChangeId, Timestamp};
use protocol::Verdict;

use crate::builds::inputs_id;
use crate::db::transaction::Read;
use crate::error::Result;

/// Older runs are not read, however long the farm has been running.
const MAX_RUNS: i64 = 500;

impl Read<'_> {
    /// The history and null runs of these cases since then, by case. Left out are builds that point to an equal
    /// one, which are no run of their own; probes, which are made where something is wrong; runs with project
    /// inputs that are not in use; and runs on a machine on probation.
    pub async fn flake_history(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
        since: Timestamp,
    ) -> Result<BTreeMap<CaseId, NoiseHistory>> {
        self.flake_history_before(builder, cases, since, None).await
    }

    /// The same of the changes before `end` only: a search weighs the runs at its good end itself, and must not take them for
    /// history as well.
    pub async fn flake_history_before(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
        since: Timestamp,
        end: Option<ChangeId>,
    ) -> Result<BTreeMap<CaseId, NoiseHistory>> {
        let branch = self.builder(builder).await?.branch;
        let mut order = self.order(branch).await?;
        if let Some(end) = end.and_then(|end| order.iter().position(|change| *change == end)) {
            order.truncate(end);
        }
        let mut runs = self.runs_of_cases(builder, cases, since).await?;
        let mut broken_periods = self.broken_periods(builder).await?;
        let of = |case: &CaseId| {
            let (runs, broken_periods) =
                (runs.remove(case).unwrap_or_default(), broken_periods.remove(case).unwrap_or_default());
            (*case, history(&order, &runs, &broken_periods))
        };
        Ok(cases.iter().map(of).collect())
    }

    async fn runs_of_cases(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
        since: Timestamp,
    ) -> Result<BTreeMap<CaseId, Vec<NoiseRun>>> {
        let builds = sqlx::query!(
            r#"select b.change_id, b.pin_id, b.toolchain_inputs_id, b.case_list_id as "list!", b.verdicts as "verdicts!", b.complete from build b
                 join attempt a on a.id = b.attempt_id join worker w on w.id = a.worker_id
                 left join pin p on p.id = b.pin_id
             where b.builder_id = ? and b.attempt_id is not null and b.case_list_id is not null
                 and b.finished_at_ms >= ? and b.is_verdict
                 and (b.makes_history or b.reason = 'null') and w.trust is not 'probation'
                 and (p.id is null or p.state in ('current', 'past'))
             order by b.id desc limit ?"#,
            builder.0,
            since.0,
            MAX_RUNS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let faults = self.names_of_cases(cases).await?;
        let faults: BTreeSet<CaseId> =
            faults.into_iter().filter(|(_, name)| is_fault(name)).map(|(case, _)| case).collect();
        let mut runs: BTreeMap<CaseId, Vec<NoiseRun>> = BTreeMap::new();
        // Builds share their case lists, so each is unpacked once.
        let mut positions: BTreeMap<i64, Vec<(usize, CaseId)>> = BTreeMap::new();
        for build in builds {
            let (change, inputs) =
                (ChangeId(build.change_id), inputs_id(build.toolchain_inputs_id, build.pin_id));
            let run = |verdict| NoiseRun { change, inputs, verdict };
            let wanted = match positions.entry(build.list) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let ids = self.case_ids(build.list).await?;
                    let of_these = |(_, case): &(usize, CaseId)| cases.contains(case);
                    entry.insert(ids.into_iter().enumerate().filter(of_these).collect())
                }
            };
            if build.complete == Some(1) {
                // A fault that is not reported has passed.
                let reported: BTreeSet<CaseId> = wanted.iter().map(|(_, case)| *case).collect();
                for fault in faults.difference(&reported) {
                    runs.entry(*fault).or_default().push(run(Verdict::Pass));
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let verdicts = crate::cases::verdicts::letters(&build.verdicts)?;
            for &(at, case) in &*wanted {
                runs.entry(case).or_default().extend(verdicts.get(at).map(run));
            }
        }
        Ok(runs)
    }

    /// When the cases of a builder were broken. A breakage that turned out to be noise, or the machines' fault,
    /// does not count.
    async fn broken_periods(&mut self, builder: BuilderId) -> Result<BTreeMap<CaseId, Vec<BrokenPeriod>>> {
        let rows = sqlx::query!(
            "select bc.case_id, b.good_change_id, b.bad_change_id, b.culprit_id, b.parent_id, b.fixed_after_id,
                 b.fixed_by_id
             from breakage b join breakage_case bc on bc.breakage_id = b.id
             where b.builder_id = ? and b.state <> 'gone' and b.found is not 'flaky' and b.found is not 'environment'",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut broken_periods: BTreeMap<CaseId, Vec<BrokenPeriod>> = BTreeMap::new();
        for row in rows {
            broken_periods.entry(CaseId(row.case_id)).or_default().push(BrokenPeriod {
                good: ChangeId(row.parent_id.unwrap_or(row.good_change_id)),
                bad: ChangeId(row.culprit_id.unwrap_or(row.bad_change_id)),
                fixed: row.fixed_after_id.map(ChangeId).zip(row.fixed_by_id.map(ChangeId)),
            });
        }
        Ok(broken_periods)
    }
}
