//! What a recipe produces besides its results: the lock that a fetch step wrote, and the line that answers the plan.
//! Both come from a stranger, so links are not followed and every read has a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use protocol::{MAX_ANSWER_BYTES, MAX_LOCK_BYTES};

use crate::length;

/// Copies the lock to a place of our own. Returns a warning if there is a lock that cannot be used.
pub fn copy_lock(from: &Path, to: &Path) -> io::Result<Option<String>> {
    // NONBLOCK: opening a pipe without a writer must not wait forever.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Ok(Some(format!("$FARM_OUT/lock is ignored: {error}"))),
    };
    if !file.metadata()?.is_file() {
        return Ok(Some("$FARM_OUT/lock is ignored: it is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LOCK_BYTES + 1).read_to_end(&mut bytes)?;
    match length::to_u64(bytes.len()) {
        0 => Ok(Some("$FARM_OUT/lock is ignored: it is empty".into())),
        1..=MAX_LOCK_BYTES => fs::write(to, bytes).map(|()| None),
        _ => Ok(Some(format!("$FARM_OUT/lock is ignored: it is larger than {MAX_LOCK_BYTES} bytes"))),
    }
}

/// The first line of a file, one byte longer than the bound of an answer at most. Bytes that are not UTF-8 are replaced.
pub fn first_line(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(length::to_u64(MAX_ANSWER_BYTES) + 1).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_regular_file_is_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("lock"), folder.path().join("copied"));
        assert_eq!(copy_lock(&from, &to).unwrap(), None);
        assert!(!to.exists());
        fs::write(&from, "").unwrap();
        assert!(copy_lock(&from, &to).unwrap().unwrap().contains("empty"));
        fs::write(&from, vec![b'x'; MAX_LOCK_BYTES as usize + 1]).unwrap();
        assert!(copy_lock(&from, &to).unwrap().unwrap().contains("larger than"));
        fs::remove_file(&from).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &from).unwrap();
        assert!(copy_lock(&from, &to).unwrap().is_some());
        fs::remove_file(&from).unwrap();
        fs::create_dir(&from).unwrap();
        assert!(copy_lock(&from, &to).unwrap().is_some());
        assert!(!to.exists());
        fs::remove_dir(&from).unwrap();
        fs::write(&from, "six==1.17.0\n").unwrap();
        assert_eq!(copy_lock(&from, &to).unwrap(), None);
        assert_eq!(fs::read_to_string(&to).unwrap(), "six==1.17.0\n");
    }

    #[test]
    fn an_answer_is_one_short_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("printed");
        for (printed, answer) in [("1.2\n1.1\n", "1.2"), (" 1.2 ", "1.2"), ("", ""), ("\n1.1", "")] {
            fs::write(&path, printed).unwrap();
            assert_eq!(first_line(&path).unwrap(), answer);
        }
        fs::write(&path, "x".repeat(10_000)).unwrap();
        assert_eq!(first_line(&path).unwrap().len(), MAX_ANSWER_BYTES + 1);
    }
}
