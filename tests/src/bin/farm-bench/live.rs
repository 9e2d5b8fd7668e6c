//! How much later than printed the lines of a live log reach a reader of its page.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trunkfarm_tests::farm::Farm;

use crate::bare::{instant, now};
use crate::scene;
use crate::table::{Table, milliseconds, quantile};

const RATES: [u32; 3] = [10, 1_000, 50_000];
/// How long each step prints.
const SECONDS: u32 = 5;
/// Lines are printed in at most this many bundles per second, each line with the time of its printing.
const BUNDLES: u32 = 100;

pub fn measure(table: &mut Table) -> Result<()> {
    for rate in RATES {
        let lags = lags(rate)?;
        table.row(
            format!("live log behind its step at {rate} lines a second, median"),
            milliseconds(quantile(&lags, 0.5)),
            format!(
                "p95 {}, at most {}, of {} lines",
                milliseconds(quantile(&lags, 0.95)),
                milliseconds(quantile(&lags, 1.0)),
                lags.len()
            ),
        );
    }
    Ok(())
}

/// The delay of every line that a reader received.
fn lags(rate: u32) -> Result<Vec<Duration>> {
    let mut farm = scene::farm_with_projects(0);
    let bundles = rate.min(BUNDLES);
    let (each, pause, rounds) = (rate / bundles, 1_000_000 / bundles, SECONDS * bundles);
    farm.project(
        "chatty",
        &format!(
            "perl -MTime::HiRes=time,usleep -e '$| = 1; my $t = time; for my $i (1..{rounds}) {{ \
             my $line = sprintf(\"at %.0f\\n\", time * 1e9); print $line x {each}; \
             my $left = $t + $i * {pause} / 1e6 - time; usleep($left * 1e6) if $left > 0 }}'\n\
             echo 1..1\necho ok 1 - chats\n"
        ),
    );
    farm.serve().worker(scene::WORKER, 1);
    farm.until("the suite prints", |farm| Ok(chatting(farm)?.is_some()));
    let build = chatting(&farm)?.context("it printed a moment ago")?;
    let response = ureq::get(farm.url(&format!("/builds/{build}/log/0/events"))).call()?;
    let mut lags = Vec::new();
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        let line = line?;
        if line == "event: end" {
            break;
        }
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let heard = now();
        let event: Value = serde_json::from_str(data)?;
        for line in event["lines"].as_array().into_iter().flatten() {
            let pieces = line["pieces"].as_array().into_iter().flatten();
            let text: String = pieces.filter_map(|piece| piece["text"].as_str()).collect();
            if let Some(printed) = text.strip_prefix("at ") {
                lags.push(heard.saturating_sub(instant(printed)?));
            }
        }
    }
    ensure!(!lags.is_empty(), "the reader received no line");
    // Lines that were printed before the reader connected are not delayed.
    let first = lags.iter().position(|lag| *lag < Duration::from_secs(1)).unwrap_or(0);
    Ok(lags.split_off(first))
}

/// The build of the one suite, once its step has begun.
fn chatting(farm: &Farm) -> Result<Option<i64>> {
    let page = farm.json("/waterfall")?;
    let Some(build) = page["rows"][0]["cells"][1]["build"].as_i64() else { return Ok(None) };
    let page = farm.json(&format!("/builds/{build}"))?;
    Ok((!page["attempts"][0]["steps"][0].is_null()).then_some(build))
}
