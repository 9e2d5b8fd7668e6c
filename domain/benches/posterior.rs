//! What thinking about one case costs: by runs, and hardly by changes.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use trunkfarm_domain::culprit::{
    CaseRunResult, Cost, Prior, Question, SHOWN, SearchedCase, Standard, Tally, ToolchainSupply, answer,
    believe,
};

/// A case with so many known runs, spread over the range. The culprit is in the middle; one run in fifty lies.
fn case(changes: usize, runs: usize) -> SearchedCase {
    let weights: Vec<f64> =
        (0..changes).map(|change| if change.is_multiple_of(97) { 25.0 } else { 1.0 }).collect();
    let run = |number: usize| {
        let at = (number * 7919) % (changes + 1);
        CaseRunResult { at, worker: 1, failed: (at > changes / 2) != (number % 50 == 49) }
    };
    SearchedCase {
        prior: Arc::new(Prior::new(0.08, 0.2, &weights)),
        good: Tally { fails: 1, passes: 97 },
        bad: Tally { fails: 50, passes: 0 },
        runs: (0..runs).map(run).collect(),
    }
}

fn beliefs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("posterior");
    for (changes, runs) in [(16, 10), (4096, 10), (4096, 40), (65536, 40)] {
        let case = case(changes, runs);
        let name = BenchmarkId::from_parameter(format!("{changes} changes, {runs} runs"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let posterior = believe(black_box(&case));
                (posterior.since(), posterior.entropy(), posterior.probes_left())
            });
        });
    }
    group.finish();
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for (changes, cases, idle) in [(64, 1, 1), (4096, 1, 1), (4096, 20, 4)] {
        let mut toolchains = vec![ToolchainSupply::Unbuilt; changes + 1];
        (toolchains[0], toolchains[changes]) = (ToolchainSupply::Cached, ToolchainSupply::Cached);
        let question = Question {
            toolchains,
            cost: Cost { build: 3.0, suite: 1.0 },
            unbuildable: 0.05,
            // Cases with the same evidence are computed once; these differ.
            cases: (0..cases).map(|more| case(changes, 4 + more)).collect(),
            pending: vec![],
            idle,
            standard: Standard { posterior: SHOWN, runs: 1, rules_out_luck: false },
        };
        let name = BenchmarkId::from_parameter(format!("{changes} changes, {cases} cases, {idle} idle"));
        group.bench_function(name, |bencher| bencher.iter(|| answer(black_box(&question))));
    }
    group.finish();
}

criterion_group!(benches, beliefs, decisions);
criterion_main!(benches);
