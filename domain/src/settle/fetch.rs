//! Whose doing it is that a fetch step fails. A change that was fetched before is fetched once more: if that works, the new
//! change is to blame, and if it fails as well, the project or the network is, and nobody tries for ever.

use std::time::Duration;

use protocol::{StepEnd, StepKind};

use crate::outcome::{MAX_ATTEMPTS, StepRun};

/// How long a build at most waits for the fetch of another change. It is offered again as soon as that has ended.
pub(super) const CHECK_WAIT: Duration = Duration::from_secs(600);
/// A build whose checks keep ending without an answer is given up after so many attempts.
const MOST_ATTEMPTS: u32 = 2 * MAX_ATTEMPTS;

/// A rerun of another change, whose fetch shows whether the network is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherFetch {
    /// No change can be rerun.
    Unavailable,
    /// A change that was fetched before can be rerun.
    Available,
    /// A rerun waits or runs already.
    UnderWay,
    /// A rerun has ended since the build's first attempt, and its fetch failed, too.
    Failed,
}

/// What follows from a fetch step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFetch {
    /// Try once more: networks recover.
    Repeat,
    /// Fetch another change, and try once more when that has ended.
    Check,
    /// The fetch of another change is under way.
    Await,
    /// Nothing more is tried. `is_checked`: another change cannot be fetched either.
    GiveUp { is_checked: bool },
}

/// How many failures it takes before another change is fetched. One, where the builder's last fetches failed as well.
pub fn tries(is_failing: bool) -> u32 {
    if is_failing { 1 } else { MAX_ATTEMPTS }
}

/// Decides after `spent` attempts of a build. `may_check` unless the build is itself such a rerun.
pub(super) fn after_failure(spent: u32, is_failing: bool, other: OtherFetch, may_check: bool) -> AfterFetch {
    match other {
        OtherFetch::Failed if may_check => AfterFetch::GiveUp { is_checked: true },
        _ if spent < tries(is_failing) => AfterFetch::Repeat,
        OtherFetch::Available if may_check && spent < MOST_ATTEMPTS => AfterFetch::Check,
        OtherFetch::UnderWay if may_check && spent < MOST_ATTEMPTS => AfterFetch::Await,
        OtherFetch::Unavailable | OtherFetch::Available | OtherFetch::UnderWay | OtherFetch::Failed => {
            AfterFetch::GiveUp { is_checked: false }
        }
    }
}

/// The fetch step that decided an attempt, if one did: the first step that failed.
pub fn failed_fetch(steps: &[StepRun]) -> Option<&StepRun> {
    let failed = steps.iter().find(|step| step.end != StepEnd::Exit { code: 0 })?;
    (failed.kind == StepKind::Fetch && failed.end != StepEnd::Cancelled).then_some(failed)
}

/// Whether an attempt shows that the builder can fetch: it has fetch steps, and each has succeeded.
pub(super) fn can_fetch(steps: &[StepRun]) -> bool {
    let mut fetches = steps.iter().filter(|step| step.kind == StepKind::Fetch).peekable();
    fetches.peek().is_some() && fetches.all(|step| step.end == StepEnd::Exit { code: 0 })
}

/// What the build's page says of an attempt whose fetch step failed, with the last lines that it printed.
pub(super) fn sentence(step: &StepRun, message: Option<&str>, is_checked: bool) -> String {
    let end = match step.end {
        StepEnd::Exit { code } => format!("ended with exit {code}"),
        StepEnd::Signal { signal } => format!("was killed by signal {signal}"),
        StepEnd::TimedOut => "ran for too long".into(),
        StepEnd::Silent => "printed nothing for too long".into(),
        StepEnd::LogLimit => "printed too much".into(),
        StepEnd::OutOfMemory => "used too much memory".into(),
        StepEnd::TooManyProcesses => "had too many processes".into(),
        StepEnd::DiskLimit => "used too much of the disk".into(),
        StepEnd::NoTests | StepEnd::BadReport { .. } | StepEnd::RefusedTree | StepEnd::Cancelled => {
            "failed".into()
        }
    };
    let whose = match is_checked {
        true => {
            "; a change that was fetched before cannot be fetched any more either, so the project or the network is to blame"
        }
        false => "",
    };
    let lines: Vec<&str> =
        message.unwrap_or("").lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let printed = if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" / ")) };
    format!("fetch step `{}` {end}{whose}{printed}", step.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OTHERS: [OtherFetch; 4] =
        [OtherFetch::Unavailable, OtherFetch::Available, OtherFetch::UnderWay, OtherFetch::Failed];

    #[test]
    fn a_sentence_names_the_step_its_end_and_its_last_lines() {
        let step = StepRun { name: "deps".into(), kind: StepKind::Fetch, end: StepEnd::Exit { code: 1 } };
        assert_eq!(
            sentence(&step, Some("ERROR: no wheel\n\n  for twill \n"), false),
            "fetch step `deps` ended with exit 1: ERROR: no wheel / for twill"
        );
        assert!(sentence(&step, None, true).ends_with("so the project or the network is to blame"));
    }

    proptest! {
        /// However the rerun of another change behaves, a build that cannot fetch is tried a bounded number of times, asks
        /// for one rerun at a time, and tries no further once a rerun has failed.
        #[test]
        fn no_build_is_fetched_for_ever(
            is_failing in any::<bool>(),
            may_check in any::<bool>(),
            others in prop::collection::vec(prop::sample::select(OTHERS.to_vec()), 2 * MAX_ATTEMPTS as usize),
        ) {
            let mut ended = None;
            for (spent, other) in (1_u32..).zip(&others) {
                let next = after_failure(spent, is_failing, *other, may_check);
                match next {
                    AfterFetch::GiveUp { is_checked } => {
                        prop_assert_eq!(is_checked, may_check && *other == OtherFetch::Failed);
                        ended = Some(spent);
                        break;
                    }
                    AfterFetch::Check => prop_assert_eq!((*other, may_check), (OtherFetch::Available, true)),
                    AfterFetch::Await => prop_assert_eq!((*other, may_check), (OtherFetch::UnderWay, true)),
                    AfterFetch::Repeat => prop_assert!(spent < tries(is_failing)),
                }
                prop_assert!(!(may_check && *other == OtherFetch::Failed));
            }
            prop_assert!(ended.is_some_and(|spent| spent <= MOST_ATTEMPTS), "{:?}", ended);
        }
    }
}
