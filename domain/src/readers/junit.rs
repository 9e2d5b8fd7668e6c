//! Reads JUnit XML: nested `testsuite`s of `testcase`s. DTDs have no effect, and only XML's own five entities are
//! expanded, so an entity bomb is a warning and some text.

use std::io::{self, BufRead};

use protocol::Verdict;
use quick_xml::Reader;
use quick_xml::errors::Error as XmlError;
use quick_xml::events::{BytesDecl, BytesStart, Event};

use super::names;
use super::report_builder::{ReportBuilder, milliseconds, quote};
use super::sanitizer::{MAX_TOKEN_BYTES, Sanitizer};

/// Real reports are five deep; the parser remembers each open tag.
const MAX_DEPTH: usize = 100;
/// Enough for `#x10FFFF;` and for any name that occurs, such as `unknown;`.
const MAX_REFERENCE_BYTES: usize = 12;

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    let mut reader = Reader::from_reader(Sanitizer::new(input));
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    let mut run = Run {
        report,
        depth: 0,
        within: vec![],
        suites: Suites::None,
        declared: Bad::default(),
        seen: Bad::default(),
        open: None,
    };
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
        report.warn("The report is not UTF-8 throughout; what is not was replaced.".into());
    }
    result.and(drained)
}

struct Run<'d> {
    report: &'d mut ReportBuilder,
    /// How many elements are open.
    depth: usize,
    /// The names of the suites that are open, outermost first.
    within: Vec<String>,
    suites: Suites,
    /// The counts in the outermost suite's attributes.
    declared: Bad,
    seen: Bad,
    open: Option<Open>,
}

/// How many elements report a failed case.
#[derive(Default)]
struct Bad {
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
                if self.open.is_none() && tag.local_name().as_ref() == "testsuite" {
                    self.within.pop();
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
        match name.as_ref() {
            "testsuites" | "testsuite" if self.depth == 1 => self.declared = declared(tag),
            "error" | "flakyError" | "rerunError" => self.seen.errors += 1,
            "failure" | "flakyFailure" | "rerunFailure" => self.seen.failures += 1,
            _ => {}
        }
        match (&mut self.open, name.as_ref()) {
            (None, "testsuites") => self.suites = Suites::Seen,
            (None, "testsuite") => {
                self.suites = Suites::Seen;
                self.within.push(attribute(tag, "name").unwrap_or_default());
            }
            (None, "testcase") => {
                self.suites = Suites::Seen;
                self.open = Some(open(tag, self.depth, &self.within));
            }
            (Some(case), element) if self.depth == case.depth + 1 => {
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
                    _ => return,
                };
                case.verdict = case.verdict.max(verdict);
                case.message_of = Some(self.depth);
                let message = attribute(tag, "message");
                if verdict == Verdict::Error && message.as_deref() == Some("collection failure") {
                    case.standing = Standing::SetUp;
                }
                // LuaUnit writes its message into the type.
                if let Some(message) = message.or(Some(kind).filter(|_| verdict.is_bad())) {
                    case.add_text(&message);
                    case.add_text("\n");
                }
            }
            (None | Some(_), _) => {}
        }
    }

    fn end(&mut self) -> Then {
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
        if let Some(case) = &mut self.open
            && case.message_of.is_some()
        {
            case.add_text(text);
        }
    }

    fn push(&mut self, case: Open) -> Then {
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
        Then::Continue
    }

    fn declared(&mut self, declaration: &BytesDecl<'_>) {
        if let Some(Ok(encoding)) = declaration.encoding()
            && !["utf-8", "utf8", "us-ascii", "ascii"].contains(&encoding.to_lowercase().as_str())
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

    /// Gotestsum counts a package that cannot be built as an error, and writes no element for it. Some writers count
    /// failures as errors, so both counts together must be too high.
    fn check_count(&mut self) {
        let (declared, seen) = (&self.declared, &self.seen);
        let is_short = declared.errors.saturating_add(declared.failures) > seen.errors + seen.failures;
        if declared.errors > seen.errors && is_short {
            let (declared, seen) = (declared.errors, seen.errors);
            self.report.lacks(format!(
                "The report counts more errors ({declared}) than it holds ({seen}): it is incomplete."
            ));
        }
    }

    fn ended(&mut self) {
        match self.suites {
            Suites::None => self.report.lacks("The report is not JUnit XML: it has no `testsuite`.".into()),
            Suites::Seen if self.depth > 0 => self.report.lacks(format!(
                "The report ends early, after {} cases: its last elements are not closed.",
                self.report.count()
            )),
            Suites::Seen => self.check_count(),
            Suites::Malformed => {}
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

fn declared(tag: &BytesStart<'_>) -> Bad {
    let count = |name| attribute(tag, name).and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    Bad { errors: count("errors"), failures: count("failures") }
}

fn open(tag: &BytesStart<'_>, depth: usize, within: &[String]) -> Open {
    let (class, name) = ["classname", "name"].map(|name| attribute(tag, name).unwrap_or_default()).into();
    let (class, name) = (class.trim(), name.trim());
    let standing = if is_of_class(class, name, within) { Standing::SetUp } else { Standing::Plain };
    let name = named(class, name, within);
    // GoogleTest and CTest mark so the cases that they only list.
    let verdict = match attribute(tag, "status").as_deref() {
        Some("notrun" | "disabled") => Verdict::Skip,
        _ => Verdict::Pass,
    };
    let duration_ms = attribute(tag, "time").and_then(|time| seconds(&time));
    Open { depth, name, verdict, duration_ms, text: String::new(), message_of: None, standing }
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
    let suites = suites.iter().map(String::as_str).filter(|suite| !suite.is_empty());
    suites.chain([name]).collect::<Vec<_>>().join(" > ")
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
