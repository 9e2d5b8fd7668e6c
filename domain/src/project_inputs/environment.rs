//! How a worker's environment changed: runs in different environments may not be compared.

use std::collections::BTreeMap;

/// The differences between two environments, each a list of `name=value`: `cc gcc 12.2.0 is now gcc 13.1.0`.
pub fn differs(before: &[String], now: &[String]) -> Vec<String> {
    let read = |properties: &[String]| -> BTreeMap<String, String> {
        properties.iter().filter_map(|word| word.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect()
    };
    let (before, now) = (read(before), read(now));
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let differs = names.into_iter().filter(|name| before.get(*name) != now.get(*name));
    differs
        .map(|name| match (before.get(name), now.get(name)) {
            (Some(was), Some(is)) => format!("{name} {was} is now {is}"),
            (Some(was), None) => format!("{name} {was} is gone"),
            (None, Some(is)) => format!("{name} {is} is new"),
            (None, None) => name.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_that_changed_is_listed() {
        let words = |text: &str| text.split(',').map(str::to_string).collect::<Vec<_>>();
        let shown = |before: &str, now: &str| differs(&words(before), &words(now)).join("; ");
        assert_eq!(shown("cc=gcc 12,libc=gnu 2.36", "cc=gcc 12,libc=gnu 2.36"), "");
        assert_eq!(shown("cc=gcc 12,libc=gnu 2.36", "cc=gcc 13,libc=gnu 2.36"), "cc gcc 12 is now gcc 13");
        assert_eq!(shown("cc=gcc 12", "offers=redis"), "cc gcc 12 is gone; offers redis is new");
    }
}
