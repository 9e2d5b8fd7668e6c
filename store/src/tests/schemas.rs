//! Databases of every earlier schema, odd rows and all, opened by today's program: nothing of them may be lost.
//!
//! `schemas/NNNN.sql` is what `.dump` says of a farm that ran with migrations up to NNNN, and to which rows were added
//! in every state that its CHECKs allow. A release adds one; none is ever changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

use super::*;

fn dumps() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/schemas");
    let mut dumps: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    dumps.sort();
    dumps
}

/// Lays a dump as a farm's database.
async fn lay(dump: &std::path::Path) -> (TempDir, SqliteConnection) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("farm.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("pragma foreign_keys = off").execute(&mut connection).await.unwrap();
    let text = std::fs::read_to_string(dump).unwrap();
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
    (folder, connection)
}

/// The columns of each table of ours.
async fn columns(connection: &mut SqliteConnection) -> BTreeMap<String, Vec<String>> {
    let rows = sqlx::query(
        "select t.name, c.name from sqlite_schema t join pragma_table_info(t.name) c
         where t.type = 'table' and t.name not like 'sqlite%' and t.name not like '\\_%' escape '\\' order by 1, c.cid",
    );
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows.fetch_all(connection).await.unwrap() {
        columns.entry(row.get(0)).or_default().push(row.get(1));
    }
    columns
}

/// All rows of a table in these columns, as SQL would write them.
async fn rows(connection: &mut SqliteConnection, table: &str, columns: &[String]) -> Vec<String> {
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
    let query = format!("select {} as row from \"{table}\" order by row", quoted.join(" || ', ' || "));
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await.unwrap()
}

/// A lock of the first schema has no file and no size, so that no worker could bring it; and nobody ever wrote one.
const LEFT_BEHIND: [(&str, &str); 1] = [("pin", "lock_sha256")];

/// What these said is read from elsewhere: evidence from the verdicts of builds.
const GONE: [&str; 1] = ["evidence"];

/// Says in today's words what an earlier database said in others.
async fn say_anew(old: &mut SqliteConnection) {
    for verdict in Verdict::ALL {
        let (word, letter) = (verdict.as_str(), domain::results::letter(verdict).to_string());
        for column in ["was", "became"] {
            let anew = format!("update transition set {column} = '{letter}' where {column} = '{word}'");
            sqlx::query(AssertSqlSafe(anew)).execute(&mut *old).await.unwrap();
        }
    }
}

#[tokio::test]
async fn nothing_of_an_earlier_database_is_lost() {
    assert!(!dumps().is_empty());
    for dump in dumps() {
        let shown = dump.display();
        let (folder, old) = lay(&dump).await;
        let (_again, mut before) = lay(&dump).await;
        say_anew(&mut before).await;
        old.close().await.unwrap();
        let store = Store::open(folder.path()).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let mut snapshot = store.snapshot().await.unwrap();
        let now = columns(&mut *snapshot.read().connection).await;
        for (table, mut columns) in columns(&mut before).await {
            let Some(there) = now.get(&table) else {
                assert!(GONE.contains(&table.as_str()), "{shown}: the table {table} is gone");
                continue;
            };
            columns.retain(|column| {
                there.contains(column) && !LEFT_BEHIND.contains(&(table.as_str(), column.as_str()))
            });
            let was = rows(&mut before, &table, &columns).await;
            let is = rows(&mut *snapshot.read().connection, &table, &columns).await;
            assert_eq!(is, was, "{shown}: {table}");
        }
        assert_eq!(snapshot.read().integrity().await.unwrap(), [""; 0], "{shown}");
    }
}

#[tokio::test]
async fn what_cases_of_an_earlier_database_said_is_found_as_before_and_their_names_too() {
    for dump in dumps() {
        let (folder, mut old) = lay(&dump).await;
        let texts = "select build_id, case_id, duration_ms, text from ";
        let said = |of: &str| sqlx::query(AssertSqlSafe(format!("{texts}{of} order by build_id, case_id")));
        let text = |row: sqlx::sqlite::SqliteRow| -> (i64, i64, Option<i64>, String) {
            (row.get(0), row.get(1), row.get(2), row.get(3))
        };
        let was: Vec<_> =
            said("case_note").fetch_all(&mut old).await.unwrap().into_iter().map(text).collect();
        assert!(!was.is_empty());
        let names: Vec<(i64, String)> =
            sqlx::query_as("select id, name from case_name").fetch_all(&mut old).await.unwrap();
        old.close().await.unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let mut snapshot = store.snapshot().await.unwrap();
        let mut read = snapshot.read();
        let now = "(select n.*, x.text from case_note n join case_text x on x.id = n.text_id)";
        let is = said(now).fetch_all(&mut *read.connection).await.unwrap();
        assert_eq!(is.into_iter().map(text).collect::<Vec<_>>(), was);
        for (id, name) in names {
            assert_eq!(read.case_named(&name).await.unwrap(), Some(CaseId(id)), "{name}");
        }
    }
}

#[tokio::test]
async fn every_row_of_an_earlier_database_can_be_shown_and_gone_on_with() {
    for dump in dumps() {
        let (folder, old) = lay(&dump).await;
        old.close().await.unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let mut snapshot = store.snapshot().await.unwrap();
        let mut read = snapshot.read();
        let ids = async |read: &mut Read<'_>, table: &str| -> Vec<i64> {
            let query = format!("select id from {table} order by id");
            sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *read.connection).await.unwrap()
        };
        for build in ids(&mut read, "build").await {
            read.build_page(build).await.unwrap();
            read.case_rows(build, 100).await.unwrap();
            read.bad_cases(build, 100).await.unwrap();
            for attempt in read.attempt_rows(build).await.unwrap() {
                read.steps(AttemptId(attempt.id)).await.unwrap();
            }
        }
        for breakage in ids(&mut read, "breakage").await {
            read.breakage_row(breakage).await.unwrap();
            read.evidence_rows(breakage, 100).await.unwrap();
            read.notice_rows(breakage, 100).await.unwrap();
        }
        for branch in ids(&mut read, "branch").await {
            read.order(BranchId(branch)).await.unwrap();
            read.column_rows(branch, 0).await.unwrap();
            read.position_rows(branch, i64::MAX, 100).await.unwrap();
        }
        for builder in ids(&mut read, "builder").await {
            read.builder(BuilderId(builder)).await.unwrap();
            read.cover_cells(BuilderId(builder)).await.unwrap();
        }
        read.worker_rows().await.unwrap();
        read.queue_rows(100).await.unwrap();
        for attempt in read.live_attempts().await.unwrap() {
            read.plan(attempt.build).await.unwrap();
        }
        read.waiting_notices(Timestamp(i64::MAX), 100).await.unwrap();
        read.old_logs((AttemptId(0), 0), Timestamp(i64::MAX), 100).await.unwrap();
        read.kept_toolchains().await.unwrap();
        let highest = read.journal_end().await.unwrap();
        drop(snapshot);
        store
            .write(|tx| {
                Box::pin(async move {
                    tx.journal(Topic::Worker, 1, AT);
                    Ok(())
                })
            })
            .await
            .unwrap();
        let next = store.snapshot().await.unwrap().read().journal_end().await.unwrap();
        assert_eq!(next, highest + 1, "numbers go on");
    }
}
