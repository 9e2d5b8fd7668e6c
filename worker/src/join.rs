//! Asks a farm to admit this machine: sends it the public key, which the operator then approves.

use std::time::Duration;

use anyhow::{anyhow, bail};
use protocol::{Join, WorkerFacts};
use ureq::Agent;

use crate::config::WorkerConfig;
use crate::key::Key;
use crate::objects::refusal;
use crate::tls::{self, TrustedAuthorities};

const JOIN_TIME: Duration = Duration::from_secs(60);

/// Sends the request. Blocks until the master has recorded it.
pub fn send_request(
    config: &WorkerConfig,
    authorities: &TrustedAuthorities,
    key: &Key,
    facts: WorkerFacts,
) -> anyhow::Result<()> {
    let WorkerConfig { url, name, .. } = config;
    let join = Join { protocol: protocol::VERSION, key: key.public(), name: name.clone(), facts };
    let agent: Agent = Agent::config_builder()
        .tls_config(authorities.http())
        .http_status_as_error(false)
        .timeout_global(Some(JOIN_TIME))
        .user_agent(concat!("farm-worker/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let mut answer = agent
        .post(url.http(protocol::path::JOIN))
        .header("content-type", "application/json")
        .send(protocol::encode(&join))
        .map_err(|error| {
            let advice =
                tls::advice(&error).unwrap_or("check the address and your network, then run join again");
            anyhow!("cannot reach the farm at {url}: {error}; {advice}")
        })?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => bail!("{url} did not accept the request: {}", refusal(status, &mut answer)),
    }
}

/// What the volunteer reads when the farm has recorded the request.
pub fn instructions(key: &Key) -> String {
    let code = key.code();
    format!(
        "code: {code}\n\
         The farm has recorded your request. Send this code to the farm's operator, who admits this machine with:\n\
         \n    farm-master worker approve {code} --owner NAME\n\n\
         You need not wait for that. Start the worker now or later:\n\n    farm-worker run"
    )
}
