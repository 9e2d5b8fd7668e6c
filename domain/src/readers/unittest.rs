//! Reads what Python's `unittest -v` and Django's runner print: a line for each case, then the failure messages.
//!
//! A case prints where it likes, also between its name and its verdict. Subtests are not cases themselves: the runner
//! reports only those that fail.

use std::collections::HashMap;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::line_reader::{self, LineFlow};
use super::names;
use super::report_builder::ReportBuilder;
use names::tidy;

/// Both rules are this long.
const RULE: usize = 70;

pub fn is_sign(line: &str) -> bool {
    title(line)
        .is_some_and(|(_, rest)| rest.strip_prefix(" ... ").is_some_and(|outcome| verdict(outcome).is_some()))
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        report,
        section: Section::Cases,
        open: None,
        indices: HashMap::new(),
        totals: Totals::default(),
        behind_rule: false,
        is_over: false,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    section: Section,
    open: Option<Open>,
    indices: HashMap<String, usize>,
    totals: Totals,
    behind_rule: bool,
    is_over: bool,
}

enum Section {
    Cases,
    /// After a rule of `=`: the name of the case whose failure message follows.
    Title,
    /// The failure message of this case; none if the message is not stored.
    Text(Option<usize>),
}

/// A case that has begun and has no verdict yet.
struct Open {
    name: String,
    /// The worst of its subtests.
    inner: Option<Verdict>,
    /// How its last line ended: perhaps that is its verdict, after what it printed.
    possible: Option<Verdict>,
}

/// How many cases a runner counts at its end, against how many it named.
#[derive(Default)]
pub struct Totals {
    pub count: Option<u64>,
    named: u64,
    skips: u64,
}

impl Totals {
    pub fn named(&mut self, verdict: Verdict) {
        self.named += 1;
        self.skips += u64::from(verdict == Verdict::Skip);
    }

    /// How many cases were skipped, from the line after the count: `FAILED (errors=1, skipped=2)`.
    pub fn skipped(&self, line: &str) -> Option<u64> {
        self.count?;
        let line = line.trim_end();
        let of = |word: &str| {
            let (_, behind) = line.split_once(word)?;
            behind.split([',', ')']).next()?.parse().ok()
        };
        let is_last = ["OK", "FAILED", "PASSED", "NO TESTS RAN"].iter().any(|word| line.starts_with(word));
        is_last.then(|| of("skipped=").or_else(|| of("skips=")).unwrap_or(0))
    }

    /// The run is over; the next one starts with new counts.
    pub fn settle(&mut self, skipped: u64, report: &mut ReportBuilder) {
        let unnamed = self.count.unwrap_or(0).saturating_sub(self.named);
        report.ran_unnamed(unnamed.saturating_sub(skipped.saturating_sub(self.skips)));
        *self = Totals::default();
    }
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        let behind_rule = std::mem::replace(&mut self.behind_rule, is_rule(line, '-'));
        if is_rule(line, '=') {
            self.section = Section::Title;
            return self.close();
        }
        if behind_rule && let Some(count) = total(line) {
            self.totals.count = Some(count);
            self.section = Section::Cases;
            return LineFlow::Continue;
        }
        if let Some(skipped) = self.totals.skipped(line) {
            self.totals.settle(skipped, self.report);
            self.is_over = true;
            self.indices.clear();
            return LineFlow::Continue;
        }
        match &self.section {
            Section::Cases if self.behind_rule => self.close(),
            Section::Cases => self.case(line),
            Section::Title if self.behind_rule => {
                self.section = Section::Text(None);
                LineFlow::Continue
            }
            Section::Title => self.title(line),
            // The rule below the title, or the one that ends the last message.
            Section::Text(_) if self.behind_rule => LineFlow::Continue,
            Section::Text(Some(index)) => {
                self.report.add_text(*index, line);
                LineFlow::Continue
            }
            Section::Text(None) => LineFlow::Continue,
        }
    }

    /// Before Python 3.11 a case whose subtest failed has no verdict of its own, and the next one begins on its line.
    fn case(&mut self, mut line: &str) -> LineFlow {
        while let Some((name, next)) = swallowed(line) {
            if let LineFlow::Stop = self.close() {
                return LineFlow::Stop;
            }
            self.open = Some(Open { name, inner: None, possible: None });
            line = next;
        }
        self.case_alone(line)
    }

    fn case_alone(&mut self, line: &str) -> LineFlow {
        let begun = title(line.trim_start_matches(' '));
        let indented = line.starts_with(' ');
        match (begun, &mut self.open) {
            (Some((name, rest)), Some(open)) if indented && open.name == name => {
                let outcome = rest.rsplit_once(" ... ").and_then(|(_, outcome)| verdict(outcome));
                open.inner = open.inner.max(outcome);
                LineFlow::Continue
            }
            (Some((name, rest)), _) if !indented => {
                if let LineFlow::Stop = self.close() {
                    return LineFlow::Stop;
                }
                self.open = Some(Open { name, inner: None, possible: None });
                match rest.strip_prefix(" ... ") {
                    Some(outcome) => self.outcome(outcome),
                    None => LineFlow::Continue,
                }
            }
            (Some(_) | None, Some(_)) => {
                self.outcome(line.rsplit_once(" ... ").map_or(line, |(_, outcome)| outcome))
            }
            (Some(_) | None, None) => LineFlow::Continue,
        }
    }

    fn outcome(&mut self, outcome: &str) -> LineFlow {
        let Some(open) = &mut self.open else { return LineFlow::Continue };
        let outcome = outcome.trim_end();
        match verdict(outcome) {
            Some(verdict) => {
                open.inner = open.inner.max(Some(verdict));
                let reason = outcome
                    .strip_prefix("skipped ")
                    .map(|reason| reason.trim_matches(['\'', '"']).to_string());
                self.close_with(reason)
            }
            None => {
                const ENDS: [(&str, Verdict); 5] = [
                    ("ok", Verdict::Pass),
                    ("FAIL", Verdict::Fail),
                    ("ERROR", Verdict::Error),
                    ("expected failure", Verdict::Xfail),
                    ("unexpected success", Verdict::Xpass),
                ];
                open.possible =
                    ENDS.iter().find(|(word, _)| outcome.ends_with(word)).map(|(_, verdict)| *verdict);
                LineFlow::Continue
            }
        }
    }

    /// The runner went on: a case without a verdict has passed, unless the failure messages show otherwise.
    fn close(&mut self) -> LineFlow {
        self.close_with(None)
    }

    fn close_with(&mut self, reason: Option<String>) -> LineFlow {
        let Some(open) = self.open.take() else { return LineFlow::Continue };
        let verdict = open.inner.or(open.possible).unwrap_or(Verdict::Pass);
        let index = self.push(&open.name, verdict);
        if let (Some(index), Some(reason)) = (index, reason) {
            self.report.add_text(index, &reason);
        }
        if index.is_some() { LineFlow::Continue } else { LineFlow::Stop }
    }

    fn push(&mut self, name: &str, verdict: Verdict) -> Option<usize> {
        // The set-up of a class or module is not counted as a case.
        if !names::is_of_set_up(name) || name.contains("_FailedTest") {
            self.totals.named(verdict);
        }
        let index = self.report.push(name, verdict, None)?;
        self.indices.insert(tidy(name), index);
        Some(index)
    }

    /// `FAIL: test_adds (prices.Prices.test_adds) (n=1)`, and below it the case's description.
    fn title(&mut self, line: &str) -> LineFlow {
        let Some((word, rest)) = line.split_once(": ") else { return LineFlow::Continue };
        let verdict = match word {
            "FAIL" => Verdict::Fail,
            "ERROR" => Verdict::Error,
            "UNEXPECTED SUCCESS" => Verdict::Xpass,
            _ => return LineFlow::Continue,
        };
        let Some((name, _)) = title(rest) else { return LineFlow::Continue };
        let index = match self.indices.get(&name) {
            Some(&index) => {
                self.report.worsen(index, verdict);
                Some(index)
            }
            None => self.push(&name, verdict),
        };
        self.section = Section::Text(index);
        if index.is_some() { LineFlow::Continue } else { LineFlow::Stop }
    }

    fn ended(&mut self) {
        if !self.is_over {
            self.report.lacks("The runner's last line is missing; it may have ended too early.".into());
        }
        match self.open.take() {
            Some(open) if open.inner.or(open.possible).is_none() => self.report.ends_within([open.name]),
            open => {
                self.open = open;
                // If the report is full, it has a warning already.
                let _ = self.close();
            }
        }
    }
}

pub fn is_rule(line: &str, of: char) -> bool {
    let line = line.trim_end();
    line.len() >= RULE && line.chars().all(|c| c == of)
}

/// `Ran 12 tests in 0.001s`
pub fn total(line: &str) -> Option<u64> {
    let (count, rest) = line.strip_prefix("Ran ")?.split_once(" test")?;
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    let is_time = rest.strip_prefix(" in ").is_some_and(|time| time.trim_end().ends_with('s'));
    if is_time { count.parse().ok() } else { None }
}

/// `test_adds (prices.Prices.test_adds)` and the text after it. Python before 3.11 leaves the last component out.
fn title(line: &str) -> Option<(String, &str)> {
    let (word, rest) = line.split_once(" (")?;
    let (dotted, rest) = rest.split_once(')')?;
    let is_word =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_.<>".contains(c));
    let is_title = is_word(word) && is_word(dotted) && (rest.is_empty() || rest.starts_with(' '));
    if !is_title {
        return None;
    }
    let name = if word.starts_with("setUp") || word.starts_with("tearDown") {
        format!("{word} ({dotted})")
    } else if dotted.rsplit('.').next() == Some(word) {
        dotted.to_string()
    } else {
        format!("{dotted}.{word}")
    };
    Some((name, rest))
}

/// `test_a (prices.Prices) ... test_b (prices.Prices) ... ok`: the first name, and the line of the next.
fn swallowed(line: &str) -> Option<(String, &str)> {
    let (name, rest) = title(line)?;
    let next = rest.strip_prefix(" ... ").filter(|next| next.starts_with("test"))?;
    let (_, behind) = title(next)?;
    (behind.is_empty() || behind.starts_with(" ... ")).then_some((name, next))
}

fn verdict(outcome: &str) -> Option<Verdict> {
    match outcome.trim_end() {
        "ok" => Some(Verdict::Pass),
        "FAIL" => Some(Verdict::Fail),
        "ERROR" => Some(Verdict::Error),
        "expected failure" => Some(Verdict::Xfail),
        "unexpected success" => Some(Verdict::Xpass),
        outcome if outcome.starts_with("skipped '") || outcome.starts_with("skipped \"") => {
            Some(Verdict::Skip)
        }
        _ => None,
    }
}
