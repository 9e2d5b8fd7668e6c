//! `status`, `pause`, `resume` and `drain`: what the owner asks of the worker that runs.

use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;

use super::failure::Failure;
use crate::activity::{BuildStatus, PauseStatus, WorkerStatus};
use crate::config::{TimeSpan, WorkerConfig};
use crate::control::{Request, ask};
use crate::folder::Folder;
use crate::owner::{PauseFile, until_words};

pub fn show(folder: &Folder, json: bool) -> Result<(), Failure> {
    let status = match ask(&folder.control(), Request::Status)? {
        Some(status) => status,
        None => stopped(folder)?,
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&status).context("writing the status")?),
        false => print!("{}", text(&status, folder)),
    }
    match status.running {
        true => Ok(()),
        // The text has said it.
        false => Err(Failure::Silent),
    }
}

/// The status of a folder in which no worker runs.
fn stopped(folder: &Folder) -> Result<WorkerStatus, Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    let pause = PauseFile::read(&folder.pause(), Timestamp::now());
    let pause =
        pause.map(|pause| PauseStatus { reason: "the owner's command".into(), until_ms: pause.until_ms });
    Ok(WorkerStatus {
        farm: config.url.to_string(),
        name: config.name,
        version: env!("CARGO_PKG_VERSION").to_string(),
        slots: config.slots,
        connection: "not running".to_string(),
        pause,
        ..WorkerStatus::default()
    })
}

fn text(status: &WorkerStatus, folder: &Folder) -> String {
    let mut lines = vec![format!("{} at {}", status.name, status.farm)];
    if !status.running {
        lines.push(format!("No worker runs in {}; `farm-worker run` starts it.", folder.root().display()));
    } else if status.connection == "connected" {
        lines.push("connected".to_string());
    } else {
        lines.push(format!("not connected: {}", status.connection));
    }
    if let Some(pause) = &status.pause {
        lines.push(format!("paused{}: {}", until_words(pause.until_ms), pause.reason));
    }
    if status.frozen {
        lines.push("running builds stand still; after 10 minutes they go to other workers".to_string());
    }
    if status.draining {
        lines.push("it ends when its builds have ended".to_string());
    }
    if let Some(error) = &status.config_error {
        lines.push(format!("{error}; the configuration that was read before is in force"));
    }
    if status.running {
        lines.push(format!("{} of {} builds running", status.builds.len(), status.slots));
        lines.extend(status.builds.iter().flat_map(build));
        let ended = status.ended;
        lines.push(format!(
            "since its start: {} with a result, {} without, {} handed back",
            ended.with_result, ended.without_result, ended.handed_back
        ));
    }
    lines.join("\n") + "\n"
}

fn build(build: &BuildStatus) -> Vec<String> {
    let mut lines = vec![format!("  {} at {}, {}", build.builder, build.change, build.url)];
    for step in &build.steps {
        let end = match (&step.end, step.duration_ms) {
            (Some(end), Some(ms)) => format!("{end} in {}", seconds(ms)),
            (_, _) => "running".to_string(),
        };
        lines.push(format!("    {:<12} {end}", step.name));
    }
    if let Some(cases) = build.cases {
        lines
            .push(format!("    {} passed, {} failed, {} skipped", cases.passed, cases.failed, cases.skipped));
    }
    lines.push(format!("    {}, for {} in all", build.now, seconds(build.running_ms)));
    lines
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

pub fn pause(folder: &Folder, span: Option<String>) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    let until_ms = match span {
        None => None,
        Some(text) => {
            let TimeSpan(span) = TimeSpan::try_from(text).map_err(Failure::Misused)?;
            let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            Some(Timestamp::now().as_millisecond().saturating_add(ms))
        }
    };
    let written = PauseFile { until_ms }.write(&folder.pause());
    written.with_context(|| format!("cannot write {}", folder.pause().display()))?;
    let until = match until_ms {
        None => " until `farm-worker resume`".to_string(),
        until => until_words(until),
    };
    match ask(&folder.control(), Request::Look)? {
        Some(_) => println!(
            "{} is paused{until}. Running builds stand still, and go to other workers after 10 minutes.",
            config.name
        ),
        None => println!(
            "No worker runs in {} now; if it is started, it is paused{until}.",
            folder.root().display()
        ),
    }
    Ok(())
}

pub fn resume(folder: &Folder) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    match std::fs::remove_file(folder.pause()) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            println!(
                "{} is not paused by command; `farm-worker status` says what keeps it from working.",
                config.name
            );
            return Ok(());
        }
        Err(e) => return Err(Failure::Failed(anyhow!("cannot remove {}: {e}", folder.pause().display()))),
    }
    match ask(&folder.control(), Request::Look)? {
        Some(_) => println!("{} works again, as far as worker.toml allows it.", config.name),
        None => println!("The pause is over. No worker runs in {} now.", folder.root().display()),
    }
    Ok(())
}

pub fn drain(folder: &Folder) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    match ask(&folder.control(), Request::Drain)? {
        Some(status) => {
            let when = match status.builds.len() {
                0 => "now".to_string(),
                1 => "when its build has ended".to_string(),
                count => format!("when its {count} builds have ended"),
            };
            println!("{} begins nothing more, and ends {when}.", config.name);
            Ok(())
        }
        None => Err(Failure::Failed(anyhow!("no worker runs in {}", folder.root().display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::{CasesSoFar, EndedBuilds, StepStatus};

    #[test]
    fn a_status_is_read_at_a_glance() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("w")).unwrap();
        let step = |name: &str, end: Option<&str>| StepStatus {
            name: name.into(),
            end: end.map(Into::into),
            duration_ms: end.map(|_| 1250),
        };
        let status = WorkerStatus {
            running: true,
            farm: "https://farm.example.org".into(),
            name: "attic".into(),
            connection: "connected".into(),
            slots: 2,
            builds: vec![BuildStatus {
                build: 7,
                attempt: 9,
                builder: "say on lua master linux-x86_64".into(),
                change: "0123456789".into(),
                url: "https://farm.example.org/builds/7".into(),
                now: "step test".into(),
                running_ms: 3000,
                steps: vec![step("fetch", Some("exit 0")), step("test", None)],
                cases: Some(CasesSoFar { passed: 3, failed: 1, skipped: 0 }),
            }],
            ended: EndedBuilds { with_result: 4, without_result: 0, handed_back: 1 },
            ..WorkerStatus::default()
        };
        let expected = "attic at https://farm.example.org\nconnected\n1 of 2 builds running\n  say on lua master \
            linux-x86_64 at 0123456789, https://farm.example.org/builds/7\n    fetch        exit 0 in 1.2 s\n    test         \
            running\n    3 passed, 1 failed, 0 skipped\n    step test, for 3.0 s in all\nsince its start: 4 with a result, 0 \
            without, 1 handed back\n";
        assert_eq!(text(&status, &folder), expected);
        let odd = WorkerStatus {
            connection: "the master refuses this worker: not approved yet".into(),
            config_error: Some("worker.toml:3:slots: expected 1 to 256".into()),
            pause: Some(PauseStatus { reason: "hours".into(), until_ms: None }),
            builds: vec![],
            ..status
        };
        let said = text(&odd, &folder);
        assert!(
            said.contains("not connected: the master refuses") && said.contains("paused: hours"),
            "{said}"
        );
        assert!(said.contains("is in force"), "{said}");
    }
}
