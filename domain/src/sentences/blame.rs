//! Who is held to have broken something, and who repaired it: one change, or one of several.

use super::pieces::capitalized;
use crate::words::BreakageState;

/// Who is held to have broken something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// No search has begun.
    Suspected,
    /// The search goes on.
    Searching,
    /// One change, and no other is left.
    Named,
    /// One of so many neighbouring changes that no run distinguishes.
    OneOf(usize),
    /// The search ended without a culprit.
    Inconclusive,
    /// Nobody: the cases are flaky.
    Flaky,
    /// Nobody: the machines differ.
    Environment,
    /// The breakage was over before a search had ended.
    Unknown,
}

impl Blame {
    /// From a breakage's state and what its search found. `suspects` counts the changes that cannot be distinguished from
    /// the culprit, itself included.
    pub fn new(state: BreakageState, found: Option<BreakageState>, suspects: usize) -> Blame {
        match found.unwrap_or(state) {
            BreakageState::Suspected => Blame::Suspected,
            BreakageState::Searching => Blame::Searching,
            BreakageState::Named if suspects <= 1 => Blame::Named,
            BreakageState::Named | BreakageState::OneOfK => Blame::OneOf(suspects),
            BreakageState::Inconclusive => Blame::Inconclusive,
            BreakageState::Flaky => Blame::Flaky,
            BreakageState::Environment => Blame::Environment,
            BreakageState::Fixed | BreakageState::Gone => Blame::Unknown,
        }
    }

    /// Who did it, as the subject of a sentence; `culprit` is the last of the suspects. None where no change is held to
    /// have done it.
    pub fn subject(self, culprit: &str) -> Option<String> {
        match self {
            Blame::Named => Some(culprit.to_string()),
            Blame::OneOf(0 | 1) => Some(format!("{culprit} or a change before it")),
            Blame::OneOf(k) => Some(format!("one of the {k} changes up to {culprit}")),
            Blame::Suspected
            | Blame::Searching
            | Blame::Inconclusive
            | Blame::Flaky
            | Blame::Environment
            | Blame::Unknown => None,
        }
    }

    /// The sentence that begins with [`Blame::subject`], with a capital letter; but a culprit's own name stays as it is.
    pub fn at_the_start(self, sentence: &str) -> String {
        match self {
            Blame::OneOf(2..) => capitalized(sentence),
            Blame::OneOf(_)
            | Blame::Named
            | Blame::Suspected
            | Blame::Searching
            | Blame::Inconclusive
            | Blame::Flaky
            | Blame::Environment
            | Blame::Unknown => sentence.to_string(),
        }
    }

    /// What stands between the culprit's name, which comes first, and the verb: empty, or ` or one of the 3 changes
    /// before it`.
    pub fn after_culprit(self) -> String {
        match self {
            Blame::OneOf(0 | 1) => " or a change before it".into(),
            Blame::OneOf(2) => " or the change before it".into(),
            Blame::OneOf(k) => format!(" or one of the {} changes before it", k - 1),
            Blame::Named
            | Blame::Suspected
            | Blame::Searching
            | Blame::Inconclusive
            | Blame::Flaky
            | Blame::Environment
            | Blame::Unknown => String::new(),
        }
    }
}

/// How a breakage was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepairClaim {
    /// By one change: the change just before it was still bad.
    By,
    /// By one of so many changes: those between were not built.
    Within(usize),
    /// By the project itself, with new inputs on an old change.
    ByItself,
}

impl RepairClaim {
    /// `changes` counts those after the last bad one, up to the first good one.
    pub fn new(is_by_project: bool, changes: usize) -> RepairClaim {
        match (is_by_project, changes) {
            (true, _) => RepairClaim::ByItself,
            (false, 1) => RepairClaim::By,
            (false, k) => RepairClaim::Within(k),
        }
    }

    /// `repaired by X`; `fixer` is the first good change.
    pub fn clause(self, fixer: &str) -> String {
        match self {
            RepairClaim::By => format!("repaired by {fixer}"),
            RepairClaim::Within(0) => format!("repaired by {fixer} at the latest"),
            RepairClaim::Within(k) => format!("repaired by one of the {k} changes up to {fixer}"),
            RepairClaim::ByItself => "the project has adapted".into(),
        }
    }
}

/// Whether and how a breakage is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is not over.
    Open,
    /// It is repaired.
    Repaired(RepairClaim),
    /// The branch no longer has the changes that showed it.
    Gone,
}

impl Ending {
    /// From a breakage's state and its repair, if one is proven.
    pub fn new(state: BreakageState, repair: Option<RepairClaim>) -> Ending {
        match (state, repair) {
            (BreakageState::Gone, _) => Ending::Gone,
            (_, Some(repair)) => Ending::Repaired(repair),
            (_, None) => Ending::Open,
        }
    }
}
