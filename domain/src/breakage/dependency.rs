//! Whose failure it is: a project's own, or that of a dependency.
//!
//! Two facts show that it is a dependency's: the same change broke the dependency, too; or the deepest frame of the failure
//! lies in it.

use std::collections::BTreeMap;

/// The owner of the code in which a failure happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The project itself.
    Own,
    /// Another registered project.
    Registered(String),
    /// A package that is not registered.
    Package(String),
}

/// Under which dependency a failure is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FiledUnder {
    /// The same change broke that project, too.
    SameCulprit(String),
    /// The failure's deepest frame lies in that project.
    DeepestFrame(String),
    /// It lies in a package that is not registered.
    Unregistered(String),
    /// The search of that project's breakage suspects the same few changes.
    Perhaps(String),
}

/// A needed project, and its breakages on the same branch, platform and variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededProject {
    /// The project's name.
    pub name: String,
    /// Whether one of them has the culprit of the failure in question, and both were named alone.
    pub has_same_culprit: bool,
    /// Whether the search of one of them suspects the same changes; see [`suspect_the_same`].
    pub may_be_it: bool,
}

/// Whose failure it may be.
#[derive(Debug, Clone, Copy)]
pub struct DependencyContext<'k> {
    /// The project that failed.
    pub own: &'k str,
    /// The projects that it needs, and those that these need: their sources lie beside its own.
    pub needed: &'k [NeededProject],
    /// All projects of the farm.
    pub registered: &'k [String],
}

/// Under which dependency a failure is filed; none if it is the project's own. `text` is the failure message of the first
/// failing case.
pub fn filed_under(text: Option<&str>, known: &DependencyContext<'_>) -> Option<FiledUnder> {
    if let Some(same) = known.needed.iter().find(|needed| needed.has_same_culprit) {
        return Some(FiledUnder::SameCulprit(same.name.clone()));
    }
    match text.and_then(|text| owner(text, known)) {
        Some(Owner::Registered(name)) => return Some(FiledUnder::DeepestFrame(name)),
        Some(Owner::Package(name)) => return Some(FiledUnder::Unregistered(name)),
        Some(Owner::Own) | None => {}
    }
    let perhaps = known.needed.iter().find(|needed| needed.may_be_it)?;
    Some(FiledUnder::Perhaps(perhaps.name.clone()))
}

impl FiledUnder {
    /// The registered project, if it is one.
    pub fn project(&self) -> Option<&str> {
        match self {
            FiledUnder::SameCulprit(name) | FiledUnder::DeepestFrame(name) | FiledUnder::Perhaps(name) => {
                Some(name)
            }
            FiledUnder::Unregistered(_) => None,
        }
    }

    /// As it stands in mails and on pages.
    pub fn sentence(&self) -> String {
        match self {
            FiledUnder::SameCulprit(name) => format!("by way of {name}, which the same change broke"),
            FiledUnder::DeepestFrame(name) => {
                format!("by way of {name}: its code is where the failure shows")
            }
            FiledUnder::Unregistered(name) => {
                format!("by way of {name}, which is not registered: its code is where the failure shows")
            }
            FiledUnder::Perhaps(name) => {
                format!("perhaps by way of {name}: both searches suspect the same changes")
            }
        }
    }
}

/// A change that is less likely than this is no particular suspect: a range of 300 changes that nothing distinguishes
/// overlaps with every other one.
const SUSPICIOUS: f64 = 0.05;
/// How much of two beliefs must lie on the same changes.
const ENOUGH_OVERLAP: f64 = 0.5;

/// Whether two searches suspect the same changes: at least half of what they believe lies on changes that both suspect.
/// Each belief is the posterior of each change.
pub fn suspect_the_same<C: Ord>(one: &BTreeMap<C, f64>, other: &BTreeMap<C, f64>) -> bool {
    let common = one.iter().filter_map(|(change, p)| Some(p.min(*other.get(change)?)));
    common.filter(|common| *common >= SUSPICIOUS).sum::<f64>() >= ENOUGH_OVERLAP
}

/// Messages are bounded already; a trace of more frames than this is a runaway recursion.
const MAX_LINES: usize = 2_000;

/// The owner of the deepest frame in a failure message that is not the toolchain's: every change of the trunk shows in the
/// toolchain's frames.
pub fn owner(text: &str, known: &DependencyContext<'_>) -> Option<Owner> {
    let lines = text.lines().take(MAX_LINES);
    let frames: Vec<Owner> = lines.filter_map(|line| owner_of_line(line, known)).collect();
    // Python, and runners that print as it does, print the deepest frame last; all others print it first.
    let is_deepest_last =
        text.contains("most recent call last") || text.contains("\", line ") || text.contains(".py:");
    if is_deepest_last { frames.into_iter().next_back() } else { frames.into_iter().next() }
}

/// Folders that hold packages, each in a folder of its name.
const PACKAGES: [&str; 5] =
    ["/site-packages/", "/dist-packages/", "/node_modules/", "/gems/", "/registry/src/"];

fn owner_of_line(line: &str, known: &DependencyContext<'_>) -> Option<Owner> {
    let is_beside = |needed: &&NeededProject| line.contains(&format!("/needs/{}/", needed.name));
    if let Some(needed) = known.needed.iter().find(is_beside) {
        return Some(Owner::Registered(needed.name.clone()));
    }
    // The innermost: a package may have packages of its own.
    let packed =
        PACKAGES.iter().filter_map(|folder| line.rfind(folder).map(|at| (at + folder.len(), *folder)));
    if let Some((at, folder)) = packed.max() {
        let rest = match folder {
            // Inside it there is a folder for each registry first.
            "/registry/src/" => line[at..].split_once('/')?.1,
            _ => &line[at..],
        };
        return package(rest).map(|name| owner_of_package(name, known));
    }
    (line.contains("/trunkfarm/src/") || is_relative(line)).then_some(Owner::Own)
}

/// The project itself, and other registered ones, may be installed among the packages.
fn owner_of_package(name: String, known: &DependencyContext<'_>) -> Owner {
    if is_same(&name, known.own) {
        return Owner::Own;
    }
    match known.registered.iter().find(|registered| is_same(&name, registered)) {
        Some(registered) => Owner::Registered(registered.clone()),
        None => Owner::Package(name),
    }
}

/// A package is installed under one name and imported by another: `Flask-SQLAlchemy` is `flask_sqlalchemy`.
fn is_same(one: &str, other: &str) -> bool {
    let normalized = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    normalized(one) == normalized(other)
}

/// Whether a line begins with a place in a file below the suite's working folder: `tests/test_it.py:12: in f`.
fn is_relative(line: &str) -> bool {
    let line = line.trim_start();
    let path = match line.strip_prefix("File \"") {
        Some(file) => file.split_once("\", line ").map(|(path, _)| path),
        None => {
            let place = line.strip_prefix("at ").unwrap_or(line).split_once(':');
            place.filter(|(_, number)| number.starts_with(|c: char| c.is_ascii_digit())).map(|(path, _)| path)
        }
    };
    path.is_some_and(|path| {
        let is_file = path.rsplit_once('.').is_some_and(|(_, kind)| kind.starts_with(char::is_alphabetic));
        is_file && !path.contains([' ', '<']) && !path.starts_with(['/', '\\']) && !path.starts_with("../")
    })
}

/// `six` of `six.py:10`, `@babel/core` of `@babel/core/lib/index.js`, `serde` of `serde-1.0.2/src/lib.rs`.
fn package(path: &str) -> Option<String> {
    let end = |text: &str| text.find(['/', '"', '\'', ':', ' ', ')']).unwrap_or(text.len());
    let first = &path[..end(path)];
    if first.starts_with('@') {
        let rest = path.get(first.len() + 1..)?;
        return Some(format!("{first}/{}", &rest[..end(rest)]));
    }
    let name = first.strip_suffix(".py").unwrap_or(first);
    let name = match name.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        Some(_) | None => name,
    };
    (!name.is_empty()).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A belief as a picture: the percentage of each change in order.
    fn belief(percent: &[u32]) -> BTreeMap<usize, f64> {
        percent.iter().map(|percent| f64::from(*percent) / 100.0).enumerate().collect()
    }

    #[test]
    fn ranges_that_overlap_are_no_reason_and_common_suspects_are() {
        let same = |one: &[u32], other: &[u32]| suspect_the_same(&belief(one), &belief(other));
        assert!(same(&[0, 90, 10], &[0, 80, 20]));
        assert!(same(&[25, 25, 25, 25], &[25, 25, 25, 25]));
        assert!(!same(&[90, 10, 0], &[10, 10, 80]));
        assert!(!same(&[1; 100], &[1; 100]), "nothing is known yet");
        assert!(!same(&[], &[]));
    }

    proptest! {
        #[test]
        fn searches_of_different_changes_are_never_taken_for_one(
            one in prop::collection::vec(1_u32..100, 1..300),
            other in prop::collection::vec(1_u32..100, 1..300),
        ) {
            let share = |weights: &[u32], from: usize| -> BTreeMap<usize, f64> {
                let all = f64::from(weights.iter().sum::<u32>());
                (from..).zip(weights).map(|(at, weight)| (at, f64::from(*weight) / all)).collect()
            };
            let (left, right) = (share(&one, 0), share(&other, one.len()));
            prop_assert!(!suspect_the_same(&left, &right));
            prop_assert_eq!(suspect_the_same(&left, &share(&other, 0)), suspect_the_same(&share(&other, 0), &left));
        }
    }

    fn needs(name: &str, has_same_culprit: bool, may_be_it: bool) -> NeededProject {
        NeededProject { name: name.into(), has_same_culprit, may_be_it }
    }

    /// In the project `click-repl`, which needs `say`; `Flask-Login` is registered, too.
    fn of(text: &str) -> String {
        let registered = ["click-repl", "Flask-Login", "say"].map(String::from);
        let needed = [needs("say", false, false)];
        match owner(text, &DependencyContext { own: "click-repl", needed: &needed, registered: &registered })
        {
            None => "nobody".into(),
            Some(Owner::Own) => "own".into(),
            Some(Owner::Registered(name)) => format!("project {name}"),
            Some(Owner::Package(name)) => format!("package {name}"),
        }
    }

    #[test]
    fn in_python_the_last_frame_is_the_deepest() {
        let trace = |frames: &[&str]| {
            let frames: String =
                frames.iter().map(|path| format!("  File \"{path}\", line 3, in f\n    f()\n")).collect();
            format!("Traceback (most recent call last):\n{frames}TypeError: no\n")
        };
        let test = "/trunkfarm/src/tests/test_it.py";
        assert_eq!(of(&trace(&[test])), "own");
        assert_eq!(of(&trace(&[test, "/trunkfarm/needs/say/say/__init__.py"])), "project say");
        assert_eq!(of(&trace(&["/trunkfarm/needs/say/say.py", test])), "own");
        // The standard library belongs to the trunk.
        let json = "/trunkfarm/toolchain/lib/python3.15/json/decoder.py";
        assert_eq!(of(&trace(&[test, "/trunkfarm/needs/say/say.py", json])), "project say");
        let six = "/trunkfarm/toolchain/lib/python3.15/site-packages/six.py";
        assert_eq!(of(&trace(&[test, six])), "package six");
    }

    #[test]
    fn elsewhere_the_first_frame_is_the_deepest() {
        assert_eq!(
            of(
                "lua: /trunkfarm/needs/say/say.lua:4: no rep\nstack traceback:\n\t/trunkfarm/src/test.lua:1: in main\n"
            ),
            "project say"
        );
        assert_eq!(
            of(
                "Error: no\n    at f (/trunkfarm/src/node_modules/@babel/core/lib/index.js:3:5)\n    at /trunkfarm/src/test.js:1:1\n"
            ),
            "package @babel/core"
        );
        assert_eq!(
            of("  at a (/trunkfarm/src/node_modules/x/node_modules/y/i.js:1:1)"),
            "package y",
            "the innermost package"
        );
        assert_eq!(
            of("  4: at /trunkfarm/home/.cargo/registry/src/index-1f/serde-1.0.2/src/lib.rs:3"),
            "package serde"
        );
    }

    #[test]
    fn a_text_without_frames_has_no_owner() {
        for text in [
            "",
            "expected 3, got 4",
            "/needs/",
            "see https://example.org/site-packages/",
            "https://example.org:80/a.py",
            "0.5: too much",
            "/usr/share/needs/more/care.py:3: in f",
            "../toolchain/lib/python3.15/json/decoder.py:355: JSONDecodeError",
            "  File \"<frozen importlib._bootstrap>\", line 3, in f",
        ] {
            assert_eq!(of(text), "nobody", "{text}");
        }
    }

    #[test]
    fn a_project_among_the_packages_is_recognised_by_either_of_its_names() {
        let at = |package: &str| {
            of(&format!("/trunkfarm/home/venv/lib/python3.15/site-packages/{package}:3: in f"))
        };
        assert_eq!(at("click_repl/core.py"), "own");
        assert_eq!(at("Click.repl/core.py"), "own");
        assert_eq!(at("flask_login/utils.py"), "project Flask-Login");
        assert_eq!(at("say.py"), "project say");
        assert_eq!(at("click/core.py"), "package click");
    }

    #[test]
    fn pytest_prints_paths_below_the_suites_folder_without_that_folder() {
        let package = "/trunkfarm/home/venv/lib/python3.15/site-packages/click/core.py:10";
        assert_eq!(of(&format!("tests/test_it.py:12: in test\n{package}: in f\n")), "package click");
        assert_eq!(of(&format!("{package}: in f\nsrc/callback.py:4: in back\nE   TypeError\n")), "own");
        assert_eq!(of(&format!("tests/test_it.py:12: \n_ _ _\n{package}: TypeError\n")), "package click");
        assert_eq!(of("tests/test_it.py:12: in test\n../needs/say/say.py:3: TypeError\n"), "project say");
        assert_eq!(of(".venv/lib/python3.15/site-packages/click/core.py:10: TypeError"), "package click");
        assert_eq!(of("  File \"tests/test_it.py\", line 3, in test\n"), "own");
    }

    #[test]
    fn the_same_culprit_outweighs_a_frame_and_a_frame_outweighs_a_range() {
        let file = |text, has_same_culprit, may_be_it| {
            let needed = [needs("ini", false, false), needs("say", has_same_culprit, may_be_it)];
            filed_under(text, &DependencyContext { own: "polite", needed: &needed, registered: &[] })
        };
        let own = Some("at /trunkfarm/src/x.js:1");
        let frame = Some("at /trunkfarm/needs/ini/i.lua:1");
        assert_eq!(file(frame, true, true), Some(FiledUnder::SameCulprit("say".into())));
        assert_eq!(file(frame, false, true), Some(FiledUnder::DeepestFrame("ini".into())));
        assert_eq!(file(own, false, true), Some(FiledUnder::Perhaps("say".into())));
        assert_eq!(file(own, false, false), None);
        assert_eq!(file(None, false, false), None);
    }
}
