//! Our state, told to the service manager (systemd's `sd_notify`). Without one all of this does nothing.

use std::io;

use sd_notify::NotifyState;

use crate::event::Duration;

/// Tells that start-up is over: broker and store are connected, rules are in force.
pub fn tell_ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])
}

/// Tells what the daemon is doing, in one line for people.
pub fn tell_status(status: &str) -> io::Result<()> {
    // A line break would begin another assignment of the protocol.
    sd_notify::notify(&[NotifyState::Status(&status.replace(['\n', '\r'], " "))])
}

/// Tells that the daemon is on its way down.
pub fn tell_stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// Tells that the daemon is alive: within each [`watchdog_interval`], or it is killed and started again.
pub fn tell_alive() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// How often [`tell_alive`] should be called: half of what the service manager waits; `None` if it does not watch.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
