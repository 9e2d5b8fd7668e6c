//! What the files must agree on: no name is defined twice, and every name that is used is defined.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::files::MAX_PROJECTS;
use super::nearest::did_you_mean;
use super::problem::{ConfigProblem, quoted};
use super::project::Registration;
use super::settings::TrunkConfig;
use super::table::Written;
use domain::variant::DEFAULT_NAME;

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
    let registered: BTreeMap<&str, &Registration> =
        projects.iter().filter_map(|project| Some((text(&project.name)?, project))).collect();
    // A trunk that does not exist is reported already.
    let is_other = |ours: Option<&str>, theirs: &str| {
        ours.is_some_and(|ours| ours != theirs && trunks.iter().any(|trunk| trunk.text == ours))
    };
    let mut missing: BTreeMap<&str, Vec<&Written>> = BTreeMap::new();
    for project in projects {
        for need in &project.needs {
            let shown = quoted(&need.text);
            if text(&project.name) == Some(need.text.as_str()) {
                problems.push(need.location.problem("a project cannot need itself"));
                continue;
            }
            let Some(needed) = registered.get(need.text.as_str()) else {
                missing.entry(&need.text).or_default().push(need);
                continue;
            };
            match text(&needed.trunk) {
                Some(theirs) if is_other(text(&project.trunk), theirs) => {
                    let message = format!(
                        "{shown} belongs to trunk {}; expected a project of the same trunk",
                        quoted(theirs)
                    );
                    problems.push(need.location.problem(message));
                }
                Some(_) | None if needed.is_latest => {
                    let message = format!("{shown} has no git repository; expected a project that has one");
                    problems.push(need.location.problem(message));
                }
                Some(_) | None => {}
            }
        }
    }
    // Looking for what was meant takes a while, and one template may have the same mistake in a thousand projects.
    for (name, needs) in missing {
        let hint = match did_you_mean(name, registered.keys().copied()) {
            hint if hint.is_empty() => "; expected a registered project".to_string(),
            hint => hint,
        };
        let message = format!("no project is named {}{hint}", quoted(name));
        problems.extend(needs.into_iter().map(|need| need.location.problem(message.clone())));
    }
}

/// A farm has a bounded number of projects.
pub(super) fn check_count(projects: &[Registration], problems: &mut Vec<ConfigProblem>) {
    if let Some(name) = projects.get(MAX_PROJECTS).and_then(|project| project.name.as_ref()) {
        let message = format!("expected at most {MAX_PROJECTS} projects, found {}", projects.len());
        problems.push(name.location.problem(message));
    }
}

/// No project with a suite needs itself through other projects: their pins would wait for each other for ever. Sources alone wait
/// for nothing, and may need each other.
pub(super) fn check_needs_acyclic(projects: &[Registration], problems: &mut Vec<ConfigProblem>) {
    let mut needs_of: BTreeMap<&str, &[Written]> = projects
        .iter()
        .filter_map(|project| Some((text(&project.name)?, project.needs.as_slice())))
        .collect();
    // Whoever needs only what is in no circle is in none. Nearly all projects are taken away here, and cost nothing below.
    loop {
        let free = |needs: &[Written]| !needs.iter().any(|need| needs_of.contains_key(need.text.as_str()));
        let free: Vec<&str> =
            needs_of.iter().filter(|(_, needs)| free(needs)).map(|(name, _)| *name).collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            needs_of.remove(name);
        }
    }
    for project in projects.iter().filter(|project| !project.source_only) {
        let Some(name) = text(&project.name).filter(|name| needs_of.contains_key(name)) else { continue };
        for need in project.needs.iter().filter(|need| need.text != name) {
            if let Some(path) = path_to(name, &need.text, &needs_of) {
                problems.push(need.location.problem(format!(
                    "a circle: {} needs {}; only projects with `source_only = true` may be a circle, so register the source of one \
                     of them once more by itself",
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
