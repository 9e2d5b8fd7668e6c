//! Notes when the workers that are here were last heard. Each heartbeat of an idle worker would be a commit otherwise.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::farm::Farm;

/// By so much at most a worker was heard later than the store says, when the master dies.
pub const PERIOD: Duration = Duration::from_secs(60);

pub async fn note(farm: &Farm) -> Result<()> {
    let heard = farm.connections.take_heard();
    if heard.is_empty() {
        return Ok(());
    }
    let noted = farm.store.write(move |tx| Box::pin(async move { tx.record_workers_seen(&heard).await }));
    noted.await.context("noting who was heard")
}
