//! Packs a tree so that equal trees become equal bytes, whatever owner and time the files have: sorted,
//! with one date, one owner and two modes. By the hash, the farm sees that a change left the toolchain as it was.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use protocol::Sha256;
use sha2::Digest;
use tar::{Builder, EntryType, Header};

use super::{ArchiveError, MAX_BYTES, MAX_ENTRIES, io, link};
use crate::length;
use crate::source_date::SOURCE_DATE_EPOCH;

/// Part of the format: another level would give the same tree another hash. Level 6 takes more than twice as long for an
/// archive that is a tenth smaller, and every change waits for it.
const COMPRESSION_LEVEL: i32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedTree {
    pub path: PathBuf,
    pub sha256: Sha256,
    pub bytes: u64,
}

/// Packs the content of `root` into the file `to`. A link whose target starts with `prefix`, the path of `root` in the
/// recipe, is packed as the equivalent relative link. `threads` compress it, at least one; their number changes no byte.
pub fn pack(root: &Path, prefix: &Path, to: &Path, threads: u32) -> Result<PackedTree, ArchiveError> {
    let entries = walk(root, prefix)?;
    let file = File::create(to).map_err(io(format_args!("creating {}", to.display())))?;
    let writing = || format!("writing {}", to.display());
    let mut hashing = HashingWriter { inner: BufWriter::new(file), hash: sha2::Sha256::new(), bytes: 0 };
    let mut zstd = zstd::Encoder::new(&mut hashing, COMPRESSION_LEVEL).map_err(io(writing()))?;
    zstd.include_checksum(false).map_err(io(writing()))?;
    // One thread beside this one, too: with none, zstd divides the data otherwise and writes other bytes.
    zstd.multithread(threads.max(1)).map_err(io(writing()))?;
    let mut tar = Builder::new(zstd);
    for (path, kind) in &entries {
        append(&mut tar, root, path, kind)?;
    }
    let zstd = tar.into_inner().map_err(io(writing()))?;
    zstd.finish().map_err(io(writing()))?;
    hashing.flush().map_err(io(writing()))?;
    Ok(PackedTree {
        path: to.to_path_buf(),
        sha256: Sha256(hashing.hash.finalize().into()),
        bytes: hashing.bytes,
    })
}

enum EntryKind {
    Folder,
    File { bytes: u64, executable: bool },
    Link { target: PathBuf },
}

/// Everything below `root`, by relative path, in the order of the paths' bytes.
fn walk(root: &Path, prefix: &Path) -> Result<Vec<(PathBuf, EntryKind)>, ArchiveError> {
    let mut entries = Vec::new();
    let mut bytes = 0u64;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let listing = || format!("listing {} of the toolchain", printable(&folder));
        for entry in fs::read_dir(root.join(&folder)).map_err(io(listing()))? {
            let entry = entry.map_err(io(listing()))?;
            let path = folder.join(entry.file_name());
            let metadata = entry.metadata().map_err(io(listing()))?;
            let kind = entry_kind(root, prefix, &path, &metadata)?;
            match &kind {
                EntryKind::Folder => folders.push(path.clone()),
                EntryKind::File { bytes: more, .. } => bytes = bytes.saturating_add(*more),
                EntryKind::Link { .. } => {}
            }
            entries.push((path, kind));
            if length::to_u64(entries.len()) > MAX_ENTRIES {
                return Err(ArchiveError::TooMany);
            }
            if bytes > MAX_BYTES {
                return Err(ArchiveError::TooLarge);
            }
        }
    }
    // We compare whole strings, not components: any other packer can easily use the same order.
    entries.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
    Ok(entries)
}

fn entry_kind(
    root: &Path,
    prefix: &Path,
    path: &Path,
    metadata: &Metadata,
) -> Result<EntryKind, ArchiveError> {
    let kind = metadata.file_type();
    let refused = |what| Err(ArchiveError::Kind { path: printable(path), what });
    if kind.is_dir() {
        Ok(EntryKind::Folder)
    } else if kind.is_file() {
        Ok(EntryKind::File { bytes: metadata.len(), executable: metadata.mode() & 0o111 != 0 })
    } else if kind.is_symlink() {
        let reading = || format!("reading the link {} of the toolchain", printable(path));
        let target = fs::read_link(root.join(path)).map_err(io(reading()))?;
        let target = relative(path, target, prefix);
        match link::stays_inside(path, &target) {
            true => Ok(EntryKind::Link { target }),
            false => Err(ArchiveError::Link { path: printable(path), target: printable(&target) }),
        }
    } else if kind.is_socket() {
        refused("a socket")
    } else if kind.is_fifo() {
        refused("a pipe")
    } else {
        refused("a device")
    }
}

fn relative(path: &Path, target: PathBuf, prefix: &Path) -> PathBuf {
    let Ok(below) = target.strip_prefix(prefix) else { return target };
    let depth = path.components().count() - 1;
    let mut relative: PathBuf = std::iter::repeat_n("..", depth).collect();
    relative.push(below);
    match relative == Path::new("") {
        true => PathBuf::from("."),
        false => relative,
    }
}

fn append(
    tar: &mut Builder<impl Write>,
    root: &Path,
    path: &Path,
    kind: &EntryKind,
) -> Result<(), ArchiveError> {
    let mut header = Header::new_gnu();
    header.set_mtime(SOURCE_DATE_EPOCH);
    header.set_uid(0);
    header.set_gid(0);
    let packing = || format!("packing {}", printable(path));
    match kind {
        EntryKind::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_data(&mut header, with_slash(path), io::empty())
        }
        EntryKind::File { bytes, executable } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*bytes);
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(root.join(path));
            // If the file has changed since it was listed, it is packed with the listed length or refused.
            file.and_then(|file| {
                tar.append_data(
                    &mut header,
                    path,
                    ExactReader { inner: file.take(*bytes), left_bytes: *bytes },
                )
            })
        }
        EntryKind::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, path, target)
        }
    }
    .map_err(io(packing()))
}

/// In an archive, a folder's name ends with a slash.
fn with_slash(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("/");
    PathBuf::from(name)
}

fn printable(path: &Path) -> String {
    path.to_string_lossy().chars().take(300).collect()
}

/// Reads a file of known length. If the file has become shorter, that is an error and not a hole in the archive.
struct ExactReader<R> {
    inner: R,
    left_bytes: u64,
}

impl<R: Read> Read for ExactReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer)? {
            0 if self.left_bytes > 0 && !buffer.is_empty() => {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
            read => {
                self.left_bytes -= length::to_u64(read);
                Ok(read)
            }
        }
    }
}

struct HashingWriter<W> {
    inner: W,
    hash: sha2::Sha256,
    bytes: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += length::to_u64(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::execute::archive::unpack;

    type Tree = tempfile::TempDir;

    fn tree(files: &[(&str, &str, u32)]) -> Tree {
        let root = tempfile::tempdir().unwrap();
        for (path, text, mode) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        root
    }

    fn packed(root: &Tree) -> Result<PackedTree, ArchiveError> {
        let to = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        let packed = pack(root.path(), Path::new("/trunkfarm/toolchain"), &to, 2);
        fs::remove_file(to).unwrap();
        packed
    }

    fn sha(root: &Tree) -> Sha256 {
        packed(root).unwrap().sha256
    }

    #[test]
    fn equal_trees_become_equal_archives_whatever_the_time_and_order_of_their_writing() {
        let one = tree(&[("bin/lua", "elf", 0o755), ("lib/a", "a", 0o644), ("lib/b/c", "c", 0o600)]);
        let other = tree(&[("lib/b/c", "c", 0o444), ("lib/a", "a", 0o640), ("bin/lua", "elf", 0o711)]);
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::open(other.path().join("lib/a")).unwrap().set_modified(old).unwrap();
        assert_eq!(sha(&one), sha(&other));
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let root = tree(&[]);
        // More than one job of zstd, of data that compresses unevenly.
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        for (name, mask) in [("a", 0xff), ("b", 0x0f), ("c", 0x01)] {
            let bytes: Vec<u8> = (0..4 << 20).map(|_| noise() & mask).collect();
            fs::write(root.path().join(name), bytes).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let pack_with = |threads| {
            pack(root.path(), Path::new("/nowhere"), &folder.path().join("archive"), threads).unwrap().sha256
        };
        let one = pack_with(1);
        for threads in [0, 2, 3, 8] {
            assert_eq!(pack_with(threads), one, "{threads} threads");
        }
    }

    #[test]
    fn a_hard_link_is_a_file_like_any_other() {
        let one = tree(&[("bin/a", "x", 0o755), ("bin/b", "x", 0o755)]);
        let other = tree(&[("bin/a", "x", 0o755)]);
        fs::hard_link(other.path().join("bin/a"), other.path().join("bin/b")).unwrap();
        assert_eq!(sha(&one), sha(&other));
    }

    #[test]
    fn every_difference_that_a_program_could_see_changes_the_archive() {
        let one = sha(&tree(&[("bin/lua", "elf", 0o755)]));
        for (path, text, mode) in
            [("bin/lua", "elg", 0o755), ("bin/lua", "elf", 0o644), ("bin/luac", "elf", 0o755)]
        {
            assert_ne!(sha(&tree(&[(path, text, mode)])), one, "{path} {text} {mode:o}");
        }
    }

    #[test]
    fn a_link_to_the_constant_path_is_packed_as_a_relative_link() {
        let one = tree(&[("lib/x/a", "a", 0o644)]);
        symlink("/trunkfarm/toolchain/lib/x/a", one.path().join("lib/b")).unwrap();
        let other = tree(&[("lib/x/a", "a", 0o644)]);
        symlink("../lib/x/a", other.path().join("lib/b")).unwrap();
        assert_eq!(sha(&one), sha(&other));
    }

    #[test]
    fn what_cannot_be_the_same_on_another_machine_is_refused() {
        let root = tree(&[]);
        symlink("/usr/bin/lua", root.path().join("lua")).unwrap();
        assert!(matches!(packed(&root), Err(ArchiveError::Link { .. })));

        let root = tree(&[]);
        let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
        assert_eq!(
            packed(&root).unwrap_err().to_string(),
            "`socket` is a socket: a toolchain may contain only files, folders and symbolic links"
        );

        let root = tree(&[]);
        File::create(root.path().join("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(packed(&root), Err(ArchiveError::TooLarge)));
    }

    #[test]
    fn a_packed_tree_unpacks_unchanged() {
        let deep = format!("{}/end", vec!["a-long-folder-name"; 20].join("/"));
        let root = tree(&[("bin/lua", "elf", 0o755), ("empty", "", 0o644), (&deep, "deep", 0o644)]);
        fs::create_dir(root.path().join("share")).unwrap();
        symlink("lua", root.path().join("bin/lua5")).unwrap();
        symlink(format!("../{deep}"), root.path().join("bin/deep")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("toolchain.tar.zst");
        let first = pack(root.path(), Path::new("/nowhere"), &archive, 2).unwrap();
        assert_eq!(first.bytes, fs::metadata(&archive).unwrap().len());

        let unpacked = folder.path().join("unpacked");
        unpack(File::open(&archive).unwrap(), &unpacked).unwrap();
        assert_eq!(fs::read_to_string(unpacked.join("bin/lua5")).unwrap(), "elf");
        assert_eq!(fs::read_to_string(unpacked.join("bin/deep")).unwrap(), "deep");
        assert!(unpacked.join("share").is_dir());
        let again = pack(&unpacked, Path::new("/nowhere"), &folder.path().join("again"), 2).unwrap();
        assert_eq!(again.sha256, first.sha256);
    }
}
