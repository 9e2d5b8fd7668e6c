//! Many workers in one process: each has a key and a session of its own, speaks the real protocol, and takes no build.

use std::time::{Duration, Instant};

use protocol::FromWorker;

use crate::farm::Farm;
use crate::wire::{Stranger, Wire};

/// How many of them dial at the same moment.
const AT_ONCE: usize = 16;

pub struct Crowd {
    members: Vec<Stranger>,
    wires: Vec<Wire>,
}

impl Crowd {
    /// So many workers that were let in, and have not come yet.
    pub fn approved(farm: &Farm, size: u16) -> Crowd {
        let members: Vec<Stranger> = (0..size).map(Stranger::number).collect();
        for (number, member) in members.iter().enumerate() {
            member.join_and_be_approved(farm, &format!("c{number}"));
        }
        Crowd { members, wires: Vec::new() }
    }

    /// The first so many dial, all together; says how long it took until the last was welcome.
    pub fn come(&mut self, farm: &Farm, size: usize) -> Duration {
        let began = Instant::now();
        let members = &self.members[..size];
        self.wires = std::thread::scope(|scope| {
            let dialling: Vec<_> = members
                .chunks(size.div_ceil(AT_ONCE).max(1))
                .map(|some| {
                    scope.spawn(|| some.iter().map(|member| member.greet(farm, 0)).collect::<Vec<_>>())
                })
                .collect();
            dialling.into_iter().flat_map(|some| some.join().expect("each is welcomed")).collect()
        });
        began.elapsed()
    }

    /// One heartbeat of each, spread over a period as real workers' are.
    pub fn beat(&mut self, period: Duration) {
        let began = Instant::now();
        let count = self.wires.len() as u32;
        for (wire, number) in self.wires.iter_mut().zip(1..) {
            wire.say(&FromWorker::Heartbeat);
            std::thread::park_timeout((period * number / count).saturating_sub(began.elapsed()));
        }
    }

    /// All connections are closed.
    pub fn go(&mut self) {
        self.wires.clear();
    }
}
