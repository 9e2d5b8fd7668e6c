//! The demonstration's repositories: real Lua as the trunk, and small libraries that break on it for real reasons.
//! This program creates all of them, with the same commit ids on every machine.

mod expected;
mod history;
mod projects;
mod releases;
mod repository;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

pub use expected::{Case, Expected, Finding, Subject};
use history::Tree;
use projects::Project;
use repository::Repository;

/// What was created, and what a farm must find in it.
#[derive(Debug)]
pub struct Demo {
    /// A bare repository with one branch, `master`.
    pub trunk: PathBuf,
    /// The changes of the branch from its base on, oldest first.
    pub changes: Vec<Change>,
    pub projects: Vec<Downstream>,
    /// `projects/*.toml` is beside it.
    pub farm_toml: PathBuf,
    pub expected: Vec<Expected>,
}

/// One commit of the trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub sha: String,
    pub title: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downstream {
    pub name: String,
    /// A bare repository with one branch, `master`, and one commit.
    pub git: PathBuf,
}

const FARM: &str = include_str!("../../../examples/lua/farm/farm.toml");
/// The start of every repository's URL in the examples.
const EXAMPLE_HOST: &str = "https://example.org/";
const EXAMPLE_LISTEN: &str = "127.0.0.1:8010";
const EXAMPLE_BASE: &str = "v5.1.5";
const EXAMPLE_PLATFORM: &str = "linux-x86_64";

/// Creates bare repositories in `folder`/git, one for the trunk and one for each project, and beside them `farm.toml` and
/// `projects/*.toml` for a master that listens on `listen` (`address:port`).
///
/// `folder` must be new or empty.
pub fn create(folder: &Path, listen: &str) -> anyhow::Result<Demo> {
    fs::create_dir_all(folder.join("git")).with_context(|| format!("making {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let git = folder.join("git");
    let place = format!("file://{}/", unquoted_path(&git)?);

    let trunk = git.join("lua.git");
    let changes = create_trunk(&trunk).context("creating the trunk")?;
    let projects = projects::ALL
        .iter()
        .map(|project| create_project(&git, project).with_context(|| format!("creating {}", project.name)))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let base = &changes.first().context("the trunk has no change")?.sha;
    let platform = format!("linux-{}", std::env::consts::ARCH);
    let farm_toml = folder.join("farm.toml");
    let farm = replace_all(FARM, EXAMPLE_HOST, &place)?;
    let farm = replace_all(&farm, EXAMPLE_LISTEN, listen)?;
    let farm = replace_all(&farm, EXAMPLE_BASE, base)?;
    fs::write(&farm_toml, replace_all(&farm, EXAMPLE_PLATFORM, &platform)?)?;
    fs::create_dir_all(folder.join("projects"))?;
    for project in projects::ALL {
        let file = folder.join("projects").join(format!("{}.toml", project.name));
        fs::write(file, replace_all(project.registration, EXAMPLE_HOST, &place)?)?;
    }

    let expected = expected::all(&changes)?;
    Ok(Demo { trunk, changes, projects, farm_toml, expected })
}

fn create_trunk(at: &Path) -> anyhow::Result<Vec<Change>> {
    let sources = releases::folder()?;
    let repository = Repository::new(at)?;
    let mut tree = Tree::new();
    history::ALL
        .iter()
        .map(|step| {
            let title = step.title();
            step.apply(&mut tree, &sources).with_context(|| format!("the change \"{title}\""))?;
            Ok(Change { sha: repository.commit(&tree, &title)?, title })
        })
        .collect()
}

fn create_project(git: &Path, project: &Project) -> anyhow::Result<Downstream> {
    let at = git.join(format!("{}.git", project.name));
    let files = project.files().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect();
    Repository::new(&at)?.commit(&files, &format!("{}: first release", project.name))?;
    Ok(Downstream { name: project.name.to_string(), git: at })
}

/// Replaces a text of an example everywhere. If the example does not contain it, the example has changed.
fn replace_all(text: &str, example: &str, real: &str) -> anyhow::Result<String> {
    ensure!(text.contains(example), "the example does not contain {example:?}");
    Ok(text.replace(example, real))
}

/// The folder's path, if it needs no quoting in a URL and in TOML.
fn unquoted_path(folder: &Path) -> anyhow::Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    folder.to_str().filter(|text| text.bytes().all(plain)).with_context(|| {
        format!(
            "the demonstration cannot use {}: choose a path of letters, digits and ._-+",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_history_is_created_every_time() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = create(one.path(), "127.0.0.1:1").unwrap();
        let two = create(two.path(), "127.0.0.1:2").unwrap();
        assert_eq!(one.changes, two.changes);
        assert_eq!(one.expected, two.expected);
        assert_eq!(one.changes.len(), 26);
    }

    #[test]
    fn the_configuration_names_the_created_repositories() {
        let folder = tempfile::tempdir().unwrap();
        let demo = create(folder.path(), "127.0.0.1:4711").unwrap();
        let read = |path: &Path| -> toml::Table { fs::read_to_string(path).unwrap().parse().unwrap() };
        let farm = read(&demo.farm_toml);
        assert_eq!(farm["farm"]["url"].as_str(), Some("http://127.0.0.1:4711"));
        assert_eq!(farm["trunk"][0]["base"].as_str(), Some(demo.changes[0].sha.as_str()));
        assert_eq!(
            farm["trunk"][0]["git"].as_str(),
            Some(format!("file://{}", demo.trunk.display()).as_str())
        );
        for project in &demo.projects {
            let file = demo.farm_toml.with_file_name("projects").join(format!("{}.toml", project.name));
            let registered = read(&file);
            assert_eq!(registered["project"]["name"].as_str(), Some(project.name.as_str()));
            let git = format!("file://{}", project.git.display());
            assert_eq!(registered["project"]["git"].as_str(), Some(git.as_str()));
        }
    }

    #[test]
    fn a_folder_that_would_need_quoting_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = create(&folder.path().join("two words"), "127.0.0.1:1").unwrap_err();
        assert!(error.to_string().contains("letters, digits"), "{error}");
    }
}
