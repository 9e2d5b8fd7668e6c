//! What old changes broke in a project that the farm began to test after them: one mail to the contacts of the project, and
//! none to the trunk's list.

use std::collections::BTreeMap;

use domain::notice::age::{BacklogInputs, BreakageAge, is_backlog_due};
use domain::notice::report::{ReportedBreakage, ReportedChange};
use domain::notice::{NoticeContext, ThreadBreakage, ThreadInputs, mail};
use domain::words::ids::{BreakageId, ChangeId, ProjectId, Timestamp};
use store::Write;

use crate::config::Config;
use crate::notify::write::{BacklogMail, contacts, put_backlog};

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
            BreakageAge::Over => tx.mark_unmailed(breakage.id, true).await?,
            BreakageAge::Old => {
                let builder = tx.breakage(breakage.id).await?.builder;
                match tx.builder(builder).await?.project {
                    Some(project) => backlogs.entry(project).or_default().add(culprit, thread, breakage),
                    // A toolchain has no contacts.
                    None => tx.mark_unmailed(breakage.id, false).await?,
                }
            }
            BreakageAge::News | BreakageAge::PerhapsOver => {}
        }
    }
    Ok(())
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
        put_backlog(tx, config, *newest, BacklogMail { recipients, text, breakages }, at).await?;
    }
    Ok(())
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
