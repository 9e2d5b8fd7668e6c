//! Reads what bats prints on a terminal (`--pretty`). What a failing case printed is indented, and no line of the runner. Its
//! TAP is read as TAP.

use std::io::{self, BufRead};

use protocol::Verdict;

use super::line_reader::{self, LineFlow};
use super::report_builder::ReportBuilder;
use super::tally::{self, Counts, Runner, Tally, leading_number, number_before};
use super::tap;

pub fn is_sign(line: &str) -> bool {
    case(line).is_some_and(|(mark, _)| mark != '-')
}

/// Reads either of its formats: what is not a terminal gets TAP.
pub fn read(input: &mut impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let is_tap = |line: &str| match () {
        () if tap::is_sign(line) => Some(true),
        () => (case(line).is_some() || closing(line).is_some() || file(line).is_some()).then_some(false),
    };
    match line_reader::from_sign(input, is_tap)? {
        (Some(true), input) => tap::read(input, report),
        (Some(false) | None, input) => tally::read(Bats, input, report),
    }
}

struct Bats;

impl Runner for Bats {
    const UNENDED: &str = "The closing line of bats is missing; it may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if let Some(file) = file(line) {
            if tally.is_closed() {
                tally.begin();
            }
            tally.place = Some(file.to_string());
            return LineFlow::Continue;
        }
        if let Some(counted) = closing(line) {
            if tally.is_closed() {
                tally.begin();
            }
            tally.close(counted);
            return LineFlow::Continue;
        }
        if line.contains("# bats warning: ") || line.contains("bats warning: Executed ") {
            tally.report.lacks(format!("Bats says {}.", super::report_builder::quote(line)));
            return LineFlow::Continue;
        }
        let Some((mark, name)) = case(line) else {
            match line.strip_prefix("   ") {
                Some(text) => tally.text(text),
                None => tally.end_text(),
            }
            return LineFlow::Continue;
        };
        let (name, ms) = without_time(name);
        let verdict = match mark {
            '✓' => Verdict::Pass,
            '✗' => Verdict::Fail,
            _ => Verdict::Skip,
        };
        let (name, reason) = match name.rsplit_once(" (skipped") {
            Some((name, rest)) if verdict == Verdict::Skip => {
                (name, Some(rest.trim_start_matches(": ").trim_end_matches(')')))
            }
            _ => (name, None),
        };
        if tally.is_closed() {
            tally.begin();
        }
        let then = tally.case(name, verdict, ms);
        reason.into_iter().for_each(|reason| tally.text(reason));
        then
    }
}

/// `words.bats` alone on its line, before the cases of that file
fn file(line: &str) -> Option<&str> {
    Some(line.trim_end()).filter(|file| file.ends_with(".bats") && !file.starts_with([' ', '#']))
}

/// ` ✓ adds`, on a terminal behind the progress that it wrote over: `   adds 1/4 in 0 sec ✓ adds [6]`.
fn case(line: &str) -> Option<(char, &str)> {
    let marked = |text: &str| {
        let mark = text.strip_prefix(' ')?.chars().next().filter(|c| ['✓', '✗', '-'].contains(c))?;
        Some((mark, mark.len_utf8() + 2))
    };
    if let Some((mark, at)) = marked(line) {
        let name = line.get(at..)?.trim_end();
        let is_case = mark != '-' || name.contains("(skipped");
        return (is_case && line[1 + mark.len_utf8()..].starts_with(' ') && !name.is_empty())
            .then_some((mark, name));
    }
    let progress = line.strip_prefix("   ")?;
    let (at, mark) = progress.char_indices().find(|(at, c)| {
        ['✓', '✗', '-'].contains(c)
            && progress[..*at].ends_with(' ')
            && is_progress(progress[..*at].trim_end())
    })?;
    Some((mark, progress.get(at + mark.len_utf8()..)?.trim()))
}

/// `adds1/4`, or `adds1/4 in 0 sec`: what bats writes while a case runs.
fn is_progress(text: &str) -> bool {
    let text =
        text.strip_suffix(" sec").and_then(|text| text.rsplit_once(" in ")).map_or(text, |(text, _)| text);
    let Some((before, of)) = text.rsplit_once('/') else { return false };
    !of.is_empty() && of.bytes().all(|b| b.is_ascii_digit()) && before.ends_with(|c: char| c.is_ascii_digit())
}

/// `adds [6]`: the time in milliseconds.
fn without_time(name: &str) -> (&str, Option<u64>) {
    let found = name.rsplit_once(" [").and_then(|(name, rest)| {
        let ms = rest.strip_suffix(']')?.parse().ok()?;
        Some((name, Some(ms)))
    });
    found.unwrap_or((name, None))
}

/// `4 tests, 1 failure, 1 skipped in 0 seconds`
fn closing(line: &str) -> Option<Counts> {
    let (total, rest) = leading_number(line)?;
    let rest = rest.strip_prefix(" tests, ").or_else(|| rest.strip_prefix(" test, "))?;
    let bad = number_before(rest, " failure")?;
    Some(Counts { total, bad, skipped: number_before(rest, " skipped").unwrap_or(0) })
}
