//! Searches that end without an answer: their pages say why, they accuse nobody, and the farm goes on.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, culprit, farewell, farm_with_greetings, only, runs_of, until_idle, until_mails, words,
};

/// The sentences about a breakage's search, as its page shows them.
fn shown(breakage: &Value) -> String {
    let sentences = breakage["search"]["sentences"].as_array().into_iter().flatten();
    sentences.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

/// The search of `polite` has ended without an answer, and its page says why.
fn assert_ended_without_answer(farm: &Farm, why: &str) {
    let breakage = only(farm, "polite");
    assert_eq!(breakage["state"], "inconclusive", "{breakage:#}");
    assert_eq!(culprit(&breakage), None, "{breakage:#}");
    assert!(shown(&breakage).contains(why), "{}", shown(&breakage));
    let page = farm.get(&format!("/breakages/{}", breakage["id"])).expect("the breakage's page");
    assert!(page.contains(why), "{page}");
    assert_eq!(farm.mails(), Vec::<String>::new());
}

/// A later change breaks another project, and is named.
fn assert_the_farm_goes_on(farm: &mut Farm) {
    let breaking = commit_lang(farm, "hullo", "ta", "Part as in the north");
    let mails = until_mails_out(farm);
    assert_eq!(culprit(&only(farm, "parting")), Some(breaking.clone()));
    assert!(words(&mails).contains(&format!("lang {} broke", &breaking[..12])), "{mails}");
    assert!(mails.contains("parting@example.org") && !mails.contains("polite@example.org"), "{mails}");
}

/// The one mail.
fn until_mails_out(farm: &mut Farm) -> String {
    farm.until("a mail is out", |farm| Ok(!farm.mails().is_empty()));
    until_mails(farm, 1).remove(0)
}

/// How many probes of `polite` ended as an infra failure.
fn failed_probes(farm: &Farm, changes: &[&str]) -> Result<usize> {
    let mut failed = 0;
    for change in changes {
        let runs = runs_of(farm, change, "polite")?;
        failed += runs.iter().filter(|run| run["reason"] == "probe" && run["outcome"] == "infra").count();
    }
    Ok(failed)
}

/// The suite removes its own repository, and the worker's copies of all, when it fails for the first time: no worker can check
/// it out any longer.
#[test]
fn a_search_whose_probes_all_fail_as_infra_is_given_up() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let [repository, copies, trees] = ["polite", "w1/git", "w1/sources"].map(|name| farm.path(name));
    let (repository, copies, trees) = (repository.display(), copies.display(), trees.display());
    let lose = format!("[ \"$(greet)\" != hullo ] || rm -rf {repository} {copies}/* {trees}/*\n");
    farm.project("polite", &format!("{TAP}{lose}is hello greet greets\nfinish\n"));
    farm.project("parting", &farewell());
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    let good = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let bad = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let changes = [good.as_str(), bad.as_str()];
    // Each pause is four times as long as the one before it, up to three hours.
    for probes in 1..=7 {
        farm.until(&format!("{probes} probes have failed"), |farm| {
            Ok(failed_probes(farm, &changes)? >= probes)
        });
        assert!(only(&farm, "polite")["state"] == "searching" || probes == 7);
        farm.restart_master_later(&format!("+{}h", 3 * probes));
    }
    farm.until("the search has ended", |farm| Ok(only(farm, "polite")["state"] == "inconclusive"));
    assert_eq!(failed_probes(&farm, &changes).unwrap(), 7);
    assert_ended_without_answer(&farm, "its probes failed again and again without a result");
    assert_the_farm_goes_on(&mut farm);
}

/// The change makes a test fail in every other run: so many runs would be needed to rule out luck that the budget ends first.
#[test]
fn a_search_that_spends_its_budget_ends_without_an_answer() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let luck = farm.path("luck");
    let luck = luck.display();
    let moody = format!(
        "moody() {{ case \"$(greet)\" in hello) echo up;; \
         hullo) if [ -e {luck} ]; then rm {luck}; echo up; else : > {luck}; fi;; esac; }}"
    );
    // It takes longer than a toolchain, so that 40 probes use up the budget.
    farm.project("polite", &format!("{TAP}{moody}\nsleep 0.4\nis up moody greets\nfinish\n"));
    farm.project("parting", &farewell());
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("the search has ended", |farm| {
        let breakages = farm.breakages("polite")?;
        Ok(breakages
            .iter()
            .any(|breakage| !["suspected", "searching"].iter().any(|state| breakage["state"] == *state)))
    });
    let breakage = only(&farm, "polite");
    let probes =
        breakage["evidence"].as_array().unwrap().iter().filter(|run| run["reason"] == "probe").count();
    assert!((40..=200).contains(&probes), "{probes} probes");
    assert_ended_without_answer(&farm, "has used up its budget");
    assert_the_farm_goes_on(&mut farm);
}
