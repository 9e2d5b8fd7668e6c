//! What systemd is told, where it started the master; elsewhere nothing happens.

use sd_notify::{NotifyState, notify};

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Followed by `ready`, whether or not the new configuration was good: the farm goes on either way.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "asking for the monotonic clock"),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// For the watchdog: to be called only when it was seen that the master works.
pub fn lives() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState]) {
    // Without a socket to tell it to, nobody asked.
    if let Err(error) = notify(states) {
        tracing::debug!(%error, "telling systemd");
    }
}
