//! Named points at which a test ends this program, to verify that nothing is lost there.
//!
//! They exist only with the cargo feature `failpoints`, which is off by default. `cargo build -p trunkfarm-master` builds a
//! master without them; `cargo build -p trunkfarm-master --features failpoints` builds one with them. The package
//! `trunkfarm-tests` enables the feature, and cargo unifies the features of all packages that one command builds: so a
//! master that is to be installed is built by its package's name, and not with `--workspace`.

/// Ends the process at this point, as SIGKILL would, if `FARM_FAILPOINT` names it: `NAME` for the first time that the
/// process reaches it, `NAME:3` for the third.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Armed {
        name: String,
        remaining: AtomicU32,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("FARM_FAILPOINT").ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Armed { name: name.to_string(), remaining: AtomicU32::new(times.parse().ok()?) })
    });
    if let Some(armed) = armed
        && armed.name == name
        && armed.remaining.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// Does nothing: this program was built without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
pub const fn failpoint(_name: &str) {}
