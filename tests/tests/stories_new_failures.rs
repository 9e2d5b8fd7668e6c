//! Stories about cases that are new and fail from their first run on: news to the contacts of their project, and no change is
//! accused.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, commit_lang, commit_lang_with, has_none, until_idle, until_mails, words};

/// A suite whose third case is there from the change on that brings `further`, and fails until that prints 3.
fn suite_that_depends_on_the_trunk() -> String {
    format!(
        "{TAP}is hello greet greets\nis bye part parts\n\
         if command -v further > /dev/null; then is 3 further 'has more'; fi\nfinish\n"
    )
}

fn farm_with(suite: &str) -> Farm {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    farm.project("polite", suite);
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    farm
}

/// The lines about new failures on the project's page: since which change, and the cases.
fn new_failures(farm: &Farm) -> Result<Vec<(String, Vec<Value>)>> {
    let page = farm.json("/projects/polite")?;
    let lines = page["new_failures"].as_array().into_iter().flatten();
    let line = |line: &Value| {
        let sha = line["change"]["sha"].as_str().unwrap_or_default().to_string();
        (sha, line["cases"].as_array().cloned().unwrap_or_default())
    };
    Ok(lines.map(line).collect())
}

#[test]
fn a_new_case_that_fails_is_news_to_the_contacts_until_it_passes_and_accuses_nobody() {
    let mut farm = farm_with(&suite_that_depends_on_the_trunk());
    let bringing = commit_lang_with(&farm, "further() { echo 4; }", "Have more");
    let mails = until_mails(&mut farm, 1);
    let mail = &mails[0];
    assert!(mail.contains("To: polite@example.org\r\n"), "{mail}");
    assert!(mail.contains("Subject: [lang] polite: 1 test new and failing\r\n"), "{mail}");
    let body = words(mail);
    let since = format!("1 test of polite is new and failing since lang {}: has more", &bringing[..12]);
    assert!(body.starts_with(&since), "{mail}");
    assert!(body.contains("the farm accuses nobody"), "{mail}");
    assert_eq!(new_failures(&farm).unwrap(), [(bringing.clone(), vec!["has more".into()])]);
    assert!(has_none(&farm, "polite").unwrap(), "neither the case nor its step accuses the change");
    let shown = format!("new and failing since lang {}", &bringing[..12]);
    for page in ["/", "/projects/polite"] {
        assert!(farm.get(page).unwrap().contains(&shown), "{page}");
    }

    // It stays as it is, and is not mailed again.
    commit_lang_with(&farm, "further() { echo 5; }", "Have still more");
    until_idle(&mut farm, 4);
    assert_eq!(new_failures(&farm).unwrap().len(), 1);
    commit_lang_with(&farm, "further() { echo 3; }", "Have enough");
    farm.until("it passes", |farm| Ok(new_failures(farm)?.is_empty() && farm.is_idle()?));
    assert!(!farm.get("/").unwrap().contains("new and failing"));
    // From here on it is a case like any other.
    let breaking = commit_lang_with(&farm, "further() { echo 6; }", "Have too much");
    let mails = until_mails(&mut farm, 2);
    assert!(mails[1].contains(&breaking[..12]), "{}", mails[1]);
    assert_eq!(farm.breakages("polite").unwrap().len(), 1);
    assert_eq!(new_failures(&farm).unwrap(), []);
    // Nor does the step accuse anybody later of what it did while the case was new.
    let other =
        commit_lang_with(&farm, "further() { echo 6; }; greet() { echo hullo; }", "Greet as in the north");
    let mails = until_mails(&mut farm, 3);
    assert!(mails[2].contains(&other[..12]), "{}", mails[2]);
    assert_eq!(farm.breakages("polite").unwrap().len(), 2);
}

#[test]
fn a_new_case_that_comes_with_the_projects_own_revision_holds_it_back_no_more_than_any_other() {
    let mut farm = farm_with(&suite_that_depends_on_the_trunk());
    let tip = farm.rows("lang", "master").unwrap()[0]["change"]["sha"].as_str().unwrap().to_string();
    let own = format!("{TAP}is hello greet greets\nis bye part parts\nis 3 greet 'is own'\nfinish\n");
    farm.revise("polite", &own);
    let mails = until_mails(&mut farm, 1);
    let body = words(&mails[0]);
    let since = format!(
        "1 test of polite is new and failing since lang {} (with the inputs that begin there): is own",
        &tip[..12]
    );
    assert!(body.starts_with(&since), "{}", mails[0]);
    assert_eq!(new_failures(&farm).unwrap(), [(tip, vec!["is own".into()])]);
    let page = farm.json("/projects/polite").unwrap();
    assert_eq!(page["sentence"], "No open breakages.", "the new inputs are in use: {page}");
    commit_lang(&farm, "hello", "bye", "Nothing of note");
    until_idle(&mut farm, 3);
    assert!(has_none(&farm, "polite").unwrap());
    assert_eq!(farm.mails().len(), 1);
}

/// The step fails in each run, and names what fails anew each time: only the step is news, as ever.
#[test]
fn names_that_are_made_up_in_each_run_are_no_news_and_their_step_is() {
    let suite = format!(
        "{TAP}is hello greet greets\nis bye part parts\n\
         if command -v further > /dev/null; then told 'not ok' \"is $(cat /proc/sys/kernel/random/uuid)\"; fi\nfinish\n"
    );
    let mut farm = farm_with(&suite);
    let breaking = commit_lang_with(&farm, "further() { :; }", "Name it anew");
    let mails = until_mails(&mut farm, 1);
    assert!(mails[0].contains(&format!("<{breaking}.named.")), "{}", mails[0]);
    commit_lang_with(&farm, "further() { echo; }", "Name it anew again");
    until_idle(&mut farm, 4);
    assert_eq!(new_failures(&farm).unwrap(), []);
    assert_eq!(farm.mails().len(), 1, "{:#?}", farm.mails());
}
