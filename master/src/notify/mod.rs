//! Decides and writes mail: loads what is known of each culprit's thread, lets `domain::notice` decide, and puts the mails
//! that are due into the outbox.

mod backlog;
mod canaries;
pub mod fetch;
pub mod first_result;
mod load;
mod new_failures;
pub mod own_inputs;
pub mod owners;
pub mod post;
mod reach;
mod unstable;
mod write;

use domain::notice;
use domain::words::ids::Timestamp;
use store::Write;

use crate::config::Config;
use backlog::{Backlogs, follow_up, notify_contacts_of_new_projects, sort_out};
use canaries::trunks_with_failing_canaries;
use load::{load_context, load_correction, load_thread, wrong_claims};
use new_failures::notify_contacts_of_new_failures;
use reach::count_unreached;
use unstable::notify_contacts_of_unstable_names;
use write::put_mail;

/// Puts all mails that are due now into the outbox.
pub async fn notify(tx: &mut Write<'_>, config: &Config, at: Timestamp) -> store::Result<()> {
    count_unreached(tx).await?;
    let context = load_context(tx, config).await?;
    // A farm that cannot trust its results announces them when it can.
    let failing = trunks_with_failing_canaries(tx).await?;
    for claim in wrong_claims(tx, &failing).await? {
        let inputs = load_correction(tx, config, &claim, at).await?;
        for mail in notice::correct(&inputs, &context).mails {
            put_mail(tx, config, claim.change, mail, at).await?;
        }
    }
    follow_up(tx, config, &context, &failing, at).await?;
    let mut backlogs = Backlogs::new();
    for culprit in tx.culprits_to_notify().await? {
        let thread = load_thread(tx, config, culprit, &failing, at).await?;
        if !thread.is_canary_failing {
            sort_out(tx, &mut backlogs, culprit, &thread).await?;
        }
        let decision = notice::notify(&thread, &context, at);
        tracing::debug!(change = thread.change.sha, waits = ?decision.waits, "decided on mail");
        for mail in decision.mails {
            put_mail(tx, config, culprit, mail, at).await?;
        }
    }
    notify_contacts_of_new_projects(tx, config, &context, &backlogs, at).await?;
    notify_contacts_of_new_failures(tx, config, &failing, at).await?;
    notify_contacts_of_unstable_names(tx, config, at).await
}
