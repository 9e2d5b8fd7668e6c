//! What old changes broke in a project that the farm began to test after them: one mail to the contacts of the project, and
//! none to the trunk's list.

use std::collections::{BTreeMap, BTreeSet};

use domain::notice::age::{BacklogInputs, BreakageAge, is_backlog_due};
use domain::notice::backlog::{self, OldBreakage};
use domain::notice::report::{ReportedBreakage, ReportedChange};
use domain::notice::{NoticeContext, ThreadBreakage, ThreadInputs, is_known_to_contacts, mail};
use domain::words::BreakageState;
use domain::words::ids::{BreakageId, ChangeId, NoticeId, ProjectId, Timestamp, TrunkId};
use domain::words::states::NoticeKind;
use store::{BacklogClaim, Thread, Write};

use crate::config::Config;
use crate::notify::load::{load_breakage, load_change};
use crate::notify::write::{BacklogMail, contacts, put_backlog, put_backlog_reply};

/// The old breakages of one project, by culprit.
#[derive(Default)]
pub struct Backlog {
    by_culprit: BTreeMap<ChangeId, (ReportedChange, Vec<ThreadBreakage>)>,
}

/// The old breakages of each project.
pub type Backlogs = BTreeMap<ProjectId, Backlog>;

/// Sorts out of a thread what no mail of it will report: what was over when it was found is marked so, and what is old is
/// added to the backlog of its project.
pub async fn sort_out(
    tx: &mut Write<'_>,
    backlogs: &mut Backlogs,
    culprit: ChangeId,
    thread: &ThreadInputs,
) -> store::Result<()> {
    for breakage in thread.breakages.iter().filter(|breakage| !breakage.is_announced) {
        match breakage.age {
            // It was repaired before its contacts read of it.
            BreakageAge::Old if breakage.state == BreakageState::Fixed => {
                tx.mark_unmailed(breakage.id, false).await?;
            }
            BreakageAge::Over => tx.mark_unmailed(breakage.id, true).await?,
            BreakageAge::Old => {
                let builder = tx.breakage(breakage.id).await?.builder;
                match tx.builder(builder).await?.project {
                    Some(project) if !do_contacts_know(tx, project, culprit, thread, breakage).await? => {
                        backlogs.entry(project).or_default().add(culprit, thread, breakage);
                    }
                    // A toolchain has no contacts.
                    Some(_) | None => tx.mark_unmailed(breakage.id, false).await?,
                }
            }
            BreakageAge::News | BreakageAge::PerhapsOver => {}
        }
    }
    Ok(())
}

/// Whether the contacts of a project know the culprit already, from its thread or from an earlier backlog.
async fn do_contacts_know(
    tx: &mut Write<'_>,
    project: ProjectId,
    culprit: ChangeId,
    thread: &ThreadInputs,
    breakage: &ThreadBreakage,
) -> store::Result<bool> {
    if is_known_to_contacts(thread, breakage) {
        return Ok(true);
    }
    for claim in tx.backlog_claims().await?.into_iter().filter(|claim| claim.culprit == culprit) {
        let builder = tx.breakage(claim.breakage).await?.builder;
        if claim.breakage != breakage.id && tx.builder(builder).await?.project == Some(project) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Backlog {
    fn add(&mut self, culprit: ChangeId, thread: &ThreadInputs, breakage: &ThreadBreakage) {
        let change = ReportedChange { branch: breakage.branch.clone(), ..thread.change.clone() };
        let (_, breakages) = self.by_culprit.entry(culprit).or_insert_with(|| (change, Vec::new()));
        breakages.push(breakage.clone());
    }

    fn breakages(&self) -> impl Iterator<Item = &ThreadBreakage> {
        self.by_culprit.values().flat_map(|(_, breakages)| breakages)
    }
}

/// Puts the mails that are due into the outbox.
pub async fn notify_contacts_of_new_projects(
    tx: &mut Write<'_>,
    config: &Config,
    context: &NoticeContext,
    backlogs: &Backlogs,
    at: Timestamp,
) -> store::Result<()> {
    for (project, backlog) in backlogs {
        let inputs = load_inputs(tx, *project, backlog, context).await?;
        if !is_backlog_due(&inputs, at) {
            continue;
        }
        let breakages: Vec<BreakageId> = backlog.breakages().map(|breakage| breakage.id).collect();
        let recipients = contacts(tx, config, &breakages).await?;
        for breakage in &breakages {
            tx.mark_unmailed(*breakage, false).await?;
        }
        let Some((newest, _)) = backlog.by_culprit.last_key_value().filter(|_| !recipients.is_empty()) else {
            continue;
        };
        let name = tx.project(*project).await?.name;
        let broken_by: Vec<(ReportedChange, Vec<ReportedBreakage>)> = backlog
            .by_culprit
            .values()
            .map(|(change, breakages)| {
                (change.clone(), breakages.iter().map(|breakage| breakage.report.clone()).collect())
            })
            .collect();
        let text = mail::backlog(&name, &broken_by, &config.name);
        let notice =
            put_backlog(tx, config, *newest, BacklogMail { recipients, text, breakages }, at).await?;
        for (culprit, (_, breakages)) in &backlog.by_culprit {
            for breakage in breakages {
                tx.put_backlog_claim(&BacklogClaim { notice, breakage: breakage.id, culprit: *culprit })
                    .await?;
            }
        }
    }
    Ok(())
}

/// Puts the replies to earlier backlogs into the outbox: what they reported is repaired, or is not so after all.
pub async fn follow_up(
    tx: &mut Write<'_>,
    config: &Config,
    context: &NoticeContext,
    failing_canaries: &BTreeSet<TrunkId>,
    at: Timestamp,
) -> store::Result<()> {
    let mut by_notice: BTreeMap<NoticeId, Vec<BacklogClaim>> = BTreeMap::new();
    for claim in tx.backlog_claims().await? {
        by_notice.entry(claim.notice).or_default().push(claim);
    }
    for (notice, claims) in by_notice {
        let root = tx.notice_root(notice).await?;
        if failing_canaries.contains(&tx.change(root.change).await?.trunk) {
            continue;
        }
        let mut reported = Vec::with_capacity(claims.len());
        for claim in &claims {
            reported.push(load_old(tx, config, claim, at).await?);
        }
        for gone in reported.iter().filter(|old| old.is_gone()) {
            tx.end_backlog_claim(gone.breakage.id).await?;
        }
        let Some(project) = reported.iter().find_map(|old| old.breakage.report.project.clone()) else {
            continue;
        };
        let Some(reply) = backlog::reply(&project, &reported, context) else { continue };
        for old in reported.iter().filter(|old| reply.breakages.contains(&old.breakage.id)) {
            close_claim(tx, notice, old, reply.kind).await?;
        }
        put_backlog_reply(tx, config, root, reply, at).await?;
    }
    Ok(())
}

/// What is left to be followed up after a reply. Where a correction names another change that is older than the project,
/// that one is what its contacts believe from now on; else mails may report the breakage like any other.
async fn close_claim(
    tx: &mut Write<'_>,
    notice: NoticeId,
    old: &OldBreakage,
    kind: NoticeKind,
) -> store::Result<()> {
    let breakage = old.breakage.id;
    if kind == NoticeKind::BacklogFixed {
        return tx.end_backlog_claim(breakage).await;
    }
    match old.culprit.as_ref().filter(|_| old.breakage.age == BreakageAge::Old && old.has_culprit()) {
        Some((culprit, _)) => {
            tx.put_backlog_claim(&BacklogClaim { notice, breakage, culprit: *culprit }).await
        }
        None => {
            tx.end_backlog_claim(breakage).await?;
            tx.mark_mailable(breakage).await
        }
    }
}

async fn load_old(
    tx: &mut Write<'_>,
    config: &Config,
    claim: &BacklogClaim,
    at: Timestamp,
) -> store::Result<OldBreakage> {
    let breakage = tx.breakage(claim.breakage).await?;
    Ok(OldBreakage {
        breakage: load_breakage(tx, config, &breakage, &Thread::default(), at).await?,
        reported: (claim.culprit, load_change(tx, config, claim.culprit).await?),
        found: breakage.found,
        culprit: match breakage.culprit {
            Some(culprit) => Some((culprit, load_change(tx, config, culprit).await?)),
            None => None,
        },
    })
}

async fn load_inputs(
    tx: &mut Write<'_>,
    project: ProjectId,
    backlog: &Backlog,
    context: &NoticeContext,
) -> store::Result<BacklogInputs> {
    let mut is_searching = false;
    for open in tx.undecided_breakages().await? {
        is_searching |= tx.builder(open.builder).await?.project == Some(project);
    }
    let mut has_gaps = false;
    for builder in tx.builders().await?.into_iter().filter(|builder| builder.project == Some(project)) {
        has_gaps |= tx.has_gaps(builder.id).await?;
    }
    let is_rare =
        |breakage: &ThreadBreakage| breakage.suite_runs.is_some_and(|runs| runs < context.enough_runs);
    Ok(BacklogInputs {
        first_found_at: backlog.breakages().filter_map(|b| b.found_at).min().unwrap_or(Timestamp(0)),
        is_searching,
        has_gaps,
        has_few_runs: backlog.breakages().any(is_rare),
        last_mail_at: tx.last_backlog_mail(project).await?,
    })
}
