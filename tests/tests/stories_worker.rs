//! What a worker keeps from build to build: sources that builds share, and the caches that recipes declare.

use std::fs;

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{culprit, runs_of, until_idle};

/// A farm with a project whose fetch step runs this script, with a cache in `$C`, before its suite.
fn farm_with_cache(fetch: &str, suite: &str) -> Farm {
    let farm = Farm::create();
    farm.project("polite", suite);
    let step = format!(
        "steps = [{{ name = \"fetch\", kind = \"fetch\", run = '''\nC=$HOME/.cache/things; mkdir -p $C; {fetch}''' }}, {{ name = \"test\""
    );
    farm.replace_in("projects/polite.toml", "steps = [{ name = \"test\"", &step);
    let text = fs::read_to_string(farm.path("projects/polite.toml")).unwrap();
    let cache = "[[cache]]\nname = \"things\"\npath = \"$HOME/.cache/things\"\nwrite = \"fetch\"\n";
    farm.write("projects/polite.toml", &format!("{text}\n{cache}"));
    farm
}

/// The trunk's next change, with another toolchain.
fn change(farm: &Farm, number: u32) -> String {
    farm.edit("lang", &format!("#!/bin/sh\n# {number}\n. \"$1\"\n"));
    farm.commit(&format!("change {number}"))
}

fn log(farm: &Farm, build: &Value) -> String {
    farm.get(&format!("/builds/{}/log/0/raw", build["id"])).unwrap().trim().to_string()
}

/// The null runs of the project at these changes that have ended, and the other builds.
fn ended(farm: &Farm, changes: &[&String]) -> anyhow::Result<(Vec<Value>, Vec<Value>)> {
    let mut builds = Vec::new();
    for change in changes {
        builds.extend(runs_of(farm, change, "polite")?);
    }
    builds.retain(|build| !build["outcome"].is_null());
    Ok(builds.into_iter().partition(|build| build["reason"] == "null"))
}

#[test]
fn builds_of_one_revision_share_its_source_and_none_sees_what_another_did() {
    let mut farm = Farm::create();
    let suite = "[ -e touched ] && echo not ok 1 - is as committed || echo ok 1 - is as committed\necho 1..1\n\
                 echo '# changed' >> suite; touch touched; chmod 700 .\n";
    farm.project("vandal", suite);
    farm.project(
        "second",
        "echo 1..1\necho ok 1 - needs it as committed\n[ ! -e $FARM_NEEDS/vandal/touched ]\n",
    );
    farm.replace_in("projects/second.toml", "[recipe]", "needs = [\"vandal\"]\n[recipe]");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 1);
    for number in 1..=2 {
        let sha = change(&farm, number);
        for project in ["vandal", "second"] {
            assert_eq!(farm.finished_build(&sha, project)["outcome"], "passed", "{project} at {number}");
        }
    }
    let log = farm.worker_log("w1");
    assert!(
        log.contains("builds share unpacked sources by overlay")
            || log.contains("builds get copies of unpacked")
    );
    // One tree for each project, whatever was built, and one for each change where it is not copied.
    let trees = fs::read_dir(farm.path("w1/sources")).unwrap().count();
    assert!((2..=5).contains(&trees), "{trees} trees");
    // What a kill leaves is not given out.
    farm.kill_worker("w1");
    for tree in fs::read_dir(farm.path("w1/sources")).unwrap() {
        let tree = tree.unwrap().path();
        fs::remove_file(tree.join("bytes")).unwrap();
        fs::remove_file(tree.join("root/suite")).unwrap_or_default();
    }
    farm.run_worker("w1");
    let sha = change(&farm, 3);
    for project in ["vandal", "second"] {
        assert_eq!(farm.finished_build(&sha, project)["outcome"], "passed", "{project} after the kill");
    }
}

#[test]
fn later_builds_find_what_a_fetch_step_cached_and_null_runs_go_without() {
    let fetch = "if [ -e $C/fetched ]; then echo found; else echo empty; fi; echo x > $C/fetched";
    let suite = "echo x 2>/dev/null > $HOME/.cache/things/tested\necho 1..1\necho ok 1 - is there\n";
    let mut farm = farm_with_cache(fetch, suite);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 1);
    let second = change(&farm, 2);
    until_idle(&mut farm, 2);
    farm.until("two null runs have ended", |farm| Ok(ended(farm, &[&base, &second])?.0.len() > 1));
    let (null_runs, others) = ended(&farm, &[&base, &second]).unwrap();
    for build in null_runs {
        assert_eq!(log(&farm, &build), "empty", "a null run goes without caches");
    }
    let found: Vec<String> = others.iter().map(|build| log(&farm, build)).collect();
    assert_eq!(found, ["empty", "found"]);
    assert!(!farm.get("/").unwrap().contains("The caches of"), "they agree");
    // A worker that is killed keeps what finished steps have written.
    farm.kill_worker("w1");
    farm.run_worker("w1");
    let third = change(&farm, 3);
    let build = farm.finished_build(&third, "polite");
    assert_eq!(log(&farm, &build), "found");
}

/// The innocent change that comes first after the cache went stale must not be accused.
#[test]
fn a_cache_that_changes_a_result_is_dropped_and_reported_and_accuses_no_change() {
    let fetch = "if [ -e $C/stale ]; then echo not ok 1 - is fresh > $HOME/verdict; else echo ok 1 - is fresh > \
                 $HOME/verdict; fi; touch $C/stale";
    let mut farm = farm_with_cache(fetch, "echo 1..1\ncat $HOME/verdict\n");
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 1);
    let innocent = change(&farm, 2);
    assert_eq!(farm.finished_build(&innocent, "polite")["outcome"], "failed");
    farm.until("the operator can read it", |farm| {
        Ok(farm.get("/")?.contains("The caches of polite change what its builds show"))
    });
    until_idle(&mut farm, 2);
    for breakage in farm.breakages("polite").unwrap() {
        assert_eq!(culprit(&breakage), None, "{breakage:#}");
    }
    assert!(farm.mails().is_empty(), "{:#?}", farm.mails());
}
