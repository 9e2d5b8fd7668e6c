//! The environment variables of a recipe's steps: ours, the recipe's own, and none of the machine's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use domain::variant;
use protocol::Plan;

use super::workspace::SandboxPaths;
use crate::source_date::SOURCE_DATE_EPOCH;

pub type Variables = BTreeMap<OsString, OsString>;

/// The master sets these in the recipe of a variant; no person can.
const VARIANT_VARIABLES: [&str; 2] = [variant::NAME_VARIABLE, variant::ARGS_VARIABLE];

/// The variables of every step of a plan. The recipe's own replace our defaults (`PATH`, `LANG`), but never
/// `FARM_...`.
pub fn for_plan(plan: &Plan, paths: &SandboxPaths<'_>, version: Option<&str>, cpus: u32) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        variables.insert(name.into(), value.as_ref().into());
    };
    set("HOME", &paths.home);
    set("TMPDIR", &paths.temporary);
    set("LANG", &"C.UTF-8");
    set("PATH", &search_path(paths.toolchain));
    set("SOURCE_DATE_EPOCH", &SOURCE_DATE_EPOCH.to_string());
    for (name, value) in &plan.recipe.env {
        if !name.starts_with("FARM_") || VARIANT_VARIABLES.contains(&name.as_str()) {
            set(name, value);
        }
    }
    set("FARM_PREFIX", &paths.toolchain);
    set("FARM_SOURCE", &paths.source);
    set("FARM_OUT", &paths.out);
    set("FARM_CPUS", &cpus.to_string());
    match plan.toolchain {
        // A suite that sees the change could distinguish two equal toolchains, and its results could not be shared.
        Some(_) => set("FARM_REVISION", &plan.source.revision),
        None => set("FARM_CHANGE", &plan.change),
    }
    if let Some(version) = version {
        set("FARM_VERSION", &version);
    }
    let optional = [("FARM_CASES", paths.cases), ("FARM_NEEDS", paths.needs), ("FARM_LOCK", paths.lock)];
    for (name, path) in optional {
        if let Some(path) = path {
            set(name, &path);
        }
    }
    variables
}

fn search_path(toolchain: &Path) -> OsString {
    let mut path = toolchain.join("bin").into_os_string();
    path.push(":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    path
}
