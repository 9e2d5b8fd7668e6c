//! Unpacks an archive that may have been written to do harm. Only what our own packer writes is understood; every
//! other kind of entry is refused, so that no cleverness of the format has to be thought through.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

use super::{ArchiveError, MAX_BYTES, MAX_ENTRIES, MAX_PATH_BYTES, io, link};

/// A header and the rest of a last block for each entry, twice for a long name, and the names: what an honest archive
/// within the bounds may have beside its files.
const MAX_OVERHEAD_BYTES: u64 = MAX_ENTRIES * 4096;

/// Unpacks into `root`, which must not exist yet. After an error whatever lies there is to be removed.
pub fn unpack(archive: impl Read, root: &Path) -> Result<(), ArchiveError> {
    fs::create_dir(root).map_err(io(format_args!("creating {}", root.display())))?;
    let reading = || "reading the toolchain's archive";
    let zstd = zstd::Decoder::new(archive).map_err(io(reading()))?;
    // A bomb ends here, whatever its headers say.
    let mut archive = Archive::new(zstd.take(MAX_BYTES + MAX_OVERHEAD_BYTES));
    let mut unpacking = Unpacking { root, long_path: None, long_target: None, entries: 0, bytes: 0 };
    for entry in archive.entries().map_err(io(reading()))?.raw(true) {
        unpacking.entry(entry.map_err(io(reading()))?)?;
    }
    Ok(())
}

struct Unpacking<'a> {
    root: &'a Path,
    /// A name too long for a header comes as an entry before the one that it names.
    long_path: Option<PathBuf>,
    long_target: Option<PathBuf>,
    entries: u64,
    bytes: u64,
}

impl Unpacking<'_> {
    fn entry(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), ArchiveError> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => self.long_path = Some(long_name(&mut entry)?),
            EntryType::GNULongLink => self.long_target = Some(long_name(&mut entry)?),
            EntryType::Directory => {
                let path = self.path(&entry)?;
                fs::create_dir(self.place(&path)?).map_err(|e| occupied(&path, e))?;
            }
            EntryType::Regular => {
                let path = self.path(&entry)?;
                self.file(&path, &mut entry)?;
            }
            EntryType::Symlink => {
                let path = self.path(&entry)?;
                let target = self.target(&entry);
                if !link::stays_inside(&path, &target) {
                    return Err(ArchiveError::Link { path: shown(&path), target: shown(&target) });
                }
                symlink(&target, self.place(&path)?).map_err(|e| occupied(&path, e))?;
            }
            EntryType::Link => return self.refuse(&entry, "a hard link"),
            EntryType::Char | EntryType::Block => return self.refuse(&entry, "a device"),
            EntryType::Fifo => return self.refuse(&entry, "a pipe"),
            // Not our enum: tar's numbers are open-ended.
            _ => return self.refuse(&entry, "of a kind that the farm does not write"),
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), ArchiveError> {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > MAX_BYTES {
            return Err(ArchiveError::TooLarge);
        }
        let writing = || format!("writing `{}` of the toolchain", shown(path));
        let executable = entry.header().mode().map_err(io(writing()))? & 0o111 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(self.place(path)?);
        let mut file = file.map_err(|e| occupied(path, e))?;
        let written = io::copy(entry, &mut file).map_err(io(writing()))?;
        match written == entry.size() {
            true => Ok(()),
            false => Err(io(writing())(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The entry's own path: relative, and of plain names only.
    fn path(&mut self, entry: &tar::Entry<'_, impl Read>) -> Result<PathBuf, ArchiveError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(ArchiveError::TooMany);
        }
        let path = match self.long_path.take() {
            Some(path) => path,
            None => PathBuf::from(OsStr::from_bytes(&entry.path_bytes())),
        };
        let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
        let short = path.as_os_str().len() <= MAX_PATH_BYTES;
        match plain && short && path != Path::new("") && !path.as_os_str().as_bytes().contains(&0) {
            true => Ok(path),
            false => Err(ArchiveError::Path { path: shown(&path) }),
        }
    }

    fn target(&mut self, entry: &tar::Entry<'_, impl Read>) -> PathBuf {
        self.long_target
            .take()
            .unwrap_or_else(|| PathBuf::from(OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default())))
    }

    /// Where it goes. Every folder on the way must be a real one that this archive brought before: through a link
    /// nothing is ever written.
    fn place(&self, path: &Path) -> Result<PathBuf, ArchiveError> {
        let mut place = self.root.to_path_buf();
        for component in path.parent().into_iter().flat_map(Path::components) {
            place.push(component);
            if !fs::symlink_metadata(&place).is_ok_and(|about| about.is_dir()) {
                return Err(ArchiveError::Occupied { path: shown(path) });
            }
        }
        Ok(self.root.join(path))
    }

    fn refuse(&mut self, entry: &tar::Entry<'_, impl Read>, what: &'static str) -> Result<(), ArchiveError> {
        let path = self.path(entry)?;
        Err(ArchiveError::Kind { path: shown(&path), what })
    }
}

fn long_name(entry: &mut impl Read) -> Result<PathBuf, ArchiveError> {
    let mut name = Vec::new();
    entry
        .take(MAX_PATH_BYTES as u64 + 2)
        .read_to_end(&mut name)
        .map_err(io("reading a long name in the toolchain's archive"))?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(PathBuf::from(OsStr::from_bytes(&name)))
}

fn occupied(path: &Path, e: io::Error) -> ArchiveError {
    match e.kind() {
        io::ErrorKind::AlreadyExists => ArchiveError::Occupied { path: shown(path) },
        _ => io(format_args!("unpacking `{}` of the toolchain", shown(path)))(e),
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use tar::{Builder, Header};

    use super::*;

    /// An archive of these entries, written byte by byte where a decent packer would refuse.
    struct Hostile(Builder<Vec<u8>>);

    impl Hostile {
        fn new() -> Hostile {
            Hostile(Builder::new(Vec::new()))
        }

        fn entry(mut self, kind: EntryType, path: &str, target: &str, text: &str) -> Hostile {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o4777);
            header.set_size(text.len() as u64);
            let fields = header.as_gnu_mut().unwrap();
            fields.name[..path.len()].copy_from_slice(path.as_bytes());
            fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_cksum();
            self.0.append(&header, text.as_bytes()).unwrap();
            self
        }

        fn folder(self, path: &str) -> Hostile {
            self.entry(EntryType::Directory, path, "", "")
        }

        fn file(self, path: &str) -> Hostile {
            self.entry(EntryType::Regular, path, "", "harm")
        }

        fn link(self, path: &str, target: &str) -> Hostile {
            self.entry(EntryType::Symlink, path, target, "")
        }

        fn compressed(self) -> Vec<u8> {
            zstd::encode_all(&self.0.into_inner().unwrap()[..], 1).unwrap()
        }

        /// Why it is refused, and that nothing has come to lie beside the root.
        fn refused(self) -> String {
            let folder = tempfile::tempdir().unwrap();
            let refused = unpack(&self.compressed()[..], &folder.path().join("root")).unwrap_err();
            let beside: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(beside, ["root"], "{refused}");
            refused.to_string()
        }
    }

    #[test]
    fn no_path_leads_out() {
        for path in ["/etc/passwd", "../beside", "a/../../beside", "..", ".", "", "./a"] {
            let refused = Hostile::new().file(path).refused();
            assert_eq!(refused, format!("`{path}` is not a path within the toolchain"));
        }
    }

    #[test]
    fn no_link_leads_out() {
        for target in ["/etc", "../beside", "..", "a/../../beside", ""] {
            let refused = Hostile::new().link("out", target).refused();
            assert!(refused.starts_with(&format!("the link `out` points to `{target}`")), "{refused}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let through_a_folder = Hostile::new().folder("real").link("link", "real").file("link/file").refused();
        assert_eq!(
            through_a_folder,
            "`link/file` is in the archive twice, or below something that is no folder"
        );
        for twice in [
            Hostile::new().link("a", "b").file("a"),
            Hostile::new().file("a").file("a"),
            Hostile::new().folder("a").link("a", "b"),
            Hostile::new().file("a").file("a/b"),
            Hostile::new().file("never/brought"),
        ] {
            assert!(
                twice.refused().ends_with("is in the archive twice, or below something that is no folder")
            );
        }
    }

    #[test]
    fn only_files_folders_and_symbolic_links_are_unpacked() {
        for (kind, what) in [
            (EntryType::Char, "a device"),
            (EntryType::Block, "a device"),
            (EntryType::Fifo, "a pipe"),
            (EntryType::Link, "a hard link"),
            (EntryType::GNUSparse, "of a kind that the farm does not write"),
            (EntryType::XHeader, "of a kind that the farm does not write"),
            (EntryType::new(b'Z'), "of a kind that the farm does not write"),
        ] {
            let refused = Hostile::new().entry(kind, "a", "b", "").refused();
            assert!(refused.starts_with(&format!("`a` is {what}:")), "{refused}");
        }
    }

    #[test]
    fn a_mode_is_one_of_two() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        unpack(&Hostile::new().file("a").compressed()[..], &root).unwrap();
        assert_eq!(fs::metadata(root.join("a")).unwrap().mode() & 0o7777 & !0o755, 0);
    }

    #[test]
    fn a_file_that_claims_too_much_is_refused_before_it_is_written() {
        let mut header = Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(MAX_BYTES + 1);
        header.set_cksum();
        let mut hostile = Hostile::new();
        hostile.0.get_mut().write_all(header.as_bytes()).unwrap();
        assert_eq!(hostile.refused(), "the toolchain holds more than 2 GiB");
    }

    #[test]
    fn many_files_that_are_too_much_together_are_refused() {
        let mut unpacking = Unpacking {
            root: Path::new("/nonexistent"),
            long_path: None,
            long_target: None,
            entries: MAX_ENTRIES,
            bytes: 0,
        };
        let archive = Hostile::new().file("one-more").0.into_inner().unwrap();
        let mut archive = Archive::new(&archive[..]);
        let entry = archive.entries().unwrap().raw(true).next().unwrap().unwrap();
        assert!(matches!(unpacking.entry(entry), Err(ArchiveError::TooMany)));
    }

    #[test]
    fn a_long_name_is_read_no_further_than_a_path_may_be() {
        let name = "n".repeat(1 << 20);
        let refused =
            Hostile::new().entry(EntryType::GNULongName, "././@LongLink", "", &name).file("a").refused();
        assert!(refused.ends_with("is not a path within the toolchain") && refused.len() < 400, "{refused}");
    }

    /// Entries of every kind, at places that are good, bad or taken, pointing anywhere.
    fn any_entry() -> impl Strategy<Value = (EntryType, &'static str, &'static str)> {
        let kinds = [
            EntryType::Regular,
            EntryType::Directory,
            EntryType::Symlink,
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Fifo,
            EntryType::GNULongName,
            EntryType::GNULongLink,
        ];
        let paths = ["a", "a/b", "a/b/c", "b", "b/a", "../beside", "/tmp/beside", "a/../../beside", ".", ""];
        let targets = ["a", "b", "../a", "..", "../..", "/etc", "a/../../beside", "b/..", ""];
        let one_of = prop::sample::select::<&'static str>;
        (prop::sample::select(kinds.to_vec()), one_of(paths.to_vec()), one_of(targets.to_vec()))
    }

    /// Whatever lies below a place, none of it through a link.
    fn all_below(place: &Path) -> Vec<PathBuf> {
        let mut found = vec![place.to_path_buf()];
        if fs::symlink_metadata(place).is_ok_and(|about| about.is_dir()) {
            found.extend(fs::read_dir(place).unwrap().flat_map(|entry| all_below(&entry.unwrap().path())));
        }
        found
    }

    fn nothing_got_out(folder: &Path) {
        let beside: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["root"]);
        let root = folder.join("root");
        for path in all_below(&root) {
            let about = fs::symlink_metadata(&path).unwrap().file_type();
            assert!(about.is_file() || about.is_dir() || about.is_symlink(), "{}", path.display());
            if about.is_symlink()
                && let Ok(end) = path.canonicalize()
            {
                assert!(end.starts_with(root.canonicalize().unwrap()), "{} leads out", path.display());
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_an_archive_holds_nothing_gets_out_of_its_root(
            entries in prop::collection::vec(any_entry(), 0..12),
        ) {
            let hostile = entries.into_iter().fold(Hostile::new(), |hostile, (kind, path, target)| {
                hostile.entry(kind, path, target, "harm")
            });
            let folder = tempfile::tempdir().unwrap();
            let _ = unpack(&hostile.compressed()[..], &folder.path().join("root"));
            nothing_got_out(folder.path());
        }

        #[test]
        fn an_archive_with_any_bytes_changed_is_unpacked_or_refused(
            changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..20),
        ) {
            let mut tar = Hostile::new().folder("a").file("a/b").link("a/c", "b").file("d").0.into_inner().unwrap();
            for (at, byte) in changes {
                let length = tar.len();
                tar[at % length] = byte;
            }
            let folder = tempfile::tempdir().unwrap();
            let packed = zstd::encode_all(&tar[..], 1).unwrap();
            let _ = unpack(&packed[..], &folder.path().join("root"));
            nothing_got_out(folder.path());
        }
    }

    #[test]
    fn what_is_no_archive_or_only_a_part_of_one_is_an_error() {
        let whole = Hostile::new().folder("a").file("a/b").compressed();
        for bytes in [&b"not zstd"[..], &whole[..whole.len() / 2]] {
            let folder = tempfile::tempdir().unwrap();
            let refused = unpack(bytes, &folder.path().join("root")).unwrap_err();
            assert!(matches!(refused, ArchiveError::Io { .. }), "{refused}");
        }
    }
}
