//! The operator edits files while the farm runs: valid ones are in force at once, invalid ones only show on the pages.

use serde_json::Value;
use trunkfarm_tests::farm::{Farm, at};

/// The problems of the farm itself that every page shows.
fn problems(farm: &Farm) -> String {
    let page = farm.get("/waterfall").expect("a page is never dark");
    let list = page.split_once("class=\"problems\"").map_or("", |(_, list)| list);
    list.split_once("</ul>").map_or(String::new(), |(list, _)| list.replace("&#96;", "`"))
}

#[test]
fn an_added_project_is_built_and_a_removed_project_drains() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.finished_build(&base, "first");

    // It is slow, so that it still runs when it is removed.
    farm.project("second", "for i in 1 2 3 4 5 6; do echo '# waits'; sleep 1; done; echo 1..1; echo ok 1");
    let running = |farm: &Farm| -> anyhow::Result<Option<i64>> {
        let queue = farm.json("/queue")?;
        let mut builds = at(&queue, "builds")?.as_array().into_iter().flatten();
        let second =
            |build: &&Value| build["builder"]["name"] == "second" && build["status_style"] == "running";
        Ok(builds.find(second).and_then(|build| build["build"].as_i64()))
    };
    farm.until("the new project's suite runs", |farm| Ok(running(farm)?.is_some()));
    let build = running(&farm).unwrap().expect("it takes its time");
    std::fs::remove_file(farm.path("projects/second.toml")).unwrap();
    // The configuration was read once when the project was added, and again when it was removed.
    farm.until("it is taken out", |farm| {
        let log = std::fs::read_to_string(farm.path("master.log"))?;
        Ok(log.matches("the configuration was reloaded").count() == 2)
    });
    let next = farm.commit("after the project was taken out");
    farm.until("what ran when it was taken out ends", |farm| {
        Ok(farm.json(&format!("/builds/{build}"))?["outcome"] == "passed")
    });
    assert_eq!(farm.finished_build(&next, "first")["outcome"], "passed");
    farm.until("nothing waits", |farm| Ok(farm.json("/queue")?["builds"].as_array().unwrap().is_empty()));
    let page = farm.json(&format!("/changes/{next}")).unwrap();
    let met = page["builders"].as_array().unwrap();
    assert!(met.iter().all(|met| met["builder"]["name"] != "second"), "it gets no new builds: {page}");
}

#[test]
fn an_invalid_file_leaves_the_last_valid_configuration_in_force_and_is_named_on_every_page() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve().worker("w1", 1);
    let good = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    farm.replace_in("farm.toml", "poll      = \"1s\"", "pol       = \"1s\"");
    farm.until("the pages say which key of which line is wrong", |farm| {
        let said = problems(farm);
        Ok(said.contains("farm.toml:15: trunk.pol: unknown key")
            && said.contains("the previous one stays in force"))
    });
    assert!(farm.master().log().contains("configuration rejected: farm.toml:15: trunk.pol"));
    let next = farm.commit("while the configuration is bad");
    assert_eq!(farm.finished_build(&next, "first")["outcome"], "passed", "the farm goes on");

    farm.write("farm.toml", &good);
    farm.until("all is well again", |farm| Ok(problems(farm).is_empty()));
}

#[test]
fn a_missing_file_breaks_no_page() {
    let mut farm = Farm::create();
    farm.serve();
    let good = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    std::fs::remove_file(farm.path("farm.toml")).unwrap();
    farm.until("the pages say that it cannot be read", |farm| Ok(problems(farm).contains("cannot be read")));
    farm.write("farm.toml", &good);
    farm.until("the pages no longer say so", |farm| Ok(!problems(farm).contains("cannot be read")));
}

#[test]
fn changed_settings_are_in_force_without_a_restart() {
    let mut farm = Farm::create();
    // Nobody pokes it, and it would poll once a day.
    farm.replace_in("farm.toml", "poll      = \"1s\"", "poll      = \"1d\"");
    farm.serve();
    farm.until("the first change is there", |farm| Ok(!farm.rows("lang", "master")?.is_empty()));
    farm.commit("nobody looks yet");
    farm.replace_in("farm.toml", "poll      = \"1d\"", "poll      = \"1s\"");
    farm.replace_in("farm.toml", "\"Test farm\"", "\"Renamed farm\"");
    farm.until("the next poll is soon", |farm| Ok(farm.rows("lang", "master")?.len() == 2));
    farm.commit("and again");
    farm.until("each poll is soon", |farm| Ok(farm.rows("lang", "master")?.len() == 3));
    assert!(farm.get("/").unwrap().contains("Renamed farm"));
}

#[test]
fn a_second_trunk_is_polled_as_soon_as_it_is_named() {
    let mut farm = Farm::create();
    farm.serve();
    farm.git(&farm.path("other"), &["init", "-q", "-b", "master"]);
    farm.git(&farm.path("other"), &["commit", "-q", "--allow-empty", "-m", "begin"]);
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    let (_, trunk) = text.split_once("[[trunk]]").unwrap();
    let other = trunk.replace("\"lang\"", "\"other\"").replace("/trunk\"", "/other\"");
    let other: Vec<&str> = other.lines().filter(|line| !line.starts_with("base")).collect();
    farm.write("farm.toml", &format!("{text}\n[[trunk]]{}\n", other.join("\n")));
    farm.until("the new trunk has a change", |farm| Ok(!farm.rows("other", "master")?.is_empty()));
    let poke = farm.run_master_command(&["poke", "other"]);
    assert!(poke.status.success(), "{}", String::from_utf8_lossy(&poke.stderr));
}

#[test]
fn a_setting_that_needs_a_restart_is_reported_and_stays_as_it_was() {
    let mut farm = Farm::create();
    farm.serve();
    let (port, other) = (farm.port, trunkfarm_tests::process::free_port());
    farm.replace_in(
        "farm.toml",
        &format!("listen = \"127.0.0.1:{port}\""),
        &format!("listen = \"127.0.0.1:{other}\""),
    );
    farm.until("the pages say that it needs a restart", |farm| {
        Ok(problems(farm).contains(&format!("farm.listen: 127.0.0.1:{other} needs a restart")))
    });
}

#[test]
fn sighup_reads_the_files_again() {
    let mut farm = Farm::create();
    farm.serve();
    farm.master().signal("HUP").unwrap();
    farm.until("it has read them", |farm| {
        Ok(std::fs::read_to_string(farm.path("master.log"))?.contains("the configuration was reloaded"))
    });
}
