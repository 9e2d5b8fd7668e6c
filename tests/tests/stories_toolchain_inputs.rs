//! Stories about toolchain inputs: what the trunk's own recipe or another compiler changes is the farm's own doing. It
//! accuses no change and is mailed to nobody.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, culprit, farm_with_greetings, greeting, only, runs_of, until_idle,
};

/// The step of the trunk's recipe in farm.toml, and one that also installs a file beside the language.
const STEP: &str = "run = \"install -D -m 755 lang $FARM_PREFIX/bin/lang\"";

/// A suite of which one case passes only with this recipe of the trunk.
fn suite_of_recipe(word: &str) -> String {
    format!("{TAP}is hello greet greets\nis {word} 'cat '$FARM_PREFIX/bin/recipe recipe\nfinish\n")
}

/// The recipe's step that installs the language and this word.
fn installing(word: &str) -> String {
    format!("run = \"install -D -m 755 lang $FARM_PREFIX/bin/lang; echo {word} > $FARM_PREFIX/bin/recipe\"")
}

/// The toolchain builds of a change for a reason.
fn toolchains_of(farm: &Farm, change: &str, reason: &str) -> anyhow::Result<Vec<Value>> {
    let mut builds = runs_of(farm, change, "toolchain")?;
    builds.retain(|build| build["reason"] == reason);
    Ok(builds)
}

#[test]
fn a_change_of_the_trunks_recipe_accuses_no_change() {
    let mut farm = farm_with_greetings();
    farm.configure(STEP, &installing("old"));
    farm.project("polite", &suite_of_recipe("old"));
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let last = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);

    // Without a worker, the next change waits; meanwhile the recipe changes.
    farm.kill_worker("w1");
    let waiting = commit_lang(&farm, "hello", "bye", "wait for a worker");
    farm.until("the change waits", |farm| {
        Ok(farm.json("/queue")?["builds"].as_array().is_some_and(|builds| !builds.is_empty()))
    });
    farm.stop_master();
    farm.configure(&installing("old"), &installing("new"));
    farm.serve().run_worker("w1");
    until_idle(&mut farm, 3);
    let innocent = commit_lang(&farm, "hello", "bye", "be innocent");
    until_idle(&mut farm, 4);

    let recipe_of = |change: &str, reason: &str| -> Vec<Value> {
        toolchains_of(&farm, change, reason).unwrap().iter().map(|build| build["outcome"].clone()).collect()
    };
    assert_eq!(recipe_of(&last, "baseline"), ["passed"], "the last change is repeated with the new recipe");
    assert_eq!(recipe_of(&waiting, "tip").len(), 1, "the waiting build was made once");
    let suites = |change: &str| -> Vec<(Value, Value)> {
        let builds = runs_of(&farm, change, "polite").unwrap();
        builds.iter().map(|build| (build["reason"].clone(), build["outcome"].clone())).collect()
    };
    let pair = |reason: &str, outcome: &str| (Value::from(reason), Value::from(outcome));
    assert!(suites(&last).contains(&pair("baseline", "failed")), "{:?}", suites(&last));
    assert!(suites(&waiting).contains(&pair("tip", "failed")), "{:?}", suites(&waiting));
    assert!(suites(&innocent).contains(&pair("tip", "failed")), "{:?}", suites(&innocent));
    for builder in ["polite", "toolchain"] {
        assert_eq!(farm.breakages(builder).unwrap(), Vec::<Value>::new(), "nothing is the trunk's");
    }
    assert_eq!(farm.mails(), Vec::<String>::new());

    // The pages show where the recipe changed, and the operator reads what differs there.
    let rows = farm.rows("lang", "master").unwrap();
    let words = |change: &str| -> Value {
        let row = rows.iter().find(|row| row["change"]["sha"] == change).expect("a row of the change");
        row["toolchain_inputs"].clone()
    };
    let changed = format!("linux-{}: the trunk's recipe changed", std::env::consts::ARCH);
    assert_eq!(words(&last), serde_json::json!([changed]));
    assert_eq!(words(&innocent), Value::Null);
    let page = farm.json(&format!("/changes/{last}")).unwrap();
    assert_eq!(page["toolchain_inputs"][0]["words"][0], "the trunk's recipe changed");
    let status = farm.json("/status").unwrap();
    assert_eq!(status["toolchain_inputs"][0]["cases"][0], "polite: recipe pass is now fail", "{status}");
    farm.stop_master();
}

#[test]
fn a_recipe_with_which_nothing_can_be_built_waits_and_the_operator_reads_why() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm.stop_master();
    farm.configure(STEP, "run = \"exit 1\"");
    farm.serve();
    farm.until("the operator reads that it waits", |farm| {
        Ok(farm.json("/status")?["problems"].to_string().contains("no toolchain can be made")
            || farm.get("/")?.contains("no toolchain can be made"))
    });
    let next = commit_lang(&farm, "hello", "bye", "go on");
    until_idle(&mut farm, 3);
    assert_eq!(runs_of(&farm, &next, "polite").unwrap()[0]["outcome"], "passed", "with the old recipe");
    assert_eq!(farm.breakages("toolchain").unwrap(), Vec::<Value>::new());
    assert_eq!(farm.mails(), Vec::<String>::new());
    farm.stop_master();
}

#[test]
fn a_recipe_that_is_adapted_to_a_change_ends_the_breakage_of_the_toolchain() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm.git(&farm.path("trunk"), &["mv", "lang", "language"]);
    let culprit_of_it = farm.commit("rename the language");
    farm.until("the culprit is named", |farm| {
        Ok(farm.breakages("toolchain")?.iter().any(|breakage| breakage["state"] == "named"))
    });
    assert_eq!(culprit(&only(&farm, "toolchain")), Some(culprit_of_it));
    farm.stop_master();
    farm.configure(STEP, "run = \"install -D -m 755 language $FARM_PREFIX/bin/lang\"");
    farm.serve();
    farm.until("the breakage is over", |farm| {
        Ok(farm.breakages("toolchain")?.iter().all(|breakage| breakage["state"] == "fixed"))
    });
    let next = farm.commit("go on");
    farm.until("the suite goes on", |farm| {
        Ok(runs_of(farm, &next, "polite")?.iter().any(|build| build["outcome"] == "passed"))
    });
    assert_eq!(farm.breakages("toolchain").unwrap().len(), 1);
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new());
    farm.stop_master();
}

/// Lets workers that are started from now on find a compiler that calls itself so.
fn use_compiler(farm: &mut Farm, version: &str) {
    let folder = format!("compilers/{version}");
    farm.write(&format!("{folder}/cc"), &format!("#!/bin/sh\necho 'gcc {version}'\n"));
    let path = farm.path(&folder);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path.join("cc"), mode).expect("a file of the test");
    let usual = std::env::var("PATH").expect("tests have a path");
    farm.variable("PATH", &format!("{}:{usual}", path.display()));
}

/// Each history toolchain of the branch with the worker that made it.
fn makers(farm: &Farm) -> Vec<String> {
    let mut makers = Vec::new();
    for row in farm.rows("lang", "master").unwrap() {
        for build in runs_of(farm, row["change"]["sha"].as_str().unwrap(), "toolchain").unwrap() {
            if build["reason"] != "force" {
                let attempts = build["attempts"].as_array().unwrap();
                makers.push(attempts.last().unwrap()["worker"].as_str().unwrap().to_string());
            }
        }
    }
    makers
}

#[test]
fn an_upgraded_compiler_accuses_no_change() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    use_compiler(&mut farm, "12.2");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let last = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.kill_worker("w1");
    use_compiler(&mut farm, "13.1");
    farm.run_worker("w1");
    let innocent = commit_lang(&farm, "hello", "bye", "be innocent");
    until_idle(&mut farm, 3);
    assert_eq!(toolchains_of(&farm, &last, "baseline").unwrap().len(), 1, "the last change is repeated");
    assert_eq!(toolchains_of(&farm, &innocent, "tip").unwrap().len(), 1);
    let page = farm.json(&format!("/changes/{last}")).unwrap();
    assert_eq!(
        page["toolchain_inputs"][0]["words"],
        serde_json::json!(["compiler: gcc 12.2 is now gcc 13.1"])
    );
    for builder in ["polite", "toolchain"] {
        assert_eq!(farm.breakages(builder).unwrap(), Vec::<Value>::new(), "nothing is the trunk's");
    }
    assert_eq!(farm.mails(), Vec::<String>::new());
    farm.stop_master();
}

#[test]
fn makers_with_different_compilers_do_not_take_turns() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    use_compiler(&mut farm, "12.2");
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    use_compiler(&mut farm, "13.1");
    farm.worker("w2", 4);
    for n in 1..=4 {
        commit_lang(&farm, "hello", "bye", &format!("change {n}"));
        until_idle(&mut farm, 2 + n);
    }
    assert_eq!(makers(&farm), vec!["w1"; 6], "all toolchains of the history");
    assert_eq!(farm.json("/status").unwrap()["toolchain_inputs"], serde_json::json!([]));
    farm.stop_master();
}

#[test]
fn a_step_that_the_recipe_dropped_is_not_lost() {
    let mut farm = farm_with_greetings();
    let check = "{ name = \"check\", kind = \"test\", run = \"sh -n lang\" }";
    let steps = format!("[trunk.recipe]\nsteps = [{check}, {{");
    farm.configure("[trunk.recipe]\nsteps = [{", &steps);
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let last = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.stop_master();
    farm.configure(&steps, "[trunk.recipe]\nsteps = [{");
    farm.serve();
    farm.until("the last change is repeated with the new recipe", |farm| {
        Ok(!toolchains_of(farm, &last, "baseline")?.is_empty())
    });
    commit_lang(&farm, "hello", "bye", "be innocent");
    until_idle(&mut farm, 3);
    for builder in ["polite", "toolchain"] {
        assert_eq!(farm.breakages(builder).unwrap(), Vec::<Value>::new(), "nothing is the trunk's");
    }
    assert_eq!(farm.mails(), Vec::<String>::new());
    farm.stop_master();
}

#[test]
fn a_search_keeps_its_recipe_to_the_end() {
    let mut farm = farm_with_greetings();
    farm.configure(STEP, &installing("old"));
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    farm.kill_worker("w1");
    for n in 1..=3 {
        commit_lang(&farm, "hello", "bye", &format!("before {n}"));
    }
    let guilty = commit_lang(&farm, "hullo", "bye", "greet as in the north");
    for n in 1..=3 {
        commit_lang(&farm, "hullo", "bye", &format!("after {n}"));
    }
    farm.until("all changes are found", |farm| Ok(farm.rows("lang", "master")?.len() == 9));
    farm.run_worker("w1");
    farm.until("the search begins", |farm| Ok(!farm.breakages("polite")?.is_empty()));
    farm.stop_master();
    farm.configure(&installing("old"), &installing("new"));
    farm.serve();
    farm.until("the culprit is named", |farm| {
        Ok(farm.breakages("polite")?.iter().any(|breakage| breakage["state"] == "named"))
    });
    assert_eq!(culprit(&only(&farm, "polite")), Some(guilty.clone()));
    until_idle(&mut farm, 9);
    commit_lang(&farm, "hullo", "bye", "be innocent");
    until_idle(&mut farm, 10);
    assert_eq!(culprit(&only(&farm, "polite")), Some(guilty));
    assert_eq!(farm.breakages("toolchain").unwrap(), Vec::<Value>::new());
    farm.stop_master();
}
