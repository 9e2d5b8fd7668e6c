//! Stories of noise: tests that fail now and then, and machines that change. No change is accused of either.

use farm_tests::lang::{TAP, culprit, extend, greeting, polite, speak, until_rest};

/// A case that fails once in `of` runs, whatever `lang` is.
fn dice(of: u32) -> String {
    let most = 256 / of;
    format!(
        "{TAP}throw() {{ [ $(od -An -N1 -tu1 /dev/urandom) -ge {most} ] && echo up; }}\nis up throw 'is lucky'\n"
    )
}

#[test]
fn a_flaky_suite_over_a_hundred_changes_accuses_none_of_them() {
    let mut farm = polite();
    farm.project("dice", &format!("{}finish\n", dice(10)));
    farm.serve().worker("w1", 4);
    for hundred in 0..10 {
        for ten in 0..10 {
            speak(&farm, "hello", "bye", &format!("Throw {hundred}{ten}"));
        }
        farm.until("the throws are decided", |farm| {
            Ok(farm.rows("lang", "master")?.len() == 2 + 10 * (hundred + 1) && farm.is_at_rest()?)
        });
    }
    for breakage in farm.breakages("dice").unwrap() {
        assert_eq!(culprit(&breakage), None, "{breakage}");
        assert_ne!(breakage["state"], "one-of-k", "{breakage}");
    }
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn a_change_that_makes_a_test_flaky_is_the_only_one_that_may_be_accused() {
    let mut farm = polite();
    farm.project("polite", &greeting());
    farm.serve().worker("w1", 2);
    until_rest(&mut farm, 2);
    let lucky = "greet() { [ $(od -An -N1 -tu1 /dev/urandom) -ge 128 ] && echo hello; }";
    let breaking = extend(&farm, lucky, "Greet who is lucky");
    for n in 1..=9 {
        extend(&farm, &format!("{lucky} # {n}"), &format!("Explain {n}"));
    }
    until_rest(&mut farm, 12);
    let breakages = farm.breakages("polite").unwrap();
    assert!(!breakages.is_empty());
    for breakage in &breakages {
        assert!(culprit(breakage).is_none_or(|found| found == breaking), "{breakage}");
    }
    let title = |mail: &String| mail.contains(&breaking[..12]);
    assert!(farm.mails().iter().all(title), "{:#?}", farm.mails());
}

#[test]
fn a_machine_that_drifts_away_accuses_no_change() {
    let mut farm = polite();
    // A null run would find a difference first, and call it noise.
    farm.configure("null_runs = 4", "null_runs = 0");
    let needed = farm.path("w1/needed");
    let suite =
        format!("{TAP}hello() {{ [ -e {} ] && greet; }}\nis hello hello greets\nfinish\n", needed.display());
    farm.project("needy", &suite);
    farm.serve();
    let code = farm.join("w1");
    farm.approve(&code, "maker");
    farm.configure_worker("w1", "sandbox", "\"none\"");
    farm.write("w1/needed", "");
    farm.run_worker("w1");
    until_rest(&mut farm, 2);
    std::fs::remove_file(&needed).unwrap();
    speak(&farm, "hello", "bye", "Nothing of note");
    speak(&farm, "hello", "bye", "Nothing of note either");
    until_rest(&mut farm, 4);
    let breakages = farm.breakages("needy").unwrap();
    assert!(!breakages.is_empty());
    for breakage in &breakages {
        // On inputs that seem identical, only a difference of the machine itself tells drift from noise.
        assert!(["environment", "flaky"].iter().any(|state| breakage["state"] == *state), "{breakage}");
        assert_eq!(culprit(breakage), None, "{breakage}");
    }
    assert_eq!(farm.mails(), Vec::<String>::new());
}
