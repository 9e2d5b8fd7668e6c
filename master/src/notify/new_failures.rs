//! Informs the contacts of projects of cases that are new and fail from their first run on, once for each builder and change.

use std::collections::BTreeSet;

use domain::notice::new_failure::{NewFailureDates, NewFailureMail, NewFailures, due, mail};
use domain::words::ids::{Timestamp, TrunkId};
use domain::words::states::NoticeKind;
use store::{Builder, NewNotice, UnmailedNewFailures, Write};

use crate::config::{Config, ProjectConfig};
use crate::notify::load::load_change;
use crate::notify::write::host;

/// Puts the mails that are due into the outbox.
pub async fn notify_contacts_of_new_failures(
    tx: &mut Write<'_>,
    config: &Config,
    failing_canaries: &BTreeSet<TrunkId>,
    at: Timestamp,
) -> store::Result<()> {
    for new in tx.unmailed_new_failures().await? {
        let change = tx.change(new.since).await?;
        if failing_canaries.contains(&change.trunk) {
            continue;
        }
        let dates = NewFailureDates {
            seen_at: new.seen_at,
            change_seen_at: if new.with_inputs { new.seen_at } else { change.found_at },
            builder_since: tx.builder_since(new.builder).await?.unwrap_or(at),
            has_gaps: tx.has_gaps(new.builder).await?,
        };
        match due(&dates, at) {
            NewFailureMail::Waits => continue,
            NewFailureMail::Old => {}
            NewFailureMail::Due => put_mail(tx, config, &new, at).await?,
        }
        tx.mark_new_failures_notified(&new, at).await?;
    }
    Ok(())
}

async fn put_mail(
    tx: &mut Write<'_>,
    config: &Config,
    new: &UnmailedNewFailures,
    at: Timestamp,
) -> store::Result<()> {
    let builder = tx.builder(new.builder).await?;
    let Some(id) = builder.project else { return Ok(()) };
    let project = tx.project(id).await?.name;
    // A canary is the operator's.
    let is_addressed =
        |one: &&ProjectConfig| one.name == project && one.canary.is_none() && !one.contacts.is_empty();
    let Some(project) = config.projects.iter().find(is_addressed) else { return Ok(()) };
    let sha = tx.change(new.since).await?.sha;
    // What came with the inputs of a change is not what came with the change.
    let with = if new.with_inputs { "inputs." } else { "" };
    let message_id = format!("<new-failure.{}.{with}{sha}@{}>", builder.id, host(&config.url));
    if tx.has_notice(&message_id).await? {
        return Ok(());
    }
    let text = mail(&load_new_failures(tx, config, project, &builder, new).await?, &config.name);
    let notice = NewNotice {
        kind: NoticeKind::NewFailure,
        change: new.since,
        recipients: project.contacts.iter().map(ToString::to_string).collect(),
        subject: text.subject,
        body: text.body,
        message_id,
        in_reply_to: None,
        breakages: Vec::new(),
        mentions: Vec::new(),
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}

async fn load_new_failures(
    tx: &mut Write<'_>,
    config: &Config,
    project: &ProjectConfig,
    builder: &Builder,
    new: &UnmailedNewFailures,
) -> store::Result<NewFailures> {
    let history = tx.history(builder.id).await?;
    let text = match history.iter().rfind(|build| build.change == new.since) {
        Some(first) => {
            let run = tx.build(first.build).await?;
            tx.first_failure_message_of(run.same_as.unwrap_or(run.id), &new.cases).await?
        }
        None => None,
    };
    let mut since = load_change(tx, config, new.since).await?;
    since.branch = tx.branch(builder.branch).await?.name;
    Ok(NewFailures {
        project: project.name.clone(),
        platform: builder.label.clone(),
        cases: tx.case_names(&new.cases).await?,
        since,
        with_inputs: new.with_inputs,
        text,
        url: format!("{}/projects/{}", config.url, project.name),
    })
}
