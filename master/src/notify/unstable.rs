//! Informs a project's contacts, once, that its suite names its failures differently in each run.

use domain::notice::unstable::{UnstableReport, mail};
use domain::words::ids::Timestamp;
use domain::words::states::NoticeKind;
use store::{NewNotice, UnstableSuite, Write};

use crate::config::{Config, ProjectConfig};
use crate::notify::write::host;

/// Puts the mails into the outbox.
pub async fn notify_contacts_of_unstable_names(
    tx: &mut Write<'_>,
    config: &Config,
    at: Timestamp,
) -> store::Result<()> {
    for suite in tx.unmailed_unstable_suites().await? {
        let name = tx.project(suite.project).await?.name;
        // A canary is the operator's.
        let is_addressed =
            |one: &&ProjectConfig| one.name == name && one.canary.is_none() && !one.contacts.is_empty();
        if let Some(project) = config.projects.iter().find(is_addressed) {
            put_mail(tx, config, project, suite, at).await?;
        }
        tx.mark_unstable_suite_notified(suite.project, at).await?;
    }
    Ok(())
}

async fn put_mail(
    tx: &mut Write<'_>,
    config: &Config,
    project: &ProjectConfig,
    suite: UnstableSuite,
    at: Timestamp,
) -> store::Result<()> {
    let builder = tx.builder(suite.builder).await?;
    let Some(change) = tx.order(builder.branch).await?.last().copied() else { return Ok(()) };
    let report = UnstableReport {
        project: project.name.clone(),
        trunk: project.trunk.clone(),
        branch: tx.branch(builder.branch).await?.name,
        platform: builder.label,
        example: tx.case_names(&[suite.example].into()).await?.pop().unwrap_or_default(),
        url: format!("{}/projects/{}", config.url, project.name),
    };
    let text = mail(&report, &config.name);
    let notice = NewNotice {
        // It is about the project itself, as its inputs are.
        kind: NoticeKind::ProjectInputs,
        change,
        recipients: project.contacts.iter().map(ToString::to_string).collect(),
        subject: text.subject,
        body: text.body,
        message_id: format!("<unstable.{}@{}>", suite.project, host(&config.url)),
        in_reply_to: None,
        breakages: Vec::new(),
        mentions: Vec::new(),
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}
