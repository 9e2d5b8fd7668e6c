//! A list gets few mails in an hour, however much breaks: then one that says so, and the rest when the hour is over.

/// How many notices a list gets in [`HOUR_MS`].
const MOST: u32 = 10;
pub const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailRate {
    Calm,
    /// Say once that there is a storm; what was to be said waits.
    Breaks,
    /// That was said: wait.
    Storm,
}

/// By what a list got in the last hour: notices, and whether it was told of a storm.
pub fn weather(notices: u32, storm_told: bool) -> MailRate {
    match (notices >= MOST, storm_told) {
        (false, _) => MailRate::Calm,
        (true, false) => MailRate::Breaks,
        (true, true) => MailRate::Storm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_notices_an_hour_and_one_of_the_storm() {
        assert_eq!(weather(0, false), MailRate::Calm);
        assert_eq!(weather(9, false), MailRate::Calm);
        assert_eq!(weather(10, false), MailRate::Breaks);
        assert_eq!(weather(10, true), MailRate::Storm);
        assert_eq!(weather(11, true), MailRate::Storm);
        assert_eq!(weather(9, true), MailRate::Calm, "the hour of the first ones is over");
    }
}
