//! Searches on a whole farm: with flaky tests, two culprits in one range, restarts, and removed projects.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, culprit, dice, farm_with_greetings, names, only, until_idle, until_mails,
};

/// A suite that tests the greeting and the farewell, and takes some time, so that a search can be interrupted.
fn courtesy(seconds: &str) -> String {
    format!("{TAP}sleep {seconds}\nis hello greet greets\nis bye part parts\nfinish\n")
}

/// The state of a breakage's search, as its page shows it.
fn said(breakage: &Value) -> String {
    let sentences = breakage["search"]["sentences"].as_array().into_iter().flatten();
    sentences.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

fn is_searching(farm: &Farm) -> Result<bool> {
    Ok(farm.breakages("polite")?.iter().any(|breakage| breakage["state"] == "searching"))
}

#[test]
fn two_culprits_in_one_range_are_both_named() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &courtesy("0"));
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    commit_lang(&farm, "hello", "bye", "Explain the greeting");
    let greeting = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    commit_lang(&farm, "hullo", "bye", "Explain the north");
    commit_lang(&farm, "hullo", "bye", "Explain the farewell");
    let farewell = commit_lang(&farm, "hullo", "ta", "Part as in the north");
    commit_lang(&farm, "hullo", "ta", "Explain the explanation");
    farm.until("all is decided", |farm| Ok(farm.is_idle()? && farm.breakages("polite")?.len() >= 2));
    let breakages = farm.breakages("polite").unwrap();
    let of = |case: &str| {
        let found = breakages.iter().find(|breakage| names(breakage, "cases").iter().any(|of| of == case));
        found.and_then(culprit)
    };
    assert_eq!(of("greets"), Some(greeting), "{breakages:#?}");
    assert_eq!(of("parts"), Some(farewell), "{breakages:#?}");
}

#[test]
fn a_range_of_one_change_is_searched_and_its_page_shows_the_certainty() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &courtesy("0"));
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    let only = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("it is named", |farm| Ok(farm.breakages("polite")?.iter().any(|b| b["state"] == "named")));
    let breakage = &farm.breakages("polite").unwrap()[0];
    assert_eq!(culprit(breakage), Some(only));
    let range = breakage["range"].as_array().unwrap();
    assert!(range[0]["posterior"].as_f64().unwrap() >= 0.999, "{breakage:#?}");
    assert!(said(breakage).contains("All probes with a result ran on one worker, w1."), "{}", said(breakage));
    // What was good before and bad at it was shown three times each, besides the builds that raised the alarm.
    let rows = breakage["evidence"].as_array().unwrap();
    let probes_at = |is_bad: bool| {
        let probes = rows.iter().filter(|row| row["reason"] == "probe");
        probes.filter(|row| (row["bad_cases"].as_i64() > Some(0)) == is_bad).count()
    };
    assert!(probes_at(false) >= 3 && probes_at(true) >= 3, "{rows:#?}");
    let why: Vec<&str> =
        breakage["evidence"].as_array().unwrap().iter().filter_map(|e| e["why"].as_str()).collect();
    for asked in ["still good here", "bad here again"] {
        assert!(why.iter().any(|why| why.contains(asked)), "{why:?}");
    }
}

#[test]
fn a_search_continues_where_it_was_when_the_master_was_killed() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &courtesy("1"));
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    let only = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("a search is under way", is_searching);
    farm.kill_master();
    farm.serve();
    farm.until("it is named", |farm| Ok(farm.breakages("polite")?.iter().any(|b| b["state"] == "named")));
    assert_eq!(culprit(&farm.breakages("polite").unwrap()[0]), Some(only));
}

#[test]
fn the_search_of_a_removed_project_is_paused_and_shows_why() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &courtesy("1"));
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("a search is under way", is_searching);
    farm.stop_master();
    let breakage = std::fs::rename(farm.path("projects/polite.toml"), farm.path("polite.toml"));
    breakage.expect("the project was registered");
    farm.serve();
    farm.until("the page says so", |farm| {
        let breakage = farm.json("/breakages/1")?;
        Ok(said(&breakage).contains("no longer in the configuration") && breakage["state"] != "named")
    });
    // The project comes back, and its search goes on.
    farm.stop_master();
    std::fs::rename(farm.path("polite.toml"), farm.path("projects/polite.toml")).expect("it was moved away");
    farm.serve();
    farm.until("it is named", |farm| Ok(farm.json("/breakages/1")?["state"] == "named"));
}

#[test]
fn a_search_whose_range_is_rewound_ends_and_the_rest_is_searched_again() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &courtesy("1"));
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    let good = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("a search is under way", is_searching);
    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", &good]);
    let other = commit_lang(&farm, "hey", "bye", "Greet as in the west");
    farm.until("the first is gone and the other is named", |farm| {
        let breakages = farm.breakages("polite")?;
        let is = |state: &str| breakages.iter().find(|breakage| breakage["state"] == state);
        Ok(is("gone").is_some() && is("named").and_then(culprit).as_ref() == Some(&other))
    });
}

/// A burst of 60 changes repairs what one change broke. Idle workers look for the one that did it, and build few of them.
#[test]
fn a_repair_among_many_changes_is_narrowed_to_one_while_workers_are_idle() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &courtesy("0"));
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_mails(&mut farm, 1);
    let mut repairing = String::new();
    for at in 1..=60 {
        let greeting = if at < 23 { "hullo" } else { "hello" };
        let change = commit_lang(&farm, greeting, "bye", &format!("Explain {at}"));
        if at == 23 {
            repairing = change;
        }
    }
    farm.until("the repair is narrowed to one change", |farm| {
        let breakage = &farm.breakages("polite")?[0];
        Ok(breakage["state"] == "fixed" && breakage["repair_range"] == 1)
    });
    // Halving 60 changes takes six builds, and each fourth goes to the oldest gap.
    let unbuilt = ["nothing", "superseded"];
    let column = farm.column("toolchain").unwrap();
    let built = column.iter().rev().take(60).filter(|cell| !unbuilt.contains(&cell.as_str())).count();
    assert!(built < 30, "{built} of 60 changes were built: {column:?}");
    let breakage = only(&farm, "polite");
    let sentence = breakage["sentence"].as_str().unwrap();
    assert!(sentence.ends_with("; repaired by Explain 23"), "{sentence}");
    let page = farm.get(&format!("/changes/{repairing}")).unwrap();
    assert!(page.contains("polite"), "{page}");
    // What broke, and that it is repaired: nothing more is mailed.
    until_idle(&mut farm, 63);
    until_mails(&mut farm, 2);
    assert_eq!(only(&farm, "polite")["repair_range"], 1);
}

#[test]
fn a_flaky_project_over_many_changes_accuses_no_change() {
    let mut farm = farm_with_greetings();
    farm.project("dice", &dice(&farm));
    farm.serve().unsandboxed_worker("w1", 2);
    farm.until("the first change is decided", Farm::is_idle);
    for burst in 0..20 {
        for at in 0..5 {
            commit_lang(&farm, "hello", "bye", &format!("Explain {burst}.{at}"));
        }
        farm.until("the burst is decided", Farm::is_idle);
    }
    let breakages = farm.breakages("dice").unwrap();
    for breakage in &breakages {
        assert!(culprit(breakage).is_none() && breakage["state"] != "one-of-k", "{breakage:#?}");
    }
    assert_eq!(farm.mails().len(), 0);
}
