//! Reads what pytest prints: with `-v` a line for each case during the run, with `-rA` a list at the end, and between
//! them the failure messages. One of both must be there, or passes have no names.

mod line;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, BufRead};

use protocol::Verdict;

use line::{Heading, OutcomeWord, SessionTotals, heading, progress, stopped, summary, totals, unknown_word};

use super::limits::{MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES};
use super::line_reader::{self, LineFlow};
use super::names::truncated;
use super::report_builder::{ReportBuilder, quote};

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
        session: Session::NotBegun,
        is_quiet: true,
        inner: 0,
        list: vec![],
        list_bytes: 0,
        unknown: HashMap::new(),
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
    session: Session,
    /// Whether the session has no headings around it, as under `-q`.
    is_quiet: bool,
    /// How many sessions within this one are not over: a test of a plugin prints those that it runs.
    inner: usize,
    /// The lines of the list at the end. If more than the last line follows, it was the list of a session within this one.
    list: Vec<String>,
    list_bytes: usize,
    /// Words that stand where a verdict stands, by the case.
    unknown: HashMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    NotBegun,
    Open,
    Over,
}

/// All lines of a list together, in bytes.
const MAX_LIST_BYTES: usize = 16 << 20;

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
    bad: u64,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        let (totals, heading) = (totals(line), heading(line));
        if self.inner > 0 {
            return self.in_inner(line, totals.is_some(), heading);
        }
        // A session with headings ends with one.
        let totals =
            totals.filter(|totals| totals.is_heading != self.is_quiet || self.session != Session::Open);
        let is_start = heading == Some(Heading::Start);
        if is_start && self.session == Session::Open {
            self.inner = 1;
            return self.in_inner_text(line);
        }
        // With `-s` it begins behind the name of its case.
        if let Some((name, behind)) = line.split_once(" ==")
            && self.session == Session::Open
            && line::heading(&format!("=={behind}")) == Some(Heading::Start)
        {
            self.inner = 1;
            return self.progress(&format!("{name} "));
        }
        if (totals.is_some() || heading.is_some())
            && let LineFlow::Stop = self.settle()
        {
            return LineFlow::Stop;
        }
        if let Some(totals) = totals {
            return self.over(&totals);
        }
        if let Some(why) = stopped(line) {
            self.report.stops(format!("Pytest did not run all its cases ({}).", quote(why)));
            return LineFlow::Continue;
        }
        match heading {
            Some(Heading::Start) => {
                (self.section, self.session, self.is_quiet) = (Section::Progress, Session::Open, false);
            }
            Some(Heading::Summary) => (self.section, self.title) = (Section::Summary, None),
            Some(Heading::Other) => (self.section, self.title) = (Section::Reasons, None),
            None => match self.section {
                Section::Progress => return self.progress(line),
                Section::Reasons => self.reason(line),
                Section::Summary => self.listed(line),
            },
        }
        if heading.is_some() {
            // Another part follows: what was listed before is none of this session's.
            self.list.clear();
            self.list_bytes = 0;
            // A banner of another program may stand before the session.
            if self.session != Session::Open && line::is_of_pytest(line) {
                (self.session, self.is_quiet) = (Session::Open, true);
            }
        }
        LineFlow::Continue
    }

    /// A line of a session within this one.
    fn in_inner(&mut self, line: &str, is_last: bool, heading: Option<Heading>) -> LineFlow {
        if heading == Some(Heading::Start) {
            self.inner += 1;
        } else if is_last && heading.is_some() {
            self.inner -= 1;
        }
        self.in_inner_text(line)
    }

    /// What another session prints is part of a failure message at most.
    fn in_inner_text(&mut self, line: &str) -> LineFlow {
        if self.section == Section::Reasons && self.title.is_some() {
            self.reason_line(line);
        }
        LineFlow::Continue
    }

    /// A line of the list at the end.
    fn listed(&mut self, line: &str) {
        if self.list.len() < MAX_CASES && self.list_bytes + line.len() <= MAX_LIST_BYTES {
            self.list_bytes += line.len();
            self.list.push(line.to_string());
        }
    }

    fn read_list(&mut self) -> LineFlow {
        for line in std::mem::take(&mut self.list) {
            if let LineFlow::Stop = self.summary(&line) {
                return LineFlow::Stop;
            }
        }
        self.list_bytes = 0;
        LineFlow::Continue
    }

    fn progress(&mut self, line: &str) -> LineFlow {
        let Some(progress) = progress(line) else { return LineFlow::Continue };
        if let (Some(name), None, Some(word)) = (progress.name, progress.word, unknown_word(line))
            && self.unknown.len() < MAX_CASES
        {
            self.unknown.insert(name.to_string(), word.to_string());
        }
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
        self.seen.bad += u64::from(verdict.is_bad());
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
        self.reason_line(line);
    }

    fn reason_line(&mut self, line: &str) {
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
    fn over(&mut self, totals: &SessionTotals<'_>) -> LineFlow {
        if let LineFlow::Stop = self.read_list() {
            return LineFlow::Stop;
        }
        let seen = std::mem::take(&mut self.seen);
        let unnamed = totals.good.saturating_sub(seen.good_in_progress.max(seen.good_in_summary));
        if let Some(word) = totals.unknown {
            let word = quote(word);
            self.report.lacks(format!("Pytest counts cases as {word}, which is no verdict that is known."));
        }
        if totals.bad > 0 && seen.bad == 0 {
            self.report.hides_failures(totals.bad);
        }
        let open: Vec<String> =
            self.open.iter().filter(|name| !self.indices.contains_key(*name)).cloned().collect();
        let unknown = std::mem::take(&mut self.unknown);
        for name in &open {
            let Some(index) = self.report.push(name, Verdict::Unreached, None) else { return LineFlow::Stop };
            match unknown.get(name) {
                Some(word) => self.report.unknown_verdict(name, word),
                // Its verdict was lost in what it printed, and the count shows that it was a good one.
                None if open.len() as u64 == unnamed => self.report.case(index).verdict = Verdict::Pass,
                None => self.report.unknown_verdict(name, "nothing"),
            }
        }
        self.report.ran_unnamed(unnamed.saturating_sub(open.len() as u64));
        self.open.clear();
        self.indices.clear();
        self.reasons.clear();
        self.reason_bytes = 0;
        (self.section, self.title, self.session) = (Section::Progress, None, Session::Over);
        LineFlow::Continue
    }

    fn ended(&mut self) {
        // If the report is full, it has a warning already.
        let _ = self.settle();
        let _ = self.read_list();
        if self.session != Session::Over {
            self.report.lacks("Pytest's last line is missing; it may have ended too early.".into());
        }
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
