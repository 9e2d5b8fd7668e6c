//! What becomes of what a backlog reported: the contacts who got it get one reply when all of it is repaired, and one when
//! an answer turns out to be wrong.

use std::collections::BTreeMap;

use super::mail::{self, Correction, MailText};
use super::report::{ReportedBreakage, ReportedChange};
use super::{NoticeContext, ThreadBreakage, instead, on_branch, repairs, reports};
use crate::words::BreakageState;
use crate::words::ids::{BreakageId, ChangeId};
use crate::words::states::NoticeKind;

/// A breakage that a backlog reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldBreakage {
    /// The breakage as it is now.
    pub breakage: ThreadBreakage,
    /// The change that its contacts hold to be the culprit.
    pub reported: (ChangeId, ReportedChange),
    /// What the farm has found; none while it searches again.
    pub found: Option<BreakageState>,
    /// The culprit that it has found.
    pub culprit: Option<(ChangeId, ReportedChange)>,
}

/// A mail that replies to a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BacklogReply {
    /// What it is about.
    pub kind: NoticeKind,
    /// The breakages that it reports.
    pub breakages: Vec<BreakageId>,
    /// What it says.
    pub text: MailText,
}

/// How a breakage stands beside what was reported of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its changes were rewound: there is nothing more to say.
    Gone,
    /// The culprit is another one, or none.
    Wrong,
    /// It is as it was reported, and good again.
    Fixed,
    /// It is as it was reported, or searched again.
    Open,
}

impl OldBreakage {
    /// Whether the farm holds a change for its culprit.
    pub fn has_culprit(&self) -> bool {
        matches!(self.found, Some(BreakageState::Named | BreakageState::OneOfK))
    }

    fn standing(&self) -> Standing {
        let is_right =
            self.has_culprit() && self.culprit.as_ref().map(|(id, _)| *id) == Some(self.reported.0);
        match (self.breakage.state, self.found) {
            (BreakageState::Gone, _) => Standing::Gone,
            (_, Some(_)) if !is_right => Standing::Wrong,
            (BreakageState::Fixed, Some(_)) => Standing::Fixed,
            (_, _) => Standing::Open,
        }
    }

    /// Whether it is gone, so that nothing is left to be reported of it.
    pub fn is_gone(&self) -> bool {
        self.standing() == Standing::Gone
    }
}

/// Decides the reply to one backlog: a correction at once, the repair when all is repaired that is as it was reported.
pub fn reply(project: &str, reported: &[OldBreakage], context: &NoticeContext) -> Option<BacklogReply> {
    let of = |standing: Standing| -> Vec<&OldBreakage> {
        reported.iter().filter(|old| old.standing() == standing).collect()
    };
    let (wrong, fixed) = (of(Standing::Wrong), of(Standing::Fixed));
    let (kind, about, text) = match (wrong.is_empty(), fixed.is_empty(), of(Standing::Open).is_empty()) {
        (false, ..) => (NoticeKind::BacklogCorrection, &wrong, correction(project, &wrong, context)),
        (true, false, true) => (NoticeKind::BacklogFixed, &fixed, repair(project, &fixed, context)),
        (true, true, _) | (true, false, false) => return None,
    };
    Some(BacklogReply { kind, breakages: about.iter().map(|old| old.breakage.id).collect(), text })
}

fn correction(project: &str, wrong: &[&OldBreakage], context: &NoticeContext) -> MailText {
    type Key = (ChangeId, Option<&'static str>, Option<ChangeId>);
    let mut groups: BTreeMap<Key, Vec<&OldBreakage>> = BTreeMap::new();
    for old in wrong {
        let culprit = old.culprit.as_ref().map(|(id, _)| *id);
        groups.entry((old.reported.0, old.found.map(BreakageState::as_str), culprit)).or_default().push(old);
    }
    let groups: Vec<(ReportedChange, Correction, Vec<ReportedBreakage>)> = groups
        .into_values()
        .map(|group| {
            let first = group[0];
            let found = first.found.unwrap_or(first.breakage.state);
            let culprit = first.culprit.as_ref().map(|(_, change)| change);
            let change = on_branch(&first.reported.1, &first.breakage);
            (change, instead(found, culprit, &first.breakage), reports_of(&group, context))
        })
        .collect();
    mail::backlog_correction(project, &groups, &context.farm)
}

fn repair(project: &str, fixed: &[&OldBreakage], context: &NoticeContext) -> MailText {
    let mut by_culprit: BTreeMap<ChangeId, Vec<&OldBreakage>> = BTreeMap::new();
    for old in fixed {
        by_culprit.entry(old.reported.0).or_default().push(old);
    }
    let broken_by: Vec<(ReportedChange, Vec<ReportedBreakage>)> = by_culprit
        .into_values()
        .map(|group| (on_branch(&group[0].reported.1, &group[0].breakage), reports_of(&group, context)))
        .collect();
    let breakages: Vec<&ThreadBreakage> = fixed.iter().map(|old| &old.breakage).collect();
    mail::backlog_fixed(project, &broken_by, &repairs(&breakages), &context.farm)
}

fn reports_of(group: &[&OldBreakage], context: &NoticeContext) -> Vec<ReportedBreakage> {
    let breakages: Vec<&ThreadBreakage> = group.iter().map(|old| &old.breakage).collect();
    reports(&breakages, &context.registered)
}
