//! Plays the culprit scenarios' protocol over stdin and stdout with the same functions with which the farm searches. With
//! the argument `announced` it asks for as much as a mail does, without it for as much as the scenarios do.

use std::io::{BufRead, Write};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use trunkfarm_domain::culprit::{
    self, CaseRunResult, Conclusion, Cost, Prior, Question, SHOWN, SearchedCase, Standard, Tally,
    ToolchainSupply,
};

/// How many runs one scenario may use.
const MAX_PROBES: usize = 200;

#[derive(Deserialize)]
struct Scenario {
    visible: Visible,
}

#[derive(Deserialize)]
struct Visible {
    k: usize,
    costs: Costs,
    cached: String,
    p_unbuildable: f64,
    p_env: f64,
    class_weights: Vec<f64>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Costs {
    build: f64,
    suite: f64,
}

#[derive(Deserialize)]
struct Test {
    p_flake: f64,
    classes: String,
    hist_good: Good,
    hist_bad: Bad,
}

#[derive(Deserialize)]
struct Good {
    runs: u32,
    fails: u32,
}

#[derive(Deserialize)]
struct Bad {
    runs: u32,
    passes: u32,
}

/// For each probe of a round, whether each test failed; none if the change did not build.
#[derive(Deserialize)]
struct Round {
    out: Vec<Option<Vec<bool>>>,
}

#[expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let standard = match std::env::args().nth(1).as_deref() {
        Some("announced") => Standard::of_announcement(),
        Some(_) | None => Standard { posterior: SHOWN, runs: 1, rules_out_luck: false },
    };
    let mut lines = std::io::stdin().lock().lines();
    let mut said = std::io::stdout().lock();
    while let Some(line) = lines.next() {
        let scenario: Scenario = serde_json::from_str(&line?)?;
        let mut question = question(&scenario.visible, standard);
        let mut probed = 0;
        loop {
            let answer = culprit::answer(&question);
            let rest = MAX_PROBES - probed;
            let probes: Vec<usize> = answer.probes.iter().take(rest).map(|probe| probe.at).collect();
            if probes.is_empty() {
                let verdicts: Vec<Value> = answer.verdicts.iter().map(verdict).collect();
                writeln!(said, "{}", json!({ "verdicts": verdicts }))?;
                said.flush()?;
                break;
            }
            writeln!(said, "{}", json!({ "probe": probes }))?;
            said.flush()?;
            let line = lines.next().ok_or("the referee went away in mid-game")??;
            let round: Round = serde_json::from_str(&line)?;
            probed += probes.len();
            for (&at, out) in probes.iter().zip(&round.out) {
                learn(&mut question, at, out.as_deref());
            }
        }
    }
    Ok(())
}

fn question(visible: &Visible, standard: Standard) -> Question {
    let toolchain = |c| if c == '1' { ToolchainSupply::Cached } else { ToolchainSupply::Unbuilt };
    let case = |test: &Test| {
        let weights = test.classes.bytes().map(|class| visible.class_weights[usize::from(class - b'0')]);
        SearchedCase {
            prior: Arc::new(Prior::new(visible.p_env, test.p_flake, &weights.collect::<Vec<_>>())),
            good: Tally { fails: test.hist_good.fails, passes: test.hist_good.runs - test.hist_good.fails },
            bad: Tally { fails: test.hist_bad.runs - test.hist_bad.passes, passes: test.hist_bad.passes },
            runs: vec![],
        }
    };
    Question {
        toolchains: visible.cached.chars().map(toolchain).collect(),
        cost: Cost { build: visible.costs.build, suite: visible.costs.suite },
        unbuildable: visible.p_unbuildable,
        cases: visible.tests.iter().map(case).collect(),
        pending: vec![],
        idle: visible.k,
        standard,
    }
}

fn learn(question: &mut Question, at: usize, out: Option<&[bool]>) {
    match out {
        None => question.toolchains[at] = ToolchainSupply::Broken,
        Some(failed) => {
            question.toolchains[at] = ToolchainSupply::Cached;
            for (case, &failed) in question.cases.iter_mut().zip(failed) {
                case.runs.push(CaseRunResult { at, worker: 0, failed });
            }
        }
    }
}

fn verdict(of: &Option<Conclusion>) -> Value {
    match of {
        Some(Conclusion::Culprit { parent, last }) => json!(["commit", parent + 1, last]),
        Some(Conclusion::NotTheTrunk) => json!(["env"]),
        Some(Conclusion::Flaky) => json!(["flake"]),
        None => json!(["inconclusive"]),
    }
}
