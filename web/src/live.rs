//! Live updates of open pages: the farm's journal, and logs as they grow, as server-sent events.
//!
//! A commit wakes the streams; they do not read the store while nothing is written.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use store::{JournalEntry, Store};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::answer::PageError;
use crate::load::LogFollower;
use crate::state::{FarmStatus, State};

/// Entries of the journal that one query reads.
const BATCH: u16 = 500;
/// How many entries a reader may lag behind before its stream reads them from the store again.
const LAG: usize = 1_024;
/// Events that wait for a slow reader.
const WAITING: usize = 16;
/// A log that grows quickly is read no more often than this.
const PACE: Duration = Duration::from_millis(200);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type Stream = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Event, Infallible>>>>;

/// Reads the journal once for all readers.
#[derive(Clone)]
pub struct Live {
    store: Store,
    stop: CancellationToken,
    entries: broadcast::Sender<JournalEntry>,
    status: watch::Receiver<FarmStatus>,
    readers: Arc<AtomicUsize>,
}

impl Live {
    pub fn start(state: State) -> Live {
        let (entries, _) = broadcast::channel(LAG);
        let State { store, status, stop } = state;
        let live = Live { store, stop, entries, status, readers: Arc::default() };
        tokio::spawn(live.clone().read_journal());
        live
    }

    async fn read_journal(self) {
        let mut commits = self.store.commits();
        let mut last: Option<i64> = None;
        loop {
            // A new reader reads earlier entries from the store, so nothing needs to be read without readers.
            if last.is_none() || self.entries.receiver_count() > 0 {
                match self.entries_after(last).await {
                    Ok((entries, end)) => {
                        last = Some(end);
                        for entry in entries {
                            // The last reader may just have disconnected.
                            let _ = self.entries.send(entry);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the journal could not be read; the next commit retries");
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = commits.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The entries after `last` and the id of the newest one; at the start only that id.
    async fn entries_after(&self, last: Option<i64>) -> store::Result<(Vec<JournalEntry>, i64)> {
        let mut snapshot = self.store.snapshot().await?;
        let mut read = snapshot.read();
        let Some(mut end) = last else { return Ok((vec![], read.journal_end().await?)) };
        let mut entries = Vec::new();
        loop {
            let more = read.journal_after(end, BATCH.into()).await?;
            let is_last = more.len() < usize::from(BATCH);
            end = more.last().map_or(end, |entry| entry.id);
            entries.extend(more);
            if is_last {
                return Ok((entries, end));
            }
        }
    }

    fn seat(&self) -> Result<Seat, PageError> {
        let seat = Seat(self.readers.clone());
        let taken = seat.0.fetch_add(1, Ordering::Relaxed);
        if taken < self.status.borrow().max_readers {
            return Ok(seat);
        }
        Err(PageError::overloaded(
            "Too many readers are connected for live updates. Pages still load; reload them for news.",
        ))
    }

    /// The journal from the last entry that a reconnecting reader has, else from now on.
    pub async fn journal(&self, headers: &HeaderMap) -> Result<Stream, PageError> {
        let seat = self.seat()?;
        let entries = self.entries.subscribe();
        let seen = match last_event_id(headers) {
            Some(id) => id,
            None => self.store.snapshot().await?.read().journal_end().await?,
        };
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(self.clone().send_journal(seen, entries, send, seat));
        Ok(stream(receive))
    }

    async fn send_journal(
        self,
        mut seen: i64,
        mut live: broadcast::Receiver<JournalEntry>,
        send: mpsc::Sender<Result<Event, Infallible>>,
        _seat: Seat,
    ) {
        let mut missed = true;
        loop {
            if missed {
                let Ok((entries, _)) = self.entries_after(Some(seen)).await else { return };
                for entry in entries {
                    seen = entry.id;
                    if send.send(Ok(journal_event(&entry))).await.is_err() {
                        return;
                    }
                }
                missed = false;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = send.closed() => return,
                entry = live.recv() => match entry {
                    // The entries that were read from the store included it.
                    Ok(entry) if entry.id <= seen => {}
                    Ok(entry) => {
                        seen = entry.id;
                        if send.send(Ok(journal_event(&entry))).await.is_err() {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => missed = true,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    /// A step's log from a byte on, as it grows, until the step ends.
    pub async fn log(
        &self,
        build: i64,
        position: u16,
        from: u64,
        headers: &HeaderMap,
    ) -> Result<Stream, PageError> {
        let seat = self.seat()?;
        // A wrong address is an error now, not an empty stream.
        LogFollower::open(&self.store, build, position).await?;
        let from = last_event_id(headers).unwrap_or(from);
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(self.clone().send_log(build, position, from, send, seat));
        Ok(stream(receive))
    }

    async fn send_log(
        self,
        build: i64,
        position: u16,
        mut from: u64,
        send: mpsc::Sender<Result<Event, Infallible>>,
        _seat: Seat,
    ) {
        let mut commits = self.store.commits();
        loop {
            commits.mark_unchanged();
            let (has_ended, text) = match LogFollower::open(&self.store, build, position).await {
                Ok((log, None)) => (log.step.end.is_some(), None),
                Ok((log, Some(follower))) => match follower.after(from).await {
                    Ok(text) => (log.step.end.is_some(), Some(text)),
                    Err(error) => {
                        return tracing::warn!(%error, build, position, "a live log could not be read");
                    }
                },
                Err(error) => return tracing::warn!(%error, build, position, "a live log could not be read"),
            };
            let grew = text.as_ref().is_some_and(|text| text.next.byte > from);
            if let Some(text) = text.filter(|_| grew) {
                from = text.next.byte;
                let lines = serde_json::json!({ "lines": text.lines }).to_string();
                let event = Event::default().event("lines").id(from.to_string()).data(lines);
                if send.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if has_ended && !grew {
                // The stream ends here, whether the reader is still connected or not.
                let _ = send.send(Ok(Event::default().event("end").data("{}"))).await;
                return;
            }
            if grew {
                tokio::time::sleep(PACE).await;
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = send.closed() => return,
                changed = commits.changed() => if changed.is_err() { return },
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

/// One of the places for live streams; taken as long as a stream is open.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn journal_event(entry: &JournalEntry) -> Event {
    let data = serde_json::json!({ "topic": entry.topic.as_str(), "subject": entry.subject }).to_string();
    Event::default().event("journal").id(entry.id.to_string()).data(data)
}

fn stream(receive: mpsc::Receiver<Result<Event, Infallible>>) -> Stream {
    Sse::new(ReceiverStream::new(receive)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn last_event_id<T: FromStr>(headers: &HeaderMap) -> Option<T> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}
