//! What the owner of a worker hears by mail, and nobody else: that it is away, and that its program is old.

use std::time::Duration;

use crate::notice::mail::MailText;

const HOUR: Duration = Duration::from_secs(3600);
/// After each of these times of absence, the owner gets one mail.
pub const ABSENCES: [Duration; 3] =
    [HOUR.saturating_mul(24), HOUR.saturating_mul(3 * 24), HOUR.saturating_mul(14 * 24)];

/// How many mails an absence is worth. Only the newest of those that are due is sent.
pub fn mails_due(absent: Duration) -> u32 {
    u32::try_from(ABSENCES.iter().filter(|limit| absent >= **limit).count()).unwrap_or(0)
}

/// The mail about an absence, the first, second or third.
pub fn absent(worker: &str, number: u32, farm: &str, url: &str) -> MailText {
    let long = match number {
        0 | 1 => "a day",
        2 => "three days",
        _ => "two weeks",
    };
    let last = if number >= 3 { "This is the last mail about it.\n\n" } else { "" };
    MailText {
        subject: format!("{worker} has been away from {farm} for {long}"),
        body: format!(
            "Your machine {worker} has not been connected to {farm} for {long}. Time\n\
             in which the farm itself was down does not count.\n\n\
             On the machine, `farm-worker doctor` says what is wrong. If it is only to\n\
             rest, `farm-worker pause` says so to the farm, and no mail follows.\n\
             `farm-worker leave` makes the farm forget it.\n\n\
             {last}{url}/workers/{worker}\n\n-- \n{farm}\n"
        ),
    }
}

/// The mail about an old program.
pub fn outdated(worker: &str, version: &str, current: &str, farm: &str, url: &str) -> MailText {
    MailText {
        subject: format!("The worker on {worker} is older than {farm}"),
        body: format!(
            "Your machine {worker} runs farm-worker {version}, and {farm} runs\n\
             {current}. It still works. Please install the farm-worker of the farm's\n\
             version when you can.\n\n{url}/workers/{worker}\n\n-- \n{farm}\n"
        ),
    }
}

/// Whether one version of the program is older than another; a version that cannot be read is not called old.
pub fn is_older(version: &str, current: &str) -> bool {
    let parts = |text: &str| {
        let numbers = text.split(['-', '+']).next()?.split('.').map(|part| part.parse::<u32>().ok());
        numbers.collect::<Option<Vec<u32>>>()
    };
    matches!((parts(version), parts(current)), (Some(old), Some(new)) if old < new)
}

/// The name and the address of an owner, from `Name <address>` or from both apart. An error says what is expected.
pub fn owner(text: &str, mail: Option<&str>) -> Result<(String, Option<String>), String> {
    let (name, within) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), Some(address.trim())),
        None => (text.trim(), None),
    };
    if name.is_empty() || name.chars().any(char::is_control) || name.chars().count() > 100 {
        return Err("an owner has a name of 1 to 100 characters, such as --owner \"Ada Lund\"".to_string());
    }
    let address = mail.or(within).map(str::to_string);
    match &address {
        Some(address) if !is_address(address) => {
            Err(format!("`{}` is not a mail address: expected NAME@HOST", address.escape_debug()))
        }
        Some(_) | None => Ok((name.to_string(), address)),
    }
}

fn is_address(text: &str) -> bool {
    let is_plain =
        text.len() <= 254 && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>(),;:\\\"[]".contains(&b));
    let parts = text.split_once('@');
    is_plain
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.contains("..")
        && !text.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_worth_three_mails_in_all() {
        let days = |days: u32| mails_due(HOUR * 24 * days);
        assert_eq!(
            [days(0), days(1), days(2), days(3), days(13), days(14), days(400)],
            [0, 1, 1, 2, 2, 3, 3]
        );
        assert_eq!(mails_due(HOUR * 23), 0);
    }

    #[test]
    fn mails_are_plain_and_short() {
        for number in 1..=3 {
            let MailText { subject, body } = absent("attic", number, "Lua farm", "https://farm.example.org");
            assert!(subject.contains("attic") && body.contains("https://farm.example.org/workers/attic"));
            assert!(body.lines().all(|line| line.chars().count() <= 76), "{body}");
            assert_eq!(body.contains("last mail"), number == 3);
        }
        let text = outdated("attic", "0.1.0", "0.2.0", "Lua farm", "https://f");
        assert!(text.body.contains("runs farm-worker 0.1.0"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_older("0.9.0", "0.10.0") && is_older("0.1.0", "0.1.1"));
        assert!(!is_older("0.2.0", "0.1.9") && !is_older("0.1.0", "0.1.0"));
        assert!(!is_older("", "0.1.0") && !is_older("git", "0.1.0"));
    }

    #[test]
    fn an_owner_has_a_name_and_perhaps_an_address() {
        let read = |text: &str, mail| owner(text, mail);
        assert_eq!(read("Ada Lund", None), Ok(("Ada Lund".into(), None)));
        assert_eq!(read("Ada <ada@example.org>", None), Ok(("Ada".into(), Some("ada@example.org".into()))));
        assert_eq!(read("Ada", Some("a@b.org")), Ok(("Ada".into(), Some("a@b.org".into()))));
        for bad in ["ada", "@b", "a@", "a@b@c", "a b@c", "a@b\r\nBcc: x@y", "a@b..c"] {
            assert!(read("Ada", Some(bad)).is_err(), "{bad}");
        }
        for bad in ["", "  ", "<a@b.org>", "a\nb"] {
            assert!(read(bad, None).is_err(), "{bad:?}");
        }
    }
}
