//! The noise of verdicts: how often a good case fails, and how often a broken one passes.
//!
//! Neither rate is known. The prior of each is a mixture of two Beta distributions: one from the case's history, and a
//! wide one in case the history no longer applies. The rate is then integrated out: with B the Beta function,
//! x lies and y truths have the probability B(a+x, b+y) / B(a, b) under Beta(a, b), a Beta-binomial without its binomial
//! coefficient, since the order of the runs is given.

use super::evidence::Tally;
use crate::numbers::{index, real};

/// How many runs of a history count at most: an older past says too little about the present.
const MAX_GOOD_RUNS: u32 = 200;
const MAX_BAD_RUNS: u32 = 100;
/// The weight of the history's component. The wide component allows for a rate that has drifted, and for a break that
/// shows only now and then; without it one answer in eleven is wrong when rates drift.
const HISTORY_WEIGHT: f64 = 0.95;

/// The distribution of an unknown rate of lies: of false failures, or of false passes.
pub(super) struct Rate {
    history: Beta,
    wide: Beta,
}

/// What some lies and truths say about a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WeighedRate {
    /// The natural logarithm of their marginal likelihood.
    pub ln: f64,
    /// The posterior mean of the rate: the probability that the next run lies.
    pub mean: f64,
    /// The posterior weight of the wide component.
    pub wide: f64,
}

impl Rate {
    /// f: how often a good case fails. At most `runs` runs are weighed later.
    pub fn of_false_failures(history: Tally, runs: usize) -> Rate {
        let (fails, passes) = at_most(history.fails, history.passes, MAX_GOOD_RUNS);
        Rate { history: Beta::new(0.5 + fails, 9.5 + passes, runs), wide: Beta::new(1.0, 9.0, runs) }
    }

    /// f once more, for a case of which it is asked whether luck alone explains its runs: what was not measured may be any
    /// rate.
    pub fn of_luck(history: Tally, runs: usize) -> Rate {
        let (fails, passes) = at_most(history.fails, history.passes, MAX_GOOD_RUNS);
        Rate { history: Beta::new(1.0 + fails, 1.0 + passes, runs), wide: Beta::new(1.0, 9.0, runs) }
    }

    /// g: how often a broken case passes. At most `runs` runs are weighed later.
    pub fn of_false_passes(history: Tally, runs: usize) -> Rate {
        let (passes, fails) = at_most(history.passes, history.fails, MAX_BAD_RUNS);
        Rate { history: Beta::new(0.2 + passes, 9.8 + fails, runs), wide: Beta::new(1.0, 1.0, runs) }
    }

    /// Bayes' rule for both components.
    pub fn weigh(&self, lies: u32, truths: u32) -> WeighedRate {
        let history = HISTORY_WEIGHT.ln() + self.history.ln(lies, truths);
        let wide = (1.0 - HISTORY_WEIGHT).ln() + self.wide.ln(lies, truths);
        let ln = ln_sum(history, wide);
        let share = (wide - ln).exp();
        let mean = (1.0 - share) * self.history.mean(lies, truths) + share * self.wide.mean(lies, truths);
        WeighedRate { ln, mean, wide: share }
    }
}

/// Scales a history down to so many runs.
fn at_most(lies: u32, truths: u32, runs: u32) -> (f64, f64) {
    let all = lies + truths;
    let scale = if all > runs { f64::from(runs) / f64::from(all) } else { 1.0 };
    (f64::from(lies) * scale, f64::from(truths) * scale)
}

/// ln(exp(one) + exp(other)), without overflow.
pub(super) fn ln_sum(one: f64, other: f64) -> f64 {
    let (more, less) = if one >= other { (one, other) } else { (other, one) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

/// Beta(a, b), evaluated only after whole numbers of runs. The gamma functions of B(a+x, b+y) / B(a, b) then cancel to
/// rising factorials a (a+1) .. (a+x-1), whose logarithms are tabulated: exact, and a lookup each.
struct Beta {
    a: f64,
    b: f64,
    ln_a: Vec<f64>,
    ln_b: Vec<f64>,
    ln_both: Vec<f64>,
}

impl Beta {
    fn new(a: f64, b: f64, runs: usize) -> Beta {
        Beta { a, b, ln_a: ln_rising(a, runs), ln_b: ln_rising(b, runs), ln_both: ln_rising(a + b, runs) }
    }

    /// ln B(a+x, b+y) - ln B(a, b)
    fn ln(&self, x: u32, y: u32) -> f64 {
        self.ln_a[index(x)] + self.ln_b[index(y)] - self.ln_both[index(x + y)]
    }

    fn mean(&self, x: u32, y: u32) -> f64 {
        (self.a + f64::from(x)) / (self.a + self.b + f64::from(x + y))
    }
}

/// The logarithms of the rising factorials of `from`, of 0 to `runs` factors.
fn ln_rising(from: f64, runs: usize) -> Vec<f64> {
    let mut sums = Vec::with_capacity(runs + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for i in 0..runs {
        sum += (from + real(i)).ln();
        sums.push(sum);
    }
    sums
}
