//! What this machine is: what the farm needs for choosing platforms and comparing results.

use std::fs;
use std::process::{Command, Stdio};

use protocol::{Environment, Sha256, WorkerFacts};
use sha2::Digest;

use crate::execute::{Sandbox, StepUser};

/// A description of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineReport {
    pub facts: WorkerFacts,
    pub environment: Environment,
}

impl MachineReport {
    /// Describes this machine. Reads files, starts a few programs and waits for them, so do not call it on an async
    /// thread.
    pub fn collect(sandbox: &Sandbox, offers: &[String]) -> MachineReport {
        let os_release = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok())
            .unwrap_or_default();
        let libc = Libc::parse(&output_of("ldd", "--version"));
        let mut offers = offers.to_vec();
        offers.sort();
        offers.dedup();
        let facts = WorkerFacts {
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            libc: libc.name.into(),
            distribution: distribution(&os_release),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            memory_bytes: memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            sandbox: sandbox_words(sandbox, nix::unistd::geteuid().is_root()),
            offers,
        };
        let environment = environment(&facts, &libc, &first_line(&output_of("cc", "--version")), sandbox);
        MachineReport { facts, environment }
    }
}

/// What the page says of how the machine is protected. The word `none` alone has a meaning for the master.
fn sandbox_words(sandbox: &Sandbox, is_root: bool) -> String {
    match sandbox {
        Sandbox::None => sandbox.as_str().into(),
        Sandbox::Bubblewrap { .. } => {
            let user = if is_root { ", run by root" } else { "" };
            format!("{}{user}, limits by counting", sandbox.as_str())
        }
    }
}

/// The C library that programs on this machine are linked to; the worker's own may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Libc {
    name: &'static str,
    version: String,
}

impl Libc {
    /// From the output of `ldd --version`.
    fn parse(text: &str) -> Libc {
        match text.to_ascii_lowercase().contains("musl") {
            true => {
                let version = text.lines().find_map(|line| line.strip_prefix("Version "));
                Libc { name: "musl", version: version.unwrap_or("unknown").trim().into() }
            }
            false => {
                let version = text.lines().next().and_then(|line| line.rsplit(' ').next());
                let version = version.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                Libc { name: "gnu", version: version.unwrap_or("unknown").into() }
            }
        }
    }
}

/// `debian12`: the ID of os-release and the first number of its VERSION_ID.
fn distribution(os_release: &str) -> String {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim().trim_matches(['"', '\'']))
            .unwrap_or_default()
    };
    let id = Some(value("ID")).filter(|id| !id.is_empty()).unwrap_or("linux");
    let major: String = value("VERSION_ID").chars().take_while(char::is_ascii_digit).collect();
    format!("{id}{major}")
}

fn memory_bytes(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .map_or(0, |kib| kib.saturating_mul(1024))
}

fn environment(facts: &WorkerFacts, libc: &Libc, compiler: &str, sandbox: &Sandbox) -> Environment {
    let level = match sandbox {
        Sandbox::Bubblewrap { user: StepUser::Own, .. } => "bubblewrap",
        Sandbox::Bubblewrap { user: StepUser::Root, .. } => "bubblewrap as root",
        Sandbox::None => "none",
    };
    let mut words = vec![
        format!("arch={}", facts.arch),
        format!("cc={compiler}"),
        format!("distribution={}", facts.distribution),
        format!("kernel={}", facts.kernel),
        format!("libc={} {}", libc.name, libc.version),
        format!("sandbox={level}"),
    ];
    words.extend(facts.offers.iter().map(|offer| format!("offer={offer}")));
    words.sort();
    let mut hash = sha2::Sha256::new();
    for word in &words {
        hash.update(word);
        hash.update("\n");
    }
    Environment { sha256: Sha256(hash.finalize().into()), properties: words }
}

/// What a program prints on either output; empty if there is no such program.
fn output_of(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).env("LC_ALL", "C").stdin(Stdio::null()).output();
    output.map_or(String::new(), |output| {
        // musl's ldd prints its version on the standard error.
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn read_line(path: &str) -> String {
    first_line(&fs::read_to_string(path).unwrap_or_default())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("none").trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_named_by_its_id_and_major_version() {
        for (os_release, expected) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n", "debian12"),
            ("ID=\"almalinux\"\nVERSION_ID=\"9.4\"\n", "almalinux9"),
            ("ID=alpine\nVERSION_ID=3.20.1\n", "alpine3"),
            ("ID=arch\nBUILD_ID=rolling\n", "arch"),
            ("ID_LIKE=debian\n", "linux"),
            ("", "linux"),
        ] {
            assert_eq!(distribution(os_release), expected);
        }
    }

    #[test]
    fn the_c_library_is_recognized_by_what_ldd_prints() {
        for (text, name, version) in [
            ("ldd (Debian GLIBC 2.36-9+deb12u10) 2.36\nCopyright ...", "gnu", "2.36"),
            ("ldd (GNU libc) 2.34\n", "gnu", "2.34"),
            ("musl libc (x86_64)\nVersion 1.2.5\nDynamic Program Loader\n", "musl", "1.2.5"),
            ("", "gnu", "unknown"),
        ] {
            assert_eq!(Libc::parse(text), Libc { name, version: version.into() }, "{text}");
        }
    }

    #[test]
    fn memory_is_reported_in_bytes() {
        assert_eq!(memory_bytes("MemTotal:        2031616 kB\nMemFree: 1 kB\n"), 2_031_616 * 1024);
        assert_eq!(memory_bytes("MemTotal: much\n"), 0);
    }

    #[test]
    fn an_environment_depends_on_its_words_only() {
        let facts =
            WorkerFacts { arch: "x86_64".into(), distribution: "debian12".into(), ..WorkerFacts::default() };
        let libc = Libc { name: "gnu", version: "2.36".into() };
        let environment_of = |facts: &WorkerFacts| environment(facts, &libc, "gcc 12", &Sandbox::None);
        let one = environment_of(&facts);
        assert_eq!(
            one.properties,
            ["arch=x86_64", "cc=gcc 12", "distribution=debian12", "kernel=", "libc=gnu 2.36", "sandbox=none"]
        );
        // A different amount of memory makes another machine, but not another environment.
        assert_eq!(environment_of(&WorkerFacts { memory_bytes: 1, cpus: 64, ..facts.clone() }), one);
        assert_ne!(
            environment_of(&WorkerFacts { offers: vec!["postgresql".into()], ..facts }).sha256,
            one.sha256
        );
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = MachineReport::collect(&Sandbox::None, &["b".into(), "a".into(), "b".into()]);
        assert_eq!(machine.facts.os, "linux");
        assert_eq!(machine.facts.offers, ["a", "b"]);
        assert!(machine.facts.cpus > 0 && machine.facts.memory_bytes > 0);
        assert_eq!(machine, MachineReport::collect(&Sandbox::None, &["a".into(), "b".into()]));
    }
}
