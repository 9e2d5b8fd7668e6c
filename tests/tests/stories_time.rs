//! Stories about hours, days and weeks. The master is restarted with its clock ahead; no test really waits.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::counting::{attempts, build, shorten_leases};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, farewell, farm_with_greetings, greeting, has_none, only, runs_of, standing, until_idle,
    until_mails, words,
};
use trunkfarm_tests::mail_server::{self, envelope, received};

fn with_canary(farm: &Farm, project: &str, canary: &str) {
    farm.replace_in(
        &format!("projects/{project}.toml"),
        "[recipe]",
        &format!("canary = \"{canary}\"\n[recipe]"),
    );
}

#[test]
fn a_canary_that_did_not_run_for_a_day_is_run_again() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("seeing", &greeting());
    farm.project("failing", &format!("{TAP}told 'not ok' 'never'\nfinish\n"));
    farm.project("other", &farewell());
    with_canary(&farm, "seeing", "must-pass");
    with_canary(&farm, "failing", "must-fail");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
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
    farm.restart_master_later("+25h");
    farm.until("both canaries have run", |farm| {
        Ok(null_runs(farm, "seeing")? == ["passed"] && null_runs(farm, "failing")? == ["failed"])
    });
    farm.until("all is decided", Farm::is_idle);
    assert_eq!(null_runs(&farm, "other").unwrap(), Vec::<Value>::new(), "it is no canary");
    assert_eq!(farm.json("/status").unwrap()["failing_canaries"], serde_json::json!([]));
}

/// The machine's clock is set while a search runs: neither the search nor its mails end or wait because of that.
#[test]
fn a_masters_clock_that_jumps_during_a_search_ends_no_search_and_loses_no_mail() {
    for (jump, shown) in [("+1d", "min ahead of the farm"), ("-1d", "min behind the farm")] {
        let mut farm = farm_with_greetings();
        let here = farm.path("").display().to_string();
        // From its first failure on, the suite waits before each run until the gate is opened.
        let gate = format!(
            "while [ -e {here}/closed ]; do echo '# waits'; sleep 0.1; done
[ \"$(greet)\" != hullo ] || [ -e {here}/first ] || touch {here}/first {here}/closed\n"
        );
        farm.project("polite", &format!("{gate}{}", greeting()));
        farm.replace_in(
            "projects/polite.toml",
            "time = \"20s\", silence = \"10s\"",
            "time = \"5m\", silence = \"1m\"",
        );
        farm.make_clock_settable();
        farm.serve();
        farm.unset_variable("LD_PRELOAD");
        farm.unsandboxed_worker("w1", 1);
        until_idle(&mut farm, 2);
        for n in 1..=3 {
            commit_lang(&farm, "hello", "bye", &format!("Explain {n}"));
        }
        let parent = commit_lang(&farm, "hello", "bye", "Explain 4");
        let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
        farm.until("a search runs", |farm| {
            Ok(farm.breakages("polite")?.first().is_some_and(|one| one["state"] == "searching"))
        });
        farm.jump_clock(jump);
        farm.until("the jump is reported", |farm| Ok(farm.get("/")?.contains(shown)));
        std::fs::remove_file(farm.path("closed")).unwrap();
        let mails = until_mails(&mut farm, 1);
        assert_eq!(standing(&only(&farm, "polite"), "culprit"), Some((breaking.clone(), parent)), "{jump}");
        assert!(mails[0].contains(&breaking[..12]), "{}", mails[0]);
        commit_lang(&farm, "hello", "bye", "Greet as ever");
        let mails = until_mails(&mut farm, 2);
        assert_eq!(only(&farm, "polite")["state"], "fixed", "{jump}: {}", mails[1]);
    }
}

/// The machine's clock was two days ahead, and is set right while the master does not run. Meanwhile the worker is gone.
#[test]
fn a_clock_that_is_set_back_between_two_runs_of_the_master_keeps_no_build_for_days() {
    let mut farm = Farm::create();
    shorten_leases(&farm);
    let here = farm.path("").display().to_string();
    let waits = format!("touch {here}/begun; until [ -e {here}/gate ]; do sleep 0.1; done; install");
    farm.configure("run = \"install", &format!("run = \"{waits}"));
    farm.shift_clock("+2d");
    farm.serve();
    farm.unset_variable("LD_PRELOAD");
    farm.join_unsandboxed("w1", 1);
    farm.run_worker("w1");
    let begun = farm.path("begun");
    farm.until("it waits at the gate", |_| Ok(begun.exists()));
    farm.kill_worker("w1");
    farm.stop_master();
    farm.serve();
    farm.join_unsandboxed("w2", 1);
    farm.run_worker("w2");
    farm.until("another has it", |farm| Ok(attempts(&build(farm, "toolchain")?) == "lost, running"));
    farm.write("gate", "");
    farm.until("it is built", |farm| Ok(build(farm, "toolchain")?["outcome"] == "passed"));
}

#[test]
fn project_inputs_that_stay_worse_for_two_weeks_are_accepted_and_blamed_on_the_project() {
    let mut farm = farm_with_greetings();
    let port = mail_server::configure(&farm);
    mail_server::start(&mut farm, port);
    let good = farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let bad = farm.revise("polite", &greeting().replace("is hello", "is hullo"));
    farm.until("its contacts got the mail", |farm| Ok(received(farm).len() == 1));
    let used = |farm: &Farm, change: &str| -> Result<Option<(String, Value)>> {
        let tips = runs_of(farm, change, "polite")?
            .into_iter()
            .filter(|run| run["reason"] == "tip" || run["reason"] == "backfill");
        Ok(tips
            .filter_map(|run| Some((run["revision"].as_str()?.to_string(), run["outcome"].clone())))
            .next_back())
    };
    let next = commit_lang(&farm, "hello", "bye", "Nothing of note");
    farm.until(
        "the old inputs go on",
        |farm| Ok(used(farm, &next)? == Some((good.clone(), "passed".into()))),
    );
    farm.until("all is decided", Farm::is_idle);

    farm.restart_master_later("+13d");
    let later = commit_lang(&farm, "hello", "bye", "Nothing of note either");
    farm.until("it still goes on", |farm| Ok(used(farm, &later)? == Some((good.clone(), "passed".into()))));
    farm.until("all is decided", Farm::is_idle);
    farm.restart_master_later("+15d");
    farm.until("the new inputs are in use", |farm| {
        Ok(farm.json("/projects/polite")?["project_inputs"][0]["revision"] == bad.as_str())
    });
    let last = commit_lang(&farm, "hello", "bye", "Still nothing");
    farm.until("it is run with it", |farm| Ok(used(farm, &last)? == Some((bad.clone(), "failed".into()))));
    farm.until("all is decided", Farm::is_idle);
    assert!(has_none(&farm, "polite").unwrap(), "no change of the trunk is accused of it");
    assert_eq!(received(&farm).len(), 1, "{:#?}", received(&farm));

    // What still works with the new project inputs is watched as before.
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let unmaking = commit_lang(&farm, "hello", "bye", "Greet as before");
    farm.until("the changes are decided", |farm| {
        Ok(used(farm, &unmaking)?.is_some() && used(farm, &breaking)?.is_some() && farm.is_idle()?)
    });
    assert_eq!(used(&farm, &breaking).unwrap(), Some((bad.clone(), "passed".into())));
    assert_eq!(only(&farm, "polite")["state"], "named", "what passed once and fails again is news");
}

#[test]
fn old_dependencies_are_locked_again_and_take_effect_with_a_baseline() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("polite", &greeting());
    // It chooses another version each time, as from a registry that changes.
    farm.replace_in(
        "projects/polite.toml",
        "steps = [{",
        "steps = [{ name = \"get\", kind = \"fetch\", network = true, run = '''\
         if [ -n \"$FARM_LOCK\" ]; then cat \"$FARM_LOCK\"; \
         else od -An -N16 -tx1 /dev/urandom | tee $FARM_OUT/lock; fi''' }, {",
    );
    farm.replace_in("projects/polite.toml", "[recipe]", "relock = \"7d\"\n[recipe]");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let lock = |farm: &Farm| -> Result<String> {
        Ok(farm.json("/projects/polite")?["project_inputs"][0]["lock"]
            .as_str()
            .unwrap_or_default()
            .to_string())
    };
    let first = lock(&farm).unwrap();
    assert!(!first.is_empty());
    farm.restart_master_later("+6d");
    let middle = commit_lang(&farm, "hello", "bye", "Nothing of note");
    farm.finished_build(&middle, "polite");
    farm.until("all is decided", Farm::is_idle);
    assert_eq!(lock(&farm).unwrap(), first, "it is not old yet");

    farm.restart_master_later("+8d");
    farm.until("another choice is in use", |farm| {
        let page = farm.json("/projects/polite")?;
        Ok(!lock(farm)?.is_empty() && lock(farm)? != first && page["project_inputs"][0]["state"] == "current")
    });
    farm.until("all is decided", Farm::is_idle);
    let baselines =
        runs_of(&farm, &middle, "polite").unwrap().into_iter().filter(|run| run["reason"] == "baseline");
    assert_eq!(baselines.count(), 1, "the newest change is repeated with it");
    assert!(has_none(&farm, "polite").unwrap());
}

#[test]
fn more_than_ten_culprits_in_an_hour_are_a_storm_and_the_rest_is_mailed_after_it() {
    const PROJECTS: usize = 12;
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let port = mail_server::configure(&farm);
    mail_server::start(&mut farm, port);
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
    until_idle(&mut farm, 3);
    let culprits: Vec<String> = (1..=PROJECTS).map(|lost| say(&farm, lost)).collect();
    farm.until("all culprits are named", |farm| {
        let named =
            |n: usize| Ok(farm.breakages(&format!("p{n}"))?.iter().any(|one| one["state"] == "named"));
        Ok((1..=PROJECTS).map(named).collect::<Result<Vec<bool>>>()?.into_iter().all(|named| named))
    });
    farm.until("ten mails and a storm are out", |farm| Ok(received(farm).len() >= 11 && farm.is_idle()?));
    let mails = received(&farm);
    assert_eq!(mails.len(), 11);
    let told = |mails: &[String], culprit: &String| {
        mails.iter().filter(|mail| words(mail).contains(&format!("lang {} broke", &culprit[..12]))).count()
    };
    assert_eq!(culprits.iter().map(|culprit| told(&mails, culprit)).sum::<usize>(), 10);
    let storm = mails.last().unwrap();
    assert!(storm.contains("\r\nSubject: [lang] many changes break many projects\r\n"), "{storm}");
    assert_eq!(envelope(storm), ["list@example.org"], "it is for the list only");

    farm.restart_master_later("+61m");
    farm.until("the rest is mailed", |farm| Ok(received(farm).len() >= 13 && farm.is_idle()?));
    let mails = received(&farm);
    assert_eq!(mails.len(), 13);
    for culprit in &culprits {
        assert_eq!(told(&mails, culprit), 1, "{culprit}");
    }
}
