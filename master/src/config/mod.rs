//! The farm's configuration: `farm.toml` and `projects/*.toml` beside it, read as one.
//! A farm that runs on a half-understood file is worse than one that says what is wrong, so nothing is ignored.

mod advice;
mod agree;
mod farm;
mod files;
mod nearest;
mod problem;
mod project;
mod recipe;
mod table;
#[cfg(test)]
mod tests;
mod urls;
mod words;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::breakage::mark::Mark;
use domain::dispatch::lease::Leases;
use domain::retention::Retention;
use domain::schedule::canary::Canary;
use lettre::Address;
use lettre::message::Mailbox;
use protocol::Recipe;

pub use files::FilesStamp;
pub use problem::{ConfigProblem, ConfigProblems};

/// A farm's whole configuration, found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub name: String,
    /// As readers reach it, without a slash at its end.
    pub url: String,
    pub listen: SocketAddr,
    /// SQLite, logs, artifacts, mirrors. Absolute.
    pub data: PathBuf,
    /// Browsers that may watch live, and workers that may be connected, at once.
    pub max_readers: u32,
    pub max_workers: u32,
    /// Without it, mails land as files below `data`.
    pub mail: Option<MailConfig>,
    pub search: SearchConfig,
    pub leases: Leases,
    pub keep: Retention,
    pub trunks: Vec<TrunkConfig>,
    /// In the order of their files' names.
    pub projects: Vec<ProjectConfig>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SearchConfig {
    /// The part of a platform's time, 0 to 1, that open searches may take from new changes.
    pub probe_share: f64,
    /// How many runs of a case must be known before a mail speaks of it.
    pub null_runs: u32,
}

impl Default for SearchConfig {
    fn default() -> SearchConfig {
        SearchConfig { probe_share: 0.3, null_runs: 20 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    pub smtp: Smtp,
    pub from: Mailbox,
    pub list: Vec<Address>,
}

/// The server that takes our mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    pub security: Security,
    /// An IPv6 address stands here without brackets.
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
}

/// How the link to the server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: for a server on this machine.
    Plain,
    /// TLS from the first byte.
    Tls,
    /// TLS after a greeting in the clear; never without.
    StartTls,
}

/// The password stays in its file: a configuration can be checked where the secret is not, and is printed safely.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password_file: PathBuf,
}

impl Login {
    /// Reads the password: the file's first line.
    pub fn password(&self) -> io::Result<String> {
        let text = files::text(&self.password_file, 4096)?;
        match text.lines().next() {
            Some(password) if !password.is_empty() => Ok(password.to_string()),
            Some(_) | None => Err(io::Error::other("its first line is empty; expected the password")),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkConfig {
    pub name: String,
    /// A URL or an absolute path.
    pub git: String,
    pub branches: Vec<String>,
    /// Where history starts; the tip at registration when there is none.
    pub base: Option<String>,
    pub poll: Duration,
    pub platforms: Vec<String>,
    pub recipe: Recipe,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectConfig {
    pub name: String,
    /// The name of one of the trunks.
    pub trunk: String,
    /// A URL or an absolute path. Empty where its source comes by a fetch step.
    pub git: String,
    pub follow: Follow,
    pub contacts: Vec<Address>,
    /// Names of other projects of the same trunk.
    pub needs: Vec<String>,
    /// What a worker must offer.
    pub wants: Vec<String>,
    /// How old its locked dependencies may get before they are chosen anew; for ever when there is none.
    pub relock: Option<Duration>,
    /// Whether it proves that the farm can see, and how.
    pub canary: Option<Canary>,
    pub marks: Vec<Mark>,
    pub recipe: Recipe,
}

/// Which of a project's revisions is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    Branch(String),
    Tag(String),
    NewestTag,
    /// What this command prints; a worker is asked that often.
    Latest {
        command: String,
        every: Duration,
    },
}

impl Follow {
    /// Whether it is found in a git repository, by a look at its refs.
    pub fn is_by_git(&self) -> bool {
        match self {
            Follow::Branch(_) | Follow::Tag(_) | Follow::NewestTag => true,
            Follow::Latest { .. } => false,
        }
    }
}

/// Reads the farm's file and the `projects` folder beside it. Touches nothing else: neither network nor secrets.
pub fn load(path: &Path) -> Result<Config, ConfigProblems> {
    let (farm, projects) = files::read(path);
    understand(&farm, &projects)
}

/// The same without any I/O.
fn understand(farm_file: &files::File, project_files: &[files::File]) -> Result<Config, ConfigProblems> {
    let mut problems = vec![];
    let farm = farm_file.understand(&mut problems, farm::farm);
    let registrations: Vec<_> =
        project_files.iter().map(|file| file.understand(&mut problems, project::registration)).collect();
    // A file that could not be read, or has no name, may be the very one that is missed elsewhere.
    let all_read =
        registrations.iter().flatten().filter(|it| it.name.is_some()).count() == registrations.len();
    let projects: Vec<_> = registrations.into_iter().flatten().collect();

    agree::unique("project", projects.iter().filter_map(|project| project.name.as_ref()), &mut problems);
    let trunks = farm.as_ref().map_or(&[][..], |farm| &farm.trunk_names);
    agree::unique("trunk", trunks.iter(), &mut problems);
    // Where none could be read, that has been said, and it is not the projects' fault.
    if !trunks.is_empty() {
        agree::trunks_exist(&projects, trunks, &mut problems);
    }
    if all_read {
        agree::needs_exist(&projects, trunks, &mut problems);
        agree::needs_end(&projects, &mut problems);
    }

    match farm.and_then(|mut farm| Some((farm.head.take()?, farm))) {
        Some((head, farm)) if problems.is_empty() => Ok(Config {
            name: head.name,
            url: head.url,
            listen: head.listen,
            data: head.data,
            max_readers: head.max_readers,
            max_workers: head.max_workers,
            mail: farm.mail,
            search: farm.search,
            leases: farm.leases,
            keep: farm.keep,
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
