//! Measures searches: how often one names an innocent change, for a case that fails by luck, and how many probes an answer
//! takes on ranges of 300 changes. Prints the tables that ARCHITECTURE.md quotes. The searches are the same in each run.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers of a simulation are small"
)]

use std::collections::BTreeMap;

use protocol::{Sha256, Verdict};
use trunkfarm_domain::culprit::{Cost, Tally};
use trunkfarm_domain::search::suspicion::{SuspicionClass, Weights, record};
use trunkfarm_domain::search::{
    self, AvailableWorker, Candidate, CandidateToolchain, PastSearches, RunScope, SearchInputs, SearchResult,
    SearchRun, SearchStep,
};
use trunkfarm_domain::words::ids::{CaseId, ChangeId, WorkerId};

const WORKER: WorkerId = WorkerId(1);
const CASE: CaseId = CaseId(1);
/// How many searches stand behind each line about luck, and about long ranges.
const SEARCHES: usize = 20_000;
const LONG_SEARCHES: usize = 300;
/// The length of a long range, as on a trunk that is read once a month.
const LONG: usize = 300;

fn main() {
    let searches = SEARCHES;
    println!("A case that fails by luck, of {searches} searches each");
    println!("{:>6} {:>6} {:>9} {:>12} {:>8}", "rate", "known", "innocents", "in 1000", "probes");
    for known in [0, 30] {
        for rate in [0.02, 0.05, 0.125, 0.25, 0.4, 0.5, 0.6] {
            let (named, probes) = innocents(rate, known, searches);
            let share = 1000.0 * named as f64 / searches as f64;
            println!("{rate:>6} {known:>6} {named:>9} {share:>12.2} {probes:>8.1}");
        }
    }
    println!("\nA range of {LONG} changes, {LONG_SEARCHES} searches each");
    println!("{:>22} {:>6} {:>8} {:>6} {:>6}", "suspicion", "noise", "probes", "right", "wrong");
    for (name, signal) in [
        ("none", Signal::None),
        ("as in life", Signal::AsInLife),
        ("as in life, learnt", Signal::Learnt),
        ("misleading", Signal::Misleading),
    ] {
        for noise in [0.0, 0.02] {
            let (probes, right, wrong) = long_ranges(signal, noise);
            println!("{name:>22} {noise:>6} {probes:>8.2} {right:>6} {wrong:>6}");
        }
    }
}

/// A splitmix64 generator (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    /// The next number, from 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() * end as f64) as usize
    }
}

fn run(at: usize, verdict: Verdict, is_alarm: bool) -> SearchRun {
    let verdicts = BTreeMap::from([(CASE, verdict)]);
    SearchRun { at, worker: WORKER, environment: None, is_alarm, scope: RunScope::Whole, verdicts }
}

fn inputs(suspicion: Vec<f64>, known: Tally) -> SearchInputs {
    let head = suspicion.len();
    let toolchain = |at: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&at.to_le_bytes());
        CandidateToolchain::Built(Sha256(hash))
    };
    let candidate = |at: usize| Candidate { change: ChangeId(at as i64), toolchain: toolchain(at) };
    SearchInputs {
        range: (0..=head).map(candidate).collect(),
        suspicion,
        cases: BTreeMap::from([(CASE, (known, Tally::default()))]),
        runs: vec![run(0, Verdict::Pass, true), run(head, Verdict::Fail, true)],
        past: PastSearches::default(),
        unbuildable: 0.05,
        cost: Cost { build: 1.0, suite: 1.0 },
        spent_seconds: 0.0,
        probes: 0,
        pending: vec![],
        available_workers: vec![AvailableWorker { worker: WORKER, free: 1 }],
        alarm: Some(WORKER),
        await_alarm: false,
        selects: false,
    }
}

fn play(mut inputs: SearchInputs, mut fails_at: impl FnMut(usize) -> bool) -> (SearchResult, usize) {
    loop {
        match search::next(&inputs).0 {
            SearchStep::Ask(requests) => {
                for request in requests {
                    let verdict = if fails_at(request.at) { Verdict::Fail } else { Verdict::Pass };
                    inputs.runs.push(run(request.at, verdict, false));
                    inputs.probes += 1;
                    inputs.spent_seconds += inputs.cost.suite;
                }
            }
            SearchStep::Found(found) => return (found, inputs.probes as usize),
            other => panic!("one worker and one case never lead to {other:?}"),
        }
    }
}

/// How many searches accuse a change, and their mean number of probes.
fn innocents(rate: f64, known: u32, searches: usize) -> (usize, f64) {
    let mut random = Random(1);
    let (mut named, mut probes) = (0, 0);
    for search in 0..searches {
        let fails = (0..known).filter(|_| random.next() < rate).count() as u32;
        let inputs = inputs(vec![1.0; 1 + search % 5], Tally { fails, passes: known - fails });
        let (found, made) = play(inputs, |_| random.next() < rate);
        named += usize::from(matches!(found, SearchResult::Named { .. } | SearchResult::OneOf { .. }));
        probes += made;
    }
    (named, probes as f64 / searches as f64)
}

/// What the paths of the changes tell about the culprit.
#[derive(Clone, Copy)]
enum Signal {
    /// All changes are equally suspicious.
    None,
    /// One change in 50 is named by the output, one in 20 is near and one in 8 shares a folder; the culprit is in these
    /// classes in a third, a quarter and a fifth of the searches. A tenth of the changes are documents.
    AsInLife,
    /// The same, and each search learns from those before it.
    Learnt,
    /// The same for the others, but the culprit is in none of the classes.
    Misleading,
}

fn class(draw: f64, named: f64, near: f64, folder: f64) -> SuspicionClass {
    match draw {
        _ if draw < named => SuspicionClass::Named,
        _ if draw < named + near => SuspicionClass::SameModule,
        _ if draw < named + near + folder => SuspicionClass::SameFolder,
        _ => SuspicionClass::Unrelated,
    }
}

/// The mean number of probes, and how many searches name the culprit and another change.
fn long_ranges(signal: Signal, noise: f64) -> (f64, usize, usize) {
    let mut random = Random(7);
    let mut records = BTreeMap::new();
    let (mut probes, mut right, mut wrong) = (0, 0, 0);
    for _ in 0..LONG_SEARCHES {
        let truth = 1 + random.below(LONG);
        let mut classes: Vec<SuspicionClass> = Vec::with_capacity(LONG);
        for at in 1..=LONG {
            let (draw, document) = (random.next(), random.next());
            classes.push(match signal {
                Signal::None => SuspicionClass::Unrelated,
                Signal::AsInLife | Signal::Learnt if at == truth => class(draw, 0.33, 0.25, 0.2),
                Signal::Misleading if at == truth => SuspicionClass::Unrelated,
                Signal::AsInLife | Signal::Learnt | Signal::Misleading if document < 0.1 => {
                    SuspicionClass::Documents
                }
                Signal::AsInLife | Signal::Learnt | Signal::Misleading => class(draw, 0.02, 0.05, 0.125),
            });
        }
        let weights = Weights::learn(&records);
        let suspicion = classes.iter().map(|class| weights.of(*class)).collect();
        let known = Tally { fails: 0, passes: 30 };
        let (found, made) = play(inputs(suspicion, known), |at| {
            let lies = random.next() < noise;
            (at >= truth) != lies
        });
        probes += made;
        if let (SearchResult::Named { culprit, .. }, Signal::Learnt) = (found, signal) {
            for (class, record) in record(&classes, culprit - 1) {
                let sum = records.entry(class).or_default();
                sum.culprits += record.culprits;
                sum.expected += record.expected;
            }
        }
        match found {
            SearchResult::Named { culprit, .. } if culprit == truth => right += 1,
            SearchResult::Named { .. } | SearchResult::OneOf { .. } => wrong += 1,
            SearchResult::Flaky | SearchResult::Environment | SearchResult::Inconclusive => {}
        }
    }
    (probes as f64 / LONG_SEARCHES as f64, right, wrong)
}
