//! What this machine asks of a farm outside of a session: to be admitted, to have another key, to be forgotten, and a plan to
//! rehearse. Each blocks until the farm has answered.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use protocol::{Join, Plan, SignedRequest, WorkerFacts};
use serde::Serialize;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

use crate::config::FarmUrl;
use crate::key::Key;
use crate::objects::refusal;
use crate::tls::{self, TrustedAuthorities};

const REQUEST_TIME: Duration = Duration::from_secs(60);
/// A plan is a message, so it is no longer than one.
const MAX_PLAN_BYTES: u64 = protocol::MAX_MESSAGE_BYTES as u64;

/// Asks a farm over HTTP.
pub struct FarmClient<'a> {
    url: &'a FarmUrl,
    agent: Agent,
}

impl FarmClient<'_> {
    pub fn new<'a>(url: &'a FarmUrl, authorities: &TrustedAuthorities) -> FarmClient<'a> {
        let agent = Agent::config_builder()
            .tls_config(authorities.http())
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIME))
            .user_agent(concat!("farm-worker/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        FarmClient { url, agent }
    }

    /// Asks to be admitted.
    pub fn join(&self, key: &Key, name: &str, facts: WorkerFacts) -> anyhow::Result<()> {
        let join = Join { protocol: protocol::VERSION, key: key.public(), name: name.to_string(), facts };
        self.is_taken(&self.post(protocol::path::JOIN, &join, "join")?)
    }

    /// Asks for another key. Until the operator approves it, the old one is valid.
    pub fn rekey(&self, key: &Key, next: &Key) -> anyhow::Result<()> {
        let request: SignedRequest = key.sign_request(now_ms(), Some(next));
        self.is_taken(&self.post(protocol::path::REKEY, &request, "rekey")?)
    }

    /// Asks to be forgotten.
    pub fn leave(&self, key: &Key) -> anyhow::Result<()> {
        self.post(protocol::path::LEAVE, &key.sign_request(now_ms(), None), "leave").map(drop)
    }

    /// The plan of the newest change's toolchain.
    pub fn rehearsal(&self, facts: &WorkerFacts) -> anyhow::Result<Plan> {
        let mut answer = self.post(protocol::path::REHEARSAL, facts, "rehearse")?;
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_PLAN_BYTES)
            .read_to_string()
            .context("reading the farm's plan")?;
        serde_json::from_str(&text).with_context(|| format!("{} sent something that is not a plan", self.url))
    }

    /// Only a farm answers with this status: a web page that takes everything is none.
    fn is_taken(&self, answer: &Response<Body>) -> anyhow::Result<()> {
        match answer.status().as_u16() {
            202 => Ok(()),
            status => bail!(
                "{} does not answer as a farm does: it answered {status} instead of 202; check the address, which is that of the farm's pages",
                self.url
            ),
        }
    }

    fn post(&self, path: &str, message: &impl Serialize, command: &str) -> anyhow::Result<Response<Body>> {
        let url = self.url;
        let text = serde_json::to_string(message).context("writing the request")?;
        let request = self.agent.post(url.http(path)).header("content-type", "application/json");
        let mut answer = request.send(text).map_err(|error| {
            let advice = tls::advice(&error).map_or_else(
                || format!("check the address and your network, then run {command} again"),
                ToString::to_string,
            );
            anyhow!("cannot reach the farm at {url}: {error}; {advice}")
        })?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status if status.as_u16() == 404 || status.as_u16() == 405 => bail!(
                "{url} does not answer as a farm does: {}; check the address, which is that of the farm's pages",
                refusal(status, &mut answer)
            ),
            status => bail!("{url} did not accept the request: {}", refusal(status, &mut answer)),
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What the volunteer reads when the farm has recorded the request.
pub fn instructions(key: &Key) -> String {
    let code = key.code();
    format!(
        "code: {code}\n\
         The farm has recorded your request. Send this code to the farm's operator, who admits this machine with:\n\
         \n    farm-master worker approve {code} --owner NAME\n\n\
         You need not wait for that. Start the worker now or later:\n\n    farm-worker run\n\n\
         or let the system start it: `farm-worker service install`. A request that nobody answers is deleted after 7 days."
    )
}
