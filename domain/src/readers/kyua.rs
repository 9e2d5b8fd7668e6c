//! Reads what `kyua test` prints: a line for each case, which prints nothing itself.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::tally::{Counts, Runner, Tally, leading_number, seconds};

pub fn is_sign(line: &str) -> bool {
    case(line).is_some_and(|(name, word, _)| verdict(word).is_some() && name.contains(':'))
}

#[derive(Default)]
pub struct Kyua;

impl Runner for Kyua {
    const UNENDED: &str = "Kyua's closing line is missing; it may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if let Some((good, total)) = closing(line) {
            if tally.is_closed() {
                tally.begin();
            }
            let skipped = tally.named().skipped;
            tally.close(Counts { total, bad: total.saturating_sub(good), skipped });
            return LineFlow::Continue;
        }
        let Some((name, rest, ms)) = case(line) else { return LineFlow::Continue };
        if tally.is_closed() {
            tally.begin();
        }
        let (word, reason) = rest.split_once(": ").unwrap_or((rest, ""));
        let verdict = verdict(rest).unwrap_or_else(|| {
            tally.report.unknown_verdict(name, word);
            Verdict::Unreached
        });
        let then = tally.case(name, verdict, ms);
        tally.text(reason);
        tally.end_text();
        then
    }
}

/// `words:splits  ->  failed: 1 != 2  [0.010s]`
fn case(line: &str) -> Option<(&str, &str, Option<u64>)> {
    let (name, rest) = line.split_once("  ->  ")?;
    let (rest, time) = rest.trim_end().rsplit_once("  [")?;
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace) && time.ends_with("s]");
    is_name.then(|| (name, rest, seconds(time)))
}

fn verdict(word: &str) -> Option<Verdict> {
    match word.split(':').next()? {
        "passed" => Some(Verdict::Pass),
        "failed" => Some(Verdict::Fail),
        "broken" => Some(Verdict::Error),
        "skipped" => Some(Verdict::Skip),
        "expected_failure" => Some(Verdict::Xfail),
        _ => None,
    }
}

/// `4/6 passed (2 failed)`, or `4/6 passed (1 broken, 1 failed, 0 skipped)`: those that are not passed are bad, but that
/// newer versions count the skips apart.
fn closing(line: &str) -> Option<(u64, u64)> {
    let (good, rest) = leading_number(line)?;
    let (total, rest) = leading_number(rest.strip_prefix('/')?)?;
    let counts = rest.strip_prefix(" passed (")?;
    let skipped = super::tally::number_before(counts, " skipped").unwrap_or(0);
    let failed = super::tally::number_before(counts, " failed").unwrap_or(0);
    let broken = super::tally::number_before(counts, " broken").unwrap_or(0);
    let is_counted_apart = good.checked_add(skipped)?.checked_add(failed)?.checked_add(broken)? == total;
    Some((if is_counted_apart { good + skipped } else { good }, total))
}
