//! Which runner printed this? Asked of a log when the recipe does not say.

use std::io::BufRead;

use protocol::ReportFormat;

use super::MAX_REPORT_BYTES;
use super::lines::{self, LineFlow};
use super::{go, libtest, luaunit, pytest, tap, trial, unittest};

/// The reader that fits what was printed; none where no runner is recognised. The first sign decides, and a
/// sign that many runners share decides only where there is no other.
pub fn detect(input: impl BufRead) -> Option<ReportFormat> {
    let (mut found, mut perhaps) = (None, None);
    let ended = lines::each(input.take(MAX_REPORT_BYTES), |line| {
        found = sign(line);
        // Without `-v` it names only what fails, but that it does.
        if unittest::total(line).is_some() {
            perhaps = Some(ReportFormat::Unittest);
        }
        if found.is_some() { LineFlow::Stop } else { LineFlow::Continue }
    });
    // A log that cannot be read to its end shows nothing beyond.
    drop(ended);
    found.or(perhaps)
}

fn sign(line: &str) -> Option<ReportFormat> {
    type IsSign = fn(&str) -> bool;
    const SIGNS: [(IsSign, ReportFormat); 7] = [
        (pytest::is_sign, ReportFormat::Pytest),
        (tap::is_sign, ReportFormat::Tap),
        (go::is_sign, ReportFormat::Go),
        (libtest::is_sign, ReportFormat::Libtest),
        (luaunit::is_sign, ReportFormat::Luaunit),
        (unittest::is_sign, ReportFormat::Unittest),
        (trial::is_sign, ReportFormat::Trial),
    ];
    SIGNS.into_iter().find(|(is_sign, _)| is_sign(line)).map(|(_, format)| format)
}
