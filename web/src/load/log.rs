//! Loads windows of a step's log. The files are read on a thread that may block.

use std::io;
use std::sync::Arc;

use domain::words::ids::AttemptId;
use store::files::log::{LogChunk as Stored, LogExtent, LogGap, LogPosition, LogReader, LogWindow};
use store::pages::StepLog;
use store::{Error, Result, Store};

use super::rows::step_end;
use crate::format::log_text::{MAX_LINE_BYTES, StyledText, pieces, unfinished_bytes};
use crate::format::units::{ByteCount, Moment};
use crate::pages::build::LogTail;
use crate::pages::log::{LogLine, LogView};

/// How many lines a page shows.
const LINES: u64 = 500;
/// How many lines of the end the build's own page shows.
const TAIL: u64 = 30;
/// How much is read for one window: a line may be as long as the whole log.
const MAX_WINDOW_BYTES: usize = 4 << 20;

/// New text of a log as lines, and where to continue.
pub struct NewLines {
    pub lines: Vec<LogLine>,
    pub next: LogPosition,
}

pub struct LogFollower {
    pub log: StepLog,
    pub reader: Arc<LogReader>,
}

pub async fn log(store: &Store, build: i64, position: u16, from: Option<u64>) -> Result<LogView> {
    let log = log_place(store, build, position).await?;
    let step = log.step.clone();
    let unavailable = why_unavailable(&step);
    let line_count = if unavailable.is_some() { 0 } else { step.log.lines };
    let first = from.unwrap_or(1).max(1) - 1;
    let text = window(store, log, first, LINES).await?;
    let shown = first + u64::try_from(text.lines.len()).expect("a window's lines fit into memory");
    let (status_style, result) = step_end(step.end.as_ref());
    // The last line of a running step may be incomplete; the stream sends it.
    let reaches_end = shown >= line_count || (step.end.is_none() && shown + 1 == line_count);
    Ok(LogView {
        build,
        position: position.into(),
        step: step.name,
        status_style,
        result,
        bytes: ByteCount(step.log.bytes),
        line_count,
        lines: text.lines,
        unavailable,
        missing_bytes: (step.log.cut_bytes > 0).then_some(ByteCount(step.log.cut_bytes)),
        earlier: (first > 0).then(|| first.saturating_sub(LINES) + 1),
        later: (!reaches_end).then_some(shown + 1),
        follow_from: (step.end.is_none() && reaches_end).then_some(text.next.byte),
    })
}

/// The end of a step's log; none if the step has ended and there is no log.
pub async fn tail(store: &Store, build: i64, position: u16) -> Result<Option<LogTail>> {
    let log = log_place(store, build, position).await?;
    let step = log.step.clone();
    if step.end.is_some() && (step.log.lines == 0 || step.log_pruned_at.is_some()) {
        return Ok(None);
    }
    let text = window(store, log, step.log.lines.saturating_sub(TAIL), TAIL).await?;
    Ok(Some(LogTail {
        position: position.into(),
        step: step.name,
        lines: text.lines,
        follow_from: step.end.is_none().then_some(text.next.byte),
    }))
}

/// Why the log is not there although the step printed one.
pub fn why_unavailable(step: &store::StepRecord) -> Option<String> {
    step.log_pruned_at.map(|at| format!("This log was pruned on {}.", Moment(at.0)))
}

async fn log_place(store: &Store, build: i64, position: u16) -> Result<StepLog> {
    store.snapshot().await?.read().log_place(build, position).await
}

async fn window(store: &Store, log: StepLog, first: u64, count: u64) -> Result<NewLines> {
    let path = path(store, &log);
    blocking(move || {
        let Some(reader) = open(&path, &log)? else {
            return Ok(NewLines { lines: vec![], next: LogPosition::default() });
        };
        let window = reader.lines(first, count, MAX_WINDOW_BYTES)?;
        Ok(text(&window, log.step.end.is_some()))
    })
    .await
}

impl LogFollower {
    /// Opens a step's log as far as it is committed; none while it has printed nothing.
    pub async fn open(store: &Store, build: i64, position: u16) -> Result<(StepLog, Option<LogFollower>)> {
        let log = log_place(store, build, position).await?;
        let path = path(store, &log);
        let opened = log.clone();
        let reader = blocking(move || open(&path, &opened)).await?;
        Ok((log.clone(), reader.map(|reader| LogFollower { log, reader: Arc::new(reader) })))
    }

    /// The text after a byte.
    pub async fn after(self, byte: u64) -> Result<NewLines> {
        blocking(move || {
            // A gap at this very byte was shown with the lines before it.
            let from = LogPosition { byte, cuts: u32::MAX };
            let window = self.reader.follow(from, MAX_WINDOW_BYTES / 8)?;
            Ok(text(&window, self.log.step.end.is_some()))
        })
        .await
    }

    /// The places where bytes are missing.
    pub async fn gaps(&self) -> Result<Vec<LogGap>> {
        let reader = self.reader.clone();
        blocking(move || reader.gaps()).await
    }
}

fn path(store: &Store, log: &StepLog) -> std::path::PathBuf {
    store::files::log::path(&store.data().join("logs"), AttemptId(log.attempt).0, log.step.position)
}

fn open(path: &std::path::Path, log: &StepLog) -> io::Result<Option<LogReader>> {
    let stored = log.step.log;
    if log.step.log_pruned_at.is_some() || (stored.stored_bytes == 0 && !stored.sealed) {
        return Ok(None);
    }
    let extent =
        LogExtent { raw_bytes: stored.bytes, lines: stored.lines, stored_bytes: stored.stored_bytes };
    LogReader::open(path, extent).map(Some)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Error::Io),
        Err(panicked) => Err(Error::Io(io::Error::other(panicked))),
    }
}

/// Whole lines; the incomplete last one as well once its step has ended, or if it is too long to wait for. An escape
/// sequence or a character at its end that is not complete is left to the next text.
fn text(window: &LogWindow, has_ended: bool) -> NewLines {
    let incomplete = incomplete_line(window);
    if has_ended || incomplete.is_empty() {
        return NewLines { lines: lines(window), next: window.next };
    }
    if incomplete.len() < MAX_LINE_BYTES {
        let mut lines = lines(window);
        lines.pop();
        return NewLines { lines, next: before(window.next, incomplete.len()) };
    }
    let held_back = unfinished_bytes(incomplete);
    let mut shown = window.clone();
    if let Some(Stored::Text(text)) = shown.pieces.last_mut() {
        text.truncate(text.len() - held_back);
    }
    NewLines { lines: lines(&shown), next: before(window.next, held_back) }
}

/// A window as numbered lines. A note stands in the line in which bytes are missing.
fn lines(window: &LogWindow) -> Vec<LogLine> {
    let mut lines = Vec::new();
    let mut number = window.first_line + 1;
    let mut line: Option<Vec<StyledText>> = None;
    for piece in &window.pieces {
        match piece {
            Stored::Cut(cut) => {
                let text = format!("… {} missing …", ByteCount(cut.bytes));
                line.get_or_insert_default().push(StyledText { class: "ctl".into(), text });
            }
            Stored::Text(text) => {
                for part in text.split_inclusive(|byte| *byte == b'\n') {
                    let whole = part.strip_suffix(b"\n");
                    line.get_or_insert_default().extend(pieces(whole.unwrap_or(part)));
                    if whole.is_some() {
                        lines.push(LogLine { number, pieces: line.take().unwrap_or_default() });
                        number += 1;
                    }
                }
            }
        }
    }
    lines.extend(line.map(|pieces| LogLine { number, pieces }));
    lines
}

/// The last line, if it has no end yet.
fn incomplete_line(window: &LogWindow) -> &[u8] {
    match window.pieces.last() {
        Some(Stored::Text(text)) => text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default(),
        Some(Stored::Cut(_)) | None => &[],
    }
}

fn before(position: LogPosition, bytes: usize) -> LogPosition {
    let bytes = u64::try_from(bytes).expect("a length in memory fits into 64 bits");
    LogPosition { byte: position.byte - bytes, ..position }
}

#[cfg(test)]
mod tests {
    use store::files::log::WindowEnd;

    use super::*;

    /// The text that a live log shows of a window that ends with `end`, and how many bytes it leaves to the next one.
    fn shown(end: &str) -> (String, u64) {
        let bytes = ["x".repeat(MAX_LINE_BYTES).as_bytes(), end.as_bytes()].concat();
        let next = LogPosition { byte: 1_000_000, ..LogPosition::default() };
        let window = LogWindow {
            first_line: 0,
            from: LogPosition::default(),
            pieces: vec![Stored::Text(bytes)],
            next,
            stopped: WindowEnd::End,
        };
        let new = text(&window, false);
        let pieces = new.lines.iter().flat_map(|line| &line.pieces);
        let text: String =
            pieces.filter(|piece| piece.class != "ctl").map(|piece| piece.text.as_str()).collect();
        (text, next.byte - new.next.byte)
    }

    #[test]
    fn a_long_line_that_grows_is_not_shown_up_to_the_middle_of_an_escape_sequence() {
        let line = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(shown(""), (line.clone(), 0));
        assert_eq!(shown("\u{1b}[3"), (line, 3));
    }
}
