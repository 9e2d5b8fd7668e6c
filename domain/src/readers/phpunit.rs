//! Reads what PHPUnit prints: with `--testdox` each case, without it only the failures.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::tally::{Counts, Runner, Tally, leading_number, number_behind};

pub fn is_sign(line: &str) -> bool {
    line.strip_prefix("PHPUnit ").is_some_and(|rest| rest.contains(" by Sebastian Bergmann"))
}

#[derive(Default)]
pub struct Phpunit {
    /// The class of the next cases.
    class: String,
    part: Part,
    /// Whether a run within a case is not over.
    is_inner: bool,
    is_testdox: bool,
    /// The verdict of the listed cases; none for those that passed.
    list: Option<Verdict>,
    /// How many cases have run, of how many.
    progress: Option<(u64, u64)>,
}

#[derive(Default, PartialEq, Eq)]
enum Part {
    #[default]
    Cases,
    /// After the line with the time.
    Lists,
}

impl Runner for Phpunit {
    const UNENDED: &str = "PHPUnit's closing line is missing; it may have ended too early.";
    const IS_SURE: bool = false;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if self.is_inner {
            self.is_inner = closing(line).is_none();
            return LineFlow::Continue;
        }
        if is_sign(line) {
            self.is_inner = tally.is_open();
            if !self.is_inner {
                tally.begin();
                *self = Phpunit::default();
            }
            return LineFlow::Continue;
        }
        if let Some(counted) = closing(line) {
            if tally.is_closed() {
                tally.begin();
            }
            let is_cut = self.progress.take().is_some_and(|(ran, of)| ran < of && ran == counted.total);
            if is_cut && counted.bad > 0 {
                tally.report.stops(
                    "PHPUnit was told to stop after a failure; its later cases were not reached.".into(),
                );
            }
            tally.close(counted);
            return LineFlow::Continue;
        }
        if tally.is_closed() {
            return LineFlow::Continue;
        }
        if line.starts_with("Time: ") {
            self.part = Part::Lists;
            tally.end_text();
            return LineFlow::Continue;
        }
        match self.part {
            Part::Cases => self.case(line, tally),
            Part::Lists => self.in_list(line, tally),
        }
    }
}

impl Phpunit {
    fn case(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        self.progress = progress(line).or(self.progress);
        if let Some(text) = line.trim_start().strip_prefix(['│', '┐', '├', '┴', '┊', '╵', '╷'])
        {
            tally.text(text.trim());
            return LineFlow::Continue;
        }
        let Some((mark, name)) = line.strip_prefix(' ').and_then(|rest| rest.split_once(' ')) else {
            let is_class = line.starts_with(|c: char| c.is_alphabetic());
            if is_class {
                self.class = line.trim_end().to_string();
            }
            return LineFlow::Continue;
        };
        let verdict = match mark {
            // Risky or with a warning: it passed, unless its closing line counts it as a failure.
            "✔" | "☢" | "⚠" => Verdict::Pass,
            "✘" => Verdict::Fail,
            "↩" | "∅" | "S" | "I" => Verdict::Skip,
            _ => return LineFlow::Continue,
        };
        self.is_testdox = true;
        let name = without_time(name.trim_end());
        let name = if self.class.is_empty() { name.to_string() } else { format!("{} > {name}", self.class) };
        tally.case(&name, verdict, None)
    }

    /// `1) WordsTest::testSplits`, and the message below it.
    fn in_list(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if line.starts_with("There was ") || line.starts_with("There were ") {
            let is = |word: &str| line.contains(word);
            self.list = match () {
                () if is(" failure") => Some(Verdict::Fail),
                () if is(" error") => Some(Verdict::Error),
                () => None,
            };
            tally.end_text();
            return LineFlow::Continue;
        }
        let numbered = leading_number(line).and_then(|(_, rest)| rest.strip_prefix(") "));
        match (numbered.filter(|name| name.contains("::")), self.list) {
            (Some(_), None) => tally.end_text(),
            (Some(_), Some(_)) if self.is_testdox => tally.end_text(),
            (Some(name), Some(verdict)) => return tally.listed(without_arguments(name.trim_end()), verdict),
            (None, _) => tally.text(line),
        }
        LineFlow::Continue
    }
}

/// `Tests: 8, Assertions: 4, Errors: 1, Failures: 2, Skipped: 1.`, `OK (8 tests, 9 assertions)`
fn closing(line: &str) -> Option<Counts> {
    if line.starts_with("No tests executed!") {
        return Some(Counts::default());
    }
    if let Some(rest) = line.strip_prefix("OK (") {
        let (total, rest) = leading_number(rest)?;
        return rest.starts_with(" test").then_some(Counts { total, bad: 0, skipped: 0 });
    }
    let rest = line.strip_prefix("Tests: ")?;
    let (total, rest) = leading_number(rest)?;
    rest.trim_end().strip_suffix('.')?;
    let of = |word: &str| number_behind(rest, word).unwrap_or(0);
    let bad = of(", Failures:").checked_add(of(", Errors:"))?;
    Some(Counts { total, bad, skipped: of(", Skipped:").checked_add(of(", Incomplete:"))? })
}

/// `..F  3 / 8 ( 37%)`
fn progress(line: &str) -> Option<(u64, u64)> {
    let (before, behind) = line.trim_end().strip_suffix("%)")?.rsplit_once(" / ")?;
    let ran = before.rsplit(' ').next()?.parse().ok()?;
    let (of, behind) = leading_number(behind)?;
    behind.starts_with(" (").then_some((ran, of))
}

/// `WordsTest::testEven with data set "three" (3)`: the arguments may be long, or differ in each run.
fn without_arguments(name: &str) -> &str {
    let Some(at) = name.find(" with data set ") else { return name };
    let set = &name[at + " with data set ".len()..];
    let length = match set.strip_prefix('"') {
        Some(rest) => rest.find("\" (").map(|at| at + 2),
        None => set.find(" ("),
    };
    length.map_or(name, |length| &name[..at + " with data set ".len() + length])
}

/// `Joins [0.12 ms]`
fn without_time(name: &str) -> &str {
    name.rsplit_once(" [").filter(|(_, time)| time.ends_with(" ms]")).map_or(name, |(name, _)| name)
}
