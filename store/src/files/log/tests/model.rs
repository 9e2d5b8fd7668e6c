//! Whatever is appended, committed and lost: a log is compared with plain bytes in memory.

use std::fs;

use proptest::prelude::*;

use super::a_path;
use crate::files::log::*;

/// What a log means: its bytes, and before which byte something was left out.
#[derive(Debug, Clone, Default)]
struct Model {
    text: Vec<u8>,
    cuts: Vec<(usize, LogCut)>,
}

impl Model {
    fn line_starts(&self) -> Vec<usize> {
        let behind_newlines =
            self.text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1);
        let mut starts: Vec<usize> = std::iter::once(0).chain(behind_newlines).collect();
        starts.retain(|start| *start < self.text.len());
        starts
    }

    fn lines(&self, first_line: u64, count: u64, max_bytes: usize) -> LogWindow {
        let from = match self.line_starts().get(first_line as usize) {
            _ if first_line == 0 => LogPosition::default(),
            Some(&start) => {
                let cuts = self.cuts.iter().filter(|(at, _)| *at < start).count() as u32;
                LogPosition { byte: start as u64, cuts }
            }
            None => LogPosition { byte: self.text.len() as u64, cuts: self.cuts.len() as u32 },
        };
        self.window(from, count, max_bytes)
    }

    fn window(&self, from: LogPosition, count: u64, max_bytes: usize) -> LogWindow {
        let (mut at, mut cut, mut lines) = (from.byte as usize, from.cuts as usize, 0);
        let first_line = self.text[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut window = LogWindow { first_line, from, pieces: vec![], next: from, stopped: WindowEnd::End };
        loop {
            if at < self.text.len() && lines == count {
                window.stopped = WindowEnd::Lines;
                break;
            }
            if at < self.text.len() && at - from.byte as usize == max_bytes {
                window.stopped = WindowEnd::Bytes;
                break;
            }
            if let Some((_, more)) = self.cuts.get(cut).filter(|(place, _)| *place == at) {
                cut += 1;
                match window.pieces.last_mut() {
                    Some(LogChunk::Cut(sum)) => {
                        *sum = LogCut { bytes: sum.bytes + more.bytes, lines: sum.lines + more.lines }
                    }
                    _ => window.pieces.push(LogChunk::Cut(*more)),
                }
            } else if let Some(byte) = self.text.get(at) {
                at += 1;
                lines += u64::from(*byte == b'\n');
                match window.pieces.last_mut() {
                    Some(LogChunk::Text(text)) => text.push(*byte),
                    _ => window.pieces.push(LogChunk::Text(vec![*byte])),
                }
            } else {
                break;
            }
        }
        window.next = LogPosition { byte: at as u64, cuts: cut as u32 };
        window
    }

    fn assert_is(&self, reader: &LogReader, places: &[u32]) {
        let extent = reader.extent();
        let lines = self.line_starts().len() as u64;
        assert_eq!((extent.raw_bytes, extent.lines), (self.text.len() as u64, lines));
        assert!(reader.bytes(0, usize::MAX).unwrap() == self.text);

        let gaps: Vec<_> = reader.gaps().unwrap().iter().map(|gap| (gap.byte as usize, gap.cut)).collect();
        assert_eq!(gaps, self.cuts);

        for pair in places.windows(2) {
            let (place, size) = (u64::from(pair[0]), pair[1] as usize);
            let line = place % (lines + 2);
            let (count, max_bytes) = (size as u64 % 50 + 1, size % 70_000 + 1);
            let window = reader.lines(line, count, max_bytes).unwrap();
            assert!(
                window == self.lines(line, count, max_bytes),
                "{count} lines from {line}, {max_bytes} bytes"
            );

            let followed = reader.follow(window.next, max_bytes).unwrap();
            assert!(followed == self.window(window.next, u64::MAX, max_bytes), "on from {:?}", window.next);

            let from = place % (extent.raw_bytes + 2);
            let to = (from as usize + max_bytes).min(self.text.len());
            let bytes = reader.bytes(from, max_bytes).unwrap();
            assert!(bytes == self.text[(from as usize).min(to)..to], "{max_bytes} bytes from {from}");
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A newline is one byte of so many.
    Append {
        seed: u32,
        len: usize,
        newline_every: u32,
    },
    Cut(LogCut),
    Commit,
    /// `kill -9`: what was not committed is gone, a torn write follows the rest.
    Crash {
        torn: usize,
    },
}

fn noise(seed: u32, len: usize, newline_every: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Few different bytes if the seed is even, so that both kinds of text block occur.
        let byte = (state >> 16) as u8 & if seed.is_multiple_of(2) { 3 } else { 255 };
        if (state >> 8).is_multiple_of(newline_every) { b'\n' } else { byte }
    };
    (0..len).map(byte).collect()
}

fn a_step() -> impl Strategy<Value = Step> {
    let append = |len| {
        (any::<u32>(), len, prop_oneof![Just(2u32), Just(60), Just(100_000)])
            .prop_map(|(seed, len, newline_every)| Step::Append { seed, len, newline_every })
    };
    prop_oneof![
        16 => append(0..300usize),
        1 => append(0..200_000usize),
        3 => (0..1000u64, 0..10u64).prop_map(|(bytes, lines)| Step::Cut(LogCut { bytes, lines })),
        4 => Just(Step::Commit),
        2 => (0..200usize).prop_map(|torn| Step::Crash { torn }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_log_is_the_text_that_was_committed(
        steps in prop::collection::vec(a_step(), 0..40),
        places in prop::collection::vec(any::<u32>(), 8),
    ) {
        let (_folder, path) = a_path();
        let mut model = Model::default();
        let mut committed = (LogExtent::default(), model.clone());
        let mut writer = LogWriter::open(&path, LogExtent::default()).unwrap();
        for step in steps {
            match step {
                Step::Append { seed, len, newline_every } => {
                    let text = noise(seed, len, newline_every);
                    writer.append(&text).unwrap();
                    model.text.extend(text);
                }
                Step::Cut(cut) => {
                    writer.cut(cut.bytes, cut.lines).unwrap();
                    model.cuts.push((model.text.len(), cut));
                }
                Step::Commit => committed = (writer.extent(), model.clone()),
                Step::Crash { torn } => {
                    drop(writer);
                    let mut file = fs::read(&path).unwrap();
                    file.extend(noise(7, torn, 60));
                    fs::write(&path, file).unwrap();
                    writer = LogWriter::open(&path, committed.0).unwrap();
                    model = committed.1.clone();
                }
            }
        }
        // Another handle still appends; the committed part is what a reader sees.
        committed.1.assert_is(&LogReader::open(&path, committed.0).unwrap(), &places);
        model.assert_is(&LogReader::open(&path, writer.extent()).unwrap(), &places);

        let live = writer.extent();
        drop(writer);
        let sealed = seal(&path, live).unwrap();
        prop_assert_eq!(seal(&path, live).unwrap(), sealed);
        prop_assert_eq!(fs::metadata(&path).unwrap().len(), sealed.stored_bytes);
        for extent in [committed.0, live, sealed] {
            if extent != LogExtent::default() {
                let reader = LogReader::open(&path, extent).unwrap();
                prop_assert!(reader.is_sealed());
                model.assert_is(&reader, &places);
            }
        }
    }
}
