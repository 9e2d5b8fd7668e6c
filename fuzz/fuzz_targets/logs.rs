//! Log files. A text that is written as a log is read as it was; and a file whose blocks say anything at all, with the
//! right checksums, is read within the bounds that were asked for, or is damaged.
#![no_main]

use std::fs;
use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use store::files::log::{LogChunk, LogExtent, LogPosition, LogReader, LogWindow, LogWriter, seal};

const HEAD_BYTES: usize = 36;
const HEADER_BYTES: usize = 56;
const MAX_GAPS: usize = 1000;

/// Takes from the front of the fuzzer's bytes; zeros when they are used up.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self, len: usize) -> u64 {
        self.take(len).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// A whole log file, and how far it goes if nothing in it lies: what its blocks say of themselves comes from the
/// fuzzer, changed where it would be refused at once.
fn a_file(bytes: &mut Bytes<'_>) -> (Vec<u8>, LogExtent) {
    let (sealed, lie) = (bytes.number(1) % 2 == 1, bytes.number(1));
    let mut blocks = Vec::new();
    let (mut number, mut cuts, mut text_before, mut newlines_before) = (0u32, 0u32, 0u64, 0u64);
    let mut open_line = false;
    while !bytes.0.is_empty() {
        let kind = bytes.number(1);
        let honest = kind & 0x80 == 0;
        let len = (bytes.number(1) as usize).max(1);
        let text = match bytes.take(len) {
            [] => vec![b'\n'],
            text => text.to_vec(),
        };
        let (payload_kind, text, payload) = match kind % 3 {
            0 => (0, text.clone(), text),
            1 => {
                let text = text.repeat(20);
                let payload = zstd::bulk::compress(&text, 1).expect("zstd takes all bytes");
                (1, text, payload)
            }
            _ => (2, vec![], [&text[..], &[0; 16]].concat()[..16].to_vec()),
        };
        if let Some(last) = text.last() {
            open_line = *last != b'\n';
        }
        let newlines = text.iter().filter(|byte| **byte == b'\n').count() as u32;
        number += 1;
        let mut header = b"TB".to_vec();
        header.extend([payload_kind, u8::from(open_line)]);
        header.extend(number.to_le_bytes());
        header.extend((text.len() as u32).to_le_bytes());
        header.extend((payload.len() as u32).to_le_bytes());
        header.extend(newlines.to_le_bytes());
        header.extend(cuts.to_le_bytes());
        header.extend(text_before.to_le_bytes());
        header.extend(newlines_before.to_le_bytes());
        let jump = bytes.number(2) % (HEAD_BYTES + blocks.len() + 1) as u64;
        header.extend(jump.to_le_bytes());
        header.extend(crc32fast::hash(&payload).to_le_bytes());
        if !honest {
            // Any field but the magic may say anything.
            let at = 2 + bytes.number(1) as usize % (HEADER_BYTES - 4 - 2);
            for (byte, lie) in header[at..].iter_mut().zip(bytes.take(1 + kind as usize % 8)) {
                *byte = *lie;
            }
        }
        header.extend(crc32fast::hash(&header).to_le_bytes());
        // What comes after a lie believes it.
        let field = |at: usize, len: usize| Bytes(&header[at..at + len]).number(len);
        text_before = field(24, 8).wrapping_add(field(8, 4));
        newlines_before = field(32, 8).wrapping_add(field(16, 4));
        cuts = (field(20, 4) as u32).wrapping_add(u32::from(payload_kind == 2));
        blocks.extend(&header);
        blocks.extend(&payload);
        blocks.extend((header.len() as u32 + payload.len() as u32 + 4).to_le_bytes());
    }
    let extent = LogExtent {
        raw_bytes: text_before,
        lines: newlines_before.wrapping_add(open_line.into()),
        stored_bytes: (HEAD_BYTES + blocks.len()) as u64,
    };
    let promised = if sealed { [extent.raw_bytes, extent.lines, extent.stored_bytes] } else { [0; 3] };
    let mut file = b"TFLOG1\n".to_vec();
    file.push(if sealed { b'S' } else { b'L' });
    for (at, number) in promised.into_iter().enumerate() {
        // One lie in four, at each of the three.
        let wrong = if lie & 0b11 << (2 * at) == 0b11 << (2 * at) { lie << 56 | lie } else { 0 };
        file.extend((number ^ wrong).to_le_bytes());
    }
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file.extend(blocks);
    (file, extent)
}

fn text_of(window: &LogWindow) -> Vec<u8> {
    let text = window.pieces.iter().filter_map(|piece| match piece {
        LogChunk::Text(text) => Some(&text[..]),
        LogChunk::Cut(_) => None,
    });
    text.collect::<Vec<_>>().concat()
}

fn is_bounded(window: io::Result<LogWindow>, max_bytes: usize) -> Option<LogWindow> {
    let window = is_damaged_at_worst(window)?;
    assert!(text_of(&window).len() <= max_bytes);
    for pair in window.pieces.windows(2) {
        assert!(matches!(
            pair,
            [LogChunk::Text(_), LogChunk::Cut(_)] | [LogChunk::Cut(_), LogChunk::Text(_)]
        ));
    }
    Some(window)
}

fn is_damaged_at_worst<T>(read: io::Result<T>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            None
        }
    }
}

fn hostile(path: &Path, bytes: &mut Bytes<'_>) {
    // Mostly what the file itself says, since little is read by another extent.
    let other = (bytes.number(1) % 8 == 0).then(|| LogExtent {
        raw_bytes: bytes.number(3),
        lines: bytes.number(2),
        stored_bytes: bytes.number(2),
    });
    let (line, count, max_bytes) = (bytes.number(2), bytes.number(1), 1 + bytes.number(2) as usize);
    let from = LogPosition { byte: bytes.number(3), cuts: bytes.number(1) as u32 };
    let (file, extent) = a_file(bytes);
    fs::write(path, &file).expect("our own folder");
    let committed = other.unwrap_or(extent);
    if let Some(reader) = is_damaged_at_worst(LogReader::open(path, committed)) {
        is_bounded(reader.lines(line, count, max_bytes), max_bytes);
        is_bounded(reader.lines(0, u64::MAX, max_bytes), max_bytes);
        if let Some(window) = is_bounded(reader.follow(from, max_bytes), max_bytes) {
            is_bounded(reader.follow(window.next, max_bytes), max_bytes);
        }
        for from in [0, from.byte] {
            if let Some(text) = is_damaged_at_worst(reader.bytes(from, max_bytes)) {
                assert!(text.len() <= max_bytes);
            }
        }
        if let Some(gaps) = is_damaged_at_worst(reader.gaps()) {
            assert!(gaps.len() <= MAX_GAPS);
        }
    }
    // A writer continues after it, or refuses; sealing keeps the text that can be read.
    let before = LogReader::open(path, committed).and_then(|reader| reader.bytes(0, 1 << 20));
    if let Some(sealed) = is_damaged_at_worst(seal(path, committed)) {
        let after = LogReader::open(path, sealed).and_then(|reader| reader.bytes(0, 1 << 20));
        if let (Ok(before), Ok(after)) = (before, after) {
            assert_eq!(before, after);
        }
    } else {
        drop(is_damaged_at_worst(LogWriter::open(path, committed)));
    }
}

fn honest(path: &Path, bytes: &mut Bytes<'_>) {
    let mut writer = LogWriter::open(path, LogExtent::default()).expect("our own folder");
    let (mut text, mut cuts) = (Vec::<u8>::new(), 0u32);
    while !bytes.0.is_empty() {
        match bytes.number(1) {
            255 => {
                writer.cut(bytes.number(2), bytes.number(1)).expect("our own folder");
                cuts += 1;
            }
            len => {
                let more = bytes.take(len as usize * 4);
                writer.append(more).expect("our own folder");
                text.extend(more);
            }
        }
    }
    let live = writer.extent();
    drop(writer);
    assert_eq!(live.raw_bytes, text.len() as u64);
    let is_as_written = |extent| {
        let reader = LogReader::open(path, extent).expect("our own log");
        assert_eq!(reader.bytes(0, text.len() + 1).expect("our own log"), text);
        let whole = reader.follow(LogPosition::default(), usize::MAX).expect("our own log");
        assert_eq!(text_of(&whole), text);
        assert_eq!(whole.next, LogPosition { byte: text.len() as u64, cuts });
        assert_eq!(reader.gaps().expect("our own log").len(), MAX_GAPS.min(cuts as usize));
    };
    is_as_written(live);
    is_as_written(seal(path, live).expect("our own log"));
}

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log");
    let mut bytes = Bytes(bytes);
    match bytes.number(1) % 4 {
        0 => honest(&path, &mut bytes),
        1 => {
            // Without any help.
            fs::write(&path, bytes.0).expect("our own folder");
            let committed = LogExtent { stored_bytes: bytes.0.len() as u64, lines: 1, raw_bytes: 1 };
            if let Some(reader) = is_damaged_at_worst(LogReader::open(&path, committed)) {
                is_bounded(reader.lines(0, u64::MAX, 1 << 20), 1 << 20);
            }
        }
        _ => hostile(&path, &mut bytes),
    }
});
