//! Reads what GoogleTest prints, and busted with `-o gtest`: a line when a case begins and one when it ends. What stands
//! between the two was printed by the case itself.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::report_builder::milliseconds;
use super::tally::{Counts, Runner, Tally, leading_number};

pub fn is_sign(line: &str) -> bool {
    line.starts_with("[==========] Running ") || line.starts_with(BEGIN)
}

const RULE: &str = "[==========] ";
const BEGIN: &str = "[ RUN      ] ";

/// Names that are wrong were printed by a case; more of them than this are noise.
const MAX_DEPTH: usize = 100;

#[derive(Default)]
pub struct Gtest {
    open: Option<Open>,
    /// How many runs within the open case are not over.
    announced: Option<u64>,
    in_list: bool,
}

struct Open {
    name: String,
    /// How many cases of the same name have begun within it.
    inner: usize,
    /// Whether a run has ended within it: its lists name cases without a time.
    is_behind_run: bool,
    /// What it has printed since, for its failure message.
    text: Vec<String>,
    bytes: usize,
}

impl Runner for Gtest {
    const UNENDED: &str = "GoogleTest's closing line is missing; it may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if let Some(open) = &mut self.open {
            if line.strip_prefix(BEGIN) == Some(&open.name) {
                open.inner = (open.inner + 1).min(MAX_DEPTH);
            }
            open.is_behind_run |= line.starts_with(RULE) && line.contains(" ran.");
            let end_line = end_of(line, &open.name)
                .filter(|(_, _, behind)| !open.is_behind_run || without_duration(behind).1.is_some());
            let Some((before, word, behind)) = end_line else {
                open.keep(line);
                return LineFlow::Continue;
            };
            if open.inner > 0 {
                open.inner -= 1;
                return LineFlow::Continue;
            }
            open.keep(before);
            let open = self.open.take();
            return open.map_or(LineFlow::Continue, |open| end(&open, word, behind, tally));
        }
        if let Some(name) = line.strip_prefix(BEGIN) {
            self.open = Some(Open {
                name: name.trim_end().to_string(),
                inner: 0,
                is_behind_run: false,
                text: vec![],
                bytes: 0,
            });
        } else if let Some(rest) = line.strip_prefix(RULE) {
            self.rule(rest, tally);
        } else if let Some((word, rest)) = bracketed(line) {
            return self.outside(word, rest, tally);
        } else if !tally.is_closed() {
            tally.text(line);
        }
        LineFlow::Continue
    }

    fn ended(&mut self, tally: &mut Tally) {
        if let Some(open) = self.open.take() {
            let name = name(&open.name).0.to_string();
            tally.report.ends_within([name]);
        }
    }
}

impl Open {
    fn keep(&mut self, line: &str) {
        self.bytes = self.bytes.saturating_add(line.len());
        if self.bytes <= super::limits::MAX_CASE_TEXT_BYTES {
            self.text.push(line.to_string());
        }
    }
}

impl Gtest {
    /// `Running 3 tests from 1 test suite.`, or `3 tests from 1 test suite ran. (0 ms total)`
    fn rule(&mut self, rest: &str, tally: &mut Tally) {
        if let Some(planned) = rest.strip_prefix("Running ") {
            tally.begin();
            self.announced = leading_number(planned).map(|(count, _)| count);
            self.in_list = false;
            return;
        }
        let Some((total, rest)) = leading_number(rest) else { return };
        if !rest.contains(" ran.") {
            return;
        }
        if self.announced.take().is_some_and(|announced| announced != total) {
            tally.report.lacks(format!("The runner announced other than the {total} tests that it ran."));
        }
        let named = tally.named();
        // A skip counts as run. How many failed stands in the lines below, which name them again.
        tally.close(Counts { total, bad: named.bad, skipped: named.skipped });
    }

    /// A line of a quiet run, or of the lists at the end.
    fn outside(&mut self, word: &str, rest: &str, tally: &mut Tally) -> LineFlow {
        self.in_list |= rest.ends_with(", listed below:");
        let verdict = match word {
            "FAILED" => Verdict::Fail,
            "ERROR" => Verdict::Error,
            _ => return LineFlow::Continue,
        };
        let (listed, place) = name(rest.split_once(", where ").map_or(rest, |(name, _)| name));
        let listed = without_duration(listed).0;
        let is_case = listed.contains('.') || place.is_some();
        if listed.ends_with("listed below:") || tally.index(listed).is_some() {
            return LineFlow::Continue;
        }
        // The set-up of a suite is no case.
        if !is_case || listed.contains(": ") && place.is_none() {
            return if self.in_list { tally.fault(listed) } else { LineFlow::Continue };
        }
        if tally.is_closed() {
            tally.report.lacks(format!(
                "The runner lists the failure of {} and has not run it.",
                super::report_builder::quote(listed)
            ));
        }
        tally.case(listed, verdict, None)
    }
}

fn end(open: &Open, word: &str, behind: &str, tally: &mut Tally) -> LineFlow {
    let (case, place) = name(&open.name);
    let verdict = match word {
        "OK" => Verdict::Pass,
        "FAILED" => Verdict::Fail,
        "ERROR" => Verdict::Error,
        "SKIPPED" => Verdict::Skip,
        word => {
            tally.report.unknown_verdict(case, word);
            Verdict::Unreached
        }
    };
    tally.place = place.map(str::to_string);
    let then = tally.case(case, verdict, without_duration(behind).1);
    open.text.iter().for_each(|line| tally.text(line));
    tally.end_text();
    then
}

/// `[  FAILED  ] Words.Splits (0 ms)` at the end of a line: what is before it, its word, and what follows the name.
fn end_of<'a>(line: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, behind) = line.rsplit_once(name)?;
    let (before, word) = before.strip_suffix("] ")?.rsplit_once('[')?;
    let is_end = word.len() == 10 && (behind.is_empty() || behind.starts_with([' ', ',']));
    (is_end && word.trim() != "RUN").then_some((before, word.trim(), behind))
}

fn bracketed(line: &str) -> Option<(&str, &str)> {
    let (word, rest) = line.strip_prefix('[')?.split_once("] ")?;
    (word.len() == 10).then_some((word.trim(), rest.trim_end()))
}

/// Busted names a case by its line, which moves: `words_spec.lua @ 3: words splits`.
fn name(name: &str) -> (&str, Option<&str>) {
    let busted = name.split_once(" @ ").and_then(|(file, rest)| {
        let (_, rest) = leading_number(rest)?;
        Some((rest.strip_prefix(": ")?, Some(file)))
    });
    busted.unwrap_or((name, None))
}

/// `Words.Splits (12 ms)`
fn without_duration(text: &str) -> (&str, Option<u64>) {
    let found = text.rsplit_once(" (").and_then(|(name, rest)| {
        let ms = rest.strip_suffix(" ms)")?.parse::<f64>().ok()?;
        Some((name, milliseconds(ms)))
    });
    found.unwrap_or((text, None))
}
