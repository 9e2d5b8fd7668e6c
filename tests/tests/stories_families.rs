//! Stories about many projects from one file, and about workers that are too few for all of them.

use std::collections::BTreeSet;

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, commit_lang};

/// A family whose projects share one repository, and have their names from a file.
fn family(farm: &Farm, names: impl Iterator<Item = String>) {
    farm.revise("rocks", &format!("{TAP}is hello greet \"$ROCK greets\"\nfinish\n"));
    farm.write(
        "projects/rocks.toml",
        &format!(
            r#"[[family]]
names_file = "rocks.txt"
[family.project]
trunk = "lang"
git = "{}"
follow = "master"
[family.recipe]
env = {{ ROCK = "{{{{name}}}}" }}
limits = {{ time = "20s", silence = "10s" }}
[[family.recipe.step]]
name = "test"
kind = "test"
run = "lang ./suite"
report = "tap"
"#,
            farm.path("rocks").display()
        ),
    );
    farm.write("projects/rocks.txt", &names.map(|name| name + "\n").collect::<String>());
}

fn rock(n: usize) -> String {
    format!("rock{n:04}")
}

/// The suites that a change was tested with.
fn tested(farm: &Farm, change: &str) -> anyhow::Result<BTreeSet<String>> {
    let page = farm.json(&format!("/changes/{change}"))?;
    let builders = page["builders"].as_array().into_iter().flatten();
    let tested =
        builders.filter(|reach| reach["result"].as_str().is_some_and(|result| result.contains("passed")));
    Ok(tested
        .filter_map(|reach| reach["builder"]["name"].as_str().map(str::to_string))
        .filter(|name| name.starts_with("rock"))
        .collect())
}

fn waiting(farm: &Farm) -> anyhow::Result<usize> {
    Ok(farm.json("/queue")?["builds"].as_array().map_or(0, Vec::len))
}

#[test]
fn a_thousand_names_are_a_farm() {
    let mut farm = Farm::create();
    let change = commit_lang(&farm, "hello", "bye", "first");
    family(&farm, (0..1000).map(rock));
    let checked = farm.run_master_command(&["check", "farm.toml"]);
    let printed =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && printed.contains("projects: 1000"), "{printed}");
    farm.serve().worker("w1", 4);
    farm.until("the first suites are tested", |farm| {
        // However many are still to come, few of them wait at a time.
        let queued = waiting(farm)?;
        assert!(queued <= 64 + 8, "{queued} builds wait");
        Ok(tested(farm, &change)?.len() >= 20)
    });
    assert!(farm.get("/projects/rock0999").unwrap().contains("rock0999"));
    let page = farm.get(&format!("/changes/{change}")).unwrap();
    assert!(
        page.contains("of 1000 suites are tested at it; of the others nothing is known here"),
        "it says so"
    );

    // One more name in the list is one more project, without a restart.
    let names: String = (0..=1000).map(|n| rock(n) + "\n").collect();
    farm.write("projects/rocks.txt", &names);
    farm.until("the new name is a project", |farm| Ok(farm.get("/projects/rock1000").is_ok()));
    farm.stop_master();
}

#[test]
fn a_mistake_in_a_family_is_one_sentence_with_its_line() {
    let farm = Farm::create();
    family(&farm, ["say", "lpeg", "say", "", "ok"].into_iter().map(str::to_string));
    let checked = farm.run_master_command(&["check", "farm.toml"]);
    assert!(!checked.status.success());
    let printed =
        String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains("rocks.")).collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert!(
        lines[0].contains(
            "projects/rocks.txt:3: another project is already named `say`, at projects/rocks.txt:1"
        ),
        "{printed}"
    );
    assert!(lines[1].contains("projects/rocks.txt:4: an empty name"), "{printed}");
}

/// Changes come faster than all suites can be tested: each change is tested with a part of them, and each of them has its turn.
#[test]
fn where_workers_are_few_each_project_has_its_turn() {
    const SUITES: usize = 72;
    const TESTED: usize = 18;
    // Half of those that are tested at a change have waited for longest.
    const CHANGES: usize = SUITES.div_ceil(TESTED / 2);

    let mut farm = Farm::create();
    family(&farm, (0..SUITES).map(rock));
    commit_lang(&farm, "hello", "bye", "first");
    farm.serve().worker("w1", 2);
    let mut seen = BTreeSet::new();
    let mut changes: Vec<String> = Vec::new();
    for n in 0..CHANGES {
        let change = commit_lang(&farm, "hello", "bye", &format!("change {n}"));
        farm.until("a part of the suites is tested", |farm| Ok(tested(farm, &change)?.len() >= TESTED));
        changes.push(change);
    }
    let all: BTreeSet<String> = (0..SUITES).map(rock).collect();
    let mut is_sampled = false;
    for change in &changes {
        let here = tested(&farm, change).unwrap();
        let page: Value = farm.json(&format!("/changes/{change}")).unwrap();
        assert_eq!(page["suites"]["all"], SUITES);
        is_sampled |= here.len() < SUITES;
        seen.extend(here);
    }
    assert!(is_sampled, "the workers were too few for all suites");
    assert_eq!(
        all.difference(&seen).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "never tested in {CHANGES} changes"
    );
    farm.stop_master();
}
