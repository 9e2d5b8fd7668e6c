//! The conversation with the master, as a function from what happens to what to do about it.
//! It knows no socket, no file and no clock, so that every reconnect, late ack and cancel can be a unit test.

mod attempts;
mod backoff;
mod message;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use domain::volunteer::terms::{WantedBuild, objection};
use protocol::{
    Choice, FetchProgress, FromMaster, FromWorker, Plan, Resume, ResumeAction, Sha256, WorkerFacts,
    WorkerTerms,
};

use crate::key::Key;
use attempts::Attempts;
use backoff::Backoff;
pub use message::{MoreToReport, Outgoing, OwnerInput, PauseNotice, SessionInput, SessionOutput};

/// We leave a master that accepts a connection and then does not complete the handshake in this time.
const HANDSHAKE_TIME: Duration = Duration::from_secs(20);
/// Whatever period a master asks for, heartbeats neither flood it nor leave it in doubt.
const HEARTBEAT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(60);
/// After this many heartbeat periods without a sign of life we consider the connection dead, whatever the network
/// reports.
const SILENT_HEARTBEATS: u32 = 3;
/// Answers that wait for a socket that accepts none. With more than these, the master is flooding us.
const MAX_OUTBOX: usize = 64;

/// What this worker introduces itself with.
pub struct WorkerIdentity {
    pub key: Key,
    pub facts: WorkerFacts,
    pub slots: u32,
}

pub struct Session {
    identity: WorkerIdentity,
    phase: Phase,
    acceptance: Acceptance,
    attempts: Attempts,
    outbox: VecDeque<FromWorker>,
    backoff: Backoff,
    /// Why the owner does not let the machine work now.
    pause: Option<PauseNotice>,
    terms: WorkerTerms,
    next_key: Option<NextKey>,
    /// Whether the master that welcomed us takes pauses, terms, and attempts that are handed back.
    takes_pauses: bool,
    /// Whether the master that welcomed us takes reports of progress.
    takes_progress: bool,
    /// The last problem that was logged: each is logged once, however often it occurs.
    logged_problem: Option<String>,
}

/// A key that the operator has perhaps approved.
struct NextKey {
    /// The one that is not in use: each refusal changes the two.
    other: Key,
    is_used: bool,
}

enum Phase {
    Disconnected,
    /// Connected, but not yet admitted.
    Handshake {
        artifacts: Vec<Sha256>,
        deadline: Instant,
    },
    Open {
        heartbeat: Duration,
        next_beat: Instant,
        last_received: Instant,
    },
}

/// Whether the worker takes another build.
enum Acceptance {
    Open,
    /// The master offers no more builds on this connection.
    Drained,
    /// This process is about to end.
    Closed,
}

impl Session {
    /// `held`: the attempts whose end is in a spool, and the sequence number of that record.
    pub fn new(identity: WorkerIdentity, held: impl IntoIterator<Item = (i64, u64)>, seed: u64) -> Session {
        Session {
            identity,
            phase: Phase::Disconnected,
            acceptance: Acceptance::Open,
            attempts: Attempts::from_spools(held),
            outbox: VecDeque::new(),
            backoff: Backoff::new(seed),
            pause: None,
            terms: WorkerTerms::default(),
            next_key: None,
            takes_pauses: false,
            takes_progress: false,
            logged_problem: None,
        }
    }

    pub fn on(&mut self, input: SessionInput, now: Instant) -> Vec<SessionOutput> {
        match input {
            SessionInput::Opened { artifacts } => {
                self.phase = Phase::Handshake { artifacts, deadline: now + HANDSHAKE_TIME };
                Vec::new()
            }
            SessionInput::Received(message) => {
                self.note_sign_of_life(now);
                self.on_message(*message, now)
            }
            SessionInput::Alive => {
                self.note_sign_of_life(now);
                Vec::new()
            }
            SessionInput::Disconnected(why) => self.reconnect(why),
            SessionInput::Tick => self.tick(now),
            SessionInput::RecordWritten { attempt, sequence, more } => {
                self.attempts.record_written(attempt, sequence, more)
            }
            SessionInput::Progress { attempt, progress } => {
                self.report_progress(attempt, progress);
                Vec::new()
            }
            SessionInput::SpoolUnreadable { attempt, detail } => {
                let mut outputs = self.attempts.abandon(attempt, &detail);
                outputs.push(SessionOutput::Log(format!("attempt {attempt} is abandoned: {detail}")));
                // The next hello does not name it: that tells the master.
                outputs.extend(self.reconnect(format!("attempt {attempt} was abandoned")));
                outputs
            }
            SessionInput::HandBack(reason) => self.hand_back(&reason),
            SessionInput::Owner(word) => {
                self.obey(word);
                Vec::new()
            }
            SessionInput::Finish => {
                self.acceptance = Acceptance::Closed;
                if let Phase::Open { .. } = self.phase {
                    self.outbox.push_back(FromWorker::Slots { slots: 0 });
                }
                Vec::new()
            }
            SessionInput::Stop => {
                self.acceptance = Acceptance::Closed;
                self.hand_back("the worker was stopped by its owner")
            }
        }
    }

    fn obey(&mut self, word: OwnerInput) {
        match word {
            OwnerInput::Pause(pause) => {
                if pause != self.pause {
                    self.pause = pause;
                    self.report_slots();
                    self.report_pause();
                }
            }
            OwnerInput::Terms(terms) => {
                self.terms = terms;
                self.report_terms();
            }
            OwnerInput::Slots(slots) => {
                self.identity.slots = slots;
                self.report_slots();
            }
            OwnerInput::NextKey(other) => {
                self.next_key.get_or_insert(NextKey { other, is_used: false });
            }
        }
    }

    /// When [`SessionInput::Tick`] is wanted.
    pub fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Disconnected => None,
            Phase::Handshake { deadline, .. } => Some(deadline),
            Phase::Open { heartbeat, next_beat, last_received } => {
                Some(next_beat.min(last_received + heartbeat * SILENT_HEARTBEATS))
            }
        }
    }

    /// What to send when the connection has room: answers first, then the records of the attempts in turn.
    pub fn next_outgoing(&mut self) -> Option<Outgoing> {
        match self.phase {
            Phase::Disconnected => None,
            Phase::Handshake { .. } => self.outbox.pop_front().map(|m| Outgoing::Message(Box::new(m))),
            Phase::Open { .. } => match self.outbox.pop_front() {
                Some(message) => Some(Outgoing::Message(Box::new(message))),
                None => self
                    .attempts
                    .next_record()
                    .map(|(attempt, sequence)| Outgoing::Record { attempt, sequence }),
            },
        }
    }

    /// Whether [`Session::next_outgoing`] has something.
    pub fn has_outgoing(&self) -> bool {
        match self.phase {
            Phase::Disconnected => false,
            Phase::Handshake { .. } => !self.outbox.is_empty(),
            Phase::Open { .. } => !self.outbox.is_empty() || self.attempts.has_record(),
        }
    }

    /// The record that [`Session::next_outgoing`] named has been sent.
    pub fn record_sent(&mut self, attempt: i64, sequence: u64, bytes: usize) {
        self.attempts.record_sent(attempt, sequence, bytes);
    }

    /// Whether no build runs, and everything is reported or there is no master to report to.
    pub fn is_idle(&self) -> bool {
        match self.phase {
            Phase::Disconnected => self.attempts.occupied() == 0,
            Phase::Handshake { .. } | Phase::Open { .. } => self.attempts.is_empty(),
        }
    }

    fn note_sign_of_life(&mut self, now: Instant) {
        if let Phase::Open { last_received, .. } = &mut self.phase {
            *last_received = now;
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<SessionOutput> {
        match &mut self.phase {
            Phase::Disconnected => Vec::new(),
            Phase::Handshake { deadline, .. } if now >= *deadline => self.reconnect(format!(
                "the master did not complete the handshake within {} s",
                HANDSHAKE_TIME.as_secs()
            )),
            Phase::Handshake { .. } => Vec::new(),
            Phase::Open { heartbeat, last_received, .. }
                if now >= *last_received + *heartbeat * SILENT_HEARTBEATS =>
            {
                let silence = now.duration_since(*last_received).as_secs_f64();
                self.reconnect(format!("the master sent nothing for {silence:.1} s"))
            }
            Phase::Open { heartbeat, next_beat, .. } if now >= *next_beat => {
                *next_beat = now + *heartbeat;
                // A connection that lasts this long works.
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
            (Phase::Handshake { artifacts, .. }, M::Challenge { protocol, nonce }) => {
                if protocol != protocol::VERSION {
                    return self.refuse_version(protocol);
                }
                let hello = self.hello(&nonce, artifacts.clone());
                self.outbox.push_back(hello);
                Vec::new()
            }
            (
                Phase::Handshake { .. },
                M::Welcome { name, heartbeat_ms, token, held, takes_progress, takes_pauses },
            ) => {
                self.takes_progress = takes_progress;
                self.takes_pauses = takes_pauses;
                let heartbeat = Duration::from_millis(heartbeat_ms)
                    .clamp(*HEARTBEAT_RANGE.start(), *HEARTBEAT_RANGE.end());
                self.welcome(name, heartbeat, token, held, now)
            }
            (Phase::Handshake { .. }, M::Refused { reason }) => {
                if let Some(next) = &mut self.next_key {
                    std::mem::swap(&mut self.identity.key, &mut next.other);
                    next.is_used = !next.is_used;
                }
                let pause = self.backoff.after_refusal();
                self.close(pause, format!("the master refuses this worker: {reason}"))
            }
            // It admitted us before, so another process uses the same key, or the key was revoked.
            (Phase::Open { .. }, M::Refused { reason }) => {
                let pause = self.backoff.after_dead_end();
                self.close(pause, format!("the master ended the session: {reason}"))
            }
            (Phase::Open { .. }, M::Offer { build, attempt, lease_ms: _, plan }) => {
                self.answer_offer(build, attempt, plan)
            }
            (Phase::Open { .. }, M::Ack { attempt, sequence }) => {
                self.attempts.acknowledge(attempt, sequence)
            }
            (Phase::Open { .. }, M::Cancel { attempt, reason }) => self.attempts.stop(attempt, &reason),
            (Phase::Open { .. }, M::Drain { reason }) => {
                if let Acceptance::Open = self.acceptance {
                    self.acceptance = Acceptance::Drained;
                }
                vec![SessionOutput::Log(format!("the master sends no more builds: {reason}"))]
            }
            // Sent on a connection that we have dropped meanwhile.
            (Phase::Disconnected, _) => Vec::new(),
            (
                Phase::Handshake { .. },
                M::Offer { .. } | M::Ack { .. } | M::Cancel { .. } | M::Drain { .. },
            )
            | (Phase::Open { .. }, M::Challenge { .. } | M::Welcome { .. }) => self.reconnect(
                "the master sent a message that does not fit the state of the session".to_string(),
            ),
        }
    }

    fn refuse_version(&mut self, theirs: u32) -> Vec<SessionOutput> {
        let ours = protocol::VERSION;
        let pause = self.backoff.after_dead_end();
        self.close(
            pause,
            format!(
                "the master speaks protocol version {theirs}, and this worker version {ours}: install the farm-worker of the \
                 master's version"
            ),
        )
    }

    /// Only the newest report of an attempt waits: what is old is of no use to anybody.
    fn report_progress(&mut self, attempt: i64, progress: FetchProgress) {
        let is_of = |message: &FromWorker| matches!(message, FromWorker::Progress { attempt: of, .. } if *of == attempt);
        self.outbox.retain(|message| !is_of(message));
        let is_open = matches!(self.phase, Phase::Open { .. });
        if self.takes_progress && is_open && self.outbox.len() < MAX_OUTBOX / 2 {
            self.outbox.push_back(FromWorker::Progress { attempt, progress });
        }
    }

    /// Stops the running attempts. A master that does not know the word is told of a failure of this worker.
    fn hand_back(&mut self, reason: &str) -> Vec<SessionOutput> {
        let takes_them = self.takes_pauses;
        let stopped = self.attempts.stop_all(reason).into_iter();
        stopped
            .map(|output| match output {
                SessionOutput::Stop { attempt, reason } if takes_them => {
                    SessionOutput::HandBack { attempt, reason }
                }
                other => other,
            })
            .collect()
    }

    /// How many builds may be begun now.
    fn slots(&self) -> u32 {
        match (&self.acceptance, &self.pause) {
            (Acceptance::Closed, _) | (_, Some(_)) => 0,
            (Acceptance::Open | Acceptance::Drained, None) => self.identity.slots,
        }
    }

    /// Only the newest of such messages waits.
    fn report_slots(&mut self) {
        self.outbox.retain(|message| !matches!(message, FromWorker::Slots { .. }));
        if let Phase::Open { .. } = self.phase {
            self.outbox.push_back(FromWorker::Slots { slots: self.slots() });
        }
    }

    fn report_pause(&mut self) {
        self.outbox.retain(|message| !matches!(message, FromWorker::Pause { .. } | FromWorker::Resume));
        if let Phase::Open { .. } = self.phase
            && self.takes_pauses
        {
            self.outbox.push_back(match self.pause.clone() {
                Some(PauseNotice { reason, until_ms }) => FromWorker::Pause { reason, until_ms },
                None => FromWorker::Resume,
            });
        }
    }

    fn report_terms(&mut self) {
        self.outbox.retain(|message| !matches!(message, FromWorker::Terms { .. }));
        if let Phase::Open { .. } = self.phase
            && self.takes_pauses
        {
            self.outbox.push_back(FromWorker::Terms { terms: self.terms.clone() });
        }
    }

    fn hello(&self, nonce: &str, artifacts: Vec<Sha256>) -> FromWorker {
        FromWorker::Hello {
            protocol: protocol::VERSION,
            version: env!("CARGO_PKG_VERSION").to_string(),
            key: self.identity.key.public(),
            signature: self.identity.key.answer(nonce),
            facts: self.identity.facts.clone(),
            slots: self.slots(),
            held: self.attempts.held(),
            artifacts,
            terms: (self.terms != WorkerTerms::default()).then(|| Box::new(self.terms.clone())),
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
        self.phase = Phase::Open { heartbeat, next_beat: now + heartbeat, last_received: now };
        if let Acceptance::Drained = self.acceptance {
            self.acceptance = Acceptance::Open;
        }
        self.logged_problem = None;
        if self.pause.is_some() {
            self.report_pause();
        }
        let mut outputs = vec![
            SessionOutput::Admitted { name: name.clone(), token },
            SessionOutput::Log(format!("connected to the farm as {name}")),
        ];
        if self.next_key.as_ref().is_some_and(|next| next.is_used) {
            self.next_key = None;
            outputs.push(SessionOutput::KeyChanged);
        }
        let mut unreadable = Vec::new();
        for Resume { attempt, action } in held {
            match action {
                ResumeAction::ResendAfter(sequence) => match self.attempts.resume(attempt, sequence) {
                    Ok(forget) => outputs.extend(forget),
                    Err(detail) => unreadable.push((attempt, detail)),
                },
                ResumeAction::Drop(reason) => outputs.extend(self.attempts.abandon(attempt, &reason)),
            }
        }
        for (attempt, detail) in unreadable {
            outputs.extend(self.on(SessionInput::SpoolUnreadable { attempt, detail }, now));
        }
        outputs
    }

    fn answer_offer(&mut self, build: i64, attempt: i64, plan: Box<Plan>) -> Vec<SessionOutput> {
        let refusal = match (&self.acceptance, &self.pause) {
            (Acceptance::Drained, _) => Some("no more builds on this connection".to_string()),
            (Acceptance::Closed, _) => Some("the worker is stopping".to_string()),
            (Acceptance::Open, Some(pause)) => {
                Some(format!("the worker is paused by its owner: {}", pause.reason))
            }
            (Acceptance::Open, None) => self.objection(&plan).map(|why| format!("the worker's owner {why}")),
        };
        let slots = usize::try_from(self.identity.slots).unwrap_or(usize::MAX);
        let (answer, outputs) = if self.attempts.is_running(attempt) {
            // The master did not receive our first answer.
            (FromWorker::Accept { attempt }, Vec::new())
        } else if let Some(reason) = refusal {
            (FromWorker::Decline { attempt, reason }, Vec::new())
        } else if self.attempts.occupied() >= slots {
            (FromWorker::Decline { attempt, reason: "every slot is busy".to_string() }, Vec::new())
        } else if self.attempts.begin(attempt) {
            (FromWorker::Accept { attempt }, vec![SessionOutput::Begin { build, attempt, plan }])
        } else {
            (FromWorker::Decline { attempt, reason: "this attempt is over".to_string() }, Vec::new())
        };
        if self.outbox.len() >= MAX_OUTBOX {
            let mut outputs = outputs;
            outputs.extend(self.reconnect(
                "the master sends offers faster than the connection takes the answers".to_string(),
            ));
            return outputs;
        }
        self.outbox.push_back(answer);
        outputs
    }

    /// What the owner has against a plan. Of which project and trunk it is, the plan does not say: that is the master's part.
    fn objection(&self, plan: &Plan) -> Option<String> {
        let terms =
            WorkerTerms { projects: Choice::default(), trunks: Choice::default(), ..self.terms.clone() };
        objection(&terms, WantedBuild { trunk: "", project: None, recipe: &plan.recipe })
    }

    fn reconnect(&mut self, why: String) -> Vec<SessionOutput> {
        let pause = self.backoff.after_failure();
        self.close(pause, why)
    }

    fn close(&mut self, pause: Duration, why: String) -> Vec<SessionOutput> {
        self.phase = Phase::Disconnected;
        self.outbox.clear();
        self.attempts.reset_sent();
        let mut outputs = vec![SessionOutput::Dial(pause)];
        if self.logged_problem.as_ref() != Some(&why) {
            outputs.push(SessionOutput::Log(format!("{why}; trying again")));
            self.logged_problem = Some(why);
        }
        outputs
    }
}
