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
    /// Why the farm's answer is not right, while it is not.
    #[serde(default)]
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Sdist,
    Wheel,
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

/// The Pythons of the trunk's releases. Compiled wheels differ.
pub const PYTHONS: [&str; 2] = ["3.11", "3.13"];

/// The environment of each recipe.
pub fn environment() -> [(&'static str, String); 2] {
    let packages = format!("http://127.0.0.1:{}/packages", crate::SERVER_PORT);
    [("PACKAGES", packages), ("PYTHONDONTWRITEBYTECODE", "1".to_string())]
}

impl Project {
    pub fn test_command(&self) -> String {
        format!("export PYTHONPATH=$FARM_SOURCE:$HOME/lib\n{}", self.test)
    }

    /// What is downloaded as source archives: a package that is under test comes with its tests, which most wheels lack.
    pub fn source_packages(&self) -> Vec<String> {
        let own = (self.source == Source::Sdist).then(|| self.own());
        own.into_iter().chain(self.sources.iter().cloned()).collect()
    }

    /// What is downloaded as wheels, for each Python.
    pub fn wheels(&self) -> Vec<String> {
        let own = (self.source == Source::Wheel).then(|| self.own());
        own.into_iter().chain(self.packages.iter().cloned()).collect()
    }

    fn own(&self) -> String {
        format!("{}=={}", self.name, self.release)
    }

    /// The steps before the test: they bring the project, and what its suite needs, into the source folder and `$HOME/lib`.
    ///
    /// Wheels are unpacked, not installed: pip would take longer than most suites, and a pip that the trunk broke would be taken for
    /// a suite that the trunk broke.
    pub fn steps(&self, packages: &Path) -> Result<[(&'static str, &'static str, String); 2]> {
        let mut get = vec!["set -e".to_string(), "mkdir -p $HOME/lib $TMPDIR/wheels".to_string()];
        for package in self.source_packages() {
            let to = if package == self.own() { "$FARM_SOURCE" } else { "$HOME/lib" };
            let file = file(packages, &package, ".tar.gz")?;
            get.push(format!("curl -fsS $PACKAGES/{file} -o $TMPDIR/{file}"));
            get.push(format!("tar xzf $TMPDIR/{file} --strip-components=1 --no-same-owner -C {to}"));
        }
        let wheels = |python: &str| -> Result<String> {
            let files: Result<Vec<String>> =
                self.wheels().iter().map(|package| wheel(packages, package, python)).collect();
            Ok(files?.join(" "))
        };
        let [old, new] = PYTHONS;
        get.push(format!(
            "case $(python3 -V) in\n*' {new}.'*) wheels='{}' ;;\n*) wheels='{}' ;;\nesac",
            wheels(new)?,
            wheels(old)?
        ));
        get.push("cd $TMPDIR/wheels".to_string());
        get.push("for wheel in $wheels; do echo \"url = $PACKAGES/$wheel\"; done | curl -fsS --remote-name-all -K -".to_string());
        get.push(UNPACK.to_string());
        Ok([("get", "fetch", get.join("\n")), ("prepare", "install", self.prepare.clone())])
    }
}

/// The machine's own Python, which is quicker than one that has not compiled its library.
const UNPACK: &str = "/usr/bin/python3 -c 'import os, zipfile\nfor name in os.listdir(): \
                      zipfile.ZipFile(name).extractall(os.environ[\"HOME\"] + \"/lib\")'";

/// The wheel of a package for one Python: compiled for it, or for any.
fn wheel(packages: &Path, package: &str, python: &str) -> Result<String> {
    let compiled = format!("-cp{}-", python.replace('.', ""));
    let files = files(packages, package, ".whl")?;
    let find = |part: &str| files.iter().find(|file| file.contains(part)).cloned();
    find(&compiled)
        .or_else(|| find("-abi3-"))
        .or_else(|| find("-none-"))
        .with_context(|| format!("{package} was not downloaded for Python {python}"))
}

fn file(packages: &Path, package: &str, ending: &str) -> Result<String> {
    let files = files(packages, package, ending)?;
    files.into_iter().next().with_context(|| format!("{package} was not downloaded"))
}

/// The names of downloaded files. Cases and separators of names vary.
fn files(packages: &Path, package: &str, ending: &str) -> Result<Vec<String>> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['.', '-'], "_");
    let wanted = plain(&package.replace("==", "-"));
    let entries = std::fs::read_dir(packages).with_context(|| format!("reading {}", packages.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_wanted = |file: &String| {
        let rest = file.strip_suffix(ending).map(plain);
        rest.is_some_and(|file| file == wanted || file.starts_with(&format!("{wanted}_")))
    };
    let mut files: Vec<String> = names.filter(is_wanted).collect();
    files.sort();
    Ok(files)
}
