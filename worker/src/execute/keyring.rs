//! A step gets a keyring of its own: otherwise it would possess the session keyring of whoever started the worker, with the
//! keys that are in it, such as those of an encrypted home.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `KEYCTL_JOIN_SESSION_KEYRING`; without a name it makes a new, empty one.
const JOIN_SESSION_KEYRING: libc::c_long = 1;

/// Lets the command have a new, empty session keyring.
pub fn join_new(command: &mut Command) {
    let join = || -> io::Result<()> {
        // SAFETY: the call takes two numbers, and a null pointer where no name is wanted.
        #[expect(unsafe_code, reason = "neither std nor nix has this call")]
        let joined = unsafe {
            libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
        };
        if joined >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // This kernel has no keyrings, or the machine's own filter denies them: then there is nothing to possess.
            Some(libc::ENOSYS | libc::EPERM) => Ok(()),
            _ => Err(error),
        }
    };
    #[expect(unsafe_code, reason = "a keyring can only be joined by the process itself")]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. This is one plain system call, and the closure
    // allocates nothing.
    unsafe {
        command.pre_exec(join);
    }
}
