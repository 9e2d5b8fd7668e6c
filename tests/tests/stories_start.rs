//! Stories about a project's beginning: its contacts read what became of its first build, and who never worked is shown.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, commit_lang, farm_with_greetings, until_idle, words};

/// The mail to the contacts of a project about its first build.
fn first_result(farm: &Farm, project: &str) -> String {
    let mails = farm.first_results();
    let own: Vec<&String> =
        mails.iter().filter(|mail| mail.contains(&format!("{project}@example.org"))).collect();
    let [mail] = own.as_slice() else { panic!("one mail to {project}: {mails:#?}") };
    (*mail).clone()
}

/// The sentences of the status page about projects that have never worked, by project.
fn never_worked(farm: &Farm) -> anyhow::Result<Vec<(String, String)>> {
    let page = farm.json("/status")?;
    let rows = page["never_worked"].as_array().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    Ok(rows.map(|row| (text(&row["project"]), text(&row["sentence"]))).collect())
}

#[test]
fn a_project_that_never_worked_is_mailed_once_and_shown_until_it_works() {
    let mut farm = farm_with_greetings();
    farm.project("absent", "nosuch-runner --all");
    farm.project("silent", "echo working; exit 3");
    farm.project("bad", &format!("{TAP}told 'not ok' one\ntold 'not ok' two\nfinish\n"));
    farm.project("inherited", &format!("{TAP}told ok one\ntold 'not ok' two\ntold ok three\nfinish\n"));
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm.until("all contacts are informed", |farm| Ok(farm.first_results().len() >= 4));

    let absent = first_result(&farm, "absent");
    assert!(absent.contains("Subject: [lang] absent does not work yet on master"), "{absent}");
    for part in
        ["no case was read: step test ended with exit 127", "First error: ", "nosuch-runner", "/builds/"]
    {
        assert!(words(&absent).contains(part), "{part}: {absent}");
    }
    assert!(words(&first_result(&farm, "silent")).contains("no case was read: step test ended with exit 3"));
    assert!(
        words(&first_result(&farm, "bad"))
            .contains("none of its 2 cases passed: step test ended with exit 1")
    );
    let inherited = first_result(&farm, "inherited");
    assert!(inherited.contains("Subject: [lang] inherited is tested now on master"), "{inherited}");
    assert!(words(&inherited).contains("2 of 3 cases pass."), "{inherited}");
    assert!(
        words(&inherited).contains("read: 3 cases (2 passed, 1 failed, 0 skipped), 0 warnings"),
        "{inherited}"
    );

    let shown = never_worked(&farm).unwrap();
    let names: Vec<&str> = shown.iter().map(|(project, _)| project.as_str()).collect();
    assert!(
        ["absent", "bad", "silent"].iter().all(|project| names.contains(project)) && names.len() == 3,
        "{shown:?}"
    );
    let sentence = &shown.iter().find(|(project, _)| project == "absent").unwrap().1;
    assert!(
        sentence.starts_with("absent has never worked on lang master since its first build on "),
        "{sentence}"
    );
    assert!(sentence.ends_with(": no case was read: step test ended with exit 127"), "{sentence}");
    assert!(farm.get("/").unwrap().contains("Projects to look after"));

    farm.revise("absent", &format!("{TAP}told ok one\nfinish\n"));
    farm.until("it works", |farm| Ok(!never_worked(farm)?.iter().any(|(project, _)| project == "absent")));
    commit_lang(&farm, "hello", "bye", "Nothing of note");
    until_idle(&mut farm, 3);
    assert_eq!(farm.first_results().len(), 4, "each project's contacts get one, for all of its builds");
    assert_eq!(farm.mails(), Vec::<String>::new());
    assert_eq!(never_worked(&farm).unwrap().len(), 2);
}

#[test]
fn a_second_branch_is_a_beginning_of_its_own_and_a_canary_gets_no_mail() {
    let mut farm = farm_with_greetings();
    farm.git(&farm.path("trunk"), &["branch", "next"]);
    farm.replace_in("farm.toml", "branches  = [\"master\"]", "branches  = [\"master\", \"next\"]");
    farm.project("polite", &format!("{TAP}told ok one\nfinish\n"));
    farm.project("failing", &format!("{TAP}told 'not ok' never\nfinish\n"));
    farm.replace_in("projects/failing.toml", "[recipe]", "canary = \"must-fail\"\n[recipe]");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm.until("both branches are begun", |farm| Ok(farm.first_results().len() >= 2));
    let mut subjects: Vec<String> = farm
        .first_results()
        .iter()
        .filter_map(|mail| mail.lines().find_map(|line| line.strip_prefix("Subject: ")).map(str::to_string))
        .collect();
    subjects.sort();
    assert_eq!(subjects, ["[lang] polite is tested now on master", "[lang] polite is tested now on next"]);
    assert_eq!(never_worked(&farm).unwrap(), [], "a canary does what it must");
}
