//! Which changes to run next: what tells most for its price, and what would tell more besides while that runs.

use std::collections::BTreeSet;

use super::Question;
use super::toolchains::Toolchains;
use super::world::World;
use crate::outcome::words;

/// A change to run the suite on, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    pub at: usize,
    /// What it is expected to tell of all open cases together.
    pub bits: f64,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Is it good there today?
    Base,
    /// Is it bad there again?
    Head,
    /// The answer is as good as known, but has not been seen here.
    Confirm,
    /// It divides what is left.
    Divide,
}

words!(Purpose { Base = "base", Head = "head", Confirm = "confirm", Divide = "divide" });

/// Changes that each case puts forward.
const NOMINATED: usize = 8;
const NOMINATED_IN_DRAWS: usize = 2;
/// Possible truths of a case against which further probes are weighed, and the cases that are drawn for.
const DRAWS: usize = 32;
const DRAWN_CASES: usize = 6;
/// A further probe must promise this much of what the first one does.
const WORTH: f64 = 0.12;

/// `worlds` are of the cases that are not decided.
pub(super) fn choose(worlds: &[World], toolchains: &Toolchains, question: &Question) -> Vec<Probe> {
    let mut asked = question.pending.clone();
    let price = |asked: &[usize], at: usize, gain: f64| gain * toolchains.chance_per_price(at, asked);
    let candidates: BTreeSet<usize> = worlds
        .iter()
        .flat_map(|world| world.nominate(toolchains, NOMINATED, |at, gain| price(&asked, at, gain)))
        .collect();
    let best = |candidates: &BTreeSet<usize>, asked: &[usize], worlds: &[&World]| {
        let gain = |at: usize| worlds.iter().map(|world| world.gain(at)).sum::<f64>();
        let priced = candidates.iter().map(|&at| (at, price(asked, at, gain(at))));
        priced.max_by(|one, other| one.1.total_cmp(&other.1))
    };
    let mut chosen: Vec<usize> = Vec::new();
    let Some((first, most)) = best(&candidates, &asked, &worlds.iter().collect::<Vec<_>>()) else {
        return vec![];
    };
    if asked.is_empty() && question.idle > 0 {
        chosen.push(first);
        asked.push(first);
    }
    if chosen.len() < question.idle {
        let mut drawn = draw(worlds, &asked, toolchains, question.sure);
        while chosen.len() < question.idle {
            let open: Vec<&World> =
                drawn.iter().map(|drawn| &drawn.world).filter(|world| world.verdict().is_none()).collect();
            let mut candidates = candidates.clone();
            for world in &open {
                let price = |at, gain| price(&asked, at, gain);
                candidates.extend(world.nominate(toolchains, NOMINATED_IN_DRAWS, price));
            }
            let Some((at, worth)) = best(&candidates, &asked, &open) else { break };
            if worth / (DRAWS as f64) < WORTH * most {
                break;
            }
            chosen.push(at);
            asked.push(at);
            for drawn in &mut drawn {
                drawn.run(at, toolchains, question.sure);
            }
        }
    }
    chosen.into_iter().map(|at| probe(at, worlds, question)).collect()
}

fn probe(at: usize, worlds: &[World], question: &Question) -> Probe {
    let purpose = match at {
        0 => Purpose::Base,
        _ if at + 1 == question.toolchains.len() => Purpose::Head,
        _ if worlds.iter().any(|world| world.lacks(at)) => Purpose::Confirm,
        _ => Purpose::Divide,
    };
    Probe { at, bits: worlds.iter().map(|world| world.gain(at)).sum(), purpose }
}

/// A world in which one hypothesis is true.
struct Drawn<'a> {
    world: World<'a>,
    truth: usize,
    noise: Noise,
}

/// Worlds of the cases with most to learn, evenly over what is thought of each, in which all that was asked for has
/// ended somehow.
fn draw<'a>(worlds: &[World<'a>], asked: &[usize], toolchains: &Toolchains, sure: f64) -> Vec<Drawn<'a>> {
    let mut order: Vec<(f64, usize)> =
        worlds.iter().map(|world| world.posterior.entropy()).zip(0..).collect();
    order.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    order.truncate(DRAWN_CASES);
    let mut drawn = Vec::with_capacity(order.len() * DRAWS);
    for (number, (_, index)) in order.into_iter().enumerate() {
        for draw in 0..DRAWS {
            // An odd step visits all draws, in an order of its own for each case.
            let share = ((draw * (2 * number + 1) + number) % DRAWS) as f64 + 0.5;
            let world = worlds[index].clone();
            let truth = world.posterior.reaching(share / DRAWS as f64);
            let mut one = Drawn { world, truth, noise: Noise::new(number * DRAWS + draw) };
            for &at in asked {
                one.run(at, toolchains, sure);
            }
            drawn.push(one);
        }
    }
    drawn
}

impl Drawn<'_> {
    fn run(&mut self, at: usize, toolchains: &Toolchains, sure: f64) {
        let (building, lying) = (self.noise.next(), self.noise.next());
        if building < toolchains.risk(at) || self.world.verdict().is_some() {
            return;
        }
        let (failing, passing) = self.world.posterior.rates(self.truth);
        let failed = if at >= self.truth { lying >= passing } else { lying < failing };
        self.world.imagine(at, failed, toolchains, sure);
    }
}

/// Numbers in 0..1 that look random and are the same each time, so that a decision can be repeated: SplitMix64 of
/// G. L. Steele and others.
struct Noise(u64);

impl Noise {
    fn new(seed: usize) -> Noise {
        Noise((seed as u64) << 32)
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
