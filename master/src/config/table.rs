//! Reads a parsed TOML file by hand: serde stops at the first problem, and this must find all of them.
//!
//! A [`Table`] remembers which keys were read; the others are unknown. Readers report a problem, return `None`, and read on.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::did_you_mean;
use super::problem::{ConfigProblem, FilePosition, quoted};
use super::words::Form;

/// No list in a configuration needs more, and the search for duplicates takes quadratic time.
const MAX_ITEMS: usize = 1000;

/// A file that is being read, and its problems so far.
pub(super) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<ConfigProblem>>,
}

/// Where something was found: enough to report a problem with it later.
#[derive(Debug, Clone)]
pub(super) struct KeyLocation {
    pub file: PathBuf,
    pub at: FilePosition,
    pub key: String,
}

/// A text as it was written, for the checks that need more than one file.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub text: String,
    pub location: KeyLocation,
}

impl KeyLocation {
    pub fn problem(&self, message: impl Into<String>) -> ConfigProblem {
        ConfigProblem {
            file: self.file.clone(),
            at: Some(self.at),
            key: self.key.clone(),
            message: message.into(),
        }
    }
}

/// Reads a file's text with `reader`. Returns the reader's result, or none if the text is not TOML, and all problems.
pub(super) fn read<T>(
    file: &Path,
    text: &str,
    reader: impl FnOnce(&Table) -> T,
) -> (Option<T>, Vec<ConfigProblem>) {
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let source = Source { file, text, line_starts, problems: RefCell::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    // What the parser guesses after an error only causes more errors.
    let value = if errors.is_empty() {
        let table = Table::new(&source, root.get_ref(), String::new(), 0);
        let value = reader(&table);
        table.finish();
        Some(value)
    } else {
        errors.iter().for_each(|error| source.report_not_toml(error.message(), error.span()));
        None
    };
    (value, source.problems.into_inner())
}

impl Source<'_> {
    fn location(&self, offset: usize, key: &str) -> KeyLocation {
        KeyLocation { file: self.file.to_path_buf(), at: self.position(offset), key: key.to_string() }
    }

    fn position(&self, offset: usize) -> FilePosition {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        FilePosition { line, column }
    }

    fn report(&self, offset: usize, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(self.location(offset, key).problem(message));
    }

    fn report_not_toml(&self, message: &str, span: Option<Range<usize>>) {
        let span = span.unwrap_or(0..0);
        let found = self.text.get(span.clone()).unwrap_or_default().trim();
        let found = if found.is_empty() { String::new() } else { format!(": {}", quoted(found)) };
        self.report(span.start, "", format!("not TOML: {message}{found}"));
    }
}

pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    entries: &'a DeTable<'a>,
    path: String,
    offset: usize,
    read_keys: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    fn new(source: &'a Source<'a>, entries: &'a DeTable<'a>, path: String, offset: usize) -> Table<'a> {
        Table { source, entries, path, offset, read_keys: RefCell::default() }
    }

    /// The key's value, if there is one.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.read_keys.borrow_mut().push(key);
        self.entries.get(key).map(|value| self.value(key, value))
    }

    /// The key's value; a missing key is reported.
    pub fn need(&self, key: &'static str, expected: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.report(key, format!("missing; expected {expected}"));
        }
        value
    }

    /// A text of this form; a missing key is reported.
    pub fn required<T>(&self, key: &'static str, form: &Form<T>) -> Option<T> {
        self.need(key, form.expected)?.read(form)
    }

    /// A text of this form, if there is one.
    pub fn optional<T>(&self, key: &'static str, form: &Form<T>) -> Option<T> {
        self.get(key)?.read(form)
    }

    /// Reports a problem with a missing key.
    pub fn report(&self, key: &str, message: impl Into<String>) {
        self.source.report(self.offset, &joined(&self.path, key), message);
    }

    fn value(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { source: self.source, path: joined(&self.path, key), value }
    }

    fn finish(self) {
        let read_keys = self.read_keys.into_inner();
        for key in self.entries.keys().filter(|key| !read_keys.contains(&key.get_ref().as_ref())) {
            let hint = match did_you_mean(key.get_ref(), read_keys.iter().copied()) {
                hint if hint.is_empty() => format!("; expected one of {}", read_keys.join(", ")),
                hint => hint,
            };
            let path = joined(&self.path, key.get_ref());
            self.source.report(key.span().start, &path, format!("unknown key{hint}"));
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let key = if bare { key.to_string() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[derive(Clone)]
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub fn report(&self, message: impl Into<String>) {
        self.source.report(self.value.span().start, &self.path, message);
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let article = match self.value.get_ref() {
            DeValue::Array(_) | DeValue::Integer(_) => "an",
            _ => "a",
        };
        self.report(format!("expected {expected}, found {article} {}", self.value.get_ref().type_str()));
        None
    }

    /// The text as it was written, if the value is one, with its location. Reports nothing.
    pub fn written(&self) -> Option<Written> {
        let text = self.value.get_ref().as_str()?.to_string();
        Some(Written { text, location: self.source.location(self.value.span().start, &self.path) })
    }

    pub fn read<T>(&self, form: &Form<T>) -> Option<T> {
        let Some(text) = self.value.get_ref().as_str() else {
            return self.wrong_type(form.expected);
        };
        match (form.read)(text) {
            Ok(read) => Some(read),
            Err(why) => {
                self.report(why.sentence(text, form.expected));
                None
            }
        }
    }

    /// A text of this form whose value lies within bounds; `show` writes a bound as the file would.
    pub fn read_within<T: PartialOrd + Copy>(
        &self,
        form: &Form<T>,
        bounds: RangeInclusive<T>,
        show: fn(T) -> String,
    ) -> Option<T> {
        let read = self.read(form)?;
        if !bounds.contains(&read) {
            let (low, high) = (show(*bounds.start()), show(*bounds.end()));
            self.report(format!("expected {low} to {high}, found {}", show(read)));
            return None;
        }
        Some(read)
    }

    pub fn boolean(&self) -> Option<bool> {
        self.value.get_ref().as_bool().or_else(|| self.wrong_type("true or false"))
    }

    pub fn whole_number(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let Some(integer) = self.value.get_ref().as_integer() else {
            return self.wrong_type(&expected);
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            self.report(format!("expected {expected}, found {}", quoted(&integer.to_string())));
        }
        number
    }

    /// A number from 0 to 1.
    pub fn share(&self) -> Option<f64> {
        const EXPECTED: &str = "a share from 0.0 to 1.0";
        let (number, found) = match self.value.get_ref() {
            DeValue::Integer(integer) => (integer.to_string().parse(), integer.to_string()),
            DeValue::Float(float) => (float.as_str().parse::<f64>(), float.to_string()),
            _ => return self.wrong_type(EXPECTED),
        };
        let share = number.ok().filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.report(format!("expected {EXPECTED}, found {}", quoted(&found)));
        }
        share
    }

    pub fn list(&self, expected: &str) -> Option<Vec<Value<'a>>> {
        let Some(items) = self.value.get_ref().as_array() else {
            return self.wrong_type(expected);
        };
        if items.len() > MAX_ITEMS {
            self.report(format!("expected at most {MAX_ITEMS} entries, found {}", items.len()));
            return None;
        }
        let item = |value| Value { source: self.source, path: self.path.clone(), value };
        Some(items.iter().map(item).collect())
    }

    /// A list of texts of this form, none of them twice.
    pub fn set<T: PartialEq>(&self, form: &Form<T>) -> Option<Vec<T>> {
        let expected = format!("a list, each entry of it {}", form.expected);
        let mut set = vec![];
        let mut complete = true;
        for item in self.list(&expected)? {
            match item.read(form) {
                None => complete = false,
                Some(read) if set.contains(&read) => item.report("occurs twice in this list"),
                Some(read) => set.push(read),
            }
        }
        complete.then_some(set)
    }

    /// As [`Value::set`], with at least one entry.
    pub fn filled_set<T: PartialEq>(&self, form: &Form<T>) -> Option<Vec<T>> {
        let set = self.set(form)?;
        if set.is_empty() {
            self.report(format!("empty; expected at least one entry: {}", form.expected));
            return None;
        }
        Some(set)
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    /// Reads a table with `reader`, and reports the keys that it did not read.
    pub fn table<T>(&self, reader: impl FnOnce(&Table<'a>) -> Option<T>) -> Option<T> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return self.wrong_type("a table");
        };
        let table = Table::new(self.source, entries, self.path.clone(), self.value.span().start);
        let value = reader(&table);
        table.finish();
        value
    }

    /// The entries of a table whose keys are free: none of them is unknown.
    pub fn entries(&self) -> Option<Vec<(&'a str, Value<'a>)>> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return self.wrong_type("a table");
        };
        let mut all = vec![];
        for (key, value) in entries {
            let key = key.get_ref().as_ref();
            all.push((key, Value { source: self.source, path: joined(&self.path, key), value }));
        }
        Some(all)
    }
}
