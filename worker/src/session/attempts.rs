//! The attempts that this worker still has something to say about, and how far the master has heard it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use protocol::HeldAttempt;

use super::{MoreToReport, SessionOutput};

/// Bytes sent and not acknowledged, over all attempts. Enough to fill a slow link; the rest waits in the spools.
pub const WINDOW_BYTES: usize = 2 << 20;

#[derive(Default)]
pub struct Attempts {
    all: BTreeMap<i64, Attempt>,
    in_flight_bytes: usize,
    /// The attempt that spoke last: the next one speaks next, so that one loud build does not silence the others.
    spoke: i64,
}

struct Attempt {
    life: Life,
    /// Sequence numbers: `acknowledged <= sent <= written`.
    written: u64,
    sent: u64,
    acknowledged: u64,
    in_flight: VecDeque<(u64, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// It runs still, but nobody wants to hear of it.
    Dropped,
    /// Its last word is written.
    Finished,
}

impl Attempts {
    pub fn finished(held: impl IntoIterator<Item = (i64, u64)>) -> Attempts {
        let all = held
            .into_iter()
            .map(|(attempt, written)| (attempt, Attempt { written, ..Attempt::new(Life::Finished) }))
            .collect();
        Attempts { all, ..Attempts::default() }
    }

    /// False when it was begun before.
    pub fn begin(&mut self, attempt: i64) -> bool {
        if self.all.contains_key(&attempt) {
            return false;
        }
        self.all.insert(attempt, Attempt::new(Life::Running));
        true
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn is_running(&self, attempt: i64) -> bool {
        self.all.get(&attempt).is_some_and(|a| a.life == Life::Running)
    }

    /// Slots in use.
    pub fn occupied(&self) -> usize {
        self.all.values().filter(|a| a.life != Life::Finished).count()
    }

    pub fn held(&self) -> Vec<HeldAttempt> {
        self.wanted()
            .map(|(attempt, a)| HeldAttempt { attempt: *attempt, last_sequence: a.written })
            .collect()
    }

    pub fn written(&mut self, attempt: i64, sequence: u64, word: MoreToReport) -> Vec<SessionOutput> {
        let Some(a) = self.all.get_mut(&attempt) else { return Vec::new() };
        a.written = a.written.max(sequence);
        match (word, a.life) {
            (MoreToReport::One, Life::Running | Life::Dropped | Life::Finished) => Vec::new(),
            (MoreToReport::Last, Life::Running | Life::Finished) => {
                a.life = Life::Finished;
                Vec::new()
            }
            (MoreToReport::Last, Life::Dropped) => self.forget(attempt),
        }
    }

    /// The next record to send, if the window has room.
    pub fn next(&mut self) -> Option<(i64, u64)> {
        let attempt = self.next_speaker()?;
        self.spoke = attempt;
        self.all.get(&attempt).map(|a| (attempt, a.sent + 1))
    }

    pub fn has_next(&self) -> bool {
        self.next_speaker().is_some()
    }

    pub fn sent(&mut self, attempt: i64, sequence: u64, bytes: usize) {
        let Some(a) = self.all.get_mut(&attempt) else { return };
        a.sent = sequence;
        a.in_flight.push_back((sequence, bytes));
        self.in_flight_bytes += bytes;
    }

    /// A late or repeated ack changes nothing; one for words never written is not believed.
    pub fn acknowledged(&mut self, attempt: i64, sequence: u64) -> Vec<SessionOutput> {
        let Some(a) = self.all.get_mut(&attempt) else { return Vec::new() };
        if sequence > a.written {
            return Vec::new();
        }
        a.acknowledged = a.acknowledged.max(sequence);
        a.sent = a.sent.max(a.acknowledged);
        self.in_flight_bytes -= a.land(sequence);
        if a.is_delivered() { self.forget(attempt) } else { Vec::new() }
    }

    /// The master has everything up to `sequence`. An error when it has more than we ever wrote.
    pub fn resume(&mut self, attempt: i64, sequence: u64) -> Result<Vec<SessionOutput>, String> {
        let Some(a) = self.all.get_mut(&attempt) else { return Ok(Vec::new()) };
        if sequence > a.written {
            return Err(format!("its spool ends at {} and the master has {sequence}", a.written));
        }
        a.sent = sequence;
        a.acknowledged = sequence;
        Ok(if a.is_delivered() { self.forget(attempt) } else { Vec::new() })
    }

    pub fn stop(&mut self, attempt: i64, reason: &str) -> Vec<SessionOutput> {
        if self.is_running(attempt) {
            vec![SessionOutput::Stop { attempt, reason: reason.to_string() }]
        } else {
            Vec::new()
        }
    }

    pub fn stop_all(&mut self, reason: &str) -> Vec<SessionOutput> {
        let running: Vec<i64> =
            self.all.keys().copied().filter(|attempt| self.is_running(*attempt)).collect();
        running.into_iter().flat_map(|attempt| self.stop(attempt, reason)).collect()
    }

    /// Nobody wants to hear of it any more. Its slot is free again when it has ended.
    pub fn give_up(&mut self, attempt: i64, reason: &str) -> Vec<SessionOutput> {
        let Some(a) = self.all.get_mut(&attempt) else { return Vec::new() };
        match a.life {
            Life::Running => {
                a.life = Life::Dropped;
                self.in_flight_bytes -= a.land(u64::MAX);
                vec![SessionOutput::Stop { attempt, reason: reason.to_string() }]
            }
            Life::Dropped => Vec::new(),
            Life::Finished => self.forget(attempt),
        }
    }

    /// What was on its way may be lost: all that is not acknowledged is sent again.
    pub fn disconnected(&mut self) {
        for a in self.all.values_mut() {
            a.sent = a.acknowledged;
            a.in_flight.clear();
        }
        self.in_flight_bytes = 0;
    }

    fn wanted(&self) -> impl Iterator<Item = (&i64, &Attempt)> {
        self.all.iter().filter(|(_, a)| a.life != Life::Dropped)
    }

    fn next_speaker(&self) -> Option<i64> {
        if self.in_flight_bytes >= WINDOW_BYTES {
            return None;
        }
        let after = self.all.range((Bound::Excluded(self.spoke), Bound::Unbounded));
        let all_round = after.chain(self.all.range(..=self.spoke));
        all_round
            .filter(|(_, a)| a.life != Life::Dropped && a.sent < a.written)
            .map(|(attempt, _)| *attempt)
            .next()
    }

    fn forget(&mut self, attempt: i64) -> Vec<SessionOutput> {
        if let Some(mut a) = self.all.remove(&attempt) {
            self.in_flight_bytes -= a.land(u64::MAX);
        }
        vec![SessionOutput::Forget { attempt }]
    }
}

impl Attempt {
    fn new(life: Life) -> Attempt {
        Attempt { life, written: 0, sent: 0, acknowledged: 0, in_flight: VecDeque::new() }
    }

    fn is_delivered(&self) -> bool {
        self.life == Life::Finished && self.acknowledged == self.written
    }

    /// Takes the records up to `sequence` out of the flight, and returns their bytes.
    fn land(&mut self, sequence: u64) -> usize {
        let landed = self.in_flight.partition_point(|(in_flight, _)| *in_flight <= sequence);
        self.in_flight.drain(..landed).map(|(_, bytes)| bytes).sum()
    }
}
