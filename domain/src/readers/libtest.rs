//! Reads what Rust's own test runner prints, as JSON or as text, one test binary after another. If cargo's lines are
//! among it, a case is named after its binary, too, since two binaries may have cases of the same name.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead};

use protocol::Verdict;
use serde::Deserialize;

use super::limits::MAX_CASES;
use super::line_reader::{self, LineFlow};
use super::report_builder::{ReportBuilder, milliseconds};

#[derive(Deserialize)]
struct Event {
    r#type: String,
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    message: String,
    exec_time: Option<f64>,
    #[serde(default)]
    failed: u64,
}

pub fn is_sign(line: &str) -> bool {
    announced(line).is_some() || line.starts_with("{ \"type\": \"suite\"")
}

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut run = Run {
        report,
        binary: None,
        suite: Suite::default(),
        indices: HashMap::new(),
        message_of: None,
        suites: 0,
        inner: 0,
        stopped: false,
    };
    let ended = line_reader::each(input, |line| run.on(line));
    run.ended();
    ended.finish(report)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    /// By cargo's name.
    binary: Option<String>,
    suite: Suite,
    /// The indices of this suite's cases in the report.
    indices: HashMap<String, usize>,
    /// The case to whose failure message the lines belong.
    message_of: Option<usize>,
    suites: usize,
    /// How many suites within the open one are not over: with `--nocapture` a case prints those that it runs.
    inner: usize,
    /// Whether cargo has given up a binary, and has not said yet that others were run all the same.
    stopped: bool,
}

/// One binary's run.
#[derive(Default)]
struct Suite {
    is_open: bool,
    /// Cases that have begun, and not ended yet.
    open: BTreeSet<String>,
    /// How many cases with a name passed or failed.
    ran: u64,
    passed: u64,
    bad: u64,
    /// How many cases it said it would run.
    announced: u64,
    /// Whether cargo has reported that it failed.
    is_given_up: bool,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        if line.starts_with('{')
            && let Ok(event) = serde_json::from_str::<Event>(line)
        {
            return self.event(event);
        }
        if self.inner > 0 {
            self.inner += usize::from(announced(line).is_some());
            self.inner -= usize::from(line.starts_with("test result: "));
            return LineFlow::Continue;
        }
        let text = line.trim_start();
        if line.contains("error: test failed, to rerun pass") {
            (self.suite.is_given_up, self.stopped) = (true, true);
        } else if line.starts_with("error: ") && text.trim_end().ends_with(" failed:") {
            self.stopped = false;
        }
        if let Some(binary) = binary(text) {
            // Cargo reports a binary that died before it runs the next one.
            if self.suite.is_open && !self.suite.is_given_up {
                return LineFlow::Continue;
            }
            self.close();
            self.binary = Some(binary);
        } else if let Some(count) = announced(line) {
            if self.suite.is_open && !self.suite.is_given_up {
                self.inner = 1;
                return LineFlow::Continue;
            }
            self.begin();
            self.suite.announced = count;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            return self.result(result);
        } else if let Some(title) = section(line) {
            self.message_of = self.indices.get(&self.named(title)).copied();
        } else if line.trim_end() == "failures:" {
            self.message_of = None;
        } else if let Some(index) = self.message_of {
            self.report.add_text(index, line);
        } else if let Some(test) = line.strip_prefix("test ") {
            return self.test(test);
        } else if let Some(verdict) = verdict(line.trim())
            && self.suite.open.len() == 1
            && let Some(name) = self.suite.open.pop_first()
        {
            // The verdict comes after what the case itself has printed.
            return self.end(&name, verdict, None);
        } else if let Some(name) = line.strip_prefix("    ")
            && self.suite.is_open
        {
            return self.listed(name);
        }
        LineFlow::Continue
    }

    fn event(&mut self, event: Event) -> LineFlow {
        match (event.r#type.as_str(), event.event.as_str()) {
            ("suite", "started") => self.begin(),
            ("suite", _) => {
                if event.failed > 0 && self.suite.bad == 0 {
                    self.report.hides_failures(event.failed);
                }
                if !self.suite.open.is_empty() {
                    return self.without_verdict();
                }
                self.suite = Suite::default();
                self.indices.clear();
            }
            ("test", "started") => {
                let name = self.named(&event.name);
                self.start(name);
            }
            ("test", word) => {
                let verdict = match word {
                    "ok" => Verdict::Pass,
                    "failed" => Verdict::Fail,
                    "ignored" => Verdict::Skip,
                    // It only takes long; its end is still to come.
                    "timeout" => return LineFlow::Continue,
                    word => {
                        let name = self.named(&event.name);
                        self.report.unknown_verdict(&name, word);
                        self.start(name);
                        return LineFlow::Continue;
                    }
                };
                let name = self.named(&event.name);
                self.suite.bad += u64::from(verdict.is_bad());
                self.suite.open.remove(&name);
                let duration = event.exec_time.and_then(|seconds| milliseconds(seconds * 1000.0));
                let Some(index) = self.report.push(&name, verdict, duration) else { return LineFlow::Stop };
                self.report.add_text(index, &event.stdout);
                self.report.add_text(index, &event.message);
            }
            _ => {}
        }
        LineFlow::Continue
    }

    /// `tests::adds ... ok`, or without its verdict while it runs.
    fn test(&mut self, test: &str) -> LineFlow {
        let Some((name, outcome)) =
            test.split_once(" ... ").or_else(|| Some((test.strip_suffix(" ...")?, "")))
        else {
            return LineFlow::Continue;
        };
        let name = self.named(name.strip_suffix(" - should panic").unwrap_or(name));
        match verdict(outcome.trim_end()) {
            Some(verdict) => {
                let reason = outcome.strip_prefix("ignored, ").map(str::to_string);
                self.end(&name, verdict, reason)
            }
            None => {
                self.start(name);
                LineFlow::Continue
            }
        }
    }

    fn end(&mut self, name: &str, verdict: Verdict, reason: Option<String>) -> LineFlow {
        self.suite.ran += u64::from(verdict != Verdict::Skip);
        self.suite.passed += u64::from(verdict == Verdict::Pass);
        self.suite.bad += u64::from(verdict.is_bad());
        self.suite.open.remove(name);
        let Some(index) = self.report.push(name, verdict, None) else { return LineFlow::Stop };
        if let Some(reason) = reason {
            self.report.add_text(index, &reason);
        }
        self.indices.insert(name.to_string(), index);
        LineFlow::Continue
    }

    fn start(&mut self, name: String) {
        if self.suite.open.len() < MAX_CASES {
            self.suite.open.insert(name);
        }
    }

    /// A name in the last list of failures, which is all that a quiet run prints about them.
    fn listed(&mut self, name: &str) -> LineFlow {
        let named = self.named(name);
        let is_name =
            !name.is_empty() && !name.starts_with(' ') && name.contains(|c: char| c.is_alphanumeric());
        if self.indices.contains_key(&named) || !is_name || self.suite.ran > 0 {
            return LineFlow::Continue;
        }
        self.report.names_failures_alone();
        match self.report.push(&named, Verdict::Fail, None) {
            Some(index) => {
                self.suite.bad += 1;
                self.indices.insert(named, index);
                LineFlow::Continue
            }
            None => LineFlow::Stop,
        }
    }

    fn begin(&mut self) {
        self.close();
        self.suites += 1;
        self.suite.is_open = true;
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; ...`
    fn result(&mut self, result: &str) -> LineFlow {
        let count = |word: &str| {
            let before = result.split_once(word)?.0.trim_end();
            before.rsplit([' ', ';', '.']).next()?.parse::<u64>().ok()
        };
        let [passed, failed, ignored, measured] =
            [" passed", " failed", " ignored", " measured"].map(|word| count(word).unwrap_or(0));
        let sum = [passed, failed, ignored, measured].into_iter().fold(0, u64::saturating_add);
        if sum < self.suite.announced {
            let announced = self.suite.announced;
            self.report.lacks(format!("A test binary announced {announced} tests and counts {sum}."));
        }
        if failed > 0 && self.suite.bad == 0 {
            self.report.hides_failures(failed);
        }
        let listed = u64::try_from(self.indices.len()).unwrap_or(u64::MAX);
        let open = u64::try_from(self.suite.open.len()).unwrap_or(u64::MAX);
        // The verdicts of these were lost in what they printed, and the count shows that they were good.
        if open > 0 && passed.checked_sub(self.suite.passed) == Some(open) {
            for name in std::mem::take(&mut self.suite.open) {
                if let LineFlow::Stop = self.end(&name, Verdict::Pass, None) {
                    return LineFlow::Stop;
                }
            }
        }
        let named = if self.suite.ran > 0 { self.suite.ran } else { listed };
        let unknown = u64::try_from(self.suite.open.len()).unwrap_or(u64::MAX);
        self.report.ran_unnamed(passed.saturating_add(failed).saturating_sub(named).saturating_sub(unknown));
        self.without_verdict()
    }

    /// The suite is over, and no verdict of these cases is known.
    fn without_verdict(&mut self) -> LineFlow {
        let open = std::mem::take(&mut self.suite.open);
        self.suite = Suite::default();
        self.indices.clear();
        self.message_of = None;
        for name in open {
            self.report.unknown_verdict(&name, "nothing that is known");
            if self.report.push(&name, Verdict::Unreached, None).is_none() {
                return LineFlow::Stop;
            }
        }
        LineFlow::Continue
    }

    /// Ends a suite. One that is open when the next one begins has died.
    fn close(&mut self) {
        let suite = std::mem::take(&mut self.suite);
        if suite.is_open {
            self.report.lacks("A test binary did not report its end; it may have died.".into());
            self.report.ends_within(suite.open);
        }
        self.indices.clear();
        self.message_of = None;
    }

    fn named(&self, name: &str) -> String {
        match &self.binary {
            Some(binary) => format!("{binary} {name}"),
            None => name.to_string(),
        }
    }

    fn ended(&mut self) {
        self.close();
        if self.stopped {
            let why = "Cargo stopped after the first test binary that failed; the later ones were not run.";
            self.report.stops(why.into());
        }
        if self.suites == 0 {
            self.report.lacks("The report is not from Rust's test runner: no suite has begun.".into());
        }
    }
}

/// How many tests a binary says it will run.
fn announced(line: &str) -> Option<u64> {
    let (count, word) = line.strip_prefix("running ")?.split_once(' ')?;
    if matches!(word.trim_end(), "test" | "tests") { count.parse().ok() } else { None }
}

/// `Running unittests src/lib.rs (target/debug/deps/sample-0123456789abcdef)`, without what differs from build to build.
fn binary(text: &str) -> Option<String> {
    if let Some(name) = text.strip_prefix("Doc-tests ") {
        return Some(format!("{}::doc", name.trim()));
    }
    let path = text.strip_prefix("Running ")?.trim_end().strip_suffix(')')?.rsplit_once('(')?.1;
    let file = path.rsplit(['/', '\\']).next()?;
    Some(file.rsplit_once('-').map_or(file, |(name, _)| name).to_string())
}

/// `---- tests::adds stdout ----`
fn section(line: &str) -> Option<&str> {
    let title = line.strip_prefix("---- ")?.trim_end().strip_suffix(" ----")?;
    title.strip_suffix(" stdout").or_else(|| title.strip_suffix(" stderr"))
}

fn verdict(word: &str) -> Option<Verdict> {
    match word {
        "ok" => Some(Verdict::Pass),
        "FAILED" => Some(Verdict::Fail),
        "ignored" => Some(Verdict::Skip),
        word if word.starts_with("ignored, ") => Some(Verdict::Skip),
        word if word.starts_with("bench: ") => Some(Verdict::Pass),
        // With times: `ok <0.003s>`.
        word => match word.split_once(" <")? {
            ("ok", _) => Some(Verdict::Pass),
            ("FAILED", _) => Some(Verdict::Fail),
            _ => None,
        },
    }
}
