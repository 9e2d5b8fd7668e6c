//! Reads `[[family]]`: many projects from one table. A family has a list of names, a template, and what is different for some names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::files::{File, MAX_PROJECTS};
use super::nearest::did_you_mean;
use super::problem::{FilePosition, quoted};
use super::project::{NameSource, Registration, registration};
use super::table::{KeyLocation, Table, Value, Written};
use super::words::{NAME, NAMES_FILE};

/// The keys of a family that are none of a project's file.
const OWN_KEYS: [&str; 3] = ["names", "names_file", "override"];

/// The projects of one file.
#[derive(Default)]
pub(super) struct ProjectFile {
    pub registrations: Vec<Registration>,
    /// Whether no name is missing because it could not be read.
    pub has_all_names: bool,
}

/// Reads a file with a project of its own, or with families. `lists` are the files of names.
pub(super) fn project_file(table: &Table, folder: &Path, lists: &[File]) -> ProjectFile {
    let Some(families) = table.get("family") else {
        let registration = registration(table, folder, NameSource::Key);
        let has_all_names = registration.name.is_some();
        return ProjectFile { registrations: vec![registration], has_all_names };
    };
    if let Some(project) = table.get("project") {
        project.report("`[[family]]` is given, too; expected one of the two in a file");
    }
    let mut file = ProjectFile { registrations: vec![], has_all_names: true };
    let Some(families) = families.list("tables [[family]]") else {
        return ProjectFile::default();
    };
    for value in families {
        let read = value.table(|table| Some(family(&value, table, folder, lists)));
        let read = read.unwrap_or_default();
        file.has_all_names &= read.has_all_names;
        file.registrations.extend(read.registrations);
    }
    file
}

fn family(value: &Value, table: &Table, folder: &Path, lists: &[File]) -> ProjectFile {
    let (names, has_all_names) = match (table.get("names"), table.get("names_file")) {
        (Some(_), Some(file)) => {
            file.report("`names` is given, too; expected one of the two");
            (vec![], false)
        }
        (Some(names), None) => listed(&names),
        (None, Some(file)) => {
            file.read(&NAMES_FILE).map_or((vec![], false), |name| in_file(table, &file, &name, lists))
        }
        (None, None) => {
            table.report("names", "missing; expected a list of names, or `names_file` with one name a line");
            (vec![], false)
        }
    };
    let overrides = overrides(table, has_all_names.then_some(&names));
    // All of them are read, also where one is wrong.
    let templates = ["project", "recipe", "mark"].map(|key| table.get(key));
    let texts = templates.iter().flatten().chain(overrides.values());
    if texts.filter(|value| !value.check_placeholders()).count() > 0 {
        return ProjectFile::default();
    }
    let registrations = names.iter().filter_map(|name| {
        let over = overrides.get(name.text.as_str());
        value.member(&name.text, over, &OWN_KEYS, |table| {
            registration(table, folder, NameSource::Family(name))
        })
    });
    ProjectFile { registrations: registrations.collect(), has_all_names }
}

/// The names of a list, and whether all of them could be read.
fn listed(value: &Value) -> (Vec<Written>, bool) {
    let Some(items) = value.list_of("a list of names", MAX_PROJECTS) else { return (vec![], false) };
    if items.is_empty() {
        value.report("empty; expected at least one name");
        return (vec![], false);
    }
    let mut names: Vec<Written> = vec![];
    let count = items.len();
    for item in items {
        match item.written() {
            Some(written) if written.text.is_empty() => item.report(EMPTY),
            _ => names.extend(item.read(&NAME).and_then(|_| item.written())),
        }
    }
    let is_complete = names.len() == count;
    (names, is_complete)
}

const EMPTY: &str = "an empty name; expected the name of a project, or no entry";

/// The names of a file, one a line; `#` begins a comment.
fn in_file(table: &Table, value: &Value, name: &str, lists: &[File]) -> (Vec<Written>, bool) {
    let file_name = |file: &File| file.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(list) = lists.iter().find(|list| file_name(list).as_deref() == Some(name)) else {
        let present: Vec<String> = lists.iter().filter_map(file_name).collect();
        let hint = match did_you_mean(name, present.iter().map(String::as_str)) {
            hint if hint.is_empty() => "; expected a file in the folder of this one".to_string(),
            hint => hint,
        };
        value.report(format!("no file is named {}{hint}", quoted(name)));
        return (vec![], false);
    };
    let text = match list.text() {
        Ok(text) => text,
        Err(problem) => {
            table.report_elsewhere(problem);
            return (vec![], false);
        }
    };
    let mut names = vec![];
    let mut is_complete = true;
    for (line, text) in (1..).zip(text.lines()) {
        let (text, has_comment) = match text.split_once('#') {
            Some((text, _)) => (text.trim(), true),
            None => (text.trim(), false),
        };
        let location =
            KeyLocation { file: list.path.clone(), at: FilePosition { line, column: 1 }, key: String::new() };
        let problem = match (NAME.read)(text) {
            _ if text.is_empty() && has_comment => continue,
            _ if text.is_empty() => EMPTY.replace("entry", "line"),
            Ok(text) => {
                names.push(Written { text, location });
                continue;
            }
            Err(why) => why.sentence(text, NAME.expected),
        };
        is_complete = false;
        table.report_elsewhere(location.problem(problem));
    }
    if names.is_empty() && is_complete {
        value.report(format!("{} has no names; expected one a line", quoted(name)));
        is_complete = false;
    }
    (names, is_complete)
}

/// What is different for some names. Each must be a name of the family, if all of these are known.
fn overrides<'a>(table: &Table<'a>, names: Option<&Vec<Written>>) -> BTreeMap<&'a str, Value<'a>> {
    let entries = table.get("override").and_then(|value| value.entries()).unwrap_or_default();
    let known: Option<BTreeSet<&str>> =
        names.map(|names| names.iter().map(|name| name.text.as_str()).collect());
    let mut overrides = BTreeMap::new();
    for (name, value) in entries {
        if let Some(known) = &known
            && !known.contains(name)
        {
            let hint = match did_you_mean(name, known.iter().copied()) {
                hint if hint.is_empty() => "; expected one of its names".to_string(),
                hint => hint,
            };
            value.report(format!("this family has no name {}{hint}", quoted(name)));
        }
        if value.is_table() {
            overrides.insert(name, value);
        } else {
            value.report("expected a table with what is different for this name");
        }
    }
    overrides
}
