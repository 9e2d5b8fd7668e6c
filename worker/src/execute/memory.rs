//! How much memory a step's processes use together, as `/proc` reports it: not every volunteer's machine lets us
//! create control groups. We measure twice a second, so a step may exceed its limit for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_millis(500);

/// Watches the memory of one step. `/proc` is read on a thread that may block: a machine with many processes would
/// otherwise stall the runtime twice a second for each build.
pub struct MemoryWatch {
    leader: Pid,
    limit_bytes: u64,
    clock: Interval,
    /// Kept here, so that [`MemoryWatch::exceeded`] may be abandoned and called again.
    measuring: Option<JoinHandle<u64>>,
}

impl MemoryWatch {
    /// `leader` is the step's first process, which leads its session.
    pub fn new(leader: Pid, limit_bytes: u64) -> MemoryWatch {
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        MemoryWatch { leader, limit_bytes, clock, measuring: None }
    }

    /// Waits until the step uses more memory than its limit; forever if it never does. May be abandoned and called
    /// again.
    pub async fn exceeded(&mut self) {
        loop {
            let measuring = match &mut self.measuring {
                Some(measuring) => measuring,
                None => {
                    self.clock.tick().await;
                    let leader = self.leader;
                    self.measuring.insert(tokio::task::spawn_blocking(move || used_bytes(leader)))
                }
            };
            let measured = measuring.await;
            self.measuring = None;
            // A measurement that failed shows nothing; the next one follows in half a second.
            if measured.is_ok_and(|bytes| bytes > self.limit_bytes) {
                return;
            }
        }
    }
}

struct ProcessInfo {
    parent: i32,
    session: i32,
    pages: u64,
}

/// What the processes of a step use: the descendants of its first process, and those of its session whose parent has
/// ended. Pages that are shared with files count for no process.
fn used_bytes(leader: Pid) -> u64 {
    let Ok(folder) = fs::read_dir("/proc") else { return 0 };
    let ids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // A process may end while we read about it: then it uses nothing.
    let processes: BTreeMap<i32, ProcessInfo> = ids.filter_map(|id| Some((id, process_info(id)?))).collect();
    let belongs_to_step = |mut id: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..=processes.len() {
            match processes.get(&id) {
                _ if id == leader.as_raw() => return true,
                Some(process) if process.session == leader.as_raw() => return true,
                Some(process) => id = process.parent,
                None => return false,
            }
        }
        false
    };
    let pages: u64 =
        processes.iter().filter(|(id, _)| belongs_to_step(**id)).map(|(_, process)| process.pages).sum();
    pages.saturating_mul(page_bytes())
}

fn process_info(id: i32) -> Option<ProcessInfo> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
    // The second word is the program's name in brackets, and may contain anything.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    let parent = words.next()?.parse().ok()?;
    let session = words.nth(1)?.parse().ok()?;
    let mut sizes = statm.split_whitespace().skip(1).map(|size| size.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (sizes.next()?, sizes.next()?);
    Some(ProcessInfo { parent, session, pages: resident.saturating_sub(shared) })
}

fn page_bytes() -> u64 {
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

/// How often this machine has killed a process because it ran out of memory. The number never falls while the machine
/// is up.
pub async fn oom_kills() -> u64 {
    let reading = tokio::task::spawn_blocking(|| fs::read_to_string("/proc/vmstat").unwrap_or_default());
    let vmstat = reading.await.unwrap_or_default();
    let line = vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_memory_and_new_memory_counts() {
        let before = used_bytes(Pid::this());
        assert!(before > 100 << 10, "{before}");
        let ballast = vec![1_u8; 64 << 20];
        assert!(used_bytes(Pid::this()) >= before.saturating_add(32 << 20), "{}", ballast.len());
    }
}
