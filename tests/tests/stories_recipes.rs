//! Stories about where a project's source comes from, and what its recipe gets of it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, commit_lang, greeting, runs_of};

/// The revision with which a project tested the trunk's newest change.
fn tested_revision(farm: &mut Farm, project: &str) -> String {
    let head = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.finished_build(&head, project);
    let runs = runs_of(farm, &head, project).expect("runs of a finished build");
    runs[0]["revision"].as_str().expect("a suite has a revision").to_string()
}

#[test]
fn a_project_that_follows_its_newest_tag_follows_releases_and_no_snapshot() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    let released = farm.project("polite", &greeting());
    farm.git(&farm.path("polite"), &["tag", "v1.3.0"]);
    farm.git(&farm.path("polite"), &["tag", "v1.2.3"]);
    farm.revise("polite", &format!("{TAP}told 'not ok' 'is half done'\nfinish\n"));
    for tag in ["nightly-20190301", "v1.4.0-rc1", "20190301"] {
        farm.git(&farm.path("polite"), &["tag", tag]);
    }
    farm.replace_in("projects/polite.toml", "follow  = \"master\"", "follow  = \"newest-tag\"");
    farm.serve().worker("w1", 2);
    assert_eq!(tested_revision(&mut farm, "polite"), released);
    let next = farm.revise("polite", &greeting());
    farm.git(&farm.path("polite"), &["tag", "v1.4.0"]);
    farm.until("the next release is tested", |farm| {
        let head = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
        Ok(runs_of(farm, &head, "polite")?.iter().any(|run| run["revision"] == next.as_str()))
    });
    farm.stop_master();
}

#[test]
fn a_project_that_is_pinned_to_a_commit_stays_there() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    let pinned = farm.project("polite", &greeting());
    let commit = format!("commit  = \"{pinned}\"");
    farm.replace_in("projects/polite.toml", "follow  = \"master\"", &commit);
    farm.revise("polite", &format!("{TAP}told 'not ok' 'is half done'\nfinish\n"));
    farm.serve().worker("w1", 2);
    assert_eq!(tested_revision(&mut farm, "polite"), pinned);
    commit_lang(&farm, "hello", "bye", "second");
    assert_eq!(tested_revision(&mut farm, "polite"), pinned);
    farm.stop_master();
}

#[test]
fn a_commit_is_shown_in_its_own_encoding() {
    let mut farm = Farm::create();
    let trunk = farm.path("trunk");
    let (tree, parent) =
        (farm.git(&trunk, &["rev-parse", "HEAD^{tree}"]), farm.git(&trunk, &["rev-parse", "HEAD"]));
    let who = b"J\xf6rg M\xfcller <joerg@example.org> 1700000000 +0100\n";
    let head = format!("tree {tree}\nparent {parent}\nauthor ");
    let commit = [head.as_bytes(), who, b"committer ", who, b"encoding ISO-8859-1\n\ngr\xf6\xdfere Zahlen\n"];
    let raw = farm.path("raw");
    fs::write(&raw, commit.concat()).expect("writing a file");
    let raw = raw.display().to_string();
    let sha = farm.git(&trunk, &["hash-object", "-t", "commit", "-w", &raw]);
    farm.git(&trunk, &["update-ref", "refs/heads/master", &sha]);
    farm.serve();
    farm.until("the change is there", |farm| Ok(farm.json(&format!("/changes/{sha}")).is_ok()));
    let page = farm.json(&format!("/changes/{sha}")).unwrap();
    assert_eq!(page["change"]["title"], "größere Zahlen");
    assert_eq!(page["change"]["author"], "Jörg Müller");
    assert!(farm.get("/waterfall").unwrap().contains("größere Zahlen"));
    farm.stop_master();
}

/// Registers a repository of the farm's folder as a source alone.
fn source(farm: &Farm, name: &str, needs: &str, steps: &str) {
    farm.write(
        &format!("projects/{name}.toml"),
        &format!(
            "[project]\nname = \"{name}\"\ntrunk = \"lang\"\ngit = \"{}\"\nfollow = \"master\"\nsource_only = true\nneeds = [{needs}]\n{steps}",
            farm.path(name).display()
        ),
    );
}

/// In Lua, the runner of tests is tested with itself, and so is what it needs.
#[test]
fn projects_that_test_each_other_need_their_sources() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    // Each source has its own file `suite`, which says what it is.
    farm.revise("busted-src", "echo runner 1\n");
    farm.revise("say-src", "echo say\n");
    let build = "[recipe]\nenv = { WHAT = \"it's built\" }\n[[recipe.step]]\nname = \"build\"\nkind = \"compile\"\n\
                 run = \"lang ./suite > made; echo $WHAT >> made\"\n";
    source(&farm, "busted-src", "\"say-src\"", build);
    source(&farm, "say-src", "\"busted-src\"", "");
    let suite = format!(
        "{TAP}made() {{ tr '\\n' ' ' < \"$HOME/needs/busted-src/made\"; }}\n\
         other() {{ sh \"$FARM_NEEDS/say-src/suite\"; }}\n\
         kept() {{ [ -e \"$FARM_NEEDS/busted-src/made\" ] || echo clean; }}\n\
         is \"runner 1 it's built \" made 'is built'\nis say other 'has what its need needs'\nis clean kept 'leaves sources alone'\nfinish\n"
    );
    for name in ["busted", "say"] {
        farm.project(name, &suite);
        let file = format!("projects/{name}.toml");
        farm.replace_in(&file, "follow  = \"master\"", "follow  = \"master\"\nneeds = [\"busted-src\"]");
    }
    let checked = farm.run_master_command(&["check", "farm.toml"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    farm.serve().worker("w1", 2);
    let head = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    for name in ["busted", "say"] {
        let build = farm.finished_build(&head, name);
        assert_eq!(build["outcome"], "passed", "{build}");
        let steps: Vec<&Value> =
            build["attempts"][0]["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
        assert_eq!(steps, ["busted-src:build", "test"]);
    }
    assert!(farm.get("/projects/busted-src").unwrap().contains("gives its source to those that need it"));

    // A new revision of a source is new inputs of those that need it: what it breaks is not the trunk's doing.
    farm.until("the first changes are decided", Farm::is_idle);
    let next = farm.revise("busted-src", "echo runner 2\n");
    farm.until("the new source is tried", |farm| {
        let runs = runs_of(farm, &head, "say")?;
        Ok(runs.iter().any(|run| run["reason"] == "baseline" && run["outcome"] == "failed"))
    });
    farm.until("nothing is left to do", Farm::is_idle);
    assert_eq!(farm.breakages("say").unwrap(), Vec::<Value>::new(), "the trunk has not changed since {next}");
    farm.stop_master();
}

/// A repository with a submodule that is its neighbour.
fn with_submodule(farm: &Farm, name: &str, url: &str, commit: &str) -> String {
    let folder = farm.path(name);
    farm.write(
        &format!("{name}/.gitmodules"),
        &format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n"),
    );
    farm.git(&folder, &["add", ".gitmodules"]);
    farm.git(&folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")]);
    farm.git(&folder, &["commit", "-q", "-m", "with a submodule"]);
    farm.git(&folder, &["rev-parse", "HEAD"])
}

#[test]
fn a_project_gets_its_submodules_and_its_version_if_it_asks_for_them() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    let helper = farm.revise("helper", "echo helped\n");
    let suite = format!(
        "{TAP}sub() {{ sh lib/suite; }}\nversion() {{ echo \"$FARM_VERSION\"; }}\n\
         is helped sub 'has its submodule'\nis \"$(cat expected)\" version 'has its version'\nfinish\n"
    );
    farm.project("polite", &suite);
    let folder = farm.path("polite");
    farm.git(&folder, &["tag", "v2.0"]);
    farm.write("polite/expected", "v2.0-1");
    farm.git(&folder, &["add", "expected"]);
    with_submodule(&farm, "polite", "../helper", &helper);
    let head = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let described = farm.git(&folder, &["describe", "--tags", "--always"]);
    farm.replace_in(
        "projects/polite.toml",
        "follow  = \"master\"",
        "follow  = \"master\"\nsubmodules = true\nversion = \"git-describe\"",
    );
    // The suite compares the part that its own commit can know.
    farm.replace_in(
        "projects/polite.toml",
        "lang ./suite",
        "FARM_VERSION=${FARM_VERSION%-*} lang ./suite; echo \\\"# $FARM_VERSION\\\"",
    );
    farm.serve().worker("w1", 2);
    let build = farm.finished_build(&head, "polite");
    let log = farm.get(&format!("/builds/{}/log/0/raw", build["id"])).unwrap();
    assert!(log.contains("ok 1 - has its submodule") && log.contains("ok 2 - has its version"), "{log}");
    assert!(log.contains(&format!("# {described}")), "{described}: {log}");
    farm.stop_master();
}

#[test]
fn a_submodule_never_brings_a_repository_of_the_volunteers_machine() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    let secret = farm.revise("secret", "echo secret\n");
    farm.project("polite", &greeting());
    let url = farm.path("secret").display().to_string();
    with_submodule(&farm, "polite", &url, &secret);
    farm.replace_in(
        "projects/polite.toml",
        "follow  = \"master\"",
        "follow  = \"master\"\nsubmodules = true",
    );
    farm.serve().worker("w1", 1);
    let head = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.until("the worker says why it has no source", |farm| {
        let runs = runs_of(farm, &head, "polite")?;
        let Some(id) = runs.first().and_then(|run| run["build"].as_i64().or(run["id"].as_i64())) else {
            return Ok(false);
        };
        let page = farm.json(&format!("/builds/{id}"))?.to_string();
        Ok(page.contains("a submodule must not name a path of this machine"))
    });
    assert!(!Path::new(&farm.path("w1/git")).read_dir().unwrap().any(|mirror| {
        let heads = mirror.unwrap().path().join("packed-refs");
        fs::read_to_string(heads).unwrap_or_default().contains(&secret)
    }));
    farm.stop_master();
}
