//! Lines of a mail: 72 columns of plain text.

use std::borrow::Cow;

use crate::readers::line_reader::without_escapes;
use crate::visible::shown;

/// How wide a line is.
pub const COLUMNS: usize = 72;
/// How long a subject may be.
const SUBJECT_CHARS: usize = 160;

/// The body of a mail. Sentences are folded at 72 columns. Facts have lines of their own, and are cut, not folded.
#[derive(Default)]
pub struct MailBody(String);

impl MailBody {
    /// Adds a sentence, folded.
    pub fn sentence(&mut self, sentence: &str) {
        let mut width = 0;
        for word in printable(sentence).split_whitespace() {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > COLUMNS {
                self.0.push('\n');
                width = 0;
            } else if width > 0 {
                self.0.push(' ');
                width += 1;
            }
            self.0.push_str(word);
            width += length;
        }
        self.0.push('\n');
    }

    /// Adds a line, cut. A URL that is cut leads nowhere, so a line with one keeps its length.
    pub fn line(&mut self, fact: &str) {
        let fact = printable(fact);
        let line: String = if fact.contains("://") { fact } else { fact.chars().take(COLUMNS).collect() };
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// Adds a line about a case: what it did comes first, and a long name is cut in the middle, since names often differ at
    /// their ends.
    pub fn case(&mut self, did: &str, name: &str) {
        let begin = if did.is_empty() { "  ".to_string() } else { format!("  ({did}) ") };
        let room = COLUMNS.saturating_sub(begin.chars().count());
        self.0.push_str(&begin);
        self.0.push_str(cut_in_the_middle(printable(name).trim_end(), room).trim_end());
        self.0.push('\n');
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.0.push('\n');
    }

    /// Adds the farm's signature, and ends.
    pub fn signed(mut self, farm: &str) -> String {
        self.blank();
        self.0.push_str("-- \n");
        self.line(farm);
        self.sentence(
            "You receive this mail because you are on the list of this farm or a contact of a project named above. \
             There is one mail for each culprit, and one reply when it is repaired.",
        );
        self.0
    }
}

/// At most so many characters of a text, from both of its ends.
fn cut_in_the_middle(text: &str, room: usize) -> Cow<'_, str> {
    const GAP: &str = " … ";
    let length = text.chars().count();
    if length <= room {
        return Cow::Borrowed(text);
    }
    let kept = room.saturating_sub(GAP.chars().count());
    // The end tells similar names apart; the start says where they are.
    let tail = kept / 2;
    let head: String = text.chars().take(kept - tail).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    Cow::Owned(format!("{head}{GAP}{tail}"))
}

/// A subject: one line of bounded length.
pub fn subject(text: &str) -> String {
    printable(text).chars().take(SUBJECT_CHARS).collect()
}

/// The first line of a failure message that says anything.
pub fn first_line(message: &str) -> Option<String> {
    message.lines().map(|line| printable(line).trim().to_string()).find(|line| !line.is_empty())
}

/// Text without terminal escapes, so that it can be cut at any character: half an escape would be printed as letters.
/// Other characters that act instead of being read are shown.
fn printable(text: &str) -> String {
    let plain = without_escapes(Cow::Borrowed(text));
    // A text that was cut before may end in the middle of an escape.
    let plain = match plain.rsplit_once('\x1b') {
        Some((before, rest)) if is_begun_escape(rest) => before,
        Some(_) | None => &plain,
    };
    shown(&plain.replace(['\n', '\r', '\t'], " ")).into_owned()
}

/// Whether a text that follows an escape character is the start of a sequence that was cut.
fn is_begun_escape(text: &str) -> bool {
    let is_parameter = |c: char| matches!(c, ' '..='?');
    text.is_empty()
        || text.starts_with(']')
        || text.strip_prefix('[').is_some_and(|parameters| parameters.chars().all(is_parameter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::visible::sign;

    proptest! {
        #[test]
        fn a_case_has_one_line_with_what_it_did_and_both_ends_of_its_name(
            name in "[a-z:.é漢]{1,200}",
            did in "(|not run)",
        ) {
            let mut body = MailBody::default();
            body.case(&did, &name);
            let line = body.0.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains('\n') && line.chars().count() <= COLUMNS, "{}", line);
            let begin = if did.is_empty() { "  ".to_string() } else { format!("  ({did}) ") };
            let rest = line.strip_prefix(&begin).unwrap();
            match rest.split_once(" … ") {
                None => prop_assert_eq!(rest, name),
                Some((head, tail)) => {
                    prop_assert!(name.starts_with(head) && name.ends_with(tail) && tail.chars().count() >= 20);
                    prop_assert_eq!(line.chars().count(), COLUMNS);
                }
            }
        }

        #[test]
        fn no_character_of_a_mail_acts(text in "(.|\u{202e}|\u{2069}|\u{7}|\u{1b}|\n|\t){0,60}") {
            let mut body = MailBody::default();
            body.line(&text);
            body.case("not run", &text);
            body.sentence(&text);
            for text in [&body.0, &subject(&text), &first_line(&text).unwrap_or_default()] {
                prop_assert!(!text.contains(|letter| sign(letter).is_some()), "{:?}", text);
            }
        }
    }

    #[test]
    fn escapes_are_gone_before_a_text_is_cut() {
        for (message, expected) in [
            ("\u{1b}[31mred\u{1b}[0m", Some("red")),
            ("\u{1b}[0m\n  \n  second \u{1b}[1;38;5;9mline\u{1b}[", Some("second line")),
            ("cut in a colour \u{1b}[38;5", Some("cut in a colour")),
            ("cut in a title \u{1b}]0;some", Some("cut in a title")),
            ("cut at the start \u{1b}", Some("cut at the start")),
            ("no\u{1b}escape\u{7}", Some("no^[escape^G")),
            ("\u{202e}txt.exe", Some("U+202Etxt.exe")),
            ("\n\u{1b}[K\n", None),
        ] {
            assert_eq!(first_line(message).as_deref(), expected, "{message:?}");
        }
        // 70 letters and an escape across the 72nd column.
        let mut body = MailBody::default();
        body.line(&format!("{}\u{1b}[31mred\u{1b}[0m", "x".repeat(70)));
        assert_eq!(body.0, format!("{}re\n", "x".repeat(70)));
    }
}
