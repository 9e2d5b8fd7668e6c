//! The projects of the acceptance run, and the recipes by which the farm tests them: `projects.toml`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::trunk::STEPS;

const TABLE: &str = include_str!("projects.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    pub name: String,
    pub release: String,
    source: Source,
    packages: Vec<String>,
    /// Pure packages that have no wheel: they are unpacked.
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default = "nothing")]
    prepare: String,
    test: String,
    pub report: String,
    #[serde(default)]
    pub leaves: String,
    pub breaks: Vec<String>,
    #[serde(default)]
    pub unclear: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Sdist,
    Wheel,
}

/// What is downloaded, once.
pub struct Requirement {
    pub text: String,
    pub is_source: bool,
}

fn nothing() -> String {
    ":".to_string()
}

/// Reads the table. It names only changes that there are.
pub fn all() -> Result<Vec<Project>> {
    #[derive(Deserialize)]
    struct Table {
        project: Vec<Project>,
    }
    let table: Table = toml::from_str(TABLE).context("projects.toml")?;
    for project in &table.project {
        for name in project.breaks.iter().chain(&project.unclear) {
            ensure!(STEPS.iter().any(|step| step.name == name), "{}: no change `{name}`", project.name);
        }
    }
    Ok(table.project)
}

/// The package installer that recipes use, whatever the trunk's own is: a pip that the trunk broke would be taken for a suite that
/// the trunk broke.
pub const PIP: &str = "pip==24.2";

/// The environment of each recipe.
pub fn environment() -> [(&'static str, String); 2] {
    let packages = format!("http://127.0.0.1:{}/packages", crate::SERVER_PORT);
    [("PACKAGES", packages), ("PYTHONDONTWRITEBYTECODE", "1".to_string())]
}

impl Project {
    pub fn test_command(&self) -> String {
        format!("export PYTHONPATH=$FARM_SOURCE:$HOME/lib\n{}", self.test)
    }

    pub fn requirements(&self) -> Vec<Requirement> {
        let own = format!("{}=={}", self.name, self.release);
        let wheel = |text: &str| Requirement { text: text.to_string(), is_source: false };
        let source = |text: &str| Requirement { text: text.to_string(), is_source: true };
        let mut all = vec![wheel(PIP)];
        all.push(if self.source == Source::Sdist { source(&own) } else { wheel(&own) });
        all.extend(self.packages.iter().map(|package| wheel(package)));
        all.extend(self.sources.iter().map(|package| source(package)));
        all
    }

    /// The steps before the test: they bring the project, and what its suite needs, into the source folder and `$HOME/lib`.
    pub fn steps(&self, packages: &Path) -> Result<[(&'static str, &'static str, String); 2]> {
        let mut get = vec![
            "set -e".to_string(),
            format!("curl -fsS $PACKAGES/{} -o $HOME/pip.whl", file(packages, "pip", "24.2", ".whl")?),
        ];
        let mut wheels = self.packages.clone();
        match self.source {
            Source::Sdist => get.push(unpack(packages, &self.name, &self.release, "$FARM_SOURCE")?),
            Source::Wheel => wheels.push(format!("{}=={}", self.name, self.release)),
        }
        for source in &self.sources {
            let (name, release) = source.split_once("==").context("an exact version")?;
            get.push("mkdir -p $HOME/lib".to_string());
            get.push(unpack(packages, name, release, "$HOME/lib")?);
        }
        get.push(format!(
            "PYTHONPATH=$HOME/pip.whl python3 -m pip install -q --disable-pip-version-check --no-cache-dir --no-index \
             --find-links $PACKAGES/ --no-deps --no-compile --only-binary :all: --target $HOME/lib {}",
            wheels.join(" ")
        ));
        Ok([("get", "fetch", get.join("\n")), ("prepare", "install", self.prepare.clone())])
    }
}

fn unpack(packages: &Path, name: &str, release: &str, to: &str) -> Result<String> {
    let file = file(packages, name, release, ".tar.gz")?;
    Ok(format!(
        "curl -fsS $PACKAGES/{file} -o $TMPDIR/{file}\ntar xzf $TMPDIR/{file} --strip-components=1 --no-same-owner -C {to}"
    ))
}

/// The name of a downloaded file. Cases and separators of names vary.
fn file(packages: &Path, name: &str, release: &str, ending: &str) -> Result<String> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['.', '-'], "_");
    let wanted = plain(&format!("{name}-{release}"));
    let entries = std::fs::read_dir(packages).with_context(|| format!("reading {}", packages.display()))?;
    let mut files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    files
        .find(|file| file.ends_with(ending) && plain(file).starts_with(&wanted))
        .with_context(|| format!("{name} {release} was not downloaded"))
}
