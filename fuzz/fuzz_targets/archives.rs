//! A toolchain's archive, written by anybody: nothing of it lands outside its folder or leads out of it, and one that
//! is taken packs to the same bytes again and again.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use worker::execute::archive::{PackedTree, pack, unpack};

const BLOCK: usize = 512;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The same archive with the right checksum in each header, which no fuzzer guesses.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    tar.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        // Two empty blocks are the end.
        if header.iter().any(|byte| *byte != 0) {
            header[CHECKSUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let digits = header[SIZE].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0, |size: usize, digit| size * 8 + usize::from(digit - b'0'));
        at += BLOCK + size.min(tar.len()).next_multiple_of(BLOCK);
    }
    tar
}

/// Whatever lies below a place, none of it through a link.
fn all_below(place: &Path) -> Vec<PathBuf> {
    let mut found = vec![place.to_path_buf()];
    if fs::symlink_metadata(place).is_ok_and(|about| about.is_dir()) {
        let entries = fs::read_dir(place).expect("our own folder");
        found.extend(entries.flat_map(|entry| all_below(&entry.expect("our own folder").path())));
    }
    found
}

fn nothing_got_out(folder: &Path, root: &Path) {
    let beside: Vec<_> = fs::read_dir(folder).expect("our own folder").map(|e| e.unwrap().path()).collect();
    assert_eq!(beside, [root]);
    let real = root.canonicalize().expect("the root is a folder");
    for path in all_below(root) {
        let kind = fs::symlink_metadata(&path).expect("it was listed").file_type();
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{}", path.display());
        if let Ok(end) = path.canonicalize() {
            assert!(end.starts_with(&real), "{} leads out", path.display());
        }
    }
}

fn packed(root: &Path, folder: &Path, name: &str) -> PackedTree {
    pack(root, Path::new("/trunkfarm/toolchain"), &folder.join(name), 1)
        .expect("what was unpacked can be packed")
}

fn try_archive(zstd: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    let unpacked = unpack(zstd, &root);
    nothing_got_out(folder.path(), &root);
    if unpacked.is_ok() {
        let first = packed(&root, folder.path(), "first");
        let again = folder.path().join("again");
        unpack(&fs::read(&first.path).expect("our own file")[..], &again).expect("our own archive");
        let second = packed(&again, folder.path(), "second");
        assert_eq!((first.sha256, first.bytes), (second.sha256, second.bytes));
    }
}

fuzz_target!(|bytes: &[u8]| {
    try_archive(bytes);
    try_archive(&zstd::encode_all(bytes, 1).expect("zstd takes all bytes"));
    try_archive(&zstd::encode_all(&with_checksums(bytes)[..], 1).expect("zstd takes all bytes"));
});
