//! `farm-master init DIR`: a first configuration, which is valid as it is and explains itself.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;

const FILES: [(&str, &str); 2] =
    [("farm.toml", include_str!("farm.toml")), ("projects/example.toml", include_str!("example.toml"))];

/// Writes the files, and returns what to do next. It overwrites nothing: if any of the files exists, it writes none. It blocks;
/// it is a command of its own.
pub fn init(dir: &Path) -> anyhow::Result<String> {
    for (name, _) in FILES {
        let path = dir.join(name);
        // A dangling link counts, too: it was meant to lead to a file.
        anyhow::ensure!(
            path.symlink_metadata().is_err(),
            "{} exists already: choose a folder that holds no farm",
            path.display()
        );
    }
    for (name, text) in FILES {
        let path = dir.join(name);
        write_new(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let farm = dir.join("farm.toml").display().to_string();
    let example = dir.join("projects/example.toml").display().to_string();
    Ok(format!(
        "Wrote {farm} and {example}.\n\
         Next:\n  \
         1. Edit both: the trunk to watch, and a project to run on it.\n  \
         2. farm-master check {farm}\n  \
         3. farm-master serve {farm}\n  \
         4. On each machine that builds: farm-worker join URL, then farm-worker run.\n"
    ))
}

#[expect(clippy::disallowed_methods, reason = "a command of its own")]
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create_new(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_configuration_that_init_writes_is_valid() {
        let dir = tempfile::tempdir().unwrap();
        let farm = dir.path().join("new/farm");
        let next = init(&farm).unwrap();
        assert!(next.contains("farm-master serve"), "{next}");
        let config = config::load(&farm.join("farm.toml")).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.projects[0].name, "example");
        assert_eq!(config.data, farm.join("data"));
    }

    #[test]
    fn the_commented_out_examples_are_valid_too() {
        let uncommented = |text: &str| {
            // A comment proper is a sentence; an example has an equals sign or is a table's name.
            let lines = text.lines().map(|line| match line.trim_start().strip_prefix("# ") {
                Some(code) if code.starts_with(['[', '{']) || code.split_once('=').is_some_and(is_key) => {
                    code
                }
                Some(_) | None => line,
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        fn is_key((key, _): (&str, &str)) -> bool {
            key.trim().bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        }
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        for (name, text) in FILES {
            fs::write(dir.path().join(name), uncommented(text)).unwrap();
        }
        let config =
            config::load(&dir.path().join("farm.toml")).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(config.mail.is_some() && config.trunks[0].base.is_some());
        assert_eq!(config.projects[0].recipe.steps.len(), 2);
    }

    #[test]
    fn init_overwrites_nothing() {
        for (there, _) in FILES {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("projects")).unwrap();
            fs::write(dir.path().join(there), "mine").unwrap();
            let error = init(dir.path()).unwrap_err().to_string();
            assert!(error.contains(there) && error.contains("exists already"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(there)).unwrap(), "mine");
            let written = FILES.iter().filter(|(name, _)| dir.path().join(name).exists()).count();
            assert_eq!(written, 1, "only {there} exists");
        }
    }
}
