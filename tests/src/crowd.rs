//! Many workers in one process: each has a key and a session of its own, uses the real protocol, and accepts no build.

use std::time::{Duration, Instant};

use protocol::FromWorker;

use crate::farm::Farm;
use crate::wire::{Stranger, Wire};

/// How many of them dial at the same time.
const AT_ONCE: usize = 16;

pub struct Crowd {
    members: Vec<Stranger>,
    wires: Vec<Wire>,
}

impl Crowd {
    /// Approved workers that have not connected yet.
    pub fn approved(farm: &Farm, size: u16) -> Crowd {
        let members: Vec<Stranger> = (0..size).map(Stranger::with_number).collect();
        for (number, member) in members.iter().enumerate() {
            member.join_and_be_approved(farm, &format!("c{number}"));
        }
        Crowd { members, wires: Vec::new() }
    }

    /// Connects the first `size` workers at the same time. Returns how long it took until all were admitted.
    pub fn connect_first(&mut self, farm: &Farm, size: usize) -> Duration {
        let began = Instant::now();
        let members = &self.members[..size];
        self.wires = std::thread::scope(|scope| {
            let dialing: Vec<_> = members
                .chunks(size.div_ceil(AT_ONCE).max(1))
                .map(|some| {
                    scope.spawn(|| some.iter().map(|member| member.connect(farm, 0)).collect::<Vec<_>>())
                })
                .collect();
            dialing.into_iter().flat_map(|some| some.join().expect("each is welcomed")).collect()
        });
        began.elapsed()
    }

    /// Sends one heartbeat for each worker, spread over a period like those of real workers.
    pub fn send_heartbeats(&mut self, period: Duration) {
        let began = Instant::now();
        let count = self.wires.len() as u32;
        for (wire, number) in self.wires.iter_mut().zip(1..) {
            wire.send(&FromWorker::Heartbeat);
            std::thread::park_timeout((period * number / count).saturating_sub(began.elapsed()));
        }
    }

    /// Closes all connections.
    pub fn disconnect(&mut self) {
        self.wires.clear();
    }
}
