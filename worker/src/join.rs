//! Asks a farm for a place: shows it this machine's public key, which its operator then approves.

use std::time::Duration;

use anyhow::{Context, bail};
use protocol::{Join, WorkerFacts};
use ureq::Agent;

use crate::config::FarmUrl;
use crate::key::Key;
use crate::objects::refusal;

const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks until the master has taken note.
pub fn ask(url: &FarmUrl, key: &Key, name: &str, facts: WorkerFacts) -> anyhow::Result<()> {
    let join = Join { protocol: protocol::VERSION, key: key.public(), name: name.to_string(), facts };
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("farm-worker/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let mut answer = agent
        .post(url.http(protocol::path::JOIN))
        .header("content-type", "application/json")
        .send(protocol::encode(&join))
        .with_context(|| format!("the farm at {url} cannot be reached; join again when it can"))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => bail!("{url} did not take the request: {}", refusal(status, &mut answer)),
    }
}

/// What the volunteer reads when the farm has taken note.
pub fn next_words(key: &Key) -> String {
    let code = key.code();
    format!(
        "code: {code}\n\
         Tell it to the farm's operator, who lets this machine in by:\n\
         \n    farm-master worker approve {code} --owner NAME\n\n\
         Then, or right now, start:\n\n    farm-worker run"
    )
}
