//! What is broken, in words: tests that fail, tests that are no longer run, and steps and faults, which are no tests.

use std::collections::{BTreeMap, BTreeSet};

use super::pieces::listed;
use super::variants::VariantSpread;
use crate::readers::is_fault;

/// The step whose own case this is, or whose end the fault is about; see `readers::CaseRun`.
pub fn step_of(case: &str) -> Option<&str> {
    let ended = || case.strip_prefix("fault:step:")?.strip_suffix(" ended before all its cases");
    case.strip_prefix("step:").or_else(ended)
}

/// A case that is bad, as a count needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedCase<'c> {
    /// The project, or the toolchain by a name of its own.
    pub project: &'c str,
    /// The platform.
    pub platform: &'c str,
    /// The case's name.
    pub case: &'c str,
    /// Whether it is no longer run; otherwise it fails.
    pub is_not_run: bool,
}

/// How much of some projects is broken. A case that is bad on several platforms counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokenCounts {
    /// Tests that fail.
    pub failing: usize,
    /// Tests that are no longer run: skipped, missing, or not reached since the run ends before them.
    pub not_run: usize,
    /// Faults: modules that cannot be loaded, lines that look like failures.
    pub faults: usize,
    /// The names of the steps that fail.
    pub steps: BTreeSet<String>,
    /// On how many platforms.
    pub platforms: usize,
    /// In which variants of their trunk.
    pub variants: VariantSpread,
}

impl BrokenCounts {
    /// Counts cases. The same name in two projects is two cases.
    pub fn count<'c>(cases: impl IntoIterator<Item = CountedCase<'c>>) -> BrokenCounts {
        let mut counts = BrokenCounts::default();
        let (mut platforms, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for bad in cases {
            platforms.insert(bad.platform);
            if !seen.insert((bad.project, bad.case, bad.is_not_run)) {
                continue;
            }
            match step_of(bad.case) {
                Some(step) => drop(counts.steps.insert(step.to_string())),
                None if is_fault(bad.case) => counts.faults += 1,
                None if bad.is_not_run => counts.not_run += 1,
                None => counts.failing += 1,
            }
        }
        counts.platforms = platforms.len();
        counts
    }

    /// Adds tests that are not reached any longer: for each project the most that were on one platform, since the names
    /// are the same everywhere.
    pub fn add_unreached<'c>(&mut self, of_each: impl IntoIterator<Item = (&'c str, usize)>) {
        let mut most: BTreeMap<&str, usize> = BTreeMap::new();
        for (project, unreached) in of_each {
            let known = most.entry(project).or_default();
            *known = unreached.max(*known);
        }
        self.not_run += most.values().sum::<usize>();
    }

    /// In brackets after a name: `2 tests`, `897 tests not run, 1 fails; 4 platforms`, `2 tests; only in free-threaded`.
    pub fn brief(&self) -> String {
        let what = match (self.failing, self.not_run) {
            (0, 0) => match (self.steps.len(), self.faults) {
                (0, 0) => String::new(),
                (0, faults) => counted(faults, "fault"),
                (1, _) => format!("step {}", self.step_names()),
                (_, _) => format!("steps {}", self.step_names()),
            },
            (failing, 0) => count_tests(failing),
            (0, not_run) => format!("{} not run", count_tests(not_run)),
            (failing, not_run) => format!("{} not run, {failing} {}", count_tests(not_run), fail(failing)),
        };
        let platforms = match self.platforms {
            0 | 1 => String::new(),
            platforms => format!("; {platforms} platforms"),
        };
        let variants = self.variants.words().map(|words| format!("; {words}")).unwrap_or_default();
        format!("{what}{platforms}{variants}")
    }

    fn step_names(&self) -> String {
        listed(&self.steps.iter().cloned().collect::<Vec<_>>())
    }

    /// ` on 4 platforms`, ` only in free-threaded`; empty where it is one platform, and there are no variants.
    fn on_platforms(&self) -> String {
        match (self.platforms, self.variants.words()) {
            (0 | 1, None) => String::new(),
            (0 | 1, Some(variants)) => format!(" {variants}"),
            (platforms, None) => format!(" on {platforms} platforms"),
            (platforms, Some(variants)) => format!(" on {platforms} platforms, {variants}"),
        }
    }

    /// What shows that something is broken where no test fails: ``its step `test` fails``.
    fn reason(&self, has_many_owners: bool) -> Option<String> {
        let owner = if has_many_owners { "their" } else { "its" };
        let steps: Vec<String> = self.steps.iter().map(|step| format!("`{step}`")).collect();
        match (self.failing, steps.len(), self.faults) {
            (0, 1, 0) => Some(format!("{owner} step {} fails", steps[0])),
            (0, 1, faults) => {
                Some(format!("{owner} step {} fails with {}", steps[0], counted(faults, "fault")))
            }
            (0, 2.., 0) => Some(format!("{owner} steps {} fail", listed(&steps))),
            (0, 2.., faults) => {
                Some(format!("{owner} steps {} fail with {}", listed(&steps), counted(faults, "fault")))
            }
            (0, 0, faults @ 1..) => {
                let suite = if has_many_owners { "suites report" } else { "suite reports" };
                Some(format!("{owner} {suite} {}", counted(faults, "fault")))
            }
            (_, _, _) => None,
        }
    }
}

/// Some projects, or the toolchain, and how much of them is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Their names, sorted, as they stand in a sentence.
    pub names: Vec<String>,
    /// How much of them.
    pub counts: BrokenCounts,
}

impl Broken {
    /// The names are sorted here, and none is repeated.
    pub fn new(names: impl IntoIterator<Item = String>, counts: BrokenCounts) -> Broken {
        let names: BTreeSet<String> = names.into_iter().collect();
        Broken { names: names.into_iter().collect(), counts }
    }

    /// All names.
    pub fn names(&self) -> String {
        self.names.join(", ")
    }

    /// What a culprit did: `broke 2 tests of vec`, `stopped 40 tests of vec from being run on 4 platforms`,
    /// ``broke vec: its step `test` fails``.
    pub fn deed(&self) -> String {
        let (names, counts) = (self.names(), &self.counts);
        let on = counts.on_platforms();
        let deed = match (counts.failing, counts.not_run) {
            (0, 0) => format!("broke {names}{on}"),
            (failing, 0) => format!("broke {} of {names}{on}", count_tests(failing)),
            (0, not_run) => format!("stopped {} of {names} from being run{on}", count_tests(not_run)),
            (failing, not_run) => {
                format!("broke {} of {names} and stopped {not_run} from being run{on}", count_tests(failing))
            }
        };
        match counts.reason(self.names.len() > 1) {
            Some(reason) => format!("{deed}: {reason}"),
            None => deed,
        }
    }

    /// What is the case, whoever did it: `897 tests of genshi are no longer run, and 1 fails, on 4 platforms`.
    pub fn state(&self) -> String {
        let (names, counts) = (self.names(), &self.counts);
        let on = counts.on_platforms();
        let state = match (counts.failing, counts.not_run) {
            (0, 0) => {
                let reason = counts.reason(self.names.len() > 1);
                return match reason {
                    Some(reason) => format!("{names} is broken{on}: {reason}"),
                    None => format!("{names} is broken{on}"),
                };
            }
            (failing, 0) => format!("{} of {names} {}{on}", count_tests(failing), fail(failing)),
            (0, not_run) => format!("{} of {names} {} no longer run{on}", count_tests(not_run), are(not_run)),
            (failing, not_run) => {
                let on = if on.is_empty() { on } else { format!(",{on}") };
                format!(
                    "{} of {names} {} no longer run, and {failing} {}{on}",
                    count_tests(not_run),
                    are(not_run),
                    fail(failing)
                )
            }
        };
        match counts.reason(self.names.len() > 1) {
            Some(reason) => format!("{state}: {reason}"),
            None => state,
        }
    }

    /// The cases as the subject of a sentence, and its verb: `2 tests of vec`, `fail`.
    pub(super) fn noun(&self) -> (String, &'static str) {
        let (names, counts) = (self.names(), &self.counts);
        let all = counts.failing + counts.not_run;
        match (all, counts.steps.len(), counts.faults) {
            (0, 0, faults) => (format!("{} of {names}", counted(faults, "fault")), "come and go"),
            (0, 1, _) => (format!("The step {} of {names}", counts.step_names()), "fails"),
            (0, _, _) => (format!("The steps {} of {names}", counts.step_names()), "fail"),
            (all, _, _) => (format!("{} of {names}", count_tests(all)), fail(all)),
        }
    }
}

/// `1 test`, `3 tests`.
pub fn count_tests(count: usize) -> String {
    counted(count, "test")
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        more => format!("{more} {noun}s"),
    }
}

fn fail(count: usize) -> &'static str {
    if count == 1 { "fails" } else { "fail" }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}
