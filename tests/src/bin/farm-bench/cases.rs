//! Suites whose results hardly change: what a build of ten thousand cases costs the master and its database, and how fast
//! one case's history is read. With the real store and the real rules, in this process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::project_inputs::ProjectInputs;
use domain::results::{CaseList, FailureMessage, Results, Verdicts};
use domain::words::ids::{BranchId, BuilderId, PinId, Timestamp, TrunkId, WorkerId};
use domain::words::states::AttemptState;
use domain::words::{BreakageState, Reason, Trust};
use master::settle::breakages::reconsider;
use master::settle::report::AttemptReport;
use master::settle::settle_report;
use protocol::{Recipe, RecipeStep, Sha256, StepEnd, StepKind, WorkerFacts};
use store::{HistoryNews, NewBuild, NewChange, StepResult, Store};

use crate::scene::processor_time;
use crate::table::{Table, milliseconds, quantile};

const CASES: usize = 10_000;
const BUILDS: usize = 1_000;
/// One case in a thousand changes its verdict from build to build.
const TURNS: usize = CASES / 1_000;
/// For the history of one case.
const LONG: usize = 10_000;
const FEW_CASES: usize = 100;
const READS: usize = 20;

pub fn measure(table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        small(table).await?;
        fast(table).await
    })
}

/// Measured twice: storing results only, and with all rules, which make one or two breakages per build.
async fn small(table: &mut Table) -> Result<()> {
    for (what, settled) in [("results kept", false), ("breakages opened and ended, too", true)] {
        let folder = tempfile::tempdir()?;
        let mut suite = Suite::lay(folder.path(), CASES).await?;
        suite.rest().await?;
        let empty = bytes(folder.path())?;
        // The first build adds the names.
        suite.run(TURNS, settled).await?;
        suite.rest().await?;
        let named = bytes(folder.path())?.saturating_sub(empty);
        let me = std::process::id();
        let (before, began) = (processor_time(me)?, Instant::now());
        for _ in 0..BUILDS {
            suite.run(TURNS, settled).await?;
        }
        let (used, took) = (processor_time(me)?.saturating_sub(before), began.elapsed());
        suite.store.clone().close().await;
        let grown = bytes(folder.path())?.saturating_sub(empty);
        let each = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3 / BUILDS as f64);
        table.row(
            format!("{BUILDS} builds of {CASES} cases, {TURNS} changing, {what}: database"),
            format!("{:.2} MB", grown as f64 / 1e6),
            format!(
                "the names {:.2} MB, then {} bytes a build",
                named as f64 / 1e6,
                (grown - named) / BUILDS as u64
            ),
        );
        table.row(
            "  master's processor time a build",
            each(used),
            format!("{} each from first to last", each(took)),
        );
    }
    Ok(())
}

async fn fast(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut suite = Suite::lay(folder.path(), FEW_CASES).await?;
    for _ in 0..LONG {
        suite.run(1, false).await?;
    }
    let builder = suite.builder.0;
    let mut times = Vec::new();
    for number in 0..READS {
        let name = name(number * FEW_CASES / READS);
        let began = Instant::now();
        let page = suite.store.snapshot().await?.read().case_page(builder, &name, 200, 60).await?;
        times.push(began.elapsed());
        anyhow::ensure!(page.case_history.len() == 60, "the history of `{name}` is not whole");
    }
    table.row(
        format!("history of one case over {LONG} builds, median of {READS}"),
        milliseconds(quantile(&times, 0.5)),
        format!("at most {}", milliseconds(quantile(&times, 1.0))),
    );
    Ok(())
}

/// One project with one builder, run on one change after another.
struct Suite {
    store: Store,
    trunk: TrunkId,
    branch: BranchId,
    builder: BuilderId,
    pin: PinId,
    recipe: Sha256,
    worker: WorkerId,
    list: CaseList,
    bad: Vec<bool>,
    position: i64,
    dice: u64,
}

fn name(case: usize) -> String {
    format!("tests/test_module_{:03}.py::TestThings::test_case_{case:05}", case / 100)
}

impl Suite {
    async fn lay(folder: &Path, cases: usize) -> Result<Suite> {
        let store = Store::open(folder).await?;
        let step = RecipeStep {
            name: "test".into(),
            kind: StepKind::Test,
            run: "true".into(),
            network: false,
            report: None,
            patterns: None,
            time_ms: None,
            silence_ms: None,
        };
        let recipe = Recipe { steps: vec![step], ..Recipe::default() };
        let laid = store.write(move |tx| {
            Box::pin(async move {
                let trunk = tx.put_trunk("lang", "https://example.org/lang.git").await?;
                let branch = tx.put_branch(trunk, "main").await?;
                let platform = tx.put_platform("linux-x86_64").await?;
                let project = tx.put_project(trunk, "things", "https://example.org/things.git").await?;
                let recipe = tx.put_recipe(&recipe).await?;
                let side = ProjectInputs { revision: "f".repeat(40), recipe, needs: Default::default() };
                let pin = tx.propose_pin(project, branch, &side, Timestamp(0)).await?;
                tx.take_pin(pin, Timestamp(0)).await?;
                let builder = tx.put_builder(branch, platform, Some(project)).await?;
                tx.register_join_request(&[7; 32], "ada", &WorkerFacts::default(), Timestamp(0)).await?;
                tx.approve_worker("07070707", "Ada", Trust::Maker, Timestamp(0)).await?;
                let worker = tx.worker_by_key(&[7; 32]).await?.map(|worker| worker.id);
                Ok((trunk, branch, builder, pin, recipe, worker))
            })
        });
        let (trunk, branch, builder, pin, recipe, worker) = laid.await?;
        let list = CaseList::from_text((0..cases).map(|case| name(case) + "\n").collect())?;
        Ok(Suite {
            store,
            trunk,
            branch,
            builder,
            pin,
            recipe,
            worker: worker.context("the worker just asked to join")?,
            list,
            bad: vec![false; cases],
            position: 0,
            dice: 1,
        })
    }

    /// Checkpoints everything that is committed into the database file.
    async fn rest(&mut self) -> Result<()> {
        let data = self.store.data().to_path_buf();
        self.store.clone().close().await;
        self.store = Store::open(&data).await?;
        Ok(())
    }

    /// Adds the next change and its build, in which this many verdicts change; `settled` by all rules, or only stored.
    async fn run(&mut self, turns: usize, settled: bool) -> Result<()> {
        self.turn(turns);
        let results = self.results();
        let (list, position) = (self.list.clone(), self.position + 1);
        self.position = position;
        let at = Timestamp(position * 60_000);
        let new = NewBuild {
            builder: self.builder,
            change: domain::words::ids::ChangeId(0),
            pin: Some(self.pin),
            toolchain_inputs: None,
            recipe: self.recipe,
            reason: Reason::Tip,
            breakage: None,
            only_worker: None,
            inputs: Sha256(std::array::from_fn(|byte| (position >> (8 * (byte % 8))) as u8)),
            artifact: None,
        };
        let (trunk, branch, builder, worker) = (self.trunk, self.branch, self.builder, self.worker);
        let written = self.store.write(move |tx| {
            Box::pin(async move {
                let change = tx.put_change(trunk, &commit(position), at).await?;
                tx.append_position(branch, position, change).await?;
                let build = tx.enqueue_build(&NewBuild { change, ..new }, at).await?;
                let attempt = tx.lease_build(build, worker, at, at).await?;
                tx.accept_attempt(attempt, worker, at).await?;
                tx.start_step(attempt, 0, "test", StepKind::Test, at).await?;
                let code = i32::from(!results.failure_messages.is_empty());
                let result = StepResult { end: &StepEnd::Exit { code }, duration_ms: 1_000, warnings: &[] };
                tx.end_step(attempt, 0, &result, at).await?;
                if settled {
                    let attempt = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
                    let report = AttemptReport {
                        results: Some((list, results)),
                        artifact: None,
                        infra_failure: None,
                        bare: false,
                    };
                    settle_report(tx, &attempt, report, at).await?;
                    // The range is one change, so its search ends soon.
                    for breakage in tx.undecided_breakages().await? {
                        let (parent, culprit) = (Some(breakage.good), Some(breakage.bad));
                        tx.record_search_result(breakage.id, BreakageState::Named, culprit, parent, at)
                            .await?;
                        let row = tx.builder(builder).await?;
                        reconsider(tx, &row, HistoryNews::Cases(breakage.cases), None, at).await?;
                    }
                } else {
                    tx.end_attempt(attempt, AttemptState::Ended, None, at).await?;
                    tx.put_results(build, &list, &results).await?;
                    tx.finish_build(build, &passed(attempt), at).await?;
                    tx.make_history(builder, build).await?;
                }
                Ok(())
            })
        });
        Ok(written.await?)
    }

    /// Half of the transitions are failures and half are repairs, as far as there is something to repair.
    fn turn(&mut self, turns: usize) {
        let bad: Vec<usize> = (0..self.bad.len()).filter(|&case| self.bad[case]).collect();
        let repaired = bad.len().min(turns / 2);
        bad.iter().take(repaired).for_each(|&case| self.bad[case] = false);
        for _ in repaired..turns {
            // A small number generator is enough to choose cases.
            self.dice =
                self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let case = (self.dice >> 33) as usize % self.bad.len();
            self.bad[case] = !self.bad[case];
        }
    }

    fn results(&self) -> Results {
        let letters: String = self.bad.iter().map(|bad| if *bad { 'F' } else { 'P' }).collect();
        let bad = (0u32..).zip(&self.bad).filter(|(_, bad)| **bad);
        let notes = bad.map(|(case, _)| FailureMessage {
            case,
            duration_ms: Some(12),
            text: format!("AttributeError: module 'things' has no attribute 'part_{case}'"),
        });
        Results {
            cases: self.list.sha256(),
            verdicts: Verdicts::from_letters(letters).expect("these are letters of verdicts"),
            complete: true,
            repeats: BTreeMap::new(),
            failure_messages: notes.collect(),
        }
    }
}

fn passed(attempt: domain::words::ids::AttemptId) -> store::Finish {
    let judged =
        domain::outcome::BuildResult { outcome: domain::outcome::Outcome::Passed, cause: None, step: None };
    store::Finish { judged, attempt: Some(attempt), artifact: None, same_as: None }
}

fn commit(position: i64) -> NewChange {
    NewChange {
        sha: format!("{position:040x}"),
        author: "Grace".into(),
        author_mail: "grace@example.org".into(),
        committed_at: Timestamp(position * 60_000),
        title: format!("Change number {position}"),
        message: format!("Change number {position}\n"),
        path_count: 1,
        paths: vec!["lang.c".into()],
    }
}

/// The size of the database with all its files.
fn bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("farm.db") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
