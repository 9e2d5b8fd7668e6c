//! What a search believes so far, for people to see.

use crate::outcome::words;
use crate::words::ids::WorkerId;

/// The state of a search's belief. Probabilities are means over the cases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Belief {
    /// The probability that the trunk is not to blame.
    pub environment: f64,
    /// The probability that the cases are flaky whatever the change is.
    pub flaky: f64,
    /// The probability of each change of the range to be the culprit; 0 for the good end.
    pub changes: Vec<f64>,
    /// The probability that the cases fail only now and then since the culprit.
    pub intermittent: f64,
    /// How many more probes to expect.
    pub probes_left: u32,
    /// The workers whose runs do not count, and why.
    pub left_out: Vec<(WorkerId, ExcludedWorker)>,
}

/// Why the runs of a worker do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExcludedWorker {
    /// It has not passed the good end itself.
    Unproven,
    /// It fails at the good end, where another worker passes.
    FailsThere,
    /// It passes at the bad end, where another worker fails.
    PassesThere,
}

words!(ExcludedWorker { Unproven = "unproven", FailsThere = "fails-there", PassesThere = "passes-there" });
