//! How SQLite finds what is asked for all day: never by reading all of a table that grows for ever.

use super::*;

/// The parts of the hot queries that choose an index, as they stand in them.
const ASKED_ALL_DAY: &[(&str, &str)] = &[
    ("what waits", "select id from build b where b.state = 'queued' and b.not_before_ms <= 5"),
    ("what waits next", "select min(not_before_ms) from build where state = 'queued' and not_before_ms > 5"),
    (
        "a side with a verdict",
        "select 1 from build indexed by build_tried where pin_id = 1
             and reason in ('tip', 'backfill', 'seam') and outcome in ('passed', 'failed')",
    ),
    ("what is unfinished", "select count(*) from build where state <> 'finished'"),
    (
        "a builder's cells",
        "select id from build where builder_id = 1 and reason in ('tip', 'backfill', 'seam')",
    ),
    ("a search's probes", "select count(*) from build where breakage_id = 1 and state <> 'finished'"),
    ("an equal build", "select id from build where inputs_sha256 = x'00' and builder_id = 1"),
    ("what points to a build", "select id from build where same_as_id = 1"),
    (
        "what is unbound",
        "update build set only_worker_id = null where only_worker_id = 1 and state = 'queued'",
    ),
    ("what is unwanted", "delete from build where state = 'queued' and attempts = 0"),
    ("what is live", "select id from attempt where ended_at_ms is null order by worker_id, id"),
    ("what a worker holds", "update attempt set trouble = '' where worker_id = 1 and ended_at_ms is null"),
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
    ("a text that was said before", "select id from case_text where hash = 5 and text = 'a'"),
    ("a build's transitions", "delete from transition where build_id = 1"),
    ("the outbox", "select id from notice where state = 'waiting' and next_try_at_ms <= 5"),
    ("a thread", "select id from notice where change_id = 1"),
    ("a change's places", "select position from branch_change where change_id = 1"),
];

#[tokio::test]
async fn no_hot_query_reads_all_of_a_table() {
    let farm = Farm::new().await;
    for &(what, sql) in ASKED_ALL_DAY {
        let explained = format!("explain query plan {sql}");
        let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(explained));
        let plan = ask!(farm, read => plan.fetch_all(&mut *read.connection)).unwrap();
        for (_, _, _, line) in plan {
            // A scan of a partial index reads what the index holds, and that is what was asked for.
            let whole = line.starts_with("SCAN") && !line.contains("INDEX") || line == "SEARCH build";
            assert!(!whole, "{what}: {line}");
        }
    }
}
