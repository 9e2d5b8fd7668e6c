//! Running steps, as processes of the system: how many can run, and how they are made to stand still. A stopped step's time
//! does not count, and its limits wait with it.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proc_stat::{self, ProcStat};

/// A step that forks while it is stopped is looked at again; one that forks faster than that stops with the next call.
const ROUNDS: u32 = 20;

/// Stops all processes of running steps. Call it again as long as they are to stand still: new ones may have come.
pub fn freeze() {
    for _ in 0..ROUNDS {
        let running: Vec<i32> = steps()
            .into_iter()
            .filter(|(_, found)| !"TtZX".contains(found.state))
            .map(|(id, _)| id)
            .collect();
        if running.is_empty() {
            return;
        }
        running.into_iter().for_each(|id| signal(id, Signal::SIGSTOP));
    }
}

/// Lets them go on.
pub fn thaw() {
    steps()
        .into_iter()
        .filter(|(_, found)| found.state == 'T')
        .for_each(|(id, _)| signal(id, Signal::SIGCONT));
}

/// How many processes of running steps can run now.
pub fn runnable_steps() -> u32 {
    let count = steps().values().filter(|found| matches!(found.state, 'R' | 'D')).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn signal(id: i32, signal: Signal) {
    match kill(Pid::from_raw(id), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => tracing::warn!("cannot send {signal} to the process {id} of a step: {e}"),
    }
}

/// The descendants of this process that belong to another session: each step begins one, and this program's own helpers do not.
fn steps() -> BTreeMap<i32, ProcStat> {
    let mut all: BTreeMap<i32, ProcStat> = proc_stat::all().map(|stat| (stat.id, stat)).collect();
    let own = Pid::this().as_raw();
    let Some(session) = all.get(&own).map(|own| own.session) else { return BTreeMap::new() };
    let ours = |mut id: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..=all.len() {
            match all.get(&id) {
                Some(_) if id == own => return true,
                Some(found) => id = found.parent,
                None => return false,
            }
        }
        false
    };
    let kept: Vec<i32> =
        all.iter().filter(|(id, found)| found.session != session && ours(**id)).map(|(id, _)| *id).collect();
    all.retain(|id, _| kept.contains(id));
    all
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            std::thread::yield_now();
        }
    }

    fn state(child: &Child) -> char {
        proc_stat::of(i32::try_from(child.id()).unwrap()).map_or('X', |stat| stat.state)
    }

    #[test]
    fn a_step_stands_still_and_goes_on_and_a_helper_of_the_worker_is_left_alone() {
        let mut step =
            Command::new("setsid").args(["sh", "-c", "while :; do sleep 0.01; done"]).spawn().unwrap();
        let mut helper = Command::new("sleep").arg("1000").spawn().unwrap();
        let of_step = || steps().contains_key(&i32::try_from(step.id()).unwrap());
        until(of_step);
        freeze();
        until(|| state(&step) == 'T');
        assert_ne!(state(&helper), 'T');
        thaw();
        until(|| state(&step) != 'T');
        step.kill().unwrap();
        step.wait().unwrap();
        helper.kill().unwrap();
        helper.wait().unwrap();
    }
}
