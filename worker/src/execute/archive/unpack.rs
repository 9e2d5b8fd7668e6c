//! Unpacks an archive that may be malicious. We accept only what our own packer writes, and refuse every other kind of
//! entry, so that we need not consider every feature of the format.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

use super::{ArchiveError, MAX_BYTES, MAX_ENTRIES, MAX_PATH_BYTES, io, link};
use crate::length;

/// What a valid archive within the bounds may contain besides its files' content: for each entry a header and the rest
/// of the last block, twice for a long name, and the names.
const MAX_OVERHEAD_BYTES: u64 = MAX_ENTRIES * 4096;

/// Unpacks into `root`, which must not exist yet. After an error, the caller removes whatever is there.
pub fn unpack(archive: impl Read, root: &Path) -> Result<(), ArchiveError> {
    fs::create_dir(root).map_err(io(format_args!("creating {}", root.display())))?;
    let reading = || "reading the toolchain's archive";
    let zstd = zstd::Decoder::new(archive).map_err(io(reading()))?;
    // A decompression bomb ends here, whatever its headers claim.
    let mut archive = Archive::new(zstd.take(MAX_BYTES + MAX_OVERHEAD_BYTES));
    let mut unpacker = Unpacker { root, long_path: None, long_target: None, entries: 0, bytes: 0 };
    for entry in archive.entries().map_err(io(reading()))?.raw(true) {
        unpacker.entry(entry.map_err(io(reading()))?)?;
    }
    Ok(())
}

struct Unpacker<'a> {
    root: &'a Path,
    /// A name that is too long for a header comes as an entry of its own, before the entry that it names.
    long_path: Option<PathBuf>,
    long_target: Option<PathBuf>,
    entries: u64,
    bytes: u64,
}

impl Unpacker<'_> {
    fn entry(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), ArchiveError> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => self.long_path = Some(long_name(&mut entry)?),
            EntryType::GNULongLink => self.long_target = Some(long_name(&mut entry)?),
            EntryType::Directory => {
                let path = self.path(&entry)?;
                fs::create_dir(self.destination(&path)?).map_err(|e| occupied(&path, e))?;
            }
            EntryType::Regular => {
                let path = self.path(&entry)?;
                self.file(&path, &mut entry)?;
            }
            EntryType::Symlink => {
                let path = self.path(&entry)?;
                let target = self.target(&entry);
                if !link::stays_inside(&path, &target) {
                    return Err(ArchiveError::Link { path: printable(&path), target: printable(&target) });
                }
                symlink(&target, self.destination(&path)?).map_err(|e| occupied(&path, e))?;
            }
            EntryType::Link => return self.refuse(&entry, "a hard link"),
            EntryType::Char | EntryType::Block => return self.refuse(&entry, "a device"),
            EntryType::Fifo => return self.refuse(&entry, "a pipe"),
            // This is tar's enum, and it is open-ended.
            _ => return self.refuse(&entry, "of a kind that the farm does not write"),
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), ArchiveError> {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > MAX_BYTES {
            return Err(ArchiveError::TooLarge);
        }
        let writing = || format!("writing `{}` of the toolchain", printable(path));
        let executable = entry.header().mode().map_err(io(writing()))? & 0o111 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(self.destination(path)?);
        let mut file = file.map_err(|e| occupied(path, e))?;
        let written = io::copy(entry, &mut file).map_err(io(writing()))?;
        match written == entry.size() {
            true => Ok(()),
            false => Err(io(writing())(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The entry's own path: relative, and made of plain names only.
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
            false => Err(ArchiveError::Path { path: printable(&path) }),
        }
    }

    fn target(&mut self, entry: &tar::Entry<'_, impl Read>) -> PathBuf {
        self.long_target
            .take()
            .unwrap_or_else(|| PathBuf::from(OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default())))
    }

    /// Where to write the entry. Every folder on the way must be a real folder that came earlier in this archive:
    /// nothing is ever written through a link.
    fn destination(&self, path: &Path) -> Result<PathBuf, ArchiveError> {
        let mut folder = self.root.to_path_buf();
        for component in path.parent().into_iter().flat_map(Path::components) {
            folder.push(component);
            if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(ArchiveError::Occupied { path: printable(path) });
            }
        }
        Ok(self.root.join(path))
    }

    fn refuse(&mut self, entry: &tar::Entry<'_, impl Read>, what: &'static str) -> Result<(), ArchiveError> {
        let path = self.path(entry)?;
        Err(ArchiveError::Kind { path: printable(&path), what })
    }
}

fn long_name(entry: &mut impl Read) -> Result<PathBuf, ArchiveError> {
    let mut name = Vec::new();
    entry
        .take(length::to_u64(MAX_PATH_BYTES) + 2)
        .read_to_end(&mut name)
        .map_err(io("reading a long name in the toolchain's archive"))?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(PathBuf::from(OsStr::from_bytes(&name)))
}

fn occupied(path: &Path, e: io::Error) -> ArchiveError {
    match e.kind() {
        io::ErrorKind::AlreadyExists => ArchiveError::Occupied { path: printable(path) },
        _ => io(format_args!("unpacking `{}` of the toolchain", printable(path)))(e),
    }
}

fn printable(path: &Path) -> String {
    path.to_string_lossy().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use tar::{Builder, Header};

    use super::*;

    /// An archive with any entries, also those that an ordinary packer refuses to write.
    struct HostileArchive(Builder<Vec<u8>>);

    impl HostileArchive {
        fn new() -> HostileArchive {
            HostileArchive(Builder::new(Vec::new()))
        }

        fn entry(mut self, kind: EntryType, path: &str, target: &str, text: &str) -> HostileArchive {
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

        fn folder(self, path: &str) -> HostileArchive {
            self.entry(EntryType::Directory, path, "", "")
        }

        fn file(self, path: &str) -> HostileArchive {
            self.entry(EntryType::Regular, path, "", "harm")
        }

        fn link(self, path: &str, target: &str) -> HostileArchive {
            self.entry(EntryType::Symlink, path, target, "")
        }

        fn compressed(self) -> Vec<u8> {
            zstd::encode_all(&self.0.into_inner().unwrap()[..], 1).unwrap()
        }

        /// Why it is refused.
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
            let refused = HostileArchive::new().file(path).refused();
            assert_eq!(refused, format!("`{path}` is not a path within the toolchain"));
        }
    }

    #[test]
    fn no_link_leads_out() {
        for target in ["/etc", "../beside", "..", "a/../../beside", ""] {
            let refused = HostileArchive::new().link("out", target).refused();
            assert!(refused.starts_with(&format!("the link `out` points to `{target}`")), "{refused}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let through_a_folder =
            HostileArchive::new().folder("real").link("link", "real").file("link/file").refused();
        assert_eq!(
            through_a_folder,
            "`link/file` is in the archive twice, or below something that is not a folder"
        );
        for twice in [
            HostileArchive::new().link("a", "b").file("a"),
            HostileArchive::new().file("a").file("a"),
            HostileArchive::new().folder("a").link("a", "b"),
            HostileArchive::new().file("a").file("a/b"),
            HostileArchive::new().file("never/brought"),
        ] {
            assert!(
                twice.refused().ends_with("is in the archive twice, or below something that is not a folder")
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
            let refused = HostileArchive::new().entry(kind, "a", "b", "").refused();
            assert!(refused.starts_with(&format!("`a` is {what}:")), "{refused}");
        }
    }

    #[test]
    fn a_file_gets_one_of_two_modes() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        unpack(&HostileArchive::new().file("a").compressed()[..], &root).unwrap();
        assert_eq!(fs::metadata(root.join("a")).unwrap().mode() & 0o7777 & !0o755, 0);
    }

    #[test]
    fn a_file_that_claims_to_be_too_large_is_refused_before_it_is_written() {
        let mut header = Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(MAX_BYTES + 1);
        header.set_cksum();
        let mut hostile = HostileArchive::new();
        hostile.0.get_mut().write_all(header.as_bytes()).unwrap();
        assert_eq!(hostile.refused(), "the toolchain is larger than 2 GiB");
    }

    #[test]
    fn too_many_files_are_refused() {
        let mut unpacker = Unpacker {
            root: Path::new("/nonexistent"),
            long_path: None,
            long_target: None,
            entries: MAX_ENTRIES,
            bytes: 0,
        };
        let archive = HostileArchive::new().file("one-more").0.into_inner().unwrap();
        let mut archive = Archive::new(&archive[..]);
        let entry = archive.entries().unwrap().raw(true).next().unwrap().unwrap();
        assert!(matches!(unpacker.entry(entry), Err(ArchiveError::TooMany)));
    }

    #[test]
    fn a_long_name_is_read_only_up_to_the_longest_path() {
        let name = "n".repeat(1 << 20);
        let refused = HostileArchive::new()
            .entry(EntryType::GNULongName, "././@LongLink", "", &name)
            .file("a")
            .refused();
        assert!(refused.ends_with("is not a path within the toolchain") && refused.len() < 400, "{refused}");
    }

    /// Entries of every kind, with valid, invalid and duplicate paths, pointing anywhere.
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

    /// Everything below a path, without following links.
    fn all_below(path: &Path) -> Vec<PathBuf> {
        let mut found = vec![path.to_path_buf()];
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            found.extend(fs::read_dir(path).unwrap().flat_map(|entry| all_below(&entry.unwrap().path())));
        }
        found
    }

    fn assert_nothing_left_the_root(folder: &Path) {
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
        fn whatever_an_archive_contains_nothing_leaves_its_root(
            entries in prop::collection::vec(any_entry(), 0..12),
        ) {
            let hostile = entries.into_iter().fold(HostileArchive::new(), |hostile, (kind, path, target)| {
                hostile.entry(kind, path, target, "harm")
            });
            let folder = tempfile::tempdir().unwrap();
            let _ = unpack(&hostile.compressed()[..], &folder.path().join("root"));
            assert_nothing_left_the_root(folder.path());
        }

        #[test]
        fn an_archive_with_any_bytes_changed_is_unpacked_or_refused(
            changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..20),
        ) {
            let mut tar = HostileArchive::new().folder("a").file("a/b").link("a/c", "b").file("d").0.into_inner().unwrap();
            for (at, byte) in changes {
                let length = tar.len();
                tar[at % length] = byte;
            }
            let folder = tempfile::tempdir().unwrap();
            let packed = zstd::encode_all(&tar[..], 1).unwrap();
            let _ = unpack(&packed[..], &folder.path().join("root"));
            assert_nothing_left_the_root(folder.path());
        }
    }

    #[test]
    fn an_invalid_or_truncated_archive_is_an_error() {
        let whole = HostileArchive::new().folder("a").file("a/b").compressed();
        for bytes in [&b"not zstd"[..], &whole[..whole.len() / 2]] {
            let folder = tempfile::tempdir().unwrap();
            let refused = unpack(bytes, &folder.path().join("root")).unwrap_err();
            assert!(matches!(refused, ArchiveError::Io { .. }), "{refused}");
        }
    }
}
