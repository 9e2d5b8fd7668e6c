//! A step's world: bubblewrap puts a root together from the system's read-only parts and the build's own folders,
//! mounted at the same paths on every machine. What is not named here does not exist in there.

use std::ffi::OsStr;
use std::fs;
use std::io::PipeWriter;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use protocol::prefix;

use super::variables::Variables;
use super::workspace::{SandboxPaths, ToolchainUse, Workspace, seen};

/// How well a step is kept from its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sandbox {
    Bubblewrap {
        program: PathBuf,
        user: StepUser,
    },
    /// The owner's word only. Nothing can be mounted, so every path is a real one, and a toolchain that was made so
    /// is of use on its own machine only.
    None,
}

/// Whom a step runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUser {
    /// As user 1000 of a namespace of its own: the same whoever runs the worker.
    Own,
    /// As root without any capability, where root runs the worker and the kernel gives no user namespaces.
    Root,
}

/// Whether a step may reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkAccess {
    Granted,
    Withheld,
}

impl Sandbox {
    /// Tries out, by a real run, what this machine can do; or says why it cannot, and how to mend it.
    ///
    /// Starts processes and waits for them: not for an async thread.
    pub fn find() -> Result<Sandbox, String> {
        let program = on_path("bwrap").ok_or_else(|| {
            "bubblewrap is not installed: expected a program `bwrap` on PATH; install the package `bubblewrap`"
                .to_string()
        })?;
        let mut reason = String::new();
        for user in [StepUser::Own, StepUser::Root] {
            match probe(&program, user) {
                Ok(()) => return Ok(Sandbox::Bubblewrap { program, user }),
                // The first refusal tells more: the second way is open to root only.
                Err(refusal) if reason.is_empty() => reason = refusal,
                Err(_) => {}
            }
        }
        Err(format!(
            "bubblewrap cannot make a sandbox here ({reason}): allow user namespaces (sysctl \
             kernel.unprivileged_userns_clone=1, or the AppArmor profile of bwrap), or write sandbox = \"none\""
        ))
    }

    /// As [`protocol::Facts`] names it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Sandbox::Bubblewrap { .. } => "bubblewrap",
            Sandbox::None => "none",
        }
    }

    /// Where a step finds things.
    pub fn seen<'a>(&self, workspace: &'a Workspace) -> SandboxPaths<'a> {
        match self {
            Sandbox::Bubblewrap { .. } => workspace.mounted(),
            Sandbox::None => workspace.plain(),
        }
    }

    /// `/bin/sh -c RUN` in the build's world, started in its source folder, with nothing of the worker's own
    /// environment. What the sandbox has to say of itself it writes to `status`: see [`Sandbox::reached`].
    pub fn command(
        &self,
        workspace: &Workspace,
        variables: &Variables,
        run: &str,
        network: NetworkAccess,
        status: PipeWriter,
    ) -> Command {
        let mut command = match self {
            Sandbox::Bubblewrap { program, user } => {
                let mut command = Command::new(program);
                // The variables go in as arguments: bubblewrap itself runs outside, and must not be
                // reached by a recipe's LD_PRELOAD.
                command.env_clear();
                let mut wrap = Arguments(&mut command);
                wrap.isolate(*user, network);
                wrap.system(network, &workspace.etc);
                wrap.workspace(workspace);
                wrap.variables(variables);
                wrap.add(["--json-status-fd", &status.as_raw_fd().to_string()]);
                wrap.add(["--remount-ro", "/", "--chdir", prefix::SOURCE, "/bin/sh"]);
                hand_down(&mut command, status);
                command
            }
            Sandbox::None => {
                let mut command = Command::new("/bin/sh");
                command.env_clear().envs(variables).current_dir(&workspace.source);
                command
            }
        };
        command.args(["-c", run]);
        command
    }

    /// Whether the step's own command was reached, by what the sandbox wrote as its status until it ended.
    pub fn reached(&self, status: &str) -> bool {
        match self {
            // Written only when the command was run and has ended.
            Sandbox::Bubblewrap { .. } => status.contains("\"exit-code\""),
            Sandbox::None => true,
        }
    }
}

/// Lets the command inherit `status`, which stays open in here until the command is dropped.
fn hand_down(command: &mut Command, status: PipeWriter) {
    let keep_open = move || {
        fcntl(&status, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    #[expect(unsafe_code, reason = "the standard library has no safe way to act between fork and exec")]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; fcntl is one, and nothing is allocated.
    unsafe {
        command.pre_exec(keep_open)
    };
}

/// Bubblewrap's command line. Mounts happen in the order in which they are written.
struct Arguments<'a>(&'a mut Command);

impl Arguments<'_> {
    fn add<const N: usize>(&mut self, arguments: [&str; N]) {
        self.0.args(arguments);
    }

    fn mount(&mut self, how: &str, real: &Path, seen: impl AsRef<OsStr>) {
        self.0.arg(how).arg(real).arg(seen);
    }

    fn isolate(&mut self, user: StepUser, network: NetworkAccess) {
        match user {
            StepUser::Own => self.add(["--unshare-user", "--uid", "1000", "--gid", "1000"]),
            StepUser::Root => {}
        }
        match network {
            NetworkAccess::Withheld => self.add(["--unshare-net"]),
            NetworkAccess::Granted => {}
        }
        self.add(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "trunkfarm"]);
        // The thread that starts bubblewrap must outlive it: it is that thread's death, not the worker's, that kills.
        self.add(["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    }

    fn system(&mut self, network: NetworkAccess, etc: &Path) {
        self.add(["--ro-bind", "/usr", "/usr"]);
        for place in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
            match fs::read_link(place) {
                Ok(target) => self.mount("--symlink", &target, place),
                Err(_) => self.mount("--ro-bind-try", Path::new(place), place),
            }
        }
        for place in ETC_OF_THE_SYSTEM {
            self.mount("--ro-bind-try", Path::new(place), place);
        }
        for name in ["passwd", "group"] {
            self.mount("--ro-bind", &etc.join(name), Path::new("/etc").join(name));
        }
        match network {
            NetworkAccess::Withheld => self.mount("--ro-bind", &etc.join("hosts"), "/etc/hosts"),
            NetworkAccess::Granted => {
                for place in ["/etc/hosts", "/etc/resolv.conf", "/etc/gai.conf"] {
                    self.mount("--ro-bind-try", Path::new(place), place);
                }
            }
        }
        self.add(["--proc", "/proc", "--dev", "/dev"]);
    }

    fn workspace(&mut self, workspace: &Workspace) {
        self.mount("--bind", &workspace.temporary, seen::TEMPORARY);
        match &workspace.toolchain {
            ToolchainUse::Making(path) => self.mount("--bind", path, prefix::TOOLCHAIN),
            ToolchainUse::Using(path) => self.mount("--ro-bind", path, prefix::TOOLCHAIN),
        }
        self.mount("--bind", &workspace.source, prefix::SOURCE);
        self.mount("--bind", &workspace.out, prefix::OUT);
        self.mount("--bind", &workspace.home, seen::HOME);
        let brought = [
            (&workspace.cases, seen::CASES),
            (&workspace.needs, prefix::NEEDS),
            (&workspace.lock, seen::LOCK),
        ];
        for (path, seen) in brought {
            if let Some(path) = path {
                self.mount("--ro-bind", path, seen);
            }
        }
    }

    fn variables(&mut self, variables: &Variables) {
        for (name, value) in variables {
            self.0.arg("--setenv").arg(name).arg(value);
        }
    }
}

/// What compilers, linkers and TLS need to find. Whole folders only where nothing in them is secret: `/etc/ssl`
/// and `/etc/pki` hold private keys beside the certificates.
const ETC_OF_THE_SYSTEM: [&str; 17] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

fn probe(program: &Path, user: StepUser) -> Result<(), String> {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    let mut wrap = Arguments(&mut command);
    wrap.isolate(user, NetworkAccess::Withheld);
    wrap.add(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/sh", "-c", "true"]);
    let output = command.output().map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect()),
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
