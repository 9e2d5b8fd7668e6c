//! Stories about a project that is registered when its trunk has a history: what is over is shown and not mailed, what is
//! still broken is one mail to its contacts, and what comes later is news to everybody.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, until_idle, words};

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
    // A repair of what is old is shown; that of the news is the reply in its thread.
    commit_words(&farm, ["one", "two", "three"], "Speak English again");
    farm.until("all are repaired", |farm| {
        let found = farm.breakages("late")?;
        let all_fixed = found.iter().all(|breakage| breakage["state"] == "fixed");
        Ok(all_fixed && farm.mails().len() > 2 && farm.is_idle()?)
    });
    let mails = farm.mails();
    let [_, mail, reply] = mails.as_slice() else { panic!("one reply: {mails:#?}") };
    assert_eq!(header(reply, "In-Reply-To"), header(mail, "Message-ID"));
}
