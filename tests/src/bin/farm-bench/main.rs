//! What the farm costs beside the work itself: one table, each figure beside what a bare command takes in the same run.
//!
//! Real processes with all guarantees on. Run it in release on a machine that does nothing else; `farm-bench lines`
//! counts the sources only. A spare look at a page would be a load of its own, so what happens is read from logs.

mod bare;
mod cases;
mod idle;
mod latency;
mod lines;
mod live;
mod load;
mod logs;
mod loud;
mod scene;
mod search;
mod slow_disk;
mod table;

use table::Table;

type Measure = fn(&mut Table) -> anyhow::Result<()>;

/// Everything that is measured, in the table's order.
const MEASURES: [(&str, Measure); 10] = [
    ("latency", latency::measure),
    ("load", load::measure),
    ("logs", logs::measure),
    ("loud", loud::measure),
    ("slow-disk", slow_disk::measure),
    ("live", live::measure),
    ("idle", idle::measure),
    ("cases", cases::measure),
    ("search", search::measure),
    ("lines", lines::count),
];

fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1);
    let names = || MEASURES.map(|(name, _)| name);
    if let Some(unknown) = wanted.as_deref().filter(|wanted| !names().contains(wanted)) {
        anyhow::bail!("`{unknown}` is not known: expected {}, or nothing for all", names().join(", "));
    }
    let mut table = Table::default();
    for (name, measure) in MEASURES {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            eprintln!("measuring: {name}");
            measure(&mut table)?;
        }
    }
    print!("{table}");
    Ok(())
}
