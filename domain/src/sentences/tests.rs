use proptest::prelude::*;

use super::*;
use crate::words::BreakageState;

fn counts(failing: usize, not_run: usize, faults: usize, steps: &[&str], platforms: usize) -> BrokenCounts {
    let steps = steps.iter().map(ToString::to_string).collect();
    BrokenCounts { failing, not_run, faults, steps, platforms, ..BrokenCounts::default() }
}

fn vec_with(counts: BrokenCounts) -> Broken {
    Broken::new(["vec".to_string()], counts)
}

/// What the page of a breakage says.
fn page(state: BreakageState, found: Option<BreakageState>, suspects: usize, ending: Ending) -> String {
    let broken = vec_with(counts(2, 0, 0, &["test"], 1));
    let blame = Blame::new(state, found, suspects);
    let sentence =
        BreakageSentence { blame, range: 9, ending, broken: &broken, culprit: "Lua 5.2", fixer: "Lua 5.3" };
    sentence.sentence()
}

#[test]
fn each_state_of_a_breakage_has_its_sentence() {
    use BreakageState::{Environment, Fixed, Flaky, Gone, Inconclusive, Named, OneOfK, Searching, Suspected};
    let repaired = |changes| Ending::Repaired(RepairClaim::new(false, changes));
    let adapted = Ending::Repaired(RepairClaim::new(true, 1));
    for (state, found, suspects, ending, expected) in [
        (
            Suspected,
            None,
            1,
            Ending::Open,
            "2 tests of vec fail; the search for the culprit among 9 changes has not begun",
        ),
        (
            Searching,
            None,
            1,
            Ending::Open,
            "2 tests of vec fail; the search for the culprit among 9 changes goes on",
        ),
        (Named, Some(Named), 1, Ending::Open, "Lua 5.2 broke 2 tests of vec"),
        (Named, Some(Named), 2, Ending::Open, "One of the 2 changes up to Lua 5.2 broke 2 tests of vec"),
        (OneOfK, Some(OneOfK), 3, Ending::Open, "One of the 3 changes up to Lua 5.2 broke 2 tests of vec"),
        (OneOfK, Some(OneOfK), 1, Ending::Open, "Lua 5.2 or a change before it broke 2 tests of vec"),
        (
            Inconclusive,
            Some(Inconclusive),
            1,
            Ending::Open,
            "2 tests of vec fail; the search did not find the culprit among 9 changes",
        ),
        (
            Flaky,
            Some(Flaky),
            1,
            Ending::Open,
            "2 tests of vec fail intermittently on identical inputs; no change is blamed",
        ),
        (
            Environment,
            Some(Environment),
            1,
            Ending::Open,
            "2 tests of vec fail without any change: the machines differ, not the trunk",
        ),
        (Fixed, Some(Named), 1, repaired(1), "Lua 5.2 broke 2 tests of vec; repaired by Lua 5.3"),
        (
            Fixed,
            Some(Named),
            1,
            repaired(115),
            "Lua 5.2 broke 2 tests of vec; repaired by one of the 115 changes up to Lua 5.3",
        ),
        (
            Fixed,
            Some(Named),
            1,
            repaired(0),
            "Lua 5.2 broke 2 tests of vec; repaired by Lua 5.3 at the latest",
        ),
        (Fixed, Some(Named), 1, adapted, "Lua 5.2 broke 2 tests of vec; the project has adapted"),
        (
            Fixed,
            Some(OneOfK),
            3,
            repaired(1),
            "One of the 3 changes up to Lua 5.2 broke 2 tests of vec; repaired by Lua 5.3",
        ),
        (
            Fixed,
            Some(Inconclusive),
            1,
            repaired(1),
            "2 tests of vec fail; the search did not find the culprit among 9 changes; repaired by Lua 5.3",
        ),
        (
            Gone,
            Some(Named),
            1,
            Ending::Gone,
            "Lua 5.2 broke 2 tests of vec; the branch no longer has the changes that showed it",
        ),
        (
            Gone,
            None,
            1,
            Ending::Gone,
            "2 tests of vec fail; the branch no longer has the changes that showed it",
        ),
    ] {
        assert_eq!(page(state, found, suspects, ending), expected, "{state}");
    }
}

#[test]
fn counts_say_what_fails_what_is_not_run_and_on_how_many_platforms() {
    for (counts, deed, state, brief) in [
        (counts(1, 0, 0, &["test"], 1), "broke 1 test of vec", "1 test of vec fails", "1 test"),
        (
            counts(40, 0, 0, &["test"], 4),
            "broke 40 tests of vec on 4 platforms",
            "40 tests of vec fail on 4 platforms",
            "40 tests; 4 platforms",
        ),
        (
            counts(0, 20, 0, &[], 1),
            "stopped 20 tests of vec from being run",
            "20 tests of vec are no longer run",
            "20 tests not run",
        ),
        (
            counts(1, 897, 0, &["test"], 4),
            "broke 1 test of vec and stopped 897 from being run on 4 platforms",
            "897 tests of vec are no longer run, and 1 fails, on 4 platforms",
            "897 tests not run, 1 fails; 4 platforms",
        ),
        (
            counts(0, 897, 0, &["test"], 1),
            "stopped 897 tests of vec from being run: its step `test` fails",
            "897 tests of vec are no longer run: its step `test` fails",
            "897 tests not run",
        ),
        (
            counts(0, 0, 0, &["test"], 1),
            "broke vec: its step `test` fails",
            "vec is broken: its step `test` fails",
            "step test",
        ),
        (
            counts(0, 0, 2, &["build", "test"], 2),
            "broke vec on 2 platforms: its steps `build` and `test` fail with 2 faults",
            "vec is broken on 2 platforms: its steps `build` and `test` fail with 2 faults",
            "steps build and test; 2 platforms",
        ),
        (
            counts(0, 0, 1, &[], 1),
            "broke vec: its suite reports 1 fault",
            "vec is broken: its suite reports 1 fault",
            "1 fault",
        ),
    ] {
        let broken = vec_with(counts);
        assert_eq!([broken.deed(), broken.state(), broken.counts.brief()], [deed, state, brief]);
    }
    let both = Broken::new(["vec".into(), "ini".into(), "vec".into()], counts(0, 0, 0, &["test"], 1));
    assert_eq!(both.deed(), "broke ini, vec: their step `test` fails");
}

#[test]
fn a_case_on_four_platforms_is_one_case_and_a_step_is_none() {
    let cases = ["a", "b", "step:test", "fault:line:x", "fault:step:test ended before all its cases"];
    let platforms = ["arm", "mips", "ppc", "x86"];
    let all = platforms.iter().flat_map(|platform| {
        cases.iter().map(|case| CountedCase { project: "vec", platform, case, is_not_run: *case == "b" })
    });
    let mut counted = BrokenCounts::count(all.clone());
    assert_eq!(counted, counts(1, 1, 1, &["test"], 4));
    counted.add_unreached([("vec", 7), ("vec", 5), ("ini", 2)]);
    assert_eq!(counted.not_run, 1 + 7 + 2, "the most of one platform, for each project");
    let other =
        cases.iter().map(|case| CountedCase { project: "ini", platform: "x86", case, is_not_run: false });
    assert_eq!(BrokenCounts::count(all.chain(other)), counts(3, 1, 2, &["test"], 4));
}

fn of_change(roles: &[ChangeRole]) -> String {
    change_sentence(roles)
}

#[test]
fn each_role_of_a_change_has_its_sentence() {
    let blamed =
        |blame, open| ChangeRole::Blamed { blame, broken: vec_with(counts(2, 0, 0, &["test"], 1)), open };
    let repaired = |changes| ChangeRole::Repaired {
        repair: RepairClaim::new(false, changes),
        names: vec!["vec".into()],
    };
    for (role, expected) in [
        (blamed(Blame::Named, (1, 1)), "It broke 2 tests of vec; not repaired yet."),
        (blamed(Blame::Named, (0, 1)), "It broke 2 tests of vec; all of it is over."),
        (blamed(Blame::Named, (1, 3)), "It broke 2 tests of vec; 1 of 3 breakages is still open."),
        (
            blamed(Blame::OneOf(3), (1, 1)),
            "It is one of the 3 changes of which one broke 2 tests of vec (no run tells which); not repaired yet.",
        ),
        (ChangeRole::Searched(2), "It is a suspect in 2 breakages whose search goes on."),
        (ChangeRole::Unsolved(1), "It is a suspect in 1 breakage whose culprit was not found."),
        (repaired(1), "It repaired vec."),
        (repaired(115), "It is one of the 115 changes of which one repaired vec."),
        (repaired(0), "It or a change before it repaired vec."),
        (blamed(Blame::Flaky, (1, 1)), "No breakage or repair is attributed to it."),
    ] {
        assert_eq!(of_change(&[role]), expected);
    }
    assert_eq!(
        of_change(&[blamed(Blame::Named, (1, 1)), repaired(1)]),
        "It broke 2 tests of vec; not repaired yet. It repaired vec."
    );
}

fn any_state() -> impl Strategy<Value = BreakageState> {
    prop::sample::select(BreakageState::ALL)
}

proptest! {
    /// Who is told that a change did something may rely on it: the search named this change, and no other is left.
    #[test]
    fn only_a_named_change_without_rivals_is_said_to_have_broken_anything(
        state in any_state(),
        found in prop::option::of(any_state()),
        suspects in 0_usize..400,
        changes in 0_usize..400,
        is_by_project: bool,
        is_repaired: bool,
    ) {
        let blame = Blame::new(state, found, suspects);
        let is_exact = found.unwrap_or(state) == BreakageState::Named && suspects <= 1;
        let repair = RepairClaim::new(is_by_project, changes);
        let ending = Ending::new(state, is_repaired.then_some(repair));
        let text = page(state, found, suspects, ending);
        prop_assert_eq!(text.starts_with("Lua 5.2 broke"), is_exact, "{}", &text);
        let is_proven = changes == 1 && !is_by_project && is_repaired && state != BreakageState::Gone;
        prop_assert_eq!(text.ends_with("repaired by Lua 5.3"), is_proven, "{}", &text);

        let broken = vec_with(counts(2, 0, 0, &[], 1));
        let of_it = of_change(&[ChangeRole::Blamed { blame, broken, open: (1, 1) }]);
        prop_assert_eq!(of_it.starts_with("It broke"), is_exact, "{}", &of_it);
        let of_fixer = of_change(&[ChangeRole::Repaired { repair, names: vec!["vec".into()] }]);
        prop_assert_eq!(of_fixer.starts_with("It repaired"), changes == 1 && !is_by_project, "{}", &of_fixer);

        // A range is said with its number.
        if let Blame::OneOf(k @ 2..) = blame {
            prop_assert!(text.contains(&format!("the {k} changes")), "{}", &text);
            prop_assert!(of_it.contains(&format!("the {k} changes")), "{}", &of_it);
        }
    }
}
