//! A valid configuration, as the other stages read it.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::breakage::mark::Mark;
use domain::dispatch::lease::Leases;
use domain::health::missing_ref::RefKind;
use domain::retention::Retention;
use domain::schedule::canary::Canary;
use domain::variant::{Variant, VariantBuild, builds};
use lettre::Address;
use lettre::message::Mailbox;
use protocol::{Recipe, StepKind};

use super::files;

/// A farm's whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub name: String,
    /// As readers reach it, without a final slash.
    pub url: String,
    pub listen: SocketAddr,
    /// SQLite, logs, artifacts, mirrors. Absolute.
    pub data: PathBuf,
    /// How many browsers may watch live at once.
    pub max_readers: u32,
    /// How many workers may be connected at once.
    pub max_workers: u32,
    /// Without it, mails are written as files below `data`.
    pub mail: Option<MailConfig>,
    pub search: SearchConfig,
    pub leases: Leases,
    pub retention: Retention,
    pub trunks: Vec<TrunkConfig>,
    /// In the order of their file names.
    pub projects: Vec<ProjectConfig>,
}

impl Config {
    /// Whether any recipe declares a cache.
    pub fn declares_caches(&self) -> bool {
        self.trunks.iter().any(|trunk| !trunk.caches.is_empty())
            || self.projects.iter().any(|project| !project.caches.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct SearchConfig {
    /// The share of a platform's running builds, 0 to 1, that searches may take while changes wait.
    pub probe_share: f64,
    /// How often a suite must have run before a mail is sent about it.
    pub null_runs: u32,
    /// The share of the builds of idle workers, 0 to 1, that repeat old answers.
    pub self_check: f64,
}

impl Default for SearchConfig {
    fn default() -> SearchConfig {
        SearchConfig { probe_share: 0.3, null_runs: 20, self_check: 0.02 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    pub smtp: Smtp,
    pub from: Mailbox,
    pub list: Vec<Address>,
}

/// The server that accepts the farm's mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    pub security: Security,
    /// An IPv6 address has no brackets here.
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
}

/// How the connection to the server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: for a server on this machine.
    Plain,
    /// TLS from the first byte.
    Tls,
    /// TLS after a greeting in plain text; a server that refuses TLS gets no mail.
    StartTls,
}

/// The password stays in its file: so a configuration can be checked where the secret is missing, and printed safely.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password_file: PathBuf,
}

impl Login {
    /// Reads the password, which is the file's first line. It blocks.
    pub fn password(&self) -> io::Result<String> {
        let text = files::read_text(&self.password_file, 4096)?;
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
    /// Where history starts; by default at the tip when the branch is registered.
    pub base: Option<String>,
    pub poll: Duration,
    pub platforms: Vec<String>,
    pub recipe: Recipe,
    /// As configured; [`TrunkConfig::builds`] has the default build as well.
    pub variants: Vec<Variant>,
    /// Those of its recipe.
    pub caches: Vec<CacheConfig>,
    /// The names of caches that all its projects share which declare them.
    pub shared_caches: Vec<String>,
}

/// A folder that workers keep from build to build. It is no part of a recipe, so that it is no part of a build's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    pub name: String,
    /// Below `HOME`.
    pub path: String,
    /// Steps of this kind may write to it.
    pub write: StepKind,
    pub max_bytes: u64,
}

impl TrunkConfig {
    /// The builds that it has on each platform, the default one first.
    pub fn builds(&self) -> Vec<VariantBuild> {
        builds(&self.recipe, &self.variants)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectConfig {
    pub name: String,
    /// The name of one of the trunks.
    pub trunk: String,
    /// A URL or an absolute path. Empty if a fetch step brings the source.
    pub git: String,
    pub follow: Follow,
    pub contacts: Vec<Address>,
    /// Names of other projects of the same trunk.
    pub needs: Vec<String>,
    /// What a worker must provide.
    pub wants: Vec<String>,
    /// How old locked dependencies may get before they are locked again; without it they are not.
    pub relock: Option<Duration>,
    /// Whether the project is a canary, which proves that the farm notices failures, and which one.
    pub canary: Option<Canary>,
    pub marks: Vec<Mark>,
    /// Whether it has no suite, and gives only its source and its steps to those that need it.
    pub source_only: bool,
    /// The names of the variants that it is tested with; none if all.
    pub variants: Option<BTreeSet<String>>,
    /// With the steps of the source-only projects that it needs.
    pub recipe: Recipe,
    pub caches: Vec<CacheConfig>,
}

/// Which of a project's revisions is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    Branch(String),
    Tag(String),
    /// The full id of one commit, for ever.
    Commit(String),
    NewestTag,
    /// What this command prints when a worker runs it, once in every period.
    Latest {
        command: String,
        every: Duration,
    },
}

impl Follow {
    /// Whether the refs of a git repository determine the revision.
    pub fn is_by_git(&self) -> bool {
        match self {
            Follow::Branch(_) | Follow::Tag(_) | Follow::Commit(_) | Follow::NewestTag => true,
            Follow::Latest { .. } => false,
        }
    }

    /// The ref that is followed, as the farm names one that is missing; none where no ref determines the revision.
    pub fn wanted_ref(&self) -> Option<(RefKind, &str)> {
        match self {
            Follow::Branch(branch) => Some((RefKind::Branch, branch)),
            Follow::Tag(tag) => Some((RefKind::Tag, tag)),
            Follow::NewestTag => Some((RefKind::Version, "")),
            // Refs do not show whether it is there; a worker reports it if it is not.
            Follow::Commit(_) | Follow::Latest { .. } => None,
        }
    }
}
