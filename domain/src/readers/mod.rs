//! What a test report says, case by case. A report is a stranger's bytes: whatever they are, reading them
//! ends, stays within the bounds below and yields what could be understood, with a warning for the rest.

mod detect;
mod draft;
mod failing;
mod fold;
mod go;
mod junit;
mod libtest;
pub(crate) mod lines;
mod luaunit;
mod names;
mod pytest;
mod sieve;
mod tap;
mod trial;
mod unittest;

use std::io::BufRead;

use protocol::{ReportFormat, Verdict};

pub use detect::detect;
use draft::ReportBuilder;
pub use fold::{fold, signature};
pub use names::{cut, is_fault, tidy, unreported};

/// Of a report file no byte behind these is read.
pub const MAX_REPORT_BYTES: u64 = 64 << 20;
/// Of one build.
pub const MAX_CASES: usize = 200_000;
pub const MAX_NAME_BYTES: usize = 1 << 10;
/// Of one case's failure text.
pub const MAX_CASE_TEXT_BYTES: usize = 64 << 10;
/// Of all failure texts of one build.
pub const MAX_BUILD_TEXT_BYTES: usize = 4 << 20;
/// Of one report.
pub const MAX_WARNINGS: usize = 20;

/// One run of one case, as a report tells it. The same name may come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRun {
    /// Within [`MAX_NAME_BYTES`], without control characters.
    pub name: String,
    pub verdict: Verdict,
    pub duration_ms: Option<u64>,
    /// Why it is not a pass.
    pub text: Option<String>,
}

impl CaseRun {
    /// The case that every step yields by its end, so that a suite without reports has one honest case.
    pub fn of_step(step: &str, verdict: Verdict) -> CaseRun {
        CaseRun { name: tidy(&format!("step:{step}")), verdict, duration_ms: None, text: None }
    }

    /// The fault of a step that ended before all its cases were told. Where its other cases were red before, and those
    /// that were not reached keep what they were, nothing else would be news.
    pub fn of_broken_off(step: &str) -> CaseRun {
        let name = names::fault(&format!("step:{step} ended before all its cases"));
        CaseRun { name, verdict: Verdict::Fail, duration_ms: None, text: None }
    }

    /// Whether the case's own code ran, however it ended.
    pub fn ran(&self) -> bool {
        match self.verdict {
            Verdict::Pass | Verdict::Xfail | Verdict::Xpass | Verdict::Fail | Verdict::Error => true,
            Verdict::Skip | Verdict::Unreached | Verdict::Missing => false,
        }
    }
}

/// What one report said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// In the report's order.
    pub cases: Vec<CaseRun>,
    /// One clear sentence each; at most [`MAX_WARNINGS`].
    pub warnings: Vec<String>,
    /// Whether the report told all that it meant to tell. If not, a case that it does not name is
    /// unreached rather than missing.
    pub complete: bool,
    /// Whether only the exit of its step says that it told all: a TAP stream may do without a plan.
    pub unplanned: bool,
    pub witness: ReportSource,
    /// How many cases ran at all, with or without a name; a suite whose every case was skipped ran none. Of lines
    /// alone nobody can tell.
    pub ran: u64,
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportSource {
    Runner,
    /// Nobody: these are lines of a log that look like failures. They are not believed against an exit code of 0.
    Lines,
    /// Lines of a log, of which one is a runner's that says that it ran no case.
    Nothing,
}

/// Reads a whole report, or as much of it as there is. Whoever wants [`ReportFormat::Auto`] asks [`detect`] first;
/// what fits nothing is read as lines.
pub fn read(format: ReportFormat, input: impl BufRead) -> Reading {
    let mut input = input.take(MAX_REPORT_BYTES);
    let mut draft = ReportBuilder::default();
    let read = match format {
        ReportFormat::Tap => tap::read(&mut input, &mut draft),
        ReportFormat::Junit => junit::read(&mut input, &mut draft),
        ReportFormat::Unittest => unittest::read(&mut input, &mut draft),
        ReportFormat::Pytest => pytest::read(&mut input, &mut draft),
        ReportFormat::Trial => trial::read(&mut input, &mut draft),
        ReportFormat::Libtest => libtest::read(&mut input, &mut draft),
        ReportFormat::Go => go::read(&mut input, &mut draft),
        ReportFormat::Luaunit => luaunit::read(&mut input, &mut draft),
        ReportFormat::Lines | ReportFormat::Auto => failing::read(&mut input, &mut draft),
        ReportFormat::Exit => {
            draft.only_lines();
            Ok(())
        }
    };
    let over = input.limit() == 0 && input.into_inner().fill_buf().is_ok_and(|more| !more.is_empty());
    if let Err(error) = read {
        draft.lacks(format!("The report could not be read to its end ({error})."));
    }
    if over {
        draft.was_cut();
        let mib = MAX_REPORT_BYTES >> 20;
        draft.lacks(format!("The report is larger than {mib} MiB; what lies behind was not read."));
    }
    draft.finish()
}

#[cfg(test)]
mod tests;
