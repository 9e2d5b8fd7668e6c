//! Executes one build: its steps one after another in the build's own world, telling all that happens as it happens,
//! and at the end what came of it. Knows nothing of masters, attempts and networks.

pub mod archive;
mod lock;
mod log;
mod memory;
mod outlet;
mod process;
mod report;
mod sandbox;
mod step;
mod variables;
mod workspace;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use domain::readers::{CaseRun, MAX_CASES, Reading};
use domain::results::{self, CaseList, Results};
use nix::sys::statvfs::statvfs;
use protocol::{Environment, Event, InfraFailure, Plan, RecipeStep, ReportFormat, StepEnd, StepKind};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use archive::PackedTree;
use process::OutputMode;
use report::CapturedOutput;
pub use sandbox::{Sandbox, StepUser};
use variables::Variables;
pub use workspace::remove;
use workspace::{ToolchainUse, Workspace};

/// What is to be executed, and with what.
#[derive(Debug, Clone)]
pub struct ExecutionJob {
    pub plan: Plan,
    /// A fresh folder of this build alone; whoever made it removes it, by [`remove`].
    pub folder: PathBuf,
    /// The exported source, without `.git`; it will be written to.
    pub source: PathBuf,
    /// The unpacked toolchain that the plan names; never written to by what is sandboxed.
    pub toolchain: Option<PathBuf>,
    /// The sources of the projects that the plan needs, each in a folder of its name.
    pub needs: Option<PathBuf>,
    /// The lock that the plan names.
    pub lock: Option<PathBuf>,
    pub sandbox: Sandbox,
    pub environment: Environment,
    pub cpus: u32,
}

/// What the master is to hear while the build goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionEvent {
    Event(Event),
    /// 1 to [`protocol::MAX_LOG_BYTES`] bytes.
    Log {
        step: u16,
        bytes: Vec<u8>,
    },
}

/// What came of it. Of a build that was cancelled, nothing; of one that met trouble, what its tests had told before.
#[derive(Debug, Default)]
pub struct ExecutionResult {
    /// The cases of a suite, and of a toolchain whose steps declare reports.
    pub results: Option<(CaseList, Results)>,
    /// The toolchain that was made, as a file in the build's folder.
    pub artifact: Option<PackedTree>,
    /// The lock that a fetch step wrote, as a file in the build's folder.
    pub lock: Option<PathBuf>,
    /// What the last step answered, where the plan asks.
    pub answer: Option<String>,
    pub infra_failure: Option<InfraFailure>,
}

/// Less than this on the disk after a step has failed, and the step is not what failed.
const FULL_BELOW_BYTES: u64 = 64 << 20;

/// Runs the build to its end and tells everything but its `Finished`, which the caller sends once it has delivered
/// what is in the [`ExecutionResult`]. `out` may be slow; its receiver is to be read until this returns, or dropped.
/// Call it on a runtime's own thread, not by `block_in_place`: bubblewrap dies with the thread that started it.
pub async fn execute(
    job: ExecutionJob,
    out: Sender<ExecutionEvent>,
    stop: CancellationToken,
) -> ExecutionResult {
    let build = match Build::prepare(job).await {
        Ok(build) => build,
        Err(infra_failure) => {
            return ExecutionResult { infra_failure: Some(infra_failure), ..ExecutionResult::default() };
        }
    };
    match build.run(&out, &stop).await {
        Ok(ending) => ending,
        Err(infra_failure) => {
            ExecutionResult { infra_failure: Some(infra_failure), ..ExecutionResult::default() }
        }
    }
}

struct Build {
    job: ExecutionJob,
    workspace: Workspace,
    variables: Variables,
}

/// How a step went, and what it reported if it was to report.
struct Done {
    end: StepEnd,
    reading: Option<Reading>,
}

/// The cases of all steps so far.
struct Told {
    steps: Vec<CaseRun>,
    reported: Vec<CaseRun>,
    complete: bool,
}

impl Told {
    fn add(&mut self, step: &RecipeStep, done: Done) {
        self.steps.extend(report::case_of(&step.name, &done.end));
        if let Some(reading) = done.reading {
            self.complete &= report::told_all(&done.end, &reading);
            self.steps.extend(report::broken_off(&step.name, &done.end, &reading));
            let room = MAX_CASES.saturating_sub(self.reported.len());
            let cases = report::cases(&done.end, reading);
            self.complete &= cases.len() <= room;
            self.reported.extend(cases.into_iter().take(room));
        }
    }

    /// The steps come first: of too many cases, theirs are not the ones to be dropped.
    fn collect(self) -> (CaseList, Results) {
        results::collect(self.steps.into_iter().chain(self.reported), self.complete)
    }
}

impl Build {
    async fn prepare(job: ExecutionJob) -> Result<Build, InfraFailure> {
        blocking(move || {
            let workspace =
                Workspace::lay(&job).map_err(|e| infra_failure("laying out the workspace", &e))?;
            let variables = variables::of(&job.plan, &job.sandbox.seen(&workspace), job.cpus);
            Ok(Build { job, workspace, variables })
        })
        .await
    }

    async fn run(
        self,
        out: &Sender<ExecutionEvent>,
        stop: &CancellationToken,
    ) -> Result<ExecutionResult, InfraFailure> {
        tell(out, Event::Started { environment: self.job.environment.clone() }).await;
        let mut told = Told { steps: vec![], reported: vec![], complete: true };
        let mut sound = true;
        for (index, step) in (0u16..).zip(&self.steps()) {
            let done = match self.step(index, step, out, stop).await {
                Ok(done) => done,
                Err(infra_failure) => return Ok(self.broken_off(told, infra_failure)),
            };
            if done.end == StepEnd::Cancelled || stop.is_cancelled() {
                return Ok(ExecutionResult::default());
            }
            // A test that fails says nothing about whether the next test can be run.
            sound = done.end == (StepEnd::Exit { code: 0 }) || step.kind == StepKind::Test;
            told.add(step, done);
            if !sound {
                break;
            }
        }
        let artifact = match &self.workspace.toolchain {
            ToolchainUse::Making(root) if sound => Some(self.pack(root).await?),
            ToolchainUse::Making(_) | ToolchainUse::Using(_) => None,
        };
        let reports = self.job.plan.recipe.steps.iter().any(|step| step.report.is_some());
        let wanted = self.job.toolchain.is_some() || reports;
        // The steps behind a failed one would have told of cases that are now unreached.
        told.complete &= sound;
        let lock = self.lock().await?;
        let answer = if sound { self.answer().await? } else { None };
        Ok(ExecutionResult {
            results: wanted.then(|| told.collect()),
            artifact,
            lock,
            answer,
            infra_failure: None,
        })
    }

    /// Trouble voids the step that it came in; what the tests before it told stands.
    fn broken_off(&self, mut told: Told, infra_failure: InfraFailure) -> ExecutionResult {
        told.complete = false;
        let results = (self.job.toolchain.is_some() && !told.steps.is_empty()).then(|| told.collect());
        ExecutionResult { results, infra_failure: Some(infra_failure), ..ExecutionResult::default() }
    }

    /// The recipe's steps, and for a toolchain its smoke command as the last of them: no test, since without it there
    /// is no toolchain.
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
            time_ms: None,
            silence_ms: None,
        });
        recipe.steps.iter().cloned().chain(smoke).collect()
    }

    async fn step(
        &self,
        index: u16,
        step: &RecipeStep,
        out: &Sender<ExecutionEvent>,
        stop: &CancellationToken,
    ) -> Result<Done, InfraFailure> {
        let out_folder = self.workspace.out.clone();
        blocking(move || report::clear(&out_folder).map_err(|e| infra_failure("clearing $FARM_OUT", &e)))
            .await?;
        tell(out, Event::StepStarted { step: index, name: step.name.clone() }).await;
        let started = Instant::now();
        let format = self.format(step);
        let (outputs, is_captured) = match report::printed(format) {
            // What answers is read from its standard output alone.
            CapturedOutput::Nothing | CapturedOutput::Together if self.job.plan.answer => {
                (OutputMode::Apart, true)
            }
            CapturedOutput::Nothing => (OutputMode::Together, false),
            CapturedOutput::Apart => (OutputMode::Apart, true),
            CapturedOutput::Together => (OutputMode::Together, true),
        };
        let captured = is_captured.then(|| self.captured(index));
        let task = step::Task {
            index,
            step,
            limits: &self.job.plan.recipe.limits,
            sandbox: &self.job.sandbox,
            workspace: &self.workspace,
            variables: &self.variables,
            capture: captured.as_deref(),
            outputs,
        };
        let end = step::run(&task, out, stop).await?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let reading = if end == StepEnd::Cancelled { None } else { self.report(format, captured).await? };
        let end = match &reading {
            Some(reading) => report::judge(end, reading),
            None => end,
        };
        if end != (StepEnd::Exit { code: 0 }) && end != StepEnd::Cancelled {
            self.disk_is_not_full()?;
        }
        let mut warnings = reading.as_ref().map_or(vec![], |reading| reading.warnings.clone());
        if step.kind == StepKind::Fetch && end == (StepEnd::Exit { code: 0 }) {
            warnings.extend(self.take_lock().await?);
        }
        tell(out, Event::StepEnded { step: index, end: end.clone(), duration_ms, warnings }).await;
        Ok(Done { end, reading })
    }

    fn captured(&self, index: u16) -> PathBuf {
        self.workspace.captured.join(index.to_string())
    }

    /// Takes the lock that a fetch step wrote, if this side has none yet. Says why one is not taken.
    async fn take_lock(&self) -> Result<Option<String>, InfraFailure> {
        if self.job.lock.is_some() || self.job.toolchain.is_none() {
            return Ok(None);
        }
        let (from, to) = (self.workspace.out.join("lock"), self.job.folder.join("lock"));
        blocking(move || lock::take(&from, &to).map_err(|e| infra_failure("keeping the lock", &e))).await
    }

    async fn lock(&self) -> Result<Option<PathBuf>, InfraFailure> {
        let taken = self.job.folder.join("lock");
        blocking(move || Ok(taken.exists().then_some(taken))).await
    }

    async fn answer(&self) -> Result<Option<String>, InfraFailure> {
        let last = self.steps().len().checked_sub(1).filter(|_| self.job.plan.answer);
        let Some(last) = last.and_then(|last| u16::try_from(last).ok()) else { return Ok(None) };
        let printed = self.captured(last);
        blocking(move || {
            Ok(Some(lock::first_line(&printed).map_err(|e| infra_failure("reading the answer", &e))?))
        })
        .await
    }

    /// A suite that declares no report may still say in its log what failed, or that it ran nothing.
    fn format(&self, step: &RecipeStep) -> ReportFormat {
        match (step.report, step.kind, self.job.toolchain.is_some()) {
            (Some(declared), _, _) => declared,
            (None, StepKind::Test, true) => ReportFormat::Lines,
            (None, _, _) => ReportFormat::Exit,
        }
    }

    async fn report(
        &self,
        format: ReportFormat,
        captured: Option<PathBuf>,
    ) -> Result<Option<Reading>, InfraFailure> {
        if format == ReportFormat::Exit {
            return Ok(None);
        }
        let out = self.workspace.out.clone();
        blocking(move || Ok(Some(report::read(format, &out, captured.as_deref())))).await
    }

    async fn pack(&self, root: &Path) -> Result<PackedTree, InfraFailure> {
        let root = root.to_path_buf();
        let prefix = self.job.sandbox.seen(&self.workspace).toolchain.to_path_buf();
        let to = self.job.folder.join("toolchain.tar.zst");
        blocking(move || {
            archive::pack(&root, &prefix, &to).map_err(|e| InfraFailure::Toolchain { detail: e.to_string() })
        })
        .await
    }

    fn disk_is_not_full(&self) -> Result<(), InfraFailure> {
        let free = statvfs(&self.job.folder).map(|disk| disk.blocks_available() * disk.fragment_size());
        match free {
            Ok(free) if free < FULL_BELOW_BYTES => Err(InfraFailure::NoSpace {
                detail: format!("{} MiB are free where the build ran", free >> 20),
            }),
            // A disk that cannot be asked is not known to be full.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

async fn tell(out: &Sender<ExecutionEvent>, event: Event) {
    // If nobody listens, the next step to run finds out and the build ends.
    let _ = out.send(ExecutionEvent::Event(event)).await;
}

/// Files are read and written on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InfraFailure> + Send + 'static,
) -> Result<T, InfraFailure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(InfraFailure::Worker { detail: format!("a part of the worker failed: {e}") }))
}

fn infra_failure(doing: &str, e: &io::Error) -> InfraFailure {
    let detail = format!("{doing}: {e}");
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => InfraFailure::NoSpace { detail },
        _ => InfraFailure::Worker { detail },
    }
}

#[cfg(test)]
mod tests;
