//! Reads what pytest prints: with `-v` a line for each case during the run, with `-rA` a list at the end, and between
//! them the failure messages. One of both must be there, or passes have no names.

mod line;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, BufRead};

use protocol::Verdict;

use line::{Heading, OutcomeWord, heading, progress, summary, totals};

use super::limits::{MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES};
use super::line_reader::{self, LineFlow};
use super::names::truncated;
use super::report_builder::ReportBuilder;

pub fn is_sign(line: &str) -> bool {
    heading(line) == Some(Heading::Start)
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        report,
        section: Section::Progress,
        indices: HashMap::new(),
        open: BTreeSet::new(),
        possible: None,
        seen: Seen::default(),
        reasons: HashMap::new(),
        reason_bytes: 0,
        title: None,
        is_over: false,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    section: Section,
    indices: HashMap<String, usize>,
    /// Cases that have begun, and have no verdict yet.
    open: BTreeSet<String>,
    /// The possible verdict at the end of the last line that the open case printed.
    possible: Option<OutcomeWord>,
    seen: Seen,
    /// Failure messages by their titles; the list at the end shows to which case each belongs.
    reasons: HashMap<String, VecDeque<String>>,
    reason_bytes: usize,
    /// The title of the message that is being read.
    title: Option<String>,
    is_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Progress,
    Reasons,
    Summary,
}

/// What one session has reported so far.
#[derive(Default)]
struct Seen {
    verbose: bool,
    good_in_progress: u64,
    good_in_summary: u64,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        let (good, heading) = (totals(line), heading(line));
        if (good.is_some() || heading.is_some())
            && let LineFlow::Stop = self.settle()
        {
            return LineFlow::Stop;
        }
        if let Some(good) = good {
            self.over(good);
            return LineFlow::Continue;
        }
        match heading {
            Some(Heading::Start) => {
                self.section = Section::Progress;
                self.is_over = false;
            }
            Some(Heading::Summary) => (self.section, self.title) = (Section::Summary, None),
            Some(Heading::Other) => (self.section, self.title) = (Section::Reasons, None),
            None => match self.section {
                Section::Progress => return self.progress(line),
                Section::Reasons => self.reason(line),
                Section::Summary => return self.summary(line),
            },
        }
        LineFlow::Continue
    }

    fn progress(&mut self, line: &str) -> LineFlow {
        let Some(progress) = progress(line) else { return LineFlow::Continue };
        self.seen.verbose |= progress.name.is_some() || progress.word.is_some();
        if progress.name.is_some()
            && let LineFlow::Stop = self.settle()
        {
            return LineFlow::Stop;
        }
        match (progress.name, progress.word) {
            (Some(name), Some(word)) => self.end(name, word, progress.reason),
            // A verdict after what the case has printed.
            (None, Some(word)) => self.end_only(word, progress.reason),
            (name, None) => {
                if let Some(name) = name
                    && self.open.len() < MAX_CASES
                {
                    self.open.insert(name.to_string());
                }
                self.possible = progress.possible;
                LineFlow::Continue
            }
        }
    }

    /// The runner went on: what looked like the verdict of the open case is its verdict.
    fn settle(&mut self) -> LineFlow {
        match self.possible.take() {
            Some(word) => self.end_only(word, None),
            None => LineFlow::Continue,
        }
    }

    /// A verdict without a name is unambiguous only if one case is open.
    fn end_only(&mut self, word: OutcomeWord, reason: Option<&str>) -> LineFlow {
        match self.open.first().cloned() {
            Some(name) if self.open.len() == 1 => self.end(&name, word, reason),
            Some(_) | None => LineFlow::Continue,
        }
    }

    fn end(&mut self, name: &str, word: OutcomeWord, reason: Option<&str>) -> LineFlow {
        if !word.is_of_subtest() {
            self.open.remove(name);
        } else if !self.indices.contains_key(name) && self.open.len() < MAX_CASES {
            self.open.insert(name.to_string());
        }
        self.possible = None;
        self.seen.good_in_progress += u64::from(word.is_good());
        match word.verdict() {
            Some(verdict) => self.record(name, verdict, reason),
            None => LineFlow::Continue,
        }
    }

    /// If a case is reported twice, the worse verdict counts: its tear-down may fail after it has passed.
    fn record(&mut self, name: &str, verdict: Verdict, reason: Option<&str>) -> LineFlow {
        let index = match self.indices.get(name) {
            Some(&index) => {
                self.report.worsen(index, verdict);
                index
            }
            None => {
                // A name without `::` is a file that could not be collected.
                let pushed = match name.contains("::") {
                    true => self.report.push(name, verdict, None),
                    false => self.report.set_up_failed(name, verdict),
                };
                let Some(index) = pushed else { return LineFlow::Stop };
                self.indices.insert(name.to_string(), index);
                index
            }
        };
        if let Some(reason) = reason {
            self.report.add_text(index, reason);
        }
        LineFlow::Continue
    }

    fn reason(&mut self, line: &str) {
        if let Some(title) = line::title(line) {
            self.title = Some(title.to_string());
            if self.reasons.len() < MAX_CASES {
                self.reasons.entry(title.to_string()).or_default().push_back(String::new());
            }
            return;
        }
        let Some(title) = &self.title else { return };
        let Some(reason) = self.reasons.get_mut(title).and_then(VecDeque::back_mut) else { return };
        let room = MAX_CASE_TEXT_BYTES.saturating_sub(reason.len() + 1);
        let room = room.min(MAX_BUILD_TEXT_BYTES.saturating_sub(self.reason_bytes + 1));
        let kept = truncated(line, room);
        reason.push_str(kept);
        reason.push('\n');
        self.reason_bytes += kept.len() + 1;
    }

    fn summary(&mut self, line: &str) -> LineFlow {
        let Some(summary) = summary(line) else { return LineFlow::Continue };
        self.seen.good_in_summary += u64::from(summary.word.is_good());
        if summary.times > 1 || summary.name.is_none() {
            return self.folded_skips(&summary);
        }
        let (Some(name), Some(verdict)) = (summary.name, summary.word.verdict()) else {
            return LineFlow::Continue;
        };
        let is_known = self.indices.contains_key(name);
        let reason = if verdict.is_bad() { self.take_reason(name) } else { None };
        match reason {
            Some(reason) => self.record(name, verdict, Some(&reason)),
            // It was reported during the run already.
            None if is_known && !verdict.is_bad() => LineFlow::Continue,
            None => self.record(name, verdict, summary.reason),
        }
    }

    /// `SKIPPED [2] test_prices.py:40: no net` has no names: two cases of the file, unless `-v` has named them.
    fn folded_skips(&mut self, summary: &line::Summary<'_>) -> LineFlow {
        if self.seen.verbose {
            return LineFlow::Continue;
        }
        let place = summary.place.unwrap_or("unnamed");
        for _ in 0..summary.times {
            let Some(index) = self.report.push(&format!("{place} (skipped)"), Verdict::Skip, None) else {
                return LineFlow::Stop;
            };
            if let Some(reason) = summary.reason {
                self.report.add_text(index, reason);
            }
        }
        LineFlow::Continue
    }

    /// `test_prices.py::TestOld::test_adds[1]` stands below the title `TestOld.test_adds[1]`.
    fn take_reason(&mut self, name: &str) -> Option<String> {
        let title = name.split_once("::").map_or(name, |(_, behind)| behind).replace("::", ".");
        let (reasons, is_last) = self.reasons.get_mut(&title).map(|reasons| {
            let reason = reasons.pop_front();
            (reason, reasons.is_empty())
        })?;
        if is_last {
            self.reasons.remove(&title);
        }
        let reason = reasons?;
        self.reason_bytes = self.reason_bytes.saturating_sub(reason.len());
        Some(reason)
    }

    /// The session is over. Failures always have names, so that only good cases may lack one.
    fn over(&mut self, good: u64) {
        let seen = std::mem::take(&mut self.seen);
        self.report.ran_unnamed(good.saturating_sub(seen.good_in_progress.max(seen.good_in_summary)));
        self.open.clear();
        self.indices.clear();
        self.reasons.clear();
        self.reason_bytes = 0;
        (self.section, self.title, self.is_over) = (Section::Progress, None, true);
    }

    fn ended(&mut self) {
        if !self.is_over {
            self.report.lacks("Pytest's last line is missing; it may have ended too early.".into());
        }
        // If the report is full, it has a warning already.
        let _ = self.settle();
        self.report.ends_within(std::mem::take(&mut self.open));
    }
}

impl OutcomeWord {
    /// None for a rerun, and for a subtest that did not fail: the case itself is reported, too.
    fn verdict(self) -> Option<Verdict> {
        match self {
            OutcomeWord::Passed => Some(Verdict::Pass),
            OutcomeWord::Failed | OutcomeWord::Subfailed => Some(Verdict::Fail),
            OutcomeWord::Error => Some(Verdict::Error),
            OutcomeWord::Skipped => Some(Verdict::Skip),
            OutcomeWord::Xfail => Some(Verdict::Xfail),
            OutcomeWord::Xpass => Some(Verdict::Xpass),
            OutcomeWord::Rerun | OutcomeWord::Subpassed | OutcomeWord::Subskipped => None,
        }
    }

    fn is_good(self) -> bool {
        match self {
            OutcomeWord::Passed | OutcomeWord::Xfail | OutcomeWord::Xpass => true,
            OutcomeWord::Failed
            | OutcomeWord::Error
            | OutcomeWord::Skipped
            | OutcomeWord::Rerun
            | OutcomeWord::Subpassed
            | OutcomeWord::Subfailed
            | OutcomeWord::Subskipped => false,
        }
    }
}
