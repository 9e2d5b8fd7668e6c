//! What is thought of each hypothesis before anything is probed.

use std::ops::RangeInclusive;

/// The share that suspicion has no say in, since words and paths mislead.
const EVEN: f64 = 0.2;

/// Over the hypotheses 0 (not the trunk), 1..=n (the changes), n + 1 (flaky), as sums up to each.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// `below[h]`: of all before h.
    below: Vec<f64>,
    /// `surprise[h]`: of all before h, their shares times the bits that each would be worth.
    surprise: Vec<f64>,
}

impl Prior {
    /// `weights` are how suspicious each change is beside the others; the good end has none.
    pub fn new(environment: f64, flaky: f64, weights: &[f64]) -> Prior {
        assert!(!weights.is_empty(), "a range holds at least the change that is bad");
        let total: f64 = weights.iter().sum();
        let even = EVEN / weights.len() as f64;
        let trunk = 1.0 - environment - flaky;
        let mut below = Vec::with_capacity(weights.len() + 3);
        let mut sum = environment;
        below.extend([0.0, sum]);
        for weight in weights {
            let suspicion = if total > 0.0 { weight / total } else { 1.0 / weights.len() as f64 };
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

    /// The number of changes, and the hypothesis of the last.
    pub fn changes(&self) -> usize {
        self.below.len() - 3
    }

    pub fn mass(&self, hypotheses: RangeInclusive<usize>) -> f64 {
        self.below[hypotheses.end() + 1] - self.below[*hypotheses.start()]
    }

    /// How little the prior tells these hypotheses apart, in bits.
    pub(super) fn entropy(&self, hypotheses: RangeInclusive<usize>) -> f64 {
        let mass = self.mass(hypotheses.clone());
        let surprise = self.surprise[hypotheses.end() + 1] - self.surprise[*hypotheses.start()];
        if mass > 0.0 { (surprise / mass + mass.log2()).max(0.0) } else { 0.0 }
    }

    /// The first hypothesis at which the sum, itself included, reaches this.
    pub(super) fn reaching(&self, sum: f64) -> usize {
        self.below[1..].partition_point(|&below| below < sum).min(self.below.len() - 2)
    }

    /// Of all before this hypothesis.
    pub(super) fn below(&self, hypothesis: usize) -> f64 {
        self.below[hypothesis]
    }
}
