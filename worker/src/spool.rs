//! What an attempt reports, written to a file before any of it is sent: it survives a broken link, a master that is
//! away, and `kill -9` of this process.
//!
//! One file per attempt. A record is its length (u32, of what follows), its sequence number (u64), its kind
//! (u8: 0 event, 1 log) and its content: an event's JSON, or a step (u16) and log bytes. All big-endian.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use protocol::{Event, MAX_LOG_BYTES, MAX_MESSAGE_BYTES};

use crate::length;

const LENGTH_BYTES: usize = 4;
const HEADER_BYTES: usize = 8 + 1;
/// Leaves some room in a message for the fields around the event.
const MAX_EVENT_BYTES: usize = MAX_MESSAGE_BYTES - 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolRecord {
    Event(Event),
    Log { step: u16, bytes: Vec<u8> },
}

/// The writing end of one attempt's file.
#[derive(Debug)]
pub struct Spool {
    file: File,
    /// After the last complete record. The next write overwrites one that failed half-way.
    end: u64,
    written: u64,
    finished: bool,
}

/// The reading end. It remembers its position, since records are nearly always read in order.
#[derive(Debug)]
pub struct SpoolReader {
    file: File,
    offset: u64,
    next_sequence: u64,
}

impl Spool {
    pub fn create(folder: &Path, attempt: i64) -> io::Result<Spool> {
        let file =
            options().create_new(true).open(path(folder, attempt)).map_err(with_name("created", attempt))?;
        Ok(Spool { file, end: 0, written: 0, finished: false })
    }

    /// Opens what an earlier process left, and drops an incomplete record at its end.
    pub fn open(folder: &Path, attempt: i64) -> io::Result<Spool> {
        let file = options().open(path(folder, attempt)).map_err(with_name("opened", attempt))?;
        let mut reader = SpoolReader { file: file.try_clone()?, offset: 0, next_sequence: 1 };
        let mut finished = false;
        loop {
            match reader.read_next() {
                Ok(record) => finished = matches!(record, SpoolRecord::Event(Event::Finished { .. })),
                Err(e) if is_torn(&e) => break,
                Err(e) => return Err(with_name("read", attempt)(e)),
            }
        }
        file.set_len(reader.offset)?;
        Ok(Spool { file, end: reader.offset, written: reader.next_sequence - 1, finished })
    }

    /// Writes one record and returns its sequence number. After an error, nothing has been added.
    pub fn append(&mut self, record: &SpoolRecord) -> io::Result<u64> {
        let sequence = self.written + 1;
        let bytes = encode(sequence, record)?;
        self.file.write_all_at(&bytes, self.end)?;
        self.end += length::to_u64(bytes.len());
        self.written = sequence;
        self.finished = matches!(record, SpoolRecord::Event(Event::Finished { .. }));
        Ok(sequence)
    }

    /// The highest sequence number in the file; 0 if there is none.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether the attempt's end is in it.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

impl SpoolReader {
    pub fn open(folder: &Path, attempt: i64) -> io::Result<SpoolReader> {
        let file = File::open(path(folder, attempt)).map_err(with_name("opened", attempt))?;
        Ok(SpoolReader { file, offset: 0, next_sequence: 1 })
    }

    /// Reads a record that has been written. To read an earlier one than the last, it searches from the start.
    pub fn read(&mut self, sequence: u64) -> io::Result<SpoolRecord> {
        if sequence < self.next_sequence {
            (self.offset, self.next_sequence) = (0, 1);
        }
        while self.next_sequence < sequence {
            self.offset += length::to_u64(LENGTH_BYTES + self.record_length()?);
            self.next_sequence += 1;
        }
        self.read_next()
    }

    fn read_next(&mut self) -> io::Result<SpoolRecord> {
        let length = self.record_length()?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.offset + length::to_u64(LENGTH_BYTES))?;
        let (sequence, record) = decode(&bytes).ok_or_else(|| invalid("a record cannot be decoded"))?;
        if sequence != self.next_sequence {
            return Err(invalid("a record is out of sequence"));
        }
        self.offset += length::to_u64(LENGTH_BYTES + length);
        self.next_sequence += 1;
        Ok(record)
    }

    fn record_length(&self) -> io::Result<usize> {
        let mut length = [0; LENGTH_BYTES];
        self.file.read_exact_at(&mut length, self.offset)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if (HEADER_BYTES..=HEADER_BYTES + MAX_MESSAGE_BYTES).contains(&length) {
            Ok(length)
        } else {
            Err(invalid("a record has an impossible length"))
        }
    }
}

/// The attempts that have a spool, lowest first.
pub fn attempts(folder: &Path) -> io::Result<Vec<i64>> {
    let mut attempts = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Some(attempt) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            attempts.push(attempt);
        }
    }
    attempts.sort_unstable();
    Ok(attempts)
}

/// Removes the spool of an attempt that is acknowledged or abandoned.
pub fn remove(folder: &Path, attempt: i64) -> io::Result<()> {
    fs::remove_file(path(folder, attempt))
}

fn path(folder: &Path, attempt: i64) -> PathBuf {
    folder.join(attempt.to_string())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn encode(sequence: u64, record: &SpoolRecord) -> io::Result<Vec<u8>> {
    let (kind, step, content): (u8, Option<u16>, &[u8]) = match record {
        SpoolRecord::Event(event) => (0, None, &protocol::encode(event).into_bytes()),
        SpoolRecord::Log { step, bytes } => (1, Some(*step), bytes),
    };
    let max_bytes = if step.is_some() { MAX_LOG_BYTES } else { MAX_EVENT_BYTES };
    if content.is_empty() || content.len() > max_bytes {
        return Err(invalid("the record is empty or larger than a message"));
    }
    let step = step.map(u16::to_be_bytes);
    let step = step.as_ref().map_or(&[] as &[u8], |step| step);
    let length = u32::try_from(HEADER_BYTES + step.len() + content.len())
        .expect("content of at most MAX_MESSAGE_BYTES was checked above");
    Ok([&length.to_be_bytes(), &sequence.to_be_bytes() as &[u8], &[kind], step, content].concat())
}

fn decode(bytes: &[u8]) -> Option<(u64, SpoolRecord)> {
    let (sequence, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first()?;
    let record = match kind {
        0 => SpoolRecord::Event(protocol::decode(std::str::from_utf8(rest).ok()?).ok()?),
        1 => {
            let (step, bytes) = rest.split_first_chunk()?;
            SpoolRecord::Log { step: u16::from_be_bytes(*step), bytes: bytes.to_vec() }
        }
        _ => return None,
    };
    Some((u64::from_be_bytes(*sequence), record))
}

/// Whether the file ends inside a record, or contains something else.
fn is_torn(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn with_name(what: &'static str, attempt: i64) -> impl Fn(io::Error) -> io::Error {
    move |e| io::Error::new(e.kind(), format!("the spool of attempt {attempt} cannot be {what}: {e}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(text: &str) -> SpoolRecord {
        SpoolRecord::Log { step: 1, bytes: text.into() }
    }

    fn started(name: &str) -> SpoolRecord {
        SpoolRecord::Event(Event::StepStarted { step: 0, name: name.into() })
    }

    fn finished() -> SpoolRecord {
        SpoolRecord::Event(Event::Finished { results: None, artifact: None, infra_failure: None })
    }

    #[test]
    fn records_are_numbered_from_one_and_read_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 7).unwrap();
        let records = [started("test"), log("a"), log("b"), finished()];
        for (i, record) in records.iter().enumerate() {
            assert_eq!(spool.append(record).unwrap(), i as u64 + 1);
        }
        let mut reader = SpoolReader::open(folder.path(), 7).unwrap();
        for sequence in [1, 2, 3, 4, 2, 4, 1] {
            assert_eq!(reader.read(sequence).unwrap(), records[sequence as usize - 1]);
        }
        assert!(reader.read(5).is_err());
        assert_eq!(reader.read(4).unwrap(), records[3]);
    }

    #[test]
    fn a_reader_sees_what_is_written_after_it_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 7).unwrap();
        let mut reader = SpoolReader::open(folder.path(), 7).unwrap();
        assert!(reader.read(1).is_err());
        spool.append(&log("late")).unwrap();
        assert_eq!(reader.read(1).unwrap(), log("late"));
    }

    #[test]
    fn wherever_a_kill_cuts_the_last_record_the_others_stay_and_writing_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 7).unwrap();
        spool.append(&started("test")).unwrap();
        let whole = spool.end;
        spool.append(&log("torn")).unwrap();
        let all = fs::read(path(folder.path(), 7)).unwrap();
        for cut in whole..all.len() as u64 {
            fs::write(path(folder.path(), 7), &all[..cut as usize]).unwrap();
            let mut spool = Spool::open(folder.path(), 7).unwrap();
            assert_eq!((spool.written(), spool.is_finished()), (1, false), "cut at {cut}");
            assert_eq!(spool.append(&finished()).unwrap(), 2);
            let spool = Spool::open(folder.path(), 7).unwrap();
            assert_eq!((spool.written(), spool.is_finished()), (2, true), "cut at {cut}");
        }
    }

    #[test]
    fn zeros_after_the_last_record_are_not_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 7).unwrap();
        spool.append(&log("whole")).unwrap();
        spool.file.set_len(spool.end + 4096).unwrap();
        assert_eq!(Spool::open(folder.path(), 7).unwrap().written(), 1);
    }

    #[test]
    fn a_record_that_no_message_can_carry_is_refused_before_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 7).unwrap();
        assert!(spool.append(&SpoolRecord::Log { step: 0, bytes: vec![0; MAX_LOG_BYTES + 1] }).is_err());
        assert!(spool.append(&SpoolRecord::Log { step: 0, bytes: vec![] }).is_err());
        assert!(spool.append(&started(&"x".repeat(MAX_MESSAGE_BYTES))).is_err());
        assert_eq!((spool.written(), spool.end), (0, 0));
    }

    #[test]
    fn spools_are_found_again_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        for attempt in [12, 3] {
            Spool::create(folder.path(), attempt).unwrap();
        }
        fs::write(folder.path().join("note.txt"), "").unwrap();
        assert_eq!(attempts(folder.path()).unwrap(), [3, 12]);
        assert!(Spool::create(folder.path(), 3).is_err(), "an attempt begins once");
        remove(folder.path(), 3).unwrap();
        assert_eq!(attempts(folder.path()).unwrap(), [12]);
    }

    proptest! {
        #[test]
        fn any_file_opens_as_a_spool(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(path(folder.path(), 1), bytes).unwrap();
            let mut spool = Spool::open(folder.path(), 1).unwrap();
            let sequence = spool.append(&log("next")).unwrap();
            prop_assert_eq!(SpoolReader::open(folder.path(), 1).unwrap().read(sequence).unwrap(), log("next"));
        }
    }
}
