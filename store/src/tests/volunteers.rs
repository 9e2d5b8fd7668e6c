//! What operators and owners decide about a worker: each query once.

use domain::words::states::Standing;
use protocol::{Choice, WorkerTerms};

use super::*;

const DAY: i64 = 24 * 3600 * 1000;

async fn join_from(farm: &Farm, byte: u8, address: &'static str, at: Timestamp) -> Result<()> {
    let name = format!("w{byte}");
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.check_join_room(&key(byte), &WorkerFacts::default(), address).await?;
                tx.register_join_request(&key(byte), &name, &WorkerFacts::default(), at).await?;
                tx.put_join_address(&key(byte), address, at).await
            })
        })
        .await
}

async fn waiting(farm: &Farm) -> Vec<(String, String)> {
    let requests = ask!(farm, read => read.pending_requests()).unwrap();
    requests.into_iter().map(|request| (request.name, request.code)).collect()
}

#[tokio::test]
async fn one_address_takes_only_some_of_the_places() {
    let farm = Farm::new().await;
    for byte in 0..20 {
        join_from(&farm, 100 + byte, "192.0.2.1", AT).await.unwrap();
    }
    let refused = refusal(join_from(&farm, 200, "192.0.2.1", AT).await);
    assert!(refused.starts_with("too many machines of this address"), "{refused}");
    join_from(&farm, 100, "192.0.2.1", AT).await.unwrap();
    join_from(&farm, 200, "192.0.2.2", AT).await.unwrap();
    assert_eq!(waiting(&farm).await.len(), 21);
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes() {
    let farm = Farm::new().await;
    let room = |bytes: usize| {
        let facts = WorkerFacts { kernel: "x".repeat(bytes), ..WorkerFacts::default() };
        let farm = &farm;
        async move { put!(farm, tx => tx.check_join_room(&key(9), &facts, "::1")) }
    };
    room(15 << 10).await.unwrap();
    assert_eq!(refusal(room(17 << 10).await), "the machine describes itself at too great a length");
    let long = WorkerFacts { kernel: "x".repeat(15 << 10), ..WorkerFacts::default() };
    for byte in 0..69_u8 {
        let (facts, name) = (long.clone(), format!("long{byte}"));
        put!(farm, tx => tx.register_join_request(&key(100 + byte), &name, &facts, AT)).unwrap();
    }
    let refused = refusal(room(15 << 10).await);
    assert!(refused.contains("describe themselves at too great a length"), "{refused}");
}

#[tokio::test]
async fn requests_end_by_themselves_or_all_at_once() {
    let farm = Farm::new().await;
    join_from(&farm, 2, "::1", AT).await.unwrap();
    join_from(&farm, 3, "::1", Timestamp(AT.0 + DAY)).await.unwrap();
    assert_eq!(put!(farm, tx => tx.expire_joins(LATER, LATER)).unwrap(), 1);
    assert_eq!(waiting(&farm).await, [("w3".to_string(), "03030303".to_string())]);
    put!(farm, tx => tx.request_rekey(&key(1), &key(7), LATER)).unwrap();
    assert_eq!(put!(farm, tx => tx.clear_joins(LATER)).unwrap(), 2);
    assert_eq!(waiting(&farm).await, []);
    assert_eq!(ask!(farm, read => read.workers()).unwrap().len(), 1, "an approved worker stays");
}

#[tokio::test]
async fn a_machine_is_refused_by_its_name_or_code_and_may_be_let_wait_again() {
    let farm = Farm::new().await;
    let refuse = |which: &'static str| {
        let farm = &farm;
        async move { put!(farm, tx => tx.refuse_join(which, LATER)) }
    };
    join_from(&farm, 2, "::1", AT).await.unwrap();
    join_from(&farm, 3, "::1", AT).await.unwrap();
    assert_eq!(refuse("w2").await.unwrap(), "w2");
    assert_eq!(refuse("03030303").await.unwrap(), "w3");
    assert_eq!(refusal(refuse("w2").await), "this machine is refused already");
    assert_eq!(refusal(refuse("nobody").await), "there is no such worker");
    assert!(refusal(refuse("ada").await).starts_with("this worker is approved; `worker disable`"));
    put!(farm, tx => tx.enable_worker("w2", LATER)).unwrap();
    assert_eq!(waiting(&farm).await.len(), 1);
    put!(farm, tx => tx.remove_worker("w3", LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.worker_by_key(&key(3))).unwrap(), None);
}

#[tokio::test]
async fn a_worker_gets_its_new_key_when_the_operator_approves_it() {
    let farm = Farm::new().await;
    let rekey = |from: u8, to: u8| {
        let farm = &farm;
        async move { put!(farm, tx => tx.request_rekey(&key(from), &key(to), AT)) }
    };
    join_from(&farm, 2, "::1", AT).await.unwrap();
    rekey(1, 7).await.unwrap();
    rekey(1, 7).await.unwrap();
    assert_eq!(refusal(rekey(1, 2).await), "another worker has this key");
    assert!(refusal(rekey(2, 8).await).starts_with("this key is not that of a worker that may work"));
    assert!(waiting(&farm).await.contains(&("ada".to_string(), "07070707".to_string())));
    assert!(
        ask!(farm, read => read.worker_by_key(&key(1))).unwrap().is_some(),
        "the old one is valid until then"
    );
    assert_eq!(put!(farm, tx => tx.approve_rekey("99999999", LATER)).unwrap(), None);
    assert_eq!(put!(farm, tx => tx.approve_rekey("07070707", LATER)).unwrap().as_deref(), Some("ada"));
    assert_eq!(ask!(farm, read => read.worker_by_key(&key(1))).unwrap(), None);
    let found = ask!(farm, read => read.worker_name_by_key(&key(7))).unwrap().unwrap();
    assert_eq!(found, (farm.worker, "ada".to_string()));
    rekey(7, 8).await.unwrap();
    assert_eq!(put!(farm, tx => tx.refuse_join("08080808", LATER)).unwrap(), "ada");
    assert_eq!(waiting(&farm).await.len(), 1);
}

#[tokio::test]
async fn a_worker_is_disabled_and_enabled() {
    let farm = Farm::new().await;
    put!(farm, tx => tx.disable_worker("ada", AT)).unwrap();
    assert_eq!(ask!(farm, read => read.barred_workers()).unwrap(), [(farm.worker, Standing::Disabled)]);
    assert_eq!(ask!(farm, read => read.standing(farm.worker)).unwrap(), Standing::Disabled);
    assert_eq!(ask!(farm, read => read.workforce()).unwrap().approved, 0);
    assert_eq!(ask!(farm, read => read.makers(EVER)).unwrap().len(), 0);
    assert_eq!(refusal(put!(farm, tx => tx.disable_worker("ada", AT))), "this worker is disabled already");
    put!(farm, tx => tx.enable_worker("ada", AT)).unwrap();
    assert_eq!(refusal(put!(farm, tx => tx.enable_worker("ada", AT))), "this worker is enabled already");
    assert_eq!(refusal(put!(farm, tx => tx.enable_worker("eve", AT))), "there is no such worker");
    join_from(&farm, 2, "::1", AT).await.unwrap();
    let refused = refusal(put!(farm, tx => tx.disable_worker("w2", AT)));
    assert!(refused.contains("`worker refuse` turns it away"), "{refused}");
    let refused = refusal(put!(farm, tx => tx.enable_worker("w2", AT)));
    assert!(refused.contains("waits for approval"), "{refused}");
}

#[tokio::test]
async fn a_removed_worker_is_forgotten_and_its_history_keeps_its_name() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    farm.finish(build, Outcome::Passed).await;
    put!(farm, tx => tx.remove_worker("ada", LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.worker_by_key(&key(1))).unwrap(), None);
    assert_eq!(ask!(farm, read => read.worker(farm.worker)).unwrap().name, "ada");
    assert_eq!(ask!(farm, read => read.workers()).unwrap(), []);
    assert_eq!(ask!(farm, read => read.worker_rows()).unwrap(), []);
    assert_eq!(ask!(farm, read => read.worker_row("ada")).unwrap(), None);
    assert_eq!(refusal(put!(farm, tx => tx.remove_worker("ada", LATER))), "there is no such worker");
    let rejoined = put!(farm, tx => tx.register_join_request(&key(1), "ada", &WorkerFacts::default(), LATER));
    assert_eq!(refusal(rejoined), "another worker has this name; choose one with --name");
    join_from(&farm, 2, "::1", AT).await.unwrap();
    let renamed = refusal(put!(farm, tx => tx.rename_worker("w2", "ada", LATER)));
    assert!(renamed.starts_with("a machine that was removed has this name"), "{renamed}");
}

#[tokio::test]
async fn a_worker_gets_another_name_unless_it_is_taken() {
    let farm = Farm::new().await;
    join_from(&farm, 2, "::1", AT).await.unwrap();
    put!(farm, tx => tx.rename_worker("ada", "attic", AT)).unwrap();
    assert_eq!(ask!(farm, read => read.worker(farm.worker)).unwrap().name, "attic");
    assert_eq!(refusal(put!(farm, tx => tx.rename_worker("ada", "x", AT))), "there is no such worker");
    let taken = refusal(put!(farm, tx => tx.rename_worker("attic", "w2", AT)));
    assert_eq!(taken, "another worker has this name; choose another");
    put!(farm, tx => tx.rename_worker("attic", "attic", AT)).unwrap();
}

#[tokio::test]
async fn a_page_shows_what_an_owner_decided() {
    let farm = Farm::new().await;
    let worker = farm.worker;
    let terms = WorkerTerms {
        projects: Choice { only: vec![], refused: vec!["big".to_string()] },
        no_network: true,
        ..WorkerTerms::default()
    };
    let kept = terms.clone();
    put!(farm, tx => tx.put_pause(worker, Some(("hours", Some(LATER))), AT)).unwrap();
    put!(farm, tx => tx.put_terms(worker, Some(&kept), AT)).unwrap();
    put!(farm, tx => tx.put_slots(worker, 3, AT)).unwrap();
    let row = ask!(farm, read => read.worker_row("ada")).unwrap().unwrap();
    assert_eq!(row.pause, Some(("hours".to_string(), Some(LATER))));
    assert_eq!((row.terms, row.slots, row.standing), (terms, 3, Standing::Active));
    put!(farm, tx => tx.put_pause(worker, None, AT)).unwrap();
    put!(farm, tx => tx.put_terms(worker, None, AT)).unwrap();
    let row = ask!(farm, read => read.worker_row("ada")).unwrap().unwrap();
    assert_eq!((row.pause, row.terms), (None, WorkerTerms::default()));
    assert_eq!(ask!(farm, read => read.worker_row("eve")).unwrap(), None);
}

#[tokio::test]
async fn an_owner_hears_of_an_absence_and_a_paused_worker_is_not_absent() {
    let farm = Farm::new().await;
    let worker = farm.worker;
    let owned = || async { ask!(farm, read => read.owned_workers()).unwrap() };
    let add = || async { put!(farm, tx => tx.add_absence(1000, "command", AT)).unwrap() };
    add().await;
    assert_eq!(owned().await, [], "nobody has an address");
    put!(farm, tx => tx.put_owner_mail("ada", Some("ada@example.org"))).unwrap();
    assert_eq!(refusal(put!(farm, tx => tx.put_owner_mail("eve", None))), "there is no such worker");
    add().await;
    assert_eq!(owned().await[0].absent_ms, 1000);
    for pause in [("hours", Some(LATER)), ("command", None)] {
        put!(farm, tx => tx.put_pause(worker, Some(pause), AT)).unwrap();
        add().await;
        assert_eq!(owned().await[0].absent_ms, 1000, "{pause:?}");
    }
    // A machine that was in use, and then switched off.
    put!(farm, tx => tx.put_pause(worker, Some(("in use", None)), AT)).unwrap();
    add().await;
    put!(farm, tx => tx.put_pause(worker, Some(("hours", Some(EVER))), AT)).unwrap();
    add().await;
    let row = owned().await.remove(0);
    assert_eq!((row.absent_ms, row.absence_mails), (3000, 0));
    let mail = ("it is away", "body", "<1@example.org>");
    put!(farm, tx => tx.put_owner_notice(&row, mail, (1, Some("0.2.0")), AT)).unwrap();
    let row = owned().await.remove(0);
    assert_eq!((row.absence_mails, row.outdated_mailed.as_deref()), (1, Some("0.2.0")));
    put!(farm, tx => tx.end_absence(worker)).unwrap();
    let row = owned().await.remove(0);
    assert_eq!((row.absent_ms, row.absence_mails, row.outdated_mailed.is_some()), (0, 0, true));
}

#[tokio::test]
async fn a_mail_to_an_owner_waits_until_a_server_accepts_it() {
    let farm = Farm::new().await;
    put!(farm, tx => tx.put_owner_mail("ada", Some("ada@example.org"))).unwrap();
    let row = ask!(farm, read => read.owned_workers()).unwrap().remove(0);
    let put = row.clone();
    put!(farm, tx => tx.put_owner_notice(&put, ("away", "body", "<1@h>"), (1, None), AT)).unwrap();
    put!(farm, tx => tx.put_owner_notice(&row, ("away", "body", "<1@h>"), (1, None), AT)).unwrap();
    let waiting = |at| {
        let farm = &farm;
        async move { ask!(farm, read => read.waiting_owner_notices(at, 10)).unwrap() }
    };
    let notice = waiting(AT).await.remove(0);
    assert_eq!((notice.recipient.as_str(), notice.tries), ("ada@example.org", 0));
    put!(farm, tx => tx.mark_owner_notice_failed(notice.id, "no route", Some(LATER))).unwrap();
    assert_eq!(waiting(AT).await, []);
    assert_eq!(waiting(LATER).await[0].tries, 1);
    assert_eq!(ask!(farm, read => read.next_owner_notice()).unwrap(), Some(LATER));
    put!(farm, tx => tx.delete_sent_owner_notice(notice.id)).unwrap();
    assert_eq!(waiting(LATER).await, []);
    assert_eq!(ask!(farm, read => read.next_owner_notice()).unwrap(), None);
}

#[tokio::test]
async fn a_page_shows_what_a_worker_did_and_found() {
    let farm = Farm::new().await;
    let passed = farm.run(1, "PP").await;
    let failed = farm.run(2, "PF").await;
    let running = farm.queue(farm.suite(3, Reason::Tip)).await;
    farm.lease(running).await;
    farm.queue(farm.suite(4, Reason::Tip)).await;
    let attempts = ask!(farm, read => read.worker_attempts(farm.worker.0, 10)).unwrap();
    let seen: Vec<_> = attempts.iter().map(|row| (row.build, row.state, row.outcome)).collect();
    assert_eq!(
        seen,
        [
            (running.0, AttemptState::Offered, None),
            (failed.0, AttemptState::Ended, Some(Outcome::Failed)),
            (passed.0, AttemptState::Ended, Some(Outcome::Passed)),
        ]
    );
    assert_eq!(attempts[0].project.as_deref(), Some("penlight"));
    assert_eq!(ask!(farm, read => read.worker_attempts(farm.worker.0, 1)).unwrap().len(), 1);
    assert_eq!(ask!(farm, read => read.waiting_by_platform()).unwrap(), [(farm.platform, 1)]);
    assert_eq!(ask!(farm, read => read.culprits_found_by(farm.worker.0, 10)).unwrap(), []);
    let case = farm.case('b').await;
    let breakage = farm.open_breakage(1, 2, &[case]).await;
    let (worker, culprit) = (farm.worker.0, farm.change(2).0);
    let named = sqlx::query(
        "update breakage set state = 'named', found = 'named', found_at_ms = 5, culprit_id = ?, search_worker_id = ? where id = ?",
    )
    .bind(culprit)
    .bind(worker)
    .bind(breakage.0);
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                named.execute(&mut *tx.connection).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let found = ask!(farm, read => read.culprits_found_by(worker, 10)).unwrap();
    assert_eq!((found[0].breakage, found[0].title.as_str()), (breakage.0, "change 2"));
    let (trunk, _) = ask!(farm, read => read.trunk_and_recipe(running)).unwrap();
    assert_eq!(trunk, "lua");
    assert_eq!(ask!(farm, read => read.newest_toolchain_build(farm.platform)).unwrap(), None);
    let toolchain = NewBuild { builder: farm.toolchains, pin: None, ..farm.suite(5, Reason::Tip) };
    let toolchain = farm.queue(toolchain).await;
    assert_eq!(ask!(farm, read => read.newest_toolchain_build(farm.platform)).unwrap(), Some(toolchain));
}
