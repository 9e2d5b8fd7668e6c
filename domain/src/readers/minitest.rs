//! Reads what minitest prints: with `-v` each case by name, and its verdict after what it printed; without it only the
//! failures.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::tally::{Counts, Runner, Tally, leading_number, number_before, seconds};

pub fn is_sign(line: &str) -> bool {
    line.trim_end() == RUNNING || closing(line).is_some()
}

const RUNNING: &str = "# Running:";

#[derive(Default)]
pub struct Minitest {
    open: Option<Open>,
    /// Whether a run within a case is not over.
    is_inner: bool,
    /// Whether the run names no cases: then such a line was printed by one.
    is_quiet: bool,
    /// The verdict of the failure whose name is in the next line.
    next: Option<Verdict>,
}

struct Open {
    name: String,
    /// How its last line ended: perhaps that is its verdict, behind what it printed.
    possible: Option<(Verdict, Option<u64>)>,
}

impl Runner for Minitest {
    const UNENDED: &str = "The closing line of minitest is missing; it may have ended too early.";
    const IS_SURE: bool = false;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if self.is_inner {
            self.is_inner = closing(line).is_none();
            return LineFlow::Continue;
        }
        if let Some(options) = line.strip_prefix("Run options: ").filter(|_| !tally.is_open()) {
            self.is_quiet = !options.split(' ').any(|option| option == "-v" || option == "--verbose");
            return LineFlow::Continue;
        }
        if line.trim_end() == RUNNING {
            self.is_inner = tally.is_open() && (self.open.is_some() || tally.named().total > 0);
            if !self.is_inner {
                tally.begin();
            }
            return LineFlow::Continue;
        }
        if let Some(counted) = closing(line) {
            if tally.is_closed() {
                tally.begin();
            }
            tally.close(counted);
            return LineFlow::Continue;
        }
        if tally.is_closed() {
            return LineFlow::Continue;
        }
        if let Some(verdict) = self.next.take() {
            let name = line.split_once(" [").map_or(line, |(name, _)| name).trim().trim_end_matches(':');
            return if verdict.is_bad() { tally.listed(name, verdict) } else { skip(name, tally) };
        }
        if line.starts_with("Finished in ") {
            return self.close(tally);
        }
        if let Some(verdict) = numbered(line) {
            self.next = Some(verdict);
            tally.end_text();
            return LineFlow::Continue;
        }
        self.case(line, tally)
    }

    fn ended(&mut self, tally: &mut Tally) {
        if !tally.is_closed()
            && let Some(open) = self.open.take()
        {
            tally.report.ends_within([open.name]);
        }
    }
}

impl Minitest {
    fn case(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if let Some(open) = &mut self.open {
            match end(line) {
                Some((true, word, ms)) => {
                    let name = std::mem::take(&mut open.name);
                    self.open = None;
                    return give(&name, word, ms, tally);
                }
                Some((false, word, ms)) => open.possible = verdict(word).map(|verdict| (verdict, ms)),
                None => {}
            }
            if begin(line).is_none() || self.open.as_ref().is_some_and(|open| open.possible.is_none()) {
                return LineFlow::Continue;
            }
        }
        let Some((name, rest)) = begin(line).filter(|_| !self.is_quiet) else {
            tally.text(line);
            return LineFlow::Continue;
        };
        if let LineFlow::Stop = self.close(tally) {
            return LineFlow::Stop;
        }
        match end(rest) {
            Some((true, word, ms)) => give(name, word, ms, tally),
            found => {
                let possible = found.and_then(|(_, word, ms)| Some((verdict(word)?, ms)));
                self.open = Some(Open { name: name.to_string(), possible });
                LineFlow::Continue
            }
        }
    }

    /// The runner went on.
    fn close(&mut self, tally: &mut Tally) -> LineFlow {
        match self.open.take() {
            Some(Open { name, possible: Some((verdict, ms)) }) => tally.case(&name, verdict, ms),
            Some(Open { name, possible: None }) => {
                tally.report.unknown_verdict(&name, "nothing that is known");
                tally.case(&name, Verdict::Unreached, None)
            }
            None => LineFlow::Continue,
        }
    }
}

/// The list has the reason of a skip, too; a run without names has no use for it.
fn skip(name: &str, tally: &mut Tally) -> LineFlow {
    match tally.index(name) {
        Some(_) => tally.listed(name, Verdict::Skip),
        None => LineFlow::Continue,
    }
}

fn give(name: &str, word: &str, ms: Option<u64>, tally: &mut Tally) -> LineFlow {
    let verdict = verdict(word).unwrap_or_else(|| {
        tally.report.unknown_verdict(name, word);
        Verdict::Unreached
    });
    let then = tally.case(name, verdict, ms);
    tally.end_text();
    then
}

/// `TestWords#test_splits = 0.00 s = F`: the name, and what follows it.
fn begin(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" = ")?;
    let (class, test) = name.split_once('#')?;
    let is_name =
        class.starts_with(|c: char| c.is_uppercase()) && !class.contains(' ') && test.starts_with("test");
    is_name.then_some((name, rest))
}

/// `0.00 s = F`: whether it is all of the line, the word, and the time.
fn end(line: &str) -> Option<(bool, &str, Option<u64>)> {
    let (before, word) = line.trim_end().rsplit_once(" s = ")?;
    let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let time = &before[before.len() - digits..];
    (time.contains('.') && !word.contains(' ')).then(|| (digits == before.len(), word, seconds(time)))
}

fn verdict(word: &str) -> Option<Verdict> {
    match word {
        "." => Some(Verdict::Pass),
        "F" => Some(Verdict::Fail),
        "E" => Some(Verdict::Error),
        "S" => Some(Verdict::Skip),
        _ => None,
    }
}

/// `  1) Failure:`
fn numbered(line: &str) -> Option<Verdict> {
    let (_, rest) = leading_number(line.trim_start())?;
    match rest.strip_prefix(") ")?.trim_end() {
        "Failure:" => Some(Verdict::Fail),
        "Error:" => Some(Verdict::Error),
        "Skipped:" => Some(Verdict::Skip),
        _ => None,
    }
}

/// `4 runs, 2 assertions, 1 failures, 1 errors, 1 skips`
fn closing(line: &str) -> Option<Counts> {
    let (total, rest) = leading_number(line)?;
    let rest = rest.strip_prefix(" runs, ").or_else(|| rest.strip_prefix(" tests, "))?;
    let of = |word: &str| number_before(rest, word);
    of(" assertions")?;
    Some(Counts {
        total,
        bad: of(" failures")?.checked_add(of(" errors")?)?,
        skipped: of(" skips").unwrap_or(0),
    })
}
