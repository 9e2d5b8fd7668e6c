//! The words that both master and worker use in the protocol.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one test case did. The order is from best to worst: of a repeated case the worst verdict counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It passed.
    Pass,
    /// Failed, and was expected to.
    Xfail,
    /// It was not run, on purpose.
    Skip,
    /// Passed, though it was expected to fail.
    Xpass,
    /// The run ended before this case; it keeps its last verdict.
    Unreached,
    /// It was there before, and is no longer.
    Missing,
    /// It failed.
    Fail,
    /// Its own code was not run to the end: set-up, collection or a crash.
    Error,
}

impl Verdict {
    /// All verdicts, best first.
    pub const ALL: [Verdict; 8] = {
        use Verdict::{Error, Fail, Missing, Pass, Skip, Unreached, Xfail, Xpass};
        [Pass, Xfail, Skip, Xpass, Unreached, Missing, Fail, Error]
    };

    /// The word for it in JSON, SQL and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Xfail => "xfail",
            Verdict::Skip => "skip",
            Verdict::Xpass => "xpass",
            Verdict::Unreached => "unreached",
            Verdict::Missing => "missing",
            Verdict::Fail => "fail",
            Verdict::Error => "error",
        }
    }

    /// Whether the case failed, whichever way.
    pub fn is_bad(self) -> bool {
        match self {
            Verdict::Fail | Verdict::Error => true,
            Verdict::Pass
            | Verdict::Xfail
            | Verdict::Skip
            | Verdict::Xpass
            | Verdict::Unreached
            | Verdict::Missing => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a step is for; it decides what a failure of the step is blamed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Brings what the build needs from the network.
    Fetch,
    /// Makes the program.
    Compile,
    /// Puts the program where later steps use it.
    Install,
    /// Tests it. Only a step of this kind may fail without being the last one.
    Test,
}

impl StepKind {
    /// The word for it in recipes, JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            StepKind::Fetch => "fetch",
            StepKind::Compile => "compile",
            StepKind::Install => "install",
            StepKind::Test => "test",
        }
    }
}

/// How a test step reports its cases.
///
/// Reports are files in `$FARM_OUT` whose names end in [`ReportFormat::extension`]; if there is no such file, the
/// step's log is the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    /// The Test Anything Protocol, versions 13 and 14.
    Tap,
    /// JUnit's XML.
    Junit,
    /// Python's `unittest -v`; Django's runner with `-v 2`.
    Unittest,
    /// pytest with `-v` or `-rA`.
    Pytest,
    /// Twisted's trial.
    Trial,
    /// Rust's libtest, as text or JSON.
    Libtest,
    /// `go test -json`.
    Go,
    /// LuaUnit with `-v`.
    Luaunit,
    /// busted on a terminal, or with `-o plainTerminal` or `-o gtest`.
    Busted,
    /// GoogleTest's text.
    Gtest,
    /// minitest with `-v`.
    Minitest,
    /// RSpec's documentation format.
    Rspec,
    /// bats with `--pretty` or `--tap`.
    Bats,
    /// hspec.
    Hspec,
    /// `kyua test`.
    Kyua,
    /// PHPUnit with `--testdox`.
    Phpunit,
    /// ctest.
    Ctest,
    /// Perl's `prove -v`.
    Prove,
    /// `meson test`.
    Meson,
    /// Julia's Test.
    Julia,
    /// `nose2 -v`.
    Nose2,
    /// Tcl's tcltest with `-verbose` of `pass` and `skip`.
    Tcltest,
    /// No report: lines of the log that look like failures. The default of a suite's test step.
    Lines,
    /// Any of these, by what the step wrote or printed.
    Auto,
    /// Only the step's exit counts.
    Exit,
}

impl ReportFormat {
    /// All formats.
    pub const ALL: [ReportFormat; 25] = {
        use ReportFormat::{
            Auto, Bats, Busted, Ctest, Exit, Go, Gtest, Hspec, Julia, Junit, Kyua, Libtest, Lines, Luaunit,
            Meson, Minitest, Nose2, Phpunit, Prove, Pytest, Rspec, Tap, Tcltest, Trial, Unittest,
        };
        [
            Tap, Junit, Unittest, Pytest, Trial, Libtest, Go, Luaunit, Busted, Gtest, Minitest, Rspec, Bats,
            Hspec, Kyua, Phpunit, Ctest, Prove, Meson, Julia, Nose2, Tcltest, Lines, Auto, Exit,
        ]
    };

    /// The word for it in recipes and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportFormat::Tap => "tap",
            ReportFormat::Junit => "junit",
            ReportFormat::Unittest => "unittest",
            ReportFormat::Pytest => "pytest",
            ReportFormat::Trial => "trial",
            ReportFormat::Libtest => "libtest",
            ReportFormat::Go => "go",
            ReportFormat::Luaunit => "luaunit",
            ReportFormat::Busted => "busted",
            ReportFormat::Gtest => "gtest",
            ReportFormat::Minitest => "minitest",
            ReportFormat::Rspec => "rspec",
            ReportFormat::Bats => "bats",
            ReportFormat::Hspec => "hspec",
            ReportFormat::Kyua => "kyua",
            ReportFormat::Phpunit => "phpunit",
            ReportFormat::Ctest => "ctest",
            ReportFormat::Prove => "prove",
            ReportFormat::Meson => "meson",
            ReportFormat::Julia => "julia",
            ReportFormat::Nose2 => "nose2",
            ReportFormat::Tcltest => "tcltest",
            ReportFormat::Lines => "lines",
            ReportFormat::Auto => "auto",
            ReportFormat::Exit => "exit",
        }
    }

    /// The extension of a report file; none if only the log is read, or if the file's content decides.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            ReportFormat::Tap => Some("tap"),
            ReportFormat::Junit => Some("xml"),
            ReportFormat::Libtest | ReportFormat::Go => Some("json"),
            ReportFormat::Unittest
            | ReportFormat::Pytest
            | ReportFormat::Trial
            | ReportFormat::Luaunit
            | ReportFormat::Busted
            | ReportFormat::Gtest
            | ReportFormat::Minitest
            | ReportFormat::Rspec
            | ReportFormat::Bats
            | ReportFormat::Hspec
            | ReportFormat::Kyua
            | ReportFormat::Phpunit
            | ReportFormat::Ctest
            | ReportFormat::Prove
            | ReportFormat::Meson
            | ReportFormat::Julia
            | ReportFormat::Nose2
            | ReportFormat::Tcltest => Some("txt"),
            ReportFormat::Lines | ReportFormat::Auto | ReportFormat::Exit => None,
        }
    }
}

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sha256(pub [u8; 32]);

/// A text that is not a SHA-256; its first 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256: expected 64 lower-case hexadecimal digits")]
pub struct BadSha256(String);

impl Sha256 {
    /// The first 12 digits, enough to recognise it on a page.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = BadSha256;

    fn from_str(text: &str) -> Result<Sha256, BadSha256> {
        let bad = || BadSha256(text.chars().take(80).collect());
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Sha256(bytes))
    }
}

impl From<Sha256> for String {
    fn from(sha: Sha256) -> String {
        sha.to_string()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = BadSha256;

    fn try_from(text: String) -> Result<Sha256, BadSha256> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sha256_round_trips() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Sha256>().unwrap().to_string(), text);
    }

    #[test]
    fn any_other_text_is_refused_as_a_sha256() {
        for text in ["", "00", &"00FF".repeat(16), &"é".repeat(32), &"+f".repeat(32)] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
        }
    }
}
