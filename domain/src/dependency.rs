//! Whose failure it is: a project's own, or that of something it depends on.
//!
//! Two things say so: the same change broke the dependency, too; or the deepest frame that the failure shows lies in it.

/// Where the code lies whose failure a text tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The project itself.
    Own,
    /// A registered project that it needs.
    Need(String),
    /// A package that nobody has registered.
    Package(String),
}

/// Under which dependency a failure is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filed {
    /// The same change broke that project, too.
    SameCulprit(String),
    /// The failure's deepest frame lies in that project.
    DeepestFrame(String),
    /// It lies in a package that is not registered.
    Unregistered(String),
    /// That project broke in an overlapping range; the searches have not said yet.
    Perhaps(String),
}

/// What is known of a needed project's breakages on the same branch and platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    pub name: String,
    /// Whether one of them has the culprit of the failure in question.
    pub has_same_culprit: bool,
    /// Whether one of them is undecided, and its range overlaps.
    pub may_be_it: bool,
}

/// `text` is what the first of the failing cases said.
pub fn file(text: Option<&str>, needed: &[Needed]) -> Option<Filed> {
    if let Some(same) = needed.iter().find(|needed| needed.has_same_culprit) {
        return Some(Filed::SameCulprit(same.name.clone()));
    }
    match text.and_then(owner) {
        Some(Owner::Need(name)) => return Some(Filed::DeepestFrame(name)),
        Some(Owner::Package(name)) => return Some(Filed::Unregistered(name)),
        Some(Owner::Own) | None => {}
    }
    let perhaps = needed.iter().find(|needed| needed.may_be_it)?;
    Some(Filed::Perhaps(perhaps.name.clone()))
}

impl Filed {
    /// The registered project, where it is one.
    pub fn project(&self) -> Option<&str> {
        match self {
            Filed::SameCulprit(name) | Filed::DeepestFrame(name) | Filed::Perhaps(name) => Some(name),
            Filed::Unregistered(_) => None,
        }
    }

    pub fn words(&self) -> String {
        match self {
            Filed::SameCulprit(name) => format!("by way of {name}, which the same change broke"),
            Filed::DeepestFrame(name) => format!("by way of {name}: its code is where the failure shows"),
            Filed::Unregistered(name) => {
                format!("by way of {name}, which is not registered: its code is where the failure shows")
            }
            Filed::Perhaps(name) => format!("perhaps by {name}, which broke in the same range"),
        }
    }
}

/// Texts are bounded before they come here; a trace of more frames than this is a runaway recursion.
const MAX_LINES: usize = 2_000;

/// Who owns the deepest frame of a text that is not the toolchain's: that is where every trunk's change shows.
pub fn owner(text: &str) -> Option<Owner> {
    let frames: Vec<Owner> = text.lines().take(MAX_LINES).filter_map(owner_of_line).collect();
    // Python, and what writes as it does, tells the deepest last; all others tell it first.
    let is_deepest_last = text.contains("most recent call last")
        || text.contains("\", line ")
        || (text.contains(".py:") && text.contains(": in "));
    if is_deepest_last { frames.into_iter().next_back() } else { frames.into_iter().next() }
}

/// Folders that hold packages, each in a folder of its name.
const PACKAGES: [&str; 5] =
    ["/site-packages/", "/dist-packages/", "/node_modules/", "/gems/", "/registry/src/"];

fn owner_of_line(line: &str) -> Option<Owner> {
    if let Some(name) = behind(line, "/trunkfarm/needs/").or_else(|| behind(line, "/needs/")) {
        return Some(Owner::Need(name.to_string()));
    }
    // The innermost: a package may have packages of its own.
    let packed =
        PACKAGES.iter().filter_map(|folder| line.rfind(folder).map(|at| (at + folder.len(), *folder)));
    if let Some((at, folder)) = packed.max() {
        let rest = match folder {
            // Below it a folder for each registry comes first.
            "/registry/src/" => line[at..].split_once('/')?.1,
            _ => &line[at..],
        };
        return package(rest).map(Owner::Package);
    }
    line.contains("/trunkfarm/src/").then_some(Owner::Own)
}

/// The folder's name behind a path that it is in.
fn behind<'l>(line: &'l str, folder: &str) -> Option<&'l str> {
    let rest = &line[line.find(folder)? + folder.len()..];
    let name = rest.split(['/', '"', '\'', ':', ' ']).next()?;
    (!name.is_empty() && rest[name.len()..].starts_with('/')).then_some(name)
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
    use super::*;

    fn of(text: &str) -> String {
        match owner(text) {
            None => "nobody".into(),
            Some(Owner::Own) => "own".into(),
            Some(Owner::Need(name)) => format!("need {name}"),
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
        assert_eq!(of(&trace(&[test, "/trunkfarm/needs/say/say/__init__.py"])), "need say");
        assert_eq!(of(&trace(&["/trunkfarm/needs/say/say.py", test])), "own");
        // The standard library is the trunk's, and so is the change.
        let json = "/trunkfarm/toolchain/lib/python3.15/json/decoder.py";
        assert_eq!(of(&trace(&[test, "/trunkfarm/needs/say/say.py", json])), "need say");
        let six = "/trunkfarm/toolchain/lib/python3.15/site-packages/six.py";
        assert_eq!(of(&trace(&[test, six])), "package six");
    }

    #[test]
    fn elsewhere_the_first_frame_is_the_deepest() {
        assert_eq!(
            of(
                "lua: /trunkfarm/needs/say/say.lua:4: no rep\nstack traceback:\n\t/trunkfarm/src/test.lua:1: in main\n"
            ),
            "need say"
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
    fn what_shows_no_frame_is_nobodys() {
        for text in ["", "expected 3, got 4", "/needs/", "see https://example.org/site-packages/"] {
            assert_eq!(of(text), "nobody", "{text}");
        }
    }

    #[test]
    fn the_same_culprit_says_more_than_a_frame_and_a_frame_more_than_a_range() {
        let needed =
            |has_same_culprit, may_be_it| [Needed { name: "say".into(), has_same_culprit, may_be_it }];
        let own = Some("at /trunkfarm/src/x.js:1");
        let frame = Some("at /trunkfarm/needs/ini/i.lua:1");
        assert_eq!(file(frame, &needed(true, true)), Some(Filed::SameCulprit("say".into())));
        assert_eq!(file(frame, &needed(false, true)), Some(Filed::DeepestFrame("ini".into())));
        assert_eq!(file(own, &needed(false, true)), Some(Filed::Perhaps("say".into())));
        assert_eq!(file(own, &needed(false, false)), None);
        assert_eq!(file(None, &[]), None);
    }
}
