//! What is stored of a build's cases for ever: a list of names, shared by all builds that ran the same cases, and one
//! letter for each case. Messages are stored only for cases that are not passes.

mod bearers;
mod count_sign;
mod list;
mod repeats;
mod selected;
mod verdicts;

use std::collections::BTreeMap;

use protocol::{Sha256, StepEnd, Verdict};
use serde::{Deserialize, Serialize};

use crate::numbers::index;
use crate::outcome::StepRun;
use crate::readers::{
    CaseRun, INTERRUPTED, MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES, tidy, truncated,
};
pub use list::{BadCaseList, CaseList, MAX_CASE_LIST_BYTES};
pub use repeats::{count_repeats, repeated};
pub use selected::of_selected;
pub use verdicts::{BadLetter, VerdictCounts, Verdicts, letter, verdict};

/// The longest results as JSON, in bytes, whatever is escaped in them. A reader may stop unpacking there.
pub const MAX_RESULTS_BYTES: usize = 6 * MAX_BUILD_TEXT_BYTES + 100 * MAX_CASES;

/// One build's verdicts over a case list; as JSON, what a worker uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// The [`CaseList`] that gives each letter its name.
    pub cases: Sha256,
    /// One for each name of the list, in its order.
    pub verdicts: Verdicts,
    /// Whether the run reported all its cases. If not, a case that is not in the list is unreached.
    pub complete: bool,
    /// How often a case ran, if more than once, by its index in the list; see [`count_repeats`].
    pub repeats: BTreeMap<u32, u32>,
    /// By case; none for a pass.
    pub failure_messages: Vec<FailureMessage>,
}

/// What is stored of a case that is not a pass, beside its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureMessage {
    /// Its index in the list.
    pub case: u32,
    /// How long the case ran, in milliseconds, if the report says so.
    pub duration_ms: Option<u64>,
    /// What the case printed when it failed, or why it was skipped; at most [`MAX_CASE_TEXT_BYTES`] bytes.
    pub text: String,
}

/// Why uploaded results are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadResults {
    /// They name another list than the one that was uploaded with them.
    #[error("the results name case list {found}: expected {expected}")]
    OtherList {
        /// The uploaded list.
        expected: Sha256,
        /// The list that the results name.
        found: Sha256,
    },
    /// There is not one verdict for each name.
    #[error("the results have {verdicts} verdicts for {cases} cases")]
    Length {
        /// How many verdicts there are.
        verdicts: usize,
        /// How many names the list has.
        cases: usize,
    },
    /// A case is called missing, which a single run cannot know.
    #[error("the results call a case missing, which only a comparison can show")]
    Missing,
    /// A repeated case that is not in the list, or that ran only once.
    #[error("the results repeat case {case} {times} times: expected a case of the list and 2 or more")]
    Repeat {
        /// The index that the results name.
        case: u32,
        /// How often they say that the case ran.
        times: u32,
    },
    /// A message for a pass, for no case of the list, or out of order; by its case.
    #[error(
        "the results have a failure message for case {0}: expected one message a case, in order, none for a pass"
    )]
    Message(u32),
    /// Messages over their bounds.
    #[error(
        "the results' failure messages are too long: expected at most {MAX_CASE_TEXT_BYTES} bytes a case, {MAX_BUILD_TEXT_BYTES} in all"
    )]
    Text,
}

/// The worst run of one name.
struct WorstRun {
    verdict: Verdict,
    times: u32,
    duration_ms: Option<u64>,
    text: String,
}

impl WorstRun {
    fn of(runs: &[&CaseRun]) -> WorstRun {
        let times = u32::try_from(runs.len()).unwrap_or(u32::MAX).max(1);
        // The first of the worst: its message is the one to show.
        match runs.iter().rev().max_by_key(|run| run.verdict) {
            Some(worst) => WorstRun {
                verdict: worst.verdict,
                times,
                duration_ms: worst.duration_ms,
                text: worst.text.clone().unwrap_or_default(),
            },
            None => WorstRun { verdict: bearers::COUNTED, times, duration_ms: None, text: String::new() },
        }
    }
}

/// Merges all runs of a build: one case for each name, with the worst of its runs, and further cases where one name has
/// several bearers (see `bearers`).
///
/// `complete` is whether every report was (see [`crate::readers::Reading::complete`]). Names beyond the first
/// [`MAX_CASES`] are dropped, and the results are then not complete.
pub fn collect(runs: impl IntoIterator<Item = CaseRun>, mut complete: bool) -> (CaseList, Results) {
    let mut runs_by_name: BTreeMap<String, Vec<CaseRun>> = BTreeMap::new();
    for run in runs {
        let name = tidy(&run.name);
        if let Some(known) = runs_by_name.get_mut(&name) {
            known.push(run);
        } else if runs_by_name.len() < MAX_CASES {
            runs_by_name.insert(name, vec![run]);
        } else {
            complete = false;
        }
    }
    let mut gathered: BTreeMap<String, WorstRun> = BTreeMap::new();
    let mut further = vec![];
    for (name, runs) in &runs_by_name {
        let runs: Vec<&CaseRun> = runs.iter().collect();
        bearers::tell_apart(name, &runs, &mut further);
        gathered.insert(name.clone(), WorstRun::of(&runs));
    }
    for (name, runs) in further {
        if gathered.len() == MAX_CASES {
            complete = false;
            break;
        }
        gathered.entry(name).or_insert_with(|| WorstRun::of(&runs));
    }

    let list = CaseList::from_sorted(gathered.keys());
    let verdicts = gathered.values().map(|case| case.verdict).collect();
    let repeats =
        (0..).zip(gathered.values()).filter(|(_, case)| case.times > 1).map(|(at, case)| (at, case.times));
    let repeats = repeats.collect();
    let failure_messages = failure_messages(gathered.into_values());
    let results = Results { cases: list.sha256(), verdicts, complete, repeats, failure_messages };
    (list, results)
}

/// The results of a build without reports: one case for each step, by its exit. After a failed step the results are not
/// complete, so that later steps are unreached and not missing.
pub fn of_steps(steps: &[StepRun]) -> (CaseList, Results) {
    let verdict = |end: &StepEnd| match end {
        StepEnd::Exit { code: 0 } => Verdict::Pass,
        StepEnd::Exit { .. }
        | StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit
        | StepEnd::RefusedTree
        | StepEnd::NoTests
        | StepEnd::BadReport { .. }
        | StepEnd::Cancelled => Verdict::Fail,
    };
    let runs: Vec<CaseRun> =
        steps.iter().map(|step| CaseRun::of_step(&step.name, verdict(&step.end))).collect();
    let complete = runs.iter().all(|run| run.verdict == Verdict::Pass);
    collect(runs, complete)
}

/// Leaves out what a step did that its machine stopped: its own case, its fault, and the case that was running. The cases
/// that had ended before stand.
pub fn without_step(list: &CaseList, results: Results, step: &str) -> Results {
    let own = [CaseRun::of_step(step, Verdict::Fail), CaseRun::of_broken_off(step, &[])];
    let is_interrupted =
        |case: usize| results.failure_message(case).is_some_and(|message| message.text == INTERRUPTED);
    let verdicts = list.names().zip(results.verdicts.iter()).enumerate().map(|(case, (name, verdict))| {
        let is_void = own.iter().any(|own| own.name == name) || is_interrupted(case);
        if is_void { Verdict::Unreached } else { verdict }
    });
    let verdicts = verdicts.collect();
    Results { verdicts, complete: false, ..results }
}

fn failure_messages(cases: impl Iterator<Item = WorstRun>) -> Vec<FailureMessage> {
    let mut with_message: Vec<(u32, WorstRun)> = (0..)
        .zip(cases)
        .filter(|(_, case)| case.verdict != Verdict::Pass)
        .filter(|(_, case)| case.duration_ms.is_some() || !case.text.is_empty())
        .collect();
    // Reasons of skips must not take the room of messages that say why a case failed.
    with_message.sort_by_key(|(index, case)| (!case.verdict.is_bad(), *index));
    let mut room = MAX_BUILD_TEXT_BYTES;
    let mut messages = Vec::with_capacity(with_message.len());
    for (case, WorstRun { duration_ms, mut text, .. }) in with_message {
        text.truncate(truncated(&text, room.min(MAX_CASE_TEXT_BYTES)).len());
        room -= text.len();
        if duration_ms.is_some() || !text.is_empty() {
            messages.push(FailureMessage { case, duration_ms, text });
        }
    }
    messages.sort_by_key(|message| message.case);
    messages
}

impl Results {
    /// Checks that these can be the results of a run of this list, since a stranger may have written them.
    pub fn check(&self, list: &CaseList) -> Result<(), BadResults> {
        if self.cases != list.sha256() {
            return Err(BadResults::OtherList { expected: list.sha256(), found: self.cases });
        }
        let (verdicts, cases) = (self.verdicts.len(), list.len());
        if verdicts != cases {
            return Err(BadResults::Length { verdicts, cases });
        }
        if self.verdicts.counts().missing > 0 {
            return Err(BadResults::Missing);
        }
        for (&case, &times) in &self.repeats {
            if index(case) >= cases || times < 2 {
                return Err(BadResults::Repeat { case, times });
            }
        }
        let mut before = None;
        let mut bytes = 0;
        for message in &self.failure_messages {
            let verdict = self.verdicts.get(index(message.case));
            if before >= Some(message.case) || verdict.is_none_or(|verdict| verdict == Verdict::Pass) {
                return Err(BadResults::Message(message.case));
            }
            before = Some(message.case);
            bytes += message.text.len();
            if message.text.len() > MAX_CASE_TEXT_BYTES || bytes > MAX_BUILD_TEXT_BYTES {
                return Err(BadResults::Text);
            }
        }
        Ok(())
    }

    /// The message of a case, by its index in the list.
    pub fn failure_message(&self, case: usize) -> Option<&FailureMessage> {
        let at = self.failure_messages.binary_search_by_key(&case, |message| index(message.case)).ok()?;
        self.failure_messages.get(at)
    }
}

#[cfg(test)]
mod tests;
