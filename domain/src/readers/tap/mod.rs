//! Reads TAP 13 and 14, also from among the other output of a program.
//!
//! A subtest's cases are named `outer > inner`. The line that sums a subtest up is not a case itself, or each failure
//! would be counted twice; it is one if the subtest has no case at all, and a fault if it is `not ok` while none of its
//! cases failed (the subtest died between two of them).

mod line;
pub mod prove;

use std::io::{self, BufRead};

use protocol::Verdict;

use line::{TapDirective, TapLine, TapTest};

use super::line_reader::{self, LineFlow};
use super::names;
use super::report_builder::{ReportBuilder, ReportMark, milliseconds, quote};

/// A subtest lies four columns deeper than the line that sums it up.
const INDENT: usize = 4;
const MAX_DEPTH: usize = 8;

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut stream = Stream::new(report);
    let ended = line_reader::each(input, |line| stream.on(line));
    stream.ended();
    ended.finish(report)
}

/// A plan or a version at the start of a line; `ok` alone is a word of too many programs.
pub fn is_sign(line: &str) -> bool {
    match line::parse(line) {
        TapLine::Plan { .. } | TapLine::Version => true,
        TapLine::Test(test) => test.number.is_some(),
        TapLine::BailOut(_) | TapLine::Comment(_) | TapLine::Open | TapLine::Close | TapLine::Other => false,
    }
}

struct Stream<'d> {
    report: &'d mut ReportBuilder,
    /// The stream itself, and the subtests that are open.
    frames: Vec<Frame>,
    /// The titles of `# Subtest:` comments for the next subtest, by the depth of the comment.
    titles: [Option<String>; MAX_DEPTH + 1],
    last: Option<Last>,
    block: Option<Block>,
    /// The streams in which this one was printed, outermost first: a test may run a program of tests.
    outer: Vec<OuterStream>,
    has_version: bool,
}

/// A stream whose plan is not kept yet, while another one is printed within it.
struct OuterStream {
    frames: Vec<Frame>,
    titles: [Option<String>; MAX_DEPTH + 1],
    /// Before the inner stream.
    mark: ReportMark,
}

/// The stream or one subtest.
#[derive(Default)]
struct Frame {
    depth: usize,
    title: Option<String>,
    /// The first of its cases.
    first: usize,
    plan: Option<Plan>,
    count: u64,
    numbers: Vec<u64>,
    /// Whether the last test line has no number: perhaps it is the start of one that has.
    ends_without_number: bool,
    /// The line before it that sums it up, if the subtest is in braces.
    summed: Option<Summed>,
}

/// A line that sums a subtest up.
#[derive(Clone)]
struct Summed {
    name: String,
    verdict: Verdict,
    duration_ms: Option<u64>,
}

/// What such a line adds to the subtest's own cases.
enum Sum {
    Nothing,
    Case(Verdict),
    Fault(Verdict),
}

struct Plan {
    tests: u64,
    skip: bool,
    /// Whether it came after its tests.
    is_last: bool,
}

/// The test line to which further lines may belong; no case if it only sums up.
#[derive(Clone)]
struct Last {
    case: Option<usize>,
    /// What its line says, for a subtest that follows in braces.
    line: Option<Summed>,
    indent: usize,
    /// Nothing came after it yet, so a YAML block may begin.
    at_once: bool,
    /// Indented lines directly after it belong to it, too.
    has_detail: bool,
}

/// An open YAML block.
struct Block {
    indent: usize,
    case: Option<usize>,
}

impl<'d> Stream<'d> {
    fn new(report: &'d mut ReportBuilder) -> Stream<'d> {
        Stream {
            report,
            frames: vec![Frame::default()],
            titles: Default::default(),
            last: None,
            block: None,
            outer: vec![],
            has_version: false,
        }
    }

    /// The program has ended, and another one's stream follows.
    fn end_document(&mut self) {
        self.ended();
        (self.last, self.has_version) = (None, false);
        self.titles = Default::default();
        self.frames.push(Frame { first: self.report.count(), ..Frame::default() });
    }

    fn on(&mut self, line: &str) -> LineFlow {
        let (indent, text) = unindent(line);
        if let Some(block) = &self.block {
            if text.is_empty() || indent >= block.indent {
                self.in_block(indent, text);
                return LineFlow::Continue;
            }
            self.block = None;
        }
        let at_once = self.last.as_ref().is_some_and(|last| last.at_once);
        if let Some(last) = &mut self.last {
            if at_once && indent > last.indent && text.trim_end() == "---" {
                self.block = Some(Block { indent, case: last.case });
                return LineFlow::Continue;
            }
            last.at_once = false;
        }
        let line = line::parse(text);
        if let TapLine::Comment(comment) = line {
            self.comment(indent / INDENT, comment);
            return LineFlow::Continue;
        }
        let depth = indent / INDENT;
        if let TapLine::Other = line {
            let next = self.frames.iter().rev().find(|frame| frame.depth == depth).map_or(1, |f| f.count + 1);
            return match line::glued(text, next).filter(|_| depth == 0) {
                Some(test) => self.test(depth, test),
                None => {
                    self.other(indent, text);
                    LineFlow::Continue
                }
            };
        }
        if !indent.is_multiple_of(INDENT) {
            return LineFlow::Continue;
        }
        if depth > MAX_DEPTH {
            self.report
                .limit(format!("Subtests lie more than {MAX_DEPTH} deep; the deeper ones were not read."));
            return LineFlow::Continue;
        }
        match line {
            TapLine::Plan { tests, skip } => self.plan(depth, tests, skip),
            TapLine::Test(test) => return self.test(depth, test),
            TapLine::BailOut(reason) => {
                let reason = quote(reason);
                self.report
                    .lacks(format!("The suite bailed out ({reason}); what would follow was not reached."));
                // No plan can hold now. A warning for each would only repeat that, so the frames end unchecked.
                self.name_open_subtests();
                return LineFlow::Stop;
            }
            TapLine::Version if depth == 0 => {
                self.has_version = true;
                self.close_deeper(0);
                let top = self.top();
                // If the plan is not kept yet, this may be a stream within this one: its plan will show it.
                let is_kept = match &top.plan {
                    Some(plan) => plan.is_last || plan.tests <= top.count,
                    None => top.count > 0,
                };
                if is_kept {
                    self.next_document();
                }
            }
            TapLine::Open => self.open_behind(indent),
            TapLine::Close => return self.close(depth),
            TapLine::Version | TapLine::Comment(_) | TapLine::Other => {}
        }
        LineFlow::Continue
    }

    /// Some writers print the failure message without marking it as a comment.
    fn other(&mut self, indent: usize, text: &str) {
        let Some(last) = &mut self.last else { return };
        last.has_detail &= text.is_empty() || indent > last.indent;
        if let (true, Some(case)) = (last.has_detail, last.case) {
            self.report.add_text(case, text);
        }
    }

    fn comment(&mut self, depth: usize, comment: &str) {
        if let Some(title) = comment.strip_prefix("Subtest:") {
            if let Some(place) = self.titles.get_mut(depth) {
                *place = Some(names::tidy(title));
            }
            self.last = None;
        } else if let Some(Last { case: Some(case), .. }) = &self.last {
            self.report.add_text(*case, comment);
        }
    }

    /// In a YAML block only the duration is understood; the rest is part of the failure message.
    fn in_block(&mut self, indent: usize, text: &str) {
        let Some(block) = &self.block else { return };
        let text = text.trim_end();
        if indent == block.indent && text == "..." {
            self.block = None;
            return;
        }
        let Some(case) = block.case else { return };
        match text.strip_prefix("duration_ms:") {
            Some(duration) if indent == block.indent => {
                let duration = duration.trim().trim_matches(['\'', '"']).parse().ok();
                let case = self.report.case(case);
                case.duration_ms = duration.and_then(milliseconds).or(case.duration_ms);
            }
            _ => {
                let deeper = " ".repeat(indent.saturating_sub(block.indent).min(80));
                self.report.add_text(case, &format!("{deeper}{text}"));
            }
        }
    }

    fn plan(&mut self, depth: usize, tests: u64, skip: Option<&str>) {
        self.close_deeper(depth);
        self.open(depth);
        if depth == 0 && self.is_inner(tests) {
            return;
        }
        if self.top().plan.is_some() {
            self.next_document();
        }
        let is_last = self.top().count > 0;
        self.top().plan = Some(Plan { tests, skip: skip.is_some(), is_last });
        match skip {
            Some(reason) if depth == 0 => {
                self.report.warn(format!("The whole suite was skipped ({}).", quote(reason)));
            }
            None if depth == 0 && tests == 0 => self.report.warn("The plan is to run no test at all.".into()),
            Some(_) | None => {}
        }
    }

    /// Whether a plan is that of a stream within this one: it comes before this one's plan is kept. A program that died
    /// before another one began looks the same, and its plan is not kept, either.
    fn is_inner(&mut self, tests: u64) -> bool {
        let frame = self.top();
        let Some(Plan { tests: planned, is_last: false, .. }) = frame.plan else { return false };
        let is_kept = frame.count >= planned;
        // The inner plan may come after its tests, which were taken for those of the outer stream until now.
        let inner = usize::try_from(tests).unwrap_or(usize::MAX);
        let numbers = frame.numbers.len().checked_sub(inner).map(|at| &frame.numbers[at..]);
        let is_behind =
            inner > 0 && numbers.is_some_and(|numbers| (1..).zip(numbers).all(|(n, &is)| n == is));
        // If nothing came before them, they are this stream's own.
        if is_behind && frame.numbers.len() > inner {
            frame.count -= tests;
            let kept = frame.numbers.len() - inner;
            frame.numbers.truncate(kept);
            let known = self.report.count();
            self.report.truncate(known.saturating_sub(inner));
            self.last = None;
            return true;
        }
        if is_kept || tests == 0 || self.outer.len() == MAX_DEPTH {
            return !is_kept && tests == 0;
        }
        let frames = std::mem::take(&mut self.frames);
        let titles = std::mem::take(&mut self.titles);
        let (mark, cases) = (self.report.mark(), self.report.count());
        self.outer.push(OuterStream { frames, titles, mark });
        self.frames.push(Frame {
            first: cases,
            plan: Some(Plan { tests, skip: false, is_last: false }),
            ..Frame::default()
        });
        self.last = None;
        true
    }

    /// Returns to the stream around this one if its plan is kept. Its cases are none of the outer stream.
    fn leave_inner(&mut self) {
        let frame = self.top();
        let is_kept = frame.depth == 0 && frame.plan.as_ref().is_some_and(|plan| plan.tests <= frame.count);
        if is_kept && let Some(outer) = self.outer.pop() {
            self.report.back_to(outer.mark);
            (self.frames, self.titles) = (outer.frames, outer.titles);
            self.last = None;
        }
    }

    /// `{` after a test line and its diagnostics: the line sums up the subtest that begins.
    fn open_behind(&mut self, indent: usize) {
        let depth = indent / INDENT;
        let Some(Last { case: Some(case), line: Some(summed), indent: at, .. }) = self.last.take() else {
            return;
        };
        if at != indent || case + 1 != self.report.count() || depth >= MAX_DEPTH {
            return;
        }
        self.report.truncate(case);
        let (title, first) = (Some(summed.name.clone()), self.report.count());
        self.frames.push(Frame { depth: depth + 1, title, first, summed: Some(summed), ..Frame::default() });
    }

    fn test(&mut self, depth: usize, test: TapTest) -> LineFlow {
        if depth == 0 && self.frames.len() == 1 && !self.outer.is_empty() {
            self.leave_inner();
        }
        // A plan after its tests ends them: what follows is the next program's stream.
        let top_ended = |frame: &Frame| frame.plan.as_ref().is_some_and(|plan| plan.is_last);
        let inner = self.close_deeper(depth);
        self.open(depth);
        self.titles[depth] = None;
        if top_ended(self.top()) {
            self.next_document();
        }
        let frame = self.top();
        frame.count += 1;
        frame.numbers.extend(test.number);
        frame.ends_without_number = test.number.is_none();
        let number = test.number.unwrap_or(frame.count);
        let name = match (&inner, test.description.is_empty()) {
            (_, false) => test.description.clone(),
            (Some(Frame { title: Some(title), .. }), true) => title.clone(),
            (Some(_) | None, true) => format!("test {number}"),
        };
        let (verdict, reason) = match (&test.directive, test.ok) {
            (TapDirective::Skip(reason), _) => (Verdict::Skip, Some(reason)),
            (TapDirective::Todo(reason), false) => (Verdict::Xfail, Some(reason)),
            (TapDirective::Todo(reason), true) => (Verdict::Xpass, Some(reason)),
            (TapDirective::None, true) => (Verdict::Pass, None),
            (TapDirective::None, false) => (Verdict::Fail, None),
        };
        let summed = Summed { name, verdict, duration_ms: test.duration_ms };
        if test.opens && depth < MAX_DEPTH {
            let (title, first) = (Some(summed.name.clone()), self.report.count());
            self.frames.push(Frame {
                depth: depth + 1,
                title,
                first,
                summed: Some(summed),
                ..Frame::default()
            });
            self.last = None;
            return LineFlow::Continue;
        }
        let case = match self.put(inner.as_ref(), &summed) {
            Ok(case) => case,
            Err(then) => return then,
        };
        if let (Some(case), Some(reason)) = (case, reason) {
            self.report.add_text(case, reason);
        }
        let line = Some(summed).filter(|_| inner.is_none());
        self.last = Some(Last { case, line, indent: depth * INDENT, at_once: true, has_detail: true });
        LineFlow::Continue
    }

    /// Adds a test line as what it is: a case, or the sum of the subtest before it.
    fn put(&mut self, inner: Option<&Frame>, line: &Summed) -> Result<Option<usize>, LineFlow> {
        let sum = match inner {
            Some(inner) => self.sum_up(inner, &line.name, line.verdict),
            None => Sum::Case(line.verdict),
        };
        let case = match sum {
            Sum::Nothing => return Ok(None),
            Sum::Case(verdict) => self.report.push(&line.name, verdict, line.duration_ms),
            Sum::Fault(verdict) => self.report.fault(&line.name, verdict),
        };
        case.map(Some).ok_or(LineFlow::Stop)
    }

    /// Ends the subtest in braces that is deeper.
    fn close(&mut self, depth: usize) -> LineFlow {
        if self.frames.iter().all(|frame| frame.depth <= depth || frame.summed.is_none()) {
            return LineFlow::Continue;
        }
        let Some(mut inner) = self.close_deeper(depth) else { return LineFlow::Continue };
        self.last = None;
        let Some(summed) = inner.summed.take() else { return LineFlow::Continue };
        match self.put(Some(&inner), &summed) {
            Ok(_) => LineFlow::Continue,
            Err(then) => then,
        }
    }

    /// Gives a subtest's cases their outer name, and returns what the line that sums it up adds to them.
    fn sum_up(&mut self, inner: &Frame, name: &str, verdict: Verdict) -> Sum {
        let cases = self.report.since(inner.first);
        if cases.is_empty() {
            let skipped = verdict == Verdict::Pass && inner.plan.as_ref().is_some_and(|plan| plan.skip);
            return Sum::Case(if skipped { Verdict::Skip } else { verdict });
        }
        let mut bad = false;
        for case in cases {
            case.name = names::within(name, &case.name);
            if verdict == Verdict::Xfail && case.verdict.is_bad() {
                case.verdict = Verdict::Xfail;
            }
            bad |= case.verdict.is_bad();
        }
        if verdict == Verdict::Fail && !bad { Sum::Fault(verdict) } else { Sum::Nothing }
    }

    fn top(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the stream's own frame is removed only at its end")
    }

    fn open(&mut self, depth: usize) {
        if self.top().depth < depth {
            let first = self.report.count();
            // Older writers put the title inside the subtest, where others put that of its own first subtest.
            let outer = depth.checked_sub(1).and_then(|outer| self.titles[outer].take());
            let title = outer.or_else(|| self.titles[depth].take());
            self.frames.push(Frame { depth, title, first, ..Frame::default() });
        }
    }

    /// Ends the deeper subtests, and returns the outermost of them: the next line sums it up.
    fn close_deeper(&mut self, depth: usize) -> Option<Frame> {
        let mut closed: Option<Frame> = None;
        while self.top().depth > depth {
            let frame = self.frames.pop()?;
            if let Some(inner) = closed.take() {
                self.name_unsummed(&inner);
            }
            self.check(&frame);
            closed = Some(frame);
        }
        closed
    }

    /// The next stream begins at the same depth: one program's output after another's.
    fn next_document(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        self.check(&frame);
        self.frames.push(Frame {
            depth: frame.depth,
            title: frame.title,
            first: frame.first,
            ..Frame::default()
        });
    }

    /// Ends a stream within another one at the end of the report, whether its plan is kept or not.
    fn end_inner(&mut self) {
        if let Some(outer) = self.outer.pop() {
            self.report.back_to(outer.mark);
            (self.frames, self.titles) = (outer.frames, outer.titles);
        }
    }

    fn name_unsummed(&mut self, frame: &Frame) {
        if let Some(title) = &frame.title {
            for case in self.report.since(frame.first) {
                case.name = names::within(title, &case.name);
            }
        }
    }

    fn name_open_subtests(&mut self) {
        while !self.outer.is_empty() {
            self.end_inner();
        }
        while let Some(frame) = self.frames.pop() {
            self.name_unsummed(&frame);
        }
    }

    fn check(&mut self, frame: &Frame) {
        let at = match (frame.depth, &frame.title) {
            (0, _) => String::new(),
            (_, Some(title)) => format!(" of subtest {}", quote(title)),
            (_, None) => " of a subtest".into(),
        };
        let count = frame.count;
        match &frame.plan {
            None => {
                let sentence = format!("The stream{at} has no plan; it may have ended too early.");
                // A writer that gives the version gives a plan, too.
                match frame.depth {
                    0 if !self.has_version => self.report.has_no_plan(sentence),
                    _ => self.report.lacks(sentence),
                }
            }
            Some(plan) if plan.tests != count => {
                self.report.lacks(format!("The plan{at} is for {} tests, but {count} came.", plan.tests));
            }
            Some(_) => {}
        }
        let mut numbers = frame.numbers.clone();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() < frame.numbers.len() {
            self.report.lacks(format!("Test numbers{at} are repeated."));
        }
        if frame.ends_without_number && !numbers.is_empty() {
            self.report.lacks(format!("The last test{at} has no number, unlike those before it."));
        }
        let is_count = |count: u64, numbers: &[u64]| usize::try_from(count) == Ok(numbers.len());
        let are_all_numbered = is_count(count, &frame.numbers);
        if are_all_numbered && numbers.last().is_some_and(|&highest| !is_count(highest, &numbers)) {
            self.report.lacks(format!("Test numbers{at} are missing."));
        }
    }

    fn ended(&mut self) {
        if self.block.take().is_some() {
            self.report.lacks("The report ends inside a YAML block.".into());
        }
        while !self.outer.is_empty() {
            self.end_inner();
        }
        while let Some(frame) = self.frames.pop() {
            if frame.depth > 0 {
                self.report.lacks("The report ends inside a subtest.".into());
                self.name_unsummed(&frame);
            } else if frame.count == 0 && frame.plan.is_none() {
                self.report.lacks("The report is not TAP: it has neither a plan nor a test line.".into());
                continue;
            }
            self.check(&frame);
        }
    }
}

/// A tab is as wide as a level.
fn unindent(line: &str) -> (usize, &str) {
    let text = line.trim_start_matches([' ', '\t']);
    let space = &line[..line.len() - text.len()];
    (space.bytes().map(|byte| if byte == b'\t' { INDENT } else { 1 }).sum(), text)
}
