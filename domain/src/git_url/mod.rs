//! Which URLs of git repositories the farm accepts, of its configuration and of the submodules that a repository names.

pub mod submodule;

use std::net::IpAddr;

/// Why a text is no URL of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitUrlProblem {
    /// There is nothing to add to what was expected.
    Other,
    /// A reason.
    Because(&'static str),
    /// A reason; the text may contain a secret and must not be shown.
    Unshown(&'static str),
}

/// Why a farm has no ssh.
pub const NO_SSH: &str =
    "ssh needs a private key on the master and on each volunteer's machine, and a farm distributes none";

/// Accepts http, https, git and file URLs, and paths.
pub fn check(text: &str) -> Result<(), GitUrlProblem> {
    use GitUrlProblem::{Because, Unshown};
    let Some((scheme, authority, path)) = split(text) else { return check_path(text) };
    if matches!(scheme, "ssh" | "git+ssh" | "ssh+git") {
        return Err(Unshown(NO_SSH));
    }
    if authority.contains('@') {
        return Err(Unshown(
            "a git URL with a user or password would be shown on pages and sent to every worker",
        ));
    }
    if !is_plain(text) {
        return Err(Because("a URL must not contain blanks or unusual characters"));
    }
    match scheme {
        "http" | "https" | "git" => {
            host_and_port(authority).map_err(Because)?;
            match path {
                "" | "/" => Err(Because("it names a host, but no repository")),
                _ if path.contains(['?', '#']) => Err(Because("a repository has no `?` or `#` in its URL")),
                _ => Ok(()),
            }
        }
        "file" if !authority.is_empty() => Err(Because("a file URL has three slashes and an absolute path")),
        "file" if path.len() < 2 => Err(Because("it names no repository")),
        "file" => Ok(()),
        _ => Err(Because("this transport is not supported")),
    }
}

fn check_path(text: &str) -> Result<(), GitUrlProblem> {
    use GitUrlProblem::{Because, Other};
    // As git itself distinguishes `host:path` from a path: by a colon before the first slash.
    let is_remote = text.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    match text {
        "" => Err(Other),
        _ if text.contains("::") => Err(Because("this transport is not supported")),
        _ if is_remote => Err(Because(NO_SSH)),
        _ if text.starts_with('-') => Err(Because("git would take it for an option")),
        _ if text.contains(char::is_control) || text.len() > 4096 => Err(Other),
        _ => Ok(()),
    }
}

/// `scheme://authority/path`, in three parts.
pub fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    Some((scheme, authority, path))
}

/// A URL appears in pages, mails, logs and messages to workers, so it is one plain word.
pub fn is_plain(text: &str) -> bool {
    (1..=2000).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\`{}|^".contains(&b))
}

/// `host`, `host:port` or `[::1]:port`; an IPv6 host comes without its brackets. Else the reason.
pub fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return Err("the host is not an IPv6 address"),
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_word = |label: &str| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            if !host.strip_suffix('.').unwrap_or(host).split('.').all(is_word) {
                return Err("the name of the host is empty or invalid");
            }
            (host, port)
        }
    };
    match port.strip_prefix(':').map(str::parse::<u16>) {
        None if port.is_empty() => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) | None => Err("the port is not a number from 1 to 65535"),
    }
}

/// Whether an address is of this machine or of its own network, and not of the internet (RFC 6890).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a, b, c) == (192, 0, 0)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| translated(v6)) {
            Some(v4) => is_private(IpAddr::V4(v4)),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            }
        },
    }
}

/// The IPv4 address within one of NAT64 (`64:ff9b::/96`) or of 6to4 (`2002::/16`).
fn translated(v6: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| std::net::Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => Some(v4(g, h)),
        (0x2002, _) => Some(v4(b, c)),
        _ => None,
    }
}
