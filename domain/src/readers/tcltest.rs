//! Reads what Tcl's tcltest prints: with `-verbose` of `pass` and `skip` each case, else only the failures.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::tally::{Counts, RunTally, Runner, number_behind};

pub fn is_sign(line: &str) -> bool {
    closing(line).is_some() || passed(line).is_some()
}

#[derive(Default)]
pub struct Tcltest {
    /// The case whose failure message is being read.
    open: Option<String>,
    has_files: bool,
    /// Whether each case is named when it begins: tcltest was asked for that.
    names_passes: bool,
}

impl Runner for Tcltest {
    const UNENDED: &str = "The line with tcltest's counts is missing; it may have ended too early.";
    const IS_SURE: bool = false;

    fn on(&mut self, line: &str, tally: &mut RunTally) -> LineFlow {
        let text = line.trim_end();
        if let Some(open) = &self.open {
            if text == format!("==== {open} FAILED") {
                self.open = None;
                tally.end_text();
            } else if !text.starts_with("==== ") {
                tally.text(line);
            }
            return LineFlow::Continue;
        }
        self.names_passes |= text.starts_with("---- ") && text.ends_with(" start");
        if text.starts_with("Test file error: ") || text == "Test files exiting with errors:" {
            tally.report.lacks("A file of tests ended with an error.".into());
        } else if let Some(counted) = closing(text) {
            if tally.is_closed() {
                tally.begin();
            }
            tally.place = None;
            tally.close(counted);
        } else if text.starts_with("Tests running in interp: ") {
            self.has_files = true;
        } else if self.has_files && is_file(text) {
            tally.place = Some(text.to_string());
        } else if let Some(name) = passed(text) {
            return case(name, Verdict::Pass, tally);
        } else if let Some((name, why)) =
            text.strip_prefix("++++ ").and_then(|rest| rest.split_once(" SKIPPED: "))
        {
            let then = case(name, Verdict::Skip, tally);
            tally.text(why);
            tally.end_text();
            return then;
        } else if let Some(rest) = text.strip_prefix("==== ").and_then(|rest| rest.strip_suffix(" FAILED")) {
            let (name, _) = rest.split_once(' ').unwrap_or((rest, ""));
            if tally.is_closed() {
                tally.begin();
            }
            let then = match self.names_passes {
                true => tally.case(name, Verdict::Fail, None),
                false => tally.only_listed(name, Verdict::Fail),
            };
            self.open = Some(name.to_string());
            return then;
        }
        LineFlow::Continue
    }
}

fn case(name: &str, verdict: Verdict, tally: &mut RunTally) -> LineFlow {
    if tally.is_closed() {
        tally.begin();
    }
    tally.case(name, verdict, None)
}

/// `++++ words-1.2 PASSED`
fn passed(line: &str) -> Option<&str> {
    line.strip_prefix("++++ ")?.trim_end().strip_suffix(" PASSED")
}

/// `words.test` alone on its line
fn is_file(line: &str) -> bool {
    line.ends_with(".test") && !line.contains(char::is_whitespace)
}

/// `words.test:\tTotal\t4\tPassed\t1\tSkipped\t1\tFailed\t2`
fn closing(line: &str) -> Option<Counts> {
    let (_, rest) = line.split_once(":\tTotal\t")?;
    let total = number_behind(line, ":\tTotal\t")?;
    let skipped = number_behind(rest, "\tSkipped\t")?;
    Some(Counts { total, bad: number_behind(rest, "\tFailed\t")?, skipped })
}
