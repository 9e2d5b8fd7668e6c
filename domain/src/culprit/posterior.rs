//! The posterior of one case after its runs, and the information to expect from one more run.

use std::ops::RangeInclusive;

use super::evidence::Tally;
use super::noise::{Rate, WeighedRate};
use super::prior::Prior;

/// A maximal interval of hypotheses with the same likelihood: no change has run between them. It begins after a change
/// that has run, and ends with the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The hypotheses of the interval.
    pub hypotheses: RangeInclusive<usize>,
    /// The posterior probability that the truth is one of them.
    pub weight: f64,
    /// The posterior means of f and g, given that the truth is one of them.
    pub(super) failing: f64,
    pub(super) passing: f64,
    /// The posterior probability, given the same, that the broken case still passes now and then.
    pub(super) intermittent: f64,
    /// The binary entropies of f and g, in bits.
    failing_bits: f64,
    passing_bits: f64,
}

impl Segment {
    /// The weight is a natural logarithm until it is normalized.
    fn new(hypotheses: RangeInclusive<usize>, ln: f64, f: WeighedRate, g: WeighedRate) -> Segment {
        Segment {
            hypotheses,
            weight: ln,
            failing: f.mean,
            passing: g.mean,
            intermittent: g.wide,
            failing_bits: bits(f.mean),
            passing_bits: bits(g.mean),
        }
    }
}

/// The posterior over the hypotheses of one case. Its size is proportional to the number of changes that have run,
/// whatever the length of the range is.
#[derive(Debug, Clone)]
pub struct Posterior<'a> {
    prior: &'a Prior,
    /// In the order of their hypotheses; together they hold all with a positive prior.
    pub segments: Vec<Segment>,
    /// For a run inside each segment, the part of the other segments: P(fail), and the expected entropy in bits.
    around: Vec<(f64, f64)>,
}

impl<'a> Posterior<'a> {
    /// `seen` holds the runs of each change that has run, in the range's order.
    ///
    /// With F and P the failures and passes, a segment's weight is proportional to its prior mass times
    /// m_f(F before, P before) m_g(P after, F after), where m is the marginal likelihood of lies and truths.
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
        let end = (prior.changes() + 1, Tally::default());
        for &(last, tally) in seen.iter().chain([&end]) {
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

    /// n: the number of changes after the good end.
    pub fn changes(&self) -> usize {
        self.prior.changes()
    }

    /// The posterior probability of one hypothesis. Inside a segment it is proportional to the prior.
    pub fn of(&self, hypothesis: usize) -> f64 {
        let segment = &self.segments[self.segment_of(hypothesis)];
        if !segment.hypotheses.contains(&hypothesis) {
            return 0.0;
        }
        segment.weight * self.prior.mass(hypothesis..=hypothesis)
            / self.prior.mass(segment.hypotheses.clone())
    }

    /// The posterior probabilities that the case is intermittent whatever the change is, and that it is so since one of the
    /// changes.
    pub(super) fn intermittent(&self) -> (f64, f64) {
        let (mut always, mut since) = (0.0, 0.0);
        for segment in &self.segments {
            let inside = |hypothesis: usize| match segment.hypotheses.contains(&hypothesis) {
                true => self.of(hypothesis),
                false => 0.0,
            };
            let (base, flaky) = (inside(0), inside(self.changes() + 1));
            always += flaky + base * segment.intermittent;
            since += (segment.weight - base - flaky) * segment.intermittent;
        }
        (always, since)
    }

    /// The posterior probability that the case became intermittent at one of the changes.
    pub fn since(&self) -> f64 {
        self.intermittent().1
    }

    /// The posterior probability that one of the changes after `parent` up to `last` is the culprit.
    pub fn between(&self, parent: usize, last: usize) -> f64 {
        let inside =
            |segment: &&Segment| *segment.hypotheses.start() > parent && *segment.hypotheses.end() <= last;
        self.segments.iter().filter(inside).map(|segment| segment.weight).sum()
    }

    /// How many more probes to expect: the entropy that is left, over the capacity of the channel that a run is. With
    /// known rates it is a lower bound for the mean; runs that only confirm the answer are not in it.
    pub fn probes_left(&self) -> f64 {
        let heaviest = self.segments.iter().max_by(|one, other| one.weight.total_cmp(&other.weight));
        let capacity = heaviest.map_or(1.0, |segment| capacity(segment.failing, segment.passing));
        self.entropy() / capacity.max(0.01)
    }

    /// The entropy of the posterior, in bits.
    pub fn entropy(&self) -> f64 {
        let inside = |segment: &Segment| self.prior.entropy(segment.hypotheses.clone());
        let known = self.segments.iter().filter(|segment| segment.weight > 0.0);
        known.map(|segment| segment.weight * (inside(segment) - segment.weight.log2())).sum()
    }

    /// The posterior means of f and g, given that a hypothesis is true.
    pub(super) fn rates(&self, hypothesis: usize) -> (f64, f64) {
        let segment = &self.segments[self.segment_of(hypothesis)];
        (segment.failing, segment.passing)
    }

    /// The segment of a hypothesis; the next one, or else the last, if the hypothesis has no prior and is in none.
    fn segment_of(&self, hypothesis: usize) -> usize {
        let index = self.segments.partition_point(|segment| *segment.hypotheses.end() < hypothesis);
        index.min(self.segments.len() - 1)
    }

    /// The quantile: the hypothesis at which the cumulative posterior, itself included, reaches `share`.
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

    /// The mutual information between the truth and the result of a run at a change, in bits: the entropy of the result,
    /// less its expected entropy given the truth.
    pub(super) fn expected_information(&self, at: usize) -> f64 {
        let index = self.segment_of(at);
        let segment = &self.segments[index];
        let theta = match segment.hypotheses.contains(&at) {
            true => {
                self.prior.mass(*segment.hypotheses.start()..=at)
                    / self.prior.mass(segment.hypotheses.clone())
            }
            // No hypothesis there has a prior: the segment is after the change, or all are before it.
            false => f64::from(u8::from(*segment.hypotheses.end() < at)),
        };
        let (bad, good) = (theta * segment.weight, (1.0 - theta) * segment.weight);
        let (fails, unsure) = self.around[index];
        let fails = fails + bad * (1.0 - segment.passing) + good * segment.failing;
        let unsure = unsure + bad * segment.passing_bits + good * segment.failing_bits;
        (bits(fails) - unsure).max(0.0)
    }

    /// The change inside a segment at which a run has the greatest expected information; none if it has none.
    ///
    /// Let w be the segment's weight, θ the share of it at or before the change, and H the binary entropy. Then
    /// P(fail) = p = c + w (f + θ (1 - f - g)) with c from the other segments, and the information H(p) - w θ H(g) -
    /// w (1 - θ) H(f) - const is concave in θ. Its derivative is zero where log2((1 - p) / p) = (H(g) - H(f)) / (1 - f - g).
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

/// Prefix and suffix sums over the other segments: those before a run are broken at it, those after are good.
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

/// The most information that a run can give, in bits: the capacity of the binary asymmetric channel with the error rates
/// f and g (R. A. Silverman, *On Binary Channels and their Cascades*, 1955). Noisy searches come near it (L. Gretta,
/// E. Price, *Sharp Noisy Binary Search with Monotonic Probabilities*, 2023).
fn capacity(failing: f64, passing: f64) -> f64 {
    let contrast = 1.0 - failing - passing;
    if contrast <= 0.0 {
        return 0.0;
    }
    let spread = (bits(failing) - bits(passing)) / contrast;
    (1.0 + spread.exp2()).log2() + failing / contrast * bits(passing)
        - (1.0 - passing) / contrast * bits(failing)
}

/// The binary entropy, in bits.
pub(super) fn bits(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 { 0.0 } else { -p * p.log2() - (1.0 - p) * (1.0 - p).log2() }
}
