//! Records when the connected workers were last seen. Otherwise each heartbeat of an idle worker would be a commit.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::farm::Farm;

/// When the master dies, a worker was seen at most this much later than the store says.
pub const PERIOD: Duration = Duration::from_secs(60);

pub async fn record(farm: &Farm) -> Result<()> {
    let seen = farm.connections.take_seen();
    if seen.is_empty() {
        return Ok(());
    }
    let recorded = farm.store.write(move |tx| Box::pin(async move { tx.record_workers_seen(&seen).await }));
    recorded.await.context("recording when workers were last seen")
}
