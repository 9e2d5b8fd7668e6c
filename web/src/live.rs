//! What happens while a page is looked at: the farm's journal, and logs as they grow, as server-sent events.
//!
//! A commit wakes the streams; nothing is asked of the store while nothing is written.

use std::convert::Infallible;
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
use crate::{FarmStatus, State};

/// Entries of the journal that one look takes.
const BATCH: i64 = 500;
/// How far a reader may be behind before it is told from the store again.
const LAG: usize = 1_024;
/// Events that wait for a slow reader.
const WAITING: usize = 16;
/// A log that grows quickly is looked at no oftener.
const PACE: Duration = Duration::from_millis(200);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type Stream = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Event, Infallible>>>>;

/// Reads the journal once for all readers.
#[derive(Clone)]
pub struct Live {
    store: Store,
    stop: CancellationToken,
    news: broadcast::Sender<JournalEntry>,
    about: watch::Receiver<FarmStatus>,
    readers: Arc<AtomicUsize>,
}

impl Live {
    pub fn start(state: State) -> Live {
        let (news, _) = broadcast::channel(LAG);
        let State { store, about, stop } = state;
        let live = Live { store, stop, news, about, readers: Arc::default() };
        tokio::spawn(live.clone().read_journal());
        live
    }

    async fn read_journal(self) {
        let mut commits = self.store.commits();
        let mut last: Option<i64> = None;
        loop {
            // Whoever comes reads what was before from the store: so nothing need be read while nobody is here.
            if last.is_none() || self.news.receiver_count() > 0 {
                match self.news_after(last).await {
                    Ok((entries, end)) => {
                        last = Some(end);
                        for entry in entries {
                            // The last one may just have gone.
                            let _ = self.news.send(entry);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the journal could not be read; the next commit tries again")
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = commits.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Everything behind `last`; at the start nothing, only where the end is.
    async fn news_after(&self, last: Option<i64>) -> store::Result<(Vec<JournalEntry>, i64)> {
        let mut snapshot = self.store.snapshot().await?;
        let mut read = snapshot.read();
        let Some(mut end) = last else { return Ok((vec![], read.journal_end().await?)) };
        let mut entries = Vec::new();
        loop {
            let more = read.journal_after(end, BATCH).await?;
            let is_last = (more.len() as i64) < BATCH;
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
        if taken < self.about.borrow().max_readers {
            return Ok(seat);
        }
        Err(PageError::crowded("Too many readers watch this farm live; the page itself still loads."))
    }

    /// The journal from the entry that a returning reader saw last, else from now on.
    pub async fn journal(&self, headers: &HeaderMap) -> Result<Stream, PageError> {
        let seat = self.seat()?;
        let news = self.news.subscribe();
        let seen = match last_event_id(headers) {
            Some(id) => id as i64,
            None => self.store.snapshot().await?.read().journal_end().await?,
        };
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(self.clone().tell_journal(seen, news, send, seat));
        Ok(stream(receive))
    }

    async fn tell_journal(
        self,
        mut seen: i64,
        mut news: broadcast::Receiver<JournalEntry>,
        send: mpsc::Sender<Result<Event, Infallible>>,
        _seat: Seat,
    ) {
        let mut missed = true;
        loop {
            if missed {
                let Ok((entries, _)) = self.news_after(Some(seen)).await else { return };
                for entry in entries {
                    seen = entry.id;
                    if send.send(Ok(told(&entry))).await.is_err() {
                        return;
                    }
                }
                missed = false;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = send.closed() => return,
                entry = news.recv() => match entry {
                    // It came with what was read from the store.
                    Ok(entry) if entry.id <= seen => {}
                    Ok(entry) => {
                        seen = entry.id;
                        if send.send(Ok(told(&entry))).await.is_err() {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => missed = true,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    /// A step's log from a byte on, as it grows, until the step has ended.
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
        tokio::spawn(self.clone().tell_log(build, position, from, send, seat));
        Ok(stream(receive))
    }

    async fn tell_log(
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
            let text = match LogFollower::open(&self.store, build, position).await {
                Ok((place, None)) => (place.step.end.is_some(), None),
                Ok((place, Some(tail))) => match tail.after(from).await {
                    Ok(text) => (place.step.end.is_some(), Some(text)),
                    Err(error) => {
                        return tracing::warn!(%error, build, position, "a live log could not be read");
                    }
                },
                Err(error) => return tracing::warn!(%error, build, position, "a live log could not be read"),
            };
            let (has_ended, text) = text;
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
                // Whether it is read or not, the stream is over.
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

/// Of one live stream, for as long as it is open.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn told(entry: &JournalEntry) -> Event {
    let data = serde_json::json!({ "topic": entry.topic.as_str(), "subject": entry.subject }).to_string();
    Event::default().event("journal").id(entry.id.to_string()).data(data)
}

fn stream(receive: mpsc::Receiver<Result<Event, Infallible>>) -> Stream {
    Sse::new(ReceiverStream::new(receive)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}
