//! JSON in which characters that act instead of being read are escaped: the same values, and readable in a terminal.

use std::io;

use domain::visible::sign;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The JSON text of a value.
pub fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Inert))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|letter| sign(letter).is_some()) {
            let (plain, special) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut letters = special.chars();
            let letter = letters.next().expect("`find` returned the position of a letter");
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = letters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_value_is_the_same_and_no_character_of_its_text_acts(text in "(.|\u{202e}|\u{2066}|\u{7f}|\u{9b}|\u{e0041}|\n){0,40}") {
            let json = to_string(&text).unwrap();
            prop_assert!(!json.contains(|letter| sign(letter).is_some()), "{}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
