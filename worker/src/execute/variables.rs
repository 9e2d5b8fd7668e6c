//! What a recipe sees in its environment: these variables, the recipe's own, and nothing of the machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use protocol::Plan;

use super::workspace::SandboxPaths;

/// 1980-01-01, the earliest date that a zip archive can hold: what builds should write instead of today.
pub const SOURCE_DATE_EPOCH: u64 = 315_532_800;

pub type Variables = BTreeMap<OsString, OsString>;

/// The recipe's own variables win over what is only custom (`PATH`, `LANG`), never over `FARM_...`.
pub fn of(plan: &Plan, seen: &SandboxPaths<'_>, cpus: u32) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        variables.insert(name.into(), value.as_ref().into());
    };
    set("HOME", &seen.home);
    set("TMPDIR", &seen.temporary);
    set("LANG", &"C.UTF-8");
    set("PATH", &path(seen.toolchain));
    set("SOURCE_DATE_EPOCH", &SOURCE_DATE_EPOCH.to_string());
    for (name, value) in &plan.recipe.env {
        if !name.starts_with("FARM_") {
            set(name, value);
        }
    }
    set("FARM_PREFIX", &seen.toolchain);
    set("FARM_SOURCE", &seen.source);
    set("FARM_OUT", &seen.out);
    set("FARM_CPUS", &cpus.to_string());
    match plan.toolchain {
        // A suite that knew the change could tell two equal toolchains apart, and its results could not be shared.
        Some(_) => set("FARM_REVISION", &plan.source.revision),
        None => set("FARM_CHANGE", &plan.change),
    }
    let brought = [("FARM_CASES", seen.cases), ("FARM_NEEDS", seen.needs), ("FARM_LOCK", seen.lock)];
    for (name, path) in brought {
        if let Some(path) = path {
            set(name, &path);
        }
    }
    variables
}

fn path(toolchain: &Path) -> OsString {
    let mut path = toolchain.join("bin").into_os_string();
    path.push(":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    path
}
