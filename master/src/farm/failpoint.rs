//! Places at which a test may kill this program, to see that nothing is lost there. They do nothing by themselves.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// `FARM_FAILPOINT=NAME` ends the process where it comes past that place, `NAME:3` when it does so the third time.
struct Wanted {
    place: String,
    left: AtomicU32,
}

/// Ends the process here, as SIGKILL would, if that was asked for.
pub fn failpoint(place: &str) {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();

    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("FARM_FAILPOINT").ok()?;
        let (place, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Wanted { place: place.to_string(), left: AtomicU32::new(times.parse().ok()?) })
    });
    if let Some(wanted) = wanted
        && wanted.place == place
        && wanted.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
