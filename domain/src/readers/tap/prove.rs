//! Reads what Perl's prove prints: a line for each file, with `-v` the TAP of the file below it, and a summary.

use std::io::{self, BufRead};

use protocol::Verdict;

use super::Stream;
use crate::readers::line_reader::{self, LineFlow};
use crate::readers::report_builder::ReportBuilder;
use crate::readers::tally::{leading_number, number_behind};

pub fn is_sign(line: &str) -> bool {
    header(line)
        .is_some_and(|(file, rest)| file.ends_with(".t") && (rest.is_empty() || status(rest).is_some()))
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let stream = Stream::new(report);
    let mut run =
        Run { stream, file: None, first: 0, files: 0, sum_of_files: None, is_over: false, is_inner: false };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    stream: Stream<'d>,
    file: Option<File>,
    /// The first case of this run.
    first: usize,
    files: u64,
    /// How many files the summary counts.
    sum_of_files: Option<u64>,
    is_over: bool,
    /// Whether a run within a file is not over.
    is_inner: bool,
}

/// The file that is being run.
struct File {
    name: String,
    /// Its first case.
    first: usize,
    /// Whether the cases were printed, too.
    has_tap: bool,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        if self.is_inner {
            self.is_inner = !line.starts_with("Result: ");
            return LineFlow::Continue;
        }
        if let Some((name, rest)) = header(line) {
            // A file has its status before the next one begins, so this is what it printed itself.
            if self.file.is_some() {
                self.is_inner = true;
                return LineFlow::Continue;
            }
            if std::mem::take(&mut self.is_over) {
                (self.files, self.sum_of_files, self.first) = (0, None, self.stream.report.count());
            }
            self.files += 1;
            let first = self.stream.report.count();
            self.file = Some(File { name: name.to_string(), first, has_tap: false });
            return match status(rest) {
                Some(verdict) => self.close_file(verdict, rest),
                None => LineFlow::Continue,
            };
        }
        if line.starts_with("Files=") {
            self.sum_of_files = number_behind(line, "Files=");
            return LineFlow::Continue;
        }
        if let Some(result) = line.strip_prefix("Result: ") {
            return self.result(result.trim());
        }
        let is_status =
            self.file.is_some() && (line.trim_end() == "ok" || status(line).is_some_and(Verdict::is_bad));
        if is_status && let Some(verdict) = status(line) {
            return self.close_file(verdict, line);
        }
        if let Some(file) = &mut self.file {
            file.has_tap |= super::is_sign(line);
            return self.stream.on(line);
        }
        LineFlow::Continue
    }

    /// The file has ended so.
    fn close_file(&mut self, verdict: Verdict, line: &str) -> LineFlow {
        let Some(file) = self.file.take() else { return LineFlow::Continue };
        if file.has_tap {
            self.stream.end_document();
        }
        for case in self.stream.report.since(file.first) {
            case.places.push(file.name.clone());
        }
        let has_bad = self.stream.report.since(file.first).iter().any(|case| case.verdict.is_bad());
        let pushed = match verdict {
            verdict if !file.has_tap => self.stream.report.push(&file.name, verdict, None),
            // Its cases passed, and its program did not.
            verdict if verdict.is_bad() && !has_bad => self.stream.report.fault(&file.name, verdict),
            _ => return LineFlow::Continue,
        };
        let Some(index) = pushed else { return LineFlow::Stop };
        self.stream.report.add_text(index, line.trim());
        LineFlow::Continue
    }

    fn result(&mut self, result: &str) -> LineFlow {
        self.is_over = true;
        let files = self.files;
        if self.sum_of_files != Some(files) {
            let counted = self.sum_of_files.unwrap_or(0);
            self.stream.report.lacks(format!("Prove counts {counted} files, and the report names {files}."));
        }
        let bad = self.stream.report.since(self.first).iter().filter(|case| case.verdict.is_bad()).count();
        match (result, bad) {
            ("PASS" | "NOTESTS", 0) | ("FAIL", 1..) => {}
            ("FAIL", 0) => self.stream.report.hides_failures(1),
            (word, _) => {
                let word = crate::readers::report_builder::quote(word);
                self.stream.report.lacks(format!("Prove's result is {word}, which its files contradict."));
            }
        }
        LineFlow::Continue
    }

    fn ended(&mut self) {
        let Some(file) = self.file.take() else {
            if !self.is_over {
                self.stream.report.lacks("Prove's last line is missing; it may have ended too early.".into());
            }
            return;
        };
        let name = crate::readers::report_builder::quote(&file.name);
        self.stream.report.lacks(format!("Prove's output ends while it runs {name}."));
        if file.has_tap {
            self.stream.end_document();
        }
        for case in self.stream.report.since(file.first) {
            case.places.push(file.name.clone());
        }
    }
}

/// `t/words.t .. ok`: the file, and what follows the dots.
fn header(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" ..")?;
    let rest = rest.trim_start_matches('.');
    let is_header = !name.is_empty()
        && !name.contains(char::is_whitespace)
        && !name.starts_with(['#', '-', '.'])
        && name.contains(|c: char| c.is_alphanumeric())
        && (rest.is_empty() || rest.starts_with(' '));
    is_header.then(|| (name, rest.trim()))
}

fn status(text: &str) -> Option<Verdict> {
    let text = text.trim();
    if text == "ok" || text.strip_prefix("ok ").is_some_and(|time| time.trim().ends_with(" ms")) {
        return Some(Verdict::Pass);
    }
    if text.starts_with("skipped: ") || text == "skipped" {
        return Some(Verdict::Skip);
    }
    let failed =
        text.strip_prefix("Failed ").and_then(leading_number).is_some_and(|(_, rest)| rest.starts_with('/'));
    let is_bad = failed
        || text.starts_with("Dubious, test returned ")
        || text.starts_with("No subtests run")
        || text.starts_with("All ") && text.contains(" subtests passed")
        || text.starts_with("Bailout called.");
    is_bad.then_some(Verdict::Fail)
}
