//! How a case changed between two neighbouring builds of a history, in one word. What is news follows from each case, and
//! not from the outcomes of the builds: a new failure in a red project is news, and two green builds may differ.

use protocol::Verdict;
use serde::{Deserialize, Serialize};

use crate::outcome::words;

/// How a case changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transition {
    /// It was good, and fails.
    NewFailure,
    /// It failed before, too.
    StillFailing,
    /// It failed before, and is good.
    Fixed,
    /// It ran before, and is skipped.
    LostBySkip,
    /// It ran before, and is missing.
    LostByAbsence,
    /// It was missing before.
    NewCase,
    /// It was skipped before.
    RunsNow,
    /// It passes, though it is expected to fail.
    UnexpectedPass,
    /// It failed when it was first reported: it is unknown whether it was ever good.
    Inherited,
}

words!(Transition {
    NewFailure = "new-failure", StillFailing = "still-failing", Fixed = "fixed", LostBySkip = "lost-by-skip",
    LostByAbsence = "lost-by-absence", NewCase = "new-case", RunsNow = "runs-now",
    UnexpectedPass = "unexpected-pass", Inherited = "inherited",
});

impl Transition {
    /// As it stands on a page.
    pub fn label(self) -> &'static str {
        match self {
            Transition::NewFailure => "new failure",
            Transition::StillFailing => "still failing",
            Transition::Fixed => "fixed",
            Transition::LostBySkip => "skipped now",
            Transition::LostByAbsence => "gone",
            Transition::NewCase => "new case",
            Transition::RunsNow => "runs now",
            Transition::UnexpectedPass => "unexpected pass",
            Transition::Inherited => "bad from the start",
        }
    }
}

/// The transition between two verdicts; none if it is no news. `was` is none in a builder's first build.
pub fn transition(was: Option<Verdict>, became: Verdict) -> Option<Transition> {
    use Verdict::{Error, Fail, Missing, Pass, Skip, Unreached, Xfail, Xpass};
    match (was, became) {
        (_, Unreached) => None,
        (None | Some(Unreached), Fail | Error) => Some(Transition::Inherited),
        (None | Some(Unreached), Pass | Xfail | Skip | Xpass | Missing) => None,
        (Some(Pass | Xfail | Xpass), Fail | Error) => Some(Transition::NewFailure),
        (Some(Fail | Error), Fail | Error) => Some(Transition::StillFailing),
        (Some(Fail | Error), Pass | Xfail) => Some(Transition::Fixed),
        (Some(Pass | Xfail | Fail | Error), Xpass) => Some(Transition::UnexpectedPass),
        (Some(Pass | Xfail | Xpass | Fail | Error), Skip) => Some(Transition::LostBySkip),
        (Some(Pass | Xfail | Xpass | Fail | Error), Missing) => Some(Transition::LostByAbsence),
        (Some(Missing), Pass | Xfail | Skip | Xpass | Fail | Error) => Some(Transition::NewCase),
        (Some(Skip), Pass | Xfail | Xpass | Fail | Error) => Some(Transition::RunsNow),
        (Some(Pass | Xfail | Xpass), Pass | Xfail) | (Some(Xpass), Xpass) => None,
        (Some(Skip), Skip | Missing) | (Some(Missing), Missing) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts as columns: pass, xfail, skip, xpass, missing, fail, error; one row for what a case was before.
    #[test]
    fn each_pair_of_verdicts_has_one_word() {
        use Verdict::{Error, Fail, Missing, Pass, Skip, Unreached, Xfail, Xpass};
        let columns = [Pass, Xfail, Skip, Xpass, Missing, Fail, Error];
        for (was, expected) in [
            (None, ". . . . . inherited inherited"),
            (Some(Unreached), ". . . . . inherited inherited"),
            (Some(Pass), ". . lost-by-skip unexpected-pass lost-by-absence new-failure new-failure"),
            (Some(Xfail), ". . lost-by-skip unexpected-pass lost-by-absence new-failure new-failure"),
            (Some(Xpass), ". . lost-by-skip . lost-by-absence new-failure new-failure"),
            (Some(Skip), "runs-now runs-now . runs-now . runs-now runs-now"),
            (Some(Missing), "new-case new-case new-case new-case . new-case new-case"),
            (
                Some(Fail),
                "fixed fixed lost-by-skip unexpected-pass lost-by-absence still-failing still-failing",
            ),
            (
                Some(Error),
                "fixed fixed lost-by-skip unexpected-pass lost-by-absence still-failing still-failing",
            ),
        ] {
            let word = |became| transition(was, became).map_or(".", Transition::as_str);
            let found: Vec<&str> = columns.into_iter().map(word).collect();
            assert_eq!(found.join(" "), expected, "{was:?}");
        }
    }

    /// A case that a run does not report is no news, and one that does not change is news only if it fails.
    #[test]
    fn an_unreached_or_unchanged_case_is_no_news_unless_it_fails() {
        for was in Verdict::ALL {
            assert_eq!(transition(Some(was), Verdict::Unreached), None);
            assert_eq!(transition(Some(was), was).is_some(), was.is_bad(), "{was}");
        }
    }

    #[test]
    fn every_word_round_trips() {
        assert!(Transition::ALL.iter().all(|&t| Transition::parse(t.as_str()) == Some(t)));
    }
}
