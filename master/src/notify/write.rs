//! Puts mails into the outbox: to whom, in which thread, and by which message id.

use std::collections::BTreeSet;

use domain::notice::DueMail;
use domain::notice::backlog::BacklogReply;
use domain::notice::mail::MailText;
use domain::words::ids::{BreakageId, ChangeId, NoticeId, Timestamp};
use domain::words::states::NoticeKind;
use store::{NewNotice, NoticeRoot, Write};

use crate::config::Config;

/// Puts a mail of a culprit's thread into the outbox.
pub async fn put_mail(
    tx: &mut Write<'_>,
    config: &Config,
    culprit: ChangeId,
    mail: DueMail,
    at: Timestamp,
) -> store::Result<()> {
    let sha = tx.change(culprit).await?.sha;
    let lists = config.mail.iter().flat_map(|mail| mail.list.iter().map(ToString::to_string));
    let mut recipients: BTreeSet<String> = lists.collect();
    let first = mail.first_news.map_or(0, |breakage| breakage.0);
    let kind = mail.kind;
    let (in_reply_to, number) = match kind {
        NoticeKind::Storm => {
            tracing::warn!("a storm: further notices wait until the hour is over");
            (None, at.to_string())
        }
        NoticeKind::Named
        | NoticeKind::Spread
        | NoticeKind::Fixed
        | NoticeKind::Correction
        | NoticeKind::Backlog
        | NoticeKind::BacklogFixed
        | NoticeKind::BacklogCorrection
        | NoticeKind::ProjectInputs
        | NoticeKind::FirstResult
        | NoticeKind::NewFailure => {
            let thread = tx.thread(culprit).await?;
            recipients.extend(thread.recipients);
            recipients.extend(contacts(tx, config, &mail.breakages).await?);
            // What was corrected may be announced, and corrected, again.
            let number = match kind {
                NoticeKind::Fixed if thread.has_fallen_repair => format!("{first}.{at}"),
                NoticeKind::Named | NoticeKind::Fixed => first.to_string(),
                _ => format!("{first}.{at}"),
            };
            (thread.root, number)
        }
    };
    let notice = NewNotice {
        kind,
        change: culprit,
        recipients: recipients.into_iter().collect(),
        subject: mail.text.subject,
        body: mail.text.body,
        message_id: format!("<{sha}.{kind}.{number}@{}>", host(&config.url)),
        in_reply_to,
        breakages: mail.breakages,
        mentions: mail.mentions,
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}

/// Puts the mail about what old changes broke in a project into the outbox, for its contacts alone.
pub async fn put_backlog(
    tx: &mut Write<'_>,
    config: &Config,
    newest: ChangeId,
    mail: BacklogMail,
    at: Timestamp,
) -> store::Result<NoticeId> {
    let notice = NewNotice {
        kind: NoticeKind::Backlog,
        change: newest,
        recipients: mail.recipients.into_iter().collect(),
        subject: mail.text.subject,
        body: mail.text.body,
        message_id: format!("<backlog.{}.{at}@{}>", mail.breakages[0], host(&config.url)),
        in_reply_to: None,
        breakages: mail.breakages,
        mentions: Vec::new(),
    };
    tx.put_notice(&notice, at).await
}

/// Puts the reply to a backlog into the outbox: for those who got it, and for today's contacts.
pub async fn put_backlog_reply(
    tx: &mut Write<'_>,
    config: &Config,
    root: NoticeRoot,
    reply: BacklogReply,
    at: Timestamp,
) -> store::Result<()> {
    let mut recipients: BTreeSet<String> = root.recipients.into_iter().collect();
    recipients.extend(contacts(tx, config, &reply.breakages).await?);
    let (kind, first) = (reply.kind, reply.breakages[0]);
    let notice = NewNotice {
        kind,
        change: root.change,
        recipients: recipients.into_iter().collect(),
        subject: reply.text.subject,
        body: reply.text.body,
        message_id: format!("<{kind}.{first}.{at}@{}>", host(&config.url)),
        in_reply_to: Some(root.message_id),
        breakages: reply.breakages,
        mentions: Vec::new(),
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}

/// A mail about what old changes broke in a project.
pub struct BacklogMail {
    pub recipients: BTreeSet<String>,
    pub text: MailText,
    /// At least one.
    pub breakages: Vec<BreakageId>,
}

/// The contacts of the projects of these breakages.
pub async fn contacts(
    tx: &mut Write<'_>,
    config: &Config,
    breakages: &[BreakageId],
) -> store::Result<BTreeSet<String>> {
    let mut contacts = BTreeSet::new();
    for breakage in breakages {
        let builder = tx.breakage(*breakage).await?.builder;
        let Some(project) = tx.builder(builder).await?.project else { continue };
        let name = tx.project(project).await?.name;
        if let Some(project) = config.projects.iter().find(|project| project.name == name) {
            contacts.extend(project.contacts.iter().map(ToString::to_string));
        }
    }
    Ok(contacts)
}

/// The host of the farm's address, for message ids.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}
