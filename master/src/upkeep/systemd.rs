//! Notifies systemd, if it started the master; otherwise nothing happens.

use sd_notify::{NotifyState, notify};

pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// To be followed by `ready`, whether or not the new configuration is valid: the farm runs on either way.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot read the monotonic clock"),
    }
}

pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Call this only after verifying that the master works.
pub fn ping_watchdog() {
    send(&[NotifyState::Watchdog]);
}

fn send(states: &[NotifyState]) {
    // Without a socket, systemd did not start the master, and this does nothing.
    if let Err(error) = notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
