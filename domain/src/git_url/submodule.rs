//! Submodules: what a repository's `.gitmodules` says, and from where a submodule may be fetched. The file is written by whoever
//! may push to the repository, and is read on a volunteer's machine: it must not lead to the repositories and servers of that
//! machine and its network.

use std::net::IpAddr;

use super::{GitUrlProblem, check, host_and_port, is_private, split};

/// How long a `.gitmodules` may be, in bytes.
pub const MAX_MODULES_BYTES: usize = 64 << 10;
/// How many submodules one source may have, those of submodules included.
pub const MAX_SUBMODULES: usize = 100;
/// How deep submodules may be nested.
pub const MAX_DEPTH: usize = 5;

/// One entry of a `.gitmodules`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submodule {
    /// Where it is in the tree.
    pub path: String,
    /// As it is written.
    pub url: String,
}

/// Where a submodule is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmoduleSource {
    /// Its URL, or its path on this machine.
    pub git: String,
    /// The host whose addresses must not be private ones; none where it is the host of the project itself.
    pub public_host: Option<String>,
}

/// The submodules of a `.gitmodules` that have a path and a URL. What is not understood is left out.
pub fn parse(text: &str) -> Vec<Submodule> {
    let mut modules: Vec<Submodule> = Vec::new();
    let mut within = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let kind = section.trim_start().get(..9).unwrap_or_default();
            within = kind.eq_ignore_ascii_case("submodule");
            if within {
                modules.push(Submodule::default());
            }
            continue;
        }
        let (Some((key, value)), Some(module), true) = (line.split_once('='), modules.last_mut(), within)
        else {
            continue;
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => module.path = unquoted(value),
            "url" => module.url = unquoted(value),
            _ => {}
        }
    }
    modules.retain(|module| !module.path.is_empty() && !module.url.is_empty());
    modules
}

/// A value as git writes it: perhaps in quotes, perhaps with a comment after it.
fn unquoted(value: &str) -> String {
    let (mut text, mut quoted, mut kept) = (String::new(), false, 0);
    let mut chars = value.trim_start().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
        if quoted || !c.is_whitespace() {
            kept = text.len();
        }
    }
    text.truncate(kept);
    text
}

/// From where a submodule with this URL is fetched, if its parent was fetched from `parent`; else the reason why it is not. The rules
/// are those of a project's own URL, and beyond them a submodule is on this machine only where its parent is, and beside it.
pub fn resolve(parent: &str, url: &str) -> Result<SubmoduleSource, &'static str> {
    let network =
        |git: &str| split(git).filter(|(scheme, ..)| *scheme != "file").map(|(_, host, _)| host.to_string());
    let parent_host = network(parent);
    let git = match url.starts_with("./") || url.starts_with("../") {
        true => relative(parent, url, parent_host.is_none())?,
        false => url.to_string(),
    };
    check(&git).map_err(|problem| match problem {
        GitUrlProblem::Other => "it is no URL of a git repository",
        GitUrlProblem::Because(why) | GitUrlProblem::Unshown(why) => why,
    })?;
    let Some(authority) = network(&git) else {
        return match git == url {
            true => Err("a submodule must not name a path of this machine"),
            false => Ok(SubmoduleSource { git, public_host: None }),
        };
    };
    let (host, _) = host_and_port(&authority)?;
    let is_parents = parent_host.as_deref().is_some_and(|parent| parent.eq_ignore_ascii_case(&authority));
    if is_parents {
        return Ok(SubmoduleSource { git, public_host: None });
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_local_name = ["localhost", "local", "internal", "lan"]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    if is_local_name || host.parse::<IpAddr>().is_ok_and(is_private) {
        return Err("a submodule must not name a private address");
    }
    let public_host = Some(host.to_string());
    Ok(SubmoduleSource { git, public_host })
}

/// A relative URL, resolved against its parent's as git does it.
fn relative(parent: &str, url: &str, is_local: bool) -> Result<String, &'static str> {
    let (start, path) = match split(parent) {
        Some((scheme, authority, path)) => (format!("{scheme}://{authority}"), path),
        None => (String::new(), parent),
    };
    let mut path = path.trim_end_matches('/');
    let mut rest = url;
    let mut up = 0;
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            up += 1;
            path = path.rsplit_once('/').map(|(folder, _)| folder).ok_or("it leads out of its host")?;
        } else {
            break;
        }
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("it is no plain relative path");
    }
    if is_local && up > 1 {
        return Err("on this machine a submodule must be beside the repository that names it");
    }
    Ok(format!("{start}{path}/{rest}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved(parent: &str, url: &str) -> Result<String, &'static str> {
        resolve(parent, url).map(|source| source.git)
    }

    #[test]
    fn a_relative_url_starts_at_the_parents() {
        let table = [
            ("https://example.org/a/lua.git", "../say.git", "https://example.org/a/say.git"),
            ("https://example.org/a/lua.git/", "../say.git", "https://example.org/a/say.git"),
            ("https://example.org/a/lua", "../../b/say", "https://example.org/b/say"),
            ("https://example.org/a/lua", "./say", "https://example.org/a/lua/say"),
            ("git://example.org:9418/lua", "../say", "git://example.org:9418/say"),
            ("/srv/git/lua", "../say", "/srv/git/say"),
            ("file:///srv/git/lua", "../say", "file:///srv/git/say"),
            ("/srv/git/lua", "https://example.org/say", "https://example.org/say"),
            ("https://example.org/lua", "https://example.com/say", "https://example.com/say"),
            ("http://10.0.0.7/lua", "../say", "http://10.0.0.7/say"),
            ("http://10.0.0.7/lua", "http://10.0.0.7/deep/say", "http://10.0.0.7/deep/say"),
        ];
        for (parent, url, expected) in table {
            assert_eq!(resolved(parent, url).as_deref(), Ok(expected), "{parent} {url}");
        }
    }

    #[test]
    fn no_submodule_leads_to_this_machine_or_its_network() {
        let refused = [
            "/etc",
            "file:///etc",
            "../../../etc",
            "../a/../../b",
            "..",
            "ssh://git@example.org/a",
            "git@example.org:a",
            "https://me:secret@example.org/a",
            "ext::sh -c id",
            "--upload-pack=id",
            "http://127.0.0.1/a",
            "http://localhost:8010/a",
            "http://printer.local/a",
            "http://10.1.2.3/a",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/a",
            "http://[::ffff:10.0.0.1]/a",
            "http://[64:ff9b::a00:1]/a",
            "http://[fe80::1]/a",
            "http://100.64.0.1/a",
            "http://metadata.google.internal/a",
            "https://example.org",
            "",
            "./",
        ];
        for parent in ["https://example.org/lua", "/srv/git/lua"] {
            for url in refused {
                assert!(resolve(parent, url).is_err(), "{parent} {url}: {:?}", resolve(parent, url));
            }
        }
        assert_eq!(
            resolve("http://10.0.0.7/lua", "http://10.0.0.8/say").unwrap_err(),
            "a submodule must not name a private address"
        );
    }

    #[test]
    fn the_addresses_of_another_host_are_to_be_checked() {
        let host = |parent, url| resolve(parent, url).unwrap().public_host;
        assert_eq!(
            host("https://example.org/lua", "https://example.com:444/say").as_deref(),
            Some("example.com")
        );
        assert_eq!(host("https://example.org/lua", "../say"), None);
        assert_eq!(host("/srv/lua", "../say"), None);
    }

    #[test]
    fn the_file_of_modules_is_read_as_git_writes_it() {
        let text = "# ours\n[submodule \"say\"]\n\tpath = lib/say\n\turl = ../say.git ; near\n[core]\n\tpath = x\n\
                    [Submodule \"b c\"]\n url = \"https://example.org/b;c\"  # far\n path = \"b \\\"c\\\"\"\n[submodule \"empty\"]\n";
        let module = |path: &str, url: &str| Submodule { path: path.into(), url: url.into() };
        assert_eq!(
            parse(text),
            [module("lib/say", "../say.git"), module("b \"c\"", "https://example.org/b;c")]
        );
    }

    proptest! {
        /// Whatever a repository writes: a submodule of a repository in the network stays in the network, and that of a local one is
        /// its neighbour or in the network.
        #[test]
        fn a_submodule_never_leaves_what_its_parent_may_reach(
            parts in prop::collection::vec(prop::sample::select(vec![
                "../", "./", "..", "/", "a", "etc", "file://", "http://", "git://", "example.org", "10.0.0.1", "localhost", ":", "@", "?", "//",
            ]), 0..8),
            is_local in any::<bool>(),
        ) {
            let parent = if is_local { "/srv/git/lua" } else { "https://example.org/git/lua" };
            if let Ok(SubmoduleSource { git, public_host }) = resolve(parent, &parts.concat()) {
                match split(&git) {
                    Some((scheme, authority, _)) => {
                        prop_assert!(["http", "https", "git"].contains(&scheme), "{git}");
                        let (host, _) = host_and_port(authority).unwrap();
                        prop_assert!(!host.parse::<IpAddr>().is_ok_and(is_private), "{git}");
                        prop_assert!(public_host.is_some() || (!is_local && authority == "example.org"), "{git}");
                    }
                    None => prop_assert!(is_local && git.starts_with("/srv/git/") && !git.split('/').any(|part| part == ".."), "{git}"),
                }
            }
        }

        #[test]
        fn any_file_of_modules_is_read(text in "\\PC{0,200}|[\\[\\]a-z =\"\\\\\n#;]{0,200}") {
            for module in parse(&text) {
                prop_assert!(!module.path.is_empty() && !module.url.is_empty());
            }
        }
    }
}
