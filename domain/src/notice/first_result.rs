//! What became of a project's first build on a branch: its contacts read it in one mail, whether it works or not; and a
//! project that has never worked is one to look after.

use super::lines::{self, MailBody, first_line};
use super::mail::MailText;
use crate::outcome::{Cause, Outcome};

/// The cases that a build reported, without those of its steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Those that passed.
    pub passes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were skipped.
    pub skips: u64,
}

impl ReadCounts {
    fn all(self) -> u64 {
        self.passes + self.failures + self.skips
    }
}

/// Why a project does not work yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The farm could not run it.
    Infra,
    /// Nothing was reported.
    NothingRead,
    /// Cases were reported, and none of them passed.
    NothingPassed,
}

/// Why a build does not show that its project works; none if it does. A project works if one of its own cases passes, or if a
/// suite without cases succeeds. That some cases fail from the first build on is no obstacle.
pub fn obstacle(outcome: Outcome, counts: ReadCounts) -> Option<Obstacle> {
    match outcome {
        Outcome::Infra | Outcome::Cancelled | Outcome::Blocked => Some(Obstacle::Infra),
        Outcome::Passed | Outcome::Failed if counts.passes > 0 => None,
        Outcome::Passed if counts.all() == 0 => None,
        Outcome::Passed | Outcome::Failed => Some(match counts.all() {
            0 => Obstacle::NothingRead,
            _ => Obstacle::NothingPassed,
        }),
    }
}

/// How a build ended, as far as a mail or a page says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildEnd {
    /// Its outcome.
    pub outcome: Outcome,
    /// Why.
    pub cause: Option<Cause>,
    /// The step that decided.
    pub step: Option<String>,
    /// Its exit code, if it exited.
    pub exit: Option<i32>,
    /// What it reported.
    pub counts: ReadCounts,
}

impl BuildEnd {
    /// Why it does not work, in a clause; none if it does: `nothing was read: step test ended with exit 127`.
    pub fn obstacle(&self) -> Option<String> {
        let cause = || self.cause.map_or("no cause", Cause::as_str);
        let step = self.step.as_ref().map(|step| format!("step {step} ")).unwrap_or_default();
        let end = match self.exit {
            Some(code) => format!("{step}ended with exit {code}"),
            None => format!("{step}ended by {}", cause()),
        };
        Some(match obstacle(self.outcome, self.counts)? {
            Obstacle::Infra => format!("the farm could not run it (infra failure: {})", cause()),
            Obstacle::NothingRead => format!("no case was read: {end}"),
            Obstacle::NothingPassed if self.outcome == Outcome::Passed => {
                format!("{}: all were skipped", none_passed(self.counts.all()))
            }
            Obstacle::NothingPassed => format!("{}: {end}", none_passed(self.counts.all())),
        })
    }
}

/// A project's first build on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstResult {
    /// The project's name.
    pub project: String,
    /// The name of its trunk.
    pub trunk: String,
    /// The name of the branch.
    pub branch: String,
    /// The platform that it ran on, with the variant where that has a name.
    pub platform: String,
    /// The change that it ran with.
    pub sha: String,
    /// How it ended.
    pub end: BuildEnd,
    /// What was odd about its reports, in sentences.
    pub warnings: Vec<String>,
    /// The first line of its output that looks like an error.
    pub error: Option<String>,
    /// The page of the build.
    pub url: String,
    /// The page of the project.
    pub project_url: String,
}

/// How many warnings a mail lists.
const MAX_WARNINGS: usize = 5;

/// The one mail about a project's first build.
pub fn mail(first: &FirstResult, farm: &str) -> MailText {
    let FirstResult { project, trunk, branch, platform, .. } = first;
    let counts = first.end.counts;
    let sha: String = first.sha.chars().take(12).collect();
    let mut body = MailBody::default();
    let obstacle = first.end.obstacle();
    let result = match &obstacle {
        None if counts.all() == 0 => "its suite passed, and reported no single cases".into(),
        None => format!("{} of {} pass", counts.passes, counted(counts.all(), "case", "cases")),
        Some(obstacle) => format!("it does not work yet: {obstacle}"),
    };
    body.sentence(&format!("{project} is tested with {trunk} {branch} from now on; {result}."));
    body.blank();
    body.line(&format!("  first build: {trunk} {sha} on {platform}"));
    body.line(&format!(
        "  read: {} ({} passed, {} failed, {} skipped), {}",
        counted(counts.all(), "case", "cases"),
        counts.passes,
        counts.failures,
        counts.skips,
        counted(u64::try_from(first.warnings.len()).unwrap_or(u64::MAX), "warning", "warnings")
    ));
    body.line(&format!("  {}", first.url));
    body.blank();
    if let Some(error) = first.error.as_deref().and_then(first_line) {
        body.sentence(&format!("First error: {error}"));
    }
    for warning in first.warnings.iter().take(MAX_WARNINGS) {
        body.sentence(&format!("Warning: {warning}"));
    }
    if first.warnings.len() > MAX_WARNINGS {
        body.sentence(&format!("There are {} more warnings.", first.warnings.len() - MAX_WARNINGS));
    }
    match &obstacle {
        Some(_) => {
            body.sentence(
                "While it does not work, no change of the trunk can be accused of breaking it. Correct its file, or its \
                 recipe; its page shows the next build:",
            );
            body.line(&format!("  {}", first.project_url));
        }
        None if counts.failures > 0 => body.sentence(
            "What fails from the first build on accuses no change of the trunk, and is not mailed again.",
        ),
        None => {}
    }
    let state = if obstacle.is_some() { "does not work yet" } else { "is tested now" };
    let subject = lines::subject(&format!("[{trunk}] {project} {state} on {branch}"));
    MailText { subject, body: body.signed(farm) }
}

fn none_passed(cases: u64) -> String {
    match cases {
        1 => "its only case did not pass".into(),
        cases => format!("none of its {cases} cases passed"),
    }
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(outcome: Outcome, [passes, failures, skips]: [u64; 3], exit: Option<i32>) -> FirstResult {
        FirstResult {
            project: "say".into(),
            trunk: "lua".into(),
            branch: "master".into(),
            platform: "linux-x86_64".into(),
            sha: "abcdef0123456789".into(),
            end: BuildEnd {
                outcome,
                cause: (outcome != Outcome::Passed).then_some(Cause::Exit),
                step: (outcome == Outcome::Failed).then(|| "test".into()),
                exit,
                counts: ReadCounts { passes, failures, skips },
            },
            warnings: Vec::new(),
            error: None,
            url: "https://farm.example.org/builds/2".into(),
            project_url: "https://farm.example.org/projects/say".into(),
        }
    }

    #[test]
    fn a_project_that_works_gets_a_short_welcome() {
        let text = mail(&first(Outcome::Failed, [118, 2, 0], Some(1)), "Farm");
        assert_eq!(text.subject, "[lua] say is tested now on master");
        assert!(
            text.body.starts_with(
                "say is tested with lua master from now on; 118 of 120 cases pass.\n\n  \
                 first build: lua abcdef012345 on linux-x86_64\n  \
                 read: 120 cases (118 passed, 2 failed, 0 skipped), 0 warnings\n  \
                 https://farm.example.org/builds/2\n\n\
                 What fails from the first build on accuses no change of the trunk, and"
            ),
            "{}",
            text.body
        );
    }

    #[test]
    fn a_project_that_does_not_work_gets_what_was_read() {
        let broken = FirstResult {
            warnings: (1..=7).map(|n| format!("Warning {n}.")).collect(),
            error: Some("\n\x1b[31mlua: not found\x1b[0m\nmore".into()),
            ..first(Outcome::Failed, [0, 0, 0], Some(127))
        };
        let text = mail(&broken, "Farm");
        assert_eq!(text.subject, "[lua] say does not work yet on master");
        for part in [
            "it does not work yet: no case\nwas read: step test ended with exit 127.",
            "  read: 0 cases (0 passed, 0 failed, 0 skipped), 7 warnings\n",
            "First error: lua: not found\nWarning: Warning 1.\n",
            "Warning: Warning 5.\nThere are 2 more warnings.\n",
            "https://farm.example.org/projects/say",
        ] {
            assert!(text.body.contains(part), "{part}\n{}", text.body);
        }
    }

    proptest! {
        /// Inherited red is no obstacle: as soon as one case passes, the project works. Without a verdict it does not.
        #[test]
        fn a_project_works_exactly_if_a_case_of_its_own_passes_or_a_suite_without_cases_succeeds(
            outcome in prop::sample::select(Outcome::ALL),
            passes in 0_u64..3, failures in 0_u64..3, skips in 0_u64..3,
        ) {
            let is_verdict = matches!(outcome, Outcome::Passed | Outcome::Failed);
            let is_silent_success = outcome == Outcome::Passed && failures + skips == 0;
            let works = is_verdict && (passes > 0 || is_silent_success);
            let counts = ReadCounts { passes, failures, skips };
            prop_assert_eq!(obstacle(outcome, counts).is_none(), works);
            let text = mail(&first(outcome, [passes, failures, skips], None), "Farm");
            prop_assert_eq!(text.subject.contains("does not work yet"), !works);
            prop_assert!(text.body.lines().count() < 30);
        }
    }
}
