//! A reading in the making. Every bound on what is kept is held here, so that no reader can forget one.

use protocol::Verdict;

use super::{
    CaseRun, MAX_BUILD_TEXT_BYTES, MAX_CASE_TEXT_BYTES, MAX_CASES, MAX_WARNINGS, Reading, ReportSource,
    names, tidy,
};

/// Stands at the end of a text that was longer.
const CUT: &str = "\n[cut here]";
/// Skips may give their reasons, but a hundred thousand of them must leave room for why one case failed.
const MAX_OTHER_TEXT_BYTES: usize = MAX_BUILD_TEXT_BYTES / 4;
/// No case runs for thirty years; such a number is the report's mistake.
const MAX_DURATION_MS: f64 = 1e12;

pub struct ReportBuilder {
    cases: Vec<CaseRun>,
    warnings: Vec<String>,
    complete: bool,
    unplanned: bool,
    text_bytes: usize,
    texts_dropped: bool,
    witness: ReportSource,
    /// How many cases ran without being named.
    unnamed: u64,
    /// Cases that had begun when the report ended.
    begun: Vec<usize>,
}

impl Default for ReportBuilder {
    fn default() -> ReportBuilder {
        ReportBuilder {
            cases: vec![],
            warnings: vec![],
            complete: true,
            unplanned: false,
            text_bytes: 0,
            texts_dropped: false,
            witness: ReportSource::Runner,
            unnamed: 0,
            begun: vec![],
        }
    }
}

impl ReportBuilder {
    /// Takes a case and says where it stands; `None` when no more may be kept, and the reader should stop.
    pub fn push(&mut self, name: &str, verdict: Verdict, duration_ms: Option<u64>) -> Option<usize> {
        if verdict.is_bad() && names::is_of_set_up(name) && !names::is_fault(name) {
            return self.set_up_failed(name, verdict);
        }
        if self.cases.len() == MAX_CASES {
            self.lacks(format!("The report names more than {MAX_CASES} cases; the rest was not read."));
            return None;
        }
        self.cases.push(CaseRun { name: tidy(name), verdict, duration_ms, text: None });
        Some(self.cases.len() - 1)
    }

    /// Takes what is told of only when it is bad.
    pub fn fault(&mut self, name: &str, verdict: Verdict) -> Option<usize> {
        self.push(&names::fault(name), verdict, None)
    }

    /// Something that many cases need could not be made: they were not reached, and are not gone.
    pub fn set_up_failed(&mut self, name: &str, verdict: Verdict) -> Option<usize> {
        self.lacks(format!("{} failed, so that the cases behind it were not reached.", quote(name)));
        self.fault(name, verdict)
    }

    /// Of two things that were said of a case, the worse one counts.
    pub fn worsen(&mut self, index: usize, verdict: Verdict) {
        let case = &mut self.cases[index];
        case.verdict = case.verdict.max(verdict);
    }

    /// The report ends while these cases run. One alone is what ended it; of several, nobody knows which.
    pub fn ends_within(&mut self, names: impl IntoIterator<Item = String>) {
        let before = self.begun.len();
        for name in names {
            let Some(index) = self.push(&name, Verdict::Unreached, None) else { return };
            self.begun.push(index);
        }
        if let &[only] = &self.begun[before..] {
            self.cases[only].verdict = Verdict::Error;
            self.add_text(only, "The output ends while this case runs.");
        }
    }

    /// Nobody is to blame for an end that is only ours: we read no further.
    pub fn was_cut(&mut self) {
        for &index in &self.begun {
            let case = &mut self.cases[index];
            (case.verdict, case.text) = (Verdict::Unreached, None);
        }
    }

    /// The runner says that so many more cases ran than it named.
    pub fn ran_unnamed(&mut self, count: u64) {
        self.unnamed = self.unnamed.saturating_add(count);
    }

    /// No runner speaks: what is found are lines that look like failures.
    pub fn only_lines(&mut self) {
        self.witness = ReportSource::Lines;
    }

    /// A runner whose cases are not read says that it ran none.
    pub fn ran_none(&mut self) {
        self.witness = ReportSource::Nothing;
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

    /// Adds a line or more to what a case says of itself, as far as there is room. A pass says nothing.
    pub fn add_text(&mut self, index: usize, piece: &str) {
        let case = &mut self.cases[index];
        let piece = piece.trim_end();
        if case.verdict == Verdict::Pass || piece.is_empty() {
            return;
        }
        let most = if case.verdict.is_bad() { MAX_BUILD_TEXT_BYTES } else { MAX_OTHER_TEXT_BYTES };
        let text = case.text.get_or_insert_default();
        let before = text.len();
        if text.ends_with(CUT) {
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

    /// Something is odd, but nothing is lost by it.
    pub fn warn(&mut self, sentence: String) {
        match self.warnings.len() + 1 {
            ..MAX_WARNINGS => self.warnings.push(sentence),
            MAX_WARNINGS => self.warnings.push("There are more warnings, which are left out here.".into()),
            _ => {}
        }
    }

    /// Something that the report meant to tell is not in it.
    pub fn lacks(&mut self, sentence: String) {
        self.complete = false;
        self.warn(sentence);
    }

    /// It does not say how much it means to tell.
    pub fn has_no_plan(&mut self, sentence: String) {
        self.unplanned = true;
        self.warn(sentence);
    }

    pub fn finish(mut self) -> Reading {
        if self.texts_dropped {
            self.warn("The failure texts are too long together; some were left out.".into());
        }
        if self.unnamed > 0 {
            self.tell_of_unnamed();
        }
        let named = self.cases.iter().filter(|case| case.ran()).count() as u64;
        Reading {
            cases: self.cases,
            warnings: self.warnings,
            complete: self.complete,
            unplanned: self.unplanned,
            witness: self.witness,
            ran: named + self.unnamed,
        }
    }

    /// Where passes have no names, a failure that is not told of has passed, and so it is a fault. Where some have, the
    /// names of a few were lost, and what is not told of may be among them.
    fn tell_of_unnamed(&mut self) {
        let unnamed = self.unnamed;
        let sentence =
            format!("{unnamed} cases ran without being named; let the runner name all that it runs.");
        if self.cases.iter().any(|case| case.verdict == Verdict::Pass) {
            return self.lacks(sentence);
        }
        self.warn(sentence);
        self.cases.retain(|case| case.verdict.is_bad());
        for case in &mut self.cases {
            case.name = names::fault(&case.name);
        }
    }
}

/// A stranger's words inside one of our sentences.
pub fn quote(words: &str) -> String {
    let line = tidy(words);
    let start = names::cut(&line, 80);
    format!("`{start}{}`", if start.len() < line.len() { "…" } else { "" })
}

pub fn milliseconds(value: f64) -> Option<u64> {
    (0.0..=MAX_DURATION_MS).contains(&value).then(|| value.round() as u64)
}

/// Control characters say nothing to a reader and much to a terminal; lines and tabs stay.
fn append_bounded(text: &mut String, piece: &str) {
    let most = MAX_CASE_TEXT_BYTES - CUT.len();
    for c in piece.chars() {
        let c = match c {
            '\r' => continue,
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if text.len() + c.len_utf8() > most {
            text.truncate(names::cut(text, most).len());
            text.push_str(CUT);
            return;
        }
        text.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(verdict: Verdict) -> (ReportBuilder, usize) {
        let mut draft = ReportBuilder::default();
        let case = draft.push("a", verdict, None).unwrap();
        (draft, case)
    }

    #[test]
    fn a_long_text_is_cut_once_and_says_so() {
        let (mut draft, case) = one(Verdict::Fail);
        draft.add_text(case, &"é".repeat(MAX_CASE_TEXT_BYTES));
        draft.add_text(case, "more");
        let text = draft.finish().cases.remove(0).text.unwrap();
        assert!(text.len() <= MAX_CASE_TEXT_BYTES && text.len() > MAX_CASE_TEXT_BYTES - 20);
        assert!(text.ends_with(CUT));
    }

    #[test]
    fn a_pass_keeps_no_text() {
        let (mut draft, case) = one(Verdict::Pass);
        draft.add_text(case, "fine");
        assert_eq!(draft.finish().cases[0].text, None);
    }

    #[test]
    fn reasons_of_skips_leave_room_for_failures() {
        let mut draft = ReportBuilder::default();
        let reason = "r".repeat(MAX_CASE_TEXT_BYTES);
        for _ in 0..100 {
            let skip = draft.push("skip", Verdict::Skip, None).unwrap();
            draft.add_text(skip, &reason);
        }
        let fail = draft.push("fail", Verdict::Fail, None).unwrap();
        draft.add_text(fail, "why");
        let reading = draft.finish();
        assert_eq!(reading.cases[100].text.as_deref(), Some("why"));
        let kept: usize = reading.cases.iter().filter_map(|c| Some(c.text.as_ref()?.len())).sum();
        assert!(kept <= MAX_OTHER_TEXT_BYTES + 3);
        assert_eq!(reading.warnings, ["The failure texts are too long together; some were left out."]);
    }

    #[test]
    fn warnings_are_few_and_the_last_says_that_there_were_more() {
        let mut draft = ReportBuilder::default();
        (0..100).for_each(|n| draft.warn(format!("Sentence {n}.")));
        let reading = draft.finish();
        assert_eq!(reading.warnings.len(), MAX_WARNINGS);
        assert_eq!(reading.warnings[MAX_WARNINGS - 1], "There are more warnings, which are left out here.");
        assert!(reading.complete);
    }

    #[test]
    fn one_case_without_a_name_takes_none_from_the_others() {
        let mut draft = ReportBuilder::default();
        draft.push("good", Verdict::Pass, None);
        draft.push("bad", Verdict::Fail, None);
        draft.ran_unnamed(1);
        let reading = draft.finish();
        let names: Vec<_> = reading.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!((names, reading.complete, reading.ran), (vec!["good", "bad"], false, 3));
    }

    #[test]
    fn where_no_pass_has_a_name_failures_are_faults() {
        let mut draft = ReportBuilder::default();
        draft.push("bad", Verdict::Fail, None);
        draft.ran_unnamed(1);
        let reading = draft.finish();
        let names: Vec<_> = reading.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!((names, reading.complete, reading.ran), (vec!["fault:bad"], true, 2));
    }

    #[test]
    fn a_duration_that_cannot_be_is_none() {
        for (value, expected) in
            [(1.4, Some(1)), (0.0, Some(0)), (-1.0, None), (f64::NAN, None), (f64::INFINITY, None)]
        {
            assert_eq!(milliseconds(value), expected, "{value}");
        }
    }
}
