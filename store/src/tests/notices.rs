//! The outbox: mails that wait, mails that were sent, and what a thread has reported.

use super::*;

fn notice(farm: &Farm, kind: NoticeKind, to: &[&str], breakages: &[BreakageId]) -> NewNotice {
    NewNotice {
        kind,
        change: farm.change(3),
        recipients: to.iter().map(ToString::to_string).collect(),
        subject: "subject".to_string(),
        body: "body".to_string(),
        message_id: format!("<{kind}@example.org>"),
        in_reply_to: (kind != NoticeKind::Named).then(|| "<named@example.org>".to_string()),
        breakages: breakages.to_vec(),
        mentions: vec![],
    }
}

async fn put(farm: &Farm, kind: NoticeKind, to: &[&str], breakages: &[BreakageId]) -> NoticeId {
    let notice = notice(farm, kind, to, breakages);
    put!(farm, tx => tx.put_notice(&notice, AT)).unwrap()
}

async fn waiting(farm: &Farm, at: Timestamp) -> Vec<NoticeId> {
    ask!(farm, read => read.waiting_notices(at, 10)).unwrap().iter().map(|notice| notice.id).collect()
}

#[tokio::test]
async fn a_notice_reads_back_as_it_was_decided() {
    let farm = Farm::new().await;
    let id = put(&farm, NoticeKind::Spread, &["a@example.org", "b@example.org"], &[]).await;
    let expected = Notice {
        id,
        recipients: vec!["a@example.org".to_string(), "b@example.org".to_string()],
        subject: "subject".to_string(),
        body: "body".to_string(),
        message_id: "<spread@example.org>".to_string(),
        in_reply_to: Some("<named@example.org>".to_string()),
        decided_at: AT,
        tries: 0,
    };
    assert_eq!(ask!(farm, read => read.waiting_notices(AT, 10)).unwrap(), [expected]);
}

#[tokio::test]
async fn a_notice_leaves_once() {
    let farm = Farm::new().await;
    let id = put(&farm, NoticeKind::Named, &["a@example.org"], &[]).await;
    put!(farm, tx => tx.mark_notice_sent(id, LATER)).unwrap();
    assert_eq!(waiting(&farm, LATER).await, []);
    assert_eq!(ask!(farm, read => read.next_notice()).unwrap(), None);
    assert_eq!(refusal(put!(farm, tx => tx.mark_notice_sent(id, LATER))), "the notice is not waiting");
    let failed = put!(farm, tx => tx.mark_notice_failed(id, "late", None, LATER));
    assert_eq!(refusal(failed), "the notice is not waiting");
}

#[tokio::test]
async fn a_notice_that_failed_waits_for_its_time_or_is_given_up() {
    let farm = Farm::new().await;
    let id = put(&farm, NoticeKind::Named, &["a@example.org"], &[]).await;
    assert_eq!(ask!(farm, read => read.next_notice()).unwrap(), Some(AT));
    put!(farm, tx => tx.mark_notice_failed(id, "greylisted", Some(LATER), AT)).unwrap();
    assert_eq!(waiting(&farm, AT).await, []);
    assert_eq!(ask!(farm, read => read.next_notice()).unwrap(), Some(LATER));
    let again = ask!(farm, read => read.waiting_notices(LATER, 10)).unwrap();
    assert_eq!((again[0].id, again[0].tries), (id, 1));
    put!(farm, tx => tx.mark_notice_failed(id, "no such list", None, LATER)).unwrap();
    assert_eq!(waiting(&farm, LATER).await, []);
    assert_eq!(ask!(farm, read => read.next_notice()).unwrap(), None);
}

#[tokio::test]
async fn so_many_notices_are_read_at_once() {
    let farm = Farm::new().await;
    let first = put(&farm, NoticeKind::Named, &["a@example.org"], &[]).await;
    put(&farm, NoticeKind::Spread, &["a@example.org"], &[]).await;
    let some = ask!(farm, read => read.waiting_notices(AT, 1)).unwrap();
    assert_eq!(some.iter().map(|notice| notice.id).collect::<Vec<_>>(), [first]);
}

#[tokio::test]
async fn a_message_id_is_used_once() {
    let farm = Farm::new().await;
    put(&farm, NoticeKind::Named, &["a@example.org"], &[]).await;
    let twice = notice(&farm, NoticeKind::Named, &["a@example.org"], &[]);
    assert!(matches!(put!(farm, tx => tx.put_notice(&twice, AT)), Err(Error::Database(_))));
}

#[tokio::test]
async fn a_thread_has_its_root_its_recipients_and_what_it_reported() {
    let farm = Farm::new().await;
    let culprit = farm.change(3);
    assert_eq!(ask!(farm, read => read.thread(culprit)).unwrap(), Thread::default());
    let (one, two) = (farm.open_breakage(1, 5, &[]).await, farm.open_breakage(1, 5, &[]).await);
    put(&farm, NoticeKind::Named, &["list@example.org", "a@example.org"], &[one]).await;
    put(&farm, NoticeKind::Spread, &["list@example.org", "b@example.org"], &[two]).await;
    put(&farm, NoticeKind::Fixed, &["list@example.org"], &[one, two]).await;
    let expected = Thread {
        root: Some("<named@example.org>".to_string()),
        announced: vec![one, two],
        announced_fixes: vec![one, two],
        mentioned: vec![],
        has_fallen_repair: false,
        recipients: ["list", "a", "b"].map(|name| format!("{name}@example.org")).to_vec(),
    };
    assert_eq!(ask!(farm, read => read.thread(culprit)).unwrap(), expected);
    let other = farm.change(4);
    assert_eq!(ask!(farm, read => read.thread(other)).unwrap(), Thread::default());
}

#[tokio::test]
async fn a_correction_after_a_repair_takes_back_the_repair_and_the_next_one_the_culprit() {
    let farm = Farm::new().await;
    let culprit = farm.change(3);
    let one = farm.open_breakage(1, 5, &[]).await;
    let thread = || async {
        let thread = ask!(farm, read => read.thread(culprit)).unwrap();
        (thread.announced, thread.announced_fixes, thread.has_fallen_repair)
    };
    let correct = async |number: u32| {
        let correction = notice(&farm, NoticeKind::Correction, &["list@example.org"], &[one]);
        let correction = NewNotice { message_id: format!("<c{number}>"), ..correction };
        put!(farm, tx => tx.put_notice(&correction, AT)).unwrap();
    };
    put(&farm, NoticeKind::Named, &["list@example.org"], &[one]).await;
    put(&farm, NoticeKind::Fixed, &["list@example.org"], &[one]).await;
    correct(1).await;
    assert_eq!(thread().await, (vec![one], vec![], true));
    correct(2).await;
    assert_eq!(thread().await, (vec![], vec![], true));
}

#[tokio::test]
async fn what_an_address_got_is_counted_without_storms() {
    let farm = Farm::new().await;
    put(&farm, NoticeKind::Named, &["list@example.org", "a@example.org"], &[]).await;
    put(&farm, NoticeKind::Spread, &["b@example.org"], &[]).await;
    let got = |address: &'static str, since| {
        let farm = &farm;
        async move { ask!(farm, read => read.notices_to(address, since)).unwrap() }
    };
    let before = Timestamp(AT.0 - 1);
    assert_eq!(got("list@example.org", before).await, (1, false));
    assert_eq!(got("list@example.org", AT).await, (0, false), "that was before");
    assert_eq!(got("ist@example.org", before).await, (0, false), "another address");
    put(&farm, NoticeKind::Storm, &["list@example.org"], &[]).await;
    assert_eq!(got("list@example.org", before).await, (1, true));
}

#[tokio::test]
async fn a_change_that_was_wrongly_blamed_is_listed_until_it_is_corrected() {
    use domain::words::BreakageState as S;
    let farm = Farm::new().await;
    let (announced, other) = (farm.change(3), farm.change(4));
    let wrong = || async { ask!(farm, read => read.wrong_notices()).unwrap() };
    for (found, culprit) in [(S::Named, Some(other)), (S::Flaky, None), (S::Inconclusive, None)] {
        let id = farm.open_breakage(1, 5, &[]).await;
        let new = NewNotice {
            message_id: format!("<{id}>"),
            ..notice(&farm, NoticeKind::Named, &["a@example.org"], &[id])
        };
        put!(farm, tx => tx.put_notice(&new, AT)).unwrap();
        assert_eq!(wrong().await, [], "nothing was found yet");
        put!(farm, tx => tx.record_search_result(id, found, culprit, culprit, AT)).unwrap();
        assert_eq!(wrong().await, [(announced, id)], "{found}");
        let correction = notice(&farm, NoticeKind::Correction, &["a@example.org"], &[id]);
        let correction = NewNotice { message_id: format!("<c{id}>"), ..correction };
        put!(farm, tx => tx.put_notice(&correction, AT)).unwrap();
        assert_eq!(wrong().await, []);
    }
    // The culprit of the first breakage has not been announced yet.
    assert_eq!(ask!(farm, read => read.culprits_to_notify()).unwrap(), [other]);
    let right = farm.open_breakage(1, 5, &[]).await;
    put!(farm, tx => tx.record_search_result(right, S::Named, Some(announced), Some(announced), AT)).unwrap();
    put(&farm, NoticeKind::Named, &["a@example.org"], &[right]).await;
    assert_eq!(wrong().await, []);
}

#[tokio::test]
async fn a_thread_knows_the_old_breakages_that_its_mails_mentioned_and_no_other_thread_does() {
    use domain::words::BreakageState as S;
    let farm = Farm::new().await;
    let (culprit, other) = (farm.change(3), farm.change(4));
    let (one, old) = (farm.open_breakage(1, 5, &[]).await, farm.open_breakage(1, 5, &[]).await);
    for id in [one, old] {
        put!(farm, tx => tx.record_search_result(id, S::Named, Some(culprit), Some(culprit), AT)).unwrap();
    }
    let named =
        NewNotice { mentions: vec![old], ..notice(&farm, NoticeKind::Named, &["a@example.org"], &[one]) };
    put!(farm, tx => tx.put_notice(&named, AT)).unwrap();
    let thread = ask!(farm, read => read.thread(culprit)).unwrap();
    assert_eq!((thread.announced, thread.mentioned), (vec![one], vec![old]));
    assert_eq!(ask!(farm, read => read.thread(other)).unwrap(), Thread::default());
}

#[tokio::test]
async fn what_a_backlog_reported_is_kept_until_it_is_followed_up() {
    use domain::words::BreakageState as S;
    let farm = Farm::new().await;
    let (culprit, other) = (farm.change(3), farm.change(4));
    let breakage = farm.open_breakage(1, 5, &[]).await;
    put!(farm, tx => tx.record_search_result(breakage, S::Named, Some(culprit), Some(culprit), AT)).unwrap();
    put!(farm, tx => tx.mark_unmailed(breakage, false)).unwrap();
    let notice = put(&farm, NoticeKind::Backlog, &["a@example.org", "b@example.org"], &[breakage]).await;
    let claims = || async { ask!(farm, read => read.backlog_claims()).unwrap() };
    let has_news = || async { ask!(farm, read => read.has_backlog_news()).unwrap() };
    assert!(!has_news().await);
    for (culprit, is_wrong) in [(other, true), (culprit, false)] {
        let claim = BacklogClaim { notice, breakage, culprit };
        put!(farm, tx => tx.put_backlog_claim(&claim)).unwrap();
        assert_eq!(claims().await, [claim]);
        assert_eq!(has_news().await, is_wrong);
    }
    let second = farm.open_breakage(1, 5, &[]).await;
    put!(farm, tx => tx.record_search_result(second, S::Named, Some(culprit), Some(culprit), AT)).unwrap();
    put!(farm, tx => tx.mark_unmailed(second, false)).unwrap();
    put!(farm, tx => tx.put_backlog_claim(&BacklogClaim { notice, breakage: second, culprit })).unwrap();
    put!(farm, tx => tx.mark_breakage_gone(second, AT)).unwrap();
    assert!(has_news().await, "one of two is gone");
    put!(farm, tx => tx.end_backlog_claim(second)).unwrap();
    let root = ask!(farm, read => read.notice_root(notice)).unwrap();
    assert_eq!(root.recipients, ["a@example.org", "b@example.org"]);
    assert_eq!((root.change, root.message_id.as_str()), (culprit, "<backlog@example.org>"));
    // The replies are no mails of the culprit's thread.
    put(&farm, NoticeKind::BacklogFixed, &["a@example.org"], &[breakage]).await;
    put(&farm, NoticeKind::BacklogCorrection, &["a@example.org"], &[breakage]).await;
    assert_eq!(ask!(farm, read => read.thread(culprit)).unwrap(), Thread::default());
    assert_eq!(ask!(farm, read => read.culprits_to_notify()).unwrap(), []);
    put!(farm, tx => tx.end_backlog_claim(breakage)).unwrap();
    put!(farm, tx => tx.mark_mailable(breakage)).unwrap();
    assert_eq!(claims().await, []);
    assert_eq!(ask!(farm, read => read.culprits_to_notify()).unwrap(), [culprit]);
}
