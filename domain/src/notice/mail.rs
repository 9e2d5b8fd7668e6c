//! The texts of the farm's mails: plain text, 72 columns, the news in the first lines.

use super::lines::{self, MailBody, first_line};
use super::proof::{proof, short};
use super::report::{ReportedBreakage, ReportedChange, broken};
use crate::breakage::dependency::FiledUnder;
use crate::sentences::{Blame, RepairClaim, capitalized, case_words, count_tests};

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

/// A culprit was found, and this is everything that it broke.
/// `old` are the names of what it broke before the farm tested them.
pub fn named(
    change: &ReportedChange,
    breakages: &[ReportedBreakage],
    old: &[String],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    claim(&mut body, change, breakages, "");
    mention_old(&mut body, old);
    MailText { subject: subject(change, breakages), body: body.signed(farm) }
}

/// The culprit of an earlier mail turned out to break more.
pub fn spread(
    change: &ReportedChange,
    breakages: &[ReportedBreakage],
    old: &[String],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    claim(&mut body, change, breakages, "also ");
    mention_old(&mut body, old);
    MailText { subject: reply(change, breakages), body: body.signed(farm) }
}

fn mention_old(body: &mut MailBody, old: &[String]) {
    if !old.is_empty() {
        body.sentence(&format!("It broke {} as well, which the farm tests only since then.", old.join(", ")));
    }
}

/// What old changes broke in a project that the farm began to test after them, and what is still broken: for its contacts
/// alone.
pub fn backlog(project: &str, broken_by: &[(ReportedChange, Vec<ReportedBreakage>)], farm: &str) -> MailText {
    let mut body = MailBody::default();
    body.sentence(&format!(
        "{project} is broken by changes that are older than its first build on the branches and platforms below. This is what \
         its history there shows:"
    ));
    body.blank();
    for (change, breakages) in broken_by {
        claim(&mut body, change, breakages, "");
        body.blank();
    }
    body.sentence(
        "What was broken and is good again is on the farm's pages. This mail goes to the contacts alone; new changes are \
         reported as they come.",
    );
    let trunk = broken_by.first().map_or("", |(change, _)| change.trunk.as_str());
    let changes = match broken_by.len() {
        1 => "a change that is older than its first build".to_string(),
        n => format!("{n} changes that are older than its first build"),
    };
    let subject = lines::subject(&format!("[{trunk}] {project} is broken by {changes}"));
    MailText { subject, body: body.signed(farm) }
}

/// What a change broke, what it is, and the proof.
fn claim(body: &mut MailBody, change: &ReportedChange, breakages: &[ReportedBreakage], also: &str) {
    let groups = by_blame(breakages);
    for (at, (blame, group)) in groups.iter().enumerate() {
        let unsure = if *blame == Blame::Named { "" } else { " (no run tells which)" };
        let end = if at + 1 == groups.len() { ":" } else { "." };
        let what = format!("{} {also}{}{unsure}{end}", blamed(*blame, change), broken(group).deed());
        body.sentence(&blame.at_the_start(&what));
    }
    describe(body, change);
    list(body, breakages);
    for sentence in proof(&change.sha, breakages) {
        body.sentence(&sentence);
    }
}

/// The change that repaired some breakages, and how far that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// By one change, by one of several, or by the project itself.
    pub repair: RepairClaim,
    /// The first good change.
    pub fixer: ReportedChange,
    /// The names of what it repaired.
    pub names: Vec<String>,
}

/// Everything that a culprit broke is good again.
pub fn fixed(
    change: &ReportedChange,
    repairs: &[RepairReport],
    breakages: &[ReportedBreakage],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    is_repaired(&mut body, change, breakages);
    list_repairs(&mut body, repairs);
    list(&mut body, breakages);
    MailText { subject: reply(change, breakages), body: body.signed(farm) }
}

fn is_repaired(body: &mut MailBody, change: &ReportedChange, breakages: &[ReportedBreakage]) {
    for (blame, group) in by_blame(breakages) {
        body.sentence(&format!(
            "What {} broke is repaired: {}.",
            blamed(blame, change),
            broken(&group).names()
        ));
    }
}

/// Who repaired what.
fn list_repairs(body: &mut MailBody, repairs: &[RepairReport]) {
    for report in repairs {
        body.blank();
        let by = match report.repair {
            RepairClaim::By => "repaired by:".to_string(),
            RepairClaim::Within(0) => "repaired at the latest by:".to_string(),
            RepairClaim::Within(k) => {
                format!(
                    "repaired by one of the {k} changes up to this one (those before it have not been built):"
                )
            }
            RepairClaim::ByItself => "repaired by the project itself; first seen on:".to_string(),
        };
        // A project's name keeps its small letter.
        body.sentence(&match repairs.len() {
            1 => capitalized(&by),
            _ => format!("{}: {by}", report.names.join(", ")),
        });
        describe(body, &report.fixer);
    }
}

/// All that a backlog reported is good again: for the contacts of the project alone. `broken_by` is what it reported.
pub fn backlog_fixed(
    project: &str,
    broken_by: &[(ReportedChange, Vec<ReportedBreakage>)],
    repairs: &[RepairReport],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    for (change, breakages) in broken_by {
        is_repaired(&mut body, change, breakages);
    }
    list_repairs(&mut body, repairs);
    for (_, breakages) in broken_by {
        list(&mut body, breakages);
    }
    let trunk = broken_by.first().map_or("", |(change, _)| change.trunk.as_str());
    let subject = lines::subject(&format!("Re: [{trunk}] what older changes broke in {project} is repaired"));
    MailText { subject, body: body.signed(farm) }
}

/// A backlog blamed changes that did not break the project after all, each with what is known now: for the contacts alone.
pub fn backlog_correction(
    project: &str,
    wrong: &[(ReportedChange, Correction, Vec<ReportedBreakage>)],
    farm: &str,
) -> MailText {
    let mut body = MailBody::default();
    for (change, instead, breakages) in wrong {
        take_back(&mut body, change, instead, breakages);
    }
    let trunk = wrong.first().map_or("", |(change, ..)| change.trunk.as_str());
    let what = match wrong {
        [(change, ..)] => format!("{} did not break {project}: {}", short(&change.sha), change.title),
        _ => format!("{} older changes did not break {project}", wrong.len()),
    };
    MailText { subject: lines::subject(&format!("Re: [{trunk}] {what}")), body: body.signed(farm) }
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
    let breakages = std::slice::from_ref(&own.broken);
    let what = broken(breakages);
    body.sentence(&match what.counts.failing {
        0 => format!("Not {trunk}, but {project} itself {}:", what.deed()),
        _ => format!("{project} {}, not {trunk}:", what.deed()),
    });
    body.blank();
    for differs in &own.differs {
        body.line(&format!("  {differs}"));
    }
    body.blank();
    list(&mut body, breakages);
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
    let differs = own.differs.first().map_or("", String::as_str);
    let what = match what.counts.not_run {
        0 if what.counts.failing > 0 => format!("broke {} itself", count_tests(what.counts.failing)),
        _ => format!("broke itself ({})", what.counts.brief()),
    };
    let subject = lines::subject(&format!("[{trunk}] {project} {what}: {differs}"));
    MailText { subject, body: body.signed(farm) }
}

/// What the farm knows now of breakages for which it has named the wrong culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correction {
    /// Another change is the culprit, or the last of the changes that may be.
    Culprit(Blame, ReportedChange),
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
    take_back(&mut body, change, instead, breakages);
    // The subject of the thread is what is taken back.
    let (sha, names) = (short(&change.sha), broken(breakages).names());
    let subject = format!("Re: [{}] {sha} did not break {names}: {}", change.trunk, change.title);
    MailText { subject: lines::subject(&subject), body: body.signed(farm) }
}

/// What a mail had reported, and what is known now.
fn take_back(
    body: &mut MailBody,
    change: &ReportedChange,
    instead: &Correction,
    breakages: &[ReportedBreakage],
) {
    let found = match instead {
        Correction::Culprit(blame, other) => format!("{} did", blamed(*blame, other)),
        Correction::Flaky => {
            "the tests fail now and then on identical inputs, and no change is accused".to_string()
        }
        Correction::Environment => "they fail without any change, and no change is accused".to_string(),
        Correction::Unknown => "the culprit is not known".to_string(),
    };
    body.sentence(&format!(
        "Correction: later runs disagree. {} did not break {}; {found}. We apologize for the noise.",
        commit(change),
        broken(breakages).names()
    ));
    describe(body, change);
    if let Correction::Culprit(blame, other) = instead {
        body.line(if *blame == Blame::Named {
            "The culprit is now:"
        } else {
            "The last of these changes is:"
        });
        describe(body, other);
    }
    list(body, breakages);
}

/// What a thread reported as repaired is not.
pub fn not_repaired(change: &ReportedChange, breakages: &[ReportedBreakage], farm: &str) -> MailText {
    let mut body = MailBody::default();
    for (blame, group) in by_blame(breakages) {
        body.sentence(&format!(
            "Correction: what {} broke is not repaired after all: {}. The runs that showed the repair do not stand. We \
             apologize for the noise.",
            blamed(blame, change),
            broken(&group).names()
        ));
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

/// The news in one line. Of several groups it is the surest.
fn subject(change: &ReportedChange, breakages: &[ReportedBreakage]) -> String {
    let groups = by_blame(breakages);
    let (blame, group) =
        groups.first().map_or((Blame::Named, Vec::new()), |(blame, group)| (*blame, group.clone()));
    let what = broken(&group);
    let did = match (what.counts.failing, what.counts.not_run) {
        (0, 1..) => "stopped tests of",
        (_, _) => "broke",
    };
    let who = blame.subject(short(&change.sha)).unwrap_or_else(|| short(&change.sha).to_string());
    let (names, brief) = (what.names(), what.counts.brief());
    lines::subject(&format!("[{}] {who} {did} {names} ({brief}): {}", change.trunk, change.title))
}

fn commit(change: &ReportedChange) -> String {
    format!("{} {}", change.trunk, short(&change.sha))
}

/// Who did it, in the middle of a sentence.
fn blamed(blame: Blame, change: &ReportedChange) -> String {
    blame.subject(&commit(change)).unwrap_or_else(|| commit(change))
}
/// The breakages by how sure the blame is, the surest first.
fn by_blame(breakages: &[ReportedBreakage]) -> Vec<(Blame, Vec<ReportedBreakage>)> {
    let mut groups: Vec<(Blame, Vec<ReportedBreakage>)> = Vec::new();
    for breakage in breakages {
        match groups.iter_mut().find(|(blame, _)| *blame == breakage.blame) {
            Some((_, group)) => group.push(breakage.clone()),
            None => groups.push((breakage.blame, vec![breakage.clone()])),
        }
    }
    groups.sort_by_key(|(blame, _)| match blame {
        Blame::Named => (0, 0),
        Blame::OneOf(k) => (1, *k),
        Blame::Suspected
        | Blame::Searching
        | Blame::Inconclusive
        | Blame::Flaky
        | Blame::Environment
        | Blame::Unknown => (2, 0),
    });
    groups
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
        body.line(&format!("{project} on {}", breakage.target()));
        let filed = breakage.filed.as_ref().map(FiledUnder::sentence).unwrap_or_default();
        for line in filed.split_inclusive(": ") {
            body.line(&format!("  {line}"));
        }
        for (cases, did) in [(&breakage.cases, ""), (&breakage.lost, "not run")] {
            for case in cases.iter().take(MAX_CASES) {
                body.case(did, &case_words(case));
            }
            if cases.len() > MAX_CASES {
                body.case(did, &format!("and {} more", cases.len() - MAX_CASES));
            }
        }
        if breakage.unreached > 0 {
            body.line(&format!("  and {} not reached", count_tests(breakage.unreached)));
        }
        if let Some(first) = breakage.text.as_deref().and_then(first_line) {
            body.line(&format!("    {first}"));
            if let Some(from) = &breakage.text_from {
                body.line(&format!("    (seen at {})", short(from)));
            }
        }
        body.line(&format!("  {}", breakage.url));
        body.blank();
    }
}
