//! `service`: lets systemd start the worker, for the whole machine where root asks, and for one user otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use clap::Subcommand;
use nix::unistd::{Uid, User};

use super::failure::Failure;
use crate::config::WorkerConfig;
use crate::folder::Folder;

const UNIT: &str = "farm-worker.service";
/// The user that root's unit runs the worker as.
const USER: &str = "trunkfarm-worker";
const HOME: &str = "/var/lib/trunkfarm-worker";
const TEMPLATE: &str = include_str!("../../../deploy/farm-worker.service");

#[derive(Subcommand)]
pub enum ServiceCommand {
    /// Write the unit and start it; as root, create the user `trunkfarm-worker` as well
    #[command(after_help = "Examples:\n  \
        farm-worker service install              a unit of your own: it runs while you are logged in, or always with\n                                           \
        `loginctl enable-linger`\n  \
        sudo farm-worker service install         a unit of the system, with its own user and its own folder\n  \
        farm-worker service install --print      show the unit, and change nothing")]
    Install {
        /// Show the unit, and change nothing
        #[arg(long)]
        print: bool,
    },
    /// Stop the unit and remove it; the folder, its key and the user stay
    Uninstall,
}

/// Whose unit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    System,
    User,
}

impl Scope {
    fn of_caller() -> Scope {
        if Uid::effective().is_root() { Scope::System } else { Scope::User }
    }

    fn unit_path(self) -> anyhow::Result<PathBuf> {
        match self {
            Scope::System => Ok(Path::new("/etc/systemd/system").join(UNIT)),
            Scope::User => {
                let folder =
                    std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
                let folder = folder.or(home).context("$HOME is not set")?;
                Ok(folder.join("systemd/user").join(UNIT))
            }
        }
    }

    fn systemctl(self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("systemctl");
        if self == Scope::User {
            command.arg("--user");
        }
        run(command.args(arguments))
    }
}

pub fn perform(folder: &Folder, command: &ServiceCommand) -> Result<(), Failure> {
    let scope = Scope::of_caller();
    match command {
        ServiceCommand::Install { print } => Ok(install(scope, folder, *print)?),
        ServiceCommand::Uninstall => Ok(uninstall(scope)?),
    }
}

fn install(scope: Scope, folder: &Folder, print: bool) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let home = match scope {
        Scope::System => Path::new(HOME),
        Scope::User => folder.root(),
    };
    let unit = unit(scope, &program, home);
    if print {
        print!("{unit}");
        return Ok(());
    }
    ensure!(
        Path::new("/run/systemd/system").exists(),
        "systemd does not run here; start `farm-worker run` by other means"
    );
    match scope {
        Scope::System => make_user()?,
        Scope::User => drop(WorkerConfig::read(&folder.configuration()).context("join a farm first")?),
    }
    let path = scope.unit_path()?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    std::fs::write(&path, unit).with_context(|| format!("cannot write {}", path.display()))?;
    scope.systemctl(&["daemon-reload"])?;
    println!("wrote {}", path.display());
    let has_joined = home.join("worker.toml").exists();
    if !has_joined {
        println!(
            "Now join a farm as the new user, and start the unit:\n\n    runuser -u {USER} -- {} --folder {HOME} join URL\n    systemctl enable --now farm-worker",
            program.display()
        );
        return Ok(());
    }
    scope.systemctl(&["enable", "--now", UNIT])?;
    println!("started; `farm-worker status` shows what it does");
    if scope == Scope::User {
        println!("It ends when you log out, unless you run: loginctl enable-linger");
    }
    Ok(())
}

fn uninstall(scope: Scope) -> anyhow::Result<()> {
    let path = scope.unit_path()?;
    ensure!(path.exists(), "there is no {}, so nothing is to be removed", path.display());
    // A unit that systemd does not know is removed all the same.
    let stopped = scope.systemctl(&["disable", "--now", UNIT]);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    let reloaded = scope.systemctl(&["daemon-reload"]);
    println!(
        "removed {}; the worker's folder and its key stay, and `farm-worker leave` makes the farm forget it",
        path.display()
    );
    stopped.and(reloaded)
}

fn make_user() -> anyhow::Result<()> {
    if User::from_name(USER).context("looking for the worker's user")?.is_none() {
        run(Command::new("useradd").args([
            "--system",
            "--home-dir",
            HOME,
            "--shell",
            "/usr/sbin/nologin",
            USER,
        ]))?;
        println!("created the user {USER}");
    }
    run(Command::new("install").args(["-d", "-m", "0700", "-o", USER, "-g", USER, HOME]))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(anyhow!("{command:?} failed ({status})")),
    }
}

/// The unit that is in `deploy/`, with this program and this folder. A unit of one user has none of the lines that only the
/// system's manager may obey.
fn unit(scope: Scope, program: &Path, folder: &Path) -> String {
    const OF_THE_SYSTEM: [&str; 6] =
        ["User=", "Group=", "StateDirectory", "WorkingDirectory=", "Protect", "PrivateTmp="];
    let is_wanted =
        |line: &&str| scope == Scope::System || !OF_THE_SYSTEM.iter().any(|key| line.starts_with(key));
    let written = |line: &str| match line {
        line if line.starts_with("ExecStart=") => {
            format!("ExecStart={} --folder {} run", quoted(program), quoted(folder))
        }
        "WantedBy=multi-user.target" if scope == Scope::User => "WantedBy=default.target".to_string(),
        line => line.to_string(),
    };
    // Its first lines say how to install it by hand.
    let body = TEMPLATE.split_once("\n\n").map_or(TEMPLATE, |(_, body)| body);
    let lines: Vec<String> = body.lines().filter(is_wanted).map(written).collect();
    format!(
        "# Written by `farm-worker service install`; `farm-worker service uninstall` removes it.\n{}\n",
        lines.join("\n")
    )
}

/// A path as systemd reads it: in quotes, with its special characters escaped.
fn quoted(path: &Path) -> String {
    let text = path
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_that_of_deploy_and_name_this_program_and_folder() {
        let (program, home) = (Path::new("/usr/bin/farm-worker"), Path::new("/home/a b/100%"));
        let system = unit(Scope::System, program, Path::new(HOME));
        let own = unit(Scope::User, program, home);
        let start = "ExecStart=\"/usr/bin/farm-worker\" --folder";
        assert!(system.contains(&format!("{start} \"{HOME}\" run\n")), "{system}");
        assert!(own.contains(&format!("{start} \"/home/a b/100%%\" run\n")), "{own}");
        // Nothing else of it differs from the file that is installed by hand.
        let common = |unit: &str| -> Vec<String> {
            let lines =
                unit.lines().filter(|line| !line.starts_with(['#']) && !line.starts_with("ExecStart="));
            lines.map(str::to_string).filter(|line| !line.is_empty()).collect()
        };
        assert_eq!(common(&system), common(TEMPLATE));
        assert!(
            system.contains("\nUser=trunkfarm-worker\n") && system.contains("WantedBy=multi-user.target")
        );
        assert!(
            !own.contains("\nUser=") && !own.contains("\nProtect") && own.contains("WantedBy=default.target")
        );
        assert!([&system, &own].iter().all(|unit| unit.contains("\nDelegate=yes\n")));
    }
}
