//! One build from its first step to its result.

use std::path::{Path, PathBuf};
use std::time::Instant;

use domain::readers::{CaseRun, MAX_CASES, Reading};
use domain::results::{self, CaseList, Results};
use protocol::{Event, InfraFailure, RecipeStep, ReportFormat, StepEnd, StepKind};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::archive::{self, ArchiveError, PackedTree};
use super::blocking::{blocking, infra_failure};
use super::job::{ExecutionEvent, ExecutionJob, ExecutionResult};
use super::outputs;
use super::process::OutputMode;
use super::report::{self, CapturedOutput};
use super::sandbox::Sandbox;
use super::step::{self, EndedStep, StepTask};
use super::step_result;
use super::variables::{self, Variables};
use super::workspace::{MountedCache, ToolchainUse, Workspace};
use crate::caches::Writing;
use crate::disk_usage::free_bytes;

/// With less free disk space than this after a step failed, we blame the disk and not the step.
const MIN_FREE_BYTES: u64 = 64 << 20;

/// Runs the build to its end and reports every event but `Finished`. The caller sends that one after it has uploaded
/// what is in the [`ExecutionResult`]. `out` may be slow; read its receiver until this returns, or drop it.
/// Call it on a runtime's own thread, not in `block_in_place`: bubblewrap dies with the thread that started it.
pub async fn execute(
    job: ExecutionJob,
    out: Sender<ExecutionEvent>,
    stop: CancellationToken,
) -> ExecutionResult {
    let executed = match Build::prepare(job).await {
        Ok(build) => build.run(&out, &stop).await,
        Err(infra_failure) => Err(infra_failure),
    };
    executed.unwrap_or_else(|infra_failure| ExecutionResult {
        infra_failure: Some(infra_failure),
        ..ExecutionResult::default()
    })
}

struct Build {
    job: ExecutionJob,
    workspace: Workspace,
    variables: Variables,
}

/// How a step ended, and its report if it declares one.
struct FinishedStep {
    end: StepEnd,
    reading: Option<Reading>,
    /// The end of its log.
    last_output: Vec<u8>,
    /// The toolchain, after the last step of one.
    artifact: Option<PackedTree>,
}

/// What became of an installed tree.
enum Packing {
    Packed(PackedTree),
    /// It holds something that no toolchain may: a sentence.
    Refused(String),
}

/// The cases of all steps so far.
struct CaseCollector {
    steps: Vec<CaseRun>,
    reported: Vec<CaseRun>,
    is_complete: bool,
}

impl CaseCollector {
    fn new() -> CaseCollector {
        CaseCollector { steps: vec![], reported: vec![], is_complete: true }
    }

    fn add(&mut self, step: &RecipeStep, finished: FinishedStep) {
        self.steps.extend(step_result::step_case(
            &step.name,
            &finished.end,
            finished.reading.as_ref(),
            &finished.last_output,
        ));
        if let Some(reading) = finished.reading {
            self.is_complete &= step_result::names_all_cases(&finished.end, &reading);
            self.steps.extend(step_result::incomplete_step_fault(&step.name, &finished.end, &reading));
            let room = MAX_CASES.saturating_sub(self.reported.len());
            let cases = step_result::counted_cases(&finished.end, reading);
            self.is_complete &= cases.len() <= room;
            self.reported.extend(cases.into_iter().take(room));
        }
    }

    /// The steps come first: if there are too many cases, theirs are not the ones to be dropped.
    fn collect(self) -> (CaseList, Results) {
        results::collect(self.steps.into_iter().chain(self.reported), self.is_complete)
    }
}

impl Build {
    async fn prepare(job: ExecutionJob) -> Result<Build, InfraFailure> {
        blocking(move || {
            let workspace = Workspace::create(&job.folder, &job.inputs, &job.plan.cases)
                .map_err(|e| infra_failure("creating the workspace", &e))?;
            let are_mounted = job.sandbox != Sandbox::None;
            workspace.link_caches(are_mounted).map_err(|e| infra_failure("linking the caches", &e))?;
            let variables = variables::for_plan(
                &job.plan,
                &job.sandbox.paths(&workspace),
                job.inputs.version.as_deref(),
                job.cpus,
            );
            Ok(Build { job, workspace, variables })
        })
        .await
    }

    async fn run(
        self,
        out: &Sender<ExecutionEvent>,
        stop: &CancellationToken,
    ) -> Result<ExecutionResult, InfraFailure> {
        send(out, Event::Started { environment: self.job.environment.clone() }).await;
        let mut cases = CaseCollector::new();
        let mut may_go_on = true;
        let mut artifact = None;
        let steps = self.steps();
        for (index, step) in (0u16..).zip(&steps) {
            let is_last = usize::from(index) + 1 == steps.len();
            let finished = match self.step(index, step, is_last, out, stop).await {
                Ok(mut finished) => {
                    artifact = finished.artifact.take();
                    finished
                }
                Err(infra_failure) => return Ok(self.interrupted(cases, infra_failure)),
            };
            if finished.end == StepEnd::Cancelled || stop.is_cancelled() {
                return Ok(ExecutionResult::default());
            }
            // A test that fails does not show whether the next test can run.
            may_go_on = finished.end == (StepEnd::Exit { code: 0 }) || step.kind == StepKind::Test;
            cases.add(step, finished);
            if !may_go_on {
                break;
            }
        }
        self.finish(cases, may_go_on, artifact).await
    }

    /// The result of a build whose steps have ended; `has_run_all` unless a failed step kept later ones from running.
    async fn finish(
        &self,
        mut cases: CaseCollector,
        has_run_all: bool,
        artifact: Option<PackedTree>,
    ) -> Result<ExecutionResult, InfraFailure> {
        let declares_reports = self.job.plan.recipe.steps.iter().any(|step| step.report.is_some());
        // A step that died has a failure message.
        let has_message = cases.steps.iter().any(|case| case.text.is_some());
        let has_results = self.tests_a_toolchain() || declares_reports || has_message;
        // The steps after a failed one would have reported cases that are now unreached.
        cases.is_complete &= has_run_all;
        let lock = self.copied_lock().await?;
        let answer = if has_run_all { self.answer().await? } else { None };
        Ok(ExecutionResult {
            results: has_results.then(|| cases.collect()),
            artifact,
            lock,
            answer,
            infra_failure: None,
        })
    }

    /// An infra failure voids the step in which it happened; the results of the steps before it stand.
    fn interrupted(&self, mut cases: CaseCollector, infra_failure: InfraFailure) -> ExecutionResult {
        cases.is_complete = false;
        let results = (self.tests_a_toolchain() && !cases.steps.is_empty()).then(|| cases.collect());
        ExecutionResult { results, infra_failure: Some(infra_failure), ..ExecutionResult::default() }
    }

    fn tests_a_toolchain(&self) -> bool {
        matches!(self.workspace.toolchain, ToolchainUse::Using(_))
    }

    /// The recipe's steps, and for a toolchain its smoke command as the last one. That is not a test: without its
    /// success there is no toolchain.
    fn steps(&self) -> Vec<RecipeStep> {
        let recipe = &self.job.plan.recipe;
        let smoke = match &self.workspace.toolchain {
            ToolchainUse::Making(_) => recipe.smoke.as_ref(),
            ToolchainUse::Using(_) => None,
        };
        let smoke = smoke.map(|run| RecipeStep {
            name: "smoke".into(),
            kind: StepKind::Install,
            run: run.clone(),
            network: false,
            report: None,
            patterns: None,
            time_ms: None,
            silence_ms: None,
        });
        recipe.steps.iter().cloned().chain(smoke).collect()
    }

    async fn step(
        &self,
        index: u16,
        step: &RecipeStep,
        is_last: bool,
        out: &Sender<ExecutionEvent>,
        stop: &CancellationToken,
    ) -> Result<FinishedStep, InfraFailure> {
        self.clear_folders().await?;
        send(out, Event::StepStarted { step: index, name: step.name.clone() }).await;
        let started = Instant::now();
        let format = self.report_format(step);
        let (outputs, is_captured) = self.output_mode(format);
        let captured = is_captured.then(|| self.captured_path(index));
        let task = StepTask {
            index,
            step,
            limits: &self.job.plan.recipe.limits,
            sandbox: &self.job.sandbox,
            workspace: &self.workspace,
            variables: &self.variables,
            capture: captured.as_deref(),
            outputs,
            folder: &self.job.folder,
            disk_bytes: self.job.disk_bytes,
        };
        let writings = self.begin_writings(step.kind).await?;
        let EndedStep { end, mut last_output } = step::run(&task, out, stop).await?;
        let cache_warnings = end_writings(writings, &end).await?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let reading =
            if end == StepEnd::Cancelled { None } else { self.read_report(step, format, captured).await? };
        let end = match &reading {
            Some(reading) => step_result::judge(end, reading),
            None => end,
        };
        if end != (StepEnd::Exit { code: 0 }) && end != StepEnd::Cancelled {
            self.check_free_space().await?;
        }
        let (end, artifact) = match self.packed(step, is_last, &end).await? {
            Some(Packing::Packed(artifact)) => (end, Some(artifact)),
            Some(Packing::Refused(sentence)) => {
                let line = format!("error: the toolchain is refused: {sentence}\n").into_bytes();
                last_output.extend(&line);
                // If nobody listens, the build ends at its next step.
                let _ = out.send(ExecutionEvent::Log { step: index, bytes: line }).await;
                (StepEnd::RefusedTree, None)
            }
            None => (end, None),
        };
        let mut warnings = reading.as_ref().map_or(vec![], |reading| reading.warnings.clone());
        warnings.extend(cache_warnings);
        if step.kind == StepKind::Fetch && end == (StepEnd::Exit { code: 0 }) {
            warnings.extend(self.copy_lock().await?);
        }
        send(out, Event::StepEnded { step: index, end: end.clone(), duration_ms, warnings }).await;
        Ok(FinishedStep { end, reading, last_output, artifact })
    }

    /// What an earlier step has locked or left must not hinder this one.
    async fn clear_folders(&self) -> Result<(), InfraFailure> {
        let workspace = self.workspace.clone();
        blocking(move || {
            workspace.unlock_folders().map_err(|e| infra_failure("opening the build's folders", &e))?;
            report::remove_old_reports(&workspace.out).map_err(|e| infra_failure("clearing $FARM_OUT", &e))
        })
        .await
    }

    /// Packs the toolchain after the last step, unless a step has failed. A test that fails does not keep it from being used.
    async fn packed(
        &self,
        step: &RecipeStep,
        is_last: bool,
        end: &StepEnd,
    ) -> Result<Option<Packing>, InfraFailure> {
        let is_made = *end == (StepEnd::Exit { code: 0 })
            || (step.kind == StepKind::Test && *end != StepEnd::Cancelled);
        match &self.workspace.toolchain {
            ToolchainUse::Making(root) if is_last && is_made => self.pack(root).await.map(Some),
            ToolchainUse::Making(_) | ToolchainUse::Using(_) => Ok(None),
        }
    }

    /// Opens the caches that a step of this kind may write to.
    async fn begin_writings(&self, kind: StepKind) -> Result<Vec<(String, Writing)>, InfraFailure> {
        let written = self.workspace.caches.iter().filter(|cache| cache.declared.write == kind);
        let written: Vec<MountedCache> = written.cloned().collect();
        blocking(move || {
            let begin = |cache: MountedCache| Ok((cache.declared.name, cache.guard.begin_writing()?));
            let begun: std::io::Result<_> = written.into_iter().map(begin).collect();
            begun.map_err(|e| infra_failure("opening a cache", &e))
        })
        .await
    }

    /// How a step's outputs are read, and whether they are kept in a file.
    fn output_mode(&self, format: ReportFormat) -> (OutputMode, bool) {
        match report::captured_output(format) {
            // The answer is read from the standard output alone.
            CapturedOutput::Nothing | CapturedOutput::Together if self.job.plan.answer => {
                (OutputMode::Separate, true)
            }
            CapturedOutput::Nothing => (OutputMode::Together, false),
            CapturedOutput::Separate => (OutputMode::Separate, true),
            CapturedOutput::Together => (OutputMode::Together, true),
        }
    }

    fn captured_path(&self, index: u16) -> PathBuf {
        self.workspace.captured.join(index.to_string())
    }

    fn copied_lock_path(&self) -> PathBuf {
        self.job.folder.join("lock")
    }

    /// Copies the lock that a fetch step wrote, if the project inputs have none yet. Returns a warning if the lock
    /// cannot be used.
    async fn copy_lock(&self) -> Result<Option<String>, InfraFailure> {
        if self.workspace.lock.is_some() || !self.tests_a_toolchain() {
            return Ok(None);
        }
        let (from, to) = (self.workspace.out.join("lock"), self.copied_lock_path());
        blocking(move || outputs::copy_lock(&from, &to).map_err(|e| infra_failure("copying the lock", &e)))
            .await
    }

    async fn copied_lock(&self) -> Result<Option<PathBuf>, InfraFailure> {
        let copied = self.copied_lock_path();
        blocking(move || Ok(copied.exists().then_some(copied))).await
    }

    async fn answer(&self) -> Result<Option<String>, InfraFailure> {
        let last = self.steps().len().checked_sub(1).filter(|_| self.job.plan.answer);
        let Some(last) = last.and_then(|last| u16::try_from(last).ok()) else { return Ok(None) };
        let captured = self.captured_path(last);
        blocking(move || {
            Ok(Some(outputs::first_line(&captured).map_err(|e| infra_failure("reading the answer", &e))?))
        })
        .await
    }

    /// A suite that declares no report may still show in its log what failed, or that it ran no test.
    fn report_format(&self, step: &RecipeStep) -> ReportFormat {
        match (step.report, step.kind, self.tests_a_toolchain()) {
            (Some(declared), _, _) => declared,
            (None, StepKind::Test, true) => ReportFormat::Lines,
            (None, _, _) => ReportFormat::Exit,
        }
    }

    async fn read_report(
        &self,
        step: &RecipeStep,
        format: ReportFormat,
        captured: Option<PathBuf>,
    ) -> Result<Option<Reading>, InfraFailure> {
        if format == ReportFormat::Exit {
            return Ok(None);
        }
        if let (Some(patterns), Some(captured)) = (step.patterns.clone(), captured.clone()) {
            return blocking(move || Ok(Some(report::read_by_patterns(&patterns, &captured)))).await;
        }
        let out = self.workspace.out.clone();
        blocking(move || Ok(Some(report::read(format, &out, captured.as_deref())))).await
    }

    async fn pack(&self, root: &Path) -> Result<Packing, InfraFailure> {
        let root = root.to_path_buf();
        let prefix = self.job.sandbox.paths(&self.workspace).toolchain.to_path_buf();
        let to = self.job.folder.join("toolchain.tar.zst");
        let threads = self.job.cpus;
        blocking(move || match archive::pack(&root, &prefix, &to, threads) {
            Ok(packed) => Ok(Packing::Packed(packed)),
            Err(refused) if refused.is_of_the_tree() => Ok(Packing::Refused(refused.to_string())),
            Err(ArchiveError::Io { doing, source }) => Err(infra_failure(&doing, &source)),
            Err(e) => Err(InfraFailure::Toolchain { detail: e.to_string() }),
        })
        .await
    }

    async fn check_free_space(&self) -> Result<(), InfraFailure> {
        let folder = self.job.folder.clone();
        blocking(move || {
            match free_bytes(&folder) {
                Some(free) if free < MIN_FREE_BYTES => Err(InfraFailure::NoSpace {
                    detail: format!("only {} MiB are free on the disk of the workspace", free >> 20),
                }),
                // If the free space is unknown, we do not claim that the disk is full.
                Some(_) | None => Ok(()),
            }
        })
        .await
    }
}

/// Closes the caches that a step may have written to. Returns a warning for each that is empty now.
async fn end_writings(writings: Vec<(String, Writing)>, end: &StepEnd) -> Result<Vec<String>, InfraFailure> {
    // What was stopped may be half written.
    let ended_by_itself = matches!(end, StepEnd::Exit { .. });
    blocking(move || {
        let emptied = writings.into_iter().filter_map(|(name, writing)| {
            let reason = if ended_by_itself { writing.end()? } else { "the step was stopped".into() };
            Some(format!("the cache `{name}` was emptied: {reason}"))
        });
        Ok(emptied.collect())
    })
    .await
}

async fn send(out: &Sender<ExecutionEvent>, event: Event) {
    // If nobody listens, the next step that runs notices it and the build ends.
    let _ = out.send(ExecutionEvent::Event(event)).await;
}
