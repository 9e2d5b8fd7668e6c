use super::*;

/// A worker and a master's words. Times are milliseconds after the start.
struct Talk {
    session: Session,
    start: Instant,
    now_ms: u64,
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

fn drop_it(attempt: i64) -> Resume {
    Resume { attempt, action: ResumeAction::Drop("given away".into()) }
}

fn stop(attempt: i64, reason: &str) -> SessionOutput {
    SessionOutput::Stop { attempt, reason: reason.into() }
}

impl Talk {
    fn new(slots: u32, held: &[(i64, u64)]) -> Talk {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open_or_make(&folder.path().join("key")).unwrap();
        let introduction = WorkerIdentity { key, facts: WorkerFacts::default(), slots };
        Talk {
            session: Session::new(introduction, held.iter().copied(), 1),
            start: Instant::now(),
            now_ms: 0,
        }
    }

    fn open(slots: u32) -> Talk {
        let mut talk = Talk::new(slots, &[]);
        talk.connect(vec![]);
        talk
    }

    fn on(&mut self, input: SessionInput) -> Vec<SessionOutput> {
        let outputs = self.session.on(input, self.start + Duration::from_millis(self.now_ms));
        // What the volunteer reads is tested where it matters.
        outputs.into_iter().filter(|o| !matches!(o, SessionOutput::Tell(_))).collect()
    }

    fn hear(&mut self, message: FromMaster) -> Vec<SessionOutput> {
        self.on(SessionInput::Heard(Box::new(message)))
    }

    /// Dials and greets; returns what the worker said it holds, and what it does when welcome.
    fn connect(&mut self, held: Vec<Resume>) -> (Vec<protocol::HeldAttempt>, Vec<SessionOutput>) {
        self.on(SessionInput::Opened { artifacts: vec![] });
        self.hear(FromMaster::Challenge { protocol: 1, nonce: "n".into() });
        let said = match self.session.next() {
            Some(Outgoing::Message(hello)) => match *hello {
                FromWorker::Hello { held, .. } => held,
                other => panic!("expected a hello, not {other:?}"),
            },
            other => panic!("expected a hello, not {other:?}"),
        };
        let mut outputs = self.hear(FromMaster::Welcome {
            name: "attic".into(),
            heartbeat_ms: HEARTBEAT_MS,
            token: "t".into(),
            held,
        });
        assert_eq!(outputs.remove(0), SessionOutput::Admitted { token: "t".into() });
        (said, outputs)
    }

    fn begin(&mut self, attempt: i64) {
        let outputs = self.hear(offer(attempt));
        assert_eq!(outputs, [SessionOutput::Begin { attempt, plan: Box::new(plan()) }]);
        assert_eq!(self.send(100), [format!("accept {attempt}")]);
    }

    fn write(&mut self, attempt: i64, sequences: std::ops::RangeInclusive<u64>) {
        for sequence in sequences {
            assert_eq!(self.on(SessionInput::Written { attempt, sequence, word: MoreToReport::One }), []);
        }
    }

    fn finish(&mut self, attempt: i64, sequence: u64) -> Vec<SessionOutput> {
        self.on(SessionInput::Written { attempt, sequence, word: MoreToReport::Last })
    }

    /// Sends all that may be sent, records being of this size.
    fn send(&mut self, bytes: usize) -> Vec<String> {
        let mut said = Vec::new();
        while self.session.has_next() {
            said.push(match self.session.next().expect("it has a next") {
                Outgoing::Message(message) => match *message {
                    FromWorker::Accept { attempt } => format!("accept {attempt}"),
                    FromWorker::Decline { attempt, reason } => format!("decline {attempt}: {reason}"),
                    FromWorker::Heartbeat => "heartbeat".into(),
                    FromWorker::Slots { slots } => format!("slots {slots}"),
                    other => panic!("{other:?}"),
                },
                Outgoing::Record { attempt, sequence } => {
                    self.session.sent(attempt, sequence, bytes);
                    format!("{attempt}.{sequence}")
                }
            });
        }
        assert_eq!(self.session.next(), None);
        said
    }

    fn at(&mut self, ms: u64) -> &mut Talk {
        self.now_ms = ms;
        self
    }
}

#[test]
fn an_attempt_is_told_in_order_and_forgotten_once_all_of_it_is_acknowledged() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=2);
    assert_eq!(talk.send(100), ["7.1", "7.2"]);
    assert_eq!(talk.finish(7, 3), []);
    assert_eq!(talk.send(100), ["7.3"]);
    assert_eq!(talk.hear(ack(7, 2)), []);
    assert_eq!(talk.hear(ack(7, 3)), [SessionOutput::Forget { attempt: 7 }]);
    assert_eq!(talk.hear(ack(7, 3)), []);
    assert!(talk.session.is_at_rest());
}

#[test]
fn after_a_break_it_goes_on_behind_what_the_master_has() {
    for (has, again) in [(0, vec!["7.1", "7.2", "7.3"]), (2, vec!["7.3"]), (3, vec![])] {
        let mut talk = Talk::open(1);
        talk.begin(7);
        talk.write(7, 1..=3);
        talk.send(100);
        talk.on(SessionInput::Lost("cut".into()));
        assert!(!talk.session.has_next());
        let (held, outputs) = talk.connect(vec![from(7, has)]);
        assert_eq!(held, [protocol::HeldAttempt { attempt: 7, last_sequence: 3 }]);
        assert_eq!(outputs, []);
        assert_eq!(talk.send(100), again);
    }
}

#[test]
fn a_build_that_ends_while_the_master_is_away_is_delivered_when_it_is_back() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.on(SessionInput::Lost("cut".into()));
    talk.write(7, 1..=2);
    talk.finish(7, 3);
    talk.connect(vec![from(7, 0)]);
    assert_eq!(talk.send(100), ["7.1", "7.2", "7.3"]);
    assert_eq!(talk.hear(ack(7, 3)), [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn a_lost_last_ack_is_made_good_by_the_next_welcome() {
    let mut talk = Talk::new(1, &[(7, 9)]);
    let (_, outputs) = talk.connect(vec![from(7, 9)]);
    assert_eq!(outputs, [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn an_attempt_that_welcome_does_not_name_goes_on_from_its_last_ack() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=3);
    talk.send(100);
    talk.hear(ack(7, 1));
    talk.on(SessionInput::Lost("cut".into()));
    talk.connect(vec![]);
    assert_eq!(talk.send(100), ["7.2", "7.3"]);
}

#[test]
fn a_dropped_attempt_is_stopped_says_nothing_and_keeps_its_slot_until_it_has_ended() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=2);
    talk.on(SessionInput::Lost("cut".into()));
    let (_, outputs) = talk.connect(vec![drop_it(7)]);
    assert_eq!(outputs, [stop(7, "given away")]);
    talk.write(7, 3..=3);
    assert_eq!(talk.hear(offer(8)), []);
    assert_eq!(talk.send(100), ["decline 8: every slot is busy"]);
    talk.on(SessionInput::Lost("cut".into()));
    assert_eq!(talk.connect(vec![]).0, []);
    assert_eq!(talk.finish(7, 4), [SessionOutput::Forget { attempt: 7 }]);
    talk.begin(9);
}

#[test]
fn a_dropped_attempt_that_has_ended_is_forgotten() {
    let mut talk = Talk::new(1, &[(7, 9)]);
    assert_eq!(talk.connect(vec![drop_it(7)]).1, [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn a_master_that_has_more_than_was_written_loses_the_attempt() {
    let mut talk = Talk::new(1, &[(7, 3)]);
    let (_, outputs) = talk.connect(vec![from(7, 5)]);
    assert_eq!(outputs[0], SessionOutput::Forget { attempt: 7 });
    assert!(matches!(outputs[1], SessionOutput::Dial(_)), "{outputs:?}");
    assert_eq!(talk.connect(vec![]).0, [], "the next hello names it no more");
}

#[test]
fn an_ack_for_words_never_written_is_not_believed() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=1);
    assert_eq!(talk.hear(ack(7, 99)), []);
    assert_eq!(talk.hear(ack(404, 1)), []);
    talk.finish(7, 2);
    assert_eq!(talk.send(100), ["7.1", "7.2"]);
}

#[test]
fn offers_are_taken_while_a_slot_is_free() {
    let mut talk = Talk::open(2);
    talk.begin(7);
    talk.begin(8);
    assert_eq!(talk.hear(offer(9)), []);
    assert_eq!(talk.hear(offer(7)), [], "said twice, begun once");
    assert_eq!(talk.send(100), ["decline 9: every slot is busy", "accept 7"]);
    talk.finish(7, 1);
    assert_eq!(talk.hear(offer(7)), []);
    assert_eq!(talk.send(100), ["decline 7: this attempt is over", "7.1"]);
    talk.begin(10);
}

#[test]
fn a_cancelled_attempt_is_stopped_and_its_end_is_told() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    let cancel = || FromMaster::Cancel { attempt: 7, reason: "superseded".into() };
    assert_eq!(talk.hear(cancel()), [stop(7, "superseded")]);
    talk.finish(7, 1);
    assert_eq!(talk.hear(cancel()), []);
    assert_eq!(talk.send(100), ["7.1"]);
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=8);
    let half = attempts::WINDOW_BYTES / 2;
    assert_eq!(talk.send(half), ["7.1", "7.2"]);
    talk.hear(ack(7, 1));
    assert_eq!(talk.send(half), ["7.3"]);
    talk.hear(ack(7, 3));
    assert_eq!(talk.send(half), ["7.4", "7.5"]);
    talk.on(SessionInput::Lost("cut".into()));
    talk.connect(vec![from(7, 3)]);
    assert_eq!(talk.send(half), ["7.4", "7.5"]);
}

#[test]
fn builds_speak_in_turn() {
    let mut talk = Talk::open(2);
    talk.begin(7);
    talk.begin(8);
    talk.write(7, 1..=3);
    talk.write(8, 1..=2);
    assert_eq!(talk.send(100), ["7.1", "8.1", "7.2", "8.2", "7.3"]);
}

#[test]
fn heartbeats_come_in_time_and_three_silent_ones_end_the_connection() {
    let mut talk = Talk::open(1);
    for beat in 1..=2 {
        assert_eq!(talk.session.wake_at(), Some(talk.start + Duration::from_millis(beat * HEARTBEAT_MS)));
        assert_eq!(talk.at(beat * HEARTBEAT_MS).on(SessionInput::Tick), []);
        assert_eq!(talk.send(100), ["heartbeat"]);
    }
    talk.at(2500).on(SessionInput::Alive);
    assert_eq!(talk.at(5400).on(SessionInput::Tick), []);
    assert!(matches!(talk.at(5500).on(SessionInput::Tick)[..], [SessionOutput::Dial(_)]));
    assert_eq!(talk.session.wake_at(), None);
}

#[test]
fn heartbeats_do_not_pile_up_behind_a_stuck_connection() {
    let mut talk = Talk::open(1);
    for ms in [1000, 2000, 3000] {
        talk.at(ms).on(SessionInput::Alive);
        talk.on(SessionInput::Tick);
    }
    assert_eq!(talk.send(100), ["heartbeat"]);
}

#[test]
fn a_master_that_floods_a_stuck_connection_is_left() {
    let mut talk = Talk::open(1);
    let outputs: Vec<SessionOutput> = (1..=MAX_OUTBOX as i64 + 1).flat_map(|n| talk.hear(offer(n))).collect();
    assert!(matches!(outputs.last(), Some(SessionOutput::Dial(_))));
}

#[test]
fn a_master_that_does_not_greet_is_left() {
    let mut talk = Talk::new(1, &[]);
    talk.on(SessionInput::Opened { artifacts: vec![] });
    assert_eq!(talk.at(19_999).on(SessionInput::Tick), []);
    assert!(matches!(talk.at(20_000).on(SessionInput::Tick)[..], [SessionOutput::Dial(_)]));
}

/// The pause in seconds, and what the volunteer reads.
fn pause(outputs: Vec<SessionOutput>) -> (f64, Option<String>) {
    match &outputs[..] {
        [SessionOutput::Dial(pause)] => (pause.as_secs_f64(), None),
        [SessionOutput::Dial(pause), SessionOutput::Tell(text)] => (pause.as_secs_f64(), Some(text.clone())),
        other => panic!("expected a pause, not {other:?}"),
    }
}

#[test]
fn one_who_is_not_approved_yet_asks_politely_and_says_so_once() {
    let mut talk = Talk::new(1, &[]);
    for time in 0..10 {
        talk.on(SessionInput::Opened { artifacts: vec![] });
        let refused = FromMaster::Refused { reason: "key 12345678 is not approved yet".into() };
        let (seconds, told) = pause(talk.session.on(SessionInput::Heard(Box::new(refused)), talk.start));
        assert!((4.0..=6.0).contains(&seconds), "{seconds}");
        assert_eq!(told.is_some(), time == 0);
        assert!(told.is_none_or(|text| text.contains("key 12345678 is not approved yet")));
    }
}

#[test]
fn a_master_of_another_version_is_asked_slowly() {
    let mut talk = Talk::new(1, &[]);
    talk.on(SessionInput::Opened { artifacts: vec![] });
    let challenge = FromMaster::Challenge { protocol: 2, nonce: "n".into() };
    let (seconds, told) = pause(talk.session.on(SessionInput::Heard(Box::new(challenge)), talk.start));
    assert!(seconds >= 48.0, "{seconds}");
    assert!(
        told.unwrap().starts_with("the master speaks version 2 of the protocol and this worker version 1")
    );
}

#[test]
fn one_who_was_fenced_does_not_fight_for_its_place() {
    let mut talk = Talk::open(1);
    let refused = FromMaster::Refused { reason: "the same key connected again".into() };
    assert!(pause(talk.session.on(SessionInput::Heard(Box::new(refused)), talk.start)).0 >= 48.0);
}

#[test]
fn a_message_out_of_turn_ends_the_connection() {
    let mut talk = Talk::new(1, &[]);
    talk.on(SessionInput::Opened { artifacts: vec![] });
    assert!(matches!(talk.hear(offer(1))[..], [SessionOutput::Dial(_)]));
    assert_eq!(talk.hear(offer(1)), [], "and what still comes from it is not heard");
    talk.connect(vec![]);
    let challenge = FromMaster::Challenge { protocol: 1, nonce: "n".into() };
    assert!(matches!(talk.hear(challenge)[..], [SessionOutput::Dial(_)]));
}

#[test]
fn a_draining_master_sends_again_on_the_next_connection() {
    let mut talk = Talk::open(1);
    talk.hear(FromMaster::Drain { reason: "restart".into() });
    talk.hear(offer(1));
    assert_eq!(talk.send(100), ["decline 1: no more builds on this connection"]);
    talk.on(SessionInput::Lost("cut".into()));
    talk.connect(vec![]);
    talk.begin(2);
}

#[test]
fn a_worker_that_is_stopped_stops_its_builds_and_takes_no_more() {
    let mut talk = Talk::open(3);
    talk.begin(7);
    talk.begin(8);
    talk.finish(7, 1);
    assert_eq!(talk.on(SessionInput::Stop), [stop(8, "the worker was stopped by its owner")]);
    talk.hear(offer(9));
    assert!(talk.send(100).contains(&"decline 9: the worker is stopping".to_string()));
    talk.finish(8, 1);
    talk.send(100);
    assert!(!talk.session.is_at_rest());
    talk.hear(ack(7, 1));
    talk.hear(ack(8, 1));
    assert!(talk.session.is_at_rest());
}

#[test]
fn a_worker_that_finishes_first_says_that_it_takes_no_more_and_is_at_rest_once_all_is_told() {
    let mut talk = Talk::open(2);
    talk.begin(7);
    assert_eq!(talk.on(SessionInput::Finish), []);
    talk.hear(offer(8));
    assert_eq!(talk.send(100), ["slots 0", "decline 8: the worker is stopping"]);
    talk.finish(7, 1);
    assert_eq!(talk.send(100), ["7.1"]);
    assert!(!talk.session.is_at_rest());
    talk.hear(ack(7, 1));
    assert!(talk.session.is_at_rest());
}

#[test]
fn a_worker_that_finishes_while_the_master_is_away_says_so_in_its_next_hello() {
    let mut talk = Talk::open(2);
    talk.begin(7);
    talk.on(SessionInput::Lost("cut".into()));
    talk.on(SessionInput::Finish);
    assert!(!talk.session.is_at_rest());
    talk.on(SessionInput::Opened { artifacts: vec![] });
    talk.hear(FromMaster::Challenge { protocol: 1, nonce: "n".into() });
    let Some(Outgoing::Message(hello)) = talk.session.next() else { panic!("a challenge wants a hello") };
    assert!(matches!(*hello, FromWorker::Hello { slots: 0, .. }), "{hello:?}");
}

/// The master keeps what it has, and says why the rest decides nothing.
#[test]
fn an_attempt_that_was_given_away_is_stopped_and_told_to_its_end() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=2);
    talk.on(SessionInput::Lost("cut".into()));
    talk.connect(vec![from(7, 1)]);
    let cancel = FromMaster::Cancel { attempt: 7, reason: "given to another".into() };
    assert_eq!(talk.hear(cancel), [stop(7, "given to another")]);
    talk.finish(7, 3);
    assert_eq!(talk.send(100), ["7.2", "7.3"]);
    assert_eq!(talk.hear(ack(7, 3)), [SessionOutput::Forget { attempt: 7 }]);
}

#[test]
fn an_attempt_whose_spool_cannot_be_read_is_given_up_and_the_master_learns_of_it() {
    let mut talk = Talk::open(1);
    talk.begin(7);
    talk.write(7, 1..=1);
    let outputs = talk.on(SessionInput::Unreadable { attempt: 7, detail: "bad disk".into() });
    assert_eq!(outputs[0], stop(7, "bad disk"));
    assert!(matches!(outputs[1], SessionOutput::Dial(_)));
    assert_eq!(talk.connect(vec![]).0, []);
}

#[test]
fn dials_are_further_and_further_apart_until_a_connection_holds() {
    let mut talk = Talk::new(1, &[]);
    let longest = |talk: &mut Talk| -> f64 {
        (0..10).map(|_| pause(talk.on(SessionInput::Lost("refused".into()))).0).fold(0.0, f64::max)
    };
    assert!(longest(&mut talk) > 2.0);
    talk.connect(vec![]);
    talk.at(HEARTBEAT_MS).on(SessionInput::Tick);
    assert!(pause(talk.on(SessionInput::Lost("cut".into()))).0 <= 0.5);
}
