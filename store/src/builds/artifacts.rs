//! Packed toolchains by their hash; the files are objects.

use domain::words::ids::{Timestamp, WorkerId};
use protocol::{PackedToolchain, Sha256};

use crate::db::number::{from_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::Result;

/// A packed toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Names its file.
    pub sha256: Sha256,
    /// The size of the file.
    pub bytes: u64,
    /// The only worker on which its paths are right: it was made without a sandbox.
    pub only_worker: Option<WorkerId>,
}

impl Read<'_> {
    /// A toolchain by its hash, whether or not its file is still kept.
    pub async fn artifact(&mut self, sha256: Sha256) -> Result<Option<Artifact>> {
        let sha = sha256.0.as_slice();
        let row = sqlx::query!("select bytes, only_worker_id from artifact where sha256 = ?", sha)
            .fetch_optional(&mut *self.connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (bytes, only_worker) = (from_row(row.bytes)?, row.only_worker_id.map(WorkerId));
        Ok(Some(Artifact { sha256, bytes, only_worker }))
    }
}

impl Write<'_> {
    /// `only_here` when it was made without a sandbox: its paths are then true on its maker only.
    pub async fn put_artifact(
        &mut self,
        made: PackedToolchain,
        maker: WorkerId,
        only_here: bool,
        now: Timestamp,
    ) -> Result<()> {
        let (sha, bytes) = (made.sha256.0.as_slice(), to_row(made.bytes));
        let only = only_here.then_some(maker.0);
        // If the same toolchain is made again, it keeps its first maker; if it was pruned, its file is there
        // again.
        sqlx::query!(
            "insert into artifact (sha256, bytes, maker_id, only_worker_id, made_at_ms)
             values (?, ?, ?, ?, ?) on conflict (sha256) do update set pruned_at_ms = null",
            sha,
            bytes,
            maker.0,
            only,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
