//! Files named by their own SHA-256: toolchains, results, case lists, locks. Uploads resume where they were
//! interrupted.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::Sha256;
use sha2::Digest;

/// What an object is; each kind has a folder and a size limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A packed toolchain.
    Artifact,
    /// The verdicts of a run.
    Results,
    /// A list of case names.
    Cases,
    /// A lock file of a project's dependencies.
    Lock,
}

impl ObjectKind {
    /// The inverse of [`ObjectKind::as_str`].
    pub fn parse(word: &str) -> Option<ObjectKind> {
        match word {
            "artifact" => Some(ObjectKind::Artifact),
            "results" => Some(ObjectKind::Results),
            "cases" => Some(ObjectKind::Cases),
            "lock" => Some(ObjectKind::Lock),
            _ => None,
        }
    }

    /// The word in the worker API's paths, which is the folder's name, too.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Artifact => "artifact",
            ObjectKind::Results => "results",
            ObjectKind::Cases => "cases",
            ObjectKind::Lock => "lock",
        }
    }

    /// The size limit of one object, in bytes.
    pub fn bound(self) -> u64 {
        match self {
            ObjectKind::Artifact => 2 << 30,
            ObjectKind::Results | ObjectKind::Cases => 64 << 20,
            ObjectKind::Lock => protocol::MAX_LOCK_BYTES,
        }
    }
}

/// The folder of all objects.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    folder: PathBuf,
}

/// How much of an object is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredObject {
    /// All of it, verified.
    Whole {
        /// Its size.
        bytes: u64,
    },
    /// An upload that has not finished; zero bytes if none has begun.
    Part {
        /// How much was uploaded.
        bytes: u64,
    },
}

impl ObjectStore {
    /// The objects of a data folder.
    pub fn below(data: &Path) -> ObjectStore {
        ObjectStore { folder: data.join("objects") }
    }

    /// The folder of all objects of a kind.
    pub fn folder(&self, kind: ObjectKind) -> PathBuf {
        self.folder.join(kind.as_str())
    }

    /// The file of a whole object, whether or not it exists.
    pub fn path(&self, kind: ObjectKind, sha256: &Sha256) -> PathBuf {
        self.folder.join(kind.as_str()).join(sha256.to_string())
    }

    fn part(&self, kind: ObjectKind, sha256: &Sha256) -> PathBuf {
        self.folder.join(kind.as_str()).join(format!("{sha256}.part"))
    }

    /// How much of an object is on disk.
    pub fn stored(&self, kind: ObjectKind, sha256: &Sha256) -> StoredObject {
        match fs::metadata(self.path(kind, sha256)) {
            Ok(meta) => StoredObject::Whole { bytes: meta.len() },
            Err(_) => StoredObject::Part {
                bytes: fs::metadata(self.part(kind, sha256)).map_or(0, |meta| meta.len()),
            },
        }
    }

    /// Opens an unfinished upload for appending after `from` bytes; what follows is dropped. No other upload can
    /// open it until the returned file is dropped: two writers would mix their bytes, and one of them could write
    /// into what the other has finished.
    pub fn append(&self, kind: ObjectKind, sha256: &Sha256, from: u64) -> io::Result<fs::File> {
        let path = self.part(kind, sha256);
        fs::create_dir_all(path.parent().expect("a part lies in its kind's folder"))?;
        let mut file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(busy()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // Another upload may have finished it after it was opened and before it was locked.
        let is_still_there = fs::metadata(&path).is_ok_and(|there| there.ino() == inode(&file));
        if !is_still_there {
            return Err(busy());
        }
        if file.metadata()?.len() < from {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the upload begins after the end of what is stored",
            ));
        }
        file.set_len(from)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(file)
    }

    /// Finishes an upload if its bytes have the hash that names it; otherwise deletes it and fails. A case list is
    /// named by the hash of its uncompressed text. `held` is what [`ObjectStore::append`] opened.
    pub fn finish(&self, kind: ObjectKind, sha256: &Sha256, held: fs::File) -> io::Result<()> {
        let part = self.part(kind, sha256);
        let file = fs::File::open(&part)?;
        debug_assert_eq!(inode(&file), inode(&held), "the part that was written is the one that is read");
        let found = match kind {
            ObjectKind::Artifact | ObjectKind::Results | ObjectKind::Lock => hash(&file)?,
            ObjectKind::Cases => match hash(zstd::Decoder::new(&file)?) {
                // Bytes that do not unpack are as wrong as those that unpack to something else; a failing disk is
                // neither.
                Err(error) if error.raw_os_error().is_none() => {
                    return refuse(&part, format!("its bytes are not zstd: {error}"));
                }
                found => found?,
            },
        };
        if found != *sha256 {
            return refuse(&part, format!("its bytes have the SHA-256 {found}, not {sha256}"));
        }
        file.sync_all()?;
        let whole = self.path(kind, sha256);
        fs::rename(&part, &whole)?;
        fs::File::open(whole.parent().expect("an object lies in its kind's folder"))?.sync_all()
    }

    /// An object's text, uncompressed; fails if it is longer than `most` bytes.
    pub fn text(&self, kind: ObjectKind, sha256: &Sha256, most: usize) -> io::Result<String> {
        let decoder = zstd::Decoder::new(fs::File::open(self.path(kind, sha256))?)?;
        let mut text = String::new();
        let bound = u64::try_from(most).unwrap_or(u64::MAX);
        let read = decoder.take(bound.saturating_add(1)).read_to_string(&mut text)?;
        if read > most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it unpacks to more than {most} bytes"),
            ));
        }
        Ok(text)
    }
}

fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "another upload of it is running; try again")
}

/// Zero, which is no file's number, for a file whose metadata cannot be read.
fn inode(file: &fs::File) -> u64 {
    file.metadata().map_or(0, |about| about.ino())
}

fn refuse(part: &Path, reason: String) -> io::Result<()> {
    fs::remove_file(part)?;
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// How many bytes of a case list are hashed at most.
const MAX_HASHED: u64 = 4 << 30;

fn hash(from: impl Read) -> io::Result<Sha256> {
    let mut sha = sha2::Sha256::new();
    let mut from = from.take(MAX_HASHED);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(Sha256(sha.finalize().into()));
        }
        sha.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// Appends and finishes, as one upload does.
    fn upload(
        objects: &ObjectStore,
        kind: ObjectKind,
        name: &Sha256,
        from: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut held = objects.append(kind, name, from)?;
        held.write_all(bytes)?;
        objects.finish(kind, name, held)
    }

    #[test]
    fn an_upload_goes_on_where_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let objects = ObjectStore::below(folder.path());
        let name = sha(b"hello world");
        objects.append(ObjectKind::Artifact, &name, 0).unwrap().write_all(b"hello wxx").unwrap();
        assert_eq!(objects.stored(ObjectKind::Artifact, &name), StoredObject::Part { bytes: 9 });
        upload(&objects, ObjectKind::Artifact, &name, 7, b"orld").unwrap();
        assert_eq!(objects.stored(ObjectKind::Artifact, &name), StoredObject::Whole { bytes: 11 });
    }

    #[test]
    fn a_part_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let objects = ObjectStore::below(folder.path());
        let name = sha(b"right");
        let mut first = objects.append(ObjectKind::Results, &name, 0).unwrap();
        first.write_all(b"rig").unwrap();
        let second = objects.append(ObjectKind::Results, &name, 0).unwrap_err();
        assert!(second.to_string().contains("another upload of it is running"), "{second}");
        assert_eq!(
            objects.stored(ObjectKind::Results, &name),
            StoredObject::Part { bytes: 3 },
            "nothing of it is lost"
        );
        first.write_all(b"ht").unwrap();
        objects.finish(ObjectKind::Results, &name, first).unwrap();
        assert_eq!(objects.stored(ObjectKind::Results, &name), StoredObject::Whole { bytes: 5 });
    }

    #[test]
    fn bytes_that_are_not_what_they_are_called_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let objects = ObjectStore::below(folder.path());
        let name = sha(b"right");
        let error = upload(&objects, ObjectKind::Results, &name, 0, b"wrong").unwrap_err();
        assert!(error.to_string().contains("not"), "{error}");
        assert_eq!(objects.stored(ObjectKind::Results, &name), StoredObject::Part { bytes: 0 });
        assert!(objects.append(ObjectKind::Results, &name, 3).is_err());
    }

    #[test]
    fn a_case_list_that_does_not_unpack_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let objects = ObjectStore::below(folder.path());
        let name = sha(b"a\nb\n");
        let packed = zstd::bulk::compress(b"a\nb\n", 3).unwrap();
        for bytes in [&b""[..], b"a\nb\n", &packed[..packed.len() - 1]] {
            let error = upload(&objects, ObjectKind::Cases, &name, 0, bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert_eq!(objects.stored(ObjectKind::Cases, &name), StoredObject::Part { bytes: 0 });
        }
    }

    #[test]
    fn a_case_list_is_named_by_its_text_and_unpacked_within_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let objects = ObjectStore::below(folder.path());
        let name = sha(b"a\nb\n");
        let packed = zstd::bulk::compress(b"a\nb\n", 3).unwrap();
        upload(&objects, ObjectKind::Cases, &name, 0, &packed).unwrap();
        assert_eq!(objects.text(ObjectKind::Cases, &name, 4).unwrap(), "a\nb\n");
        assert!(objects.text(ObjectKind::Cases, &name, 3).is_err());
    }
}
