//! Reads what RSpec prints in its documentation format, and hspec: a tree of groups and cases, then the failures, then a
//! count. RSpec's other formats name only the failures.
//!
//! A case that passes is a line like any other, so only the count shows whether all of them are cases.

use std::collections::VecDeque;

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::names::tidy;
use super::tally::{Counts, Runner, Tally, leading_number, number_before};

/// How many top-level groups are remembered to find where a run within this one began.
const MAX_BEGINS: usize = 100;
/// Deeper trees have more words than a name needs.
const MAX_DEPTH: usize = 32;

/// `9 examples, 3 failures, 3 pending`
pub fn closing(line: &str) -> Option<Counts> {
    let (total, rest) = leading_number(line.trim_end())?;
    let rest = rest.strip_prefix(" examples, ").or_else(|| rest.strip_prefix(" example, "))?;
    let bad = number_before(rest, " failure")?;
    let outside = number_before(rest, " error").unwrap_or(0);
    let skipped = number_before(rest, " pending").unwrap_or(0);
    Some(Counts { total: total.checked_add(outside)?, bad: bad.checked_add(outside)?, skipped })
}

/// Groups with their indentation, the outermost first.
type Groups = Vec<(usize, String)>;

#[derive(Default)]
pub struct SpecTree {
    part: Part,
    /// The groups above the next line.
    groups: Groups,
    /// The last plain line: a group if deeper lines follow, else a case that passed.
    plain: Option<(usize, String)>,
    is_behind_blank: bool,
    /// The names of those that failed in the tree, by their numbers in the list.
    failed: Vec<String>,
    /// How many cases were known when each of the last top-level groups began, and the groups above the line before it.
    begins: VecDeque<(usize, Groups)>,
    /// The first case of the run.
    first: usize,
    /// A line behind a run that begins another one if deeper lines follow at once.
    heading: Option<String>,
    /// How many cases were known when the list of failures began.
    list_from: Option<usize>,
    ended: Option<Ended>,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Part {
    #[default]
    Tree,
    Pending,
    Failures,
    Closing,
}

/// A run whose closing line has come. What follows is the rest of the run around it, the next run, or nothing of a runner;
/// the next closing line shows which.
struct Ended {
    /// Its first case, and the first case behind it.
    cases: std::ops::Range<usize>,
    /// The groups above it, if it is one within this run.
    groups: Groups,
    /// Whether a top-level group begins what follows.
    begins_anew: bool,
    /// Whether a line behind it is surely that of a case.
    is_marked: bool,
}

impl Runner for SpecTree {
    const UNENDED: &str =
        "The closing line with the count of examples is missing; the run may have ended too early.";
    const IS_SURE: bool = false;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if let Some(counts) = closing(line) {
            return self.close(counts, tally);
        }
        let text = line.trim();
        let was_blank = std::mem::replace(&mut self.is_behind_blank, text.is_empty());
        match text {
            "Pending:" => self.part = Part::Pending,
            _ if text.starts_with("Pending: (") => self.part = Part::Pending,
            "Failures:" | "An error occurred while loading" => {
                self.part = Part::Failures;
                self.list_from = Some(tally.report.count());
            }
            _ if line.starts_with("Finished in ") => {
                self.part = Part::Closing;
                tally.end_text();
            }
            _ => return self.line(line, was_blank, tally),
        }
        self.settle(tally)
    }

    fn ended(&mut self, tally: &mut Tally) {
        if self.ended.is_none() {
            // If the report is full, it has a warning already.
            let _ = self.settle(tally);
            return;
        }
        let _ = self.settle(tally);
        let Some(ended) = self.ended.take() else { return };
        if ended.is_marked {
            // Another run has begun, and has no closing line.
            tally.split(ended.cases.end);
        } else {
            tally.take_back(ended.cases.end..tally.report.count());
        }
    }
}

impl SpecTree {
    fn line(&mut self, line: &str, was_blank: bool, tally: &mut Tally) -> LineFlow {
        let indent = line.len() - line.trim_start_matches(' ').len();
        match self.part {
            Part::Pending => LineFlow::Continue,
            Part::Failures => self.in_list(line, indent, tally),
            Part::Closing if self.ended.is_none() => LineFlow::Continue,
            Part::Closing | Part::Tree => {
                if line.trim().is_empty() {
                    self.heading = None;
                    return self.settle(tally);
                }
                if !indent.is_multiple_of(2) || line.contains('\t') {
                    return LineFlow::Continue;
                }
                self.in_tree(line.trim(), indent, was_blank, tally)
            }
        }
    }

    fn in_tree(&mut self, text: &str, indent: usize, was_blank: bool, tally: &mut Tally) -> LineFlow {
        if let Some(ended) = &mut self.ended
            && self.part == Part::Closing
        {
            if indent == 0 {
                self.heading = Some(tidy(text));
                return LineFlow::Continue;
            }
            ended.begins_anew = self.heading.is_some();
            self.groups = match self.heading.take() {
                Some(heading) => vec![(0, heading)],
                None => std::mem::take(&mut ended.groups),
            };
            self.failed.clear();
        }
        self.part = Part::Tree;
        if indent == 0 && !(was_blank || self.groups.is_empty() && self.plain.is_none()) {
            return LineFlow::Continue;
        }
        if let Some(reason) = text.strip_prefix("# PENDING: ") {
            return self.pending(reason, tally);
        }
        if self.plain.as_ref().is_some_and(|(at, _)| indent > *at)
            && let Some(group) = self.plain.take()
        {
            self.groups.retain(|(at, _)| *at < group.0);
            if self.groups.len() < MAX_DEPTH {
                self.groups.push(group);
            }
        }
        if let LineFlow::Stop = self.settle(tally) {
            return LineFlow::Stop;
        }
        if indent == 0 {
            self.begins.push_back((tally.report.count(), std::mem::take(&mut self.groups)));
            if self.begins.len() > MAX_BEGINS {
                self.begins.pop_front();
            }
        }
        self.groups.retain(|(at, _)| *at < indent);
        let Some((name, verdict, reason)) = marked(text) else {
            self.plain = Some((indent, tidy(text)));
            return LineFlow::Continue;
        };
        if let Some(number) = verdict.is_bad().then(|| failure_number(text)).flatten() {
            let since = self.begins.back().map_or(self.first, |(count, _)| *count);
            let here = tally.report.since(since).iter().filter(|case| case.verdict.is_bad()).count();
            let expected = [tally.named().bad + 1, here as u64 + 1];
            // Such a line of another number was printed by a case.
            if !expected.contains(&number) {
                return LineFlow::Continue;
            }
        }
        if let Some(ended) = &mut self.ended {
            ended.is_marked = true;
        }
        self.case(name, verdict, reason, tally)
    }

    fn case(&mut self, name: &str, verdict: Verdict, reason: &str, tally: &mut Tally) -> LineFlow {
        let name = self.full(name);
        if verdict.is_bad() && self.failed.len() < super::limits::MAX_CASES {
            self.failed.push(name.clone());
        }
        let then = tally.case(&name, verdict, None);
        tally.text(reason);
        tally.end_text();
        then
    }

    fn full(&self, name: &str) -> String {
        self.groups.iter().map(|(_, group)| group.as_str()).chain([name]).collect::<Vec<_>>().join(" ")
    }

    /// The plain line before this one has nothing below it.
    fn settle(&mut self, tally: &mut Tally) -> LineFlow {
        match self.plain.take() {
            Some((0, name)) => {
                self.groups = vec![(0, name)];
                LineFlow::Continue
            }
            Some((indent, name)) => {
                self.groups.retain(|(at, _)| *at < indent);
                self.case(&name, Verdict::Pass, "", tally)
            }
            None => LineFlow::Continue,
        }
    }

    /// `# PENDING: reason` below the case.
    fn pending(&mut self, reason: &str, tally: &mut Tally) -> LineFlow {
        let Some((indent, name)) = self.plain.take() else { return LineFlow::Continue };
        self.groups.retain(|(at, _)| *at < indent);
        self.case(&name, Verdict::Skip, reason, tally)
    }

    /// `  1) Words splits`, and the message below it.
    fn in_list(&mut self, line: &str, indent: usize, tally: &mut Tally) -> LineFlow {
        let Some((number, name)) = leading_number(line.trim()).filter(|_| indent == 2) else {
            if !line.trim_start().starts_with("To rerun use:") {
                tally.text(line.trim());
            }
            return LineFlow::Continue;
        };
        let Some(name) = name.strip_prefix(") ") else { return LineFlow::Continue };
        let known = usize::try_from(number).ok().and_then(|number| self.failed.get(number.checked_sub(1)?));
        let name = known.map_or(name.trim_end_matches(" FIXED"), String::as_str).to_string();
        tally.listed(&name, Verdict::Fail)
    }

    fn close(&mut self, counts: Counts, tally: &mut Tally) -> LineFlow {
        if let LineFlow::Stop = self.settle(tally) {
            return LineFlow::Stop;
        }
        if let Some(inner) = self.ended.take() {
            let behind = tally.report.count() - inner.cases.end;
            let own = inner.cases.start.saturating_sub(self.first) + behind;
            if !inner.begins_anew && usize::try_from(counts.total) == Ok(own) {
                tally.take_back(inner.cases);
            } else {
                tally.split(inner.cases.end);
                self.first = tally.report.count() - behind;
            }
        }
        let end = tally.report.count();
        let inner = usize::try_from(counts.total).unwrap_or(usize::MAX);
        let begins = std::mem::take(&mut self.begins);
        let named = begins.into_iter().rev().find(|(count, _)| end - count.min(&end) == inner);
        let (first, groups) =
            named.unwrap_or_else(|| (self.list_from.unwrap_or(end).min(end), self.groups.clone()));
        self.ended = Some(Ended { cases: first..end, groups, begins_anew: false, is_marked: false });
        (self.part, self.list_from) = (Part::Closing, None);
        tally.close(counts);
        LineFlow::Continue
    }
}

/// `splits (FAILED - 1)`, `splits FAILED [1]`, `skips (PENDING: no net)`, `joins [✔]`: the name, verdict and reason.
fn marked(text: &str) -> Option<(&str, Verdict, &str)> {
    if let Some((name, reason)) = text.rsplit_once(" (PENDING: ") {
        return Some((name, Verdict::Skip, reason.trim_end_matches(')')));
    }
    if let Some((name, rest)) = text.rsplit_once(" (FAILED - ")
        && rest.ends_with(')')
    {
        return Some((name, Verdict::Fail, ""));
    }
    if let Some((name, rest)) = text.rsplit_once(" FAILED [")
        && rest.ends_with(']')
    {
        return Some((name, Verdict::Fail, ""));
    }
    let verdict = [("[✔]", Verdict::Pass), ("[✘]", Verdict::Fail)]
        .into_iter()
        .find_map(|(mark, verdict)| Some((text.strip_suffix(mark)?.trim_end(), verdict)));
    verdict.map(|(name, verdict)| (name, verdict, ""))
}

fn failure_number(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(" (FAILED - ").or_else(|| text.rsplit_once(" FAILED ["))?;
    leading_number(rest).map(|(number, _)| number)
}
