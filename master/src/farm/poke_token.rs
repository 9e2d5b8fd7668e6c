//! The token that `farm-master poke` and a git hook present to the running master.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub fn path(data: &Path) -> PathBuf {
    data.join("poke.token")
}

/// Creates the token if there is none. Only the farm's own user may read it. Called once, before the master serves.
#[expect(clippy::disallowed_methods, reason = "runs at the start, before anything is served")]
pub fn create(data: &Path) -> Result<()> {
    let path = path(data);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("creating {}", path.display())),
    };
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("reading random bytes from the system")?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{token}").with_context(|| format!("writing {}", path.display()))
}
