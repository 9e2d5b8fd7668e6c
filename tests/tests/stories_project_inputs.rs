//! Stories about project inputs: what a project breaks itself is mailed to its contacts and is not a breakage of the trunk;
//! new project inputs take effect once they have been seen to be no worse.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{TAP, only, runs_of, until_mails, words};
use trunkfarm_tests::mail_server::{self, envelope, received};

fn suite(lines: &str) -> String {
    format!("{TAP}{lines}\nfinish\n")
}

/// Commits a language with this greeting.
fn commit_lang(farm: &Farm, word: &str, title: &str) -> String {
    farm.edit("lang", &format!("#!/bin/sh\n# {title}\ngreet() {{ echo {word}; }}\n. \"$1\"\n"));
    farm.commit(title)
}

/// A farm whose trunk greets with hello, with one project and one worker; nothing is broken yet.
fn farm_with_greetings() -> Farm {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "first");
    farm.project("polite", &suite("is hello greet greets"));
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm
}

/// Whether a builder has built a change with this revision of its project, for this reason, and with what outcome.
fn has_built(
    farm: &Farm,
    change: &str,
    builder: &str,
    revision: &str,
    reason: &str,
) -> anyhow::Result<Option<String>> {
    let builds = runs_of(farm, change, builder)?;
    let of_it = builds.iter().filter(|build| build["revision"] == revision && build["reason"] == reason);
    Ok(of_it.filter_map(|build| build["outcome"].as_str()).next_back().map(str::to_string))
}

#[test]
fn what_a_project_breaks_itself_is_mailed_only_to_its_contacts() {
    let mut farm = Farm::create();
    let port = mail_server::configure(&farm);
    mail_server::start(&mut farm, port);
    commit_lang(&farm, "hello", "first");
    let good = farm.project("polite", &suite("is hello greet greets\ntold ok 'is there'"));
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);

    let bad = farm.revise("polite", &suite("is hullo greet greets\ntold ok 'is there'"));
    farm.until("its contacts got the mail", |farm| Ok(!received(farm).is_empty()));
    let mails = received(&farm);
    let [mail] = mails.as_slice() else { panic!("one mail: {mails:?}") };
    assert_eq!(envelope(mail), ["polite@example.org"]);
    assert!(mail.contains("polite broke 1 test of polite, not lang"), "{mail}");
    assert!(mail.contains(&format!("revision {} is now {}", &good[..12], &bad[..12])), "{mail}");
    assert!(mail.contains("\r\n  greets\r\n"), "{mail}");
    // One run of each version that raised the alarm, and one that confirmed it.
    assert!(words(mail).contains("2 passes before it, 2 failures with it, on w1."), "{mail}");

    // The trunk moves on, and is tested with the last good revision.
    let next = commit_lang(&farm, "hello", "Explain the greeting");
    farm.until("the old inputs go on", |farm| {
        Ok(has_built(farm, &next, "polite", &good, "tip")?.as_deref() == Some("passed"))
    });
    // A later revision that is as good as the old one takes effect at once.
    let mended = farm.revise("polite", &suite("is hello greet greets\ntold ok 'is there'\ntold ok 'is new'"));
    farm.until("the repair is proven on the newest change", |farm| {
        Ok(has_built(farm, &next, "polite", &mended, "baseline")?.as_deref() == Some("passed"))
    });
    let last = commit_lang(&farm, "hello", "Explain once more");
    farm.until("the repair is in use", |farm| {
        Ok(has_built(farm, &last, "polite", &mended, "tip")?.as_deref() == Some("passed"))
    });
    farm.until("nothing is left to do", Farm::is_idle);
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new(), "nothing of it is the trunk's");
    assert_eq!(received(&farm).len(), 1);
    farm.stop_master();
}

#[test]
fn a_project_that_adapts_itself_to_a_change_ends_its_breakage() {
    let mut farm = farm_with_greetings();
    let culprit = commit_lang(&farm, "hullo", "Greet as in the north");
    farm.until("the culprit is named", |farm| {
        Ok(farm.breakages("polite")?.iter().any(|breakage| breakage["state"] == "named"))
    });
    farm.until("nothing is left to do", Farm::is_idle);
    let adapted = farm.revise("polite", &suite("is hullo greet greets"));
    farm.until("the new inputs are proven on the change that broke the old ones", |farm| {
        Ok(has_built(farm, &culprit, "polite", &adapted, "baseline")?.as_deref() == Some("passed"))
    });
    farm.until("the breakage is over", |farm| {
        Ok(farm.breakages("polite")?.iter().all(|breakage| breakage["state"] == "fixed"))
    });
    let next = commit_lang(&farm, "hullo", "Explain the north");
    farm.until("the new inputs go on", |farm| {
        Ok(has_built(farm, &next, "polite", &adapted, "tip")?.as_deref() == Some("passed"))
    });
    farm.until("nothing is left to do", Farm::is_idle);
    assert_eq!(farm.breakages("polite").unwrap().len(), 1);
    farm.stop_master();
}

#[test]
fn a_new_recipe_takes_effect_with_a_baseline() {
    let mut farm = farm_with_greetings();
    let change = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.stop_master();
    farm.replace_in("projects/polite.toml", "lang ./suite", "echo quietly >&2; lang ./suite");
    farm.serve();
    farm.until("the change is repeated with the new recipe", |farm| {
        let builds = runs_of(farm, &change, "polite")?;
        Ok(builds.iter().any(|build| build["reason"] == "baseline" && build["outcome"] == "passed"))
    });
    let next = commit_lang(&farm, "hello", "Explain the greeting");
    farm.finished_build(&next, "polite");
    farm.until("nothing is left to do", Farm::is_idle);
    let built = runs_of(&farm, &next, "polite").unwrap();
    let build = built.iter().find(|build| build["reason"] == "tip").expect("a tip").clone();
    let said = farm.get(&format!("/builds/{}/log/0/raw", build["id"])).unwrap();
    assert!(said.contains("quietly"), "{said}");
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new());
    farm.stop_master();
}

#[test]
fn a_project_that_fails_from_its_first_build_is_watched_all_the_same() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "first");
    let red = "is hello greet greets\ntold 'not ok' 'never worked'";
    farm.project("polite", &suite(red));
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new(), "what was always bad is no news");
    // Its next revision, which fails as well, takes effect, too.
    let next = farm.revise("polite", &suite(&format!("{red}\ntold ok 'is new'")));
    let change = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.until("the new inputs are in use", |farm| {
        Ok(has_built(farm, &change, "polite", &next, "baseline")?.as_deref() == Some("failed"))
    });
    let culprit = commit_lang(&farm, "hullo", "Greet as in the north");
    farm.until("the new failure is named", |farm| {
        Ok(farm.breakages("polite")?.iter().any(|breakage| breakage["state"] == "named"))
    });
    let breakages = farm.breakages("polite").unwrap();
    let [breakage] = breakages.as_slice() else { panic!("one breakage: {breakages:?}") };
    assert_eq!(breakage["cases"], serde_json::json!(["greets"]));
    let named = breakage["range"].as_array().unwrap().iter().find(|suspect| suspect["standing"] == "culprit");
    assert_eq!(named.unwrap()["change"]["sha"], culprit.as_str());
    farm.stop_master();
}

#[test]
fn a_fault_of_new_project_inputs_holds_them_back_even_if_the_suite_failed_before() {
    let mut farm = Farm::create();
    let red = "echo 'error: the first has never worked'\nexit 1\n";
    let good = farm.project("polite", red);
    farm.replace_in("projects/polite.toml", ", report = \"tap\"", "");
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.revise("polite", &format!("echo 'error: cannot import the second'\n{red}"));
    farm.until("the new inputs are seen to be worse", |farm| {
        let sides = farm.json("/projects/polite")?["project_inputs"].to_string();
        Ok(sides.contains("cannot import the second"))
    });
    farm.until("nothing is left to do", Farm::is_idle);
    let page = farm.json("/projects/polite").unwrap();
    let sides = page["project_inputs"].as_array().unwrap();
    let current = sides.iter().find(|side| side["state"] == "current").unwrap();
    assert_eq!(current["revision"], good.as_str());
    farm.stop_master();
}

/// Adds a fetch step before a project's suite.
fn fetch_first(farm: &Farm, project: &str, run: &str) {
    farm.replace_in(
        &format!("projects/{project}.toml"),
        "steps = [{",
        &format!("steps = [{{ name = \"get\", kind = \"fetch\", network = true, run = '''{run}''' }}, {{"),
    );
}

/// What the first step of a build printed.
fn first_log(farm: &Farm, build: &Value) -> anyhow::Result<String> {
    farm.get(&format!("/builds/{}/log/0/raw", build["id"]))
}

#[test]
fn dependencies_are_locked_once_per_revision_and_again_with_a_baseline() {
    let mut farm = Farm::create();
    let base = commit_lang(&farm, "hello", "first");
    farm.project("polite", &suite("is hello greet greets"));
    // It chooses another version each time, as from a registry that changes.
    fetch_first(
        &farm,
        "polite",
        "if [ -n \"$FARM_LOCK\" ]; then cat \"$FARM_LOCK\"; \
         else od -An -N16 -tx1 /dev/urandom | tee $FARM_OUT/lock; fi",
    );
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    let next = commit_lang(&farm, "hello", "Explain the greeting");
    farm.finished_build(&next, "polite");
    let chosen = |farm: &Farm, change: &str, reason: &str| -> Option<String> {
        let builds = runs_of(farm, change, "polite").ok()?;
        let build = builds.iter().find(|build| build["reason"] == reason && build["outcome"] == "passed")?;
        first_log(farm, build).ok()
    };
    let first = chosen(&farm, &base, "tip").expect("the first run");
    assert_eq!(chosen(&farm, &next, "tip").as_ref(), Some(&first), "the lock is given back");
    let page = farm.json("/projects/polite").unwrap();
    assert!(page["project_inputs"][0]["lock"].is_string(), "{page}");

    farm.revise("polite", &suite("is hello greet greets\ntold ok 'is new'"));
    farm.until("the new inputs are proven", |farm| Ok(chosen(farm, &next, "baseline").is_some()));
    let second = chosen(&farm, &next, "baseline").unwrap();
    assert_ne!(second, first, "a new revision chooses again");
    let last = commit_lang(&farm, "hello", "Explain once more");
    farm.until("its choice stays", |farm| Ok(chosen(farm, &last, "tip").as_ref() == Some(&second)));
    farm.stop_master();
}

#[test]
fn a_project_from_a_registry_is_polled_on_a_worker_and_fetched_by_its_own_client() {
    let mut farm = Farm::create();
    // The registry of this story is in the toolchain: that a step can reach it shows where the command runs.
    let release = |farm: &Farm, version: &str| {
        farm.edit("lang", &format!("#!/bin/sh\n# newest {version}\ngreet() {{ echo hello; }}\n. \"$1\"\n"));
        farm.commit(&format!("Release {version}"))
    };
    release(&farm, "1.0");
    farm.project("polite", "unused");
    farm.replace_in(
        "projects/polite.toml",
        &format!("git     = \"{}\"\nfollow  = \"master\"\n", farm.path("polite").display()),
        "latest  = '''sed -n 's/^# newest //p' $FARM_PREFIX/bin/lang'''\nevery   = \"1s\"\n",
    );
    fetch_first(&farm, "polite", "printf 'echo 1..1\\necho ok 1 - %s' $FARM_REVISION > suite");
    farm.serve().worker("w1", 2);
    farm.until("the first release is in use", |farm| {
        Ok(farm.json("/projects/polite")?["project_inputs"][0]["revision"] == "1.0")
    });
    farm.until("the first release is tested", |farm| {
        Ok(farm.column("polite")?.iter().all(|cell| cell == "passed"))
    });
    let next = release(&farm, "1.1");
    farm.until("the next release is proven and in use", |farm| {
        let page = farm.json("/projects/polite")?;
        Ok(page["project_inputs"][0]["revision"] == "1.1" && page["project_inputs"][0]["state"] == "current")
    });
    farm.until("the change is tested with it", |farm| {
        Ok(runs_of(farm, &next, "polite")?
            .iter()
            .any(|build| build["revision"] == "1.1" && build["outcome"] == "passed"))
    });
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new());
    farm.stop_master();
}

/// Uses this command for the newest revision, and waits until the project's page shows a problem with this text.
fn assert_problem_is_shown(command: &str, words: &str) {
    let mut farm = Farm::create();
    farm.project("polite", "unused");
    farm.replace_in(
        "projects/polite.toml",
        &format!("git     = \"{}\"\nfollow  = \"master\"\n", farm.path("polite").display()),
        &format!("latest  = \"{command}\"\nevery   = \"1s\"\n"),
    );
    farm.serve().worker("w1", 1);
    farm.until("it is reported", |farm| {
        let page = farm.json("/projects/polite")?;
        Ok(page["problem"].as_str().is_some_and(|problem| problem.contains(words)))
    });
    farm.stop_master();
}

#[test]
fn an_invalid_answer_of_a_latest_command_is_shown_on_the_projects_page() {
    assert_problem_is_shown("echo no revision at all", "expected a revision");
}

#[test]
fn a_latest_command_that_never_succeeds_is_shown_on_the_projects_page() {
    assert_problem_is_shown("exit 1", "`latest` failed");
}

#[test]
fn a_failure_caused_by_a_dependency_is_attributed_to_it() {
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "first");
    farm.project("say", &suite("is hello greet 'says hello'"));
    farm.write("say/lib", "say() { echo \"$(greet), world\"; }\n");
    farm.revise("say", &suite("is hello greet 'says hello'"));
    farm.project("polite", &suite(". $FARM_NEEDS/say/lib\nis 'hello, world' say 'says it by say'"));
    farm.replace_in("projects/polite.toml", "follow  =", "needs   = [\"say\"]\nfollow  =");
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    let column = farm.column("polite").unwrap();
    assert_eq!(column.last().map(String::as_str), Some("passed"), "it found what it needs: {column:?}");
    let page = farm.json("/projects/say").unwrap();
    assert_eq!(page["needed_by"], serde_json::json!(["polite"]));

    let culprit = commit_lang(&farm, "hullo", "Greet as in the north");
    farm.until("both breakages are named", |farm| {
        let named = |project: &str| -> anyhow::Result<bool> {
            Ok(farm.breakages(project)?.iter().any(|breakage| breakage["state"] == "named"))
        };
        Ok(named("say")? && named("polite")?)
    });
    let (say, polite) = (farm.breakages("say").unwrap(), farm.breakages("polite").unwrap());
    assert_eq!(polite[0]["filed_under"]["text"], "by way of say, which the same change broke");
    assert_eq!(polite[0]["filed_under"]["breakage"], say[0]["id"]);
    assert_eq!(say[0]["dependents"][0]["id"], polite[0]["id"]);
    assert!(say[0]["filed_under"].is_null());
    farm.until("one mail tells of both", |farm| Ok(!farm.mails().is_empty()));
    let mails = farm.mails();
    assert!(mails[0].contains("by way of say, which the same change broke"), "{}", mails[0]);
    assert!(mails[0].contains(&culprit), "{}", mails[0]);

    // The dependency adapts: these are new project inputs for the project that needs it, too.
    farm.until("nothing is left to do", Farm::is_idle);
    farm.write("say/lib", "say() { echo 'hello, world'; }\n");
    let adapted = farm.revise("say", &suite("is hullo greet 'says hullo'"));
    farm.until("who needs it has it by a baseline", |farm| {
        let page = farm.json("/projects/polite")?;
        let side = &page["project_inputs"][0];
        Ok(side["state"] == "current" && side["needs"][0]["revision"] == adapted.as_str())
    });
    farm.until("both are well again", |farm| {
        let well = |project: &str| -> anyhow::Result<bool> {
            Ok(farm.breakages(project)?.iter().all(|breakage| breakage["state"] == "fixed"))
        };
        Ok(well("say")? && well("polite")?)
    });
    farm.stop_master();
}

/// By the frame in which the failure occurs, if the dependency's own tests do not show it or are not run.
#[test]
fn a_failure_in_a_dependencys_code_is_attributed_to_it_registered_or_not() {
    let failing_in = |file: &str| {
        let trace =
            format!("#   File \"tests/test_it.py\", line 9, in test\n#   File \"{file}\", line 3, in f");
        let failing = format!("{{ told 'not ok' greets; echo '{trace}'; }}");
        suite(&format!("[ \"$(greet)\" = hello ] && told ok greets || {failing}"))
    };
    let mut farm = Farm::create();
    commit_lang(&farm, "hello", "first");
    farm.project("say", &suite("told ok 'sees nothing'"));
    farm.project("polite", &failing_in("/trunkfarm/needs/say/core.py"));
    farm.replace_in("projects/polite.toml", "follow  =", "needs   = [\"say\"]\nfollow  =");
    farm.project("knits", &failing_in("/venv/lib/python3.15/site-packages/yarn/core.py"));
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    commit_lang(&farm, "hullo", "Greet as in the north");
    let mail = words(&until_mails(&mut farm, 1)[0]);
    for (project, said) in [
        ("polite", "by way of say: its code is where the failure shows"),
        ("knits", "by way of yarn, which is not registered: its code is where the failure shows"),
    ] {
        assert_eq!(only(&farm, project)["filed_under"]["text"], said);
        assert!(mail.contains(said), "{mail}");
    }
    assert_eq!(farm.breakages("say").unwrap(), Vec::<Value>::new());
    farm.stop_master();
}

/// The maintainer rewrites the only commit, and the server forgets the old one. A worker that has not seen it yet cannot
/// test with it; the new revision is worse, so that it would wait for two weeks.
#[test]
fn a_revision_that_was_pruned_upstream_is_given_up_at_once_and_accuses_no_change() {
    let mut farm = Farm::create();
    let port = mail_server::configure(&farm);
    mail_server::start(&mut farm, port);
    commit_lang(&farm, "hello", "first");
    let old = farm.project("polite", &suite("is hello greet greets\ntold ok 'is there'"));
    farm.serve().worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.kill_worker("w1");

    let upstream = farm.path("polite");
    farm.write("polite/suite", &suite("is hullo greet greets\ntold ok 'is there'"));
    farm.git(&upstream, &["add", "-A"]);
    farm.git(&upstream, &["commit", "-q", "--amend", "-m", "rewritten"]);
    farm.git(&upstream, &["reflog", "expire", "--expire=now", "--all"]);
    farm.git(&upstream, &["gc", "-q", "--prune=now"]);
    let new = farm.git(&upstream, &["rev-parse", "HEAD"]);
    let change = commit_lang(&farm, "hello", "Explain the greeting");
    farm.worker("w2", 2);
    farm.until("the change is tested with the new revision", |farm| {
        Ok(has_built(farm, &change, "polite", &new, "tip")?.as_deref() == Some("failed"))
    });
    farm.until("nothing is left to do", Farm::is_idle);
    let with_old = has_built(&farm, &change, "polite", &old, "tip").unwrap();
    assert!(matches!(with_old.as_deref(), None | Some("infra")), "it has no verdict: {with_old:?}");
    let page = farm.json("/projects/polite").unwrap();
    assert_eq!(page["project_inputs"][0]["revision"], new.as_str());
    let past = page["past_project_inputs"][0]["text"].as_str().unwrap_or_default();
    assert!(past.contains("given up, since the revision was no longer in its repository"), "{past}");
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new(), "no change is accused");
    let mails = received(&farm);
    assert!(mails.iter().all(|mail| envelope(mail) == ["polite@example.org"]), "{mails:#?}");

    // What comes next is compared with the new revision.
    let next = commit_lang(&farm, "hello", "Explain once more");
    farm.until("the next change is tested", |farm| {
        Ok(has_built(farm, &next, "polite", &new, "tip")?.as_deref() == Some("failed") && farm.is_idle()?)
    });
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new());
}

/// The branch of a project was removed, with its revision, and is pushed again.
#[test]
fn a_revision_that_is_pushed_again_is_no_longer_missing() {
    let mut farm = farm_with_greetings();
    farm.kill_worker("w1");
    let upstream = farm.path("polite");
    farm.git(&farm.path(""), &["clone", "-q", "--mirror", "polite", "kept"]);
    farm.git(&upstream, &["checkout", "-q", "--orphan", "other"]);
    farm.git(&upstream, &["commit", "-q", "-m", "something else"]);
    farm.git(&upstream, &["branch", "-q", "-D", "master"]);
    farm.git(&upstream, &["reflog", "expire", "--expire=now", "--all"]);
    farm.git(&upstream, &["gc", "-q", "--prune=now"]);
    commit_lang(&farm, "hello", "Explain the greeting");
    farm.worker("w2", 2);
    let is_missing = |farm: &Farm| -> anyhow::Result<bool> {
        Ok(farm.get("/projects/polite")?.contains("the revision in use can no longer be fetched"))
    };
    farm.until("the revision is missing", is_missing);

    farm.git(&upstream, &["fetch", "-q", "../kept", "master:master"]);
    farm.until("it is there again", |farm| Ok(!is_missing(farm)?));
    let change = commit_lang(&farm, "hello", "Explain it once more");
    assert_eq!(farm.finished_build(&change, "polite")["outcome"], "passed");
    assert!(!is_missing(&farm).unwrap());
    assert_eq!(farm.breakages("polite").unwrap(), Vec::<Value>::new());
}

/// A toolchain that was made without a sandbox works on its own worker only. That worker leaves for good, and a baseline
/// would wait for it.
#[test]
fn a_baseline_that_waits_for_a_worker_that_left_does_not_block_its_project() {
    let mut farm = Farm::create();
    farm.configure("null_runs = 4", "null_runs = 0");
    commit_lang(&farm, "hello", "first");
    farm.project("polite", &suite("is hello greet greets"));
    farm.serve().unsandboxed_worker("w1", 1);
    farm.until("the first changes are decided", Farm::is_idle);
    farm.kill_worker("w1");
    farm.until("it is away", |farm| Ok(farm.get("/workers")?.contains("0 of 1 worker")));
    let new = farm.revise("polite", &suite("is hello greet greets\ntold ok 'is new'"));
    farm.until("a baseline waits for it", |farm| {
        let queue = farm.json("/queue")?;
        Ok(queue["builds"]
            .as_array()
            .is_some_and(|builds| builds.iter().any(|one| one["reason"] == "baseline")))
    });
    farm.restart_master_later("+2h");
    let change = commit_lang(&farm, "hello", "Explain the greeting");
    farm.unsandboxed_worker("w2", 1);
    farm.until("the new revision is proven on the new change", |farm| {
        Ok(has_built(farm, &change, "polite", &new, "baseline")?.as_deref() == Some("passed"))
    });
    farm.until("it is in use, and nothing is left to do", |farm| {
        Ok(farm.json("/projects/polite")?["project_inputs"][0]["revision"] == new.as_str()
            && farm.is_idle()?)
    });
}
