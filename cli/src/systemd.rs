//! What systemd wants to know of a service (`Type=notify`); nobody else is told anything.

/// Connections are accepted from now on.
pub(crate) fn ready() {
    tell(State::Ready);
}

/// The end has begun.
pub(crate) fn stopping() {
    tell(State::Stopping);
}

enum State {
    Ready,
    Stopping,
}

#[cfg(target_os = "linux")]
fn tell(state: State) {
    use sd_notify::{NotifyState, notify};
    let state = match state {
        State::Ready => NotifyState::Ready,
        State::Stopping => NotifyState::Stopping,
    };
    if let Err(error) = notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_: State) {}
