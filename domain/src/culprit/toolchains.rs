//! What a probe costs at each change of a range, and how likely it is that the change has no toolchain to probe with.

/// Whether there is a toolchain to test a change with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolchainSupply {
    /// It is built.
    Cached,
    /// It is not built yet, and perhaps cannot be.
    Unbuilt,
    /// It cannot be built.
    Broken,
}

/// The cost of a probe, in any unit that is the same for both fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// To build a toolchain.
    pub build: f64,
    /// To run the suite.
    pub suite: f64,
}

/// How likely it is that the neighbour of a change that does not build does not build either, for the same reason. The
/// probability decreases by this factor with each step away.
const CONTAGION: f64 = 0.6;

/// The toolchains of a range, its good end first.
pub(super) struct Toolchains<'a> {
    of: &'a [ToolchainSupply],
    cost: Cost,
    /// The probability that each cannot be built.
    risk: Vec<f64>,
    /// How many that cannot be built are before each.
    broken_before: Vec<usize>,
    /// The nearest change on either side, each itself included, that is not broken; and that is cached.
    askable: Vec<[Option<usize>; 2]>,
    cached: Vec<[Option<usize>; 2]>,
}

impl<'a> Toolchains<'a> {
    /// `unbuildable` is the share of the trunk's changes that cannot be built.
    pub fn new(of: &'a [ToolchainSupply], cost: Cost, unbuildable: f64) -> Toolchains<'a> {
        let mut risk = vec![0.0_f64; of.len()];
        spread(of, unbuildable, 0..of.len(), &mut risk);
        spread(of, unbuildable, (0..of.len()).rev(), &mut risk);
        let mut broken = 0;
        let broken_before = of
            .iter()
            .map(|toolchain| {
                let before = broken;
                broken += usize::from(*toolchain == ToolchainSupply::Broken);
                before
            })
            .collect();
        let askable = nearest(of, |toolchain| toolchain != ToolchainSupply::Broken);
        let cached = nearest(of, |toolchain| toolchain == ToolchainSupply::Cached);
        Toolchains { of, cost, risk, broken_before, askable, cached }
    }

    pub fn is_broken(&self, at: usize) -> bool {
        self.of[at] == ToolchainSupply::Broken
    }

    /// Whether no change strictly between these can be built, so that no run will ever distinguish them.
    pub fn is_closed(&self, parent: usize, last: usize) -> bool {
        self.broken_before[last] - self.broken_before[parent + 1] == last - parent - 1
    }

    /// The probability that this change cannot be built.
    pub fn risk(&self, at: usize) -> f64 {
        self.risk[at]
    }

    /// The probability that a probe has a result, divided by the root of its cost. Dividing by the cost itself looks only
    /// one step ahead: it prefers cheap probes for too long, and pays more in the end.
    pub fn chance_per_price(&self, at: usize, asked: &[usize]) -> f64 {
        let build = match self.of[at] {
            ToolchainSupply::Cached => 0.0,
            ToolchainSupply::Unbuilt if asked.contains(&at) => 0.0,
            ToolchainSupply::Unbuilt | ToolchainSupply::Broken => self.cost.build,
        };
        (1.0 - self.risk[at]) / (self.cost.suite + build).sqrt()
    }

    /// The changes to probe in place of this one, or it itself: the nearest that are not known to be broken, and the
    /// nearest that are cached, and so are cheap.
    pub fn near(&self, at: usize) -> impl Iterator<Item = usize> {
        self.askable[at].into_iter().chain(self.cached[at]).flatten()
    }
}

fn nearest(of: &[ToolchainSupply], holds: impl Fn(ToolchainSupply) -> bool) -> Vec<[Option<usize>; 2]> {
    let mut nearest = vec![[None; 2]; of.len()];
    let mut walk = |order: &mut dyn Iterator<Item = usize>, direction: usize| {
        let mut last = None;
        for at in order {
            last = if holds(of[at]) { Some(at) } else { last };
            nearest[at][direction] = last;
        }
    };
    walk(&mut (0..of.len()), 0);
    walk(&mut (0..of.len()).rev(), 1);
    nearest
}

/// Spreads what is known of each change to those that come after it in this order.
fn spread(of: &[ToolchainSupply], base: f64, order: impl Iterator<Item = usize>, risk: &mut [f64]) {
    let mut near = 0.0;
    for at in order {
        near = match of[at] {
            ToolchainSupply::Broken => 1.0,
            ToolchainSupply::Cached => 0.0,
            ToolchainSupply::Unbuilt => near * CONTAGION,
        };
        let here = match of[at] {
            ToolchainSupply::Broken => 1.0,
            ToolchainSupply::Cached => 0.0,
            ToolchainSupply::Unbuilt => base + (1.0 - base) * near,
        };
        risk[at] = risk[at].max(here);
    }
}
