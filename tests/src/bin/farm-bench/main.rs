//! What the farm costs in addition to the work itself: one table, with each figure next to that of a bare command in the
//! same run.
//!
//! It uses real processes with all guarantees. Run it in release mode on an otherwise idle machine; `farm-bench lines` only
//! counts the sources. Requests for pages would be a load of their own, so the bench reads logs to see what happens.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

mod attempt;
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
mod selection;
mod slow_disk;
mod table;

use table::Table;

type Measure = fn(&mut Table) -> anyhow::Result<()>;

/// Everything that is measured, in the table's order.
const MEASURES: [(&str, Measure); 12] = [
    ("latency", latency::measure),
    ("attempt", attempt::measure),
    ("load", load::measure),
    ("logs", logs::measure),
    ("loud", loud::measure),
    ("slow-disk", slow_disk::measure),
    ("live", live::measure),
    ("idle", idle::measure),
    ("cases", cases::measure),
    ("search", search::measure),
    ("selection", selection::measure),
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
