//! Sanitizes the input of the XML parser, which holds a whole token in memory and refuses anything but UTF-8. The
//! output is UTF-8, and no tag, text, comment or CDATA section in it is longer than [`MAX_TOKEN_BYTES`]: the middle of a
//! longer one is left out and its end is kept, so that the structure stays.

use std::io::{self, BufRead, ErrorKind, Read};

use super::line_reader::push_latin1;
use super::names::truncated;

/// The longest token of the output, in bytes: room for one case's whole text with its escapes.
pub const MAX_TOKEN_BYTES: usize = 128 << 10;
/// How many bytes are read at a time, so that the output that is ready is bounded, too.
const CHUNK_BYTES: usize = 32 << 10;

/// A reader of sanitized XML.
pub struct Sanitizer<R> {
    input: R,
    /// The first bytes of a character whose other bytes are not read yet.
    begun: Vec<u8>,
    token: Token,
    ready: String,
    /// How many bytes of `ready` are consumed.
    consumed: usize,
    /// Whether bytes that were not UTF-8 have been replaced.
    pub replaced: bool,
}

/// The token that is being read.
struct Token {
    state: TokenState,
    /// How many of its bytes are in the output.
    copied: usize,
    /// Whether it is longer than may be copied.
    over: bool,
    out: String,
}

#[derive(Clone, Copy)]
enum TokenState {
    Text,
    /// After a `<`, while it is not clear yet what it begins.
    Opening {
        seen: usize,
    },
    Tag {
        slash: bool,
    },
    Quoted {
        quote: char,
        opened: bool,
    },
    /// A comment, CDATA section or processing instruction, with the last two bytes of its content.
    Until {
        end: &'static str,
        last: [u8; 2],
    },
    Doctype {
        subset: bool,
    },
}

const COMMENT: &str = "!--";
const CDATA: &str = "![CDATA[";

impl Token {
    /// Reads from the start of a piece of the input and returns how many bytes; none only if the state changed.
    fn step(&mut self, piece: &str) -> usize {
        let find = |what: &[char]| piece.find(what).unwrap_or(piece.len());
        match self.state {
            TokenState::Text => {
                let length = piece.find('<').unwrap_or(piece.len());
                if length > 0 {
                    return self.copy(&piece[..length]);
                }
                self.begin(TokenState::Opening { seen: 0 });
                self.copy("<")
            }
            TokenState::Opening { seen } => self.open(piece, seen),
            TokenState::Tag { slash } => match find(&['"', '\'', '>']) {
                0 if piece.starts_with('>') => self.end(if slash { "/>" } else { ">" }, ">"),
                0 => {
                    let quote = if piece.starts_with('"') { '"' } else { '\'' };
                    let taken = self.copy(&piece[..1]);
                    self.state = TokenState::Quoted { quote, opened: !self.over };
                    taken
                }
                length => {
                    self.state = TokenState::Tag { slash: piece[..length].ends_with('/') };
                    self.copy(&piece[..length])
                }
            },
            TokenState::Quoted { quote, opened } => match piece.find(quote).unwrap_or(piece.len()) {
                0 => {
                    // A value that was begun must be closed, or the parser would look for the quote further on.
                    if opened {
                        self.out.push(quote);
                    }
                    self.state = TokenState::Tag { slash: false };
                    1
                }
                length => self.copy(&piece[..length]),
            },
            TokenState::Until { end, last } => {
                let length = piece.find('>').map_or(piece.len(), |at| at + 1);
                let part = &piece.as_bytes()[..length];
                let content = part.strip_suffix(b">").unwrap_or(part);
                let now = match content {
                    [] => last,
                    [one] => [last[1], *one],
                    [.., one, two] => [*one, *two],
                };
                let closes = content.len() < part.len() && now.ends_with(&end.as_bytes()[..end.len() - 1]);
                self.state =
                    TokenState::Until { end, last: if content.len() < part.len() { [0, b'>'] } else { now } };
                self.copy(&piece[..length]);
                if closes {
                    self.end(end, "");
                }
                length
            }
            TokenState::Doctype { subset } => match find(&['[', ']', '>']) {
                0 if piece.starts_with('>') && !subset => self.end(">", ">"),
                0 => {
                    self.state = TokenState::Doctype {
                        subset: match piece.as_bytes()[0] {
                            b'[' => true,
                            b']' => false,
                            _ => subset,
                        },
                    };
                    self.copy(&piece[..1])
                }
                length => self.copy(&piece[..length]),
            },
        }
    }

    /// Finds out what a `<` begins; `seen` bytes after it are known.
    fn open(&mut self, piece: &str, seen: usize) -> usize {
        let first = piece.as_bytes()[0];
        let at = |word: &'static str| word.as_bytes().get(seen) == Some(&first);
        // After `!`, the second character distinguishes a comment from a CDATA section.
        let word = match seen {
            0 => Some(COMMENT),
            1 if first == b'[' => Some(CDATA),
            1 | 2 if first == b'-' => Some(COMMENT),
            2.. => Some(CDATA),
            1 => None,
        };
        match word {
            Some(word) if at(word) => {
                self.state = TokenState::Opening { seen: seen + 1 };
                if seen + 1 == word.len() {
                    let end = if word == CDATA { "]]>" } else { "-->" };
                    self.state = TokenState::Until { end, last: [0; 2] };
                }
                self.copy(&piece[..1])
            }
            _ if seen == 0 && first == b'?' => {
                self.state = TokenState::Until { end: "?>", last: [0; 2] };
                self.copy(&piece[..1])
            }
            _ if seen == 0 => {
                self.state = TokenState::Tag { slash: false };
                0
            }
            _ => {
                self.state = TokenState::Doctype { subset: false };
                0
            }
        }
    }

    fn begin(&mut self, state: TokenState) {
        self.state = state;
        self.copied = 0;
        self.over = false;
    }

    /// Closes the token: with its `whole` end if that was left out so far, or else with what is `left` of the end.
    fn end(&mut self, whole: &str, left: &str) -> usize {
        self.out.push_str(if self.over { whole } else { left });
        self.begin(TokenState::Text);
        1
    }

    fn copy(&mut self, piece: &str) -> usize {
        if !self.over {
            let start = truncated(piece, MAX_TOKEN_BYTES - self.copied);
            self.out.push_str(start);
            self.copied += start.len();
            self.over = start.len() < piece.len();
        }
        piece.len()
    }
}

impl<R: BufRead> Sanitizer<R> {
    pub fn new(input: R) -> Sanitizer<R> {
        let token = Token { state: TokenState::Text, copied: 0, over: false, out: String::new() };
        Sanitizer { input, begun: vec![], token, ready: String::new(), consumed: 0, replaced: false }
    }

    /// Reads the rest, so that `replaced` is true of the whole input, however far the input was read ahead.
    pub fn drain(&mut self) -> io::Result<()> {
        while self.refill()? {}
        Ok(())
    }

    /// Reads the next piece of the input; false at its end.
    fn refill(&mut self) -> io::Result<bool> {
        let chunk = match self.input.fill_buf() {
            Ok(available) => &available[..available.len().min(CHUNK_BYTES)],
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        let (length, ended) = (chunk.len(), chunk.is_empty());
        self.begun.extend_from_slice(chunk);
        self.input.consume(length);
        let bytes = std::mem::take(&mut self.begun);
        let mut rest = &bytes[..];
        let mut text = String::with_capacity(bytes.len());
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    break;
                }
                Err(error) => error,
            };
            let (valid, behind) = rest.split_at(error.valid_up_to());
            text.push_str(std::str::from_utf8(valid).expect("its validity was just measured"));
            let wrong = match error.error_len() {
                None if !ended => {
                    self.begun = behind.to_vec();
                    break;
                }
                None => behind.len(),
                Some(wrong) => wrong,
            };
            behind[..wrong].iter().for_each(|byte| push_latin1(*byte, &mut text));
            rest = &behind[wrong..];
            self.replaced = true;
        }
        let mut piece = &text[..];
        while !piece.is_empty() {
            piece = &piece[self.token.step(piece)..];
        }
        self.consumed = 0;
        self.ready.clear();
        std::mem::swap(&mut self.ready, &mut self.token.out);
        Ok(!ended)
    }
}

impl<R: BufRead> BufRead for Sanitizer<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.consumed == self.ready.len() && self.refill()? {}
        Ok(&self.ready.as_bytes()[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount;
    }
}

impl<R: BufRead> Read for Sanitizer<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn sanitized(bytes: &[u8], buffer: usize) -> (String, bool) {
        let mut sanitizer = Sanitizer::new(BufReader::with_capacity(buffer, bytes));
        let mut out = String::new();
        sanitizer.read_to_string(&mut out).unwrap();
        (out, sanitizer.replaced)
    }

    #[test]
    fn only_the_middle_of_a_token_that_is_too_long_is_left_out() {
        // `#` stands for more bytes than a token may have; `=` for those that stay.
        for (document, expected) in [
            ("<a>#</a>", "<a>=</a>"),
            ("<a b=\"#\" c=\"d\"/><e/>", "<a b=\"=\"/><e/>"),
            ("<a b='#>'></a>", "<a b='='></a>"),
            ("<a b='/' c='#'>x</a>", "<a b='/' c='='>x</a>"),
            ("<![CDATA[#]]>x", "<![CDATA[=]]>x"),
            ("<![CDATA[#]]]]>x", "<![CDATA[=]]>x"),
            ("<!--#>--->x", "<!--=-->x"),
            ("<?p #?>x", "<?p =?>x"),
            ("<!DOCTYPE a [<!ENTITY b \"#\">]>x", "<!DOCTYPE a [<!ENTITY b \"=>x"),
            ("<###>x", "<=>x"),
        ] {
            let filler = "#".repeat(2 * MAX_TOKEN_BYTES);
            let (out, _) = sanitized(document.replace('#', &filler).as_bytes(), 1000);
            let kept = out.matches('#').count();
            assert!(kept <= MAX_TOKEN_BYTES && kept > MAX_TOKEN_BYTES - 100, "{document}: {kept}");
            assert_eq!(out.replace(&"#".repeat(kept), "="), expected, "{document}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_even_at_the_very_end() {
        for buffer in [1, 2, 100] {
            assert_eq!(sanitized(b"<a>\xe9t\xc3\xa9</a>\xc3", buffer), ("<a>été</a>Ã".into(), true));
            assert_eq!(sanitized("<a>é€😀</a>".as_bytes(), buffer), ("<a>é€😀</a>".into(), false));
        }
    }

    proptest! {
        #[test]
        fn short_tokens_pass_unchanged(
            text in "(<|>|/|!|-|--|\\[|\\]|CDATA|\\?|\"|'|&|;|é|a| ){0,60}",
            buffer in 1usize..50,
        ) {
            prop_assert_eq!(sanitized(text.as_bytes(), buffer), (text, false));
        }
    }
}
