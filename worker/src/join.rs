//! What this machine asks of a farm outside of a session: to be admitted, to have another key, to be forgotten, and a plan to
//! rehearse. Each blocks until the farm has answered.

use std::time::Duration;

use anyhow::{Context, bail};
use protocol::{Join, Plan, SignedRequest, WorkerFacts};
use serde::Serialize;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

use crate::config::FarmUrl;
use crate::key::Key;
use crate::objects::refusal;

const REQUEST_TIME: Duration = Duration::from_secs(60);
/// A plan is a message, so it is no longer than one.
const MAX_PLAN_BYTES: u64 = protocol::MAX_MESSAGE_BYTES as u64;

/// Asks to be admitted.
pub fn send_request(url: &FarmUrl, key: &Key, name: &str, facts: WorkerFacts) -> anyhow::Result<()> {
    let join = Join { protocol: protocol::VERSION, key: key.public(), name: name.to_string(), facts };
    is_taken(url, post(url, protocol::path::JOIN, &join, "join")?)
}

/// Only a farm answers with this status: a web page that takes everything is none.
fn is_taken(url: &FarmUrl, answer: Response<Body>) -> anyhow::Result<()> {
    match answer.status().as_u16() {
        202 => Ok(()),
        status => bail!(
            "{url} does not answer as a farm does: it answered {status} instead of 202; check the address, which is that of the farm's pages"
        ),
    }
}

/// Asks for another key. Until the operator approves it, the old one is valid.
pub fn send_rekey(url: &FarmUrl, key: &Key, next: &Key) -> anyhow::Result<()> {
    let request: SignedRequest = key.sign_request(now_ms(), Some(next));
    is_taken(url, post(url, protocol::path::REKEY, &request, "rekey")?)
}

/// Asks to be forgotten.
pub fn send_leave(url: &FarmUrl, key: &Key) -> anyhow::Result<()> {
    post(url, protocol::path::LEAVE, &key.sign_request(now_ms(), None), "leave").map(drop)
}

/// The plan of the newest change's toolchain.
pub fn fetch_rehearsal(url: &FarmUrl, facts: &WorkerFacts) -> anyhow::Result<Plan> {
    let mut answer = post(url, protocol::path::REHEARSAL, facts, "rehearse")?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(MAX_PLAN_BYTES)
        .read_to_string()
        .context("reading the farm's plan")?;
    serde_json::from_str(&text).with_context(|| format!("{url} sent something that is not a plan"))
}

fn post(
    url: &FarmUrl,
    path: &str,
    message: &impl Serialize,
    command: &str,
) -> anyhow::Result<Response<Body>> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_TIME))
        .user_agent(concat!("farm-worker/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let text = serde_json::to_string(message).context("writing the request")?;
    let mut answer = agent
        .post(url.http(path))
        .header("content-type", "application/json")
        .send(text)
        .with_context(|| {
            format!(
                "cannot reach the farm at {url}; check the address and your network, then run {command} again"
            )
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
