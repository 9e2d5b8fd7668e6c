//! The owner's word while the worker runs: reads the facts of the machine, `worker.toml` and the owner's command every few
//! seconds, lets `domain::volunteer` decide, and tells the session. Running steps stand still first, and are then handed back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use domain::volunteer::{OwnerPause, Pause, Rest, RunningBuilds, pause, running_builds};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::activity::ActivityBoard;
use crate::config::WorkerConfig;
use crate::facts::FactReader;
use crate::folder::Folder;
use crate::freeze;
use crate::key::Key;
use crate::session::{OwnerInput, PauseNotice, SessionInput};

/// How soon a change of the machine or of `worker.toml` takes effect. A command takes effect at once.
const PERIOD: Duration = Duration::from_secs(5);

/// What `farm-worker pause` writes into the worker's folder, so that it also holds for the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseFile {
    /// In milliseconds since 1970; none until the owner resumes.
    pub until_ms: Option<i64>,
}

impl PauseFile {
    /// The pause that is in force, if there is one. A file that cannot be read pauses: that is the careful answer.
    pub fn read(path: &Path, now: Timestamp) -> Option<PauseFile> {
        let text = std::fs::read_to_string(path).ok()?;
        let pause: PauseFile = serde_json::from_str(&text).unwrap_or(PauseFile { until_ms: None });
        pause.until_ms.is_none_or(|until| now.as_millisecond() < until).then_some(pause)
    }

    pub fn write(self, path: &Path) -> std::io::Result<()> {
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_string(&self)?)?;
        std::fs::rename(new, path)
    }
}

/// Watches over a running worker until it stops.
pub struct OwnerWatch {
    folder: Folder,
    config: WorkerConfig,
    stamp: Option<SystemTime>,
    activity: Arc<ActivityBoard>,
    facts: FactReader,
    pause: Option<Pause>,
    /// Since when the machine must not work for a reason that stops running builds, too.
    stopped_since: Option<Instant>,
    has_handed_back: bool,
    is_frozen: bool,
    has_offered_key: bool,
}

impl OwnerWatch {
    pub fn new(folder: Folder, config: WorkerConfig, activity: Arc<ActivityBoard>) -> OwnerWatch {
        let stamp = stamp(&folder.configuration());
        OwnerWatch {
            folder,
            config,
            stamp,
            activity,
            facts: FactReader::new(),
            pause: None,
            stopped_since: None,
            has_handed_back: false,
            is_frozen: false,
            has_offered_key: false,
        }
    }

    /// Looks every few seconds, and whenever a command wakes it. Ends with `stop`; then nothing stays frozen: what stands still
    /// cannot end.
    pub async fn run(
        mut self,
        inputs: mpsc::Sender<SessionInput>,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) {
        loop {
            // It reads files, starts programs and waits for them.
            let looked = tokio::task::spawn_blocking(move || {
                let found = self.look();
                (self, found)
            });
            let Ok((watch, found)) = looked.await else {
                tracing::error!(
                    "internal error: worker.toml and the machine are no longer looked at; start the worker again"
                );
                return;
            };
            self = watch;
            for input in found {
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = wake.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
        if self.is_frozen {
            freeze::thaw();
        }
    }

    /// What a session has to know before it connects: so nothing is begun that the owner forbids. Blocks.
    pub fn begin(&mut self) -> Vec<SessionInput> {
        let mut inputs = vec![SessionInput::Owner(OwnerInput::Terms(self.config.terms()))];
        inputs.extend(self.look());
        inputs
    }

    fn look(&mut self) -> Vec<SessionInput> {
        let mut inputs = self.reload();
        match Key::open(&self.folder.next_key()) {
            Ok(key) if !std::mem::replace(&mut self.has_offered_key, true) => {
                inputs.push(SessionInput::Owner(OwnerInput::NextKey(key)));
            }
            Ok(_) => {}
            Err(_) => self.has_offered_key = false,
        }
        let (now, settings) = (Timestamp::now(), self.config.owner_settings());
        let command = PauseFile::read(&self.folder.pause(), now);
        let command = command.map(|file| OwnerPause {
            until: file.until_ms.and_then(|until| Timestamp::from_millisecond(until).ok()),
        });
        let facts = self.facts.read(&settings, self.folder.root());
        let next = pause(&settings, command, &facts, self.pause.map(|pause| pause.rest), now);
        if next != self.pause {
            let notice = next.map(notice);
            log_pause(notice.as_ref());
            self.activity.set_pause(notice.as_ref());
            inputs.push(SessionInput::Owner(OwnerInput::Pause(notice)));
            self.pause = next;
        }
        inputs.extend(self.deal_with_running_builds(settings.finishes_after_hours));
        inputs
    }

    fn deal_with_running_builds(&mut self, finishes_after_hours: bool) -> Option<SessionInput> {
        let rest = self.pause.map(|pause| pause.rest);
        let stops = running_builds(rest, Duration::ZERO, finishes_after_hours) != RunningBuilds::Run;
        self.stopped_since = stops.then(|| self.stopped_since.unwrap_or_else(Instant::now));
        let since = self.stopped_since.map_or(Duration::ZERO, |since| since.elapsed());
        match running_builds(rest, since, finishes_after_hours) {
            RunningBuilds::Run => {
                self.has_handed_back = false;
                self.thaw();
                None
            }
            RunningBuilds::Freeze => {
                freeze::freeze();
                self.set_frozen(true);
                None
            }
            RunningBuilds::HandBack => {
                // A process that stands still cannot end.
                self.thaw();
                let reason = rest.map_or("", Rest::as_str);
                let first = !std::mem::replace(&mut self.has_handed_back, true);
                first.then(|| SessionInput::HandBack(format!("the owner needs the machine: {reason}")))
            }
        }
    }

    fn thaw(&mut self) {
        if self.is_frozen {
            freeze::thaw();
            self.set_frozen(false);
        }
    }

    fn set_frozen(&mut self, is_frozen: bool) {
        if self.is_frozen != is_frozen {
            self.is_frozen = is_frozen;
            self.activity.update(|status| status.frozen = is_frozen);
        }
    }

    /// Reads `worker.toml` again if it has changed. A bad one changes nothing but what `status` says.
    fn reload(&mut self) -> Vec<SessionInput> {
        let path = self.folder.configuration();
        let found = stamp(&path);
        if found == self.stamp {
            return Vec::new();
        }
        self.stamp = found;
        let config = match WorkerConfig::read(&path) {
            Ok(config) => config,
            Err(e) => {
                tracing::error!("{e}; the configuration that was read before stays in force");
                self.activity.update(|status| status.config_error = Some(e.to_string()));
                return Vec::new();
            }
        };
        self.activity.update(|status| {
            status.config_error = None;
            status.slots = config.slots;
        });
        let later = self.config.keys_for_restart(&config);
        match later.is_empty() {
            true => tracing::info!("worker.toml was read again"),
            false => tracing::warn!(
                "worker.toml was read again; these keys take effect when the worker is started again: {}",
                later.join(", ")
            ),
        }
        let mut inputs = Vec::new();
        if config.slots != self.config.slots {
            inputs.push(SessionInput::Owner(OwnerInput::Slots(config.slots)));
        }
        if config.terms() != self.config.terms() {
            inputs.push(SessionInput::Owner(OwnerInput::Terms(config.terms())));
        }
        self.config = config;
        inputs
    }
}

fn notice(pause: Pause) -> PauseNotice {
    PauseNotice {
        reason: pause.rest.as_str().to_string(),
        until_ms: pause.until.map(Timestamp::as_millisecond),
    }
}

fn log_pause(pause: Option<&PauseNotice>) {
    match pause {
        Some(pause) => tracing::info!("paused{}: {}", until_words(pause.until_ms), pause.reason),
        None => tracing::info!("not paused any more"),
    }
}

/// ` until 2026-03-27 18:00`, in the machine's own time; nothing where that is not known.
pub fn until_words(until_ms: Option<i64>) -> String {
    let until = until_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let local = until.map(|until| until.to_zoned(jiff::tz::TimeZone::system()));
    local.map_or(String::new(), |local| format!(" until {}", local.strftime("%Y-%m-%d %H:%M")))
}

fn stamp(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_outlives_the_process_and_ends_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pause");
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        assert_eq!(PauseFile::read(&path, at(0)), None);
        let pause = PauseFile { until_ms: Some(1000) };
        pause.write(&path).unwrap();
        assert_eq!(PauseFile::read(&path, at(999)), Some(pause));
        assert_eq!(PauseFile::read(&path, at(1000)), None);
        std::fs::write(&path, "half a").unwrap();
        assert_eq!(PauseFile::read(&path, at(1 << 40)), Some(PauseFile { until_ms: None }));
    }
}
