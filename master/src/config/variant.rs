//! Reads the variants of a trunk, `[[trunk.variant]]`.

use std::collections::BTreeMap;

use domain::variant::{DEFAULT_NAME, Variant};
use protocol::Recipe;

use super::problem::quoted;
use super::recipe::{env, is_small};
use super::table::{Table, Value};
use super::words;

/// The variants in the list, in its order. None if one of them has problems, which are reported. `recipe` is the trunk's,
/// if it has no problem.
pub(super) fn variants(value: &Value, recipe: Option<&Recipe>) -> Option<Vec<Variant>> {
    let mut read: Vec<Variant> = Vec::new();
    let mut is_whole = true;
    for item in value.list("tables [[trunk.variant]]")? {
        let Some(variant) = item.table(|table| variant(table, &read)) else {
            is_whole = false;
            continue;
        };
        is_whole &= recipe.is_none_or(|recipe| is_small(&item, &variant.recipe(recipe)));
        read.push(variant);
    }
    is_whole.then_some(read)
}

fn variant(table: &Table, earlier: &[Variant]) -> Option<Variant> {
    let name = table.need("name", words::NAME.expected);
    let args = table.get("args").map_or(Some(vec![]), |value| args(&value));
    let env = table.get("env").map_or(Some(BTreeMap::new()), |value| env(&value));
    let (at, text) = name.and_then(|value| Some((value.clone(), value.read(&words::NAME)?)))?;
    if earlier.iter().any(|other| other.name == text) {
        at.report(format!("another variant of this trunk is already named {}", quoted(&text)));
    }
    let variant = Variant { name: text, args: args?, env: env? };
    match (variant.is_default(), earlier.iter().find(|other| other.is_default())) {
        (false, _) if variant.name == DEFAULT_NAME => {
            at.report("reserved for the build without `args` and `env`; expected another name");
        }
        (true, Some(other)) => at.report(format!(
            "neither this variant nor {} has `args` or `env`, so both are the default build; expected one of them",
            quoted(&other.name)
        )),
        (true, None) | (false, _) => {}
    }
    Some(variant)
}

fn args(value: &Value) -> Option<Vec<String>> {
    let args = value.list("a list of words such as [\"--disable-gil\"]")?;
    let read: Vec<Option<String>> = args.iter().map(|arg| arg.read(&words::ARG)).collect();
    read.into_iter().collect()
}
