//! Finds what a step reported and lets `domain` read it. The folder is a stranger's: links are not followed, pipes
//! are not waited for, and neither the number of files nor their size is believed.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::readers::{self, CaseRun, MAX_CASES, MAX_REPORT_BYTES, Reading};
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
        let is_report = is_report(ReportFormat::Tap, &path) || is_report(ReportFormat::Junit, &path);
        if is_report && !entry.file_type()?.is_dir() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Reads all that a step reported in `out`; `captured` is what it printed, where that may be the report.
pub fn read(format: ReportFormat, out: &Path, captured: Option<&Path>) -> Reading {
    let mut gathered = Gathered::default();
    let mut files = list(format, out, &mut gathered);
    if files.is_empty() {
        files.extend(captured.map(Path::to_path_buf));
    }
    for path in files {
        gathered.add(format, &path);
    }
    gathered.finish(format)
}

/// What a step's end means once its report is known. An exit code that tells of a failure stays as it is; 0 is
/// believed only if the report names cases that ran, and none that failed.
pub fn judge(end: StepEnd, reading: &Reading) -> StepEnd {
    match end {
        StepEnd::Exit { code: 0 } => {
            match reading.cases.iter().filter(|case| case.verdict.is_bad()).count() {
                0 if reading.ran() == 0 => StepEnd::NoTests,
                0 => StepEnd::Exit { code: 0 },
                failed => StepEnd::BadReport { failed: failed as u64 },
            }
        }
        StepEnd::Exit { .. }
        | StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::NoTests
        | StepEnd::BadReport { .. }
        | StepEnd::Cancelled => end,
    }
}

/// Whether a case that the report does not name is truly gone. If the step was stopped, died, or failed before its
/// first case, then the case was only not reached.
pub fn told_all(end: &StepEnd, reading: &Reading) -> bool {
    match end {
        StepEnd::Exit { code: 0 } | StepEnd::NoTests | StepEnd::BadReport { .. } => reading.complete,
        StepEnd::Exit { .. } => reading.complete && !reading.cases.is_empty(),
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

/// Several files as one reading, within one bound.
struct Gathered {
    reading: Reading,
    bytes_left: u64,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered {
            reading: Reading { cases: vec![], warnings: vec![], complete: true },
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
        if self.reading.cases.is_empty() && self.reading.warnings.is_empty() {
            let expected = match format {
                ReportFormat::Tap => "$FARM_OUT/*.tap, or TAP on the standard output",
                ReportFormat::Junit => "$FARM_OUT/*.xml",
            };
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
    let extension = match format {
        ReportFormat::Tap => "tap",
        ReportFormat::Junit => "xml",
    };
    path.extension().is_some_and(|found| found == extension)
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
            let cases = verdicts
                .iter()
                .map(|verdict| CaseRun { name: "a".into(), verdict: *verdict, duration_ms: None, text: None })
                .collect();
            let reading = Reading { cases, warnings: vec![], complete: true };
            assert_eq!(judge(end, &reading), judged, "{verdicts:?}");
        }
    }

    #[test]
    fn a_case_is_gone_only_if_the_step_came_to_its_own_end() {
        let cases = vec![CaseRun::of_step("any", Verdict::Pass)];
        let some = Reading { cases, warnings: vec![], complete: true };
        let none = Reading { cases: vec![], ..some.clone() };
        let part = Reading { complete: false, ..some.clone() };
        for (end, reading, all) in [
            (StepEnd::Exit { code: 0 }, &some, true),
            (StepEnd::Exit { code: 1 }, &some, true),
            (StepEnd::NoTests, &none, true),
            (StepEnd::BadReport { failed: 1 }, &some, true),
            (StepEnd::Exit { code: 1 }, &none, false),
            (StepEnd::Exit { code: 0 }, &part, false),
            (StepEnd::TimedOut, &some, false),
            (StepEnd::Signal { signal: 11 }, &some, false),
        ] {
            assert_eq!(told_all(&end, reading), all, "{end:?}");
        }
    }
}
