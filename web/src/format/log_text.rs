//! What a program printed, made inert: colours become classes, other escape sequences are dropped, control characters
//! are shown.
//!
//! The text stays text: templates escape it and the script sets it as text, so nothing here can become markup.

use domain::visible::sign;
use serde::Serialize;

/// Only the beginning of a longer line is shown; the raw log has all of it.
pub const MAX_LINE_BYTES: usize = 4096;
/// A line of a log may change its colour with every letter.
const MAX_PIECES: usize = 200;

/// Text of one style.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StyledText {
    /// Classes of `farm.css`; empty for plain text.
    pub class: String,
    pub text: String,
}

/// One line, without its newline. Each line starts plain, so that any window of a log looks the same.
pub fn pieces(line: &[u8]) -> Vec<StyledText> {
    let mut out = Out::default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (line, overwritten) = match line.iter().rposition(|byte| *byte == b'\r') {
        Some(last) => (&line[last + 1..], line[..=last].iter().filter(|byte| **byte == b'\r').count()),
        None => (line, 0),
    };
    // A lone CR lets a progress bar overwrite itself: the last state is shown, and how many states it replaced.
    if overwritten > 0 {
        out.control(&format!("^M×{overwritten}"));
    }
    let shown = cut(line);
    let text = String::from_utf8_lossy(shown);
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        if out.pieces.len() >= MAX_PIECES {
            out.plain();
        }
        match letter {
            ESCAPE => out.escape(&mut rest),
            letter => match sign(letter) {
                Some(sign) => out.control(&sign),
                None => out.text(letter),
            },
        }
    }
    if line.len() > shown.len() {
        out.control(&format!("… {} more bytes", line.len() - shown.len()));
    }
    out.pieces
}

/// The beginning of a long line. Its last character is whole; an escape sequence that the cut goes through is dropped
/// when the text is read.
fn cut(line: &[u8]) -> &[u8] {
    let is_inside_letter = |at: &usize| line.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let end = line.len().min(MAX_LINE_BYTES);
    let whole = (end.saturating_sub(3)..=end).rev().find(|at| !is_inside_letter(at)).unwrap_or(end);
    &line[..whole]
}

/// The text of a message without its escape sequences, whole and broken off. Apart from them nothing changes.
pub fn without_escapes(text: &str) -> String {
    if !text.contains(ESCAPE) {
        return text.to_string();
    }
    let line = |line: &str| {
        let (mut out, mut plain) = (Out::default(), String::with_capacity(line.len()));
        let mut rest = line.chars();
        while let Some(letter) = rest.next() {
            match letter {
                ESCAPE => out.escape(&mut rest),
                letter => plain.push(letter),
            }
        }
        plain
    };
    // A sequence that is broken off ends with its line at the latest.
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// How many bytes at the end of a line that still grows are the beginning of an escape sequence or a character: the rest
/// of them is yet to come, so they cannot be shown.
pub fn unfinished_bytes(line: &[u8]) -> usize {
    let from = line.len().saturating_sub(MAX_ESCAPE_BYTES);
    let tail = &line[from..];
    if let Some(at) = tail.iter().rposition(|byte| *byte == b'\x1b') {
        let is_finished = match tail.get(at + 1) {
            None => false,
            Some(b'[') => tail[at + 2..].iter().any(|byte| (0x40..=0x7e).contains(byte)),
            Some(b']' | b'P' | b'X' | b'^' | b'_') => tail[at + 2..].contains(&b'\x07'),
            Some(b'(' | b')' | b'*' | b'+' | b'#' | b' ' | b'%') => tail.len() > at + 2,
            Some(_) => true,
        };
        if !is_finished {
            return tail.len() - at;
        }
    }
    match tail.utf8_chunks().last().map(|chunk| chunk.invalid()) {
        Some(invalid @ [0xc2..=0xf4, ..]) => invalid.len(),
        Some(_) | None => 0,
    }
}

const ESCAPE: char = '\u{1b}';
/// A longer escape sequence counts as broken off.
const MAX_ESCAPE_BYTES: usize = 256;

#[derive(Default)]
struct Out {
    pieces: Vec<StyledText>,
    colour: Option<u16>,
    bold: bool,
    dim: bool,
}

impl Out {
    fn text(&mut self, letter: char) {
        let class = self.class();
        match self.pieces.last_mut() {
            Some(last) if last.class == class => last.text.push(letter),
            _ => self.pieces.push(StyledText { class, text: letter.to_string() }),
        }
    }

    fn control(&mut self, shown: &str) {
        match self.pieces.last_mut() {
            Some(last) if last.class == "ctl" => last.text.push_str(shown),
            _ => self.pieces.push(StyledText { class: "ctl".into(), text: shown.into() }),
        }
    }

    fn class(&self) -> String {
        let colour = self.colour.map(|colour| format!("a{colour}"));
        let words = [colour.as_deref(), self.bold.then_some("bold"), self.dim.then_some("dim")];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn plain(&mut self) {
        (self.colour, self.bold, self.dim) = (None, false, false);
    }

    /// What follows an ESC: a CSI sequence, a string such as a window's title, or a single letter.
    fn escape(&mut self, rest: &mut std::str::Chars<'_>) {
        match rest.next() {
            Some('[') => {
                let mut numbers = String::new();
                for letter in rest.by_ref() {
                    match letter {
                        '\u{40}'..='\u{7e}' => {
                            if letter == 'm' {
                                self.select(&numbers);
                            }
                            break;
                        }
                        letter if numbers.len() < 64 => numbers.push(letter),
                        _ => {}
                    }
                }
            }
            // OSC, DCS, SOS, PM, APC run to BEL or ESC \.
            Some(']' | 'P' | 'X' | '^' | '_') => {
                while let Some(letter) = rest.next() {
                    if letter == '\u{7}' || letter == ESCAPE {
                        if letter == ESCAPE {
                            rest.next();
                        }
                        break;
                    }
                }
            }
            Some('(' | ')' | '*' | '+' | '#' | ' ' | '%') => {
                rest.next();
            }
            Some(_) | None => {}
        }
    }

    /// Select Graphic Rendition. Six hues are enough for a log; black, white and backgrounds would be invisible
    /// in one of the two themes.
    fn select(&mut self, numbers: &str) {
        let mut numbers = numbers.split([';', ':']).map(|number| number.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => self.plain(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                31..=36 => self.colour = Some(number - 30),
                91..=96 => self.colour = Some(number - 90),
                30 | 37 | 39 | 90 | 97 => self.colour = None,
                // 256 colours and true colour: skip their numbers, keep the colour.
                38 | 48 => match numbers.next() {
                    Some(5) => drop(numbers.next()),
                    Some(2) => drop(numbers.nth(2)),
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `[class|text]` for text that is not plain.
    fn picture(line: &[u8]) -> String {
        let piece = |piece: &StyledText| match piece.class.as_str() {
            "" => piece.text.clone(),
            class => format!("[{class}|{}]", piece.text),
        };
        pieces(line).iter().map(piece).collect()
    }

    #[test]
    fn colours_become_classes_and_end_with_the_line() {
        for (line, expected) in [
            ("\u{1b}[31mred\u{1b}[0m plain", "[a1|red] plain"),
            ("\u{1b}[1;32mok", "[a2 bold|ok]"),
            ("\u{1b}[91mbright\u{1b}[39m no", "[a1|bright] no"),
            ("\u{1b}[38;5;196mx\u{1b}[38;2;1;2;3my\u{1b}[2mz", "xy[dim|z]"),
            ("plain again", "plain again"),
        ] {
            assert_eq!(picture(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn other_escape_sequences_are_dropped() {
        for line in [
            "a\u{1b}[2Kb",
            "a\u{1b}[?25lb",
            "a\u{1b}]0;title\u{7}b",
            "a\u{1b}]8;;http://x\u{1b}\\b",
            "a\u{1b}(Bb",
            "a\u{1b}Mb",
        ] {
            assert_eq!(picture(line.as_bytes()), "ab", "{line:?}");
        }
        assert_eq!(picture(b"cut\x1b[31"), "cut");
        assert_eq!(picture(b"cut\x1b]0;never ended"), "cut");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(picture(b"a\0b\x08c\x7fd\te"), "a[ctl|^@]b[ctl|^H]c[ctl|^?]d\te");
        assert_eq!(picture("a\u{202e}b\u{85}c".as_bytes()), "a[ctl|U+202E]b[ctl|U+0085]c");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(picture(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(picture("é".as_bytes().split_last().unwrap().1), "\u{fffd}");
    }

    #[test]
    fn a_line_that_was_overwritten_shows_its_last_state() {
        assert_eq!(picture(b"10%\r50%\r100%\r"), "[ctl|^M×2]100%");
        assert_eq!(picture(b"dos line\r"), "dos line");
    }

    #[test]
    fn a_long_line_is_cut() {
        let long = vec![b'x'; 200_000];
        assert_eq!(picture(&long), format!("{}[ctl|… {} more bytes]", "x".repeat(4096), 200_000 - 4096));
    }

    #[test]
    fn a_cut_through_a_letter_or_an_escape_sequence_shows_no_half_of_it() {
        let long = |end: &str| [&"x".repeat(MAX_LINE_BYTES - 1), end, "more"].concat();
        let more = |bytes| format!("[ctl|… {bytes} more bytes]");
        assert_eq!(picture(long("é").as_bytes()), "x".repeat(MAX_LINE_BYTES - 1) + &more(6));
        assert_eq!(picture(long("\u{1b}[31m").as_bytes()), "x".repeat(MAX_LINE_BYTES - 1) + &more(8));
    }

    #[test]
    fn a_message_has_no_escape_sequences() {
        for (text, expected) in [
            ("plain\ttext\nof é", "plain\ttext\nof é"),
            ("\u{1b}[31mred\u{1b}[0m\n\u{1b}]0;title\u{7}next", "red\nnext"),
            ("cut \u{1b}[3\nnext", "cut \nnext"),
            ("bell \u{7}", "bell \u{7}"),
        ] {
            assert_eq!(without_escapes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_grows_holds_back_what_is_unfinished() {
        for (line, unfinished) in [
            (&b"plain"[..], 0),
            (b"a\x1b", 1),
            (b"a\x1b[3", 3),
            (b"a\x1b[31m", 0),
            (b"a\x1b]0;title", 9),
            (b"a\x1b]0;title\x07", 0),
            (b"a\xc3", 1),
            (b"a\xe2\x80", 2),
            ("aé".as_bytes(), 0),
            (b"a\xff", 0),
        ] {
            assert_eq!(unfinished_bytes(line), unfinished, "{line:?}");
        }
    }

    #[test]
    fn a_line_of_colours_has_a_bounded_number_of_pieces() {
        let line = "\u{1b}[31mx\u{1b}[32my".repeat(300);
        assert!(pieces(line.as_bytes()).len() <= MAX_PIECES + 2);
    }

    proptest! {
        /// Escape sequences, whole and broken off, between letters, and any bytes.
        #[test]
        fn any_output_is_inert_and_bounded(
            parts in prop::collection::vec(
                prop_oneof![
                    "\\x1b\\[[0-9;]{0,6}[a-zA-Z]?".prop_map(String::into_bytes),
                    "\\x1b[\\]P_^X][a-z;]{0,4}(\\x07|\\x1b\\\\)?".prop_map(String::into_bytes),
                    "[a-z<>&é\\r\\x08\\x7f]{0,5}".prop_map(String::into_bytes),
                    prop::collection::vec(any::<u8>(), 0..6),
                ],
                0..40,
            ),
        ) {
            let line: Vec<u8> = parts.concat().into_iter().filter(|byte| *byte != b'\n').collect();
            let pieces = pieces(&line);
            prop_assert!(pieces.len() <= MAX_PIECES + 2);
            for piece in pieces {
                // A tab moves only the letters after it.
                prop_assert!(!piece.text.replace('\t', "").contains(char::is_control), "{:?}", piece.text);
                prop_assert!(piece.class.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b' '));
            }
        }
    }

    #[test]
    fn markup_stays_text() {
        assert_eq!(picture(b"<script>alert(1)</script>"), "<script>alert(1)</script>");
    }
}
