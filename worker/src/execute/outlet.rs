//! How a step's log leaves the worker while the step runs: small pieces are gathered for a moment, none is too
//! large for a frame, and a receiver that is slow slows the step and fills no memory.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::{Event, MAX_LOG_BYTES};
use tokio::sync::mpsc::{Permit, Sender};
use tokio::time::Instant;

use super::ExecutionEvent;
use super::log::LogLimiter;

/// Long enough to make one frame of a burst of lines, too short for a reader to notice.
const GATHER: Duration = Duration::from_millis(20);
/// How much of a log's beginning is kept to explain a step that could not be started.
const FIRST_WORDS: usize = 400;

pub struct LogSender<'a> {
    step: u16,
    out: &'a Sender<ExecutionEvent>,
    limiter: LogLimiter,
    /// Never more than one frame.
    waiting: Vec<u8>,
    due: Option<Instant>,
    first_words: Vec<u8>,
}

/// Whoever asked for this build no longer listens.
#[derive(Debug)]
pub struct ReceiverGone;

impl<'a> LogSender<'a> {
    pub fn new(step: u16, log_bytes: u64, out: &'a Sender<ExecutionEvent>) -> LogSender<'a> {
        LogSender {
            step,
            out,
            limiter: LogLimiter::new(log_bytes),
            waiting: Vec::new(),
            due: None,
            first_words: Vec::new(),
        }
    }

    /// How many bytes may be printed before something has to leave.
    pub fn room(&self) -> usize {
        MAX_LOG_BYTES - self.waiting.len()
    }

    /// Takes at most [`LogSender::room`] bytes that the step printed at `now`.
    pub fn print(&mut self, bytes: &[u8], now: Instant) {
        let wanted = FIRST_WORDS - self.first_words.len();
        self.first_words.extend(&bytes[..bytes.len().min(wanted)]);
        let told = self.limiter.feed(bytes);
        if !told.is_empty() {
            self.waiting.extend(told);
            self.due.get_or_insert(now + GATHER);
        }
    }

    pub fn ran_away(&self) -> bool {
        self.limiter.ran_away()
    }

    pub fn first_words(&self) -> String {
        String::from_utf8_lossy(&self.first_words).trim().to_string()
    }

    /// Waits until a piece is to leave and the receiver has a place for it; for ever while there is none.
    pub async fn ready(&self) -> Result<Permit<'a, ExecutionEvent>, ReceiverGone> {
        match self.due {
            None => std::future::pending().await,
            Some(due) if self.room() > 0 => tokio::time::sleep_until(due).await,
            Some(_) => {}
        }
        self.out.reserve().await.map_err(|_| ReceiverGone)
    }

    /// The piece that [`LogSender::ready`] waited for.
    pub fn take(&mut self) -> ExecutionEvent {
        self.due = None;
        ExecutionEvent::Log { step: self.step, bytes: std::mem::take(&mut self.waiting) }
    }

    /// Sends what waits at once; does nothing when nothing does.
    pub async fn flush(&mut self) {
        if self.due.is_some() {
            let piece = self.take();
            self.send(piece).await;
        }
    }

    /// Sends the rest: what waits, what was cut, and the log's last half.
    pub async fn finish(mut self) {
        self.flush().await;
        let (cut, tail) = std::mem::replace(&mut self.limiter, LogLimiter::new(0)).finish();
        if let Some(cut) = cut {
            let event = Event::LogTruncated { step: self.step, bytes: cut.bytes, lines: cut.lines };
            self.send(ExecutionEvent::Event(event)).await;
        }
        for bytes in frames(tail) {
            self.send(ExecutionEvent::Log { step: self.step, bytes }).await;
        }
    }

    async fn send(&self, happened: ExecutionEvent) {
        // A receiver that has gone is noticed by whoever waits for the step; here nothing is left to be done.
        let _ = self.out.send(happened).await;
    }
}

fn frames(mut tail: VecDeque<u8>) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let length = tail.len().min(MAX_LOG_BYTES);
        (length > 0).then(|| tail.drain(..length).collect())
    })
}
