//! How much memory a step's processes use together, how many they are, what they use of the disk, and whether they are
//! stopped, as `/proc` reports it: not every volunteer's machine lets us create control groups. We look twice a second, so
//! a step may exceed its limits for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use domain::clock::{ProcessActivity, StepProcess, is_stopped};
use nix::unistd::{Pid, SysconfVar, sysconf};
use protocol::StepEnd;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::disk_watch::DiskWatch;
use super::process::MAX_PROCESSES;
use super::shared_memory;
use crate::proc_stat::{self, ProcStat};

/// The limit that the step's own user namespace has is a little higher, so that it is reached only between two looks.
const TOO_MANY_PROCESSES: u64 = MAX_PROCESSES as u64 * 15 / 16;
const PERIOD: Duration = Duration::from_millis(500);

/// Watches the processes of one step. `/proc` is read on a thread that may block: a machine with many processes would
/// otherwise stall the runtime twice a second for each build.
pub struct ProcessWatch {
    leader: Pid,
    limit_bytes: u64,
    clock: Interval,
    /// None while it is on the thread that looks.
    disk: Option<DiskWatch>,
    /// Kept here, so that [`ProcessWatch::exceeded`] may be abandoned and called again.
    looking: Option<JoinHandle<(StepUsage, Option<DiskWatch>)>>,
    are_stopped: bool,
}

impl ProcessWatch {
    /// `leader` is the step's first process, which leads its session.
    pub fn new(leader: Pid, limit_bytes: u64, disk: DiskWatch) -> ProcessWatch {
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ProcessWatch { leader, limit_bytes, clock, disk: Some(disk), looking: None, are_stopped: false }
    }

    /// Waits until the step uses more than one of its limits, and returns that as its end; forever if it never does. May be
    /// abandoned and called again.
    pub async fn exceeded(&mut self) -> StepEnd {
        loop {
            let looking = match &mut self.looking {
                Some(looking) => looking,
                None => {
                    self.clock.tick().await;
                    let (leader, limit_bytes, mut disk) = (self.leader, self.limit_bytes, self.disk.take());
                    self.looking.insert(tokio::task::spawn_blocking(move || {
                        let mut usage = look(leader, limit_bytes);
                        usage.is_disk_exceeded = disk.as_mut().is_some_and(DiskWatch::is_exceeded);
                        (usage, disk)
                    }))
                }
            };
            let seen = looking.await;
            self.looking = None;
            // A look that failed shows nothing; the next one follows in half a second.
            let Ok((usage, disk)) = seen else { continue };
            self.disk = disk;
            self.are_stopped = usage.is_stopped;
            if usage.processes >= TOO_MANY_PROCESSES {
                return StepEnd::TooManyProcesses;
            }
            if usage.bytes > self.limit_bytes {
                return StepEnd::OutOfMemory;
            }
            if usage.is_disk_exceeded {
                return StepEnd::DiskLimit;
            }
        }
    }

    /// Whether the step could not run when [`ProcessWatch::exceeded`] looked last.
    pub fn are_stopped(&self) -> bool {
        self.are_stopped
    }
}

struct StepUsage {
    bytes: u64,
    /// Processes and their threads.
    processes: u64,
    is_stopped: bool,
    is_disk_exceeded: bool,
}

struct ProcessInfo {
    process: StepProcess,
    session: i32,
    pages: u64,
    threads: u64,
}

/// What the processes of a step do: the descendants of its first process, and those of its session whose parent has
/// ended. Pages that are shared with files count for no process; other shared memory counts where the machine has so much of it
/// that the step may be beyond its limit.
fn look(leader: Pid, limit_bytes: u64) -> StepUsage {
    // A process may end while we read about it: then it uses nothing.
    let processes: BTreeMap<i32, ProcessInfo> =
        proc_stat::all().filter_map(|stat| Some((stat.id, process_info(&stat)?))).collect();
    let belongs_to_step = |mut id: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..=processes.len() {
            match processes.get(&id) {
                _ if id == leader.as_raw() => return true,
                Some(info) if info.session == leader.as_raw() => return true,
                Some(info) => id = info.process.parent,
                None => return false,
            }
        }
        false
    };
    let of_step = || processes.iter().filter(|(id, _)| belongs_to_step(**id)).map(|(_, info)| info);
    let pages: u64 = of_step().map(|info| info.pages).sum();
    let threads: u64 = of_step().map(|info| info.threads).sum();
    let seen: Vec<StepProcess> = of_step().map(|info| info.process).collect();
    let mut bytes = pages.saturating_mul(page_bytes());
    if bytes <= limit_bytes && bytes.saturating_add(shared_memory::of_machine()) > limit_bytes {
        let ids: Vec<i32> = seen.iter().map(|process| process.id).collect();
        bytes = bytes.max(shared_memory::of_processes(&ids));
    }
    StepUsage { bytes, processes: threads, is_stopped: is_stopped(&seen), is_disk_exceeded: false }
}

fn process_info(stat: &ProcStat) -> Option<ProcessInfo> {
    let statm = fs::read_to_string(format!("/proc/{}/statm", stat.id)).ok()?;
    let activity = match stat.state {
        'T' => ProcessActivity::Stopped,
        'Z' | 'X' => ProcessActivity::Ended,
        _ => ProcessActivity::Runs,
    };
    let mut sizes = statm.split_whitespace().skip(1).map(|size| size.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (sizes.next()?, sizes.next()?);
    let process = StepProcess { id: stat.id, parent: stat.parent, activity };
    let pages = resident.saturating_sub(shared);
    Some(ProcessInfo { process, session: stat.session, pages, threads: stat.threads })
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
        let before = look(Pid::this(), u64::MAX).bytes;
        assert!(before > 100 << 10, "{before}");
        let ballast = vec![1_u8; 64 << 20];
        assert!(look(Pid::this(), u64::MAX).bytes >= before.saturating_add(32 << 20), "{}", ballast.len());
    }
}
