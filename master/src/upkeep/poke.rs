//! `farm-master poke TRUNK`: has the running master poll a trunk now.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::farm::poke_token;

/// Asks the running master to poll a trunk now. It blocks; it is a command of its own.
#[expect(clippy::disallowed_methods, reason = "a command of its own")]
pub fn poke(config: &Config, trunk: &str) -> Result<()> {
    // Anything that is not a trunk's name may not even fit into a URL.
    anyhow::ensure!(
        config.trunks.iter().any(|configured| configured.name == trunk),
        "this farm has no trunk `{}`; see the [[trunk]] tables of farm.toml",
        trunk.escape_debug()
    );
    let path = poke_token::path(&config.data);
    let token = fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}; start the master once, and run this as its user", path.display())
    })?;
    let url = format!("http://{}/poke/{trunk}", config.listen);
    let response = ureq::post(&url).header("authorization", format!("Bearer {}", token.trim())).send_empty();
    match response {
        Ok(_) => Ok(()),
        Err(ureq::Error::StatusCode(404)) => {
            bail!(
                "the running master has no trunk `{trunk}` yet; its status page shows what is wrong with the configuration"
            )
        }
        Err(ureq::Error::StatusCode(401)) => {
            bail!(
                "the running master does not accept the token in {}; does it serve another farm?",
                path.display()
            )
        }
        Err(error) => Err(error).with_context(|| format!("calling the master at {}", config.listen)),
    }
}
