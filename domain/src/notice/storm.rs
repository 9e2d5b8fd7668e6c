//! A list gets few mails in an hour, however much breaks: then one that says so, and the rest when the hour is over.

use std::time::Duration;

/// How many notices a list gets in [`PERIOD`].
const MAX_NOTICES: u32 = 10;
/// The time over which notices are counted.
pub const PERIOD: Duration = Duration::from_secs(3600);

/// Whether a list may get one more mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailRate {
    /// It may.
    Calm,
    /// It may not, and the one mail that says so is due.
    Breaks,
    /// It may not, and that mail was written: what is due waits.
    Storm,
}

/// By what a list got within [`PERIOD`]: notices, and whether a notice of a storm was among them.
pub fn mail_rate(notices: u32, storm_announced: bool) -> MailRate {
    match (notices >= MAX_NOTICES, storm_announced) {
        (false, _) => MailRate::Calm,
        (true, false) => MailRate::Breaks,
        (true, true) => MailRate::Storm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gets_ten_notices_an_hour_and_one_of_the_storm() {
        assert_eq!(mail_rate(0, false), MailRate::Calm);
        assert_eq!(mail_rate(9, false), MailRate::Calm);
        assert_eq!(mail_rate(10, false), MailRate::Breaks);
        assert_eq!(mail_rate(10, true), MailRate::Storm);
        assert_eq!(mail_rate(11, true), MailRate::Storm);
        assert_eq!(mail_rate(9, true), MailRate::Calm, "the hour of the first ones is over");
    }
}
