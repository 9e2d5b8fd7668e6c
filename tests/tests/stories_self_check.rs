//! Stories about self-checks: idle workers repeat old answers, and the farm shows how often it was right.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_version, culprit, farm_with_greetings, greeting, only, troubled, until_idle,
    until_mails, words,
};

/// How many checks of a kind have ended with a result, by `/stats`.
fn checks(farm: &Farm, kind: &str, result: &str) -> Result<u64> {
    let stats = farm.json("/stats")?;
    let line = stats["checks"].as_array().into_iter().flatten().find(|line| line["kind"] == kind);
    Ok(line.and_then(|line| line["ever"][result].as_u64()).unwrap_or(0))
}

fn builds(farm: &Farm) -> u64 {
    let text = farm.get("/metrics").expect("the metrics");
    let line = text.lines().find_map(|line| line.strip_prefix("trunkfarm_builds_enqueued_total "));
    line.and_then(|count| count.parse().ok()).expect("a count of builds")
}

#[test]
fn idle_workers_repeat_a_named_change_and_its_repair_and_stats_show_that_both_stood() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0\nself_check = 1");
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hi", "bye", "Greet shortly");
    farm.until("the culprit and the change before it were repeated", |farm| {
        Ok(checks(farm, "parent", "stood")? > 0 && checks(farm, "culprit", "stood")? > 0)
    });
    assert_eq!(culprit(&only(&farm, "polite")), Some(breaking));
    commit_lang(&farm, "hello", "bye", "Greet properly");
    farm.until("the repair was repeated as often as an answer is", |farm| {
        Ok(checks(farm, "repair", "stood")? == 8 && farm.is_idle()?)
    });
    for kind in ["parent", "culprit", "flaky", "repair"] {
        assert_eq!(checks(&farm, kind, "fell").unwrap(), 0, "{kind}");
        assert!(checks(&farm, kind, "stood").unwrap() <= 8, "{kind}");
    }
    assert!(farm.get("/stats").unwrap().contains("none contradicted its answer"));
    let metrics = farm.get("/metrics").unwrap();
    let line = "trunkfarm_self_checks_total{kind=\"repair\",result=\"stood\"} 8";
    assert!(metrics.contains(line), "{metrics}");
    let mails = farm.mails();
    assert!(!mails.iter().any(|mail| words(mail).contains("Correction")), "{mails:#?}");
}

#[test]
fn without_a_share_nothing_is_repeated() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0\nself_check = 0");
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 1);
    until_idle(&mut farm, 2);
    commit_lang(&farm, "hi", "bye", "Greet shortly");
    until_mails(&mut farm, 1);
    let before = builds(&farm);
    // A start of the master runs the scheduler once more, and so does a change.
    farm.stop_master();
    farm.serve();
    commit_lang(&farm, "hi", "bye", "Nothing of note");
    until_idle(&mut farm, 4);
    assert_eq!(builds(&farm), before + 2, "a toolchain and a suite of the new change");
    for kind in ["parent", "culprit"] {
        assert_eq!(checks(&farm, kind, "stood").unwrap(), 0, "{kind}");
    }
}

#[test]
fn an_answer_that_falls_is_taken_back_and_corrected_in_its_thread() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0\nself_check = 0");
    farm.project("needy", &format!("{}told ok 'is there'\nfinish\n", troubled(&farm)));
    commit_version(&farm, 1);
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 3);
    farm.write("trouble/2", "");
    let accused = commit_version(&farm, 2);
    let mails = until_mails(&mut farm, 1);
    assert!(words(&mails[0]).contains(&format!("lang {} broke", &accused[..12])), "{}", mails[0]);
    assert_eq!(culprit(&only(&farm, "needy")), Some(accused));

    // From now on the other version is affected, too. No change comes that would show it: only a self-check can.
    farm.write("trouble/1", "");
    farm.stop_master();
    farm.configure("self_check = 0", "self_check = 1");
    farm.serve();
    let mails = until_mails(&mut farm, 2);
    assert!(checks(&farm, "parent", "fell").unwrap() > 0);
    let correction = &mails[1];
    assert!(words(correction).contains("Correction: later runs disagree."), "{correction}");
    let root = mails[0].lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    assert!(correction.contains(&format!("\r\nIn-Reply-To: {root}\r\n")), "{correction}");
    let breakage: Value = only(&farm, "needy");
    assert_eq!(culprit(&breakage), None, "{breakage}");
    assert!(farm.get("/stats").unwrap().contains("Answers that fell"));
}

#[test]
fn a_repair_that_falls_is_corrected_in_its_thread_and_its_breakage_is_open_again() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0\nself_check = 0");
    // Without a greeting that the project knows, an outside file decides.
    let lucky = farm.path("lucky");
    let suite = format!(
        "{TAP}check() {{ case $(greet) in hello) echo good;; hi) [ -e {} ] && echo good;; esac; }}\n\
         is good check greets\ntold ok 'is there'\nfinish\n",
        lucky.display()
    );
    farm.project("polite", &suite);
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_mails(&mut farm, 1);
    farm.write("lucky", "");
    commit_lang(&farm, "hi", "bye", "Greet shortly");
    let mails = until_mails(&mut farm, 2);
    assert!(words(&mails[1]).contains("is repaired: polite"), "{}", mails[1]);
    assert_eq!(only(&farm, "polite")["state"], "fixed");

    // It was luck. No change comes that would show it: only a self-check can.
    std::fs::remove_file(&lucky).unwrap();
    farm.stop_master();
    farm.configure("self_check = 0", "self_check = 1");
    farm.serve();
    let mails = until_mails(&mut farm, 3);
    let correction = &mails[2];
    assert!(words(correction).contains("is not repaired after all: polite"), "{correction}");
    let root = mails[0].lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    assert!(correction.contains(&format!("\r\nIn-Reply-To: {root}\r\n")), "{correction}");
    let breakage = only(&farm, "polite");
    assert_eq!(
        (culprit(&breakage), breakage["state"].as_str()),
        (Some(breaking), Some("named")),
        "{breakage}"
    );
    assert!(checks(&farm, "repair", "fell").unwrap() >= 3);

    // A repair that lasts is reported once more.
    commit_lang(&farm, "hello", "bye", "Greet properly");
    let mails = until_mails(&mut farm, 4);
    assert!(words(&mails[3]).contains("is repaired: polite"), "{}", mails[3]);
    assert_eq!(only(&farm, "polite")["state"], "fixed");
}
