//! Decides which mails a culprit's thread gets, and when.
//!
//! [`notify`] and [`correct`] take everything that is known of one thread and return the mails that are due now, or why
//! there are none yet.

pub mod age;
pub mod backlog;
pub mod fetch;
pub mod first_result;
pub mod header;
mod lines;
pub mod mail;
pub mod new_failure;
mod proof;
pub mod report;
pub mod storm;
#[cfg(test)]
mod tests;
pub mod unstable;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::breakage::dependency::{self, DependencyContext, NeededProject};
use crate::sentences::{Blame, RepairClaim};
use crate::words::BreakageState;
use crate::words::ids::{BreakageId, ChangeId, Timestamp};
use crate::words::states::NoticeKind;
use age::BreakageAge;
use mail::{Correction, MailText, RepairReport};
use report::{ReportedBreakage, ReportedChange};
use storm::{MailRate, mail_rate};

/// How long a culprit that was found waits for searches that may yet end at it.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// A breakage of a thread, with everything that a decision about it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadBreakage {
    /// Its number.
    pub id: BreakageId,
    /// Its state now.
    pub state: BreakageState,
    /// When its search ended.
    pub found_at: Option<Timestamp>,
    /// Whether it is news at all.
    pub age: BreakageAge,
    /// Whether a mail of the thread has reported that the culprit broke it.
    pub is_announced: bool,
    /// Whether a mail of the thread has reported that it is repaired.
    pub is_fix_announced: bool,
    /// Whether a mail of the thread has mentioned it in a line, since it is old.
    pub is_mentioned: bool,
    /// The name of its branch.
    pub branch: String,
    /// How often its suite has run to a verdict; none for a toolchain.
    pub suite_runs: Option<u32>,
    /// The change that repaired it.
    pub fix: Option<ThreadFix>,
    /// The projects that its project needs.
    pub needs: Vec<String>,
    /// What a mail says of it.
    pub report: ReportedBreakage,
}

/// A repair of a breakage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadFix {
    /// The change that it was first seen at.
    pub by: ChangeId,
    /// By one change, by one of several, or by the project itself.
    pub repair: RepairClaim,
    /// What a mail says of the change.
    pub change: ReportedChange,
}

/// Searches that may yet end at a culprit: then one mail waits for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenSearches {
    /// There is none.
    None,
    /// There is at least one.
    Some,
    /// The bad end of at least one is a sick change: there will be many, and the mail waits for the last of them.
    AtSickChange,
}

/// What the lists got within [`storm::PERIOD`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListTraffic {
    /// How many notices, at most.
    pub notices: u32,
    /// Whether each list got a notice of a storm.
    pub storm_announced: bool,
}

/// What all threads share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeContext {
    /// The farm's name.
    pub farm: String,
    /// The farm's address.
    pub url: String,
    /// How often a suite must have run before a mail reports it.
    pub enough_runs: u32,
    /// The names of all registered projects.
    pub registered: Vec<String>,
}

/// One thread of a culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadInputs {
    /// The culprit.
    pub change: ReportedChange,
    /// Everything that it broke, as far as the farm holds it for the culprit.
    pub breakages: Vec<ThreadBreakage>,
    /// Whether the thread has a first mail.
    pub has_root: bool,
    /// The searches that may yet end at it.
    pub open_searches: OpenSearches,
    /// Whether a canary of its trunk is failing.
    pub is_canary_failing: bool,
    /// What the lists got.
    pub traffic: ListTraffic,
}

/// A claim of a thread that the farm no longer makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrectionInputs {
    /// The change that the thread is about.
    pub change: ReportedChange,
    /// What the farm has found instead.
    pub found: BreakageState,
    /// The culprit that it has found instead.
    pub culprit: Option<ReportedChange>,
    /// The breakages that the thread blamed on the change.
    pub breakages: Vec<ThreadBreakage>,
    /// What the lists got.
    pub traffic: ListTraffic,
}

/// A mail that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueMail {
    /// What it is about.
    pub kind: NoticeKind,
    /// The breakages that it reports.
    pub breakages: Vec<BreakageId>,
    /// The first breakage that it has news about. A later mail of the same kind may report the earlier one's breakages,
    /// too: this distinguishes the two. None where it reports no breakage.
    pub first_news: Option<BreakageId>,
    /// The old breakages that it mentions in a line.
    pub mentions: Vec<BreakageId>,
    /// What it says.
    pub text: MailText,
}

/// Why a thread gets no mail yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailWaitReason {
    /// There is nothing to say.
    NoNews,
    /// A farm with a failing canary cannot trust what it has found.
    CanaryFailing,
    /// Searches are open that may end at the same culprit.
    OpenSearches,
    /// A suite has not run often enough for its noise to be known.
    FewRuns,
    /// The lists have had enough for this hour.
    Storm,
}

/// What a thread gets now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadDecision {
    /// The mails that are due, in order.
    pub mails: Vec<DueMail>,
    /// Why there are no more.
    pub waits: MailWaitReason,
}

/// Decides the mails about a culprit: that it is named, that it broke more, that everything is repaired.
pub fn notify(thread: &ThreadInputs, context: &NoticeContext, now: Timestamp) -> ThreadDecision {
    if thread.is_canary_failing {
        return ThreadDecision { mails: Vec::new(), waits: MailWaitReason::CanaryFailing };
    }
    // A breakage whose changes were rewound is no news, and no repair.
    let standing: Vec<&ThreadBreakage> =
        thread.breakages.iter().filter(|breakage| breakage.state != BreakageState::Gone).collect();
    let is_news = |breakage: &&ThreadBreakage| !breakage.is_announced && breakage.age == BreakageAge::News;
    let news: Vec<&ThreadBreakage> = standing.iter().copied().filter(is_news).collect();
    let mut outgoing = Outgoing::new(&thread.change, thread.traffic, context);
    let mut announced: Vec<&ThreadBreakage> =
        standing.iter().copied().filter(|breakage| breakage.is_announced).collect();
    match why_wait(thread, &news, context, now) {
        Some(waits) => outgoing.waits = waits,
        None => {
            let change = on_branch(&thread.change, news[0]);
            let reports = reports(&news, &context.registered);
            let old: Vec<&ThreadBreakage> = standing.iter().copied().filter(|it| is_to_mention(it)).collect();
            let names = names(&old);
            let (kind, text) = match thread.has_root {
                false => (NoticeKind::Named, mail::named(&change, &reports, &names, &context.farm)),
                true => (NoticeKind::Spread, mail::spread(&change, &reports, &names, &context.farm)),
            };
            if outgoing.send(kind, &news, |breakage| !breakage.is_announced, text) {
                if let Some(mail) = outgoing.mails.last_mut() {
                    mail.mentions = old.iter().map(|breakage| breakage.id).collect();
                }
                announced = standing
                    .iter()
                    .copied()
                    .filter(|b| b.is_announced || news.iter().any(|new| new.id == b.id))
                    .collect();
            }
        }
    }
    take_back_repairs(&announced, context, &mut outgoing);
    let is_unannounced = |it: &&ThreadBreakage| !announced.iter().any(|known| known.id == it.id);
    let is_left = standing.iter().copied().filter(is_unannounced).any(|it| {
        it.age == BreakageAge::Old && it.state != BreakageState::Fixed && is_known_to_contacts(thread, it)
    });
    // What the contacts know is repaired only where it is repaired in all that they know of.
    if !is_left {
        notify_fixed(&announced, context, &mut outgoing);
    }
    ThreadDecision { mails: outgoing.mails, waits: outgoing.waits }
}

/// Whether one line of the next mail says that the culprit broke this, and still breaks it: the farm began to test it later,
/// so it is no news. Later mails do not repeat the line.
fn is_to_mention(breakage: &ThreadBreakage) -> bool {
    breakage.age == BreakageAge::Old
        && !breakage.is_announced
        && !breakage.is_mentioned
        && breakage.state != BreakageState::Fixed
        && breakage.report.blame == Blame::Named
}

/// Whether the contacts of an old breakage's project read in the culprit's thread that it broke the project: a platform or a
/// variant that the farm began to test later shows them the same once more.
pub fn is_known_to_contacts(thread: &ThreadInputs, breakage: &ThreadBreakage) -> bool {
    let is_reported = |other: &ThreadBreakage| other.is_announced || other.age == BreakageAge::News;
    thread.breakages.iter().any(|other| {
        other.id != breakage.id
            && other.report.project == breakage.report.project
            && other.state != BreakageState::Gone
            && is_reported(other)
    })
}

fn names(breakages: &[&ThreadBreakage]) -> Vec<String> {
    let names: BTreeSet<String> = breakages.iter().map(|breakage| breakage.report.name()).collect();
    names.into_iter().collect()
}

/// Why the news is not announced yet.
fn why_wait(
    thread: &ThreadInputs,
    news: &[&ThreadBreakage],
    context: &NoticeContext,
    now: Timestamp,
) -> Option<MailWaitReason> {
    if news.is_empty() {
        return Some(MailWaitReason::NoNews);
    }
    let is_patient = news.iter().all(|breakage| breakage.found_at.is_none_or(|found| found + MAX_WAIT > now));
    match thread.open_searches {
        OpenSearches::AtSickChange => return Some(MailWaitReason::OpenSearches),
        OpenSearches::Some if is_patient => return Some(MailWaitReason::OpenSearches),
        OpenSearches::Some | OpenSearches::None => {}
    }
    // A compiler is not flaky, so nothing has to be known of its noise.
    let is_rare =
        |breakage: &&ThreadBreakage| breakage.suite_runs.is_some_and(|runs| runs < context.enough_runs);
    news.iter().any(is_rare).then_some(MailWaitReason::FewRuns)
}

/// One reply about the repairs that were reported and do not stand.
fn take_back_repairs(announced: &[&ThreadBreakage], context: &NoticeContext, outgoing: &mut Outgoing<'_>) {
    let does_not_stand = |breakage: &&&ThreadBreakage| {
        breakage.is_fix_announced && matches!(breakage.state, BreakageState::Named | BreakageState::OneOfK)
    };
    let fallen: Vec<&ThreadBreakage> = announced.iter().filter(does_not_stand).copied().collect();
    let Some(first) = fallen.first() else { return };
    let change = on_branch(outgoing.change, first);
    let text = mail::not_repaired(&change, &reports(&fallen, &context.registered), &context.farm);
    outgoing.send(NoticeKind::Correction, &fallen, |_| true, text);
}

/// One reply, when everything that the culprit broke is repaired.
fn notify_fixed(announced: &[&ThreadBreakage], context: &NoticeContext, outgoing: &mut Outgoing<'_>) {
    let all_fixed = announced.iter().all(|breakage| breakage.state == BreakageState::Fixed);
    let is_news = announced.iter().any(|breakage| !breakage.is_fix_announced);
    let Some(first) = announced.first().filter(|_| all_fixed && is_news) else { return };
    let change = on_branch(outgoing.change, first);
    let reports = reports(announced, &context.registered);
    let text = mail::fixed(&change, &repairs(announced), &reports, &context.farm);
    outgoing.send(NoticeKind::Fixed, announced, |breakage| !breakage.is_fix_announced, text);
}

/// Which change repaired which of the breakages.
fn repairs(announced: &[&ThreadBreakage]) -> Vec<RepairReport> {
    let mut repairs: BTreeMap<(ChangeId, RepairClaim), RepairReport> = BTreeMap::new();
    for breakage in announced {
        let Some(fix) = &breakage.fix else { continue };
        let report = repairs.entry((fix.by, fix.repair)).or_insert_with(|| RepairReport {
            repair: fix.repair,
            fixer: on_branch(&fix.change, breakage),
            names: Vec::new(),
        });
        report.names.push(breakage.report.name());
        report.names.sort();
        report.names.dedup();
    }
    repairs.into_values().collect()
}

/// Decides the mail that takes back a claim of a thread.
pub fn correct(inputs: &CorrectionInputs, context: &NoticeContext) -> ThreadDecision {
    let mut outgoing = Outgoing::new(&inputs.change, inputs.traffic, context);
    let about: Vec<&ThreadBreakage> = inputs.breakages.iter().collect();
    let Some(first) = about.first() else {
        return ThreadDecision { mails: Vec::new(), waits: MailWaitReason::NoNews };
    };
    let instead = instead(inputs.found, inputs.culprit.as_ref(), first);
    let change = on_branch(&inputs.change, first);
    let text = mail::correction(&change, &instead, &reports(&about, &context.registered), &context.farm);
    outgoing.send(NoticeKind::Correction, &about, |_| true, text);
    ThreadDecision { mails: outgoing.mails, waits: outgoing.waits }
}

/// What a correction says of who did it.
fn instead(found: BreakageState, culprit: Option<&ReportedChange>, first: &ThreadBreakage) -> Correction {
    match (found, culprit) {
        (BreakageState::Named | BreakageState::OneOfK, Some(culprit)) => {
            Correction::Culprit(first.report.blame, on_branch(culprit, first))
        }
        (BreakageState::Flaky, _) => Correction::Flaky,
        (BreakageState::Environment, _) => Correction::Environment,
        (
            BreakageState::Named
            | BreakageState::OneOfK
            | BreakageState::Inconclusive
            | BreakageState::Suspected
            | BreakageState::Searching
            | BreakageState::Fixed
            | BreakageState::Gone,
            _,
        ) => Correction::Unknown,
    }
}

/// The mails that a thread gets now.
struct Outgoing<'a> {
    change: &'a ReportedChange,
    context: &'a NoticeContext,
    traffic: ListTraffic,
    mails: Vec<DueMail>,
    waits: MailWaitReason,
}

impl<'a> Outgoing<'a> {
    fn new(change: &'a ReportedChange, traffic: ListTraffic, context: &'a NoticeContext) -> Outgoing<'a> {
        Outgoing { change, context, traffic, mails: Vec::new(), waits: MailWaitReason::NoNews }
    }

    /// Adds a mail, unless the lists have had enough for this hour. They get one mail that says so; what waits is decided
    /// again when the hour is over. Returns whether the mail is sent.
    fn send(
        &mut self,
        kind: NoticeKind,
        about: &[&ThreadBreakage],
        is_news: impl Fn(&ThreadBreakage) -> bool,
        text: MailText,
    ) -> bool {
        match mail_rate(self.traffic.notices, self.traffic.storm_announced) {
            MailRate::Calm => {
                self.traffic.notices += 1;
                self.mails.push(DueMail {
                    kind,
                    breakages: about.iter().map(|breakage| breakage.id).collect(),
                    first_news: about.iter().filter(|b| is_news(b)).map(|b| b.id).min(),
                    mentions: Vec::new(),
                    text,
                });
                return true;
            }
            MailRate::Storm => {}
            MailRate::Breaks => {
                self.traffic.storm_announced = true;
                let text = mail::storm(&self.change.trunk, &self.context.url, &self.context.farm);
                self.mails.push(DueMail {
                    kind: NoticeKind::Storm,
                    breakages: Vec::new(),
                    first_news: None,
                    mentions: Vec::new(),
                    text,
                });
            }
        }
        self.waits = MailWaitReason::Storm;
        false
    }
}

/// A change as it is seen on the branch of a breakage.
fn on_branch(change: &ReportedChange, of: &ThreadBreakage) -> ReportedChange {
    ReportedChange { branch: of.branch.clone(), ..change.clone() }
}

/// What a mail says of these breakages, each filed under the dependency that broke it, where one did.
fn reports(about: &[&ThreadBreakage], registered: &[String]) -> Vec<ReportedBreakage> {
    // Where one of several changes did it, it need not be the same one.
    let is_sure = |breakage: &&&ThreadBreakage| breakage.report.blame == Blame::Named;
    let broken: BTreeSet<&str> =
        about.iter().filter(is_sure).filter_map(|breakage| breakage.report.project.as_deref()).collect();
    about
        .iter()
        .map(|breakage| {
            let needed: Vec<NeededProject> = breakage
                .needs
                .iter()
                .map(|name| NeededProject {
                    has_same_culprit: is_sure(&breakage) && broken.contains(name.as_str()),
                    may_be_it: false,
                    name: name.clone(),
                })
                .collect();
            let report = &breakage.report;
            let filed = report.project.as_deref().and_then(|own| {
                let context = DependencyContext { own, needed: &needed, registered };
                dependency::filed_under(report.text.as_deref(), &context)
            });
            ReportedBreakage { filed, ..report.clone() }
        })
        .collect()
}
