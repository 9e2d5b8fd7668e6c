//! Reads what `meson test` prints: a numbered line for each test, and a table of counts.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::tally::{Counts, Runner, Tally, leading_number, seconds};

pub fn is_sign(line: &str) -> bool {
    case(line).is_some_and(|case| verdict(case.word).is_some())
}

#[derive(Default)]
pub struct Meson {
    of: Option<u64>,
    /// The numbers of the tests that have ended.
    ended: std::collections::BTreeSet<u64>,
    table: Option<Table>,
}

#[derive(Default, Clone, Copy)]
struct Table {
    counts: Counts,
    fails: u64,
}

/// `2/8 sample:words / splits FAIL            0.01s   exit status 1`
struct Line<'a> {
    at: u64,
    of: u64,
    name: &'a str,
    word: &'a str,
    ms: Option<u64>,
    detail: &'a str,
}

impl Runner for Meson {
    const UNENDED: &str = "Meson's table of counts is missing; it may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if let Some((word, count)) = counted(line) {
            self.count(word, count, tally);
            return LineFlow::Continue;
        }
        let Some(case) = case(line) else {
            // The command differs in each run.
            if !tally.is_closed() && !["▶ ", ">>> "].iter().any(|begin| line.starts_with(begin)) {
                tally.text(line);
            }
            return LineFlow::Continue;
        };
        if case.word == "RUNNING" {
            tally.end_text();
            return LineFlow::Continue;
        }
        if tally.is_closed() {
            self.end(tally);
            tally.begin();
            (self.of, self.table) = (None, None);
            self.ended.clear();
        }
        // A line of other numbers was printed by a test; the list of failures names them again.
        if case.of != *self.of.get_or_insert(case.of) || case.at > case.of || !self.ended.insert(case.at) {
            tally.end_text();
            return LineFlow::Continue;
        }
        let verdict = verdict(case.word).unwrap_or_else(|| {
            tally.report.unknown_verdict(case.name, case.word);
            Verdict::Unreached
        });
        let then = tally.case(case.name, verdict, case.ms);
        tally.text(case.detail);
        then
    }

    fn ended(&mut self, tally: &mut Tally) {
        self.end(tally);
    }
}

impl Meson {
    /// A line of the table. Newer versions leave out the words of which there are none.
    fn count(&mut self, word: &str, count: u64, tally: &mut Tally) {
        let table = self.table.get_or_insert_default();
        table.counts.total = table.counts.total.saturating_add(count);
        match word {
            "Fail" | "Timeout" => {
                table.counts.bad = table.counts.bad.saturating_add(count);
                table.fails = table.fails.saturating_add(count);
            }
            // A failure to meson, and to us a verdict of its own.
            "Unexpected Pass" => table.fails = table.fails.saturating_add(count),
            "Skipped" => table.counts.skipped = count,
            _ => {}
        }
        tally.close(table.counts);
    }

    /// A run that ends before all its tests, because it was told to after a failure, counts those that it ran.
    fn end(&mut self, tally: &mut Tally) {
        let ran = u64::try_from(self.ended.len()).unwrap_or(u64::MAX);
        let Some((of, table)) = self.of.zip(self.table).filter(|(of, _)| ran < *of) else { return };
        let sentence = format!("Of {of} tests, {} were not run.", of - ran);
        if table.fails > 0 { tally.report.stops(sentence) } else { tally.report.lacks(sentence) }
    }
}

fn case(line: &str) -> Option<Line<'_>> {
    let (at, rest) = leading_number(line.trim_start())?;
    let (of, rest) = leading_number(rest.strip_prefix('/')?)?;
    let rest = rest.strip_prefix(' ')?;
    let (position, word) = rest
        .split(' ')
        .scan(0, |at, word| {
            let begin = *at;
            *at += word.len() + 1;
            Some((begin, word))
        })
        .find(|(at, word)| *at > 0 && is_word(word) && is_end(&rest[at + word.len()..]))?;
    let name = rest[..position].trim_end();
    let behind = rest[position + word.len()..].trim();
    let (time, detail) = behind.split_once(' ').unwrap_or((behind, ""));
    (!name.is_empty()).then(|| Line { at, of, name, word, ms: seconds(time), detail: detail.trim() })
}

fn is_word(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase())
}

/// A time, or the end of the line, stands behind a verdict.
fn is_end(behind: &str) -> bool {
    let time = behind.trim_start().split(' ').next().unwrap_or_default();
    behind.trim().is_empty()
        || behind.starts_with("  ") && time.strip_suffix('s').is_some_and(|time| time.parse::<f64>().is_ok())
        || behind.starts_with(' ') && time.ends_with('s') && time[..time.len() - 1].parse::<f64>().is_ok()
}

fn verdict(word: &str) -> Option<Verdict> {
    match word {
        "OK" => Some(Verdict::Pass),
        "FAIL" | "TIMEOUT" => Some(Verdict::Fail),
        "ERROR" | "INTERRUPT" => Some(Verdict::Error),
        "SKIP" | "IGNORED" => Some(Verdict::Skip),
        "EXPECTEDFAIL" => Some(Verdict::Xfail),
        "UNEXPECTEDPASS" => Some(Verdict::Xpass),
        _ => None,
    }
}

/// `Expected Fail:      1`
fn counted(line: &str) -> Option<(&str, u64)> {
    let (word, count) = line.trim_end().split_once(':')?;
    let is_known =
        ["Ok", "Expected Fail", "Fail", "Unexpected Pass", "Skipped", "Timeout", "Ignored"].contains(&word);
    if is_known && count.starts_with("  ") { Some((word, count.trim().parse().ok()?)) } else { None }
}
