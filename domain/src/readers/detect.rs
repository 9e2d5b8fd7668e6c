//! Detects which test runner printed a log, if the recipe does not name the format.

use std::io::BufRead;

use protocol::ReportFormat;

use super::limits::MAX_REPORT_BYTES;
use super::line_reader::{self, LineFlow};
use super::{
    bats, busted, ctest, go, gtest, julia, kyua, libtest, luaunit, meson, minitest, phpunit, pytest,
    spec_tree, tap, tcltest, trial, unittest,
};

/// The format of a log; none if no runner is recognised. The first sign decides, and a sign that many runners share
/// decides only if there is no other.
pub fn detect(input: impl BufRead) -> Option<ReportFormat> {
    let (mut found, mut fallback) = (None, None);
    let ended = line_reader::each(input.take(MAX_REPORT_BYTES), |line| {
        found = sign(line);
        // Without `-v` it still names the cases that fail.
        if unittest::total(line).is_some() {
            fallback = Some(ReportFormat::Unittest);
        } else if spec_tree::closing(line).is_some() {
            fallback = Some(ReportFormat::Rspec);
        }
        if found.is_some() { LineFlow::Stop } else { LineFlow::Continue }
    });
    // If the log cannot be read to its end, its beginning decides; `read` reports the error.
    drop(ended);
    found.or(fallback)
}

fn sign(line: &str) -> Option<ReportFormat> {
    type IsSign = fn(&str) -> bool;
    const SIGNS: [(IsSign, ReportFormat); 18] = [
        (pytest::is_sign, ReportFormat::Pytest),
        (tap::prove::is_sign, ReportFormat::Prove),
        (tap::is_sign, ReportFormat::Tap),
        (go::is_sign, ReportFormat::Go),
        (libtest::is_sign, ReportFormat::Libtest),
        (luaunit::is_sign, ReportFormat::Luaunit),
        (unittest::is_sign, ReportFormat::Unittest),
        (trial::is_sign, ReportFormat::Trial),
        (gtest::is_sign, ReportFormat::Gtest),
        (busted::is_sign, ReportFormat::Busted),
        (phpunit::is_sign, ReportFormat::Phpunit),
        (minitest::is_sign, ReportFormat::Minitest),
        (ctest::is_sign, ReportFormat::Ctest),
        (meson::is_sign, ReportFormat::Meson),
        (kyua::is_sign, ReportFormat::Kyua),
        (julia::is_sign, ReportFormat::Julia),
        (tcltest::is_sign, ReportFormat::Tcltest),
        (bats::is_sign, ReportFormat::Bats),
    ];
    SIGNS.into_iter().find(|(is_sign, _)| is_sign(line)).map(|(_, format)| format)
}
