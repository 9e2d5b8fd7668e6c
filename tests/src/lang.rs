//! The small language of the tests: a shell script with a greeting and a farewell, and suites that test them and print TAP.

use anyhow::Result;
use serde_json::Value;

use crate::farm::Farm;

/// Shell functions that print TAP: `is hello greet greets` is the case `greets`, which passes if `greet` prints hello.
/// `finish` ends the suite with the right exit code.
pub const TAP: &str = r#"n=0 bad=0
told() { n=$((n + 1)); [ "$1" = ok ] || bad=1; echo "$1 $n - $2"; }
is() { if [ "$($2)" = "$1" ]; then told ok "$3"; else told 'not ok' "$3"; fi; }
finish() { echo "1..$n"; exit $bad; }
"#;

/// A suite of two cases: one tests the greeting of `lang`, the other always passes.
pub fn greeting() -> String {
    format!("{TAP}is hello greet greets\ntold ok 'is there'\nfinish\n")
}

/// A suite of one case, which tests the farewell of `lang`.
pub fn farewell() -> String {
    format!("{TAP}is bye part parts\nfinish\n")
}

/// The results of a test that fails at random, once in eight times: `-` is a failure. The sequence is fixed: with new random
/// results each time, failures would some day follow each other just where a search looks. The search would rightly be
/// deceived, and a test of it would itself fail at random. Failures are far apart, since probes of two changes take turns.
const RANDOM_RESULTS: &str = "++++-++++++-++++++++-++++-++++++";

/// A shell function `throw` that prints `up` if the next random result is good. A file in the farm's folder counts the
/// calls, so only a worker without a sandbox can run it.
pub fn throw(farm: &Farm) -> String {
    let (thrown, sides) = (farm.path("thrown"), RANDOM_RESULTS.len());
    let thrown = thrown.display();
    format!(
        "throw() {{ echo >> {thrown}; n=$(($(wc -l < {thrown}) % {sides} + 1)); \
         [ $(echo {RANDOM_RESULTS} | cut -c $n) = + ] && echo up; }}"
    )
}

/// A suite of one case that fails at random, whatever the language does.
pub fn dice(farm: &Farm) -> String {
    format!("{TAP}{}\nis up throw 'is lucky'\nfinish\n", throw(farm))
}

/// The source of the language, with its greeting and its farewell. `detail` changes only its bytes.
pub fn lang(greeting: &str, farewell: &str, detail: &str) -> String {
    format!(
        "#!/bin/sh\n# {detail}\ngreet() {{ echo {greeting}; }}\npart() {{ echo {farewell}; }}\n. \"$1\"\n"
    )
}

/// Commits a language with this greeting and this farewell.
pub fn commit_lang(farm: &Farm, greeting: &str, farewell: &str, title: &str) -> String {
    farm.edit("lang", &lang(greeting, farewell, title));
    farm.commit(title)
}

/// Commits the language with additional lines, which it runs before its script.
pub fn commit_lang_with(farm: &Farm, lines: &str, title: &str) -> String {
    farm.edit("lang", &lang("hello", "bye", title).replace(". \"$1\"", &format!("{lines}\n. \"$1\"")));
    farm.commit(title)
}

/// Begins a suite on a machine that breaks the greeting of a version of the language while a file `trouble/VERSION` exists. Only
/// a worker without a sandbox sees the file.
pub fn troubled(farm: &Farm) -> String {
    format!(
        "{TAP}version=${{version:-1}}\nhello() {{ [ -e {}/$version ] || greet; }}\nis hello hello greets\n",
        farm.path("trouble").display()
    )
}

/// Commits a version of the language that differs only in its number.
pub fn commit_version(farm: &Farm, version: u32) -> String {
    let numbered = format!("version={version}\n. \"$1\"");
    farm.edit("lang", &lang("hello", "bye", "numbered").replace(". \"$1\"", &numbered));
    farm.commit(&format!("Version {version}"))
}

/// A farm whose trunk has the greeting and the farewell that the projects expect.
pub fn farm_with_greetings() -> Farm {
    let farm = Farm::create();
    commit_lang(&farm, "hello", "bye", "first");
    farm
}

/// The change with this standing in a breakage's range, and the one before it.
pub fn standing(breakage: &Value, standing: &str) -> Option<(String, String)> {
    let range = breakage["range"].as_array()?;
    let at = range.iter().position(|suspect| suspect["standing"] == standing)?;
    let sha = |at: usize| Some(range.get(at)?["change"]["sha"].as_str()?.to_string());
    Some((sha(at)?, sha(at + 1)?))
}

/// The change that a breakage names.
pub fn culprit(breakage: &Value) -> Option<String> {
    standing(breakage, "culprit").map(|(culprit, _)| culprit)
}

/// The names in a list of a page's JSON.
pub fn names(page: &Value, key: &str) -> Vec<String> {
    let names = page[key].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_string)).collect()
}

/// Waits until the farm is idle, with this number of changes on its page.
pub fn until_idle(farm: &mut Farm, changes: usize) {
    farm.until(&format!("{changes} changes are decided"), |farm| {
        Ok(farm.rows("lang", "master")?.len() == changes && farm.is_idle()?)
    });
}

/// Waits until this number of mails is sent and the farm is idle. Returns all mails.
pub fn until_mails(farm: &mut Farm, mails: usize) -> Vec<String> {
    farm.until(&format!("{mails} mails are out and all is decided"), |farm| {
        Ok(farm.mails().len() >= mails && farm.is_idle()?)
    });
    let found = farm.mails();
    assert_eq!(found.len(), mails, "{found:#?}");
    found
}

/// The only breakage of a builder.
pub fn only(farm: &Farm, builder: &str) -> Value {
    let breakages = farm.breakages(builder).expect("the breakages' pages");
    let [breakage] = breakages.as_slice() else { panic!("one breakage of {builder}: {breakages:#?}") };
    breakage.clone()
}

/// The builds of a project's builders for a change; those of each platform oldest first.
pub fn runs_of(farm: &Farm, change: &str, project: &str) -> Result<Vec<Value>> {
    let page = farm.json(&format!("/changes/{change}"))?;
    let met = page["builders"].as_array().into_iter().flatten();
    let own = met.filter(|met| met["builder"]["name"] == project);
    let rows = own.flat_map(|met| met["builds"].as_array().into_iter().flatten());
    rows.map(|row| farm.json(&format!("/builds/{}", row["build"]))).collect()
}

pub fn has_none(farm: &Farm, builder: &str) -> Result<bool> {
    Ok(farm.breakages(builder)?.is_empty())
}

/// A mail's body in one line.
pub fn words(mail: &str) -> String {
    let body = mail.split_once("\r\n\r\n").map_or(mail, |(_, body)| body);
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An idle farm with one project, its first two changes built by a worker with one slot.
pub fn idle_farm(name: &str, suite: &str) -> Farm {
    let mut farm = farm_with_greetings();
    farm.project(name, suite);
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    farm
}

/// Makes commits that the farm sees as one burst: it builds none of them before the last is there.
pub fn in_one_burst<T>(farm: &mut Farm, changes: usize, commits: impl FnOnce(&Farm) -> T) -> T {
    farm.kill_worker("w1");
    let made = commits(farm);
    farm.until("the burst is seen", |farm| Ok(farm.rows("lang", "master")?.len() == changes));
    farm.run_worker("w1");
    made
}

/// Those of a builder's breakages for which a change was named.
pub fn named_for(farm: &Farm, builder: &str, change: &str) -> Vec<Value> {
    let breakages = farm.breakages(builder).unwrap();
    breakages.into_iter().filter(|breakage| culprit(breakage).as_deref() == Some(change)).collect()
}
