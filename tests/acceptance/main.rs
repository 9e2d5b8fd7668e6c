//! The acceptance run, `make acceptance`: real projects on a trunk of real CPython sources, and whether the farm finds what broke
//! them, and accuses nobody else. It writes the table docs/cpython.md.
//!
//! Toolchains, results and downloads stay in the cache folder, so a run that was interrupted continues where it stopped.

mod measure;
mod projects;
mod server;
mod sources;
mod table;
mod trunk;
mod verdict;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use trunkfarm_tests::farm::Farm;

use crate::projects::Project;
use crate::table::Facts;
use crate::watch::Ending;

/// Fixed, because both are part of what the farm compares between runs.
const FARM_PORT: u16 = 8611;
const SERVER_PORT: u16 = 8612;

fn main() -> ExitCode {
    match accept() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("acceptance: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `farm-acceptance [MINUTES]`: it stops after so many minutes, whatever is left to do, and the next run continues.
fn accept() -> Result<bool> {
    let minutes = std::env::args().nth(1).map(|text| text.parse()).transpose().context("expected MINUTES")?;
    let cache = cache_folder()?;
    println!("The cache folder is {}", cache.display());
    sources::fetch_cpython(&cache.join("sources"))?;
    let commits = trunk::create(&cache.join("sources"), &cache.join("farm/trunk"))?;
    let projects = projects::all()?;
    sources::fetch_packages(&cache.join("packages"), &projects)?;
    server::start(&cache, SERVER_PORT)?;

    let stopped = watch_signals()?;
    let mut farm = Farm::at(&cache.join("farm"), FARM_PORT);
    configure(&farm, &cache, &commits, &projects)?;
    farm.serve();
    if farm.path("worker/worker.toml").exists() {
        farm.run_worker("worker");
    } else {
        farm.worker("worker", 2);
    }
    println!("The farm is at {}", farm.url("/"));
    let ending = watch::until_idle(&farm, &projects, minutes, &stopped)?;
    let is_idle = ending == Ending::Idle;
    let findings = verdict::read(&farm, &commits, &projects)?;
    let all_right = verdict::print(&findings, is_idle);
    let bare = match ending {
        Ending::Idle => measure::measure(&farm, &cache, &commits, &projects)?,
        Ending::Stopped => measure::measured_before(&cache),
    };
    let facts = Facts {
        farm: &farm,
        commits: &commits,
        projects: &projects,
        findings: &findings,
        bare: &bare,
        is_idle,
    };
    table::write(Path::new("docs/cpython.md"), &facts)?;
    Ok(all_right && is_idle)
}

/// A flag that Ctrl-C and SIGTERM set: the farm's processes end with this one, and the table is written.
fn watch_signals() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(inside);
    let flag = Arc::clone(&stopped);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        flag.store(true, Ordering::Relaxed);
    });
    Ok(stopped)
}

/// Outside the clone, so that the next clone has it, too.
fn cache_folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let folder = caches.context("neither XDG_CACHE_HOME nor HOME is set")?.join("trunkfarm-acceptance");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// Writes farm.toml and a file for each project.
fn configure(farm: &Farm, cache: &Path, commits: &[String], projects: &[Project]) -> Result<()> {
    let text = include_str!("farm.toml")
        .replace("FARM_PORT", &FARM_PORT.to_string())
        .replace("SERVER_PORT", &SERVER_PORT.to_string())
        .replace("TRUNK", &farm.path("trunk").display().to_string())
        .replace("BASE", &commits[0])
        .replace("PLATFORM", &format!("linux-{}", std::env::consts::ARCH));
    farm.write("farm.toml", &text);
    let env: Vec<String> =
        projects::environment().iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
    let env = env.join(", ");
    for project in projects {
        let [get, prepare] = project.steps(&cache.join("packages"))?;
        let test = ("test", "test", project.test_command());
        let step = |(name, kind, run): (&str, &str, String), rest: &str| {
            format!("[[recipe.steps]]\nname = \"{name}\"\nkind = \"{kind}\"\nrun = '''\n{run}'''\n{rest}\n")
        };
        let steps = [
            step(get, "network = true"),
            step(prepare, ""),
            step(test, &format!("report = \"{}\"", project.report)),
        ];
        let text = format!(
            "[project]\nname = \"{name}\"\ntrunk = \"cpython\"\nlatest = \"echo {release}\"\nevery = \"1d\"\n\
             contact = [\"{name}@example.org\"]\n\n[recipe]\n\
             env = {{ {env} }}\n\
             limits = {{ time = \"15m\", silence = \"10m\", memory = \"2GiB\", log = \"10MiB\" }}\n\n{}",
            steps.concat(),
            name = project.name,
            release = project.release,
        );
        farm.write(&format!("projects/{}.toml", project.name), &text);
    }
    Ok(())
}
