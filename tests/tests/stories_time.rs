//! Stories of hours, days and weeks. The master is started again with its clock ahead; nothing waits for real.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, farewell, greeting, has_none, only, polite, runs_of, speak, until_rest, words,
};
use trunkfarm_tests::postbox::{self, envelope, taken};

fn with_canary(farm: &Farm, project: &str, canary: &str) {
    farm.alter(&format!("projects/{project}.toml"), "[recipe]", &format!("canary = \"{canary}\"\n[recipe]"));
}

#[test]
fn a_canary_that_was_not_heard_for_a_day_is_run_again() {
    let mut farm = polite();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("seeing", &greeting());
    farm.project("failing", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.project("other", &farewell());
    with_canary(&farm, "seeing", "must-pass");
    with_canary(&farm, "failing", "must-fail");
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let null_runs = |farm: &Farm, project: &str| -> Result<Vec<Value>> {
        let mut runs = Vec::new();
        for row in farm.rows("lang", "master")? {
            runs.extend(runs_of(farm, row["change"]["sha"].as_str().unwrap_or_default(), project)?);
        }
        Ok(runs.into_iter().filter(|run| run["reason"] == "null").map(|run| run["outcome"].clone()).collect())
    };
    for project in ["seeing", "failing", "other"] {
        assert_eq!(null_runs(&farm, project).unwrap(), Vec::<Value>::new(), "{project}");
    }
    farm.serve_later("+25h");
    farm.until("both canaries were heard", |farm| {
        Ok(null_runs(farm, "seeing")? == ["passed"] && null_runs(farm, "failing")? == ["failed"])
    });
    farm.until("all is decided", Farm::is_at_rest);
    assert_eq!(null_runs(&farm, "other").unwrap(), Vec::<Value>::new(), "it is no canary");
    assert_eq!(farm.json("/status").unwrap()["failing_canaries"], serde_json::json!([]));
}

#[test]
fn a_project_that_stays_worse_for_two_weeks_is_taken_as_it_is_and_is_its_own_fault() {
    let mut farm = polite();
    let port = postbox::configure(&farm);
    postbox::open(&mut farm, port);
    let good = farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let bad = farm.revise("polite", &greeting().replace("is hello", "is hullo"));
    farm.until("its contacts heard of it", |farm| Ok(taken(farm).len() == 1));
    let used = |farm: &Farm, change: &str| -> Result<Option<(String, Value)>> {
        let tips = runs_of(farm, change, "polite")?
            .into_iter()
            .filter(|run| run["reason"] == "tip" || run["reason"] == "backfill");
        Ok(tips
            .filter_map(|run| Some((run["revision"].as_str()?.to_string(), run["outcome"].clone())))
            .next_back())
    };
    let next = speak(&farm, "hello", "bye", "Nothing of note");
    farm.until(
        "the old side goes on",
        |farm| Ok(used(farm, &next)? == Some((good.clone(), "passed".into()))),
    );
    farm.until("all is decided", Farm::is_at_rest);

    farm.serve_later("+13d");
    let later = speak(&farm, "hello", "bye", "Nothing of note either");
    farm.until("it still goes on", |farm| Ok(used(farm, &later)? == Some((good.clone(), "passed".into()))));
    farm.until("all is decided", Farm::is_at_rest);
    farm.serve_later("+15d");
    farm.until("the new side is in use", |farm| {
        Ok(farm.json("/projects/polite")?["project_inputs"][0]["revision"] == bad.as_str())
    });
    let last = speak(&farm, "hello", "bye", "Still nothing");
    farm.until("it is run with it", |farm| Ok(used(farm, &last)? == Some((bad.clone(), "failed".into()))));
    farm.until("all is decided", Farm::is_at_rest);
    assert!(has_none(&farm, "polite").unwrap(), "no change of the trunk is accused of it");
    assert_eq!(taken(&farm).len(), 1, "{:#?}", taken(&farm));

    // What the new side still could is watched as before.
    let breaking = speak(&farm, "hullo", "bye", "Greet as in the north");
    let unmaking = speak(&farm, "hello", "bye", "Greet as before");
    farm.until("the changes are decided", |farm| {
        Ok(used(farm, &unmaking)?.is_some() && used(farm, &breaking)?.is_some() && farm.is_at_rest()?)
    });
    assert_eq!(used(&farm, &breaking).unwrap(), Some((bad.clone(), "passed".into())));
    assert_eq!(only(&farm, "polite")["state"], "named", "what passed once and fails again is news");
}

#[test]
fn dependencies_that_grew_old_are_chosen_anew_and_come_by_a_baseline() {
    let mut farm = polite();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("polite", &greeting());
    // What it chooses is another thing each time, as on a registry that moves.
    farm.alter(
        "projects/polite.toml",
        "steps = [{",
        "steps = [{ name = \"get\", kind = \"fetch\", network = true, run = '''\
         if [ -n \"$FARM_LOCK\" ]; then cat \"$FARM_LOCK\"; \
         else od -An -N16 -tx1 /dev/urandom | tee $FARM_OUT/lock; fi''' }, {",
    );
    farm.alter("projects/polite.toml", "[recipe]", "relock = \"7d\"\n[recipe]");
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let lock = |farm: &Farm| -> Result<String> {
        Ok(farm.json("/projects/polite")?["project_inputs"][0]["lock"]
            .as_str()
            .unwrap_or_default()
            .to_string())
    };
    let first = lock(&farm).unwrap();
    assert!(!first.is_empty());
    farm.serve_later("+6d");
    let middle = speak(&farm, "hello", "bye", "Nothing of note");
    farm.finished_build(&middle, "polite");
    farm.until("all is decided", Farm::is_at_rest);
    assert_eq!(lock(&farm).unwrap(), first, "it is not old yet");

    farm.serve_later("+8d");
    farm.until("another choice is in use", |farm| {
        let page = farm.json("/projects/polite")?;
        Ok(!lock(farm)?.is_empty() && lock(farm)? != first && page["project_inputs"][0]["state"] == "current")
    });
    farm.until("all is decided", Farm::is_at_rest);
    let baselines =
        runs_of(&farm, &middle, "polite").unwrap().into_iter().filter(|run| run["reason"] == "baseline");
    assert_eq!(baselines.count(), 1, "the newest change is repeated with it");
    assert!(has_none(&farm, "polite").unwrap());
}

#[test]
fn more_than_ten_culprits_in_an_hour_are_a_storm_and_the_rest_is_told_when_it_is_over() {
    const PROJECTS: usize = 12;
    let mut farm = polite();
    farm.configure("null_runs = 4", "null_runs = 0");
    let port = postbox::configure(&farm);
    postbox::open(&mut farm, port);
    for n in 1..=PROJECTS {
        farm.project(&format!("p{n}"), &format!("{TAP}is yes w{n} 'has word {n}'\nfinish\n"));
    }
    let say = |farm: &Farm, lost: usize| {
        let word = |n| format!("w{n}() {{ echo {}; }}\n", if n <= lost { "no" } else { "yes" });
        let all: String = (1..=PROJECTS).map(word).collect();
        farm.edit("lang", &format!("#!/bin/sh\n{all}. \"$1\"\n"));
        farm.commit(&format!("Lose word {lost}"))
    };
    say(&farm, 0);
    farm.serve().worker("w1", 4);
    until_rest(&mut farm, 3);
    let culprits: Vec<String> = (1..=PROJECTS).map(|lost| say(&farm, lost)).collect();
    farm.until("all culprits are named", |farm| {
        let named =
            |n: usize| Ok(farm.breakages(&format!("p{n}"))?.iter().any(|one| one["state"] == "named"));
        Ok((1..=PROJECTS).map(named).collect::<Result<Vec<bool>>>()?.into_iter().all(|named| named))
    });
    farm.until("ten mails and a storm are out", |farm| Ok(taken(farm).len() >= 11 && farm.is_at_rest()?));
    let mails = taken(&farm);
    assert_eq!(mails.len(), 11);
    let told = |mails: &[String], culprit: &String| {
        mails.iter().filter(|mail| words(mail).contains(&format!("lang {} broke", &culprit[..12]))).count()
    };
    assert_eq!(culprits.iter().map(|culprit| told(&mails, culprit)).sum::<usize>(), 10);
    let storm = mails.last().unwrap();
    assert!(storm.contains("\r\nSubject: [lang] many changes break many projects\r\n"), "{storm}");
    assert_eq!(envelope(storm), ["list@example.org"], "it is for the list only");

    farm.serve_later("+61m");
    farm.until("the rest is told", |farm| Ok(taken(farm).len() >= 13 && farm.is_at_rest()?));
    let mails = taken(&farm);
    assert_eq!(mails.len(), 13);
    for culprit in &culprits {
        assert_eq!(told(&mails, culprit), 1, "{culprit}");
    }
}
