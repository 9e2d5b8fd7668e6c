//! How much memory a step's processes hold together, by what `/proc` says: not every volunteer's machine lets us make
//! control groups. It is looked at twice a second, so a step may overshoot its limit for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::time::{Interval, MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_millis(500);

/// When to look.
pub fn clock() -> Interval {
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

struct Member {
    parent: i32,
    session: i32,
    pages: u64,
}

/// What the processes of a step hold: those that come from its first one, and those of its session that it has left.
/// Pages that are shared with files are nobody's.
pub fn held_by(first: Pid) -> u64 {
    let Ok(folder) = fs::read_dir("/proc") else { return 0 };
    let ids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // A process may end while it is looked at: then it holds nothing.
    let members: BTreeMap<i32, Member> = ids.filter_map(|id| Some((id, member(id)?))).collect();
    let is_its = |mut id: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..=members.len() {
            match members.get(&id) {
                _ if id == first.as_raw() => return true,
                Some(member) if member.session == first.as_raw() => return true,
                Some(member) => id = member.parent,
                None => return false,
            }
        }
        false
    };
    let pages: u64 = members.iter().filter(|(id, _)| is_its(**id)).map(|(_, member)| member.pages).sum();
    pages.saturating_mul(page_bytes())
}

fn member(id: i32) -> Option<Member> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
    // The second word is the program's name in brackets, and may hold anything.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    let parent = words.next()?.parse().ok()?;
    let session = words.nth(1)?.parse().ok()?;
    let mut sizes = statm.split_whitespace().skip(1).map(|size| size.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (sizes.next()?, sizes.next()?);
    Some(Member { parent, session, pages: resident.saturating_sub(shared) })
}

fn page_bytes() -> u64 {
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

/// How often this machine has killed a process because it had no memory left. It never falls while the machine is up.
pub fn kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_some_memory_and_its_children_are_its_own() {
        let own = held_by(Pid::this());
        assert!(own > 100 << 10, "{own}");
        let ballast = vec![1_u8; 64 << 20];
        assert!(held_by(Pid::this()) >= own.saturating_add(32 << 20), "{}", ballast.len());
    }
}
