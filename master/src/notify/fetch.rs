//! Informs a project's contacts, once, that its fetch step fails whatever the change.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use domain::notice::fetch::{FetchReport, is_common, mail};
use domain::words::ids::{BuilderId, Timestamp};
use domain::words::states::NoticeKind;
use store::{FailingFetch, NewNotice, Read};

use crate::config::Config;
use crate::farm::{Farm, now};
use crate::notify::write::host;

/// The suites whose contacts are to be informed now. Where many projects fail at once, nobody's are.
pub async fn due(read: &mut Read<'_>) -> store::Result<Vec<FailingFetch>> {
    let mut failing = read.failing_fetches().await?;
    let projects: BTreeSet<_> = failing.iter().map(|one| one.project).collect();
    if is_common(projects.len()) {
        return Ok(Vec::new());
    }
    failing.retain(|one| !one.is_notified);
    Ok(failing)
}

/// Puts a mail into the outbox for each suite that cannot fetch, and whose contacts do not know it.
pub async fn notify_fetch_failures(farm: &Farm) -> Result<()> {
    let (config, at) = (farm.config(), now());
    let mut snapshot = farm.store.latest().await?;
    for failing in due(&mut snapshot.read()).await? {
        let notice = load_notice(&mut snapshot.read(), &config, &failing).await?;
        inform(farm, failing.builder, notice, at)
            .await
            .context("informing the contacts of a failed fetch")?;
    }
    Ok(())
}

async fn inform(
    farm: &Farm,
    builder: BuilderId,
    notice: Option<NewNotice>,
    at: Timestamp,
) -> store::Result<()> {
    let written = farm.store.write(move |tx| {
        Box::pin(async move {
            if let Some(notice) = &notice {
                tx.put_notice(notice, at).await?;
            }
            tx.mark_fetch_failure_notified(builder, at).await
        })
    });
    written.await
}

/// The mail; none if nobody is to get it. Of a project that has never worked the contacts know from the mail about its first
/// build.
async fn load_notice(
    read: &mut Read<'_>,
    config: &Config,
    failing: &FailingFetch,
) -> store::Result<Option<NewNotice>> {
    let configured = config.projects.iter().find(|one| one.name == failing.name);
    let Some(project) = configured.filter(|one| one.canary.is_none() && !one.contacts.is_empty()) else {
        return Ok(None);
    };
    let builder = read.builder(failing.builder).await?;
    let start = read.project_start(failing.project, builder.branch).await?;
    if start.is_none_or(|start| start.worked_at.is_none()) {
        return Ok(None);
    }
    let report = FetchReport {
        project: project.name.clone(),
        trunk: project.trunk.clone(),
        branch: read.branch(builder.branch).await?.name,
        platform: builder.label,
        failure: failing.failure.clone(),
        url: format!("{}/builds/{}", config.url, failing.build),
    };
    let text = mail(&report, &config.name);
    Ok(Some(NewNotice {
        kind: NoticeKind::ProjectInputs,
        change: read.build(failing.build).await?.change,
        recipients: project.contacts.iter().map(ToString::to_string).collect(),
        subject: text.subject,
        body: text.body,
        message_id: format!("<fetch.{}.{}@{}>", failing.builder, failing.build, host(&config.url)),
        in_reply_to: None,
        breakages: Vec::new(),
        mentions: Vec::new(),
    }))
}
