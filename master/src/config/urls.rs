//! URLs: of repositories, of the farm itself, and of the mail server.

use std::path::Path;

use domain::git_url::{self, GitUrlProblem, is_plain, split};

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

fn git(text: &str) -> Result<String, Why> {
    match git_url::check(text) {
        Ok(()) => Ok(text.to_string()),
        Err(GitUrlProblem::Other) => Err(Why::Other),
        Err(GitUrlProblem::Because(why)) => because(why),
        Err(GitUrlProblem::Unshown(why)) => Err(Why::Unshown(why)),
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

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), Why> {
    git_url::host_and_port(authority).map_err(|why| Why::Because(why.to_string()))
}
