//! Reads what a runner prints by a maintainer's own patterns: one for each verdict, with the name of the case as a group.
//!
//! The patterns are a stranger's: they are compiled within bounds, and their matching takes linear time.

use std::collections::BTreeSet;
use std::io::BufRead;

use protocol::{ReportPatterns, Verdict};
use regex::{Regex, RegexBuilder};

use super::limits::MAX_REPORT_BYTES;
use super::line_reader::{self, LineFlow};
use super::names::truncated;
use super::reading::{Reading, ReportSource};
use super::report_builder::ReportBuilder;

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1000;
/// How large a compiled pattern may be, and its cache while it matches.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// A pattern sees so much of a line.
const MAX_MATCHED_BYTES: usize = 4 << 10;
/// The group with the name of the case, and that with the number of cases.
const CASE: &str = "case";
const TOTAL: &str = "total";

/// Patterns that were checked and compiled.
pub struct Patterns {
    pass: Option<Regex>,
    fail: Regex,
    skip: Option<Regex>,
    end: Option<Regex>,
}

/// What is wrong with one of the patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternProblem {
    /// `pass`, `fail`, `skip` or `end`.
    pub key: &'static str,
    /// A sentence that says how to mend it.
    pub message: String,
}

impl Patterns {
    /// Checks and compiles patterns.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub fn compile(patterns: &ReportPatterns) -> Result<Patterns, Vec<PatternProblem>> {
        let mut problems = Vec::new();
        let mut of_case = |key, pattern: &str| {
            compiled(key, pattern).and_then(|regex| has_case(key, regex)).map_err(|it| problems.push(it)).ok()
        };
        let pass = patterns.pass.as_deref().map(|pattern| of_case("pass", pattern));
        let fail = of_case("fail", &patterns.fail);
        let skip = patterns.skip.as_deref().map(|pattern| of_case("skip", pattern));
        let end = patterns.end.as_deref().map(|pattern| compiled("end", pattern));
        let end = end.transpose().map_err(|it| problems.push(it)).ok().flatten();
        match fail {
            Some(fail) if problems.is_empty() => {
                Ok(Patterns { pass: pass.flatten(), fail, skip: skip.flatten(), end })
            }
            Some(_) | None => Err(problems),
        }
    }
}

fn compiled(key: &'static str, pattern: &str) -> Result<Regex, PatternProblem> {
    let problem = |message: String| PatternProblem { key, message };
    if pattern.len() > MAX_PATTERN_BYTES {
        let found = pattern.len();
        return Err(problem(format!("a pattern of {found} bytes; expected at most {MAX_PATTERN_BYTES}")));
    }
    let built = RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(50)
        .build();
    match built {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => Err(problem(
            "a pattern that is too large once compiled; expected fewer or smaller repetitions".into(),
        )),
        // The last line says what is wrong; those before it draw where.
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            Err(problem(format!("not a regular expression: {what}")))
        }
    }
}

fn has_case(key: &'static str, regex: Regex) -> Result<Regex, PatternProblem> {
    match regex.capture_names().flatten().any(|name| name == CASE) {
        true => Ok(regex),
        false => {
            let message =
                "no group `case`; expected one around the name of the case: `(?P<case>...)`".to_string();
            Err(PatternProblem { key, message })
        }
    }
}

/// Reads a whole report by patterns.
pub fn read(patterns: &Patterns, input: impl BufRead) -> Reading {
    let mut report = ReportBuilder::default();
    let mut run = Run {
        patterns,
        report: &mut report,
        message_of: None,
        named: BTreeSet::new(),
        cases: 0,
        total: None,
        ends: 0,
        is_ended: false,
    };
    let mut input = input.take(MAX_REPORT_BYTES);
    let ended = line_reader::each(&mut input, |line| run.on(line));
    run.ended();
    let read = ended.finish(&mut report);
    super::finished(report, read, input)
}

struct Run<'d> {
    patterns: &'d Patterns,
    report: &'d mut ReportBuilder,
    /// The case to whose failure message the lines belong.
    message_of: Option<usize>,
    /// The faults that are known, where passes have no names.
    named: BTreeSet<String>,
    cases: u64,
    /// How many cases the lines that end a run count.
    total: Option<u64>,
    ends: u64,
    is_ended: bool,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        let text = truncated(line, MAX_MATCHED_BYTES);
        let Patterns { pass, fail, skip, end } = self.patterns;
        let found =
            [(Some(fail), Verdict::Fail), (skip.as_ref(), Verdict::Skip), (pass.as_ref(), Verdict::Pass)]
                .into_iter()
                .find_map(|(pattern, verdict)| {
                    Some((pattern?.captures(text)?.name(CASE)?.as_str().trim(), verdict))
                });
        if let Some((name, verdict)) = found.filter(|(name, _)| !name.is_empty()) {
            return self.case(name, verdict);
        }
        if let Some(found) = end.as_ref().and_then(|end| end.captures(text)) {
            let total = found.name(TOTAL).and_then(|total| total.as_str().trim().parse::<u64>().ok());
            self.total = match (self.total, total) {
                (sum, Some(total)) => Some(sum.unwrap_or(0).saturating_add(total)),
                (sum, None) => sum,
            };
            self.ends += 1;
            (self.is_ended, self.message_of) = (true, None);
        } else if let Some(index) = self.message_of {
            self.report.add_text(index, line);
        }
        LineFlow::Continue
    }

    fn case(&mut self, name: &str, verdict: Verdict) -> LineFlow {
        self.is_ended = false;
        self.message_of = None;
        // A list of failures at the end names them again.
        if self.patterns.pass.is_none() && (!verdict.is_bad() || !self.named.insert(name.to_string())) {
            return LineFlow::Continue;
        }
        self.cases += 1;
        let pushed = match self.patterns.pass {
            Some(_) => self.report.push(name, verdict, None),
            None => self.report.fault(name, verdict),
        };
        self.message_of = pushed;
        if pushed.is_some() { LineFlow::Continue } else { LineFlow::Stop }
    }

    fn ended(&mut self) {
        let Patterns { pass, end, .. } = self.patterns;
        if end.is_some() && !self.is_ended {
            let sentence = match self.ends {
                0 => "No line matches `end`; the run may have ended too early.",
                _ => "Cases follow the last line that matches `end`; their run may have ended too early.",
            };
            self.report.lacks(sentence.into());
        }
        match (pass, self.total) {
            (Some(_), Some(total)) if total != self.cases => {
                let cases = self.cases;
                self.report.lacks(format!("The runner counts {total} cases, and the patterns find {cases}."));
            }
            (Some(_), _) => {}
            (None, Some(total)) if total < self.cases => {
                let cases = self.cases;
                self.report.lacks(format!("The runner counts {total} cases, and the patterns find {cases}."));
            }
            (None, Some(total)) => self.report.ran_unnamed(total - self.cases),
            // How many ran is not known, so the step's exit decides.
            (None, None) => self.report.set_source(ReportSource::Lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns() -> ReportPatterns {
        ReportPatterns {
            pass: Some(r"^PASS (?P<case>\S+)".into()),
            fail: r"^FAIL (?P<case>\S+)".into(),
            skip: Some(r"^SKIP (?P<case>\S+)".into()),
            end: Some(r"^(?P<total>\d+) run$".into()),
        }
    }

    /// `a pass; b fail`, with `...` if not all cases are named, and `!` if a promise is broken.
    fn picture(patterns: &ReportPatterns, report: &str) -> String {
        let compiled = Patterns::compile(patterns).ok().unwrap();
        let reading = read(&compiled, report.as_bytes());
        let mut words: Vec<String> =
            reading.cases.iter().map(|case| format!("{} {}", case.name, case.verdict)).collect();
        words.extend((!reading.complete).then(|| "...".to_string()));
        words.extend((!reading.broken.is_empty()).then(|| "!".to_string()));
        words.join("; ")
    }

    #[test]
    fn each_pattern_gives_a_verdict_and_the_end_shows_that_the_report_is_whole() {
        for (report, expected) in [
            ("PASS a\nFAIL b\nno\nSKIP c\n3 run\n", "a pass; b fail; c skip"),
            ("PASS a\nFAIL b\n", "a pass; b fail; ...; !"),
            ("PASS a\n2 run\n", "a pass; ...; !"),
            ("PASS a\n1 run\nPASS b\n1 run\n", "a pass; b pass"),
            ("PASS a\n1 run\nPASS b\n", "a pass; b pass; ...; !"),
            ("", "...; !"),
            ("0 run\n", ""),
        ] {
            assert_eq!(picture(&patterns(), report), expected, "{report}");
        }
        let failing = read(&Patterns::compile(&patterns()).ok().unwrap(), &b"FAIL b\nwhy\n1 run\n"[..]);
        assert_eq!(failing.cases[0].text.as_deref(), Some("why"));
    }

    #[test]
    fn without_passes_a_failure_is_a_fault_that_only_a_failing_step_shows() {
        let alone = ReportPatterns { pass: None, skip: None, end: None, ..patterns() };
        let reading = read(&Patterns::compile(&alone).ok().unwrap(), &b"FAIL b\nFAIL b\n"[..]);
        assert_eq!((reading.cases.len(), reading.source), (1, ReportSource::Lines));
        assert_eq!(reading.cases[0].name, "fault:b");
        let counted = ReportPatterns { pass: None, ..patterns() };
        let reading = read(&Patterns::compile(&counted).ok().unwrap(), &b"FAIL b\n5 run\n"[..]);
        assert_eq!((reading.ran, reading.source, reading.broken), (5, ReportSource::Runner, vec![]));
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said() {
        let of_fail = |fail: &str| {
            let wrong = ReportPatterns { fail: fail.into(), ..patterns() };
            let problems = Patterns::compile(&wrong).err().unwrap_or_default();
            problems
                .into_iter()
                .map(|problem| format!("{}: {}", problem.key, problem.message))
                .collect::<Vec<_>>()
        };
        assert_eq!(of_fail("^FAIL (?P<case>.+)"), [""; 0]);
        assert_eq!(of_fail("^FAIL (?<case>.+)"), [""; 0]);
        assert_eq!(
            of_fail("^FAIL (.+)"),
            ["fail: no group `case`; expected one around the name of the case: `(?P<case>...)`"]
        );
        assert_eq!(of_fail("(?P<case>a"), ["fail: not a regular expression: unclosed group"]);
        assert_eq!(of_fail(&"x".repeat(1001)), ["fail: a pattern of 1001 bytes; expected at most 1000"]);
        assert_eq!(
            of_fail(r"(?P<case>\w{1000}{1000})"),
            ["fail: a pattern that is too large once compiled; expected fewer or smaller repetitions"]
        );
        let two = ReportPatterns { pass: Some("(".into()), fail: ")".into(), ..patterns() };
        assert_eq!(Patterns::compile(&two).err().unwrap().len(), 2, "all problems are reported at once");
    }

    proptest! {
        #[test]
        fn a_report_that_is_cut_off_or_holds_anything_is_read_within_bounds(
            lines in prop::collection::vec("(PASS|FAIL|SKIP)? ?[a-c]{0,3}.{0,9}", 0..20),
            end in any::<prop::sample::Index>(),
        ) {
            let report = format!("{}\n{} run\n", lines.join("\n"), lines.len());
            let compiled = Patterns::compile(&patterns()).ok().unwrap();
            let cut = &report.as_bytes()[..end.index(report.len() - 4)];
            let reading = read(&compiled, cut);
            prop_assert!(!reading.broken.is_empty(), "{:?}", reading);
            let reading = read(&compiled, report.as_bytes());
            prop_assert!(reading.cases.len() <= lines.len());
            let is_tidy = reading.cases.iter().all(|case| !case.name.is_empty() && !case.name.contains(char::is_control));
            prop_assert!(is_tidy);
        }
    }
}
