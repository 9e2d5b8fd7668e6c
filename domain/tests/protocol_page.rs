//! Strangers write workers by `docs/protocol.md`, so its examples are read here as the farm reads them.

use protocol::{Event, FromMaster, FromWorker, Join, SignedRequest, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::Digest;
use trunkfarm_domain::results::{CaseList, Results};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The code blocks with this info string, without the indent that a list gives them.
fn blocks(fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(fence) {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    assert!(!blocks.is_empty(), "the page has no block {fence}");
    blocks
}

/// Reads an example and writes it again. It must not change: no field is unknown, and none is left out.
fn round_trip<T: DeserializeOwned + Serialize>(example: &str) -> T {
    let read: T = decode(example).unwrap_or_else(|e| panic!("{e}: {example}"));
    let value = |text: &str| serde_json::from_str::<Value>(text).expect("it has just been read");
    assert_eq!(value(&encode(&read)), value(example));
    read
}

#[test]
fn every_message_on_the_page_is_valid() {
    blocks("json join").iter().for_each(|example| drop(round_trip::<Join>(example)));
    blocks("json signed").iter().for_each(|example| drop(round_trip::<SignedRequest>(example)));
    blocks("json from-master").iter().for_each(|example| drop(round_trip::<FromMaster>(example)));
    blocks("json from-worker").iter().for_each(|example| drop(round_trip::<FromWorker>(example)));
}

#[test]
fn the_environment_on_the_page_has_the_hash_of_its_properties() {
    let environments =
        blocks("json from-worker").into_iter().filter_map(|example| match round_trip(&example) {
            FromWorker::Event { event: Event::Started { environment }, .. } => Some(environment),
            FromWorker::Event { .. }
            | FromWorker::Hello { .. }
            | FromWorker::Accept { .. }
            | FromWorker::Decline { .. }
            | FromWorker::Heartbeat
            | FromWorker::Pause { .. }
            | FromWorker::Resume
            | FromWorker::Terms { .. }
            | FromWorker::Progress { .. }
            | FromWorker::Slots { .. } => None,
        });
    for environment in environments {
        let text: String = environment.properties.iter().map(|property| format!("{property}\n")).collect();
        assert_eq!(environment.sha256.0[..], sha2::Sha256::digest(text)[..], "{}", environment.sha256);
    }
}

#[test]
fn the_results_on_the_page_fit_its_case_list() {
    let list = CaseList::from_text(blocks("text")[0].clone() + "\n").expect("it is a case list");
    let results: Results = round_trip(&blocks("json results")[0]);
    results.check(&list).expect("the results fit the list");
}
