//! A real browser looks at a real farm's pages: `tests/browser/pages.mjs` says what it must see.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trunkfarm_tests::farm::{Farm, at};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Asks `lang` for a greeting.
const POLITE: &str = "echo 1..2\n[ \"$(greet)\" = hello ] && echo 'ok 1 - greets' || echo 'not ok 1 - greets'\necho 'ok 2 - is there'\n";

/// Prints as quickly as `lang` lets it, and tries to be more than text.
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
fn the_pages_show_a_farm_at_work_to_a_real_browser() {
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

/// Where people find what the browser saw.
fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots")
}

/// Two projects that matter; the third of its changes breaks one of them, and the farm has found that out. The answer is the
/// farm and the culprit's id.
fn a_farm_with_a_culprit() -> (Farm, String) {
    let mut farm = Farm::lay();
    let first = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.edit("lang", &lang("hello", ":"));
    // History begins where both suites are good.
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
    // As many columns as are wider than a phone.
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
