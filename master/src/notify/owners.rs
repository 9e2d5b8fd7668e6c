//! Mail to the owners of workers: each hears only of the own machine, and nobody else hears of it.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::notice::mail::MailText;
use domain::volunteer::Rest;
use domain::volunteer::owner_mail::{absent, is_older, mails_due, outdated};
use domain::words::ids::Timestamp;
use store::OwnedWorker;

use crate::config::Config;
use crate::farm::{Farm, now};
use crate::notify::write::host;

/// How often absences are counted.
pub const PERIOD: Duration = Duration::from_secs(60);

/// Counts how long workers have been away, and writes the mails that are due. `up` is the time since the last call, in which
/// the master was up: an absence of the master is nobody's.
pub async fn inform_owners(farm: &Farm, up: Duration) -> Result<()> {
    let (config, at) = (farm.config(), now());
    let ms = u64::try_from(up.as_millis()).unwrap_or(u64::MAX);
    let written = farm.store.write(move |tx| {
        Box::pin(async move {
            tx.add_absence(ms, Rest::Owner.as_str(), at).await?;
            let mut written = 0;
            for worker in tx.owned_workers().await? {
                if let Some(due) = due(&worker, &config) {
                    let id = message_id(&worker, &due, &config, at);
                    let MailText { subject, body } = &due.text;
                    let facts = (due.absence_mails, due.outdated.as_deref());
                    tx.put_owner_notice(&worker, (subject, body, &id), facts, at).await?;
                    written += 1;
                }
            }
            Ok(written)
        })
    });
    if written.await.context("counting how long workers have been away")? > 0 {
        farm.activations.post.notify_one();
    }
    Ok(())
}

struct DueMail {
    text: MailText,
    absence_mails: u32,
    outdated: Option<String>,
}

/// At most one mail at a time.
fn due(worker: &OwnedWorker, config: &Config) -> Option<DueMail> {
    let (farm, url, version) = (&config.name, &config.url, env!("CARGO_PKG_VERSION"));
    let number = mails_due(Duration::from_millis(worker.absent_ms));
    if number > worker.absence_mails {
        let text = absent(&worker.name, number, farm, url);
        return Some(DueMail { text, absence_mails: number, outdated: None });
    }
    let is_reported = worker.outdated_mailed.as_deref() == Some(version);
    (!is_reported && is_older(&worker.version, version)).then(|| DueMail {
        text: outdated(&worker.name, &worker.version, version, farm, url),
        absence_mails: worker.absence_mails,
        outdated: Some(version.to_string()),
    })
}

fn message_id(worker: &OwnedWorker, due: &DueMail, config: &Config, at: Timestamp) -> String {
    let what = if due.outdated.is_some() { "outdated" } else { "absent" };
    format!("<owner.{}.{what}.{at}@{}>", worker.worker, host(&config.url))
}
