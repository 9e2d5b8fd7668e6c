//! A log is shown as pictures, then hurt in each way that a disk and a crash know.

mod model;

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

fn a_path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path(), 4711, 2);
    (folder, path)
}

/// A live log of one block a piece.
fn a_log(pieces: &[&str]) -> (TempDir, PathBuf, Vec<LogExtent>) {
    let (folder, path) = a_path();
    let mut writer = LogWriter::open(&path, LogExtent::default()).unwrap();
    let extents = pieces.iter().map(|piece| writer.append(piece.as_bytes()).unwrap()).collect();
    (folder, path, extents)
}

/// A window as a picture: `<3>` where three lines were left out, `|` where it stopped before the end.
fn picture(window: io::Result<LogWindow>) -> String {
    let window = window.unwrap();
    let piece = |piece: &LogChunk| match piece {
        LogChunk::Text(text) => String::from_utf8_lossy(text).replace('\n', "/"),
        LogChunk::Cut(cut) => format!("<{}>", cut.lines),
    };
    let stopped = match window.stopped {
        WindowEnd::Lines | WindowEnd::Bytes => "|",
        WindowEnd::End => "",
    };
    window.pieces.iter().map(piece).chain([stopped.to_owned()]).collect()
}

fn flip(path: &PathBuf, at: u64) {
    let mut file = fs::read(path).unwrap();
    file[at as usize] ^= 0x10;
    fs::write(path, file).unwrap();
}

fn flaw<T: std::fmt::Debug>(result: io::Result<T>) -> (u64, LogFlaw) {
    let error = result.unwrap_err();
    let damage = error.get_ref().and_then(|inner| inner.downcast_ref::<LogDamage>());
    let damage = damage.unwrap_or_else(|| panic!("{error} names no place"));
    (damage.at, damage.flaw)
}

#[test]
fn windows_show_lines_and_where_some_were_left_out() {
    let (_folder, path, _) = a_log(&[]);
    let mut writer = LogWriter::open(&path, LogExtent::default()).unwrap();
    writer.append(b"a\nb\nc").unwrap();
    writer.cut(100, 3).unwrap();
    writer.cut(10, 1).unwrap();
    writer.append(b"c\n").unwrap();
    writer.cut(5, 2).unwrap();
    writer.append(b"d\ne").unwrap();
    writer.cut(1, 9).unwrap();
    let reader = LogReader::open(&path, writer.extent()).unwrap();
    for (first_line, count, max_bytes, expected) in [
        (0, 1, 99, "a/|"),
        (0, 2, 99, "a/b/|"),
        (1, 2, 99, "b/c<4>c/|"),
        (3, 1, 99, "<2>d/|"),
        (4, 1, 99, "e<9>"),
        (0, 99, 99, "a/b/c<4>c/<2>d/e<9>"),
        (0, 99, 3, "a/b|"),
        (5, 1, 99, ""),
        (u64::MAX, u64::MAX, usize::MAX, ""),
    ] {
        assert_eq!(picture(reader.lines(first_line, count, max_bytes)), expected, "{first_line} {count}");
    }
    assert_eq!(reader.bytes(3, 5).unwrap(), b"\ncc\nd");
}

#[test]
fn who_follows_a_live_log_sees_each_cut_once() {
    let (_folder, path, _) = a_log(&[]);
    let mut writer = LogWriter::open(&path, LogExtent::default()).unwrap();
    let mut seen = LogPosition::default();
    let mut look = |writer: &LogWriter| {
        let window = LogReader::open(&path, writer.extent()).unwrap().follow(seen, 1000).unwrap();
        seen = window.next;
        picture(Ok(window))
    };
    writer.append(b"a\n").unwrap();
    assert_eq!(look(&writer), "a/");
    assert_eq!(look(&writer), "");
    writer.cut(1, 1).unwrap();
    assert_eq!(look(&writer), "<1>");
    writer.cut(2, 2).unwrap();
    writer.append(b"b").unwrap();
    assert_eq!(look(&writer), "<2>b");
    assert_eq!(look(&writer), "");
}

#[test]
fn a_line_as_long_as_the_log_opens_in_small_windows() {
    let (_folder, path) = a_path();
    let mut writer = LogWriter::open(&path, LogExtent::default()).unwrap();
    writer.append(b"start\n").unwrap();
    for _ in 0..20 {
        writer.append(&[b'x'; 1 << 20]).unwrap();
    }
    writer.append(b"\nend").unwrap();
    let live = writer.extent();
    drop(writer);
    for extent in [live, seal(&path, live).unwrap()] {
        let reader = LogReader::open(&path, extent).unwrap();
        assert_eq!(reader.extent().lines, 3);
        let window = reader.lines(1, 1, 10).unwrap();
        assert_eq!((window.stopped, window.next.byte), (WindowEnd::Bytes, 16));
        assert_eq!(picture(reader.follow(window.next, 3)), "xxx|");
        assert_eq!(picture(reader.lines(2, 9, 10)), "end");
        assert!(reader.extent().stored_bytes < 40_000, "{}", reader.extent().stored_bytes);
    }
}

#[test]
fn a_spoilt_text_is_named_and_spoils_no_other() {
    let (_folder, path, extents) = a_log(&["a\n", "b\n", "c\n", "d\n"]);
    let begins = extents[1].stored_bytes;
    flip(&path, begins + 56);
    let reader = LogReader::open(&path, extents[3]).unwrap();
    assert_eq!(flaw(reader.lines(2, 1, 9)), (begins, LogFlaw::Payload));
    assert_eq!(flaw(reader.bytes(0, 8)), (begins, LogFlaw::Payload));
    assert_eq!(flaw(seal(&path, extents[3])), (begins, LogFlaw::Payload));
    assert_eq!(picture(reader.lines(0, 2, 9)), "a/b/|");
    assert_eq!(reader.bytes(6, 2).unwrap(), b"d\n");
    let told = reader.bytes(4, 1).unwrap_err().to_string();
    assert!(told.contains("4711.2.log is damaged at byte"), "{told}");
}

#[test]
fn text_on_both_sides_of_a_corrupt_header_can_be_read() {
    let pieces: Vec<String> = (0..9).map(|line| format!("{line}\n")).collect();
    let (_folder, path, extents) = a_log(&pieces.iter().map(String::as_str).collect::<Vec<_>>());
    for spoilt in 0..9 {
        let begins = extents[spoilt].stored_bytes - 62;
        flip(&path, begins + 9);
        let reader = LogReader::open(&path, extents[8]).unwrap();
        for (line, piece) in pieces.iter().enumerate() {
            let bytes = reader.bytes(2 * line as u64, 2);
            match line == spoilt {
                true => assert_eq!(flaw(bytes), (begins, LogFlaw::Header)),
                false => assert_eq!(bytes.unwrap(), piece.as_bytes(), "{line} beside {spoilt}"),
            }
        }
        flip(&path, begins + 9);
    }
}

#[test]
fn a_file_that_lost_its_end_still_shows_its_start() {
    let (_folder, path, extents) = a_log(&["a\n", "b\n", "c\n"]);
    let whole = fs::read(&path).unwrap();
    for len in extents[0].stored_bytes..extents[2].stored_bytes {
        fs::write(&path, &whole[..len as usize]).unwrap();
        assert!(LogWriter::open(&path, extents[2]).is_err());
        let reader = LogReader::open(&path, extents[2]).unwrap();
        assert_eq!(reader.bytes(0, 2).unwrap(), b"a\n");
        // The last four bytes only lead back into the block.
        let lost_text = len < extents[2].stored_bytes - 4;
        assert_eq!(reader.bytes(4, 2).is_err(), lost_text);
    }
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(flaw(seal(&path, extents[2])), (extents[1].stored_bytes + 56, LogFlaw::Truncated));
    for len in [0, 1, 35] {
        fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(flaw(LogReader::open(&path, extents[2])), (0, LogFlaw::Truncated));
    }
}

#[test]
fn other_files_are_no_logs() {
    let (_folder, path, extents) = a_log(&["a\n"]);
    fs::write(&path, [b'x'; 100]).unwrap();
    assert_eq!(flaw(LogReader::open(&path, extents[0])), (0, LogFlaw::Head));
    assert_eq!(flaw(seal(&path, extents[0])), (0, LogFlaw::Head));
    fs::remove_file(&path).unwrap();
    assert_eq!(LogReader::open(&path, extents[0]).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(seal(&path, extents[0]).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(LogWriter::open(&path, extents[0]).err().unwrap().kind(), io::ErrorKind::NotFound);
}

/// Its checksum is right, so nothing but the end that it promises is wrong.
#[test]
fn a_head_that_promises_more_than_any_file_can_hold_is_damage() {
    let (_folder, path, extents) = a_log(&["one\n"]);
    for stored_bytes in [u64::MAX, i64::MAX as u64] {
        let promised = LogExtent { stored_bytes, ..extents[0] };
        let file = [&head::Head::Sealed(promised).to_bytes()[..], &fs::read(&path).unwrap()[36..]].concat();
        let sealed = path.with_extension("sealed");
        fs::write(&sealed, file).unwrap();
        let reader = LogReader::open(&sealed, extents[0]).unwrap();
        assert_eq!(flaw(reader.gaps()).1, LogFlaw::Truncated);
        assert_eq!(reader.bytes(0, 9).unwrap(), b"one\n");
    }
}

#[test]
fn a_crash_before_the_first_commit_leaves_a_log_that_starts_over() {
    let (_folder, path, _) = a_log(&["a\n"]);
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let nothing = LogReader::open(&path, LogExtent::default()).unwrap();
        assert_eq!((picture(nothing.lines(0, 9, 9)), nothing.bytes(0, 9).unwrap()), (String::new(), vec![]));
        let mut writer = LogWriter::open(&path, LogExtent::default()).unwrap();
        let extent = writer.append(b"b\n").unwrap();
        assert_eq!(LogReader::open(&path, extent).unwrap().bytes(0, 9).unwrap(), b"b\n");
    }
}

#[test]
fn an_extent_that_the_file_never_had_is_refused() {
    let (_folder, path, extents) = a_log(&["a\n", "b"]);
    let good = extents[1];
    for wrong in [
        LogExtent { raw_bytes: 2, ..good },
        LogExtent { lines: 1, ..good },
        LogExtent { stored_bytes: good.stored_bytes - 1, ..good },
        LogExtent { stored_bytes: good.stored_bytes + 1, ..good },
        LogExtent { stored_bytes: 3, ..good },
        LogExtent { stored_bytes: u64::MAX, ..good },
    ] {
        assert!(LogWriter::open(&path, wrong).is_err(), "{wrong:?}");
        assert!(seal(&path, wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(LogWriter::open(&path, good).unwrap().extent(), good);
}

#[test]
fn sealing_takes_what_is_committed_and_replaces_what_a_crash_left() {
    let (_folder, path, extents) = a_log(&["a\n", "b\n", "never committed\n"]);
    let beside = path.with_extension("log.sealing");
    fs::write(&beside, "half a copy").unwrap();
    let sealed = seal(&path, extents[1]).unwrap();
    assert!(!beside.exists());
    assert_eq!(LogReader::open(&path, sealed).unwrap().bytes(0, 99).unwrap(), b"a\nb\n");
    assert_eq!(flaw(seal(&path, extents[2])), (0, LogFlaw::Misfit));
    assert_eq!(flaw(LogReader::open(&path, extents[2])), (0, LogFlaw::Misfit));
}

#[test]
fn only_one_may_write_and_none_to_a_sealed_log() {
    let (_folder, path, extents) = a_log(&["a\n"]);
    let writer = LogWriter::open(&path, extents[0]).unwrap();
    assert_eq!(LogWriter::open(&path, extents[0]).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(seal(&path, extents[0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(writer);
    let sealed = seal(&path, extents[0]).unwrap();
    for extent in [extents[0], sealed, LogExtent::default()] {
        let told = LogWriter::open(&path, extent).err().unwrap().to_string();
        assert!(told.contains("is sealed"), "{told}");
    }
}

#[test]
fn a_download_reads_a_log_piece_by_piece() {
    let (_folder, path, extents) = a_log(&["abc\n", "def\n", "ghi\n"]);
    let reader = LogReader::open(&path, extents[2]).unwrap();
    let mut stream = reader.stream(2..u64::MAX).unwrap();
    let mut seen: Vec<u8> = Vec::new();
    let mut piece = [0; 3];
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            len => seen.extend(&piece[..len]),
        }
    }
    assert_eq!(seen, b"c\ndef\nghi\n");
    for (from, to, expected) in [(5, 6, "e"), (6, 5, ""), (99, 200, ""), (12, 13, ""), (11, 13, "\n")] {
        assert_eq!(io::read_to_string(reader.stream(from..to).unwrap()).unwrap(), expected);
    }
}
