//! A session, and what a master may do to it.

mod owner;

use super::*;

/// A session with a scripted master. Times are milliseconds after the start.
struct Conversation {
    session: Session,
    start: Instant,
    now_ms: u64,
    /// Whether the master says that it takes pauses.
    takes_pauses: bool,
}

const HEARTBEAT_MS: u64 = 1000;

fn plan() -> Plan {
    Plan {
        builder: "lua master linux-x86_64".into(),
        change: "c".repeat(40),
        source: protocol::Source { git: "https://example.org/lua.git".into(), revision: "c".repeat(40) },
        toolchain: None,
        recipe: protocol::Recipe::default(),
        cases: vec![],
        needs: vec![],
        lock: None,
        answer: false,
        caches: vec![],
    }
}

fn offer(attempt: i64) -> FromMaster {
    FromMaster::Offer { build: 1, attempt, lease_ms: 60_000, plan: Box::new(plan()) }
}

fn ack(attempt: i64, sequence: u64) -> FromMaster {
    FromMaster::Ack { attempt, sequence }
}

fn from(attempt: i64, sequence: u64) -> Resume {
    Resume { attempt, action: ResumeAction::ResendAfter(sequence) }
}

fn drop_attempt(attempt: i64) -> Resume {
    Resume { attempt, action: ResumeAction::Drop("reassigned".into()) }
}

fn stop(attempt: i64, reason: &str) -> SessionOutput {
    SessionOutput::Stop { attempt, reason: reason.into() }
}

impl Conversation {
    fn new(slots: u32, held: &[(i64, u64)]) -> Conversation {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open_or_create(&folder.path().join("key")).unwrap();
        let identity = WorkerIdentity { key, facts: WorkerFacts::default(), slots };
        Conversation {
            session: Session::new(identity, held.iter().copied(), 1),
            start: Instant::now(),
            now_ms: 0,
            takes_pauses: true,
        }
    }

    fn open(slots: u32) -> Conversation {
        let mut conversation = Conversation::new(slots, &[]);
        conversation.connect(vec![]);
        conversation
    }

    fn on(&mut self, input: SessionInput) -> Vec<SessionOutput> {
        let outputs = self.session.on(input, self.start + Duration::from_millis(self.now_ms));
        // What the volunteer reads in the log is tested where it matters.
        outputs.into_iter().filter(|o| !matches!(o, SessionOutput::Log(_))).collect()
    }

    fn receive(&mut self, message: FromMaster) -> Vec<SessionOutput> {
        self.on(SessionInput::Received(Box::new(message)))
    }

    /// Connects and completes the handshake; returns the attempts that the worker holds, and what it does when welcomed.
    fn connect(&mut self, held: Vec<Resume>) -> (Vec<protocol::HeldAttempt>, Vec<SessionOutput>) {
        self.on(SessionInput::Opened { artifacts: vec![] });
        self.receive(FromMaster::Challenge { protocol: protocol::VERSION, nonce: "n".into() });
        let sent = match self.session.next_outgoing() {
            Some(Outgoing::Message(hello)) => match *hello {
                FromWorker::Hello { held, .. } => held,
                other => panic!("expected a hello, not {other:?}"),
            },
            other => panic!("expected a hello, not {other:?}"),
        };
        let mut outputs = self.receive(FromMaster::Welcome {
            name: "attic".into(),
            heartbeat_ms: HEARTBEAT_MS,
            token: "t".into(),
            held,
            takes_progress: true,
            takes_pauses: self.takes_pauses,
        });
        assert_eq!(outputs.remove(0), SessionOutput::Admitted { name: "attic".into(), token: "t".into() });
        (sent, outputs)
    }

    fn begin(&mut self, attempt: i64) {
        let outputs = self.receive(offer(attempt));
        assert_eq!(outputs, [SessionOutput::Begin { build: 1, attempt, plan: Box::new(plan()) }]);
        assert_eq!(self.send(100), [format!("accept {attempt}")]);
    }

    fn write(&mut self, attempt: i64, sequences: std::ops::RangeInclusive<u64>) {
        for sequence in sequences {
            assert_eq!(
                self.on(SessionInput::RecordWritten { attempt, sequence, more: MoreToReport::Yes }),
                []
            );
        }
    }

    fn finish(&mut self, attempt: i64, sequence: u64) -> Vec<SessionOutput> {
        self.on(SessionInput::RecordWritten { attempt, sequence, more: MoreToReport::No })
    }

    /// Sends all that may be sent; each record has this size.
    fn send(&mut self, bytes: usize) -> Vec<String> {
        let mut sent = Vec::new();
        while self.session.has_outgoing() {
            sent.push(match self.session.next_outgoing().expect("it has something to send") {
                Outgoing::Message(message) => match *message {
                    FromWorker::Accept { attempt } => format!("accept {attempt}"),
                    FromWorker::Decline { attempt, reason } => format!("decline {attempt}: {reason}"),
                    FromWorker::Heartbeat => "heartbeat".into(),
                    FromWorker::Slots { slots } => format!("slots {slots}"),
                    FromWorker::Pause { reason, until_ms } => format!("pause {until_ms:?}: {reason}"),
                    FromWorker::Resume => "resume".into(),
                    FromWorker::Terms { terms } => format!("terms, network: {}", !terms.no_network),
                    other => panic!("{other:?}"),
                },
                Outgoing::Record { attempt, sequence } => {
                    self.session.record_sent(attempt, sequence, bytes);
                    format!("{attempt}.{sequence}")
                }
            });
        }
        assert_eq!(self.session.next_outgoing(), None);
        sent
    }

    fn at(&mut self, ms: u64) -> &mut Conversation {
        self.now_ms = ms;
        self
    }
}

#[test]
fn an_attempt_is_reported_in_order_and_forgotten_once_all_of_it_is_acknowledged() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=2);
    assert_eq!(conversation.send(100), ["7.1", "7.2"]);
    assert_eq!(conversation.finish(7, 3), []);
    assert_eq!(conversation.send(100), ["7.3"]);
    assert_eq!(conversation.receive(ack(7, 2)), []);
    assert_eq!(conversation.receive(ack(7, 3)), [SessionOutput::Forget { attempt: 7 }]);
    assert_eq!(conversation.receive(ack(7, 3)), []);
    assert!(conversation.session.is_idle());
}

#[test]
fn after_a_reconnect_it_goes_on_after_what_the_master_has() {
    for (has, again) in [(0, vec!["7.1", "7.2", "7.3"]), (2, vec!["7.3"]), (3, vec![])] {
        let mut conversation = Conversation::open(1);
        conversation.begin(7);
        conversation.write(7, 1..=3);
        conversation.send(100);
        conversation.on(SessionInput::Disconnected("cut".into()));
        assert!(!conversation.session.has_outgoing());
        let (held, outputs) = conversation.connect(vec![from(7, has)]);
        assert_eq!(held, [protocol::HeldAttempt { attempt: 7, last_sequence: 3 }]);
        assert_eq!(outputs, []);
        assert_eq!(conversation.send(100), again);
    }
}

#[test]
fn a_build_that_ends_while_the_master_is_away_is_reported_when_it_is_back() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.write(7, 1..=2);
    conversation.finish(7, 3);
    conversation.connect(vec![from(7, 0)]);
    assert_eq!(conversation.send(100), ["7.1", "7.2", "7.3"]);
    assert_eq!(conversation.receive(ack(7, 3)), [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn the_next_welcome_makes_up_for_a_lost_last_ack() {
    let mut conversation = Conversation::new(1, &[(7, 9)]);
    let (_, outputs) = conversation.connect(vec![from(7, 9)]);
    assert_eq!(outputs, [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn an_attempt_that_welcome_does_not_name_goes_on_from_its_last_ack() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=3);
    conversation.send(100);
    conversation.receive(ack(7, 1));
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.connect(vec![]);
    assert_eq!(conversation.send(100), ["7.2", "7.3"]);
}

#[test]
fn a_dropped_attempt_is_stopped_and_not_reported_and_keeps_its_slot_until_it_has_ended() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=2);
    conversation.on(SessionInput::Disconnected("cut".into()));
    let (_, outputs) = conversation.connect(vec![drop_attempt(7)]);
    assert_eq!(outputs, [stop(7, "reassigned")]);
    conversation.write(7, 3..=3);
    assert_eq!(conversation.receive(offer(8)), []);
    assert_eq!(conversation.send(100), ["decline 8: every slot is busy"]);
    conversation.on(SessionInput::Disconnected("cut".into()));
    assert_eq!(conversation.connect(vec![]).0, []);
    assert_eq!(conversation.finish(7, 4), [SessionOutput::Forget { attempt: 7 }]);
    conversation.begin(9);
}

#[test]
fn a_dropped_attempt_that_has_ended_is_forgotten() {
    let mut conversation = Conversation::new(1, &[(7, 9)]);
    assert_eq!(conversation.connect(vec![drop_attempt(7)]).1, [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn an_attempt_of_which_the_master_has_more_than_was_written_is_abandoned() {
    let mut conversation = Conversation::new(1, &[(7, 3)]);
    let (_, outputs) = conversation.connect(vec![from(7, 5)]);
    assert_eq!(outputs[0], SessionOutput::Forget { attempt: 7 });
    assert!(matches!(outputs[1], SessionOutput::Dial(_)), "{outputs:?}");
    assert_eq!(conversation.connect(vec![]).0, [], "the next hello does not name it");
}

#[test]
fn an_ack_for_records_never_written_is_ignored() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=1);
    assert_eq!(conversation.receive(ack(7, 99)), []);
    assert_eq!(conversation.receive(ack(404, 1)), []);
    conversation.finish(7, 2);
    assert_eq!(conversation.send(100), ["7.1", "7.2"]);
}

#[test]
fn offers_are_accepted_while_a_slot_is_free() {
    let mut conversation = Conversation::open(2);
    conversation.begin(7);
    conversation.begin(8);
    assert_eq!(conversation.receive(offer(9)), []);
    assert_eq!(conversation.receive(offer(7)), [], "offered twice, begun once");
    assert_eq!(conversation.send(100), ["decline 9: every slot is busy", "accept 7"]);
    conversation.finish(7, 1);
    assert_eq!(conversation.receive(offer(7)), []);
    assert_eq!(conversation.send(100), ["decline 7: this attempt is over", "7.1"]);
    conversation.begin(10);
}

#[test]
fn a_cancelled_attempt_is_stopped_and_its_end_is_reported() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    let cancel = || FromMaster::Cancel { attempt: 7, reason: "superseded".into() };
    assert_eq!(conversation.receive(cancel()), [stop(7, "superseded")]);
    conversation.finish(7, 1);
    assert_eq!(conversation.receive(cancel()), []);
    assert_eq!(conversation.send(100), ["7.1"]);
}

#[test]
fn the_window_limits_what_is_in_flight() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=8);
    let half = attempts::WINDOW_BYTES / 2;
    assert_eq!(conversation.send(half), ["7.1", "7.2"]);
    conversation.receive(ack(7, 1));
    assert_eq!(conversation.send(half), ["7.3"]);
    conversation.receive(ack(7, 3));
    assert_eq!(conversation.send(half), ["7.4", "7.5"]);
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.connect(vec![from(7, 3)]);
    assert_eq!(conversation.send(half), ["7.4", "7.5"]);
}

#[test]
fn builds_report_in_turn() {
    let mut conversation = Conversation::open(2);
    conversation.begin(7);
    conversation.begin(8);
    conversation.write(7, 1..=3);
    conversation.write(8, 1..=2);
    assert_eq!(conversation.send(100), ["7.1", "8.1", "7.2", "8.2", "7.3"]);
}

#[test]
fn heartbeats_are_on_time_and_three_periods_of_silence_end_the_connection() {
    let mut conversation = Conversation::open(1);
    for beat in 1..=2 {
        assert_eq!(
            conversation.session.wake_at(),
            Some(conversation.start + Duration::from_millis(beat * HEARTBEAT_MS))
        );
        assert_eq!(conversation.at(beat * HEARTBEAT_MS).on(SessionInput::Tick), []);
        assert_eq!(conversation.send(100), ["heartbeat"]);
    }
    conversation.at(2500).on(SessionInput::Alive);
    assert_eq!(conversation.at(5400).on(SessionInput::Tick), []);
    assert!(matches!(conversation.at(5500).on(SessionInput::Tick)[..], [SessionOutput::Dial(_)]));
    assert_eq!(conversation.session.wake_at(), None);
}

#[test]
fn heartbeats_do_not_pile_up_on_a_stuck_connection() {
    let mut conversation = Conversation::open(1);
    for ms in [1000, 2000, 3000] {
        conversation.at(ms).on(SessionInput::Alive);
        conversation.on(SessionInput::Tick);
    }
    assert_eq!(conversation.send(100), ["heartbeat"]);
}

#[test]
fn a_master_that_floods_a_stuck_connection_is_left() {
    let mut conversation = Conversation::open(1);
    let outputs: Vec<SessionOutput> =
        (1..=MAX_OUTBOX as i64 + 1).flat_map(|n| conversation.receive(offer(n))).collect();
    assert!(matches!(outputs.last(), Some(SessionOutput::Dial(_))));
}

#[test]
fn a_master_that_does_not_complete_the_handshake_is_left() {
    let mut conversation = Conversation::new(1, &[]);
    conversation.on(SessionInput::Opened { artifacts: vec![] });
    assert_eq!(conversation.at(19_999).on(SessionInput::Tick), []);
    assert!(matches!(conversation.at(20_000).on(SessionInput::Tick)[..], [SessionOutput::Dial(_)]));
}

/// The pause in seconds, and what the volunteer reads.
fn pause(outputs: Vec<SessionOutput>) -> (f64, Option<String>) {
    match &outputs[..] {
        [SessionOutput::Dial(pause)] => (pause.as_secs_f64(), None),
        [SessionOutput::Dial(pause), SessionOutput::Log(text)] => (pause.as_secs_f64(), Some(text.clone())),
        other => panic!("expected a pause, not {other:?}"),
    }
}

#[test]
fn a_worker_that_is_not_approved_yet_retries_slowly_and_logs_the_reason_once() {
    let mut conversation = Conversation::new(1, &[]);
    for time in 0..10 {
        conversation.on(SessionInput::Opened { artifacts: vec![] });
        let refused = FromMaster::Refused { reason: "key 12345678 is not approved yet".into() };
        let (seconds, logged) =
            pause(conversation.session.on(SessionInput::Received(Box::new(refused)), conversation.start));
        assert!((4.0..=6.0).contains(&seconds), "{seconds}");
        assert_eq!(logged.is_some(), time == 0);
        assert!(logged.is_none_or(|text| text.contains("key 12345678 is not approved yet")));
    }
}

#[test]
fn a_master_of_another_version_is_dialed_rarely() {
    let mut conversation = Conversation::new(1, &[]);
    conversation.on(SessionInput::Opened { artifacts: vec![] });
    let challenge = FromMaster::Challenge { protocol: protocol::VERSION + 1, nonce: "n".into() };
    let (seconds, logged) =
        pause(conversation.session.on(SessionInput::Received(Box::new(challenge)), conversation.start));
    assert!(seconds >= 48.0, "{seconds}");
    assert!(logged.unwrap().starts_with("the master speaks protocol version 3, and this worker version 2"));
}

#[test]
fn a_worker_that_was_fenced_does_not_fight_for_its_session() {
    let mut conversation = Conversation::open(1);
    let refused = FromMaster::Refused { reason: "the same key connected again".into() };
    assert!(
        pause(conversation.session.on(SessionInput::Received(Box::new(refused)), conversation.start)).0
            >= 48.0
    );
}

#[test]
fn a_message_that_does_not_fit_the_state_ends_the_connection() {
    let mut conversation = Conversation::new(1, &[]);
    conversation.on(SessionInput::Opened { artifacts: vec![] });
    assert!(matches!(conversation.receive(offer(1))[..], [SessionOutput::Dial(_)]));
    assert_eq!(conversation.receive(offer(1)), [], "and what still arrives on it is ignored");
    conversation.connect(vec![]);
    let challenge = FromMaster::Challenge { protocol: protocol::VERSION, nonce: "n".into() };
    assert!(matches!(conversation.receive(challenge)[..], [SessionOutput::Dial(_)]));
}

#[test]
fn a_draining_master_offers_builds_again_on_the_next_connection() {
    let mut conversation = Conversation::open(1);
    conversation.receive(FromMaster::Drain { reason: "restart".into() });
    conversation.receive(offer(1));
    assert_eq!(conversation.send(100), ["decline 1: no more builds on this connection"]);
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.connect(vec![]);
    conversation.begin(2);
}

#[test]
fn a_worker_that_is_stopped_stops_its_builds_and_takes_no_more() {
    let mut conversation = Conversation::open(3);
    conversation.begin(7);
    conversation.begin(8);
    conversation.finish(7, 1);
    let reason = "the worker was stopped by its owner".to_string();
    assert_eq!(conversation.on(SessionInput::Stop), [SessionOutput::HandBack { attempt: 8, reason }]);
    conversation.receive(offer(9));
    assert!(conversation.send(100).contains(&"decline 9: the worker is stopping".to_string()));
    conversation.finish(8, 1);
    conversation.send(100);
    assert!(!conversation.session.is_idle());
    conversation.receive(ack(7, 1));
    conversation.receive(ack(8, 1));
    assert!(conversation.session.is_idle());
}

#[test]
fn a_worker_that_finishes_first_takes_no_more_builds_and_is_idle_once_all_is_reported() {
    let mut conversation = Conversation::open(2);
    conversation.begin(7);
    assert_eq!(conversation.on(SessionInput::Finish), []);
    conversation.receive(offer(8));
    assert_eq!(conversation.send(100), ["slots 0", "decline 8: the worker is stopping"]);
    conversation.finish(7, 1);
    assert_eq!(conversation.send(100), ["7.1"]);
    assert!(!conversation.session.is_idle());
    conversation.receive(ack(7, 1));
    assert!(conversation.session.is_idle());
}

#[test]
fn a_worker_that_finishes_while_the_master_is_away_offers_no_slot_in_its_next_hello() {
    let mut conversation = Conversation::open(2);
    conversation.begin(7);
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.on(SessionInput::Finish);
    assert!(!conversation.session.is_idle());
    conversation.on(SessionInput::Opened { artifacts: vec![] });
    conversation.receive(FromMaster::Challenge { protocol: protocol::VERSION, nonce: "n".into() });
    let Some(Outgoing::Message(hello)) = conversation.session.next_outgoing() else {
        panic!("expected a hello after the challenge")
    };
    assert!(matches!(*hello, FromWorker::Hello { slots: 0, .. }), "{hello:?}");
}

/// The master keeps what it has, and shows why the rest does not count.
#[test]
fn a_reassigned_attempt_is_stopped_and_reported_to_its_end() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=2);
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.connect(vec![from(7, 1)]);
    let cancel = FromMaster::Cancel { attempt: 7, reason: "reassigned".into() };
    assert_eq!(conversation.receive(cancel), [stop(7, "reassigned")]);
    conversation.finish(7, 3);
    assert_eq!(conversation.send(100), ["7.2", "7.3"]);
    assert_eq!(conversation.receive(ack(7, 3)), [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn an_attempt_whose_spool_cannot_be_read_is_abandoned_and_the_next_hello_omits_it() {
    let mut conversation = Conversation::open(1);
    conversation.begin(7);
    conversation.write(7, 1..=1);
    let outputs = conversation.on(SessionInput::SpoolUnreadable { attempt: 7, detail: "bad disk".into() });
    assert_eq!(outputs[0], stop(7, "bad disk"));
    assert!(matches!(outputs[1], SessionOutput::Dial(_)));
    assert_eq!(conversation.connect(vec![]).0, []);
}

#[test]
fn pauses_between_dials_grow_until_a_connection_lasts() {
    let mut conversation = Conversation::new(1, &[]);
    let longest = |conversation: &mut Conversation| -> f64 {
        (0..10)
            .map(|_| pause(conversation.on(SessionInput::Disconnected("refused".into()))).0)
            .fold(0.0, f64::max)
    };
    assert!(longest(&mut conversation) > 2.0);
    conversation.connect(vec![]);
    conversation.at(HEARTBEAT_MS).on(SessionInput::Tick);
    assert!(pause(conversation.on(SessionInput::Disconnected("cut".into()))).0 <= 0.5);
}

fn progress(attempt: i64, objects: u64) -> SessionInput {
    let what = "the source".to_string();
    let progress = protocol::FetchProgress { what, objects, ..protocol::FetchProgress::default() };
    SessionInput::Progress { attempt, progress }
}

/// The objects that each report of progress names which waits to be sent.
fn reported(conversation: &mut Conversation) -> Vec<(i64, u64)> {
    std::iter::from_fn(|| conversation.session.next_outgoing())
        .filter_map(|outgoing| match outgoing {
            Outgoing::Message(message) => match *message {
                FromWorker::Progress { attempt, progress } => Some((attempt, progress.objects)),
                _ => None,
            },
            Outgoing::Record { .. } => None,
        })
        .collect()
}

#[test]
fn of_each_attempt_only_the_newest_progress_waits_and_none_outlives_its_connection() {
    let mut conversation = Conversation::open(2);
    for (attempt, objects) in [(1, 10), (2, 20), (1, 30)] {
        conversation.on(progress(attempt, objects));
    }
    assert_eq!(reported(&mut conversation), [(2, 20), (1, 30)]);
    for attempt in 0..1000 {
        conversation.on(progress(attempt, 1));
    }
    assert!(reported(&mut conversation).len() <= MAX_OUTBOX / 2, "they leave room for answers");
    conversation.on(progress(1, 40));
    conversation.on(SessionInput::Disconnected("gone".into()));
    conversation.on(progress(1, 50));
    conversation.connect(vec![]);
    assert_eq!(reported(&mut conversation), []);
}
