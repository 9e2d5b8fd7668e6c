//! The running worker: connects the session, which decides, with the link, the spools and the builds, which act.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::{Event, FromWorker, InfraFailure, LogFrame, Plan};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_util::sync::CancellationToken;

use crate::attempt::{self, SharedResources, StopSignal};
use crate::link::{Endpoint, Link, LinkEvent};
use crate::session::{MoreToReport, Outgoing, Session, SessionInput, SessionOutput};
use crate::spool::{self, Spool, SpoolReader, SpoolRecord};

/// When it is stopped, the worker has this long to kill its builds and to report that.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);
/// Records that are written and that the session does not know of yet.
const INPUT_QUEUE: usize = 256;

pub struct Agent {
    session: Session,
    resources: Arc<SharedResources>,
    endpoint: Endpoint,
    link: Link,
    token: watch::Sender<Option<String>>,
    stop_signals: HashMap<i64, StopSignal>,
    readers: HashMap<i64, SpoolReader>,
    /// For the builds, which report each record that they have written.
    input_sender: mpsc::Sender<SessionInput>,
    inputs: mpsc::Receiver<SessionInput>,
    /// Spools that are being removed.
    removals: JoinSet<()>,
}

/// The attempts that an earlier process left in the spool, each with the sequence number of its last record. An attempt
/// without an end gets one here: its processes died with the worker. Blocks.
pub fn close_spools(folder: &std::path::Path) -> anyhow::Result<Vec<(i64, u64)>> {
    let mut held = Vec::new();
    for attempt in spool::attempts(folder).context("listing the spools")? {
        let mut spool = Spool::open(folder, attempt)?;
        if !spool.is_finished() {
            let infra_failure = InfraFailure::Worker { detail: "the worker was restarted".into() };
            let last = Event::Finished { results: None, artifact: None, infra_failure: Some(infra_failure) };
            spool
                .append(&SpoolRecord::Event(last))
                .context("writing the end of an attempt of an earlier process")?;
        }
        held.push((attempt, spool.written()));
    }
    Ok(held)
}

impl Agent {
    /// Dials at once.
    pub fn new(
        session: Session,
        resources: Arc<SharedResources>,
        endpoint: Endpoint,
        token: watch::Sender<Option<String>>,
    ) -> Agent {
        let (input_sender, inputs) = mpsc::channel(INPUT_QUEUE);
        let link = Link::dial(endpoint.clone(), Duration::ZERO);
        Agent {
            session,
            resources,
            endpoint,
            link,
            token,
            stop_signals: HashMap::new(),
            readers: HashMap::new(),
            input_sender,
            inputs,
            removals: JoinSet::new(),
        }
    }

    /// Where others, such as the owner's settings, tell the session something.
    pub fn inputs(&self) -> mpsc::Sender<SessionInput> {
        self.input_sender.clone()
    }

    /// Runs until `stop`. Then the running builds are finished first, unless `kill_builds` is or becomes cancelled.
    pub async fn run(mut self, stop: CancellationToken, kill_builds: CancellationToken) {
        loop {
            let input = tokio::select! {
                () = stop.cancelled() => break,
                input = self.next_input() => input,
            };
            self.act(input);
        }
        self.act(SessionInput::Finish);
        while !self.session.is_idle() {
            let input = tokio::select! {
                () = kill_builds.cancelled() => break,
                input = self.next_input() => input,
            };
            self.act(input);
        }
        self.act(SessionInput::Stop);
        let shutdown = tokio::time::sleep(SHUTDOWN_TIME);
        tokio::pin!(shutdown);
        while !self.session.is_idle() {
            let input = tokio::select! {
                () = &mut shutdown => break,
                input = self.next_input() => input,
            };
            self.act(input);
        }
        while self.removals.join_next().await.is_some() {}
    }

    /// Sends what may be sent until something happens, and returns what. May be dropped at any time.
    async fn next_input(&mut self) -> SessionInput {
        loop {
            let wake_at = self.session.wake_at().map(tokio::time::Instant::from_std);
            tokio::select! {
                event = self.link.events.recv() => return match event {
                    Some(LinkEvent::Opened) => SessionInput::Opened { artifacts: self.resources.toolchains.cached() },
                    Some(LinkEvent::Message(message)) => SessionInput::Received(message),
                    Some(LinkEvent::Alive) => SessionInput::Alive,
                    Some(LinkEvent::Disconnected(why)) => SessionInput::Disconnected(why),
                    None => SessionInput::Disconnected("the connection ended".into()),
                },
                Some(input) = self.inputs.recv() => return input,
                () = tokio::time::sleep_until(wake_at.unwrap_or_else(tokio::time::Instant::now)),
                    if wake_at.is_some() => return SessionInput::Tick,
                Ok(permit) = self.link.out.clone().reserve_owned(), if self.session.has_outgoing() => {
                    let Some(outgoing) = self.session.next_outgoing() else { continue };
                    match outgoing {
                        Outgoing::Message(message) => {
                            let is_heartbeat = *message == FromWorker::Heartbeat;
                            let out = permit.send(Message::text(protocol::encode(&message)));
                            // The answer to a ping shows that the master is alive. If there is no room, other
                            // messages are on their way already.
                            if is_heartbeat {
                                let _ = out.try_send(Message::Ping(Default::default()));
                            }
                        }
                        Outgoing::Record { attempt, sequence } => match self.read_record(attempt, sequence) {
                            Ok(message) => {
                                self.session.record_sent(attempt, sequence, message.len());
                                permit.send(message);
                            }
                            Err(e) => {
                                return SessionInput::SpoolUnreadable { attempt, detail: e.to_string() };
                            }
                        },
                    }
                }
            }
        }
    }

    /// Reads at most one message. It was written a moment ago, so it nearly always comes from the page cache, and no hop
    /// to another thread is worth its price.
    fn read_record(&mut self, attempt: i64, sequence: u64) -> std::io::Result<Message> {
        let reader = match self.readers.entry(attempt) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(SpoolReader::open(&self.resources.folder.spool(), attempt)?)
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
                    self.link = Link::dial(self.endpoint.clone(), pause);
                }
                SessionOutput::Admitted { name, token } => {
                    self.resources.activity.update(|status| {
                        status.connection = "connected".to_string();
                        status.name = name;
                    });
                    self.token.send_replace(Some(token));
                }
                SessionOutput::Begin { build, attempt, plan } => self.begin(build, attempt, *plan),
                SessionOutput::Stop { attempt, reason } => {
                    tracing::info!("stopping attempt {attempt}: {reason}");
                    if let Some(stop) = self.stop_signals.get(&attempt) {
                        stop.send(reason);
                    }
                }
                SessionOutput::HandBack { attempt, reason } => {
                    if let Some(stop) = self.stop_signals.get(&attempt) {
                        stop.hand_back(reason);
                    }
                }
                SessionOutput::KeyChanged => self.change_key(),
                SessionOutput::Forget { attempt } => {
                    self.stop_signals.remove(&attempt);
                    self.readers.remove(&attempt);
                    self.remove_spool(attempt);
                }
                SessionOutput::Log(text) => {
                    if self.token.borrow().is_none() {
                        self.resources.activity.update(|status| status.connection.clone_from(&text));
                    }
                    tracing::info!("{text}");
                }
            }
        }
    }

    /// The master no longer takes the old key.
    fn change_key(&self) {
        let folder = &self.resources.folder;
        match std::fs::rename(folder.next_key(), folder.key()) {
            Ok(()) => tracing::info!("the operator approved the new key; the old one is removed"),
            Err(e) => tracing::error!(
                "the farm takes the new key, but {} cannot be renamed to {}: {e}; do that by hand",
                folder.next_key().display(),
                folder.key().display()
            ),
        }
    }

    /// A spool may hold gigabytes of log, and removing it then takes its time.
    fn remove_spool(&mut self, attempt: i64) {
        let folder = self.resources.folder.spool();
        // What has ended already need not be remembered.
        while self.removals.try_join_next().is_some() {}
        self.removals.spawn_blocking(move || {
            if let Err(e) = spool::remove(&folder, attempt) {
                tracing::warn!("cannot remove the spool of attempt {attempt}: {e}");
            }
        });
    }

    fn begin(&mut self, build: i64, attempt: i64, plan: Plan) {
        match Spool::create(&self.resources.folder.spool(), attempt) {
            Ok(spool) => {
                self.resources.activity.begin(build, attempt, &plan);
                let stop = StopSignal::default();
                self.stop_signals.insert(attempt, stop.clone());
                tokio::spawn(attempt::run(
                    Arc::clone(&self.resources),
                    attempt,
                    plan,
                    spool,
                    self.input_sender.clone(),
                    stop,
                ));
            }
            // Without a spool, all we can report is that we do not hold this attempt.
            Err(e) => {
                tracing::error!("cannot begin attempt {attempt}: {e}");
                for input in [
                    SessionInput::SpoolUnreadable { attempt, detail: e.to_string() },
                    SessionInput::RecordWritten { attempt, sequence: 1, more: MoreToReport::No },
                ] {
                    self.act(input);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
