//! The system calls that a step is denied: what no build needs, and what most holes in kernels were reached by. Bubblewrap
//! loads the program that this file makes, and `docs/volunteer.md` has the same table.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// What a denied call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// `EPERM`: programs know it as a lack of rights.
    NotPermitted,
    /// `ENOSYS`: programs use an older call instead, as on an older kernel.
    NotThere,
}

/// Calls that are denied for one reason.
pub struct DeniedFamily {
    /// As the volunteer's guide has it; a test compares them.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the guide"))]
    pub reason: &'static str,
    pub answer: Denial,
    calls: &'static [(&'static str, libc::c_long)],
    /// Only with these arguments; with any, if there are none.
    arguments: &'static [&'static [Argument]],
}

/// A condition on one argument of a call.
#[derive(Clone, Copy)]
enum Argument {
    Is(u8, u64),
    IsNot(u8, u64),
    Has(u8, u64),
}

/// Names each call as its manual page does.
macro_rules! calls {
    ($($number:ident),* $(,)?) => { &[$((stringify!($number), libc::$number)),*] };
}

const CLONE_NEWUSER: u64 = 0x1000_0000;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const AF_VSOCK: u64 = 40;
const AF_ALG: u64 = 38;

/// Everything that is denied on any machine.
const FAMILIES: [DeniedFamily; 14] = [
    DeniedFamily {
        reason: "keys of the kernel's keyrings",
        answer: Denial::NotPermitted,
        calls: calls![SYS_keyctl, SYS_add_key, SYS_request_key],
        arguments: &[],
    },
    DeniedFamily {
        reason: "programs in the kernel, and counters of the processor",
        answer: Denial::NotPermitted,
        calls: calls![SYS_bpf, SYS_perf_event_open, SYS_lookup_dcookie],
        arguments: &[],
    },
    DeniedFamily {
        reason: "mounts",
        answer: Denial::NotPermitted,
        calls: calls![
            SYS_mount,
            SYS_umount2,
            SYS_pivot_root,
            SYS_move_mount,
            SYS_open_tree,
            SYS_fsopen,
            SYS_fsconfig,
            SYS_fsmount,
            SYS_fspick,
            SYS_mount_setattr
        ],
        arguments: &[],
    },
    DeniedFamily {
        reason: "namespaces of other processes",
        answer: Denial::NotPermitted,
        calls: calls![SYS_setns],
        arguments: &[],
    },
    DeniedFamily {
        reason: "a user namespace of its own",
        answer: Denial::NotPermitted,
        calls: calls![SYS_clone, SYS_unshare],
        arguments: &[&[Argument::Has(0, CLONE_NEWUSER)]],
    },
    DeniedFamily {
        reason: "its flags cannot be seen by a filter; the C library uses clone instead",
        answer: Denial::NotThere,
        calls: calls![SYS_clone3],
        arguments: &[],
    },
    DeniedFamily {
        reason: "memory of other processes; a debugger has ptrace, which reaches the step's own processes only",
        answer: Denial::NotPermitted,
        calls: calls![SYS_process_vm_readv, SYS_process_vm_writev],
        arguments: &[],
    },
    DeniedFamily {
        reason: "page faults that stop the kernel",
        answer: Denial::NotPermitted,
        calls: calls![SYS_userfaultfd],
        arguments: &[],
    },
    DeniedFamily {
        reason: "the kernel itself",
        answer: Denial::NotPermitted,
        calls: calls![
            SYS_kexec_load,
            SYS_kexec_file_load,
            SYS_init_module,
            SYS_finit_module,
            SYS_delete_module,
            SYS_swapon,
            SYS_swapoff,
            SYS_reboot,
            SYS_syslog,
            SYS_acct,
            SYS_quotactl,
            SYS_quotactl_fd,
            SYS_vhangup
        ],
        arguments: &[],
    },
    DeniedFamily {
        reason: "the clock",
        answer: Denial::NotPermitted,
        calls: calls![SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex],
        arguments: &[],
    },
    DeniedFamily {
        reason: "files by their number, and watching a whole disk",
        answer: Denial::NotPermitted,
        calls: calls![SYS_open_by_handle_at, SYS_fanotify_init],
        arguments: &[],
    },
    DeniedFamily {
        reason: "any personality but Linux's own, with or without random addresses",
        answer: Denial::NotPermitted,
        calls: calls![SYS_personality],
        arguments: &[&[
            Argument::IsNot(0, 0),
            Argument::IsNot(0, 0x0004_0000),
            Argument::IsNot(0, 0x0008),
            Argument::IsNot(0, 0x0004_0008),
            Argument::IsNot(0, 0xffff_ffff),
        ]],
    },
    DeniedFamily {
        reason: "typing into a terminal (TIOCSTI, TIOCLINUX)",
        answer: Denial::NotPermitted,
        calls: calls![SYS_ioctl],
        arguments: &[&[Argument::Is(1, TIOCSTI)], &[Argument::Is(1, TIOCLINUX)]],
    },
    DeniedFamily {
        reason: "sockets that no network namespace contains (AF_VSOCK), and the kernel's ciphers (AF_ALG)",
        answer: Denial::NotPermitted,
        calls: calls![SYS_socket],
        arguments: &[&[Argument::Is(0, AF_VSOCK)], &[Argument::Is(0, AF_ALG)]],
    },
];

/// Denied unless the owner allows it.
const IO_URING: DeniedFamily = DeniedFamily {
    reason: "io_uring, unless worker.toml says `io_uring = true`",
    answer: Denial::NotThere,
    calls: calls![SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register],
    arguments: &[],
};

/// Whether steps may use io_uring, as the owner decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoUring {
    Allowed,
    Denied,
}

/// The filter as bubblewrap reads it. Fails on a processor that the filter's library does not know.
pub fn program(io_uring: IoUring) -> Result<Vec<u8>, String> {
    let families = match io_uring {
        IoUring::Allowed => families(&[]),
        IoUring::Denied => families(&[IO_URING]),
    };
    let of = |answer| filter(families.iter().filter(move |family| family.answer == answer), answer);
    let programs = [of(Denial::NotThere)?, of(Denial::NotPermitted)?];
    let instructions = foreign_numbers().into_iter().chain(chain(programs));
    Ok(instructions.flat_map(|instruction| bytes(&instruction)).collect())
}

/// All families, for the filter and for the documentation.
fn families(more: &'static [DeniedFamily]) -> Vec<&'static DeniedFamily> {
    FAMILIES.iter().chain(more).collect()
}

fn filter<'f>(
    families: impl Iterator<Item = &'f &'static DeniedFamily>,
    answer: Denial,
) -> Result<BpfProgram, String> {
    let arch: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| format!("there is no filter of system calls for {}", std::env::consts::ARCH))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for family in families {
        for (_, number) in family.calls {
            let conditions = rules.entry(*number).or_default();
            for arguments in family.arguments {
                let all: Result<Vec<_>, _> = arguments.iter().map(|argument| argument.condition()).collect();
                let rule = all.and_then(SeccompRule::new).map_err(|e| e.to_string())?;
                conditions.push(rule);
            }
        }
    }
    let denied = SeccompAction::Errno(match answer {
        Denial::NotPermitted => libc::EPERM.unsigned_abs(),
        Denial::NotThere => libc::ENOSYS.unsigned_abs(),
    });
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).map_err(|e| e.to_string())?;
    filter.try_into().map_err(|e: seccompiler::BackendError| e.to_string())
}

impl Argument {
    fn condition(self) -> Result<SeccompCondition, seccompiler::BackendError> {
        let (index, operator, value) = match self {
            Argument::Is(index, value) => (index, SeccompCmpOp::Eq, value),
            Argument::IsNot(index, value) => (index, SeccompCmpOp::Ne, value),
            Argument::Has(index, bits) => (index, SeccompCmpOp::MaskedEq(bits), bits),
        };
        // The kernel reads the lower half of all of these.
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
    }
}

const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// One program that allows what both allow: bubblewrap's older versions load only one.
fn chain([mut first, second]: [BpfProgram; 2]) -> BpfProgram {
    let length = first.len();
    for (at, instruction) in first.iter_mut().enumerate() {
        if instruction.code == RETURN && instruction.k == ALLOW {
            // What is left of the first program is jumped over; a program has at most 4096 instructions.
            instruction.code = JUMP;
            instruction.k = u32::try_from(length - at - 1).expect("a program is short");
        }
    }
    first.extend(second);
    first
}

/// On x86_64, the numbers from here on are those of the x32 calls: the same calls by other names.
fn foreign_numbers() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const X32_BIT: u32 = 0x4000_0000;
    if std::env::consts::ARCH != "x86_64" {
        return Vec::new();
    }
    let denied = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        // The number of the call is the first word of what a filter sees.
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: denied },
    ]
}

fn bytes(instruction: &sock_filter) -> [u8; 8] {
    let [code_0, code_1] = instruction.code.to_ne_bytes();
    let [k_0, k_1, k_2, k_3] = instruction.k.to_ne_bytes();
    [code_0, code_1, instruction.jt, instruction.jf, k_0, k_1, k_2, k_3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the documentation.
    fn rows() -> Vec<String> {
        let row = |family: &&DeniedFamily| {
            let names = family.calls.iter().map(|(name, _)| format!("`{}`", name.trim_start_matches("SYS_")));
            let names: Vec<String> = names.collect();
            let answer = match family.answer {
                Denial::NotPermitted => "EPERM",
                Denial::NotThere => "ENOSYS",
            };
            format!("| {} | {} | {answer} |", family.reason, names.join(", "))
        };
        families(&[IO_URING]).iter().map(row).collect()
    }

    #[test]
    fn the_volunteers_page_has_this_table() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/volunteer.md")).unwrap();
        let missing: Vec<String> = rows().into_iter().filter(|row| !page.contains(row.as_str())).collect();
        assert!(missing.is_empty(), "docs/volunteer.md lacks these rows:\n{}", missing.join("\n"));
    }

    /// What a filter answers to a call, as the kernel would run it.
    fn answer(program: &[u8], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(arch.to_ne_bytes());
        data.extend(0u64.to_ne_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let word = |at: u32| u32::from_ne_bytes(data[at as usize..at as usize + 4].try_into().unwrap());
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let raw = &program[at * 8..at * 8 + 8];
            let (code, jt, jf) = (u16::from_ne_bytes([raw[0], raw[1]]), raw[2], raw[3]);
            let k = u32::from_ne_bytes(raw[4..8].try_into().unwrap());
            at += 1;
            let branch = |holds: bool| usize::from(if holds { jt } else { jf });
            match code {
                0x20 => accumulator = word(k),
                0x54 => accumulator &= k,
                0x05 => at += k as usize,
                0x15 => at += branch(accumulator == k),
                0x25 => at += branch(accumulator > k),
                0x35 => at += branch(accumulator >= k),
                0x06 => return k,
                other => panic!("an instruction that this test does not know: {other:#x}"),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_are_answered_as_the_table_says_and_all_others_are_allowed() {
        const NATIVE: u32 = 0xc000_003e;
        const I386: u32 = 0x4000_0003;
        let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
        let denied = program(IoUring::Denied).unwrap();
        let ask = |number: libc::c_long, first: u64, second: u64| {
            answer(&denied, NATIVE, u32::try_from(number).unwrap(), [first, second, 0, 0, 0, 0])
        };
        assert_eq!(ask(libc::SYS_mount, 0, 0), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_keyctl, 1, 0), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_clone3, 0, 0), errno(libc::ENOSYS));
        assert_eq!(ask(libc::SYS_io_uring_setup, 0, 0), errno(libc::ENOSYS));
        assert_eq!(ask(libc::SYS_clone, CLONE_NEWUSER | 17, 0), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_clone, 17, 0), ALLOW);
        assert_eq!(ask(libc::SYS_unshare, CLONE_NEWUSER, 0), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_unshare, 0x400, 0), ALLOW);
        assert_eq!(ask(libc::SYS_ioctl, 0, TIOCSTI), errno(libc::EPERM));
        // The kernel ignores the upper half of the number.
        assert_eq!(ask(libc::SYS_ioctl, 0, 1 << 32 | TIOCSTI), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_ioctl, 0, 0x5401), ALLOW);
        assert_eq!(ask(libc::SYS_socket, AF_VSOCK, 0), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_socket, 2, 0), ALLOW);
        assert_eq!(ask(libc::SYS_personality, 0xffff_ffff, 0), ALLOW);
        assert_eq!(ask(libc::SYS_personality, 0x0040_0000, 0), errno(libc::EPERM));
        assert_eq!(ask(libc::SYS_ptrace, 0, 0), ALLOW);
        assert_eq!(ask(libc::SYS_read, 0, 0), ALLOW);
        assert_eq!(ask(0x4000_0000 | libc::SYS_mount, 0, 0), errno(libc::ENOSYS));
        assert_eq!(answer(&denied, I386, 21, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        let allowed = program(IoUring::Allowed).unwrap();
        let number = u32::try_from(libc::SYS_io_uring_setup).unwrap();
        assert_eq!(answer(&allowed, NATIVE, number, [0; 6]), ALLOW);
    }
}
