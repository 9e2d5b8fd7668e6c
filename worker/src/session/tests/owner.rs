//! What the owner decides while the worker runs: pauses, terms, slots and another key.

use super::*;

fn notice(reason: &str) -> PauseNotice {
    PauseNotice { reason: reason.into(), until_ms: Some(5) }
}

#[test]
fn a_pause_is_told_to_the_master_and_nothing_is_begun_meanwhile() {
    let mut conversation = Conversation::open(2);
    assert_eq!(conversation.on(SessionInput::Owner(OwnerInput::Pause(Some(notice("hours"))))), []);
    assert_eq!(conversation.send(0), ["slots 0", "pause Some(5): hours"]);
    assert_eq!(conversation.receive(offer(7)), []);
    assert_eq!(conversation.send(0), ["decline 7: the worker is paused by its owner: hours"]);
    // The same again is no news.
    assert_eq!(conversation.on(SessionInput::Owner(OwnerInput::Pause(Some(notice("hours"))))), []);
    assert_eq!(conversation.send(0), Vec::<String>::new());
    conversation.on(SessionInput::Owner(OwnerInput::Pause(None)));
    assert_eq!(conversation.send(0), ["slots 2", "resume"]);
    conversation.begin(8);
}

#[test]
fn a_pause_outlives_the_connection() {
    let mut conversation = Conversation::open(2);
    conversation.on(SessionInput::Owner(OwnerInput::Pause(Some(notice("hours")))));
    conversation.on(SessionInput::Disconnected("cut".into()));
    conversation.on(SessionInput::Owner(OwnerInput::Pause(Some(notice("in use")))));
    conversation.connect(vec![]);
    assert_eq!(conversation.send(0), ["pause Some(5): in use"]);
}

#[test]
fn a_master_that_knows_no_pauses_is_told_the_slots_alone() {
    let mut conversation = Conversation::new(2, &[]);
    conversation.takes_pauses = false;
    conversation.connect(vec![]);
    conversation.on(SessionInput::Owner(OwnerInput::Pause(Some(notice("hours")))));
    conversation.on(SessionInput::Owner(OwnerInput::Terms(WorkerTerms {
        no_network: true,
        ..WorkerTerms::default()
    })));
    assert_eq!(conversation.send(0), ["slots 0"]);
}

#[test]
fn running_builds_are_handed_back_where_the_master_knows_the_word() {
    for takes_pauses in [true, false] {
        let mut conversation = Conversation::new(1, &[]);
        conversation.takes_pauses = takes_pauses;
        conversation.connect(vec![]);
        conversation.begin(7);
        let outputs = conversation.on(SessionInput::HandBack("in use".into()));
        let expected = match takes_pauses {
            true => SessionOutput::HandBack { attempt: 7, reason: "in use".into() },
            false => stop(7, "in use"),
        };
        assert_eq!(outputs, [expected]);
    }
}

#[test]
fn what_the_owner_does_not_allow_is_declined() {
    let mut conversation = Conversation::open(1);
    conversation.on(SessionInput::Owner(OwnerInput::Terms(WorkerTerms {
        memory_bytes: Some(1 << 30),
        ..WorkerTerms::default()
    })));
    assert_eq!(conversation.send(0), ["terms, network: true"]);
    conversation.receive(offer(7));
    let declined = conversation.send(0).remove(0);
    assert!(declined.starts_with("decline 7: the worker's owner allows 1024 MiB of memory"), "{declined}");
}

#[test]
fn the_slots_change_while_the_worker_runs() {
    let mut conversation = Conversation::open(1);
    conversation.on(SessionInput::Owner(OwnerInput::Slots(3)));
    conversation.on(SessionInput::Owner(OwnerInput::Slots(2)));
    assert_eq!(conversation.send(0), ["slots 2"], "only the newest is of use");
}

/// The key that the master takes is the one to keep; until it takes the new one, both are tried in turn.
#[test]
fn the_next_key_is_used_once_the_old_one_is_refused() {
    let mut conversation = Conversation::new(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let next = Key::open_or_create(&folder.path().join("key")).unwrap();
    let (old, new) = (conversation.session.identity.key.public(), next.public());
    conversation.on(SessionInput::Owner(OwnerInput::NextKey(next)));
    let used = |conversation: &mut Conversation, is_taken: bool| {
        conversation.on(SessionInput::Opened { artifacts: vec![] });
        conversation.receive(FromMaster::Challenge { protocol: protocol::VERSION, nonce: "n".into() });
        let Some(Outgoing::Message(hello)) = conversation.session.next_outgoing() else { panic!("no hello") };
        let FromWorker::Hello { key, .. } = *hello else { panic!("no hello") };
        if !is_taken {
            conversation.receive(FromMaster::Refused { reason: "unknown".into() });
        }
        key
    };
    assert_eq!(used(&mut conversation, false), old);
    assert_eq!(used(&mut conversation, false), new);
    assert_eq!(used(&mut conversation, false), old);
    conversation.on(SessionInput::Disconnected(String::new()));
    let (_, outputs) = conversation.connect(vec![]);
    assert_eq!(outputs, [SessionOutput::KeyChanged]);
    assert_eq!(conversation.session.identity.key.public(), new);
}
