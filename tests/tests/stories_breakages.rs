//! Stories about what a breakage is charged with: only what its culprit did, and only as long as that lasts.

use serde_json::Value;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_lang_with, culprit, farm_with_greetings, idle_farm, in_one_burst, named_for,
    names, only, until_idle, until_mails, words,
};

/// What is reported only while a suite cannot be loaded was never good: its end is no loss.
#[test]
fn the_repair_of_a_suite_that_could_not_be_loaded_is_not_accused() {
    let suite = format!(
        "{TAP}if command -v part >/dev/null; then told ok a; told ok b; else told 'not ok' '(load)'; fi\nfinish\n"
    );
    let mut farm = idle_farm("loaded", &suite);
    let breaking = commit_lang_with(&farm, "unset -f part", "Part no more");
    until_mails(&mut farm, 1);
    let repair = commit_lang(&farm, "hello", "bye", "Part again");
    let mails = until_mails(&mut farm, 2);
    commit_lang(&farm, "hello", "bye", "Explain");
    until_idle(&mut farm, 5);
    let breakage = only(&farm, "loaded");
    assert_eq!((culprit(&breakage), breakage["state"].as_str()), (Some(breaking), Some("fixed")));
    assert!(words(&mails[1]).contains("is repaired: loaded"), "{}", mails[1]);
    assert_eq!(named_for(&farm, "loaded", &repair), Vec::<Value>::new());
    assert_eq!(farm.mails().len(), 2);
}

#[test]
fn a_test_that_fails_and_then_is_not_run_is_charged_to_the_change_that_made_it_fail() {
    let suite = format!(
        "{TAP}is hello greet greets\nif command -v part >/dev/null; then is bye part parts; fi\nfinish\n"
    );
    let mut farm = idle_farm("hiding", &suite);
    let (breaking, hiding) = in_one_burst(&mut farm, 10, |farm| {
        commit_lang(farm, "hello", "bye", "Explain 1");
        commit_lang(farm, "hello", "bye", "Explain 2");
        let breaking = commit_lang(farm, "hello", "cheerio", "Part informally");
        commit_lang(farm, "hello", "cheerio", "Explain 3");
        commit_lang(farm, "hello", "cheerio", "Explain 4");
        let hiding = commit_lang_with(farm, "unset -f part", "Part no more");
        commit_lang_with(farm, "unset -f part # 5", "Explain 5");
        commit_lang_with(farm, "unset -f part # 6", "Explain 6");
        (breaking, hiding)
    });
    farm.until("it is named", |farm| Ok(!named_for(farm, "hiding", &breaking).is_empty() && farm.is_idle()?));
    until_idle(&mut farm, 10);
    let charged = named_for(&farm, "hiding", &breaking);
    let [charged] = charged.as_slice() else { panic!("one breakage: {charged:#?}") };
    assert!(names(charged, "cases").contains(&"parts".to_string()), "{charged}");
    assert_eq!(names(charged, "not_run"), [""; 0], "it failed there: {charged}");
    for other in farm.breakages("hiding").unwrap() {
        if culprit(&other).as_deref() != Some(breaking.as_str()) {
            assert_eq!(
                (culprit(&other), names(&other, "not_run")),
                (Some(hiding.clone()), vec!["parts".into()])
            );
        }
    }
    let mails = farm.mails();
    assert!(words(&mails[0]).contains(&format!("lang {} broke", &breaking[..12])), "{}", mails[0]);
}

/// A suite of two tests, of which either fails alone.
fn two_tests() -> String {
    format!("{TAP}is hello greet greets\nis bye part parts\nfinish\n")
}

#[test]
fn a_repaired_breakage_stays_repaired_when_the_same_step_fails_for_another_reason() {
    let mut farm = idle_farm("twin", &two_tests());
    let first = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_mails(&mut farm, 1);
    commit_lang(&farm, "hello", "bye", "Part as ever");
    until_mails(&mut farm, 2);
    let second = in_one_burst(&mut farm, 6, |farm| {
        let second = commit_lang(farm, "hullo", "bye", "Greet as in the north");
        commit_lang(farm, "hullo", "bye", "Explain");
        second
    });
    let mails = until_mails(&mut farm, 3);
    assert!(
        words(&mails[2]).contains(&format!("lang {} broke 1 test of twin", &second[..12])),
        "{}",
        mails[2]
    );
    let today = farm.json("/status").unwrap()["sentence"].to_string();
    assert!(today.contains("1 change of lang master breaks twin today"), "{today}");
    commit_lang(&farm, "hello", "bye", "Greet as ever");
    let mails = until_mails(&mut farm, 4);
    assert!(words(&mails[3]).contains("is repaired: twin"), "{}", mails[3]);
    until_idle(&mut farm, 7);
    for change in [&first, &second] {
        let named = named_for(&farm, "twin", change);
        assert_eq!(named.len(), 1, "{named:#?}");
        assert_eq!(named[0]["state"], "fixed", "{}", named[0]);
    }
    assert_eq!(farm.breakages("twin").unwrap().len(), 2);
    assert_eq!(farm.mails().len(), 4);
}

/// On one of the machines the step always fails, which says nothing about a change.
#[test]
fn one_test_that_breaks_on_two_differing_machines_is_one_breakage() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let outside = farm.path("outside");
    farm.write("outside", "");
    farm.project(
        "mixed",
        &format!(
            "{TAP}is hello greet greets\n[ -e {} ] && told 'not ok' 'machine'\nfinish\n",
            outside.display()
        ),
    );
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    farm.unsandboxed_worker("w2", 1);
    commit_lang(&farm, "hello", "bye", "Explain 1");
    commit_lang(&farm, "hello", "bye", "Explain 2");
    until_idle(&mut farm, 4);
    let breaking = in_one_burst(&mut farm, 8, |farm| {
        commit_lang(farm, "hello", "bye", "Explain 3");
        let breaking = commit_lang(farm, "hullo", "bye", "Greet as in the north");
        commit_lang(farm, "hullo", "bye", "Explain 4");
        commit_lang(farm, "hullo", "bye", "Explain 5");
        breaking
    });
    let mails = until_mails(&mut farm, 1);
    let said = format!("lang {} broke 1 test of mixed", &breaking[..12]);
    assert!(words(&mails[0]).contains(&said), "{}", mails[0]);
    let named = named_for(&farm, "mixed", &breaking);
    let [named] = named.as_slice() else { panic!("one breakage: {named:#?}") };
    assert!(names(named, "cases").contains(&"greets".to_string()), "{named}");
    for other in farm.breakages("mixed").unwrap() {
        assert!(culprit(&other).is_none_or(|found| found == breaking), "{other}");
    }
}

/// A suite without a report whose messages hold random words, so that each run names its failures differently.
fn random_words() -> String {
    "word() { head -c 9 /dev/urandom | od -An -tx1 | tr -d ' \\n' | tr 0-9a-f g-v; }\n\
     if [ \"$(greet)\" = hello ]; then echo 'Ran 3 tests'; exit 0; fi\n\
     for n in 1 2 3 4 5 6 7 8; do echo \"error: cannot greet $(word)\"; done\nexit 1\n"
        .into()
}

#[test]
fn names_of_faults_that_differ_in_each_run_are_left_to_their_step() {
    let mut farm = farm_with_greetings();
    farm.project("wordy", &random_words());
    farm.replace_in("projects/wordy.toml", ", report = \"tap\"", "");
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let mails = until_mails(&mut farm, 2);
    let told = mails.iter().filter(|mail| mail.contains("wordy names its failures differently in each run"));
    let told: Vec<String> = told.map(|mail| words(mail)).collect();
    assert!(told.len() == 1 && told[0].contains("No change is accused"), "{mails:#?}");
    for n in 1..=3 {
        commit_lang(&farm, "hullo", "bye", &format!("Explain {n}"));
        until_idle(&mut farm, 3 + n);
    }
    let mut breakages = farm.breakages("wordy").unwrap();
    breakages.retain(|breakage| breakage["state"] != "gone");
    let [breakage] = breakages.as_slice() else { panic!("one breakage: {breakages:#?}") };
    assert_eq!((culprit(breakage), names(breakage, "cases")), (Some(breaking), vec!["step:test".into()]));
    let red = farm.column("wordy").unwrap().split_off(2);
    assert!(red.iter().all(|shade| ["new", "still"].contains(&shade.as_str())), "drawn as failing: {red:?}");
    assert_eq!(red.len(), 4);
    assert_eq!(farm.mails().len(), 2, "nobody is told again");
}
