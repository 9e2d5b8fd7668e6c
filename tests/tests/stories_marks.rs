//! Stories of what humans say of cases, and of canaries that say whether the farm can see.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, culprit, farewell, greeting, has_none, only, polite, speak, until_mails, until_rest,
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
fn a_marked_case_that_fails_is_no_breakage_and_one_whose_mark_is_void_is() {
    let mut farm = polite();
    for (project, until) in [("marked", "2999-12-31"), ("void", "2020-01-01")] {
        farm.project(project, &greeting());
        mark(&farm, project, "flaky", "gree*", until);
    }
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let breaking = speak(&farm, "hullo", "bye", "Greet as in the north");
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
fn what_still_fails_when_its_mark_runs_out_is_told_then() {
    let mut farm = polite();
    farm.project("marked", &greeting());
    let in_two_days = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48);
    mark(&farm, "marked", "expected-to-fail", "greets", &in_two_days.strftime("%F").to_string());
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let breaking = speak(&farm, "hullo", "bye", "Greet as in the north");
    until_rest(&mut farm, 3);
    assert!(has_none(&farm, "marked").unwrap());
    assert_eq!(farm.mails(), Vec::<String>::new());
    farm.serve_later("+3d");
    speak(&farm, "hullo", "bye", "Nothing of note");
    let mails = until_mails(&mut farm, 1);
    assert_eq!(culprit(&only(&farm, "marked")), Some(breaking));
    assert!(mails[0].contains("greets"), "{}", mails[0]);
}

#[test]
fn a_case_that_is_expected_to_fail_and_passes_is_news_on_its_page() {
    let mut farm = Farm::lay();
    speak(&farm, "hullo", "bye", "first");
    farm.project("marked", &greeting());
    mark(&farm, "marked", "expected-to-fail", "greets", "2999-12-31");
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let page = farm.json("/projects/marked").unwrap();
    assert_eq!(page["marks"][0]["passing"], serde_json::json!([]), "{page}");
    let repairing = speak(&farm, "hello", "bye", "Greet as in the south");
    until_rest(&mut farm, 3);
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
fn while_a_canary_says_that_the_farm_is_blind_no_mail_goes_out() {
    let mut farm = polite();
    let needed = farm.path("needed");
    let seeing =
        format!("{TAP}sees() {{ [ -e {} ] && echo yes; }}\nis yes sees 'sees'\nfinish\n", needed.display());
    farm.project("seeing", &seeing);
    farm.project("failing", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.project("parting", &farewell());
    for (project, canary) in [("seeing", "must-pass"), ("failing", "must-fail")] {
        farm.alter(
            &format!("projects/{project}.toml"),
            "[recipe]",
            &format!("canary = \"{canary}\"\n[recipe]"),
        );
    }
    farm.write("needed", "");
    farm.serve().open_worker("w1", 1);
    until_rest(&mut farm, 2);
    assert_eq!(farm.json("/status").unwrap()["failing_canaries"], serde_json::json!([]));

    std::fs::remove_file(&needed).unwrap();
    let breaking = speak(&farm, "hello", "cheerio", "Part informally");
    until_rest(&mut farm, 3);
    assert_eq!(culprit(&only(&farm, "parting")), Some(breaking.clone()));
    let blind = farm.json("/status").unwrap()["failing_canaries"][0].to_string();
    assert!(blind.contains("seeing, which must pass, failed"), "{blind}");
    assert!(farm.get("/").unwrap().contains("Canary failing on "));
    assert_eq!(farm.mails(), Vec::<String>::new());

    farm.write("needed", "");
    speak(&farm, "hello", "cheerio", "Explain");
    let mails = until_mails(&mut farm, 1);
    assert!(mails[0].contains(&breaking[..12]), "{}", mails[0]);
    assert_eq!(farm.json("/status").unwrap()["failing_canaries"], serde_json::json!([]));
}

#[test]
fn a_canary_stops_the_mail_of_its_own_trunk_alone() {
    let mut farm = polite();
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    let (_, trunk) = text.split_once("[[trunk]]").unwrap();
    farm.write("farm.toml", &format!("{text}\n[[trunk]]{}", trunk.replace("\"lang\"\n", "\"other\"\n")));
    farm.project("blind", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.alter("projects/blind.toml", "\"lang\"", "\"other\"");
    farm.alter("projects/blind.toml", "[recipe]", "canary = \"must-pass\"\n[recipe]");
    farm.project("parting", &farewell());
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let breaking = speak(&farm, "hello", "cheerio", "Part informally");
    let mails = until_mails(&mut farm, 1);
    assert!(mails[0].contains(&breaking[..12]), "{}", mails[0]);
    let blind = farm.json("/status").unwrap()["failing_canaries"][0].to_string();
    assert!(blind.contains("mail about other waits"), "{blind}");
}

#[test]
fn a_newcomer_that_agrees_often_enough_counts_and_until_then_makes_no_history() {
    let mut farm = polite();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
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
