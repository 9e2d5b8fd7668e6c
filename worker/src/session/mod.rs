//! The conversation with the master, as a function: something happens, and this says what to do about it.
//! It knows no socket, no file and no clock, so that every reconnect, late ack and cancel is a unit test.

mod attempts;
mod backoff;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::{FromMaster, FromWorker, Plan, Resume, ResumeAction, Sha256, WorkerFacts};

use crate::key::Key;
use attempts::Attempts;
use backoff::Backoff;

/// A master that takes a connection and then says nothing is given up after this.
const GREETING: Duration = Duration::from_secs(20);
/// Whatever a master asks for, a heartbeat is neither a flood nor a riddle.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);
/// After so many heartbeats without a word the connection is dead, whatever the network says of it.
const SILENT_HEARTBEATS: u32 = 3;
/// Answers waiting for a socket that takes none. More means that the master floods us with questions.
const MAX_OUTBOX: usize = 64;

/// Who we say that we are.
pub struct WorkerIdentity {
    pub key: Key,
    pub facts: WorkerFacts,
    pub slots: u32,
}

pub struct Session {
    introduction: WorkerIdentity,
    phase: Phase,
    intake: Intake,
    attempts: Attempts,
    outbox: VecDeque<FromWorker>,
    backoff: Backoff,
    /// The trouble that the volunteer was last told of; told once, however often it is met.
    told: Option<String>,
}

enum Phase {
    /// Not connected.
    Away,
    /// Connected, and not yet welcome.
    Greeting {
        artifacts: Vec<Sha256>,
        until: Instant,
    },
    Open {
        heartbeat: Duration,
        beat_at: Instant,
        heard_at: Instant,
    },
}

/// Whether another build may begin.
enum Intake {
    Open,
    /// The master sends no more on this connection.
    Drained,
    /// This process is about to end.
    Closed,
}

pub enum SessionInput {
    /// A connection stands; these toolchains are in the cache.
    Opened {
        artifacts: Vec<Sha256>,
    },
    Heard(Box<FromMaster>),
    /// The other side gave a sign of life that is no message.
    Alive,
    /// The connection is gone, or never came to be.
    Lost(String),
    /// [`Session::wake_at`] has come.
    Tick,
    /// A record of an attempt is in its spool.
    Written {
        attempt: i64,
        sequence: u64,
        word: MoreToReport,
    },
    /// An attempt's spool cannot be read.
    Unreadable {
        attempt: i64,
        detail: String,
    },
    /// Take no more builds, and tell the master so.
    Finish,
    /// Take no more builds and stop those that run.
    Stop,
}

/// Whether an attempt has more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoreToReport {
    One,
    Last,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SessionOutput {
    /// Let go of any connection, and make one after this time.
    Dial(Duration),
    /// We are in; the token is for HTTP, until the connection is lost.
    Admitted {
        token: String,
    },
    Begin {
        attempt: i64,
        plan: Box<Plan>,
    },
    Stop {
        attempt: i64,
        reason: String,
    },
    /// Remove the attempt's spool.
    Forget {
        attempt: i64,
    },
    /// For the volunteer's screen.
    Tell(String),
}

/// What may be sent next.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    Message(Box<FromWorker>),
    /// This record of a spool; [`Session::sent`] wants to know how large it was.
    Record {
        attempt: i64,
        sequence: u64,
    },
}

impl Session {
    /// `held`: attempts whose last word lies in a spool, and its sequence number.
    pub fn new(
        introduction: WorkerIdentity,
        held: impl IntoIterator<Item = (i64, u64)>,
        seed: u64,
    ) -> Session {
        Session {
            introduction,
            phase: Phase::Away,
            intake: Intake::Open,
            attempts: Attempts::finished(held),
            outbox: VecDeque::new(),
            backoff: Backoff::new(seed),
            told: None,
        }
    }

    pub fn on(&mut self, input: SessionInput, now: Instant) -> Vec<SessionOutput> {
        match input {
            SessionInput::Opened { artifacts } => {
                self.phase = Phase::Greeting { artifacts, until: now + GREETING };
                Vec::new()
            }
            SessionInput::Heard(message) => {
                self.heard(now);
                self.on_message(*message, now)
            }
            SessionInput::Alive => {
                self.heard(now);
                Vec::new()
            }
            SessionInput::Lost(why) => self.lost(why),
            SessionInput::Tick => self.tick(now),
            SessionInput::Written { attempt, sequence, word } => {
                self.attempts.written(attempt, sequence, word)
            }
            SessionInput::Unreadable { attempt, detail } => {
                let mut outputs = self.attempts.give_up(attempt, &detail);
                outputs.push(SessionOutput::Tell(format!("attempt {attempt} is given up: {detail}")));
                // The next hello names it no more: so the master learns of it.
                outputs.extend(self.lost(format!("attempt {attempt} is no longer held")));
                outputs
            }
            SessionInput::Finish => {
                self.intake = Intake::Closed;
                if let Phase::Open { .. } = self.phase {
                    self.outbox.push_back(FromWorker::Slots { slots: 0 });
                }
                Vec::new()
            }
            SessionInput::Stop => {
                self.intake = Intake::Closed;
                self.attempts.stop_all("the worker was stopped by its owner")
            }
        }
    }

    /// When [`SessionInput::Tick`] is wanted.
    pub fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Away => None,
            Phase::Greeting { until, .. } => Some(until),
            Phase::Open { heartbeat, beat_at, heard_at } => {
                Some(beat_at.min(heard_at + heartbeat * SILENT_HEARTBEATS))
            }
        }
    }

    /// What to send when the connection has room: answers first, then records in turn.
    pub fn next(&mut self) -> Option<Outgoing> {
        match self.phase {
            Phase::Away => None,
            Phase::Greeting { .. } => self.outbox.pop_front().map(|m| Outgoing::Message(Box::new(m))),
            Phase::Open { .. } => match self.outbox.pop_front() {
                Some(message) => Some(Outgoing::Message(Box::new(message))),
                None => {
                    self.attempts.next().map(|(attempt, sequence)| Outgoing::Record { attempt, sequence })
                }
            },
        }
    }

    /// Whether [`Session::next`] has something.
    pub fn has_next(&self) -> bool {
        match self.phase {
            Phase::Away => false,
            Phase::Greeting { .. } => !self.outbox.is_empty(),
            Phase::Open { .. } => !self.outbox.is_empty() || self.attempts.has_next(),
        }
    }

    /// The record that [`Session::next`] named is on its way.
    pub fn sent(&mut self, attempt: i64, sequence: u64, bytes: usize) {
        self.attempts.sent(attempt, sequence, bytes);
    }

    /// Nothing runs, and nobody is there to hear what waits to be heard.
    pub fn is_at_rest(&self) -> bool {
        match self.phase {
            Phase::Away => self.attempts.occupied() == 0,
            Phase::Greeting { .. } | Phase::Open { .. } => self.attempts.is_empty(),
        }
    }

    fn heard(&mut self, now: Instant) {
        if let Phase::Open { heard_at, .. } = &mut self.phase {
            *heard_at = now;
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<SessionOutput> {
        match &mut self.phase {
            Phase::Away => Vec::new(),
            Phase::Greeting { until, .. } if now >= *until => {
                self.lost(format!("the master did not greet within {} s", GREETING.as_secs()))
            }
            Phase::Greeting { .. } => Vec::new(),
            Phase::Open { heartbeat, heard_at, .. } if now >= *heard_at + *heartbeat * SILENT_HEARTBEATS => {
                let silence = now.duration_since(*heard_at).as_secs_f64();
                self.lost(format!("nothing was heard from the master for {silence:.1} s"))
            }
            Phase::Open { heartbeat, beat_at, .. } if now >= *beat_at => {
                *beat_at = now + *heartbeat;
                // A connection that lived so long is a good one.
                self.backoff.succeeded();
                if !self.outbox.contains(&FromWorker::Heartbeat) {
                    self.outbox.push_back(FromWorker::Heartbeat);
                }
                Vec::new()
            }
            Phase::Open { .. } => Vec::new(),
        }
    }

    fn on_message(&mut self, message: FromMaster, now: Instant) -> Vec<SessionOutput> {
        use FromMaster as M;
        match (&self.phase, message) {
            (Phase::Greeting { artifacts, .. }, M::Challenge { protocol, nonce }) => {
                if protocol != protocol::VERSION {
                    let ours = protocol::VERSION;
                    let pause = self.backoff.after_dead_end();
                    return self.close(
                        pause,
                        format!(
                            "the master speaks version {protocol} of the protocol and this worker version {ours}: \
                             install the worker that belongs to the master"
                        ),
                    );
                }
                let hello = self.hello(&nonce, artifacts.clone());
                self.outbox.push_back(hello);
                Vec::new()
            }
            (Phase::Greeting { .. }, M::Welcome { name, heartbeat_ms, token, held }) => {
                let heartbeat =
                    Duration::from_millis(heartbeat_ms).clamp(*HEARTBEAT.start(), *HEARTBEAT.end());
                self.welcome(name, heartbeat, token, held, now)
            }
            (Phase::Greeting { .. }, M::Refused { reason }) => {
                let pause = self.backoff.after_refusal();
                self.close(pause, format!("the master refuses this worker: {reason}"))
            }
            // It let us in before, so this is about two processes with one key, or a key taken back.
            (Phase::Open { .. }, M::Refused { reason }) => {
                let pause = self.backoff.after_dead_end();
                self.close(pause, format!("the master ended the session: {reason}"))
            }
            (Phase::Open { .. }, M::Offer { build: _, attempt, lease_ms: _, plan }) => {
                self.offered(attempt, plan)
            }
            (Phase::Open { .. }, M::Ack { attempt, sequence }) => {
                self.attempts.acknowledged(attempt, sequence)
            }
            (Phase::Open { .. }, M::Cancel { attempt, reason }) => self.attempts.stop(attempt, &reason),
            (Phase::Open { .. }, M::Drain { reason }) => {
                if let Intake::Open = self.intake {
                    self.intake = Intake::Drained;
                }
                vec![SessionOutput::Tell(format!("the master sends no more builds: {reason}"))]
            }
            // Said on a connection that has been given up meanwhile.
            (Phase::Away, _) => Vec::new(),
            (
                Phase::Greeting { .. },
                M::Offer { .. } | M::Ack { .. } | M::Cancel { .. } | M::Drain { .. },
            )
            | (Phase::Open { .. }, M::Challenge { .. } | M::Welcome { .. }) => {
                self.lost("the master spoke out of turn".to_string())
            }
        }
    }

    fn hello(&self, nonce: &str, artifacts: Vec<Sha256>) -> FromWorker {
        FromWorker::Hello {
            protocol: protocol::VERSION,
            version: env!("CARGO_PKG_VERSION").to_string(),
            key: self.introduction.key.public(),
            signature: self.introduction.key.answer(nonce),
            facts: self.introduction.facts.clone(),
            slots: match self.intake {
                Intake::Open | Intake::Drained => self.introduction.slots,
                Intake::Closed => 0,
            },
            held: self.attempts.held(),
            artifacts,
        }
    }

    fn welcome(
        &mut self,
        name: String,
        heartbeat: Duration,
        token: String,
        held: Vec<Resume>,
        now: Instant,
    ) -> Vec<SessionOutput> {
        self.phase = Phase::Open { heartbeat, beat_at: now + heartbeat, heard_at: now };
        if let Intake::Drained = self.intake {
            self.intake = Intake::Open;
        }
        self.told = None;
        let mut outputs = vec![
            SessionOutput::Admitted { token },
            SessionOutput::Tell(format!("connected to the farm as {name}")),
        ];
        let mut lost = Vec::new();
        for Resume { attempt, action } in held {
            match action {
                ResumeAction::ResendAfter(sequence) => match self.attempts.resume(attempt, sequence) {
                    Ok(forget) => outputs.extend(forget),
                    Err(detail) => lost.push((attempt, detail)),
                },
                ResumeAction::Drop(reason) => outputs.extend(self.attempts.give_up(attempt, &reason)),
            }
        }
        for (attempt, detail) in lost {
            outputs.extend(self.on(SessionInput::Unreadable { attempt, detail }, now));
        }
        outputs
    }

    fn offered(&mut self, attempt: i64, plan: Box<Plan>) -> Vec<SessionOutput> {
        let refusal = match self.intake {
            Intake::Open => None,
            Intake::Drained => Some("no more builds on this connection"),
            Intake::Closed => Some("the worker is stopping"),
        };
        let (answer, outputs) = if self.attempts.is_running(attempt) {
            // The master did not hear our first answer.
            (FromWorker::Accept { attempt }, Vec::new())
        } else if let Some(reason) = refusal {
            (FromWorker::Decline { attempt, reason: reason.to_string() }, Vec::new())
        } else if self.attempts.occupied() >= self.introduction.slots as usize {
            (FromWorker::Decline { attempt, reason: "every slot is busy".to_string() }, Vec::new())
        } else if self.attempts.begin(attempt) {
            (FromWorker::Accept { attempt }, vec![SessionOutput::Begin { attempt, plan }])
        } else {
            (FromWorker::Decline { attempt, reason: "this attempt is over".to_string() }, Vec::new())
        };
        if self.outbox.len() >= MAX_OUTBOX {
            let mut outputs = outputs;
            outputs.extend(self.lost("the master asks more than the connection can answer".to_string()));
            return outputs;
        }
        self.outbox.push_back(answer);
        outputs
    }

    fn lost(&mut self, why: String) -> Vec<SessionOutput> {
        let pause = self.backoff.after_failure();
        self.close(pause, why)
    }

    fn close(&mut self, pause: Duration, why: String) -> Vec<SessionOutput> {
        self.phase = Phase::Away;
        self.outbox.clear();
        self.attempts.disconnected();
        let mut outputs = vec![SessionOutput::Dial(pause)];
        if self.told.as_ref() != Some(&why) {
            outputs.push(SessionOutput::Tell(format!("{why}; trying again")));
            self.told = Some(why);
        }
        outputs
    }
}
