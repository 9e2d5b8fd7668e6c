//! Placeholders in the texts of a family: `{{name}}` is the name of the project. Shells, awk and Make have braces of their own,
//! so only a word in two pairs of them is a placeholder.

use std::borrow::Cow;

pub(super) const NAME: &str = "{{name}}";
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The text with the name in place of its placeholders.
pub(super) fn filled<'t>(text: &'t str, name: &str) -> Cow<'t, str> {
    if !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, word, after)) = next(rest) {
        out.push_str(before);
        out.push_str(if word == "name" { name } else { &rest[before.len()..rest.len() - after.len()] });
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The placeholders in a text that stand for nothing.
pub(super) fn unknown(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, word, after) = next(rest)?;
        rest = after;
        Some(word)
    })
    .filter(|word| *word != "name")
}

/// The text before the first placeholder, its word, and the text after it. `{{.Name}}` and `{{ "a" }}` are none.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    for at in (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(OPEN.as_bytes())) {
        let inner = &text[at + OPEN.len()..];
        let end = inner.bytes().take_while(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b' ')).count();
        let (word, after) = inner.split_at(end);
        if let (false, Some(after)) = (word.trim().is_empty(), after.strip_prefix(CLOSE)) {
            return Some((&text[..at], word.trim(), after));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_word_in_two_pairs_of_braces_is_a_placeholder() {
        let table = [
            ("https://example.org/{{name}}.git", "https://example.org/say.git"),
            ("{{name}}-{{ name }}", "say-say"),
            ("awk '{print $1}' ${HOME} {a,b} {{.Name}} {{", "awk '{print $1}' ${HOME} {a,b} {{.Name}} {{"),
            ("{{{name}}}", "{say}"),
            ("plain", "plain"),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text, "say"), expected);
        }
        assert_eq!(
            unknown("{{name}} {{nam}} {{.Name}} {{ version }}").collect::<Vec<_>>(),
            ["nam", "version"]
        );
    }

    proptest! {
        #[test]
        fn a_text_without_braces_stays_and_a_name_brings_no_placeholder(
            text in "[a-z{} .]{0,40}", name in "[a-z0-9][a-z0-9._+-]{0,20}",
        ) {
            let once = filled(&text, &name);
            if next(&text).is_none() {
                prop_assert_eq!(&*once, text.as_str());
            }
            let names = text.matches(NAME).count();
            prop_assert!(once.matches(name.as_str()).count() >= names);
        }
    }
}
