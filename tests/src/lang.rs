//! The little language of the tests: a shell script that greets and parts, and suites that tell TAP of it.

use anyhow::Result;
use serde_json::Value;

use crate::farm::Farm;

/// Tells TAP: `is hello greet greets` is a case that passes when `greet` says hello. Ends as a suite should.
pub const TAP: &str = r#"n=0 bad=0
told() { n=$((n + 1)); [ "$1" = ok ] || bad=1; echo "$1 $n - $2"; }
is() { if [ "$($2)" = "$1" ]; then told ok "$3"; else told 'not ok' "$3"; fi; }
finish() { echo "1..$n"; exit $bad; }
"#;

/// A suite of two cases: one asks `lang` for a greeting, the other always passes.
pub fn greeting() -> String {
    format!("{TAP}is hello greet greets\ntold ok 'is there'\nfinish\n")
}

/// A suite of one case, which asks `lang` for a farewell.
pub fn farewell() -> String {
    format!("{TAP}is bye part parts\nfinish\n")
}

/// How a test falls that fails by luck, once in eight times: `-` is bad. Drawn once, for a die that is thrown anew each
/// time falls badly again and again some day, just where a search looks; who sees that is right to be deceived, and a
/// test of it would fail by luck itself. Bad throws are far from each other: probes of two changes take turns.
const FALLS: &str = "++++-++++++-++++++++-++++-++++++";

/// Shell: `throw` says `up` where the next throw falls well. The throws are counted in a file of the farm's folder, so
/// only a worker without a sandbox can run it.
pub fn throw(farm: &Farm) -> String {
    let (thrown, sides) = (farm.path("thrown"), FALLS.len());
    let thrown = thrown.display();
    format!(
        "throw() {{ echo >> {thrown}; n=$(($(wc -l < {thrown}) % {sides} + 1)); \
         [ $(echo {FALLS} | cut -c $n) = + ] && echo up; }}"
    )
}

/// A suite of one case that fails by luck, whatever the language is.
pub fn dice(farm: &Farm) -> String {
    format!("{TAP}{}\nis up throw 'is lucky'\nfinish\n", throw(farm))
}

/// The language: what it greets and parts with. `detail` changes its bytes and nothing else.
pub fn lang(greeting: &str, farewell: &str, detail: &str) -> String {
    format!(
        "#!/bin/sh\n# {detail}\ngreet() {{ echo {greeting}; }}\npart() {{ echo {farewell}; }}\n. \"$1\"\n"
    )
}

/// Commits a language that greets and parts so.
pub fn speak(farm: &Farm, greeting: &str, farewell: &str, title: &str) -> String {
    farm.edit("lang", &lang(greeting, farewell, title));
    farm.commit(title)
}

/// Commits the language with more lines in it, which stand before it reads its script.
pub fn extend(farm: &Farm, lines: &str, title: &str) -> String {
    farm.edit("lang", &lang("hello", "bye", title).replace(". \"$1\"", &format!("{lines}\n. \"$1\"")));
    farm.commit(title)
}

/// A farm whose trunk greets and parts as its projects want it.
pub fn polite() -> Farm {
    let farm = Farm::lay();
    speak(&farm, "hello", "bye", "first");
    farm
}

/// The range's change of this standing, and the one before it.
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

/// The names in a list of a page.
pub fn names(page: &Value, key: &str) -> Vec<String> {
    let names = page[key].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_string)).collect()
}

/// Waits until the farm has nothing left to do, with so many changes on its page.
pub fn until_rest(farm: &mut Farm, changes: usize) {
    farm.until(&format!("{changes} changes are decided"), |farm| {
        Ok(farm.rows("lang", "master")?.len() == changes && farm.is_at_rest()?)
    });
}

/// Waits until so many mails are out and nothing is left to do; the answer is all of them.
pub fn until_mails(farm: &mut Farm, mails: usize) -> Vec<String> {
    farm.until(&format!("{mails} mails are out and all is decided"), |farm| {
        Ok(farm.mails().len() >= mails && farm.is_at_rest()?)
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

/// The builds that a project's builders made of a change, those of each platform oldest first.
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

/// A mail's words in one line.
pub fn words(mail: &str) -> String {
    let body = mail.split_once("\r\n\r\n").map_or(mail, |(_, body)| body);
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}
