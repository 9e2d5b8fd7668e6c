//! What the farm costs beside the work itself: one table, each figure beside what a bare command takes in the same run.
//!
//! Real processes with all guarantees on. Run it in release on a machine that does nothing else; `farm-bench lines`
//! counts the sources only. A spare look at a page would be a load of its own, so what happens is read from logs.

mod bare;
mod latency;
mod lines;
mod load;
mod logs;
mod scene;
mod table;

use table::Table;

fn main() -> anyhow::Result<()> {
    let mut table = Table::default();
    match std::env::args().nth(1).as_deref() {
        None => {
            latency::measure(&mut table)?;
            load::measure(&mut table)?;
            logs::measure(&mut table)?;
            lines::count(&mut table)?;
        }
        Some("latency") => latency::measure(&mut table)?,
        Some("load") => load::measure(&mut table)?,
        Some("logs") => logs::measure(&mut table)?,
        Some("lines") => lines::count(&mut table)?,
        Some(other) => {
            anyhow::bail!("`{other}` is not known: expected latency, load, logs, lines, or nothing for all")
        }
    }
    print!("{table}");
    Ok(())
}
