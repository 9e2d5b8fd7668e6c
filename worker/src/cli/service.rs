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

/// The unit: the machine's other work comes first, and nothing of it can be written to but the worker's folder.
fn unit(scope: Scope, program: &Path, folder: &Path) -> String {
    let (program, folder) = (quoted(program), quoted(folder));
    let (user, target) = match scope {
        Scope::System => (
            format!(
                "User={USER}\nGroup={USER}\nStateDirectory={USER}\nStateDirectoryMode=0700\nProtectHome=yes\n"
            ),
            "multi-user.target",
        ),
        Scope::User => (String::new(), "default.target"),
    };
    format!(
        "# Written by `farm-worker service install`; `farm-worker service uninstall` removes it.\n\
         [Unit]\n\
         Description=Trunkfarm worker\n\
         After=network-online.target\n\
         Wants=network-online.target\n\n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} --folder {folder} run\n\
         Restart=on-failure\n\
         RestartSec=30\n\
         # worker.toml is wrong, or there is no sandbox: a restart does not fix that.\n\
         RestartPreventExitStatus=2\n\
         # Enough to hand back the running builds.\n\
         TimeoutStopSec=30\n\
         KillMode=mixed\n\
         LimitNOFILE=65536\n\
         UMask=0027\n\
         {user}\
         # The machine's own work has priority, and if memory runs out, the kernel kills builds first.\n\
         Nice=19\n\
         IOSchedulingClass=idle\n\
         CPUWeight=20\n\
         OOMScoreAdjust=500\n\
         # The worker makes a group for each build in its own.\n\
         Delegate=yes\n\
         # No more restrictions than these: the sandbox mounts a /proc of its own, which Linux refuses if parts of the outer one are\n\
         # hidden, and it needs user namespaces.\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ReadWritePaths={folder}\n\
         PrivateTmp=yes\n\
         ProtectKernelModules=yes\n\n\
         [Install]\n\
         WantedBy={target}\n"
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
    fn the_units_differ_in_their_user_and_both_delegate() {
        let (program, home) = (Path::new("/usr/bin/farm-worker"), Path::new("/home/a b/100%"));
        let system = unit(Scope::System, program, Path::new(HOME));
        let own = unit(Scope::User, program, home);
        assert!(
            system.contains("\nUser=trunkfarm-worker\n") && system.contains("WantedBy=multi-user.target")
        );
        assert!(!own.contains("\nUser=") && own.contains("WantedBy=default.target"));
        assert!(
            own.contains("ExecStart=\"/usr/bin/farm-worker\" --folder \"/home/a b/100%%\" run\n"),
            "{own}"
        );
        assert!([&system, &own].iter().all(|unit| unit.contains("\nDelegate=yes\n")));
    }
}
