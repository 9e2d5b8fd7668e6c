//! What the end of a step means once its report is known, and which cases result from it.

use domain::readers::{CaseRun, Reading, ReportSource, error_lines};
use protocol::{StepEnd, Verdict};

use crate::length;

/// The end of a step, corrected by its report. An exit code that shows a failure stays as it is. Exit code 0 is
/// accepted only if the report is whole, and names cases that ran, and none that failed. Log lines that look like failures do not
/// outweigh exit code 0, but a runner's statement that it ran no test does.
pub fn judge(end: StepEnd, reading: &Reading) -> StepEnd {
    match (end, reading.source) {
        (StepEnd::Exit { code: 0 }, ReportSource::Runner) => {
            match reading.cases.iter().filter(|case| case.verdict.is_bad()).count() {
                0 if reading.ran == 0 => StepEnd::NoTests,
                0 if !reading.broken.is_empty() => StepEnd::BadReport { failed: 0 },
                0 => StepEnd::Exit { code: 0 },
                failed => StepEnd::BadReport { failed: length::to_u64(failed) },
            }
        }
        (StepEnd::Exit { code: 0 }, ReportSource::Nothing) => StepEnd::NoTests,
        (end, ReportSource::Runner | ReportSource::Lines | ReportSource::Nothing) => end,
    }
}

/// The reported cases that count, given how the step ended.
pub fn counted_cases(end: &StepEnd, reading: Reading) -> Vec<CaseRun> {
    match (end, reading.source) {
        (StepEnd::Exit { code: 0 }, ReportSource::Lines) => vec![],
        (_, ReportSource::Runner | ReportSource::Lines | ReportSource::Nothing) => reading.cases,
    }
}

/// Whether the report names all cases, so that a case that it does not name is not run any more. If the step was
/// stopped, died, or failed before its first case, the others were only not reached.
pub fn names_all_cases(end: &StepEnd, reading: &Reading) -> bool {
    match end {
        StepEnd::Exit { code: 0 } | StepEnd::NoTests | StepEnd::BadReport { .. } | StepEnd::RefusedTree => {
            reading.complete
        }
        // A log is always complete: if no line looks like a failure, we know of no failing case.
        StepEnd::Exit { .. } => {
            reading.complete
                && !reading.unplanned
                && (!reading.cases.is_empty() || reading.source != ReportSource::Runner)
        }
        StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit
        | StepEnd::Cancelled => false,
    }
}

/// The case that every step has. A cancelled step has none, since it shows nothing. Where no reported case is bad, its
/// failure message is what the step printed last that looks like an error; where it only broke a promise of its report, the
/// fault says so, and what it printed is no error.
pub fn step_case(
    step: &str,
    end: &StepEnd,
    reading: Option<&Reading>,
    last_output: &[u8],
) -> Option<CaseRun> {
    let verdict = match end {
        StepEnd::Exit { code: 0 } => Verdict::Pass,
        StepEnd::Cancelled => return None,
        StepEnd::Exit { .. }
        | StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit
        | StepEnd::RefusedTree
        | StepEnd::NoTests
        | StepEnd::BadReport { .. } => Verdict::Fail,
    };
    let is_explained = reading.is_some_and(|reading| reading.cases.iter().any(|case| case.verdict.is_bad()));
    let has_message = match end {
        StepEnd::BadReport { .. } => false,
        StepEnd::Exit { .. }
        | StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit
        | StepEnd::RefusedTree
        | StepEnd::NoTests
        | StepEnd::Cancelled => verdict == Verdict::Fail && !is_explained,
    };
    let text = if has_message { error_lines(last_output) } else { None };
    Some(CaseRun { text, ..CaseRun::of_step(step, verdict) })
}

/// The fault of a step that failed before it had reported all its cases. There is none if only a plan is missing, or if
/// the runner stopped on purpose after a failure that it names.
pub fn incomplete_step_fault(step: &str, end: &StepEnd, reading: &Reading) -> Option<CaseRun> {
    let is_incomplete = match end {
        StepEnd::Exit { code: 0 } | StepEnd::Cancelled | StepEnd::RefusedTree => false,
        StepEnd::Exit { .. } | StepEnd::NoTests | StepEnd::BadReport { .. } => {
            let is_stopped =
                reading.broken.is_empty() && reading.cases.iter().any(|case| case.verdict.is_bad());
            let planned =
                Reading { unplanned: false, complete: reading.complete || is_stopped, ..reading.clone() };
            !names_all_cases(end, &planned)
        }
        StepEnd::Signal { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit => true,
    };
    is_incomplete.then(|| CaseRun::of_broken_off(step, &reading.broken))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report that a runner wrote.
    fn reading(cases: Vec<CaseRun>) -> Reading {
        let ran = cases.iter().filter(|case| case.ran()).count() as u64;
        Reading {
            cases,
            warnings: vec![],
            complete: true,
            broken: vec![],
            unplanned: false,
            source: ReportSource::Runner,
            ran,
        }
    }

    #[test]
    fn failures_found_in_a_log_count_only_if_the_step_failed() {
        let faults = vec![CaseRun::of_step("looks like a failure", Verdict::Fail)];
        let lines = Reading { source: ReportSource::Lines, ..reading(faults) };
        let none = Reading { source: ReportSource::Nothing, ..reading(vec![]) };
        for (code, reading, judged, count) in [
            (0, &lines, StepEnd::Exit { code: 0 }, 0),
            (1, &lines, StepEnd::Exit { code: 1 }, 1),
            (0, &none, StepEnd::NoTests, 0),
            (5, &none, StepEnd::Exit { code: 5 }, 0),
        ] {
            let end = judge(StepEnd::Exit { code }, reading);
            assert_eq!((&end, counted_cases(&end, reading.clone()).len()), (&judged, count), "{reading:?}");
            assert!(names_all_cases(&end, reading));
        }
    }

    #[test]
    fn exit_code_zero_counts_only_with_a_report_that_agrees() {
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
                .map(|verdict| CaseRun {
                    name: "a".into(),
                    verdict: *verdict,
                    duration_ms: None,
                    text: None,
                    places: vec![],
                })
                .collect();
            let reading = reading(cases);
            assert_eq!(judge(end, &reading), judged, "{verdicts:?}");
        }
    }

    /// Good news that contradicts itself is no good news.
    #[test]
    fn exit_code_zero_counts_only_with_a_report_that_is_whole() {
        let whole = reading(vec![CaseRun::of_step("any", Verdict::Pass)]);
        let broken = Reading { complete: false, broken: vec!["The end is missing.".into()], ..whole.clone() };
        let bad = Reading { cases: vec![CaseRun::of_step("any", Verdict::Fail)], ..broken.clone() };
        // Its runner ran cases that it did not name, or a bound of ours was reached: nothing is broken.
        let unnamed = Reading { complete: false, ..whole.clone() };
        for (reading, judged) in [
            (&whole, StepEnd::Exit { code: 0 }),
            (&broken, StepEnd::BadReport { failed: 0 }),
            (&bad, StepEnd::BadReport { failed: 1 }),
            (&unnamed, StepEnd::Exit { code: 0 }),
        ] {
            assert_eq!(judge(StepEnd::Exit { code: 0 }, reading), judged, "{reading:?}");
            assert_eq!(judge(StepEnd::Exit { code: 2 }, reading), StepEnd::Exit { code: 2 });
        }
    }

    #[test]
    fn a_case_is_not_run_any_more_only_if_the_step_ended_by_itself() {
        let cases = vec![CaseRun::of_step("any", Verdict::Pass)];
        let some = reading(cases);
        let none = Reading { cases: vec![], ..some.clone() };
        let partial = Reading { complete: false, ..some.clone() };
        let unplanned = Reading { unplanned: true, ..some.clone() };
        for (end, reading, all) in [
            (StepEnd::Exit { code: 0 }, &some, true),
            (StepEnd::Exit { code: 1 }, &some, true),
            (StepEnd::NoTests, &none, true),
            (StepEnd::BadReport { failed: 1 }, &some, true),
            (StepEnd::Exit { code: 1 }, &none, false),
            (StepEnd::Exit { code: 0 }, &partial, false),
            (StepEnd::Exit { code: 0 }, &unplanned, true),
            (StepEnd::Exit { code: 1 }, &unplanned, false),
            (StepEnd::TimedOut, &some, false),
            (StepEnd::Signal { signal: 11 }, &some, false),
        ] {
            assert_eq!(names_all_cases(&end, reading), all, "{end:?}");
        }
    }

    #[test]
    fn a_step_that_dies_without_a_bad_case_has_its_last_error_as_its_message() {
        let log = b"collecting\nModuleNotFoundError: No module named 'cgi'\n";
        let text = |end, reading: Option<&Reading>| step_case("test", &end, reading, log).unwrap().text;
        let message = Some("ModuleNotFoundError: No module named 'cgi'".to_string());
        let none = reading(vec![]);
        let good = reading(vec![CaseRun::of_step("any", Verdict::Pass)]);
        let bad = reading(vec![CaseRun::of_step("any", Verdict::Fail)]);
        let exit = |code| StepEnd::Exit { code };
        assert_eq!(text(exit(1), None), message);
        assert_eq!(text(exit(1), Some(&none)), message);
        assert_eq!(text(StepEnd::Signal { signal: 11 }, Some(&good)), message);
        assert_eq!(text(exit(1), Some(&bad)), None, "a test says what is wrong");
        assert_eq!(text(exit(0), Some(&good)), None);
    }

    /// In a suite that fails anyway, nothing else would show it.
    #[test]
    fn a_step_that_ends_before_all_its_cases_has_a_fault() {
        let some = reading(vec![CaseRun::of_step("any", Verdict::Fail)]);
        let none = Reading { cases: vec![], ..some.clone() };
        let partial = Reading { complete: false, broken: vec!["The end is missing.".into()], ..some.clone() };
        let stopped = Reading { complete: false, ..some.clone() };
        let unplanned = Reading { unplanned: true, ..some.clone() };
        for (end, reading, is_incomplete) in [
            (StepEnd::Exit { code: 1 }, &some, false),
            // Its runner was told to stop after the first failure.
            (StepEnd::Exit { code: 1 }, &stopped, false),
            (StepEnd::BadReport { failed: 0 }, &partial, true),
            (StepEnd::Exit { code: 1 }, &none, true),
            (StepEnd::Exit { code: 1 }, &partial, true),
            // Its failures may be all that there was to report.
            (StepEnd::Exit { code: 1 }, &unplanned, false),
            (StepEnd::Exit { code: 0 }, &partial, false),
            (StepEnd::Signal { signal: 11 }, &some, true),
            (StepEnd::TimedOut, &partial, true),
            (StepEnd::Cancelled, &partial, false),
        ] {
            let fault = incomplete_step_fault("test", &end, reading).map(|case| (case.name, case.text));
            let promise = reading.broken.first().cloned();
            let expected = ("fault:step:test ended before all its cases".to_string(), promise);
            assert_eq!(fault, is_incomplete.then_some(expected), "{end:?}");
        }
    }
}
