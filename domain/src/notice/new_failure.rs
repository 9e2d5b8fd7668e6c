//! Cases that are new and fail from their first run on: one mail to the contacts of their project, which accuses nobody.

use std::time::Duration;

use super::lines::{self, MailBody};
use super::mail::MailText;
use super::proof::short;
use super::report::ReportedChange;
use crate::sentences::count_tests;
use crate::words::ids::Timestamp;

/// How long the mail waits for older builds, which may show that the cases are older.
const MAX_HISTORY_WAIT: Duration = Duration::from_secs(24 * 3600);
/// How many cases are listed before the rest is counted.
const MAX_CASES: usize = 8;

/// What bears on the mail about new failures that are certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFailureDates {
    /// When they were seen first.
    pub seen_at: Timestamp,
    /// When the farm first saw the change at which they were first run; for those that came with other inputs, when they
    /// were seen.
    pub change_seen_at: Timestamp,
    /// Since when a change that the farm finds is news to the builder.
    pub builder_since: Timestamp,
    /// Whether a change of the branch is not built yet.
    pub has_gaps: bool,
}

/// What becomes of the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewFailureMail {
    /// It is due.
    Due,
    /// It waits for builds that may show more.
    Waits,
    /// There is none: the change is older than the builder. It is shown.
    Old,
}

/// Decides whether the mail is due.
pub fn due(dates: &NewFailureDates, now: Timestamp) -> NewFailureMail {
    let is_old = dates.change_seen_at < dates.builder_since;
    let is_late = dates.seen_at + MAX_HISTORY_WAIT <= now;
    match (dates.has_gaps && !is_late, is_old) {
        (true, _) => NewFailureMail::Waits,
        (false, true) => NewFailureMail::Old,
        (false, false) => NewFailureMail::Due,
    }
}

/// New failures of a project on one platform that began together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFailures {
    /// The project's name.
    pub project: String,
    /// The platform's label.
    pub platform: String,
    /// The names of the cases.
    pub cases: Vec<String>,
    /// The change at which they were first run.
    pub since: ReportedChange,
    /// Whether other inputs begin there.
    pub with_inputs: bool,
    /// What one of them printed.
    pub text: Option<String>,
    /// The page of the project.
    pub url: String,
}

/// `new and failing since lua 012345678901`
pub fn since(trunk: &str, sha: &str, with_inputs: bool) -> String {
    let with = if with_inputs { " (with the inputs that begin there)" } else { "" };
    format!("new and failing since {trunk} {}{with}", short(sha))
}

/// The one mail about them.
pub fn mail(new: &NewFailures, farm: &str) -> MailText {
    let NewFailures { project, platform, cases, since: change, .. } = new;
    let mut body = MailBody::default();
    let (are, they) = if cases.len() == 1 { ("is", "It has") } else { ("are", "They have") };
    let since = since(&change.trunk, &change.sha, new.with_inputs);
    body.sentence(&format!("{} of {project} {are} {since}:", count_tests(cases.len())));
    body.blank();
    for case in cases.iter().take(MAX_CASES) {
        body.line(&format!("  {case}"));
    }
    if cases.len() > MAX_CASES {
        body.line(&format!("  and {} more", cases.len() - MAX_CASES));
    }
    if let Some(first) = new.text.as_deref().and_then(lines::first_line) {
        body.line(&format!("    {first}"));
    }
    body.line(&format!("  on {platform}"));
    body.blank();
    body.sentence(&match new.with_inputs {
        false => format!("First run with this change of {}:", change.trunk),
        true => format!("First run with inputs of {project} or of its toolchain that begin at this change:"),
    });
    body.blank();
    body.line(&format!("  {}", change.title));
    body.line(&format!("  by {}, on {}", change.author, change.branch));
    body.line(&format!("  {}", change.url));
    body.blank();
    body.sentence(&format!(
        "{they} failed from the first run on, so nothing shows that this change, or any other, broke anything: the farm accuses \
         nobody. This mail goes to the contacts alone. What is new and failing now is on the project's page:"
    ));
    body.line(&format!("  {}", new.url));
    let subject = lines::subject(&format!(
        "[{}] {project}: {} new and failing",
        change.trunk,
        count_tests(cases.len())
    ));
    MailText { subject, body: body.signed(farm) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(cases: usize, with_inputs: bool) -> NewFailures {
        NewFailures {
            project: "vec".into(),
            platform: "linux-x86_64".into(),
            cases: (1..=cases).map(|n| format!("rep > case {n}")).collect(),
            since: ReportedChange {
                trunk: "lua".into(),
                branch: "master".into(),
                sha: "a".repeat(40),
                title: "Lua 5.2".into(),
                author: "Ada".into(),
                url: "https://farm.example.org/changes/a".into(),
            },
            with_inputs,
            text: Some("\n\u{1b}[31mexpected 4\u{1b}[0m\nmore".into()),
            url: "https://farm.example.org/projects/vec".into(),
        }
    }

    #[test]
    fn the_mail_says_since_when_and_accuses_nobody() {
        let text = mail(&new(1, false), "Farm");
        assert_eq!(text.subject, "[lua] vec: 1 test new and failing");
        let words = text.body.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "1 test of vec is new and failing since lua aaaaaaaaaaaa: rep > case 1 expected 4 on linux-x86_64",
            "First run with this change of lua: Lua 5.2 by Ada, on master",
            "It has failed from the first run on",
            "the farm accuses nobody",
        ] {
            assert!(words.contains(part), "{part}\n{}", text.body);
        }
        let text = mail(&new(11, true), "Farm");
        let words = text.body.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "11 tests of vec are new and failing since lua aaaaaaaaaaaa (with the inputs that begin there):",
            "rep > case 8 and 3 more expected 4",
            "First run with inputs of vec or of its toolchain that begin at this change:",
        ] {
            assert!(words.contains(part), "{part}\n{}", text.body);
        }
    }

    proptest! {
        /// No mail is written about what was there before the builder, and each is decided within a day.
        #[test]
        fn old_history_is_shown_and_not_mailed(
            seen in 0_i64..100, change in 0_i64..100, since in 0_i64..100, has_gaps: bool, now in 0_i64..200,
        ) {
            let at = |hours: i64| Timestamp(hours * 3_600_000);
            let dates = NewFailureDates {
                seen_at: at(seen), change_seen_at: at(change), builder_since: at(since), has_gaps,
            };
            let decided = due(&dates, at(now));
            prop_assert!(decided != NewFailureMail::Due || change >= since);
            prop_assert!(decided != NewFailureMail::Waits || (has_gaps && now < seen + 24));
            prop_assert_eq!(due(&NewFailureDates { has_gaps: false, ..dates }, at(now)) == NewFailureMail::Due, change >= since);
        }
    }
}
