//! Stories about suites: what breaks them, what silences them, and what only seems to repair them.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_lang_with, culprit, farewell, farm_with_greetings, greeting, has_none, names,
    only, standing, until_idle, until_mails, words,
};

/// An idle farm, with its first two changes built.
fn idle_farm(projects: &[(&str, &str)]) -> Farm {
    let mut farm = farm_with_greetings();
    for (name, suite) in projects {
        farm.project(name, suite);
    }
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm
}

#[test]
fn a_word_that_becomes_reserved_breaks_only_the_projects_that_use_it() {
    let user = format!("{TAP}with=1\nis hello greet greets\nfinish\n");
    let mut farm = idle_farm(&[("user", &user), ("other", &greeting())]);
    commit_lang(&farm, "hello", "bye", "Prepare for new words");
    let parent = commit_lang(&farm, "hello", "bye", "Warn of new words");
    let reserves = "if grep -qw with \"$1\"; then echo \"$1: with is a reserved word\" >&2; exit 2; fi";
    let reserving = commit_lang_with(&farm, reserves, "Reserve a word");
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "user");
    assert_eq!(breakage["state"], "named", "{breakage}");
    assert_eq!(standing(&breakage, "culprit"), Some((reserving.clone(), parent)));
    assert!(names(&breakage, "cases").contains(&"step:test".to_string()), "{breakage}");
    assert!(has_none(&farm, "other").unwrap());
    assert!(mails[0].contains("user@example.org") && !mails[0].contains("other@example.org"), "{}", mails[0]);
    let sentence =
        format!("lang {} stopped 1 test of user from being run: its step `test` fails:", &reserving[..12]);
    assert!(words(&mails[0]).contains(&sentence), "{}", mails[0]);
    // The step died without a case, so its own last words are the reason.
    let reason = "./suite: with is a reserved word";
    assert!(mails[0].contains(reason), "{}", mails[0]);
    assert_eq!(breakage["message"]["text"], reason, "{breakage}");
    assert!(breakage["message"]["seen_at"].is_null(), "it is from a run at the culprit: {breakage}");
    assert_eq!(breakage["counts"]["text"], "1 test not run", "{breakage}");
}

#[test]
fn an_install_step_that_fails_while_all_tests_pass_is_a_breakage_of_its_own() {
    let mut farm = farm_with_greetings();
    farm.project("packed", &greeting());
    farm.replace_in(
        "projects/packed.toml",
        r#"report = "tap" }]"#,
        r#"report = "tap" }, { name = "install", kind = "install", run = "lang ./setup" }]"#,
    );
    farm.write("packed/setup", "part > installed\n");
    farm.revise("packed", &greeting());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang_with(&farm, "part() { echo 'cannot part' >&2; exit 3; }", "Part no more");
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "packed");
    assert_eq!(names(&breakage, "cases"), ["step:install"]);
    assert_eq!(culprit(&breakage), Some(breaking.clone()));
    let build = farm.finished_build(&breaking, "packed");
    assert_eq!(build["counts"]["failed"], 1, "the tests themselves pass: {build}");
    assert!(build["sentence"].as_str().unwrap().contains("failed in install (exit)"), "{build}");
    assert!(words(&mails[0]).contains("step `install`"), "{}", mails[0]);
}

/// A suite that skips what the language does not support.
fn skipping_suite() -> String {
    let case =
        "can() { if command -v $1 >/dev/null; then told ok \"$2\"; else told ok \"$2 # SKIP no $1\"; fi; }\n";
    let cases: String = (1..=8).map(|n| format!("can greet 'greets {n} times'\n")).collect();
    format!("{TAP}{case}{cases}finish\n")
}

#[test]
fn a_suite_that_suddenly_skips_everything_is_a_breakage_and_not_green() {
    let mut farm = idle_farm(&[("choosy", &skipping_suite())]);
    let parent = commit_lang(&farm, "hello", "bye", "Nothing of note");
    let silencing = commit_lang_with(&farm, "unset -f greet", "Greet no more");
    commit_lang_with(&farm, "unset -f greet # and so on", "Explain");
    // The farm may poll between two of these commits, and be idle before it sees the last one.
    until_idle(&mut farm, 5);
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "choosy");
    assert_eq!(standing(&breakage, "culprit"), Some((silencing.clone(), parent)));
    assert_eq!(names(&breakage, "not_run").len(), 8, "{breakage}");
    assert!(farm.column("choosy").unwrap().iter().rev().take(2).all(|shade| shade != "passed"));
    let said = format!("lang {} stopped 8 tests of choosy from being run", &silencing[..12]);
    assert!(words(&mails[0]).contains(&said), "{}", mails[0]);
    let build = farm.finished_build(&silencing, "choosy");
    assert_eq!(build["cause"], "no-tests", "zero tests are never green: {build}");
    let lost = build["cases"].as_array().unwrap().iter().filter(|case| case["transition"] == "lost-by-skip");
    assert_eq!(lost.count(), 8, "{build}");
}

#[test]
fn tests_that_vanish_between_two_green_builds_are_a_breakage() {
    let case = "can() { command -v $1 >/dev/null && told ok \"$2\"; }\n";
    let some: String = (1..=4).map(|n| format!("can part 'parts {n} times'\n")).collect();
    let suite = format!("{TAP}{case}is hello greet greets\n{some}finish\n");
    let mut farm = idle_farm(&[("quiet", &suite)]);
    let silencing = commit_lang_with(&farm, "unset -f part", "Part no more");
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "quiet");
    assert_eq!(culprit(&breakage), Some(silencing.clone()));
    assert_eq!(names(&breakage, "not_run").len(), 4);
    assert_eq!(names(&breakage, "cases"), names(&breakage, "not_run"));
    let build = farm.finished_build(&silencing, "quiet");
    assert_eq!(build["outcome"], "passed");
    assert_eq!(build["status_style"], "new", "green that lost its tests is not green: {build}");
    assert!(mails[0].contains("stopped tests of quiet"), "{}", mails[0]);

    commit_lang(&farm, "hello", "bye", "Part again");
    let mails = until_mails(&mut farm, 2);
    assert!(words(&mails[1]).contains("is repaired: quiet"), "{}", mails[1]);
}

#[test]
fn a_name_that_occurs_less_often_between_two_green_builds_is_a_breakage() {
    let can = "can() { command -v $1 >/dev/null && told ok \"$2\"; }\n";
    let parts = "told ok parts\ncan part parts\ncan part parts\n";
    let mut farm = idle_farm(&[("quiet", &format!("{TAP}{can}is hello greet greets\n{parts}finish\n"))]);
    let silencing = commit_lang_with(&farm, "unset -f part", "Part no more");
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "quiet");
    assert_eq!(culprit(&breakage), Some(silencing.clone()));
    assert_eq!(names(&breakage, "not_run"), ["parts ×2", "parts ×3"]);
    assert_eq!(farm.finished_build(&silencing, "quiet")["outcome"], "passed");
    assert!(mails[0].contains("stopped tests of quiet"), "{}", mails[0]);
}

#[test]
fn a_failure_that_ends_because_its_test_vanished_is_not_repaired() {
    let suite = format!(
        "{TAP}is hello greet greets\nif command -v part >/dev/null; then is bye part parts; fi\nfinish\n"
    );
    let mut farm = idle_farm(&[("hiding", &suite)]);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_mails(&mut farm, 1);
    let hiding = commit_lang_with(&farm, "unset -f part", "Part no more");
    let mails = until_mails(&mut farm, 2);
    let breakages = farm.breakages("hiding").unwrap();
    let [broken, lost] = breakages.as_slice() else { panic!("two breakages: {breakages:#?}") };
    assert_eq!((broken["state"].as_str(), culprit(broken)), (Some("named"), Some(breaking)));
    assert_eq!((lost["state"].as_str(), culprit(lost)), (Some("named"), Some(hiding.clone())));
    assert_eq!(names(lost, "not_run"), ["parts"]);
    assert_eq!(farm.finished_build(&hiding, "hiding")["outcome"], "passed");
    assert!(mails[1].contains("stopped tests of hiding"), "{}", mails[1]);
    assert!(!mails.iter().any(|mail| words(mail).contains("is repaired:")), "{mails:#?}");
}

#[test]
fn a_new_failure_in_a_failing_project_is_reported_and_earlier_failures_are_not() {
    let sad =
        farewell().replace("finish\n", "is hello greet greets\ntold 'not ok' 'was never good'\nfinish\n");
    let mut farm = idle_farm(&[("sad", &sad)]);
    assert!(has_none(&farm, "sad").unwrap(), "red from its first day accuses nobody");
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "sad");
    assert_eq!(
        (names(&breakage, "cases"), culprit(&breakage)),
        (vec!["parts".into()], Some(breaking.clone()))
    );
    assert!(
        words(&mails[0]).contains("broke 1 test of sad") && !mails[0].contains("never good"),
        "{}",
        mails[0]
    );
    let build = farm.finished_build(&breaking, "sad");
    let told: Vec<(&str, &str)> = build["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| Some((case["name"].as_str()?, case["transition"].as_str()?)))
        .collect();
    for expected in
        [("parts", "new-failure"), ("was never good", "still-failing"), ("step:test", "still-failing")]
    {
        assert!(told.contains(&expected), "{expected:?} in {told:?}");
    }
}

/// The cases that it does not reach keep their verdicts, and its step failed before: without a fault of its own, nothing
/// would show it.
#[test]
fn a_suite_that_dies_in_a_failing_project_is_reported() {
    let suite = format!(
        "{TAP}told 'not ok' 'was never good'\n[ \"$(part)\" = bye ] || kill -SEGV $$\ntold ok 'is there'\nfinish\n"
    );
    let mut farm = idle_farm(&[("sad", &suite)]);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "sad");
    assert_eq!(
        (names(&breakage, "cases"), culprit(&breakage)),
        (vec!["fault:step:test ended before all its cases".into()], Some(breaking))
    );
    assert!(!mails[0].contains("never good"), "{}", mails[0]);
}
