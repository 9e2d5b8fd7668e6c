//! Whether a volunteer's machine may work now, until when, and why not: a function of what its owner set and what the machine
//! shows. The worker reads the facts, and does what is decided here.

pub mod hours;
pub mod idle;
pub mod owner_mail;
pub mod terms;

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use hours::{Hours, HoursState};

/// For how long running builds are frozen before they are handed back.
pub const MAX_FREEZE: Duration = Duration::from_secs(600);

/// When the owner lets the machine work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerSettings {
    /// The hours.
    pub hours: Hours,
    /// Their time zone.
    pub zone: TimeZone,
    /// The load of others, in hundredths, above which nothing new is begun.
    pub max_load: Option<u32>,
    /// Only while the machine has mains power.
    pub only_on_mains: bool,
    /// Only after nobody has used the machine for so long.
    pub only_when_idle: Option<Duration>,
    /// Nothing new is begun with less free disk than this.
    pub min_free_bytes: u64,
    /// Nothing new is begun while the worker's folder holds more than this.
    pub max_disk_bytes: Option<u64>,
    /// Whether builds that run when the hours end may end by themselves.
    pub finishes_after_hours: bool,
}

/// What the machine shows now. What cannot be known is absent, and forbids nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// The load of all but this worker, in hundredths.
    pub load: Option<u32>,
    /// Whether it has mains power.
    pub on_mains: Option<bool>,
    /// For how long nobody has used it.
    pub unused_for: Option<Duration>,
    /// The free space of the disk with the worker's folder.
    pub free_bytes: Option<u64>,
    /// How much the worker's folder holds.
    pub used_bytes: Option<u64>,
}

/// What the owner said by a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerPause {
    /// Until when; none until the owner resumes.
    pub until: Option<Timestamp>,
}

/// Why a machine must not work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The owner said so.
    Owner,
    /// The hours do not allow it.
    Hours,
    /// It has no mains power.
    Battery,
    /// Somebody uses it.
    InUse,
    /// Others need it.
    Load,
    /// Its disk is too full.
    LowDisk,
    /// The worker's folder holds what it may hold.
    Quota,
}

/// Why a machine must not work now, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub rest: Rest,
    /// Until when, if that can be known.
    pub until: Option<Timestamp>,
}

/// What becomes of the running builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningBuilds {
    /// They go on.
    Run,
    /// They stand still.
    Freeze,
    /// They are given to others.
    HandBack,
}

impl Rest {
    /// A word or two for pages and logs: `paused by its owner until 18:00: hours`.
    pub fn as_str(self) -> &'static str {
        match self {
            Rest::Owner => "the owner's command",
            Rest::Hours => "hours",
            Rest::Battery => "no mains power",
            Rest::InUse => "the machine is in use",
            Rest::Load => "the machine is busy with other work",
            Rest::LowDisk => "the disk is nearly full",
            Rest::Quota => "the worker's folder is full",
        }
    }
}

/// Whether the machine must not work now. `before` is what was decided last: a limit that was passed stays so until it is kept
/// by a margin, or the machine would begin and pause all the time.
pub fn pause(
    settings: &OwnerSettings,
    command: Option<OwnerPause>,
    facts: &MachineFacts,
    before: Option<Rest>,
    now: Timestamp,
) -> Option<Pause> {
    let for_now = |rest| Some(Pause { rest, until: None });
    if let Some(command) = command
        && command.until.is_none_or(|until| now < until)
    {
        return Some(Pause { rest: Rest::Owner, until: command.until });
    }
    let hours = settings.hours.at(now, &settings.zone);
    if !hours.is_open {
        return Some(Pause { rest: Rest::Hours, until: hours.until });
    }
    if settings.only_on_mains && facts.on_mains == Some(false) {
        return for_now(Rest::Battery);
    }
    if let (Some(least), Some(unused)) = (settings.only_when_idle, facts.unused_for)
        && unused < least
    {
        return for_now(Rest::InUse);
    }
    if let Some(free) = facts.free_bytes
        && free < with_margin(settings.min_free_bytes, before == Some(Rest::LowDisk))
    {
        return for_now(Rest::LowDisk);
    }
    if let (Some(most), Some(used)) = (settings.max_disk_bytes, facts.used_bytes)
        && used > if before == Some(Rest::Quota) { most / 10 * 9 } else { most }
    {
        return for_now(Rest::Quota);
    }
    if let (Some(most), Some(load)) = (settings.max_load, facts.load)
        && load > if before == Some(Rest::Load) { most / 4 * 3 } else { most }
    {
        return for_now(Rest::Load);
    }
    None
}

fn with_margin(least: u64, was_passed: bool) -> u64 {
    if was_passed { least.saturating_add(least / 10) } else { least }
}

/// What becomes of the running builds when the machine has paused for so long. A full disk or another program's load is no
/// reason to throw work away.
pub fn running_builds(pause: Option<Rest>, since: Duration, finishes_after_hours: bool) -> RunningBuilds {
    match pause {
        None | Some(Rest::Load | Rest::LowDisk | Rest::Quota) => RunningBuilds::Run,
        Some(Rest::Hours) if finishes_after_hours => RunningBuilds::Run,
        Some(Rest::Owner | Rest::Hours | Rest::Battery | Rest::InUse) if since < MAX_FREEZE => {
            RunningBuilds::Freeze
        }
        Some(Rest::Owner | Rest::Hours | Rest::Battery | Rest::InUse) => RunningBuilds::HandBack,
    }
}

/// The load average without this worker's own processes, in hundredths. `own` is their average over the same minute.
pub fn foreign_load(average: f64, own: f64) -> u32 {
    let hundredths = ((average - own).max(0.0) * 100.0).round().min(1e6);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and a million"
    )]
    {
        hundredths as u32
    }
}

/// The next value of an average over a minute, as the kernel's load average is one: `count` processes ran for `elapsed`.
pub fn minute_average(before: f64, count: f64, elapsed: Duration) -> f64 {
    let kept = (-elapsed.as_secs_f64() / 60.0).exp();
    before * kept + count * (1.0 - kept)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::*;

    fn settings() -> OwnerSettings {
        OwnerSettings {
            hours: Hours::default(),
            zone: TimeZone::UTC,
            max_load: None,
            only_on_mains: false,
            only_when_idle: None,
            min_free_bytes: 0,
            max_disk_bytes: None,
            finishes_after_hours: false,
        }
    }

    fn noon() -> Timestamp {
        "2026-03-27T12:00:00Z".parse().unwrap()
    }

    fn rest(settings: &OwnerSettings, facts: &MachineFacts, before: Option<Rest>) -> Option<Rest> {
        pause(settings, None, facts, before, noon()).map(|pause| pause.rest)
    }

    #[test]
    fn what_is_not_set_or_not_known_forbids_nothing() {
        let busy = MachineFacts {
            load: Some(9900),
            on_mains: Some(false),
            unused_for: Some(Duration::ZERO),
            free_bytes: Some(0),
            used_bytes: Some(u64::MAX),
        };
        assert_eq!(rest(&settings(), &busy, None), None);
        let strict = OwnerSettings {
            max_load: Some(0),
            only_on_mains: true,
            only_when_idle: Some(Duration::from_secs(60)),
            min_free_bytes: 1,
            max_disk_bytes: Some(0),
            ..settings()
        };
        assert_eq!(rest(&strict, &MachineFacts::default(), None), None);
        assert_eq!(rest(&strict, &busy, None), Some(Rest::Battery));
    }

    #[test]
    fn the_owners_command_ends_by_itself_or_by_another_command() {
        let at =
            |until, now| pause(&settings(), Some(OwnerPause { until }), &MachineFacts::default(), None, now);
        let two = noon() + 2.hours();
        assert_eq!(at(Some(two), noon()), Some(Pause { rest: Rest::Owner, until: Some(two) }));
        assert_eq!(at(Some(two), two), None);
        assert_eq!(at(None, two), Some(Pause { rest: Rest::Owner, until: None }));
    }

    #[test]
    fn hours_say_until_when() {
        let nights = OwnerSettings { hours: Hours::parse(&["daily 18:00-08:00"]).unwrap(), ..settings() };
        let paused = pause(&nights, None, &MachineFacts::default(), None, noon()).unwrap();
        assert_eq!(paused, Pause { rest: Rest::Hours, until: Some(noon() + 6.hours()) });
    }

    #[test]
    fn running_builds_stand_still_for_a_while_and_are_then_handed_back() {
        let after = |rest, minutes: u64| running_builds(Some(rest), Duration::from_secs(60 * minutes), false);
        assert_eq!(after(Rest::InUse, 0), RunningBuilds::Freeze);
        assert_eq!(after(Rest::InUse, 9), RunningBuilds::Freeze);
        assert_eq!(after(Rest::InUse, 10), RunningBuilds::HandBack);
        assert_eq!(after(Rest::Load, 99), RunningBuilds::Run);
        assert_eq!(running_builds(None, Duration::ZERO, false), RunningBuilds::Run);
        assert_eq!(running_builds(Some(Rest::Hours), MAX_FREEZE, true), RunningBuilds::Run);
    }

    #[test]
    fn the_own_load_does_not_count() {
        assert_eq!(foreign_load(4.5, 4.0), 50);
        assert_eq!(foreign_load(1.0, 2.0), 0);
        let mut own = 0.0;
        for _ in 0..60 {
            own = minute_average(own, 4.0, Duration::from_secs(5));
        }
        assert!((own - 4.0).abs() < 0.1, "{own}");
    }

    proptest! {
        /// Between the margin and the limit nothing changes: no load makes the machine begin and pause in turn.
        #[test]
        fn a_steady_machine_does_not_change_its_mind(load in 0..1000_u32, free in 0..2000_u64, used in 0..2000_u64) {
            let strict = OwnerSettings {
                max_load: Some(400), min_free_bytes: 1000, max_disk_bytes: Some(1000), ..settings()
            };
            let facts = MachineFacts {
                load: Some(load), free_bytes: Some(free), used_bytes: Some(used), ..MachineFacts::default()
            };
            let first = rest(&strict, &facts, None);
            prop_assert_eq!(rest(&strict, &facts, first), first);
            for before in [Rest::Load, Rest::LowDisk, Rest::Quota] {
                let then = rest(&strict, &facts, Some(before));
                prop_assert_eq!(rest(&strict, &facts, then), then);
            }
        }

        /// A worse machine is never allowed what a better one is not.
        #[test]
        fn more_load_never_permits_more(low in 0..1000_u32, more in 0..1000_u32, was in any::<bool>()) {
            let strict = OwnerSettings { max_load: Some(400), ..settings() };
            let at = |load| {
                let facts = MachineFacts { load: Some(load), ..MachineFacts::default() };
                rest(&strict, &facts, was.then_some(Rest::Load)).is_none()
            };
            prop_assert!(at(low) || !at(low + more));
        }
    }
}
