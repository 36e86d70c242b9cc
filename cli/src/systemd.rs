//! What systemd wants to know of a service (`Type=notify`); nobody else is told anything.

/// Connections are accepted from now on.
pub(crate) fn ready() {
    tell(State::Ready);
}

/// Settings are read again (`Type=notify-reload`); [`ready`] says that it is done.
pub(crate) fn reloading() {
    tell(State::Reloading);
}

/// The end has begun.
pub(crate) fn stopping() {
    tell(State::Stopping);
}

enum State {
    Ready,
    Reloading,
    Stopping,
}

#[cfg(target_os = "linux")]
fn tell(state: State) {
    use sd_notify::{NotifyState, notify};
    let told = match state {
        State::Ready => notify(&[NotifyState::Ready]),
        // systemd wants to know when it began.
        State::Reloading => NotifyState::monotonic_usec_now().and_then(|now| notify(&[NotifyState::Reloading, now])),
        State::Stopping => notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_: State) {}
