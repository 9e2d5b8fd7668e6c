//! `worker.toml`: what the owner of this machine decided. A misspelled key is an error, so that no limit that the owner
//! sets is silently ignored.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::volunteer::{Hours, OwnerSettings};
use jiff::tz::TimeZone;
use protocol::{Choice, WorkerTerms};
use serde::{Deserialize, Serialize};

/// More simultaneous builds than any donated machine can run.
const MAX_SLOTS: u32 = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// The farm's URL, without a slash at its end.
    pub url: FarmUrl,
    /// The machine's name on the farm.
    pub name: String,
    /// A PEM file of authorities that may have issued the farm's certificate, beside those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Simultaneous builds.
    #[serde(default = "one")]
    pub slots: u32,
    #[serde(default)]
    pub sandbox: SandboxSetting,
    /// Maximal size of the cached toolchains.
    #[serde(default = "ten_gib")]
    pub cache: ByteSize,
    /// Maximal size of the unpacked sources that builds share.
    #[serde(default = "four_gib")]
    pub sources: ByteSize,
    /// Maximal size of all caches that recipes declare.
    #[serde(default = "ten_gib")]
    pub declared_caches: ByteSize,
    /// How much of the disk the folder of one build may use.
    #[serde(default = "twenty_gib")]
    pub build_disk: ByteSize,
    /// What this machine has that a project may need: `postgresql`.
    #[serde(default)]
    pub offers: Vec<String>,
    #[serde(default)]
    pub when_stopped: WhenStopped,
    /// When it may work: `mon-fri 18:00-08:00`. At any time, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Vec<String>>,
    /// The time zone of the hours; that of the machine, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The load of other programs above which nothing new is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_load: Option<LoadLimit>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_on_mains: bool,
    /// Only after nobody has used the machine for so long: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_when_idle: Option<TimeSpan>,
    /// How many CPUs all builds together use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// The priority of the worker and its builds: 0, as other programs, to 19, after all others.
    #[serde(default = "nineteen", skip_serializing_if = "is_nineteen")]
    pub nice: i32,
    /// The most memory that one build may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Nothing new is begun while the worker's folder holds more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Nothing new is begun with less free disk.
    #[serde(default = "one_gib", skip_serializing_if = "is_one_gib")]
    pub min_free: ByteSize,
    /// Only the suites of these projects, if there is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuse_projects: Vec<String>,
    /// Only builds of these trunks, if there is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunks: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuse_trunks: Vec<String>,
    /// Whether steps may use the network, where their recipe asks for it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub allow_network: bool,
    /// Whether steps may use io_uring, where most holes of the last years' kernels were.
    #[serde(default)]
    pub io_uring: bool,
}

/// A load in hundredths: `2.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct LoadLimit(pub u32);

/// A time as people write it: `90s`, `10m`, `2h`, `3d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

/// What happens to running builds when the worker is stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenStopped {
    /// They are killed, and the farm gives them to other workers at once.
    #[default]
    HandBack,
    /// They are finished and reported first, however long that takes.
    Finish,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxSetting {
    #[default]
    Bubblewrap,
    /// The owner lets builds read and change whatever this user may.
    None,
}

/// `http://` or `https://`, a host and perhaps a path, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FarmUrl(String);

/// A size as people write it: `10GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// One sentence with the file, the line, the key, and what is expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(String);

impl WorkerConfig {
    pub fn new(url: FarmUrl, name: String) -> WorkerConfig {
        WorkerConfig {
            url,
            name,
            ca: None,
            slots: one(),
            sandbox: SandboxSetting::default(),
            cache: ten_gib(),
            sources: four_gib(),
            declared_caches: ten_gib(),
            build_disk: twenty_gib(),
            offers: Vec::new(),
            when_stopped: WhenStopped::default(),
            hours: None,
            zone: None,
            max_load: None,
            only_on_mains: false,
            only_when_idle: None,
            cpus: None,
            nice: nineteen(),
            memory: None,
            disk: None,
            min_free: one_gib(),
            projects: Vec::new(),
            refuse_projects: Vec::new(),
            trunks: Vec::new(),
            refuse_trunks: Vec::new(),
            allow_network: true,
            io_uring: false,
        }
    }

    pub fn read(path: &Path) -> Result<WorkerConfig, BadConfig> {
        let file = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                BadConfig(format!("{file} does not exist: run `farm-worker join URL` first"))
            }
            _ => BadConfig(format!("cannot read {file}: {e}")),
        })?;
        WorkerConfig::parse(&text, &file.to_string())
    }

    pub fn parse(text: &str, file: &str) -> Result<WorkerConfig, BadConfig> {
        let config: WorkerConfig = toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            BadConfig(format!("{file}:{}", describe_position(text, start, e.message())))
        })?;
        config.check().map_err(|(key, expected)| {
            let line = text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0);
            BadConfig(format!("{file}:{}:{key}: {expected}", line + 1))
        })?;
        Ok(config)
    }

    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, numbers and a list of strings are all TOML")
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        check_name(&self.name).map_err(|expected| ("name", expected))?;
        if !(1..=MAX_SLOTS).contains(&self.slots) {
            return Err(("slots", format!("expected 1 to {MAX_SLOTS} simultaneous builds")));
        }
        if !(0..=19).contains(&self.nice) {
            return Err(("nice", "expected 0 to 19".to_string()));
        }
        if self.cpus == Some(0) {
            return Err(("cpus", "expected at least 1".to_string()));
        }
        if self.hours.as_ref().is_some_and(Vec::is_empty) {
            let why =
                "the list is empty, so this machine would never work; leave the key out to allow all hours";
            return Err(("hours", why.to_string()));
        }
        self.parsed_hours().map_err(|why| ("hours", why))?;
        self.time_zone().map_err(|why| ("zone", why))?;
        Ok(())
    }

    fn parsed_hours(&self) -> Result<Hours, String> {
        Hours::parse(self.hours.as_deref().unwrap_or_default())
    }

    fn time_zone(&self) -> Result<TimeZone, String> {
        match &self.zone {
            None => Ok(TimeZone::system()),
            Some(name) => TimeZone::get(name).map_err(|_| {
                format!("`{name}` is not a time zone that this machine knows; expected one such as `Europe/Berlin` or `UTC`")
            }),
        }
    }

    /// When the owner lets the machine work. Only of a configuration that was read: that is checked.
    pub fn owner_settings(&self) -> OwnerSettings {
        OwnerSettings {
            hours: self.parsed_hours().unwrap_or_default(),
            zone: self.time_zone().unwrap_or(TimeZone::UTC),
            max_load: self.max_load.map(|LoadLimit(load)| load),
            only_on_mains: self.only_on_mains,
            only_when_idle: self.only_when_idle.map(|TimeSpan(span)| span),
            min_free_bytes: self.min_free.0,
            max_disk_bytes: self.disk.map(|ByteSize(bytes)| bytes),
            finishes_after_hours: self.when_stopped == WhenStopped::Finish,
        }
    }

    /// What the owner allows, as the farm is told.
    pub fn terms(&self) -> WorkerTerms {
        let choice = |only: &Vec<String>, refused: &Vec<String>| Choice {
            only: only.clone(),
            refused: refused.clone(),
        };
        WorkerTerms {
            projects: choice(&self.projects, &self.refuse_projects),
            trunks: choice(&self.trunks, &self.refuse_trunks),
            no_network: !self.allow_network,
            memory_bytes: self.memory.map(|ByteSize(bytes)| bytes),
        }
    }

    /// The keys that differ in another version of the file and take effect only when the worker is started again.
    pub fn keys_for_restart(&self, other: &WorkerConfig) -> Vec<&'static str> {
        let differs = [
            ("url", self.url != other.url),
            ("name", self.name != other.name),
            ("ca", self.ca != other.ca),
            ("sandbox", self.sandbox != other.sandbox),
            ("cache", self.cache != other.cache),
            ("sources", self.sources != other.sources),
            ("declared_caches", self.declared_caches != other.declared_caches),
            ("build_disk", self.build_disk != other.build_disk),
            ("io_uring", self.io_uring != other.io_uring),
            ("offers", self.offers != other.offers),
            ("when_stopped", self.when_stopped != other.when_stopped),
            ("cpus", self.cpus != other.cpus),
            ("nice", self.nice != other.nice),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// The error states what is expected.
pub fn check_name(name: &str) -> Result<(), String> {
    match protocol::is_worker_name(name) {
        true => Ok(()),
        false => Err(format!("`{name}` is not a valid name: expected {}", protocol::WORKER_NAME)),
    }
}

/// `LINE:KEY: what is expected`, as far as the parser reports it.
fn describe_position(text: &str, start: usize, message: &str) -> String {
    let before = &text.as_bytes()[..start.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count();
    let key = text.lines().nth(line).and_then(|l| l.split('=').next()).map_or("", str::trim);
    let message = message.replace('\n', ", ");
    if key.is_empty() { format!("{}: {message}", line + 1) } else { format!("{}:{key}: {message}", line + 1) }
}

fn nineteen() -> i32 {
    19
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_nineteen(nice: &i32) -> bool {
    *nice == nineteen()
}

fn one_gib() -> ByteSize {
    ByteSize(1 << 30)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one_gib(size: &ByteSize) -> bool {
    *size == one_gib()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_true(flag: &bool) -> bool {
    *flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn one() -> u32 {
    1
}

fn ten_gib() -> ByteSize {
    ByteSize(10 << 30)
}

fn twenty_gib() -> ByteSize {
    ByteSize(20 << 30)
}

fn four_gib() -> ByteSize {
    ByteSize(4 << 30)
}

impl FarmUrl {
    /// The URL of a path of the farm, for HTTP.
    pub fn http(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The URL of a path of the farm, for WebSocket.
    pub fn ws(&self, path: &str) -> String {
        // `http` becomes `ws`, and so `https` becomes `wss`.
        format!("ws{}{path}", &self.0["http".len()..])
    }
}

impl fmt::Display for FarmUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for FarmUrl {
    type Error = String;

    fn try_from(text: String) -> Result<FarmUrl, String> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or("");
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\".contains(&b));
        if !plain || host.is_empty() || host.starts_with(['/', ':']) {
            return Err(format!("`{text}` is not a farm's URL: expected https://HOST or http://HOST:PORT"));
        }
        Ok(FarmUrl(text.trim_end_matches('/').to_string()))
    }
}

impl From<FarmUrl> for String {
    fn from(url: FarmUrl) -> String {
        url.0
    }
}

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<ByteSize, String> {
        UNITS
            .iter()
            .find_map(|(unit, size)| text.strip_suffix(unit).map(|number| (number.trim(), size)))
            .and_then(|(number, size)| number.parse::<u64>().ok()?.checked_mul(*size))
            .map(ByteSize)
            .ok_or_else(|| {
                format!("`{text}` is not a size: expected a whole number and B, KiB, MiB, GiB or TiB")
            })
    }
}

impl From<ByteSize> for String {
    fn from(ByteSize(bytes): ByteSize) -> String {
        let (unit, size) = UNITS
            .iter()
            .find(|(_, size)| bytes % size == 0)
            .expect("every number is divisible by the last unit, 1 byte");
        format!("{}{unit}", bytes / size)
    }
}

impl TryFrom<f64> for LoadLimit {
    type Error = String;

    fn try_from(load: f64) -> Result<LoadLimit, String> {
        if !(0.0..=10_000.0).contains(&load) {
            return Err(format!("`{load}` is not a load: expected a number such as 2.5"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and a million"
        )]
        Ok(LoadLimit((load * 100.0).round() as u32))
    }
}

impl From<LoadLimit> for f64 {
    fn from(LoadLimit(load): LoadLimit) -> f64 {
        f64::from(load) / 100.0
    }
}

/// Longer than any owner means, and short enough to be added to any date.
const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);
const SPANS: [(&str, u64); 4] = [("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)];

impl TryFrom<String> for TimeSpan {
    type Error = String;

    fn try_from(text: String) -> Result<TimeSpan, String> {
        SPANS
            .iter()
            .find_map(|(unit, seconds)| text.strip_suffix(unit).map(|number| (number.trim(), seconds)))
            .and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds))
            .map(Duration::from_secs)
            .filter(|span| !span.is_zero() && *span <= MAX_SPAN)
            .map(TimeSpan)
            .ok_or_else(|| {
                format!("`{text}` is not a time: expected a whole number and s, m, h or d, such as 2h, and a year at most")
            })
    }
}

impl From<TimeSpan> for String {
    fn from(TimeSpan(span): TimeSpan) -> String {
        let seconds = span.as_secs();
        let (unit, size) = SPANS.iter().find(|(_, size)| seconds.is_multiple_of(*size)).unwrap_or(&("s", 1));
        format!("{}{unit}", seconds / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WorkerConfig, String> {
        WorkerConfig::parse(text, "worker.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn two_lines_are_a_complete_configuration() {
        let config = parse("url = 'https://farm.example.org/'\nname = 'attic'\n").unwrap();
        assert_eq!(config, WorkerConfig::new(config.url.clone(), "attic".into()));
        assert_eq!((config.cache, config.sources), (ByteSize(10 << 30), ByteSize(4 << 30)));
        assert_eq!(config.sandbox, SandboxSetting::Bubblewrap);
    }

    #[test]
    fn what_join_writes_can_be_read_back() {
        let url = FarmUrl::try_from("http://127.0.0.1:8010".to_string()).unwrap();
        let config =
            WorkerConfig { offers: vec!["postgresql".into()], ..WorkerConfig::new(url, "attic".into()) };
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn an_error_names_the_line_the_key_and_what_is_expected() {
        let good = "url = 'http://h'\nname = 'attic'\n";
        for (line, expected) in [
            ("slot = 2", &["worker.toml:3:slot: ", "unknown field `slot`", "`slots`"] as &[_]),
            ("slots = 0", &["worker.toml:3:slots: expected 1 to 256"]),
            ("slots = 'two'", &["worker.toml:3:slots: ", "u32"]),
            ("sandbox = 'chroot'", &["worker.toml:3:sandbox: ", "`bubblewrap` or `none`"]),
            ("when_stopped = 'later'", &["worker.toml:3:when_stopped: ", "`hand-back` or `finish`"]),
            ("cache = '10 gigs'", &["worker.toml:3:cache: ", "expected a whole number and B, KiB"]),
            ("hours = []", &["worker.toml:3:hours: ", "would never work"]),
            ("hours = ['mon 08:00-08:00']", &["worker.toml:3:hours: ", "it allows nothing"]),
            ("hours = ['whenever']", &["worker.toml:3:hours: ", "`mon-fri 18:00-08:00`"]),
            ("zone = 'Europe/Atlantis'", &["worker.toml:3:zone: ", "`Europe/Berlin`"]),
            ("nice = 20", &["worker.toml:3:nice: expected 0 to 19"]),
            ("nice = -1", &["worker.toml:3:nice: expected 0 to 19"]),
            ("cpus = 0", &["worker.toml:3:cpus: "]),
            ("max_load = -1.0", &["worker.toml:3:max_load: ", "such as 2.5"]),
            ("only_when_idle = '10'", &["worker.toml:3:only_when_idle: ", "such as 2h"]),
            ("memory = 'all'", &["worker.toml:3:memory: ", "is not a size"]),
            ("name = 'twice'", &["worker.toml:3:name: ", "duplicate key"]),
        ] {
            let error = parse(&format!("{good}{line}\n")).unwrap_err();
            assert!(expected.iter().all(|part| error.contains(part)), "{line}: {error}");
        }
        let error = parse("url = 'farm.example.org'\nname = 'attic'\n").unwrap_err();
        assert!(
            error.starts_with("worker.toml:1:url: ") && error.contains("expected https://HOST"),
            "{error}"
        );
        let error = parse("url = 'http://h'\nname = '../etc'\n").unwrap_err();
        assert!(error.starts_with("worker.toml:2:name: "), "{error}");
    }

    #[test]
    fn what_an_owner_sets_is_read_and_written() {
        let text = "url = 'http://h'\nname = 'attic'\nhours = ['mon-fri 18:00-08:00', 'sat,sun']\nzone = 'UTC'\n\
                    max_load = 2.5\nonly_on_mains = true\nonly_when_idle = '10m'\ncpus = 4\nnice = 5\nmemory = '8GiB'\n\
                    disk = '50GiB'\nmin_free = '5GiB'\nrefuse_projects = ['big']\nallow_network = false\n";
        let config = parse(text).unwrap();
        let settings = config.owner_settings();
        assert_eq!((settings.max_load, settings.only_when_idle), (Some(250), Some(Duration::from_secs(600))));
        assert_eq!((settings.min_free_bytes, settings.max_disk_bytes), (5 << 30, Some(50 << 30)));
        let terms = config.terms();
        assert!(terms.no_network && !terms.projects.allows("big") && terms.projects.allows("small"));
        assert_eq!(terms.memory_bytes, Some(8 << 30));
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
        let plain = WorkerConfig::new(config.url.clone(), "attic".into());
        assert_eq!(plain.terms(), WorkerTerms::default());
        assert_eq!(config.keys_for_restart(&plain), ["cpus", "nice"]);
        assert!(!plain.to_toml().contains("hours"), "{}", plain.to_toml());
    }

    /// The guide marks with a star what needs a restart.
    #[test]
    fn the_keys_with_a_star_in_the_guide_are_those_that_need_a_restart() {
        let guide = include_str!("../../docs/volunteer.md");
        let starred = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` * |"));
        let mut starred: Vec<&str> = starred.map(|(key, _)| key).collect();
        let plain = parse("url = 'http://h'\nname = 'attic'\n").unwrap();
        let other = parse(
            "url = 'http://i'\nname = 'cellar'\nca = '/ca.pem'\nslots = 2\nsandbox = 'none'\ncache = '1GiB'\nsources = '1GiB'\n\
             declared_caches = '1GiB'\nbuild_disk = '1GiB'\nio_uring = true\noffers = ['x']\nwhen_stopped = 'finish'\n\
             cpus = 1\nnice = 1\n",
        );
        let mut found = plain.keys_for_restart(&other.unwrap());
        starred.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, starred);
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("3 d", 259_200)] {
            let span = TimeSpan::try_from(text.to_string()).unwrap();
            assert_eq!(span.0.as_secs(), seconds);
            assert_eq!(TimeSpan::try_from(String::from(span)).unwrap(), span);
        }
        for text in ["", "h", "-1h", "10", "0s", "400d", "99999999999999999d", "1.5h"] {
            assert!(TimeSpan::try_from(text.to_string()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_keeps_its_path_and_changes_its_scheme() {
        for (url, ws) in [
            ("http://127.0.0.1:8010", "ws://127.0.0.1:8010/x"),
            ("https://example.org/farm/", "wss://example.org/farm/x"),
        ] {
            assert_eq!(FarmUrl::try_from(url.to_string()).unwrap().ws("/x"), ws);
        }
        for url in ["", "https://", "ftp://h", "http:///p", "http://h?q", "http://h h", "http://:80"] {
            assert!(FarmUrl::try_from(url.to_string()).is_err(), "{url}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for (text, bytes) in [("10GiB", 10 << 30), ("512MiB", 512 << 20), ("1 TiB", 1 << 40), ("7B", 7)] {
            let read = ByteSize::try_from(text.to_string()).unwrap();
            assert_eq!(read.0, bytes);
            assert_eq!(ByteSize::try_from(String::from(read)).unwrap(), read);
        }
        for text in ["", "GiB", "-1GiB", "10", "99999999999TiB"] {
            assert!(ByteSize::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}
