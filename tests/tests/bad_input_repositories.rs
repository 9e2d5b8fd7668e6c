//! Repositories of strangers: what they commit is shown only as text, and the status page shows what they lack.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use trunkfarm_tests::farm::{Farm, at};

const SUITE: &str = "echo 1..1; echo 'ok 1 - greets'\n";

/// Asserts that the text contains neither markup that runs nor terminal escapes.
fn assert_inert(page: &str) {
    assert!(!page.contains("<script>alert"), "markup of a stranger is markup of the page");
    let control = page.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert_eq!(control, None, "a control character of a stranger is in the page");
    assert!(!page.contains('\u{202e}'), "a stranger turns the direction of the page's text");
}

#[test]
fn markup_and_control_characters_in_a_commit_message_have_no_effect() {
    let mut farm = Farm::create();
    farm.project("polite", SUITE);
    farm.serve().worker("w1", 1);
    farm.edit("lang", "#!/bin/sh\n# once more\n. \"$1\"\n");
    let author = "--author=Eve \x1b[31m\u{202e}red <evil\x07@example.org>";
    let trunk = farm.path("trunk");
    farm.git(&trunk, &["add", "-A"]);
    let message =
        "<script>alert(1)</script>\x1b]0;title\x07\u{202e}\r\n\nbody <script>alert(2)</script>\x1b[2J\x08";
    farm.git(&trunk, &["commit", "-q", "--cleanup=verbatim", author, "-m", message]);
    let change = farm.git(&trunk, &["rev-parse", "HEAD"]);
    let build = farm.finished_build(&change, "polite");
    assert_eq!(build["outcome"], "passed");
    for page in [
        "/".to_string(),
        "/waterfall".to_string(),
        "/queue".to_string(),
        format!("/changes/{change}"),
        format!("/builds/{}", build["id"]),
    ] {
        assert_inert(&farm.get(&page).unwrap());
        farm.json(if page == "/" { "/status" } else { &page }).unwrap();
    }
    let page = farm.get(&format!("/changes/{change}")).unwrap();
    assert!(page.contains("alert(1)") && page.contains("alert(2)"), "it is shown all the same");
}

#[test]
fn files_whose_names_are_not_utf8_are_built_and_tested() {
    let mut farm = Farm::create();
    farm.project("polite", SUITE);
    let odd = OsStr::from_bytes(b"odd \xff\xfe <script>alert(1)<\x01script>");
    std::fs::write(farm.path("polite").join(odd), "x").unwrap();
    let suite = "echo 1..1; [ $(ls | wc -l) = 2 ] && echo 'ok 1 - both are there' || echo 'not ok 1'\n";
    farm.revise("polite", suite);
    std::fs::write(farm.path("trunk").join(odd), "x").unwrap();
    farm.edit("lang", "#!/bin/sh\n# once more\n. \"$1\"\n");
    let change = farm.commit("an odd name");
    farm.serve().worker("w1", 1);
    assert_eq!(farm.finished_build(&change, "polite")["outcome"], "passed");
    let page = farm.get(&format!("/changes/{change}")).unwrap();
    assert_inert(&page);
    assert!(page.contains("odd \u{fffd}"), "{page}");
}

#[test]
fn a_missing_branch_of_a_project_is_named_on_the_status_page_until_it_exists() {
    let mut farm = Farm::create();
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.project("lost", SUITE);
    farm.project("polite", SUITE);
    farm.replace_in("projects/lost.toml", "follow  = \"master\"", "follow  = \"next\"");
    farm.serve().worker("w1", 1);
    let said = "the project has no branch `next`; mend `follow` in its file";
    farm.until("the status page says so", |farm| {
        let status = farm.json("/status")?;
        let line = at(&status, "project_problems.0")?.as_str().unwrap_or_default().to_string();
        Ok(line.starts_with("lost: not reached since ") && line.ends_with(said))
    });
    assert!(farm.get("/").unwrap().contains(said));
    // Other projects do not wait for it.
    assert_eq!(farm.finished_build(&base, "polite")["outcome"], "passed");
    farm.git(&farm.path("lost"), &["branch", "next"]);
    assert_eq!(farm.finished_build(&base, "lost")["outcome"], "passed");
    assert_eq!(farm.json("/status").unwrap()["project_problems"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_missing_trunk_is_named_with_the_time_since_when_and_is_built_once_it_appears() {
    let mut farm = Farm::create();
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.project("polite", SUITE);
    std::fs::rename(farm.path("trunk"), farm.path("away")).unwrap();
    farm.serve().worker("w1", 1);
    let said = |farm: &Farm| -> anyhow::Result<String> {
        Ok(at(&farm.json("/status")?, "trunks.0.problem")?.as_str().unwrap_or_default().to_string())
    };
    farm.until("the status page says so", |farm| {
        let said = said(farm)?;
        Ok(said.starts_with("not reached since ") && said.contains("there is no such folder"))
    });
    assert!(farm.get("/").unwrap().contains("not reached since "));
    std::fs::rename(farm.path("away"), farm.path("trunk")).unwrap();
    // The retry interval has grown meanwhile; a poke shortens the wait.
    assert!(farm.run_master_command(&["poke", "lang"]).status.success());
    assert_eq!(farm.finished_build(&base, "polite")["outcome"], "passed");
    farm.until("the trouble is over", |farm| Ok(said(farm)?.is_empty()));
}

#[test]
fn a_trunk_without_its_base_is_named_with_what_to_correct() {
    let mut farm = Farm::create();
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.replace_in("farm.toml", &base, "v9.9");
    farm.serve();
    farm.until("the status page says so", |farm| {
        let status = farm.json("/status")?;
        let said = at(&status, "trunks.0.problem")?.as_str().unwrap_or_default().to_string();
        Ok(said.contains("v9.9") && said.contains("mend `base` in farm.toml"))
    });
}
