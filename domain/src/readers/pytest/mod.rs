//! What pytest prints: with `-v` a line a case as it goes, with `-rA` a list at the end, and between them why what
//! failed did. One of both must be there, or passes have no names.

mod line;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, BufRead};

use protocol::Verdict;

use super::lines::{self, LineFlow};
use super::{MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES, ReportBuilder, cut};
use line::{Heading, OutcomeWord, heading, progress, summary, totals};

pub fn is_sign(line: &str) -> bool {
    heading(line) == Some(Heading::Start)
}

pub fn read(input: impl BufRead, draft: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        draft,
        part: Part::Progress,
        places: HashMap::new(),
        open: BTreeSet::new(),
        perhaps: None,
        seen: Seen::default(),
        reasons: HashMap::new(),
        reason_bytes: 0,
        title: None,
        is_over: false,
    };
    let ended = lines::each(input, |line| run.on(line));
    run.ended();
    ended.told_to(draft)
}

struct Run<'d> {
    draft: &'d mut ReportBuilder,
    part: Part,
    places: HashMap<String, usize>,
    /// Begun, and without a verdict yet.
    open: BTreeSet<String>,
    /// How the last line of the open case ended that may be its verdict.
    perhaps: Option<OutcomeWord>,
    seen: Seen,
    /// Why cases failed, by the title over it; the list at the end says which case each is of.
    reasons: HashMap<String, VecDeque<String>>,
    reason_bytes: usize,
    /// The title of the reason that is being read.
    title: Option<String>,
    is_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Progress,
    Reasons,
    Summary,
}

/// What was named of one session.
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
                self.part = Part::Progress;
                self.is_over = false;
            }
            Some(Heading::Summary) => (self.part, self.title) = (Part::Summary, None),
            Some(Heading::Other) => (self.part, self.title) = (Part::Reasons, None),
            None => match self.part {
                Part::Progress => return self.progress(line),
                Part::Reasons => self.reason(line),
                Part::Summary => return self.summary(line),
            },
        }
        LineFlow::Continue
    }

    fn progress(&mut self, line: &str) -> LineFlow {
        let Some(told) = progress(line) else { return LineFlow::Continue };
        self.seen.verbose |= told.name.is_some() || told.word.is_some();
        if told.name.is_some()
            && let LineFlow::Stop = self.settle()
        {
            return LineFlow::Stop;
        }
        match (told.name, told.word) {
            (Some(name), Some(word)) => self.end(name, word, told.reason),
            // A verdict behind what the case has printed.
            (None, Some(word)) => self.end_only(word, told.reason),
            (name, None) => {
                if let Some(name) = name
                    && self.open.len() < MAX_CASES
                {
                    self.open.insert(name.to_string());
                }
                self.perhaps = told.perhaps;
                LineFlow::Continue
            }
        }
    }

    /// The runner went on: what looked like the verdict of the case before it was it.
    fn settle(&mut self) -> LineFlow {
        match self.perhaps.take() {
            Some(word) => self.end_only(word, None),
            None => LineFlow::Continue,
        }
    }

    /// A verdict without a name is clear only where one case is open.
    fn end_only(&mut self, word: OutcomeWord, reason: Option<&str>) -> LineFlow {
        match self.open.first().cloned() {
            Some(name) if self.open.len() == 1 => self.end(&name, word, reason),
            Some(_) | None => LineFlow::Continue,
        }
    }

    fn end(&mut self, name: &str, word: OutcomeWord, reason: Option<&str>) -> LineFlow {
        if !word.is_part() {
            self.open.remove(name);
        } else if !self.places.contains_key(name) && self.open.len() < MAX_CASES {
            self.open.insert(name.to_string());
        }
        self.perhaps = None;
        self.seen.good_in_progress += u64::from(word.is_good());
        match word.verdict() {
            Some(verdict) => self.tell(name, verdict, reason),
            None => LineFlow::Continue,
        }
    }

    /// Of a case that is told of twice the worse counts: its tear-down may err after it has passed.
    fn tell(&mut self, name: &str, verdict: Verdict, reason: Option<&str>) -> LineFlow {
        let index = match self.places.get(name) {
            Some(&index) => {
                self.draft.worsen(index, verdict);
                index
            }
            None => {
                // What has no `::` in its name is a file that could not be collected.
                let pushed = match name.contains("::") {
                    true => self.draft.push(name, verdict, None),
                    false => self.draft.set_up_failed(name, verdict),
                };
                let Some(index) = pushed else { return LineFlow::Stop };
                self.places.insert(name.to_string(), index);
                index
            }
        };
        if let Some(reason) = reason {
            self.draft.add_text(index, reason);
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
        let kept = cut(line, room);
        reason.push_str(kept);
        reason.push('\n');
        self.reason_bytes += kept.len() + 1;
    }

    fn summary(&mut self, line: &str) -> LineFlow {
        let Some(told) = summary(line) else { return LineFlow::Continue };
        self.seen.good_in_summary += u64::from(told.word.is_good());
        if told.times > 1 || told.name.is_none() {
            return self.folded_skips(&told);
        }
        let (Some(name), Some(verdict)) = (told.name, told.word.verdict()) else { return LineFlow::Continue };
        let is_known = self.places.contains_key(name);
        let reason = if verdict.is_bad() { self.take_reason(name) } else { None };
        match reason {
            Some(reason) => self.tell(name, verdict, Some(&reason)),
            // The progress has told of it already.
            None if is_known && !verdict.is_bad() => LineFlow::Continue,
            None => self.tell(name, verdict, told.reason),
        }
    }

    /// `SKIPPED [2] test_prices.py:40: no net` has no names: two cases of the file, unless `-v` has named them.
    fn folded_skips(&mut self, told: &line::Summary<'_>) -> LineFlow {
        if self.seen.verbose {
            return LineFlow::Continue;
        }
        let place = told.place.unwrap_or("unnamed");
        for _ in 0..told.times {
            let Some(index) = self.draft.push(&format!("{place} (skipped)"), Verdict::Skip, None) else {
                return LineFlow::Stop;
            };
            if let Some(reason) = told.reason {
                self.draft.add_text(index, reason);
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

    /// What is bad has a name in any case.
    fn over(&mut self, good: u64) {
        let seen = std::mem::take(&mut self.seen);
        self.draft.ran_unnamed(good.saturating_sub(seen.good_in_progress.max(seen.good_in_summary)));
        self.open.clear();
        self.places.clear();
        self.reasons.clear();
        self.reason_bytes = 0;
        (self.part, self.title, self.is_over) = (Part::Progress, None, true);
    }

    fn ended(&mut self) {
        if !self.is_over {
            self.draft.lacks("Pytest's last line is missing; it may have ended too early.".into());
        }
        // A draft that is full has said so.
        let _ = self.settle();
        self.draft.ends_within(std::mem::take(&mut self.open));
    }
}

impl OutcomeWord {
    /// A rerun and a part of a case are told of by the case itself.
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
