//! A public type's name stands for one type in the whole workspace.

use std::collections::BTreeMap;

use crate::source::Crate;
use crate::tokens;

const MAX_COLLISIONS: usize = 9;
const KINDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

/// For each name, where a type of this name is defined.
pub type Types = BTreeMap<String, Vec<String>>;

pub fn add(krate: &Crate, types: &mut Types) -> usize {
    let before = count(types.values());
    for file in &krate.files {
        for pair in tokens::flat(&file.tokens).windows(2) {
            // Behind `pub(crate)` stands a bracket, not `pub`; a macro's `$name` is no ident.
            if pair[0].before == "pub" && KINDS.contains(&&*pair[0].text) && pair[1].is_ident {
                types
                    .entry(pair[1].text.clone())
                    .or_default()
                    .push(format!("{}:{}", file.path, pair[1].line));
            }
        }
    }
    count(types.values()) - before
}

fn count<'a>(places: impl Iterator<Item = &'a Vec<String>>) -> usize {
    places.map(Vec::len).sum()
}

/// The share of names that stand for more than one type, and what breaks the rule.
pub fn check(types: &Types, allowed: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let shared: BTreeMap<_, _> = types.iter().filter(|(_, places)| places.len() > 1).collect();
    let (all, held) = (count(types.values()), count(shared.values().copied()));
    let share = 100.0 * held as f64 / all.max(1) as f64;
    let (names, collisions) = (types.len(), shared.len());
    let summary = format!(
        "public type names: {collisions} of {names} stand for more than one type: {held} of {all} types ({share:.1} %)"
    );
    let mut out = Vec::new();
    for (name, places) in shared.iter().filter(|(name, _)| !allowed.contains_key(**name)) {
        let others = places[1..].join(", ");
        let mend = "give each a qualifier, or allow it with a reason in tests/shape/allowed.toml";
        out.push(format!("{}: `{name}` also names a type at {others}; {mend}", places[0]));
    }
    for name in allowed.keys().filter(|name| !shared.contains_key(name)) {
        out.push(format!("tests/shape/allowed.toml: `{name}` does not name two types; remove the entry"));
    }
    if collisions > MAX_COLLISIONS {
        out.push(format!(
            "workspace: {collisions} names stand for more than one type, at most {MAX_COLLISIONS} may"
        ));
    }
    (summary, out)
}
