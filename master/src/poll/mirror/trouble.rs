//! What went wrong with a remote, as one sentence for the status page. A remote's own words reach it tamed, and
//! a login that stands in a URL never does.

use git2::{ErrorClass, ErrorCode};

/// Longer words of others are cut.
const MAX_CHARS: usize = 300;

pub fn sentence(verb: &str, url: &str, error: &anyhow::Error) -> String {
    let url_shown = shown(url);
    let git = error.downcast_ref::<git2::Error>();
    let words = git.map_or_else(|| error.to_string(), |git| git.message().to_string());
    let words = tame(&words.replace(url, &url_shown));
    format!("cannot {verb} {url_shown}: {words}{}", git.map_or("", remedy))
}

/// What the operator can do about it, as the sentence's end.
fn remedy(error: &git2::Error) -> &'static str {
    match (error.code(), error.class()) {
        (ErrorCode::Certificate, _) | (_, ErrorClass::Ssl) => {
            "; its certificate is not trusted here: correct the URL, or install its authority's certificate on this machine"
        }
        (ErrorCode::Auth, _) => "; it asks for a login: use a public URL, or check the login",
        (ErrorCode::Owner, _) => {
            "; the repository belongs to another user: `git config --global --add safe.directory` with its path allows it"
        }
        (ErrorCode::Timeout, _) => "; is the server up?",
        (ErrorCode::NotFound, _) | (_, ErrorClass::Repository | ErrorClass::Os) => {
            "; is the URL right, and is there a git repository?"
        }
        (_, ErrorClass::Net | ErrorClass::Http) => "; is the URL right, and is the server up?",
        (_, _) => "",
    }
}

/// A URL without the login that may stand in it.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return tame(url) };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    tame(&format!("{scheme}://{host}{path}"))
}

/// Text of others on one line of bounded length.
pub fn tame(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = text.chars().map(line).take(MAX_CHARS).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        out.push('…');
    }
    out.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: ErrorCode, class: ErrorClass, message: &str) -> String {
        let error = git2::Error::new(code, class, message);
        sentence("fetch", "https://me:secret@example.org/a.git", &error.into())
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_named() {
        let said = said(ErrorCode::Certificate, ErrorClass::Ssl, "the SSL certificate is invalid");
        assert!(
            said.starts_with("cannot fetch https://example.org/a.git: the SSL certificate is invalid; its"),
            "{said}"
        );
        assert!(said.contains("install its authority's certificate"), "{said}");
    }

    #[test]
    fn a_login_never_reaches_a_sentence() {
        for (url, expected) in [
            ("https://me:secret@example.org/a.git", "https://example.org/a.git"),
            ("https://secret@example.org", "https://example.org"),
            ("https://me:se@cret@example.org/a@b", "https://example.org/a@b"),
            ("/srv/git/a@b.git", "/srv/git/a@b.git"),
        ] {
            assert_eq!(shown(url), expected);
        }
        let said = said(ErrorCode::GenericError, ErrorClass::Net, "no https://me:secret@example.org/a.git");
        assert!(!said.contains("secret"), "{said}");
    }

    #[test]
    fn words_of_others_are_one_bounded_line() {
        let said = said(ErrorCode::GenericError, ErrorClass::Net, &"\x1b[31m\n<script>".repeat(1000));
        assert!(said.chars().count() < 500 && !said.contains(char::is_control), "{said}");
    }
}
