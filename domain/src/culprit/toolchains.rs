//! What a probe costs at each change of a range, and how likely there is no toolchain to probe with.

/// What there is to test a change with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolchainSupply {
    /// Built, and at hand.
    Cached,
    /// Nobody built it yet.
    Unbuilt,
    /// It cannot be built.
    Broken,
}

/// In any unit, the same for both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub build: f64,
    pub suite: f64,
}

/// How likely the neighbour of a change that does not build does not build either; by so much less at each step away.
const CONTAGION: f64 = 0.6;

/// The toolchains of a range, its good end first.
pub(super) struct Toolchains<'a> {
    of: &'a [ToolchainSupply],
    cost: Cost,
    /// How likely each cannot be built, as far as is known.
    risk: Vec<f64>,
    /// How many cannot be built before each.
    broken_before: Vec<usize>,
    /// The nearest changes on either side, each itself included, that are not broken; and that are cached.
    askable: Vec<[Option<usize>; 2]>,
    cached: Vec<[Option<usize>; 2]>,
}

impl<'a> Toolchains<'a> {
    /// `unbuildable` is how many of the changes of such a trunk cannot be built.
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

    /// Whether every change strictly between these cannot be built, so that runs will never tell them apart.
    pub fn is_closed(&self, parent: usize, last: usize) -> bool {
        self.broken_before[last] - self.broken_before[parent + 1] == last - parent - 1
    }

    pub fn risk(&self, at: usize) -> f64 {
        self.risk[at]
    }

    /// How likely a probe comes to something, for the root of its cost: going strictly by cost looks only a step
    /// ahead, lingers at what is cheap, and pays more in the end.
    pub fn chance_per_price(&self, at: usize, asked: &[usize]) -> f64 {
        let build = match self.of[at] {
            ToolchainSupply::Cached => 0.0,
            ToolchainSupply::Unbuilt if asked.contains(&at) => 0.0,
            ToolchainSupply::Unbuilt | ToolchainSupply::Broken => self.cost.build,
        };
        (1.0 - self.risk[at]) / (self.cost.suite + build).sqrt()
    }

    /// Changes near this one to ask instead of it, or it itself: the nearest that may be asked, and those that are
    /// cheap to ask.
    pub fn near(&self, at: usize) -> impl Iterator<Item = usize> {
        self.askable[at].into_iter().chain(self.cached[at]).flatten()
    }
}

fn nearest(of: &[ToolchainSupply], holds: impl Fn(ToolchainSupply) -> bool) -> Vec<[Option<usize>; 2]> {
    let mut nearest = vec![[None; 2]; of.len()];
    let mut walk = |order: &mut dyn Iterator<Item = usize>, side: usize| {
        let mut last = None;
        for at in order {
            last = if holds(of[at]) { Some(at) } else { last };
            nearest[at][side] = last;
        }
    };
    walk(&mut (0..of.len()), 0);
    walk(&mut (0..of.len()).rev(), 1);
    nearest
}

/// Carries what is known of each change on to those that come after it in this order.
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
