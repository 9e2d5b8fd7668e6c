//! The failure message of a step that died without a case: the last lines of its log that look like errors.

use std::collections::VecDeque;

use super::failing_lines::is_summary;
use super::line_reader::{self, LineFlow};
use super::names::truncated;
use super::normalizer::{is_error, normalize};

/// How many lines a message has at most.
const MAX_LINES: usize = 20;
/// How many lines it has if none looks like an error.
const MAX_OTHER_LINES: usize = 3;
/// How long it is at most.
const MAX_BYTES: usize = 2 << 10;

/// The last lines that look like errors, each kind once, or else the last lines; none of an empty log. `log` is the end of
/// a log, whatever bytes it holds.
pub fn error_lines(log: &[u8]) -> Option<String> {
    let (mut errors, mut others) = (LastLines::new(MAX_LINES), LastLines::new(MAX_OTHER_LINES));
    line_reader::each(log, |line| {
        let line = line.trim();
        if line.contains(char::is_alphanumeric) && !is_summary(line) {
            let last = if is_error(line) { &mut errors } else { &mut others };
            last.push(line);
        }
        LineFlow::Continue
    });
    let last = if errors.lines.is_empty() { others } else { errors };
    last.text()
}

struct LastLines {
    lines: VecDeque<String>,
    most: usize,
}

impl LastLines {
    fn new(most: usize) -> LastLines {
        LastLines { lines: VecDeque::new(), most }
    }

    fn push(&mut self, line: &str) {
        let is_control = |c: char| c.is_control() && c != '\t';
        let line = truncated(line, MAX_BYTES / 4).replace(is_control, "\u{fffd}");
        // A loop may print the same error a thousand times.
        let name = normalize(&line);
        if self.lines.iter().any(|known| normalize(known) == name) {
            return;
        }
        self.lines.push_back(line);
        if self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    fn text(mut self) -> Option<String> {
        while self.lines.iter().map(|line| line.len() + 1).sum::<usize>() > MAX_BYTES {
            self.lines.pop_front();
        }
        let text = self.lines.into_iter().collect::<Vec<_>>().join("\n");
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_dead_step_printed_last_that_looks_like_an_error_is_its_message() {
        for (log, expected) in [
            (
                "cc -c lfs.c\nlfs.c:12:2: error: #error unsupported Lua version\nmake: *** [lfs.o] Error 1\n",
                Some("lfs.c:12:2: error: #error unsupported Lua version"),
            ),
            (
                "collecting\nTraceback (most recent call last):\n  File \"/a/b.py\", line 3, in <module>\n    import cgi\nModuleNotFoundError: No module named 'cgi'\n",
                Some("ModuleNotFoundError: No module named 'cgi'"),
            ),
            ("\u{1b}[31mError: \u{1b}[0mred\n", Some("Error: red")),
            ("one\ntwo\nthree\nfour\n\n----\n", Some("two\nthree\nfour")),
            ("error: at 3 ms\nerror: at 4 ms\n", Some("error: at 3 ms")),
            ("", None),
            ("\n\n", None),
        ] {
            assert_eq!(error_lines(log.as_bytes()).as_deref(), expected, "{log}");
        }
    }

    #[test]
    fn the_last_twenty_are_kept() {
        let log: String = ('a'..='z').map(|c| format!("error: {c}\n")).collect();
        let text = error_lines(log.as_bytes()).unwrap();
        assert_eq!(text.lines().count(), MAX_LINES);
        assert!(text.starts_with("error: g\n") && text.ends_with("error: z"), "{text}");
    }

    proptest! {
        #[test]
        fn a_message_is_bounded_and_plain_whatever_is_printed(
            log in prop::collection::vec(any::<u8>(), 0..4000),
            lines in prop::collection::vec("error: .{0,900}", 0..30),
        ) {
            let mut all = lines.join("\n").into_bytes();
            all.extend(log);
            let Some(text) = error_lines(&all) else { return Ok(()) };
            prop_assert!(text.len() <= MAX_BYTES && text.lines().count() <= MAX_LINES);
            let is_plain = !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
            prop_assert!(is_plain);
        }
    }
}
