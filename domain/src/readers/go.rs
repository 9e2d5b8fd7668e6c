//! Reads what `go test -json` prints (test2json): one event on each line, among the compiler's output.
//!
//! A test that has subtests is not a case itself, or each failure would be counted twice; it is a fault if it fails
//! although none of them did.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead};

use protocol::Verdict;
use serde::Deserialize;

use super::limits::{MAX_CASE_TEXT_BYTES, MAX_CASES};
use super::line_reader::{self, LineFlow};
use super::names::truncated;
use super::report_builder::{ReportBuilder, milliseconds, quote};

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Package", alias = "ImportPath", default)]
    package: String,
    #[serde(rename = "Test", default)]
    test: String,
    #[serde(rename = "Output", default)]
    output: String,
    #[serde(rename = "Elapsed")]
    elapsed: Option<f64>,
}

/// A package and one of its tests.
type Key = (String, String);

pub fn is_sign(line: &str) -> bool {
    line.starts_with('{') && serde_json::from_str::<Event>(line).is_ok_and(|event| !event.package.is_empty())
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        report,
        running: HashMap::new(),
        bad: HashSet::new(),
        packages: HashSet::new(),
        explained: HashSet::new(),
        compiler: String::new(),
        events: false,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    /// Tests that have begun, and what they have printed.
    running: HashMap<Key, Running>,
    /// Packages with a case that failed.
    bad: HashSet<String>,
    /// Packages that have begun and not ended.
    packages: HashSet<String>,
    /// Packages that printed `FAIL` themselves, at the end of all their tests, or that never began a test.
    explained: HashSet<String>,
    /// What was printed before an event of a package that cannot be built.
    compiler: String,
    events: bool,
}

#[derive(Default)]
struct Running {
    text: String,
    parent: bool,
    bad: bool,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        let Some(event) = line.starts_with('{').then(|| serde_json::from_str::<Event>(line).ok()).flatten()
        else {
            return self.printed(line);
        };
        self.events = true;
        if event.test.is_empty() {
            return self.package(event);
        }
        let key = (event.package, event.test);
        let verdict = match event.action.as_str() {
            "run" => {
                self.begin(key);
                return LineFlow::Continue;
            }
            "output" => {
                if let Some(running) = self.running.get_mut(&key) {
                    append(&mut running.text, &event.output);
                }
                return LineFlow::Continue;
            }
            "pass" | "bench" => Verdict::Pass,
            "skip" => Verdict::Skip,
            "fail" => Verdict::Fail,
            action => {
                self.unknown_action(action);
                return LineFlow::Continue;
            }
        };
        self.end(&key, verdict, event.elapsed)
    }

    fn begin(&mut self, key: Key) {
        if self.running.len() == MAX_CASES {
            return;
        }
        if let Some(parent) = outer(&key)
            && let Some(parent) = self.running.get_mut(&parent)
        {
            parent.parent = true;
        }
        self.packages.insert(key.0.clone());
        self.running.entry(key).or_default();
    }

    fn end(&mut self, key: &Key, verdict: Verdict, elapsed: Option<f64>) -> LineFlow {
        let running = self.running.remove(key).unwrap_or_default();
        if verdict.is_bad() {
            self.bad.insert(key.0.clone());
            if let Some(parent) = outer(key)
                && let Some(parent) = self.running.get_mut(&parent)
            {
                parent.bad = true;
            }
        }
        let name = named(key);
        let index = match (running.parent, verdict) {
            (true, Verdict::Fail) if !running.bad => self.report.fault(&name, verdict),
            (true, _) => return LineFlow::Continue,
            (false, _) => self.report.push(&name, verdict, elapsed.and_then(|s| milliseconds(s * 1000.0))),
        };
        self.add_text(index, &running.text)
    }

    fn add_text(&mut self, index: Option<usize>, text: &str) -> LineFlow {
        let Some(index) = index else { return LineFlow::Stop };
        let lines = text.lines().filter(|line| !is_frame(line));
        lines.for_each(|line| self.report.add_text(index, line));
        LineFlow::Continue
    }

    fn package(&mut self, event: Event) -> LineFlow {
        match event.action.as_str() {
            "start" => {
                self.packages.insert(event.package);
            }
            "output" | "build-output" => {
                append(&mut self.compiler, &event.output);
                if event.output == "FAIL\n" {
                    self.explained.insert(event.package);
                }
            }
            "pass" | "skip" => {
                self.packages.remove(&event.package);
                self.compiler.clear();
            }
            "fail" | "build-fail" => {
                self.packages.remove(&event.package);
                let text = std::mem::take(&mut self.compiler);
                // While the tests of a package are compiled, they are called `pkg [pkg.test]`.
                let package = event.package.split(' ').next().unwrap_or_default().to_string();
                if self.bad.insert(package.clone()) {
                    return self.package_failed(&package, &text);
                }
                if self.explained.insert(package.clone()) {
                    let package = quote(&package);
                    self.report.lacks(format!("{package} died, so its later tests were not reached."));
                }
            }
            action => self.unknown_action(action),
        }
        LineFlow::Continue
    }

    /// Go adds actions now and then; one that is not known may end a test.
    fn unknown_action(&mut self, action: &str) {
        const SILENT: [&str; 7] = ["run", "pause", "cont", "attr", "artifacts", "bench", "build-output"];
        if !SILENT.contains(&action) {
            let action = quote(action);
            self.report.lacks(format!("An event has the action {action}, which is not known."));
        }
    }

    /// A line that is no event: the compiler's, or an older version's about a package that cannot be built.
    fn printed(&mut self, line: &str) -> LineFlow {
        let failed = line.strip_prefix("FAIL\t").and_then(|rest| rest.split_once(" ["));
        match failed {
            Some((package, why)) if why.ends_with("failed]") => {
                let text = std::mem::take(&mut self.compiler);
                if self.bad.insert(package.to_string()) {
                    self.package_failed(package, &text)
                } else {
                    LineFlow::Continue
                }
            }
            Some(_) | None => {
                append(&mut self.compiler, line);
                append(&mut self.compiler, "\n");
                LineFlow::Continue
            }
        }
    }

    fn package_failed(&mut self, package: &str, text: &str) -> LineFlow {
        self.explained.insert(package.to_string());
        let index = self.report.set_up_failed(package, Verdict::Error);
        self.add_text(index, text)
    }

    fn ended(&mut self) {
        if !self.events && self.bad.is_empty() {
            self.report.lacks("The report is not of `go test -json`: it holds no event.".into());
        }
        if !self.packages.is_empty() {
            self.report.lacks("The report ends before its last package.".into());
        } else if !self.running.is_empty() {
            self.report.lacks("A test was still running when its package ended.".into());
        }
        let mut begun: Vec<String> =
            self.running.iter().filter(|(_, running)| !running.parent).map(|(key, _)| named(key)).collect();
        begun.sort();
        self.report.ends_within(begun);
    }
}

fn named((package, test): &Key) -> String {
    format!("{package}.{test}")
}

/// The test that contains this subtest.
fn outer((package, test): &Key) -> Option<Key> {
    Some((package.clone(), test.rsplit_once('/')?.0.to_string()))
}

/// The runner's own lines around the output of a test.
fn is_frame(line: &str) -> bool {
    line.starts_with("=== ") || line.trim_start().starts_with("--- ")
}

fn append(text: &mut String, piece: &str) {
    let room = MAX_CASE_TEXT_BYTES.saturating_sub(text.len());
    text.push_str(truncated(piece, room));
}
