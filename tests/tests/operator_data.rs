//! The operator's data: backup and restore, the doctor, and pruning, all while the farm runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use trunkfarm_tests::farm::Farm;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("running cp");
    assert!(copied.success(), "copying {}", from.display());
}

#[test]
fn a_backup_made_while_the_farm_runs_is_restored_as_the_operators_page_says() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..2; echo ok 1; echo not ok 2");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let id = farm.build_number(&base, "first");
    farm.until("the farm is at rest", trunkfarm_tests::farm::Farm::is_idle);
    let page = farm.json(&format!("/builds/{id}")).unwrap();
    let log = farm.get(&format!("/builds/{id}/log/0/raw")).unwrap();

    // First the database, then the files, while builds run.
    fs::create_dir(farm.path("backup")).unwrap();
    farm.commit("while it is copied");
    let copied = farm.run_master_command(&["backup", "backup/farm.db"]);
    assert!(copied.status.success(), "{}", text(&copied));
    for folder in ["logs", "objects", "git"] {
        copy(&farm.path("data").join(folder), &farm.path("backup"));
    }
    let again = farm.run_master_command(&["backup", "backup/farm.db"]);
    assert!(!again.status.success() && text(&again).contains("exists already"), "{}", text(&again));
    farm.kill_worker("w1");
    farm.stop_master();

    fs::rename(farm.path("data"), farm.path("lost")).unwrap();
    fs::rename(farm.path("backup"), farm.path("data")).unwrap();
    let examined = farm.run_master_command(&["doctor"]);
    assert!(examined.status.success(), "{}", text(&examined));
    farm.serve();
    assert_eq!(farm.json(&format!("/builds/{id}")).unwrap(), page);
    assert_eq!(farm.get(&format!("/builds/{id}/log/0/raw")).unwrap(), log);
    farm.run_worker("w1");
    let next = farm.commit("after it was restored");
    assert_eq!(farm.finished_build(&next, "first")["outcome"], "failed", "the farm goes on");
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_running_farm_and_names_real_damage() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.build_number(&base, "first");
    let well = farm.run_master_command(&["doctor"]);
    assert!(well.status.success(), "{}", text(&well));
    assert!(text(&well).contains("ok     the database is sound"), "{}", text(&well));

    let artifacts = fs::read_dir(farm.path("data/objects/artifact")).unwrap();
    let artifact = artifacts.flatten().next().expect("a toolchain was kept").path();
    fs::remove_file(&artifact).unwrap();
    let token = farm.path("data/poke.token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let ill = farm.run_master_command(&["doctor"]);
    assert_eq!(ill.status.code(), Some(1), "{}", text(&ill));
    let said = text(&ill);
    assert!(
        said.contains(&format!(
            "wrong  A toolchain is missing or too short; suites that need it end as an infra failure: {}",
            artifact.display()
        )),
        "{said}"
    );
    assert!(said.contains("poke.token (mode 644). Run: chmod 600 "), "{said}");
    assert!(said.contains("found 2 problems"), "{said}");
}

#[test]
fn a_pruned_log_is_marked_and_everything_else_of_its_build_stays() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let id = farm.build_number(&base, "first");
    farm.until("the farm is at rest", trunkfarm_tests::farm::Farm::is_idle);
    let before = farm.json(&format!("/builds/{id}")).unwrap();
    farm.replace_in("farm.toml", "[search]", "[retention]\ngreen_logs = \"0s\"\n\n[search]");
    let log = format!("/builds/{id}/log/0");
    farm.until("its log is pruned", |farm| Ok(farm.get(&log)?.contains("This log was pruned on ")));
    let (status, said, _) = farm.answer(&format!("{log}/raw"), &[]);
    assert_eq!((status, said.contains("This log was pruned on ")), (410, true), "{said}");
    let after = farm.json(&format!("/builds/{id}")).unwrap();
    assert_eq!(after["sentence"], before["sentence"]);
    assert_eq!(after["counts"], before["counts"]);
    assert!(before["tail"] != Value::Null && after["tail"] == Value::Null, "{after}");
    let examined = farm.run_master_command(&["doctor"]);
    assert!(examined.status.success(), "what was pruned is not missed: {}", text(&examined));
}
