//! Files named by their own SHA-256: toolchains, results, case lists. Uploads resume where they were cut.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use protocol::Sha256;
use sha2::Digest;

/// What an object is; each kind has a folder and a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Artifact,
    Results,
    Cases,
}

impl Kind {
    pub fn parse(word: &str) -> Option<Kind> {
        match word {
            "artifact" => Some(Kind::Artifact),
            "results" => Some(Kind::Results),
            "cases" => Some(Kind::Cases),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Artifact => "artifact",
            Kind::Results => "results",
            Kind::Cases => "cases",
        }
    }

    /// Bytes that one may have.
    pub fn bound(self) -> u64 {
        match self {
            Kind::Artifact => 2 << 30,
            Kind::Results | Kind::Cases => 64 << 20,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Objects {
    folder: PathBuf,
}

/// How much of an object is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Whole { bytes: u64 },
    Part { bytes: u64 },
}

impl Objects {
    pub fn below(data: &Path) -> Objects {
        Objects { folder: data.join("objects") }
    }

    pub fn path(&self, kind: Kind, sha256: &Sha256) -> PathBuf {
        self.folder.join(kind.as_str()).join(sha256.to_string())
    }

    fn part(&self, kind: Kind, sha256: &Sha256) -> PathBuf {
        self.folder.join(kind.as_str()).join(format!("{sha256}.part"))
    }

    pub fn stored(&self, kind: Kind, sha256: &Sha256) -> Stored {
        match fs::metadata(self.path(kind, sha256)) {
            Ok(meta) => Stored::Whole { bytes: meta.len() },
            Err(_) => {
                Stored::Part { bytes: fs::metadata(self.part(kind, sha256)).map_or(0, |meta| meta.len()) }
            }
        }
    }

    /// Opens the part behind `from` bytes for appending; what was there past it is dropped.
    pub fn append(&self, kind: Kind, sha256: &Sha256, from: u64) -> io::Result<fs::File> {
        let path = self.part(kind, sha256);
        fs::create_dir_all(path.parent().expect("a part lies in its kind's folder"))?;
        let mut file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        if file.metadata()?.len() < from {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the upload begins behind what is there",
            ));
        }
        file.set_len(from)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(file)
    }

    /// Makes a part whole when its bytes have the hash that names it; else drops it and says so.
    /// A case list is named by its text, which is what its zstd unpacks to.
    pub fn finish(&self, kind: Kind, sha256: &Sha256) -> io::Result<()> {
        let part = self.part(kind, sha256);
        let file = fs::File::open(&part)?;
        let found = match kind {
            Kind::Artifact | Kind::Results => hash(&file)?,
            Kind::Cases => hash(zstd::Decoder::new(&file)?)?,
        };
        if found != *sha256 {
            fs::remove_file(&part)?;
            let said = format!("its bytes have the SHA-256 {found}, not {sha256}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, said));
        }
        file.sync_all()?;
        let whole = self.path(kind, sha256);
        fs::rename(&part, &whole)?;
        fs::File::open(whole.parent().expect("an object lies in its kind's folder"))?.sync_all()
    }

    /// An object's text, unpacked, when it is no longer than `most` bytes.
    pub fn text(&self, kind: Kind, sha256: &Sha256, most: usize) -> io::Result<String> {
        let decoder = zstd::Decoder::new(fs::File::open(self.path(kind, sha256))?)?;
        let mut text = String::new();
        let read = decoder.take(most as u64 + 1).read_to_string(&mut text)?;
        if read > most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it unpacks to more than {most} bytes"),
            ));
        }
        Ok(text)
    }
}

/// At most so much of a case list is hashed.
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

    #[test]
    fn an_upload_goes_on_where_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::below(folder.path());
        let name = sha(b"hello world");
        objects.append(Kind::Artifact, &name, 0).unwrap().write_all(b"hello wxx").unwrap();
        assert_eq!(objects.stored(Kind::Artifact, &name), Stored::Part { bytes: 9 });
        objects.append(Kind::Artifact, &name, 7).unwrap().write_all(b"orld").unwrap();
        objects.finish(Kind::Artifact, &name).unwrap();
        assert_eq!(objects.stored(Kind::Artifact, &name), Stored::Whole { bytes: 11 });
    }

    #[test]
    fn bytes_that_are_not_what_they_are_called_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::below(folder.path());
        let name = sha(b"right");
        objects.append(Kind::Results, &name, 0).unwrap().write_all(b"wrong").unwrap();
        let error = objects.finish(Kind::Results, &name).unwrap_err();
        assert!(error.to_string().contains("not"), "{error}");
        assert_eq!(objects.stored(Kind::Results, &name), Stored::Part { bytes: 0 });
        assert!(objects.append(Kind::Results, &name, 3).is_err());
    }

    #[test]
    fn a_case_list_is_named_by_its_text_and_unpacked_within_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::below(folder.path());
        let name = sha(b"a\nb\n");
        let packed = zstd::bulk::compress(b"a\nb\n", 3).unwrap();
        objects.append(Kind::Cases, &name, 0).unwrap().write_all(&packed).unwrap();
        objects.finish(Kind::Cases, &name).unwrap();
        assert_eq!(objects.text(Kind::Cases, &name, 4).unwrap(), "a\nb\n");
        assert!(objects.text(Kind::Cases, &name, 3).is_err());
    }
}
