//! Stories about noise: tests that fail now and then, and machines that change. No change is accused of either.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    TAP, commit_lang, commit_lang_with, commit_version, culprit, dice, farm_with_greetings, greeting, throw,
    troubled, until_idle, until_mails, words,
};

#[test]
fn a_flaky_suite_over_a_hundred_changes_accuses_none_of_them() {
    let mut farm = farm_with_greetings();
    farm.project("dice", &dice(&farm));
    farm.serve().unsandboxed_worker("w1", 4);
    for hundred in 0..10 {
        for ten in 0..10 {
            commit_lang(&farm, "hello", "bye", &format!("Throw {hundred}{ten}"));
        }
        farm.until("the throws are decided", |farm| {
            Ok(farm.rows("lang", "master")?.len() == 2 + 10 * (hundred + 1) && farm.is_idle()?)
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
    let mut farm = farm_with_greetings();
    farm.project("polite", &greeting());
    farm.serve().unsandboxed_worker("w1", 2);
    until_idle(&mut farm, 2);
    let lucky = format!("{}\ngreet() {{ [ \"$(throw)\" ] && echo hello; }}", throw(&farm));
    let breaking = commit_lang_with(&farm, &lucky, "Greet who is lucky");
    for n in 1.. {
        commit_lang_with(&farm, &format!("{lucky} # {n}"), &format!("Explain {n}"));
        until_idle(&mut farm, 3 + n);
        if n >= 10 && !farm.breakages("polite").unwrap().is_empty() {
            break;
        }
        assert!(n < 40, "what fails once in eight runs was never seen to fail");
    }
    for breakage in &farm.breakages("polite").unwrap() {
        assert!(culprit(breakage).is_none_or(|found| found == breaking), "{breakage}");
    }
    let title = |mail: &String| mail.contains(&breaking[..12]);
    assert!(farm.mails().iter().all(title), "{:#?}", farm.mails());
}

#[test]
fn a_machine_that_drifts_accuses_no_change() {
    let mut farm = farm_with_greetings();
    // A null run would detect a difference first, and classify it as noise.
    farm.configure("null_runs = 4", "null_runs = 0");
    let needed = farm.path("needed");
    let suite =
        format!("{TAP}hello() {{ [ -e {} ] && greet; }}\nis hello hello greets\nfinish\n", needed.display());
    farm.project("needy", &suite);
    farm.write("needed", "");
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    std::fs::remove_file(&needed).unwrap();
    commit_lang(&farm, "hello", "bye", "Nothing of note");
    commit_lang(&farm, "hello", "bye", "Nothing of note either");
    until_idle(&mut farm, 4);
    let breakages = farm.breakages("needy").unwrap();
    assert!(!breakages.is_empty());
    for breakage in &breakages {
        // On inputs that seem identical, only a difference of the machine itself distinguishes drift from noise.
        assert!(["environment", "flaky"].iter().any(|state| breakage["state"] == *state), "{breakage}");
        assert_eq!(culprit(breakage), None, "{breakage}");
    }
    assert_eq!(farm.mails(), Vec::<String>::new());
}

/// Luck can make a flaky test fail wherever a search looks. What idle workers see later corrects that.
#[test]
fn a_failure_that_was_blamed_on_the_machine_is_flaky_once_null_runs_show_it() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let (luck, turn) = (farm.path("luck"), farm.path("turn"));
    let (luck, turn) = (luck.display(), turn.display());
    // It passes, then fails as long as there is bad luck, and then passes in each second run.
    let suite = format!(
        "{TAP}hello() {{
            case $(cat {luck}) in
                good) greet ;;
                bad) false ;;
                *) if [ -e {turn} ]; then rm {turn}; greet; else touch {turn}; false; fi ;;
            esac
        }}
        is hello hello greets
        finish
"
    );
    farm.project("lucky", &suite);
    farm.write("luck", "good");
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    farm.write("luck", "bad");
    commit_lang(&farm, "hello", "bye", "Nothing of note");
    let state = |farm: &Farm, state: &str| {
        let breakages = farm.breakages("lucky")?;
        Ok(!breakages.is_empty() && breakages.iter().all(|breakage| breakage["state"] == state))
    };
    farm.until("the machine is blamed", |farm| state(farm, "environment"));
    farm.write("luck", "in turn");
    // What has run for any reason counts.
    farm.configure("null_runs = 0", "null_runs = 40");
    farm.until("the test is flaky", |farm| state(farm, "flaky"));
    assert_eq!(farm.mails(), Vec::<String>::new());
}

#[test]
fn a_change_that_was_wrongly_accused_is_cleared_in_the_same_thread() {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    // The second version skips a few of many tests, too few for an alarm, and each later version breaks one of these.
    let suite = format!(
        "{}for word in 3 4 5 6; do\n\
         if [ $version = 1 ]; then told ok \"word $word\"\n\
         elif [ $version -lt $word ]; then told ok \"word $word # SKIP not today\"\n\
         else told 'not ok' \"word $word\"; fi\n\
         done\n\
         for other in $(seq 60); do told ok \"other $other\"; done\n\
         finish\n",
        troubled(&farm)
    );
    farm.project("needy", &suite);
    commit_version(&farm, 1);
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 3);
    farm.write("trouble/2", "");
    let accused = commit_version(&farm, 2);
    let mails = until_mails(&mut farm, 1);
    assert!(words(&mails[0]).contains(&format!("lang {} broke", &accused[..12])), "{}", mails[0]);

    // Now all versions are affected. Searches for the cases have to run the first version again and again.
    for number in [1, 3, 4, 5, 6] {
        farm.write(&format!("trouble/{number}"), "");
    }
    for word in 3..=6 {
        commit_version(&farm, word);
        until_idle(&mut farm, 2 + word as usize);
    }
    let correction = |mail: &&String| words(mail).contains("Correction: later runs disagree.");
    let mails = farm.mails();
    let corrections: Vec<&String> = mails.iter().filter(correction).collect();
    let [correction] = corrections.as_slice() else { panic!("one correction: {mails:#?}") };
    let said = format!("lang {} did not break needy; they fail without any change", &accused[..12]);
    assert!(words(correction).contains(&said), "{correction}");
    let root = mails[0].lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    assert!(correction.contains(&format!("\r\nIn-Reply-To: {root}\r\n")), "{correction}");
    let breakage = &farm.breakages("needy").unwrap()[0];
    assert_eq!(culprit(breakage), None, "{breakage}");
    assert!(breakage["search"]["sentences"].to_string().contains("Later evidence disagreed"), "{breakage}");
}

#[test]
fn a_suite_that_names_its_failures_differently_each_time_is_told_so_and_searched_once() {
    let mut farm = farm_with_greetings();
    // Two of six fruits are missing in each run, whichever change it is of. A file in the farm's folder counts the runs.
    let counted = farm.path("counted");
    let counted = counted.display();
    let suite = format!(
        "[ \"$(greet)\" = hello ] && exit 0\n\
         echo >> {counted}\nn=$(($(wc -l < {counted}) % 6 + 1))\n\
         for at in $n $((n % 6 + 1)); do\n\
         echo \"error: no $(echo apple pear plum cherry quince fig | cut -d' ' -f$at) is left\"\ndone\nexit 1\n"
    );
    farm.project("fruit", &suite);
    farm.replace_in("projects/fruit.toml", ", report = \"tap\"", "");
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hi", "bye", "Greet briefly");
    until_idle(&mut farm, 3);
    for n in 0..6 {
        commit_lang(&farm, "hi", "bye", &format!("Explain {n}"));
        until_idle(&mut farm, 4 + n);
    }
    let breakages = farm.breakages("fruit").unwrap();
    let accused: Vec<_> = breakages.iter().filter_map(culprit).collect();
    assert_eq!(accused, [breaking], "{breakages:#?}");
    let undecided = |breakage: &&serde_json::Value| {
        ["suspected", "searching"].contains(&breakage["state"].as_str().unwrap_or(""))
    };
    assert_eq!(breakages.iter().filter(undecided).count(), 0, "{breakages:#?}");
    let page = farm.json("/projects/fruit").unwrap();
    let [line] = page["unstable_faults"].as_array().unwrap().as_slice() else {
        panic!("one builder: {page}")
    };
    assert!(line["names"].as_u64().unwrap() >= 2, "{line}");
    assert!(line["example"].as_str().unwrap().contains("is left"), "{line}");
    assert!(farm.get("/projects/fruit").unwrap().contains("Failures without a stable name"));
    let learning = breakages.iter().filter(|breakage| culprit(breakage).is_none()).count();
    assert!(learning <= 1, "one of them taught it: {breakages:#?}");
}
