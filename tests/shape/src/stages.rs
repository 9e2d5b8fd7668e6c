//! A crate's folders and files stand in stages, and a stage imports none above it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::edges::Edges;
use crate::source::Crate;

/// For a crate, its stages from the lowest to the highest.
pub type Stages = BTreeMap<String, Vec<Stage>>;

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Stage {
    One(String),
    Several(Vec<String>),
}

impl Stage {
    fn names(&self) -> &[String] {
        match self {
            Stage::One(name) => std::slice::from_ref(name),
            Stage::Several(names) => names,
        }
    }
}

pub fn violations(krate: &Crate, edges: &Edges, stages: &Stages) -> Vec<String> {
    let Some(stages) = stages.get(&krate.name) else { return Vec::new() };
    let mut out = Vec::new();
    let placed: Vec<Option<(usize, &str)>> =
        krate.files.iter().map(|file| stage_of(module_path(&file.path), stages)).collect();
    for (file, _) in krate.files.iter().zip(&placed).filter(|(_, stage)| stage.is_none()) {
        out.push(format!(
            "{}:1: is in no stage; add it to {} in tests/shape/stages.toml",
            file.path, krate.name
        ));
    }
    for name in stages.iter().flat_map(Stage::names) {
        if !placed.iter().flatten().any(|(_, placed)| placed == name) {
            let mend = "remove the entry, or correct it";
            out.push(format!("tests/shape/stages.toml: {}'s stage `{name}` has no file; {mend}", krate.name));
        }
    }
    for (&(from, to), (line, name)) in edges {
        let (Some((low, here)), Some((high, there))) = (placed[from], placed[to]) else { continue };
        if low < high {
            let (file, other) = (&krate.files[from].path, &krate.files[to].path);
            out.push(format!(
                "{file}:{line}: stage `{here}` imports `{name}` ({other}) of the higher stage `{there}`; move one of both"
            ));
        }
    }
    out
}

/// Below `src`, without the ending: `log` for both `log.rs` and `log/mod.rs`.
fn module_path(path: &str) -> &str {
    let path = path.split_once("/src/").map_or(path, |(_, path)| path).trim_end_matches(".rs");
    path.strip_suffix("/mod").unwrap_or(path)
}

/// The longest entry that names the file or a folder around it.
fn stage_of<'a>(module: &str, stages: &'a [Stage]) -> Option<(usize, &'a str)> {
    let entries = stages
        .iter()
        .enumerate()
        .flat_map(|(nth, stage)| stage.names().iter().map(move |name| (nth, &**name)));
    let is_within =
        |name: &str| module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    entries.filter(|(_, name)| is_within(name)).max_by_key(|(_, name)| name.len())
}
