//! What a worker is asked to run, and how it describes itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::words::{ReportFormat, Sha256, StepKind};

/// The paths that a step sees, the same on every machine, so that no machine's own paths get into a toolchain.
pub mod prefix {
    /// The toolchain: read-only, unless this build makes it.
    pub const TOOLCHAIN: &str = "/trunkfarm/toolchain";
    /// The source of the project or trunk that is built.
    pub const SOURCE: &str = "/trunkfarm/src";
    /// Where steps write their reports and their lock file.
    pub const OUT: &str = "/trunkfarm/out";
    /// The sources of other projects that this one needs, each in a folder of its name; read-only.
    pub const NEEDS: &str = "/trunkfarm/needs";
}

/// All that a worker needs to know for one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The builder's name, for the person who watches the worker's output.
    pub builder: String,
    /// The trunk's commit in question: `FARM_CHANGE`.
    pub change: String,
    /// What to check out at [`prefix::SOURCE`].
    pub source: Source,
    /// The toolchain to mount at [`prefix::TOOLCHAIN`]; none when this build makes one there.
    pub toolchain: Option<ToolchainFile>,
    /// What to run.
    pub recipe: Recipe,
    /// Only these cases are in question (`FARM_CASES`); all of them when empty.
    #[serde(default)]
    pub cases: Vec<String>,
    /// Other projects that this one needs, each below [`prefix::NEEDS`] by its name.
    #[serde(default)]
    pub needs: Vec<NeedSource>,
    /// The dependencies that an earlier run chose: `FARM_LOCK`. Without one, this run may choose, and write a lock.
    #[serde(default)]
    pub lock: Option<LockFile>,
    /// Whether the worker is to report the first line that the last step prints, as [`crate::Event::Answer`].
    #[serde(default)]
    pub answer: bool,
    /// Folders of the worker that some steps fill and others find again. They save time and change nothing, so a worker may
    /// ignore them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<DeclaredCache>,
}

/// A folder that a worker keeps from build to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredCache {
    /// Which folder it is: builds with the same key share it. With a new key it begins empty.
    pub key: Sha256,
    /// Its name in the recipe, for messages.
    pub name: String,
    /// Where steps find it: a path below `HOME`, of plain names.
    pub path: String,
    /// Steps of this kind may write to it; the others may only read it.
    pub write: StepKind,
    /// If it holds more after such a step, it is emptied.
    pub max_bytes: u64,
}

/// The source of another project that this one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedSource {
    /// The project's name: its folder below [`prefix::NEEDS`].
    pub name: String,
    /// What to check out there.
    pub source: Source,
}

/// A lock file that the master stores as an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// Its hash.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What to check out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// A URL that git understands. Empty if a fetch step brings the source: then it starts in an empty folder.
    pub git: String,
    /// A full commit id, or any text that names a revision if a fetch step brings the source: `FARM_REVISION`.
    pub revision: String,
}

/// A packed toolchain that the master stores as an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolchainFile {
    /// The archive's hash.
    pub sha256: Sha256,
    /// The archive's length in bytes.
    pub bytes: u64,
}

/// How far a source or a toolchain is fetched. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchProgress {
    /// What is fetched: `the source`, or the name of a project that is needed.
    pub what: String,
    /// How many bytes have arrived.
    pub bytes: u64,
    /// How many there are. Of a git repository nobody knows it before the end.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// How many objects of a git repository have arrived.
    #[serde(default)]
    pub objects: u64,
    /// How many there are, once the remote has said so.
    #[serde(default)]
    pub total_objects: Option<u64>,
}

/// What to run, command by command; the same shape in `farm.toml` and on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Environment variables of every step.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Run in this order.
    pub steps: Vec<RecipeStep>,
    /// A command that must succeed before a toolchain counts as built.
    #[serde(default)]
    pub smoke: Option<String>,
    /// What each step may use.
    #[serde(default)]
    pub limits: Limits,
    /// How the sources are checked out. Left out where it is as ever, so that the hashes of recipes do not change.
    #[serde(default, skip_serializing_if = "Checkout::is_plain")]
    pub checkout: Checkout,
    /// Whether its tests run only the cases that `FARM_CASES` lists, where there is such a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub selects: bool,
}

/// How the sources are checked out. It is part of the recipe, since other files and another version are other inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// Whether the source has its submodules.
    #[serde(default)]
    pub submodules: bool,
    /// Whether steps get `FARM_VERSION`: what `git describe --tags --always` prints for the revision.
    #[serde(default)]
    pub describe: bool,
    /// The needed projects whose sources have their submodules.
    #[serde(default)]
    pub submodules_of_needs: BTreeSet<String>,
}

impl Checkout {
    /// Whether it asks for nothing.
    pub fn is_plain(&self) -> bool {
        *self == Checkout::default()
    }
}

/// One command of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeStep {
    /// Its name in the log, and in the case `step:NAME`.
    pub name: String,
    /// What it is for.
    pub kind: StepKind,
    /// A command line for `/bin/sh -c`, run in `FARM_SOURCE`.
    pub run: String,
    /// Whether it may reach the network.
    #[serde(default)]
    pub network: bool,
    /// How it reports its cases. Without it a suite's test step is read as [`ReportFormat::Lines`], and any other step
    /// as [`ReportFormat::Exit`].
    #[serde(default)]
    pub report: Option<ReportFormat>,
    /// Patterns of the project's own, by which its cases are read from what it prints; `report` is then
    /// [`ReportFormat::Lines`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patterns: Option<ReportPatterns>,
    /// In place of [`Limits::time_ms`].
    #[serde(default)]
    pub time_ms: Option<u64>,
    /// In place of [`Limits::silence_ms`].
    #[serde(default)]
    pub silence_ms: Option<u64>,
}

/// Regular expressions, in the syntax of Rust's regex crate, for the lines of a step that reports its cases in a way of its
/// own. Each but `end` has a group `case` around the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPatterns {
    /// A case passed. Without it, only failures have names.
    #[serde(default)]
    pub pass: Option<String>,
    /// A case failed.
    pub fail: String,
    /// A case was skipped.
    #[serde(default)]
    pub skip: Option<String>,
    /// The run has come to its end; a group `total` is how many cases it had.
    #[serde(default)]
    pub end: Option<String>,
}

/// What one step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long a step may run, in milliseconds.
    pub time_ms: u64,
    /// How long a step may print nothing, in milliseconds.
    pub silence_ms: u64,
    /// How much memory all processes of a step may use together.
    pub memory_bytes: u64,
    /// How much of a step's log is stored; the step is killed at ten times this.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time_ms: 30 * 60_000, silence_ms: 10 * 60_000, memory_bytes: 4 << 30, log_bytes: 20 << 20 }
    }
}

/// What a worker's machine is; platforms are matched against it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFacts {
    /// As in `uname`: `linux`.
    pub os: String,
    /// As Rust names it: `x86_64`, `aarch64`.
    pub arch: String,
    /// `gnu` or `musl`.
    pub libc: String,
    /// `debian12`, `alpine3`: the ID of os-release and the first number of its VERSION_ID.
    pub distribution: String,
    /// The kernel's release, as in `uname -r`.
    pub kernel: String,
    /// How many CPUs builds may use.
    pub cpus: u32,
    /// How much memory the machine has.
    pub memory_bytes: u64,
    /// `bubblewrap` or `none`.
    pub sandbox: String,
    /// What the owner declares that the machine has, for projects that want it: `postgresql`.
    #[serde(default)]
    pub offers: Vec<String>,
}

/// What a recipe sees beside the toolchain. Two runs in equal environments may be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// SHA-256 over `properties`, each followed by a newline.
    pub sha256: Sha256,
    /// `distribution=debian12`, `cc=gcc 12.2.0`, ...: sorted.
    pub properties: Vec<String>,
}
