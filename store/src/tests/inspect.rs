//! What the doctor reads, and a copy that is made beside the running farm.

use protocol::{PackedToolchain, StepKind};

use crate::files::log;

use super::*;

#[tokio::test]
async fn rows_and_files_that_miss_each_other_are_named() {
    let farm = Farm::new().await;
    let data = farm.folder.path().to_path_buf();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let file = |path: std::path::PathBuf, bytes: &str, is_old: bool| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        if is_old {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        }
    };
    assert_eq!(ask!(farm, read => read.orphans(&data)).unwrap(), Orphans::default());

    let attempt = farm.lease(farm.queue(farm.suite(1, Reason::Tip)).await).await;
    let (maker, made) = (farm.worker, PackedToolchain { sha256: Sha256([7; 32]), bytes: 12 });
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                for position in 0..3 {
                    tx.start_step(attempt, position, "test", StepKind::Test, AT).await?;
                    let log =
                        LogExtentRow { bytes: 10, lines: 1, stored_bytes: 70, ..LogExtentRow::default() };
                    tx.commit_log(attempt, position, log).await?;
                }
                tx.mark_log_pruned(attempt, 2, AT).await?;
                tx.put_artifact(made, maker, false, AT).await
            })
        })
        .await
        .unwrap();
    // The first log is whole, the second cut, the third pruned.
    let log = |position| log::path(&data.join("logs"), attempt.0, position);
    file(log(0), &"x".repeat(70), true);
    file(log(1), "x", true);
    file(log(9), "nobody's", true);
    file(log(8), "just begun", false);
    let objects = ObjectStore::below(&data);
    file(objects.path(ObjectKind::Artifact, &Sha256([8; 32])), "nobody's", true);
    // As of a backup, whose files are copied after the database: the log was sealed meanwhile.
    let mut writer = log::LogWriter::open(&log(3), log::LogExtent::default()).unwrap();
    let live = (0..100).map(|_| writer.append(b"one line\n").unwrap()).last().unwrap();
    drop(writer);
    assert!(log::seal(&log(3), live).unwrap().stored_bytes < live.stored_bytes);
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.start_step(attempt, 3, "test", StepKind::Test, AT).await?;
                let (bytes, lines, stored_bytes) = (live.raw_bytes, live.lines, live.stored_bytes);
                tx.commit_log(
                    attempt,
                    3,
                    LogExtentRow { bytes, lines, stored_bytes, ..LogExtentRow::default() },
                )
                .await
            })
        })
        .await
        .unwrap();
    let found = ask!(farm, read => read.orphans(&data)).unwrap();
    let one = |path: std::path::PathBuf| Orphaned { count: 1, named: vec![path.display().to_string()] };
    assert_eq!(found.lost_logs, one(log(1)));
    assert_eq!(found.stray_logs, one(log(9)));
    assert_eq!(found.lost_toolchains, one(objects.path(ObjectKind::Artifact, &made.sha256)));
    assert_eq!(found.stray_toolchains, one(objects.path(ObjectKind::Artifact, &Sha256([8; 32]))));
}

#[tokio::test]
async fn a_row_that_points_nowhere_is_named() {
    let farm = Farm::new().await;
    assert_eq!(ask!(farm, read => read.integrity()).unwrap(), [""; 0]);
    let path = farm.folder.path().join("farm.db");
    let url = format!("sqlite://{}", path.display());
    let mut bare = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("pragma foreign_keys = off").execute(&mut bare).await.unwrap();
    sqlx::query("update builder set platform_id = 99").execute(&mut bare).await.unwrap();
    let said = ask!(farm, read => read.integrity()).unwrap();
    assert_eq!(said[0], "row 1 of builder points to a row of platform that is not there");
    assert_eq!(said.len(), 2);
}

#[tokio::test]
async fn the_newest_moment_is_of_whatever_was_noted_last() {
    let farm = Farm::new().await;
    let (trunk, worker) = (farm.trunk, farm.worker);
    let newest = || async { ask!(farm, read => read.newest_moment()).unwrap() };
    put!(farm, tx => tx.record_trunk_poll(trunk, LATER)).unwrap();
    assert_eq!(newest().await, Some(LATER));
    put!(farm, tx => tx.heartbeat(worker, Timestamp(9_000_000), Timestamp(3_000_000))).unwrap();
    assert_eq!(newest().await, Some(Timestamp(3_000_000)));
}

#[tokio::test]
async fn a_backup_is_the_farm_of_one_moment_and_opens_as_one() {
    let farm = Farm::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("farm.db");
    backup(farm.folder.path(), &file).await.unwrap();
    put!(farm, tx => tx.put_platform("made after it")).unwrap();
    let copy = Store::open(folder.path()).await.unwrap();
    let mut snapshot = copy.snapshot().await.unwrap();
    assert_eq!(snapshot.read().platforms().await.unwrap().len(), 1);
    assert_eq!(snapshot.read().trunks().await.unwrap(), ask!(farm, read => read.trunks()).unwrap());
    assert_eq!(snapshot.read().integrity().await.unwrap(), [""; 0]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_makes_no_farm() {
    let farm = Farm::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy");
    std::fs::write(&file, "mine").unwrap();
    let said = refusal(backup(farm.folder.path(), &file).await);
    assert!(said.contains("exists already"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let said = refusal(backup(folder.path(), &folder.path().join("other")).await);
    assert_eq!(said, "there is no such database in the data folder");
    assert!(!folder.path().join("farm.db").exists());
}
