//! What went wrong with a remote, as one sentence for the status page. The remote's own text is made harmless before it is
//! printed, and a login in a URL is never printed.

use git2::{ErrorClass, ErrorCode};

/// A longer text of a remote is cut.
const MAX_CHARS: usize = 300;

pub fn sentence(verb: &str, url: &str, error: &anyhow::Error) -> String {
    let url_shown = shown(url);
    let git = error.downcast_ref::<git2::Error>();
    let words = git.map_or_else(|| error.to_string(), |git| git.message().to_string());
    let words = tame(&words.replace(url, &url_shown));
    format!("cannot {verb} {url_shown}: {words}{}", git.map_or("", remedy))
}

/// What the operator can do about it, as the end of the sentence.
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

/// A URL without the login that it may contain.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return tame(url) };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    tame(&format!("{scheme}://{host}{path}"))
}

/// Text of a remote on one line of bounded length.
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

    fn sentence_for(code: ErrorCode, class: ErrorClass, message: &str) -> String {
        let error = git2::Error::new(code, class, message);
        sentence("fetch", "https://me:secret@example.org/a.git", &error.into())
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_named() {
        let text = sentence_for(ErrorCode::Certificate, ErrorClass::Ssl, "the SSL certificate is invalid");
        assert!(
            text.starts_with("cannot fetch https://example.org/a.git: the SSL certificate is invalid; its"),
            "{text}"
        );
        assert!(text.contains("install its authority's certificate"), "{text}");
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
        let text =
            sentence_for(ErrorCode::GenericError, ErrorClass::Net, "no https://me:secret@example.org/a.git");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn words_of_others_are_one_bounded_line() {
        let text = sentence_for(ErrorCode::GenericError, ErrorClass::Net, &"\x1b[31m\n<script>".repeat(1000));
        assert!(text.chars().count() < 500 && !text.contains(char::is_control), "{text}");
    }
}
