//! A step's sandbox: bubblewrap builds a root from read-only parts of the system and the build's own folders, mounted
//! at the same paths on every machine. What is not named here does not exist in the sandbox.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use protocol::{Limits, RecipeStep, StepKind, prefix};

use super::keyring;
use super::process::MAX_PROCESSES;
use super::seccomp::{self, IoUring};
use super::variables::Variables;
use super::workspace::{MountedCache, SandboxPaths, ToolchainUse, Workspace, mount_point};

/// How a step is isolated from its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sandbox {
    Bubblewrap {
        program: PathBuf,
        user: StepUser,
        walls: Walls,
    },
    /// Steps are not isolated, as the owner has chosen. Nothing can be mounted, so every path is a real one, and a
    /// toolchain made this way works on its own machine only.
    None,
}

/// The user that a step runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUser {
    /// User 1000 of a user namespace of its own: the same whichever user runs the worker.
    Own,
    /// Root without any capability, if root runs the worker and the kernel allows no user namespaces.
    Root,
}

/// What stands between a step and the kernel, beside the namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walls {
    /// The system calls that are denied, as the kernel reads them.
    filter: Arc<[u8]>,
    /// Whether bubblewrap itself forbids user namespaces in the sandbox. The filter does so in any case.
    namespaces: NestedNamespaces,
}

/// Whether bubblewrap can turn off user namespaces in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NestedNamespaces {
    Disabled,
    LeftToTheFilter,
}

/// Whether a step may reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkAccess {
    Granted,
    Withheld,
}

impl Sandbox {
    /// Tries, by a real run, what this machine supports. The error explains what is missing and how to fix it.
    ///
    /// Starts processes and waits for them, so do not call it on an async thread.
    pub fn find(io_uring: IoUring) -> Result<Sandbox, String> {
        let program = find_on_path("bwrap").ok_or_else(|| {
            "bubblewrap is not installed: there is no program `bwrap` on PATH; install the package `bubblewrap`"
                .to_string()
        })?;
        let filter: Arc<[u8]> = seccomp::program(io_uring)?.into();
        let mut reason = String::new();
        for (user, namespaces) in [
            (StepUser::Own, NestedNamespaces::Disabled),
            (StepUser::Own, NestedNamespaces::LeftToTheFilter),
            (StepUser::Root, NestedNamespaces::LeftToTheFilter),
        ] {
            let walls = Walls { filter: Arc::clone(&filter), namespaces };
            match probe(&program, user, &walls) {
                Ok(()) => return Ok(Sandbox::Bubblewrap { program, user, walls }),
                // The last way is open to root only, so its reason is not the useful one.
                Err(refusal) if user == StepUser::Own => reason = refusal,
                Err(_) => {}
            }
        }
        Err(format!(
            "bubblewrap cannot create a sandbox on this machine ({reason}): allow user namespaces (sysctl \
             kernel.unprivileged_userns_clone=1, or an AppArmor profile for bwrap), or set sandbox = \"none\""
        ))
    }

    /// As [`protocol::WorkerFacts`] names it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Sandbox::Bubblewrap { .. } => "bubblewrap",
            Sandbox::None => "none",
        }
    }

    /// The paths by which a step finds its folders.
    pub fn paths<'a>(&self, workspace: &'a Workspace) -> SandboxPaths<'a> {
        match self {
            Sandbox::Bubblewrap { .. } => workspace.mounted(),
            Sandbox::None => workspace.unmounted(),
        }
    }

    /// `/bin/sh -c RUN` in the sandbox, started in the source folder, with none of the worker's own environment
    /// variables. The sandbox writes its own status to `status`: see [`Sandbox::has_run_command`].
    pub fn command(
        &self,
        workspace: &Workspace,
        variables: &Variables,
        step: &RecipeStep,
        limits: &Limits,
        status: PipeWriter,
    ) -> io::Result<Command> {
        let network = match step.network {
            true => NetworkAccess::Granted,
            false => NetworkAccess::Withheld,
        };
        let mut command = match self {
            Sandbox::Bubblewrap { program, user, walls } => {
                let mut command = Command::new(program);
                // The variables are passed as arguments: bubblewrap itself runs outside the sandbox, and a recipe's
                // LD_PRELOAD must not reach it.
                command.env_clear();
                let mut arguments = Arguments(&mut command);
                arguments.isolate(*user, network, walls.namespaces);
                arguments.system(network, &workspace.etc);
                arguments.devices(limits.memory_bytes);
                arguments.workspace(workspace, step.kind);
                arguments.variables(variables);
                arguments.add(["--json-status-fd", &status.as_raw_fd().to_string()]);
                let filter = walls.filter_pipe()?;
                arguments.add(["--seccomp", &filter.as_raw_fd().to_string()]);
                arguments.add(["--remount-ro", "/", "--chdir", prefix::SOURCE, "/bin/sh"]);
                arguments.add(["-c", &limited_shell()]);
                inherit(&mut command, status);
                inherit(&mut command, filter);
                keyring::join_new(&mut command);
                if let Some(layers) = &workspace.layers {
                    layers.mount_for(&mut command)?;
                }
                command
            }
            Sandbox::None => {
                let mut command = Command::new("/bin/sh");
                command.env_clear().envs(variables).current_dir(&workspace.source).arg("-c");
                command
            }
        };
        command.arg(&step.run);
        Ok(command)
    }

    /// Whether the step's own command has run, according to the status that the sandbox wrote until its end.
    pub fn has_run_command(&self, status: &str) -> bool {
        match self {
            // Written only after the command has run and ended.
            Sandbox::Bubblewrap { .. } => status.contains("\"exit-code\""),
            Sandbox::None => true,
        }
    }
}

impl Walls {
    /// A pipe from which bubblewrap reads the filter. It is shorter than what a pipe holds.
    fn filter_pipe(&self) -> io::Result<PipeReader> {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(&self.filter)?;
        Ok(reader)
    }
}

/// The step's shell within limits that only its own user namespace counts: outside, all processes of the worker's user would
/// count. Shells have two names for the limit of processes.
fn limited_shell() -> String {
    format!(
        "ulimit -u {MAX_PROCESSES} 2>/dev/null || ulimit -p {MAX_PROCESSES} 2>/dev/null; exec /bin/sh -c \"$0\""
    )
}

/// Lets the command inherit the end of a pipe, which stays open in this process until the command is dropped.
fn inherit(command: &mut Command, pipe: impl AsFd + Send + Sync + 'static) {
    let keep_open = move || {
        fcntl(&pipe, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    #[expect(
        unsafe_code,
        reason = "cleared before the fork, the flag would let other children inherit the pipe, too"
    )]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. fcntl is one, and the closure allocates
    // nothing.
    unsafe {
        command.pre_exec(keep_open);
    }
}

/// Bubblewrap's command line. Bubblewrap mounts in the order of the arguments.
struct Arguments<'a>(&'a mut Command);

impl Arguments<'_> {
    fn add<const N: usize>(&mut self, arguments: [&str; N]) {
        self.0.args(arguments);
    }

    fn mount(&mut self, option: &str, real: &Path, mounted: impl AsRef<OsStr>) {
        self.0.arg(option).arg(real).arg(mounted);
    }

    fn isolate(&mut self, user: StepUser, network: NetworkAccess, namespaces: NestedNamespaces) {
        match user {
            StepUser::Own => self.add(["--unshare-user", "--uid", "1000", "--gid", "1000"]),
            StepUser::Root => {}
        }
        match (user, namespaces) {
            (StepUser::Own, NestedNamespaces::Disabled) => self.add(["--disable-userns"]),
            (StepUser::Own, NestedNamespaces::LeftToTheFilter) | (StepUser::Root, _) => {}
        }
        match network {
            NetworkAccess::Withheld => self.add(["--unshare-net"]),
            NetworkAccess::Granted => {}
        }
        self.add(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "trunkfarm"]);
        // The thread that starts bubblewrap must outlive it: the end of that thread, not of the worker, kills bubblewrap.
        self.add(["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    }

    fn system(&mut self, network: NetworkAccess, etc: &Path) {
        self.add(["--ro-bind", "/usr", "/usr"]);
        for path in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
            match fs::read_link(path) {
                Ok(target) => self.mount("--symlink", &target, path),
                Err(_) => self.mount("--ro-bind-try", Path::new(path), path),
            }
        }
        for path in SYSTEM_ETC {
            self.mount("--ro-bind-try", Path::new(path), path);
        }
        for name in ["passwd", "group"] {
            self.mount("--ro-bind", &etc.join(name), Path::new("/etc").join(name));
        }
        match network {
            NetworkAccess::Withheld => self.mount("--ro-bind", &etc.join("hosts"), "/etc/hosts"),
            NetworkAccess::Granted => {
                for path in ["/etc/hosts", "/etc/resolv.conf", "/etc/gai.conf"] {
                    self.mount("--ro-bind-try", Path::new(path), path);
                }
            }
        }
    }

    /// What steps see of the kernel and of devices: nothing that is the machine's can be written, and memory that looks like
    /// a disk is bounded.
    fn devices(&mut self, memory_bytes: u64) {
        self.add(["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]);
        for path in HIDDEN_PROC {
            // A kernel has those that it was built with, and a mount needs something to be mounted on.
            if Path::new(path).exists() {
                self.add(["--ro-bind", "/dev/null", path]);
            }
        }
        let bytes = memory_bytes.clamp(MIN_SHARED_BYTES, MAX_SHARED_BYTES).to_string();
        self.add(["--dev", "/dev", "--perms", "1777", "--size", &bytes, "--tmpfs", "/dev/shm"]);
        self.add(["--remount-ro", "/dev"]);
    }

    fn workspace(&mut self, workspace: &Workspace, step: StepKind) {
        self.mount("--bind", &workspace.temporary, mount_point::TEMPORARY);
        match &workspace.toolchain {
            ToolchainUse::Making(path) => self.mount("--bind", path, prefix::TOOLCHAIN),
            ToolchainUse::Using(path) => self.mount("--ro-bind", path, prefix::TOOLCHAIN),
        }
        self.mount("--bind", &workspace.source, prefix::SOURCE);
        self.mount("--bind", &workspace.out, prefix::OUT);
        self.mount("--bind", &workspace.home, mount_point::HOME);
        let optional = [
            (&workspace.cases, mount_point::CASES),
            (&workspace.needs, prefix::NEEDS),
            (&workspace.lock, mount_point::LOCK),
        ];
        for (path, mounted) in optional {
            if let Some(path) = path {
                self.mount("--ro-bind", path, mounted);
            }
        }
        for (name, tree) in &workspace.mounted_needs {
            self.mount("--ro-bind", tree, Path::new(prefix::NEEDS).join(name));
        }
        for MountedCache { declared, guard } in &workspace.caches {
            let option = if declared.write == step { "--bind" } else { "--ro-bind" };
            self.mount(option, &guard.data(), Path::new(mount_point::CACHES).join(&declared.name));
        }
    }

    fn variables(&mut self, variables: &Variables) {
        for (name, value) in variables {
            self.0.arg("--setenv").arg(name).arg(value);
        }
    }
}

/// What compilers, linkers and TLS need. We mount a whole folder only if nothing in it is secret: `/etc/ssl` and
/// `/etc/pki` hold private keys beside the certificates.
const SYSTEM_ETC: [&str; 17] = [
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

/// Files of `/proc` that show or do something outside the sandbox.
const HIDDEN_PROC: [&str; 7] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kmsg",
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
];

/// The least and the most that `/dev/shm` may hold; between them, it is the step's limit of memory, which counts it.
const MIN_SHARED_BYTES: u64 = 1 << 20;
const MAX_SHARED_BYTES: u64 = 1 << 40;

fn probe(program: &Path, user: StepUser, walls: &Walls) -> Result<(), String> {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    let mut arguments = Arguments(&mut command);
    arguments.isolate(user, NetworkAccess::Withheld, walls.namespaces);
    arguments.add(["--ro-bind", "/", "/"]);
    arguments.devices(MIN_SHARED_BYTES);
    let filter = walls.filter_pipe().map_err(|e| format!("a pipe cannot be made: {e}"))?;
    arguments.add(["--seccomp", &filter.as_raw_fd().to_string(), "/bin/sh", "-c", "true"]);
    inherit(&mut command, filter);
    let output = command.output().map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect()),
    }
}

fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
