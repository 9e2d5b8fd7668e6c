//! What this worker does, for `farm-worker status` and for its log: the running builds with their steps, and what became of the
//! others. Builds write it, the control socket reads it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::results::{CaseList, Results};
use protocol::{Event, InfraFailure, Plan, StepEnd, Verdict};
use serde::{Deserialize, Serialize};

use crate::config::FarmUrl;
use crate::execute::ExecutionEvent;
use crate::session::PauseNotice;

/// What a worker says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Whether a worker runs in the folder.
    pub running: bool,
    pub farm: String,
    /// Its name on the farm, or in `worker.toml` as long as it was not admitted.
    pub name: String,
    pub version: String,
    /// `connected`, or why it is not.
    pub connection: String,
    pub slots: u32,
    pub pause: Option<PauseStatus>,
    /// Whether running steps stand still.
    pub frozen: bool,
    /// Whether it ends when its builds have ended.
    pub draining: bool,
    /// What is wrong with `worker.toml`; the last good version is in force.
    pub config_error: Option<String>,
    pub builds: Vec<BuildStatus>,
    pub ended: EndedBuilds,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseStatus {
    pub reason: String,
    /// In milliseconds since 1970.
    pub until_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStatus {
    pub build: i64,
    pub attempt: i64,
    pub builder: String,
    pub change: String,
    /// Its page.
    pub url: String,
    /// `fetching lua: 61 MB`, `step test`, `reporting`
    pub now: String,
    pub running_ms: u64,
    pub steps: Vec<StepStatus>,
    /// What its cases did, once that is known.
    pub cases: Option<CasesSoFar>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStatus {
    pub name: String,
    /// `exit 0`, or none while it runs.
    pub end: Option<String>,
    pub duration_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasesSoFar {
    pub passed: u32,
    pub failed: u32,
    /// Skipped, or not reached.
    pub skipped: u32,
}

/// Since the worker was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedBuilds {
    /// They have a result.
    pub with_result: u64,
    /// Something of this machine failed.
    pub without_result: u64,
    /// They were given to other workers.
    pub handed_back: u64,
}

pub struct ActivityBoard {
    url: FarmUrl,
    state: Mutex<State>,
}

struct State {
    status: WorkerStatus,
    builds: BTreeMap<i64, BuildActivity>,
}

struct BuildActivity {
    status: BuildStatus,
    began: Instant,
}

impl ActivityBoard {
    pub fn new(url: FarmUrl, name: &str, slots: u32) -> ActivityBoard {
        let status = WorkerStatus {
            running: true,
            farm: url.to_string(),
            name: name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            connection: "connecting".to_string(),
            slots,
            ..WorkerStatus::default()
        };
        ActivityBoard { url, state: Mutex::new(State { status, builds: BTreeMap::new() }) }
    }

    /// The state of now.
    pub fn status(&self) -> WorkerStatus {
        let state = self.locked();
        let builds = state
            .builds
            .values()
            .map(|build| BuildStatus { running_ms: millis(build.began.elapsed()), ..build.status.clone() });
        WorkerStatus { builds: builds.collect(), ..state.status.clone() }
    }

    /// Changes what does not belong to a build.
    pub fn update(&self, change: impl FnOnce(&mut WorkerStatus)) {
        change(&mut self.locked().status);
    }

    pub fn set_pause(&self, pause: Option<&PauseNotice>) {
        let pause = pause.map(|pause| PauseStatus { reason: pause.reason.clone(), until_ms: pause.until_ms });
        self.update(|status| status.pause = pause);
    }

    pub fn begin(&self, build: i64, attempt: i64, plan: &Plan) {
        let url = self.url.http(&format!("/builds/{build}"));
        let change: String = plan.change.chars().take(10).collect();
        tracing::info!("build {build}: {} at {change}; {url}", plan.builder);
        let status = BuildStatus {
            build,
            attempt,
            builder: plan.builder.clone(),
            change,
            url,
            now: "fetching the sources".to_string(),
            running_ms: 0,
            steps: Vec::new(),
            cases: None,
        };
        self.locked().builds.insert(attempt, BuildActivity { status, began: Instant::now() });
    }

    /// How far it has fetched what it needs.
    pub fn fetching(&self, attempt: i64, sentence: &str) {
        self.of(attempt, |build| {
            build.now = sentence.to_string();
            tracing::info!("build {}: {sentence}", build.build);
        });
    }

    pub fn note(&self, attempt: i64, event: &ExecutionEvent) {
        let ExecutionEvent::Event(event) = event else { return };
        self.of(attempt, |build| match event {
            Event::StepStarted { name, .. } => {
                build.now = format!("step {name}");
                build.steps.push(StepStatus { name: name.clone(), end: None, duration_ms: None });
            }
            Event::StepEnded { end, duration_ms, .. } => {
                build.now = "between steps".to_string();
                let words = end_words(end);
                if let Some(step) = build.steps.last_mut() {
                    let seconds = Duration::from_millis(*duration_ms).as_secs_f64();
                    tracing::info!("build {}: step {}: {words} in {seconds:.1} s", build.build, step.name);
                    (step.end, step.duration_ms) = (Some(words), Some(*duration_ms));
                }
            }
            Event::Started { .. }
            | Event::LogTruncated { .. }
            | Event::Lock { .. }
            | Event::Answer { .. }
            | Event::Finished { .. } => {}
        });
    }

    /// The steps have ended, and this is what the cases did.
    pub fn cases(&self, attempt: i64, list: &CaseList, results: &Results) {
        let counts = case_counts(list, results);
        self.of(attempt, |build| {
            build.now = "reporting".to_string();
            build.cases = Some(counts);
        });
    }

    /// The build is over for this worker.
    pub fn end(&self, attempt: i64, failure: Option<&InfraFailure>) {
        let mut state = self.locked();
        let Some(BuildActivity { status, .. }) = state.builds.remove(&attempt) else { return };
        let ended = &mut state.status.ended;
        let (build, url) = (status.build, status.url);
        match failure {
            None => {
                ended.with_result += 1;
                let cases = status.cases.map_or(String::new(), |it| {
                    format!(": {} passed, {} failed, {} skipped", it.passed, it.failed, it.skipped)
                });
                tracing::info!("build {build} is finished{cases}; {url}");
            }
            Some(InfraFailure::HandedBack { detail }) => {
                ended.handed_back += 1;
                tracing::info!("build {build} is handed back: {detail}");
            }
            Some(failure) => {
                ended.without_result += 1;
                tracing::warn!("build {build} ended without a result: {}; {url}", detail_of(failure));
            }
        }
    }

    fn of(&self, attempt: i64, change: impl FnOnce(&mut BuildStatus)) {
        if let Some(build) = self.locked().builds.get_mut(&attempt) {
            change(&mut build.status);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // No change leaves the state half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cases did, counted. A step is no case for a person who looks at a screen.
fn case_counts(list: &CaseList, results: &Results) -> CasesSoFar {
    let mut counts = CasesSoFar::default();
    for (name, verdict) in list.names().zip(results.verdicts.iter()) {
        match verdict {
            _ if name.starts_with("step:") => {}
            Verdict::Pass | Verdict::Xfail | Verdict::Xpass => counts.passed += 1,
            Verdict::Fail | Verdict::Error => counts.failed += 1,
            Verdict::Skip | Verdict::Unreached | Verdict::Missing => counts.skipped += 1,
        }
    }
    counts
}

/// How a step ended, in a word or two.
pub fn end_words(end: &StepEnd) -> String {
    match end {
        StepEnd::Exit { code } => format!("exit {code}"),
        StepEnd::Signal { signal } => format!("signal {signal}"),
        StepEnd::TimedOut => "timed out".into(),
        StepEnd::Silent => "silent for too long".into(),
        StepEnd::LogLimit => "printed too much".into(),
        StepEnd::OutOfMemory => "over its memory limit".into(),
        StepEnd::TooManyProcesses => "too many processes".into(),
        StepEnd::DiskLimit => "over the disk limit".into(),
        StepEnd::RefusedTree => "its toolchain cannot be packed".into(),
        StepEnd::NoTests => "no tests".into(),
        StepEnd::BadReport { failed: 0 } => "its report is not whole".into(),
        StepEnd::BadReport { failed } => format!("{failed} failed"),
        StepEnd::Cancelled => "stopped".into(),
    }
}

/// The sentence of a failure of this machine.
pub fn detail_of(infra_failure: &InfraFailure) -> &str {
    match infra_failure {
        InfraFailure::Checkout { detail, .. }
        | InfraFailure::Toolchain { detail }
        | InfraFailure::Sandbox { detail }
        | InfraFailure::NoSpace { detail }
        | InfraFailure::Worker { detail }
        | InfraFailure::HandedBack { detail } => detail,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
