//! Opening a data folder: made where there is none, and refused in one sentence where it cannot be.

use super::*;

async fn refused(data: &std::path::Path) -> String {
    match Store::open(data).await {
        Ok(_) => panic!("{} was opened", data.display()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_folder_is_made_where_there_is_none_and_opens_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("deep/data");
    let store = Store::open(&data).await.unwrap();
    assert_eq!(store.data(), data);
    let trunk = store.write(|tx| Box::pin(async move { tx.put_trunk("lua", "url").await })).await.unwrap();
    store.close().await;

    let store = Store::open(&data).await.unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.read().trunks().await.unwrap()[0].id, trunk);
}

/// Statistics of a young farm's tables, gathered as one command after another closes it, would mislead SQLite in a grown
/// one.
#[tokio::test]
async fn closing_gathers_no_statistics() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let store = Store::open(folder.path()).await.unwrap();
        let gathered: i64 = store
            .write(|tx| {
                Box::pin(async move {
                    let tables =
                        "select count(*) from sqlite_schema where name like 'sqlite\\_stat%' escape '\\'";
                    Ok(sqlx::query_scalar(tables).fetch_one(&mut *tx.connection).await?)
                })
            })
            .await
            .unwrap();
        assert_eq!(gathered, 0);
        // What an analysis would look at.
        store.write(|tx| Box::pin(async move { tx.put_platform("linux").await })).await.unwrap();
        store.close().await;
    }
}

/// As the command line does beside a running master.
#[tokio::test]
async fn two_may_have_it_open() {
    let farm = Farm::new().await;
    let other = Store::open(farm.folder.path()).await.unwrap();
    other.write(|tx| Box::pin(async move { tx.put_platform("other").await })).await.unwrap();
    put!(farm, tx => tx.put_platform("own")).unwrap();
    assert_eq!(ask!(farm, read => read.platforms()).unwrap().len(), 3);
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let farm = Farm::new().await;
    farm.store
        .write(|tx| {
            Box::pin(async move {
                let newer = "update _sqlx_migrations set version = version + 7000";
                Ok(sqlx::query(newer).execute(&mut *tx.connection).await?.rows_affected())
            })
        })
        .await
        .unwrap();
    let said = refused(farm.folder.path()).await;
    assert!(said.contains("farm.db: the database was made by a newer farm-master (its schema 70"), "{said}");
    assert!(said.ends_with("run that one"), "{said}");
}

/// One whose migrations are numbered as ours and say something else, for which no program but its own is right.
#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let farm = Farm::new().await;
    farm.store
        .write(|tx| {
            Box::pin(async move {
                let other = "update _sqlx_migrations set checksum = x'00' where version = 1";
                Ok(sqlx::query(other).execute(&mut *tx.connection).await?.rows_affected())
            })
        })
        .await
        .unwrap();
    let said = refused(farm.folder.path()).await;
    assert!(said.contains("farm.db: migration 1 was previously applied but has been modified"), "{said}");
}

/// The permission bits bind no superuser, but nobody has a folder below a file.
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = refused(&file.join("data")).await;
    assert!(said.contains("file/data: cannot be written: "), "{said}");
    assert!(said.ends_with("give the farm's user this folder"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("farm.db"), "no database, ".repeat(1000)).unwrap();
    let said = refused(folder.path()).await;
    assert!(said.contains("farm.db: ") && said.contains("not a database"), "{said}");
}
