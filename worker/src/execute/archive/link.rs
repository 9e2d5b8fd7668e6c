//! Which symbolic links a toolchain may contain: those that cannot lead out of it, whatever else it contains.

use std::path::{Component, Path};

/// Whether the link at `path` (relative to the root) stays in the root when it points to `target`.
///
/// `..` is allowed only at the target's start. Every link is in a real folder, so these climb exactly as many levels
/// as there are `..`; after a name they might climb from wherever another link leads.
pub fn stays_inside(path: &Path, target: &Path) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let mut climbed = 0;
    let mut descending = false;
    for component in target.components() {
        match component {
            Component::ParentDir if descending => return false,
            Component::ParentDir => climbed += 1,
            Component::Normal(_) => descending = true,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    climbed <= depth && target != Path::new("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_lead_anywhere_in_the_toolchain() {
        for (path, target) in [
            ("bin/lua", "lua5.4"),
            ("bin/lua", "../lib/lua/lua"),
            ("lua", "bin/lua"),
            ("a/b/c", "../../d"),
            ("a/b/c", "../.."),
            ("lib64", "./lib"),
            ("lib64", "lib/"),
        ] {
            assert!(stays_inside(Path::new(path), Path::new(target)), "{path} -> {target}");
        }
    }

    #[test]
    fn a_link_may_never_lead_out() {
        for (path, target) in [
            ("lua", ""),
            ("lua", ".."),
            ("lua", "/usr/bin/lua"),
            ("bin/lua", "../.."),
            ("bin/lua", "../../usr"),
            ("bin/lua", "./../.."),
            // If `a/up` leads to the root, this leads out of it.
            ("bin/lua", "../a/up/.."),
        ] {
            assert!(!stays_inside(Path::new(path), Path::new(target)), "{path} -> {target}");
        }
    }
}
