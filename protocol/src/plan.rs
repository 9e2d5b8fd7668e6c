//! What a worker is asked to do, and what it says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::{ReportFormat, Sha256, StepKind};

/// Where things lie in a step's world, whatever machine it runs on, so that no machine leaks into a toolchain.
pub mod prefix {
    pub const TOOLCHAIN: &str = "/trunkfarm/toolchain";
    pub const SOURCE: &str = "/trunkfarm/src";
    pub const OUT: &str = "/trunkfarm/out";
    pub const NEEDS: &str = "/trunkfarm/needs";
}

/// All that a worker needs to know for one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The builder's name, for the person who looks at the worker's screen.
    pub builder: String,
    /// The trunk's commit in question: `FARM_CHANGE`.
    pub change: String,
    pub source: Source,
    /// The toolchain to mount at [`prefix::TOOLCHAIN`]; none when this build makes one there.
    pub toolchain: Option<ToolchainFile>,
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
    /// The first line that the last step prints is what is asked for: [`crate::Event::Answer`].
    #[serde(default)]
    pub answer: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedSource {
    pub name: String,
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    pub sha256: Sha256,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// A URL that git understands. Empty where a fetch step brings the source: it starts in an empty folder.
    pub git: String,
    /// A full commit id, or whatever names a revision where it comes by a fetch step: `FARM_REVISION`.
    pub revision: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolchainFile {
    pub sha256: Sha256,
    pub bytes: u64,
}

/// What to run, command by command; the same shape in `farm.toml` and on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub steps: Vec<RecipeStep>,
    /// A command that must succeed before a toolchain counts as built.
    #[serde(default)]
    pub smoke: Option<String>,
    #[serde(default)]
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeStep {
    pub name: String,
    pub kind: StepKind,
    /// A command line for `/bin/sh -c`, run in `FARM_SOURCE`.
    pub run: String,
    #[serde(default)]
    pub network: bool,
    #[serde(default)]
    pub report: Option<ReportFormat>,
    /// In place of the recipe's own limits.
    #[serde(default)]
    pub time_ms: Option<u64>,
    #[serde(default)]
    pub silence_ms: Option<u64>,
}

/// What one step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub time_ms: u64,
    /// How long a step may print nothing.
    pub silence_ms: u64,
    pub memory_bytes: u64,
    /// How much of a step's log is kept; the step is killed at ten times this.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time_ms: 30 * 60_000, silence_ms: 10 * 60_000, memory_bytes: 4 << 30, log_bytes: 20 << 20 }
    }
}

/// What a worker's machine is; platforms are matched on it.
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
    pub kernel: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// `bubblewrap` or `none`.
    pub sandbox: String,
    #[serde(default)]
    pub offers: Vec<String>,
}

/// What a recipe sees beside the toolchain. Two runs in equal environments may be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// SHA-256 over `words`, each with a newline behind it.
    pub sha256: Sha256,
    /// `distribution=debian12`, `cc=gcc 12.2.0`, ...: sorted.
    pub words: Vec<String>,
}
