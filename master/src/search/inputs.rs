//! Loads what a search goes by.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::culprit::{Cost, Tally};
use domain::search::suspicion::suspicion;
use domain::search::{AvailableWorker, Candidate, CandidateToolchain, PauseReason, SearchInputs, SearchRun};
use domain::words::ids::{ChangeId, PinId, Timestamp, WorkerId};
use domain::words::{BuilderKind, Trust};
use store::{Breakage, Builder, BuilderPace, HistoryCell, MAX_LATER, Write};

use crate::dispatch::AWAY;
use crate::farm::connections::ConnectedWorker;
use crate::schedule::{by_change, platforms_of};

/// Runs older than this tell nothing of a case's noise.
const NOISE: Duration = Duration::from_secs(45 * 24 * 3600);
/// A build that nobody has timed yet is thought to take so long.
const USUAL_SECONDS: f64 = 60.0;

/// A search with everything that it goes by.
pub struct LoadedSearch {
    pub builder: Builder,
    /// The toolchains that its suites run with, where it is not about a toolchain itself.
    pub toolchains: Option<Builder>,
    pub cells: BTreeMap<ChangeId, HistoryCell>,
    pub changes: Vec<ChangeId>,
    /// The project side that its runs are of; none of a toolchain's.
    pub pin: Option<PinId>,
    pub facts: SearchInputs,
}

/// Why it cannot be loaded, if it cannot. `is_wide` looks behind the bad end as well.
pub async fn load(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    present: &[ConnectedWorker],
    is_wide: bool,
    at: Timestamp,
) -> store::Result<Result<LoadedSearch, PauseReason>> {
    let builder = tx.builder(breakage.builder).await?;
    let builders = tx.builders().await?;
    if !builders.iter().any(|active| active.id == builder.id) {
        return Ok(Err(PauseReason::Retired));
    }
    let toolchains = match builder.kind {
        BuilderKind::Toolchain => None,
        BuilderKind::Suite => {
            let of_it = builders.into_iter().find(|other| {
                other.kind == BuilderKind::Toolchain
                    && other.branch == builder.branch
                    && other.platform == builder.platform
            });
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
    let cells = match &toolchains {
        None => Default::default(),
        Some(toolchains) => by_change(tx.history_cells(toolchains.id).await?),
    };
    let pin = tx.project_inputs_of(builder.id, breakage.bad).await?;
    let facts =
        facts(tx, breakage, &builder, toolchains.as_ref(), pin, &cells, &changes, present, at).await?;
    Ok(Ok(LoadedSearch { builder, toolchains, cells, changes, pin, facts }))
}

#[allow(clippy::too_many_arguments, reason = "each is a table of its own")]
async fn facts(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    builder: &Builder,
    toolchains: Option<&Builder>,
    pin: Option<PinId>,
    cells: &BTreeMap<ChangeId, HistoryCell>,
    changes: &[ChangeId],
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<SearchInputs> {
    let runs = runs(tx, breakage, changes, pin).await?;
    let raised =
        runs.iter().find(|run| run.is_alarm && changes[run.at] == breakage.bad).map(|run| run.worker);
    let alarm = raised.or(breakage.search_worker);
    let mut range = Vec::with_capacity(changes.len());
    for &change in changes {
        let toolchain = match toolchains {
            None => CandidateToolchain::Itself,
            Some(toolchains) => toolchain(tx, toolchains, cells.get(&change)).await?,
        };
        range.push(Candidate { change, toolchain });
    }
    let since = Timestamp(at.0 - NOISE.as_millis() as i64);
    let known = tx.flake_history_until(builder.id, &breakage.cases, since, Some(breakage.good)).await?;
    let cases = known.into_iter().map(|(case, history)| {
        let (good, bad) = (history.good, history.bad);
        let good = Tally { fails: good.odd, passes: good.runs - good.odd };
        (case, (good, Tally { fails: bad.runs - bad.odd, passes: bad.odd }))
    });
    let text = tx.first_failure_message(builder.id, breakage.bad, &breakage.cases).await?.unwrap_or_default();
    let mut paths = tx.paths_of(&changes[1..]).await?;
    let paths: Vec<_> = changes[1..].iter().map(|change| paths.remove(change).unwrap_or_default()).collect();
    let suite = tx.pace(builder.id).await?;
    let built = match toolchains {
        Some(toolchains) => tx.pace(toolchains.id).await?,
        None => BuilderPace::default(),
    };
    let build = if toolchains.is_some() { seconds(built) } else { 0.0 };
    let spent = tx.spent(breakage.id).await?;
    let (available_workers, await_alarm) =
        available_workers(tx, breakage, builder, alarm, present, at).await?;
    Ok(SearchInputs {
        range,
        suspicion: suspicion(&paths, &text),
        cases: cases.collect(),
        runs,
        past: tx.past_searches(builder.branch).await?,
        // One in twenty before anything was built.
        unbuildable: (1.0 + f64::from(built.unbuilt)) / (20.0 + f64::from(built.unbuilt + built.built)),
        cost: Cost { build, suite: seconds(suite) },
        spent_seconds: spent.time_ms as f64 / 1e3,
        probes: spent.probes,
        pending: pending(tx, breakage, toolchains, cells, changes).await?,
        available_workers,
        alarm,
        await_alarm,
    })
}

fn seconds(pace: BuilderPace) -> f64 {
    pace.mean_ms.map_or(USUAL_SECONDS, |mean| (mean as f64 / 1e3).max(0.01))
}

async fn toolchain(
    tx: &mut Write<'_>,
    toolchains: &Builder,
    cell: Option<&HistoryCell>,
) -> store::Result<CandidateToolchain> {
    let Some(cell) = cell else { return Ok(CandidateToolchain::Unknown) };
    Ok(match (cell.outcome, cell.artifact) {
        (None, _) => CandidateToolchain::Unknown,
        (Some(_), Some(artifact)) if cell.made => CandidateToolchain::Built(artifact),
        (Some(_), None) if cell.made => {
            // What came of the last time that a pruned toolchain was to be made anew.
            match tx.forced_build(toolchains.id, cell.change).await? {
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
    change: ChangeId,
) -> store::Result<bool> {
    Ok(tx.forced_build(toolchains.id, change).await?.is_some_and(|build| build.outcome.is_none()))
}

/// Whatever was run for whatever reason is evidence. What made history at the ends raised the alarm.
async fn runs(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    changes: &[ChangeId],
    pin: Option<PinId>,
) -> store::Result<Vec<SearchRun>> {
    let evidence = tx.evidence(breakage, changes).await?;
    let late = tx.late_evidence(breakage.builder, &breakage.cases).await?;
    let run = |row: store::Evidence, is_late: bool| {
        Some(SearchRun {
            at: changes.iter().position(|change| *change == row.change)?,
            worker: row.worker,
            environment: row.environment,
            is_alarm: !is_late
                && row.reason.makes_history()
                && [breakage.good, breakage.bad].contains(&row.change),
            verdicts: row
                .verdicts
                .into_iter()
                .map(|(case, said)| (case, breakage.regression_kind(case).plain(said)))
                .collect(),
        })
    };
    let all = evidence.into_iter().map(|row| (row, false)).chain(late.into_iter().map(|row| (row, true)));
    Ok(all.filter(|(row, _)| row.pin == pin).filter_map(|(row, is_late)| run(row, is_late)).collect())
}

/// Changes for which a probe, or a toolchain to probe with, is under way.
async fn pending(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    toolchains: Option<&Builder>,
    cells: &BTreeMap<ChangeId, HistoryCell>,
    changes: &[ChangeId],
) -> store::Result<Vec<usize>> {
    let under_way = tx.probes_under_way(breakage.id).await?;
    let probing = under_way.iter().filter_map(|(change, _)| changes.iter().position(|other| other == change));
    let mut pending: Vec<usize> = probing.collect();
    for (at, change) in changes.iter().enumerate() {
        let (Some(cell), Some(toolchains)) = (cells.get(change), toolchains) else { continue };
        if cell.outcome.is_none() || (cell.is_pruned() && is_being_made(tx, toolchains, *change).await?) {
            pending.push(at);
        }
    }
    Ok(pending)
}

/// Who may probe now, the alarm's worker first. One of them may have a probe wait for it, so that searches get their
/// share of a busy farm; the others are only asked when they are idle. Says, too, whether to wait for the first.
async fn available_workers(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    builder: &Builder,
    alarm: Option<WorkerId>,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<(Vec<AvailableWorker>, bool)> {
    let needed = match builder.kind {
        BuilderKind::Toolchain => Trust::Maker,
        BuilderKind::Suite => Trust::Counted,
    };
    let platforms = tx.platforms().await?;
    let asked = tx.probes_under_way(breakage.id).await?;
    let mut order: Vec<&ConnectedWorker> = present.iter().collect();
    order.sort_by_key(|present| Some(present.worker) != alarm);
    let mut available_workers: Vec<AvailableWorker> = Vec::new();
    for present in order {
        let row = tx.worker(present.worker).await?;
        let fits = platforms_of(&row.facts, &platforms).contains(&builder.platform);
        if !fits || row.trust.is_none_or(|trust| trust < needed) {
            continue;
        }
        let idle = present.slots.saturating_sub(tx.load_of(present.worker).await?);
        let free = if available_workers.is_empty() && asked.is_empty() { idle.max(1) } else { idle };
        available_workers.push(AvailableWorker { worker: present.worker, free });
    }
    let is_here = available_workers.iter().any(|available_worker| Some(available_worker.worker) == alarm);
    let is_about = match alarm {
        Some(alarm) => tx.worker(alarm).await?.seen_at.is_some_and(|seen| seen + AWAY > at),
        None => false,
    };
    Ok((available_workers, !is_here && is_about))
}
