//! How SQLite finds what is asked for all day: never by reading all of a table that grows for ever.

use std::collections::BTreeMap;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnection;

use super::*;
use crate::db::open::options;

/// The parts of the hot queries that choose an index, as they stand in them.
const ASKED_ALL_DAY: &[(&str, &str)] = &[
    ("what waits", "select id from build b where b.state = 'queued' and b.not_before_ms <= 5"),
    ("what waits next", "select min(not_before_ms) from build where state = 'queued' and not_before_ms > 5"),
    (
        "a side with a verdict",
        "select 1 from build indexed by build_tried where pin_id = 1
             and makes_history and is_verdict",
    ),
    ("what is unfinished", "select count(*) from build where state <> 'finished'"),
    ("a builder's cells", "select id from build where builder_id = 1 and makes_history"),
    ("a search's probes", "select count(*) from build where breakage_id = 1 and state <> 'finished'"),
    ("an equal build", "select id from build where inputs_sha256 = x'00' and builder_id = 1"),
    ("what points to a build", "select id from build where same_as_id = 1"),
    (
        "what is unbound",
        "update build set only_worker_id = null where only_worker_id = 1 and state = 'queued'",
    ),
    ("what is unwanted", "delete from build where state = 'queued' and attempts = 0"),
    ("what is live", "select id from attempt where ended_at_ms is null order by worker_id, id"),
    ("what a worker holds", "update attempt set end_reason = '' where worker_id = 1 and ended_at_ms is null"),
    ("a build's attempts", "select worker_id from attempt where build_id = 1 and ended_at_ms is not null"),
    (
        "what is undecided",
        "select id from breakage where state in ('suspected', 'searching') and ended_at_ms is null",
    ),
    ("a culprit's breakages", "select id from breakage where culprit_id = 1"),
    (
        "a change's runs",
        "select id from build where builder_id = 1 and change_id in (1, 2) and reason = 'null'",
    ),
    ("a case by its name", "select id from named_case where hash = 5 and name = 'a'"),
    ("a text that was said before", "select id from failure_message where hash = 5 and text = 'a'"),
    ("a build's transitions", "delete from transition where build_id = 1"),
    ("the outbox", "select id from notice where state = 'waiting' and next_try_at_ms <= 5"),
    ("a thread", "select id from notice where change_id = 1"),
    ("a change's places", "select position from branch_change where change_id = 1"),
];

/// Queries that are slow in a grown farm by any other index than this one.
const BY_ONE_INDEX: &[(&str, &str)] = &[
    (
        "COVERING INDEX build_history (builder_id=?)",
        "select id, change_id, pin_id, toolchain_inputs_id, reason = 'baseline', complete, same_as_id, outcome = 'passed', passes + bads
             from builder_history where builder_id = 1",
    ),
    (
        "INDEX build_tried (pin_id=?)",
        "select 1 from build where pin_id = 1 and makes_history and is_verdict",
    ),
    (
        "INDEX build_by_inputs (inputs_sha256=?)",
        "select id from build indexed by build_by_inputs
             where inputs_sha256 = x'00' and builder_id = 1 and same_as_id is null and makes_history
                 and (outcome is null or (is_verdict and complete is not 0))
             order by outcome is null, id limit 1",
    ),
    (
        "INDEX build_by_inputs (inputs_sha256=? AND rowid<?)",
        "select b.id from build b indexed by build_by_inputs join attempt a on a.id = b.attempt_id
             where b.inputs_sha256 = x'00' and b.builder_id = 1 and b.id <= 3 and b.is_verdict
             order by b.id desc limit 12",
    ),
    (
        "INDEX build_by_cell (builder_id=? AND change_id=? AND rowid<?)",
        "select count(*) from build p where p.builder_id = 1 and p.change_id = 1 and p.reason = 'probe' and p.id < 3",
    ),
    (
        "INDEX cache_disagreement_found (found_at_ms>?)",
        "select d.cases from cache_disagreement d where d.found_at_ms > 1 order by d.found_at_ms desc limit 5",
    ),
    (
        "INDEX attempt_by_worker (worker_id=?)",
        "select a.id from attempt a indexed by attempt_by_worker join build b on b.id = a.build_id
             where a.worker_id = 1 order by a.id desc limit 40",
    ),
    (
        "INDEX breakage_found_by (search_worker_id=?)",
        "select k.id from breakage k indexed by breakage_found_by
             where k.search_worker_id = 1 and k.found = 'named' and k.state <> 'gone' order by k.found_at_ms desc limit 20",
    ),
    (
        "COVERING INDEX build_latest (builder_id=?)",
        "select max(b.id) from builder br cross join build b indexed by build_latest on b.builder_id = br.id
             where br.project_id = 1 and b.reason = 'latest'",
    ),
];

/// What SQLite means to do for a query, line by line.
async fn plan(farm: &Farm, sql: &str) -> Vec<String> {
    let mut snapshot = farm.store.snapshot().await.unwrap();
    let read = snapshot.read();
    explain(read.connection, sql).await
}

async fn explain(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explained = format!("explain query plan {sql}");
    let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(explained));
    let plan = plan.fetch_all(connection).await.unwrap();
    plan.into_iter().map(|(_, _, _, line)| line).collect()
}

#[tokio::test]
async fn queries_that_need_their_index_get_it() {
    let farm = Farm::new().await;
    for &(index, sql) in BY_ONE_INDEX {
        let plan = plan(&farm, sql).await;
        assert!(plan.iter().any(|line| line.contains(&format!(" USING {index}"))), "{index}: {plan:?}");
    }
}

/// The rules that the schema states once, in each of their words.
#[tokio::test]
async fn the_schema_and_the_program_agree_on_what_makes_history() {
    let farm = Farm::new().await;
    for &reason in Reason::ALL {
        for &outcome in Outcome::ALL {
            let build = farm.queue(farm.suite(1, reason)).await;
            farm.finish(build, outcome).await;
            let row = sqlx::query_as::<_, (bool, bool, bool)>(
                "select makes_history, is_verdict, id in (select id from builder_history) from build where id = ?",
            )
            .bind(build.0);
            let (makes_history, is_verdict, is_in_view) =
                ask!(farm, read => row.fetch_one(&mut *read.connection)).unwrap();
            let shown = format!("{reason:?} {outcome:?}");
            assert_eq!(makes_history, reason.makes_history(), "{shown}");
            assert_eq!(is_verdict, matches!(outcome, Outcome::Passed | Outcome::Failed), "{shown}");
            assert_eq!(is_in_view, makes_history && is_verdict, "{shown}");
            // A cell makes history once.
            farm.store
                .write(move |tx| {
                    Box::pin(async move {
                        let aside =
                            sqlx::query("update build set reason = 'force' where id = ?").bind(build.0);
                        Ok(aside.execute(&mut *tx.connection).await?.rows_affected())
                    })
                })
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn no_hot_query_reads_all_of_a_table() {
    let farm = Farm::new().await;
    for &(what, sql) in ASKED_ALL_DAY {
        for line in plan(&farm, sql).await {
            // A scan of a partial index reads what the index holds, and that is what was asked for.
            let whole = line.starts_with("SCAN") && !line.contains("INDEX") || line == "SEARCH build";
            assert!(!whole, "{what}: {line}");
        }
    }
}

/// Tables that grow with each change, build or mail. The others are as large as the configuration.
const GROWING: &[&str] = &[
    "artifact",
    "attempt",
    "branch_change",
    "breakage",
    "breakage_case",
    "build",
    "builder_history",
    "cache_disagreement",
    "case_failure",
    "case_list",
    "case_name",
    "case_scope",
    "change",
    "change_path",
    "environment",
    "failure_message",
    "late_report",
    "named_case",
    "notice",
    "notice_breakage",
    "notice_mention",
    "probe",
    "search",
    "self_check",
    "step",
    "suspect",
    "suspicion_record",
    "transition",
];

/// Functions whose statements may read all of a growing table by this name, and why.
const MAY_SCAN: &[(&str, &str, &str)] = &[
    ("audit", "attempt", "an audit counts everything"),
    ("audit", "b", "an audit counts everything"),
    ("audit", "late_report", "an audit counts everything"),
    ("audit", "notice", "an audit counts everything"),
    ("bound_builds", "artifact", "it runs only after the clock was ahead"),
    ("bound_sources", "change", "it runs only after the clock was ahead"),
    ("breakage_rows", "k", "pages list breakages, with a limit"),
    ("counts", "notice", "metrics count the mails of each state, at most once a scrape"),
    ("fallen_repairs", "s", "an index of the fallen ones alone, which are few"),
    ("history_cells", "artifact", "it needs all toolchains that were pruned"),
    ("idle_work", "build", "it reads the last builds that ended, with a limit"),
    ("kept_toolchains", "a", "pruning weighs all toolchains, once in a while"),
    ("kept_toolchains", "b", "pruning weighs all toolchains, once in a while"),
    ("orphans", "step", "the doctor compares all rows with the files"),
    ("runs_of_others", "b", "it is asked only while a machine is on probation"),
    ("failures_of_change", "k", "a page of one change looks for its breakages"),
    ("toolchain_orphans", "artifact", "the doctor compares all rows with the files"),
    ("wrong_notices", "nb", "a later search may contradict any mail"),
];

/// A statement of the store as its source has it, with the function that runs it.
struct Statement {
    function: String,
    sql: String,
}

/// All statements that the store's sources contain, in the very text that runs.
fn statements() -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((path.file_name().unwrap() != "tests").then_some(path));
            } else {
                read_statements(&std::fs::read_to_string(path).unwrap(), &mut statements);
            }
        }
    }
    statements
}

fn read_statements(source: &str, statements: &mut Vec<Statement>) {
    // The macro that is being defined, and the beginnings of statements that macros complete.
    let (mut function, mut defining, mut beginnings) = (String::new(), String::new(), BTreeMap::new());
    let mut rest = source;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
        rest = &rest[at..];
        let end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        match word {
            "fn" => function = first_word(rest).to_string(),
            "macro_rules" => defining = first_word(rest).to_string(),
            "query" | "query_scalar" | "query_as" if rest.starts_with("!(") => {
                let (sql, behind) = literal(rest);
                if behind.trim_start().starts_with("+ $where") {
                    beginnings.insert(defining.clone(), sql);
                } else {
                    statements.push(Statement { function: function.clone(), sql });
                }
                rest = behind;
            }
            completed if rest.starts_with("!(") && beginnings.contains_key(completed) => {
                let (end, behind) = literal(rest);
                let sql = format!("{}{end}", beginnings[completed]);
                statements.push(Statement { function: function.clone(), sql });
                rest = behind;
            }
            _ => {}
        }
    }
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
    &text[..text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len())]
}

/// The first string of a text as Rust reads it, and what follows it.
fn literal(text: &str) -> (String, &str) {
    let (before, behind) = text.split_once('"').expect("a query has its text");
    if before.ends_with("r#") {
        let (sql, behind) = behind.split_once("\"#").expect("the text ends");
        return (sql.to_string(), behind);
    }
    let (mut sql, mut letters) = (String::new(), behind.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (sql, &behind[at + 1..]),
            '\\' => sql.extend(letters.next().map(|(_, escaped)| escaped)),
            other => sql.push(other),
        }
    }
    panic!("the text does not end")
}

/// The very statements that run, not copies: one that reads all of a growing table names its reason in [`MAY_SCAN`].
#[tokio::test]
async fn no_statement_reads_all_of_a_growing_table_without_a_reason() {
    let farm = Farm::new().await;
    // An insert checks the rows that refer to the new one only while a violated reference waits to be repaired. Only a
    // delete has to look for them, so its plan alone counts those scans.
    let options = options(&farm.folder.path().join("farm.db")).foreign_keys(false);
    let mut without_references = options.connect().await.unwrap();
    let statements = statements();
    assert!(statements.len() > 200, "only {} statements were found", statements.len());
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for Statement { function, sql } in &statements {
        let lines = match sql.trim_start().starts_with("delete") {
            true => plan(&farm, sql).await,
            false => explain(&mut without_references, sql).await,
        };
        for scanned in lines.iter().filter_map(|line| scan_of_growing(line, sql)) {
            match MAY_SCAN.iter().position(|(name, table, _)| (*name, *table) == (function, scanned)) {
                Some(at) => drop(used.insert(at)),
                None => wrong.push(format!("{function} reads all of {scanned}: {lines:?}")),
            }
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused = MAY_SCAN.iter().enumerate().filter(|(at, _)| !used.contains(at));
    let unused: Vec<_> = unused.map(|(_, entry)| entry).collect();
    assert!(unused.is_empty(), "these no longer scan, so they need no reason: {unused:?}");
}

/// The growing table that a line of a plan reads all of, as the statement calls it. A scan of a partial index reads what
/// the index holds, which is what its statement wants.
fn scan_of_growing<'l>(line: &'l str, sql: &str) -> Option<&'l str> {
    let scanned = line.strip_prefix("SCAN ")?;
    let alias = scanned.split_whitespace().next()?;
    let index = scanned.split_once("INDEX ").and_then(|(_, name)| name.split_whitespace().next());
    if index.is_some_and(|index| PARTIAL.contains(&index)) {
        return None;
    }
    let words: Vec<&str> = sql
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let is_growing = |table: &&str| alias == *table || words.windows(2).any(|pair| pair == [*table, alias]);
    GROWING.iter().any(is_growing).then_some(alias)
}

/// Partial indexes over what is small however old the farm is: what waits, runs or is open.
const PARTIAL: &[&str] = &[
    "attempt_live",
    "breakage_not_over",
    "breakage_open",
    "build_queued",
    "build_unfinished",
    "notice_waiting",
    "search_with_news",
    "self_check_running",
];
