//! The running worker: carries between the session, which decides, and link, spools and builds, which do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::{Event, FromWorker, InfraFailure, LogFrame, Plan};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_util::sync::CancellationToken;

use crate::attempt::{self, SharedResources, StopSignal};
use crate::link::{Link, LinkEvent};
use crate::session::{Outgoing, Session, SessionInput, SessionOutput};
use crate::spool::{self, Spool, SpoolReader, SpoolRecord};

/// Told to stop, the worker has this long to kill its builds and to say so.
const FAREWELL: Duration = Duration::from_secs(3);
/// Records written and not yet counted by the session.
const WAITING: usize = 256;

pub struct Agent {
    session: Session,
    shop: Arc<SharedResources>,
    /// The WebSocket's URL.
    url: String,
    link: Link,
    token: watch::Sender<Option<String>>,
    builds: HashMap<i64, StopSignal>,
    readers: HashMap<i64, SpoolReader>,
    said: mpsc::Sender<SessionInput>,
    hear_said: mpsc::Receiver<SessionInput>,
}

/// The attempts that an earlier process left in the spool, each with its last word written, and that word's number.
/// Their processes died with it.
pub fn settle_spools(folder: &std::path::Path) -> anyhow::Result<Vec<(i64, u64)>> {
    let mut held = Vec::new();
    for attempt in spool::attempts(folder).context("looking for spools")? {
        let mut spool = Spool::open(folder, attempt)?;
        if !spool.is_finished() {
            let infra_failure = InfraFailure::Worker { detail: "the worker was restarted".into() };
            let last = Event::Finished { results: None, artifact: None, infra_failure: Some(infra_failure) };
            spool.append(&SpoolRecord::Event(last)).context("ending an attempt of an earlier process")?;
        }
        held.push((attempt, spool.written()));
    }
    Ok(held)
}

impl Agent {
    /// Dials at once.
    pub fn new(
        session: Session,
        shop: Arc<SharedResources>,
        url: String,
        token: watch::Sender<Option<String>>,
    ) -> Agent {
        let (said, hear_said) = mpsc::channel(WAITING);
        let link = Link::dial(url.clone(), Duration::ZERO);
        let (builds, readers) = (HashMap::new(), HashMap::new());
        Agent { session, shop, url, link, token, builds, readers, said, hear_said }
    }

    /// Until told to stop: then what runs is finished first, unless there is a hurry.
    pub async fn run(mut self, stop: CancellationToken, hurry: CancellationToken) {
        loop {
            let input = tokio::select! {
                () = stop.cancelled() => break,
                input = self.turn() => input,
            };
            self.act(input);
        }
        self.act(SessionInput::Finish);
        while !self.session.is_at_rest() {
            let input = tokio::select! {
                () = hurry.cancelled() => break,
                input = self.turn() => input,
            };
            self.act(input);
        }
        self.act(SessionInput::Stop);
        let farewell = tokio::time::sleep(FAREWELL);
        tokio::pin!(farewell);
        while !self.session.is_at_rest() {
            let input = tokio::select! {
                () = &mut farewell => break,
                input = self.turn() => input,
            };
            self.act(input);
        }
    }

    /// Sends what may be sent until something happens, and returns that. May be dropped at any time.
    async fn turn(&mut self) -> SessionInput {
        loop {
            let wake_at = self.session.wake_at().map(tokio::time::Instant::from_std);
            tokio::select! {
                heard = self.link.heard.recv() => return match heard {
                    Some(LinkEvent::Opened) => SessionInput::Opened { artifacts: self.shop.toolchains.kept() },
                    Some(LinkEvent::Message(message)) => SessionInput::Heard(message),
                    Some(LinkEvent::Alive) => SessionInput::Alive,
                    Some(LinkEvent::Lost(why)) => SessionInput::Lost(why),
                    None => SessionInput::Lost("the connection ended".into()),
                },
                Some(input) = self.hear_said.recv() => return input,
                () = tokio::time::sleep_until(wake_at.unwrap_or_else(tokio::time::Instant::now)),
                    if wake_at.is_some() => return SessionInput::Tick,
                Ok(room) = self.link.out.clone().reserve_owned(), if self.session.has_next() => {
                    let Some(outgoing) = self.session.next() else { continue };
                    match outgoing {
                        Outgoing::Message(message) => {
                            let beat = *message == FromWorker::Heartbeat;
                            let out = room.send(Message::text(protocol::encode(&message)));
                            // The answer to a ping shows that the master is alive. Without room one is
                            // on its way already.
                            if beat {
                                let _ = out.try_send(Message::Ping(Default::default()));
                            }
                        }
                        Outgoing::Record { attempt, sequence } => match self.record(attempt, sequence) {
                            Ok(message) => {
                                self.session.sent(attempt, sequence, message.len());
                                room.send(message);
                            }
                            Err(e) => {
                                return SessionInput::Unreadable { attempt, detail: e.to_string() };
                            }
                        },
                    }
                }
            }
        }
    }

    /// Reads from the page cache, nearly always; hence straight from here.
    fn record(&mut self, attempt: i64, sequence: u64) -> std::io::Result<Message> {
        let reader = match self.readers.entry(attempt) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(SpoolReader::open(&self.shop.folder.spool(), attempt)?)
            }
        };
        Ok(match reader.read(sequence)? {
            SpoolRecord::Event(event) => {
                Message::text(protocol::encode(&FromWorker::Event { attempt, sequence, event }))
            }
            SpoolRecord::Log { step, bytes } => {
                Message::binary(LogFrame { attempt, sequence, step, bytes }.to_bytes())
            }
        })
    }

    fn act(&mut self, input: SessionInput) {
        for output in self.session.on(input, Instant::now()) {
            match output {
                SessionOutput::Dial(pause) => {
                    self.token.send_replace(None);
                    self.link = Link::dial(self.url.clone(), pause);
                }
                SessionOutput::Admitted { token } => {
                    self.token.send_replace(Some(token));
                }
                SessionOutput::Begin { attempt, plan } => self.begin(attempt, *plan),
                SessionOutput::Stop { attempt, reason } => {
                    tracing::info!("stopping attempt {attempt}: {reason}");
                    if let Some(stop) = self.builds.get(&attempt) {
                        stop.because(reason);
                    }
                }
                SessionOutput::Forget { attempt } => {
                    self.builds.remove(&attempt);
                    self.readers.remove(&attempt);
                    if let Err(e) = spool::remove(&self.shop.folder.spool(), attempt) {
                        tracing::warn!("the spool of attempt {attempt} cannot be removed: {e}");
                    }
                }
                SessionOutput::Tell(text) => tracing::info!("{text}"),
            }
        }
    }

    fn begin(&mut self, attempt: i64, plan: Plan) {
        let change: String = plan.change.chars().take(10).collect();
        match Spool::create(&self.shop.folder.spool(), attempt) {
            Ok(spool) => {
                tracing::info!("building {change} for {} (attempt {attempt})", plan.builder);
                let stop = StopSignal::default();
                self.builds.insert(attempt, stop.clone());
                tokio::spawn(attempt::run(
                    Arc::clone(&self.shop),
                    attempt,
                    plan,
                    spool,
                    self.said.clone(),
                    stop,
                ));
            }
            // Without a spool nothing can be said of it but that it is not held.
            Err(e) => {
                tracing::error!("attempt {attempt} cannot begin: {e}");
                for input in [
                    SessionInput::Unreadable { attempt, detail: e.to_string() },
                    SessionInput::Written { attempt, sequence: 1, word: crate::session::MoreToReport::Last },
                ] {
                    self.act(input);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
