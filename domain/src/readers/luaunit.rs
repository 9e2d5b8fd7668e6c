//! Reads what LuaUnit prints: with `-v` each case by name; without it dots, and only failures have names.

use std::collections::HashMap;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::line_reader::{self, LineFlow};
use super::report_builder::ReportBuilder;

pub fn is_sign(line: &str) -> bool {
    line.starts_with("Started on ") || total(line).is_some()
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        report,
        open: None,
        indices: HashMap::new(),
        ran: 0,
        message_of: None,
        list: None,
        ended: false,
        inner: false,
        bad: 0,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    /// The case that has begun and has no verdict yet.
    open: Option<String>,
    indices: HashMap<String, usize>,
    /// How many cases with a name ran.
    ran: u64,
    /// The case to whose failure message the lines belong.
    message_of: Option<usize>,
    /// The verdict of the cases in the list at the end that is being read.
    list: Option<Verdict>,
    ended: bool,
    /// Whether a run within this one is not over: a case may run tests itself.
    inner: bool,
    /// How many cases with a name were bad.
    bad: u64,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        if self.inner {
            self.inner = total(line).is_none();
            return LineFlow::Continue;
        }
        if line.starts_with("Started on ") && self.open.is_some() {
            self.inner = true;
            return LineFlow::Continue;
        }
        if line.starts_with("LuaUnit ABORTED") {
            self.report
                .stops("LuaUnit was told to stop after a failure; its later cases were not reached.".into());
            return LineFlow::Continue;
        }
        if let Some(ran) = total(line) {
            self.ended = true;
            let bad = std::mem::take(&mut self.bad);
            if bad == 0 && counted_bad(line) > 0 {
                self.report.hides_failures(counted_bad(line));
            }
            self.report.ran_unnamed(ran.saturating_sub(self.ran));
            (self.message_of, self.list, self.ran) = (None, None, 0);
            self.indices.clear();
            return LineFlow::Continue;
        }
        match line.trim_end() {
            "Tests with errors:" => self.list = Some(Verdict::Error),
            "Failed tests:" => self.list = Some(Verdict::Fail),
            line => match self.list {
                Some(verdict) => return self.listed(line, verdict),
                None => return self.outside_lists(line),
            },
        }
        self.message_of = None;
        LineFlow::Continue
    }

    /// `    TestPrices.test_adds ... Ok`; what a case prints stands before its verdict.
    fn outside_lists(&mut self, line: &str) -> LineFlow {
        if let Some((name, word)) = begin(line) {
            if let LineFlow::Stop = self.without_verdict() {
                return LineFlow::Stop;
            }
            self.open = Some(name.to_string());
            self.message_of = None;
            self.inner = word.trim_start().starts_with("Started on ");
            return self.verdict(word);
        }
        if self.open.is_some() {
            return self.verdict(line);
        }
        if line.starts_with("=====") {
            self.message_of = None;
        } else if let Some(index) = self.message_of {
            self.report.add_text(index, line);
        }
        LineFlow::Continue
    }

    /// The runner went on, and no word for the open case is known.
    fn without_verdict(&mut self) -> LineFlow {
        let Some(name) = self.open.take() else { return LineFlow::Continue };
        self.report.unknown_verdict(&name, "nothing that is known");
        match self.report.push(&name, Verdict::Unreached, None) {
            Some(_) => LineFlow::Continue,
            None => LineFlow::Stop,
        }
    }

    fn verdict(&mut self, word: &str) -> LineFlow {
        let verdict = match word.trim() {
            "Ok" => Verdict::Pass,
            "FAIL" => Verdict::Fail,
            "ERROR" => Verdict::Error,
            "SKIP" => Verdict::Skip,
            _ => return LineFlow::Continue,
        };
        let Some(name) = self.open.take() else { return LineFlow::Continue };
        self.push(&name, verdict)
    }

    fn push(&mut self, name: &str, verdict: Verdict) -> LineFlow {
        self.ran += u64::from(verdict != Verdict::Skip);
        self.bad += u64::from(verdict.is_bad());
        self.message_of = self.report.push(name, verdict, None);
        let Some(index) = self.message_of else { return LineFlow::Stop };
        self.indices.insert(name.to_string(), index);
        LineFlow::Continue
    }

    /// `1) TestPrices.test_errs`, then the message. A case that was reported before has its message already.
    fn listed(&mut self, line: &str, verdict: Verdict) -> LineFlow {
        let title = line.split_once(") ").filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
        match title {
            Some((_, name)) if self.indices.contains_key(name) => self.message_of = None,
            Some((_, name)) => {
                if self.ran == 0 {
                    self.report.names_failures_alone();
                }
                return self.push(name, verdict);
            }
            None if line.starts_with("-----") => {}
            None => {
                if let Some(index) = self.message_of {
                    self.report.add_text(index, line);
                }
            }
        }
        LineFlow::Continue
    }

    fn ended(&mut self) {
        if self.ended {
            // If the report is full, it has a warning already.
            let _ = self.without_verdict();
        } else {
            self.report.lacks("LuaUnit's last line is missing; it may have ended too early.".into());
        }
        self.report.ends_within(self.open.take());
    }
}

fn begin(line: &str) -> Option<(&str, &str)> {
    let (name, word) = line.strip_prefix("    ")?.split_once(" ...")?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some((name, word))
}

/// How many failed, by LuaUnit's last line.
fn counted_bad(line: &str) -> u64 {
    let counts = line.split(", ").filter_map(|part| part.trim().split_once(' '));
    let bad = counts.filter(|(_, what)| what.starts_with("failure") || what.starts_with("error"));
    bad.filter_map(|(count, _)| count.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

/// `Ran 7 tests in 0.001 seconds, 3 successes, 2 failures`: how many ran.
fn total(line: &str) -> Option<u64> {
    let (count, rest) = line.strip_prefix("Ran ")?.split_once(" tests in ")?;
    if rest.contains(" seconds, ") { count.parse().ok() } else { None }
}
