//! Reads a text line by line in bounded memory, even if a line has 200 MB: only the start of a long line is read.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, Read};

use super::report_builder::ReportBuilder;

/// The longest start of a line that is read, in bytes: room for one case's whole text.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// The warning of a report with other bytes.
pub const NOT_UTF8: &str = "The report is not UTF-8 throughout; what is not was read as Latin-1.";

/// Reads one line after another.
pub struct LineReader<R> {
    input: R,
    line: Vec<u8>,
}

/// One line without its newline; bytes that are not UTF-8 are read as Latin-1.
#[derive(Debug, PartialEq, Eq)]
pub struct TextLine<'a> {
    pub text: Cow<'a, str>,
    pub encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    /// Some bytes were no UTF-8, and were read as Latin-1.
    Replaced,
}

/// Whether a reader wants more.
pub enum LineFlow {
    Continue,
    Stop,
}

/// How reading the lines ended.
pub struct LinesEnd {
    replaced: bool,
    result: io::Result<()>,
}

/// Calls `on` with each line, without its colours, until `on` stops or there are no more lines.
pub fn each(input: impl BufRead, mut on: impl FnMut(&str) -> LineFlow) -> LinesEnd {
    let (mut lines, mut replaced) = (LineReader::new(input), false);
    let result = loop {
        match lines.next() {
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
            Ok(Some(line)) => {
                replaced |= line.encoding == Encoding::Replaced;
                match on(&without_escapes(line.text)) {
                    LineFlow::Continue => {}
                    LineFlow::Stop => break Ok(()),
                }
            }
        }
    };
    LinesEnd { replaced, result }
}

impl LinesEnd {
    /// Adds a warning if bytes were replaced, and returns the error that ended reading.
    pub fn finish(self, report: &mut ReportBuilder) -> io::Result<()> {
        if self.replaced {
            report.warn(NOT_UTF8.into());
        }
        self.result
    }
}

/// Looks for the first line for which `sign` gives something, and returns it with the input from that line on; the lines
/// before it are gone.
pub fn from_sign<'i, T, R: BufRead>(
    input: &'i mut R,
    sign: fn(&str) -> Option<T>,
) -> io::Result<(Option<T>, impl BufRead + use<'i, T, R>)> {
    let mut lines = LineReader::new(&mut *input);
    let mut found = (None, vec![]);
    while let Some(line) = lines.next()? {
        let line = line.text;
        if let Some(of_line) = sign(&without_escapes(line.as_ref().into())) {
            found = (Some(of_line), format!("{line}\n").into_bytes());
            break;
        }
    }
    Ok((found.0, io::Cursor::new(found.1).chain(input)))
}

impl<R: BufRead> LineReader<R> {
    pub fn new(input: R) -> LineReader<R> {
        LineReader { input, line: Vec::new() }
    }

    /// The next line; the last need not end with a newline.
    pub fn next(&mut self) -> io::Result<Option<TextLine<'_>>> {
        self.line.clear();
        let mut started = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(started.then(|| text(&self.line)));
            }
            started = true;
            let end = available.iter().position(|&byte| byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(text(&self.line)));
            }
        }
    }
}

const ESCAPE: char = '\x1b';

/// Removes a terminal's colours, titles and links, which are no words of a runner.
pub(crate) fn without_escapes(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(ESCAPE) {
        return text;
    }
    let (mut plain, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some((before, behind)) = rest.split_once(ESCAPE) {
        plain.push_str(before);
        rest = after_sequence(behind).unwrap_or_else(|| {
            plain.push(ESCAPE);
            behind
        });
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The text after the sequence that an escape character begins (ECMA-48); none if it begins none. It reads no further
/// than the next control character, so that a line of escapes is not read again for each of them.
fn after_sequence(text: &str) -> Option<&str> {
    let (kind, rest) = text.split_at_checked(1)?;
    match kind {
        "[" => {
            let last = rest.trim_start_matches(|c| matches!(c, ' '..='?'));
            last.strip_prefix(|c| matches!(c, '@'..='~'))
        }
        "]" => {
            let end = rest.find(char::is_control)?;
            rest[end..].strip_prefix('\x07').or_else(|| rest[end..].strip_prefix("\x1b\\"))
        }
        "(" | ")" => rest.strip_prefix(|c| matches!(c, '0'..='~')),
        _ => None,
    }
}

fn text(line: &[u8]) -> TextLine<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // Truncation may have split a character, which is not the text's fault.
    let whole = match std::str::from_utf8(line) {
        Err(error) if line.len() + 1 >= MAX_LINE_BYTES && error.error_len().is_none() => {
            &line[..error.valid_up_to()]
        }
        _ => line,
    };
    match std::str::from_utf8(whole) {
        Ok(text) => TextLine { text: text.into(), encoding: Encoding::Utf8 },
        Err(_) => TextLine { text: decoded(whole).into(), encoding: Encoding::Replaced },
    }
}

/// Reads UTF-8 among other bytes.
fn decoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| push_latin1(*byte, &mut text));
    }
    text
}

/// Adds a byte that is not UTF-8: as Latin-1, so that two names that differ in such bytes stay different. What is no
/// letter there is written as its number.
pub fn push_latin1(byte: u8, text: &mut String) {
    match byte {
        0x80..=0x9f => text.push_str(&format!("\\x{byte:02x}")),
        byte => text.push(char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn lines(bytes: &[u8], buffer: usize) -> Vec<(String, Encoding)> {
        let mut lines = LineReader::new(BufReader::with_capacity(buffer, bytes));
        std::iter::from_fn(|| lines.next().unwrap().map(|l| (l.text.into_owned(), l.encoding))).collect()
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        for buffer in [1, 2, 3, 100] {
            let got: Vec<String> = lines(b"a\r\n\nbc\nlast", buffer).into_iter().map(|l| l.0).collect();
            assert_eq!(got, ["a", "", "bc", "last"], "buffer of {buffer}");
        }
        assert_eq!(lines(b"", 9), []);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_reported() {
        assert_eq!(
            lines(b"caf\xe9\ncaf\xc3\xa9", 9),
            [("café".to_string(), Encoding::Replaced), ("café".to_string(), Encoding::Utf8)]
        );
    }

    #[test]
    fn colours_titles_and_links_are_removed() {
        for (coloured, plain) in [
            ("plain", "plain"),
            ("\x1b[31mFAILED\x1b[0m a.py::\x1b[1mtest\x1b[22;0m", "FAILED a.py::test"),
            ("\x1b[38;5;9mred\x1b[K\x1b(B\x1b[m", "red"),
            ("\x1b]0;a title\x07a \x1b]8;;https://example.org/ü\x1b\\link\x1b]8;;\x1b\\", "a link"),
            // An incomplete sequence stays.
            ("a\x1b", "a\x1b"),
            ("a\x1b[31", "a\x1b[31"),
            ("a\x1bé", "a\x1bé"),
            ("a\x1b]0;title\x1b[1mb", "a\x1b]0;titleb"),
        ] {
            assert_eq!(without_escapes(coloured.into()), plain, "{coloured:?}");
        }
    }

    #[test]
    fn a_line_of_nothing_but_escapes_is_read_once() {
        for piece in ["\x1b", "\x1b[", "\x1b]", "\x1b[1"] {
            let line = piece.repeat(1 << 18);
            assert_eq!(without_escapes((&line).into()), line);
        }
    }

    #[test]
    fn a_line_of_200_mb_is_read_in_flat_memory() {
        let input = io::repeat(b'x').take(200_000_000).chain(&b"\nok 1\n"[..]);
        let mut lines = LineReader::new(BufReader::with_capacity(1 << 16, input));
        assert_eq!(lines.next().unwrap().unwrap().text.len(), MAX_LINE_BYTES);
        assert!(lines.line.capacity() <= 2 * MAX_LINE_BYTES);
        assert_eq!(lines.next().unwrap().unwrap().text, "ok 1");
    }

    #[test]
    fn a_character_split_by_truncation_is_not_reported() {
        let long = format!("x{}", "é".repeat(MAX_LINE_BYTES));
        let got = lines(long.as_bytes(), 4096);
        assert_eq!((got[0].0.len(), got[0].1), (MAX_LINE_BYTES - 1, Encoding::Utf8));
    }
}
