//! The probability of each hypothesis before anything is probed.

use std::ops::RangeInclusive;

use crate::numbers::real;

/// The share of the changes' probability that is spread evenly, since suspicion by words and paths can mislead.
const EVEN: f64 = 0.2;

/// The prior over the hypotheses 0 (not the trunk), 1..=n (the changes) and n + 1 (flaky), as cumulative sums, so that
/// any interval of hypotheses takes constant time.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// `below[h]`: the probability of all hypotheses before h.
    below: Vec<f64>,
    /// `surprise[h]`: the sum of -p log2 p over all hypotheses before h, in bits.
    surprise: Vec<f64>,
}

impl Prior {
    /// `environment` and `flaky` are the probabilities of h = 0 and h = n + 1. `weights` has one number for each change
    /// after the good end: how suspicious it is compared with the others. Panics if there is no change.
    pub fn new(environment: f64, flaky: f64, weights: &[f64]) -> Prior {
        assert!(!weights.is_empty(), "a range holds at least the change at its bad end");
        let total: f64 = weights.iter().sum();
        let even = EVEN / real(weights.len());
        let trunk = 1.0 - environment - flaky;
        let mut below = Vec::with_capacity(weights.len() + 3);
        let mut sum = environment;
        below.extend([0.0, sum]);
        for weight in weights {
            let suspicion = if total > 0.0 { weight / total } else { 1.0 / real(weights.len()) };
            sum += trunk * ((1.0 - EVEN) * suspicion + even);
            below.push(sum);
        }
        below.push(sum + flaky);
        let mut surprise = Vec::with_capacity(below.len());
        let mut sum = 0.0;
        surprise.push(sum);
        for pair in below.windows(2) {
            let share = pair[1] - pair[0];
            sum -= if share > 0.0 { share * share.log2() } else { 0.0 };
            surprise.push(sum);
        }
        Prior { below, surprise }
    }

    /// n: the number of changes, and the hypothesis of the last one.
    pub fn changes(&self) -> usize {
        self.below.len() - 3
    }

    /// The probability of an interval of hypotheses.
    pub fn mass(&self, hypotheses: RangeInclusive<usize>) -> f64 {
        self.below[hypotheses.end() + 1] - self.below[*hypotheses.start()]
    }

    /// The entropy within an interval of hypotheses, given that the truth is one of them; in bits.
    pub(super) fn entropy(&self, hypotheses: RangeInclusive<usize>) -> f64 {
        let mass = self.mass(hypotheses.clone());
        let surprise = self.surprise[hypotheses.end() + 1] - self.surprise[*hypotheses.start()];
        if mass > 0.0 { (surprise / mass + mass.log2()).max(0.0) } else { 0.0 }
    }

    /// The quantile: the first hypothesis at which the cumulative sum, itself included, reaches `sum`.
    pub(super) fn reaching(&self, sum: f64) -> usize {
        self.below[1..].partition_point(|&below| below < sum).min(self.below.len() - 2)
    }

    /// The probability of all hypotheses before this one.
    pub(super) fn below(&self, hypothesis: usize) -> f64 {
        self.below[hypothesis]
    }
}
