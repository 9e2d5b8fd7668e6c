//! What the readers of runners share whose closing line counts: the cases of a run that were named are held against what the
//! runner counts. The two must agree, or the report breaks a promise.

use std::collections::HashMap;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::line_reader::{self, LineFlow};
use super::report_builder::ReportBuilder;

/// How one runner's lines are read.
pub trait Runner {
    /// What a report says that lacks its closing line.
    const UNENDED: &str;
    /// Whether nothing else looks like a line of this runner: then a report that names more cases than it counts is not whole.
    const IS_SURE: bool;

    fn on(&mut self, line: &str, tally: &mut RunTally) -> LineFlow;

    /// The report has ended: what is left to be read from the lines before.
    fn ended(&mut self, _tally: &mut RunTally) {}
}

/// Reads a whole report of one runner.
pub fn read<R: Runner>(mut runner: R, input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut tally = RunTally {
        report,
        indices: HashMap::new(),
        named: Counts::default(),
        first: 0,
        message_of: None,
        counted: None,
        is_begun: false,
        place: None,
        is_sure: R::IS_SURE,
    };
    let ended = line_reader::each(input, |line| runner.on(line, &mut tally));
    runner.ended(&mut tally);
    tally.end(R::UNENDED);
    ended.finish(report)
}

/// Numbers of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: u64,
    pub bad: u64,
    pub skipped: u64,
}

/// The cases of the present run.
pub struct RunTally<'d> {
    pub report: &'d mut ReportBuilder,
    indices: HashMap<String, usize>,
    named: Counts,
    /// The first case of the run.
    first: usize,
    /// The case to whose failure message the lines belong.
    message_of: Option<usize>,
    /// What the closing line counts; none while the run is open.
    counted: Option<Counts>,
    is_begun: bool,
    /// The file of the cases that come next.
    pub place: Option<String>,
    is_sure: bool,
}

impl RunTally<'_> {
    /// A run begins. If another one is open, it has died.
    pub fn begin(&mut self) {
        if self.is_open() {
            self.report.lacks("A run of the tests did not report its end; it may have died.".into());
            self.forget();
        }
        self.settle();
        self.is_begun = true;
    }

    /// Whether a run has begun whose closing line has not come yet.
    pub fn is_open(&self) -> bool {
        self.counted.is_none() && (self.is_begun || self.named.total > 0)
    }

    /// Whether the closing line of the run has come.
    pub fn is_closed(&self) -> bool {
        self.counted.is_some()
    }

    pub fn named(&self) -> Counts {
        self.named
    }

    /// Adds a case; the lines after it belong to it.
    pub fn case(&mut self, name: &str, verdict: Verdict, duration_ms: Option<u64>) -> LineFlow {
        self.message_of = self.report.push(name, verdict, duration_ms);
        let Some(index) = self.message_of else { return LineFlow::Stop };
        self.named.total += 1;
        self.named.bad += u64::from(verdict.is_bad());
        self.named.skipped += u64::from(verdict == Verdict::Skip);
        self.report.case(index).places.extend(self.place.clone());
        self.indices.insert(name.to_string(), index);
        LineFlow::Continue
    }

    /// A failure in the list at the end: the message of a case that is known to be bad, or the only line that names it.
    pub fn listed(&mut self, name: &str, verdict: Verdict) -> LineFlow {
        match self.index(name) {
            Some(index) => {
                // A case that has its message needs no second one.
                self.message_of = Some(index).filter(|_| self.report.case(index).text.is_none());
                LineFlow::Continue
            }
            None => self.only_listed(name, verdict),
        }
    }

    /// A failure of which this is the only line. If it is the first case of the run, the runner names failures alone.
    pub fn only_listed(&mut self, name: &str, verdict: Verdict) -> LineFlow {
        if self.named.total == 0 {
            self.report.names_failures_alone();
        }
        self.case(name, verdict, None)
    }

    /// Adds a failure that the runner counts as no case.
    pub fn fault(&mut self, name: &str) -> LineFlow {
        self.message_of = self.report.fault(name, Verdict::Error);
        if self.message_of.is_some() { LineFlow::Continue } else { LineFlow::Stop }
    }

    /// The case of this name in the present run.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    /// A case of this run has run again, and the runner goes by its last end.
    pub fn replace(&mut self, index: usize, verdict: Verdict) {
        let case = self.report.case(index);
        let was = std::mem::replace(&mut case.verdict, verdict);
        if !verdict.is_bad() {
            case.text = None;
        }
        self.named.bad += u64::from(verdict.is_bad());
        self.named.bad -= u64::from(was.is_bad());
        self.named.skipped += u64::from(verdict == Verdict::Skip);
        self.named.skipped -= u64::from(was == Verdict::Skip);
        self.message_of = Some(index);
    }

    pub fn text(&mut self, line: &str) {
        if let Some(index) = self.message_of {
            self.report.add_text(index, line);
        }
    }

    /// The lines after this one belong to no case.
    pub fn end_text(&mut self) {
        self.message_of = None;
    }

    /// The closing line of the run.
    pub fn close(&mut self, counted: Counts) {
        self.counted = Some(counted);
        self.message_of = None;
    }

    /// Takes back the cases of this range: they are those of a run within this one.
    pub fn take_back(&mut self, range: std::ops::Range<usize>) {
        self.report.remove(range.clone());
        self.message_of = None;
        self.indices.retain(|_, index| !range.contains(index));
        for index in self.indices.values_mut().filter(|index| **index >= range.end) {
            *index -= range.len();
        }
        self.recount();
    }

    /// The closing line was that of a run that ended before this case, and what follows is another run's.
    pub fn split(&mut self, at: usize) {
        let behind = self.report.split_off(at);
        self.recount();
        self.settle();
        self.report.append(behind);
        self.recount();
    }

    fn recount(&mut self) {
        self.named = Counts::default();
        for case in self.report.since(self.first) {
            self.named.total += 1;
            self.named.bad += u64::from(case.verdict.is_bad());
            self.named.skipped += u64::from(case.verdict == Verdict::Skip);
        }
    }

    fn forget(&mut self) {
        self.indices.clear();
        self.named = Counts::default();
        self.first = self.report.count();
        self.message_of = None;
        self.is_begun = false;
    }

    /// Holds what was named against what was counted.
    fn settle(&mut self) {
        let Some(counted) = self.counted.take() else { return };
        let named = self.named;
        if named.bad != counted.bad {
            let (counted, named) = (counted.bad, named.bad);
            self.report.lacks(format!("The runner counts {counted} failures, and the report names {named}."));
        }
        if named.total > counted.total && self.is_sure {
            let (counted, named) = (counted.total, named.total);
            self.report.lacks(format!("The runner counts {counted} cases, and the report names {named}."));
        } else if named.total > counted.total {
            // Some lines that look like cases were printed by something else; which ones, nothing shows.
            self.report.retain_bad(self.first..self.report.count());
            let good = counted.total.saturating_sub(counted.bad).saturating_sub(counted.skipped);
            self.report.ran_unreadably(
                good,
                format!(
                    "The report names {} cases, and the runner counts {}: which of them passed is not known.",
                    named.total, counted.total
                ),
            );
        } else {
            let unnamed = counted.total - named.total;
            let skipped = counted.skipped.saturating_sub(named.skipped);
            self.report.ran_unnamed(unnamed.saturating_sub(skipped));
        }
        self.forget();
    }

    fn end(&mut self, unended: &str) {
        if self.is_open() || self.counted.is_none() && self.report.count() == self.first && self.first == 0 {
            self.report.lacks(unended.into());
        }
        self.settle();
    }
}

/// The number at the start of a text, and what follows it.
pub fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// The number before a word: 3 in `5 runs, 3 failures`.
pub fn number_before(text: &str, word: &str) -> Option<u64> {
    let before = text.split_once(word)?.0;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The number behind a word: 3 in `Failures: 3`.
pub fn number_behind(text: &str, word: &str) -> Option<u64> {
    leading_number(text.split_once(word)?.1.trim_start()).map(|(number, _)| number)
}

/// A duration in seconds at the start of a text, as milliseconds.
pub fn seconds(text: &str) -> Option<u64> {
    let number = text.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    super::report_builder::milliseconds(number.parse::<f64>().ok()? * 1000.0)
}
