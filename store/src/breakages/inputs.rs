//! A builder's history as the rules of breakages read it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::breakage::flaky::{fails_along, is_of_step};
use domain::breakage::mark::Mark;
use domain::breakage::{BuilderHistory, CaseHistory, RepairProof, StoredNewFailure, is_run};
use domain::project_inputs;
use domain::readers::is_fault;
use domain::words::ids::{BreakageId, BuildId, BuilderId, CaseId, ChangeId, Timestamp};
use domain::words::{BreakageState, BuilderKind};
use protocol::{Sha256, Verdict};
use sha2::Digest;

use crate::breakages::Breakage;
use crate::builds::inputs_id;
use crate::builds::timelines::BuilderTimeline;
use crate::cases::histories::{HistoryChange, Transitions, case_histories};
use crate::cases::selection::CaseSelection;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, one_row, sha256};
use crate::upstream::builders::Builder;

/// Why a builder's breakages are evaluated again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryNews {
    /// For any reason: everything is evaluated.
    Any,
    /// A build joined its history.
    Build(HistoryChange),
    /// Something new is known or decided about these cases.
    Cases(BTreeSet<CaseId>),
}

/// What the rules of breakages decide from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakageInputs {
    /// The builder's history as the rules read it.
    pub history: BuilderHistory,
    /// The stored breakages that the history may change.
    pub breakages: Vec<Breakage>,
    /// The new failures that are recorded.
    pub new_failures: Vec<StoredNewFailure>,
    /// A hash of what is the same for all cases. [`Write::mark_builder_settled`] records it once it was evaluated.
    pub basis: Sha256,
}

impl Read<'_> {
    /// What the rules need to evaluate the news about a builder: everything, unless nothing but the news was added
    /// since the last evaluation. A case that was proven flaky since `flaky_since` opens no breakage.
    pub async fn breakage_inputs(
        &mut self,
        row: &Builder,
        news: &HistoryNews,
        flaky_since: Timestamp,
        now: Timestamp,
    ) -> Result<BreakageInputs> {
        let builder = row.id;
        let BuilderTimeline { order, history_builds, facts } = match news {
            HistoryNews::Build(change) => change.timeline.clone(),
            HistoryNews::Any | HistoryNews::Cases(_) => self.builder_timeline(builder, row.branch).await?,
        };
        let flaky = self.flaky_cases(builder, flaky_since).await?;
        let unstable = self.unstable_cases(builder).await?;
        let mut marks = self.marks_of(builder).await?;
        marks.retain(|mark| !mark.is_void(now));
        let basis = |without: Option<BuildId>| basis(&history_builds, without, &flaky, &unstable, &marks);
        let (before, unsettled) = self.last_basis(builder).await?;
        let is_same_basis = |without| before == Some(basis(without));
        let changed = match news {
            HistoryNews::Build(changed) if is_same_basis(Some(changed.build)) => Some(&changed.cases),
            HistoryNews::Cases(cases) if is_same_basis(None) => Some(cases),
            HistoryNews::Any | HistoryNews::Build(_) | HistoryNews::Cases(_) => None,
        };
        let new_failures = self.new_failures(builder).await?;
        let (cases, breakages) = match changed {
            Some(changed) => {
                let watched = self.watched_with(&new_failures, &history_builds).await?;
                let affected = self.affected(builder, &(changed | &unsettled) | &watched).await?;
                self.with_past_new_failures(builder, affected).await?
            }
            None => (self.cases_ever_bad(builder).await?, self.breakages_of(builder).await?),
        };
        let mut transitions = match cases.is_empty() {
            true => Transitions::new(),
            false => self.transitions(builder, &cases).await?,
        };
        self.excuse_steps(&marks, &mut transitions).await?;
        let other_losses = match changed {
            Some(_) => self.others_not_run_by_change(builder, &history_builds, &transitions).await?,
            None => BTreeMap::new(),
        };
        let basis = basis(None);
        let names = self.names_of_cases(&transitions.keys().copied().collect()).await?;
        let of_names = |is_of_it: fn(&str) -> bool| {
            names.iter().filter(|(_, name)| is_of_it(name)).map(|(case, _)| *case).collect()
        };
        let mut left_out = flaky;
        left_out.extend(self.marked(&marks, &cases).await?);
        let list_changes = match row.kind {
            BuilderKind::Toolchain => BTreeMap::new(),
            BuilderKind::Suite => self.list_changes(&history_builds, &transitions).await?,
        };
        let unstable_names = self.names_of_cases(&unstable).await?;
        let takeovers = self.takeovers(builder, &transitions.keys().copied().collect()).await?;
        let unreached = self.unreached_builds(builder, &transitions.keys().copied().collect()).await?;
        let mut case_histories = case_histories(&history_builds, &transitions, &takeovers, &unreached);
        self.add_runs_beside(builder, &history_builds, &breakages, &mut case_histories).await?;
        let history = BuilderHistory {
            order,
            history_builds: history_builds
                .iter()
                .filter_map(|history_build| facts.get(&history_build.build))
                .copied()
                .collect(),
            case_histories,
            other_losses,
            flaky: left_out,
            has_unstable_faults: unstable_names.values().any(|name| is_fault(name)),
            has_unstable_names: unstable_names.values().any(|name| !is_fault(name) && !is_of_step(name)),
            list_changes,
            unstable,
            steps: of_names(is_of_step),
            faults: of_names(is_fault),
            proof: match row.kind {
                BuilderKind::Toolchain => RepairProof::OneRun,
                BuilderKind::Suite => RepairProof::Model,
            },
        };
        Ok(BreakageInputs { history, breakages, new_failures, basis })
    }

    /// The cases to evaluate when these have transitions, and the breakages that any of them belongs to. A
    /// breakage that is not over may be repaired by a run without transitions, and one that is over is repaired by
    /// all of its cases or by none.
    async fn affected(
        &mut self,
        builder: BuilderId,
        mut cases: BTreeSet<CaseId>,
    ) -> Result<(BTreeSet<CaseId>, Vec<Breakage>)> {
        let about = self.breakages_about(builder, &cases).await?;
        cases.extend(about.iter().flat_map(|breakage| &breakage.cases));
        let breakages = self.breakages_about(builder, &cases).await?;
        Ok((cases, breakages))
    }

    /// What is evaluated at each build while there are new failures: these, and the steps that fail perhaps only because of
    /// them. A case that fails as before has no transition.
    async fn watched_with(
        &mut self,
        new_failures: &[StoredNewFailure],
        history_builds: &[project_inputs::TimelineBuild],
    ) -> Result<BTreeSet<CaseId>> {
        let mut watched: BTreeSet<CaseId> = new_failures.iter().map(|new| new.case).collect();
        if let Some(newest) = history_builds.last().filter(|_| !watched.is_empty()) {
            watched.extend(self.failing_steps(newest.build).await?);
        }
        Ok(watched)
    }

    /// Adds the cases that were new failures once, where a step is evaluated: they explain why it failed then.
    async fn with_past_new_failures(
        &mut self,
        builder: BuilderId,
        (cases, breakages): (BTreeSet<CaseId>, Vec<Breakage>),
    ) -> Result<(BTreeSet<CaseId>, Vec<Breakage>)> {
        let past = self.past_new_failures(builder).await?;
        if past.is_subset(&cases) {
            return Ok((cases, breakages));
        }
        let names = self.names_of_cases(&cases).await?;
        match names.values().any(|name| is_of_step(name)) {
            true => self.affected(builder, &cases | &past).await,
            false => Ok((cases, breakages)),
        }
    }

    /// By change, how many other cases are no longer run where one of these is no longer run.
    async fn others_not_run_by_change(
        &mut self,
        builder: BuilderId,
        history_builds: &[project_inputs::TimelineBuild],
        transitions: &Transitions,
    ) -> Result<BTreeMap<ChangeId, usize>> {
        let is_not_run = |became: Verdict| is_run(became) == Some(false);
        let rows = transitions.values().flatten();
        let stopping: BTreeSet<BuildId> =
            rows.filter(|(_, (_, became))| is_not_run(*became)).map(|(build, _)| *build).collect();
        if stopping.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (begins, cases) = (project_inputs::begins(history_builds), transitions.keys().copied().collect());
        let mut others = BTreeMap::new();
        for (at, history_build) in history_builds.iter().enumerate() {
            // A case that is not run with new project inputs is the project's doing.
            if stopping.contains(&history_build.build) && !begins.contains(&at) {
                others.insert(
                    history_build.change,
                    self.count_others_not_run(builder, history_build.build, &cases).await?,
                );
            }
        }
        Ok(others)
    }

    /// The cases whose failures are no news, because a person marked them.
    async fn marked(&mut self, marks: &[Mark], cases: &BTreeSet<CaseId>) -> Result<BTreeSet<CaseId>> {
        if marks.is_empty() || cases.is_empty() {
            return Ok(BTreeSet::new());
        }
        let names = self.names_of_cases(cases).await?;
        let is_marked = |(_, name): &(CaseId, String)| marks.iter().any(|mark| mark.speaks_of(name));
        Ok(names.into_iter().filter(is_marked).map(|(case, _)| case).collect())
    }

    /// A step that fails together with marked cases, and with no others, is no failure of its own.
    async fn excuse_steps(&mut self, marks: &[Mark], transitions: &mut Transitions) -> Result<()> {
        if marks.is_empty() || transitions.is_empty() {
            return Ok(());
        }
        let names = self.names_of_cases(&transitions.keys().copied().collect()).await?;
        let steps = transitions.iter_mut().filter(|(case, _)| is_of_step(&names[case]));
        for (build, (_, became)) in steps.flat_map(|(_, rows)| rows).filter(|(_, (_, it))| it.is_bad()) {
            let case_verdicts = self.case_verdicts(*build).await?;
            let bad = case_verdicts.into_iter().filter(|(_, verdict)| verdict.is_bad()).map(|(case, _)| case);
            let bad = self.names_of_cases(&bad.collect()).await?;
            let is_marked = |name: &str| marks.iter().any(|mark| mark.speaks_of(name));
            if fails_along(bad.values().map(String::as_str), is_marked) {
                *became = Verdict::Unreached;
            }
        }
        Ok(())
    }

    /// The basis on which a builder's breakages were last evaluated, and the cases of those that this changed.
    async fn last_basis(&mut self, builder: BuilderId) -> Result<(Option<Sha256>, BTreeSet<CaseId>)> {
        let row =
            sqlx::query!("select breakage_basis, cases_to_recheck from builder where id = ?", builder.0)
                .fetch_one(&mut *self.connection)
                .await?;
        let unsettled = serde_json::from_str(&row.cases_to_recheck).map_err(|e| Error::Row(e.to_string()))?;
        Ok((row.breakage_basis.as_deref().map(sha256).transpose()?, unsettled))
    }

    /// Adds the verdicts of null runs and probes on trusted machines where cases of open breakages are seen good
    /// again, and where those of repaired ones were first if a self-check of the repair has fallen.
    async fn add_runs_beside(
        &mut self,
        builder: BuilderId,
        history_builds: &[project_inputs::TimelineBuild],
        breakages: &[Breakage],
        case_histories: &mut [CaseHistory],
    ) -> Result<()> {
        let index_of: HashMap<ChangeId, usize> =
            history_builds.iter().enumerate().map(|(at, history_build)| (history_build.change, at)).collect();
        let mut seen_good: BTreeMap<ChangeId, BTreeSet<CaseId>> = BTreeMap::new();
        for breakage in breakages.iter().filter(|breakage| !breakage.state.is_over()) {
            let after_good = index_of.get(&breakage.good).map_or(0, |good| good + 1);
            for case_history in
                case_histories.iter().filter(|case_history| breakage.cases.contains(&case_history.case))
            {
                let regression_kind = breakage.regression_kind(case_history.case);
                // A case history goes on to the last history build, and may begin late.
                let begin = after_good.saturating_sub(history_builds.len() - case_history.verdicts.len());
                let after = case_history.verdicts.iter().skip(begin);
                for (change, _) in
                    after.filter(|(_, verdict)| regression_kind.shows_good(*verdict) == Some(true))
                {
                    seen_good.entry(*change).or_default().insert(case_history.case);
                }
            }
        }
        // Runs at its first good change can refute a repair, long after the breakage is over: once a self-check has shown
        // it bad there. What no check doubts is not read, however many repairs there are.
        let fallen = self.fallen_repairs(builder).await?;
        let is_doubted = |it: &&Breakage| it.state == BreakageState::Fixed && fallen.contains(&it.id);
        for breakage in breakages.iter().filter(is_doubted) {
            let Some(fix) = breakage.fixed else { continue };
            for case_history in case_histories.iter().filter(|it| breakage.cases.contains(&it.case)) {
                seen_good.entry(fix.by).or_default().insert(case_history.case);
            }
        }
        if seen_good.is_empty() {
            return Ok(());
        }
        self.add_probes(history_builds, breakages, &seen_good, case_histories).await?;
        let changes = json(&seen_good.keys().collect::<Vec<_>>())?;
        let runs = sqlx::query!(
            r#"select b.id as "id!", b.change_id as "change_id!", b.pin_id, b.toolchain_inputs_id
             from json_each(?) wanted cross join build b on b.builder_id = ? and b.change_id = wanted.value
                 cross join attempt a on a.id = b.attempt_id cross join worker w on w.id = a.worker_id
             where b.is_verdict and b.reason in ('probe', 'null', 'force')
                 and w.trust is not 'probation'
             order by b.id"#,
            changes,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for run in runs {
            let change = ChangeId(run.change_id);
            // What earlier inputs did at a baseline says nothing about those in use there now.
            let (Some(cases), Some(&at)) = (seen_good.get(&change), index_of.get(&change)) else { continue };
            if history_builds[at].inputs != inputs_id(run.toolchain_inputs_id, run.pin_id) {
                continue;
            }
            let verdicts = self.verdicts_of_cases(BuildId(run.id), &mut CaseSelection::new(cases)).await?;
            for case_history in case_histories.iter_mut() {
                case_history
                    .evidence_verdicts
                    .extend(verdicts.get(&case_history.case).map(|verdict| (change, *verdict)));
            }
        }
        Ok(())
    }

    /// Adds what the probes of these breakages showed elsewhere: how noisy a case is while it is bad says how many good
    /// runs prove its repair.
    async fn add_probes(
        &mut self,
        history_builds: &[project_inputs::TimelineBuild],
        breakages: &[Breakage],
        seen_good: &BTreeMap<ChangeId, BTreeSet<CaseId>>,
        case_histories: &mut [CaseHistory],
    ) -> Result<()> {
        let cases: BTreeSet<CaseId> = seen_good.values().flatten().copied().collect();
        let has_good = |breakage: &&Breakage| !breakage.cases.is_disjoint(&cases);
        for breakage in breakages.iter().filter(|it| !it.state.is_over() && !it.state.is_undecided()) {
            if !has_good(&breakage) {
                continue;
            }
            let bad_end = history_builds.iter().find(|build| build.change == breakage.bad);
            let inputs = bad_end.map(|build| build.inputs).unwrap_or_default();
            let probes = sqlx::query!(
                r#"select b.id as "id!", b.change_id as "change_id!", b.pin_id, b.toolchain_inputs_id
                 from build b cross join attempt a on a.id = b.attempt_id cross join worker w on w.id = a.worker_id
                 where b.breakage_id = ? and b.is_verdict and w.trust is not 'probation' order by b.id"#,
                breakage.id.0
            )
            .fetch_all(&mut *self.connection)
            .await?;
            let wanted: BTreeSet<CaseId> = breakage.cases.intersection(&cases).copied().collect();
            let mut selection = CaseSelection::new(&wanted);
            for probe in probes {
                let change = ChangeId(probe.change_id);
                // Those are read with all other runs at their change.
                if seen_good.contains_key(&change)
                    || inputs_id(probe.toolchain_inputs_id, probe.pin_id) != inputs
                {
                    continue;
                }
                let verdicts = self.verdicts_of_cases(BuildId(probe.id), &mut selection).await?;
                for case_history in case_histories.iter_mut() {
                    let verdict = verdicts.get(&case_history.case).map(|verdict| (change, *verdict));
                    case_history.evidence_verdicts.extend(verdict);
                }
            }
        }
        Ok(())
    }

    /// Cases of open breakages that a change, or something still unknown, broke.
    pub async fn cases_believed_broken(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select distinct bc.case_id from breakage_case bc join breakage b on b.id = bc.breakage_id
             where b.builder_id = ? and b.ended_at_ms is null and b.found is not 'flaky' and not bc.repaired",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }

    /// Breakages of a builder that are not over, whose searches have blamed no change and have not found them flaky.
    pub async fn answers_without_culprit(&mut self, builder: BuilderId) -> Result<Vec<Breakage>> {
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from breakage
             where builder_id = ? and ended_at_ms is null and found in ('environment', 'inconclusive') order by id"#,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut breakages = Vec::with_capacity(ids.len());
        for id in ids {
            breakages.push(self.breakage(BreakageId(id)).await?);
        }
        Ok(breakages)
    }

    /// Cases of a builder's breakages that are not over.
    pub async fn cases_of_open_breakages(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select distinct bc.case_id from breakage_case bc join breakage b on b.id = bc.breakage_id
             where b.builder_id = ? and b.ended_at_ms is null",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

/// The hash of everything that is the same for all cases. `without` is a build that is left out, as if it had not
/// ended yet.
fn basis(
    history_builds: &[project_inputs::TimelineBuild],
    without: Option<BuildId>,
    flaky: &BTreeSet<CaseId>,
    unstable: &BTreeSet<CaseId>,
    marks: &[Mark],
) -> Sha256 {
    let mut hash = sha2::Sha256::new();
    let mut add = |ids: &mut dyn Iterator<Item = i64>| {
        ids.for_each(|id| hash.update(id.to_le_bytes()));
        // No id is this one.
        hash.update(i64::MIN.to_le_bytes());
    };
    add(&mut history_builds
        .iter()
        .map(|history_build| history_build.build)
        .filter(|build| Some(*build) != without)
        .map(|build| build.0));
    add(&mut flaky.iter().map(|case| case.0));
    add(&mut unstable.iter().map(|case| case.0));
    for mark in marks {
        hash.update(mark.cases.as_bytes());
        hash.update([0]);
    }
    Sha256(hash.finalize().into())
}

impl Write<'_> {
    /// Records that a builder's breakages were evaluated on this basis. `unsettled` are the cases of the breakages
    /// that this changed: the next evaluation may change them again, whatever its news is.
    pub async fn mark_builder_settled(
        &mut self,
        builder: BuilderId,
        basis: Sha256,
        unsettled: &BTreeSet<CaseId>,
    ) -> Result<()> {
        let (basis, unsettled) = (basis.0.as_slice(), json(unsettled)?);
        let settled = sqlx::query!(
            "update builder set breakage_basis = ?, cases_to_recheck = ? where id = ?",
            basis,
            unsettled,
            builder.0
        );
        one_row(settled.execute(&mut *self.connection).await?, "there is no such builder")
    }
}
