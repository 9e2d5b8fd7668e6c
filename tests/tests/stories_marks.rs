//! Stories about marks that people set on cases, and about canaries that show whether the farm detects failures.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, culprit, farewell, farm_with_greetings, greeting, has_none, only, until_idle,
    until_mails,
};

fn mark(farm: &Farm, project: &str, is: &str, case: &str, until: &str) {
    let file = format!("projects/{project}.toml");
    let text = std::fs::read_to_string(farm.path(&file)).unwrap();
    let lines = format!(
        "[[mark]]\ncase = \"{case}\"\nis = \"{is}\"\nissue = \"https://example.org/issues/7\"\nuntil = \"{until}\"\n"
    );
    farm.write(&file, &format!("{text}{lines}"));
}

#[test]
fn a_marked_case_that_fails_is_not_a_breakage_unless_its_mark_is_void() {
    let mut farm = farm_with_greetings();
    for (project, until) in [("marked", "2999-12-31"), ("void", "2020-01-01")] {
        farm.project(project, &greeting());
        mark(&farm, project, "flaky", "gree*", until);
    }
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let mails = until_mails(&mut farm, 1);
    assert!(has_none(&farm, "marked").unwrap());
    assert_eq!(culprit(&only(&farm, "void")), Some(breaking.clone()));
    assert!(!mails[0].contains("marked@example.org"), "{}", mails[0]);
    assert_eq!(farm.column("marked").unwrap().last().unwrap(), "flaky");
    let build = farm.finished_build(&breaking, "marked");
    let case = build["cases"].as_array().unwrap().iter().find(|case| case["name"] == "greets").unwrap();
    assert_eq!(case["mark"]["issue"], "https://example.org/issues/7");
}

#[test]
fn a_case_that_still_fails_when_its_mark_expires_is_reported_then() {
    let mut farm = farm_with_greetings();
    farm.project("marked", &greeting());
    let in_two_days = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48);
    mark(&farm, "marked", "expected-to-fail", "greets", &in_two_days.strftime("%F").to_string());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_idle(&mut farm, 3);
    assert!(has_none(&farm, "marked").unwrap());
    assert_eq!(farm.mails(), Vec::<String>::new());
    farm.restart_master_later("+3d");
    commit_lang(&farm, "hullo", "bye", "Nothing of note");
    let mails = until_mails(&mut farm, 1);
    assert_eq!(culprit(&only(&farm, "marked")), Some(breaking));
    assert!(mails[0].contains("greets"), "{}", mails[0]);
}

#[test]
fn a_case_that_is_expected_to_fail_and_passes_is_shown_on_its_page() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hullo", "bye", "first");
    farm.project("marked", &greeting());
    mark(&farm, "marked", "expected-to-fail", "greets", "2999-12-31");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let page = farm.json("/projects/marked").unwrap();
    assert_eq!(page["marks"][0]["passing"], serde_json::json!([]), "{page}");
    let repairing = commit_lang(&farm, "hello", "bye", "Greet as in the south");
    until_idle(&mut farm, 3);
    let build = farm.finished_build(&repairing, "marked");
    let case = build["cases"].as_array().unwrap().iter().find(|case| case["name"] == "greets").unwrap();
    assert_eq!(case["transition"], "unexpected-pass", "{build}");
    let page = farm.json("/projects/marked").unwrap();
    assert_eq!(page["marks"][0]["passing"][0]["case"], "greets", "{page}");
    let text = farm.get("/projects/marked").unwrap();
    assert!(text.contains("1 of its marks</a> expects failures of cases that pass now"), "{text}");
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn while_a_canary_is_failing_no_mail_is_sent() {
    let mut farm = farm_with_greetings();
    let needed = farm.path("needed");
    let seeing =
        format!("{TAP}sees() {{ [ -e {} ] && echo yes; }}\nis yes sees 'sees'\nfinish\n", needed.display());
    farm.project("seeing", &seeing);
    farm.project("failing", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.project("parting", &farewell());
    for (project, canary) in [("seeing", "must-pass"), ("failing", "must-fail")] {
        farm.replace_in(
            &format!("projects/{project}.toml"),
            "[recipe]",
            &format!("canary = \"{canary}\"\n[recipe]"),
        );
    }
    farm.write("needed", "");
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    assert_eq!(farm.json("/status").unwrap()["failing_canaries"], serde_json::json!([]));

    std::fs::remove_file(&needed).unwrap();
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_idle(&mut farm, 3);
    assert_eq!(culprit(&only(&farm, "parting")), Some(breaking.clone()));
    let blind = farm.json("/status").unwrap()["failing_canaries"][0].to_string();
    assert!(blind.contains("seeing, which must pass, failed"), "{blind}");
    assert!(farm.get("/").unwrap().contains("Canary failing on "));
    assert_eq!(farm.mails(), Vec::<String>::new());

    farm.write("needed", "");
    commit_lang(&farm, "hello", "cheerio", "Explain");
    let mails = until_mails(&mut farm, 1);
    assert!(mails[0].contains(&breaking[..12]), "{}", mails[0]);
    assert_eq!(farm.json("/status").unwrap()["failing_canaries"], serde_json::json!([]));
}

#[test]
fn a_canary_stops_the_mail_of_its_own_trunk_alone() {
    let mut farm = farm_with_greetings();
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    let (_, trunk) = text.split_once("[[trunk]]").unwrap();
    farm.write("farm.toml", &format!("{text}\n[[trunk]]{}", trunk.replace("\"lang\"\n", "\"other\"\n")));
    farm.project("blind", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.replace_in("projects/blind.toml", "\"lang\"", "\"other\"");
    farm.replace_in("projects/blind.toml", "[recipe]", "canary = \"must-pass\"\n[recipe]");
    farm.project("parting", &farewell());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    let mails = until_mails(&mut farm, 1);
    assert!(mails[0].contains(&breaking[..12]), "{}", mails[0]);
    let blind = farm.json("/status").unwrap()["failing_canaries"][0].to_string();
    assert!(blind.contains("mail about other waits"), "{blind}");
}

#[test]
fn a_worker_in_probation_makes_no_history_until_it_has_agreed_often_enough() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let code = farm.join("newcomer");
    farm.approve(&code, "probation");
    farm.run_worker("newcomer");
    farm.until("its probation is over", |farm| {
        let page = farm.json("/workers")?;
        let workers = page["workers"].as_array().into_iter().flatten();
        Ok(workers.into_iter().any(|row| row["name"] == "newcomer" && row["trust"] == "counted"))
    });
    assert!(has_none(&farm, "polite").unwrap());
    assert_eq!(farm.column("polite").unwrap().last().unwrap(), "passed");
}

#[test]
fn a_mark_speaks_for_an_open_breakage_and_a_marked_failure_is_shown_as_expected() {
    let mut farm = farm_with_greetings();
    farm.project("marked", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_mails(&mut farm, 1);
    let breakage = only(&farm, "marked");
    assert_eq!(breakage["marks"], serde_json::json!([]), "{breakage}");
    mark(&farm, "marked", "expected-to-fail", "gree*", "2999-12-31");
    farm.until("the mark speaks for the breakage", |farm| {
        Ok(only(farm, "marked")["marks"][0]["issue"] == "https://example.org/issues/7")
    });
    let breakage = only(&farm, "marked");
    assert_eq!(breakage["ended_at"], serde_json::Value::Null, "it is open still");
    assert_eq!(
        (&breakage["status_style"], &breakage["marks"][0]["kind"]),
        (&"expected".into(), &"expected to fail".into())
    );
    let page = farm.get(&format!("/breakages/{}", breakage["id"])).unwrap();
    assert!(page.contains("href=\"https://example.org/issues/7\""), "{page}");
    let status = farm.json("/status").unwrap();
    assert_eq!(status["culprits"][0]["marks"][0]["issue"], "https://example.org/issues/7", "{status}");
    assert!(farm.get("/").unwrap().contains("href=\"https://example.org/issues/7\""));
    let change = farm.json(&format!("/changes/{breaking}")).unwrap();
    assert_eq!(change["broke"][0]["status_style"], "expected", "{change}");
    let groups = farm.json("/breakages").unwrap();
    assert_eq!(groups["groups"][0]["breakages"][0]["status_style"], "expected", "{groups}");

    // The cell of each place that shows the build of this change.
    assert_eq!(farm.column("marked").unwrap().last().unwrap(), "expected");
    let strip = farm.json("/projects/marked").unwrap()["recent_builds"][0]["marks"].clone();
    assert_eq!(strip.as_array().unwrap().last().unwrap()["status_style"], "expected", "{strip}");
    let strip = status["recent_builds"].as_array().unwrap().last().unwrap()["marks"].clone();
    assert_eq!(strip.as_array().unwrap().last().unwrap()["status_style"], "expected", "{strip}");
    let build = farm.finished_build(&breaking, "marked");
    assert_eq!(build["status_style"], "expected", "{build}");
    let case = build["cases"].as_array().unwrap().iter().find(|case| case["name"] == "greets").unwrap();
    assert_eq!(case["status_style"], "expected", "{case}");
}

#[test]
fn a_canary_that_must_fail_is_expected_to_and_is_a_problem_of_the_farm_when_it_passes() {
    let mut farm = farm_with_greetings();
    farm.project("failing", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.replace_in("projects/failing.toml", "[recipe]", "canary = \"must-fail\"\n[recipe]");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    assert_eq!(farm.column("failing").unwrap(), ["expected", "expected"]);
    farm.until("the farm is well", |farm| Ok(farm.json("/healthz")?["well"] == true));
    farm.revise("failing", &format!("{TAP}told ok 'never'\nfinish\n"));
    farm.until("the farm is not well", |farm| {
        let health = farm.json("/healthz")?;
        let sentence = health["problems"][0]["sentence"].as_str().unwrap_or_default();
        Ok(sentence.contains("failing, which must fail, passed on ")
            && farm.get("/")?.contains("which must fail, passed"))
    });
}
