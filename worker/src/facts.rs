//! What the machine shows about its own use: load, power, its user, and its disk. All of it is read, and nothing decided.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::volunteer::{MachineFacts, OwnerSettings, foreign_load, minute_average};

use crate::disk_usage::{free_bytes, used_bytes};
use crate::freeze;

/// The folder's size is measured so often: that reads every entry in it.
const DISK_PERIOD: Duration = Duration::from_secs(600);
/// How often logind is asked: that starts a program.
const IDLE_PERIOD: Duration = Duration::from_secs(20);
const POWER_SUPPLIES: &str = "/sys/class/power_supply";

/// Reads the facts that an owner's settings ask for, and remembers what must not be read all the time.
pub struct FactReader {
    own_load: f64,
    sampled_at: Instant,
    used: Option<(Instant, u64)>,
    idle: Option<(Instant, Option<Duration>)>,
}

impl FactReader {
    pub fn new() -> FactReader {
        FactReader { own_load: 0.0, sampled_at: Instant::now(), used: None, idle: None }
    }

    /// Blocks.
    pub fn read(&mut self, settings: &OwnerSettings, folder: &Path) -> MachineFacts {
        MachineFacts {
            load: settings.max_load.and_then(|_| self.load()),
            on_mains: settings.only_on_mains.then(|| on_mains(Path::new(POWER_SUPPLIES))).flatten(),
            unused_for: settings.only_when_idle.and_then(|_| self.unused_for()),
            free_bytes: free_bytes(folder),
            used_bytes: settings.max_disk_bytes.map(|_| self.used_bytes(folder)),
        }
    }

    fn load(&mut self) -> Option<u32> {
        let (now, count) = (Instant::now(), freeze::runnable_steps());
        self.own_load = minute_average(self.own_load, f64::from(count), now - self.sampled_at);
        self.sampled_at = now;
        let text = fs::read_to_string("/proc/loadavg").ok()?;
        Some(foreign_load(text.split(' ').next()?.parse().ok()?, self.own_load))
    }

    fn unused_for(&mut self) -> Option<Duration> {
        match &self.idle {
            Some((at, idle)) if at.elapsed() < IDLE_PERIOD => *idle,
            _ => {
                let idle = logind_idle();
                self.idle = Some((Instant::now(), idle));
                idle
            }
        }
    }

    fn used_bytes(&mut self, folder: &Path) -> u64 {
        match self.used {
            Some((at, used)) if at.elapsed() < DISK_PERIOD => used,
            _ => {
                let used = used_bytes(folder);
                self.used = Some((Instant::now(), used));
                used
            }
        }
    }
}

/// Whether the machine has mains power; none if it does not say. A machine without a battery always has.
pub fn on_mains(supplies: &Path) -> Option<bool> {
    let read =
        |path: &Path, file: &str| fs::read_to_string(path.join(file)).unwrap_or_default().trim().to_string();
    let (mut mains, mut is_powered, mut discharging) = (false, false, false);
    for entry in fs::read_dir(supplies).ok()?.flatten() {
        let path = entry.path();
        match read(&path, "type").as_str() {
            kind @ ("Mains" | "USB") => {
                mains |= kind == "Mains";
                is_powered |= read(&path, "online") == "1";
            }
            // Not that of a mouse.
            "Battery" if read(&path, "scope") != "Device" => {
                discharging |= read(&path, "status") == "Discharging";
            }
            _ => {}
        }
    }
    // A port for USB power that is not in use says nothing on a machine without a battery.
    Some(is_powered || (!mains && !discharging))
}

/// For how long nobody has used the machine, as far as logind knows; none where there is no logind.
pub fn logind_idle() -> Option<Duration> {
    let output = Command::new("loginctl")
        .args(["show", "--property=IdleHint", "--property=IdleSinceHint"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let now = Duration::from_micros(u64::try_from(jiff::Timestamp::now().as_microsecond()).ok()?);
    output.status.success().then(|| parse_idle(&String::from_utf8_lossy(&output.stdout), now)).flatten()
}

fn parse_idle(text: &str, now: Duration) -> Option<Duration> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    match value("IdleHint")? {
        "yes" => {
            let since: u64 = value("IdleSinceHint")?.trim().parse().ok()?;
            Some(now.saturating_sub(Duration::from_micros(since)))
        }
        _ => Some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(root: &Path, name: &str, files: &[(&str, &str)]) {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(file, text)| fs::write(folder.join(file), format!("{text}\n")).unwrap());
    }

    #[test]
    fn mains_power_is_seen_where_the_kernel_shows_it() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(on_mains(&root.path().join("none")), None);
        assert_eq!(on_mains(root.path()), Some(true), "a machine without a battery");
        supply(root.path(), "mouse", &[("type", "Battery"), ("scope", "Device"), ("status", "Discharging")]);
        assert_eq!(on_mains(root.path()), Some(true));
        supply(root.path(), "BAT0", &[("type", "Battery"), ("status", "Discharging")]);
        assert_eq!(on_mains(root.path()), Some(false));
        supply(root.path(), "AC", &[("type", "Mains"), ("online", "1")]);
        assert_eq!(on_mains(root.path()), Some(true));
        supply(root.path(), "AC", &[("online", "0")]);
        assert_eq!(on_mains(root.path()), Some(false));
    }

    #[test]
    fn logind_says_since_when_nobody_used_the_machine() {
        let now = Duration::from_secs(1000);
        let idle = |text| parse_idle(text, now);
        assert_eq!(idle("IdleHint=no\nIdleSinceHint=0\n"), Some(Duration::ZERO));
        let text = "IdleHint=yes\nIdleSinceHint=400000000\n";
        assert_eq!(idle(text), Some(Duration::from_secs(600)));
        assert_eq!(idle(""), None);
        assert_eq!(idle("IdleHint=yes\n"), None);
    }
}
