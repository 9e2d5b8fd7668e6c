//! The one mail to a project's contacts that says that its suite names its failures differently in each run.

use super::lines::{self, MailBody};
use super::mail::MailText;
use crate::sentences::{UNSTABLE_NAMES, case_words};

/// A suite whose failures have no stable names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnstableReport {
    /// The project's name.
    pub project: String,
    /// The name of its trunk.
    pub trunk: String,
    /// The name of the branch.
    pub branch: String,
    /// The platform.
    pub platform: String,
    /// One of the names.
    pub example: String,
    /// The page of the project.
    pub url: String,
}

/// The mail to the contacts.
pub fn mail(report: &UnstableReport, farm: &str) -> MailText {
    let UnstableReport { project, trunk, branch, platform, example, url } = report;
    let mut body = MailBody::default();
    body.sentence(&format!(
        "The failures of {project} with {trunk} {branch} on {platform} have no stable names."
    ));
    body.blank();
    body.case("", &case_words(example));
    body.line(&format!("  {url}"));
    body.blank();
    body.sentence(UNSTABLE_NAMES);
    body.sentence("No change is accused. This mail goes to the contacts alone, once.");
    let subject = lines::subject(&format!("[{trunk}] {project} names its failures differently in each run"));
    MailText { subject, body: body.signed(farm) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mail_says_what_the_page_says_and_accuses_nobody() {
        let report = UnstableReport {
            project: "wordy".into(),
            trunk: "lang".into(),
            branch: "master".into(),
            platform: "linux-x86_64".into(),
            example: "fault:line:error: cannot greet qhtk".into(),
            url: "https://farm.example.org/projects/wordy".into(),
        };
        let text = mail(&report, "Farm");
        assert_eq!(text.subject, "[lang] wordy names its failures differently in each run");
        let words = text.body.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "The failures of wordy with lang master on linux-x86_64 have no stable names. a line of its log: error: cannot \
             greet qhtk https://farm.example.org/projects/wordy",
            UNSTABLE_NAMES,
            "No change is accused.",
        ] {
            assert!(words.contains(part), "{part}\n{words}");
        }
    }
}
