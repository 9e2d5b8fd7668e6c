//! The sample farm's other pages.

use domain::history::transition::transition;
use protocol::Verdict;

use super::{COLUMNS, NOW, TITLES, change, waterfall};
use crate::format::log_text::pieces;
use crate::format::shade::Shade;
use crate::format::units::{At, Bytes, Span};
use crate::pages::breakage::{self, Breakage, Sibling, Standing, Suspect};
use crate::pages::breakages::{BreakageLine, Breakages, Group};
use crate::pages::build::{Attempt, Build, Case, Counts, Environment, Step, Tail};
use crate::pages::case;
use crate::pages::change::{Change, Effect, Met};
use crate::pages::log::{Line, Log};
use crate::pages::project::{Flaky, Marked, Need, Passing, Project, Seam, Side};
use crate::pages::queue::{Queue, Waiting};
use crate::pages::status::{Search, Status, Strip, TrunkLine};
use crate::pages::workers::{Worker, Workers};
use crate::pages::{Alike, BuilderLine, Mark, MarkLine};

pub fn builder(column: usize) -> BuilderLine {
    BuilderLine {
        id: column as i64 + 1,
        name: COLUMNS[column].0.into(),
        trunk: "lua".into(),
        branch: "master".into(),
        platform: "linux-x86_64".into(),
    }
}

fn mark(build: i64, shade: Shade, hint: &str) -> Mark {
    Mark { build, shade, hint: hint.into() }
}

pub fn status() -> Status {
    let strips = (0..COLUMNS.len()).map(|column| Strip {
        builder: builder(column),
        marks: COLUMNS[column]
            .1
            .chars()
            .enumerate()
            .filter_map(|(at, letter)| strip_mark(column, at, letter))
            .collect(),
    });
    Status {
        sentence: "3 changes to lua master break 4 of 8 projects today; one more breakage is being searched."
            .into(),
        culprits: waterfall().culprits.into_iter().filter(|culprit| culprit.open).collect(),
        blind: vec![],
        unbuilt: vec![],
        searches: vec![Search {
            breakage: 10,
            shade: Shade::New,
            said: "numfmt: 4 cases went bad, 3 suspects are left".into(),
        }],
        trunks: vec![
            TrunkLine {
                trunk: "lua".into(),
                branch: "master".into(),
                tip: Some(change(25)),
                trouble: None,
                polled_at: Some(At(NOW - 20_000)),
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

fn strip_mark(column: usize, at: usize, letter: char) -> Option<Mark> {
    let shade = match letter {
        '+' | 'F' => Shade::Passed,
        'X' => Shade::New,
        'x' => Shade::Still,
        'B' => Shade::Broken,
        'b' => Shade::Blocked,
        '~' => Shade::Flaky,
        '!' => Shade::Infra,
        '>' => Shade::Running,
        'q' => Shade::Queued,
        _ => return None,
    };
    Some(mark((column * 100 + at) as i64, shade, &format!("{shade} at {}", TITLES[at])))
}

pub fn lines(first: u64, text: &[u8]) -> Vec<Line> {
    let line = |(n, line): (usize, &[u8])| Line { number: first + n as u64, pieces: pieces(line) };
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

pub fn build() -> Build {
    let step = |position, name: &str, shade, ended: &str, took, log_lines| Step {
        position,
        name: name.into(),
        kind: "test".into(),
        shade,
        ended: ended.into(),
        took: Some(Span(took)),
        log_lines,
        log_bytes: Bytes(8_120),
        warnings: vec![],
        has_log: true,
    };
    let mut test = step(2, "test", Shade::New, "exit 1", 6_300, 57);
    test.warnings = vec!["The plan says 49 cases, and 48 were told.".into()];
    let case = |name: &str, was, became: &str, shade, text: Option<&str>| {
        let verdict =
            |word| Verdict::ALL.into_iter().find(|known| known.as_str() == word).expect("a verdict's word");
        let transition = transition(Some(verdict(was)), verdict(became)).expect("they differ");
        Case {
            name: name.into(),
            was: Some(String::from(was)),
            became: became.into(),
            transition: Some(transition.to_string()),
            said: transition.said().into(),
            shade,
            mark: None,
            text: text.map(Into::into),
        }
    };
    Build {
        id: 601,
        shade: Shade::New,
        sentence: "sandbox at Lua 5.2.4 failed in test (exit 1): 3 cases went bad".into(),
        builder: builder(6),
        change: change(1),
        reason: "tip".into(),
        state: "finished".into(),
        outcome: Some("failed".into()),
        cause: Some("exit".into()),
        revision: Some("4f1c0a7be2d99e0c3f5a4b7d8e1f20314253a6b7".into()),
        artifact: Some("b83d0e3a5f6e".into()),
        environment: Some(Environment {
            since: 700,
            differs: vec!["cc gcc 12.2.0 is now gcc 13.1.0".into()],
        }),
        inputs: Some("0f27aa01c2d4".into()),
        queued_at: At(NOW - 90_000_000),
        finished_at: Some(At(NOW - 89_990_000)),
        same_as: None,
        breakage: None,
        older: Some(600),
        newer: Some(602),
        counts: Some(Counts { passes: 45, bads: 3, skips: 0 }),
        attempts: vec![
            Attempt {
                number: 1,
                worker: "attic".into(),
                state: "lost".into(),
                trouble: Some(
                    "The worker was not heard of for 10 min; the build was given to another.".into(),
                ),
                late: None,
                started_at: Some(At(NOW)),
                took: None,
                steps: vec![],
            },
            Attempt {
                number: 2,
                worker: "quiet-corner".into(),
                state: "ended".into(),
                trouble: None,
                late: None,
                started_at: Some(At(NOW)),
                took: Some(Span(8_200)),
                steps: vec![
                    step(0, "fetch", Shade::Passed, "ok", 700, 4),
                    step(1, "build", Shade::Passed, "ok", 1_200, 12),
                    test,
                ],
            },
        ],
        cases: vec![
            case(
                "setfenv keeps the metatable",
                "pass",
                "fail",
                Shade::New,
                Some(
                    "attempt to call a nil value (global 'setfenv')\nspec/setfenv.lua:14: in function 'keeps'",
                ),
            ),
            case("a chunk sees its own globals", "pass", "fail", Shade::New, None),
            case("step:test", "pass", "fail", Shade::New, None),
            case("unpack of a long list", "fail", "pass", Shade::Passed, None),
        ],
        more_cases: 0,
        tail: Some(Tail { position: 2, step: "test".into(), lines: lines(43, LOG), follow_from: None }),
    }
}

pub fn log() -> Log {
    Log {
        build: 601,
        position: 2,
        step: "test".into(),
        shade: Shade::New,
        ended: "exit 1".into(),
        bytes: Bytes(912_120),
        count: 3_057,
        lines: lines(1001, LOG),
        gone: None,
        cut: Some(Bytes(4_120_000)),
        earlier: Some(501),
        later: Some(1501),
        follow_from: None,
    }
}

pub fn change_page() -> Change {
    let effect = |column, cases, shade, now: &str| Effect {
        breakage: column as i64,
        builder: builder(column),
        cases,
        shade,
        now: now.into(),
    };
    let met = (0..COLUMNS.len()).map(|column| Met {
        builder: builder(column),
        shade: Some(if [3, 6, 8].contains(&column) { Shade::New } else { Shade::Passed }),
        said: if [3, 6, 8].contains(&column) { "5 new".into() } else { "passed".into() },
        builds: vec![mark(column as i64 * 100 + 1, Shade::Passed, "tip")],
    });
    Change {
        change: change(1),
        sentence: "It broke 3 of 8 projects (31 cases); sandbox is still broken.".into(),
        is_sick: false,
        trunk: "lua".into(),
        branches: vec!["master #2".into()],
        message: "Lua 5.2.4\n\nsetfenv and getfenv are gone: an environment is the upvalue _ENV.\nunpack moves to table.unpack.".into(),
        paths: ["src/lbaselib.c", "src/lapi.c", "src/ltablib.c"].map(String::from).to_vec(),
        paths_count: 41,
        broke: vec![
            effect(3, 5, Shade::Passed, "fixed"),
            effect(6, 7, Shade::Still, "still broken"),
            effect(8, 6, Shade::Passed, "fixed"),
        ],
        fixed: vec![],
        alike: alike(),
        suspected: vec![effect(4, 2, Shade::Queued, "42 %")],
        builders: met.collect(),
        older: Some(change(0)),
        newer: Some(change(2)),
    }
}

fn alike() -> Vec<Alike> {
    vec![Alike {
        said: "the same first line in 2 projects".into(),
        line: "attempt to call a nil value (global 'setfenv')".into(),
        projects: ["cage", "sandbox"].map(String::from).to_vec(),
        cases: 9,
    }]
}

pub fn case() -> case::Case {
    let turn = |build, position, was: Option<&str>, became: &str, shade, text: Option<&str>| case::Turn {
        build,
        change: change(position),
        was: was.map(String::from),
        became: became.into(),
        shade,
        text: text.map(String::from),
    };
    let strip = [Shade::Passed, Shade::New, Shade::Still, Shade::Passed, Shade::Flaky, Shade::New];
    case::Case {
        name: "prices/test_rounding.py::test_half[größer als <eins>]".into(),
        builder: builder(7),
        now: Some("fail".into()),
        shade: Shade::New,
        sentence: "Since string.rep: reuse the buffer: fail.".into(),
        noise: Some("Where nothing is known to be wrong with it, it failed in 2 of 140 runs.".into()),
        strip: (700..).zip(strip).map(|(build, shade)| mark(build, shade, "string.rep: pass")).collect(),
        turns: vec![
            turn(705, 14, Some("skip"), "fail", Shade::New, Some("expected 3, got 2")),
            turn(704, 13, Some("pass"), "skip", Shade::Flaky, Some("no net")),
            turn(700, 2, None, "fail", Shade::New, None),
        ],
        more_turns: true,
        breakages: vec![7],
    }
}

pub fn breakages() -> Breakages {
    let line = |id, column, state: &str, shade, cases, example: Option<&str>| BreakageLine {
        id,
        builder: builder(column),
        state: state.into(),
        shade,
        cases,
        example: example.map(Into::into),
        opened_at: At(NOW - 40_000_000),
        ended_at: None,
    };
    Breakages {
        sentence: "5 breakages are open; 4 of them have a culprit.".into(),
        groups: vec![
            Group {
                culprit: None,
                heading: "No culprit named".into(),
                breakages: vec![line(10, 5, "searching", Shade::New, 4, Some("a float keeps its point"))],
            },
            Group {
                culprit: Some(change(2)),
                heading: String::new(),
                breakages: vec![
                    line(4, 1, "named", Shade::Still, 6, Some("a buffer grows past LUAL_BUFFERSIZE")),
                    line(5, 5, "named", Shade::Still, 4, Some("2^53 prints as an integer")),
                ],
            },
            Group {
                culprit: Some(change(10)),
                heading: String::new(),
                breakages: vec![line(9, 0, "fixed", Shade::Passed, 0, None)],
            },
        ],
        older: None,
    }
}

pub fn breakage() -> Breakage {
    let suspect = |position, standing, builds: &[(i64, Shade)]| Suspect {
        change: change(position),
        standing,
        posterior: (position == 14).then_some(0.9994),
        builds: builds.iter().map(|(build, shade)| mark(*build, *shade, "probe")).collect(),
    };
    let run = |build, position, shade, bad, good, reason: &str| breakage::Evidence {
        build,
        reason: reason.into(),
        why: reason.into(),
        change: change(position),
        worker: "quiet-corner".into(),
        bad,
        good,
        shade,
        at: Some(At(NOW - build * 1000)),
    };
    Breakage {
        id: 7,
        state: "named".into(),
        found: Some("named".into()),
        shade: Shade::Still,
        sentence: "string.rep: reuse the buffer broke 3 cases of steady".into(),
        builder: builder(7),
        opened_at: At(NOW - 40_000_000),
        ended_at: None,
        split_from: None,
        again_of: None,
        alike: alike(),
        siblings: vec![Sibling { id: 8, builder: builder(8), shade: Shade::Still }],
        filed: Some(breakage::Filed {
            words: "by way of tables, which the same change broke".into(),
            project: Some("tables".into()),
            breakage: Some(8),
        }),
        dependents: vec![],
        range: vec![
            suspect(16, Standing::Bad, &[(716, Shade::Still)]),
            suspect(15, Standing::Bad, &[]),
            suspect(14, Standing::Culprit, &[(1714, Shade::New), (1715, Shade::New)]),
            suspect(13, Standing::Good, &[(1713, Shade::Passed), (1716, Shade::Passed)]),
            suspect(12, Standing::Good, &[(712, Shade::Passed)]),
        ],
        range_hidden: 0,
        search: Some(breakage::Search {
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
            run(1714, 14, Shade::New, 3, 0, "probe"),
            run(1713, 13, Shade::Passed, 0, 3, "probe"),
            run(716, 16, Shade::Still, 3, 0, "tip"),
            run(712, 12, Shade::Passed, 0, 3, "backfill"),
        ],
        notices: vec![breakage::Notice {
            kind: "named".into(),
            subject: "[lua] string.rep: reuse the buffer broke steady and tables".into(),
            state: "sent".into(),
            at: At(NOW - 30_000_000),
        }],
    }
}

pub fn workers() -> Workers {
    let worker = |name: &str, owner: Option<&str>, trust: Option<&str>, shade, said: &str, running| Worker {
        name: name.into(),
        owner: owner.map(Into::into),
        trust: trust.map(Into::into),
        shade,
        said: said.into(),
        facts: "linux x86_64, debian12, gnu, 8 cpus, 16.0 GiB, bubblewrap".into(),
        version: "0.1.0".into(),
        seen_at: Some(At(NOW - 4_000)),
        running,
    };
    Workers {
        sentence: "2 of 3 workers are here; one waits for the operator.".into(),
        workers: vec![
            worker(
                "quiet-corner",
                Some("Ada Lund"),
                Some("maker"),
                Shade::Running,
                "2 of 2 slots busy",
                vec![mark(25, Shade::Running, "toolchain"), mark(725, Shade::Running, "steady")],
            ),
            worker("basement", Some("Chiyo Mori"), Some("counted"), Shade::Passed, "idle", vec![]),
            worker("attic", Some("Ben Okafor"), Some("counted"), Shade::Infra, "absent", vec![]),
            worker("newcomer", None, None, Shade::Queued, "waits for the operator, code 3fa90c11", vec![]),
        ],
    }
}

fn mark_line(said: &str) -> MarkLine {
    MarkLine {
        said: said.into(),
        issue: "https://example.org/issues/7".into(),
        until: At(NOW + 30 * 86_400_000),
    }
}

pub fn project() -> Project {
    let side = |state: &str, shade, revision: &str, said: &str, differs: &[&str], seams| Side {
        branch: "master".into(),
        state: state.into(),
        shade,
        revision: revision.repeat(40),
        differs: differs.iter().map(|words| words.to_string()).collect(),
        said: said.into(),
        needs: vec![Need { name: "tables".into(), revision: "d".repeat(40) }],
        lock: Some("84b9c3e8d2b6b8b4b0f4a7c5b1d2e3f4".into()),
        seams,
    };
    let seam = |build, shade, said: &str, cases: &[&str], more_cases| Seam {
        build,
        shade,
        said: said.into(),
        cases: cases.iter().map(|case| case.to_string()).collect(),
        more_cases,
    };
    let worse = &["rep > a long string", "rep > nothing"];
    Project {
        name: "steady".into(),
        sentence: "1 breakage is open; its newest side broke tests itself, and waits.".into(),
        trunk: "lua".into(),
        git: Some("https://example.org/steady.git".into()),
        newest: Some("c".repeat(40)),
        polled_at: Some(At(NOW - 60_000)),
        trouble: Some(
            "its newest revision is not known since 27 Nov 2026, 09:00:00: the remote hung up".into(),
        ),
        wants: vec!["postgresql".into()],
        sides: vec![
            side(
                "proposed",
                Shade::New,
                "c",
                "waits since 27 Nov 2026, 08:00:00 for a revision that is no worse, until 11 Dec 2026, 08:00:00 at the latest",
                &["revision bbbbbbbbbbbb is now cccccccccccc"],
                vec![seam(731, Shade::New, "on linux-x86_64: 5 cases are worse", worse, 3)],
            ),
            side(
                "current",
                Shade::Passed,
                "b",
                "in use since 20 Nov 2026, 08:00:00",
                &["its recipe changed"],
                vec![
                    seam(610, Shade::Passed, "on linux-x86_64: no case worse", &[], 0),
                    seam(611, Shade::Running, "on linux-aarch64: runs", &[], 0),
                ],
            ),
        ],
        before: vec![side(
            "past",
            Shade::Covered,
            "a",
            "in use from 1 Nov 2026, 08:00:00 to 20 Nov 2026, 08:00:00",
            &[],
            vec![],
        )],
        strips: vec![Strip {
            builder: builder(7),
            marks: (1..40)
                .map(|n| mark(700 + n, if n % 9 == 0 { Shade::New } else { Shade::Passed }, "tip: 40 passed"))
                .collect(),
        }],
        breakages: vec![],
        needed_by: vec!["csv".into(), "ini".into()],
        marks: vec![
            Marked {
                cases: "rep > *".into(),
                branch: None,
                platform: Some("linux-x86_64".into()),
                mark: mark_line("expected to fail"),
                is_void: false,
                passing: vec![Passing {
                    branch: "master".into(),
                    platform: "linux-x86_64".into(),
                    build: 739,
                    case: "rep > a long string".into(),
                    more_cases: 1,
                }],
            },
            Marked {
                cases: "net > answers in time".into(),
                branch: None,
                platform: None,
                mark: mark_line("known to be flaky"),
                is_void: true,
                passing: vec![],
            },
        ],
        flaky: vec![Flaky {
            case: "net > answers in time".into(),
            platform: "linux-x86_64".into(),
            fails: 3,
            runs: 61,
        }],
    }
}

pub fn queue() -> Queue {
    let line = |column: usize, shade, reason: &str, said: &str| Waiting {
        build: (column * 100 + 25) as i64,
        shade,
        builder: builder(column),
        change: change(25),
        reason: reason.into(),
        said: said.into(),
        queued_at: At(NOW - 60_000),
    };
    Queue {
        sentence: "2 builds run, 3 wait.".into(),
        builds: vec![
            line(0, Shade::Running, "tip", "on quiet-corner"),
            line(7, Shade::Running, "probe", "on quiet-corner"),
            line(1, Shade::Queued, "tip", "waits: quiet-corner has no room"),
            line(2, Shade::Queued, "tip", "no worker of linux-x86_64 offers postgresql"),
            line(3, Shade::Queued, "backfill", "tried 1 time; waits until 08:01"),
        ],
        more: 0,
    }
}
