//! The hours in which a machine may work: weekdays and times of day in a time zone.

use std::fmt;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

const MINUTES_A_DAY: u16 = 24 * 60;
/// The state of a week repeats itself: what does not change in this time never changes.
const HORIZON_DAYS: i32 = 9;

/// When a machine may work. Without a rule it always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hours(Vec<HoursRule>);

/// Some weekdays, from a minute to another one; past midnight, where the end is not after the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HoursRule {
    /// From Monday on: the days on which it begins.
    days: [bool; 7],
    from: u16,
    to: u16,
}

/// Whether the hours allow work at a moment, and when that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoursState {
    /// Whether they allow it.
    pub is_open: bool,
    /// Until when; none if that never changes.
    pub until: Option<Timestamp>,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Hours {
    /// Reads rules such as `mon-fri 18:00-08:00`, `sat, sun` or `daily 22:00-06:00`. An error states what is expected.
    pub fn parse<T: AsRef<str>>(rules: &[T]) -> Result<Hours, String> {
        rules.iter().map(|rule| HoursRule::parse(rule.as_ref())).collect::<Result<_, _>>().map(Hours)
    }

    /// Whether work is allowed at a moment, and until when.
    pub fn at(&self, now: Timestamp, zone: &TimeZone) -> HoursState {
        let is_open = self.is_open(now, zone);
        let mut changes = self.candidates(now, zone);
        changes.retain(|at| *at > now);
        changes.sort_unstable();
        let until = changes.into_iter().find(|at| self.is_open(*at, zone) != is_open);
        HoursState { is_open, until }
    }

    fn is_open(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = zone.to_datetime(at);
        let minute =
            u16::try_from(local.hour()).unwrap_or(0) * 60 + u16::try_from(local.minute()).unwrap_or(0);
        let day = day_index(local.weekday());
        self.0.is_empty() || self.0.iter().any(|rule| rule.includes(day, minute))
    }

    /// The moments at which the state may change: the local times of the rules, where they come twice both, and the moments at
    /// which the zone's own clock is set.
    fn candidates(&self, now: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
        let today = zone.to_datetime(now).date();
        let mut found = Vec::new();
        for offset in -1..=HORIZON_DAYS {
            let Ok(date) = today.checked_add(offset.days()) else { continue };
            for minute in self.0.iter().flat_map(|rule| [0, rule.from, rule.to]) {
                let Some(local) = local_time(date, minute) else { continue };
                let ambiguous = zone.to_ambiguous_timestamp(local);
                found.extend(ambiguous.earlier().ok());
                found.extend(ambiguous.later().ok());
            }
        }
        found.extend(zone.following(now).take(2).map(|transition| transition.timestamp()));
        found
    }
}

impl HoursRule {
    fn parse(text: &str) -> Result<HoursRule, String> {
        let expected = |what: &str| {
            format!(
                "`{text}`: {what}; expected days, and perhaps times, such as `mon-fri 18:00-08:00`, `sat,sun` or `daily 22:00-06:00`"
            )
        };
        let text = text.trim().to_ascii_lowercase();
        // The times are the last word, if that has a colon.
        let (days, times) = match text.rsplit_once(char::is_whitespace) {
            Some((days, times)) if times.contains(':') => (days.to_string(), Some(times.to_string())),
            _ if text.contains(':') => ("daily".to_string(), Some(text.clone())),
            _ => (text.clone(), None),
        };
        let days = parse_days(&days).ok_or_else(|| expected("these are no weekdays"))?;
        let (from, to) = match times {
            None => (0, MINUTES_A_DAY),
            Some(times) => parse_times(&times).ok_or_else(|| expected("these are no times of day"))?,
        };
        if from == to {
            return Err(expected("it ends when it begins, so it allows nothing"));
        }
        Ok(HoursRule { days, from, to })
    }

    fn includes(&self, day: usize, minute: u16) -> bool {
        let yesterday = (day + 6) % 7;
        if self.from < self.to {
            return self.days[day] && (self.from..self.to).contains(&minute);
        }
        (self.days[day] && minute >= self.from) || (self.days[yesterday] && minute < self.to)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let rules = self.0.iter().map(|rule| {
            let days: Vec<&str> =
                DAYS.iter().zip(rule.days).filter(|(_, is)| *is).map(|(day, _)| *day).collect();
            format!("{} {}-{}", days.join(","), time(rule.from), time(rule.to))
        });
        f.write_str(&rules.collect::<Vec<_>>().join("; "))
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let index = |name: &str| DAYS.iter().position(|day| name.len() >= 3 && is_day(name, day));
    let mut days = [false; 7];
    for part in text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('-') {
            None if part == "daily" => days = [true; 7],
            None => days[index(part)?] = true,
            Some((first, last)) => {
                let (first, last) = (index(first.trim())?, index(last.trim())?);
                // `sat-mon` passes the end of the week.
                let count = (last + 7 - first) % 7;
                (0..=count).for_each(|step| days[(first + step) % 7] = true);
            }
        }
    }
    days.contains(&true).then_some(days)
}

/// `mon` and `monday`, and what is between them.
fn is_day(name: &str, day: &str) -> bool {
    const LONG: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    LONG.iter().any(|long| long.starts_with(day) && long.starts_with(name))
}

fn parse_times(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    Some((parse_time(from)? % MINUTES_A_DAY, parse_time(to)?))
}

fn parse_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let is_short =
        |digits: &str| (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_short(hour) || minute.len() != 2 || !is_short(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= MINUTES_A_DAY).then_some(hour * 60 + minute)
}

fn local_time(date: Date, minute: u16) -> Option<DateTime> {
    let date = if minute == MINUTES_A_DAY { date.tomorrow().ok()? } else { date };
    let minute = minute % MINUTES_A_DAY;
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    Some(date.at(hour, minute, 0, 0))
}

fn day_index(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// `2026-03-27 17:59` in Berlin.
    fn local(text: &str) -> Timestamp {
        let civil: DateTime = text.replace(' ', "T").parse().unwrap();
        berlin().to_ambiguous_timestamp(civil).compatible().unwrap()
    }

    /// What holds at a local time: `open until 2026-03-28 08:00`.
    fn at(rules: &[&str], when: &str) -> String {
        let state = Hours::parse(rules).unwrap().at(local(when), &berlin());
        let word = if state.is_open { "open" } else { "closed" };
        match state.until {
            Some(until) => format!("{word} until {}", berlin().to_datetime(until).strftime("%Y-%m-%d %H:%M")),
            None => format!("{word} for ever"),
        }
    }

    #[test]
    fn nights_and_weekends() {
        let rules = ["mon-fri 18:00-08:00", "sat,sun"];
        // 27 March 2026 is a Friday.
        assert_eq!(at(&rules, "2026-03-27 17:59"), "closed until 2026-03-27 18:00");
        assert_eq!(at(&rules, "2026-03-27 18:00"), "open until 2026-03-30 00:00");
        assert_eq!(at(&rules, "2026-03-30 00:00"), "closed until 2026-03-30 18:00");
        assert_eq!(at(&rules, "2026-03-31 07:59"), "open until 2026-03-31 08:00");
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let rules = ["fri 22:00-06:00"];
        assert_eq!(at(&rules, "2026-03-27 05:00"), "closed until 2026-03-27 22:00");
        assert_eq!(at(&rules, "2026-03-28 05:00"), "open until 2026-03-28 06:00");
    }

    #[test]
    fn no_rule_and_whole_days_never_change() {
        assert_eq!(at(&[], "2026-03-27 05:00"), "open for ever");
        assert_eq!(at(&["daily"], "2026-03-27 05:00"), "open for ever");
        assert_eq!(at(&["mon-sun 00:00-24:00"], "2026-03-27 05:00"), "open for ever");
    }

    /// On 29 March 2026 the clock goes from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
    #[test]
    fn the_clock_is_set_in_the_night() {
        assert_eq!(at(&["daily 02:30-04:00"], "2026-03-29 01:59"), "closed until 2026-03-29 03:00");
        assert_eq!(at(&["daily 01:00-02:30"], "2026-03-29 01:59"), "open until 2026-03-29 03:00");
        let hours = Hours::parse(&["daily 02:00-02:30"]).unwrap();
        // The half hour comes twice.
        let mut now = local("2026-10-25 01:00");
        let mut minutes = Vec::new();
        for _ in 0..4 {
            let until = hours.at(now, &berlin()).until.unwrap();
            minutes.push(until.duration_since(now).as_mins());
            now = until;
        }
        assert_eq!(minutes, [60, 30, 30, 30]);
    }

    #[test]
    fn a_rule_that_cannot_be_read_says_what_is_expected() {
        for (rule, why) in [
            ("", "these are no weekdays"),
            ("someday", "these are no weekdays"),
            ("mo 8:00-9:00", "these are no weekdays"),
            ("mon 8-9:00", "these are no times of day"),
            ("mon 08:00-25:00", "these are no times of day"),
            ("mon 08:60-09:00", "these are no times of day"),
            ("mon 08:00", "these are no times of day"),
            ("mon 08:00-08:00", "it ends when it begins"),
        ] {
            let error = Hours::parse(&[rule]).unwrap_err();
            assert!(error.contains(why) && error.contains("`mon-fri 18:00-08:00`"), "{rule}: {error}");
        }
        let same = Hours::parse(&["Monday-Wed 8:00-9:30"]).unwrap();
        assert_eq!(same.to_string(), "mon,tue,wed 08:00-09:30");
        assert_eq!(Hours::parse(&["sat-mon"]).unwrap().to_string(), "mon,sat,sun 00:00-24:00");
        assert_eq!(Hours::parse(&["22:00-06:00"]).unwrap(), Hours::parse(&["daily 22:00-06:00"]).unwrap());
    }

    fn rule() -> impl Strategy<Value = String> {
        let time =
            |hours: u16| (0..hours, 0..12_u16).prop_map(|(hour, five)| format!("{hour:02}:{:02}", five * 5));
        let days = proptest::sample::subsequence(DAYS.to_vec(), 1..=7).prop_map(|days| days.join(","));
        (days, time(24), time(24)).prop_filter_map("not empty", |(days, from, to)| {
            (from != to).then(|| format!("{days} {from}-{to}"))
        })
    }

    proptest! {
        /// `until` is exact: nothing changes before it, and it changes there; also where the clock is set.
        #[test]
        fn the_state_changes_at_its_end_and_not_before(
            rules in proptest::collection::vec(rule(), 1..3),
            start in prop_oneof![Just("2026-03-27 12:00"), Just("2026-10-23 12:00"), Just("2026-06-01 00:00")],
            minutes in 0..(4 * 24 * 60_i64),
        ) {
            let hours = Hours::parse(&rules).unwrap();
            let now = local(start) + minutes.minutes();
            let state = hours.at(now, &berlin());
            prop_assert_eq!(state.is_open, hours.is_open(now, &berlin()));
            let end = state.until.unwrap_or(now + (24 * 8).hours());
            let mut at = now;
            while at < end {
                prop_assert_eq!(hours.is_open(at, &berlin()), state.is_open, "{} at {}", hours, at);
                at += 5.minutes();
            }
            if let Some(until) = state.until {
                prop_assert_ne!(hours.is_open(until, &berlin()), state.is_open);
            }
        }

        #[test]
        fn no_rule_is_read_in_a_panic(text in "[a-z0-9:, -]{0,24}") {
            let _ = Hours::parse(&[text]);
        }
    }
}
