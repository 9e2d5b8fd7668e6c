//! Words that the project has given up must not come back as names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::source::Crate;
use crate::tokens;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// A word, or several joined by `_`, and what to say instead.
    words: BTreeMap<String, String>,
    /// A whole identifier that may keep its word, and why.
    #[serde(default)]
    exceptions: BTreeMap<String, String>,
}

/// For each identifier its first place, and how often it occurs.
pub type Identifiers = BTreeMap<String, (String, usize)>;

pub fn add(krate: &Crate, identifiers: &mut Identifiers) {
    for file in &krate.files {
        for token in tokens::flat(&file.tokens) {
            if token.is_ident {
                let first = || (format!("{}:{}", file.path, token.line), 0);
                identifiers.entry(token.text).or_insert_with(first).1 += 1;
            }
        }
    }
}

impl Retired {
    /// The most frequent words with their counts, and the violations.
    pub fn check(&self, identifiers: &Identifiers) -> (String, Vec<String>) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut used_exceptions = BTreeSet::new();
        let mut out = Vec::new();
        for (identifier, (place, count)) in identifiers {
            let parts = parts(identifier);
            for (word, instead) in self.words.iter().filter(|(word, _)| has(&parts, word)) {
                if self.exceptions.contains_key(identifier) {
                    used_exceptions.insert(identifier);
                    continue;
                }
                *counts.entry(word).or_default() += count;
                let times = if *count == 1 { "once" } else { &format!("{count} times") };
                out.push(format!(
                    "{place}: `{identifier}` ({times}) has the retired word `{word}`; say {instead}"
                ));
            }
        }
        for name in self.exceptions.keys().filter(|name| !used_exceptions.contains(name)) {
            out.push(format!("tests/shape/retired.toml: `{name}` needs no exception; remove the entry"));
        }
        let mut most: Vec<(&str, usize)> = counts.into_iter().collect();
        most.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let most: Vec<String> = most.iter().take(10).map(|(word, count)| format!("{word} {count}")).collect();
        (if most.is_empty() { "none".to_owned() } else { most.join(", ") }, out)
    }
}

fn has(parts: &[String], word: &str) -> bool {
    let word: Vec<&str> = word.split('_').collect();
    parts.windows(word.len()).any(|window| window == word)
}

/// `told_fixed`, `ToldFixed` and `TOLD_FIXED` are each `told`, `fixed`.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for letter in identifier.chars() {
        if letter == '_' || (letter.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        was_lower = letter.is_lowercase() || letter.is_numeric();
        if letter != '_' {
            parts.last_mut().expect("one part at least").extend(letter.to_lowercase());
        }
    }
    parts
}
