//! The one mail to a project's contacts that says that its fetch step fails, whatever the change.

use super::lines::{self, MailBody};
use super::mail::MailText;
use crate::sentences::FetchFailure;

/// If so many projects cannot fetch at once, their contacts are not to blame, and get no mail: the operator reads it.
const MANY: usize = 3;
/// How many lines of its output a mail has.
const MAX_LINES: usize = 8;

/// A suite that cannot fetch what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchReport {
    /// The project's name.
    pub project: String,
    /// The name of its trunk.
    pub trunk: String,
    /// The name of the branch.
    pub branch: String,
    /// The platform.
    pub platform: String,
    /// What is known of it.
    pub failure: FetchFailure,
    /// The page of the last build that could not fetch.
    pub url: String,
}

/// Whether so many projects cannot fetch that the farm's network, or one that all of them use, must be to blame.
pub fn is_common(projects: usize) -> bool {
    projects >= MANY
}

/// The mail to the contacts.
pub fn mail(report: &FetchReport, farm: &str) -> MailText {
    let FetchReport { project, trunk, branch, platform, failure, .. } = report;
    let mut body = MailBody::default();
    body.sentence(&format!(
        "{project} cannot be tested with {trunk} {branch} on {platform}: the fetch step `{}` of its recipe fails.",
        failure.step
    ));
    body.blank();
    for line in failure.lines().iter().rev().take(MAX_LINES).rev() {
        body.line(&format!("  {line}"));
    }
    body.line(&format!("  {}", report.url));
    body.blank();
    body.sentence(match failure.is_checked {
        true => {
            "A change of the trunk that was fetched before cannot be fetched any more either. So the recipe, something that \
             it fetches, or the network is to blame, and no change of the trunk is."
        }
        false => {
            "There is no change of the trunk that was fetched before, so nobody can tell whether the recipe, something \
             that it fetches, or the network is to blame. No change of the trunk is accused."
        }
    });
    body.sentence(
        "Each new change is tried, but no longer repeated. The mail goes to the contacts alone, and is not repeated either.",
    );
    let subject = lines::subject(&format!("[{trunk}] {project} cannot be fetched for its tests on {branch}"));
    MailText { subject, body: body.signed(farm) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(message: Option<String>, is_checked: bool) -> FetchReport {
        FetchReport {
            project: "twill".into(),
            trunk: "python".into(),
            branch: "main".into(),
            platform: "linux-x86_64".into(),
            failure: FetchFailure { step: "deps".into(), message, is_checked },
            url: "https://farm.example.org/builds/7".into(),
        }
    }

    #[test]
    fn the_mail_has_the_last_lines_and_accuses_no_change() {
        let text =
            mail(&report(Some("ERROR: No matching distribution found for twill".into()), true), "Farm");
        assert_eq!(text.subject, "[python] twill cannot be fetched for its tests on main");
        for part in [
            "the fetch step\n`deps` of its recipe fails.",
            "  ERROR: No matching distribution found for twill\n",
            "  https://farm.example.org/builds/7\n",
            "no change of the trunk is.",
        ] {
            assert!(text.body.contains(part), "{part}\n{}", text.body);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_step_printed_the_mail_is_bounded(
            message in prop::option::of("(?s).{0,3000}"), is_checked in any::<bool>(), projects in 0_usize..10,
        ) {
            let text = mail(&report(message, is_checked), "Farm");
            prop_assert!(text.body.lines().count() < 30 && text.subject.chars().count() <= 160);
            prop_assert_eq!(is_common(projects), projects > 2);
        }
    }
}
