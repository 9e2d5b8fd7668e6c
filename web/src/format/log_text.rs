//! What a program printed, made inert: colours become classes, other escapes go, control characters are shown.
//!
//! The text stays text: templates escape it and the script sets it as text, so nothing here can become markup.

use serde::Serialize;

use crate::format::inert::sign;

/// A line is shown up to here; the raw log has all of it.
pub const MAX_LINE_BYTES: usize = 4096;
/// A line of a log may switch colours with every letter.
const MAX_PIECES: usize = 200;

/// Text of one look.
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
    // A lone CR lets a progress bar write over itself: the last state is shown, and how many were before it.
    if overwritten > 0 {
        out.control(&format!("^M×{overwritten}"));
    }
    let shown = &line[..line.len().min(MAX_LINE_BYTES)];
    let text = String::from_utf8_lossy(shown);
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        if out.pieces.len() >= MAX_PIECES {
            out.plain();
        }
        match letter {
            '\u{1b}' => out.escape(&mut rest),
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

#[derive(Default)]
struct Out {
    pieces: Vec<StyledText>,
    colour: Option<u8>,
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

    /// Behind an ESC: a CSI sequence, a string such as a window's title, or a single letter.
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
                    if letter == '\u{7}' || letter == '\u{1b}' {
                        if letter == '\u{1b}' {
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

    /// Select Graphic Rendition. Six hues are enough for a log; black, white and backgrounds would vanish
    /// in one of our two themes.
    fn select(&mut self, numbers: &str) {
        let mut numbers = numbers.split([';', ':']).map(|number| number.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => self.plain(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                31..=36 => self.colour = Some((number - 30) as u8),
                91..=96 => self.colour = Some((number - 90) as u8),
                30 | 37 | 39 | 90 | 97 => self.colour = None,
                // 256 colours and true colour: skip their numbers, keep what we had.
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

    /// `[class|text]` for what is not plain.
    fn drawn(line: &[u8]) -> String {
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
            assert_eq!(drawn(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn other_escapes_vanish() {
        for line in [
            "a\u{1b}[2Kb",
            "a\u{1b}[?25lb",
            "a\u{1b}]0;title\u{7}b",
            "a\u{1b}]8;;http://x\u{1b}\\b",
            "a\u{1b}(Bb",
            "a\u{1b}Mb",
        ] {
            assert_eq!(drawn(line.as_bytes()), "ab", "{line:?}");
        }
        assert_eq!(drawn(b"cut\x1b[31"), "cut");
        assert_eq!(drawn(b"cut\x1b]0;never ended"), "cut");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(drawn(b"a\0b\x08c\x7fd\te"), "a[ctl|^@]b[ctl|^H]c[ctl|^?]d\te");
        assert_eq!(drawn("a\u{202e}b\u{85}c".as_bytes()), "a[ctl|U+202E]b[ctl|U+0085]c");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(drawn(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(drawn("é".as_bytes().split_last().unwrap().1), "\u{fffd}");
    }

    #[test]
    fn a_line_that_was_written_over_shows_its_last_state() {
        assert_eq!(drawn(b"10%\r50%\r100%\r"), "[ctl|^M×2]100%");
        assert_eq!(drawn(b"dos line\r"), "dos line");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'x'; 200_000];
        assert_eq!(drawn(&long), format!("{}[ctl|… {} more bytes]", "x".repeat(4096), 200_000 - 4096));
    }

    #[test]
    fn a_line_of_colours_only_stays_small() {
        let line = "\u{1b}[31mx\u{1b}[32my".repeat(300);
        assert!(pieces(line.as_bytes()).len() <= MAX_PIECES + 2);
    }

    proptest! {
        /// Escapes begun, ended and broken off between letters, and any bytes.
        #[test]
        fn whatever_was_printed_is_inert_and_bounded(
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
                // A tab moves nobody but the letters behind it.
                prop_assert!(!piece.text.replace('\t', "").contains(char::is_control), "{:?}", piece.text);
                prop_assert!(piece.class.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b' '));
            }
        }
    }

    #[test]
    fn markup_stays_text() {
        assert_eq!(drawn(b"<script>alert(1)</script>"), "<script>alert(1)</script>");
    }
}
