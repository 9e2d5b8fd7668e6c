//! What `go test -json` prints (test2json): one event a line, among what the compiler says.
//!
//! A test that has subtests is no case of its own, or each failure would be counted twice; it is a fault when it
//! fails although none of them did.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead};

use protocol::Verdict;
use serde::Deserialize;

use super::draft::{milliseconds, quote};
use super::lines::{self, LineFlow};
use super::{MAX_CASE_TEXT_BYTES, MAX_CASES, ReportBuilder, cut};

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

/// A package, or a test of it when there is a second part.
type Key = (String, String);

pub fn is_sign(line: &str) -> bool {
    line.starts_with('{') && serde_json::from_str::<Event>(line).is_ok_and(|event| !event.package.is_empty())
}

pub fn read(input: impl BufRead, draft: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        draft,
        running: HashMap::new(),
        bad: HashSet::new(),
        packages: HashSet::new(),
        explained: HashSet::new(),
        compiler: String::new(),
        events: false,
    };
    let ended = lines::each(input, |line| run.on(line));
    run.ended();
    ended.told_to(draft)
}

struct Run<'d> {
    draft: &'d mut ReportBuilder,
    /// Tests that have begun, and what they have printed.
    running: HashMap<Key, Running>,
    /// Packages with a case that failed.
    bad: HashSet<String>,
    /// Packages that have begun and not ended.
    packages: HashSet<String>,
    /// Packages that said themselves that they failed, at the end of all their tests, or that never began one.
    explained: HashSet<String>,
    /// What was printed before an event that tells of a package that cannot be built.
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
                    say(&mut running.text, &event.output);
                }
                return LineFlow::Continue;
            }
            "pass" | "bench" => Verdict::Pass,
            "skip" => Verdict::Skip,
            "fail" => Verdict::Fail,
            _ => return LineFlow::Continue,
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
            (true, Verdict::Fail) if !running.bad => self.draft.fault(&name, verdict),
            (true, _) => return LineFlow::Continue,
            (false, _) => self.draft.push(&name, verdict, elapsed.and_then(|s| milliseconds(s * 1000.0))),
        };
        self.tell(index, &running.text)
    }

    fn tell(&mut self, index: Option<usize>, text: &str) -> LineFlow {
        let Some(index) = index else { return LineFlow::Stop };
        let told = text.lines().filter(|line| !is_frame(line));
        told.for_each(|line| self.draft.add_text(index, line));
        LineFlow::Continue
    }

    fn package(&mut self, event: Event) -> LineFlow {
        match event.action.as_str() {
            "start" => {
                self.packages.insert(event.package);
            }
            "output" | "build-output" => {
                say(&mut self.compiler, &event.output);
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
                // `pkg [pkg.test]` is how the tests of a package are called while they are compiled.
                let package = event.package.split(' ').next().unwrap_or_default().to_string();
                if self.bad.insert(package.clone()) {
                    return self.package_failed(&package, &text);
                }
                if self.explained.insert(package.clone()) {
                    let package = quote(&package);
                    self.draft
                        .lacks(format!("{package} died, so that its tests behind that were not reached."));
                }
            }
            _ => {}
        }
        LineFlow::Continue
    }

    /// What is no event: the compiler, and what older versions say of a package that cannot be built.
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
                say(&mut self.compiler, line);
                say(&mut self.compiler, "\n");
                LineFlow::Continue
            }
        }
    }

    fn package_failed(&mut self, package: &str, text: &str) -> LineFlow {
        self.explained.insert(package.to_string());
        let index = self.draft.set_up_failed(package, Verdict::Error);
        self.tell(index, text)
    }

    fn ended(&mut self) {
        if !self.events && self.bad.is_empty() {
            self.draft.lacks("The report is not of `go test -json`: it holds no event.".into());
        }
        if !self.packages.is_empty() {
            self.draft.lacks("The report ends before its last package.".into());
        } else if !self.running.is_empty() {
            self.draft.lacks("A test was still running when its package ended.".into());
        }
        let mut begun: Vec<String> =
            self.running.iter().filter(|(_, running)| !running.parent).map(|(key, _)| named(key)).collect();
        begun.sort();
        self.draft.ends_within(begun);
    }
}

fn named((package, test): &Key) -> String {
    format!("{package}.{test}")
}

/// The test that this one is a part of.
fn outer((package, test): &Key) -> Option<Key> {
    Some((package.clone(), test.rsplit_once('/')?.0.to_string()))
}

/// The runner's own lines around what a test says.
fn is_frame(line: &str) -> bool {
    line.starts_with("=== ") || line.trim_start().starts_with("--- ")
}

fn say(text: &mut String, piece: &str) {
    let room = MAX_CASE_TEXT_BYTES.saturating_sub(text.len());
    text.push_str(cut(piece, room));
}
