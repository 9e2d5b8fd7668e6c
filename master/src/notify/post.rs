//! Hands the outbox to the mail server, or to a Maildir on a farm without one. A notice is marked sent only after it was
//! accepted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::backoff::backoff;
use domain::notice::header::{addressees, encoded_subject, folded};
use domain::words::ids::NoticeId;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use store::{Notice, OwnerNotice};

use crate::config::{Config, MailConfig, ProjectConfig, Security};
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now, unit};

/// The shortest wait after a server did not accept a mail: a server that restarts is back by then.
const RETRY: Duration = Duration::from_secs(5);
/// After so many attempts a notice is given up; the status page shows it as failed.
const MAX_TRIES: u32 = 200;
const AT_ONCE: i64 = 10;

pub async fn post(farm: &Farm) -> Result<Option<Duration>> {
    let mut snapshot = farm.store.snapshot().await?;
    let waiting = snapshot.read().waiting_notices(now(), AT_ONCE).await?;
    drop(snapshot);
    for notice in waiting {
        let (id, tries) = (notice.id, notice.tries);
        failpoint("before-post");
        let handed = hand_over(&farm.config(), &notice).await;
        failpoint("after-post");
        let at = now();
        match handed {
            Ok(()) => {
                tracing::info!(subject = notice.subject, "mail sent");
                farm.store
                    .write(move |tx| Box::pin(async move { tx.mark_notice_sent(id, at).await }))
                    .await?;
            }
            Err(Refused { why, for_good }) => {
                tracing::warn!(subject = notice.subject, "mail not accepted: {why}");
                let again = at + backoff(RETRY, tries + 1, unit());
                let again = (!for_good && tries < MAX_TRIES).then_some(again);
                farm.store
                    .write(move |tx| {
                        Box::pin(async move { tx.mark_notice_failed(id, &why, again, at).await })
                    })
                    .await?;
            }
        }
    }
    post_to_owners(farm).await?;
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let next = [read.next_notice().await?, read.next_owner_notice().await?].into_iter().flatten().min();
    Ok(next.map(|next| next.since(now())))
}

/// The mails to owners of workers, each to one person.
async fn post_to_owners(farm: &Farm) -> Result<()> {
    let mut snapshot = farm.store.snapshot().await?;
    let waiting = snapshot.read().waiting_owner_notices(now(), AT_ONCE).await?;
    drop(snapshot);
    for OwnerNotice { id, recipient, subject, body, message_id, decided_at, tries } in waiting {
        let notice = Notice {
            // The name of its file, if the farm keeps its mail itself: no other notice has a negative one.
            id: NoticeId(-id),
            recipients: vec![recipient],
            subject,
            body,
            message_id,
            in_reply_to: None,
            decided_at,
            tries,
        };
        match hand_over(&farm.config(), &notice).await {
            Ok(()) => {
                tracing::info!(subject = notice.subject, "mail sent to an owner");
                farm.store
                    .write(move |tx| Box::pin(async move { tx.delete_sent_owner_notice(id).await }))
                    .await?;
            }
            Err(Refused { why, for_good }) => {
                tracing::warn!(subject = notice.subject, "mail not accepted: {why}");
                let again = now() + backoff(RETRY, tries + 1, unit());
                let again = (!for_good && tries < MAX_TRIES).then_some(again);
                farm.store
                    .write(move |tx| {
                        Box::pin(async move { tx.mark_owner_notice_failed(id, &why, again).await })
                    })
                    .await?;
            }
        }
    }
    Ok(())
}

struct Refused {
    why: String,
    for_good: bool,
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Refused {
        Refused { why: format!("{error:#}"), for_good: false }
    }
}

async fn hand_over(config: &Config, notice: &Notice) -> Result<(), Refused> {
    let message =
        message(config, notice).map_err(|error| Refused { why: format!("{error:#}"), for_good: true })?;
    match &config.mail {
        None => {
            let (folder, name) = (config.data.join("mail"), format!("{}.{}", notice.decided_at, notice.id));
            let bytes = message.formatted();
            let kept = tokio::task::spawn_blocking(move || maildir(&folder, &name, &bytes)).await;
            kept.context("writing into the Maildir")?.context("writing into the Maildir")?;
            Ok(())
        }
        Some(mail) => send(&transport(mail).await?, mail, &message).await,
    }
}

/// Hands a mail to all its recipients at once. When the server refuses that for good, perhaps because of one bad address,
/// each is tried alone, and the mail counts as sent if at least one accepts it.
async fn send(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    mail: &MailConfig,
    message: &Message,
) -> Result<(), Refused> {
    let refused = |error: lettre::transport::smtp::Error| Refused {
        for_good: error.is_permanent(),
        why: format!("{}:{}: {error}", mail.smtp.host, mail.smtp.port),
    };
    let (envelope, bytes) = (message.envelope(), message.formatted());
    let first = match transport.send_raw(envelope, &bytes).await {
        Ok(_) => return Ok(()),
        Err(error) => refused(error),
    };
    if !first.for_good || envelope.to().len() < 2 {
        return Err(first);
    }
    let mut is_accepted = false;
    for recipient in envelope.to() {
        let alone =
            Envelope::new(envelope.from().cloned(), vec![recipient.clone()]).context("addressing a mail")?;
        match transport.send_raw(&alone, &bytes).await {
            Ok(_) => is_accepted = true,
            Err(error) => tracing::warn!(%recipient, "mail not accepted: {}", refused(error).why),
        }
    }
    if is_accepted { Ok(()) } else { Err(first) }
}

fn message(config: &Config, notice: &Notice) -> Result<Message> {
    let from = match &config.mail {
        Some(mail) => mail.from.clone(),
        None => Mailbox::new(Some(config.name.clone()), Address::new("farm", "localhost")?),
    };
    let recipient = |recipient: &String| recipient.parse::<Address>().context("a recipient");
    let mut recipients: Vec<Address> = notice.recipients.iter().map(recipient).collect::<Result<_>>()?;
    if recipients.is_empty() {
        recipients.push(Address::new("farm", "localhost")?);
    }
    let envelope = Envelope::new(Some(from.email.clone()), recipients).context("addressing a mail")?;
    let mut builder = Message::builder()
        .from(from)
        .envelope(envelope)
        .message_id(Some(notice.message_id.clone()))
        .raw_header(header("Auto-Submitted", "auto-generated"));
    builder = match encoded_subject(&notice.subject) {
        None => builder.subject(&notice.subject),
        Some(encoded) => {
            let name = HeaderName::new_from_ascii_str("Subject");
            let raw = notice.subject.clone();
            builder.raw_header(HeaderValue::dangerous_new_pre_encoded(name, raw, encoded))
        }
    };
    builder = addressed(builder, config, notice)?;
    if let Some(root) = &notice.in_reply_to {
        builder = builder.in_reply_to(root.clone()).references(root.clone());
    }
    builder.header(ContentType::TEXT_PLAIN).body(notice.body.clone()).context("composing a mail")
}

/// Shows only those recipients that may know each other. A farm without a server keeps the others in its own folder, too.
fn addressed(mut builder: MessageBuilder, config: &Config, notice: &Notice) -> Result<MessageBuilder> {
    if notice.recipients.is_empty() {
        // There is no recipient; the mail is kept all the same, for the operator.
        return Ok(builder.to(Mailbox::new(None, Address::new("farm", "localhost")?)));
    }
    let lists = config.mail.iter().flat_map(|mail| mail.list.iter().map(ToString::to_string)).collect();
    let of_project =
        |project: &ProjectConfig| project.contacts.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let contacts: Vec<BTreeSet<String>> = config.projects.iter().map(of_project).collect();
    let shown = addressees(&notice.recipients, &lists, &contacts);
    let (shown, hidden): (Vec<String>, Vec<String>) =
        notice.recipients.iter().cloned().partition(|recipient| shown.contains(&recipient));
    builder = match shown.is_empty() {
        true => builder.raw_header(header("To", "undisclosed-recipients:;")),
        false => builder.raw_header(addresses("To", &shown)),
    };
    if config.mail.is_none() && !hidden.is_empty() {
        builder = builder.raw_header(addresses("Bcc", &hidden)).keep_bcc();
    }
    Ok(builder)
}

/// The library does not fold such a header, and servers refuse long lines.
fn addresses(name: &'static str, addresses: &[String]) -> HeaderValue {
    let raw = addresses.join(", ");
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), raw, folded(name, addresses))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_string())
}

async fn transport(mail: &MailConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let smtp = &mail.smtp;
    type Transport = AsyncSmtpTransport<Tokio1Executor>;
    let mut builder = match smtp.security {
        Security::Plain => Transport::builder_dangerous(&smtp.host),
        Security::Tls => Transport::relay(&smtp.host).context("preparing TLS")?,
        Security::StartTls => Transport::starttls_relay(&smtp.host).context("preparing TLS")?,
    };
    builder = builder.port(smtp.port).timeout(Some(Duration::from_secs(60)));
    if let Some(login) = &smtp.login {
        let reads = login.clone();
        let password = tokio::task::spawn_blocking(move || reads.password())
            .await?
            .with_context(|| format!("reading the mail password from {}", login.password_file.display()))?;
        builder = builder.credentials(Credentials::new(login.user.clone(), password));
    }
    Ok(builder.build())
}

/// Delivers by the rules of a Maildir: the mail is written and synced in `tmp`, then moved into `new`.
#[expect(clippy::disallowed_methods, reason = "runs on a blocking thread")]
fn maildir(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
    for part in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let (written, delivered) = (folder.join("tmp").join(name), folder.join("new").join(name));
    let mut file = std::fs::File::create(&written)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(written, &delivered)?;
    Ok(delivered)
}
