//! Every page of a small farm, requested as a browser, a script and an attacker would.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

mod farm;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use domain::health::{HealthProblem, Severity};
use farm::{Farm, LOG, body, write_log};
use tokio_stream::StreamExt;

const PAGES: [&str; 13] = [
    "/",
    "/waterfall",
    "/builds/2",
    "/builds/2/log/0",
    "/changes/1111111111111111111111111111111111111111",
    "/breakages",
    "/breakages/1",
    "/cases/2?name=b",
    "/workers",
    "/workers/quiet-corner",
    "/queue",
    "/stats",
    "/projects/tables",
];

#[tokio::test]
async fn the_waterfall_says_what_matters_before_it_shows_the_table() {
    let farm = Farm::new().await;
    let text = farm.text("/waterfall").await;
    let sentence = text.find("1 change of lua master breaks tables today.").expect("the sentence");
    let culprit =
        text.find("1 Break &#60;rep&#62; broke 1 test of tables; still broken").expect("the culprit");
    let table = text.find("Change toolchain tables").expect("the table");
    assert!(sentence < culprit && culprit < table, "{text}");
    assert!(text.contains("✗ 1 new 3.5 s"), "{text}");
    assert!(text.contains("▶ test"), "{text}");
    assert!(text.contains("· superseded"), "{text}");
}

#[tokio::test]
async fn the_culprits_row_is_joined_to_the_column_that_it_broke() {
    let farm = Farm::new().await;
    let json = farm.json("/api/v1/waterfall").await;
    let rail =
        |row: usize| json["rows"][row]["cells"][1]["rails"][0]["part"].as_str().unwrap_or("none").to_string();
    assert_eq!([0, 1, 2, 3].map(rail), ["open", "through", "start", "none"]);
    assert_eq!(json["rows"][2]["culprit"], 1);
    let html = farm.html("/waterfall").await;
    assert!(html.contains("class=\"beam end lane-0 hue-0\""));
    assert!(html.contains("class=\"knot lane-0 hue-0\">1</i>"));
}

#[tokio::test]
async fn every_page_shows_its_facts() {
    let farm = Farm::new().await;
    for (path, facts) in [
        (
            "/",
            &[
                "1 change of lua master breaks tables today.",
                "still broken",
                "lua master",
                "✓ tip: 2 passed;",
            ][..],
        ),
        (
            "/builds/2",
            &[
                "tables at Break &#60;rep&#62; failed in test (exit): 1 new",
                "✗ exit 1",
                "5 lines",
                "b pass fail ✗ new failure",
            ],
        ),
        ("/builds/3", &["tables at Tip is running", "Live log of test"]),
        (
            "/changes/1111111",
            &["It broke 1 test of tables; not repaired yet.", "Why &#38; how.", "lapi.c", "master #2"],
        ),
        ("/breakages", &["1 breakage is open; 1 of them has a culprit.", "named", "b"]),
        (
            "/breakages/1",
            &[
                "Break &#60;rep&#62; broke 1 test of tables",
                "✗ culprit",
                "✓ good",
                "✗ 1 bad build 2",
                "quiet-corner",
                "Proof: 3 passes before it, 3 failures with it, on quiet-corner.",
            ],
        ),
        (
            "/cases/2?name=b",
            &["Since Break &#60;rep&#62;: fail.", "breakage 1", "✓ 1 ✗ 2", "pass ✗ fail build 2", "✗ fail b"],
        ),
        ("/workers", &["1 worker is connected.", "Ada Lund", "1 of 2 slots busy", "linux x86_64", "maker"]),
        (
            "/workers/quiet-corner",
            &[
                "quiet-corner ▶ 1 of 2 slots busy",
                "Owner Ada Lund",
                "Searches that began on this machine named these culprits:",
                "Break &#60;rep&#62; tables",
                "Its last builds",
            ],
        ),
        ("/queue", &["1 build is running; none are queued.", "on quiet-corner"]),
        (
            "/stats",
            &[
                "No answer was repeated in the last 45 days.",
                "A culprit is bad not repeated yet",
                "Answer Searches named 1",
            ],
        ),
        (
            "/projects/tables",
            &["1 breakage is open.", "✓ current ffffffffffff", "in use since", "✓ tip: 2 passed;"],
        ),
    ] {
        let text = farm.text(path).await;
        for fact in facts {
            assert!(text.contains(fact), "{path} lacks {fact:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_failure_of_a_case_that_is_known_to_be_flaky_is_not_red() {
    let farm = Farm::new().await;
    assert!(farm.text("/builds/2").await.contains("1 new"));
    farm.prove_flaky().await;
    for (path, fact) in [
        ("/", "~ tip: 1 flaky;"),
        ("/waterfall", "~ 1 flaky"),
        ("/waterfall", "✓ passed ~ flaky"),
        ("/builds/2", "failed in test (exit), but only in cases that are known to be flaky"),
        ("/builds/2", "b pass fail ~ new failure"),
        ("/changes/1111111", "~ 1 flaky"),
        ("/breakages", "Flaky: no change is blamed"),
        ("/breakages/2", "1 test of tables fails intermittently on identical inputs; no change is blamed"),
    ] {
        let text = farm.text(path).await;
        assert!(text.contains(fact), "{path} lacks {fact:?}: {text}");
    }
}

#[tokio::test]
async fn every_page_is_json_too() {
    let farm = Farm::new().await;
    for path in PAGES {
        let path = if path == "/" { "/status" } else { path };
        let json = farm.json(&format!("/api/v1{path}")).await;
        assert!(json.is_object(), "{path}");
    }
}

#[tokio::test]
async fn no_page_holds_an_inline_script_or_style() {
    let farm = Farm::new().await;
    for path in PAGES {
        let response = farm.get(path).await;
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_string();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = body(response).await;
        for bad in ["style=", "<style", "<script>", " onclick", "javascript:", "http://"] {
            assert!(!html.contains(bad), "{path} holds {bad}");
        }
    }
}

#[tokio::test]
async fn a_log_is_inert() {
    let farm = Farm::new().await;
    let html = farm.html("/builds/2/log/0").await;
    assert!(html.contains("<span class=\"a1\">not ok 2</span>"));
    assert!(html.contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    assert!(html.contains("<span class=\"ctl\">^M×1</span>20%"));
    assert!(html.contains("<span class=\"ctl\">^G</span>"));
    assert!(html.contains("id=\"L3\""));
}

#[tokio::test]
async fn a_window_of_a_log_begins_at_the_requested_line() {
    let farm = Farm::new().await;
    let json = farm.json("/api/v1/builds/2/log/0?from=4").await;
    assert_eq!(json["lines"][0]["number"], 4);
    assert_eq!(json["lines"].as_array().unwrap().len(), 2);
    let json = farm.json("/api/v1/builds/2/log/0?from=400000").await;
    assert_eq!(json["lines"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_raw_log_is_complete_and_is_not_a_page() {
    let farm = Farm::new().await;
    let response = farm.get("/builds/2/log/0/raw").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(body(response).await.as_bytes(), LOG);
}

#[tokio::test]
async fn an_address_that_names_nothing_is_answered_by_a_sentence() {
    let farm = Farm::new().await;
    for (path, message) in [
        ("/nonsense", "There is no such page."),
        ("/builds/99", "There is no such build."),
        ("/workers/nobody", "There is no such worker."),
        ("/builds/x", "There is no such build."),
        ("/builds/2/log/9", "There is no such step."),
        ("/builds/2/log/70000", "There is no such step."),
        ("/breakages/9", "There is no such breakage."),
        ("/changes/abcdef0", "There is no such change."),
        ("/changes/%27;--", "A change is named by 7 to 40 hexadecimal digits"),
        ("/waterfall?branch=none", "There is no such branch."),
        ("/static/../farm.toml", "There is no such"),
    ] {
        let response = farm.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let html = body(response).await;
        assert!(html.contains(message), "{path}: {html}");
    }
    let response = farm.get("/api/v1/builds/99").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(body(response).await, r#"{"error":"There is no such build."}"#);
}

#[tokio::test]
async fn a_page_that_did_not_change_is_not_sent_again() {
    let farm = Farm::new().await;
    for path in PAGES.into_iter().chain(["/static/farm.css", "/static/farm.js"]) {
        let tag = farm.get(path).await.headers()[header::ETAG].clone();
        let again = Request::get(path).header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
        assert_eq!(farm.send(again).await.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
}

#[tokio::test]
async fn a_problem_of_the_configuration_is_shown_on_every_page() {
    let farm = Farm::new().await;
    let sentence = "farm.toml:3: unknown key <b>".to_string();
    let problem = HealthProblem { severity: Severity::Warning, sentence };
    farm.status.send_modify(|status| status.problems = vec![problem]);
    for path in PAGES {
        assert!(farm.html(path).await.contains("farm.toml:3: unknown key &#60;b&#62;"), "{path}");
    }
}

#[tokio::test]
async fn a_reconnecting_reader_gets_what_it_missed_and_the_stream_ends_with_the_farm() {
    let farm = Farm::new().await;
    let request = Request::get("/api/v1/events").header("last-event-id", "1").body(Body::empty()).unwrap();
    let mut stream = farm.send(request).await.into_body().into_data_stream();
    let first = stream.next().await.unwrap().unwrap();
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(first.contains("event: journal") && first.contains("id: 2"), "{first}");
    farm.stop.cancel();
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn a_live_log_is_streamed_until_its_step_has_ended() {
    let farm = Farm::new().await;
    let mut stream = farm.get("/builds/3/log/0/events").await.into_body().into_data_stream();
    let logs = farm.store.data().join("logs");
    let build = farm.builds[2];
    farm.store
        .write(move |w| {
            Box::pin(async move {
                let attempt = w.live_attempts().await?.into_iter().find(|a| a.build == build).unwrap().id;
                let log = write_log(&logs, attempt, b"one\n<b>two</b>\nunended");
                w.commit_log(attempt, 0, log).await
            })
        })
        .await
        .unwrap();
    let event = stream.next().await.unwrap().unwrap();
    let event = String::from_utf8_lossy(&event).into_owned();
    assert!(event.contains("<b>two</b>") && event.contains("id: 15"), "{event}");
    assert!(!event.contains("unended"), "{event}");
    farm.store
        .write(move |w| {
            Box::pin(async move {
                let attempt = w.live_attempts().await?.into_iter().find(|a| a.build == build).unwrap().id;
                let end = protocol::StepEnd::Exit { code: 0 };
                let result = store::StepResult { end: &end, duration_ms: 5, warnings: &[] };
                w.end_step(attempt, 0, &result, domain::words::ids::Timestamp(farm::T0)).await
            })
        })
        .await
        .unwrap();
    let mut rest = String::new();
    while let Some(part) = stream.next().await {
        rest.push_str(&String::from_utf8_lossy(&part.unwrap()));
    }
    assert!(rest.contains("unended") && rest.contains("event: end"), "{rest}");
}

#[tokio::test]
async fn the_reader_after_two_thousand_live_readers_is_refused() {
    let farm = Farm::new().await;
    let mut readers = Vec::new();
    for _ in 0..2_000 {
        let response = farm.get("/api/v1/events").await;
        assert_eq!(response.status(), StatusCode::OK);
        readers.push(response);
    }
    let refused = farm.get("/api/v1/events").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(body(refused).await.contains("Too many readers are connected for live updates"));
    assert_eq!(farm.get("/waterfall").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn healthz_is_200_while_the_farm_works_and_lists_what_is_wrong() {
    let farm = Farm::new().await;
    let health = async || {
        let response = farm.get("/healthz").await;
        (response.status(), body(response).await)
    };
    assert_eq!(health().await, (StatusCode::OK, "All is well.\n".to_string()));
    let problem = |severity, sentence: &str| HealthProblem { severity, sentence: sentence.to_string() };
    farm.status.send_modify(|status| status.problems = vec![problem(Severity::Warning, "Mail waits.")]);
    assert_eq!(health().await, (StatusCode::OK, "Mail waits.\n".to_string()));
    farm.status.send_modify(|status| status.problems.push(problem(Severity::Grave, "The disk is full.")));
    let sentence = "Mail waits.\nThe disk is full.\n".to_string();
    assert_eq!(health().await, (StatusCode::SERVICE_UNAVAILABLE, sentence));

    farm.status.send_modify(|status| {
        status.problems.clear();
        status.valid_until = Some(tokio::time::Instant::now());
    });
    let (status, sentence) = health().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        sentence,
        "The result of the last health check has expired: the master no longer checks its health.\n"
    );
}

#[tokio::test]
async fn the_page_of_a_pruned_log_shows_when_it_was_pruned_and_its_build_stays() {
    let farm = Farm::new().await;
    let build = farm.builds[1];
    farm.store
        .write(move |w| {
            Box::pin(async move {
                let attempt = w.build(build).await?.attempt.expect("it was finished by an attempt");
                w.mark_log_pruned(attempt, 0, domain::words::ids::Timestamp(farm::T0)).await
            })
        })
        .await
        .unwrap();
    let log = format!("/builds/{build}/log/0");
    let text = farm.text(&log).await;
    assert!(text.contains("This log was pruned on 23 Nov 2026, 08:00:00."), "{text}");
    assert!(!text.contains("The step printed nothing"), "{text}");
    let raw = farm.get(&format!("{log}/raw")).await;
    assert_eq!(raw.status(), StatusCode::GONE);
    assert!(body(raw).await.contains("This log was pruned on 23 Nov 2026"));
    farm.html(&format!("/builds/{build}")).await;
}
