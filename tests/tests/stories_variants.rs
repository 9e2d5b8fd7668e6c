//! Stories about variants of a trunk: what breaks in one of them is reported for that one, what breaks in all of them is one
//! breakage to its reader, and a variant comes, changes and goes without accusing anybody.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_lang_with, culprit, farm_with_greetings, has_none, only, runs_of, until_idle,
    until_mails, words,
};

/// The step of the trunk's recipe in farm.toml, and one that builds the language with the variant's arguments.
const STEP: &str = "run = \"install -D -m 755 lang $FARM_PREFIX/bin/lang\"";
const STEP_WITH_ARGS: &str = r##"run = "{ echo '#!/bin/sh'; echo MODE=\"'\"$FARM_ARGS\"'\"; cat lang; } > built; install -D -m 755 built $FARM_PREFIX/bin/lang""##;

/// A suite that tests the greeting, and that it runs with the variant that the language was built for.
fn suite() -> String {
    format!(
        "{TAP}same() {{ case \"$MODE/$FARM_VARIANT\" in /|strict*/strict) echo yes;; esac; }}\n\
         is hello greet greets\nis yes same 'knows its variant'\nfinish\n"
    )
}

/// A farm whose language is built with the variant's arguments, with this variant or none.
fn farm_with(args: Option<&str>) -> Farm {
    let mut farm = farm_with_greetings();
    farm.configure(STEP, STEP_WITH_ARGS);
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("polite", &suite());
    if let Some(args) = args {
        set_variant(&farm, args);
    }
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm
}

fn variant(args: &str) -> String {
    format!("[[trunk.variant]]\nname = \"strict\"\nargs = [\"{args}\"]\n")
}

fn set_variant(farm: &Farm, args: &str) {
    let text = std::fs::read_to_string(farm.path("farm.toml")).expect("farm.toml was written");
    farm.write("farm.toml", &format!("{text}{}", variant(args)));
}

/// The outcomes of a project's builds of a change, in one variant, for a reason; oldest first.
fn outcomes(farm: &Farm, change: &str, project: &str, variant: Option<&str>, reason: &str) -> Vec<Value> {
    let mut runs = runs_of(farm, change, project).expect("the change's page");
    runs.retain(|run| run["builder"]["variant"].as_str() == variant && run["reason"] == reason);
    runs.iter().map(|run| run["outcome"].clone()).collect()
}

fn tip(farm: &Farm) -> String {
    farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"])
}

#[test]
fn what_breaks_in_one_variant_only_is_reported_as_that() {
    let mut farm = farm_with(Some("strict"));
    for built in [Some("default"), Some("strict")] {
        assert_eq!(outcomes(&farm, &tip(&farm), "polite", built, "tip"), ["passed"], "{built:?}");
    }
    let breaking = commit_lang_with(
        &farm,
        "greet() { case $MODE in strict) echo hullo;; *) echo hello;; esac; }",
        "Greet by the mode",
    );
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "polite");
    assert_eq!(breakage["builder"]["variant"], "strict", "{breakage}");
    assert_eq!(culprit(&breakage), Some(breaking.clone()));
    assert!(breakage["sentence"].as_str().is_some_and(|text| text.contains("only in strict")), "{breakage}");
    assert!(words(&mails[0]).contains("broke 1 test of polite only in strict"), "{}", mails[0]);
    assert!(mails[0].contains(&format!("polite on linux-{} strict", std::env::consts::ARCH)), "{}", mails[0]);
    assert_eq!(outcomes(&farm, &breaking, "polite", Some("default"), "tip"), ["passed"]);

    let columns = farm.json("/waterfall").unwrap()["columns"].clone();
    let shown: Vec<(&str, &str)> = columns
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|column| Some((column["name"].as_str()?, column["variant"].as_str()?)))
        .collect();
    let all =
        [("toolchain", "default"), ("toolchain", "strict"), ("polite", "default"), ("polite", "strict")];
    assert_eq!(shown, all);
    let target = format!("linux-{} strict", std::env::consts::ARCH);
    let breakage = &breakage["id"];
    for page in [format!("/breakages/{breakage}"), "/breakages".into(), "/projects/polite".into()] {
        assert!(farm.get(&page).unwrap().contains(&target), "{page} names the variant");
    }
    assert!(farm.get("/waterfall").unwrap().contains(r#"<span class="platform">strict</span>"#));
    farm.stop_master();
}

#[test]
fn what_breaks_in_all_variants_has_one_culprit_and_one_mail() {
    let mut farm = farm_with(Some("strict"));
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    let mails = until_mails(&mut farm, 1);
    assert!(words(&mails[0]).contains("broke 1 test of polite on all 2 variants"), "{}", mails[0]);
    let breakages = farm.breakages("polite").unwrap();
    let variants: Vec<&Value> = breakages.iter().map(|breakage| &breakage["builder"]["variant"]).collect();
    assert_eq!(variants.len(), 2, "{variants:?}");
    for breakage in &breakages {
        assert_eq!(culprit(breakage).as_deref(), Some(breaking.as_str()));
        let sentence = breakage["sentence"].as_str().unwrap_or_default();
        assert!(!sentence.contains("only in"), "the other one is broken, too: {sentence}");
    }
    farm.stop_master();
}

#[test]
fn a_variant_that_is_added_has_a_history_of_its_own_and_old_news_is_not_mailed() {
    let mut farm = farm_with(None);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_mails(&mut farm, 1);
    let repairing = commit_lang(&farm, "hello", "bye", "Greet again");
    until_mails(&mut farm, 2);
    until_idle(&mut farm, 4);
    let runs = |farm: &Farm| -> Vec<usize> {
        [&breaking, &repairing].map(|change| outcomes(farm, change, "polite", None, "tip").len()).to_vec()
    };
    assert_eq!(runs(&farm), [1, 1], "there is nothing to tell apart");

    set_variant(&farm, "strict");
    farm.until("its history is known", |farm| {
        let found = farm.breakages("polite")?;
        let of_it = found.iter().find(|breakage| breakage["builder"]["variant"] == "strict");
        Ok(of_it.is_some_and(|breakage| breakage["state"] == "fixed") && farm.is_idle()?)
    });
    assert_eq!(farm.mails().len(), 2, "{:#?}", farm.mails());
    let default = |change: &str, reason| outcomes(&farm, change, "polite", Some("default"), reason);
    assert_eq!(default(&breaking, "tip").len(), 1, "the default build keeps its history");
    assert_eq!(default(&repairing, "baseline"), Vec::<Value>::new(), "its inputs did not change");

    let news = commit_lang(&farm, "hallo", "bye", "Greet as in the east");
    let mails = until_mails(&mut farm, 3);
    assert!(words(&mails[2]).contains("broke 1 test of polite on all 2 variants"), "{}", mails[2]);
    assert!(mails[2].contains(&news), "{}", mails[2]);
    farm.stop_master();
}

#[test]
fn an_old_change_that_is_found_again_in_a_new_variant_is_mailed_to_nobody_again() {
    let mut farm = farm_with(None);
    let breaking = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    until_mails(&mut farm, 1);
    set_variant(&farm, "strict");
    farm.until("it is found again", |farm| {
        let found = farm.breakages("polite")?;
        let named =
            found.iter().filter(|it| it["state"] == "named" && culprit(it).as_deref() == Some(&breaking));
        Ok(named.count() == 2 && farm.is_idle()?)
    });
    commit_lang(&farm, "hullo", "bye", "Explain");
    until_idle(&mut farm, 4);
    assert_eq!(farm.mails().len(), 1, "its contacts know the change: {:#?}", farm.mails());
    commit_lang(&farm, "hello", "bye", "Greet again");
    let mails = until_mails(&mut farm, 2);
    assert!(words(&mails[1]).contains("is repaired: polite"), "{}", mails[1]);
    let found = farm.breakages("polite").unwrap();
    assert!(found.iter().all(|breakage| breakage["state"] == "fixed"), "in both: {found:#?}");
    farm.stop_master();
}

#[test]
fn a_variant_that_is_removed_ends_and_stays_readable() {
    let mut farm = farm_with(Some("strict"));
    let mut old = runs_of(&farm, &tip(&farm), "polite").unwrap();
    old.retain(|run| run["builder"]["variant"] == "strict");
    commit_lang_with(
        &farm,
        "greet() { case $MODE in strict) echo hullo;; *) echo hello;; esac; }",
        "Greet by the mode",
    );
    until_mails(&mut farm, 1);
    let breakage = only(&farm, "polite")["id"].clone();

    // Without a worker, the next change waits in both.
    farm.kill_worker("w1");
    let waiting = commit_lang(&farm, "hello", "bye", "Greet again");
    let waits_in = |farm: &Farm, variant: &str| -> anyhow::Result<bool> {
        let queue = farm.json("/queue")?;
        let mut builds = queue["builds"].as_array().into_iter().flatten();
        Ok(builds.any(|build| build["builder"]["variant"] == variant))
    };
    farm.until(
        "the change waits in both",
        |farm| Ok(waits_in(farm, "strict")? && waits_in(farm, "default")?),
    );
    farm.replace_in("farm.toml", &variant("strict"), "");
    farm.until("no build of it waits", |farm| {
        let queue = farm.json("/queue")?;
        let builds = queue["builds"].as_array().into_iter().flatten();
        let variants: Vec<&Value> = builds.map(|build| &build["builder"]["variant"]).collect();
        Ok(!variants.is_empty() && variants.iter().all(|variant| variant.is_null()))
    });
    farm.run_worker("w1");
    until_idle(&mut farm, 4);
    assert_eq!(outcomes(&farm, &waiting, "polite", None, "tip"), ["passed"]);
    assert!(!old.is_empty());
    for page in
        old.iter().map(|run| format!("/builds/{}", run["id"])).chain([format!("/breakages/{breakage}")])
    {
        assert_eq!(farm.json(&page).unwrap()["builder"]["variant"], "strict", "{page} stays readable");
    }
    farm.stop_master();
}

#[test]
fn the_arguments_of_a_variant_are_toolchain_inputs_and_accuse_no_change() {
    let mut farm = farm_with(Some("strict"));
    let last = commit_lang_with(
        &farm,
        "greet() { case $MODE in stricter) echo hullo;; *) echo hello;; esac; }",
        "Greet by the mode",
    );
    until_idle(&mut farm, 3);
    farm.stop_master();
    farm.replace_in("farm.toml", &variant("strict"), &variant("stricter"));
    farm.serve();
    farm.until("its suite is repeated", |farm| {
        let repeated = outcomes(farm, &last, "polite", Some("strict"), "baseline");
        Ok(repeated == ["failed"] && farm.is_idle()?)
    });
    let innocent = commit_lang_with(
        &farm,
        "greet() { case $MODE in stricter) echo hullo;; *) echo hello;; esac; }",
        "Be innocent",
    );
    until_idle(&mut farm, 4);
    assert_eq!(outcomes(&farm, &innocent, "polite", Some("strict"), "tip"), ["failed"]);
    assert_eq!(outcomes(&farm, &innocent, "polite", Some("default"), "tip"), ["passed"]);
    for builder in ["polite", "toolchain"] {
        assert_eq!(outcomes(&farm, &last, builder, Some("default"), "baseline"), Vec::<Value>::new());
        assert!(has_none(&farm, builder).unwrap(), "no change is accused");
    }
    assert_eq!(outcomes(&farm, &last, "toolchain", Some("strict"), "baseline"), ["passed"]);
    assert_eq!(farm.mails(), Vec::<String>::new());
    farm.stop_master();
}
