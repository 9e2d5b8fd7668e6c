//! Finds the reports of a step and lets `domain` read them. The folder's content is a stranger's: we follow no links,
//! wait for no pipes, and bound the number and size of files.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::readers::{self, MAX_CASES, MAX_REPORT_BYTES, Patterns, Reading, ReportSource};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::{ReportFormat, ReportPatterns};

/// Report files of one step.
const MAX_FILES: usize = 1000;
/// All report files of a step together; one file is limited to [`MAX_REPORT_BYTES`].
const MAX_BYTES: u64 = 4 * MAX_REPORT_BYTES;
/// We list no more entries of a folder than this: a million empty files are not a report.
const MAX_LISTED_ENTRIES: usize = 100_000;
/// The most places that a reader gives a case; its report file is the next one, whatever the reader gave.
const PLACES_OF_READERS: usize = 2;
const MAX_WARNINGS: usize = 20;
const MAX_WARNING_CHARACTERS: usize = 300;

/// Removes the report files of earlier steps, so that no step is judged by another step's report. A folder is not a
/// report, and stays.
pub fn remove_old_reports(out: &Path) -> io::Result<()> {
    // An earlier step may have changed the permissions, but the folder is ours.
    fs::set_permissions(out, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(out)? {
        let entry = entry?;
        let path = entry.path();
        let is_report = ReportFormat::ALL.iter().any(|format| is_report(*format, &path));
        if is_report && !entry.file_type()?.is_dir() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Which output of a step may be its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturedOutput {
    Nothing,
    /// The standard output, without the standard error.
    Separate,
    /// Both outputs, in the order in which they are printed.
    Together,
}

/// Which output may be a report of this format.
pub fn captured_output(format: ReportFormat) -> CapturedOutput {
    match format {
        ReportFormat::Junit | ReportFormat::Exit => CapturedOutput::Nothing,
        ReportFormat::Tap
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
        | ReportFormat::Meson => CapturedOutput::Separate,
        // Among their output there is also that of cargo, the compiler or the tests themselves, or they use both outputs.
        ReportFormat::Unittest
        | ReportFormat::Libtest
        | ReportFormat::Go
        | ReportFormat::Prove
        | ReportFormat::Julia
        | ReportFormat::Nose2
        | ReportFormat::Tcltest
        | ReportFormat::Lines
        | ReportFormat::Auto => CapturedOutput::Together,
    }
}

/// Reads what a step printed by the patterns of its project.
pub fn read_by_patterns(patterns: &ReportPatterns, captured: &Path) -> Reading {
    let mut collector = ReportCollector::default();
    match Patterns::compile(patterns) {
        Ok(compiled) => collector.add(&ReportReader::Patterns(compiled), captured),
        Err(_) => collector.lacks("The recipe's `report`", "has patterns that this worker cannot compile"),
    }
    collector.finish(ReportFormat::Lines)
}

/// How a report is read.
enum ReportReader {
    Format(ReportFormat),
    Patterns(Patterns),
}

/// Reads all reports of a step in `out`; `captured` is the file with its output if that may be the report.
pub fn read(format: ReportFormat, out: &Path, captured: Option<&Path>) -> Reading {
    let mut collector = ReportCollector::default();
    let actual = match format {
        ReportFormat::Auto => [ReportFormat::Tap, ReportFormat::Junit]
            .into_iter()
            .find(|one| !list(*one, out, &mut collector).is_empty()),
        named => Some(named),
    };
    let files = actual.map_or(vec![], |actual| list(actual, out, &mut collector));
    match (&files[..], captured) {
        ([], Some(path)) => {
            let format = actual.or_else(|| detect(path)).unwrap_or(ReportFormat::Lines);
            collector.add(&ReportReader::Format(format), path);
        }
        (files, _) => {
            for path in files {
                let known = collector.reading.cases.len();
                collector.files.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
                collector.add(&ReportReader::Format(actual.unwrap_or(format)), path);
                collector.add_place(known, path);
            }
        }
    }
    collector.finish(format)
}

/// The format of the test runner that printed this.
fn detect(path: &Path) -> Option<ReportFormat> {
    readers::detect(BufReader::new(open(path).ok()?))
}

/// Combines several files into one reading, within common bounds.
struct ReportCollector {
    reading: Reading,
    bytes_left: u64,
    /// The names of the report files in $FARM_OUT.
    files: Vec<String>,
}

impl Default for ReportCollector {
    fn default() -> ReportCollector {
        ReportCollector {
            reading: Reading {
                cases: vec![],
                warnings: vec![],
                complete: true,
                broken: vec![],
                unplanned: false,
                source: ReportSource::Runner,
                ran: 0,
            },
            bytes_left: MAX_BYTES,
            files: vec![],
        }
    }
}

impl ReportCollector {
    fn add(&mut self, reader: &ReportReader, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let opened = open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let (file, metadata) = match opened {
            Ok((_, metadata)) if !metadata.is_file() => {
                return self.lacks(&name, "is not a regular file, and was not read");
            }
            Ok(opened) => opened,
            Err(e) if e.raw_os_error().map(Errno::from_raw) == Some(Errno::ELOOP) => {
                return self.lacks(&name, "is a symbolic link, and was not followed");
            }
            Err(e) => return self.lacks(&name, &format!("could not be opened: {e}")),
        };
        let size = metadata.len().min(MAX_REPORT_BYTES);
        let full = self.reading.cases.len() >= MAX_CASES;
        let Some(left) = self.bytes_left.checked_sub(size).filter(|_| !full) else {
            return self
                .warn(&name, "was not read: the files before it reach the limit of one step's reports");
        };
        self.bytes_left = left;
        let read = match reader {
            ReportReader::Format(format) => readers::read(*format, BufReader::new(file)),
            ReportReader::Patterns(patterns) => readers::read_by_patterns(patterns, BufReader::new(file)),
        };
        self.reading.cases.extend(read.cases);
        self.reading.complete &= read.complete;
        for promise in read.broken {
            self.add_broken(promise);
        }
        self.reading.unplanned |= read.unplanned;
        self.reading.ran += read.ran;
        // Log lines come from the captured output only, which is one file.
        self.reading.source = read.source;
        for warning in read.warnings {
            self.add_warning(format!("{name}: {warning}"));
        }
    }

    /// Notes which file the cases from this one on are in. Its numbers may differ in each run.
    fn add_place(&mut self, first: usize, path: &Path) {
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        let file = readers::normalize(&file);
        for case in &mut self.reading.cases[first..] {
            case.places.resize(PLACES_OF_READERS, String::new());
            case.places.push(file.clone());
        }
    }

    /// A bound of ours leaves something out.
    fn warn(&mut self, name: &str, what: &str) {
        self.reading.complete = false;
        self.add_warning(format!("{name} {what}."));
    }

    /// A report that the step meant to give cannot be read.
    fn lacks(&mut self, name: &str, what: &str) {
        self.add_broken(format!("{name} {what}."));
        self.warn(name, what);
    }

    fn add_broken(&mut self, promise: String) {
        if self.reading.broken.len() < MAX_WARNINGS {
            self.reading.broken.push(shortened(&promise));
        }
    }

    fn add_warning(&mut self, warning: String) {
        if self.reading.warnings.len() < MAX_WARNINGS {
            self.reading.warnings.push(shortened(&warning));
        }
    }

    fn finish(mut self, format: ReportFormat) -> Reading {
        self.reading.cases.truncate(MAX_CASES);
        let is_empty = self.reading.cases.is_empty() && self.reading.warnings.is_empty();
        let missing = match &self.files[..] {
            [] => expected(format).map(|expected| format!("expected {expected}")),
            [file] => Some(format!("{file} names none")),
            [file, others @ ..] => Some(format!("{file} and {} more name none", others.len())),
        };
        if let (true, Some(missing)) = (is_empty, missing) {
            self.add_warning(format!("No case was reported: {missing}."));
        }
        self.warn_of_repeated_names();
        self.reading
    }

    /// A name that several cases of one place share hides which of them fails, so we warn about it.
    fn warn_of_repeated_names(&mut self) {
        let mut seen = HashSet::new();
        let again: BTreeSet<&str> = self
            .reading
            .cases
            .iter()
            .filter(|case| !seen.insert((case.name.as_str(), &case.places)))
            .map(|case| case.name.as_str())
            .collect();
        let Some(first) = again.first() else { return };
        let first: String = first.chars().take(80).collect();
        let which = match again.len() {
            1 => format!("`{first}` stands"),
            more => format!("{more} names (`{first}` is the first) stand"),
        };
        self.add_warning(format!("{which} for more than one case; of those the worst verdict counts."));
    }
}

fn shortened(sentence: &str) -> String {
    sentence.chars().take(MAX_WARNING_CHARACTERS).collect()
}

/// Where a report of this format is expected.
fn expected(format: ReportFormat) -> Option<String> {
    let file = format!("$FARM_OUT/*.{}", format.extension()?);
    Some(match captured_output(format) {
        CapturedOutput::Nothing => file,
        CapturedOutput::Separate => format!("{file}, or {} on the standard output", format.as_str()),
        CapturedOutput::Together => format!("{file}, or {} on one of its outputs", format.as_str()),
    })
}

/// The report files of that format, sorted by name.
fn list(format: ReportFormat, out: &Path, collector: &mut ReportCollector) -> Vec<PathBuf> {
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(e) => {
            collector.lacks("$FARM_OUT", &format!("could not be listed: {e}"));
            return vec![];
        }
    };
    let mut files: Vec<PathBuf> = entries
        .take(MAX_LISTED_ENTRIES)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_report(format, path))
        .collect();
    files.sort();
    if files.len() > MAX_FILES {
        collector
            .warn("$FARM_OUT", &format!("holds more than {MAX_FILES} report files; the rest was not read"));
        files.truncate(MAX_FILES);
    }
    files
}

fn is_report(format: ReportFormat, path: &Path) -> bool {
    let extension = format.extension();
    extension.is_some_and(|expected| path.extension().is_some_and(|found| found == expected))
}

fn open(path: &Path) -> io::Result<File> {
    // NONBLOCK: opening a pipe without a writer must not wait forever.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSED: &str = "1..1\nok 1 - a\n";

    /// The cases and warnings read from a folder that `fill` has filled.
    fn read_report(
        format: ReportFormat,
        captured: Option<&str>,
        fill: impl FnOnce(&Path),
    ) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(folder.path().join("outside"), PASSED).unwrap();
        let captured = captured.map(|text| {
            let path = folder.path().join("captured");
            fs::write(&path, text).unwrap();
            path
        });
        fill(&out);
        let reading = read(format, &out, captured.as_deref());
        (reading.cases.into_iter().map(|case| case.name).collect(), reading.warnings)
    }

    #[test]
    fn tap_is_read_from_files_or_else_from_the_output() {
        let (cases, _) = read_report(ReportFormat::Tap, Some("1..1\nok 1 - printed\n"), |out| {
            fs::write(out.join("b.tap"), "1..1\nok 1 - of b\n").unwrap();
            fs::write(out.join("a.tap"), "1..1\nok 1 - of a\n").unwrap();
            fs::write(out.join("a.txt"), "1..1\nok 1 - of text\n").unwrap();
        });
        assert_eq!(cases, ["of a", "of b"]);
        let (cases, _) = read_report(ReportFormat::Tap, Some("1..1\nok 1 - printed\n"), |_| {});
        assert_eq!(cases, ["printed"]);
    }

    #[test]
    fn cases_of_one_name_in_two_files_have_two_places() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a-1234.tap", "b.tap"] {
            fs::write(folder.path().join(name), PASSED).unwrap();
        }
        let reading = read(ReportFormat::Tap, folder.path(), None);
        let places: Vec<String> =
            reading.cases.iter().filter_map(|case| case.places.last().cloned()).collect();
        assert_eq!(places, ["a-#", "b"]);
        assert_eq!(reading.warnings, [""; 0], "they are told apart");
    }

    #[test]
    fn what_is_not_a_regular_file_is_named_and_not_read() {
        let (cases, warnings) = read_report(ReportFormat::Tap, None, |out| {
            symlink("../outside", out.join("link.tap")).unwrap();
            fs::create_dir(out.join("folder.tap")).unwrap();
            nix::unistd::mkfifo(&out.join("pipe.tap"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        });
        assert_eq!(cases, [""; 0]);
        assert_eq!(
            warnings,
            [
                "folder.tap is not a regular file, and was not read.",
                "link.tap is a symbolic link, and was not followed.",
                "pipe.tap is not a regular file, and was not read.",
            ]
        );
    }

    #[test]
    fn no_more_than_a_thousand_files_are_read() {
        let (cases, warnings) = read_report(ReportFormat::Tap, None, |out| {
            for number in 0..=MAX_FILES {
                let report = format!("1..1\nok 1 - {number}\n");
                fs::write(out.join(format!("{number:04}.tap")), report).unwrap();
            }
        });
        assert_eq!(cases.len(), MAX_FILES);
        assert_eq!(warnings, ["$FARM_OUT holds more than 1000 report files; the rest was not read."]);
    }

    #[test]
    fn a_warning_names_the_report_that_is_missing() {
        let (_, warnings) = read_report(ReportFormat::Junit, None, |_| {});
        assert_eq!(warnings, ["No case was reported: expected $FARM_OUT/*.xml."]);
    }

    #[test]
    fn a_report_that_is_there_and_names_no_case_is_not_called_missing() {
        let none = r#"<testsuites><testsuite name="pytest" errors="0" failures="0" tests="0"/></testsuites>"#;
        let warned = |names: &[&str]| {
            read_report(ReportFormat::Junit, None, |out| {
                names.iter().for_each(|name| fs::write(out.join(name), none).unwrap());
            })
            .1
        };
        assert_eq!(warned(&["a.xml"]), ["No case was reported: a.xml names none."]);
        assert_eq!(warned(&["a.xml", "b.xml"]), ["No case was reported: a.xml and 1 more name none."]);
    }

    #[test]
    fn a_warning_names_what_several_cases_share() {
        for (report, warnings) in [
            ("1..2\nok 1 - a\nok 2 - b\n", &[][..]),
            (
                "1..3\nok 1 - a\nok 2 - a\nok 3 - a\n",
                &["`a` stands for more than one case; of those the worst verdict counts."],
            ),
            (
                "1..4\nok 1 - b\nok 2 - a\nok 3 - b\nok 4 - a\n",
                &[
                    "2 names (`a` is the first) stand for more than one case; of those the worst verdict counts.",
                ],
            ),
        ] {
            assert_eq!(read_report(ReportFormat::Tap, Some(report), |_| {}).1, warnings, "{report}");
        }
    }

    #[test]
    fn the_reports_of_an_earlier_step_are_removed_and_a_lock_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.tap"), "").unwrap();
        symlink("/etc", at("b.xml")).unwrap();
        fs::write(at("lock"), "").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
        remove_old_reports(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    #[test]
    fn a_runner_is_recognized_by_its_file_or_its_output() {
        let pytest = "=== test session starts ===\na.py::test_b PASSED\n=== 1 passed in 0.1s ===\n";
        let cases = |captured: &str, file: Option<(&str, &str)>| {
            let fill = |out: &Path| {
                file.into_iter().for_each(|(name, text)| fs::write(out.join(name), text).unwrap());
            };
            read_report(ReportFormat::Auto, Some(captured), fill).0
        };
        assert_eq!(cases(pytest, None), ["a.py::test_b"]);
        assert_eq!(cases(pytest, Some(("a.tap", PASSED))), ["a"]);
        assert_eq!(cases(pytest, Some(("a.xml", "<testsuite><testcase name='x'/></testsuite>"))), ["x"]);
        assert_eq!(cases("a.c:3: error: expected ';'\n", None), ["fault:line:a.c:#: error: expected ';'"]);
    }
}
