//! The sample farm's other pages.

use domain::history::transition::transition;
use protocol::Verdict;

use super::{COLUMNS, NOW, TITLES, change, waterfall};
use crate::format::log_text::pieces;
use crate::format::status_style::StatusStyle;
use crate::format::units::{ByteCount, Moment, Span};
use crate::pages::breakage::{self, BreakageView, SiblingLine, SuspectLine, SuspectStanding};
use crate::pages::breakages::{BreakageGroup, BreakageLine, BreakagesView};
use crate::pages::build::{AttemptLine, BuildView, CaseCounts, CaseLine, EnvironmentLine, LogTail, StepLine};
use crate::pages::case;
use crate::pages::change::{BuilderReach, ChangeView, EffectLine};
use crate::pages::log::{LogLine, LogView};
use crate::pages::project::{
    BaselineLine, FlakyLine, NeedLine, PassingMark, ProjectInputsLine, ProjectMark, ProjectView,
};
use crate::pages::queue::{QueueView, WaitingLine};
use crate::pages::status::{OpenSearch, RecentBuilds, StatusView, TrunkLine};
use crate::pages::workers::{WorkerLine, WorkersView};
use crate::pages::{BuildMark, BuilderLine, FailureGroupLine, MarkLine};

pub fn builder(column: usize) -> BuilderLine {
    BuilderLine {
        id: column as i64 + 1,
        name: COLUMNS[column].0.into(),
        trunk: "lua".into(),
        branch: "master".into(),
        platform: "linux-x86_64".into(),
    }
}

fn mark(build: i64, status_style: StatusStyle, hint: &str) -> BuildMark {
    BuildMark { build, status_style, hint: hint.into() }
}

pub fn status() -> StatusView {
    let strips = (0..COLUMNS.len()).map(|column| RecentBuilds {
        builder: builder(column),
        marks: COLUMNS[column]
            .1
            .chars()
            .enumerate()
            .filter_map(|(at, letter)| strip_mark(column, at, letter))
            .collect(),
    });
    StatusView {
        sentence: "3 changes to lua master break 4 of 8 projects today; one more breakage is being searched."
            .into(),
        culprits: waterfall().culprits.into_iter().filter(|culprit| culprit.open).collect(),
        blind: vec![],
        unbuilt: vec![],
        searches: vec![OpenSearch {
            breakage: 10,
            status_style: StatusStyle::New,
            said: "numfmt: 4 cases went bad, 3 suspects are left".into(),
        }],
        trunks: vec![
            TrunkLine {
                trunk: "lua".into(),
                branch: "master".into(),
                tip: Some(change(25)),
                trouble: None,
                polled_at: Some(Moment(NOW - 20_000)),
            },
            TrunkLine {
                trunk: "lua".into(),
                branch: "v5.4".into(),
                tip: None,
                trouble: Some("not reached since 23 Nov 2026, 07:12:40 (5 times): connection refused".into()),
                polled_at: None,
            },
        ],
        workers: vec![
            "attic has not been heard of since 21 Nov 2026, 07:58:00; Ben Okafor looks after it".into(),
        ],
        projects: vec![
            "say: not reached since 23 Nov 2026, 06:40:00 (3 tries): the project has no branch `next`; mend `follow` in its file".into(),
        ],
        strips: strips.collect(),
    }
}

fn strip_mark(column: usize, at: usize, letter: char) -> Option<BuildMark> {
    let status_style = match letter {
        '+' | 'F' => StatusStyle::Passed,
        'X' => StatusStyle::New,
        'x' => StatusStyle::Still,
        'B' => StatusStyle::Broken,
        'b' => StatusStyle::Blocked,
        '~' => StatusStyle::Flaky,
        '!' => StatusStyle::Infra,
        '>' => StatusStyle::Running,
        'q' => StatusStyle::Queued,
        _ => return None,
    };
    Some(mark((column * 100 + at) as i64, status_style, &format!("{status_style} at {}", TITLES[at])))
}

pub fn lines(first: u64, text: &[u8]) -> Vec<LogLine> {
    let line = |(n, line): (usize, &[u8])| LogLine { number: first + n as u64, pieces: pieces(line) };
    text.split(|byte| *byte == b'\n').enumerate().map(line).collect()
}

pub const LOG: &[u8] = b"$ lua run.lua
\x1b[1mTAP version 14\x1b[0m
1..48
\x1b[32mok 1 - an environment of its own\x1b[0m
\x1b[32mok 2 - a global set inside stays inside\x1b[0m
\x1b[31mnot ok 3 - setfenv keeps the metatable\x1b[0m
  ---
  message: 'attempt to call a nil value (global ''setfenv'')'
  at: spec/setfenv.lua:14
  ...
<script>alert('a log is text')</script> & \x00 \x07
progress  10%\rprogress  60%\rprogress 100%
caf\xe9 \xe2\x80\xae backwards
a line without end: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789
\x1b[33m# 1 of 48 failed\x1b[0m";

pub fn build() -> BuildView {
    let step = |position, name: &str, status_style, ended: &str, took, log_lines| StepLine {
        position,
        name: name.into(),
        kind: "test".into(),
        status_style,
        ended: ended.into(),
        took: Some(Span(took)),
        log_lines,
        log_bytes: ByteCount(8_120),
        warnings: vec![],
        has_log: true,
    };
    let mut test = step(2, "test", StatusStyle::New, "exit 1", 6_300, 57);
    test.warnings = vec!["The plan says 49 cases, and 48 were told.".into()];
    let case = |name: &str, was, became: &str, status_style, text: Option<&str>| {
        let verdict =
            |word| Verdict::ALL.into_iter().find(|known| known.as_str() == word).expect("a verdict's word");
        let transition = transition(Some(verdict(was)), verdict(became)).expect("they differ");
        CaseLine {
            name: name.into(),
            was: Some(String::from(was)),
            became: became.into(),
            transition: Some(transition.to_string()),
            said: transition.said().into(),
            status_style,
            mark: None,
            text: text.map(Into::into),
        }
    };
    BuildView {
        id: 601,
        status_style: StatusStyle::New,
        sentence: "sandbox at Lua 5.2.4 failed in test (exit 1): 3 cases went bad".into(),
        builder: builder(6),
        change: change(1),
        reason: "tip".into(),
        state: "finished".into(),
        outcome: Some("failed".into()),
        cause: Some("exit".into()),
        revision: Some("4f1c0a7be2d99e0c3f5a4b7d8e1f20314253a6b7".into()),
        artifact: Some("b83d0e3a5f6e".into()),
        environment: Some(EnvironmentLine {
            since: 700,
            differs: vec!["cc gcc 12.2.0 is now gcc 13.1.0".into()],
        }),
        inputs: Some("0f27aa01c2d4".into()),
        queued_at: Moment(NOW - 90_000_000),
        finished_at: Some(Moment(NOW - 89_990_000)),
        same_as: None,
        breakage: None,
        older: Some(600),
        newer: Some(602),
        counts: Some(CaseCounts { passes: 45, bads: 3, skips: 0 }),
        attempts: vec![
            AttemptLine {
                number: 1,
                worker: "attic".into(),
                state: "lost".into(),
                trouble: Some(
                    "The worker was not heard of for 10 min; the build was given to another.".into(),
                ),
                late: None,
                started_at: Some(Moment(NOW)),
                took: None,
                steps: vec![],
            },
            AttemptLine {
                number: 2,
                worker: "quiet-corner".into(),
                state: "ended".into(),
                trouble: None,
                late: None,
                started_at: Some(Moment(NOW)),
                took: Some(Span(8_200)),
                steps: vec![
                    step(0, "fetch", StatusStyle::Passed, "ok", 700, 4),
                    step(1, "build", StatusStyle::Passed, "ok", 1_200, 12),
                    test,
                ],
            },
        ],
        cases: vec![
            case(
                "setfenv keeps the metatable",
                "pass",
                "fail",
                StatusStyle::New,
                Some(
                    "attempt to call a nil value (global 'setfenv')\nspec/setfenv.lua:14: in function 'keeps'",
                ),
            ),
            case("a chunk sees its own globals", "pass", "fail", StatusStyle::New, None),
            case("step:test", "pass", "fail", StatusStyle::New, None),
            case("unpack of a long list", "fail", "pass", StatusStyle::Passed, None),
        ],
        more_cases: 0,
        tail: Some(LogTail { position: 2, step: "test".into(), lines: lines(43, LOG), follow_from: None }),
    }
}

pub fn log() -> LogView {
    LogView {
        build: 601,
        position: 2,
        step: "test".into(),
        status_style: StatusStyle::New,
        ended: "exit 1".into(),
        bytes: ByteCount(912_120),
        count: 3_057,
        lines: lines(1001, LOG),
        gone: None,
        cut: Some(ByteCount(4_120_000)),
        earlier: Some(501),
        later: Some(1501),
        follow_from: None,
    }
}

pub fn change_page() -> ChangeView {
    let effect = |column, cases, status_style, now: &str| EffectLine {
        breakage: column as i64,
        builder: builder(column),
        cases,
        status_style,
        now: now.into(),
    };
    let met = (0..COLUMNS.len()).map(|column| BuilderReach {
        builder: builder(column),
        status_style: Some(if [3, 6, 8].contains(&column) { StatusStyle::New } else { StatusStyle::Passed }),
        said: if [3, 6, 8].contains(&column) { "5 new".into() } else { "passed".into() },
        builds: vec![mark(column as i64 * 100 + 1, StatusStyle::Passed, "tip")],
    });
    ChangeView {
        change: change(1),
        sentence: "It broke 3 of 8 projects (31 cases); sandbox is still broken.".into(),
        is_sick: false,
        trunk: "lua".into(),
        branches: vec!["master #2".into()],
        message: "Lua 5.2.4\n\nsetfenv and getfenv are gone: an environment is the upvalue _ENV.\nunpack moves to table.unpack.".into(),
        paths: ["src/lbaselib.c", "src/lapi.c", "src/ltablib.c"].map(String::from).to_vec(),
        paths_count: 41,
        broke: vec![
            effect(3, 5, StatusStyle::Passed, "fixed"),
            effect(6, 7, StatusStyle::Still, "still broken"),
            effect(8, 6, StatusStyle::Passed, "fixed"),
        ],
        fixed: vec![],
        alike: alike(),
        suspected: vec![effect(4, 2, StatusStyle::Queued, "42 %")],
        builders: met.collect(),
        older: Some(change(0)),
        newer: Some(change(2)),
    }
}

fn alike() -> Vec<FailureGroupLine> {
    vec![FailureGroupLine {
        said: "the same first line in 2 projects".into(),
        line: "attempt to call a nil value (global 'setfenv')".into(),
        projects: ["cage", "sandbox"].map(String::from).to_vec(),
        cases: 9,
    }]
}

pub fn case() -> case::CaseView {
    let turn = |build, position, was: Option<&str>, became: &str, status_style, text: Option<&str>| {
        case::TransitionLine {
            build,
            change: change(position),
            was: was.map(String::from),
            became: became.into(),
            status_style,
            text: text.map(String::from),
        }
    };
    let strip = [
        StatusStyle::Passed,
        StatusStyle::New,
        StatusStyle::Still,
        StatusStyle::Passed,
        StatusStyle::Flaky,
        StatusStyle::New,
    ];
    case::CaseView {
        name: "prices/test_rounding.py::test_half[größer als <eins>]".into(),
        builder: builder(7),
        now: Some("fail".into()),
        status_style: StatusStyle::New,
        sentence: "Since string.rep: reuse the buffer: fail.".into(),
        noise: Some("Where nothing is known to be wrong with it, it failed in 2 of 140 runs.".into()),
        strip: (700..)
            .zip(strip)
            .map(|(build, status_style)| mark(build, status_style, "string.rep: pass"))
            .collect(),
        turns: vec![
            turn(705, 14, Some("skip"), "fail", StatusStyle::New, Some("expected 3, got 2")),
            turn(704, 13, Some("pass"), "skip", StatusStyle::Flaky, Some("no net")),
            turn(700, 2, None, "fail", StatusStyle::New, None),
        ],
        more_turns: true,
        breakages: vec![7],
    }
}

pub fn breakages() -> BreakagesView {
    let line = |id, column, state: &str, status_style, cases, example: Option<&str>| BreakageLine {
        id,
        builder: builder(column),
        state: state.into(),
        status_style,
        cases,
        example: example.map(Into::into),
        opened_at: Moment(NOW - 40_000_000),
        ended_at: None,
    };
    BreakagesView {
        sentence: "5 breakages are open; 4 of them have a culprit.".into(),
        groups: vec![
            BreakageGroup {
                culprit: None,
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
                heading: String::new(),
                breakages: vec![
                    line(4, 1, "named", StatusStyle::Still, 6, Some("a buffer grows past LUAL_BUFFERSIZE")),
                    line(5, 5, "named", StatusStyle::Still, 4, Some("2^53 prints as an integer")),
                ],
            },
            BreakageGroup {
                culprit: Some(change(10)),
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
    let run = |build, position, status_style, bad, good, reason: &str| breakage::EvidenceLine {
        build,
        reason: reason.into(),
        why: reason.into(),
        change: change(position),
        worker: "quiet-corner".into(),
        bad,
        good,
        status_style,
        at: Some(Moment(NOW - build * 1000)),
    };
    BreakageView {
        id: 7,
        state: "named".into(),
        found: Some("named".into()),
        status_style: StatusStyle::Still,
        sentence: "string.rep: reuse the buffer broke 3 cases of steady".into(),
        builder: builder(7),
        opened_at: Moment(NOW - 40_000_000),
        ended_at: None,
        split_from: None,
        again_of: None,
        alike: alike(),
        siblings: vec![SiblingLine { id: 8, builder: builder(8), status_style: StatusStyle::Still }],
        filed: Some(breakage::FiledLine {
            words: "by way of tables, which the same change broke".into(),
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
                "6 probes among 4 changes, of which halving alone would take 2.".into(),
                "Seen on one machine, quiet-corner.".into(),
            ],
            environment: 0.0001,
            flaky: 0.0003,
            intermittent: 0.0,
            probes: 6,
            probes_left: 0,
            changes: 4,
        }),
        is_flaky: false,
        proof: None,
        cases: ["rep of a long string", "rep with a separator", "step:test"].map(String::from).to_vec(),
        lost: vec![],
        cases_count: 3,
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

pub fn workers() -> WorkersView {
    let worker = |name: &str, owner: Option<&str>, trust: Option<&str>, status_style, said: &str, running| {
        WorkerLine {
            name: name.into(),
            owner: owner.map(Into::into),
            trust: trust.map(Into::into),
            status_style,
            said: said.into(),
            facts: "linux x86_64, debian12, gnu, 8 cpus, 16.0 GiB, bubblewrap".into(),
            version: "0.1.0".into(),
            seen_at: Some(Moment(NOW - 4_000)),
            running,
        }
    };
    WorkersView {
        sentence: "2 of 3 workers are here; one waits for the operator.".into(),
        workers: vec![
            worker(
                "quiet-corner",
                Some("Ada Lund"),
                Some("maker"),
                StatusStyle::Running,
                "2 of 2 slots busy",
                vec![mark(25, StatusStyle::Running, "toolchain"), mark(725, StatusStyle::Running, "steady")],
            ),
            worker("basement", Some("Chiyo Mori"), Some("counted"), StatusStyle::Passed, "idle", vec![]),
            worker("attic", Some("Ben Okafor"), Some("counted"), StatusStyle::Infra, "absent", vec![]),
            worker(
                "newcomer",
                None,
                None,
                StatusStyle::Queued,
                "waits for the operator, code 3fa90c11",
                vec![],
            ),
        ],
    }
}

fn mark_line(said: &str) -> MarkLine {
    MarkLine {
        said: said.into(),
        issue: "https://example.org/issues/7".into(),
        until: Moment(NOW + 30 * 86_400_000),
    }
}

pub fn project() -> ProjectView {
    let side = |state: &str, status_style, revision: &str, said: &str, differs: &[&str], baselines| {
        ProjectInputsLine {
            branch: "master".into(),
            state: state.into(),
            status_style,
            revision: revision.repeat(40),
            differs: differs.iter().map(|words| words.to_string()).collect(),
            said: said.into(),
            needs: vec![NeedLine { name: "tables".into(), revision: "d".repeat(40) }],
            lock: Some("84b9c3e8d2b6b8b4b0f4a7c5b1d2e3f4".into()),
            baselines,
        }
    };
    let baseline = |build, status_style, said: &str, cases: &[&str], more_cases| BaselineLine {
        build,
        status_style,
        said: said.into(),
        cases: cases.iter().map(|case| case.to_string()).collect(),
        more_cases,
    };
    let worse = &["rep > a long string", "rep > nothing"];
    ProjectView {
        name: "steady".into(),
        sentence: "1 breakage is open; its newest side broke tests itself, and waits.".into(),
        trunk: "lua".into(),
        git: Some("https://example.org/steady.git".into()),
        newest: Some("c".repeat(40)),
        polled_at: Some(Moment(NOW - 60_000)),
        trouble: Some(
            "its newest revision is not known since 27 Nov 2026, 09:00:00: the remote hung up".into(),
        ),
        wants: vec!["postgresql".into()],
        sides: vec![
            side(
                "proposed",
                StatusStyle::New,
                "c",
                "waits since 27 Nov 2026, 08:00:00 for a revision that is no worse, until 11 Dec 2026, 08:00:00 at the latest",
                &["revision bbbbbbbbbbbb is now cccccccccccc"],
                vec![baseline(731, StatusStyle::New, "on linux-x86_64: 5 cases are worse", worse, 3)],
            ),
            side(
                "current",
                StatusStyle::Passed,
                "b",
                "in use since 20 Nov 2026, 08:00:00",
                &["its recipe changed"],
                vec![
                    baseline(610, StatusStyle::Passed, "on linux-x86_64: no case worse", &[], 0),
                    baseline(611, StatusStyle::Running, "on linux-aarch64: runs", &[], 0),
                ],
            ),
        ],
        before: vec![side(
            "past",
            StatusStyle::Superseded,
            "a",
            "in use from 1 Nov 2026, 08:00:00 to 20 Nov 2026, 08:00:00",
            &[],
            vec![],
        )],
        strips: vec![RecentBuilds {
            builder: builder(7),
            marks: (1..40)
                .map(|n| {
                    mark(
                        700 + n,
                        if n % 9 == 0 { StatusStyle::New } else { StatusStyle::Passed },
                        "tip: 40 passed",
                    )
                })
                .collect(),
        }],
        breakages: vec![],
        needed_by: vec!["csv".into(), "ini".into()],
        marks: vec![
            ProjectMark {
                cases: "rep > *".into(),
                branch: None,
                platform: Some("linux-x86_64".into()),
                mark: mark_line("expected to fail"),
                is_void: false,
                passing: vec![PassingMark {
                    branch: "master".into(),
                    platform: "linux-x86_64".into(),
                    build: 739,
                    case: "rep > a long string".into(),
                    more_cases: 1,
                }],
            },
            ProjectMark {
                cases: "net > answers in time".into(),
                branch: None,
                platform: None,
                mark: mark_line("known to be flaky"),
                is_void: true,
                passing: vec![],
            },
        ],
        flaky: vec![FlakyLine {
            case: "net > answers in time".into(),
            platform: "linux-x86_64".into(),
            fails: 3,
            runs: 61,
        }],
    }
}

pub fn queue() -> QueueView {
    let line = |column: usize, status_style, reason: &str, said: &str| WaitingLine {
        build: (column * 100 + 25) as i64,
        status_style,
        builder: builder(column),
        change: change(25),
        reason: reason.into(),
        said: said.into(),
        queued_at: Moment(NOW - 60_000),
    };
    QueueView {
        sentence: "2 builds run, 3 wait.".into(),
        builds: vec![
            line(0, StatusStyle::Running, "tip", "on quiet-corner"),
            line(7, StatusStyle::Running, "probe", "on quiet-corner"),
            line(1, StatusStyle::Queued, "tip", "waits: quiet-corner has no room"),
            line(2, StatusStyle::Queued, "tip", "no worker of linux-x86_64 offers postgresql"),
            line(3, StatusStyle::Queued, "backfill", "tried 1 time; waits until 08:01"),
        ],
        more: 0,
    }
}
