//! `farm-soak SECONDS`: injects faults into a farm for this time and verifies the result. `FARM_SEED` repeats a run.

use std::time::Duration;

use trunkfarm_tests::soak::Soak;

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(600), |text| text.parse())?;
    Soak::create().run(Duration::from_secs(seconds))
}
