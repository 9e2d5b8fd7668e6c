//! How often a verdict lies: a rate that nobody knows, with what is known of it integrated out.

use super::Tally;

/// Runs of a history that count at most; an older past says too little of today.
const MAX_GOOD_RUNS: u32 = 200;
const MAX_BAD_RUNS: u32 = 100;
/// How much is believed in histories. The rest holds a rate that has drifted, or a break that is real but shows
/// itself only now and then; without it one blame in eleven is wrong when rates drift.
const NEAR: f64 = 0.95;

/// A rate known from its history, or else from nothing.
pub(super) struct Rate {
    near: Beta,
    far: Beta,
}

/// What a number of lies and of truths makes of a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weighed {
    /// Logarithm of how likely just these were.
    pub ln: f64,
    /// The rate to expect of the next run.
    pub mean: f64,
    /// How much of it the history no longer speaks for.
    pub far: f64,
}

impl Rate {
    /// How often a case fails where nothing is wrong. `runs` is the number of them that will be weighed at most.
    pub fn of_failing(history: Tally, runs: usize) -> Rate {
        let (fails, passes) = at_most(history.fails, history.passes, MAX_GOOD_RUNS);
        Rate { near: Beta::new(0.5 + fails, 9.5 + passes, runs), far: Beta::new(1.0, 9.0, runs) }
    }

    /// How often a broken case passes.
    pub fn of_passing(history: Tally, runs: usize) -> Rate {
        let (passes, fails) = at_most(history.passes, history.fails, MAX_BAD_RUNS);
        Rate { near: Beta::new(0.2 + passes, 9.8 + fails, runs), far: Beta::new(1.0, 1.0, runs) }
    }

    pub fn weigh(&self, lies: u32, truths: u32) -> Weighed {
        let (lies, truths) = (lies as usize, truths as usize);
        let near = NEAR.ln() + self.near.ln(lies, truths);
        let far = (1.0 - NEAR).ln() + self.far.ln(lies, truths);
        let ln = ln_sum(near, far);
        let share = (far - ln).exp();
        let mean = (1.0 - share) * self.near.mean(lies, truths) + share * self.far.mean(lies, truths);
        Weighed { ln, mean, far: share }
    }
}

/// Scales a history down to so many runs.
fn at_most(lies: u32, truths: u32, runs: u32) -> (f64, f64) {
    let all = lies + truths;
    let scale = if all > runs { f64::from(runs) / f64::from(all) } else { 1.0 };
    (f64::from(lies) * scale, f64::from(truths) * scale)
}

pub(super) fn ln_sum(one: f64, other: f64) -> f64 {
    let (more, less) = if one >= other { (one, other) } else { (other, one) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

/// Beta(a, b), asked only after whole numbers of runs. The gamma functions of a Beta-binomial then cancel to products
/// a (a+1) .. (a+x-1), whose logarithms are kept: exact, and a look-up a time.
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

    /// ln B(a+x, b+y) / B(a, b)
    fn ln(&self, x: usize, y: usize) -> f64 {
        self.ln_a[x] + self.ln_b[y] - self.ln_both[x + y]
    }

    fn mean(&self, x: usize, y: usize) -> f64 {
        (self.a + x as f64) / (self.a + self.b + (x + y) as f64)
    }
}

fn ln_rising(from: f64, runs: usize) -> Vec<f64> {
    let mut sums = Vec::with_capacity(runs + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for i in 0..runs {
        sum += (from + i as f64).ln();
        sums.push(sum);
    }
    sums
}
