//! Reads the cases of a test report. A report is a stranger's bytes: whatever they are, reading them ends, stays within
//! the bounds in `limits`, and yields what could be understood, with a warning about the rest.

mod bats;
mod busted;
mod case_run;
mod ctest;
mod detect;
mod error_lines;
mod failing_cases;
mod failing_lines;
mod go;
mod gtest;
mod julia;
mod junit;
mod kyua;
mod libtest;
mod limits;
pub(crate) mod line_reader;
mod luaunit;
mod meson;
mod minitest;
mod names;
mod normalizer;
mod pattern;
mod phpunit;
mod pytest;
mod reading;
mod report_builder;
mod sanitizer;
mod spec_tree;
mod tally;
mod tap;
mod tcltest;
mod trial;
mod unittest;
mod volatile;

use std::io::{self, BufRead, Take};

use protocol::ReportFormat;

pub use case_run::CaseRun;
pub use detect::detect;
pub use error_lines::error_lines;
pub use limits::{
    MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES, MAX_NAME_BYTES, MAX_REPORT_BYTES, MAX_WARNINGS,
};
pub use names::{fault, is_fault, tidy, truncated, unreported};
pub use normalizer::{is_error as looks_like_error, normalize, signature, stable};
pub use pattern::{MAX_PATTERN_BYTES, PatternProblem, Patterns, read as read_by_patterns};
pub use reading::{Reading, ReportSource};
pub use report_builder::INTERRUPTED;
use report_builder::ReportBuilder;

/// Reads a whole report, or as much of it as there is. For [`ReportFormat::Auto`] call [`detect()`] first; a report that
/// fits no format is read as [`ReportFormat::Lines`].
pub fn read(format: ReportFormat, input: impl BufRead) -> Reading {
    let mut input = input.take(MAX_REPORT_BYTES);
    let mut report = ReportBuilder::default();
    let read = match format {
        ReportFormat::Tap => tap::read(&mut input, &mut report),
        ReportFormat::Junit => junit::read(&mut input, &mut report),
        ReportFormat::Unittest | ReportFormat::Nose2 => unittest::read(&mut input, &mut report),
        ReportFormat::Pytest => pytest::read(&mut input, &mut report),
        ReportFormat::Trial => trial::read(&mut input, &mut report),
        ReportFormat::Libtest => libtest::read(&mut input, &mut report),
        ReportFormat::Go => go::read(&mut input, &mut report),
        ReportFormat::Luaunit => luaunit::read(&mut input, &mut report),
        ReportFormat::Gtest => tally::read(gtest::Gtest::default(), &mut input, &mut report),
        ReportFormat::Minitest => tally::read(minitest::Minitest::default(), &mut input, &mut report),
        ReportFormat::Rspec | ReportFormat::Hspec => {
            tally::read(spec_tree::SpecTree::default(), &mut input, &mut report)
        }
        ReportFormat::Kyua => tally::read(kyua::Kyua, &mut input, &mut report),
        ReportFormat::Phpunit => tally::read(phpunit::Phpunit::default(), &mut input, &mut report),
        ReportFormat::Ctest => tally::read(ctest::Ctest::default(), &mut input, &mut report),
        ReportFormat::Prove => tap::prove::read(&mut input, &mut report),
        ReportFormat::Meson => tally::read(meson::Meson::default(), &mut input, &mut report),
        ReportFormat::Julia => tally::read(julia::Julia::default(), &mut input, &mut report),
        ReportFormat::Tcltest => tally::read(tcltest::Tcltest::default(), &mut input, &mut report),
        // These two print several formats: the first lines decide.
        ReportFormat::Bats => bats::read(&mut input, &mut report),
        ReportFormat::Busted => busted::read(&mut input, &mut report),
        ReportFormat::Lines | ReportFormat::Auto => failing_lines::read(&mut input, &mut report),
        ReportFormat::Exit => {
            report.set_source(ReportSource::Lines);
            Ok(())
        }
    };
    finished(report, read, input)
}

/// The reading of an input that was read to its end or to our limit.
fn finished(mut report: ReportBuilder, read: io::Result<()>, input: Take<impl BufRead>) -> Reading {
    let is_too_large = input.limit() == 0 && input.into_inner().fill_buf().is_ok_and(|more| !more.is_empty());
    if let Err(error) = read {
        report.lacks(format!("The report could not be read to its end ({error})."));
    }
    if is_too_large {
        report.forgive_open_cases();
        let mib = MAX_REPORT_BYTES >> 20;
        report.limit(format!("The report is larger than {mib} MiB; the rest was not read."));
    }
    report.build()
}

#[cfg(test)]
mod tests;
