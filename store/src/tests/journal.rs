//! Numbered events: in order, bounded, and of what was committed.

use super::*;

#[tokio::test]
async fn events_are_read_from_the_last_one_seen_and_at_most_so_many() {
    let farm = Farm::new().await;
    let end = ask!(farm, read => read.journal_end()).unwrap();
    for subject in 1..=3 {
        note(&farm, Topic::Change, subject, AT).await;
    }
    let subjects =
        |entries: Vec<JournalEntry>| entries.into_iter().map(|entry| entry.subject).collect::<Vec<_>>();
    assert_eq!(subjects(ask!(farm, read => read.journal_after(end, 10)).unwrap()), [1, 2, 3]);
    assert_eq!(subjects(ask!(farm, read => read.journal_after(end, 2)).unwrap()), [1, 2]);
    assert_eq!(subjects(ask!(farm, read => read.journal_after(end + 2, 10)).unwrap()), [3]);
    assert_eq!(ask!(farm, read => read.journal_end()).unwrap(), end + 3);
}

#[tokio::test]
async fn every_topic_can_be_written() {
    let farm = Farm::new().await;
    for &topic in Topic::ALL {
        note(&farm, topic, 1, AT).await;
        let end = ask!(farm, read => read.journal_end()).unwrap();
        let last = ask!(farm, read => read.journal_after(end - 1, 1)).unwrap();
        assert_eq!(last[0].topic, topic);
    }
}

#[tokio::test]
async fn a_journal_keeps_what_a_browser_may_have_missed_and_no_more() {
    let farm = Farm::new().await;
    farm.store
        .write(|tx| {
            Box::pin(async move {
                for subject in 0..12_500 {
                    tx.journal(Topic::Build, subject, AT);
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    let (rows, end) = (farm.count("journal").await, ask!(farm, read => read.journal_end()).unwrap());
    assert!((10_000..=11_001).contains(&rows), "{rows}");
    // A number is never given again, whatever was swept.
    assert!(end >= 12_500);
}

#[tokio::test]
async fn a_thing_is_reported_once_a_commit_and_not_if_its_part_was_rolled_back() {
    let farm = Farm::new().await;
    let end = ask!(farm, read => read.journal_end()).unwrap();
    farm.store
        .write(|tx| {
            Box::pin(async move {
                tx.journal(Topic::Build, 1, AT);
                tx.begin_savepoint().await?;
                tx.journal(Topic::Build, 2, AT);
                tx.roll_back_savepoint().await?;
                tx.begin_savepoint().await?;
                tx.journal(Topic::Build, 1, LATER);
                tx.journal(Topic::Change, 1, LATER);
                tx.release_savepoint().await
            })
        })
        .await
        .unwrap();
    let told = ask!(farm, read => read.journal_after(end, 10)).unwrap();
    let told: Vec<_> = told.iter().map(|entry| (entry.topic.as_str(), entry.subject)).collect();
    assert_eq!(told, [("build", 1), ("change", 1)]);
}
