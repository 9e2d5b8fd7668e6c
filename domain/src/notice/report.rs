//! What a mail reports: changes, breakages, and the runs that prove them.

use std::collections::BTreeMap;

use protocol::Verdict;

use crate::breakage::RegressionKind;
use crate::breakage::dependency::FiledUnder;
use crate::breakage::flaky::is_of_step;
use crate::sentences::{Blame, Broken, BrokenCounts, CountedCase, RunCount, VariantState, WorkerRuns};
use crate::variant::target;

/// A breakage as a mail reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedBreakage {
    /// The project's name; none when it is the toolchain itself that does not build.
    pub project: Option<String>,
    /// The platform's label.
    pub platform: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant: Option<String>,
    /// What is known of its cases in the variants of its trunk.
    pub variants: Vec<(String, VariantState)>,
    /// The names of the cases that fail.
    pub cases: Vec<String>,
    /// The names of the cases that are not run any longer.
    pub lost: Vec<String>,
    /// The names of the steps that fail, where they fail along with the cases above; they are not listed.
    pub steps: Vec<String>,
    /// How many further tests are not reached any longer, since the run ends before them.
    pub unreached: usize,
    /// Who is held to have broken it.
    pub blame: Blame,
    /// The failure message of one of the cases.
    pub text: Option<String>,
    /// The commit that the failure message was seen at, where it is not the culprit.
    pub text_from: Option<String>,
    /// The dependency that it is filed under.
    pub filed: Option<FiledUnder>,
    /// The last commit before the culprit that was seen to be good; none where it is not known.
    pub parent: Option<String>,
    /// What was run with the parent and with the culprit.
    pub runs: Vec<WorkerRuns>,
    /// The address of its page.
    pub url: String,
}

impl ReportedBreakage {
    /// The name of what is broken, in a sentence.
    pub fn name(&self) -> String {
        self.project.clone().unwrap_or_else(|| format!("the build on {}", self.platform))
    }

    /// Its platform, with its variant where that has a name.
    pub fn target(&self) -> String {
        target(&self.platform, self.variant.as_deref())
    }

    fn counted_cases(&self) -> impl Iterator<Item = CountedCase<'_>> {
        let project = self.project.as_deref().unwrap_or("");
        let counted = |is_not_run: bool| {
            move |case| CountedCase { project, platform: &self.platform, case, is_not_run }
        };
        let failing = self.cases.iter().chain(&self.steps).map(String::as_str).map(counted(false));
        failing.chain(self.lost.iter().map(String::as_str).map(counted(true)))
    }
}

/// What these breakages are together.
pub fn broken(breakages: &[ReportedBreakage]) -> Broken {
    let mut counts = BrokenCounts::count(breakages.iter().flat_map(ReportedBreakage::counted_cases));
    counts.add_unreached(breakages.iter().map(|b| (b.project.as_deref().unwrap_or(""), b.unreached)));
    for breakage in breakages {
        for (variant, state) in &breakage.variants {
            counts.variants.add(breakage.project.as_deref().unwrap_or(""), variant, *state);
        }
    }
    Broken::new(breakages.iter().map(ReportedBreakage::name), counts)
}

/// A change as a mail reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedChange {
    /// The name of its trunk.
    pub trunk: String,
    /// The name of the branch that it was seen on.
    pub branch: String,
    /// The commit.
    pub sha: String,
    /// The first line of its message.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// The address of its page.
    pub url: String,
}

/// Which of the two versions a run was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOf {
    /// What was before.
    Before,
    /// What is suspected.
    With,
}

/// Counts runs by worker, in the order of the workers' names. A run that shows nothing of the cases counts for nothing.
pub fn count_runs<V>(runs: impl IntoIterator<Item = (String, RunOf, V)>) -> Vec<WorkerRuns>
where
    V: IntoIterator<Item = (RegressionKind, Verdict)>,
{
    let mut by_worker: BTreeMap<String, (RunCount, RunCount)> = BTreeMap::new();
    for (worker, run_of, verdicts) in runs {
        let free: Vec<bool> =
            verdicts.into_iter().filter_map(|(kind, verdict)| kind.shows_good(verdict)).collect();
        if free.is_empty() {
            continue;
        }
        let (before, with) = by_worker.entry(worker).or_default();
        let count = match run_of {
            RunOf::Before => before,
            RunOf::With => with,
        };
        match free.contains(&false) {
            true => count.bad += 1,
            false => count.good += 1,
        }
    }
    by_worker.into_iter().map(|(worker, (before, with))| WorkerRuns { worker, before, with }).collect()
}

/// The names of cases as a mail lists them, and the names of those that it does not list. A step fails along with its
/// tests: where tests are named, the step is no further test that broke. `has_others` says whether others are named beside
/// these.
pub fn named_cases(cases: Vec<String>, has_others: bool) -> (Vec<String>, Vec<String>) {
    match !has_others && cases.iter().all(|case| is_of_step(case)) {
        true => (cases, Vec::new()),
        false => cases.into_iter().partition(|case| !is_of_step(case)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_only_where_no_test_is() {
        let of = |cases: &[&str]| named_cases(cases.iter().map(ToString::to_string).collect(), false).0;
        assert_eq!(of(&["greets", "step:test"]), ["greets"]);
        assert_eq!(of(&["step:compile"]), ["step:compile"]);
        let (lost, steps) = named_cases(vec!["step:test".to_string()], true);
        assert!(lost.is_empty(), "the tests that are not run are named: {lost:?}");
        assert_eq!(steps, ["step:test"]);
    }

    #[test]
    fn a_run_is_bad_where_one_case_is_and_counts_for_nothing_where_it_shows_none() {
        use RegressionKind::{Failing, Hidden, NotRun};
        use Verdict::{Fail, Missing, Pass, Unreached};
        let run = |worker: &str, of, verdicts: &[(RegressionKind, Verdict)]| {
            (worker.to_string(), of, verdicts.to_vec())
        };
        let counted = count_runs([
            run("b", RunOf::Before, &[(Failing, Pass), (Failing, Pass)]),
            run("b", RunOf::Before, &[(Failing, Pass), (Failing, Unreached)]),
            run("b", RunOf::With, &[(Failing, Pass), (Failing, Fail)]),
            run("a", RunOf::With, &[(NotRun, Missing)]),
            run("a", RunOf::With, &[(NotRun, Fail)]),
            run("a", RunOf::With, &[(Hidden, Fail)]),
            run("a", RunOf::With, &[(Failing, Unreached)]),
            run("c", RunOf::With, &[(Failing, Unreached)]),
        ]);
        let count = |good, bad| RunCount { good, bad };
        let runs = |worker: &str, before, with| WorkerRuns { worker: worker.into(), before, with };
        assert_eq!(counted, [runs("a", count(0, 0), count(1, 2)), runs("b", count(2, 0), count(0, 1))]);
    }
}
