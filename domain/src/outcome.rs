//! The outcome of a build, and its cause. The first step that fails decides.

use protocol::{InfraFailure, StepEnd, StepKind};
use serde::{Deserialize, Serialize};

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All its steps succeeded.
    Passed,
    /// A step failed.
    Failed,
    /// The farm itself failed: the build blames no change, and is attempted again.
    Infra,
    /// It was cancelled.
    Cancelled,
    /// Its change has no toolchain to test with.
    Blocked,
}

/// Why a build ended so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A step exited with another code than 0.
    Exit,
    /// A signal ended a step.
    Signal,
    /// A step ran for longer than it may.
    TimedOut,
    /// A step printed nothing for longer than it may.
    Silent,
    /// A step used more memory than it may.
    OutOfMemory,
    /// A step had more processes than it may.
    TooManyProcesses,
    /// A build used more of the disk than it may.
    DiskLimit,
    /// What a build installed cannot be packed.
    RefusedTree,
    /// A step printed too much.
    LogLimit,
    /// A test step ran no test.
    NoTests,
    /// A step exited 0, but its report names failures or is not whole.
    Report,
    /// A fetch step failed; until the third attempt the network is blamed for that.
    Fetch,
    /// The worker could not bring the source.
    Checkout,
    /// The worker could not bring the toolchain.
    Toolchain,
    /// The worker could not set up its sandbox.
    Sandbox,
    /// The worker's disk is full.
    NoSpace,
    /// The worker failed otherwise.
    Worker,
    /// The worker was silent for too long.
    WorkerLost,
    /// The change's toolchain could not be built.
    ToolchainBroken,
}

/// A build's outcome, its cause, and the step that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    /// How it ended.
    pub outcome: Outcome,
    /// Why; none if it passed or was cancelled.
    pub cause: Option<Cause>,
    /// The name of the step that decided, if one did.
    pub step: Option<String>,
}

/// One step as its worker reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    /// Its name in the recipe.
    pub name: String,
    /// What it is for.
    pub kind: StepKind,
    /// How it ended.
    pub end: StepEnd,
}

/// How many attempts a build has. One lost worker is not the change's fault, but three lost workers hint at one.
pub const MAX_ATTEMPTS: u32 = 3;

/// What is known of an attempt beside its steps.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutcomeContext {
    /// Which attempt of its build it is, from 1.
    pub attempt: u32,
    /// Whether the first step that failed has ended by itself on this worker before, well or badly: the machine is fast and
    /// large enough for it.
    pub proven: bool,
    /// Whether a fetch step of the builder succeeded since the first attempt: the network and its other end work.
    pub others_fetch: bool,
    /// Whether the results of its tests arrived, from before the infra failure.
    pub is_reported: bool,
    /// Whether the report of the first step that failed is cut: some of its cases are there, and the rest are not.
    pub is_cut: bool,
    /// Whether that step has failed in another attempt of the build, too.
    pub is_confirmed: bool,
}

/// Judges an attempt by its steps that ended, in order. An infra failure voids the step in which it happened, which has no
/// end, and all later steps: a test that failed before still decides.
pub fn judge(steps: &[StepRun], infra_failure: Option<&InfraFailure>, known: &OutcomeContext) -> BuildResult {
    let first_bad = steps.iter().find_map(|step| cause(step).map(|cause| (step, cause)));
    if let Some((step, found)) = first_bad {
        let (outcome, cause) = match step.kind {
            _ if step.end == StepEnd::Cancelled => (Outcome::Cancelled, None),
            StepKind::Fetch if known.attempt < MAX_ATTEMPTS || !known.others_fetch => {
                (Outcome::Infra, Some(Cause::Fetch))
            }
            // It is not known yet whether this machine is fast and large enough for the step.
            _ if is_of_resources(found) && !known.proven => (Outcome::Infra, Some(found)),
            _ if looks_killed(&step.end, known.is_cut) && !known.is_confirmed => {
                (Outcome::Infra, Some(Cause::Signal))
            }
            StepKind::Fetch | StepKind::Compile | StepKind::Install | StepKind::Test => {
                (Outcome::Failed, Some(found))
            }
        };
        let stands = match step.kind {
            StepKind::Test => known.is_reported,
            StepKind::Fetch | StepKind::Compile | StepKind::Install => false,
        };
        if infra_failure.is_none() || stands {
            return BuildResult { outcome, cause, step: Some(step.name.clone()) };
        }
    }
    match infra_failure {
        Some(infra_failure) => {
            BuildResult { outcome: Outcome::Infra, cause: Some(Cause::from(infra_failure)), step: None }
        }
        None if steps.is_empty() => {
            BuildResult { outcome: Outcome::Infra, cause: Some(Cause::Worker), step: None }
        }
        None => BuildResult { outcome: Outcome::Passed, cause: None, step: None },
    }
}

/// Whether a toolchain with these steps can be tested with. Only its own tests may fail: they do not block its suites.
pub fn is_usable(steps: &[StepRun]) -> bool {
    steps.iter().all(|step| match step.kind {
        StepKind::Test => step.end != StepEnd::RefusedTree,
        StepKind::Fetch | StepKind::Compile | StepKind::Install => cause(step).is_none(),
    })
}

/// Whether a step ended as one does that was killed from outside, by its machine's owner or a shutdown: by SIGKILL or SIGTERM,
/// or with a report that breaks off. Such an end is believed when a second attempt has failed, too. Of other signals,
/// such as SIGSEGV, a program dies by itself.
pub fn looks_killed(end: &StepEnd, is_cut: bool) -> bool {
    const SIGKILL: i32 = 9;
    const SIGTERM: i32 = 15;
    match end {
        StepEnd::Signal { signal } => [SIGKILL, SIGTERM].contains(signal),
        StepEnd::Exit { code } => *code != 0 && is_cut,
        StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit
        | StepEnd::RefusedTree
        | StepEnd::NoTests
        | StepEnd::BadReport { .. }
        | StepEnd::Cancelled => false,
    }
}

/// The test step that a machine stopped at its limits, if another step has ended well: what that one showed stands, and
/// this one showed nothing.
pub fn overrun_test<'s>(steps: &'s [StepRun], result: &BuildResult) -> Option<&'s StepRun> {
    let step = steps.iter().find(|step| Some(&step.name) == result.step.as_ref())?;
    let is_overrun = step.kind == StepKind::Test && result.cause.is_some_and(is_of_resources);
    (is_overrun && steps.iter().any(|step| cause(step).is_none())).then_some(step)
}

/// Whether a machine that is too slow or too small may be to blame.
fn is_of_resources(cause: Cause) -> bool {
    match cause {
        Cause::TimedOut
        | Cause::Silent
        | Cause::LogLimit
        | Cause::OutOfMemory
        | Cause::TooManyProcesses
        | Cause::DiskLimit => true,
        Cause::RefusedTree
        | Cause::Exit
        | Cause::Signal
        | Cause::NoTests
        | Cause::Report
        | Cause::Fetch
        | Cause::Checkout
        | Cause::Toolchain
        | Cause::Sandbox
        | Cause::NoSpace
        | Cause::Worker
        | Cause::WorkerLost
        | Cause::ToolchainBroken => false,
    }
}

/// Why a step failed; none if it succeeded.
fn cause(step: &StepRun) -> Option<Cause> {
    match step.end {
        StepEnd::Exit { code: 0 } => None,
        StepEnd::Exit { .. } | StepEnd::Cancelled => Some(Cause::Exit),
        StepEnd::Signal { .. } => Some(Cause::Signal),
        StepEnd::TimedOut => Some(Cause::TimedOut),
        StepEnd::Silent => Some(Cause::Silent),
        StepEnd::LogLimit => Some(Cause::LogLimit),
        StepEnd::OutOfMemory => Some(Cause::OutOfMemory),
        StepEnd::TooManyProcesses => Some(Cause::TooManyProcesses),
        StepEnd::DiskLimit => Some(Cause::DiskLimit),
        StepEnd::RefusedTree => Some(Cause::RefusedTree),
        StepEnd::NoTests => Some(Cause::NoTests),
        StepEnd::BadReport { .. } => Some(Cause::Report),
    }
}

impl From<&InfraFailure> for Cause {
    fn from(infra_failure: &InfraFailure) -> Cause {
        match infra_failure {
            InfraFailure::Checkout { .. } => Cause::Checkout,
            InfraFailure::Toolchain { .. } => Cause::Toolchain,
            InfraFailure::Sandbox { .. } => Cause::Sandbox,
            InfraFailure::NoSpace { .. } => Cause::NoSpace,
            InfraFailure::Worker { .. } | InfraFailure::HandedBack { .. } => Cause::Worker,
        }
    }
}

/// Gives an enum its one text form, for SQL, JSON and pages.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word for it in SQL, JSON and on pages.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The inverse of [`Self::as_str`]; none for any other word.
            pub fn parse(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words!(Outcome {
    Passed = "passed", Failed = "failed", Infra = "infra", Cancelled = "cancelled", Blocked = "blocked",
});
words!(Cause {
    Exit = "exit", Signal = "signal", TimedOut = "timed-out", Silent = "silent", OutOfMemory = "out-of-memory",
    TooManyProcesses = "too-many-processes", DiskLimit = "disk-limit", RefusedTree = "refused-tree",
    LogLimit = "log-limit", NoTests = "no-tests", Report = "report", Fetch = "fetch", Checkout = "checkout",
    Toolchain = "toolchain", Sandbox = "sandbox", NoSpace = "no-space", Worker = "worker",
    WorkerLost = "worker-lost", ToolchainBroken = "toolchain-broken",
});

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt on a worker that has run the steps before, while others can fetch.
    fn known(attempt: u32) -> OutcomeContext {
        OutcomeContext {
            attempt,
            proven: true,
            others_fetch: true,
            is_reported: true,
            is_cut: false,
            is_confirmed: false,
        }
    }

    fn judged(steps: &str, infra_failure: Option<InfraFailure>, attempt: u32) -> String {
        judged_by(steps, infra_failure, &known(attempt))
    }

    fn judged_by(steps: &str, infra_failure: Option<InfraFailure>, known: &OutcomeContext) -> String {
        let judged = judge(&runs(steps), infra_failure.as_ref(), known);
        [Some(judged.outcome.as_str()), judged.cause.map(Cause::as_str), judged.step.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Steps as `fetch:0 compile:0 test:1`, where a word in place of the code is another end.
    fn runs(steps: &str) -> Vec<StepRun> {
        steps
            .split_whitespace()
            .map(|step| {
                let (name, end) = step.split_once(':').unwrap();
                let kind = match name {
                    "fetch" => StepKind::Fetch,
                    "compile" => StepKind::Compile,
                    "install" => StepKind::Install,
                    _ => StepKind::Test,
                };
                let end = match end {
                    "signal" => StepEnd::Signal { signal: 11 },
                    "killed" => StepEnd::Signal { signal: 9 },
                    "terminated" => StepEnd::Signal { signal: 15 },
                    "timed-out" => StepEnd::TimedOut,
                    "silent" => StepEnd::Silent,
                    "log-limit" => StepEnd::LogLimit,
                    "out-of-memory" => StepEnd::OutOfMemory,
                    "too-many-processes" => StepEnd::TooManyProcesses,
                    "disk-limit" => StepEnd::DiskLimit,
                    "refused-tree" => StepEnd::RefusedTree,
                    "no-tests" => StepEnd::NoTests,
                    "report" => StepEnd::BadReport { failed: 2 },
                    "cancelled" => StepEnd::Cancelled,
                    code => StepEnd::Exit { code: code.parse().unwrap() },
                };
                StepRun { name: name.into(), kind, end }
            })
            .collect()
    }

    #[test]
    fn a_toolchain_is_usable_unless_a_step_other_than_its_tests_fails() {
        for (steps, usable) in [
            ("compile:0 install:0", true),
            ("compile:0 test:1 install:0", true),
            ("compile:0 test:signal test:timed-out", true),
            ("compile:0 install:0 test:refused-tree", false),
            ("compile:0 test:1 install:1", false),
            ("compile:2", false),
            ("fetch:1", false),
        ] {
            assert_eq!(is_usable(&runs(steps)), usable, "{steps}");
        }
    }

    #[test]
    fn the_first_step_that_fails_decides() {
        for (steps, expected) in [
            ("fetch:0 compile:0 test:0", "passed"),
            ("compile:2", "failed exit compile"),
            ("compile:0 install:1", "failed exit install"),
            ("test:1 lint:2", "failed exit test"),
            ("test:signal", "failed signal test"),
            ("test:timed-out", "failed timed-out test"),
            ("test:silent", "failed silent test"),
            ("test:log-limit", "failed log-limit test"),
            ("test:out-of-memory", "failed out-of-memory test"),
            ("test:too-many-processes", "failed too-many-processes test"),
            ("test:disk-limit", "failed disk-limit test"),
            ("compile:0 install:refused-tree", "failed refused-tree install"),
            ("compile:0 test:0 install:1", "failed exit install"),
        ] {
            assert_eq!(judged(steps, None, 1), expected, "{steps}");
        }
    }

    #[test]
    fn exit_code_zero_is_not_proof() {
        assert_eq!(judged("test:no-tests", None, 1), "failed no-tests test");
        assert_eq!(judged("test:report", None, 1), "failed report test");
    }

    #[test]
    fn a_failing_fetch_is_the_networks_fault_until_the_third_attempt() {
        assert_eq!(judged("fetch:1", None, 1), "infra fetch fetch");
        assert_eq!(judged("fetch:1", None, 2), "infra fetch fetch");
        assert_eq!(judged("fetch:1", None, 3), "failed exit fetch");
        // If no other fetch proves that the network works, the network stays to blame.
        let alone = OutcomeContext { others_fetch: false, ..known(3) };
        assert_eq!(judged_by("fetch:1", None, &alone), "infra fetch fetch");
    }

    #[test]
    fn the_limits_of_a_machine_that_never_ran_a_step_to_its_end_blame_no_change() {
        let new = OutcomeContext { proven: false, ..known(1) };
        for end in ["timed-out", "silent", "log-limit", "out-of-memory", "too-many-processes", "disk-limit"] {
            assert_eq!(judged_by(&format!("test:{end}"), None, &new), format!("infra {end} test"));
            assert_eq!(judged(&format!("test:{end}"), None, 1), format!("failed {end} test"));
        }
        assert_eq!(judged_by("test:1", None, &new), "failed exit test");
        assert_eq!(judged_by("test:signal", None, &new), "failed signal test");
    }

    #[test]
    fn what_may_have_been_killed_from_outside_is_believed_at_its_second_failure() {
        let confirmed = OutcomeContext { is_confirmed: true, ..known(2) };
        let cut = OutcomeContext { is_cut: true, ..known(1) };
        for end in ["killed", "terminated"] {
            assert_eq!(judged(&format!("compile:{end}"), None, 1), "infra signal compile");
            assert_eq!(judged(&format!("test:{end}"), None, 1), "infra signal test");
            assert_eq!(judged_by(&format!("test:{end}"), None, &confirmed), "failed signal test");
        }
        assert_eq!(judged_by("test:1", None, &cut), "infra signal test");
        assert_eq!(
            judged_by("test:1", None, &OutcomeContext { is_confirmed: true, ..cut }),
            "failed exit test"
        );
        // A program that crashes does so by itself, and one that exits with 0 was not killed.
        assert_eq!(judged("test:signal", None, 1), "failed signal test");
        assert_eq!(judged_by("test:0", None, &cut), "passed");
        assert_eq!(judged_by("test:report", None, &cut), "failed report test");
        // An earlier test that failed by itself decides.
        assert_eq!(judged("test:1 lint:killed", None, 1), "failed exit test");
    }

    #[test]
    fn an_infra_failure_of_the_worker_blames_no_change() {
        let full = || Some(InfraFailure::NoSpace { detail: "/".into() });
        assert_eq!(judged("compile:0", full(), 1), "infra no-space");
        assert_eq!(judged("compile:1", full(), 1), "infra no-space");
        assert_eq!(judged("", None, 1), "infra worker");
    }

    #[test]
    fn an_infra_failure_after_a_test_keeps_its_verdicts_and_one_during_it_voids_them() {
        let full = || Some(InfraFailure::NoSpace { detail: "/".into() });
        // The step in which the failure happened has no end.
        assert_eq!(judged("compile:0 test:1", full(), 1), "failed exit test");
        assert_eq!(judged("compile:0 test:0", full(), 1), "infra no-space");
        // The results of the tests did not arrive: they will be run again.
        let unreported = OutcomeContext { is_reported: false, ..known(1) };
        assert_eq!(judged_by("compile:0 test:1", full(), &unreported), "infra no-space");
    }

    #[test]
    fn a_cancelled_step_cancels_the_build() {
        assert_eq!(judged("compile:cancelled", None, 1), "cancelled compile");
    }

    #[test]
    fn every_word_round_trips() {
        assert!(Outcome::ALL.iter().all(|&o| Outcome::parse(o.as_str()) == Some(o)));
        assert!(Cause::ALL.iter().all(|&c| Cause::parse(c.as_str()) == Some(c)));
    }
}
