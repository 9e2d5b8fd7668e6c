//! What the files must agree on: no name is defined twice, and every name that is used is defined.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::variant::DEFAULT_NAME;

use super::nearest::did_you_mean;
use super::problem::{ConfigProblem, quoted};
use super::project::Registration;
use super::settings::TrunkConfig;
use super::table::Written;

/// No two names are equal; `what` says what they name. The names come in the order of the files.
pub(super) fn check_names_unique<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Written>,
    problems: &mut Vec<ConfigProblem>,
) {
    let mut first: BTreeMap<&str, &Written> = BTreeMap::new();
    for name in names {
        match first.get(name.text.as_str()) {
            Some(earlier) => {
                let (file, line) = (earlier.location.file.display(), earlier.location.at.line);
                problems.push(name.location.problem(format!(
                    "another {what} is already named {}, at {file}:{line}",
                    quoted(&name.text)
                )));
            }
            None => {
                first.insert(&name.text, name);
            }
        }
    }
}

/// Every project belongs to a trunk of the farm.
pub(super) fn check_trunks_exist(
    projects: &[Registration],
    trunks: &[Written],
    problems: &mut Vec<ConfigProblem>,
) {
    let names = || trunks.iter().map(|trunk| trunk.text.as_str());
    for trunk in projects.iter().filter_map(|project| project.trunk.as_ref()) {
        if !names().any(|name| name == trunk.text) {
            let hint = match did_you_mean(&trunk.text, names()) {
                hint if hint.is_empty() => "; expected the name of a [[trunk]] in farm.toml".to_string(),
                hint => hint,
            };
            problems.push(trunk.location.problem(format!("no trunk is named {}{hint}", quoted(&trunk.text))));
        }
    }
}

/// Every variant that a project names is one of its trunk.
pub(super) fn check_variants_exist(
    projects: &[Registration],
    trunks: &[TrunkConfig],
    problems: &mut Vec<ConfigProblem>,
) {
    for project in projects {
        // A trunk that does not exist, or has problems, is reported already.
        let of_it = trunks.iter().find(|trunk| text(&project.trunk) == Some(trunk.name.as_str()));
        let Some(trunk) = of_it else { continue };
        let builds = trunk.builds();
        let names = || builds.iter().map(|build| build.name.as_deref().unwrap_or(DEFAULT_NAME));
        for variant in project.variants.iter().filter(|variant| !names().any(|name| name == variant.text)) {
            let hint = match did_you_mean(&variant.text, names()) {
                hint if !hint.is_empty() => hint,
                _ if trunk.variants.is_empty() => {
                    "; the trunk has no [[trunk.variant]] in farm.toml".to_string()
                }
                _ => format!("; expected one of {}", names().collect::<Vec<_>>().join(", ")),
            };
            let (trunk, shown) = (quoted(&trunk.name), quoted(&variant.text));
            problems.push(
                variant.location.problem(format!("no variant of trunk {trunk} is named {shown}{hint}")),
            );
        }
    }
}

/// The needs of every project are projects of the same trunk: a pin belongs to a project and a branch of its trunk.
pub(super) fn check_needs_exist(
    projects: &[Registration],
    trunks: &[Written],
    problems: &mut Vec<ConfigProblem>,
) {
    let trunk_of: BTreeMap<&str, Option<&str>> = projects
        .iter()
        .filter_map(|project| Some((project.name.as_ref()?.text.as_str(), text(&project.trunk))))
        .collect();
    // A trunk that does not exist is reported already.
    let is_other = |ours: Option<&str>, theirs: &str| {
        ours.is_some_and(|ours| ours != theirs && trunks.iter().any(|trunk| trunk.text == ours))
    };
    for project in projects {
        for need in &project.needs {
            let shown = quoted(&need.text);
            if text(&project.name) == Some(need.text.as_str()) {
                problems.push(need.location.problem("a project cannot need itself"));
                continue;
            }
            match trunk_of.get(need.text.as_str()) {
                None => {
                    let hint = match did_you_mean(&need.text, trunk_of.keys().copied()) {
                        hint if hint.is_empty() => "; expected a registered project".to_string(),
                        hint => hint,
                    };
                    let message = format!("no project is named {shown}{hint}");
                    problems.push(need.location.problem(message));
                }
                Some(Some(theirs)) if is_other(text(&project.trunk), theirs) => {
                    let message = format!(
                        "{shown} belongs to trunk {}; expected a project of the same trunk",
                        quoted(theirs)
                    );
                    problems.push(need.location.problem(message));
                }
                Some(_)
                    if projects
                        .iter()
                        .any(|other| text(&other.name) == Some(&need.text) && other.is_latest) =>
                {
                    let message = format!("{shown} has no git repository; expected a project that has one");
                    problems.push(need.location.problem(message));
                }
                Some(_) => {}
            }
        }
    }
}

/// No project needs itself through other projects: their pins would wait for each other for ever.
pub(super) fn check_needs_acyclic(projects: &[Registration], problems: &mut Vec<ConfigProblem>) {
    let needs_of: BTreeMap<&str, &[Written]> = projects
        .iter()
        .filter_map(|project| Some((text(&project.name)?, project.needs.as_slice())))
        .collect();
    for project in projects {
        let Some(name) = text(&project.name) else { continue };
        for need in project.needs.iter().filter(|need| need.text != name) {
            if let Some(path) = path_to(name, &need.text, &needs_of) {
                problems.push(need.location.problem(format!(
                    "a circle: {} needs {}",
                    quoted(name),
                    path.join(", which needs ")
                )));
            }
        }
    }
}

/// The shortest path from one project to another along needs, both included.
fn path_to<'n>(to: &str, from: &'n str, needs_of: &BTreeMap<&'n str, &'n [Written]>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from]);
    let mut paths = VecDeque::from([vec![from]]);
    while let Some(path) = paths.pop_front() {
        let last = *path.last()?;
        if last == to {
            return Some(path.into_iter().map(quoted).collect());
        }
        for next in needs_of.get(last).copied().unwrap_or_default() {
            if seen.insert(&next.text) {
                paths.push_back([path.as_slice(), &[next.text.as_str()]].concat());
            }
        }
    }
    None
}

fn text(written: &Option<Written>) -> Option<&str> {
    written.as_ref().map(|written| written.text.as_str())
}
