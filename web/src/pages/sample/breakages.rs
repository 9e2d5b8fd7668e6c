//! The sample farm's pages of breakages, and of one change that broke something.

use domain::sentences::BrokenCounts;

use super::{COLUMNS, NOW, builder, change, mark};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;
use crate::pages::breakage::{self, BreakageView, ProofRuns, SiblingLine, SuspectLine, SuspectStanding};
use crate::pages::breakages::{BreakageGroup, BreakageLine, BreakagesView};
use crate::pages::change::{BuilderReach, ChangeView, EffectLine, SuiteCounts};
use crate::pages::{CaseCountsLine, FailureGroupLine, MarkLine};

pub fn change_page() -> ChangeView {
    let effect = |column, cases, status_style, now: &str| EffectLine {
        breakage: column as i64,
        builder: builder(column),
        cases,
        counts: counts(cases),
        status_style,
        now: now.into(),
        marks: Vec::new(),
    };
    let reach = (0..COLUMNS.len()).map(|column| BuilderReach {
        builder: builder(column),
        status_style: Some(if [3, 6, 8].contains(&column) { StatusStyle::New } else { StatusStyle::Passed }),
        result: if [3, 6, 8].contains(&column) { "5 new".into() } else { "40 passed".into() },
        builds: vec![mark(column as i64 * 100 + 1, StatusStyle::Passed, "tip")],
    });
    ChangeView {
        change: change(1),
        sentence: "It broke 18 tests of guarded, sandbox, tables; 1 of 3 breakages is still open.".into(),
        is_sick: false,
        trunk: "lua".into(),
        branches: vec!["master #2".into()],
        message: "Lua 5.2.4\n\nsetfenv and getfenv are gone: an environment is the upvalue _ENV.\nunpack moves to table.unpack.".into(),
        paths: ["src/lbaselib.c", "src/lapi.c", "src/ltablib.c"].map(String::from).to_vec(),
        paths_count: 41,
        broke: vec![
            effect(3, 5, StatusStyle::Passed, "repaired"),
            effect(6, 7, StatusStyle::Still, "still broken"),
            effect(8, 6, StatusStyle::Passed, "repaired"),
        ],
        perhaps_broke: vec![],
        fixed: vec![],
        perhaps_fixed: vec![effect(5, 3, StatusStyle::Passed, "repaired")],
        failure_groups: failure_groups(),
        suspected: vec![effect(4, 2, StatusStyle::Queued, "42 %")],
        toolchain_inputs: vec![],
        suites: SuiteCounts { tested: 8, all: 9 },
        builders: reach.collect(),
        more_builders: 0,
        older: Some(change(0)),
        newer: Some(change(2)),
    }
}

/// So many failing tests.
fn counts(failing: i64) -> CaseCountsLine {
    let failing = usize::try_from(failing).expect("the sample's counts are small");
    BrokenCounts { failing, platforms: 1, ..BrokenCounts::default() }.into()
}

fn failure_groups() -> Vec<FailureGroupLine> {
    vec![FailureGroupLine {
        summary: "the same message in 2 projects".into(),
        line: "attempt to call a nil value (global 'setfenv')".into(),
        projects: ["cage", "sandbox"].map(String::from).to_vec(),
        cases: 9,
    }]
}

pub fn breakages() -> BreakagesView {
    let line = |id, column, state: &str, status_style, cases, example: Option<&str>| BreakageLine {
        id,
        builder: builder(column),
        state: state.into(),
        status_style,
        cases,
        marks: Vec::new(),
        counts: counts(cases),
        example: example.map(Into::into),
        opened_at: Moment(NOW - 40_000_000),
        ended_at: None,
    };
    BreakagesView {
        sentence: "5 breakages are open; 4 of them have a culprit.".into(),
        groups: vec![
            BreakageGroup {
                culprit: None,
                rivals: String::new(),
                heading: "No culprit named".into(),
                breakages: vec![line(
                    10,
                    5,
                    "searching",
                    StatusStyle::New,
                    4,
                    Some("a float keeps its point"),
                )],
            },
            BreakageGroup {
                culprit: Some(change(2)),
                rivals: String::new(),
                heading: String::new(),
                breakages: vec![
                    line(4, 1, "named", StatusStyle::Still, 6, Some("a buffer grows past LUAL_BUFFERSIZE")),
                    line(5, 5, "named", StatusStyle::Still, 4, Some("2^53 prints as an integer")),
                ],
            },
            BreakageGroup {
                culprit: Some(change(10)),
                rivals: " or one of the 2 changes before it".into(),
                heading: String::new(),
                breakages: vec![line(9, 0, "fixed", StatusStyle::Passed, 0, None)],
            },
        ],
        older: None,
    }
}

pub fn breakage() -> BreakageView {
    let suspect = |position, standing, builds: &[(i64, StatusStyle)]| SuspectLine {
        change: change(position),
        standing,
        posterior: (position == 14).then_some(0.9994),
        builds: builds.iter().map(|(build, status_style)| mark(*build, *status_style, "probe")).collect(),
    };
    let run = |build, position, status_style, bad_cases, good_cases, reason: &str| breakage::EvidenceLine {
        build,
        reason: reason.into(),
        why: reason.into(),
        change: change(position),
        worker: "quiet-corner".into(),
        bad_cases,
        good_cases,
        status_style,
        at: Some(Moment(NOW - build * 1000)),
    };
    BreakageView {
        id: 7,
        state: "named".into(),
        found: Some("named".into()),
        status_style: StatusStyle::Still,
        marks: vec![MarkLine {
            kind: "expected to fail".into(),
            issue: "https://example.org/steady/issues/7".into(),
            until: Moment(1_800_000_000_000),
        }],
        sentence: "string.rep: reuse the buffer broke 2 tests of steady".into(),
        builder: builder(7),
        opened_at: Moment(NOW - 40_000_000),
        ended_at: None,
        split_from: None,
        again_of: None,
        message: Some(breakage::MessageLine {
            text: "bad argument #2 to 'rep'".into(),
            build: 716,
            seen_at: Some(change(16)),
        }),
        failure_groups: failure_groups(),
        siblings: vec![SiblingLine { id: 8, builder: builder(8), status_style: StatusStyle::Still }],
        filed_under: Some(breakage::FiledLine {
            text: "by way of tables, which the same change broke".into(),
            project: Some("tables".into()),
            breakage: Some(8),
        }),
        dependents: vec![],
        range: vec![
            suspect(16, SuspectStanding::Bad, &[(716, StatusStyle::Still)]),
            suspect(15, SuspectStanding::Bad, &[]),
            suspect(14, SuspectStanding::Culprit, &[(1714, StatusStyle::New), (1715, StatusStyle::New)]),
            suspect(13, SuspectStanding::Good, &[(1713, StatusStyle::Passed), (1716, StatusStyle::Passed)]),
            suspect(12, SuspectStanding::Good, &[(712, StatusStyle::Passed)]),
        ],
        range_hidden: 0,
        search: Some(breakage::SearchProgress {
            sentences: vec![
                "6 probes among 4 changes; a pure bisection would take 2.".into(),
                "All probes with a result ran on one worker, quiet-corner.".into(),
            ],
            environment: 0.0001,
            flaky: 0.0003,
            intermittent: 0.0,
            probes: 6,
            probes_left: 0,
            changes: 4,
        }),
        is_flaky: false,
        proof: Some("Proof: 3 passes before it, 3 failures with it, on quiet-corner.".into()),
        proof_runs: vec![ProofRuns {
            worker: "quiet-corner".into(),
            passes_before: 3,
            failures_before: 0,
            passes_with: 0,
            failures_with: 3,
        }],
        cases: ["rep of a long string", "rep with a separator", "step:test"].map(String::from).to_vec(),
        not_run: vec![],
        cases_count: 3,
        counts: counts(2),
        suspects: Some(1),
        repair_range: None,
        evidence: vec![
            run(1714, 14, StatusStyle::New, 3, 0, "probe"),
            run(1713, 13, StatusStyle::Passed, 0, 3, "probe"),
            run(716, 16, StatusStyle::Still, 3, 0, "tip"),
            run(712, 12, StatusStyle::Passed, 0, 3, "backfill"),
        ],
        notices: vec![breakage::NoticeLine {
            kind: "named".into(),
            subject: "[lua] string.rep: reuse the buffer broke steady and tables".into(),
            state: "sent".into(),
            at: Moment(NOW - 30_000_000),
        }],
    }
}
