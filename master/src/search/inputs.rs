//! Loads the inputs of a search: its range, its runs, its cost, and the workers that may take a probe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::breakage::leading_cases;
use domain::culprit::{Cost, Tally};
use domain::dispatch::AWAY;
use domain::dispatch::makers::makers_of;
use domain::project_inputs::InputsId;
use domain::search::selection;
use domain::search::suspicion::{SuspicionClass, Weights, classes, suspicion};
use domain::search::{
    AvailableWorker, Candidate, CandidateToolchain, MAX_RENEWED, PauseReason, SearchInputs, SearchRun,
    budget_since,
};
use domain::words::ids::{CaseId, ChangeId, Timestamp, WorkerId};
use domain::words::platform::platforms_of;
use domain::words::{BuilderKind, Trust};
use store::{Breakage, Builder, BuilderPace, HistoryCell, MAX_LATER, Write};

use crate::farm::connections::ConnectedWorker;
use crate::farm::makers::load_makers;

/// Older runs are no measure of a case's noise today.
const NOISE_PERIOD: Duration = Duration::from_secs(45 * 24 * 3600);
/// How long a build is assumed to take before any was timed.
const USUAL_SECONDS: f64 = 60.0;

/// A search with all its inputs.
pub struct LoadedSearch {
    pub builder: Builder,
    /// The toolchains that its suites run with, where it is not about a toolchain itself.
    pub toolchains: Option<Builder>,
    pub cells: BTreeMap<ChangeId, HistoryCell>,
    pub changes: Vec<ChangeId>,
    /// What its runs have in common: the inputs of its bad end.
    pub with: InputsId,
    /// The cases that lead it.
    pub cases: BTreeSet<CaseId>,
    pub inputs: SearchInputs,
    /// The suspicion class of each change after the good end.
    pub classes: Vec<SuspicionClass>,
}

/// What a search is about, before its runs are loaded.
struct SearchRange<'a> {
    breakage: &'a Breakage,
    builder: &'a Builder,
    toolchains: Option<&'a Builder>,
    cells: &'a BTreeMap<ChangeId, HistoryCell>,
    changes: &'a [ChangeId],
    with: InputsId,
    makers: ToolchainMakers,
}

/// Who can make toolchains with the inputs of a search.
enum ToolchainMakers {
    /// Any maker: no environment is known for them.
    Any,
    /// These, which have their environment.
    Some(BTreeSet<WorkerId>),
}

impl ToolchainMakers {
    async fn load(
        tx: &mut Write<'_>,
        builder: &Builder,
        with: InputsId,
        at: Timestamp,
    ) -> store::Result<ToolchainMakers> {
        let Some(inputs) = with.toolchain else { return Ok(ToolchainMakers::Any) };
        Ok(match tx.toolchain_inputs(inputs).await?.inputs.environment {
            Some(own) => ToolchainMakers::Some(makers_of(&load_makers(tx, at).await?, &builder.label, &own)),
            None => ToolchainMakers::Any,
        })
    }

    fn are_none(&self) -> bool {
        match self {
            ToolchainMakers::Any => false,
            ToolchainMakers::Some(makers) => makers.is_empty(),
        }
    }
}

/// Loads a search, or the reason why it is paused. `is_wide` includes changes after the bad end.
pub async fn load(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    present: &[ConnectedWorker],
    is_wide: bool,
    at: Timestamp,
) -> store::Result<Result<LoadedSearch, PauseReason>> {
    // What a step does follows from its tests, and may have other causes, too: it has no voice in their search.
    let mut leading = breakage.clone();
    leading.cases = leading_cases(&tx.names_of_cases(&breakage.cases).await?);
    let breakage = &leading;
    let builder = tx.builder(breakage.builder).await?;
    let builders = tx.builders().await?;
    if !builders.iter().any(|active| active.id == builder.id) {
        return Ok(Err(PauseReason::Retired));
    }
    let toolchains = match builder.kind {
        BuilderKind::Toolchain => None,
        BuilderKind::Suite => {
            let of_it = builders
                .into_iter()
                .find(|other| other.kind == BuilderKind::Toolchain && other.is_beside(&builder));
            match of_it {
                None => return Ok(Err(PauseReason::Retired)),
                some => some,
            }
        }
    };
    let order = tx.order(builder.branch).await?;
    let ends = [breakage.good, breakage.bad].map(|end| order.iter().position(|change| *change == end));
    let [Some(good), Some(bad)] = ends else { return Ok(Err(PauseReason::Rewound)) };
    let last = if is_wide { (bad + MAX_LATER).min(order.len() - 1) } else { bad };
    let changes = order[good.min(last)..=last].to_vec();
    let with = tx.inputs_of(builder.id, breakage.bad).await?.unwrap_or_default();
    let cells = match &toolchains {
        None => BTreeMap::default(),
        Some(toolchains) => tx.toolchain_cells(toolchains.id, with.toolchain).await?,
    };
    let range = SearchRange {
        breakage,
        builder: &builder,
        toolchains: toolchains.as_ref(),
        cells: &cells,
        changes: &changes,
        with,
        makers: ToolchainMakers::load(tx, &builder, with, at).await?,
    };
    let (classes, suspicion) = load_suspicion(tx, &range).await?;
    let inputs = load_inputs(tx, &range, present, suspicion, at).await?;
    let cases = breakage.cases.clone();
    Ok(Ok(LoadedSearch { builder, toolchains, cells, changes, with, cases, inputs, classes }))
}

async fn load_inputs(
    tx: &mut Write<'_>,
    range: &SearchRange<'_>,
    present: &[ConnectedWorker],
    suspicion: Vec<f64>,
    at: Timestamp,
) -> store::Result<SearchInputs> {
    let &SearchRange { breakage, builder, toolchains, changes, .. } = range;
    let runs = load_runs(tx, range).await?;
    let raised =
        runs.iter().find(|run| run.is_alarm && changes[run.at] == breakage.bad).map(|run| run.worker);
    let alarm = raised.or(breakage.search_worker);
    let mut candidates = Vec::with_capacity(changes.len());
    for &change in changes {
        let toolchain = match toolchains {
            None => CandidateToolchain::Itself,
            Some(toolchains) => match candidate_toolchain(tx, toolchains, range.cells.get(&change)).await? {
                // Made in another environment, it would be another toolchain.
                CandidateToolchain::Unknown if range.makers.are_none() => CandidateToolchain::Broken,
                toolchain => toolchain,
            },
        };
        candidates.push(Candidate { change, toolchain });
    }
    let noise =
        tx.flake_history_before(builder.id, &breakage.cases, at - NOISE_PERIOD, Some(breakage.good)).await?;
    let cases = noise.into_iter().map(|(case, history)| {
        let (good, bad) = (history.good, history.bad);
        let good = Tally { fails: good.odd, passes: good.runs - good.odd };
        (case, (good, Tally { fails: bad.runs - bad.odd, passes: bad.odd }))
    });
    let suite = tx.builder_pace(builder.id).await?;
    let built = match toolchains {
        Some(toolchains) => tx.builder_pace(toolchains.id).await?,
        None => BuilderPace::default(),
    };
    let build = if toolchains.is_some() { seconds(built) } else { 0.0 };
    let splits = tx.splits_of(breakage.id, MAX_RENEWED).await?;
    let spent = tx.search_cost(breakage.id, budget_since(&splits)).await?;
    let (available_workers, await_alarm) = load_available_workers(tx, range, alarm, present, at).await?;
    Ok(SearchInputs {
        range: candidates,
        suspicion,
        cases: cases.collect(),
        runs,
        past: tx.past_searches(builder.branch).await?,
        // One in twenty before anything was built.
        unbuildable: (1.0 + f64::from(built.unbuilt)) / (20.0 + f64::from(built.unbuilt + built.built)),
        cost: Cost { build, suite: seconds(suite) },
        spent_seconds: seconds_of(spent.time_ms),
        probes: spent.probes,
        pending: load_pending(tx, range).await?,
        available_workers,
        alarm,
        await_alarm,
        selects: can_select(tx, range).await?,
    })
}

/// Whether the suite may be asked for the cases in question alone. That one is no longer run, only a whole run shows.
async fn can_select(tx: &mut Write<'_>, range: &SearchRange<'_>) -> store::Result<bool> {
    let SearchRange { breakage, builder, with, .. } = *range;
    let (Some(pin), Some(project)) = (with.pin, builder.project) else { return Ok(false) };
    let recipe = tx.pin(pin).await?.project_inputs.recipe;
    if !tx.recipe(recipe).await?.selects
        || breakage.cases.iter().any(|case| breakage.not_run.contains(case))
        || tx.withdrawn_selection(project, recipe).await?.is_some()
    {
        return Ok(false);
    }
    let names = tx.names_of_cases(&breakage.cases).await?;
    Ok(names.len() == breakage.cases.len() && selection::can_select(names.values().map(String::as_str)))
}

/// The class of each change after the good end, and how suspicious it is by what the trunk's culprits have shown.
async fn load_suspicion(
    tx: &mut Write<'_>,
    range: &SearchRange<'_>,
) -> store::Result<(Vec<SuspicionClass>, Vec<f64>)> {
    let SearchRange { breakage, builder, changes, .. } = *range;
    let message = tx.quoted_message(breakage).await?.map(|quoted| quoted.text).unwrap_or_default();
    let mut paths = tx.paths_of(&changes[1..]).await?;
    let paths: Vec<_> = changes[1..].iter().map(|change| paths.remove(change).unwrap_or_default()).collect();
    let classes = classes(&paths, &message);
    let weights = Weights::learn(&tx.suspicion_records(builder.branch).await?);
    let suspicion = suspicion(&paths, &classes, &weights);
    Ok((classes, suspicion))
}

fn seconds(pace: BuilderPace) -> f64 {
    pace.mean_ms.map_or(USUAL_SECONDS, |mean| seconds_of(mean).max(0.01))
}

/// Milliseconds of a row in seconds.
fn seconds_of(ms: i64) -> f64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
}

async fn candidate_toolchain(
    tx: &mut Write<'_>,
    toolchains: &Builder,
    cell: Option<&HistoryCell>,
) -> store::Result<CandidateToolchain> {
    let Some(cell) = cell else { return Ok(CandidateToolchain::Unknown) };
    Ok(match (cell.outcome, cell.artifact) {
        (None, _) => CandidateToolchain::Unknown,
        (Some(_), Some(artifact)) if cell.made => CandidateToolchain::Built(artifact),
        (Some(_), None) if cell.made => {
            // It was pruned: whether it can be rebuilt, the last rebuild shows.
            match tx.forced_build(toolchains.id, cell.change, cell.inputs.toolchain).await? {
                Some(forced) if forced.outcome.is_some() && forced.artifact.is_none() => {
                    CandidateToolchain::Broken
                }
                Some(_) | None => CandidateToolchain::Unknown,
            }
        }
        (Some(_), _) => CandidateToolchain::Broken,
    })
}

pub async fn is_being_made(
    tx: &mut Write<'_>,
    toolchains: &Builder,
    cell: &HistoryCell,
) -> store::Result<bool> {
    let forced = tx.forced_build(toolchains.id, cell.change, cell.inputs.toolchain).await?;
    Ok(forced.is_some_and(|build| build.outcome.is_none()))
}

/// Loads the runs that are evidence about a breakage, whatever they were made for. Those that made history at the ends of
/// the range raised the alarm.
async fn load_runs(tx: &mut Write<'_>, range: &SearchRange<'_>) -> store::Result<Vec<SearchRun>> {
    let &SearchRange { breakage, changes, with, .. } = range;
    let evidence = tx.evidence(breakage, changes).await?;
    // A late report has no messages: whether a case failed there as it did before a takeover, nobody knows.
    let taken_over = tx.failures_before_takeover(breakage).await?;
    let known = breakage.cases.iter().filter(|case| !taken_over.contains_key(case)).copied().collect();
    let late = tx.late_evidence(breakage.builder, &known).await?;
    let run = |row: store::Evidence, is_late: bool| {
        Some(SearchRun {
            at: changes.iter().position(|change| *change == row.change)?,
            scope: row.scope,
            worker: row.worker,
            environment: row.environment,
            is_alarm: !is_late
                && row.reason.makes_history()
                && [breakage.good, breakage.bad].contains(&row.change),
            verdicts: row
                .verdicts
                .into_iter()
                .map(|(case, verdict)| (case, breakage.regression_kind(case).plain(verdict)))
                .collect(),
        })
    };
    let all = evidence.into_iter().map(|row| (row, false)).chain(late.into_iter().map(|row| (row, true)));
    Ok(all.filter(|(row, _)| row.inputs == with).filter_map(|(row, is_late)| run(row, is_late)).collect())
}

/// The changes for which a probe, or a toolchain to probe with, is under way.
async fn load_pending(tx: &mut Write<'_>, range: &SearchRange<'_>) -> store::Result<Vec<usize>> {
    let under_way = tx.probes_under_way(range.breakage.id).await?;
    let index = |change: &ChangeId| range.changes.iter().position(|other| other == change);
    let mut pending: Vec<usize> = under_way.iter().filter_map(|(change, _)| index(change)).collect();
    for (at, change) in range.changes.iter().enumerate() {
        let (Some(cell), Some(toolchains)) = (range.cells.get(change), range.toolchains) else { continue };
        if cell.outcome.is_none() || (cell.is_pruned() && is_being_made(tx, toolchains, cell).await?) {
            pending.push(at);
        }
    }
    Ok(pending)
}

/// The workers that may take a probe now, the alarm's worker first. One of them may get a probe that waits for it, so that
/// searches get their share of a busy farm; the others get one only when they are idle. Also returns whether to wait for
/// the alarm's worker.
async fn load_available_workers(
    tx: &mut Write<'_>,
    range: &SearchRange<'_>,
    alarm: Option<WorkerId>,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<(Vec<AvailableWorker>, bool)> {
    let builder = range.builder;
    let needed = match builder.kind {
        BuilderKind::Toolchain => Trust::Maker,
        BuilderKind::Suite => Trust::Counted,
    };
    let platforms = tx.platforms().await?;
    let under_way = tx.probes_under_way(range.breakage.id).await?;
    let mut order: Vec<&ConnectedWorker> = present.iter().collect();
    order.sort_by_key(|present| Some(present.worker) != alarm);
    let mut available: Vec<AvailableWorker> = Vec::new();
    for present in order {
        let row = tx.worker(present.worker).await?;
        let fits = platforms_of(&row.facts, &platforms).contains(&builder.platform);
        let is_elsewhere = match (&range.makers, builder.kind) {
            // A toolchain that is made in another environment is no evidence.
            (ToolchainMakers::Some(makers), BuilderKind::Toolchain) => !makers.contains(&present.worker),
            (ToolchainMakers::Some(_), BuilderKind::Suite) | (ToolchainMakers::Any, _) => false,
        };
        if is_elsewhere || !fits || row.trust.is_none_or(|trust| trust < needed) {
            continue;
        }
        let idle = present.slots.saturating_sub(tx.load_of(present.worker).await?);
        let free = if available.is_empty() && under_way.is_empty() { idle.max(1) } else { idle };
        available.push(AvailableWorker { worker: present.worker, free });
    }
    let is_connected = available.iter().any(|worker| Some(worker.worker) == alarm);
    let may_return = match alarm {
        Some(alarm) => tx.worker(alarm).await?.seen_at.is_some_and(|seen| seen + AWAY > at),
        None => false,
    };
    Ok((available, !is_connected && may_return))
}
