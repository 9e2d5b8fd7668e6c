//! A real browser opens the pages of a real farm: `tests/browser/pages.mjs` defines what it must see.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trunkfarm_tests::farm::{Farm, at};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Tests the greeting of `lang`.
const POLITE: &str = "echo 1..2\n[ \"$(greet)\" = hello ] && echo 'ok 1 - greets' || echo 'not ok 1 - greets'\necho 'ok 2 - is there'\n";

/// Prints as quickly as `lang` allows, and tries to inject markup.
const WALKER: &str = r##"echo 1..1
n=0
while [ $n -lt 32 ]; do
    n=$((n + 1))
    echo "# line $n <script>document.title = 'owned'</script>"
    pace
done
echo 'ok 1 - walks'
"##;

fn lang(greeting: &str, pace: &str) -> String {
    format!("#!/bin/sh\ngreet() {{ echo {greeting}; }}\npace() {{ {pace}; }}\n. \"$1\"\n")
}

#[test]
fn a_real_browser_shows_the_pages_of_a_running_farm() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/pages.mjs");
    assert!(
        Path::new(CHROMIUM).exists(),
        "{CHROMIUM} is missing: install Debian's chromium, or run ./setup test"
    );
    assert!(
        script.with_file_name("node_modules").exists(),
        "tests/browser/node_modules is missing: run ./setup test"
    );
    let (mut farm, culprit) = a_farm_with_a_culprit();

    let mut node = Command::new("node")
        .arg(&script)
        .env("FARM_URL", farm.url(""))
        .env("FARM_CHROMIUM", CHROMIUM)
        .env("FARM_SCREENSHOTS", screenshots())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs (install Debian's nodejs, or run ./setup test)");
    let mut answers = node.stdin.take().expect("its stdin is a pipe");
    for line in BufReader::new(node.stdout.take().expect("its stdout is a pipe")).lines() {
        let line = line.expect("it prints text");
        println!("{line}");
        let answer = match line.as_str() {
            "ask a slow change" => {
                farm.edit("lang", &lang("bye", "sleep 0.25"));
                farm.commit("Walk slowly")
            }
            "ask the addresses" => {
                farm.until("nothing is left to do", |farm| {
                    Ok(farm.get("/queue")?.contains("No builds are running or queued"))
                });
                format!("{{\"culprit\":\"{culprit}\"}}")
            }
            _ => continue,
        };
        writeln!(answers, "{answer}").expect("it listens to what it asked for");
    }
    let status = node.wait().expect("it ends");
    assert!(
        status.success(),
        "the browser saw something else: {status}; pictures are in {:?}",
        screenshots()
    );
}

/// The folder for the screenshots.
fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots")
}

/// A farm with two relevant projects; the third change breaks one of them, and the farm has named the culprit. Returns the
/// farm and the culprit's id.
fn a_farm_with_a_culprit() -> (Farm, String) {
    let mut farm = Farm::create();
    let first = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.edit("lang", &lang("hello", ":"));
    // The history begins with a change on which both suites pass.
    let base = farm.commit("Say hello");
    let config = fs::read_to_string(farm.path("farm.toml")).expect("the farm is laid");
    farm.write("farm.toml", &config.replace(&first, &base));
    farm.edit("lang", &format!("{}# the end\n", lang("hello", ":")));
    farm.commit("Say where it ends");
    farm.edit("lang", &lang("bye", ":"));
    let culprit = farm.commit("Say goodbye");
    farm.edit("lang", &format!("{}# the end\n", lang("bye", ":")));
    farm.commit("Say where it ends once more");
    farm.project("polite", POLITE);
    farm.project("walker", WALKER);
    // Enough columns to be wider than a phone.
    for name in ["arrays", "bytes", "clocks", "dates", "events", "files", "graphs", "hashes"] {
        farm.project(name, "echo 1..1\necho 'ok 1 - is there'\n");
    }
    farm.serve().worker("w1", 2);
    farm.until("the culprit is named", |farm| {
        let group = farm.json("/breakages")?;
        Ok(at(&group, "groups.0.culprit.sha")? == culprit.as_str())
    });
    (farm, culprit)
}
