//! What the run needs from elsewhere: CPython's sources as Debian's source packages, and the projects' packages. Both are
//! fetched once, into the cache folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::projects::{PYTHONS, Project};
use crate::trunk::run;

/// The source packages, and the release of Debian that has each.
const RELEASES: [(&str, &str); 2] = [("python3.11", "bookworm"), ("python3.13", "trixie")];

/// Makes a folder for each release below `to`, with the sources as CPython released them: without Debian's own changes.
pub fn fetch_cpython(to: &Path) -> Result<()> {
    let missing = RELEASES.iter().any(|(name, _)| !to.join(name).exists());
    if !missing {
        return Ok(());
    }
    let apt = to.join("apt");
    for folder in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    // apt's lists and settings of this machine stay as they are.
    let mirror = mirror()?;
    let list: String = RELEASES.iter().map(|(_, suite)| source_line(&mirror, suite)).collect();
    fs::write(apt.join("sources.list"), list)?;
    println!("Fetching the sources of CPython");
    run(apt_get(&apt, to).args(["-q", "update"]))?;
    for (name, _) in RELEASES {
        if !to.join(name).exists() {
            run(apt_get(&apt, to).args(["-q", "source", "--download-only", name]))?;
            unpack(to, name)?;
        }
    }
    Ok(())
}

/// The mirror of Debian that this machine uses.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN) $(LABEL) $(REPO_URI)";
    let list =
        run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let mirror = list.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    Ok(mirror.context("this machine's apt has no mirror of Debian, from which the sources come")?.to_string())
}

fn source_line(mirror: &str, suite: &str) -> String {
    format!("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n")
}

fn apt_get(apt: &Path, folder: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(folder);
    let options = [
        format!("Dir::State::lists={}", apt.join("lists").display()),
        format!("Dir::Etc::sourcelist={}", apt.join("sources.list").display()),
        "Dir::Etc::sourceparts=/nonexistent".to_string(),
        format!("Dir::Cache={}", apt.display()),
        // The folder may be below root's home, which apt's own user cannot enter.
        "APT::Sandbox::User=root".to_string(),
    ];
    for option in options {
        command.arg("-o").arg(option);
    }
    command
}

fn unpack(to: &Path, name: &str) -> Result<()> {
    let archives: Vec<_> = fs::read_dir(to)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            file.starts_with(&format!("{name}_")) && file.contains(".orig.tar.") && !file.ends_with(".asc")
        })
        .collect();
    ensure!(archives.len() == 1, "expected one archive of {name}, found {archives:?}");
    let partial = to.join(format!("{name}.part"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    run(Command::new("tar")
        .arg("xf")
        .arg(&archives[0])
        .args(["--strip-components=1", "--no-same-owner", "-C"])
        .arg(&partial))?;
    fs::rename(&partial, to.join(name)).context("unpacking a release")?;
    Ok(())
}

/// Downloads what the projects' recipes unpack, each package once.
pub fn fetch_packages(to: &Path, projects: &[Project]) -> Result<()> {
    fs::create_dir_all(to.join(".done"))?;
    for project in projects {
        let sources = project.source_packages();
        // Not `:all:`, which would also compile what a source archive is built with.
        let names: Vec<&str> = sources.iter().filter_map(|package| package.split("==").next()).collect();
        fetch(to, "source", &sources, &["--no-binary", &names.join(",")])?;
        for python in PYTHONS {
            fetch(to, python, &project.wheels(), &["--only-binary", ":all:", "--python-version", python])?;
        }
    }
    Ok(())
}

/// `kind` tells apart the downloads of one package.
fn fetch(to: &Path, kind: &str, packages: &[String], options: &[&str]) -> Result<()> {
    let done = |package: &String| to.join(".done").join(format!("{package} {kind}"));
    let missing: Vec<&String> = packages.iter().filter(|package| !done(package).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        println!("Downloading {package} ({kind})");
    }
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "download", "-q", "--no-deps", "-d"]).arg(to).args(options).args(&missing);
    run(&mut pip)?;
    for package in missing {
        fs::write(done(package), "")?;
    }
    Ok(())
}
