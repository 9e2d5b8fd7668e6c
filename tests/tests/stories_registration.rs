//! Stories about a project that is registered when its trunk has a history: what is over is shown and not mailed, what is
//! still broken is one mail to its contacts, and what comes later is news to everybody.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, farm_with_greetings, lang, until_idle, until_mails, words};

/// A suite of three cases, one for each word of the language.
fn suite() -> String {
    format!("{TAP}is one first 'says one'\nis two second 'says two'\nis three third 'says three'\nfinish\n")
}

/// Commits a language with these three words.
fn commit_words(farm: &Farm, words: [&str; 3], title: &str) -> String {
    let [first, second, third] = words;
    farm.edit(
        "lang",
        &format!(
            "#!/bin/sh\n# {title}\nfirst() {{ echo {first}; }}\nsecond() {{ echo {second}; }}\nthird() {{ echo {third}; }}\n\
             . \"$1\"\n"
        ),
    );
    farm.commit(title)
}

/// A farm without a project whose trunk has one good change after its base.
fn farm_with_words() -> Farm {
    let mut farm = Farm::create();
    commit_words(&farm, ["one", "two", "three"], "Speak");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm
}

/// Registers a project, and waits until its whole history is known: with so many breakages at least.
fn register(farm: &mut Farm, changes: usize, breakages: usize) -> Vec<Value> {
    farm.project("late", &suite());
    farm.until("its history is known", |farm| {
        let found = farm.breakages("late")?;
        Ok(farm.column("late").is_ok_and(|column| column.len() == changes)
            && farm.is_idle()?
            && found.len() >= breakages
            && found.iter().all(|breakage| !breakage["found"].is_null()))
    });
    farm.breakages("late").unwrap()
}

fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let head = mail.split("\r\n\r\n").next().unwrap_or_default();
    let line = head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {mail}"))
}

/// The subject, on one line.
fn subject(mail: &str) -> String {
    let unfolded = mail.replace("\r\n ", " ");
    header(&unfolded, "Subject").to_string()
}

#[test]
fn what_was_repaired_before_a_project_was_registered_is_shown_and_not_mailed() {
    let mut farm = farm_with_words();
    for (broken, language) in [(["uno", "two", "three"], "Spanish"), (["one", "deux", "three"], "French")] {
        commit_words(&farm, broken, &format!("Speak {language}"));
        commit_words(&farm, ["one", "two", "three"], &format!("Speak no more {language}"));
    }
    until_idle(&mut farm, 6);
    register(&mut farm, 6, 2);
    farm.until("both are seen to be over", |farm| {
        Ok(farm.breakages("late")?.iter().all(|breakage| breakage["state"] == "fixed") && farm.is_idle()?)
    });
    // What comes later shows that the farm has decided on mail meanwhile.
    commit_words(&farm, ["one", "two", "drei"], "Count in German");
    farm.until("a mail is out", |farm| Ok(!farm.mails().is_empty() && farm.is_idle()?));
    let mails = farm.mails();
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:#?}") };
    assert!(subject(mail).contains("broke late (1 test): Count in German"), "{mail}");
}

#[test]
fn what_old_changes_still_break_is_one_mail_to_the_contacts_and_what_comes_later_is_news() {
    let mut farm = farm_with_words();
    let first = commit_words(&farm, ["uno", "two", "three"], "Speak Spanish");
    commit_words(&farm, ["uno", "two", "three"], "Explain it");
    let second = commit_words(&farm, ["uno", "deux", "three"], "Speak French");
    until_idle(&mut farm, 5);
    register(&mut farm, 5, 2);
    farm.until("its contacts got a mail", |farm| Ok(!farm.mails().is_empty() && farm.is_idle()?));
    let mails = farm.mails();
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:#?}") };
    assert_eq!(header(mail, "To"), "late@example.org");
    assert_eq!(subject(mail), "[lang] late is broken by 2 changes that are older than its first build");
    let body = words(mail);
    for culprit in [&first, &second] {
        assert!(body.contains(&format!("lang {} broke 1 test of late", &culprit[..12])), "{mail}");
    }
    for line in ["says one", "says two"] {
        assert!(mail.contains(&format!("\r\n  {line}\r\n")), "{mail}");
    }

    let news = commit_words(&farm, ["uno", "deux", "drei"], "Speak German");
    farm.until("the new change is named", |farm| Ok(farm.mails().len() > 1 && farm.is_idle()?));
    let mails = farm.mails();
    let [_, mail] = mails.as_slice() else { panic!("a second mail: {mails:#?}") };
    assert!(header(mail, "Message-ID").starts_with(&format!("<{news}.named.")), "{mail}");
    assert!(subject(mail).contains("broke late (1 test): Speak German"), "{mail}");
    // The repair of each is the reply in its own thread.
    commit_words(&farm, ["one", "two", "three"], "Speak English again");
    farm.until("all are repaired", |farm| {
        let found = farm.breakages("late")?;
        let all_fixed = found.iter().all(|breakage| breakage["state"] == "fixed");
        Ok(all_fixed && farm.mails().len() > 3 && farm.is_idle()?)
    });
    let mails = farm.mails();
    let [backlog, named, replies @ ..] = mails.as_slice() else { panic!("two mails: {mails:#?}") };
    assert_eq!(replies.len(), 2, "one reply to each: {replies:#?}");
    let reply_to = |root: &str| {
        let replies = replies.iter().filter(|mail| header(mail, "In-Reply-To") == header(root, "Message-ID"));
        let [reply] = replies.collect::<Vec<_>>()[..] else { panic!("one reply to {root}: {mails:#?}") };
        reply
    };
    reply_to(named);
    let reply = reply_to(backlog);
    assert_eq!(header(reply, "To"), "late@example.org");
    assert_eq!(subject(reply), "Re: [lang] what older changes broke in late is repaired");
    for culprit in [&first, &second] {
        let repaired = format!("What lang {} broke is repaired: late.", &culprit[..12]);
        assert!(words(reply).contains(&repaired), "{reply}");
    }
    assert!(!words(reply).contains(&news[..12]), "the contacts read of that in its own thread: {reply}");
}

#[test]
fn each_of_several_projects_that_are_registered_at_once_gets_one_mail_of_its_own() {
    let mut farm = farm_with_words();
    commit_words(&farm, ["uno", "two", "three"], "Speak Spanish");
    commit_words(&farm, ["uno", "deux", "three"], "Speak French");
    commit_words(&farm, ["uno", "deux", "drei"], "Speak German");
    commit_words(&farm, ["uno", "deux", "three"], "Speak no more German");
    until_idle(&mut farm, 6);
    let names = ["early", "late", "later"];
    for name in names {
        farm.project(name, &suite());
    }
    farm.until("each of them got a mail", |farm| Ok(farm.mails().len() >= 3 && farm.is_idle()?));
    let mails = farm.mails();
    let mut found: Vec<(&str, String)> =
        mails.iter().map(|mail| (header(mail, "To"), subject(mail))).collect();
    found.sort();
    let expected = names.map(|name| {
        (
            format!("{name}@example.org"),
            format!("[lang] {name} is broken by 2 changes that are older than its first build"),
        )
    });
    let expected: Vec<(&str, String)> =
        expected.iter().map(|(to, text)| (to.as_str(), text.clone())).collect();
    assert_eq!(found, expected);
}

/// A farm whose project knows one change that still breaks it, with the mail about it, and one that was repaired.
fn farm_with_history() -> Farm {
    let mut farm = Farm::create();
    commit_words(&farm, ["one", "two", "three"], "Speak");
    farm.project("late", &suite());
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    commit_words(&farm, ["one", "deux", "three"], "Speak French");
    commit_words(&farm, ["one", "two", "three"], "Speak no more French");
    commit_words(&farm, ["uno", "two", "three"], "Speak Spanish");
    farm.until("the change that still breaks it is named", |farm| {
        let found = farm.breakages("late")?;
        let is_named = found.iter().any(|breakage| breakage["state"] == "named");
        Ok(is_named
            && farm.mails().iter().any(|mail| subject(mail).ends_with("Speak Spanish"))
            && farm.is_idle()?)
    });
    farm
}

/// Waits until another builder of the project has found the change that its contacts know, and verifies that nobody gets a
/// mail about it: not before the change is repaired everywhere.
fn until_found_again(farm: &mut Farm) {
    let before = farm.mails().len();
    farm.until("the change is found again", |farm| {
        let found = farm.breakages("late")?;
        let named = found.iter().filter(|breakage| breakage["state"] == "named");
        Ok(named.count() == 2 && farm.is_idle()?)
    });
    let changes = farm.rows("lang", "master").unwrap().len();
    commit_words(farm, ["uno", "two", "three"], "Explain");
    until_idle(farm, changes + 1);
    assert_eq!(farm.mails().len(), before, "{:#?}", &farm.mails()[before..]);
    commit_words(farm, ["one", "two", "three"], "Speak no more Spanish");
}

#[test]
fn an_old_change_that_is_found_again_on_a_new_platform_is_mailed_to_nobody_again() {
    let mut farm = farm_with_history();
    let before = farm.mails().len();
    let arch = std::env::consts::ARCH;
    let known = format!("platforms = [\"linux-{arch}\"]");
    farm.replace_in("farm.toml", &known, &format!("platforms = [\"linux-{arch}\", \"linux-{arch}-gnu\"]"));
    until_found_again(&mut farm);
    let mails = until_mails(&mut farm, before + 1);
    assert!(words(&mails[before]).contains("is repaired: late"), "{}", mails[before]);
    let found = farm.breakages("late").unwrap();
    assert!(found.iter().all(|breakage| breakage["state"] != "named"), "on both: {found:#?}");
}

#[test]
fn an_old_change_that_is_found_again_on_a_new_branch_is_mailed_to_nobody_again() {
    let mut farm = farm_with_history();
    farm.git(&farm.path("trunk"), &["branch", "next"]);
    farm.replace_in("farm.toml", "branches  = [\"master\"]", "branches  = [\"master\", \"next\"]");
    until_found_again(&mut farm);
    farm.until("the repair is tested", Farm::is_idle);
    assert!(
        !farm
            .mails()
            .iter()
            .any(|mail| words(mail).contains("is repaired: late") && words(mail).contains("Spanish")),
        "it is still broken on the other branch: {:#?}",
        farm.mails()
    );
}

#[test]
fn after_a_week_without_a_master_only_what_is_still_broken_is_mailed() {
    let mut farm = farm_with_words();
    farm.project("late", &suite());
    farm.until("it is tested", |farm| {
        Ok(farm.column("late").is_ok_and(|column| column.len() == 2) && farm.is_idle()?)
    });
    farm.stop_master();
    for (broken, language) in [(["uno", "two", "three"], "Spanish"), (["one", "deux", "three"], "French")] {
        commit_words(&farm, broken, &format!("Speak {language}"));
        commit_words(&farm, ["one", "two", "three"], &format!("Speak no more {language}"));
    }
    let breaking = commit_words(&farm, ["one", "two", "drei"], "Speak German");
    farm.shift_clock("+7d");
    farm.serve();
    farm.until("the changes of the week are known", |farm| {
        let found = farm.breakages("late")?;
        let states: Vec<&str> = found.iter().filter_map(|breakage| breakage["state"].as_str()).collect();
        let is_known =
            states.iter().filter(|state| **state == "fixed").count() == 2 && states.contains(&"named");
        Ok(is_known
            && farm.rows("lang", "master")?.len() == 7
            && !farm.mails().is_empty()
            && farm.is_idle()?)
    });
    let mails = farm.mails();
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:#?}") };
    assert!(header(mail, "Message-ID").starts_with(&format!("<{breaking}.named.")), "{mail}");
    assert_eq!(subject(mail), format!("[lang] {} broke late (1 test): Speak German", &breaking[..12]));
}

#[test]
fn an_old_answer_that_falls_is_taken_back_before_the_contacts_who_read_it() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0\nself_check = 0");
    // The machine breaks the greeting of a version of the language while a file with its name exists.
    let broken = farm.path("broken");
    let suite = format!(
        "{TAP}version=${{version:-1}}\nhello() {{ [ -e {}/$version ] || greet; }}\nis hello hello greets\n\
         told ok 'is there'\nfinish\n",
        broken.display()
    );
    let version = |farm: &Farm, version: u32| {
        let numbered = format!("version={version}\n. \"$1\"");
        farm.edit("lang", &lang("hello", "bye", "numbered").replace(". \"$1\"", &numbered));
        farm.commit(&format!("Version {version}"))
    };
    version(&farm, 1);
    let accused = version(&farm, 2);
    farm.write("broken/2", "");
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 4);
    farm.project("needy", &suite);
    farm.until("its contacts got a mail", |farm| Ok(!farm.mails().is_empty() && farm.is_idle()?));
    let mails = farm.mails();
    let [backlog] = mails.as_slice() else { panic!("one mail: {mails:#?}") };
    assert!(words(backlog).contains(&format!("lang {} broke 1 test of needy", &accused[..12])), "{backlog}");

    // From now on the other version is affected, too. No change comes that would show it: only a self-check can.
    farm.write("broken/1", "");
    farm.stop_master();
    farm.configure("self_check = 0", "self_check = 1");
    farm.serve();
    let mails = until_mails(&mut farm, 2);
    let correction = &mails[1];
    assert_eq!(header(correction, "In-Reply-To"), header(backlog, "Message-ID"));
    assert_eq!(header(correction, "To"), "needy@example.org");
    let text = format!("Correction: later runs disagree. lang {} did not break needy;", &accused[..12]);
    assert!(words(correction).contains(&text), "{correction}");
}
