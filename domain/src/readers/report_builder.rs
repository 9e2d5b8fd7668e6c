//! Builds a [`Reading`]. It enforces every bound on what is stored, so that no reader can forget one.

use protocol::Verdict;

use super::case_run::CaseRun;
use super::limits::{MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES, MAX_WARNINGS};
use super::names::{self, tidy};
use super::reading::{Reading, ReportSource};
use crate::numbers::whole;

/// Stands at the end of a text that was longer.
const TRUNCATED: &str = "\n[truncated]";
/// Skips may give their reasons, but a hundred thousand of them must leave room for the message of one failure.
const MAX_OTHER_TEXT_BYTES: usize = MAX_BUILD_TEXT_BYTES / 4;
/// No case runs for thirty years; such a number is the report's mistake.
const MAX_DURATION_MS: f64 = 1e12;

/// The message of the case that runs when its report ends.
pub const INTERRUPTED: &str = "The output ends while this case runs.";

/// Which cases of a report were read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    All,
    Some,
    /// The farm's own bounds ended the reading, so that a promise of the report may be kept in what was not read.
    Limited,
}

/// How far a report was read at some time.
#[derive(Clone, Copy)]
pub struct ReportMark {
    cases: usize,
    warnings: usize,
    broken: usize,
    extent: Extent,
    unnamed: u64,
}

/// What a reader has found so far.
pub struct ReportBuilder {
    cases: Vec<CaseRun>,
    warnings: Vec<String>,
    extent: Extent,
    broken: Vec<String>,
    unplanned: bool,
    text_bytes: usize,
    texts_dropped: bool,
    source: ReportSource,
    /// How many cases ran without being named.
    unnamed: u64,
    /// Whether a list of failures is all that names cases.
    has_only_failures: bool,
    /// How many cases ran whose names are among other lines that look like names.
    unreadable: u64,
    /// Cases that had begun and not ended when the report ended.
    open: Vec<usize>,
}

impl Default for ReportBuilder {
    fn default() -> ReportBuilder {
        ReportBuilder {
            cases: vec![],
            warnings: vec![],
            extent: Extent::All,
            broken: vec![],
            unplanned: false,
            text_bytes: 0,
            texts_dropped: false,
            source: ReportSource::Runner,
            unnamed: 0,
            has_only_failures: false,
            unreadable: 0,
            open: vec![],
        }
    }
}

impl ReportBuilder {
    /// Adds a case and returns its index; none if the report is full, and the reader is to stop.
    pub fn push(&mut self, name: &str, verdict: Verdict, duration_ms: Option<u64>) -> Option<usize> {
        if verdict.is_bad() && names::is_of_set_up(name) && !names::is_fault(name) {
            return self.set_up_failed(name, verdict);
        }
        if self.cases.len() == MAX_CASES {
            self.limit(format!("The report names more than {MAX_CASES} cases; the rest was not read."));
            return None;
        }
        self.cases.push(CaseRun { duration_ms, ..CaseRun::new(name, verdict) });
        Some(self.cases.len() - 1)
    }

    /// Adds what a suite reports only when it fails.
    pub fn fault(&mut self, name: &str, verdict: Verdict) -> Option<usize> {
        self.push(&names::fault(name), verdict, None)
    }

    /// Adds the failure of a set-up that many cases need: they were not reached, and are not missing.
    pub fn set_up_failed(&mut self, name: &str, verdict: Verdict) -> Option<usize> {
        self.lacks(format!("{} failed, so the cases that need it were not reached.", quote(name)));
        self.fault(name, verdict)
    }

    /// Sets the verdict of a case that is reported again: the worse one counts.
    pub fn worsen(&mut self, index: usize, verdict: Verdict) {
        let case = &mut self.cases[index];
        case.verdict = case.verdict.max(verdict);
    }

    /// The report ends while these cases run. If there is only one, it is taken for the reason; of several, the report
    /// does not show which one it was.
    pub fn ends_within(&mut self, names: impl IntoIterator<Item = String>) {
        let before = self.open.len();
        for name in names {
            let Some(index) = self.push(&name, Verdict::Unreached, None) else { return };
            self.open.push(index);
        }
        if let &[only] = &self.open[before..] {
            self.cases[only].verdict = Verdict::Error;
            self.add_text(only, INTERRUPTED);
        }
    }

    /// Takes back what [`Self::ends_within`] concluded: the report goes on, but is not read any further.
    pub fn forgive_open_cases(&mut self) {
        for &index in &self.open {
            let case = &mut self.cases[index];
            (case.verdict, case.text) = (Verdict::Unreached, None);
        }
    }

    /// The runner counts more cases than it named: so many more.
    pub fn ran_unnamed(&mut self, count: u64) {
        self.unnamed = self.unnamed.saturating_add(count);
    }

    /// The runner names failures and nothing else, however many pass.
    pub fn names_failures_alone(&mut self) {
        self.has_only_failures = true;
    }

    /// More cases ran, and their names cannot be told from what else was printed.
    pub fn ran_unreadably(&mut self, count: u64, sentence: String) {
        self.unreadable = self.unreadable.saturating_add(count);
        self.stops(sentence);
    }

    /// Takes back the cases of this range that are not bad.
    pub fn retain_bad(&mut self, range: std::ops::Range<usize>) {
        let bad: Vec<CaseRun> =
            self.cases[range.clone()].iter().filter(|case| case.verdict.is_bad()).cloned().collect();
        self.open.retain(|&index| index < range.start);
        self.cases.splice(range, bad);
    }

    /// Says that the cases are not from a runner's report.
    pub fn set_source(&mut self, source: ReportSource) {
        self.source = source;
    }

    pub fn mark(&self) -> ReportMark {
        ReportMark {
            cases: self.cases.len(),
            warnings: self.warnings.len(),
            broken: self.broken.len(),
            extent: self.extent,
            unnamed: self.unnamed,
        }
    }

    /// Takes back all that was read since: it is not of this report's runner.
    pub fn back_to(&mut self, mark: ReportMark) {
        self.truncate(mark.cases);
        self.warnings.truncate(mark.warnings);
        self.broken.truncate(mark.broken);
        (self.extent, self.unnamed) = (mark.extent, mark.unnamed);
    }

    /// Takes back the cases from this one on: they are not those of this report's runner.
    pub fn truncate(&mut self, count: usize) {
        self.cases.truncate(count);
        self.open.retain(|&index| index < count);
    }

    /// Takes back the cases of this range.
    pub fn remove(&mut self, range: std::ops::Range<usize>) {
        self.cases.drain(range);
    }

    /// Takes the cases from this one on out, to be appended again.
    pub fn split_off(&mut self, at: usize) -> Vec<CaseRun> {
        self.cases.split_off(at)
    }

    pub fn append(&mut self, cases: Vec<CaseRun>) {
        self.cases.extend(cases);
    }

    pub fn count(&self) -> usize {
        self.cases.len()
    }

    pub fn case(&mut self, index: usize) -> &mut CaseRun {
        &mut self.cases[index]
    }

    /// The cases from this one on.
    pub fn since(&mut self, index: usize) -> &mut [CaseRun] {
        &mut self.cases[index..]
    }

    /// Adds a line or more to a case's failure message, as far as there is room. A pass has none.
    pub fn add_text(&mut self, index: usize, piece: &str) {
        let case = &mut self.cases[index];
        let piece = piece.trim_end();
        if case.verdict == Verdict::Pass || piece.is_empty() {
            return;
        }
        let most = if case.verdict.is_bad() { MAX_BUILD_TEXT_BYTES } else { MAX_OTHER_TEXT_BYTES };
        let text = case.text.get_or_insert_default();
        let before = text.len();
        if text.ends_with(TRUNCATED) {
            return;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        append_bounded(text, piece);
        let added = text.len() - before;
        if self.text_bytes + added > most {
            text.truncate(before);
            if text.is_empty() {
                case.text = None;
            }
            self.texts_dropped = true;
        } else {
            self.text_bytes += added;
        }
    }

    /// Adds a warning. Nothing is missing because of it.
    pub fn warn(&mut self, sentence: String) {
        match self.warnings.len() + 1 {
            ..MAX_WARNINGS => self.warnings.push(sentence),
            MAX_WARNINGS => self.warnings.push("There are more warnings, which are left out here.".into()),
            _ => {}
        }
    }

    /// Adds a promise that the report breaks: it is not whole.
    pub fn lacks(&mut self, sentence: String) {
        if self.broken.len() < MAX_WARNINGS {
            self.broken.push(sentence.clone());
        }
        self.stops(sentence);
    }

    /// Adds a warning that the report names not all cases, and breaks no promise by that: its runner stopped on purpose,
    /// or ran some cases without naming them.
    pub fn stops(&mut self, sentence: String) {
        self.extent = self.extent.max(Extent::Some);
        self.warn(sentence);
    }

    /// Adds a warning that a bound of ours ends the reading. What the report would promise or keep after that is unknown.
    pub fn limit(&mut self, sentence: String) {
        self.extent = Extent::Limited;
        self.stops(sentence);
    }

    /// The runner's word for how this case ended is not known. That is no pass.
    pub fn unknown_verdict(&mut self, name: &str, word: &str) {
        let (case, word) = (quote(name), quote(word));
        self.lacks(format!("The report says {word} of {case}, which is no verdict that is known."));
    }

    /// The runner counts failures, and the report names none.
    pub fn hides_failures(&mut self, count: u64) {
        self.lacks(format!("The runner counts {count} failures, and the report names none."));
    }

    /// Adds a warning that the report does not say how many cases it was meant to hold.
    pub fn has_no_plan(&mut self, sentence: String) {
        self.unplanned = true;
        self.warn(sentence);
    }

    pub fn build(mut self) -> Reading {
        if self.extent == Extent::Limited {
            self.broken.clear();
        }
        if self.texts_dropped {
            self.warn("The failure texts are too long together; some were left out.".into());
        }
        if self.unnamed > 0 {
            self.account_for_unnamed();
        } else if self.has_only_failures && !self.names_a_pass() {
            self.call_failures_faults();
        }
        let named: u64 = self.cases.iter().map(|case| u64::from(case.ran())).sum();
        Reading {
            cases: self.cases,
            warnings: self.warnings,
            complete: self.extent == Extent::All,
            broken: self.broken,
            unplanned: self.unplanned,
            source: self.source,
            ran: named + self.unnamed + self.unreadable,
        }
    }

    /// If no pass has a name, then a failure that is not reported the next time has passed, so it is a fault. If some
    /// passes have names, those of a few were lost, and a case that is not reported may be one of them.
    fn account_for_unnamed(&mut self) {
        let unnamed = self.unnamed;
        let sentence =
            format!("{unnamed} cases ran without being named; let the runner name all that it runs.");
        if self.names_a_pass() {
            return self.stops(sentence);
        }
        self.warn(sentence);
        self.call_failures_faults();
    }

    fn names_a_pass(&self) -> bool {
        self.cases.iter().any(|case| case.verdict == Verdict::Pass)
    }

    fn call_failures_faults(&mut self) {
        self.cases.retain(|case| case.verdict.is_bad());
        for case in &mut self.cases {
            case.name = names::fault(&case.name);
        }
    }
}

/// A stranger's words for use inside one of our sentences: one line, at most 80 bytes.
pub fn quote(words: &str) -> String {
    let line = tidy(words);
    let start = names::truncated(&line, 80);
    format!("`{start}{}`", if start.len() < line.len() { "…" } else { "" })
}

/// A duration that a report gives, rounded; none if it cannot be right.
pub fn milliseconds(value: f64) -> Option<u64> {
    (0.0..=MAX_DURATION_MS).contains(&value).then(|| whole(value.round()))
}

/// Control characters tell a reader nothing, and they drive a terminal; newlines and tabs stay.
fn append_bounded(text: &mut String, piece: &str) {
    let most = MAX_CASE_TEXT_BYTES - TRUNCATED.len();
    for c in piece.chars() {
        let c = match c {
            '\r' => continue,
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if text.len() + c.len_utf8() > most {
            text.truncate(names::truncated(text, most).len());
            text.push_str(TRUNCATED);
            return;
        }
        text.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(verdict: Verdict) -> (ReportBuilder, usize) {
        let mut report = ReportBuilder::default();
        let case = report.push("a", verdict, None).unwrap();
        (report, case)
    }

    #[test]
    fn a_long_text_is_truncated_once_and_ends_with_a_mark() {
        let (mut report, case) = one(Verdict::Fail);
        report.add_text(case, &"é".repeat(MAX_CASE_TEXT_BYTES));
        report.add_text(case, "more");
        let text = report.build().cases.remove(0).text.unwrap();
        assert!(text.len() <= MAX_CASE_TEXT_BYTES && text.len() > MAX_CASE_TEXT_BYTES - 20);
        assert!(text.ends_with(TRUNCATED));
    }

    #[test]
    fn a_pass_has_no_text() {
        let (mut report, case) = one(Verdict::Pass);
        report.add_text(case, "fine");
        assert_eq!(report.build().cases[0].text, None);
    }

    #[test]
    fn reasons_of_skips_leave_room_for_failures() {
        let mut report = ReportBuilder::default();
        let reason = "r".repeat(MAX_CASE_TEXT_BYTES);
        for _ in 0..100 {
            let skip = report.push("skip", Verdict::Skip, None).unwrap();
            report.add_text(skip, &reason);
        }
        let fail = report.push("fail", Verdict::Fail, None).unwrap();
        report.add_text(fail, "why");
        let reading = report.build();
        assert_eq!(reading.cases[100].text.as_deref(), Some("why"));
        let kept: usize = reading.cases.iter().filter_map(|c| Some(c.text.as_ref()?.len())).sum();
        assert!(kept <= MAX_OTHER_TEXT_BYTES + 3);
        assert_eq!(reading.warnings, ["The failure texts are too long together; some were left out."]);
    }

    #[test]
    fn warnings_are_bounded_and_the_last_says_that_there_were_more() {
        let mut report = ReportBuilder::default();
        (0..100).for_each(|n| report.warn(format!("Sentence {n}.")));
        let reading = report.build();
        assert_eq!(reading.warnings.len(), MAX_WARNINGS);
        assert_eq!(reading.warnings[MAX_WARNINGS - 1], "There are more warnings, which are left out here.");
        assert!(reading.complete);
    }

    #[test]
    fn one_case_without_a_name_does_not_cost_the_others_theirs() {
        let mut report = ReportBuilder::default();
        report.push("good", Verdict::Pass, None);
        report.push("bad", Verdict::Fail, None);
        report.ran_unnamed(1);
        let reading = report.build();
        let names: Vec<_> = reading.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!((names, reading.complete, reading.ran), (vec!["good", "bad"], false, 3));
    }

    #[test]
    fn if_no_pass_has_a_name_failures_are_faults() {
        let mut report = ReportBuilder::default();
        report.push("bad", Verdict::Fail, None);
        report.ran_unnamed(1);
        let reading = report.build();
        let names: Vec<_> = reading.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!((names, reading.complete, reading.ran), (vec!["fault:bad"], true, 2));
    }

    #[test]
    fn an_impossible_duration_is_ignored() {
        for (value, expected) in
            [(1.4, Some(1)), (0.0, Some(0)), (-1.0, None), (f64::NAN, None), (f64::INFINITY, None)]
        {
            assert_eq!(milliseconds(value), expected, "{value}");
        }
    }
}
