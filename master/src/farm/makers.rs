//! Which workers may make toolchains now.

use domain::dispatch::AWAY;
use domain::dispatch::makers::Maker;
use domain::words::ids::Timestamp;
use store::Read;

/// The makers that are connected, or that are waited for.
pub async fn load_makers(read: &mut Read<'_>, at: Timestamp) -> store::Result<Vec<Maker>> {
    read.makers(at - AWAY).await
}
