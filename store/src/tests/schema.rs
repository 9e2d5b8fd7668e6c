//! The migrations: their numbers, the schema that they make, and what each does to rows that are there already.
//!
//! If you add `migrations/0002_*.sql`, run these tests, do what they say, and commit what they ask for: a
//! new `migrations/schema.sql`, and `samples/0002.sql` with a row for each new table. A released migration, and
//! its samples, are never changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::*;
use crate::db::open::{MIGRATIONS, options};

/// Tables whose rows a migration means to change, by its number.
const CHANGED: &[(i64, &str)] = &[(18, "unstable_case")];

fn in_crate(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A database like the store's, as it is while migrations run.
async fn empty() -> (TempDir, SqliteConnection) {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder.path().join("farm.db")).foreign_keys(false);
    (folder, options.connect().await.unwrap())
}

/// Applies the migrations up to this one that are not applied yet.
async fn migrate(connection: &mut SqliteConnection, version: i64) {
    let migrations = MIGRATIONS.iter().filter(|migration| migration.version <= version).cloned();
    Migrator::with_migrations(migrations.collect()).run(&mut *connection).await.unwrap();
}

/// Adds the sample rows that belong to a migration. A migration without a new table has none.
async fn add_samples(connection: &mut SqliteConnection, version: i64) {
    if let Ok(rows) = std::fs::read_to_string(in_crate(&format!("src/tests/samples/{version:04}.sql"))) {
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(connection).await.unwrap();
    }
}

/// The columns of each table of ours that hold data: a generated one holds none.
async fn columns(connection: &mut SqliteConnection) -> BTreeMap<String, Vec<String>> {
    let rows = sqlx::query(
        "select t.name, c.name from sqlite_schema t join pragma_table_info(t.name) c
         where t.type = 'table' and t.name not like 'sqlite%' and t.name <> '_sqlx_migrations' order by 1, c.cid",
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

/// What is wrong with the database as a whole.
async fn wrong(connection: &mut SqliteConnection) -> Vec<String> {
    Read { connection }.integrity().await.unwrap()
}

#[test]
fn migrations_are_numbered_from_one_without_gaps() {
    let numbers: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    let folder = std::fs::read_dir(in_crate("../migrations")).unwrap();
    let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names.filter(|name| name != "schema.sql").collect();
    files.sort();
    // Four digits, so that a listing has them in order.
    let numbered = |(number, file): (&i64, &String)| file.starts_with(&format!("{number:04}_"));
    assert!(files.len() == numbers.len() && numbers.iter().zip(&files).all(numbered), "{files:?}");
}

/// The schema in one file is for people: it says what the tables are, however many migrations made them so.
#[tokio::test]
async fn all_migrations_together_make_the_schema_that_is_checked_in() {
    let (_folder, mut connection) = empty().await;
    migrate(&mut connection, i64::MAX).await;
    let statements: Vec<String> = sqlx::query_scalar(
        "select sql || ';' from sqlite_schema
         where sql is not null and name not like 'sqlite%' and name <> '_sqlx_migrations'
         order by tbl_name, type <> 'table', name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let made = format!(
        "-- The schema after all migrations, as SQLite keeps it: for reading and for comparing, never applied.\n\n{}\n",
        statements.join("\n\n")
    );
    let file = in_crate("../migrations/schema.sql");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        made == checked_in,
        "migrations/schema.sql is not what the migrations make; rewrite it with \
         `UPDATE_SCHEMA=1 cargo nextest run -p trunkfarm-store checked_in`, read the difference and commit it"
    );
}

/// Each migration is applied to a database that has rows in every table.
#[tokio::test]
async fn a_migration_keeps_the_rows_that_are_there() {
    let (_folder, mut connection) = empty().await;
    for version in MIGRATIONS.iter().map(|migration| migration.version) {
        let mut before = BTreeMap::new();
        for (table, columns) in columns(&mut connection).await {
            let rows = rows(&mut connection, &table, &columns).await;
            before.insert(table, (columns, rows));
        }
        migrate(&mut connection, version).await;
        assert_eq!(wrong(&mut connection).await, [""; 0], "after migration {version}");
        let after = columns(&mut connection).await;
        for (table, (columns, was)) in before {
            let meant = CHANGED.contains(&(version, table.as_str()));
            let lost = |column: &String| !after.get(&table).is_some_and(|columns| columns.contains(column));
            if meant || !after.contains_key(&table) {
                assert!(
                    meant,
                    "migration {version} drops the table {table}; if that is meant, add it to CHANGED"
                );
                continue;
            }
            let lost: Vec<&String> = columns.iter().filter(|column| lost(column)).collect();
            assert!(
                lost.is_empty(),
                "migration {version} drops {lost:?} of {table}; if that is meant, see CHANGED"
            );
            let is = rows(&mut connection, &table, &columns).await;
            assert_eq!(is, was, "migration {version} changes rows of {table}; if that is meant, see CHANGED");
        }
        add_samples(&mut connection, version).await;
        assert_eq!(wrong(&mut connection).await, [""; 0], "after the samples of migration {version}");
        for (table, columns) in after {
            let rows = rows(&mut connection, &table, &columns).await;
            let samples = format!("store/src/tests/samples/{version:04}.sql");
            assert!(
                !rows.is_empty(),
                "{table} is empty after migration {version}; give it a row in {samples}"
            );
        }
    }
}

/// A database with all samples, opened as the master opens it.
async fn sampled() -> (TempDir, Store) {
    let (folder, mut connection) = empty().await;
    for version in MIGRATIONS.iter().map(|migration| migration.version) {
        migrate(&mut connection, version).await;
        add_samples(&mut connection, version).await;
    }
    connection.close().await.unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn sample_cases_are_found_by_their_names() {
    let (_folder, store) = sampled().await;
    let mut snapshot = store.snapshot().await.unwrap();
    let mut read = snapshot.read();
    let names: Vec<(i64, String)> =
        sqlx::query_as("select id, name from named_case").fetch_all(&mut *read.connection).await.unwrap();
    for (id, name) in names {
        assert_eq!(read.case_named(&name).await.unwrap(), Some(CaseId(id)), "{name}");
    }
    let texts: Vec<(i64, String)> = sqlx::query_as("select hash, text from failure_message")
        .fetch_all(&mut *read.connection)
        .await
        .unwrap();
    for (hash, text) in texts {
        assert_eq!(hash, crate::cases::messages::hash(&text), "{text}");
    }
}

/// Whatever migrations make of old rows, the queries must take it.
#[tokio::test]
async fn every_sample_row_can_be_shown_and_worked_with() {
    let (_folder, store) = sampled().await;
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
        read.history_cells(BuilderId(builder)).await.unwrap();
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
