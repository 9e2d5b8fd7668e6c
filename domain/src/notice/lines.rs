//! Lines of a mail: 72 columns of plain text.

use std::borrow::Cow;

use crate::readers::line_reader::without_escapes;

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

/// A subject: one line of bounded length.
pub fn subject(text: &str) -> String {
    printable(text).chars().take(SUBJECT_CHARS).collect()
}

/// The first line of a failure message that says anything.
pub fn first_line(message: &str) -> Option<String> {
    message.lines().map(|line| printable(line).trim().to_string()).find(|line| !line.is_empty())
}

/// Text without terminal escapes and control characters, so that it can be cut at any character: half an escape would
/// be printed as letters.
fn printable(text: &str) -> String {
    let plain = without_escapes(Cow::Borrowed(text));
    // A text that was cut before may end in the middle of an escape.
    let plain = match plain.rsplit_once('\x1b') {
        Some((before, rest)) if is_begun_escape(rest) => before,
        Some(_) | None => &plain,
    };
    plain.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
    use super::*;

    #[test]
    fn escapes_are_gone_before_a_text_is_cut() {
        for (message, expected) in [
            ("\u{1b}[31mred\u{1b}[0m", Some("red")),
            ("\u{1b}[0m\n  \n  second \u{1b}[1;38;5;9mline\u{1b}[", Some("second line")),
            ("cut in a colour \u{1b}[38;5", Some("cut in a colour")),
            ("cut in a title \u{1b}]0;some", Some("cut in a title")),
            ("cut at the start \u{1b}", Some("cut at the start")),
            ("no\u{1b}escape\u{7}", Some("no escape")),
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
