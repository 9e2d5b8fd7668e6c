//! `farm-soak SECONDS`: harms a farm for so long and says what became of it. `FARM_SEED` repeats a run's dice.

use std::time::Duration;

use trunkfarm_tests::soak::Soak;

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(600), |text| text.parse())?;
    Soak::new().run(Duration::from_secs(seconds))
}
