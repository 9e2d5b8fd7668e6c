//! Stories about how steps end: by a signal, a limit or the network; and which change that accuses.

use std::process::Command;

use trunkfarm_tests::counting::attempts;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_lang_with, culprit, farm_with_greetings, greeting, has_none, names, only,
    runs_of, until_idle, until_mails, words,
};

fn idle_farm(projects: &[(&str, &str)]) -> Farm {
    let mut farm = farm_with_greetings();
    for (name, suite) in projects {
        farm.project(name, suite);
    }
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm
}

/// Commits a `greet` with this body. Returns the change and its build.
fn build_with_greet(farm: &mut Farm, body: &str) -> (String, serde_json::Value) {
    let sha = commit_lang_with(farm, &format!("greet() {{ {body}; }}"), "Greet otherwise");
    let build = farm.finished_build(&sha, "polite");
    (sha, build)
}

#[test]
fn a_suite_killed_by_a_signal_is_broken_by_the_change_that_causes_it() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    let (sha, build) = build_with_greet(&mut farm, "kill -SEGV $$");
    assert_eq!(
        (build["outcome"].as_str(), build["cause"].as_str()),
        (Some("failed"), Some("signal")),
        "{build}"
    );
    let mails = until_mails(&mut farm, 1);
    assert_eq!(culprit(&only(&farm, "polite")), Some(sha));
    assert!(names(&only(&farm, "polite"), "cases").contains(&"step:test".into()));
    assert!(mails[0].contains("polite@example.org"));
}

#[test]
fn a_suite_that_is_killed_each_time_is_broken_by_the_change_that_causes_it() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    let (sha, build) = build_with_greet(&mut farm, "kill -KILL $$");
    assert_eq!(
        (build["outcome"].as_str(), build["cause"].as_str(), attempts(&build)),
        (Some("failed"), Some("signal"), "ended, ended".to_string()),
        "{build}"
    );
    until_mails(&mut farm, 1);
    assert_eq!(culprit(&only(&farm, "polite")), Some(sha));
}

/// Somebody kills the suite's process on a machine that has run it before, or its runner, so that the report breaks off.
#[test]
fn a_suite_that_is_killed_from_outside_is_run_once_more_and_accuses_nobody() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let here = farm.path("").display().to_string();
    let waits = |name: &str| {
        format!("echo $$ > {here}/{name}.pid; while [ -e {here}/{name}.closed ]; do sleep 0.1; done")
    };
    farm.project("polite", &format!("{}\n{}", waits("polite"), greeting()));
    let runner = format!("{}; echo ok 2 - second", waits("wrapped"));
    farm.project(
        "wrapped",
        &format!("echo 1..2; echo ok 1 - first\nsh -c '{runner}' || {{ echo make: Killed; exit 2; }}\n"),
    );
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    for (project, shown) in [
        ("polite", "`test` was killed by signal 9"),
        ("wrapped", "`test` broke off in the middle of its report"),
    ] {
        let (closed, pid) = (farm.path(&format!("{project}.closed")), farm.path(&format!("{project}.pid")));
        std::fs::write(&closed, "").unwrap();
        std::fs::remove_file(&pid).unwrap();
        let changes = farm.rows("lang", "master").unwrap().len();
        let change = commit_lang(&farm, "hello", "bye", &format!("Explain to {project}"));
        farm.until("the suite waits", |_| Ok(std::fs::metadata(&pid).is_ok_and(|file| file.len() > 0)));
        let step = std::fs::read_to_string(&pid).unwrap();
        let killed = Command::new("kill").args(["-KILL", step.trim()]).status().unwrap();
        assert!(killed.success());
        std::fs::remove_file(&closed).unwrap();
        until_idle(&mut farm, changes + 1);
        let runs = runs_of(&farm, &change, project).unwrap();
        let [run] = runs.as_slice() else { panic!("one build of {project}: {runs:#?}") };
        assert_eq!(
            (run["outcome"].as_str(), attempts(run).as_str()),
            (Some("passed"), "ended, ended"),
            "{run}"
        );
        let page = farm.get(&format!("/builds/{}", run["id"])).unwrap();
        assert!(page.contains(shown) && page.contains("the build is run once more"), "{page}");
        assert!(has_none(&farm, project).unwrap());
    }
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn a_suite_that_hangs_is_a_breakage_only_if_it_ran_before() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.project("hanging", &format!("{TAP}sleep 600\nfinish\n"));
    for project in ["polite", "hanging"] {
        let limits = "time = \"4s\", silence = \"2s\"";
        farm.replace_in(&format!("projects/{project}.toml"), "time = \"20s\", silence = \"10s\"", limits);
    }
    farm.serve().worker("w1", 4);
    until_idle(&mut farm, 2);
    assert!(farm.column("hanging").unwrap().iter().all(|shade| shade == "infra"));
    let (sha, build) = build_with_greet(&mut farm, "sleep 600");
    assert_eq!(
        (build["outcome"].as_str(), build["cause"].as_str()),
        (Some("failed"), Some("silent")),
        "{build}"
    );
    until_mails(&mut farm, 1);
    assert_eq!(culprit(&only(&farm, "polite")), Some(sha));
    assert!(has_none(&farm, "hanging").unwrap());
}

#[test]
fn a_suite_that_exceeds_its_memory_is_broken_by_the_change_that_causes_it() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.replace_in("projects/polite.toml", "limits = {", "limits = { memory = \"32MiB\",");
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    let eat = "x=0123456789abcdef; while [ ${#x} -lt 67108864 ]; do x=$x$x; done; sleep 600";
    let (sha, build) = build_with_greet(&mut farm, eat);
    assert_eq!(build["cause"], "out-of-memory", "{build}");
    until_mails(&mut farm, 1);
    assert_eq!(culprit(&only(&farm, "polite")), Some(sha));
}

/// Adds a project whose fetch step runs `lang`, and a file that represents the network.
fn add_fetching_project(farm: &Farm) {
    farm.project("fetching", &greeting());
    farm.replace_in(
        "projects/fetching.toml",
        "steps = [",
        "steps = [{ name = \"deps\", kind = \"fetch\", run = \"lang ./deps\", network = true }, ",
    );
    farm.write(
        "fetching/deps",
        &format!(
            "[ -e {} ] || {{ echo 'ERROR: no wheel for fetching'; exit 1; }}\npart\n",
            farm.path("network").display()
        ),
    );
    farm.revise("fetching", &greeting());
}

fn farm_with_network() -> Farm {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    add_fetching_project(&farm);
    farm.write("network", "");
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    farm
}

/// What cannot be fetched at a change that was fetched before is nobody's change: it is looked at once, and said.
#[test]
fn a_network_failure_accuses_no_change_and_is_not_tried_for_ever() {
    let mut farm = farm_with_network();
    std::fs::remove_file(farm.path("network")).unwrap();
    let sha = commit_lang(&farm, "hello", "bye", "Nothing of note");
    let build = farm.finished_build(&sha, "fetching");
    assert_eq!(
        (build["outcome"].as_str(), build["cause"].as_str()),
        (Some("infra"), Some("fetch")),
        "{build}"
    );
    let attempts = build["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 4, "three, and one after the other change was tried: {build}");
    let last = attempts[3]["failure"].as_str().unwrap();
    assert!(last.contains("cannot be fetched any more either"), "{last}");
    assert!(last.ends_with(": ERROR: no wheel for fetching"), "{last}");
    assert!(has_none(&farm, "fetching").unwrap());
    let mails = until_mails(&mut farm, 1);
    assert!(mails[0].contains("To: fetching@example.org"), "{}", mails[0]);
    assert!(words(&mails[0]).contains("ERROR: no wheel for fetching"), "{}", mails[0]);
    let page = farm.json("/projects/fetching").unwrap();
    let problem = page["problem"].as_str().unwrap();
    assert!(
        problem.contains("its fetch step `deps` fails, at a change that was fetched before as well"),
        "{problem}"
    );
    // The next change is tried once, and looked at once.
    let next = commit_lang(&farm, "hello", "ta", "Nothing of note either");
    let build = farm.finished_build(&next, "fetching");
    assert_eq!(
        (build["cause"].as_str(), build["attempts"].as_array().unwrap().len()),
        (Some("fetch"), 2),
        "{build}"
    );
    // It works again, and that is the end of it.
    farm.write("network", "");
    let last = commit_lang(&farm, "hello", "bye", "As it was");
    assert_eq!(farm.finished_build(&last, "fetching")["outcome"], "passed");
    assert!(farm.json("/projects/fetching").unwrap()["problem"].is_null());
    assert_eq!(farm.mails().len(), 1, "{:?}", farm.mails());
    assert!(has_none(&farm, "fetching").unwrap());
}

/// There is no change to compare with: the first mail to the contacts says it, and there is no other.
#[test]
fn a_project_that_can_never_be_fetched_is_given_up_after_three_tries() {
    let mut farm = farm_with_greetings();
    add_fetching_project(&farm);
    farm.serve().unsandboxed_worker("w1", 1);
    for change in ["HEAD", "HEAD~1"] {
        let sha = farm.git(&farm.path("trunk"), &["rev-parse", change]);
        let build = farm.finished_build(&sha, "fetching");
        assert_eq!(build["outcome"], "infra", "{build}");
        assert!(build["attempts"].as_array().unwrap().len() <= 3, "{build}");
    }
    farm.until("the first mail is out", |farm| Ok(farm.is_idle()? && !farm.first_results().is_empty()));
    let mails = farm.first_results();
    assert_eq!((mails.len(), farm.mails()), (1, vec![]), "{mails:?}");
    assert!(mails[0].contains("fetching does not work yet on master"), "{}", mails[0]);
    assert!(words(&mails[0]).contains("ERROR: no wheel for fetching"), "{}", mails[0]);
    let problem = farm.json("/projects/fetching").unwrap()["problem"].to_string();
    assert!(
        problem.contains("no change that was fetched before to compare with (ERROR: no wheel"),
        "{problem}"
    );
}

#[test]
fn a_change_that_breaks_fetching_is_named_once_another_change_can_fetch() {
    let mut farm = farm_with_network();
    let sha = commit_lang_with(&farm, "part() { return 3; }", "Part no more");
    let build = farm.finished_build(&sha, "fetching");
    assert_eq!(build["outcome"], "failed", "{build}");
    assert!(build["sentence"].as_str().unwrap().contains("failed in deps (exit)"), "{build}");
    let mails = until_mails(&mut farm, 1);
    assert_eq!(
        (culprit(&only(&farm, "fetching")), names(&only(&farm, "fetching"), "cases")),
        (Some(sha), vec!["step:deps".into()])
    );
    assert!(words(&mails[0]).contains("step `deps`"), "{}", mails[0]);
}

#[test]
fn failing_tests_of_a_trunk_block_no_suite_and_its_failing_smoke_command_blocks_all() {
    let mut farm = farm_with_greetings();
    farm.configure(
        "bin/lang\" }]",
        "bin/lang\" }, { name = \"check\", kind = \"test\", run = \"! grep sour lang\" }]",
    );
    farm.configure("[trunk.recipe]", "[trunk.recipe]\nsmoke = \"! grep rotten $FARM_PREFIX/bin/lang\"");
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let sour = commit_lang(&farm, "hello", "bye", "Turn sour");
    let toolchain = farm.finished_build(&sour, "toolchain");
    assert_eq!(toolchain["sentence"], "The toolchain at Turn sour failed in check (exit)");
    assert_eq!(farm.finished_build(&sour, "polite")["outcome"], "passed");
    until_idle(&mut farm, 3);
    assert_eq!(culprit(&only(&farm, "toolchain")), Some(sour));
    assert!(has_none(&farm, "polite").unwrap());
    let rotten = commit_lang(&farm, "hello", "bye", "Turn rotten");
    assert_eq!(farm.finished_build(&rotten, "polite")["outcome"], "blocked");
}
