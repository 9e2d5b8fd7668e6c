//! What runs make of the prior of one case, and what one more run would tell.

use std::ops::RangeInclusive;

use super::Tally;
use super::noise::{Rate, Weighed};
use super::prior::Prior;

/// Hypotheses between which no run has told yet: it lies after one change that has run, and at the next or before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub hypotheses: RangeInclusive<usize>,
    /// How likely it is that the truth lies here.
    pub weight: f64,
    /// How often the case fails where good, and passes where bad, if it does.
    pub(super) failing: f64,
    pub(super) passing: f64,
    /// How likely the break is then one that shows itself only now and then.
    pub(super) intermittent: f64,
    failing_bits: f64,
    passing_bits: f64,
}

impl Segment {
    /// The weight is still a logarithm then.
    fn new(hypotheses: RangeInclusive<usize>, ln: f64, f: Weighed, g: Weighed) -> Segment {
        Segment {
            hypotheses,
            weight: ln,
            failing: f.mean,
            passing: g.mean,
            intermittent: g.far,
            failing_bits: bits(f.mean),
            passing_bits: bits(g.mean),
        }
    }
}

/// What is thought of one case after its runs. Its size is that of the runs, whatever the range's is.
#[derive(Debug, Clone)]
pub struct Posterior<'a> {
    prior: &'a Prior,
    pub segments: Vec<Segment>,
    /// What all other segments say of a run inside each: how likely it fails, and how unsure that would be.
    around: Vec<(f64, f64)>,
}

impl<'a> Posterior<'a> {
    /// `seen` is what ran, in the range's order, each change once.
    pub(super) fn new(
        prior: &'a Prior,
        failing: &Rate,
        passing: &Rate,
        seen: &[(usize, Tally)],
    ) -> Posterior<'a> {
        let mut before = Tally::default();
        let mut after = seen.iter().fold(Tally::default(), |sum, (_, tally)| sum + *tally);
        let mut first = 0;
        let mut segments: Vec<Segment> = Vec::with_capacity(seen.len() + 1);
        let behind = (prior.changes() + 1, Tally::default());
        for &(last, tally) in seen.iter().chain([&behind]) {
            let mass = prior.mass(first..=last);
            if mass > 0.0 {
                let f = failing.weigh(before.fails, before.passes);
                let g = passing.weigh(after.passes, after.fails);
                segments.push(Segment::new(first..=last, mass.ln() + f.ln + g.ln, f, g));
            }
            first = last + 1;
            before = before + tally;
            after = after - tally;
        }
        let most = segments.iter().map(|segment| segment.weight).fold(f64::NEG_INFINITY, f64::max);
        for segment in &mut segments {
            segment.weight = (segment.weight - most).exp();
        }
        let total: f64 = segments.iter().map(|segment| segment.weight).sum();
        for segment in &mut segments {
            segment.weight /= total;
        }
        Posterior { prior, around: around(&segments), segments }
    }

    pub fn changes(&self) -> usize {
        self.prior.changes()
    }

    /// How likely one hypothesis is. Inside a segment nothing but the prior tells them apart.
    pub fn of(&self, hypothesis: usize) -> f64 {
        let segment = &self.segments[self.segment_of(hypothesis)];
        if !segment.hypotheses.contains(&hypothesis) {
            return 0.0;
        }
        segment.weight * self.prior.mass(hypothesis..=hypothesis)
            / self.prior.mass(segment.hypotheses.clone())
    }

    /// How likely it is that the case fails now and then: whatever the change, and since one of the changes.
    pub(super) fn now_and_then(&self) -> (f64, f64) {
        let (mut ever, mut since) = (0.0, 0.0);
        for segment in &self.segments {
            let of_ever = |hypothesis: usize| match segment.hypotheses.contains(&hypothesis) {
                true => self.of(hypothesis),
                false => 0.0,
            };
            let (base, flaky) = (of_ever(0), of_ever(self.changes() + 1));
            ever += flaky + base * segment.intermittent;
            since += (segment.weight - base - flaky) * segment.intermittent;
        }
        (ever, since)
    }

    /// How likely it fails only now and then, and does so since one of the changes.
    pub fn since(&self) -> f64 {
        self.now_and_then().1
    }

    /// The fewest changes in a row, first and last, that hold this much of the belief between runs; none when the
    /// trunk as a whole does not.
    pub fn narrowest(&self, share: f64) -> Option<(usize, usize)> {
        let of_trunk = |segment: &&Segment| {
            *segment.hypotheses.start() > 0 && *segment.hypotheses.end() <= self.changes()
        };
        let of_trunk: Vec<&Segment> = self.segments.iter().filter(of_trunk).collect();
        let stretches = (0..of_trunk.len()).filter_map(|from| {
            let mut held = 0.0;
            let last = of_trunk[from..].iter().find(|segment| {
                held += segment.weight;
                held >= share
            })?;
            Some((*of_trunk[from].hypotheses.start(), *last.hypotheses.end()))
        });
        stretches.min_by_key(|(first, last)| last - first)
    }

    /// How many more probes are to be expected: what is not known yet over what a run can tell at most, and the runs
    /// by which an answer is confirmed.
    pub fn probes_left(&self) -> f64 {
        let heaviest = self.segments.iter().max_by(|one, other| one.weight.total_cmp(&other.weight));
        let capacity = heaviest.map_or(1.0, |segment| capacity(segment.failing, segment.passing));
        self.entropy() / capacity.max(0.01)
    }

    /// How much is not known, in bits.
    pub fn entropy(&self) -> f64 {
        let inside = |segment: &Segment| self.prior.entropy(segment.hypotheses.clone());
        let known = self.segments.iter().filter(|segment| segment.weight > 0.0);
        known.map(|segment| segment.weight * (inside(segment) - segment.weight.log2())).sum()
    }

    /// If a hypothesis is true: how often the case fails where good, and passes where bad.
    pub(super) fn rates(&self, hypothesis: usize) -> (f64, f64) {
        let segment = &self.segments[self.segment_of(hypothesis)];
        (segment.failing, segment.passing)
    }

    /// The segment in which a hypothesis lies, or behind which when none holds it.
    fn segment_of(&self, hypothesis: usize) -> usize {
        let index = self.segments.partition_point(|segment| *segment.hypotheses.end() < hypothesis);
        index.min(self.segments.len() - 1)
    }

    /// The hypothesis at which the sum of all before it and itself reaches this.
    pub(super) fn reaching(&self, share: f64) -> usize {
        let mut sum = 0.0;
        for segment in &self.segments {
            if sum + segment.weight >= share {
                let theta = (share - sum) / segment.weight;
                let (start, end) = (*segment.hypotheses.start(), *segment.hypotheses.end());
                let sum = self.prior.below(start) + theta * self.prior.mass(start..=end);
                return self.prior.reaching(sum).clamp(start, end);
            }
            sum += segment.weight;
        }
        self.changes() + 1
    }

    /// The bits that a run at a change is expected to tell of the truth.
    pub(super) fn outlook(&self, at: usize) -> f64 {
        let index = self.segment_of(at);
        let segment = &self.segments[index];
        let theta = match segment.hypotheses.contains(&at) {
            true => {
                self.prior.mass(*segment.hypotheses.start()..=at)
                    / self.prior.mass(segment.hypotheses.clone())
            }
            // Nothing can be true there: the next segment begins behind it, or all lie before it.
            false => f64::from(u8::from(*segment.hypotheses.end() < at)),
        };
        let (bad, good) = (theta * segment.weight, (1.0 - theta) * segment.weight);
        let (fails, unsure) = self.around[index];
        let fails = fails + bad * (1.0 - segment.passing) + good * segment.failing;
        let unsure = unsure + bad * segment.passing_bits + good * segment.failing_bits;
        (bits(fails) - unsure).max(0.0)
    }

    /// The change inside a segment at which a run would tell most; none where there is no such.
    pub(super) fn best_inside(&self, index: usize) -> Option<usize> {
        let segment = &self.segments[index];
        let (f, g) = (segment.failing, segment.passing);
        let spread = segment.weight * (1.0 - f - g);
        if spread <= 0.0 {
            return None;
        }
        let slope = (segment.passing_bits - segment.failing_bits) / (1.0 - f - g);
        let wanted = 1.0 / (1.0 + slope.exp2());
        let (others, _) = self.around[index];
        let theta = ((wanted - others - segment.weight * f) / spread).clamp(0.0, 1.0);
        let (start, end) = (*segment.hypotheses.start(), *segment.hypotheses.end());
        let sum = self.prior.below(start) + theta * self.prior.mass(start..=end);
        Some(self.prior.reaching(sum).clamp(start, end).min(self.prior.changes()))
    }
}

fn around(segments: &[Segment]) -> Vec<(f64, f64)> {
    let good = |s: &Segment| (s.weight * s.failing, s.weight * s.failing_bits);
    let bad = |s: &Segment| (s.weight * (1.0 - s.passing), s.weight * s.passing_bits);
    let mut after = segments.iter().map(good).fold((0.0, 0.0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
    let mut before = (0.0, 0.0);
    segments
        .iter()
        .map(|segment| {
            let (here_good, here_bad) = (good(segment), bad(segment));
            after = (after.0 - here_good.0, after.1 - here_good.1);
            let around = (before.0 + after.0, before.1 + after.1);
            before = (before.0 + here_bad.0, before.1 + here_bad.1);
            around
        })
        .collect()
}

/// What a run can tell at most, in bits, if good changes fail and bad ones pass so often: the capacity of a binary
/// channel, which searches come near (L. Gretta, E. Price: *Sharp Noisy Binary Search with Monotonic Probabilities*,
/// 2023).
fn capacity(failing: f64, passing: f64) -> f64 {
    let told = 1.0 - failing - passing;
    if told <= 0.0 {
        return 0.0;
    }
    let spread = (bits(failing) - bits(passing)) / told;
    (1.0 + spread.exp2()).log2() + failing / told * bits(passing) - (1.0 - passing) / told * bits(failing)
}

/// Entropy of a coin in bits.
pub(super) fn bits(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 { 0.0 } else { -p * p.log2() - (1.0 - p) * (1.0 - p).log2() }
}
