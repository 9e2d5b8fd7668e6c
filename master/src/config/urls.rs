//! URLs: of repositories, of the farm itself, and of the mail server.

use std::path::Path;

use super::settings::{Security, Smtp};
use super::words::{Form, Why, because};

/// A repository: the master reads those of trunks, and workers those of projects, too.
pub(super) const GIT: Form<String> = Form {
    expected: "a git URL such as \"https://example.org/lua.git\" (http, https, git, file), or the path of a repository",
    read: git,
};

/// Where readers find the farm; without a final slash, so that paths can be appended.
pub(super) const FARM: Form<String> =
    Form { expected: "the farm's own URL, such as \"https://farm.example.org\"", read: farm };

/// Where people read why a case is marked; pages link to it.
pub(super) const ISSUE: Form<String> =
    Form { expected: "a link such as \"https://example.org/issues/7\" (http or https)", read: issue };

/// The server that accepts the farm's mails; the login has keys of its own.
pub(super) const SMTP: Form<Smtp> = Form {
    expected: "a mail server such as \"smtp://localhost:25\", \"smtps://mail.example.org\" or \"starttls://mail.example.org:587\"",
    read: smtp,
};

const WITH_PASSWORD: &str = "a URL must not contain a user or password";

/// `scheme://authority/path`, in three parts.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    Some((scheme, authority, path))
}

/// A URL appears in pages, mails, logs and messages to workers, so it is one plain word.
fn is_plain(text: &str) -> bool {
    (1..=2000).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\`{}|^".contains(&b))
}

fn git(text: &str) -> Result<String, Why> {
    let Some((scheme, authority, path)) = split(text) else {
        return git_path(text);
    };
    if matches!(scheme, "ssh" | "git+ssh" | "ssh+git") {
        return Err(Why::Unshown(NO_SSH));
    }
    if authority.contains('@') {
        return Err(Why::Unshown(
            "a git URL with a user or password would be shown on pages and sent to every worker",
        ));
    }
    if !is_plain(text) {
        return because("a URL must not contain blanks or unusual characters");
    }
    match scheme {
        "http" | "https" | "git" => {
            host_and_port(authority)?;
            match path {
                "" | "/" => because("it names a host, but no repository"),
                _ if path.contains(['?', '#']) => because("a repository has no `?` or `#` in its URL"),
                _ => Ok(text.to_string()),
            }
        }
        "file" if !authority.is_empty() => because("a file URL has three slashes and an absolute path"),
        "file" if path.len() < 2 => because("it names no repository"),
        "file" => Ok(text.to_string()),
        _ => because("this transport is not supported"),
    }
}

fn issue(text: &str) -> Result<String, Why> {
    match split(text) {
        Some((_, authority, _)) if authority.contains('@') => Err(Why::Unshown(WITH_PASSWORD)),
        Some(("http" | "https", authority, _)) if is_plain(text) => {
            host_and_port(authority)?;
            Ok(text.to_string())
        }
        Some(_) | None => Err(Why::Other),
    }
}

const NO_SSH: &str =
    "ssh needs a private key on the master and on each volunteer's machine, and a farm distributes none";

fn git_path(text: &str) -> Result<String, Why> {
    // As git itself distinguishes `host:path` from a path: by a colon before the first slash.
    let is_remote = text.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    match text {
        "" => Err(Why::Other),
        _ if text.contains("::") => because("this transport is not supported"),
        _ if is_remote => because(NO_SSH),
        _ if text.starts_with('-') => because("git would take it for an option"),
        _ if text.contains(char::is_control) || text.len() > 4096 => Err(Why::Other),
        _ => Ok(text.to_string()),
    }
}

/// Makes a path absolute: in a file it is relative to that file's folder. URLs stay as they are.
pub(super) fn absolute(git: String, folder: &Path) -> String {
    if git.contains("://") { git } else { folder.join(git).to_string_lossy().into_owned() }
}

fn farm(text: &str) -> Result<String, Why> {
    match split(text) {
        Some((_, authority, _)) if authority.contains('@') => Err(Why::Unshown(WITH_PASSWORD)),
        Some(("http" | "https", authority, path)) if is_plain(text) && !path.contains(['?', '#']) => {
            host_and_port(authority)?;
            Ok(text.trim_end_matches('/').to_string())
        }
        Some(_) | None => Err(Why::Other),
    }
}

fn smtp(text: &str) -> Result<Smtp, Why> {
    if text.contains('@') {
        return Err(Why::Unshown("the login belongs into `user` and `password_file`, not into the URL"));
    }
    let Some((scheme, authority, path)) = split(text) else {
        return Err(Why::Other);
    };
    // The default ports of RFC 8314 and of the RFCs before it.
    let (security, default_port) = match scheme {
        "smtp" => (Security::Plain, 25),
        "smtps" => (Security::Tls, 465),
        "starttls" => (Security::StartTls, 587),
        _ => return because("the scheme decides how the connection is secured"),
    };
    if !is_plain(text) || !matches!(path, "" | "/") {
        return Err(Why::Other);
    }
    let (host, port) = host_and_port(authority)?;
    Ok(Smtp { security, host: host.to_string(), port: port.unwrap_or(default_port), login: None })
}

/// `host`, `host:port` or `[::1]:port`; an IPv6 host comes without its brackets.
fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), Why> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return because("the host is not an IPv6 address"),
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_word = |label: &str| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            if !host.strip_suffix('.').unwrap_or(host).split('.').all(is_word) {
                return because("the name of the host is empty or invalid");
            }
            (host, port)
        }
    };
    match port.strip_prefix(':').map(str::parse::<u16>) {
        None if port.is_empty() => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) | None => because("the port is not a number from 1 to 65535"),
    }
}
