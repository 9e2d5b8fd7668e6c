//! What the decisions of a search cost: with a range of 4,096 changes, one case or 200 different ones, one idle worker or 16.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::culprit::{
    CaseRunResult, Cost, Prior, Question, SHOWN, SearchedCase, Standard, Tally, ToolchainSupply, answer,
};

use crate::table::{Table, milliseconds};

const CHANGES: usize = 4096;
/// How much processor time a decision may take.
const ALLOWED: Duration = Duration::from_millis(50);

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    for (cases, idle) in [(1, 1), (1, 16), (200, 1), (200, 16)] {
        let rounds = play(cases, idle);
        let most = rounds.iter().max().copied().unwrap_or_default();
        let mean = rounds.iter().sum::<Duration>() / rounds.len().max(1) as u32;
        table.row(
            format!("a decision, {cases} cases x {CHANGES} changes, {idle} idle"),
            milliseconds(mean),
            format!("at most {} of {}", milliseconds(most), milliseconds(ALLOWED)),
        );
    }
    Ok(())
}

/// Simulates a whole search. Returns how long each decision took. Every fiftieth verdict is wrong.
fn play(cases: usize, idle: usize) -> Vec<Duration> {
    let mut toolchains = vec![ToolchainSupply::Unbuilt; CHANGES + 1];
    (toolchains[0], toolchains[CHANGES]) = (ToolchainSupply::Cached, ToolchainSupply::Cached);
    let weight =
        |case: usize, change: usize| if (change * 31 + case * 17).is_multiple_of(97) { 25.0 } else { 1.0 };
    let case = |number: usize| SearchedCase {
        prior: Arc::new(Prior::new(
            0.08,
            0.2,
            &(1..=CHANGES).map(|change| weight(number, change)).collect::<Vec<_>>(),
        )),
        good: Tally { fails: number as u32 % 3, passes: 97 },
        bad: Tally { fails: 50, passes: 0 },
        runs: vec![],
    };
    let mut question = Question {
        toolchains,
        cost: Cost { build: 3.0, suite: 1.0 },
        unbuildable: 0.05,
        cases: (0..cases).map(case).collect(),
        pending: vec![],
        idle,
        standard: Standard { posterior: SHOWN, runs: 1, rules_out_luck: false },
    };
    let mut rounds = Vec::new();
    loop {
        let started = Instant::now();
        let answer = answer(&question);
        rounds.push(started.elapsed());
        if answer.probes.is_empty() || rounds.len() > 200 {
            return rounds;
        }
        for probe in answer.probes {
            question.toolchains[probe.at] = ToolchainSupply::Cached;
            for (number, case) in question.cases.iter_mut().enumerate() {
                // Eight culprits.
                let culprit = 400 + 450 * (number % 8);
                let lies = (probe.at * 7 + case.runs.len() * 13 + number).is_multiple_of(50);
                case.runs.push(CaseRunResult {
                    at: probe.at,
                    worker: 1,
                    failed: (probe.at >= culprit) != lies,
                });
            }
        }
    }
}
