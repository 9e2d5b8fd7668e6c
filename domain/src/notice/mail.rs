//! The texts of the farm's mails: plain text, 72 columns, the news in the first lines.

use super::lines::{self, MailBody, first_line};
use super::proof::{proof, short};
use super::report::{ReportedBreakage, ReportedChange};
use crate::breakage::dependency::FiledUnder;

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailText {
    /// Its subject.
    pub subject: String,
    /// Its body.
    pub body: String,
}

/// How many cases of a breakage are listed before the rest is counted.
const MAX_CASES: usize = 8;

/// A culprit was found, and this is everything that it broke. `suspects` counts the changes that cannot be distinguished
/// from the culprit, itself included: 1 when it is alone.
pub fn named(
    change: &ReportedChange,
    suspects: usize,
    breakages: &[ReportedBreakage],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    match suspects {
        0 | 1 => body.sentence(&format!("{} {}:", commit(change), deed(breakages))),
        k => body.sentence(&format!(
            "One of the {k} changes up to {} {} (no run tells which):",
            commit(change),
            deed(breakages)
        )),
    }
    describe(&mut body, change);
    list(&mut body, breakages);
    for sentence in proof(&change.sha, breakages) {
        body.sentence(&sentence);
    }
    MailText { subject: subject(change, breakages), body: body.signed(farm) }
}

/// The culprit of an earlier mail turned out to break more.
pub fn spread(change: &ReportedChange, breakages: &[ReportedBreakage], farm: &str) -> MailText {
    let mut body = MailBody::default();
    body.sentence(&format!("{} also {}:", commit(change), deed(breakages)));
    describe(&mut body, change);
    list(&mut body, breakages);
    for sentence in proof(&change.sha, breakages) {
        body.sentence(&sentence);
    }
    MailText { subject: reply(change, breakages), body: body.signed(farm) }
}

/// How much is known of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairReport {
    /// This change repaired it.
    By,
    /// Changes before it have not been built.
    AtTheLatestBy,
    /// The project has adapted; the change that this was seen on has nothing to do with it.
    ByItself,
}

/// Everything that a culprit broke is good again.
pub fn fixed(
    change: &ReportedChange,
    fixer: &ReportedChange,
    repair: RepairReport,
    breakages: &[ReportedBreakage],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    body.sentence(&format!("What {} broke is repaired: {}.", commit(change), names(breakages).join(", ")));
    body.blank();
    body.sentence(match repair {
        RepairReport::By => "Repaired by:",
        RepairReport::AtTheLatestBy => "Repaired at the latest by (changes before it have not been built):",
        RepairReport::ByItself => "Repaired by the project itself; first seen on:",
    });
    describe(&mut body, fixer);
    list(&mut body, breakages);
    MailText { subject: reply(change, breakages), body: body.signed(farm) }
}

/// What a project's own new inputs broke, for its contacts alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputsReport {
    /// The project's name.
    pub project: String,
    /// The name of its trunk.
    pub trunk: String,
    /// The change that both versions were run on.
    pub sha: String,
    /// How the new inputs differ from the old ones, in words.
    pub differs: Vec<String>,
    /// What broke, with the runs of the old inputs and of the new ones.
    pub broken: ReportedBreakage,
}

/// A project's new inputs made tests worse on a change of the trunk that stayed as it was.
pub fn own_inputs(own: &InputsReport, farm: &str) -> MailText {
    let mut body = MailBody::default();
    let (project, trunk, sha) = (&own.project, &own.trunk, short(&own.sha));
    let broken = std::slice::from_ref(&own.broken);
    body.sentence(&format!("{project} {}, not {trunk}:", deed(broken)));
    body.blank();
    for differs in &own.differs {
        body.line(&format!("  {differs}"));
    }
    body.blank();
    list(&mut body, broken);
    body.sentence(&format!(
        "Proof: on {trunk} {sha}, which did not change, the same tests pass before and fail after this."
    ));
    // The runs are those of one change, so the parent has nothing to say here.
    for sentence in proof(&own.sha, &[ReportedBreakage { parent: None, ..own.broken.clone() }]) {
        body.sentence(&sentence);
    }
    body.sentence(
        "The farm keeps to the old inputs until a later revision is no worse, for 14 days at most. \
         The mail goes to the contacts alone.",
    );
    let what = own.differs.first().map_or("", String::as_str);
    let count = own.broken.cases.len() + own.broken.lost.len();
    let subject = lines::subject(&format!("[{trunk}] {project} broke {} itself: {what}", tests(count)));
    MailText { subject, body: body.signed(farm) }
}

/// What the farm knows now of breakages for which it has named the wrong culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correction {
    /// Another change is the culprit.
    Culprit(ReportedChange),
    /// The tests are flaky.
    Flaky,
    /// The machines differ, not the trunk.
    Environment,
    /// The culprit is not known.
    Unknown,
}

/// Later evidence disagrees with what a thread reported.
pub fn correction(
    change: &ReportedChange,
    instead: &Correction,
    breakages: &[ReportedBreakage],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    let found = match instead {
        Correction::Culprit(other) => format!("{} did", commit(other)),
        Correction::Flaky => {
            "the tests fail now and then on identical inputs, and no change is accused".to_string()
        }
        Correction::Environment => "they fail without any change, and no change is accused".to_string(),
        Correction::Unknown => "the culprit is not known".to_string(),
    };
    body.sentence(&format!(
        "Correction: later runs disagree. {} did not break {}; {found}. We apologize for the noise.",
        commit(change),
        names(breakages).join(", ")
    ));
    describe(&mut body, change);
    if let Correction::Culprit(other) = instead {
        body.line("The culprit is now:");
        describe(&mut body, other);
    }
    list(&mut body, breakages);
    MailText { subject: reply(change, breakages), body: body.signed(farm) }
}

/// More culprits were found in an hour than a list wants mail about.
pub fn storm(trunk: &str, url: &str, farm: &str) -> MailText {
    let mut body = MailBody::default();
    body.sentence(
        "More culprits were found in this hour than this list gets mail about. All of them are here:",
    );
    body.blank();
    body.line(&format!("  {url}/breakages"));
    body.blank();
    body.sentence("The other mails follow when the hour is over.");
    MailText { subject: format!("[{trunk}] many changes break many projects"), body: body.signed(farm) }
}

fn reply(change: &ReportedChange, breakages: &[ReportedBreakage]) -> String {
    format!("Re: {}", subject(change, breakages))
}

fn subject(change: &ReportedChange, breakages: &[ReportedBreakage]) -> String {
    let what = names(breakages).join(", ");
    let did = match breakages.iter().all(|b| b.cases.is_empty()) {
        true => "stopped tests of",
        false => "broke",
    };
    lines::subject(&format!("[{}] {} {did} {what}: {}", change.trunk, short(&change.sha), change.title))
}

fn commit(change: &ReportedChange) -> String {
    format!("{} {}", change.trunk, short(&change.sha))
}

fn names(breakages: &[ReportedBreakage]) -> Vec<String> {
    let mut names: Vec<String> = breakages
        .iter()
        .map(|b| b.project.clone().unwrap_or_else(|| format!("the build on {}", b.platform)))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn tests(count: usize) -> String {
    match count {
        1 => "1 test".to_string(),
        more => format!("{more} tests"),
    }
}

/// `broke 2 tests of vec`, `stopped 40 tests of vec from being run`, `broke 1 test of vec and stopped 40 from being run`
fn deed(breakages: &[ReportedBreakage]) -> String {
    let failing: usize = breakages.iter().map(|b| b.cases.len()).sum();
    let lost: usize = breakages.iter().map(|b| b.lost.len()).sum();
    let names = names(breakages).join(", ");
    match (failing, lost) {
        (failing, 0) => format!("broke {} of {names}", tests(failing)),
        (0, lost) => format!("stopped {} of {names} from being run", tests(lost)),
        (failing, lost) => {
            format!("broke {} of {names} and stopped {lost} from being run", tests(failing))
        }
    }
}

fn describe(body: &mut MailBody, change: &ReportedChange) {
    body.blank();
    body.line(&format!("  {}", change.title));
    body.line(&format!("  by {}, on {}", change.author, change.branch));
    body.line(&format!("  {}", change.url));
    body.blank();
}

fn list(body: &mut MailBody, breakages: &[ReportedBreakage]) {
    for breakage in breakages {
        let project = breakage.project.as_deref().unwrap_or("toolchain");
        body.line(&format!("{project} on {}", breakage.platform));
        let filed = breakage.filed.as_ref().map(FiledUnder::sentence).unwrap_or_default();
        for line in filed.split_inclusive(": ") {
            body.line(&format!("  {line}"));
        }
        for (cases, state) in [(&breakage.cases, ""), (&breakage.lost, " (not run)")] {
            for case in cases.iter().take(MAX_CASES) {
                body.line(&format!("  {case}{state}"));
            }
            if cases.len() > MAX_CASES {
                body.line(&format!("  and {} more{state}", cases.len() - MAX_CASES));
            }
        }
        if let Some(first) = breakage.text.as_deref().and_then(first_line) {
            body.line(&format!("    {first}"));
        }
        body.line(&format!("  {}", breakage.url));
        body.blank();
    }
}
