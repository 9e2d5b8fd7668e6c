//! A breakage whose cases are repaired in part: those that still fail, but for another reason, were taken over by another
//! change.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use super::regression_kind::RegressionKind;
use crate::project_inputs::TimelineBuild;
use crate::readers::signature;
use crate::words::ids::{BuildId, CaseId, ChangeId};

/// The failure messages of a build's cases.
pub type CaseMessages = BTreeMap<CaseId, String>;

/// What the cases that lead a breakage did in a history build, and what they printed.
pub struct TakeoverInputs<'a> {
    /// The cases.
    pub leading: &'a BTreeSet<CaseId>,
    /// What they printed at the bad end of the breakage, or in the first build behind it with the inputs of today: see
    /// [`compared`].
    pub at_bad_end: &'a CaseMessages,
    /// What they printed in the history build before.
    pub before: &'a CaseMessages,
    /// What they printed in the history build.
    pub now: &'a CaseMessages,
    /// What they did there.
    pub verdicts: &'a BTreeMap<CaseId, Verdict>,
}

/// The cases that another change took over at a history build, each with the signature of the message with which it failed
/// until then: others of their breakage are good there, and these fail with another message than they did before.
///
/// A message that differed already between the bad end and the build before shows nothing. Without a message nothing is
/// known: the cases stay with their culprit.
pub fn taken_over(inputs: &TakeoverInputs<'_>) -> BTreeMap<CaseId, String> {
    let shows_good = |case: &CaseId| {
        inputs.verdicts.get(case).and_then(|verdict| RegressionKind::Failing.shows_good(*verdict))
    };
    if !inputs.leading.iter().any(|case| shows_good(case) == Some(true)) {
        return BTreeMap::new();
    }
    let signature_in = |of: &CaseMessages, case: &CaseId| of.get(case).and_then(|text| signature(text));
    let failing = inputs.leading.iter().filter(|case| shows_good(case) == Some(false));
    let was = failing.filter_map(|case| {
        let was = signature_in(inputs.before, case)?;
        let is_steady = signature_in(inputs.at_bad_end, case)? == was;
        (is_steady && signature_in(inputs.now, case)? != was).then_some((*case, was))
    });
    was.collect()
}

/// The builds with whose messages those of a history build are compared, for a breakage with this bad end: the first one
/// from the bad end on that ran with the same inputs, and the one before. None at the first build with other inputs, where
/// a case may fail differently by the doing of the project or of the farm, and where the bad end does not come before.
pub fn compared(
    history_builds: &[TimelineBuild],
    at: usize,
    bad_end: ChangeId,
) -> Option<(BuildId, BuildId)> {
    let inputs = history_builds.get(at)?.inputs;
    let before = history_builds[..at].last().filter(|before| before.inputs == inputs)?;
    let from_bad_end = history_builds[..at].iter().skip_while(|build| build.change != bad_end);
    let first = from_bad_end.into_iter().find(|build| build.inputs == inputs)?;
    Some((first.build, before.build))
}

/// Whether two failures are of one group.
pub fn fails_alike(one: Option<&String>, other: Option<&String>) -> bool {
    let signature_of = |text: Option<&String>| text.and_then(|text| signature(text));
    signature_of(one).is_some_and(|one| signature_of(other) == Some(one))
}

/// What a run shows of a case that was taken over: that it fails as it did before is expected, and says nothing against
/// the changes after the takeover.
pub fn verdict_after_takeover(verdict: Verdict, message: Option<&str>, was: &str) -> Verdict {
    let is_old = RegressionKind::Failing.shows_good(verdict) == Some(false)
        && message.and_then(signature).is_some_and(|signature| signature == was);
    if is_old { Verdict::Xfail } else { verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project_inputs::InputsId;
    use crate::words::ids::PinId;

    /// The messages of cases 1, 2, ...; `+` for a case that passed, `?` for one that printed nothing.
    fn messages(picture: &[&str]) -> (CaseMessages, BTreeMap<CaseId, Verdict>) {
        let cases = || (1..).map(CaseId).zip(picture);
        let verdict = |text: &&str| if *text == "+" { Verdict::Pass } else { Verdict::Fail };
        let printed = cases().filter(|(_, text)| !["+", "?"].contains(*text));
        (
            printed.map(|(case, text)| (case, text.to_string())).collect(),
            cases().map(|(case, text)| (case, verdict(text))).collect(),
        )
    }

    fn taken(at_bad_end: &[&str], before: &[&str], now: &[&str]) -> Vec<i64> {
        let leading = (1..=at_bad_end.len() as i64).map(CaseId).collect();
        let ((at_bad_end, _), (before, _), (now, verdicts)) =
            (messages(at_bad_end), messages(before), messages(now));
        let inputs = TakeoverInputs {
            leading: &leading,
            at_bad_end: &at_bad_end,
            before: &before,
            now: &now,
            verdicts: &verdicts,
        };
        taken_over(&inputs).into_keys().map(|case| case.0).collect()
    }

    #[test]
    fn what_fails_for_another_reason_where_others_are_repaired_is_taken_over() {
        assert_eq!(taken(&["x", "x", "x"], &["x", "x", "x"], &["+", "+", "y"]), [3]);
        assert_eq!(taken(&["x", "x"], &["x", "x"], &["y", "y"]), [0; 0], "nothing is repaired");
        assert_eq!(taken(&["x", "x"], &["x", "x"], &["+", "x"]), [0; 0], "as before");
        assert_eq!(taken(&["x", "x"], &["x", "x"], &["+", "?"]), [0; 0], "nobody knows");
        assert_eq!(taken(&["x", "?"], &["x", "?"], &["+", "y"]), [0; 0], "nobody knew");
        assert_eq!(taken(&["x", "x"], &["x", "z"], &["+", "y"]), [0; 0], "it differs in each run");
    }

    #[test]
    fn places_and_addresses_make_no_other_message() {
        let (was, is) = ("a.lua:12: no part at 0x7f01", "a.lua:19: no part at 0x7f02");
        assert_eq!(taken(&[was, was], &[was, was], &["+", is]), [0; 0]);
    }

    #[test]
    fn the_old_failure_is_expected_after_the_takeover() {
        let seen = |verdict, message| verdict_after_takeover(verdict, message, "x");
        assert_eq!(seen(Verdict::Fail, Some("x")), Verdict::Xfail);
        assert_eq!(seen(Verdict::Fail, Some("y")), Verdict::Fail);
        assert_eq!(seen(Verdict::Error, None), Verdict::Error);
        assert_eq!(seen(Verdict::Pass, None), Verdict::Pass);
        assert_eq!(seen(Verdict::Missing, Some("x")), Verdict::Missing);
    }

    /// A history, oldest first: a letter for the inputs of each build, a capital where they begin with a baseline, which
    /// repeats the change before it.
    fn history(picture: &str) -> Vec<TimelineBuild> {
        let mut position = 0;
        let mut builds = Vec::new();
        for (index, letter) in picture.chars().enumerate() {
            let is_baseline = letter.is_ascii_uppercase();
            position += i64::from(!is_baseline);
            let pin = i64::from(letter.to_ascii_lowercase() as u32);
            builds.push(TimelineBuild {
                build: BuildId(index as i64),
                change: ChangeId(position),
                position,
                inputs: InputsId { toolchain: None, pin: Some(PinId(pin)) },
                is_baseline,
                complete: true,
            });
        }
        builds
    }

    fn compared_in(picture: &str, bad_end: i64) -> Option<(i64, i64)> {
        let builds = history(picture);
        compared(&builds, builds.len() - 1, ChangeId(bad_end)).map(|(first, before)| (first.0, before.0))
    }

    #[test]
    fn messages_are_compared_from_the_bad_end_on_and_among_equal_inputs() {
        assert_eq!(compared_in("aaaa", 2), Some((1, 2)));
        assert_eq!(compared_in("aaaa", 3), Some((2, 2)));
        assert_eq!(compared_in("aaaa", 4), None, "the bad end does not come before");
        assert_eq!(compared_in("aaaB", 2), None, "the inputs change here");
        assert_eq!(compared_in("aaaBb", 2), Some((3, 3)), "from the first build with these inputs on");
        assert_eq!(compared_in("aaaBbb", 2), Some((3, 4)));
        assert_eq!(compared_in("aBbb", 2), Some((2, 2)), "the bad end has them");
    }

    /// A history in which the inputs of some builds are new: each of these is a baseline build.
    fn switching(switches: &[bool]) -> String {
        let mut inputs = b'a';
        let mut picture = String::from("a");
        for is_baseline in switches {
            inputs += u8::from(*is_baseline);
            let letter = char::from(inputs);
            picture.push(if *is_baseline { letter.to_ascii_uppercase() } else { letter });
        }
        picture
    }

    proptest::proptest! {
        #[test]
        fn only_builds_with_equal_inputs_from_the_bad_end_on_are_compared(
            switches in proptest::collection::vec(proptest::bool::weighted(0.3), 1..20),
            bad_end in 1i64..20,
        ) {
            let picture = switching(&switches);
            let builds = history(&picture);
            let at = builds.len() - 1;
            let began = builds.iter().position(|build| build.inputs == builds[at].inputs).expect("itself");
            let bad_at = builds.iter().position(|build| build.change == ChangeId(bad_end));
            match compared(&builds, at, ChangeId(bad_end)) {
                Some((first, before)) => {
                    proptest::prop_assert_eq!(first, builds[began.max(bad_at.expect("it was found"))].build);
                    proptest::prop_assert_eq!(before, builds[at - 1].build);
                }
                None => proptest::prop_assert!(began == at || bad_at.is_none_or(|bad_at| bad_at >= at)),
            }
        }

        /// A message that changes only where inputs do is nobody's doing, however many of the others are repaired there, and
        /// a message that changes within the inputs is.
        #[test]
        fn a_message_that_changes_with_the_inputs_takes_nothing_over(
            switches in proptest::collection::vec(proptest::bool::weighted(0.3), 2..20),
            repaired_from in 2usize..20,
            with_inputs in proptest::bool::ANY,
        ) {
            let picture = switching(&switches);
            let builds = history(&picture);
            let message = |at: usize| match with_inputs {
                true => format!("of {}", picture.as_bytes()[at].to_ascii_lowercase()),
                false => String::from(if at < repaired_from { "before" } else { "after" }),
            };
            let text = |at: usize| (message(at), if at < repaired_from { "x" } else { "+" });
            // The bad end is the first build.
            for at in 1..builds.len() {
                let Some((first, before)) = compared(&builds, at, builds[0].change) else { continue };
                let index = |of: BuildId| builds.iter().position(|build| build.build == of).expect("it is there");
                let [(first, one), (before, two), (now, three)] = [index(first), index(before), at].map(text);
                let taken = taken(&[&first, one], &[&before, two], &[&now, three]);
                let is_here = !with_inputs && at == repaired_from;
                proptest::prop_assert_eq!(taken, if is_here { vec![1] } else { vec![] }, "{} at {}", picture, at);
            }
        }

        /// Whatever the others do, a case that fails with one message throughout is never taken over.
        #[test]
        fn a_case_that_fails_with_one_message_is_never_taken_over(
            others in proptest::collection::vec(proptest::sample::select(vec!["+", "?", "x", "y", "z"]), 9),
        ) {
            let build = |at: usize| [&others[3 * at..3 * at + 3], &["one message"]].concat();
            proptest::prop_assert!(!taken(&build(0), &build(1), &build(2)).contains(&4));
        }
    }
}
