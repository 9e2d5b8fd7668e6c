//! The farm's configuration: `farm.toml` and `projects/*.toml` beside it, read as one.
//! A farm that runs on a half-understood file is worse than one that reports a problem, so nothing is ignored.

mod advice;
mod agreement;
mod cache;
mod family;
mod farm;
mod files;
pub mod nearest;
mod placeholder;
mod problem;
mod project;
mod recipe;
mod settings;
mod source_only;
mod table;
#[cfg(test)]
mod tests;
mod urls;
mod variant;
mod words;

use std::collections::HashSet;
use std::path::Path;

pub use files::FilesStamp;
pub use problem::{ConfigProblem, ConfigProblems};
pub use settings::{Config, Follow, MailConfig, ProjectConfig, Security, TrunkConfig};

/// Reads the farm's file and the `projects` folder beside it, and nothing else: neither network nor secrets. It blocks.
pub fn load(path: &Path) -> Result<Config, ConfigProblems> {
    parse(&files::read(path))
}

/// The same without any I/O.
fn parse(files: &files::Files) -> Result<Config, ConfigProblems> {
    let mut problems = vec![];
    let farm = files.farm.parse(&mut problems, farm::farm);
    let read: Vec<_> = files
        .projects
        .iter()
        .map(|file| {
            file.parse(&mut problems, |table, folder| family::project_file(table, folder, &files.lists))
        })
        .collect();
    // A file that cannot be read, or has no name, may be the very one that another file refers to.
    let all_read = read.iter().all(|file| file.as_ref().is_some_and(|file| file.has_all_names));
    let mut projects: Vec<_> = read.into_iter().flatten().flat_map(|file| file.registrations).collect();

    agreement::check_names_unique(
        "project",
        projects.iter().filter_map(|project| project.name.as_ref()),
        &mut problems,
    );
    let trunks = farm.as_ref().map_or(&[][..], |farm| &farm.trunk_names);
    agreement::check_names_unique("trunk", trunks.iter(), &mut problems);
    // If none could be read, that is reported already, and it is not the fault of the projects.
    if !trunks.is_empty() {
        agreement::check_trunks_exist(&projects, trunks, &mut problems);
    }
    if let Some(farm) = &farm {
        agreement::check_variants_exist(&projects, &farm.trunks, &mut problems);
    }
    if all_read {
        agreement::check_needs_exist(&projects, trunks, &mut problems);
        agreement::check_needs_acyclic(&projects, &mut problems);
        source_only::compose(&mut projects, &mut problems);
    }
    agreement::check_count(&projects, &mut problems);

    match farm.and_then(|mut farm| Some((farm.identity.take()?, farm))) {
        Some((identity, farm)) if problems.is_empty() => Ok(Config {
            name: identity.name,
            url: identity.url,
            listen: identity.listen,
            data: identity.data,
            max_readers: identity.max_readers,
            max_workers: identity.max_workers,
            mail: farm.mail,
            search: farm.search,
            leases: farm.leases,
            retention: farm.retention,
            trunks: farm.trunks,
            projects: projects.into_iter().filter_map(|project| project.project).collect(),
        }),
        Some(_) | None => {
            let of_the_farm = |problem: &ConfigProblem| problem.file == files.farm.path;
            problems.sort_by(|a, b| (!of_the_farm(a), &a.file, a.at).cmp(&(!of_the_farm(b), &b.file, b.at)));
            // What one template says of all its names is one problem.
            let mut seen = HashSet::new();
            problems.retain(|problem| seen.insert(problem.clone()));
            Err(ConfigProblems(problems))
        }
    }
}
