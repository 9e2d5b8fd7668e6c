//! How text enters a page: markup is escaped, and control characters are shown instead of obeyed.
//!
//! Commit messages, file names and what workers report are untrusted text. All of it passes through here, so that no
//! page has to remember to escape it.

use std::fmt::{self, Write};

use askama::filters::Escaper;
use domain::visible::sign;

/// The escaper of all templates; `askama.toml` names it.
#[derive(Debug, Clone, Copy)]
pub struct Inert;

impl Escaper for Inert {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        let mut rest = string;
        while let Some(at) = rest.find(|letter| entity(letter).is_some() || sign(letter).is_some()) {
            let (plain, special) = rest.split_at(at);
            dest.write_str(plain)?;
            let mut letters = special.chars();
            let letter = letters.next().expect("`find` returned the position of a letter");
            match entity(letter) {
                Some(entity) => dest.write_str(entity)?,
                None => dest.write_str(&sign(letter).unwrap_or_default())?,
            }
            rest = letters.as_str();
        }
        dest.write_str(rest)
    }
}

fn entity(letter: char) -> Option<&'static str> {
    match letter {
        '<' => Some("&#60;"),
        '>' => Some("&#62;"),
        '&' => Some("&#38;"),
        '"' => Some("&#34;"),
        '\'' => Some("&#39;"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_stays_text() {
        for (text, expected) in [
            ("", ""),
            ("plain\ttext,\nof é and 漢", "plain\ttext,\nof é and 漢"),
            (
                "<script>alert('1' & \"2\")</script>",
                "&#60;script&#62;alert(&#39;1&#39; &#38; &#34;2&#34;)&#60;/script&#62;",
            ),
            ("\0\u{1b}[31m\r\u{7f}", "^@^[[31m^M^?"),
            ("\u{85}\u{202e}\u{feff}", "U+0085U+202EU+FEFF"),
        ] {
            let mut page = String::new();
            Inert.write_escaped_str(&mut page, text).unwrap();
            assert_eq!(page, expected);
        }
    }
}
