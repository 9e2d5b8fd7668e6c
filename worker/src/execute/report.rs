//! Finds what a step reported and lets `domain` read it. The folder is a stranger's: links are not followed, pipes
//! are not waited for, and neither the number of files nor their size is believed.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::readers::{self, CaseRun, MAX_CASES, MAX_REPORT_BYTES, Reading, ReportSource};
use nix::fcntl::OFlag;
use protocol::{ReportFormat, StepEnd, Verdict};

/// Of one step.
const MAX_FILES: usize = 1000;
/// All report files of a step together; one alone is bounded by [`MAX_REPORT_BYTES`].
const MAX_BYTES: u64 = 4 * MAX_REPORT_BYTES;
/// No folder is listed further: a million empty files are not a report.
const MAX_LISTED: usize = 100_000;
const MAX_WARNINGS: usize = 20;
const MAX_WARNING_CHARACTERS: usize = 300;

/// Takes away every report file of earlier steps, so that no step is judged by another's. A folder is no report, and
/// stays.
pub fn clear(out: &Path) -> io::Result<()> {
    // Whatever an earlier step has forbidden, the folder is ours.
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

/// What of a step's output may be its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturedOutput {
    Nothing,
    /// Its standard output, which no warning may be mixed into.
    Apart,
    /// All that it prints, in the order in which it is printed.
    Together,
}

pub fn printed(format: ReportFormat) -> CapturedOutput {
    match format {
        ReportFormat::Junit | ReportFormat::Exit => CapturedOutput::Nothing,
        ReportFormat::Tap | ReportFormat::Pytest | ReportFormat::Trial | ReportFormat::Luaunit => {
            CapturedOutput::Apart
        }
        // These have cargo's, the compiler's or the tests' own words among what they print, or use both outputs.
        ReportFormat::Unittest
        | ReportFormat::Libtest
        | ReportFormat::Go
        | ReportFormat::Lines
        | ReportFormat::Auto => CapturedOutput::Together,
    }
}

/// Reads all that a step reported in `out`; `captured` is what it printed, where that may be the report.
pub fn read(format: ReportFormat, out: &Path, captured: Option<&Path>) -> Reading {
    let mut gathered = Gathered::default();
    let found = match format {
        ReportFormat::Auto => [ReportFormat::Tap, ReportFormat::Junit]
            .into_iter()
            .find(|one| !list(*one, out, &mut gathered).is_empty()),
        named => Some(named),
    };
    let files = found.map_or(vec![], |found| list(found, out, &mut gathered));
    match (&files[..], captured) {
        ([], Some(path)) => gathered.add(found.or_else(|| detect(path)).unwrap_or(ReportFormat::Lines), path),
        (files, _) => files.iter().for_each(|path| gathered.add(found.unwrap_or(format), path)),
    }
    gathered.finish(format)
}

/// Which runner has printed this.
fn detect(path: &Path) -> Option<ReportFormat> {
    readers::detect(BufReader::new(open(path).ok()?))
}

/// What a step's end means once its report is known. An exit code that tells of a failure stays as it is; 0 is
/// believed only if the report names cases that ran, and none that failed. Mere lines that look like failures are not
/// believed against it, but a runner that says it ran none is.
pub fn judge(end: StepEnd, reading: &Reading) -> StepEnd {
    match (end, reading.witness) {
        (StepEnd::Exit { code: 0 }, ReportSource::Runner) => {
            match reading.cases.iter().filter(|case| case.verdict.is_bad()).count() {
                0 if reading.ran == 0 => StepEnd::NoTests,
                0 => StepEnd::Exit { code: 0 },
                failed => StepEnd::BadReport { failed: failed as u64 },
            }
        }
        (StepEnd::Exit { code: 0 }, ReportSource::Nothing) => StepEnd::NoTests,
        (end, ReportSource::Runner | ReportSource::Lines | ReportSource::Nothing) => end,
    }
}

/// The cases that count beside the step itself, once its end is known.
pub fn cases(end: &StepEnd, reading: Reading) -> Vec<CaseRun> {
    match (end, reading.witness) {
        (StepEnd::Exit { code: 0 }, ReportSource::Lines) => vec![],
        (_, ReportSource::Runner | ReportSource::Lines | ReportSource::Nothing) => reading.cases,
    }
}

/// Whether a case that the report does not name is truly gone. If the step was stopped, died, or failed before its
/// first case, then the case was only not reached.
pub fn told_all(end: &StepEnd, reading: &Reading) -> bool {
    match end {
        StepEnd::Exit { code: 0 } | StepEnd::NoTests | StepEnd::BadReport { .. } => reading.complete,
        // Of a log there is always all: without a line that looks like a failure, none is known.
        StepEnd::Exit { .. } => {
            reading.complete
                && !reading.unplanned
                && (!reading.cases.is_empty() || reading.witness != ReportSource::Runner)
        }
        StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::Cancelled => false,
    }
}

/// The one case that every step has; none of a step that was cancelled, which says nothing.
pub fn case_of(step: &str, end: &StepEnd) -> Option<CaseRun> {
    let verdict = match end {
        StepEnd::Exit { code: 0 } => Verdict::Pass,
        StepEnd::Cancelled => return None,
        StepEnd::Exit { .. }
        | StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::NoTests
        | StepEnd::BadReport { .. } => Verdict::Fail,
    };
    Some(CaseRun::of_step(step, verdict))
}

/// The fault of a step that failed before it had told of all its cases; none where only a plan is missing.
pub fn broken_off(step: &str, end: &StepEnd, reading: &Reading) -> Option<CaseRun> {
    let is_broken_off = match end {
        StepEnd::Exit { code: 0 } | StepEnd::Cancelled => false,
        StepEnd::Exit { .. } | StepEnd::NoTests | StepEnd::BadReport { .. } => {
            let planned = Reading { unplanned: false, ..reading.clone() };
            !told_all(end, &planned)
        }
        StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory => true,
    };
    is_broken_off.then(|| CaseRun::of_broken_off(step))
}

/// Several files as one reading, within one bound.
struct Gathered {
    reading: Reading,
    bytes_left: u64,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered {
            reading: Reading {
                cases: vec![],
                warnings: vec![],
                complete: true,
                unplanned: false,
                witness: ReportSource::Runner,
                ran: 0,
            },
            bytes_left: MAX_BYTES,
        }
    }
}

impl Gathered {
    fn add(&mut self, format: ReportFormat, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let opened = open(path).and_then(|file| file.metadata().map(|about| (file, about)));
        let (file, about) = match opened {
            Ok((_, about)) if !about.is_file() => {
                return self.warn(&name, "is not a regular file, and was not read");
            }
            Ok(opened) => opened,
            Err(e) if e.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
                return self.warn(&name, "is a symbolic link, and was not followed");
            }
            Err(e) => return self.warn(&name, &format!("could not be opened: {e}")),
        };
        let size = about.len().min(MAX_REPORT_BYTES);
        let full = self.reading.cases.len() >= MAX_CASES;
        let Some(left) = self.bytes_left.checked_sub(size).filter(|_| !full) else {
            return self.warn(&name, "was not read: the files before it fill the bound of one step's report");
        };
        self.bytes_left = left;
        let read = readers::read(format, BufReader::new(file));
        self.reading.cases.extend(read.cases);
        self.reading.complete &= read.complete;
        self.reading.unplanned |= read.unplanned;
        self.reading.ran += read.ran;
        // Lines come from the log alone, which is one file.
        self.reading.witness = read.witness;
        for warning in read.warnings {
            self.keep(format!("{name}: {warning}"));
        }
    }

    fn warn(&mut self, name: &str, what: &str) {
        self.reading.complete = false;
        self.keep(format!("{name} {what}."));
    }

    fn keep(&mut self, warning: String) {
        if self.reading.warnings.len() < MAX_WARNINGS {
            self.reading.warnings.push(warning.chars().take(MAX_WARNING_CHARACTERS).collect());
        }
    }

    fn finish(mut self, format: ReportFormat) -> Reading {
        self.reading.cases.truncate(MAX_CASES);
        let is_empty = self.reading.cases.is_empty() && self.reading.warnings.is_empty();
        if let (true, Some(expected)) = (is_empty, expected(format)) {
            self.keep(format!("No case was reported: expected {expected}."));
        }
        self.name_repeats();
        self.reading
    }

    /// A name that stands for several cases hides which of them went bad, so its suite should hear of it.
    fn name_repeats(&mut self) {
        let mut seen = HashSet::new();
        let again: BTreeSet<&str> = self
            .reading
            .cases
            .iter()
            .map(|case| case.name.as_str())
            .filter(|&name| !seen.insert(name))
            .collect();
        let Some(first) = again.first() else { return };
        let first: String = first.chars().take(80).collect();
        let which = match again.len() {
            1 => format!("`{first}` stands"),
            more => format!("{more} names (`{first}` is the first) stand"),
        };
        self.keep(format!("{which} for more than one case; of those the worst verdict counts."));
    }
}

/// Where a report was looked for.
fn expected(format: ReportFormat) -> Option<String> {
    let file = format!("$FARM_OUT/*.{}", format.extension()?);
    Some(match printed(format) {
        CapturedOutput::Nothing => file,
        CapturedOutput::Apart => format!("{file}, or {} on the standard output", format.as_str()),
        CapturedOutput::Together => format!("{file}, or {} on one of its outputs", format.as_str()),
    })
}

/// The report files of that format, sorted by name.
fn list(format: ReportFormat, out: &Path, gathered: &mut Gathered) -> Vec<PathBuf> {
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(e) => {
            gathered.warn("$FARM_OUT", &format!("could not be listed: {e}"));
            return vec![];
        }
    };
    let mut files: Vec<PathBuf> = entries
        .take(MAX_LISTED)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_report(format, path))
        .collect();
    files.sort();
    if files.len() > MAX_FILES {
        gathered
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
    // NONBLOCK: opening a pipe that nobody writes to must not wait for ever.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSED: &str = "1..1\nok 1 - a\n";

    /// The cases and warnings read from a folder that `fill` has filled.
    fn told(
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
    fn tap_is_read_from_files_first_and_else_from_what_was_printed() {
        let (cases, _) = told(ReportFormat::Tap, Some("1..1\nok 1 - printed\n"), |out| {
            fs::write(out.join("b.tap"), "1..1\nok 1 - of b\n").unwrap();
            fs::write(out.join("a.tap"), "1..1\nok 1 - of a\n").unwrap();
            fs::write(out.join("a.txt"), "1..1\nok 1 - of text\n").unwrap();
        });
        assert_eq!(cases, ["of a", "of b"]);
        let (cases, _) = told(ReportFormat::Tap, Some("1..1\nok 1 - printed\n"), |_| {});
        assert_eq!(cases, ["printed"]);
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_not_read() {
        let (cases, warnings) = told(ReportFormat::Tap, None, |out| {
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
        let (cases, warnings) = told(ReportFormat::Tap, None, |out| {
            for number in 0..=MAX_FILES {
                let report = format!("1..1\nok 1 - {number}\n");
                fs::write(out.join(format!("{number:04}.tap")), report).unwrap();
            }
        });
        assert_eq!(cases.len(), MAX_FILES);
        assert_eq!(warnings, ["$FARM_OUT holds more than 1000 report files; the rest was not read."]);
    }

    #[test]
    fn a_report_that_is_not_there_is_said_to_be_missing() {
        let (_, warnings) = told(ReportFormat::Junit, None, |_| {});
        assert_eq!(warnings, ["No case was reported: expected $FARM_OUT/*.xml."]);
    }

    #[test]
    fn names_that_stand_for_several_cases_are_named() {
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
            assert_eq!(told(ReportFormat::Tap, Some(report), |_| {}).1, warnings, "{report}");
        }
    }

    #[test]
    fn the_files_of_an_earlier_step_are_cleared_and_a_lock_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.tap"), "").unwrap();
        symlink("/etc", at("b.xml")).unwrap();
        fs::write(at("lock"), "").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
        clear(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    /// A runner's own word.
    fn reading(cases: Vec<CaseRun>) -> Reading {
        let ran = cases.iter().filter(|case| case.ran()).count() as u64;
        Reading {
            cases,
            warnings: vec![],
            complete: true,
            unplanned: false,
            witness: ReportSource::Runner,
            ran,
        }
    }

    #[test]
    fn lines_of_a_log_are_believed_only_where_the_step_failed() {
        let faults = vec![CaseRun::of_step("looks like a failure", Verdict::Fail)];
        let lines = Reading { witness: ReportSource::Lines, ..reading(faults) };
        let none = Reading { witness: ReportSource::Nothing, ..reading(vec![]) };
        for (code, reading, judged, count) in [
            (0, &lines, StepEnd::Exit { code: 0 }, 0),
            (1, &lines, StepEnd::Exit { code: 1 }, 1),
            (0, &none, StepEnd::NoTests, 0),
            (5, &none, StepEnd::Exit { code: 5 }, 0),
        ] {
            let end = judge(StepEnd::Exit { code }, reading);
            assert_eq!((&end, cases(&end, reading.clone()).len()), (&judged, count), "{reading:?}");
            assert!(told_all(&end, reading));
        }
    }

    #[test]
    fn a_runner_is_recognised_by_what_it_wrote_or_printed() {
        let pytest = "=== test session starts ===\na.py::test_b PASSED\n=== 1 passed in 0.1s ===\n";
        let cases = |captured: &str, file: Option<(&str, &str)>| {
            let fill = |out: &Path| {
                file.into_iter().for_each(|(name, text)| fs::write(out.join(name), text).unwrap())
            };
            told(ReportFormat::Auto, Some(captured), fill).0
        };
        assert_eq!(cases(pytest, None), ["a.py::test_b"]);
        assert_eq!(cases(pytest, Some(("a.tap", PASSED))), ["a"]);
        assert_eq!(cases(pytest, Some(("a.xml", "<testsuite><testcase name='x'/></testsuite>"))), ["x"]);
        assert_eq!(cases("a.c:3: error: expected ';'\n", None), ["fault:line:a.c:#: error: expected ';'"]);
    }

    #[test]
    fn exit_code_zero_is_believed_only_with_a_report_that_agrees() {
        use Verdict::{Error, Fail, Pass, Skip, Xfail};
        let exit = |code| StepEnd::Exit { code };
        for (end, verdicts, judged) in [
            (exit(0), &[Pass, Skip][..], exit(0)),
            (exit(0), &[Xfail], exit(0)),
            (exit(0), &[], StepEnd::NoTests),
            (exit(0), &[Skip], StepEnd::NoTests),
            (exit(0), &[Pass, Fail, Error], StepEnd::BadReport { failed: 2 }),
            (exit(1), &[], exit(1)),
            (exit(1), &[Pass], exit(1)),
            (StepEnd::TimedOut, &[Pass], StepEnd::TimedOut),
        ] {
            let cases: Vec<CaseRun> = verdicts
                .iter()
                .map(|verdict| CaseRun { name: "a".into(), verdict: *verdict, duration_ms: None, text: None })
                .collect();
            let reading = reading(cases);
            assert_eq!(judge(end, &reading), judged, "{verdicts:?}");
        }
    }

    #[test]
    fn a_case_is_gone_only_if_the_step_came_to_its_own_end() {
        let cases = vec![CaseRun::of_step("any", Verdict::Pass)];
        let some = reading(cases);
        let none = Reading { cases: vec![], ..some.clone() };
        let part = Reading { complete: false, ..some.clone() };
        let unplanned = Reading { unplanned: true, ..some.clone() };
        for (end, reading, all) in [
            (StepEnd::Exit { code: 0 }, &some, true),
            (StepEnd::Exit { code: 1 }, &some, true),
            (StepEnd::NoTests, &none, true),
            (StepEnd::BadReport { failed: 1 }, &some, true),
            (StepEnd::Exit { code: 1 }, &none, false),
            (StepEnd::Exit { code: 0 }, &part, false),
            (StepEnd::Exit { code: 0 }, &unplanned, true),
            (StepEnd::Exit { code: 1 }, &unplanned, false),
            (StepEnd::TimedOut, &some, false),
            (StepEnd::Signal { signal: 11 }, &some, false),
        ] {
            assert_eq!(told_all(&end, reading), all, "{end:?}");
        }
    }

    /// In a suite that is red anyway nothing else would be news of it.
    #[test]
    fn a_step_that_ends_before_all_its_cases_has_a_fault() {
        let some = reading(vec![CaseRun::of_step("any", Verdict::Fail)]);
        let none = Reading { cases: vec![], ..some.clone() };
        let part = Reading { complete: false, ..some.clone() };
        let unplanned = Reading { unplanned: true, ..some.clone() };
        for (end, reading, is_broken_off) in [
            (StepEnd::Exit { code: 1 }, &some, false),
            (StepEnd::Exit { code: 1 }, &none, true),
            (StepEnd::Exit { code: 1 }, &part, true),
            // Its failures may be all that there was to tell.
            (StepEnd::Exit { code: 1 }, &unplanned, false),
            (StepEnd::Exit { code: 0 }, &part, false),
            (StepEnd::Signal { signal: 11 }, &some, true),
            (StepEnd::TimedOut, &part, true),
            (StepEnd::Cancelled, &part, false),
        ] {
            let fault = broken_off("test", &end, reading).map(|case| case.name);
            let expected = is_broken_off.then_some("fault:step:test ended before all its cases");
            assert_eq!(fault.as_deref(), expected, "{end:?}");
        }
    }
}
