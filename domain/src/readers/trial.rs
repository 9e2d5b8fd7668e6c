//! Reads what Twisted's trial prints: a tree of modules, classes and cases, then the failure messages.

use std::collections::HashMap;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::limits::MAX_CASE_TEXT_BYTES;
use super::line_reader::{self, LineFlow};
use super::names::{tidy, truncated};
use super::report_builder::ReportBuilder;
use super::unittest::{Totals, is_rule, total};

/// Deeper trees have more words than a name needs.
const MAX_DEPTH: usize = 16;

/// Trial's tree looks like much else; its verdicts do not.
pub fn is_sign(line: &str) -> bool {
    verdict(line).is_some_and(|(before, _)| before.trim_end().ends_with("...") || before.trim().is_empty())
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        report,
        tree: vec![],
        open: None,
        indices: HashMap::new(),
        block: None,
        totals: Totals::default(),
        is_over: false,
        seen_bad: false,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    /// The names above the case that comes next, by depth. A name that stays the same is not printed again, even
    /// below another one.
    tree: Vec<String>,
    /// The case that has begun and has no verdict yet.
    open: Option<String>,
    indices: HashMap<String, usize>,
    block: Option<Block>,
    totals: Totals,
    is_over: bool,
    /// Whether a case of this run is bad.
    seen_bad: bool,
}

/// A failure message of some cases: the message first, their names after the last empty line.
#[derive(Default)]
struct Block {
    verdict: Option<Verdict>,
    text: String,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        if is_rule(line, '=') || is_rule(line, '-') {
            let then = self.end_block();
            self.tree.clear();
            self.block = is_rule(line, '=').then(Block::default);
            return then;
        }
        if let Some(block) = &mut self.block {
            match (block.verdict, block.text.is_empty(), verdict(line)) {
                (None, true, Some(("", verdict))) => block.verdict = Some(verdict),
                _ => {
                    let room = MAX_CASE_TEXT_BYTES.saturating_sub(block.text.len() + 1);
                    block.text.push_str(truncated(line, room));
                    block.text.push('\n');
                }
            }
            return LineFlow::Continue;
        }
        if let Some(count) = total(line) {
            self.totals.count = Some(count);
        } else if let Some(skipped) = self.totals.skipped(line) {
            self.is_over = true;
            if line.starts_with("FAILED")
                && !self.seen_bad
                && ["failures=", "errors="].iter().any(|w| line.contains(w))
            {
                self.report.hides_failures(1);
            }
            self.seen_bad = false;
            self.totals.settle(skipped, self.report);
            self.indices.clear();
        } else {
            return self.in_tree(line);
        }
        LineFlow::Continue
    }

    fn in_tree(&mut self, line: &str) -> LineFlow {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let begun =
            line.trim_start().split_once(" ...").filter(|(name, _)| !name.contains(char::is_whitespace));
        match (begun, verdict(line)) {
            // The runner begins no case before it has given the last one its verdict.
            (Some(_), None) if self.open.is_some() => LineFlow::Continue,
            (Some((name, _)), outcome) if indent / 2 <= self.tree.len() && indent.is_multiple_of(2) => {
                if let LineFlow::Stop = self.without_verdict("nothing that is known") {
                    return LineFlow::Stop;
                }
                self.tree.truncate(indent / 2);
                self.open = Some(name.to_string());
                match (outcome, unknown_word(line)) {
                    (Some((_, verdict)), _) => self.close(verdict),
                    (None, Some(word)) => self.without_verdict(word),
                    (None, None) => LineFlow::Continue,
                }
            }
            (_, Some((_, verdict))) => self.close(verdict),
            (_, None) => {
                let word = line.trim();
                let is_name = !word.is_empty() && !word.contains(char::is_whitespace);
                if is_name && self.open.is_none() && indent.is_multiple_of(2) && indent / 2 <= self.tree.len()
                {
                    match self.tree.get_mut(indent / 2) {
                        Some(name) => *name = tidy(word),
                        None if indent / 2 < MAX_DEPTH => self.tree.push(tidy(word)),
                        None => {}
                    }
                }
                LineFlow::Continue
            }
        }
    }

    fn close(&mut self, verdict: Verdict) -> LineFlow {
        // A case stands below its module and its class; what stands alone is a module.
        let is_module = self.tree.is_empty();
        match self.take_open() {
            Some(name) => self.push(&name, verdict, is_module),
            None => LineFlow::Continue,
        }
    }

    /// What the runner says of the open case is no verdict that is known.
    fn without_verdict(&mut self, word: &str) -> LineFlow {
        let Some(name) = self.take_open() else { return LineFlow::Continue };
        self.report.unknown_verdict(&name, word);
        self.push(&name, Verdict::Unreached, false)
    }

    fn take_open(&mut self) -> Option<String> {
        let name = self.open.take()?;
        Some(self.tree.iter().chain([&name]).map(String::as_str).collect::<Vec<_>>().join("."))
    }

    fn push(&mut self, name: &str, verdict: Verdict, is_module: bool) -> LineFlow {
        self.totals.named(verdict);
        self.seen_bad |= verdict.is_bad();
        let pushed = match verdict {
            // A module that could not be loaded.
            Verdict::Error if is_module => self.report.set_up_failed(name, verdict),
            verdict => self.report.push(name, verdict, None),
        };
        let Some(index) = pushed else { return LineFlow::Stop };
        self.indices.insert(name.to_string(), index);
        LineFlow::Continue
    }

    fn end_block(&mut self) -> LineFlow {
        let Some(Block { verdict: Some(verdict), text }) = self.block.take() else {
            return LineFlow::Continue;
        };
        let text = text.trim_end();
        let (reason, names) = text.rsplit_once("\n\n").unwrap_or(("", text));
        for name in names.lines().map(str::trim).filter(|name| !name.is_empty() && !name.contains(' ')) {
            if !self.indices.contains_key(name)
                && let LineFlow::Stop = self.push(name, verdict, is_module(name))
            {
                return LineFlow::Stop;
            }
            if let Some(&index) = self.indices.get(name) {
                self.report.add_text(index, reason);
            }
        }
        LineFlow::Continue
    }

    fn ended(&mut self) {
        if !self.is_over {
            self.report.lacks("Trial's last line is missing; it may have ended too early.".into());
        }
        let open = self.take_open();
        self.report.ends_within(open);
    }
}

/// Without the tree only its name shows a module: none of its parts is a class.
fn is_module(name: &str) -> bool {
    !name.split('.').any(|part| part.starts_with(|c: char| c.is_uppercase()))
}

/// `test_a ...   [WEIRD]`: a word that stands where a verdict stands, and is none.
fn unknown_word(line: &str) -> Option<&str> {
    let (before, word) = line.trim_end().strip_suffix(']')?.rsplit_once('[')?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b"!?-_ ".contains(&b));
    (before.trim_end().ends_with("...") && is_word).then_some(word)
}

/// The verdict at the end of a line, and what is before it.
fn verdict(line: &str) -> Option<(&str, Verdict)> {
    let line = line.trim_end();
    let (before, word) = line.strip_suffix(']')?.rsplit_once('[')?;
    let verdict = match word {
        "OK" => Verdict::Pass,
        "FAIL" => Verdict::Fail,
        "ERROR" => Verdict::Error,
        "SKIPPED" => Verdict::Skip,
        "TODO" => Verdict::Xfail,
        "SUCCESS!?!" => Verdict::Xpass,
        _ => return None,
    };
    Some((before, verdict))
}
