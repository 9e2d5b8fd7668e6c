//! The trunk moves, disappears and comes back, and how the farm handles it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{commit_lang, farm_with_greetings, greeting, runs_of, until_idle};
use trunkfarm_tests::process::free_port;

/// The titles of a branch's changes by position, oldest first.
fn history(farm: &Farm, branch: &str) -> anyhow::Result<Vec<(i64, String)>> {
    let rows = farm.rows("lang", branch)?;
    let title = |row: &Value| row["change"]["title"].as_str().unwrap_or_default().to_string();
    Ok(rows.iter().rev().map(|row| (row["position"].as_i64().unwrap_or(0), title(row))).collect())
}

fn titles(farm: &Farm, branch: &str) -> anyhow::Result<String> {
    let titles: Vec<String> = history(farm, branch)?.into_iter().map(|(_, title)| title).collect();
    Ok(titles.join(" "))
}

/// Why a trunk cannot be polled, as the status page shows it.
fn trouble(farm: &Farm) -> anyhow::Result<Option<String>> {
    let status = farm.json("/status")?;
    Ok(status["trunks"][0]["problem"].as_str().map(str::to_string))
}

/// Serves the farm's folder with git's own daemon. Returns the trunk's URL.
fn git_daemon(farm: &mut Farm) -> String {
    let port = free_port();
    farm.serve_git(port);
    format!("git://127.0.0.1:{port}/trunk")
}

fn port_of(url: &str) -> u16 {
    let address = url.trim_start_matches("git://127.0.0.1:");
    address.split('/').next().and_then(|port| port.parse().ok()).expect("a URL of ours")
}

/// Serves the farm's folder with git's own CGI over TLS, with a certificate that only this farm trusts.
fn git_https(farm: &mut Farm) -> String {
    let (key, certificate, port) = (farm.path("key.pem"), farm.path("certificate.pem"), free_port());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("running openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/git_https.py");
    let mut command = Command::new("python3");
    command.arg(server).arg(port.to_string()).arg(farm.path("")).arg(&certificate).arg(&key);
    farm.start_server("git-https", &mut command);
    farm.variable("SSL_CERT_FILE", certificate.to_str().expect("a path of ours"));
    format!("https://localhost:{port}/trunk/.git")
}

/// Makes the farm read the trunk from this URL instead of its path.
fn read_from(farm: &Farm, url: &str) {
    farm.configure(&format!("\"{}\"", farm.path("trunk").display()), &format!("\"{url}\""));
}

fn is_built(farm: &Farm, titles_wanted: &str) -> anyhow::Result<bool> {
    let built = farm.column("toolchain")?.iter().all(|shade| shade == "passed");
    Ok(titles(farm, "master")? == titles_wanted && built)
}

#[test]
fn a_trunk_is_read_by_path_and_by_file_url() {
    for scheme in ["", "file://"] {
        let mut farm = Farm::create();
        let url = format!("{scheme}{}", farm.path("trunk").display());
        read_from(&farm, &url);
        farm.serve().worker("w1", 1);
        farm.commit("second");
        farm.until("both are built", |farm| is_built(farm, "begin second"));
    }
}

#[test]
fn a_trunk_is_read_from_a_git_daemon() {
    let mut farm = Farm::create();
    let url = git_daemon(&mut farm);
    read_from(&farm, &url);
    farm.serve().worker("w1", 1);
    farm.commit("second");
    farm.until("both are built", |farm| is_built(farm, "begin second"));
}

#[test]
fn a_trunk_is_read_over_https_where_its_certificate_is_trusted() {
    let mut farm = Farm::create();
    let url = git_https(&mut farm);
    read_from(&farm, &url);
    farm.serve().worker("w1", 1);
    farm.commit("second");
    farm.until("both are built", |farm| is_built(farm, "begin second"));
    farm.stop_master();
    farm.variable("SSL_CERT_FILE", "/dev/null");
    farm.serve();
    farm.until("the certificate is found wanting", |farm| {
        Ok(trouble(farm)?.is_some_and(|said| said.contains("its certificate is not trusted here")))
    });
}

#[test]
fn several_trunks_and_branches_are_polled_and_a_commit_on_two_branches_is_one_change() {
    let mut farm = Farm::create();
    let shared = farm.commit("shared");
    farm.git(&farm.path("trunk"), &["branch", "stable"]);
    farm.commit("ahead");
    let other = farm.path("other");
    farm.git(&other, &["init", "-q", "-b", "main"]);
    farm.git(&other, &["commit", "-q", "--allow-empty", "-m", "elsewhere"]);
    farm.configure(r#"["master"]"#, r#"["master", "stable", "next"]"#);
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    let (_, trunk) = text.split_once("[[trunk]]").unwrap();
    let second: Vec<&str> = trunk.lines().filter(|line| !line.starts_with("base ")).collect();
    let second = second
        .join("\n")
        .replace("\"lang\"", "\"other\"")
        .replace(r#"["master", "stable", "next"]"#, r#"["main"]"#)
        .replace(farm.path("trunk").to_str().unwrap(), other.to_str().unwrap());
    farm.write("farm.toml", &format!("{text}\n[[trunk]]{second}\n"));
    farm.serve();
    farm.until("all branches are read", |farm| {
        Ok(titles(farm, "master")? == "begin shared ahead"
            && titles(farm, "stable")? == "begin shared"
            && farm.rows("other", "main")?.len() == 1)
    });
    let page = farm.json(&format!("/changes/{shared}")).unwrap();
    assert_eq!(page["branches"], serde_json::json!(["master #2", "stable #2"]));

    // A branch in the configuration may be created later.
    assert_eq!(titles(&farm, "next").unwrap(), "");
    farm.git(&farm.path("trunk"), &["checkout", "-q", "-b", "next"]);
    farm.commit("new");
    farm.until("the new branch is there", |farm| Ok(titles(farm, "next")? == "begin shared ahead new"));

    // And it may be deleted: its changes stay readable.
    farm.git(&farm.path("trunk"), &["checkout", "-q", "master"]);
    let gone = farm.git(&farm.path("trunk"), &["rev-parse", "next"]);
    farm.git(&farm.path("trunk"), &["branch", "-q", "-D", "next"]);
    farm.commit("later");
    farm.until("the others go on", |farm| Ok(titles(farm, "master")? == "begin shared ahead later"));
    assert_eq!(farm.json(&format!("/changes/{gone}")).unwrap()["change"]["title"], "new");
    assert_eq!(trouble(&farm).unwrap(), None, "a deleted branch is no trouble");
}

#[test]
fn after_a_force_push_removed_changes_stay_readable_and_their_breakage_ends() {
    let mut farm = Farm::create();
    let lang = |word: &str| format!("#!/bin/sh\ngreet() {{ echo {word}; }}\n. \"$1\"\n");
    farm.edit("lang", &lang("hello"));
    let good = farm.commit("good");
    farm.project(
        "polite",
        "echo 1..1\n[ $(greet) = hello ] && echo 'ok 1 - greets' || { echo 'not ok 1 - greets'; exit 1; }\n",
    );
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.edit("lang", &lang("hullo"));
    let bad = farm.commit("bad");
    farm.until("it is named", |farm| Ok(farm.breakages("polite")?.iter().any(|b| b["state"] == "named")));

    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", &good]);
    farm.edit("README", "Words.\n");
    farm.commit("better");
    farm.until("history is what the remote says", |farm| Ok(titles(farm, "master")? == "begin good better"));
    farm.until("the breakage is gone", |farm| Ok(farm.breakages("polite")?[0]["state"] == "gone"));
    let said = &farm.breakages("polite").unwrap()[0]["sentence"];
    assert_eq!(said, "bad broke 1 test of polite; the branch no longer has the changes that showed it");
    // Positions are never used twice.
    let numbers: Vec<i64> = history(&farm, "master").unwrap().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 4]);
    let page = farm.json(&format!("/changes/{bad}")).unwrap();
    assert_eq!(page["branches"], serde_json::json!(["master #3, no longer on it"]));
    let build = page["builders"][0]["builds"][0]["build"].as_i64();
    if let Some(build) = build {
        assert!(farm.json(&format!("/builds/{build}")).is_ok());
    }
}

#[test]
fn a_rewind_to_a_change_that_was_built_ends_a_breakage_which_may_come_back() {
    let mut farm = Farm::create();
    let lang = |word: &str| format!("#!/bin/sh\ngreet() {{ echo {word}; }}\n. \"$1\"\n");
    farm.edit("lang", &lang("hello"));
    let good = farm.commit("good");
    farm.project(
        "polite",
        "echo 1..1\n[ $(greet) = hello ] && echo 'ok 1 - greets' || { echo 'not ok 1 - greets'; exit 1; }\n",
    );
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.edit("lang", &lang("hullo"));
    let bad = farm.commit("bad");
    farm.until("it is named", |farm| Ok(farm.breakages("polite")?.iter().any(|b| b["state"] == "named")));

    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", &good]);
    farm.until("the breakage is gone", |farm| Ok(farm.breakages("polite")?[0]["state"] == "gone"));
    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", &bad]);
    farm.edit("lang", &lang("hello"));
    farm.commit("repair");
    farm.until("it broke again, and is repaired", |farm| {
        let breakages = farm.breakages("polite")?;
        Ok(breakages.len() == 2 && breakages[0]["state"] == "gone" && breakages[1]["state"] == "fixed")
    });
}

/// The page of the only build that runs on `w1`.
fn running_build(farm: &Farm) -> String {
    let mut builds = farm.json("/queue").unwrap()["builds"].as_array().unwrap().clone();
    builds.retain(|line| line["status"] == "on w1");
    let [runs] = builds.as_slice() else { panic!("one runs: {builds:#?}") };
    format!("/builds/{}", runs["build"])
}

fn assert_cancelled(farm: &Farm, build: &str, why: &str) {
    let ended = farm.json(build).unwrap();
    assert_eq!(ended["outcome"], "cancelled", "{ended}");
    assert_eq!(ended["attempts"][0]["failure"], why, "{ended}");
}

/// Its suite hangs on a change that is force-pushed away, and more suites of that change wait behind it.
#[test]
fn builds_of_a_rewound_change_end_when_the_change_is_gone() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let here = farm.path("").display().to_string();
    let waits =
        format!("while [ \"$(greet)\" = hullo ]; do touch {here}/waits; echo '# waits'; sleep 0.1; done");
    for project in ["polite", "patient"] {
        farm.project(project, &format!("{waits}\n{}", greeting()));
        farm.replace_in(
            &format!("projects/{project}.toml"),
            "time = \"20s\", silence = \"10s\"",
            "time = \"10m\", silence = \"5m\"",
        );
    }
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    let bad = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let waits = farm.path("waits");
    farm.until("a suite runs, and another one waits", |farm| {
        let queue = farm.json("/queue")?;
        Ok(waits.exists() && queue["builds"].as_array().is_some_and(|builds| builds.len() == 2))
    });
    let hangs = running_build(&farm);
    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", "HEAD~1"]);
    let next = commit_lang(&farm, "hello", "bye", "Greet as ever, with more words");
    // The farm is idle only when nothing waits or runs; the suite would run for ten minutes.
    until_idle(&mut farm, 3);
    assert_eq!(farm.json("/queue").unwrap()["builds"], serde_json::json!([]));
    for project in ["polite", "patient"] {
        let ends = |change: &str| -> Vec<Value> {
            runs_of(&farm, change, project).unwrap().into_iter().map(|run| run["outcome"].clone()).collect()
        };
        assert_eq!(ends(&next), ["passed"], "{project}");
        assert!(ends(&bad).iter().all(|end| end == "cancelled"), "{project}: {:?}", ends(&bad));
    }
    assert_cancelled(&farm, &hangs, "its change was removed from the branch");

    // The change may come back, and is built then.
    std::fs::remove_file(&waits).unwrap();
    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", &bad]);
    farm.until("it runs again", |_| Ok(waits.exists()));
}

/// A suite hangs on the tip of a second branch, and another one waits behind it.
#[test]
fn builds_of_a_branch_that_is_deleted_upstream_end_with_it() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.configure(r#"["master"]"#, r#"["master", "next"]"#);
    let trunk = farm.path("trunk");
    farm.git(&trunk, &["branch", "-q", "next"]);
    let here = farm.path("").display().to_string();
    let waits =
        format!("while [ \"$(greet)\" = hullo ]; do touch {here}/waits; echo '# waits'; sleep 0.1; done");
    for project in ["polite", "patient"] {
        farm.project(project, &format!("{waits}\n{}", greeting()));
        farm.replace_in(
            &format!("projects/{project}.toml"),
            "time = \"20s\", silence = \"10s\"",
            "time = \"10m\", silence = \"5m\"",
        );
    }
    let waiting = |farm: &Farm| -> anyhow::Result<usize> {
        Ok(farm.json("/queue")?["builds"].as_array().map_or(0, Vec::len))
    };
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    farm.until("both branches are built", |farm| {
        Ok(farm.rows("lang", "next")?.len() == 2 && waiting(farm)? == 0)
    });
    farm.git(&trunk, &["checkout", "-q", "next"]);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.git(&trunk, &["checkout", "-q", "master"]);
    let waits = farm.path("waits");
    farm.until("a suite runs, and another one waits", |farm| Ok(waits.exists() && waiting(farm)? == 2));
    let hangs = running_build(&farm);
    farm.git(&trunk, &["branch", "-q", "-D", "next"]);
    // The suite would run for ten minutes.
    farm.until("nothing waits or runs", |farm| Ok(waiting(farm)? == 0));
    assert_cancelled(&farm, &hangs, "its branch was deleted upstream");
    commit_lang(&farm, "hello", "bye", "Explain");
    until_idle(&mut farm, 3);
    assert_eq!(waiting(&farm).unwrap(), 0, "nothing is made again");
}

/// A database as an older version left it, which followed first parents alone: a foxtrot merge took all that was official
/// before it off the branch.
#[test]
fn changes_that_an_older_version_took_for_rewound_are_taken_back() {
    let mut farm = Farm::create();
    let trunk = farm.path("trunk");
    farm.commit("one");
    farm.git(&trunk, &["checkout", "-q", "-b", "own"]);
    farm.commit("beside");
    farm.git(&trunk, &["checkout", "-q", "master"]);
    farm.commit("two");
    farm.commit("three");
    farm.serve();
    farm.until("all are read", |farm| Ok(titles(farm, "master")? == "begin one two three"));
    farm.git(&trunk, &["checkout", "-q", "own"]);
    farm.git(&trunk, &["merge", "-q", "--no-ff", "-m", "foxtrot", "master"]);
    farm.git(&trunk, &["branch", "-q", "-f", "master", "own"]);
    farm.until("the merge is read", |farm| Ok(titles(farm, "master")? == "begin one two three foxtrot"));
    farm.stop_master();
    let done = Command::new("sqlite3")
        .arg(farm.path("data/farm.db"))
        .arg(
            "update branch_change set gone_at_ms = (select found_at_ms from change where title = 'foxtrot')
                 where change_id in (select id from change where title in ('two', 'three'));
             update branch set rewinds_checked = 0;",
        )
        .status();
    assert!(done.unwrap().success());
    farm.serve();
    farm.until("all are there again", |farm| Ok(titles(farm, "master")? == "begin one two three foxtrot"));
    let numbers: Vec<i64> = history(&farm, "master").unwrap().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "at the positions that they had");
}

#[test]
fn a_burst_of_500_commits_is_500_positions_and_two_toolchain_builds_at_first() {
    let mut farm = Farm::create();
    let commit = |n: usize| {
        format!(
            "commit refs/heads/master\ncommitter Ada <ada@example.org> {} +0000\ndata 4\n{n:04}\n",
            1_700_000_000 - n
        )
    };
    let first = "from refs/heads/master^0\n";
    let stream: String =
        (1..=500).map(|n| format!("{}{}", commit(n), if n == 1 { first } else { "" })).collect();
    farm.write("burst", &stream);
    let import = std::fs::File::open(farm.path("burst")).unwrap();
    let trunk = farm.path("trunk");
    let imported =
        Command::new("git").current_dir(&trunk).args(["fast-import", "--quiet"]).stdin(import).status();
    assert!(imported.unwrap().success());
    farm.serve();
    farm.until("all have come", |farm| Ok(farm.json("/waterfall")?["rows"][0]["position"] == 501));
    let history = history(&farm, "master").unwrap();
    let expected =
        std::iter::once((1, "begin".to_string())).chain((1..=500).map(|n| (n + 1, format!("{n:04}"))));
    assert!(history.into_iter().eq(expected), "in first-parent order, though every date runs backwards");
    farm.until("the ends are asked for", |farm| {
        let queue = farm.json("/queue")?;
        let waiting = queue["builds"].as_array().map_or(0, Vec::len);
        anyhow::ensure!(waiting <= 2, "{waiting} wait");
        Ok(waiting == 2)
    });
}

#[test]
fn an_empty_repository_is_awaited_until_its_first_commit() {
    let mut farm = Farm::create();
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    let based: Vec<&str> = text.lines().filter(|line| !line.starts_with("base ")).collect();
    farm.write("farm.toml", &based.join("\n"));
    let empty = farm.path("empty");
    farm.git(&empty, &["init", "-q", "-b", "master"]);
    read_from(&farm, empty.to_str().unwrap());
    farm.serve().worker("w1", 1);
    farm.until("it was asked", |farm| Ok(farm.json("/status")?["trunks"][0]["polled_at"].is_i64()));
    let problem = trouble(&farm).unwrap().unwrap_or_default();
    assert!(problem.starts_with("lang has no branch `master`"), "{problem}");
    assert!(problem.contains("it has no branches"), "{problem}");
    farm.write("empty/lang", "#!/bin/sh\n");
    farm.git(&empty, &["add", "-A"]);
    farm.git(&empty, &["commit", "-q", "-m", "first"]);
    farm.until("it is built", |farm| is_built(farm, "first"));
    assert_eq!(trouble(&farm).unwrap(), None);
}

#[test]
fn a_remote_that_is_down_is_reported_with_the_time_until_it_is_back() {
    let mut farm = Farm::create();
    let url = git_daemon(&mut farm);
    read_from(&farm, &url);
    farm.serve();
    farm.until("it is read", |farm| Ok(titles(farm, "master")? == "begin"));
    farm.stop_server("git-daemon");
    farm.until("the status says since when", |farm| {
        Ok(trouble(farm)?.is_some_and(|said| said.starts_with("not reached since ") && said.contains(&url)))
    });
    assert!(farm.get("/").unwrap().contains("not reached since"), "people read it, too");
    farm.commit("second");
    farm.serve_git(port_of(&url));
    farm.until("it is read again", |farm| {
        Ok(titles(farm, "master")? == "begin second" && trouble(farm)?.is_none())
    });
}

#[test]
fn a_poke_polls_now_and_only_with_the_token() {
    let mut farm = Farm::create();
    farm.configure(r#""1s""#, r#""1h""#);
    farm.serve();
    farm.until("it is read", |farm| Ok(titles(farm, "master")? == "begin"));
    farm.commit("second");
    let poked = farm.run_master_command(&["poke", "lang"]);
    assert!(poked.status.success(), "{}", String::from_utf8_lossy(&poked.stderr));
    farm.until("the poke is acted on", |farm| Ok(titles(farm, "master")? == "begin second"));

    let path = farm.path("data/poke.token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).unwrap();
    let post = |trunk: &str, token: &str| {
        let call = ureq::post(farm.url(&format!("/poke/{trunk}")));
        match call.header("authorization", format!("Bearer {}", token.trim())).send_empty() {
            Ok(answer) => answer.status().as_u16(),
            Err(ureq::Error::StatusCode(status)) => status,
            Err(error) => panic!("{error}"),
        }
    };
    farm.commit("third");
    assert_eq!(post("lang", "0123"), 401);
    assert_eq!(post("land", &token), 404);
    assert_eq!(titles(&farm, "master").unwrap(), "begin second");
    assert_eq!(post("lang", &token), 202);
    farm.until("the hook is acted on", |farm| Ok(titles(farm, "master")? == "begin second third"));
}
