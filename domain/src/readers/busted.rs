//! Reads what busted prints on a terminal, in words or in plain characters: a mark for each case, a count, then the failures
//! by name. Its other outputs are read as TAP, JUnit XML or GoogleTest's.

use std::io::{self, BufRead};

use protocol::Verdict;

use super::line_reader::{self, LineFlow};
use super::report_builder::ReportBuilder;
use super::tally::{self, Counts, RunTally, Runner, leading_number};
use super::{gtest, tap};

pub fn is_sign(line: &str) -> bool {
    closing(line).is_some()
}

/// The formats that busted prints.
enum Output {
    Tap,
    Gtest,
    Terminal,
}

/// Reads whichever of its formats the first sign shows.
pub fn read(input: &mut impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let sign = |line: &str| match () {
        () if tap::is_sign(line) => Some(Output::Tap),
        () if gtest::is_sign(line) => Some(Output::Gtest),
        () => (marks(line) > 0 || closing(line).is_some()).then_some(Output::Terminal),
    };
    match line_reader::from_sign(input, sign)? {
        (Some(Output::Tap), input) => tap::read(input, report),
        (Some(Output::Gtest), input) => tally::read(gtest::Gtest::default(), input, report),
        (Some(Output::Terminal) | None, input) => tally::read(Busted::default(), input, report),
    }
}

#[derive(Default)]
struct Busted {
    /// How many marks of cases were printed since the last count.
    marks: u64,
    /// Whether the next line is the name of a case that failed so, or of one that did not.
    next: Option<Option<Verdict>>,
    /// The first case of the list, and whether the count before it was that of a run within this one.
    list_from: usize,
    is_inner: bool,
}

impl Runner for Busted {
    const UNENDED: &str = "The count of busted is missing; it may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut RunTally) -> LineFlow {
        if let Some(counted) = closing(line) {
            if tally.is_closed() {
                if self.is_inner {
                    tally.take_back(self.list_from..tally.report.count());
                } else {
                    tally.begin();
                }
            }
            // More marks than it counts: those before it are of the run around it.
            self.is_inner = self.marks > counted.total;
            (self.marks, self.list_from) = (0, tally.report.count());
            tally.close(counted);
            return LineFlow::Continue;
        }
        if let Some(next) = self.next.take() {
            tally.place = None;
            return match next {
                Some(verdict) => tally.only_listed(line.trim(), verdict),
                None => LineFlow::Continue,
            };
        }
        if let Some(verdict) = entry(line) {
            tally.end_text();
            self.next = Some(verdict);
        } else if tally.is_closed() {
            tally.text(line);
        }
        self.marks += marks(line);
        LineFlow::Continue
    }
}

/// `Failure → words_spec.lua @ 3`
fn entry(line: &str) -> Option<Option<Verdict>> {
    let (word, place) = line.split_once(" → ").or_else(|| line.split_once(" -> "))?;
    place.contains(" @ ").then_some(())?;
    match word {
        "Failure" => Some(Some(Verdict::Fail)),
        "Error" => Some(Some(Verdict::Error)),
        "Pending" => Some(None),
        _ => None,
    }
}

/// How many marks of cases begin a line; plain characters are marks only in a line of nothing else.
fn marks(line: &str) -> u64 {
    let line = line.trim_end();
    let marks = line.chars().take_while(|c| ['●', '◼', '✱', '◌'].contains(c)).count();
    let is_plain = line.chars().all(|c| ['+', '-', '*', '.'].contains(&c));
    u64::try_from(if is_plain { line.len() } else { marks }).unwrap_or(u64::MAX)
}

/// `2 successes / 1 failure / 1 error / 1 pending : 0.001 seconds`
fn closing(line: &str) -> Option<Counts> {
    let (counts, time) = line.split_once(" : ")?;
    if !time.trim_end().ends_with("second") && !time.contains(" second") {
        return None;
    }
    let mut parts = counts.split(" / ").map(leading_number);
    let mut next = |word: &str| {
        let (count, rest) = parts.next()??;
        rest.starts_with(word).then_some(count)
    };
    let (good, failures, errors) = (next(" success")?, next(" failure")?, next(" error")?);
    let skipped = next(" pending")?;
    let bad = failures.checked_add(errors)?;
    Some(Counts { total: good.checked_add(bad)?.checked_add(skipped)?, bad, skipped })
}
