//! The farm's configuration: `farm.toml` and `projects/*.toml` beside it, read as one.
//! A farm that runs on a half-understood file is worse than one that reports a problem, so nothing is ignored.

mod advice;
mod agreement;
mod cache;
mod farm;
mod files;
pub mod nearest;
mod problem;
mod project;
mod recipe;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod urls;
mod words;

use std::path::Path;

pub use files::FilesStamp;
pub use problem::{ConfigProblem, ConfigProblems};
pub use settings::{Config, Follow, MailConfig, ProjectConfig, Security, TrunkConfig};

/// Reads the farm's file and the `projects` folder beside it, and nothing else: neither network nor secrets. It blocks.
pub fn load(path: &Path) -> Result<Config, ConfigProblems> {
    let (farm, projects) = files::read(path);
    parse(&farm, &projects)
}

/// The same without any I/O.
fn parse(farm_file: &files::File, project_files: &[files::File]) -> Result<Config, ConfigProblems> {
    let mut problems = vec![];
    let farm = farm_file.parse(&mut problems, farm::farm);
    let registrations: Vec<_> =
        project_files.iter().map(|file| file.parse(&mut problems, project::registration)).collect();
    // A file that cannot be read, or has no name, may be the very one that another file refers to.
    let all_read =
        registrations.iter().flatten().filter(|it| it.name.is_some()).count() == registrations.len();
    let projects: Vec<_> = registrations.into_iter().flatten().collect();

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
    if all_read {
        agreement::check_needs_exist(&projects, trunks, &mut problems);
        agreement::check_needs_acyclic(&projects, &mut problems);
    }

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
            let of_the_farm = |problem: &ConfigProblem| problem.file == farm_file.path;
            problems.sort_by(|a, b| (!of_the_farm(a), &a.file, a.at).cmp(&(!of_the_farm(b), &b.file, b.at)));
            Err(ConfigProblems(problems))
        }
    }
}
