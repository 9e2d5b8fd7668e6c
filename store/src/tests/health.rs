//! What the farm's own health is judged by.

use domain::breakage::mark::FailureNews;
use domain::health::FailingSince;
use domain::health::missing_ref::{RefKind, RefOwner};

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
        mentions: vec![],
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

#[tokio::test]
async fn a_missing_ref_keeps_its_time_until_it_is_there_or_no_longer_wanted() {
    let farm = Farm::new().await;
    let (trunk, project, branch) = (farm.trunk, farm.project, farm.branch);
    let one = |kind, name: &str, present: &[&str]| NewMissingRef {
        kind,
        name: name.into(),
        head: Some("main".into()),
        present: present.iter().map(ToString::to_string).collect(),
        more: 2,
    };
    let name = ask!(farm, read => read.branch(branch)).unwrap().name;
    let master = one(RefKind::Branch, &name, &["main"]);
    let tag = one(RefKind::Tag, "v2 \"ü\"", &["v1"]);
    let (first, second) = (vec![master.clone()], vec![tag.clone()]);
    let (of_trunk, of_project) = (first.clone(), second.clone());
    put!(farm, tx => tx.put_missing_refs(trunk, None, &of_trunk, AT)).unwrap();
    put!(farm, tx => tx.put_missing_refs(trunk, Some(project), &of_project, AT)).unwrap();
    let later = vec![one(RefKind::Branch, &name, &["main", "dev"])];
    put!(farm, tx => tx.put_missing_refs(trunk, None, &later, LATER)).unwrap();
    let missing = ask!(farm, read => read.missing_refs()).unwrap();
    assert_eq!(missing.len(), 2);
    assert_eq!((missing[0].owner.clone(), missing[0].since), (RefOwner::Trunk("lua".into()), AT));
    assert_eq!(
        (missing[0].present.as_slice(), missing[0].more),
        (&["main".to_string(), "dev".into()][..], 2)
    );
    assert_eq!(missing[1].name, tag.name);
    assert_eq!(ask!(farm, read => read.missing_refs_of(trunk, Some(project))).unwrap(), second);

    let same = second.clone();
    put!(farm, tx => tx.put_missing_refs(trunk, Some(project), &same, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.missing_refs()).unwrap()[1].since, AT, "also with odd names");
    put!(farm, tx => tx.forget_refs_but(project, Some((RefKind::Tag, "v2 \"ü\"")))).unwrap();
    assert_eq!(ask!(farm, read => read.missing_refs()).unwrap().len(), 2, "it is followed still");
    put!(farm, tx => tx.forget_refs_but(project, Some((RefKind::Branch, "main")))).unwrap();
    put!(farm, tx => tx.forget_retired_refs()).unwrap();
    assert_eq!(ask!(farm, read => read.missing_refs()).unwrap().len(), 1, "the branch is configured still");
    put!(farm, tx => tx.put_missing_refs(trunk, None, &[], LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.missing_refs()).unwrap(), [], "it is there again");
    put!(farm, tx => tx.put_missing_refs(trunk, None, &first, AT)).unwrap();
    put!(farm, tx => tx.retire_branch(branch)).unwrap();
    put!(farm, tx => tx.forget_retired_refs()).unwrap();
    assert_eq!(ask!(farm, read => read.missing_refs()).unwrap(), [], "the configuration was corrected");
}

#[tokio::test]
async fn a_change_waits_until_a_suite_has_a_verdict_at_it_or_at_a_newer_one() {
    let farm = Farm::new().await;
    let waits = async || {
        let columns = ask!(farm, read => read.branch_platforms()).unwrap();
        let [column] = columns.as_slice() else { panic!("one branch on one platform: {columns:?}") };
        assert_eq!(column.suites.len(), 1, "{column:?}");
        column.waits_since
    };
    let first = ask!(farm, read => read.change(farm.change(1))).unwrap().found_at;
    assert_eq!(waits().await, Some(first), "nothing is tested");
    assert_eq!(ask!(farm, read => read.tested(farm.branch.0)).unwrap().sha, None);
    let newest = farm.changes.len();
    let infra = farm.queue(farm.suite(newest, Reason::Tip)).await;
    farm.finish(infra, Outcome::Infra).await;
    assert_eq!(waits().await, Some(first), "an infra failure is no verdict");
    assert_eq!(ask!(farm, read => read.infra_projects()).unwrap().len(), 1);
    farm.run(newest, "P").await;
    assert_eq!(waits().await, None, "what is older is superseded");
    assert_eq!(ask!(farm, read => read.infra_projects()).unwrap(), []);
    let tested = ask!(farm, read => read.tested(farm.branch.0)).unwrap();
    assert_eq!((tested.newer, tested.suites.len(), tested.tested.len()), (0, 1, 1));
    assert!(ask!(farm, read => read.last_finished()).unwrap().is_some());
}

#[tokio::test]
async fn a_project_begins_once_and_is_listed_until_it_works() {
    let farm = Farm::new().await;
    let (project, branch) = (farm.project, farm.branch);
    let failed = farm.queue(farm.suite(2, Reason::Tip)).await;
    farm.finish(failed, Outcome::Failed).await;
    assert_eq!(ask!(farm, read => read.project_start(project, branch)).unwrap(), None);
    put!(farm, tx => tx.start_project(project, branch, failed, AT)).unwrap();
    put!(farm, tx => tx.start_project(project, branch, failed, LATER)).unwrap();
    let rows = ask!(farm, read => read.never_worked()).unwrap();
    let [row] = rows.as_slice() else { panic!("one project: {rows:?}") };
    assert_eq!((row.since, row.build, row.end.outcome), (AT, failed, Outcome::Failed));
    assert_eq!(ask!(farm, read => read.unnotified_starts(10)).unwrap().len(), 1);
    put!(farm, tx => tx.mark_start_notified(project, branch, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.unnotified_starts(10)).unwrap(), []);
    assert!(put!(farm, tx => tx.mark_start_notified(project, branch, LATER)).is_err(), "once");

    let red = farm.run(3, "PF").await;
    let end = ask!(farm, read => read.build_end(red)).unwrap();
    assert_eq!((end.counts.passes, end.counts.failures), (1, 1), "{end:?}");
    put!(farm, tx => tx.mark_project_worked(project, branch, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.never_worked()).unwrap(), []);
    put!(farm, tx => tx.set_canary(project, Some(domain::schedule::canary::Canary::MustFail))).unwrap();
    let rows = ask!(farm, read => read.history_rows(farm.suites.0, 10)).unwrap();
    let mut rows: Vec<_> = rows.into_iter().filter(|row| row.id == red.0).collect();
    ask!(farm, read => read.judge_failures(&mut rows)).unwrap();
    assert!(rows.iter().all(|row| row.news == FailureNews::Expected) && rows.len() == 1, "{rows:?}");
}
