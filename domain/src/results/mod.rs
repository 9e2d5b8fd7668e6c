//! What a build keeps of its cases for ever: a list of names, shared by all builds that ran the same ones, and
//! one letter a case. Messages are kept only of cases that are not passes.

mod list;
mod repeats;
mod verdicts;

use std::collections::BTreeMap;

use protocol::{Sha256, StepEnd, Verdict};
use serde::{Deserialize, Serialize};

use crate::outcome::StepRun;
use crate::readers::{CaseRun, MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES, tidy};
pub use list::{BadCaseList, CaseList, MAX_CASE_LIST_BYTES};
pub use repeats::{count_repeats, repeated};
pub use verdicts::{BadLetter, VerdictCounts, Verdicts, letter, verdict};

/// No results are longer as JSON, whatever is escaped in them; who unpacks them need not read on.
pub const MAX_RESULTS_BYTES: usize = 6 * MAX_BUILD_TEXT_BYTES + 100 * MAX_CASES;

/// One build's verdicts over a case list; as JSON, what a worker uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// The [`CaseList`] that gives each letter its name.
    pub cases: Sha256,
    pub verdicts: Verdicts,
    /// Whether the run told of all its cases. If not, a case that is not in the list is unreached.
    pub complete: bool,
    /// How often a case came, where that is more than once; see [`count_repeats`].
    pub repeats: BTreeMap<u32, u32>,
    /// By case; none of a pass.
    pub notes: Vec<FailureMessage>,
}

/// What is kept of a case that is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureMessage {
    /// Its place in the list.
    pub case: u32,
    pub duration_ms: Option<u64>,
    pub text: String,
}

/// Why results cannot be what a farm's own worker made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadResults {
    #[error("the results speak of case list {expected}, not of {found}")]
    OtherList { expected: Sha256, found: Sha256 },
    #[error("the results have {verdicts} verdicts for {cases} cases")]
    Length { verdicts: usize, cases: usize },
    #[error("the results call a case missing, which only a comparison can tell")]
    Missing,
    #[error("the results repeat case {case} {times} times: expected a case of the list and 2 or more")]
    Repeat { case: u32, times: u32 },
    #[error("the results have a note on case {0}: expected one note a case, in order, none on a pass")]
    Note(u32),
    #[error(
        "the results' notes are too long: expected at most {MAX_CASE_TEXT_BYTES} bytes a case, {MAX_BUILD_TEXT_BYTES} in all"
    )]
    Text,
}

/// What is known of one name while runs come in.
struct Gathered {
    verdict: Verdict,
    times: u32,
    duration_ms: Option<u64>,
    text: String,
}

/// Brings all runs of a build together: one case a name, of which the worst run counts.
///
/// `complete` is whether every report was (see [`crate::readers::Reading::complete`]). Over [`MAX_CASES`]
/// names the later ones are dropped, and the results are not complete.
pub fn collect(runs: impl IntoIterator<Item = CaseRun>, mut complete: bool) -> (CaseList, Results) {
    let mut gathered: BTreeMap<String, Gathered> = BTreeMap::new();
    for run in runs {
        let name = tidy(&run.name);
        if let Some(known) = gathered.get_mut(&name) {
            known.times = known.times.saturating_add(1);
            if run.verdict > known.verdict {
                known.verdict = run.verdict;
                known.duration_ms = run.duration_ms;
                known.text = run.text.unwrap_or_default();
            }
        } else if gathered.len() < MAX_CASES {
            let CaseRun { verdict, duration_ms, text, .. } = run;
            let text = text.unwrap_or_default();
            gathered.insert(name, Gathered { verdict, times: 1, duration_ms, text });
        } else {
            complete = false;
        }
    }

    let list = CaseList::from_sorted(gathered.keys());
    let verdicts = gathered.values().map(|case| case.verdict).collect();
    let repeats =
        (0..).zip(gathered.values()).filter(|(_, case)| case.times > 1).map(|(at, case)| (at, case.times));
    let repeats = repeats.collect();
    let notes = notes(gathered.into_values());
    let results = Results { cases: list.sha256(), verdicts, complete, repeats, notes };
    (list, results)
}

/// What a build without reports has: one case a step, by its exit. Steps behind one that failed were not reached.
pub fn of_steps(steps: &[StepRun]) -> (CaseList, Results) {
    let verdict = |end: &StepEnd| match end {
        StepEnd::Exit { code: 0 } => Verdict::Pass,
        StepEnd::Exit { .. }
        | StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::NoTests
        | StepEnd::BadReport { .. }
        | StepEnd::Cancelled => Verdict::Fail,
    };
    let runs: Vec<CaseRun> =
        steps.iter().map(|step| CaseRun::of_step(&step.name, verdict(&step.end))).collect();
    let complete = runs.iter().all(|run| run.verdict == Verdict::Pass);
    collect(runs, complete)
}

fn notes(cases: impl Iterator<Item = Gathered>) -> Vec<FailureMessage> {
    let mut told: Vec<(u32, Gathered)> = (0..)
        .zip(cases)
        .filter(|(_, case)| case.verdict != Verdict::Pass)
        .filter(|(_, case)| case.duration_ms.is_some() || !case.text.is_empty())
        .collect();
    // Reasons of skips must not take the room of what tells why a case failed.
    told.sort_by_key(|(at, case)| (!case.verdict.is_bad(), *at));
    let mut room = MAX_BUILD_TEXT_BYTES;
    let mut notes = Vec::with_capacity(told.len());
    for (case, Gathered { duration_ms, mut text, .. }) in told {
        text.truncate(crate::readers::cut(&text, room.min(MAX_CASE_TEXT_BYTES)).len());
        room -= text.len();
        if duration_ms.is_some() || !text.is_empty() {
            notes.push(FailureMessage { case, duration_ms, text });
        }
    }
    notes.sort_by_key(|note| note.case);
    notes
}

impl Results {
    /// Whether these can be the results of a run of this list; a stranger may have written them.
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
            if case as usize >= cases || times < 2 {
                return Err(BadResults::Repeat { case, times });
            }
        }
        let mut before = None;
        let mut bytes = 0;
        for note in &self.notes {
            let verdict = self.verdicts.get(note.case as usize);
            if before >= Some(note.case) || verdict.is_none_or(|verdict| verdict == Verdict::Pass) {
                return Err(BadResults::Note(note.case));
            }
            before = Some(note.case);
            bytes += note.text.len();
            if note.text.len() > MAX_CASE_TEXT_BYTES || bytes > MAX_BUILD_TEXT_BYTES {
                return Err(BadResults::Text);
            }
        }
        Ok(())
    }

    /// What is known of a case beside its verdict.
    pub fn note(&self, case: usize) -> Option<&FailureMessage> {
        let at = self.notes.binary_search_by_key(&case, |note| note.case as usize).ok()?;
        self.notes.get(at)
    }
}

#[cfg(test)]
mod tests;
