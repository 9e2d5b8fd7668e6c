//! Reads `[[cache]]`: folders that workers keep from build to build.

use std::path::{Component, Path};

use protocol::StepKind;

use super::problem::quoted;
use super::recipe::RecipeOf;
use super::settings::CacheConfig;
use super::table::{Table, Value};
use super::words::{Form, NAME, SIZE, Why, because, size_text};

const MAX_CACHES: usize = 8;
const MAX_PATH_BYTES: usize = 200;
const DEFAULT_BYTES: u64 = 2 << 30;
const SIZES: (u64, u64) = (1 << 20, 256 << 30);

/// The caches that a table declares by its key `cache`.
pub(super) fn caches(table: &Table, of: RecipeOf) -> Option<Vec<CacheConfig>> {
    let Some(value) = table.get("cache") else { return Some(vec![]) };
    let items = value.list("a list of tables [[cache]]")?;
    if items.len() > MAX_CACHES {
        value.report(format!("expected at most {MAX_CACHES} caches, found {}", items.len()));
        return None;
    }
    let mut caches: Vec<CacheConfig> = Vec::new();
    let mut is_valid = true;
    for item in &items {
        match item.table(|table| cache(table, of, &caches)) {
            Some(cache) => caches.push(cache),
            None => is_valid = false,
        }
    }
    is_valid.then_some(caches)
}

fn cache(table: &Table, of: RecipeOf, others: &[CacheConfig]) -> Option<CacheConfig> {
    let name = table.need("name", NAME.expected).and_then(|value| {
        let name = value.read(&NAME)?;
        if others.iter().any(|other| other.name == name) {
            value.report(format!("another cache is already named {}", quoted(&name)));
            return None;
        }
        Some(name)
    });
    let path = table.need("path", PATH.expected).and_then(|value| path(&value, others));
    let write = table.required(
        "write",
        match of {
            RecipeOf::Project | RecipeOf::Source => &WRITTEN_BY_PROJECTS,
            RecipeOf::Trunk => &WRITTEN_BY_TRUNKS,
        },
    );
    let max_bytes = match table.get("size") {
        Some(value) => value.read_within(&SIZE, SIZES.0..=SIZES.1, size_text),
        None => Some(DEFAULT_BYTES),
    };
    Some(CacheConfig { name: name?, path: path?, write: write?, max_bytes: max_bytes? })
}

/// No cache lies in another one.
fn path(value: &Value, others: &[CacheConfig]) -> Option<String> {
    let path = value.read(&PATH)?;
    let is_nested = |other: &CacheConfig| {
        Path::new(&path).starts_with(&other.path) || Path::new(&other.path).starts_with(&path)
    };
    match others.iter().find(|other| is_nested(other)) {
        Some(other) => {
            value.report(format!(
                "it overlaps with the cache {}; expected another folder",
                quoted(&other.name)
            ));
            None
        }
        None => Some(path),
    }
}

/// Read as the part below `$HOME`.
const PATH: Form<String> = Form {
    expected: "a folder below the home folder, such as \"$HOME/.cache/pip\"",
    read: |text| {
        let Some(below) = text.strip_prefix("$HOME/") else { return Err(Why::Other) };
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_one_line = !below.contains(|c: char| c.is_control());
        let is_within = Path::new(below).components().all(|part| matches!(part, Component::Normal(_)));
        match is_one_line && is_within && below.split('/').all(is_plain) && below.len() <= MAX_PATH_BYTES {
            true => Ok(below.to_string()),
            false => Err(Why::Other),
        }
    },
};

/// What the steps of a project make with a toolchain must not outlast it.
const WRITTEN_BY_PROJECTS: Form<StepKind> = Form {
    expected: "\"fetch\"",
    read: |text| match text {
        "fetch" => Ok(StepKind::Fetch),
        "compile" => because("only a trunk's recipe may fill a cache while it compiles"),
        _ => Err(Why::Other),
    },
};

const WRITTEN_BY_TRUNKS: Form<StepKind> = Form {
    expected: "\"fetch\" or \"compile\"",
    read: |text| match text {
        "fetch" => Ok(StepKind::Fetch),
        "compile" => Ok(StepKind::Compile),
        _ => Err(Why::Other),
    },
};
