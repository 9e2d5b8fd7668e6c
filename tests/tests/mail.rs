//! Mail through a real SMTP server, with and without failures: each notice is accepted once, and none is lost.

use std::fs;

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::words;
use trunkfarm_tests::mail_server::{self, envelope, received};

const SUITE: &str =
    "echo 1..1\n[ $(greet) = hello ] && echo 'ok 1 - greets' || { echo 'not ok 1 - greets'; exit 1; }\n";

/// A farm with a mailing list and a project with a contact; nothing is broken yet.
struct Post {
    farm: Farm,
    port: u16,
}

impl Post {
    fn lay() -> Post {
        let mut farm = Farm::create();
        say(&farm, "hello", "first");
        farm.project("polite", SUITE);
        farm.serve().worker("w1", 2);
        farm.until("the first changes are decided", Farm::is_idle);
        // The mail about the project's first build is not for the server of these tests.
        farm.until("its contact is informed", |farm| Ok(farm.first_results().len() == 1));
        farm.stop_master();
        fs::remove_dir_all(farm.path("data/mail")).expect("a mail was there");
        let port = mail_server::configure(&farm);
        farm.serve();
        Post { farm, port }
    }

    fn start_server(&mut self) {
        mail_server::start(&mut self.farm, self.port);
    }

    fn answer(&self, said: &str) {
        self.farm.write("received/answer", said);
    }

    /// Waits until the breakage's notices have these states: `named sent, fixed sent`.
    fn until_notices(&mut self, wanted: &str) {
        self.farm.until(wanted, |farm| Ok(notices(farm)? == wanted));
    }
}

fn say(farm: &Farm, word: &str, title: &str) {
    farm.edit("lang", &format!("#!/bin/sh\ngreet() {{ echo {word}; }}\n. \"$1\"\n"));
    farm.commit(title);
}

fn notices(farm: &Farm) -> anyhow::Result<String> {
    let breakages = farm.breakages("polite")?;
    let all = breakages.iter().flat_map(|breakage| breakage["notices"].as_array().into_iter().flatten());
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let mut said: Vec<String> =
        all.map(|notice| format!("{} {}", word(&notice["kind"]), word(&notice["state"]))).collect();
    // The page shows the newest first.
    said.sort_by_key(|said| !said.starts_with("named"));
    Ok(said.join(", "))
}

/// How often the server was asked to accept a message.
fn asked(farm: &Farm) -> usize {
    fs::read_to_string(farm.path("received/answered")).unwrap_or_default().lines().count()
}

#[test]
fn the_list_and_the_contacts_get_one_mail_and_one_reply() {
    let mut post = Post::lay();
    post.start_server();
    say(&post.farm, "hullo", "Greet as in the north");
    post.until_notices("named sent");
    say(&post.farm, "hello", "Greet as before");
    post.until_notices("named sent, fixed sent");
    post.farm.until("nothing is left to do", Farm::is_idle);
    let mails = received(&post.farm);
    let [mail, reply] = mails.as_slice() else { panic!("a mail and a reply: {mails:?}") };
    for mail in [mail, reply] {
        assert_eq!(envelope(mail), ["list@example.org", "polite@example.org"]);
        assert!(mail.contains("\r\nFrom: farm@example.org\r\n"), "{mail}");
        assert!(mail.contains("\r\nTo: list@example.org, polite@example.org\r\n"), "{mail}");
        assert!(mail.contains("\r\nAuto-Submitted: auto-generated\r\n"), "{mail}");
    }
    let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    assert!(reply.contains(&format!("\r\nIn-Reply-To: {id}\r\n")), "{reply}");
    assert!(fs::read_dir(post.farm.path("data/mail")).is_err(), "no copy is made for nobody");
}

#[test]
fn a_server_that_was_down_gets_each_mail_once_and_the_reply_after_its_mail() {
    let mut post = Post::lay();
    say(&post.farm, "hullo", "Greet as in the north");
    post.until_notices("named waiting");
    say(&post.farm, "hello", "Greet as before");
    post.until_notices("named waiting, fixed waiting");
    // The outbox is on disk: after a kill, the next master sends what it finds there.
    post.farm.kill_master();
    post.start_server();
    post.farm.serve();
    post.until_notices("named sent, fixed sent");
    let mails = received(&post.farm);
    let [mail, reply] = mails.as_slice() else { panic!("a mail and a reply: {mails:?}") };
    assert!(!mail.contains("In-Reply-To") && reply.contains("In-Reply-To"), "{mails:?}");
    assert_eq!(asked(&post.farm), 2);
}

#[test]
fn a_mail_that_is_deferred_is_retried_and_accepted_once() {
    let mut post = Post::lay();
    post.start_server();
    post.answer("451 come back later");
    say(&post.farm, "hullo", "Greet as in the north");
    post.farm.until("it was put off", |farm| Ok(asked(farm) > 0));
    post.until_notices("named waiting");
    post.answer("250 taken");
    post.until_notices("named sent");
    assert_eq!(received(&post.farm).len(), 1);
}

/// Nobody can know whether such a mail was accepted. It is sent again, as by every mail server, and its Message-ID shows a
/// recipient who gets it twice that it is the same mail.
#[test]
fn a_server_that_disconnects_after_the_data_gets_the_same_mail_again() {
    let mut post = Post::lay();
    post.start_server();
    post.answer("hang up");
    say(&post.farm, "hullo", "Greet as in the north");
    post.farm.until("it was handed over", |farm| Ok(asked(farm) > 0));
    post.until_notices("named waiting");
    post.answer("250 taken");
    post.until_notices("named sent");
    let mails = received(&post.farm);
    assert_eq!(mails.len(), asked(&post.farm));
    let id = |mail: &String| mail.lines().find(|line| line.starts_with("Message-ID: ")).map(str::to_string);
    let ids: std::collections::BTreeSet<_> = mails.iter().map(id).collect();
    assert_eq!(ids.len(), 1, "{mails:?}");
}

#[test]
fn a_mail_that_is_permanently_refused_is_marked_so_and_the_farm_goes_on() {
    let mut post = Post::lay();
    post.start_server();
    post.answer("554 we do not want this");
    say(&post.farm, "hullo", "Greet as in the north");
    post.until_notices("named failed");
    // Once for all recipients, and once for each recipient alone.
    assert_eq!(asked(&post.farm), 3);
    let id = post.farm.breakages("polite").unwrap()[0]["id"].as_i64().unwrap();
    assert!(post.farm.get(&format!("/breakages/{id}")).unwrap().contains("failed"));
    post.answer("250 taken");
    say(&post.farm, "hello", "Greet as before");
    post.until_notices("named failed, fixed sent");
}

#[test]
fn an_unknown_recipient_does_not_keep_the_mail_from_others() {
    let mut post = Post::lay();
    post.start_server();
    post.farm.write("received/unknown", "polite@example.org");
    say(&post.farm, "hullo", "Greet as in the north");
    post.until_notices("named sent");
    let mails = received(&post.farm);
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:?}") };
    assert!(mail.starts_with("X-Recipient: list@example.org\r\nFrom:"), "{mail}");
}

/// The text of a header, unfolded.
fn header<'m>(mail: &'m str, name: &str) -> Vec<&'m str> {
    let head = mail.split_once("\r\n\r\n").map_or(mail, |(head, _)| head);
    let mut lines = head.split("\r\n").skip_while(|line| !line.starts_with(&format!("{name}: ")));
    let first = lines.next().into_iter();
    first.chain(lines.take_while(|line| line.starts_with([' ', '\t']))).collect()
}

#[test]
fn many_contacts_are_folded_and_those_of_two_projects_do_not_see_each_other() {
    let mut farm = Farm::create();
    say(&farm, "hello", "first");
    farm.project("polite", SUITE);
    let contacts: Vec<String> = (0..40).map(|n| format!("\"maintainer-number-{n}@example.org\"")).collect();
    farm.replace_in("projects/polite.toml", "\"polite@example.org\"", &contacts.join(", "));
    let port = mail_server::configure(&farm);
    mail_server::start(&mut farm, port);
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    // What looks like an encoded word, and what turns the direction of text, are a title's words like others.
    say(&farm, "hullo", "=?utf-8?Q?From_your_bank?= \u{202e}drawkcab");
    farm.until("the mail is out", |farm| Ok(received(farm).len() == 1 && farm.is_idle()?));
    farm.project("kind", SUITE);
    say(&farm, "hello", "Greet as before");
    farm.until("the repair is mailed", |farm| Ok(received(farm).len() == 2 && farm.is_idle()?));
    say(&farm, "hi", "Greet both badly");
    farm.until("both are told", |farm| Ok(received(farm).len() == 3 && farm.is_idle()?));
    let mails = received(&farm);
    let to = header(&mails[0], "To");
    assert!(to.len() > 1 && to.iter().all(|line| line.len() <= 78), "{to:#?}");
    assert!(to.concat().contains("maintainer-number-0@") && to.concat().contains("maintainer-number-39@"));
    let subject = header(&mails[0], "Subject").concat();
    assert!(!subject.contains("From_your_bank") && subject.starts_with("Subject: =?utf-8?Q?"), "{subject}");
    assert!(words(&mails[0]).contains("=?utf-8?Q?From_your_bank?= U+202Edrawkcab"), "{}", mails[0]);
    let both = &mails[2];
    assert_eq!(header(both, "To"), ["To: list@example.org"], "{both}");
    let told = envelope(both);
    assert!(
        told.contains(&"kind@example.org") && told.contains(&"maintainer-number-39@example.org"),
        "{told:?}"
    );
    let written = both.split_once("\r\nFrom:").unwrap().1;
    assert!(!written.contains("kind@example.org") && !written.contains("maintainer-number"), "{written}");
}
