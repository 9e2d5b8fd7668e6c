//! A change's journey from commit to mail: what is named, what is mailed, and what is not.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{commit_lang, dice, farewell, farm_with_greetings, greeting, standing};

/// How many runs in a breakage's evidence at a change show its cases as `bad` or `good`.
fn runs(breakage: &Value, sha: &str, said: &str) -> usize {
    let rows = breakage["evidence"].as_array().into_iter().flatten();
    rows.filter(|row| row["change"]["sha"] == sha && row[said].as_i64() > Some(0)).count()
}

/// The numbers of a mail's proof: `3 passes before it, 3 failures with it, on w1`.
fn proof(body: &str) -> String {
    let words = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, proof) = words.split_once("Proof: ").expect("a mail proves what it says");
    let sentence = proof.split(". ").find(|sentence| sentence.contains(", on "));
    sentence.unwrap_or_else(|| panic!("no runs are counted: {words}")).to_string()
}

/// The same by the runs that the page counts; one worker has seen three of each at least.
fn counted(breakage: &Value) -> String {
    let workers = breakage["proof_runs"].as_array().expect("runs are counted");
    let number = |worker: &Value, what: &str| worker[what].as_i64().expect("a count");
    let is_enough =
        |worker: &Value| number(worker, "passes_before") >= 3 && number(worker, "failures_with") >= 3;
    assert!(workers.iter().any(is_enough), "{workers:?}");
    let words = |worker: &Value| {
        assert_eq!((number(worker, "failures_before"), number(worker, "passes_with")), (0, 0), "{worker}");
        let (passes, failures) = (&worker["passes_before"], &worker["failures_with"]);
        let name = worker["worker"].as_str().expect("a worker has a name");
        format!("{passes} passes before it, {failures} failures with it, on {name}")
    };
    workers.iter().map(words).collect::<Vec<_>>().join("; ")
}

fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let head = mail.split("\r\n\r\n").next().unwrap_or_default();
    let line = head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {mail}"))
}

fn is_named(farm: &Farm, builder: &str) -> anyhow::Result<bool> {
    let breakages = farm.breakages(builder)?;
    Ok(breakages.iter().any(|breakage| standing(breakage, "culprit").is_some()))
}

#[test]
fn a_change_that_breaks_a_project_is_named_in_one_mail_with_one_reply_when_it_is_fixed() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    // One burst: the farm sees only the last change as the tip, and finds the culprit inside the burst.
    commit_lang(&farm, "hello", "bye", "Explain the greeting");
    let parent = commit_lang(&farm, "hello", "bye", "Explain the farewell");
    let culprit = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    commit_lang(&farm, "hullo", "bye", "Explain the north");
    commit_lang(&farm, "hullo", "bye", "Explain the explanation");
    // The farm may poll within the burst, and be idle before it has seen its end.
    farm.until("a mail is out and all of the burst is decided", |farm| {
        Ok(farm.column("polite")?.len() == 7 && farm.is_idle()? && !farm.mails().is_empty())
    });

    let breakages = farm.breakages("polite").unwrap();
    let [breakage] = breakages.as_slice() else { panic!("one breakage: {breakages:?}") };
    assert_eq!(breakage["state"], "named");
    assert_eq!(breakage["cases"], serde_json::json!(["greets", "step:test"]));
    assert_eq!(standing(breakage, "culprit"), Some((culprit.clone(), parent.clone())));
    assert!(
        runs(breakage, &culprit, "bad_cases") >= 2 && runs(breakage, &culprit, "good_cases") == 0,
        "{breakage}"
    );
    assert!(
        runs(breakage, &parent, "good_cases") >= 2 && runs(breakage, &parent, "bad_cases") == 0,
        "{breakage}"
    );
    assert!(
        farm.column("polite").unwrap().iter().all(|cell| !["nothing", "superseded"].contains(&cell.as_str())),
        "all of the burst were built in the end"
    );

    let page = farm.json(&format!("/changes/{culprit}")).unwrap();
    assert_eq!(page["sentence"], "It broke 1 test of polite; not repaired yet.");
    assert_eq!(page["broke"][0]["builder"]["name"], "polite");

    let mails = farm.mails();
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:?}") };
    assert_eq!(header(mail, "To"), "polite@example.org");
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(
        header(mail, "Subject"),
        format!("[lang] {} broke polite (1 test): Greet as in the north", &culprit[..12])
    );
    assert!(!mail.contains("In-Reply-To"), "{mail}");
    let id = header(mail, "Message-ID").to_string();
    assert!(id.starts_with(&format!("<{culprit}.named.")) && id.ends_with('>'), "{id}");
    let (_, body) = mail.split_once("\r\n\r\n").unwrap();
    assert!(body.lines().take(10).any(|line| line.contains("broke 1 test of polite")), "{body}");
    assert!(body.contains(&parent[..12]) && body.contains("  greets"), "{body}");
    assert_eq!(proof(body), counted(breakage), "{body}\n{breakage:#}");
    let wide = body.lines().find(|line| line.chars().count() > 72 && !line.contains("://"));
    assert_eq!(wide, None, "72 columns");

    let repair = commit_lang(&farm, "hello", "bye", "Greet as before");
    farm.until("the repair is reported", |farm| Ok(farm.is_idle()? && farm.mails().len() > 1));
    commit_lang(&farm, "hello", "bye", "Explain no more");
    farm.until("life goes on", |farm| Ok(farm.column("polite")?.len() == 9 && farm.is_idle()?));
    let mails = farm.mails();
    let [_, reply] = mails.as_slice() else { panic!("one reply: {mails:?}") };
    assert_eq!(header(reply, "In-Reply-To"), id);
    assert_eq!(header(reply, "References"), id);
    assert!(header(reply, "Subject").starts_with("Re: [lang]"), "{reply}");
    assert!(reply.contains(&format!("/changes/{repair}")), "{reply}");
    let page = farm.json(&format!("/changes/{culprit}")).unwrap();
    assert_eq!(page["sentence"], "It broke 1 test of polite; all of it is over.");
    farm.stop_master();
}

#[test]
fn a_change_that_breaks_two_projects_is_one_mail_to_both() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.project("parting", &farewell());
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    let culprit = commit_lang(&farm, "hullo", "cheerio", "Be informal");
    farm.until("both are named", |farm| Ok(is_named(farm, "polite")? && is_named(farm, "parting")?));
    farm.until("everything is reported", |farm| Ok(farm.is_idle()? && !farm.mails().is_empty()));
    let mails = farm.mails();
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:?}") };
    // The contacts of one project do not see those of another. The farm's own folder keeps them.
    assert_eq!(header(mail, "To"), "undisclosed-recipients:;");
    assert_eq!(header(mail, "Bcc"), "parting@example.org, polite@example.org");
    assert!(mail.contains("2 tests of parting, polite") && mail.contains(&culprit[..12]), "{mail}");
}

#[test]
fn a_change_that_does_not_build_breaks_the_trunk_and_blocks_its_suites() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.git(&farm.path("trunk"), &["rm", "-q", "lang"]);
    let culprit = farm.commit("Remove what nobody needs");
    farm.until("a mail is out and all is decided", |farm| Ok(farm.is_idle()? && !farm.mails().is_empty()));
    assert_eq!(farm.column("polite").unwrap().last().unwrap(), "blocked");
    assert_eq!(farm.column("toolchain").unwrap().last().unwrap(), "broken");
    assert!(farm.breakages("polite").unwrap().is_empty(), "the project did nothing wrong");
    let breakages = farm.breakages("toolchain").unwrap();
    assert_eq!(standing(&breakages[0], "culprit").map(|(sha, _)| sha), Some(culprit));
    let mails = farm.mails();
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:?}") };
    assert!(mail.contains("broke the build on linux-"), "{mail}");
}

#[test]
fn a_flaky_test_is_reported_as_flaky_without_a_mail() {
    let mut farm = farm_with_greetings();
    // Null runs would detect it before any change is accused: here the search has to.
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("dice", &dice(&farm));
    farm.serve().unsandboxed_worker("w1", 4);
    for round in 0.. {
        assert!(round < 20, "a die with eight sides never fell badly");
        for throw in 0..10 {
            commit_lang(&farm, "hello", "bye", &format!("Throw {round}.{throw}"));
        }
        farm.until("the throws are decided", |farm| {
            // The changes of this round are in the page's first rows.
            let rows = farm.column("dice")?;
            let seen = farm.get("/waterfall")?.contains(&format!("Throw {round}.9"));
            Ok(seen && rows.len() >= 10 && farm.is_idle()?)
        });
        if !farm.breakages("dice").unwrap().is_empty() {
            break;
        }
    }
    let breakages = farm.breakages("dice").unwrap();
    assert_eq!(breakages[0]["state"], "flaky", "{}", breakages[0]);
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn an_inherited_failure_accuses_no_change_but_a_new_failure_in_the_same_suite_does() {
    let mut farm = farm_with_greetings();
    let suite = farewell().replace("finish\n", "told 'not ok' 'was never good'\nfinish\n");
    farm.project("sad", &suite);
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    let parent = commit_lang(&farm, "hello", "bye", "Change nothing of note");
    farm.until("it is decided", |farm| Ok(farm.column("sad")?.len() == 3 && farm.is_idle()?));
    // At the base there was no farewell; since then only the inherited case fails.
    assert_eq!(farm.column("sad").unwrap().last().unwrap(), "still");
    assert!(farm.breakages("sad").unwrap().is_empty());
    assert!(farm.mails().is_empty());

    let culprit = commit_lang(&farm, "hello", "cheerio", "Be informal");
    farm.until("a mail is out", |farm| Ok(farm.is_idle()? && !farm.mails().is_empty()));
    let breakages = farm.breakages("sad").unwrap();
    let [breakage] = breakages.as_slice() else { panic!("one breakage: {breakages:?}") };
    assert_eq!(breakage["cases"], serde_json::json!(["parts"]));
    assert_eq!(standing(breakage, "culprit"), Some((culprit, parent)));
    assert!(!farm.mails()[0].contains("was never good"));
}

#[test]
fn a_change_that_leaves_the_toolchain_unchanged_is_not_tested() {
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.edit("README", "Words.\n");
    let sha = farm.commit("Write a few words");
    farm.until("it is decided", |farm| Ok(farm.column("polite")?.len() == 3 && farm.is_idle()?));
    assert_eq!(farm.column("polite").unwrap().last().unwrap(), "same");
    assert_eq!(farm.column("toolchain").unwrap().last().unwrap(), "passed");
    let page = farm.json(&format!("/changes/{sha}")).unwrap();
    let met = page["builders"].as_array().unwrap().iter().find(|met| met["builder"]["name"] == "polite");
    let build = met.unwrap()["builds"][0]["build"].as_i64().unwrap();
    let build = farm.json(&format!("/builds/{build}")).unwrap();
    assert!(build["same_as"].is_i64() && build["attempts"].as_array().unwrap().is_empty(), "{build}");
}
