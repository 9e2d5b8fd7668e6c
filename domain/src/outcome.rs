//! What a build came to: phase x cause. The first step that is not ok decides.

use protocol::{InfraFailure, StepEnd, StepKind};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passed,
    Failed,
    /// Our own trouble: it accuses nobody and is tried again.
    Infra,
    Cancelled,
    /// Its change has no toolchain to test with.
    Blocked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Exit,
    Signal,
    TimedOut,
    Silent,
    OutOfMemory,
    LogLimit,
    NoTests,
    /// The step exited 0, and its report names failures all the same.
    Report,
    /// A fetch step failed; until the third attempt that is taken for the network's fault.
    Fetch,
    Checkout,
    Toolchain,
    Sandbox,
    NoSpace,
    Worker,
    WorkerLost,
    ToolchainBroken,
}

/// A build's outcome, why, and which step said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    pub outcome: Outcome,
    pub cause: Option<Cause>,
    pub step: Option<String>,
}

/// One step as its worker reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    pub name: String,
    pub kind: StepKind,
    pub end: StepEnd,
}

/// A lost worker is not the change's fault, but three lost workers are somebody's.
pub const MAX_ATTEMPTS: u32 = 3;

/// What is known of a try beside its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutcomeContext {
    /// Which try of its build it is, from 1.
    pub attempt: u32,
    /// Whether the first step that is not ok came to an end of its own on this worker before, good or bad: the machine
    /// has what it takes.
    pub proven: bool,
    /// Whether a fetch step of the builder succeeded since the first try: the network is there, and so is its other end.
    pub others_fetch: bool,
    /// Whether it told what its tests said before the trouble began.
    pub told: bool,
}

/// Judges a try of a build by its steps that ended, in order. Trouble voids the step that it came in, which has no end,
/// and what is behind it: a test that had failed before still decides.
pub fn judge(steps: &[StepRun], infra_failure: Option<&InfraFailure>, known: &OutcomeContext) -> BuildResult {
    let first_bad = steps.iter().find_map(|step| cause(step).map(|cause| (step, cause)));
    if let Some((step, found)) = first_bad {
        let (outcome, cause) = match step.kind {
            _ if step.end == StepEnd::Cancelled => (Outcome::Cancelled, None),
            StepKind::Fetch if known.attempt < MAX_ATTEMPTS || !known.others_fetch => {
                (Outcome::Infra, Some(Cause::Fetch))
            }
            // Nobody knows yet whether this machine has what the step takes.
            _ if is_of_resources(found) && !known.proven => (Outcome::Infra, Some(found)),
            StepKind::Fetch | StepKind::Compile | StepKind::Install | StepKind::Test => {
                (Outcome::Failed, Some(found))
            }
        };
        let stands = match step.kind {
            StepKind::Test => known.told,
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

/// Whether what steps made is fit to be tested with. Only tests may fail: they say what is bad of it, and block nobody.
pub fn is_usable(steps: &[StepRun]) -> bool {
    steps.iter().all(|step| match step.kind {
        StepKind::Test => true,
        StepKind::Fetch | StepKind::Compile | StepKind::Install => cause(step).is_none(),
    })
}

/// Whether a machine that is too slow or too small may be at fault.
fn is_of_resources(cause: Cause) -> bool {
    match cause {
        Cause::TimedOut | Cause::Silent | Cause::LogLimit | Cause::OutOfMemory => true,
        Cause::Exit
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

/// Why a step is not ok; none when it is.
fn cause(step: &StepRun) -> Option<Cause> {
    match step.end {
        StepEnd::Exit { code: 0 } => None,
        StepEnd::Exit { .. } | StepEnd::Cancelled => Some(Cause::Exit),
        StepEnd::Signal { .. } => Some(Cause::Signal),
        StepEnd::TimedOut => Some(Cause::TimedOut),
        StepEnd::Silent => Some(Cause::Silent),
        StepEnd::LogLimit => Some(Cause::LogLimit),
        StepEnd::OutOfMemory => Some(Cause::OutOfMemory),
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
            InfraFailure::Worker { .. } => Cause::Worker,
        }
    }
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The inverse of [`Self::as_str`]; none for a word that nobody wrote.
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
    LogLimit = "log-limit", NoTests = "no-tests", Report = "report", Fetch = "fetch", Checkout = "checkout",
    Toolchain = "toolchain", Sandbox = "sandbox", NoSpace = "no-space", Worker = "worker",
    WorkerLost = "worker-lost", ToolchainBroken = "toolchain-broken",
});

#[cfg(test)]
mod tests {
    use super::*;

    /// A try on a worker that ran the steps before, while others can fetch.
    fn known(attempt: u32) -> OutcomeContext {
        OutcomeContext { attempt, proven: true, others_fetch: true, told: true }
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
                    "timed-out" => StepEnd::TimedOut,
                    "silent" => StepEnd::Silent,
                    "log-limit" => StepEnd::LogLimit,
                    "out-of-memory" => StepEnd::OutOfMemory,
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
    fn a_toolchain_is_tested_with_unless_something_else_than_its_tests_fails() {
        for (steps, usable) in [
            ("compile:0 install:0", true),
            ("compile:0 test:1 install:0", true),
            ("compile:0 test:signal test:timed-out", true),
            ("compile:0 test:1 install:1", false),
            ("compile:2", false),
            ("fetch:1", false),
        ] {
            assert_eq!(is_usable(&runs(steps)), usable, "{steps}");
        }
    }

    #[test]
    fn the_first_step_that_is_not_ok_decides() {
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
        // With nobody to prove that the network is there, it stays the network's.
        let alone = OutcomeContext { others_fetch: false, ..known(3) };
        assert_eq!(judged_by("fetch:1", None, &alone), "infra fetch fetch");
    }

    #[test]
    fn a_machine_that_never_ran_a_step_to_its_end_accuses_nobody_of_its_limits() {
        let new = OutcomeContext { proven: false, ..known(1) };
        for end in ["timed-out", "silent", "log-limit", "out-of-memory"] {
            assert_eq!(judged_by(&format!("test:{end}"), None, &new), format!("infra {end} test"));
            assert_eq!(judged(&format!("test:{end}"), None, 1), format!("failed {end} test"));
        }
        assert_eq!(judged_by("test:1", None, &new), "failed exit test");
        assert_eq!(judged_by("test:signal", None, &new), "failed signal test");
    }

    #[test]
    fn a_workers_own_trouble_accuses_nobody() {
        let full = || Some(InfraFailure::NoSpace { detail: "/".into() });
        assert_eq!(judged("compile:0", full(), 1), "infra no-space");
        assert_eq!(judged("compile:1", full(), 1), "infra no-space");
        assert_eq!(judged("", None, 1), "infra worker");
    }

    #[test]
    fn trouble_behind_a_test_lets_its_verdicts_stand_and_trouble_in_it_voids_them() {
        let full = || Some(InfraFailure::NoSpace { detail: "/".into() });
        // The step that the trouble came in has no end.
        assert_eq!(judged("compile:0 test:1", full(), 1), "failed exit test");
        assert_eq!(judged("compile:0 test:0", full(), 1), "infra no-space");
        // What the tests said did not arrive: they will be run again.
        let unreported = OutcomeContext { told: false, ..known(1) };
        assert_eq!(judged_by("compile:0 test:1", full(), &unreported), "infra no-space");
    }

    #[test]
    fn a_cancelled_step_cancels_the_build() {
        assert_eq!(judged("compile:cancelled", None, 1), "cancelled compile");
    }

    #[test]
    fn every_word_reads_back() {
        assert!(Outcome::ALL.iter().all(|&o| Outcome::parse(o.as_str()) == Some(o)));
        assert!(Cause::ALL.iter().all(|&c| Cause::parse(c.as_str()) == Some(c)));
    }
}
