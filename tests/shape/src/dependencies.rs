//! A dependency that no source names costs build time and trust for nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::source::{rust_files, tokens_of};
use crate::tokens;

pub fn members(root: &Path) -> Result<Vec<String>> {
    let manifest = manifest(root)?;
    let members = manifest.get("workspace").and_then(|it| it.get("members")).and_then(Value::as_array);
    let members = members.context("the root Cargo.toml names no members")?;
    Ok(members.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// `allowed` holds `member/dependency`, with the reason why no source names it.
pub fn violations(
    root: &Path,
    members: &[String],
    allowed: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let mut out = Vec::new();
    let mut unused = BTreeSet::new();
    for member in members {
        let folder = root.join(member);
        let named = named_crates(&folder)?;
        let manifest = manifest(&folder)?;
        let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let targets = targets.filter_map(Value::as_table);
        for table in std::iter::once(&manifest).chain(targets) {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                // The key is the name in the sources, also where `package` names another.
                let keys = table.get(kind).and_then(Value::as_table).into_iter().flat_map(Table::keys);
                for key in keys.filter(|key| !named.contains(&key.replace('-', "_"))) {
                    let entry = format!("{member}/{key}");
                    if !allowed.contains_key(&entry) {
                        let mend = "remove it, or excuse it in tests/shape/allowed.toml";
                        out.push(format!("{member}/Cargo.toml: no source names `{key}` of [{kind}]; {mend}"));
                    }
                    unused.insert(entry);
                }
            }
        }
    }
    for entry in allowed.keys().filter(|entry| !unused.contains(*entry)) {
        out.push(format!("tests/shape/allowed.toml: `{entry}` needs no excuse; remove the entry"));
    }
    Ok(out)
}

fn manifest(folder: &Path) -> Result<Table> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().with_context(|| format!("parsing {}", path.display()))
}

/// What stands before a `::` or behind a `use`.
fn named_crates(folder: &Path) -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    for path in rust_files(folder) {
        let tokens = tokens::flat(&tokens_of(&path?)?).into_iter();
        names.extend(
            tokens.filter(|it| it.is_ident && (it.after == "::" || it.before == "use")).map(|it| it.text),
        );
    }
    Ok(names)
}
