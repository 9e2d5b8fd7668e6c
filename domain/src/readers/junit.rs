//! Reads JUnit XML: nested `testsuite`s of `testcase`s. DTDs have no effect, and only XML's own five entities are
//! expanded, so an entity bomb is a warning and some text.

use std::io::{self, BufRead};

use protocol::Verdict;
use quick_xml::Reader;
use quick_xml::errors::Error as XmlError;
use quick_xml::events::{BytesDecl, BytesStart, Event};

use super::line_reader::NOT_UTF8;
use super::names;
use super::report_builder::{ReportBuilder, milliseconds, quote};
use super::sanitizer::{MAX_TOKEN_BYTES, Sanitizer};

/// Real reports are five deep; the parser remembers each open tag.
const MAX_DEPTH: usize = 100;
/// Enough for `#x10FFFF;` and for any name that occurs, such as `unknown;`.
const MAX_REFERENCE_BYTES: usize = 12;
/// Bytes that are no UTF-8 are read as Latin-1 (see `line_reader`), so these encodings need no warning.
const READ_AS_THEY_ARE: [&str; 7] =
    ["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"];

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut reader = Reader::from_reader(Sanitizer::new(input));
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    let mut run = Run { report, depth: 0, within: vec![], suites: Suites::None, open: None, fault: None };
    let mut buffer = Vec::new();
    let result = loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break Ok(()),
            Ok(event) => match run.on(event) {
                Then::Continue => {}
                Then::Stop => return Ok(()),
            },
            Err(XmlError::Io(error)) => break Err(io::Error::new(error.kind(), error.to_string())),
            Err(error) => {
                run.malformed(&error);
                break Ok(());
            }
        }
    };
    run.ended();
    let drained = reader.get_mut().drain();
    if reader.get_ref().replaced {
        report.warn(NOT_UTF8.into());
    }
    result.and(drained)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    /// How many elements are open.
    depth: usize,
    /// The suites that are open, outermost first.
    within: Vec<Suite>,
    suites: Suites,
    open: Option<Open>,
    /// A failure of a suite itself, whose end is not read yet.
    fault: Option<Open>,
}

/// A `testsuite`, or the `testsuites` around them.
struct Suite {
    /// None of a `testsuites`.
    name: Option<String>,
    depth: usize,
    /// The counts in its attributes.
    declared: Counts,
    /// What it holds, with its inner suites.
    seen: Counts,
    /// Whether its writer counts as tests what is no case: Catch2 and doctest count assertions.
    counts_more: bool,
    has_time: bool,
}

/// How many cases there are, and how many elements report a failed one.
#[derive(Default)]
struct Counts {
    tests: u64,
    skips: u64,
    errors: u64,
    failures: u64,
}

enum Suites {
    None,
    Seen,
    Malformed,
}

enum Then {
    Continue,
    Stop,
}

/// A `testcase` whose end is not read yet.
struct Open {
    depth: usize,
    name: String,
    verdict: Verdict,
    duration_ms: Option<u64>,
    text: String,
    /// The depth of the element whose content is the failure message.
    message_of: Option<usize>,
    standing: Standing,
    /// Whether it holds something of which we do not know whether it reports a failure.
    has_unknown: bool,
    places: Vec<String>,
}

/// How the verdict of a case is to be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Plain,
    /// Expected to fail, whatever it did.
    Todo,
    /// If it fails, it is no case, but a set-up that many cases need.
    SetUp,
}

impl Run<'_> {
    fn on(&mut self, event: Event<'_>) -> Then {
        match event {
            Event::Start(tag) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    self.report
                        .limit(format!("Elements lie more than {MAX_DEPTH} deep; the rest was not read."));
                    return Then::Stop;
                }
                self.start(&tag);
            }
            Event::End(tag) => {
                let then = self.end();
                let is_suite = matches!(tag.local_name().as_ref(), "testsuite" | "testsuites");
                if is_suite && self.within.last().is_some_and(|suite| suite.depth == self.depth) {
                    self.close_suite();
                }
                self.depth = self.depth.saturating_sub(1);
                return then;
            }
            Event::Text(text) => self.add_text(&text),
            Event::CData(text) => self.add_text(&text),
            Event::GeneralRef(name) => {
                let mut text = String::new();
                resolve(&name, &mut text);
                self.add_text(&text);
            }
            Event::DocType(declarations) if declarations.contains("<!ENTITY") => {
                self.report.warn("The report declares entities; they are not expanded.".into());
            }
            Event::Decl(declaration) => self.declared(&declaration),
            Event::DocType(_) | Event::Comment(_) | Event::PI(_) | Event::Empty(_) | Event::Eof => {}
        }
        Then::Continue
    }

    fn start(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name();
        let element = name.as_ref();
        if let Some(suite) = self.within.last_mut() {
            match element {
                "error" | "flakyError" | "rerunError" => suite.seen.errors += 1,
                "failure" | "flakyFailure" | "rerunFailure" => suite.seen.failures += 1,
                "skipped" => suite.seen.skips += 1,
                "testcase" => suite.seen.tests += 1,
                _ => {}
            }
        }
        if let Some(case) = &mut self.open {
            let is_known = Self::in_case(self.report, case, tag, self.depth);
            if !is_known && !tag.name().as_ref().contains(':') {
                case.has_unknown = true;
                let (element, case) = (quote(element), quote(&case.name));
                self.report
                    .lacks(format!("The case {case} holds {element}, which is no element that is known."));
            }
            return;
        }
        let is_inside = self.within.last().is_some_and(|suite| suite.depth + 1 == self.depth);
        match element {
            "testsuites" | "testsuite" => {
                self.suites = Suites::Seen;
                self.within.push(suite(tag, self.depth));
            }
            "testcase" => {
                self.suites = Suites::Seen;
                let names: Vec<String> = self.within.iter().filter_map(|suite| suite.name.clone()).collect();
                let (case, word) = open(tag, self.depth, &names);
                if let Some(word) = word {
                    self.report.unknown_verdict(&case.name, &word);
                }
                if let Some(suite) = self.within.last_mut() {
                    suite.seen.failures += u64::from(case.verdict.is_bad());
                    // This is how doctest writes a case; GoogleTest gives a suite its time.
                    suite.counts_more |=
                        !suite.has_time && attribute(tag, "status").as_deref() == Some("run");
                }
                self.open = Some(case);
            }
            "error" | "failure" if is_inside => self.suite_failed(tag),
            _ if is_inside
                && self.fault.is_none()
                && !is_silent(element)
                && !tag.name().as_ref().contains(':') =>
            {
                let element = quote(element);
                self.report.lacks(format!("A suite holds {element}, which is no element that is known."));
            }
            _ => {}
        }
    }

    /// Reads an element inside a case; false if it is not known what it reports.
    fn in_case(report: &mut ReportBuilder, case: &mut Open, tag: &BytesStart<'_>, depth: usize) -> bool {
        let name = tag.local_name();
        let element = name.as_ref();
        if element == "testcase" {
            case.has_unknown = true;
            let name = quote(&case.name);
            report.lacks(format!("Cases lie within the case {name}; they were not read."));
            return true;
        }
        // Inside another element, a word of ours may be anything; in a case within a case it is not.
        if depth != case.depth + 1 && !(case.has_unknown && matches!(element, "error" | "failure")) {
            return true;
        }
        // A `flakyFailure` or `rerunFailure` is a run that another run of the same case replaced; that one is
        // reported beside it.
        let kind = attribute(tag, "type").unwrap_or_default();
        let verdict = match (element, kind.as_str()) {
            // This is how xmlrunner writes an unexpected pass.
            ("error" | "failure", "UnexpectedSuccess") => Verdict::Xpass,
            ("failure", _) => Verdict::Fail,
            ("error", _) => Verdict::Error,
            ("skipped", "pytest.xfail" | "XFAIL") => Verdict::Xfail,
            ("skipped", "todo") => {
                case.standing = Standing::Todo;
                Verdict::Pass
            }
            ("skipped", _) => Verdict::Skip,
            (element, _) => return is_silent(element),
        };
        case.verdict = case.verdict.max(verdict);
        case.message_of = Some(depth);
        let message = attribute(tag, "message");
        if verdict == Verdict::Error && message.as_deref() == Some("collection failure") {
            case.standing = Standing::SetUp;
        }
        // LuaUnit writes its message into the type.
        if let Some(message) = message.or(Some(kind).filter(|_| verdict.is_bad())) {
            case.add_text(&message);
            case.add_text("\n");
        }
        true
    }

    /// A suite that could not be set up, or not be loaded, reports that itself.
    fn suite_failed(&mut self, tag: &BytesStart<'_>) {
        let name =
            self.within.iter().rev().find_map(|suite| suite.name.clone().filter(|name| !name.is_empty()));
        let verdict = if tag.local_name().as_ref() == "error" { Verdict::Error } else { Verdict::Fail };
        let mut fault = Open {
            depth: self.depth,
            name: name.unwrap_or_default(),
            verdict,
            duration_ms: None,
            text: String::new(),
            message_of: Some(self.depth),
            standing: Standing::SetUp,
            has_unknown: false,
            places: vec![],
        };
        for word in ["message", "type"].into_iter().filter_map(|word| attribute(tag, word)).take(1) {
            fault.add_text(&word);
            fault.add_text("\n");
        }
        self.fault = Some(fault);
    }

    fn close_suite(&mut self) {
        let Some(suite) = self.within.pop() else { return };
        suite.check(self.report);
        if let Some(outer) = self.within.last_mut() {
            outer.seen.tests += suite.seen.tests;
            outer.seen.skips += suite.seen.skips;
            outer.seen.errors += suite.seen.errors;
            outer.seen.failures += suite.seen.failures;
            outer.counts_more |= suite.counts_more;
        }
    }

    fn end(&mut self) -> Then {
        if self.fault.as_ref().is_some_and(|fault| fault.depth == self.depth)
            && let Some(fault) = self.fault.take()
        {
            return self.push(fault);
        }
        let Some(case) = &mut self.open else { return Then::Continue };
        if case.message_of == Some(self.depth) {
            case.message_of = None;
            case.add_text("\n");
        }
        if case.depth == self.depth
            && let Some(case) = self.open.take()
        {
            return self.push(case);
        }
        Then::Continue
    }

    fn add_text(&mut self, text: &str) {
        if let Some(case) = self.open.as_mut().or(self.fault.as_mut())
            && case.message_of.is_some()
        {
            case.add_text(text);
        }
    }

    fn push(&mut self, mut case: Open) -> Then {
        if case.has_unknown && !case.verdict.is_bad() {
            case.verdict = Verdict::Unreached;
        }
        let pushed = match (case.standing, case.verdict.is_bad()) {
            (Standing::Plain, _) | (Standing::SetUp, false) => {
                self.report.push(&case.name, case.verdict, case.duration_ms)
            }
            (Standing::Todo, true) => self.report.push(&case.name, Verdict::Xfail, case.duration_ms),
            (Standing::Todo, false) => self.report.push(&case.name, Verdict::Xpass, case.duration_ms),
            (Standing::SetUp, true) => self.report.set_up_failed(&case.name, case.verdict),
        };
        let Some(index) = pushed else { return Then::Stop };
        self.report.add_text(index, case.text.trim());
        self.report.case(index).places = case.places;
        Then::Continue
    }

    fn declared(&mut self, declaration: &BytesDecl<'_>) {
        if let Some(Ok(encoding)) = declaration.encoding()
            && !READ_AS_THEY_ARE.contains(&encoding.to_lowercase().as_str())
        {
            let encoding = quote(&encoding);
            self.report.warn(format!("The report says that it is {encoding}; it was read as UTF-8."));
        }
    }

    fn malformed(&mut self, error: &XmlError) {
        self.suites = Suites::Malformed;
        let reason = quote(&error.to_string());
        self.report.lacks(format!(
            "The XML is malformed or incomplete after {} cases ({reason}); the cases before that count.",
            self.report.count()
        ));
    }

    fn ended(&mut self) {
        match self.suites {
            Suites::None => self.report.lacks("The report is not JUnit XML: it has no `testsuite`.".into()),
            Suites::Seen if self.depth > 0 => self.report.lacks(format!(
                "The report ends early, after {} cases: its last elements are not closed.",
                self.report.count()
            )),
            Suites::Seen | Suites::Malformed => {}
        }
        if let Some(fault) = self.fault.take() {
            self.push(fault);
        }
        // An open case that has reported a failure has failed; of another one nothing is known.
        if let Some(case) = self.open.take()
            && case.verdict.is_bad()
        {
            self.push(case);
        }
    }
}

impl Open {
    fn add_text(&mut self, text: &str) {
        let room = MAX_TOKEN_BYTES.saturating_sub(self.text.len());
        self.text.push_str(names::truncated(text, room));
    }
}

impl Suite {
    /// Gotestsum counts a package that cannot be built as an error, and writes no element for it. Some writers count
    /// failures as errors, so both counts together must be too high, or there must be no failure at all. Many count more
    /// failures than cases, and some write no element for a skip.
    fn check(&self, report: &mut ReportBuilder) {
        let (declared, seen) = (&self.declared, &self.seen);
        let at = self.name.as_deref().filter(|name| !name.is_empty());
        let what = at.map_or("The report".into(), |name| format!("Suite {}", quote(name)));
        let (declared_bad, seen_bad) =
            (declared.errors.saturating_add(declared.failures), seen.errors + seen.failures);
        let unseen_skips = declared.skips.saturating_sub(seen.skips);
        if declared.errors > seen.errors && declared_bad > seen_bad {
            let (declared, seen) = (declared.errors, seen.errors);
            report.lacks(format!(
                "{what} counts more errors ({declared}) than it holds ({seen}): it is incomplete."
            ));
        } else if declared_bad > 0 && seen_bad == 0 {
            report.lacks(format!("{what} counts {declared_bad} failures and holds none: it is incomplete."));
        } else if !self.counts_more && declared.tests > seen.tests.saturating_add(unseen_skips) {
            let (declared, seen) = (declared.tests, seen.tests);
            report.lacks(format!(
                "{what} counts more cases ({declared}) than it holds ({seen}): it is incomplete."
            ));
        }
    }
}

fn suite(tag: &BytesStart<'_>, depth: usize) -> Suite {
    let count = |name| attribute(tag, name).and_then(|count| count.trim().parse().ok()).unwrap_or(0_u64);
    let skips =
        ["skipped", "skips", "disabled", "ignored"].map(count).into_iter().fold(0, u64::saturating_add);
    let declared =
        Counts { tests: count("tests"), skips, errors: count("errors"), failures: count("failures") };
    let is_suite = tag.local_name().as_ref() == "testsuite";
    Suite {
        name: is_suite.then(|| attribute(tag, "name").unwrap_or_default()),
        depth,
        declared,
        seen: Counts::default(),
        // Catch2 leaves this word in place of the machine's name; pytest counts subtests, which are no cases.
        counts_more: attribute(tag, "hostname").as_deref() == Some("tbd")
            || attribute(tag, "name").as_deref() == Some("pytest"),
        has_time: attribute(tag, "time").is_some(),
    }
}

/// The verdict that the attribute `status` or `result` of a case gives; none if its word is not known.
fn status(word: &str) -> Option<Verdict> {
    Some(match word.trim().to_lowercase().as_str() {
        "" | "run" | "ran" | "executed" | "pass" | "passed" | "ok" | "success" | "successful"
        | "succeeded" | "complete" | "completed" | "done" | "finished" | "expected" | "flaky" | "true" => {
            Verdict::Pass
        }
        // GoogleTest and CTest mark so the cases that they only list.
        "notrun" | "not run" | "not_run" | "disabled" | "skip" | "skipped" | "ignored" | "ignore"
        | "pending" | "suppressed" | "todo" => Verdict::Skip,
        "fail" | "failed" | "failure" | "failing" | "unexpected" | "broken" | "false" => Verdict::Fail,
        "error" | "errored" | "crash" | "crashed" | "timeout" | "timedout" | "timed out" | "timed_out"
        | "aborted" | "abort" | "killed" => Verdict::Error,
        _ => return None,
    })
}

/// Whether an element says nothing of how its case or suite ended.
fn is_silent(element: &str) -> bool {
    matches!(
        element,
        "properties"
            | "property"
            | "system-out"
            | "system-err"
            | "system_out"
            | "system_err"
            | "output"
            | "stdout"
            | "stderr"
            | "flakyFailure"
            | "flakyError"
            | "rerunFailure"
            | "rerunError"
            | "attachments"
            | "attachment"
            | "file"
            | "files"
            | "link"
            | "links"
            | "tags"
            | "tag"
            | "labels"
            | "label"
            | "description"
            | "metadata"
            | "metrics"
            | "metric"
            | "measurement"
            | "measurements"
            | "benchmark"
            | "requirements"
            | "traceability"
            | "comment"
            | "note"
            | "url"
            | "skipped"
    )
}

/// The case that a tag begins, and its status if that word is not known.
fn open(tag: &BytesStart<'_>, depth: usize, within: &[String]) -> (Open, Option<String>) {
    let (class, name) = ["classname", "name"].map(|name| attribute(tag, name).unwrap_or_default()).into();
    let (class, name) = (class.trim(), name.trim());
    let standing = if is_of_class(class, name, within) { Standing::SetUp } else { Standing::Plain };
    let name = named(class, name, within);
    let words = || ["status", "result"].into_iter().filter_map(|word| attribute(tag, word));
    let verdict = words().filter_map(|word| status(&word)).max().unwrap_or(Verdict::Pass);
    let unknown = words().find(|word| status(word).is_none());
    let duration_ms = attribute(tag, "time").and_then(|time| seconds(&time));
    let mut places = vec![inside(within, ""), attribute(tag, "file").unwrap_or_default()];
    if places.iter().all(String::is_empty) {
        places.clear();
    }
    let has_unknown = unknown.is_some();
    let case = Open {
        depth,
        name,
        verdict,
        duration_ms,
        text: String::new(),
        message_of: None,
        standing,
        has_unknown,
        places,
    };
    (case, unknown)
}

/// Whether a case stands for its whole class, as JUnit's runners report a failing `@BeforeAll`. Surefire leaves the name
/// empty, or repeats the class. Others repeat the class for cases, too, but only Surefire's suite has the same name.
fn is_of_class(class: &str, name: &str, within: &[String]) -> bool {
    let is_suite = || within.last().is_some_and(|suite| suite == class);
    !class.is_empty()
        && (matches!(name, "" | "initializationError" | "classMethod") || name == class && is_suite())
}

/// The name of a case from its class and name, as each dialect means them.
fn named(class: &str, name: &str, within: &[String]) -> String {
    // Busted's class is the line where the case stands.
    let class = match class.rsplit_once(':') {
        Some((file, line)) if !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()) => file,
        Some(_) | None => class,
    };
    let is_repeated = |class: &str| {
        name.strip_prefix(class).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ' ']))
    };
    match class {
        // Node calls every class `test`; its suites distinguish the cases.
        "test" => inside(within, name),
        "" => inside(within.get(1..).unwrap_or_default(), name),
        class if name.is_empty() => class.to_string(),
        // LuaUnit and Jest repeat the class in the name.
        class if is_repeated(class) => name.to_string(),
        class => format!("{class}.{name}"),
    }
}

fn inside(suites: &[String], name: &str) -> String {
    let suites = suites.iter().map(String::as_str).chain([name]).filter(|part| !part.is_empty());
    suites.collect::<Vec<_>>().join(" > ")
}

/// Some writers group thousands: `1,234.5`.
fn seconds(time: &str) -> Option<u64> {
    milliseconds(time.trim().replace(',', "").parse::<f64>().ok()? * 1000.0)
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = tag.attributes();
    let value = attributes.with_checks(false).flatten().find(|a| a.key.as_ref() == name)?.value;
    let mut text = String::with_capacity(value.len());
    let mut rest = &*value;
    while let Some((before, behind)) = rest.split_once('&') {
        text.push_str(before);
        // Only a few bytes are searched, or a value of nothing but `&` would take the square of its length.
        rest = match behind.bytes().take(MAX_REFERENCE_BYTES).position(|byte| byte == b';') {
            Some(end) => {
                resolve(&behind[..end], &mut text);
                &behind[end + 1..]
            }
            None => {
                text.push('&');
                behind
            }
        };
    }
    text.push_str(rest);
    Some(text)
}

/// An unknown reference stays as it was written.
fn resolve(reference: &str, text: &mut String) {
    let number = reference.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    });
    match (reference, number.and_then(char::from_u32)) {
        (_, Some(c)) => text.push(c),
        ("lt", _) => text.push('<'),
        ("gt", _) => text.push('>'),
        ("amp", _) => text.push('&'),
        ("quot", _) => text.push('"'),
        ("apos", _) => text.push('\''),
        (unknown, None) => text.extend(["&", unknown, ";"]),
    }
}
