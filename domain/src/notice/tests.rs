//! The texts of mails as snapshots, and each decision about a thread as a line of a table.

use super::backlog::{OldBreakage, reply};
use super::lines::COLUMNS;
use super::mail::{InputsReport, backlog, correction, fixed, named, own_inputs, spread, storm};
use super::*;
use crate::sentences::{RunCount, WorkerRuns};

fn change(sha: &str, title: &str) -> ReportedChange {
    ReportedChange {
        trunk: "lua".into(),
        branch: "master".into(),
        sha: sha.repeat(40),
        title: title.into(),
        author: "Ada".into(),
        url: format!("https://farm.example.org/changes/{}", sha.repeat(40)),
    }
}

fn runs(worker: &str, before: (u32, u32), with: (u32, u32)) -> WorkerRuns {
    let count = |(good, bad)| RunCount { good, bad };
    WorkerRuns { worker: worker.into(), before: count(before), with: count(with) }
}

fn broken(project: Option<&str>, cases: usize) -> ReportedBreakage {
    ReportedBreakage {
        project: project.map(str::to_string),
        platform: "linux-x86_64".into(),
        variant: None,
        variants: Vec::new(),
        cases: (1..=cases).map(|n| format!("rep > case {n}")).collect(),
        lost: vec![],
        steps: vec![],
        unreached: 0,
        blame: Blame::Named,
        text_from: None,
        text: Some("\n  attempt to call a nil value\u{1b}[0m (global 'unpack')\nmore".into()),
        filed: None,
        parent: Some("b".repeat(40)),
        runs: vec![runs("attic", (3, 0), (0, 4))],
        url: "https://farm.example.org/breakages/3".into(),
    }
}

/// A mail's body as one line.
fn words_of(text: &MailText) -> String {
    text.body.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_lines_say_what_broke_what() {
    let letter = named(&change("a", "Lua 5.2"), &[broken(Some("vec"), 2)], &[], "Canaries");
    insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
}

#[test]
fn suspects_that_cannot_be_told_apart_are_counted() {
    let unsure = ReportedBreakage { blame: Blame::OneOf(3), ..broken(None, 1) };
    let letter = named(&change("a", "Lua 5.2"), &[unsure], &[], "Canaries");
    insta::assert_snapshot!(letter.body);
}

#[test]
fn what_is_certain_and_what_is_not_are_said_apart() {
    let unsure = ReportedBreakage { blame: Blame::OneOf(3), ..broken(Some("ini"), 1) };
    let letter = named(&change("a", "Lua 5.2"), &[unsure.clone(), broken(Some("vec"), 2)], &[], "Canaries");
    assert_eq!(letter.subject, "[lua] aaaaaaaaaaaa broke vec (2 tests): Lua 5.2", "the surest");
    let body = words_of(&letter);
    assert!(
        body.starts_with(
            "lua aaaaaaaaaaaa broke 2 tests of vec. One of the 3 changes up to lua aaaaaaaaaaaa broke 1 test of ini \
             (no run tells which):"
        ),
        "{body}"
    );
    let letter = spread(&change("a", "Lua 5.2"), std::slice::from_ref(&unsure), &[], "Canaries");
    assert_eq!(
        letter.subject,
        "Re: [lua] one of the 3 changes up to aaaaaaaaaaaa broke ini (1 test): Lua 5.2"
    );
    assert!(
        words_of(&letter).starts_with("One of the 3 changes up to lua aaaaaaaaaaaa also broke 1 test of ini"),
        "{}",
        letter.body
    );
}

#[test]
fn a_repair_is_said_of_what_it_repaired_with_the_number_of_changes_that_it_may_be() {
    let repair = |repair, sha, names: &[&str]| RepairReport {
        repair,
        fixer: change(sha, "Repair string.rep"),
        names: names.iter().map(ToString::to_string).collect(),
    };
    let about = [broken(Some("vec"), 1), broken(Some("ini"), 1)];
    for (repairs, expected) in [
        (
            vec![repair(RepairClaim::Within(115), "c", &["ini", "vec"])],
            "Repaired by one of the 115 changes up to this one",
        ),
        (vec![repair(RepairClaim::Within(0), "c", &["ini", "vec"])], "Repaired at the latest by:"),
        (
            vec![repair(RepairClaim::ByItself, "c", &["ini", "vec"])],
            "Repaired by the project itself; first seen on:",
        ),
        (
            vec![repair(RepairClaim::By, "c", &["ini"]), repair(RepairClaim::Within(4), "d", &["vec"])],
            "ini: repaired by: Repair string.rep by Ada, on master \
             https://farm.example.org/changes/cccccccccccccccccccccccccccccccccccccccc vec: repaired by one of the 4 changes",
        ),
    ] {
        let letter = fixed(&change("a", "Lua 5.2"), &repairs, &about, "Canaries");
        assert!(words_of(&letter).contains(expected), "{}", letter.body);
    }
}

#[test]
fn what_is_not_reached_counts_as_not_run_and_a_step_is_no_test() {
    let died = ReportedBreakage {
        cases: vec!["step:test".into()],
        unreached: 897,
        text: Some("ModuleNotFoundError: No module named 'cgi'".into()),
        text_from: Some("d".repeat(40)),
        ..broken(Some("genshi"), 0)
    };
    let letter = named(&change("a", "Remove cgi"), std::slice::from_ref(&died), &[], "Canaries");
    assert_eq!(letter.subject, "[lua] aaaaaaaaaaaa stopped tests of genshi (897 tests not run): Remove cgi");
    let body = words_of(&letter);
    for expected in [
        "lua aaaaaaaaaaaa stopped 897 tests of genshi from being run: its step `test` fails:",
        "the step `test` and 897 tests not reached ModuleNotFoundError: No module named 'cgi' (seen at dddddddddddd)",
    ] {
        assert!(body.contains(expected), "{body}");
    }
    let on = |platform: &str| ReportedBreakage { platform: platform.into(), ..broken(Some("vec"), 40) };
    let letter = named(&change("a", "Lua 5.2"), &["x86", "arm", "ppc", "mips"].map(on), &[], "Canaries");
    assert!(
        words_of(&letter).starts_with("lua aaaaaaaaaaaa broke 40 tests of vec on 4 platforms:"),
        "{}",
        letter.body
    );
    assert!(letter.subject.contains(" broke vec (40 tests; 4 platforms): "), "{}", letter.subject);
}

#[test]
fn tests_that_are_not_run_any_longer_are_reported_as_such() {
    let skipped = |bad| {
        let lost = (1..=20).map(|n| format!("spec > case {n}")).collect();
        ReportedBreakage { lost, text: None, ..broken(Some("vec"), bad) }
    };
    let letter = named(&change("a", "Lua 5.2"), &[skipped(0)], &[], "Canaries");
    insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
    let letter = named(&change("a", "Lua 5.2"), &[skipped(1)], &[], "Canaries");
    assert!(letter.subject.contains("broke vec"), "{}", letter.subject);
    let body = words_of(&letter);
    assert!(body.contains("broke 1 test of vec and stopped 20 from being run:"), "{body}");
}

#[test]
fn a_mail_about_a_repair_names_the_change_that_did_it() {
    let fixer = change("c", "Repair string.rep");
    let repair = RepairReport { repair: RepairClaim::By, fixer, names: vec!["vec".into()] };
    let letter = fixed(&change("a", "Lua 5.2"), &[repair], &[broken(Some("vec"), 1)], "Canaries");
    insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
}

#[test]
fn a_correction_names_the_culprit_instead_or_accuses_no_change() {
    let instead = Correction::Culprit(Blame::Named, change("b", "Lua 5.3"));
    let letter = correction(&change("a", "Lua 5.2"), &instead, &[broken(Some("vec"), 1)], "Canaries");
    insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
    for (instead, expected) in [
        (Correction::Flaky, "the tests fail now and then on identical inputs, and no change is accused."),
        (Correction::Environment, "they fail without any change, and no change is accused."),
        (Correction::Unknown, "the culprit is not known."),
    ] {
        let letter = correction(&change("a", "Lua 5.2"), &instead, &[broken(Some("vec"), 1)], "Canaries");
        assert!(words_of(&letter).contains(expected), "{}", letter.body);
    }
}

#[test]
fn the_proof_counts_the_runs_of_each_worker() {
    let proof = |breakages: &[ReportedBreakage]| {
        let letter = named(&change("a", "Lua 5.2"), breakages, &[], "Canaries");
        let body = words_of(&letter);
        let start = body.find("Proof:").expect("a mail proves what it says");
        body[start..body.find(" -- ").expect("a mail is signed")].to_string()
    };
    let vec = |runs| ReportedBreakage { runs, ..broken(Some("vec"), 1) };
    assert_eq!(
        proof(&[vec(vec![runs("attic", (1, 0), (0, 1))])]),
        "Proof: the same tests pass with bbbbbbbbbbbb and fail with aaaaaaaaaaaa. 1 pass before it, 1 failure with it, \
         on attic. All of it was seen on one machine."
    );
    assert_eq!(
        proof(&[vec(vec![runs("attic", (2, 0), (0, 3)), runs("cellar", (0, 0), (1, 2))])]),
        "Proof: the same tests pass with bbbbbbbbbbbb and fail with aaaaaaaaaaaa. 2 passes before it, 3 failures with \
         it, on attic; 1 pass with it, 2 failures with it, on cellar."
    );
    let ini = ReportedBreakage {
        project: Some("ini".into()),
        parent: Some("c".repeat(40)),
        runs: vec![runs("cellar", (2, 1), (0, 4))],
        ..broken(None, 1)
    };
    assert_eq!(
        proof(&[vec(vec![runs("attic", (2, 0), (0, 3))]), ini]),
        "Proof: the same tests pass with bbbbbbbbbbbb and fail with aaaaaaaaaaaa. vec on linux-x86_64: 2 passes before \
         it, 3 failures with it, on attic. Proof: the same tests pass with cccccccccccc and fail with aaaaaaaaaaaa. ini \
         on linux-x86_64: 2 passes before it, 1 failure before it, 4 failures with it, on cellar."
    );
    // Runs that are not known are not mentioned.
    assert_eq!(
        proof(&[vec(vec![])]),
        "Proof: the same tests pass with bbbbbbbbbbbb and fail with aaaaaaaaaaaa."
    );
}

#[test]
fn a_projects_own_doing_is_proven_by_the_runs_of_both_inputs() {
    let own = InputsReport {
        project: "vec".into(),
        trunk: "lua".into(),
        sha: "a".repeat(40),
        differs: vec!["revision 1 is now 2".into()],
        broken: ReportedBreakage {
            parent: None,
            runs: vec![runs("attic", (2, 0), (0, 2))],
            ..broken(Some("vec"), 1)
        },
    };
    let letter = own_inputs(&own, "Canaries");
    assert_eq!(letter.subject, "[lua] vec broke 1 test itself: revision 1 is now 2");
    let body = words_of(&letter);
    for expected in [
        "vec broke 1 test of vec, not lua: revision 1 is now 2",
        "Proof: on lua aaaaaaaaaaaa, which did not change, the same tests pass before and fail after this. 2 passes \
         before it, 2 failures with it, on attic. All of it was seen on one machine.",
    ] {
        assert!(body.contains(expected), "{body}");
    }
}

#[test]
fn a_storm_is_announced_in_a_few_lines() {
    let letter = storm("lua", "https://farm.example.org", "Canaries");
    assert_eq!(letter.subject, "[lua] many changes break many projects");
    assert!(letter.body.contains("\n  https://farm.example.org/breakages\n"), "{}", letter.body);
}

#[test]
fn nobody_outside_can_break_a_header_or_a_line() {
    let hostile = change("a", "title\r\nBcc: everyone@example.org\u{1b}[2J");
    for letter in [
        named(&hostile, &[broken(Some("vec"), 20)], &[], "Canaries"),
        spread(&hostile, &[broken(Some("vec"), 20)], &[], "Canaries"),
    ] {
        assert!(!letter.subject.contains(['\r', '\n', '\u{1b}']));
        assert!(!letter.subject.contains("[2J"), "{}", letter.subject);
        assert!(!letter.body.contains("\nBcc:"));
        assert!(letter.body.contains("  and 12 more"));
        let long = letter.body.lines().filter(|l| !l.contains("://")).any(|l| l.chars().count() > COLUMNS);
        assert!(!long);
    }
}

const NOW: Timestamp = Timestamp(100_000_000);

fn context() -> NoticeContext {
    NoticeContext {
        farm: "Canaries".into(),
        url: "https://farm.example.org".into(),
        enough_runs: 20,
        registered: vec!["vec".into(), "ini".into()],
    }
}

fn fix(by: i64) -> ThreadFix {
    ThreadFix { by: ChangeId(by), repair: RepairClaim::By, change: change("c", "Repair string.rep") }
}

/// A breakage as a word: `new`, `told` or `fixed`, followed by what differs from the usual.
fn breakage(id: i64, word: &str) -> ThreadBreakage {
    let mut breakage = ThreadBreakage {
        id: BreakageId(id),
        state: BreakageState::Named,
        found_at: Some(NOW - Duration::from_secs(60)),
        age: BreakageAge::News,
        is_announced: true,
        is_fix_announced: false,
        is_mentioned: false,
        branch: "main".into(),
        suite_runs: Some(20),
        fix: None,
        needs: Vec::new(),
        report: broken(Some("vec"), 1),
    };
    let fixed = |breakage: ThreadBreakage| ThreadBreakage {
        state: BreakageState::Fixed,
        fix: Some(fix(id)),
        ..breakage
    };
    breakage = match word {
        "told" => breakage,
        "new" => ThreadBreakage { is_announced: false, ..breakage },
        "new-fixed" => fixed(ThreadBreakage { is_announced: false, ..breakage }),
        "new-gone" => ThreadBreakage { is_announced: false, state: BreakageState::Gone, ..breakage },
        "new-over" => ThreadBreakage {
            age: BreakageAge::Over,
            ..fixed(ThreadBreakage { is_announced: false, ..breakage })
        },
        "new-before" => ThreadBreakage { is_announced: false, age: BreakageAge::Old, ..breakage },
        "new-before-other" => ThreadBreakage {
            is_announced: false,
            age: BreakageAge::Old,
            report: broken(Some("ini"), 1),
            ..breakage
        },
        "new-unproven" => ThreadBreakage { is_announced: false, age: BreakageAge::PerhapsOver, ..breakage },
        "new-rare" => ThreadBreakage { is_announced: false, suite_runs: Some(19), ..breakage },
        "new-compiler" => ThreadBreakage { is_announced: false, suite_runs: None, ..breakage },
        "new-old" => ThreadBreakage {
            is_announced: false,
            found_at: Some(NOW - MAX_WAIT - Duration::from_secs(1)),
            ..breakage
        },
        "fixed" => fixed(breakage),
        "fixed-told" => ThreadBreakage { is_fix_announced: true, ..fixed(breakage) },
        "fallen" => ThreadBreakage { is_fix_announced: true, ..breakage },
        "fallen-gone" => ThreadBreakage { is_fix_announced: true, state: BreakageState::Gone, ..breakage },
        other => panic!("no breakage is drawn as {other}"),
    };
    breakage
}

fn thread(words: &str) -> ThreadInputs {
    let breakages: Vec<ThreadBreakage> =
        words.split_whitespace().zip(1..).map(|(word, id)| breakage(id, word)).collect();
    ThreadInputs {
        change: change("a", "Lua 5.2"),
        has_root: breakages.iter().any(|breakage| breakage.is_announced),
        breakages,
        open_searches: OpenSearches::None,
        is_canary_failing: false,
        traffic: ListTraffic::default(),
    }
}

/// `named 1+2` or, where there is nothing, why.
fn decided(thread: &ThreadInputs) -> String {
    let decision = notify(thread, &context(), NOW);
    let mails: Vec<String> = decision
        .mails
        .iter()
        .map(|mail| {
            let about: Vec<String> = mail.breakages.iter().map(ToString::to_string).collect();
            format!("{} {}", mail.kind, about.join("+")).trim_end().to_string()
        })
        .collect();
    if mails.is_empty() { format!("{:?}", decision.waits) } else { mails.join(", ") }
}

#[test]
fn a_thread_gets_one_mail_that_names_the_culprit_and_then_mails_about_more_and_about_the_repair() {
    for (words, expected) in [
        ("new", "named 1"),
        ("new new", "named 1+2"),
        ("told", "NoNews"),
        ("told new", "spread 2"),
        ("new-gone", "NoNews"),
        ("new new-gone", "named 1"),
        ("fixed", "fixed 1"),
        ("fixed told", "NoNews"),
        ("fixed fixed", "fixed 1+2"),
        ("fixed-told", "NoNews"),
        ("fixed-told fixed", "fixed 1+2"),
        // A repair that was reported and does not stand is taken back.
        ("fallen", "correction 1"),
        ("fallen told", "correction 1"),
        ("fallen fixed-told fixed", "correction 1"),
        ("fallen new", "spread 2, correction 1"),
        ("fallen-gone", "NoNews"),
        // What is new and repaired already is announced first.
        ("new-fixed", "named 1, fixed 1"),
        ("fixed new", "spread 2"),
        ("new-rare", "FewRuns"),
        ("new new-rare", "FewRuns"),
        ("fixed new-rare", "fixed 1"),
        ("new-compiler", "named 1"),
        ("", "NoNews"),
        // What is no news to the list.
        ("new-over", "NoNews"),
        ("new-before", "NoNews"),
        ("new-unproven", "NoNews"),
        ("new new-over", "named 1"),
        ("told new-before", "NoNews"),
        // The same project is broken still, on a platform that is tested since later.
        ("fixed new-before", "NoNews"),
        ("fixed new-before-other", "fixed 1"),
    ] {
        assert_eq!(decided(&thread(words)), expected, "{words}");
    }
}

#[test]
fn a_mail_waits_for_searches_that_may_end_at_its_culprit_but_no_longer_than_an_hour() {
    let searched = |words, open_searches| decided(&ThreadInputs { open_searches, ..thread(words) });
    assert_eq!(searched("new", OpenSearches::None), "named 1");
    assert_eq!(searched("new", OpenSearches::Some), "OpenSearches");
    assert_eq!(searched("new-old", OpenSearches::Some), "named 1");
    assert_eq!(searched("new-old new", OpenSearches::Some), "named 1+2");
    assert_eq!(searched("new-old", OpenSearches::AtSickChange), "OpenSearches");
    assert_eq!(searched("fixed", OpenSearches::AtSickChange), "fixed 1", "a repair waits for no search");
}

#[test]
fn no_mail_is_due_while_a_canary_is_failing() {
    for words in ["new", "told new", "fixed"] {
        let failing = ThreadInputs { is_canary_failing: true, ..thread(words) };
        assert_eq!(decided(&failing), "CanaryFailing", "{words}");
    }
}

#[test]
fn in_a_storm_the_lists_get_one_mail_that_says_so_and_the_rest_waits() {
    let after = |notices, storm_announced, words| {
        decided(&ThreadInputs { traffic: ListTraffic { notices, storm_announced }, ..thread(words) })
    };
    assert_eq!(after(9, false, "new"), "named 1");
    assert_eq!(after(10, false, "new"), "storm");
    assert_eq!(after(10, true, "new"), "Storm");
    assert_eq!(after(9, false, "new-fixed"), "named 1, storm", "the second mail is one too many");
    assert_eq!(after(10, false, "new-fixed"), "storm", "what was not announced is not repaired either");
    assert_eq!(after(10, false, "fixed new"), "storm", "one storm, though two mails are due");
}

#[test]
fn a_second_mail_of_a_kind_can_be_distinguished_from_the_first() {
    let first_news = |words: &str| {
        let decision = notify(&thread(words), &context(), NOW);
        decision.mails.last().and_then(|mail| mail.first_news).map(|id| id.0)
    };
    assert_eq!(first_news("fixed"), Some(1));
    assert_eq!(first_news("fixed-told fixed"), Some(2));
    assert_eq!(first_news("told new new"), Some(2));
}

#[test]
fn a_failure_is_filed_under_a_needed_project_that_the_same_mail_is_about() {
    let mut thread = thread("new new");
    thread.breakages[0].report.project = Some("ini".into());
    thread.breakages[0].needs = vec!["vec".into()];
    let text = &notify(&thread, &context(), NOW).mails[0].text;
    assert!(text.body.contains("by way of vec, which the same change broke"), "{}", text.body);
    thread.breakages[1].report.blame = Blame::OneOf(3);
    let text = &notify(&thread, &context(), NOW).mails[0].text;
    assert!(!text.body.contains("by way of"), "another of the three may have done it: {}", text.body);
    thread.breakages.pop();
    let text = &notify(&thread, &context(), NOW).mails[0].text;
    assert!(!text.body.contains("by way of"), "{}", text.body);
}

#[test]
fn what_an_old_change_broke_in_a_new_project_is_one_line_of_the_next_mail() {
    let mut thread = thread("new new-before");
    thread.breakages[1].report.project = Some("ini".into());
    let text = &notify(&thread, &context(), NOW).mails[0].text;
    assert!(
        words_of(text).contains("It broke ini as well, which the farm tests only since then."),
        "{}",
        text.body
    );
    assert_eq!(text.body.matches("ini").count(), 1, "{}", text.body);
}

#[test]
fn later_mails_of_a_thread_do_not_repeat_the_line() {
    let mut spreading = thread("told new new-before");
    spreading.breakages[2].report.project = Some("ini".into());
    let mail = notify(&spreading, &context(), NOW).mails.remove(0);
    assert_eq!((mail.kind, mail.mentions), (NoticeKind::Spread, vec![BreakageId(3)]));
    spreading.breakages[2].is_mentioned = true;
    let mail = notify(&spreading, &context(), NOW).mails.remove(0);
    assert_eq!((mail.kind, mail.mentions), (NoticeKind::Spread, vec![]));
    assert!(!words_of(&mail.text).contains("as well"), "{}", mail.text.body);
    // A mail that a storm keeps back mentions nothing.
    spreading.breakages[2].is_mentioned = false;
    spreading.traffic = ListTraffic { notices: 10, storm_announced: false };
    let mail = notify(&spreading, &context(), NOW).mails.remove(0);
    assert_eq!((mail.kind, mail.mentions), (NoticeKind::Storm, vec![]));
}

/// What a backlog reported, as words: the breakage's state, `/`, and who is held to have broken it now: `a` as was reported,
/// `b` another change, `-` nobody, `?` it is searched again.
fn reported_old(words: &str) -> Vec<OldBreakage> {
    let old = |(word, id): (&str, i64)| {
        let (state, by) = word.split_once('/').unwrap();
        let mut breakage = breakage(id, if state == "fixed" { "new-fixed" } else { "new-before" });
        if state == "gone" {
            breakage.state = BreakageState::Gone;
        }
        let of = |sha: &str, id: i64| (ChangeId(id), change(sha, "Lua 5.2"));
        let (found, culprit) = match by {
            "a" => (Some(BreakageState::Named), Some(of("a", 1))),
            "b" => (Some(BreakageState::Named), Some(of("b", 2))),
            "-" => (Some(BreakageState::Flaky), None),
            "?" => (None, None),
            other => panic!("nobody is drawn as {other}"),
        };
        OldBreakage { breakage, reported: of("a", 1), found, culprit }
    };
    words.split_whitespace().zip(1..).map(old).collect()
}

#[test]
fn the_contacts_read_what_became_of_a_backlog() {
    let replied = |words: &str| match reply("vec", &reported_old(words), &context()) {
        Some(reply) => {
            let about: Vec<String> = reply.breakages.iter().map(ToString::to_string).collect();
            format!("{} {}", reply.kind, about.join("+"))
        }
        None => "nothing".to_string(),
    };
    for (words, expected) in [
        ("open/a", "nothing"),
        ("open/a fixed/a", "nothing"),
        ("fixed/a fixed/a", "backlog-fixed 1+2"),
        ("fixed/a gone/a", "backlog-fixed 1"),
        ("gone/a", "nothing"),
        ("open/b open/a", "backlog-correction 1"),
        ("open/- fixed/b", "backlog-correction 1+2"),
        ("fixed/a open/b", "backlog-correction 2"),
        ("open/? fixed/a", "nothing"),
        ("fixed/?", "nothing"),
    ] {
        assert_eq!(replied(words), expected, "{words}");
    }
    let fixed = reply("vec", &reported_old("fixed/a fixed/a"), &context()).unwrap().text;
    assert_eq!(fixed.subject, "Re: [lua] what older changes broke in vec is repaired");
    let body = words_of(&fixed);
    assert!(body.starts_with("What lua aaaaaaaaaaaa broke is repaired: vec."), "{body}");
    assert!(body.contains("repaired by: Repair string.rep by Ada, on main"), "{body}");
    let wrong = reply("vec", &reported_old("open/b"), &context()).unwrap().text;
    assert_eq!(wrong.subject, "Re: [lua] aaaaaaaaaaaa did not break vec: Lua 5.2");
    assert!(words_of(&wrong).contains("did not break vec; lua bbbbbbbbbbbb did."), "{}", wrong.body);
    let wrong = reply("vec", &reported_old("open/b open/-"), &context()).unwrap().text;
    assert_eq!(wrong.subject, "Re: [lua] 2 older changes did not break vec");
    assert_eq!(wrong.body.matches("Correction:").count(), 2, "{}", wrong.body);
}

proptest::proptest! {
    /// However a backlog's breakages stand: each reply is about breakages that were reported, a repair about all that were
    /// not rewound, and nothing that stands as it was reported and is not repaired is in any reply.
    #[test]
    fn a_reply_to_a_backlog_says_only_what_is_so(
        words in proptest::collection::vec("(open|fixed|gone)/[ab?\\-]", 1..6),
    ) {
        let reported = reported_old(&words.join(" "));
        if let Some(reply) = reply("vec", &reported, &context()) {
            let word = |id: BreakageId| words[id.0 as usize - 1].as_str();
            proptest::prop_assert!(!reply.breakages.is_empty());
            for id in &reply.breakages {
                let expected: &[&str] = match reply.kind {
                    NoticeKind::BacklogFixed => &["fixed/a"],
                    _ => &["open/b", "open/-", "fixed/b", "fixed/-"],
                };
                proptest::prop_assert!(expected.contains(&word(*id)), "{} in {}", word(*id), reply.kind);
            }
            if reply.kind == NoticeKind::BacklogFixed {
                let standing = words.iter().filter(|word| !word.starts_with("gone")).count();
                proptest::prop_assert_eq!(reply.breakages.len(), standing);
            }
        }
    }
}

#[test]
fn the_contacts_of_a_new_project_get_one_mail_about_all_that_old_changes_broke() {
    let about = [
        (change("a", "Lua 5.2"), vec![broken(Some("vec"), 2)]),
        (change("b", "Lua 5.3"), vec![broken(Some("vec"), 1)]),
    ];
    let letter = backlog("vec", &about, "Canaries");
    assert_eq!(letter.subject, "[lua] vec is broken by 2 changes that are older than its first build");
    let body = words_of(&letter);
    for expected in [
        "lua aaaaaaaaaaaa broke 2 tests of vec:",
        "lua bbbbbbbbbbbb broke 1 test of vec:",
        "to the contacts alone",
    ] {
        assert!(body.contains(expected), "{body}");
    }
}

#[test]
fn a_correction_says_what_was_found_instead() {
    use BreakageState::{Environment, Flaky, Inconclusive, Named, OneOfK, Searching};
    let other = Some(change("b", "Lua 5.3"));
    for (found, culprit, expected) in [
        (Named, other.clone(), "lua bbbbbbbbbbbb did."),
        (OneOfK, other.clone(), "did not break vec; one of the 3 changes up to lua bbbbbbbbbbbb did."),
        (Named, None, "the culprit is not known."),
        (Flaky, None, "identical inputs"),
        (Environment, None, "without any change"),
        (Inconclusive, other.clone(), "the culprit is not known."),
        (Searching, other, "the culprit is not known."),
    ] {
        let mut corrected = breakage(1, "told");
        corrected.report.blame = Blame::new(found, Some(found), if found == OneOfK { 3 } else { 1 });
        let inputs = CorrectionInputs {
            change: change("a", "Lua 5.2"),
            found,
            culprit,
            breakages: vec![corrected],
            traffic: ListTraffic::default(),
        };
        let decision = correct(&inputs, &context());
        let [mail] = decision.mails.as_slice() else { panic!("one mail: {decision:?}") };
        assert_eq!((mail.kind, mail.first_news), (NoticeKind::Correction, Some(BreakageId(1))));
        assert!(words_of(&mail.text).contains(expected), "{found}: {}", mail.text.body);
        let storm =
            CorrectionInputs { traffic: ListTraffic { notices: 10, storm_announced: true }, ..inputs };
        assert!(correct(&storm, &context()).mails.is_empty());
    }
}

#[test]
fn every_kind_of_notice_reads_back() {
    assert!(NoticeKind::ALL.iter().all(|&kind| NoticeKind::parse(kind.as_str()) == Some(kind)));
}
