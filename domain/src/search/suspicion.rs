//! How suspicious each change of a range is before anything is run, from the paths that it touches and from the failing
//! output.
//!
//! Words and paths of the output are matched against the paths of a change, as in the localisation of bugs from reports
//! (J. Zhou and others, *Where Should the Bugs Be Fixed?*, ICSE 2012); and a change that touches more files is more likely
//! to be the culprit (C. Ziftci, J. Reardon, *Who Broke the Build?*, ICSE-SEIP 2017). The weights are factors of prior odds,
//! chosen by hand. They can mislead, so a fifth of the prior ignores them (`culprit::prior`).

use std::collections::{BTreeMap, BTreeSet};

use crate::numbers::real;

/// The paths that a change touches; if there are many, the first ones.
pub type Paths = Vec<String>;

/// The output names a file of the change; the stem of a file is a word of it; the name of a folder is.
const NAMED: f64 = 125.0;
const SAME_MODULE: f64 = 25.0;
const SAME_FOLDER: f64 = 5.0;
/// The change touches only documents. Some suites do read these.
const DOCUMENTS: f64 = 0.02;
/// A name that more than this share of the changes touch does not distinguish them.
const SHARED: f64 = 0.5;
/// Shorter names occur in too many texts by chance.
const SHORTEST: usize = 3;
/// How much of a failing output is read, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// One weight for each change, each above zero: how suspicious it is compared with the others.
pub fn suspicion(changes: &[Paths], failing: &str) -> Vec<f64> {
    let (words, modules) = (words(failing), missing_modules(failing));
    let common = common(changes);
    let weight = |paths: &Paths| {
        if !paths.is_empty() && paths.iter().all(|path| is_document(path)) {
            return DOCUMENTS;
        }
        let near = paths.iter().map(|path| nearness(path, &words, &modules, &common)).fold(1.0, f64::max);
        near * (1.0 + (1.0 + real(paths.len())).log2() / 4.0)
    };
    changes.iter().map(weight).collect()
}

fn nearness(
    path: &str,
    words: &BTreeSet<String>,
    modules: &BTreeSet<String>,
    common: &BTreeSet<String>,
) -> f64 {
    let path = path.to_lowercase();
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
    let is_word = |name: &str| name.len() >= SHORTEST && !common.contains(name) && words.contains(name);
    let is_named = || words.iter().any(|word| word.contains('/') && is_end_of(&path, word));
    match () {
        () if is_word(file) || is_named() => NAMED,
        () if modules.iter().any(|module| is_of_module(&path, module)) => NAMED,
        () if is_word(stem(file)) => SAME_MODULE,
        () if folder.split('/').any(is_word) => SAME_FOLDER,
        () => 1.0,
    }
}

/// Whether one path is equal to the other, or is its end, folder by folder.
fn is_end_of(one: &str, other: &str) -> bool {
    let (long, short) = if one.len() >= other.len() { (one, other) } else { (other, one) };
    long.strip_suffix(short).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        && short.contains('/')
}

/// The modules that the output says are not there, as paths: `No module named 'a.b'`, `module 'a.b' not found`,
/// `Cannot find module 'a/b'`.
fn missing_modules(text: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for line in head(text).to_lowercase().lines() {
        let after = |words: &str| line.split_once(words).map(|(_, rest)| rest);
        let named = after("no module named ").or_else(|| after("cannot find module "));
        let lost = || after("module ").filter(|rest| rest.contains(" not found"));
        let Some(rest) = named.or_else(lost) else { continue };
        let name = rest.trim_start_matches(['\'', '"', '`']);
        let end = name.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')));
        let name = name[..end.unwrap_or(name.len())].trim_matches(['.', '/']);
        if name.len() >= SHORTEST {
            modules.insert(name.replace('.', "/"));
        }
    }
    modules
}

/// Whether a file is a module, or is in the folder that is one: `lib/cgi.py` and `lib/cgi/__init__.py` are `cgi`.
fn is_of_module(path: &str, module: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let whole = if folder.is_empty() { stem(file).to_string() } else { format!("{folder}/{}", stem(file)) };
    let is_end =
        |whole: &str| whole.strip_suffix(module).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    is_end(&whole) || is_end(folder)
}

fn stem(file: &str) -> &str {
    file.split_once('.').map_or(file, |(stem, _)| stem)
}

/// As much of a text as is read.
fn head(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

/// The names and paths in a text.
fn words(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let mut words = BTreeSet::new();
    for token in head(text).to_lowercase().split(|c: char| !is_word(c)) {
        let token = token.trim_matches(['.', '-']).trim_start_matches('/');
        words.insert(token.to_string());
        words.extend(token.split(['.', '/', '-']).map(ToString::to_string));
        words.extend(token.split('/').map(ToString::to_string));
    }
    words.retain(|word| word.len() >= SHORTEST);
    words
}

/// Names of files and folders that too many changes touch to distinguish them.
fn common(changes: &[Paths]) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for paths in changes {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for path in paths {
            let path = path.to_lowercase();
            names.extend(path.split('/').map(ToString::to_string));
            names.extend(path.rsplit('/').next().map(|file| stem(file).to_string()));
        }
        for name in names {
            *seen.entry(name).or_default() += 1;
        }
    }
    let most = (real(changes.len()) * SHARED).max(1.0);
    seen.into_iter().filter(|(_, changes)| real(*changes) > most).map(|(name, _)| name).collect()
}

fn is_document(path: &str) -> bool {
    let path = path.to_lowercase();
    let file = path.rsplit('/').next().unwrap_or(&path);
    let in_folder =
        path.split('/').rev().skip(1).any(|folder| matches!(folder, "doc" | "docs" | "documentation"));
    let by_ending =
        [".md", ".rst", ".txt", ".adoc", ".html", ".1"].iter().any(|ending| file.ends_with(ending));
    let by_name =
        ["readme", "changelog", "license", "copying", "authors", "news", "changes"].contains(&stem(file));
    // These build or test documents, so they are programs.
    (in_folder || by_ending || by_name) && file != "cmakelists.txt" && !file.ends_with("requirements.txt")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILURE: &str =
        "Traceback:\n  File \"/usr/lib/python3/json/decoder.py\", line 3, in decode\nKeyError: x";

    fn weights(changes: &[&str], failure: &str) -> Vec<f64> {
        let paths: Vec<Paths> =
            changes.iter().map(|paths| paths.split_whitespace().map(ToString::to_string).collect()).collect();
        suspicion(&paths, failure)
    }

    /// The changes, most suspicious first.
    fn order(changes: &[&str]) -> Vec<usize> {
        let weights = weights(changes, FAILURE);
        let mut order: Vec<usize> = (0..changes.len()).collect();
        order.sort_by(|&one, &other| weights[other].total_cmp(&weights[one]));
        order
    }

    #[test]
    fn a_file_that_the_output_names_is_the_most_suspicious_and_documents_are_the_least() {
        let changes =
            ["Doc/whatsnew.rst", "Lib/ssl.c", "Lib/json/tool.py", "Lib/xml/decoder.c", "Lib/json/decoder.py"];
        assert_eq!(order(&changes), [4, 3, 2, 1, 0]);
    }

    #[test]
    fn a_change_that_touches_a_module_which_is_not_there_is_strongly_suspected() {
        let changes = [
            "Lib/cgi.py Lib/test/test_cgi.py Doc/library/cgi.rst",
            "Lib/cgitb.py",
            "Lib/json/decoder.py Lib/json/encoder.py Lib/json/scanner.py",
            "Modules/_ssl.c",
            "Doc/library/cgi.rst",
            "Lib/collections/abc.py",
            "Lib/wsgiref/util.py",
        ];
        for (failure, culprit) in [
            ("ModuleNotFoundError: No module named 'cgi'", 0),
            ("E   ModuleNotFoundError: No module named 'collections.abc'", 5),
            ("lua: test.lua:1: module 'json.scanner' not found:", 2),
            ("Error: Cannot find module './wsgiref/util'", 6),
        ] {
            let weights = weights(&changes, failure);
            let others = weights.iter().zip(0..).filter(|(_, at)| *at != culprit).map(|(weight, _)| *weight);
            let most = others.fold(0.0, f64::max);
            assert!(weights[culprit] > 20.0 * most, "{failure}: {weights:?}");
        }
    }

    #[test]
    fn a_change_of_many_files_is_more_suspicious_than_one_of_few() {
        assert_eq!(order(&["a/x.c", "b/y.c b/z.c b/u.c b/v.c"]), [1, 0]);
    }

    #[test]
    fn a_name_that_all_changes_touch_makes_none_suspicious() {
        let weights = |paths: &[&str]| {
            suspicion(&paths.iter().map(|path| vec![path.to_string()]).collect::<Vec<_>>(), FAILURE)
        };
        let all = weights(&["json/a.py", "json/b.py", "json/c.py", "json/d.py"]);
        assert_eq!(all, weights(&["xml/a.py", "xml/b.py", "xml/c.py", "xml/d.py"]));
    }

    proptest! {
        #[test]
        fn nothing_is_impossible(paths in prop::collection::vec("[a-z./]{0,12}", 0..6), text in ".{0,80}") {
            for weight in suspicion(&[paths, vec!["README.md".into()], vec![]], &text) {
                prop_assert!(weight > 0.0 && weight <= 1000.0);
            }
        }
    }
}
