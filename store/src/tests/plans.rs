//! How SQLite finds what is asked for all day: never by reading all of a table that grows for ever.

use super::*;

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
        "select id, change_id, pin_id, reason = 'baseline', complete, same_as_id, outcome = 'passed', passes + bads
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
        "COVERING INDEX build_latest (builder_id=?)",
        "select max(b.id) from builder br cross join build b indexed by build_latest on b.builder_id = br.id
             where br.project_id = 1 and b.reason = 'latest'",
    ),
];

/// What SQLite means to do for a query, line by line.
async fn plan(farm: &Farm, sql: &str) -> Vec<String> {
    let explained = format!("explain query plan {sql}");
    let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(explained));
    let plan = ask!(farm, read => plan.fetch_all(&mut *read.connection)).unwrap();
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
