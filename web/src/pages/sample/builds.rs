//! The sample farm's pages of one build, one log and one case.

use domain::history::transition::transition;
use protocol::Verdict;

use super::{NOW, builder, change, mark};
use crate::format::log_text::pieces;
use crate::format::status_style::StatusStyle;
use crate::format::units::{ByteCount, Moment, Span};
use crate::pages::build::{AttemptLine, BuildView, CaseCounts, CaseLine, EnvironmentLine, LogTail, StepLine};
use crate::pages::case;
use crate::pages::log::{LogLine, LogView};

fn lines(first: u64, text: &[u8]) -> Vec<LogLine> {
    let line = |(n, line): (usize, &[u8])| LogLine { number: first + n as u64, pieces: pieces(line) };
    text.split(|byte| *byte == b'\n').enumerate().map(line).collect()
}

const LOG: &[u8] = b"$ lua run.lua
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
    let step = |position, name: &str, status_style, result: &str, duration_ms, log_lines| StepLine {
        position,
        name: name.into(),
        kind: "test".into(),
        status_style,
        result: result.into(),
        duration_ms: Some(Span(duration_ms)),
        log_lines,
        log_bytes: ByteCount(8_120),
        warnings: vec![],
        has_log: true,
    };
    let mut test = step(2, "test", StatusStyle::New, "exit 1", 6_300, 57);
    test.warnings = vec!["The plan says 49 cases, but the report has 48.".into()];
    let case = |name: &str, was, became: &str, status_style, message: Option<&str>| {
        let verdict =
            |word| Verdict::ALL.into_iter().find(|one| one.as_str() == word).expect("a verdict's word");
        let transition = transition(Some(verdict(was)), verdict(became)).expect("they differ");
        CaseLine {
            name: name.into(),
            was: Some(String::from(was)),
            became: became.into(),
            transition: Some(transition.to_string()),
            label: transition.label().into(),
            status_style,
            mark: None,
            message: message.map(Into::into),
        }
    };
    BuildView {
        id: 601,
        status_style: StatusStyle::New,
        sentence: "sandbox at Lua 5.2.4 failed in test (exit): 3 new".into(),
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
            differences: vec!["cc gcc 12.2.0 is now gcc 13.1.0".into()],
        }),
        inputs: Some("0f27aa01c2d4".into()),
        queued_at: Moment(NOW - 90_000_000),
        finished_at: Some(Moment(NOW - 89_990_000)),
        same_as: None,
        breakage: None,
        older: Some(600),
        newer: Some(602),
        counts: Some(CaseCounts { passed: 45, failed: 3, skipped: 0 }),
        attempts: vec![
            AttemptLine {
                number: 1,
                worker: "attic".into(),
                state: "lost".into(),
                failure: Some("The worker was offline for 10 min; the build was reassigned.".into()),
                progress: None,
                late_outcome: Some("failed".into()),
                started_at: Some(Moment(NOW)),
                duration_ms: None,
                steps: vec![],
            },
            AttemptLine {
                number: 2,
                worker: "quiet-corner".into(),
                state: "ended".into(),
                failure: None,
                progress: None,
                late_outcome: None,
                started_at: Some(Moment(NOW)),
                duration_ms: Some(Span(8_200)),
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
        result: "exit 1".into(),
        bytes: ByteCount(912_120),
        line_count: 3_057,
        lines: lines(1001, LOG),
        unavailable: None,
        missing_bytes: Some(ByteCount(4_120_000)),
        earlier: Some(501),
        later: Some(1501),
        follow_from: None,
    }
}

pub fn case() -> case::CaseView {
    let transition =
        |build, position, was: Option<&str>, became: &str, status_style, message: Option<&str>| {
            case::TransitionLine {
                build,
                change: change(position),
                was: was.map(String::from),
                became: became.into(),
                status_style,
                message: message.map(String::from),
            }
        };
    let styles = [
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
        noise: Some("Outside of breakages, it failed in 2 of 140 runs.".into()),
        recent_builds: (700..)
            .zip(styles)
            .map(|(build, status_style)| mark(build, status_style, "string.rep: pass"))
            .collect(),
        transitions: vec![
            transition(705, 14, Some("skip"), "fail", StatusStyle::New, Some("expected 3, got 2")),
            transition(704, 13, Some("pass"), "skip", StatusStyle::Flaky, Some("no net")),
            transition(700, 2, None, "fail", StatusStyle::New, None),
        ],
        more_transitions: true,
        breakages: vec![7],
    }
}
