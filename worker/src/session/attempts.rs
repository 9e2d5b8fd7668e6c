//! The attempts that this worker still has records of, and how far the master has acknowledged them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use protocol::HeldAttempt;

use super::message::{MoreToReport, SessionOutput};

/// Bytes sent and not acknowledged, over all attempts. This fills a slow link; the rest waits in the spools.
pub const WINDOW_BYTES: usize = 2 << 20;

#[derive(Default)]
pub struct Attempts {
    all: BTreeMap<i64, Attempt>,
    in_flight_bytes: usize,
    /// The attempt whose record was sent last. The next attempt is next, so that one verbose build does not silence the
    /// others.
    last_sender: i64,
}

struct Attempt {
    state: AttemptState,
    /// Sequence numbers: `acknowledged <= sent <= written`.
    written: u64,
    sent: u64,
    acknowledged: u64,
    in_flight: VecDeque<(u64, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AttemptState {
    Running,
    /// It still runs, but the master does not want its records.
    Dropped,
    /// Its last record is written.
    Finished,
}

impl Attempts {
    /// Attempts that an earlier process has finished, and the number of records of each.
    pub fn from_spools(held: impl IntoIterator<Item = (i64, u64)>) -> Attempts {
        let all = held
            .into_iter()
            .map(|(attempt, written)| (attempt, Attempt { written, ..Attempt::new(AttemptState::Finished) }))
            .collect();
        Attempts { all, ..Attempts::default() }
    }

    /// Returns false if the attempt is already known.
    pub fn begin(&mut self, attempt: i64) -> bool {
        if self.all.contains_key(&attempt) {
            return false;
        }
        self.all.insert(attempt, Attempt::new(AttemptState::Running));
        true
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn is_running(&self, attempt: i64) -> bool {
        self.all.get(&attempt).is_some_and(|a| a.state == AttemptState::Running)
    }

    /// How many slots are in use.
    pub fn occupied(&self) -> usize {
        self.all.values().filter(|a| a.state != AttemptState::Finished).count()
    }

    pub fn held(&self) -> Vec<HeldAttempt> {
        self.reportable()
            .map(|(attempt, a)| HeldAttempt { attempt: *attempt, last_sequence: a.written })
            .collect()
    }

    pub fn record_written(&mut self, attempt: i64, sequence: u64, more: MoreToReport) -> Vec<SessionOutput> {
        let Some(a) = self.all.get_mut(&attempt) else { return Vec::new() };
        a.written = a.written.max(sequence);
        match (more, a.state) {
            (MoreToReport::Yes, AttemptState::Running | AttemptState::Dropped | AttemptState::Finished) => {
                Vec::new()
            }
            (MoreToReport::No, AttemptState::Running | AttemptState::Finished) => {
                a.state = AttemptState::Finished;
                Vec::new()
            }
            (MoreToReport::No, AttemptState::Dropped) => self.forget(attempt),
        }
    }

    /// The next record to send, if the window has room.
    pub fn next_record(&mut self) -> Option<(i64, u64)> {
        let attempt = self.next_sender()?;
        self.last_sender = attempt;
        self.all.get(&attempt).map(|a| (attempt, a.sent + 1))
    }

    pub fn has_record(&self) -> bool {
        self.next_sender().is_some()
    }

    pub fn record_sent(&mut self, attempt: i64, sequence: u64, bytes: usize) {
        let Some(a) = self.all.get_mut(&attempt) else { return };
        a.sent = sequence;
        a.in_flight.push_back((sequence, bytes));
        self.in_flight_bytes += bytes;
    }

    /// A late or repeated ack changes nothing; an ack for records that were never written is ignored.
    pub fn acknowledge(&mut self, attempt: i64, sequence: u64) -> Vec<SessionOutput> {
        let Some(a) = self.all.get_mut(&attempt) else { return Vec::new() };
        if sequence > a.written {
            return Vec::new();
        }
        a.acknowledged = a.acknowledged.max(sequence);
        a.sent = a.sent.max(a.acknowledged);
        self.in_flight_bytes -= a.take_in_flight(sequence);
        if a.is_delivered() { self.forget(attempt) } else { Vec::new() }
    }

    /// The master has everything up to `sequence`. An error if that is more than we ever wrote.
    pub fn resume(&mut self, attempt: i64, sequence: u64) -> Result<Vec<SessionOutput>, String> {
        let Some(a) = self.all.get_mut(&attempt) else { return Ok(Vec::new()) };
        if sequence > a.written {
            return Err(format!(
                "its spool ends at record {}, but the master has {sequence} records",
                a.written
            ));
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

    /// The master does not want its records any more. Its slot is free when the attempt has ended.
    pub fn abandon(&mut self, attempt: i64, reason: &str) -> Vec<SessionOutput> {
        let Some(a) = self.all.get_mut(&attempt) else { return Vec::new() };
        match a.state {
            AttemptState::Running => {
                a.state = AttemptState::Dropped;
                self.in_flight_bytes -= a.take_in_flight(u64::MAX);
                vec![SessionOutput::Stop { attempt, reason: reason.to_string() }]
            }
            AttemptState::Dropped => Vec::new(),
            AttemptState::Finished => self.forget(attempt),
        }
    }

    /// What was in flight may be lost: everything that is not acknowledged is sent again.
    pub fn reset_sent(&mut self) {
        for a in self.all.values_mut() {
            a.sent = a.acknowledged;
            a.in_flight.clear();
        }
        self.in_flight_bytes = 0;
    }

    fn reportable(&self) -> impl Iterator<Item = (&i64, &Attempt)> {
        self.all.iter().filter(|(_, a)| a.state != AttemptState::Dropped)
    }

    fn next_sender(&self) -> Option<i64> {
        if self.in_flight_bytes >= WINDOW_BYTES {
            return None;
        }
        let after = self.all.range((Bound::Excluded(self.last_sender), Bound::Unbounded));
        let in_turn = after.chain(self.all.range(..=self.last_sender));
        in_turn
            .filter(|(_, a)| a.state != AttemptState::Dropped && a.sent < a.written)
            .map(|(attempt, _)| *attempt)
            .next()
    }

    fn forget(&mut self, attempt: i64) -> Vec<SessionOutput> {
        if let Some(mut a) = self.all.remove(&attempt) {
            self.in_flight_bytes -= a.take_in_flight(u64::MAX);
        }
        vec![SessionOutput::Forget { attempt }]
    }
}

impl Attempt {
    fn new(state: AttemptState) -> Attempt {
        Attempt { state, written: 0, sent: 0, acknowledged: 0, in_flight: VecDeque::new() }
    }

    fn is_delivered(&self) -> bool {
        self.state == AttemptState::Finished && self.acknowledged == self.written
    }

    /// Removes the records up to `sequence` from those in flight, and returns their size.
    fn take_in_flight(&mut self, sequence: u64) -> usize {
        let count = self.in_flight.partition_point(|(in_flight, _)| *in_flight <= sequence);
        self.in_flight.drain(..count).map(|(_, bytes)| bytes).sum()
    }
}
