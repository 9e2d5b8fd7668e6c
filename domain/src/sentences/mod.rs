//! What the farm says of breakages and changes: pages, mail and JSON all take their words from here.
//!
//! A sentence states a fact about one change only where one change is left: a culprit whose search ended as *named* with
//! no other suspect, or a repair whose last bad change stands just before it. Everything else is said of a range, with
//! the number of its changes.

mod blame;
mod broken;
mod case_words;
mod change;
mod fetching;
mod pieces;
mod proof;
mod quote;
mod reach;
#[cfg(test)]
mod tests;
mod variants;

pub use blame::{Blame, Ending, RepairClaim};
pub use broken::{Broken, BrokenCounts, CountedCase, count_tests, step_of};
pub use case_words::case_words;
pub use change::{ChangeRole, change_sentence};
pub use fetching::FetchFailure;
pub use pieces::capitalized;
pub use proof::{RunCount, WorkerRuns};
pub use quote::{QuotableRun, quote_order};
pub use reach::unreached;
pub use variants::{VariantSpread, VariantState};

use crate::words::BreakageState;

/// What the farm says of a suite whose failures have no stable names, on its project's page and to its contacts.
pub const UNSTABLE_NAMES: &str = "On identical inputs, this suite names its failures differently in each run, so the farm cannot tell a new failure from \
     an old one: new names are left to the case of their step, and are not searched. A report that names cases would mend \
     that, as would messages without random words.";

/// A breakage, as far as its sentence needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakageSentence<'s> {
    /// Who is held to have broken it.
    pub blame: Blame,
    /// How many changes its range has.
    pub range: usize,
    /// Whether and how it is over.
    pub ending: Ending,
    /// What is broken.
    pub broken: &'s Broken,
    /// The culprit as the sentence calls it; of a range, its last change.
    pub culprit: &'s str,
    /// The change that repaired it; of a range, its last change.
    pub fixer: &'s str,
}

impl BreakageSentence<'_> {
    /// One sentence without a full stop.
    pub fn sentence(&self) -> String {
        let broken = self.broken;
        let among = match self.range {
            0 | 1 => String::new(),
            k => format!(" among {k} changes"),
        };
        let what = match self.blame.subject(self.culprit) {
            Some(subject) => format!("{} {}", self.blame.at_the_start(&subject), broken.deed()),
            None => match self.blame {
                Blame::Flaky => {
                    let (noun, verb) = broken.noun();
                    format!("{noun} {verb} intermittently on identical inputs; no change is blamed")
                }
                Blame::Environment => {
                    let (noun, verb) = broken.noun();
                    format!("{noun} {verb} without any change: the machines differ, not the trunk")
                }
                Blame::Suspected => {
                    format!("{}; the search for the culprit{among} has not begun", broken.state())
                }
                Blame::Searching => format!("{}; the search for the culprit{among} goes on", broken.state()),
                Blame::Inconclusive => {
                    format!("{}; the search did not find the culprit{among}", broken.state())
                }
                Blame::Named | Blame::OneOf(_) | Blame::Unknown => broken.state(),
            },
        };
        match self.ending {
            Ending::Open => what,
            Ending::Repaired(repair) => format!("{what}; {}", repair.clause(self.fixer)),
            Ending::Gone => format!("{what}; the branch no longer has the changes that showed it"),
        }
    }
}

/// The state in a word or two, for a table: `still broken`, `repaired`.
pub fn now(state: BreakageState) -> &'static str {
    match state {
        BreakageState::Suspected | BreakageState::Searching => "searching",
        BreakageState::Named | BreakageState::OneOfK | BreakageState::Inconclusive => "still broken",
        BreakageState::Flaky => "flaky",
        BreakageState::Environment => "not the trunk",
        BreakageState::Fixed => "repaired",
        BreakageState::Gone => "no longer on the branch",
    }
}
