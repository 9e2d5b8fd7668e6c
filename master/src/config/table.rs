//! Reads a parsed TOML file by hand: serde stops at the first problem, and this must find all of them.
//!
//! A [`Table`] remembers which keys were read; the others are unknown. Readers report a problem, return `None`, and read on.
//! In a family, a table is read once for each name: with the name in place of [`placeholder`]s, and below what is overridden.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::did_you_mean;
use super::placeholder;
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
    /// Whether the same text is read for several names, so that a key has one problem at each place.
    is_shared: Cell<bool>,
    reported: RefCell<BTreeSet<(usize, String)>>,
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
    let source = Source {
        file,
        text,
        line_starts,
        problems: RefCell::default(),
        is_shared: Cell::default(),
        reported: RefCell::default(),
    };
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
        if self.is_shared.get() && !self.reported.borrow_mut().insert((offset, key.to_string())) {
            return;
        }
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
    layer: Layer<'a>,
    /// Keys that another reader has read.
    foreign_keys: &'static [&'static str],
    read_keys: RefCell<Vec<&'static str>>,
}

/// What makes one project of a family out of its template.
#[derive(Clone, Default)]
struct Layer<'a> {
    /// The name in place of placeholders.
    name: Option<Rc<str>>,
    /// The table that overrides this one, with its path.
    over: Option<(&'a DeTable<'a>, String)>,
}

/// Keys of which one is given: an override of one replaces the others, too.
const ALTERNATIVES: [&[&str]; 2] = [&["follow", "tag", "commit", "latest"], &["steps", "step"]];
/// Keys that belong to another, which an override replaces.
const BELONGING: [(&str, &str); 6] = [
    ("every", "follow"),
    ("every", "tag"),
    ("every", "commit"),
    ("git", "latest"),
    ("submodules", "latest"),
    ("version", "latest"),
];

impl<'a> Table<'a> {
    fn new(source: &'a Source<'a>, entries: &'a DeTable<'a>, path: String, offset: usize) -> Table<'a> {
        let (layer, read_keys) = (Layer::default(), RefCell::default());
        Table { source, entries, path, offset, layer, foreign_keys: &[], read_keys }
    }

    /// The key's value, if there is one.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.read_keys.borrow_mut().push(key);
        let base = self.entries.get(key).filter(|_| !self.is_replaced(key));
        let over =
            self.layer.over.as_ref().and_then(|(over, path)| Some((over.get(key)?, joined(path, key))));
        let name = self.layer.name.clone();
        match (base, over) {
            (None, None) => None,
            (Some(value), None) => {
                let layer = Layer { name, over: None };
                Some(Value { source: self.source, path: joined(&self.path, key), value, layer })
            }
            (Some(value), Some((over, path))) => match (value.get_ref(), over.get_ref()) {
                (DeValue::Table(_), DeValue::Table(entries)) => {
                    let layer = Layer { name, over: Some((entries, path)) };
                    Some(Value { source: self.source, path: joined(&self.path, key), value, layer })
                }
                _ => {
                    Some(Value { source: self.source, path, value: over, layer: Layer { name, over: None } })
                }
            },
            (None, Some((value, path))) => {
                Some(Value { source: self.source, path, value, layer: Layer { name, over: None } })
            }
        }
    }

    /// Whether an override replaces this key by another one.
    fn is_replaced(&self, key: &str) -> bool {
        let Some((over, _)) = &self.layer.over else { return false };
        let has = |other: &&str| *other != key && over.contains_key(*other);
        let mut alternatives = ALTERNATIVES.iter().filter(|keys| keys.contains(&key));
        alternatives.any(|keys| keys.iter().any(&has))
            || BELONGING.iter().any(|(own, other)| *own == key && has(other))
    }

    /// Adds a problem of another file.
    pub fn report_elsewhere(&self, problem: ConfigProblem) {
        self.source.problems.borrow_mut().push(problem);
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

    fn finish(self) {
        let read_keys = self.read_keys.into_inner();
        let overrides =
            self.layer.over.iter().flat_map(|(over, path)| over.keys().map(move |key| (key, path, true)));
        for (key, path, is_over) in self.entries.keys().map(|key| (key, &self.path, false)).chain(overrides) {
            let text = key.get_ref().as_ref();
            if read_keys.contains(&text) || (!is_over && self.foreign_keys.contains(&text)) {
                continue;
            }
            let hint = match did_you_mean(text, read_keys.iter().copied()) {
                hint if hint.is_empty() => format!("; expected one of {}", read_keys.join(", ")),
                hint => hint,
            };
            self.source.report(key.span().start, &joined(path, text), format!("unknown key{hint}"));
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
    layer: Layer<'a>,
}

impl<'a> Value<'a> {
    /// The text, if it is one, with the name in place of placeholders.
    fn text(&self) -> Option<Cow<'a, str>> {
        let text = self.value.get_ref().as_str()?;
        Some(match &self.layer.name {
            None => Cow::Borrowed(text),
            Some(name) => placeholder::filled(text, name),
        })
    }

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
        let text = self.text()?.into_owned();
        Some(Written { text, location: self.location() })
    }

    fn location(&self) -> KeyLocation {
        self.source.location(self.value.span().start, &self.path)
    }

    pub fn read<T>(&self, form: &Form<T>) -> Option<T> {
        let Some(text) = self.text() else {
            return self.wrong_type(form.expected);
        };
        match (form.read)(&text) {
            Ok(read) => Some(read),
            Err(why) => {
                self.report(why.sentence(&text, form.expected));
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
        self.list_of(expected, MAX_ITEMS)
    }

    /// A list of so many entries at most.
    pub fn list_of(&self, expected: &str, most: usize) -> Option<Vec<Value<'a>>> {
        let Some(items) = self.value.get_ref().as_array() else {
            return self.wrong_type(expected);
        };
        if items.len() > most {
            self.report(format!("expected at most {most} entries, found {}", items.len()));
            return None;
        }
        let layer = Layer { name: self.layer.name.clone(), over: None };
        let item =
            |value| Value { source: self.source, path: self.path.clone(), value, layer: layer.clone() };
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
        let new = Table::new(self.source, entries, self.path.clone(), self.value.span().start);
        let table = Table { layer: self.layer.clone(), ..new };
        let value = reader(&table);
        table.finish();
        value
    }

    /// Reads a family's table as that of one of its projects: with this name, and with what overrides it. Keys of the family itself
    /// are those of another reader.
    pub fn member<T>(
        &self,
        name: &str,
        over: Option<&Value<'a>>,
        family_keys: &'static [&'static str],
        reader: impl FnOnce(&Table<'a>) -> T,
    ) -> Option<T> {
        let entries = self.value.get_ref().as_table()?;
        self.source.is_shared.set(true);
        let over = over.and_then(|over| Some((over.value.get_ref().as_table()?, over.path.clone())));
        let new = Table::new(self.source, entries, self.path.clone(), self.value.span().start);
        let layer = Layer { name: Some(name.into()), over };
        let table = Table { layer, foreign_keys: family_keys, ..new };
        let value = reader(&table);
        table.finish();
        Some(value)
    }

    /// Reports the placeholders in any text of this value that stand for nothing. Returns whether there is none.
    pub fn check_placeholders(&self) -> bool {
        let mut are_known = true;
        let mut open = vec![self.value];
        while let Some(value) = open.pop() {
            match value.get_ref() {
                DeValue::String(text) => {
                    for unknown in placeholder::unknown(text) {
                        are_known = false;
                        let message = format!(
                            "no placeholder is named {}; expected `{}`",
                            quoted(unknown),
                            placeholder::NAME
                        );
                        self.source.report(value.span().start, &self.path, message);
                    }
                }
                DeValue::Array(items) => open.extend(items.iter()),
                DeValue::Table(entries) => open.extend(entries.values()),
                DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
            }
        }
        are_known
    }

    /// The entries of a table whose keys are free: none of them is unknown.
    pub fn entries(&self) -> Option<Vec<(&'a str, Value<'a>)>> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return self.wrong_type("a table");
        };
        let own = entries.iter().map(|(key, value)| (key.get_ref().as_ref(), value, &self.path));
        let over = self.layer.over.iter().flat_map(|(over, path)| {
            over.iter().map(move |(key, value)| (key.get_ref().as_ref(), value, path))
        });
        let is_kept = |key: &str| self.layer.over.as_ref().is_none_or(|(over, _)| !over.contains_key(key));
        let layer = Layer { name: self.layer.name.clone(), over: None };
        let all = own.filter(|(key, ..)| is_kept(key)).chain(over).map(|(key, value, path)| {
            (key, Value { source: self.source, path: joined(path, key), value, layer: layer.clone() })
        });
        Some(all.collect())
    }
}
