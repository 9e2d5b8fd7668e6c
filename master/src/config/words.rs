//! The forms of texts in a configuration: names, durations, sizes, platforms, addresses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::breakage::mark::{self, MarkKind};
use domain::schedule::canary::Canary;
use domain::words::ids::Timestamp;
use lettre::Address;
use lettre::message::Mailbox;

use super::nearest::did_you_mean;
use super::problem::quoted;

/// What a text must be, in words that follow "expected", and how to read it.
pub(super) struct Form<T> {
    pub expected: &'static str,
    pub read: fn(&str) -> Result<T, Why>,
}

/// Why a text is not of its form.
pub(super) enum Why {
    /// There is nothing to add to what was expected.
    Other,
    /// A reason that the expectation does not state.
    Because(String),
    /// A reason as in `Because`; the text may contain a secret and must not be shown.
    Unshown(&'static str),
}

impl Why {
    pub fn sentence(self, text: &str, expected: &str) -> String {
        match self {
            Why::Other => format!("expected {expected}, found {}", quoted(text)),
            Why::Because(why) => format!("expected {expected}, found {}: {why}", quoted(text)),
            Why::Unshown(why) => format!("{why}; expected {expected}"),
        }
    }
}

pub(super) fn because<T>(why: impl Into<String>) -> Result<T, Why> {
    Err(Why::Because(why.into()))
}

/// A farm's name, which pages and mails show.
pub(super) const TITLE: Form<String> =
    Form { expected: "one line of 1 to 100 characters", read: |text| line(text, 100) };

/// A name that becomes part of URLs, file names and builder names.
pub(super) const NAME: Form<String> = Form {
    expected: "1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit",
    read: |text| {
        let start = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'+' | b'-'));
        if start && rest && text.len() <= 64 { Ok(text.to_string()) } else { Err(Why::Other) }
    },
};

pub(super) const DURATION: Form<Duration> =
    Form { expected: "a duration such as \"60s\", \"10m\", \"2h\" or \"1d\"", read: duration };

/// In bytes.
pub(super) const SIZE: Form<u64> = Form { expected: "a size such as \"20MiB\" or \"2GiB\"", read: size };

pub(super) const PLATFORM: Form<String> = Form {
    expected: "a platform OS-ARCH or OS-ARCH-DISTRIBUTION, such as \"linux-x86_64\" or \"linux-aarch64-debian12\"",
    read: platform,
};

pub(super) const LISTEN: Form<SocketAddr> = Form {
    expected: "an IP address and a port, such as \"127.0.0.1:8010\" or \"[::]:8010\"",
    read: |text| text.parse().map_err(|_| Why::Other),
};

pub(super) const ADDRESS: Form<Address> = Form {
    expected: "a mail address such as \"lua@example.org\"",
    read: |text| text.parse().map_err(|_| Why::Other),
};

pub(super) const MAILBOX: Form<Mailbox> = Form {
    expected: "a mail address such as \"farm@example.org\" or \"Farm <farm@example.org>\"",
    read: |text| {
        let one_line = line(text, 320)?;
        one_line.parse().map_err(|_| Why::Other)
    },
};

pub(super) const FOLDER: Form<PathBuf> =
    Form { expected: "the path of a folder", read: |text| line(text, 4096).map(PathBuf::from) };

pub(super) const FILE: Form<PathBuf> =
    Form { expected: "the path of a file", read: |text| line(text, 4096).map(PathBuf::from) };

pub(super) const USER: Form<String> = Form {
    expected: "the name to log in with",
    read: |text| line(text, 320).map_err(|_| Why::Unshown("empty, too long or of several lines")),
};

pub(super) const BRANCH: Form<String> =
    Form { expected: "a branch's name such as \"main\" or \"3.14\"", read: git_name };

pub(super) const TAG: Form<String> = Form { expected: "a tag's name such as \"v1.2\"", read: git_name };

pub(super) const BASE: Form<String> =
    Form { expected: "a tag, a branch or a commit id such as \"v5.4.0\"", read: git_name };

/// Not a part of one: the master does not fetch projects, and could not complete it.
pub(super) const COMMIT: Form<String> = Form {
    expected: "a full commit id of 40 hexadecimal digits",
    read: |text| match text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Why::Other),
    },
};

/// How the steps of a project get to know its version.
pub(super) const VERSION: Form<()> = Form {
    expected: "\"git-describe\"",
    read: |text| if text == "git-describe" { Ok(()) } else { Err(Why::Other) },
};

/// The file with the names of a family, beside the file that names it.
pub(super) const NAMES_FILE: Form<String> = Form {
    expected: "the name of a file beside this one that ends in `.txt`, such as \"rocks.txt\"",
    read: |text| match line(text, 255)? {
        name if name.ends_with(".txt") && !name.starts_with('.') && !name.contains('/') => Ok(name),
        _ => Err(Why::Other),
    },
};

pub(super) const CANARY: Form<Canary> =
    Form { expected: "`must-pass` or `must-fail`", read: |text| Canary::parse(text).ok_or(Why::Other) };

pub(super) const MARK: Form<MarkKind> =
    Form { expected: "`expected-to-fail` or `flaky`", read: |text| MarkKind::parse(text).ok_or(Why::Other) };

pub(super) const CASES: Form<String> =
    Form { expected: "the name of a case, in which `*` stands for anything", read: |text| line(text, 1024) };

/// The first moment of a day, UTC.
pub(super) const DAY: Form<Timestamp> =
    Form { expected: "a day such as \"2027-01-31\"", read: |text| mark::day(text).ok_or(Why::Other) };

/// A command for `/bin/sh -c`; it may have several lines.
pub(super) const COMMAND: Form<String> = Form {
    expected: "a command line for /bin/sh",
    read: |text| match text.trim() {
        "" => because("it would do nothing"),
        _ if text.contains('\0') => because("a command cannot contain a NUL"),
        _ => Ok(text.to_string()),
    },
};

/// An argument of a variant: a shell parts `$FARM_ARGS` at blanks, expands patterns, and leaves quotes as they are.
pub(super) const ARG: Form<String> = Form {
    expected: "one word for the shell, such as \"--disable-gil\", without blanks, quotes, `\\`, `*`, `?` and `[` (a variable \
               in `env` may have them)",
    read: |text| {
        let is_split = |c: char| c.is_whitespace() || c.is_control() || "'\"`\\*?[".contains(c);
        if text.is_empty() || text.len() > 1000 || text.contains(is_split) {
            Err(Why::Other)
        } else {
            Ok(text.to_string())
        }
    },
};

/// The value of an environment variable.
pub(super) const VARIABLE: Form<String> = Form {
    expected: "a text (without NUL)",
    read: |text| if text.contains('\0') { Err(Why::Other) } else { Ok(text.to_string()) },
};

fn line(text: &str, max_chars: usize) -> Result<String, Why> {
    let is_valid =
        !text.trim().is_empty() && text.chars().count() <= max_chars && !text.contains(char::is_control);
    if is_valid { Ok(text.to_string()) } else { Err(Why::Other) }
}

/// What `git check-ref-format` allows, except what git could take for an option or for an expression of revisions.
fn git_name(text: &str) -> Result<String, Why> {
    let is_valid = !text.is_empty()
        && text.len() <= 200
        && !text.starts_with('-')
        && !text.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    if is_valid { Ok(text.to_string()) } else { Err(Why::Other) }
}

fn split_number(text: &str) -> Result<(u64, &str), Why> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Ok((number.parse().map_err(|_| Why::Other)?, unit))
}

const DURATION_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn in_units(text: &str, units: &[(&str, u64)]) -> Result<u64, Why> {
    let (number, unit) = split_number(text)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(Why::Other)?;
    number.checked_mul(*factor).ok_or(Why::Other)
}

fn as_units(number: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    let (name, factor) = whole.unwrap_or(&units[units.len() - 1]);
    format!("{}{name}", number / factor)
}

fn duration(text: &str) -> Result<Duration, Why> {
    in_units(text, &DURATION_UNITS).map(Duration::from_secs)
}

pub(super) fn duration_text(duration: Duration) -> String {
    as_units(duration.as_secs(), &DURATION_UNITS)
}

fn size(text: &str) -> Result<u64, Why> {
    match in_units(text, &SIZE_UNITS) {
        Err(_)
            if text.ends_with(['k', 'K', 'M', 'G', 'T'])
                || text.ends_with("kB")
                || text.ends_with("MB")
                || text.ends_with("GB") =>
        {
            because("ambiguous between 1000 and 1024")
        }
        read => read,
    }
}

pub(super) fn size_text(bytes: u64) -> String {
    as_units(bytes, &SIZE_UNITS)
}

/// As workers report them: the system by its name in `uname`, the architecture by its name in Rust.
const SYSTEMS: [&str; 5] = ["linux", "darwin", "freebsd", "netbsd", "openbsd"];
const ARCHITECTURES: [&str; 15] = [
    "x86_64",
    "aarch64",
    "x86",
    "arm",
    "riscv64",
    "riscv32",
    "powerpc64",
    "powerpc",
    "s390x",
    "loongarch64",
    "mips64",
    "mips",
    "sparc64",
    "m68k",
    "hexagon",
];
/// The names that Debian, Go or `uname` give an architecture, and those that a worker reports.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("amd64", "x86_64"),
    ("x64", "x86_64"),
    ("arm64", "aarch64"),
    ("i386", "x86"),
    ("i686", "x86"),
    ("ppc64le", "powerpc64"),
];

fn platform(text: &str) -> Result<String, Why> {
    let mut parts = text.splitn(3, '-');
    let (Some(system), Some(architecture)) = (parts.next(), parts.next()) else {
        return Err(Why::Other);
    };
    if !SYSTEMS.contains(&system) {
        let hint = did_you_mean(system, SYSTEMS);
        return because(format!("no worker names its system {}{hint}", quoted(system)));
    }
    if !ARCHITECTURES.contains(&architecture) {
        let hint = match OTHER_NAMES.iter().find(|(other, _)| *other == architecture) {
            Some((_, ours)) => format!("; did you mean `{ours}`?"),
            None => did_you_mean(architecture, ARCHITECTURES),
        };
        return because(format!("no worker names its architecture {}{hint}", quoted(architecture)));
    }
    match parts.next() {
        Some(distribution) if (NAME.read)(distribution).is_err() => Err(Why::Other),
        Some(_) | None => Ok(text.to_string()),
    }
}
