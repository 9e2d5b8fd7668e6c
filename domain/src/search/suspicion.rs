//! How suspicious each change of a range is before anything is run, from the paths that it touches and from the failing
//! output.
//!
//! Words and paths of the output are matched against the paths of a change, as in the localisation of bugs from reports
//! (J. Zhou and others, *Where Should the Bugs Be Fixed?*, ICSE 2012); and a change that touches more files is more likely
//! to be the culprit (C. Ziftci, J. Reardon, *Who Broke the Build?*, ICSE-SEIP 2017). The weights are factors of prior odds,
//! chosen by hand at first, and learnt from the confirmed culprits of a trunk. They can mislead, so a fifth of the prior
//! ignores them (`culprit::prior`).

use std::collections::{BTreeMap, BTreeSet};

use crate::numbers::real;
use crate::outcome::words;

/// The paths that a change touches; if there are many, the first ones.
pub type Paths = Vec<String>;

/// A name that more than this share of the changes touch does not distinguish them.
const SHARED: f64 = 0.5;
/// Shorter names occur in too many texts by chance.
const SHORTEST: usize = 3;
/// How much of a failing output is read, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// How near a change is to the failing output; the least suspicious first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuspicionClass {
    /// It touches only documents. Some suites do read these.
    Documents,
    /// Nothing of it occurs in the output.
    Unrelated,
    /// The name of a folder of it does.
    SameFolder,
    /// The stem of a file of it does.
    SameModule,
    /// The output names a file of it.
    Named,
}

words!(SuspicionClass {
    Documents = "documents", Unrelated = "unrelated", SameFolder = "same-folder", SameModule = "same-module",
    Named = "named",
});

/// All classes, the least suspicious first.
pub const CLASSES: [SuspicionClass; 5] = [
    SuspicionClass::Documents,
    SuspicionClass::Unrelated,
    SuspicionClass::SameFolder,
    SuspicionClass::SameModule,
    SuspicionClass::Named,
];

/// The weights before any culprit is confirmed.
fn first_weight(class: SuspicionClass) -> f64 {
    match class {
        SuspicionClass::Documents => 0.02,
        SuspicionClass::Unrelated => 1.0,
        SuspicionClass::SameFolder => 5.0,
        SuspicionClass::SameModule => 25.0,
        SuspicionClass::Named => 125.0,
    }
}

/// What the range of one confirmed culprit shows about a class, or the ranges of several.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClassRecord {
    /// How many culprits were in the class.
    pub culprits: u32,
    /// How many would have been by the first weights.
    pub expected: f64,
}

/// For each class of a range what a confirmed culprit shows about it. `culprit` is an index in `classes`.
pub fn record(classes: &[SuspicionClass], culprit: usize) -> BTreeMap<SuspicionClass, ClassRecord> {
    let all: f64 = classes.iter().map(|class| first_weight(*class)).sum();
    let mut records: BTreeMap<SuspicionClass, ClassRecord> = BTreeMap::new();
    for (at, class) in classes.iter().enumerate() {
        let record = records.entry(*class).or_default();
        record.culprits += u32::from(at == culprit);
        record.expected += first_weight(*class) / all;
    }
    records
}

/// How suspicious a change of each class is, compared with the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(BTreeMap<SuspicionClass, f64>);

/// So many culprits of a class that were expected and came are taken to be known before any is confirmed.
const BEFORE: f64 = 4.0;
/// A weight moves by this factor at most: what was learnt from a few ranges must not silence a class.
const MOST_LEARNT: f64 = 8.0;

impl Weights {
    /// The first weights, each multiplied by how many more culprits its class had than those expect. This is the mean of a
    /// Gamma posterior of that factor, if culprits come at a Poisson rate. A class is at least as suspicious as those
    /// before it.
    pub fn learn(records: &BTreeMap<SuspicionClass, ClassRecord>) -> Weights {
        let mut least = 0.0_f64;
        let weight = |class: SuspicionClass| {
            let record = records.get(&class).copied().unwrap_or_default();
            let factor = (BEFORE + f64::from(record.culprits)) / (BEFORE + record.expected);
            least = least.max(first_weight(class) * factor.clamp(1.0 / MOST_LEARNT, MOST_LEARNT));
            (class, least)
        };
        Weights(CLASSES.into_iter().map(weight).collect())
    }

    /// The weight of a class.
    pub fn of(&self, class: SuspicionClass) -> f64 {
        self.0[&class]
    }
}

/// The class of each change.
pub fn classes(changes: &[Paths], failing: &str) -> Vec<SuspicionClass> {
    let (words, modules) = (words(failing), missing_modules(failing));
    let common = common(changes);
    let class = |paths: &Paths| {
        if !paths.is_empty() && paths.iter().all(|path| is_document(path)) {
            return SuspicionClass::Documents;
        }
        let nearest = paths.iter().map(|path| nearness(path, &words, &modules, &common)).max();
        nearest.unwrap_or(SuspicionClass::Unrelated)
    };
    changes.iter().map(class).collect()
}

/// One weight for each change, each above zero: how suspicious it is compared with the others. `classes` are those of the
/// changes.
pub fn suspicion(changes: &[Paths], classes: &[SuspicionClass], weights: &Weights) -> Vec<f64> {
    let weight = |(paths, class): (&Paths, &SuspicionClass)| match class {
        SuspicionClass::Documents => weights.of(*class),
        SuspicionClass::Unrelated
        | SuspicionClass::SameFolder
        | SuspicionClass::SameModule
        | SuspicionClass::Named => weights.of(*class) * (1.0 + (1.0 + real(paths.len())).log2() / 4.0),
    };
    changes.iter().zip(classes).map(weight).collect()
}

fn nearness(
    path: &str,
    words: &BTreeSet<String>,
    modules: &BTreeSet<String>,
    common: &BTreeSet<String>,
) -> SuspicionClass {
    let path = path.to_lowercase();
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
    let is_word = |name: &str| name.len() >= SHORTEST && !common.contains(name) && words.contains(name);
    let is_named = || words.iter().any(|word| word.contains('/') && is_end_of(&path, word));
    match () {
        () if is_word(file) || is_named() => SuspicionClass::Named,
        () if modules.iter().any(|module| is_of_module(&path, module)) => SuspicionClass::Named,
        () if is_word(stem(file)) => SuspicionClass::SameModule,
        () if folder.split('/').any(is_word) => SuspicionClass::SameFolder,
        () => SuspicionClass::Unrelated,
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
        by_first_weights(&paths, failure)
    }

    fn by_first_weights(paths: &[Paths], failing: &str) -> Vec<f64> {
        suspicion(paths, &classes(paths, failing), &Weights::learn(&BTreeMap::new()))
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
            by_first_weights(&paths.iter().map(|path| vec![path.to_string()]).collect::<Vec<_>>(), FAILURE)
        };
        let all = weights(&["json/a.py", "json/b.py", "json/c.py", "json/d.py"]);
        assert_eq!(all, weights(&["xml/a.py", "xml/b.py", "xml/c.py", "xml/d.py"]));
    }

    #[test]
    fn without_a_confirmed_culprit_the_first_weights_hold() {
        let weights = Weights::learn(&BTreeMap::new());
        assert_eq!(CLASSES.map(|class| weights.of(class)), [0.02, 1.0, 5.0, 25.0, 125.0]);
    }

    #[test]
    fn a_class_that_has_more_culprits_than_expected_becomes_more_suspicious() {
        use SuspicionClass::{Named, Unrelated};
        // The output names a file of each range, but the culprit is another change.
        let one = record(&[Unrelated, Named, Unrelated, Unrelated], 2);
        assert_eq!((one[&Named].culprits, one[&Unrelated].culprits), (0, 1));
        let mut sum: BTreeMap<SuspicionClass, ClassRecord> = BTreeMap::new();
        for _ in 0..20 {
            for (class, record) in &one {
                let sum = sum.entry(*class).or_default();
                sum.culprits += record.culprits;
                sum.expected += record.expected;
            }
        }
        let (first, learnt) = (Weights::learn(&BTreeMap::new()), Weights::learn(&sum));
        let ratio = |weights: &Weights| weights.of(Named) / weights.of(Unrelated);
        assert!(ratio(&learnt) < ratio(&first) / 10.0, "{learnt:?}");
    }

    proptest! {
        #[test]
        fn learnt_weights_stay_in_order_and_near_the_first_ones(
            ranges in prop::collection::vec((prop::collection::vec(0..5_usize, 1..60), any::<usize>()), 0..80),
        ) {
            let mut sum: BTreeMap<SuspicionClass, ClassRecord> = BTreeMap::new();
            for (range, culprit) in &ranges {
                let range: Vec<SuspicionClass> = range.iter().map(|class| CLASSES[*class]).collect();
                let records = record(&range, culprit % range.len());
                let (culprits, expected) = records.values().fold((0, 0.0), |(culprits, expected), record| {
                    (culprits + record.culprits, expected + record.expected)
                });
                prop_assert!(culprits == 1 && (expected - 1.0_f64).abs() < 1e-9);
                for (class, record) in records {
                    let sum = sum.entry(class).or_default();
                    sum.culprits += record.culprits;
                    sum.expected += record.expected;
                }
            }
            let (first, learnt) = (Weights::learn(&BTreeMap::new()), Weights::learn(&sum));
            for pair in CLASSES.windows(2) {
                prop_assert!(learnt.of(pair[0]) <= learnt.of(pair[1]), "{learnt:?}");
            }
            for class in CLASSES {
                let factor = learnt.of(class) / first.of(class);
                prop_assert!(factor >= 1.0 / MOST_LEARNT - 1e-9, "{class}: {factor}");
                // Order may lift a class up to what the one before it has learnt.
                prop_assert!(learnt.of(class) <= first.of(SuspicionClass::Named) * MOST_LEARNT, "{class}: {factor}");
            }
        }

        #[test]
        fn nothing_is_impossible(paths in prop::collection::vec("[a-z./]{0,12}", 0..6), text in ".{0,80}") {
            for weight in by_first_weights(&[paths, vec!["README.md".into()], vec![]], &text) {
                prop_assert!(weight > 0.0 && weight <= 1000.0);
            }
        }
    }
}
