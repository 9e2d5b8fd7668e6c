//! Stories about cases that go on failing for another reason: they are charged to the change that took them over, and a
//! message that changes with inputs is nobody's doing.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, culprit, farm_with_greetings, idle_farm, in_one_burst, lang, named_for, names, only,
    until_idle, until_mails, words,
};

/// A suite of three tests: two of the greeting, and one of greeting and farewell, which fails for either reason.
fn three_tests() -> String {
    format!(
        "{TAP}fails() {{ told 'not ok' \"$1\"; echo \"# error: $2\"; }}\n\
         for name in greets 'greets again'; do\n\
         if [ \"$(greet)\" = hello ]; then told ok \"$name\"; else fails \"$name\" 'cannot greet'; fi\ndone\n\
         if [ \"$(greet)\" != hello ]; then fails parts 'cannot greet'\n\
         elif [ \"$(part)\" != bye ]; then fails parts 'cannot part'; else told ok parts; fi\nfinish\n"
    )
}

#[test]
fn what_fails_for_another_reason_after_a_partial_repair_is_charged_to_the_change_that_took_it_over() {
    let mut farm = idle_farm("trio", &three_tests());
    let first = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let mails = until_mails(&mut farm, 1);
    assert!(
        words(&mails[0]).contains(&format!("lang {} broke 3 tests of trio", &first[..12])),
        "{}",
        mails[0]
    );
    let second = commit_lang(&farm, "hello", "cheerio", "Greet as ever and part informally");
    let mails = until_mails(&mut farm, 3);
    let later: Vec<String> = mails[1..].iter().map(|mail| words(mail)).collect();
    assert!(later.iter().any(|mail| mail.contains("is repaired: trio")), "{later:#?}");
    let broke = format!("lang {} broke 1 test of trio", &second[..12]);
    assert!(later.iter().any(|mail| mail.contains(&broke) && mail.contains("cannot part")), "{later:#?}");
    let of_first = named_for(&farm, "trio", &first);
    let [of_first] = of_first.as_slice() else { panic!("one breakage: {of_first:#?}") };
    assert_eq!(of_first["state"], "fixed", "{of_first}");
    assert!(names(of_first, "cases").contains(&"parts".to_string()), "{of_first}");
    let of_second = named_for(&farm, "trio", &second);
    let [of_second] = of_second.as_slice() else { panic!("one breakage: {of_second:#?}") };
    assert_eq!(of_second["state"], "named", "{of_second}");
    let of_tests = names(of_second, "cases").into_iter().filter(|name| !name.starts_with("step:"));
    assert_eq!(of_tests.collect::<Vec<_>>(), ["parts"], "{of_second}");
    let today = farm.json("/status").unwrap()["sentence"].to_string();
    assert!(today.contains("1 change of lang master breaks trio today"), "{today}");
    commit_lang(&farm, "hello", "bye", "Part as ever");
    let mails = until_mails(&mut farm, 4);
    assert!(words(&mails[3]).contains("is repaired: trio"), "{}", mails[3]);
    assert_eq!(named_for(&farm, "trio", &second)[0]["state"], "fixed");
    assert_eq!(farm.breakages("trio").unwrap().len(), 2);
}

/// As before, but the farm sees both at once, and builds the second one first.
#[test]
fn what_was_taken_over_is_found_when_the_first_bad_end_is_built_last() {
    let mut farm = idle_farm("trio", &three_tests());
    let (first, second) = in_one_burst(&mut farm, 7, |farm| {
        commit_lang(farm, "hello", "bye", "Explain 1");
        let first = commit_lang(farm, "hullo", "bye", "Greet as in the north");
        commit_lang(farm, "hullo", "bye", "Explain 2");
        commit_lang(farm, "hullo", "bye", "Explain 3");
        let second = commit_lang(farm, "hello", "cheerio", "Greet as ever and part informally");
        (first, second)
    });
    until_idle(&mut farm, 7);
    farm.until("both are named", |farm| {
        Ok(!named_for(farm, "trio", &first).is_empty() && !named_for(farm, "trio", &second).is_empty())
    });
    until_idle(&mut farm, 7);
    let of_second = named_for(&farm, "trio", &second);
    let [of_second] = of_second.as_slice() else { panic!("one breakage: {of_second:#?}") };
    assert_eq!(of_second["state"], "named", "{of_second}");
    assert!(names(of_second, "cases").contains(&"parts".to_string()), "{of_second}");
    for of_first in named_for(&farm, "trio", &first) {
        assert_eq!(of_first["state"], "fixed", "{of_first}");
    }
    let today = farm.json("/status").unwrap()["sentence"].to_string();
    assert!(today.contains("1 change of lang master breaks trio today"), "{today}");
    let mails: Vec<String> = farm.mails().iter().map(|mail| words(mail)).collect();
    let broke = format!("lang {} broke 1 test of trio", &second[..12]);
    assert!(mails.iter().any(|mail| mail.contains(&broke) && mail.contains("cannot part")), "{mails:#?}");
}

/// A suite of three tests of the greeting, the last of which prints `reason` when it fails. The other two also accept `other`.
fn accepting(other: &str, reason: &str) -> String {
    format!(
        "{TAP}for name in greets 'greets again'; do\n\
         case $(greet) in hello|{other}) told ok \"$name\";; *) told 'not ok' \"$name\"; echo '# error: cannot greet';; esac\n\
         done\n\
         if [ \"$(greet)\" = hello ]; then told ok parts; else told 'not ok' parts; echo \"# error: {reason}\"; fi\nfinish\n"
    )
}

/// Waits until the project's newest builds show two of the three tests good again.
fn until_partly_repaired(farm: &mut Farm, project: &str, changes: usize) {
    farm.until("two of the tests are good with the new inputs", |farm| {
        let page = farm.json(&format!("/projects/{project}"))?;
        Ok(page["sentence"].as_str().is_some_and(|text| !text.contains("being tested"))
            && farm.rows("lang", "master")?.len() == changes
            && farm.is_idle()?)
    });
}

/// Verifies that the change is charged with the one breakage there is, and that nobody else is told of anything.
fn is_only_charged(farm: &Farm, project: &str, breaking: &str) {
    let breakage = only(farm, project);
    assert_eq!((culprit(&breakage).as_deref(), breakage["state"].as_str()), (Some(breaking), Some("named")));
    assert_eq!(farm.mails().len(), 1, "{:#?}", farm.mails());
}

#[test]
fn a_message_that_changes_with_the_projects_own_revision_opens_nothing_anew() {
    let mut farm = idle_farm("trio", &accepting("nobody", "cannot part"));
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_mails(&mut farm, 1);
    let revision = farm.revise("trio", &accepting("hullo", "no farewell after this greeting"));
    farm.until("the revision is in use", |farm| {
        let inputs = farm.json("/projects/trio")?["project_inputs"].clone();
        let mut live = inputs.as_array().into_iter().flatten();
        Ok(live.any(|one| one["revision"] == revision.as_str() && one["state"] == "current"))
    });
    until_partly_repaired(&mut farm, "trio", 3);
    for n in 1..=2 {
        commit_lang(&farm, "hullo", "bye", &format!("Explain {n}"));
        until_idle(&mut farm, 3 + n);
    }
    is_only_charged(&farm, "trio", &breaking);
}

#[test]
fn a_message_that_changes_with_the_trunks_recipe_opens_nothing_anew() {
    const STEP: &str = "run = \"install -D -m 755 lang $FARM_PREFIX/bin/lang\"";
    let recipe = |word: &str| {
        format!(
            "run = \"install -D -m 755 lang $FARM_PREFIX/bin/lang; echo {word} > $FARM_PREFIX/bin/reason\""
        )
    };
    let mut farm = farm_with_greetings();
    farm.configure(STEP, &recipe("old"));
    let suite = format!(
        "{TAP}why() {{ cat $FARM_PREFIX/bin/reason; }}\n\
         for name in greets 'greets again'; do\n\
         if [ \"$(greet)\" = hello ] || [ \"$(why)\" = new ]; then told ok \"$name\"\n\
         else told 'not ok' \"$name\"; echo '# error: cannot greet'; fi\ndone\n\
         if [ \"$(greet)\" = hello ]; then told ok parts; else told 'not ok' parts; echo \"# error: part by the $(why) way\"; fi\n\
         finish\n"
    );
    farm.project("trio", &suite);
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    farm.edit("lang", &lang("hullo", "bye", "Greet as in the north"));
    let breaking = farm.commit("Greet as in the north");
    until_mails(&mut farm, 1);
    farm.stop_master();
    farm.configure(&recipe("old"), &recipe("new"));
    farm.serve();
    farm.until("the suite is repeated with the new recipe", |farm| {
        let status = farm.json("/status")?["toolchain_inputs"].to_string();
        Ok(status.contains("the trunk's recipe changed") && farm.is_idle()?)
    });
    for n in 1..=2 {
        commit_lang(&farm, "hullo", "bye", &format!("Explain {n}"));
        until_idle(&mut farm, 3 + n);
    }
    is_only_charged(&farm, "trio", &breaking);
}
