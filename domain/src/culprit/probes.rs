//! Chooses the changes to run next.
//!
//! The first probe is greedy: the most expected information, summed over the cases, per root of its cost. Further probes
//! run at the same time, so each is chosen for its mean information over simulated results of those that are under way,
//! as fantasies are used in batch Bayesian optimisation (J. Snoek and others, *Practical Bayesian Optimization of Machine
//! Learning Algorithms*, NeurIPS 2012). The simulation is deterministic, so that a decision can be repeated.

use std::collections::BTreeSet;

use super::evidence_state::EvidenceState;
use super::proof::Standard;
use super::question::Question;
use super::toolchains::Toolchains;
use crate::numbers::real;
use crate::outcome::words;

/// A change to run the suite on, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// Index in the range.
    pub at: usize,
    /// The information to expect about all undecided cases together, in bits.
    pub bits: f64,
    /// Why it is chosen.
    pub purpose: Purpose,
}

/// Why a probe is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// At the good end: do the cases still pass there?
    Base,
    /// At the bad end: do they still fail there?
    Head,
    /// The answer is nearly certain, and only lacks a run here.
    Confirm,
    /// It divides the range that is left.
    Divide,
}

words!(Purpose { Base = "base", Head = "head", Confirm = "confirm", Divide = "divide" });

/// How many changes each case nominates, for the first probe and in each simulation.
const NOMINATED: usize = 8;
const NOMINATED_IN_SIMULATION: usize = 2;
/// How many truths are simulated for a case, and for how many cases.
const SIMULATIONS: usize = 32;
const SIMULATED_CASES: usize = 6;
/// A further probe must promise at least this share of the first one's value.
const MIN_VALUE: f64 = 0.12;

/// Chooses at most [`Question::idle`] probes for the cases that are not decided.
pub(super) fn choose(states: &[EvidenceState], toolchains: &Toolchains, question: &Question) -> Vec<Probe> {
    let mut asked = question.pending.clone();
    let price = |asked: &[usize], at: usize, gain: f64| gain * toolchains.chance_per_price(at, asked);
    let candidates: BTreeSet<usize> = states
        .iter()
        .flat_map(|state| state.nominate(toolchains, NOMINATED, |at, gain| price(&asked, at, gain)))
        .collect();
    let best = |candidates: &BTreeSet<usize>, asked: &[usize], states: &[&EvidenceState]| {
        let gain = |at: usize| states.iter().map(|state| state.gain(at)).sum::<f64>();
        let priced = candidates.iter().map(|&at| (at, price(asked, at, gain(at))));
        priced.max_by(|one, other| one.1.total_cmp(&other.1))
    };
    let mut chosen: Vec<usize> = Vec::new();
    let Some((first, most)) = best(&candidates, &asked, &states.iter().collect::<Vec<_>>()) else {
        return vec![];
    };
    if asked.is_empty() && question.idle > 0 {
        chosen.push(first);
        asked.push(first);
    }
    if chosen.len() < question.idle {
        let mut simulations = simulate(states, &asked, toolchains, question.standard);
        while chosen.len() < question.idle {
            let open: Vec<&EvidenceState> = simulations
                .iter()
                .map(|simulation| &simulation.state)
                .filter(|state| state.conclusion().is_none())
                .collect();
            let mut candidates = candidates.clone();
            for state in &open {
                let price = |at, gain| price(&asked, at, gain);
                candidates.extend(state.nominate(toolchains, NOMINATED_IN_SIMULATION, price));
            }
            let Some((at, value)) = best(&candidates, &asked, &open) else { break };
            if value / real(SIMULATIONS) < MIN_VALUE * most {
                break;
            }
            chosen.push(at);
            asked.push(at);
            for simulation in &mut simulations {
                simulation.run(at, toolchains, question.standard);
            }
        }
    }
    chosen.into_iter().map(|at| probe(at, states, question)).collect()
}

fn probe(at: usize, states: &[EvidenceState], question: &Question) -> Probe {
    let purpose = match at {
        0 => Purpose::Base,
        _ if at + 1 == question.toolchains.len() => Purpose::Head,
        _ if states.iter().any(|state| state.is_missing(at)) => Purpose::Confirm,
        _ => Purpose::Divide,
    };
    Probe { at, bits: states.iter().map(|state| state.gain(at)).sum(), purpose }
}

/// A case for which one hypothesis is taken to be true.
struct Simulation<'a> {
    state: EvidenceState<'a>,
    truth: usize,
    random: SplitMix64,
}

/// Simulations of the cases with the most entropy. The truths of a case are the quantiles of its posterior at the middles
/// of equal shares, and the probes that are under way have ended at random according to the truth.
fn simulate<'a>(
    states: &[EvidenceState<'a>],
    asked: &[usize],
    toolchains: &Toolchains,
    standard: Standard,
) -> Vec<Simulation<'a>> {
    let mut order: Vec<(f64, usize)> =
        states.iter().map(|state| state.posterior.entropy()).zip(0..).collect();
    order.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    order.truncate(SIMULATED_CASES);
    let mut simulations = Vec::with_capacity(order.len() * SIMULATIONS);
    for (number, (_, index)) in order.into_iter().enumerate() {
        for draw in 0..SIMULATIONS {
            // An odd step visits all quantiles, in another order for each case, so that cases are not correlated.
            let share = real((draw * (2 * number + 1) + number) % SIMULATIONS) + 0.5;
            let state = states[index].clone();
            let truth = state.posterior.reaching(share / real(SIMULATIONS));
            let random = SplitMix64::new(number * SIMULATIONS + draw);
            let mut simulation = Simulation { state, truth, random };
            for &at in asked {
                simulation.run(at, toolchains, standard);
            }
            simulations.push(simulation);
        }
    }
    simulations
}

impl Simulation<'_> {
    /// Simulates a run at a change: perhaps the change cannot be built, and perhaps the verdict lies.
    fn run(&mut self, at: usize, toolchains: &Toolchains, standard: Standard) {
        let (building, lying) = (self.random.next(), self.random.next());
        if building < toolchains.risk(at) || self.state.conclusion().is_some() {
            return;
        }
        let (failing, passing) = self.state.posterior.rates(self.truth);
        let failed = if at >= self.truth { lying >= passing } else { lying < failing };
        self.state.simulate(at, failed, toolchains, standard);
    }
}

/// The pseudo-random generator of G. L. Steele and others, *Fast Splittable Pseudorandom Number Generators* (OOPSLA
/// 2014).
struct SplitMix64(u64);

const TWO_TO_32: f64 = 4_294_967_296.0;
const TWO_TO_53: f64 = 9_007_199_254_740_992.0;

impl SplitMix64 {
    fn new(seed: usize) -> SplitMix64 {
        SplitMix64(u64::try_from(seed).expect("a number of a simulation is small") << 32)
    }

    /// The next number, from 0 up to but not including 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = (mixed ^ (mixed >> 31)) >> 11;
        let high = u32::try_from(bits >> 32).expect("53 bits without the low 32 are 21");
        let low = u32::try_from(bits & u64::from(u32::MAX)).expect("the low 32 bits");
        (f64::from(high) * TWO_TO_32 + f64::from(low)) / TWO_TO_53
    }
}
