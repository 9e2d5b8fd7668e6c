//! Workers that the operator has disabled or removed, or whose owner has left: their builds go to others, and their sessions
//! end. The command wrote a row, and this task of the running master does the rest.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::words::ids::Timestamp;
use domain::words::states::Standing;
use protocol::FromMaster;

use crate::farm::{Farm, now};
use crate::settle::settle_decline;

/// How long a machine may wait for the operator.
pub const PENDING: Duration = Duration::from_secs(7 * 24 * 3600);
/// How soon a command takes effect.
pub const PERIOD: Duration = Duration::from_secs(2);

pub async fn enforce(farm: &Farm) -> Result<()> {
    let mut latest = farm.store.latest().await?;
    let mut read = latest.read();
    let barred = read.barred_workers().await?;
    if barred.is_empty() {
        return Ok(());
    }
    let attempts = read.live_attempts().await?;
    drop(latest);
    let at = now();
    for (worker, standing) in barred {
        let reason = why(standing);
        for attempt in attempts.iter().filter(|attempt| attempt.worker == worker) {
            let (row, id) = (attempt.clone(), attempt.id);
            // Declined, and not lost: no try is spent, since nothing has failed.
            let settled = farm.store.write(move |tx| {
                Box::pin(async move {
                    match tx.attempt(id).await?.is_some_and(|now| now.state.is_live()) {
                        true => settle_decline(tx, &row, reason.to_string(), at).await.map(drop),
                        false => Ok(()),
                    }
                })
            });
            settled.await.context("taking back what a worker holds")?;
            let cancel = FromMaster::Cancel { attempt: id.0, reason: reason.to_string() };
            farm.connections.send(worker, cancel);
            farm.activations.dispatch.notify_one();
        }
        if farm.connections.is_present(worker) {
            farm.connections.send(worker, FromMaster::Refused { reason: reason.to_string() });
            // Nothing waits for it any longer than for a worker that is away.
            farm.store.write(move |tx| Box::pin(async move { tx.unbind_builds(worker).await })).await?;
        }
    }
    Ok(())
}

/// Deletes the requests to join that nobody has answered.
pub async fn expire_joins(farm: &Farm, at: Timestamp) -> Result<()> {
    let expired =
        farm.store.write(move |tx| Box::pin(async move { tx.expire_joins(at - PENDING, at).await }));
    match expired.await.context("deleting old requests to join")? {
        0 => {}
        count => tracing::info!(count, "deleted requests to join that nobody has answered"),
    }
    Ok(())
}

/// What a worker that may not work is told.
pub fn why(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "the worker may work",
        Standing::Disabled => "the operator has disabled this worker; ask the operator to enable it",
        Standing::Removed => {
            "this machine was removed from the farm; run `farm-worker join URL` to ask for admission again"
        }
    }
}
