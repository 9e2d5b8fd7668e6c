//! Whether a breakage is news, or history that the farm has only now looked at: a project that was just registered, a new
//! branch, a new platform, or a farm that catches up after an outage.

use std::time::Duration;

use crate::words::BreakageState;
use crate::words::ids::Timestamp;

/// How long a repair that was seen, but is not proven yet, keeps a mail back.
const MAX_PROOF_WAIT: Duration = Duration::from_secs(3600);
/// How long the old breakages of a project wait for those that its history may still show.
const MAX_HISTORY_WAIT: Duration = Duration::from_secs(24 * 3600);
/// How often the contacts of a project get a mail about old breakages.
const BACKLOG_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// What bears on the age of a breakage with a culprit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakageDates {
    /// Its state.
    pub state: BreakageState,
    /// When the farm first saw the culprit.
    pub culprit_seen_at: Timestamp,
    /// Since when a change that the farm finds is news to the builder: ever since, if the builder was there before the
    /// first change of its trunk; else since it was first given a build to make.
    pub builder_since: Timestamp,
    /// When the culprit was found.
    pub found_at: Timestamp,
    /// When the build ended that shows its cases good again, proven or not; none while they are bad.
    pub good_again_at: Option<Timestamp>,
}

/// What a mail makes of a breakage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakageAge {
    /// It is reported to everybody.
    News,
    /// The culprit was on the branch before the builder existed: it is reported to the project's contacts.
    Old,
    /// It was over when it was found: it is shown, and reported to nobody.
    Over,
    /// It seems to have been over when it was found: that is being proven.
    PerhapsOver,
}

/// What a mail makes of a breakage whose culprit was found.
pub fn age(dates: &BreakageDates, now: Timestamp) -> BreakageAge {
    let was_good_again = dates.good_again_at.is_some_and(|at| at <= dates.found_at);
    match dates.state {
        BreakageState::Gone => return BreakageAge::Over,
        BreakageState::Fixed if was_good_again => return BreakageAge::Over,
        BreakageState::Suspected
        | BreakageState::Searching
        | BreakageState::Named
        | BreakageState::OneOfK
        | BreakageState::Inconclusive
        | BreakageState::Flaky
        | BreakageState::Environment
        | BreakageState::Fixed => {}
    }
    if was_good_again && now < dates.found_at + MAX_PROOF_WAIT {
        return BreakageAge::PerhapsOver;
    }
    match dates.culprit_seen_at < dates.builder_since {
        true => BreakageAge::Old,
        false => BreakageAge::News,
    }
}

/// What is known of a project's old breakages when one mail about all of them may be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogInputs {
    /// When the culprit of the first of them was found.
    pub first_found_at: Timestamp,
    /// Whether a search of the project goes on.
    pub is_searching: bool,
    /// Whether a change of its branches is not built yet.
    pub has_gaps: bool,
    /// Whether its suites have run too rarely for their noise to be known.
    pub has_few_runs: bool,
    /// When its contacts got the last such mail.
    pub last_mail_at: Option<Timestamp>,
}

/// Whether the mail about a project's old breakages is due: once, when its history is known, or a day later at most.
pub fn is_backlog_due(inputs: &BacklogInputs, now: Timestamp) -> bool {
    let is_known = !inputs.is_searching && !inputs.has_gaps;
    let is_late = inputs.first_found_at + MAX_HISTORY_WAIT <= now;
    let is_rested = inputs.last_mail_at.is_none_or(|last| last + BACKLOG_PERIOD <= now);
    (is_known || is_late) && is_rested && !inputs.has_few_runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Dates in hours: culprit seen, builder since, found, good again.
    fn dates(state: BreakageState, seen: u64, since: u64, found: u64, good: Option<u64>) -> BreakageDates {
        let at = |hours: u64| Timestamp(i64::try_from(hours * 3_600_000).expect("a few hours"));
        BreakageDates {
            state,
            culprit_seen_at: at(seen),
            builder_since: at(since),
            found_at: at(found),
            good_again_at: good.map(at),
        }
    }

    #[test]
    fn what_is_over_is_no_news_and_what_is_old_is_for_the_contacts() {
        use BreakageAge::{News, Old, Over, PerhapsOver};
        use BreakageState::{Fixed, Gone, Named};
        let now = Timestamp(100 * 3_600_000);
        for (what, dates, expected) in [
            ("a change that came after the project", dates(Named, 9, 5, 99, None), News),
            ("a change that was there before it", dates(Named, 3, 5, 99, None), Old),
            ("the same, repaired before it was found", dates(Fixed, 3, 5, 99, Some(98)), Over),
            ("a repair that nobody could prove for an hour", dates(Named, 3, 5, 99, Some(98)), Old),
            ("repaired in an outage", dates(Fixed, 9, 5, 99, Some(98)), Over),
            ("repaired after it was found", dates(Fixed, 9, 5, 98, Some(99)), News),
            ("a branch that was rewound", dates(Gone, 9, 5, 99, None), Over),
        ] {
            assert_eq!(age(&dates, now), expected, "{what}");
        }
        let unproven = dates(Named, 9, 5, 100, Some(99));
        assert_eq!(age(&unproven, now), PerhapsOver);
        assert_eq!(age(&unproven, now + HOUR), News, "it waits for an hour at most");
    }

    #[test]
    fn one_mail_is_due_when_the_history_is_known_or_a_day_has_passed() {
        let now = Timestamp(100 * 3_600_000);
        let known = BacklogInputs {
            first_found_at: now - HOUR,
            is_searching: false,
            has_gaps: false,
            has_few_runs: false,
            last_mail_at: None,
        };
        assert!(is_backlog_due(&known, now));
        let waits = |inputs| !is_backlog_due(&inputs, now);
        assert!(waits(BacklogInputs { is_searching: true, ..known }));
        assert!(waits(BacklogInputs { has_gaps: true, ..known }));
        assert!(waits(BacklogInputs { has_few_runs: true, ..known }));
        assert!(waits(BacklogInputs { last_mail_at: Some(now - HOUR), ..known }));
        let late = BacklogInputs { first_found_at: now - 24 * HOUR, has_gaps: true, ..known };
        assert!(is_backlog_due(&late, now));
        let rested = BacklogInputs { last_mail_at: Some(now - 24 * HOUR), ..known };
        assert!(is_backlog_due(&rested, now));
    }

    proptest! {
        /// The list hears of no change that was there before the builder was, and of nothing that was over.
        #[test]
        fn a_list_gets_no_old_news(
            seen in 0_u64..50, since in 0_u64..50, found in 0_u64..99, good in prop::option::of(0_u64..99),
            state in prop::sample::select(BreakageState::ALL), now in 0_u64..200,
        ) {
            let dates = dates(state, seen, since, found, good);
            let now = Timestamp(i64::try_from(now * 3_600_000).expect("a few hours"));
            let is_news = age(&dates, now) == BreakageAge::News;
            prop_assert!(!(is_news && seen < since));
            let was_over = state == BreakageState::Fixed && good.is_some_and(|good| good <= found);
            prop_assert!(!(is_news && (was_over || state == BreakageState::Gone)));
        }
    }
}
