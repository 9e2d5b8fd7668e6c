//! What idle workers cost the master, and how soon all are back after a restart.

use std::time::{Duration, Instant};

use anyhow::Result;
use trunkfarm_tests::crowd::Crowd;

use crate::scene::{self, processor_time};
use crate::table::{Table, count, mebibytes};

const CROWDS: [usize; 3] = [0, 200, 2_000];
/// The period of a worker's heartbeats.
const PERIOD: Duration = Duration::from_secs(15);
const BACK: usize = 500;

pub fn measure(table: &mut Table) -> Result<()> {
    let mut farm = scene::farm_with_projects(0);
    farm.serve();
    let mut crowd = Crowd::approved(&farm, CROWDS[2] as u16);
    for size in CROWDS {
        // A new process, so that its memory is the memory for this crowd.
        farm.stop_master();
        farm.serve();
        crowd.connect_first(&farm, size);
        scene::until_idle(&mut farm)?;
        let (began, before) = (Instant::now(), processor_time(farm.master().id())?);
        match size {
            0 => std::thread::park_timeout(PERIOD),
            _ => crowd.send_heartbeats(PERIOD),
        }
        let used = processor_time(farm.master().id())?.saturating_sub(before);
        table.row(
            format!("master with {} that do nothing", count(size, "worker")),
            mebibytes(farm.master().memory_bytes()),
            format!("{:.2} % of one processor", 100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64()),
        );
        crowd.disconnect();
    }
    farm.kill_master();
    farm.serve();
    let took = crowd.connect_first(&farm, BACK);
    table.row(
        format!("all of {BACK} workers welcome after a restart"),
        format!("{:.2} s", took.as_secs_f64()),
        "they dial at once, 16 at a time",
    );
    Ok(())
}
