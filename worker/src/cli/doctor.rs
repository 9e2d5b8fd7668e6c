//! `doctor`: each line is ok, or says how to mend it.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use ureq::Agent;

use super::failure::Failure;
use super::prepare::{authorities_of, sandbox_for};
use crate::config::WorkerConfig;
use crate::control::{Request, ask};
use crate::disk_usage::free_bytes;
use crate::facts::{logind_idle, on_mains};
use crate::folder::Folder;
use crate::key::Key;
use crate::tls;

const FARM_TIME: Duration = Duration::from_secs(15);

/// What was looked at, and how it is: `Err` says what is wrong and how to mend it.
type Finding = (&'static str, Result<String, String>);

pub fn examine(folder: &Folder) -> Result<(), Failure> {
    let mut findings: Vec<Finding> = Vec::new();
    let config = WorkerConfig::read(&folder.configuration());
    findings.push((
        "worker.toml",
        config.as_ref().map(|_| "can be read".to_string()).map_err(ToString::to_string),
    ));
    findings.push((
        "key",
        Key::open(&folder.key())
            .map(|key| format!("its code is {}", key.code()))
            .map_err(|e| format!("{e:#}; `farm-worker join URL` makes one")),
    ));
    if let Ok(config) = &config {
        findings.push((
            "sandbox",
            sandbox_for(config, folder).map(|it| it.as_str().to_string()).map_err(|e| e.text()),
        ));
        findings.extend(farm(config));
        findings.push(("disk", disk(config, folder)));
        findings.extend(owner(config));
    }
    findings.push((
        "compiler",
        program("cc", "install a C compiler, such as the package `gcc`: most recipes need one"),
    ));
    findings.push(("make", program("make", "install the package `make`: most recipes need it")));
    findings.push(("worker", worker(folder)));
    let mut wrong = 0;
    for (what, found) in findings {
        match found {
            Ok(how) => println!("ok     {what}: {how}"),
            Err(why) => {
                wrong += 1;
                println!("wrong  {what}: {why}");
            }
        }
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow!("found 1 problem"))),
        count => Err(Failure::Failed(anyhow!("found {count} problems"))),
    }
}

/// Whether the farm answers, and whether the two clocks agree.
fn farm(config: &WorkerConfig) -> Vec<Finding> {
    let authorities = match authorities_of(config) {
        Err(e) => return vec![("authorities", Err(e.text()))],
        Ok(authorities) => authorities,
    };
    let agent: Agent = Agent::config_builder()
        .tls_config(authorities.http())
        .http_status_as_error(false)
        .timeout_global(Some(FARM_TIME))
        .build()
        .new_agent();
    let answer = match agent.get(config.url.http("/api/v1/status")).call() {
        Err(e) => {
            let advice = tls::advice(&e).unwrap_or("check the network and `url`");
            return vec![("farm", Err(format!("{} cannot be reached: {e}; {advice}", config.url)))];
        }
        Ok(answer) => answer,
    };
    let is_json = answer
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let status = answer.status();
    let reached = match status.is_success() && is_json {
        true => Ok(format!("{} answers", config.url)),
        false => Err(format!("{} answers {status}, and not as a farm does; check `url`", config.url)),
    };
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let clock = date.map(|date| {
        let off = jiff::Timestamp::now().as_second() - date.timestamp().as_second();
        let clock = match off.unsigned_abs() * 1000 < protocol::MAX_CLOCK_DIFFERENCE_MS {
            true => Ok(format!("{off} s off the farm's")),
            false => Err(format!("{off} s off the farm's; let NTP set it (`timedatectl set-ntp true`)")),
        };
        ("clock", clock)
    });
    [("farm", reached)].into_iter().chain(clock).collect()
}

fn disk(config: &WorkerConfig, folder: &Folder) -> Result<String, String> {
    let free = free_bytes(folder.root()).ok_or("its free space cannot be read")?;
    let (free, least) = (free >> 20, config.min_free.0 >> 20);
    match free > least {
        true => Ok(format!("{free} MiB free")),
        false => Err(format!(
            "{free} MiB are free, and `min_free` is {least} MiB: free some, or set another `min_free`"
        )),
    }
}

/// What `worker.toml` asks for and this machine cannot tell.
fn owner(config: &WorkerConfig) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    if config.hours.is_some() {
        let settings = config.owner_settings();
        let state = settings.hours.at(jiff::Timestamp::now(), &settings.zone);
        let until = crate::owner::until_words(state.until.map(jiff::Timestamp::as_millisecond));
        let word = if state.is_open { "work is allowed" } else { "no work" };
        found.push(("hours", Ok(format!("{}: {word}{until}", settings.hours))));
    }
    if config.only_on_mains {
        let mains = on_mains(Path::new("/sys/class/power_supply"));
        let mains = mains.map(|on| format!("mains power: {}", if on { "yes" } else { "no" }));
        found.push((
            "power",
            mains.ok_or(
                "this machine does not say whether it has mains power, so only_on_mains does nothing".into(),
            ),
        ));
    }
    if config.only_when_idle.is_some() {
        let idle = logind_idle().map(|idle| format!("unused for {} s", idle.as_secs()));
        found.push((
            "idle",
            idle.ok_or("logind does not answer, so only_when_idle does nothing; it needs systemd".into()),
        ));
    }
    found
}

fn program(name: &str, cure: &str) -> Result<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found
        .map(|path| path.display().to_string())
        .ok_or_else(|| format!("there is no `{name}` on PATH; {cure}"))
}

fn worker(folder: &Folder) -> Result<String, String> {
    match ask(&folder.control(), Request::Status) {
        Err(e) => Err(format!("{e:#}")),
        Ok(None) if folder.is_locked() => {
            Err("a worker runs in the folder and cannot be asked; start it again".into())
        }
        Ok(None) => {
            Err("none runs; start it with `farm-worker run`, or `farm-worker service install`".into())
        }
        Ok(Some(status)) => match (status.config_error, status.connection.as_str()) {
            (Some(error), _) => Err(format!("{error}; the configuration that was read before is in force")),
            (None, "connected") => Ok(format!("runs, connected as {}", status.name)),
            (None, why) => Err(format!("runs, and is not connected: {why}")),
        },
    }
}
