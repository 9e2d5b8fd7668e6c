//! Stories about changes: many that do not build, one that breaks nearly all suites, changes in between, and rewinds.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    commit_lang, culprit, farewell, farm_with_greetings, greeting, has_none, names, only, standing,
    until_idle, until_mails, words,
};

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
fn a_toolchain_that_is_broken_for_five_changes_is_one_breakage_of_the_trunk() {
    let mut farm = idle_farm(&[("polite", &greeting()), ("parting", &farewell())]);
    farm.git(&farm.path("trunk"), &["rm", "-q", "lang"]);
    let breaking = farm.commit("Remove what nobody needs");
    until_mails(&mut farm, 1);
    for n in 1..5 {
        farm.edit("README", &format!("{n}\n"));
        farm.commit(&format!("Go on without it, {n}"));
    }
    until_idle(&mut farm, 7);
    assert_eq!(farm.column("toolchain").unwrap()[2..], ["broken"; 5]);
    for project in ["polite", "parting"] {
        assert_eq!(farm.column(project).unwrap()[2..], ["blocked"; 5]);
    }
    assert_eq!(culprit(&only(&farm, "toolchain")), Some(breaking));
    let repair = commit_lang(&farm, "hello", "bye", "Bring it back");
    let mails = until_mails(&mut farm, 2);
    assert!(words(&mails[0]).contains("broke the build on linux-"), "{}", mails[0]);
    assert!(
        mails[1].contains("In-Reply-To") && mails[1].contains(&format!("/changes/{repair}")),
        "{}",
        mails[1]
    );
    until_idle(&mut farm, 8);
    assert_eq!(only(&farm, "toolchain")["state"], "fixed");
    for project in ["polite", "parting"] {
        assert!(has_none(&farm, project).unwrap(), "{project} did nothing wrong");
        assert_ne!(farm.column(project).unwrap()[7], "new");
    }
}

#[test]
fn the_range_of_a_project_that_breaks_after_a_broken_toolchain_contains_the_unbuilt_changes() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    farm.git(&farm.path("trunk"), &["rm", "-q", "lang"]);
    let removal = farm.commit("Remove it");
    until_mails(&mut farm, 1);
    let return_of_it = commit_lang(&farm, "hullo", "bye", "Bring it back, and greet as in the north");
    // One mail about the changes that cannot be distinguished, and one reply when the build is repaired.
    until_mails(&mut farm, 3);
    let breakage = only(&farm, "polite");
    assert_eq!(breakage["state"], "one-of-k", "{breakage}");
    let mails = farm.mails();
    let mail =
        mails.iter().find(|mail| mail.contains("polite@example.org")).expect("the project is notified");
    assert!(words(mail).contains("One of the 2 changes up to"), "{mail}");
    assert!(mail.contains("Subject: [lang] one of the 2 changes up to"), "{mail}");
    // Each of the two says so on its own page, and neither is said to have done it.
    let expected = "It is one of the 2 changes of which one broke 1 test of polite (no run tells which)";
    for change in [&removal, &return_of_it] {
        let page = farm.json(&format!("/changes/{change}")).unwrap();
        assert!(page["sentence"].as_str().unwrap().contains(expected), "{page}");
        let of = |list: &str| {
            let effects = page[list].as_array().unwrap();
            effects.iter().any(|effect| effect["builder"]["name"] == "polite")
        };
        assert!(of("perhaps_broke") && !of("broke"), "{page}");
    }
    let sentence = breakage["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("One of the 2 changes up to Bring it back"), "{sentence}");
}

#[test]
fn a_build_between_two_built_changes_narrows_the_range_and_opens_nothing() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    for n in 1..=3 {
        commit_lang(&farm, "hello", "bye", &format!("Explain {n}"));
    }
    let parent = commit_lang(&farm, "hello", "bye", "Explain 4");
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    for n in 5..=8 {
        commit_lang(&farm, "hullo", "bye", &format!("Explain {n}"));
    }
    until_mails(&mut farm, 1);
    until_idle(&mut farm, 11);
    let breakage = only(&farm, "polite");
    assert_eq!(standing(&breakage, "culprit"), Some((breaking, parent)));
    // Every build after the culprit is compared with its neighbor, whichever was built first.
    for (at, shade) in farm.column("polite").unwrap().iter().enumerate().skip(2) {
        let expected = match at {
            ..6 => "passed",
            6 => "new",
            _ => "still",
        };
        assert_eq!(shade, expected, "at {at}");
    }
}

#[test]
fn a_rewind_of_an_open_range_ends_the_breakage_without_a_mail() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    commit_lang(&farm, "hello", "bye", "Explain");
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("an alarm is raised", |farm| Ok(!farm.breakages("polite")?.is_empty()));
    farm.kill_worker("w1");
    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", "HEAD~1"]);
    commit_lang(&farm, "hello", "bye", "Greet as ever, with more words");
    farm.until("the breakage is gone", |farm| Ok(only(farm, "polite")["state"] == "gone"));
    farm.run_worker("w1");
    until_idle(&mut farm, 4);
    assert_eq!(only(&farm, "polite")["state"], "gone");
    assert_eq!(farm.column("polite").unwrap().last().unwrap(), "passed");
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn a_rewound_change_whose_successor_is_broken_too_is_compared_again() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("an alarm is raised", |farm| Ok(!farm.breakages("polite")?.is_empty()));
    farm.kill_worker("w1");
    farm.git(&farm.path("trunk"), &["reset", "-q", "--hard", "HEAD~1"]);
    let breaking = commit_lang(&farm, "hallo", "bye", "Greet as in the east");
    farm.until("the breakage is gone", |farm| Ok(farm.breakages("polite")?[0]["state"] == "gone"));
    farm.run_worker("w1");
    let mails = until_mails(&mut farm, 1);
    let breakages = farm.breakages("polite").unwrap();
    assert_eq!(breakages.len(), 2, "{breakages:#?}");
    assert_eq!(culprit(&breakages[1]), Some(breaking.clone()));
    assert!(mails[0].contains(&breaking[..12]), "{}", mails[0]);
}

#[test]
fn of_changes_with_one_toolchain_the_first_is_the_culprit() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    for n in 1..=3 {
        farm.edit("README", &format!("{n}\n"));
        farm.commit(&format!("Words {n}"));
    }
    until_mails(&mut farm, 1);
    until_idle(&mut farm, 6);
    assert_eq!(culprit(&only(&farm, "polite")), Some(breaking));
    assert_eq!(farm.column("polite").unwrap().iter().filter(|shade| *shade == "same").count(), 3);
    assert_eq!(names(&only(&farm, "polite"), "cases"), ["greets", "step:test"]);
}

#[test]
fn a_change_that_breaks_nearly_all_suites_is_sick_and_reported_in_one_mail() {
    let projects = ["north", "east", "south", "west", "centre"];
    let suites: Vec<(&str, String)> = projects
        .iter()
        .map(|name| (*name, if *name == "centre" { farewell() } else { greeting() }))
        .collect();
    let suites: Vec<(&str, &str)> = suites.iter().map(|(name, suite)| (*name, suite.as_str())).collect();
    let mut farm = idle_farm(&suites);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let mails = until_mails(&mut farm, 1);
    for project in &projects[..4] {
        assert_eq!(culprit(&only(&farm, project)), Some(breaking.clone()));
        assert!(mails[0].contains(&format!("{project}@example.org")), "{}", mails[0]);
    }
    assert!(has_none(&farm, "centre").unwrap());
    assert!(words(&mails[0]).contains("broke 4 tests of east, north, south, west"), "{}", mails[0]);
    assert_eq!(farm.json(&format!("/changes/{breaking}")).unwrap()["is_sick"], true);
}

/// The case `foxtrot` that people sent us: somebody merges the trunk into his own work, which began before the breakage, and
/// pushes the merge as the trunk. Its first parents are his; but it contains all that was there.
#[test]
fn a_foxtrot_merge_neither_ends_a_breakage_nor_is_accused_of_it() {
    let mut farm = idle_farm(&[("polite", &greeting())]);
    let fork = commit_lang(&farm, "hello", "bye", "official 1");
    let parent = commit_lang(&farm, "hello", "bye", "official 2");
    let breaking = commit_lang(&farm, "hullo", "bye", "official 3");
    commit_lang(&farm, "hullo", "bye", "official 4");
    until_mails(&mut farm, 1);
    until_idle(&mut farm, 6);
    assert_eq!(standing(&only(&farm, "polite"), "culprit"), Some((breaking.clone(), parent)));

    let trunk = farm.path("trunk");
    farm.git(&trunk, &["checkout", "-q", "-b", "dev", &fork]);
    farm.edit("README", "Words.\n");
    farm.commit("docs only");
    farm.git(&trunk, &["merge", "-q", "-m", "Merge branch master of server", "master"]);
    farm.git(&trunk, &["branch", "-q", "-f", "master", "dev"]);
    farm.git(&trunk, &["checkout", "-q", "master"]);
    until_idle(&mut farm, 7);
    let rows = farm.rows("lang", "master").unwrap();
    let titles: Vec<&str> = rows.iter().filter_map(|row| row["change"]["title"].as_str()).collect();
    assert_eq!(titles[..3], ["Merge branch master of server", "official 4", "official 3"]);
    assert_eq!(farm.column("polite").unwrap().last().unwrap(), "same", "its toolchain is that of official 4");
    commit_lang(&farm, "hullo", "bye", "Explain");
    until_idle(&mut farm, 8);
    assert_eq!(farm.column("polite").unwrap().last().unwrap(), "still");
    let breakage = only(&farm, "polite");
    assert_eq!((breakage["state"].as_str(), culprit(&breakage)), (Some("named"), Some(breaking)));

    // What comes later goes on from there, and the repair is one.
    commit_lang(&farm, "hello", "bye", "Greet as ever");
    until_idle(&mut farm, 9);
    assert_eq!(only(&farm, "polite")["state"], "fixed");
    let mails = until_mails(&mut farm, 2);
    assert!(mails.iter().all(|mail| !mail.contains("Merge branch master")), "{mails:#?}");
}
