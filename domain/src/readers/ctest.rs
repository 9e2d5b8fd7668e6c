//! Reads what ctest prints: a numbered line for each test. What a test prints, `-V` marks with its number.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::tally::{Counts, Runner, Tally, leading_number, seconds};

pub fn is_sign(line: &str) -> bool {
    line.starts_with("Test project /") || case(line).is_some_and(|case| case.of > 0)
}

#[derive(Default)]
pub struct Ctest {
    /// How many tests have ended, of how many.
    progress: Option<(u64, u64)>,
    is_inner: bool,
    disabled: u64,
}

/// `2/8 Test #2: words.splits ....***Failed    0.00 sec`
struct Line<'a> {
    at: u64,
    /// Zero where a test runs again.
    of: u64,
    name: &'a str,
    word: &'a str,
    ms: Option<u64>,
}

impl Runner for Ctest {
    const UNENDED: &str = "The closing line of ctest is missing; it may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if self.is_inner {
            self.is_inner = closing(line).is_none();
            return LineFlow::Continue;
        }
        if line.starts_with("Test project /") {
            self.is_inner = tally.is_open();
            if !self.is_inner {
                tally.begin();
                *self = Ctest::default();
            }
        } else if line.starts_with("No tests were found!!!") {
            tally.close(Counts::default());
        } else if let Some((bad, total)) = closing(line) {
            self.close(bad, total, tally);
        } else if let Some(case) = case(line).filter(|_| !tally.is_closed()) {
            return self.case(&case, tally);
        } else if line.starts_with("    Start ") || line.starts_with("test ") {
            tally.end_text();
        } else if !tally.is_closed() {
            tally.text(line);
        }
        LineFlow::Continue
    }
}

impl Ctest {
    fn case(&mut self, case: &Line, tally: &mut Tally) -> LineFlow {
        let verdict = verdict(case.word);
        if case.of == 0 {
            // It ran again, and its last end counts.
            if let (Some(index), Some(verdict)) = (tally.index(case.name), verdict) {
                tally.replace(index, verdict);
            }
            return LineFlow::Continue;
        }
        let expected = self.progress.map_or((1, case.of), |(at, of)| (at + 1, of));
        // Another number was printed by a test.
        if (case.at, case.of) != expected {
            tally.text(case.name);
            return LineFlow::Continue;
        }
        self.progress = Some(expected);
        self.disabled += u64::from(case.word.contains("(Disabled)"));
        let verdict = verdict.unwrap_or_else(|| {
            tally.report.unknown_verdict(case.name, case.word);
            Verdict::Unreached
        });
        let then = tally.case(case.name, verdict, case.ms);
        if verdict.is_bad() {
            tally.text(case.word);
        }
        then
    }

    /// A disabled test is not counted.
    fn close(&mut self, bad: u64, total: u64, tally: &mut Tally) {
        if tally.is_closed() {
            tally.begin();
        }
        let total = total.saturating_add(std::mem::take(&mut self.disabled));
        let skipped = tally.named().skipped;
        if let Some((at, of)) = self.progress.take()
            && at < of
        {
            let sentence = format!("Of {of} tests, {} were not run.", of - at);
            // Told to stop after a failure, it counts those that it ran.
            if at == total && bad > 0 { tally.report.stops(sentence) } else { tally.report.lacks(sentence) }
        }
        tally.close(Counts { total, bad, skipped });
    }
}

fn case(line: &str) -> Option<Line<'_>> {
    let text = line.trim_start();
    let (at, of, rest) = match leading_number(text).filter(|(_, rest)| rest.starts_with('/')) {
        Some((at, rest)) => {
            let (of, rest) = leading_number(&rest[1..])?;
            (at, of, rest.trim_start())
        }
        None => (0, 0, text),
    };
    let (_, rest) = leading_number(rest.strip_prefix("Test")?.trim_start().strip_prefix('#')?)?;
    let rest = rest.strip_prefix(": ")?;
    let (rest, time) = rest.trim_end().strip_suffix(" sec")?.rsplit_once(' ')?;
    let rest = rest.trim_end();
    let (name, word) = match rest.rsplit_once("***") {
        Some((name, word)) => (name, word),
        None => (rest.strip_suffix("Passed")?, "Passed"),
    };
    let name = name.trim_end().trim_end_matches('.').trim_end();
    (!name.is_empty()).then(|| Line { at, of, name, word: word.trim(), ms: seconds(time) })
}

fn verdict(word: &str) -> Option<Verdict> {
    match word {
        "Passed" => Some(Verdict::Pass),
        "Skipped" | "Not Run (Disabled)" => Some(Verdict::Skip),
        word if word.starts_with("Failed") || word == "Timeout" => Some(Verdict::Fail),
        word if word.starts_with("Exception: ") || word == "Not Run" || word == "Bad command" => {
            Some(Verdict::Error)
        }
        _ => None,
    }
}

/// `43% tests passed, 4 tests failed out of 7`: how many failed, and of how many.
fn closing(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = leading_number(line)?;
    let (bad, rest) = leading_number(rest.strip_prefix("% tests passed, ")?)?;
    let rest =
        rest.strip_prefix(" tests failed out of ").or_else(|| rest.strip_prefix(" test failed out of "))?;
    Some((bad, leading_number(rest)?.0))
}
