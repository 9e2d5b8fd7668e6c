//! Reads what Python's `unittest -v` and Django's runner print: a line for each case, then the failure messages.
//!
//! A case prints where it likes, also between its name and its verdict. Subtests are not cases themselves: the runner
//! reports only those that fail.

use std::collections::HashMap;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::limits::MAX_CASES;
use super::line_reader::{self, LineFlow};
use super::names;
use super::report_builder::{ReportBuilder, ReportMark};
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
        outer: None,
        silent: vec![],
        loose: vec![],
        with_parameter: None,
        seen_bad: false,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    section: Section,
    open: Option<Open>,
    /// Several cases may have one name.
    indices: HashMap<String, Vec<usize>>,
    totals: Totals,
    behind_rule: bool,
    is_over: bool,
    /// The case that was running when another one began or a run ended: perhaps it runs tests itself.
    outer: Option<Outer>,
    /// Cases of which no verdict was read. The failure messages may give it.
    silent: Vec<usize>,
    /// Lines that look like cases without a class. The count at the end shows whether they are.
    loose: Vec<(String, Verdict)>,
    /// The name of a case with a parameter, whose next line has that.
    with_parameter: Option<String>,
    /// Whether a case of this run is bad.
    seen_bad: bool,
}

/// A case whose output may be the output of another run.
struct Outer {
    index: usize,
    name: String,
    /// The counts before the other run.
    totals: Totals,
    silent: usize,
    loose: usize,
    /// After the case itself.
    mark: ReportMark,
    /// Whether a run has ended since.
    has_ended: bool,
}

enum Section {
    Cases,
    /// After a rule of `=`: the case whose failure message follows.
    Title(Option<Title>),
    /// The failure message of this case; none if the message is not stored.
    Text(Option<usize>),
}

/// The first line of a failure message.
struct Title {
    verdict: Verdict,
    /// None if only the description in the next line has it.
    name: Option<String>,
}

/// A case that has begun and has no verdict yet.
struct Open {
    name: String,
    /// The worst of its subtests.
    inner: Option<Verdict>,
    /// How its last line ended: perhaps that is its verdict, after what it printed.
    possible: Option<Verdict>,
    /// The first line of its description.
    description: Option<String>,
    /// Whether a line followed that of its name.
    has_more: bool,
}

/// How many cases a runner counts at its end, against how many it named.
#[derive(Default, Clone)]
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

    /// How many cases have no name.
    pub fn unnamed(&self) -> u64 {
        self.count.unwrap_or(0).saturating_sub(self.named)
    }

    /// The run is over; the next one starts with new counts.
    pub fn settle(&mut self, skipped: u64, report: &mut ReportBuilder) {
        let unnamed = self.unnamed();
        report.ran_unnamed(unnamed.saturating_sub(skipped.saturating_sub(self.skips)));
        *self = Totals::default();
    }
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        let behind_rule = std::mem::replace(&mut self.behind_rule, is_rule(line, '-'));
        if is_rule(line, '=') {
            self.section = Section::Title(None);
            return self.suspend();
        }
        if behind_rule && let Some(count) = total(line) {
            self.totals.count = Some(count);
            self.section = Section::Cases;
            return LineFlow::Continue;
        }
        if let Some(skipped) = self.totals.skipped(line) {
            return self.over(line, skipped);
        }
        match &self.section {
            Section::Cases if self.behind_rule => self.suspend(),
            Section::Cases => self.case(line),
            Section::Title(_) => self.in_title(Some(line).filter(|_| !self.behind_rule)),
            // The rule below the title, or the one that ends the last message.
            Section::Text(_) if self.behind_rule => LineFlow::Continue,
            Section::Text(Some(index)) => {
                self.report.add_text(*index, line);
                LineFlow::Continue
            }
            Section::Text(None) => LineFlow::Continue,
        }
    }

    /// The last line of a run.
    fn over(&mut self, line: &str, skipped: u64) -> LineFlow {
        // Without its outer case, the count is that of the runner.
        let loose = std::mem::take(&mut self.loose);
        if loose.len() as u64 == self.totals.unnamed() {
            for (name, verdict) in loose {
                if self.push(&name, verdict).is_none() {
                    return LineFlow::Stop;
                }
            }
        }
        let counts_bad = ["failures=", "errors="].iter().any(|word| line.contains(word));
        if line.starts_with("FAILED") && !self.seen_bad && (counts_bad || !line.contains('(')) {
            self.report.hides_failures(1);
        }
        self.outer = self.outer.take().filter(|outer| {
            // A verdict that came meanwhile is its own, and a count of all cases is that of the run itself.
            let since = self.totals.named.saturating_sub(outer.totals.named);
            let is_of_run = !outer.has_ended && self.totals.count == Some(self.totals.named) && since > 1;
            self.report.case(outer.index).verdict == Verdict::Unreached && !is_of_run
        });
        self.totals.settle(skipped, self.report);
        (self.is_over, self.seen_bad) = (true, false);
        self.indices.clear();
        if let Some(outer) = &mut self.outer {
            outer.has_ended = true;
        }
        LineFlow::Continue
    }

    /// Before Python 3.11 a case whose subtest failed has no verdict of its own, and the next one begins on its line.
    fn case(&mut self, mut line: &str) -> LineFlow {
        while let Some((name, next)) = swallowed(line) {
            if let LineFlow::Stop = self.close() {
                return LineFlow::Stop;
            }
            self.begin(name);
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
                if let LineFlow::Stop = self.suspend() {
                    return LineFlow::Stop;
                }
                self.begin(name);
                match rest.strip_prefix(" ... ") {
                    Some(outcome) => self.outcome(outcome),
                    None => LineFlow::Continue,
                }
            }
            (None, Some(_)) if parameterized(line).is_some() => match self.suspend() {
                LineFlow::Continue => self.without_title(line),
                LineFlow::Stop => LineFlow::Stop,
            },
            (Some(_) | None, Some(open)) => match line.rsplit_once(" ... ") {
                Some((before, outcome)) => {
                    // The first line behind the name is the description, if it has the verdict.
                    if !open.has_more {
                        open.description = Some(before.to_string());
                    }
                    self.outcome(outcome)
                }
                None => self.outcome(line),
            },
            (Some(_) | None, None) => self.without_title(line),
        }
    }

    fn begin(&mut self, name: String) {
        self.with_parameter = None;
        self.open = Some(Open { name, inner: None, possible: None, description: None, has_more: false });
    }

    /// A line while no case runs: the verdict of a case that ran tests itself, or a case without a class.
    fn without_title(&mut self, line: &str) -> LineFlow {
        if let Some(name) = self.with_parameter.take() {
            if let Some((_, word)) = line.rsplit_once(" ... ") {
                let verdict = verdict(word).unwrap_or_else(|| {
                    self.report.unknown_verdict(&name, word);
                    Verdict::Unreached
                });
                return if self.push(&name, verdict).is_some() { LineFlow::Continue } else { LineFlow::Stop };
            }
            self.with_parameter =
                line.rsplit_once(" (").and_then(|(_, name)| parameterized(name)).map(str::to_string);
            return LineFlow::Continue;
        }
        if let Some(name) = parameterized(line) {
            self.with_parameter = Some(name.to_string());
            return LineFlow::Continue;
        }
        if let Some(verdict) = bare(line)
            && self.outer.as_ref().is_some_and(|outer| outer.has_ended)
            && let Some(outer) = self.outer.take()
        {
            return self.resume(outer, verdict);
        }
        let Some((name, verdict)) =
            line.rsplit_once(" ... ").and_then(|(name, word)| Some((name, verdict(word)?)))
        else {
            return LineFlow::Continue;
        };
        if line.starts_with(' ') {
            return LineFlow::Continue;
        }
        match doctest(name).or_else(|| dotted(name)) {
            Some(name) => match self.push(name, verdict) {
                Some(_) => LineFlow::Continue,
                None => LineFlow::Stop,
            },
            None => {
                if self.loose.len() < MAX_CASES {
                    self.loose.push((name.to_string(), verdict));
                }
                LineFlow::Continue
            }
        }
    }

    /// Another case begins, or a run ends, while a case has no verdict: its verdict is lost, or it runs tests itself. What
    /// follows the end of that run decides.
    fn suspend(&mut self) -> LineFlow {
        let Some(open) = self.open.as_ref().filter(|open| open.inner.or(open.possible).is_none()) else {
            return self.close();
        };
        let name = open.name.clone();
        let totals = self.totals.clone();
        let then = self.close();
        let index = self.indices.get(&tidy(&name)).and_then(|of_name| of_name.last().copied());
        if self.outer.as_ref().is_none_or(|outer| outer.has_ended)
            && let Some(index) = index
        {
            let (silent, loose) = (self.silent.len() - 1, self.loose.len());
            let mark = self.report.mark();
            self.outer = Some(Outer { index, name, totals, silent, loose, mark, has_ended: false });
        }
        then
    }

    /// The case goes on behind the end of a run: that was its own, and its cases are none of this one's.
    fn resume(&mut self, outer: Outer, verdict: Verdict) -> LineFlow {
        self.report.back_to(outer.mark);
        for of_name in self.indices.values_mut() {
            of_name.retain(|index| *index < outer.index);
        }
        self.indices.entry(tidy(&outer.name)).or_default().push(outer.index);
        self.silent.truncate(outer.silent);
        self.loose.truncate(outer.loose);
        self.report.case(outer.index).verdict = verdict;
        self.totals = outer.totals;
        self.totals.named(verdict);
        (self.section, self.is_over) = (Section::Cases, false);
        self.seen_bad |= verdict.is_bad();
        LineFlow::Continue
    }

    fn outcome(&mut self, outcome: &str) -> LineFlow {
        let Some(open) = &mut self.open else { return LineFlow::Continue };
        open.has_more = true;
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

    /// The runner went on. Whether a case without a verdict was bad, the failure messages show.
    fn close(&mut self) -> LineFlow {
        self.close_with(None)
    }

    fn close_with(&mut self, reason: Option<String>) -> LineFlow {
        let Some(open) = self.open.take() else { return LineFlow::Continue };
        let verdict = open.inner.or(open.possible);
        let index = self.push(&open.name, verdict.unwrap_or(Verdict::Unreached));
        if let Some(index) = index {
            if verdict.is_none() {
                self.silent.push(index);
            }
            if let Some(reason) = reason {
                self.report.add_text(index, &reason);
            }
            self.report.case(index).places.extend(open.description);
        }
        if index.is_some() { LineFlow::Continue } else { LineFlow::Stop }
    }

    fn push(&mut self, name: &str, verdict: Verdict) -> Option<usize> {
        // The set-up of a class or module is not counted as a case.
        if !names::is_of_set_up(name) || name.contains("_FailedTest") || name.contains("ModuleImportFailure")
        {
            self.totals.named(verdict);
        }
        self.seen_bad |= verdict.is_bad();
        let index = self.report.push(name, verdict, None)?;
        self.indices.entry(tidy(name)).or_default().push(index);
        Some(index)
    }

    /// `FAIL: test_adds (prices.Prices.test_adds) (n=1)`, and below it the case's description. No line is a rule.
    fn in_title(&mut self, line: Option<&str>) -> LineFlow {
        let Section::Title(found) = &mut self.section else { return LineFlow::Continue };
        let Some(found) = found.take() else {
            self.section = match line {
                Some(line) => Section::Title(failed_title(line)),
                None => Section::Text(None),
            };
            return LineFlow::Continue;
        };
        self.seen_bad |= found.verdict.is_bad();
        let of_method = line.and_then(|line| parameterized(line.rsplit_once(" (")?.1)).map(str::to_string);
        let name = of_method.or(found.name).or_else(|| line.and_then(doctest).map(str::to_string));
        let Some(name) = name else {
            self.section = Section::Text(None);
            return LineFlow::Continue;
        };
        let index = match self.bearer(&name, found.verdict, line) {
            Some(index) => {
                self.report.worsen(index, found.verdict);
                Some(index)
            }
            None => {
                if self.indices.is_empty() {
                    self.report.names_failures_alone();
                }
                self.push(&name, found.verdict)
            }
        };
        self.section = Section::Text(index);
        if index.is_some() { LineFlow::Continue } else { LineFlow::Stop }
    }

    /// The case of this name that a failure message is about: the one with that description, or else one that is bad.
    fn bearer(&mut self, name: &str, verdict: Verdict, description: Option<&str>) -> Option<usize> {
        let of_name = self.indices.get(name)?;
        let described = of_name.iter().rev().copied().find(|&index| {
            description.is_some_and(|words| self.report.case(index).places.iter().any(|place| place == words))
        });
        let bad = || of_name.iter().copied().find(|&index| self.report.case(index).verdict == verdict);
        described.or_else(bad).or_else(|| of_name.last().copied())
    }

    fn ended(&mut self) {
        if !self.is_over {
            self.report.lacks("The runner's last line is missing; it may have ended too early.".into());
        }
        for index in std::mem::take(&mut self.silent) {
            let case = self.report.case(index);
            if case.verdict == Verdict::Unreached {
                let name = case.name.clone();
                self.report.unknown_verdict(&name, "nothing that is known");
            }
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

fn failed_title(line: &str) -> Option<Title> {
    let (word, rest) = line.split_once(": ")?;
    let verdict = match word {
        "FAIL" => Verdict::Fail,
        "ERROR" => Verdict::Error,
        "UNEXPECTED SUCCESS" => Verdict::Xpass,
        _ => return None,
    };
    let name = title(rest).map(|(name, _)| name);
    let other = || doctest(rest).or_else(|| dotted(rest)).or_else(|| parameterized(rest)).map(str::to_string);
    Some(Title { verdict, name: name.or_else(other) })
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

/// `Doctest: words.txt`, as a doctest describes itself.
fn doctest(line: &str) -> Option<&str> {
    line.strip_prefix("Doctest: ").map(str::trim).filter(|name| !name.is_empty())
}

/// `tests.test_prices.test_adds` or `tests.test_prices.test_adds(1, 2)`, as nose names a function.
fn dotted(name: &str) -> Option<&str> {
    let path = name.split('(').next()?;
    let is_closed = path.len() == name.len() || name.ends_with(')');
    let is_path = path.contains('.') && path.chars().all(|c| c.is_alphanumeric() || "_.".contains(c));
    (is_closed && is_path && !path.starts_with('.') && !path.ends_with('.')).then_some(name)
}

/// `tests.test_prices.test_adds:1`, as nose2 names a case with a parameter, which is in the next line.
fn parameterized(name: &str) -> Option<&str> {
    let name = name.trim_end();
    let (path, number) = name.rsplit_once(':')?;
    let is_path = path.chars().all(|c| c.is_alphanumeric() || "_.".contains(c));
    let is_test = path.rsplit('.').next().is_some_and(|test| test.starts_with("test"));
    (is_path && is_test && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

/// The verdict of a line of nothing else.
fn bare(line: &str) -> Option<Verdict> {
    if line.starts_with(' ') { None } else { verdict(line) }
}

fn verdict(outcome: &str) -> Option<Verdict> {
    match outcome.trim_end() {
        "ok" => Some(Verdict::Pass),
        "FAIL" => Some(Verdict::Fail),
        "ERROR" => Some(Verdict::Error),
        "expected failure" => Some(Verdict::Xfail),
        "unexpected success" => Some(Verdict::Xpass),
        // Nose2 gives the reason without quotes.
        outcome if outcome == "skipped" || outcome.starts_with("skipped ") => Some(Verdict::Skip),
        outcome if outcome == "SKIP" || outcome.starts_with("SKIP: ") => Some(Verdict::Skip),
        _ => None,
    }
}
