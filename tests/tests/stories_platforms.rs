//! Stories about platforms: what breaks on one of two is reported for that one.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_lang_with, culprit, farm_with_greetings, greeting, has_none, only, runs_of,
    until_idle, until_mails,
};

/// A farm with two platforms and a worker of each. A machine's C library is what `ldd` reports.
fn two_platforms(suite: &str) -> Farm {
    let mut farm = farm_with_greetings();
    let arch = std::env::consts::ARCH;
    farm.configure(&format!("[\"linux-{arch}\"]"), &format!("[\"linux-{arch}-gnu\", \"linux-{arch}-musl\"]"));
    farm.configure("null_runs = 4", "null_runs = 0");
    // Toolchains of different platforms differ.
    farm.configure(
        "\"install -D -m 755 lang $FARM_PREFIX/bin/lang\"",
        "\"{ cat lang; case $FARM_SOURCE in */musl/*) echo '# musl';; *) echo '# gnu';; esac; } > built && \
         install -D -m 755 built $FARM_PREFIX/bin/lang\"",
    );
    farm.project("polite", suite);
    farm.serve();
    farm.write("bin/ldd", "#!/bin/sh\necho 'musl libc (x86_64)'; echo 'Version 1.2.5'\n");
    let ldd = farm.path("bin/ldd");
    std::fs::set_permissions(&ldd, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    farm.variable("PATH", &format!("{}:{path}", farm.path("bin").display()));
    farm.unsandboxed_worker("musl", 1);
    farm.variable("PATH", &path);
    farm.unsandboxed_worker("glibc", 1);
    until_idle(&mut farm, 2);
    farm
}

#[test]
fn a_change_that_breaks_one_platform_only_is_reported_for_that_platform() {
    let arch = std::env::consts::ARCH;
    let mut farm = two_platforms(&greeting());

    let breaking = commit_lang_with(
        &farm,
        "greet() { case $FARM_SOURCE in */musl/*) echo hullo;; *) echo hello;; esac; }",
        "Greet by where one is",
    );
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "polite");
    assert_eq!(breakage["builder"]["platform"], format!("linux-{arch}-musl"), "{breakage}");
    assert_eq!(culprit(&breakage), Some(breaking));
    assert!(mails[0].contains(&format!("polite on linux-{arch}-musl")), "{}", mails[0]);
    assert!(!mails[0].contains(&format!("polite on linux-{arch}-gnu")), "{}", mails[0]);
}

#[test]
fn new_project_inputs_are_proven_on_one_platform_and_the_other_follows_with_its_own_baseline() {
    let arch = std::env::consts::ARCH;
    let mut farm = two_platforms(&greeting());
    let tip = farm.rows("lang", "master").unwrap()[0]["change"]["sha"].as_str().unwrap().to_string();
    let revision = farm.revise("polite", &format!("{TAP}is hello greet greets\ntold ok 'is new'\nfinish\n"));
    let passed = |farm: &Farm, change: &str, reason: &str| -> anyhow::Result<Vec<String>> {
        let mut runs = runs_of(farm, change, "polite")?;
        runs.retain(|run| run["revision"] == revision.as_str() && run["reason"] == reason);
        runs.retain(|run| run["outcome"] == "passed");
        let platform = |run: &Value| run["builder"]["platform"].as_str().unwrap_or_default().to_string();
        let mut platforms: Vec<String> = runs.iter().map(platform).collect();
        platforms.sort();
        Ok(platforms)
    };
    let both = [format!("linux-{arch}-gnu"), format!("linux-{arch}-musl")];
    farm.until("both have repeated the newest change", |farm| Ok(passed(farm, &tip, "baseline")? == both));
    let next = commit_lang(&farm, "hello", "bye", "Nothing of note");
    farm.until("both go on with it", |farm| Ok(passed(farm, &next, "tip")? == both));
    farm.until("all is decided", Farm::is_idle);
    assert!(has_none(&farm, "polite").unwrap());
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn the_first_runs_on_two_platforms_use_one_lock() {
    let mut farm = two_platforms(&greeting());
    farm.revise("locked", &greeting());
    let chosen = farm.path("chosen");
    let project = format!(
        r#"[project]
name = "locked"
trunk = "lang"
git = "{}"
follow = "master"
[recipe]
steps = [
  {{ name = "deps", kind = "fetch", run = """
    [ -n "$FARM_LOCK" ] || {{ sleep 1; echo chosen >> {}; echo 1 > "$FARM_OUT/lock"; }}""" }},
  {{ name = "test", kind = "test", run = "lang ./suite", report = "tap" }},
]
"#,
        farm.path("locked").display(),
        chosen.display()
    );
    farm.write("projects/locked.toml", &project);
    farm.until("both platforms have run it", |farm| {
        let change =
            farm.rows("lang", "master")?[0]["change"]["sha"].as_str().unwrap_or_default().to_string();
        let runs = runs_of(farm, &change, "locked")?;
        Ok(runs.iter().filter(|run| run["outcome"] == "passed").count() == 2)
    });
    assert_eq!(std::fs::read_to_string(&chosen).unwrap(), "chosen\n");
}
