//! Sends a step's log while the step runs: small pieces are gathered for a moment, no piece is too large for a frame,
//! and a slow receiver slows the step down and fills no memory.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::{Event, MAX_LOG_BYTES};
use tokio::sync::mpsc::{Permit, Sender};
use tokio::time::Instant;

use super::job::ExecutionEvent;
use super::log_limiter::LogLimiter;

/// Long enough to make one frame of a burst of lines, too short for a reader to notice.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// How much of a log's beginning is kept to explain why a step could not be started.
const BEGINNING_BYTES: usize = 400;
/// How much of a log's end is kept to explain why a step died.
const END_BYTES: usize = 64 << 10;

pub struct LogSender<'a> {
    step: u16,
    out: &'a Sender<ExecutionEvent>,
    limiter: LogLimiter,
    /// What is to be sent next: never more than one frame.
    pending: Vec<u8>,
    due: Option<Instant>,
    beginning: Vec<u8>,
    /// At least the last [`END_BYTES`] of what was printed, at most twice as much.
    end: Vec<u8>,
}

/// The caller that started this build no longer listens.
#[derive(Debug)]
pub struct ReceiverGone;

impl<'a> LogSender<'a> {
    pub fn new(step: u16, log_bytes: u64, out: &'a Sender<ExecutionEvent>) -> LogSender<'a> {
        LogSender {
            step,
            out,
            limiter: LogLimiter::new(log_bytes),
            pending: Vec::new(),
            due: None,
            beginning: Vec::new(),
            end: Vec::new(),
        }
    }

    /// How many bytes may be printed before something has to be sent.
    pub fn room(&self) -> usize {
        MAX_LOG_BYTES - self.pending.len()
    }

    /// Takes at most [`LogSender::room`] bytes that the step printed at `now`.
    pub fn print(&mut self, bytes: &[u8], now: Instant) {
        let wanted = BEGINNING_BYTES - self.beginning.len();
        self.beginning.extend(&bytes[..bytes.len().min(wanted)]);
        self.end.extend(bytes);
        if self.end.len() > 2 * END_BYTES {
            self.end.drain(..self.end.len() - END_BYTES);
        }
        let to_send = self.limiter.feed(bytes);
        if !to_send.is_empty() {
            self.pending.extend(to_send);
            self.due.get_or_insert(now + GATHER_TIME);
        }
    }

    pub fn is_runaway(&self) -> bool {
        self.limiter.is_runaway()
    }

    pub fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.beginning).trim().to_string()
    }

    /// The end of what was printed.
    pub fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.end)
    }

    /// Waits until a piece is due and the receiver has room for it; forever while there is no piece.
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
        ExecutionEvent::Log { step: self.step, bytes: std::mem::take(&mut self.pending) }
    }

    /// Sends what is pending at once; does nothing if nothing is pending.
    pub async fn flush(&mut self) {
        if self.due.is_some() {
            let piece = self.take();
            self.send(piece).await;
        }
    }

    /// Sends the rest: what is pending, how much was left out, and the log's last half.
    pub async fn finish(mut self) {
        self.flush().await;
        let (omitted, tail) = std::mem::replace(&mut self.limiter, LogLimiter::new(0)).finish();
        if let Some(omitted) = omitted {
            let event = Event::LogTruncated { step: self.step, bytes: omitted.bytes, lines: omitted.lines };
            self.send(ExecutionEvent::Event(event)).await;
        }
        for bytes in frames(tail) {
            self.send(ExecutionEvent::Log { step: self.step, bytes }).await;
        }
    }

    async fn send(&self, event: ExecutionEvent) {
        // The loop that waits for the step notices a receiver that has gone; here nothing is left to do.
        let _ = self.out.send(event).await;
    }
}

fn frames(mut tail: VecDeque<u8>) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let length = tail.len().min(MAX_LOG_BYTES);
        (length > 0).then(|| tail.drain(..length).collect())
    })
}
