//! The words of the farm's mail: plain text, 72 columns, the news in the first lines.

mod storm;

pub use storm::{HOUR_MS, MailRate, weather};

use crate::breakage::dependency::FiledUnder;

/// A breakage as a notice tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedBreakage {
    /// The project's name; none when it is the toolchain itself that does not build.
    pub project: Option<String>,
    pub platform: String,
    /// Cases that fail.
    pub cases: Vec<String>,
    /// Cases that are not run any more.
    pub lost: Vec<String>,
    /// The first words of what a failing case said.
    pub text: Option<String>,
    /// The dependency that it is filed under.
    pub filed: Option<FiledUnder>,
    pub url: String,
}

/// The change that a thread is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedChange {
    pub trunk: String,
    pub branch: String,
    pub sha: String,
    pub title: String,
    pub author: String,
    pub url: String,
}

/// What a search says of its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The neighbour below the culprit, seen to pass.
    pub parent: String,
    pub runs: usize,
    /// How many changes cannot be told apart from the culprit, itself included: 1 when it is alone.
    pub suspects: usize,
    pub one_machine: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailText {
    pub subject: String,
    pub body: String,
}

/// How many cases of a breakage are listed before the rest is counted.
const CASES_SHOWN: usize = 8;
const COLUMNS: usize = 72;

/// A culprit was found, and this is everything that it broke.
pub fn named(change: &ReportedChange, proof: &Proof, broken: &[ReportedBreakage], farm: &str) -> MailText {
    let mut body = Text::default();
    match proof.suspects {
        1 => body.say(&format!("{} {}:", short(change), deed(broken))),
        k => body.say(&format!(
            "One of the {k} changes up to {} {} (the others could not be built):",
            short(change),
            deed(broken)
        )),
    }
    about(&mut body, change);
    list(&mut body, broken);
    let machine = if proof.one_machine { ", all of it seen on one machine" } else { "" };
    let (before, since) = match broken.iter().all(|b| b.cases.is_empty()) {
        true => ("are run", "are not"),
        false => ("pass", "fail"),
    };
    body.say(&format!(
        "Proof: the same tests {before} with {} and {since} with {}, three times each on one worker; {} runs{machine}.",
        &proof.parent[..proof.parent.len().min(12)],
        &change.sha[..12],
        proof.runs
    ));
    MailText { subject: subject(change, broken), body: body.signed(farm) }
}

/// The culprit of an earlier notice turned out to break more.
pub fn spread(change: &ReportedChange, broken: &[ReportedBreakage], farm: &str) -> MailText {
    let mut body = Text::default();
    body.say(&format!("{} also {}:", short(change), deed(broken)));
    about(&mut body, change);
    list(&mut body, broken);
    MailText { subject: format!("Re: {}", subject(change, broken)), body: body.signed(farm) }
}

/// How much is known of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairReport {
    By,
    /// Changes before it have not been built.
    AtTheLatestBy,
    /// The project has adapted; the change that it was seen on did nothing for it.
    ByItself,
}

/// Everything that a culprit broke is good again.
pub fn fixed(
    change: &ReportedChange,
    fixer: &ReportedChange,
    repair: RepairReport,
    broken: &[ReportedBreakage],
    farm: &str,
) -> MailText {
    let mut body = Text::default();
    body.say(&format!("What {} broke is repaired: {}.", short(change), names(broken).join(", ")));
    body.blank();
    body.say(match repair {
        RepairReport::By => "Repaired by:",
        RepairReport::AtTheLatestBy => "Repaired at the latest by (changes before it have not been built):",
        RepairReport::ByItself => "Repaired by the project itself; first seen on:",
    });
    about(&mut body, fixer);
    list(&mut body, broken);
    MailText { subject: format!("Re: {}", subject(change, broken)), body: body.signed(farm) }
}

/// What a project's own new side broke, for its contacts alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputsReport {
    pub project: String,
    pub trunk: String,
    /// The change that both sides were run on.
    pub sha: String,
    /// What the new side has that the old one had not, in words.
    pub differs: Vec<String>,
    pub broken: ReportedBreakage,
}

pub fn own(own: &InputsReport, farm: &str) -> MailText {
    let mut body = Text::default();
    let (project, trunk, sha) = (&own.project, &own.trunk, &own.sha[..own.sha.len().min(12)]);
    let broken = std::slice::from_ref(&own.broken);
    body.say(&format!("{project} {}, not {trunk}:", deed(broken)));
    body.blank();
    for differs in &own.differs {
        body.line(&format!("  {differs}"));
    }
    body.blank();
    list(&mut body, broken);
    body.say(&format!(
        "Proof: on {trunk} {sha}, which did not change, the same tests pass before and fail after this, twice each."
    ));
    body.say(
        "The farm goes on with what it had until a later revision is no worse, for 14 days at most. \
         Nobody else was told.",
    );
    let what = own.differs.first().map_or("", String::as_str);
    let count = own.broken.cases.len() + own.broken.lost.len();
    let subject = format!("[{trunk}] {project} broke {} itself: {what}", tests(count));
    let subject = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect();
    MailText { subject, body: body.signed(farm) }
}

fn tests(count: usize) -> String {
    match count {
        1 => "1 test".to_string(),
        more => format!("{more} tests"),
    }
}

/// What the farm knows today of breakages of which it has named the wrong culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correction {
    /// Another change did it.
    Culprit(ReportedChange),
    /// They come and go by themselves.
    Flaky,
    /// The machines differ, not the trunk.
    Environment,
    /// Nobody knows.
    Unknown,
}

/// Later evidence disagrees with what a thread said.
pub fn correction(
    change: &ReportedChange,
    instead: &Correction,
    broken: &[ReportedBreakage],
    farm: &str,
) -> MailText {
    let mut body = Text::default();
    let found = match instead {
        Correction::Culprit(other) => format!("{} did", short(other)),
        Correction::Flaky => {
            "the tests fail now and then on identical inputs, and no change is accused".to_string()
        }
        Correction::Environment => "they fail without any change, and no change is accused".to_string(),
        Correction::Unknown => "what did is not known".to_string(),
    };
    body.say(&format!(
        "Correction: later runs disagree. {} did not break {}; {found}. The farm is sorry for the noise.",
        short(change),
        names(broken).join(", ")
    ));
    about(&mut body, change);
    if let Correction::Culprit(other) = instead {
        body.line("Named instead:");
        about(&mut body, other);
    }
    list(&mut body, broken);
    MailText { subject: format!("Re: {}", subject(change, broken)), body: body.signed(farm) }
}

/// More culprits were found in an hour than a list wants mail of.
pub fn storm(trunk: &str, url: &str, farm: &str) -> MailText {
    let mut body = Text::default();
    body.say("More changes were named in this hour than this list gets mail of. All of them are here:");
    body.blank();
    body.line(&format!("  {url}/breakages"));
    body.blank();
    body.say("The mails that wait come when the hour is over.");
    MailText { subject: format!("[{trunk}] many changes break many projects"), body: body.signed(farm) }
}

fn subject(change: &ReportedChange, broken: &[ReportedBreakage]) -> String {
    let what = names(broken).join(", ");
    let did = match broken.iter().all(|b| b.cases.is_empty()) {
        true => "stopped tests of",
        false => "broke",
    };
    let subject = format!("[{}] {} {did} {what}: {}", change.trunk, &change.sha[..12], change.title);
    subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect()
}

fn short(change: &ReportedChange) -> String {
    format!("{} {}", change.trunk, &change.sha[..12])
}

fn names(broken: &[ReportedBreakage]) -> Vec<String> {
    let mut names: Vec<String> = broken
        .iter()
        .map(|b| b.project.clone().unwrap_or_else(|| format!("the build on {}", b.platform)))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// `broke 2 tests of vec`, `stopped 40 tests of vec from being run`, `broke 1 test of vec and stopped 40 from being run`
fn deed(broken: &[ReportedBreakage]) -> String {
    let bad: usize = broken.iter().map(|b| b.cases.len()).sum();
    let lost: usize = broken.iter().map(|b| b.lost.len()).sum();
    let whose = names(broken).join(", ");
    match (bad, lost) {
        (bad, 0) => format!("broke {} of {whose}", tests(bad)),
        (0, lost) => format!("stopped {} of {whose} from being run", tests(lost)),
        (bad, lost) => format!("broke {} of {whose} and stopped {lost} from being run", tests(bad)),
    }
}

fn about(body: &mut Text, change: &ReportedChange) {
    body.blank();
    body.line(&format!("  {}", change.title));
    body.line(&format!("  by {}, on {}", change.author, change.branch));
    body.line(&format!("  {}", change.url));
    body.blank();
}

fn list(body: &mut Text, broken: &[ReportedBreakage]) {
    for breakage in broken {
        let project = breakage.project.as_deref().unwrap_or("toolchain");
        body.line(&format!("{project} on {}", breakage.platform));
        let filed = breakage.filed.as_ref().map(FiledUnder::words).unwrap_or_default();
        for line in filed.split_inclusive(": ") {
            body.line(&format!("  {line}"));
        }
        for (cases, state) in [(&breakage.cases, ""), (&breakage.lost, " (not run)")] {
            for case in cases.iter().take(CASES_SHOWN) {
                body.line(&format!("  {case}{state}"));
            }
            if cases.len() > CASES_SHOWN {
                body.line(&format!("  and {} more{state}", cases.len() - CASES_SHOWN));
            }
        }
        if let Some(first) =
            breakage.text.as_deref().and_then(|text| text.lines().find(|l| !l.trim().is_empty()))
        {
            body.line(&format!("    {}", first.trim()));
        }
        body.line(&format!("  {}", breakage.url));
        body.blank();
    }
}

/// Lines of a mail: sentences are folded at 72 columns, facts stand on lines of their own and are cut, not folded.
#[derive(Default)]
struct Text(String);

impl Text {
    fn say(&mut self, sentence: &str) {
        let mut width = 0;
        for word in sentence.split_whitespace() {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > COLUMNS {
                self.0.push('\n');
                width = 0;
            } else if width > 0 {
                self.0.push(' ');
                width += 1;
            }
            self.0.push_str(word);
            width += length;
        }
        self.0.push('\n');
    }

    fn line(&mut self, fact: &str) {
        let printable = fact.chars().map(|c| if c.is_control() { ' ' } else { c });
        // A URL that is cut leads nowhere, so a line with one keeps its length.
        let line: String =
            if fact.contains("://") { printable.collect() } else { printable.take(COLUMNS).collect() };
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn signed(mut self, farm: &str) -> String {
        self.blank();
        self.0.push_str("-- \n");
        self.line(farm);
        self.say(
            "You get this because you are on its list or a contact of a project named above. \
             One mail a culprit, one reply when it is repaired.",
        );
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(sha: &str, title: &str) -> ReportedChange {
        ReportedChange {
            trunk: "lua".into(),
            branch: "master".into(),
            sha: sha.repeat(40),
            title: title.into(),
            author: "Ada".into(),
            url: format!("https://farm.example.org/changes/{}", sha.repeat(40)),
        }
    }

    fn broken(project: Option<&str>, cases: usize) -> ReportedBreakage {
        ReportedBreakage {
            project: project.map(str::to_string),
            platform: "linux-x86_64".into(),
            cases: (1..=cases).map(|n| format!("rep > case {n}")).collect(),
            lost: vec![],
            text: Some("\n  attempt to call a nil value\u{1b}[0m (global 'unpack')\nmore".into()),
            filed: None,
            url: "https://farm.example.org/breakages/3".into(),
        }
    }

    fn proof(suspects: usize) -> Proof {
        Proof { parent: "b".repeat(40), runs: 13, suspects, one_machine: false }
    }

    #[test]
    fn the_first_lines_say_what_broke_what() {
        let letter = named(&change("a", "Lua 5.2"), &proof(1), &[broken(Some("vec"), 2)], "Canaries");
        insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
    }

    #[test]
    fn suspects_that_cannot_be_told_apart_are_counted() {
        let letter = named(&change("a", "Lua 5.2"), &proof(3), &[broken(None, 1)], "Canaries");
        insta::assert_snapshot!(letter.body);
    }

    #[test]
    fn tests_that_are_not_run_any_more_are_told_as_such() {
        let skipped = |bad| {
            let lost = (1..=20).map(|n| format!("spec > case {n}")).collect();
            ReportedBreakage { lost, text: None, ..broken(Some("vec"), bad) }
        };
        let letter = named(&change("a", "Lua 5.2"), &proof(1), &[skipped(0)], "Canaries");
        insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
        let letter = named(&change("a", "Lua 5.2"), &proof(1), &[skipped(1)], "Canaries");
        assert!(letter.subject.contains("broke vec"), "{}", letter.subject);
        let body = letter.body.replace('\n', " ");
        assert!(body.contains("broke 1 test of vec and stopped 20 from being run:"), "{body}");
    }

    #[test]
    fn a_repair_names_who_did_it() {
        let fixer = change("c", "Repair string.rep");
        let letter =
            fixed(&change("a", "Lua 5.2"), &fixer, RepairReport::By, &[broken(Some("vec"), 1)], "Canaries");
        insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
    }

    #[test]
    fn a_correction_says_who_it_was_instead_or_that_nobody_is_accused() {
        let instead = Correction::Culprit(change("b", "Lua 5.3"));
        let letter = correction(&change("a", "Lua 5.2"), &instead, &[broken(Some("vec"), 1)], "Canaries");
        insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.body));
        for (instead, expected) in [
            (Correction::Flaky, "the tests fail now and then on identical inputs, and no change is accused."),
            (Correction::Environment, "they fail without any change, and no change is accused."),
            (Correction::Unknown, "what did is not known."),
        ] {
            let letter = correction(&change("a", "Lua 5.2"), &instead, &[broken(Some("vec"), 1)], "Canaries");
            assert!(letter.body.replace('\n', " ").contains(expected), "{}", letter.body);
        }
    }

    #[test]
    fn a_storm_is_told_in_a_few_lines() {
        let letter = storm("lua", "https://farm.example.org", "Canaries");
        assert_eq!(letter.subject, "[lua] many changes break many projects");
        assert!(letter.body.contains("\n  https://farm.example.org/breakages\n"), "{}", letter.body);
    }

    #[test]
    fn nobody_outside_can_break_a_header_or_a_line() {
        let hostile = change("a", "title\r\nBcc: everyone@example.org\u{1b}[2J");
        let letter = named(&hostile, &proof(1), &[broken(Some("vec"), 20)], "Canaries");
        assert!(!letter.subject.contains(['\r', '\n', '\u{1b}']));
        assert!(!letter.body.contains("\nBcc:"));
        assert!(letter.body.contains("  and 12 more"));
        let long = letter.body.lines().filter(|l| !l.contains("://")).any(|l| l.chars().count() > COLUMNS);
        assert!(!long);
    }
}
