//! What the farm's own health is judged by.

use domain::health::FailingSince;

use super::*;

#[tokio::test]
async fn mail_and_trunks_say_since_when_they_fail() {
    let farm = Farm::new().await;
    let (trunk, change) = (farm.trunk, farm.change(1));
    assert_eq!(ask!(farm, read => read.mail_failing()).unwrap(), None);
    let new = NewNotice {
        kind: NoticeKind::Named,
        change,
        recipients: vec![],
        subject: "s".into(),
        body: "b".into(),
        message_id: "<1@x>".into(),
        in_reply_to: None,
        breakages: vec![],
    };
    let notice = put!(farm, tx => tx.put_notice(&new, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.mail_failing()).unwrap(), None, "it was not tried yet");
    put!(farm, tx => tx.mark_notice_failed(notice, "refused", Some(LATER), LATER)).unwrap();
    let failing = |why: &str, since| FailingSince { since, why: why.into() };
    assert_eq!(ask!(farm, read => read.mail_failing()).unwrap(), Some(failing("refused", AT)));
    put!(farm, tx => tx.mark_notice_sent(notice, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.mail_failing()).unwrap(), None);

    put!(farm, tx => tx.record_trunk_failure(trunk, "no route", AT)).unwrap();
    let trunks = ask!(farm, read => read.trunks_failing()).unwrap();
    assert_eq!(trunks, [("lua".to_string(), failing("no route", AT))]);
    let branch = farm.branch;
    put!(farm, tx => tx.retire_branch(branch)).unwrap();
    assert_eq!(ask!(farm, read => read.trunks_failing()).unwrap(), [], "nobody polls it any more");
}

#[tokio::test]
async fn what_an_operator_watches_is_counted() {
    let farm = Farm::new().await;
    farm.open_breakage(1, 5, &[]).await;
    farm.run(1, "P").await;
    farm.lease(farm.queue(farm.suite(2, Reason::Tip)).await).await;
    farm.queue(farm.suite(3, Reason::Tip)).await;
    let counts = ask!(farm, read => read.counts(Timestamp(0))).unwrap();
    assert_eq!((counts.builds_enqueued, counts.builds_running, counts.builds_waiting), (3, 1, 1));
    assert_eq!(counts.finished_since, [(Outcome::Passed, 1)]);
    assert_eq!(counts.breakages, [(BreakageState::Suspected, 1)]);
    assert_eq!((counts.workers_approved, counts.workers_connected, counts.workers_pending), (1, 0, 0));
    assert!(counts.database_bytes > 0);
    assert_eq!(ask!(farm, read => read.counts(LATER)).unwrap().finished_since, []);
    let force = ask!(farm, read => read.workforce()).unwrap();
    assert_eq!((force.approved, force.connected, force.last_seen), (1, 0, None));
}
