//! `farm-master poke TRUNK`, and the token that it and a git hook show.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::config::Config;

pub fn token_path(data: &Path) -> PathBuf {
    data.join("poke.token")
}

/// Makes the token where there is none yet. Only the farm's own user may read it.
pub fn make_token(data: &Path) -> Result<()> {
    let path = token_path(data);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("making {}", path.display())),
    };
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("asking the system for randomness")?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{token}").with_context(|| format!("writing {}", path.display()))
}

/// Asks the running master to poll a trunk now.
pub fn poke(config: &Config, trunk: &str) -> Result<()> {
    // What is no trunk's name need not even fit into a URL.
    anyhow::ensure!(
        config.trunks.iter().any(|known| known.name == trunk),
        "there is no trunk `{}` in this farm",
        trunk.escape_debug()
    );
    let path = token_path(&config.data);
    let token = fs::read_to_string(&path).with_context(|| {
        format!("{} cannot be read; has the master run, and are you its user?", path.display())
    })?;
    let url = format!("http://{}/poke/{trunk}", config.listen);
    let answer = ureq::post(&url).header("authorization", format!("Bearer {}", token.trim())).send_empty();
    match answer {
        Ok(_) => Ok(()),
        Err(ureq::Error::StatusCode(404)) => {
            bail!(
                "the master that runs knows no trunk `{trunk}` yet; its status page says what is wrong with the configuration"
            )
        }
        Err(ureq::Error::StatusCode(401)) => {
            bail!("the master does not take the token in {}", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("calling the master at {}", config.listen)),
    }
}
