//! `/builds/N/log/STEP/raw`: a log's own bytes, or the requested range of them. A line marks each place where bytes are
//! missing.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::files::log::{LogGap, LogReader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::answer::{PageError, PageRequest};
use crate::format::range::{self, RangePart};
use crate::load::{LogFollower, why_unavailable};
use crate::params;
use crate::state::State;

/// How many bytes of a log are read at once.
const CHUNK: usize = 256 << 10;
/// Chunks that wait for a slow reader.
const WAITING: usize = 2;

pub async fn raw_log(
    Shared(state): Shared<State>,
    Path((id, step)): Path<(String, String)>,
    request: PageRequest,
) -> Result<Response, PageError> {
    let (id, step) = params::build_and_step(&id, &step).map_err(|e| request.error(e))?;
    let (log, follower) = LogFollower::open(&state.store, id, step).await.map_err(|e| request.error(e))?;
    let (layout, reader) = match follower {
        Some(follower) => {
            let gaps = follower.gaps().await.map_err(|e| request.error(e))?;
            (Layout::new(&gaps, follower.reader.extent().raw_bytes), Some(follower.reader))
        }
        None => match why_unavailable(&log.step) {
            Some(reason) => return Err(request.error(PageError::gone(&reason))),
            None => (Layout::default(), None),
        },
    };
    let tag = format!("\"{}.{step}.{}\"", log.attempt, layout.bytes);
    let (status, part) = match range::requested(request.headers(), &tag, layout.bytes) {
        RangePart::Whole => (StatusCode::OK, 0..layout.bytes),
        RangePart::Bytes(part) => (StatusCode::PARTIAL_CONTENT, part),
        RangePart::PastEnd => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{}", layout.bytes))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    let mut head: Vec<(HeaderName, String)> = vec![
        // Plain text, so that no browser renders it as a page.
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".into()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"build-{id}-{step}.log\"")),
        (header::CONTENT_LENGTH, (part.end - part.start).to_string()),
        (header::ACCEPT_RANGES, "bytes".into()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".into()),
    ];
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), layout.bytes);
        head.push((header::CONTENT_RANGE, range));
    }
    let (send, receive) = mpsc::channel(WAITING);
    if let Some(reader) = reader {
        tokio::spawn(layout.send(part, reader, send));
    }
    let mut response = (status, Body::from_stream(ReceiverStream::new(receive))).into_response();
    for (name, value) in head {
        let value = value.parse().expect("letters, digits and signs are a header value");
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// The download as a whole: the text of the log, and notes where bytes are missing.
#[derive(Debug, Default)]
struct Layout {
    pieces: Vec<Piece>,
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Bytes of the log's text.
    Text(Range<u64>),
    Note(String),
}

impl Layout {
    fn new(gaps: &[LogGap], text_bytes: u64) -> Layout {
        let mut layout = Layout::default();
        let mut at = 0;
        for gap in gaps {
            let byte = gap.byte.clamp(at, text_bytes);
            layout.push(Piece::Text(at..byte));
            let (bytes, lines) = (gap.cut.bytes, gap.cut.lines);
            layout.push(Piece::Note(format!("\n[{bytes} bytes with {lines} line ends are missing here]\n")));
            at = byte;
        }
        layout.push(Piece::Text(at..text_bytes));
        layout
    }

    fn push(&mut self, piece: Piece) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }

    /// The pieces of a part of the download.
    fn part(self, part: Range<u64>) -> Vec<Piece> {
        let mut at = 0;
        let mut pieces = Vec::new();
        for piece in self.pieces {
            let (from, len) = (at, piece.len());
            at += len;
            let wanted = part.start.clamp(from, at) - from..part.end.clamp(from, at) - from;
            if wanted.is_empty() {
                continue;
            }
            pieces.push(match piece {
                Piece::Text(text) => Piece::Text(text.start + wanted.start..text.start + wanted.end),
                Piece::Note(note) => {
                    Piece::Note(note[in_memory(wanted.start)..in_memory(wanted.end)].to_string())
                }
            });
        }
        pieces
    }

    /// Reads a chunk at a time, on a thread that may block, and waits for the client after each.
    async fn send(
        self,
        part: Range<u64>,
        reader: Arc<LogReader>,
        to: mpsc::Sender<std::io::Result<Vec<u8>>>,
    ) {
        for piece in self.part(part) {
            let mut text = match piece {
                Piece::Text(text) => text,
                Piece::Note(note) => {
                    if to.send(Ok(note.into_bytes())).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            while text.start < text.end {
                let (reader, from) = (reader.clone(), text.start);
                let len = usize::try_from(text.end - from).map_or(CHUNK, |rest| rest.min(CHUNK));
                let read = tokio::task::spawn_blocking(move || reader.bytes(from, len)).await;
                let read = read.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
                let read_bytes = read.as_ref().map_or(0, Vec::len);
                if to.send(read).await.is_err() || read_bytes != len {
                    return;
                }
                text.start += byte_count(len);
            }
        }
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Text(text) => text.end - text.start,
            Piece::Note(note) => byte_count(note.len()),
        }
    }
}

fn byte_count(len: usize) -> u64 {
    u64::try_from(len).expect("a length in memory fits into 64 bits")
}

fn in_memory(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a text in memory is a usize")
}

#[cfg(test)]
mod tests {
    use store::files::log::LogCut;

    use super::*;

    /// The bytes of a part of the download of a log that printed `abcdef`; `<>` marks a gap.
    fn picture(gaps: &[u64], part: Range<u64>) -> String {
        let gap = |byte: &u64| LogGap { byte: *byte, line: 0, cut: LogCut { bytes: 7, lines: 1 } };
        let gaps: Vec<LogGap> = gaps.iter().map(gap).collect();
        let mut layout = Layout::new(&gaps, 6);
        layout.bytes = 0;
        let short = |piece| match piece {
            Piece::Note(_) => Piece::Note("<>".into()),
            text @ Piece::Text(_) => text,
        };
        let pieces: Vec<Piece> = std::mem::take(&mut layout.pieces).into_iter().map(short).collect();
        pieces.into_iter().for_each(|piece| layout.push(piece));
        let text = |piece| match piece {
            Piece::Text(text) => "abcdef"[in_memory(text.start)..in_memory(text.end)].to_string(),
            Piece::Note(note) => note,
        };
        layout.part(part).into_iter().map(text).collect()
    }

    #[test]
    fn a_note_marks_each_place_where_bytes_are_missing() {
        assert_eq!(picture(&[], 0..6), "abcdef");
        assert_eq!(picture(&[2], 0..8), "ab<>cdef");
        assert_eq!(picture(&[0, 6], 0..10), "<>abcdef<>");
    }

    #[test]
    fn the_parts_of_a_download_add_up_to_the_whole() {
        let whole = picture(&[2, 2, 4], 0..12);
        assert_eq!(whole, "ab<><>cd<>ef");
        for cut in 0..=12 {
            assert_eq!(picture(&[2, 2, 4], 0..cut) + &picture(&[2, 2, 4], cut..12), whole, "cut at {cut}");
        }
    }
}
