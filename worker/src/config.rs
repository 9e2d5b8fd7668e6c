//! `worker.toml`: what the owner of this machine decided. A misspelled key is an error, so that no limit that the owner
//! sets is silently ignored.

use std::fmt;
use std::path::Path;

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
    /// Whether steps may use io_uring, where most holes of the last years' kernels were.
    #[serde(default)]
    pub io_uring: bool,
}

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
            slots: one(),
            sandbox: SandboxSetting::default(),
            cache: ten_gib(),
            sources: four_gib(),
            declared_caches: ten_gib(),
            build_disk: twenty_gib(),
            offers: Vec::new(),
            when_stopped: WhenStopped::default(),
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
        Ok(())
    }
}

/// A name appears in pages, mails and paths.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_valid = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && !name.starts_with(['.', '-']);
    if is_valid {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is not a valid name: expected 1 to 64 of the characters A-Z a-z 0-9 - . _, and no `.` or `-` at the start"
        ))
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
