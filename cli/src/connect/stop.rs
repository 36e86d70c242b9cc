//! What ends a conversation from outside: keys, signals, a stdout that nobody reads.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sockeye::CloseCode;
use tokio::sync::watch;

use crate::signals::Signals;

/// The exit status of who does not wait.
pub(super) const INTERRUPTED: u8 = 130;

/// Asks for the end of it all, with a code for the Close.
#[derive(Clone)]
pub(super) struct Stop {
    code: Arc<watch::Sender<Option<CloseCode>>>,
    is_over: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self { code: Arc::new(watch::Sender::new(None)), is_over: Arc::default() }
    }

    /// Whether this was the first one to ask; the others change nothing.
    pub(super) fn stop(&self, code: CloseCode) -> bool {
        self.code.send_if_modified(|stop| {
            let is_first = stop.is_none();
            stop.get_or_insert(code);
            is_first
        })
    }

    pub(super) fn stopped(&self) -> Stopped {
        Stopped(self.code.subscribe())
    }

    /// All sockets have ended: there is nothing left to stop.
    pub(super) fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Hears of it.
#[derive(Clone)]
pub(super) struct Stopped(watch::Receiver<Option<CloseCode>>);

impl Stopped {
    pub(super) async fn stopped(&mut self) -> CloseCode {
        let code = self.0.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        match code {
            Some(code) => code,
            // Nobody is left to ask for it.
            None => pending().await,
        }
    }
}

/// From now on the first signal asks for a clean end, and the second one does not wait for it.
pub(super) fn stop_on_signals(stop: Stop) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        loop {
            signals.next().await;
            if !stop.stop(CloseCode::GOING_AWAY) && !stop.is_over() {
                // The terminal is to be left as it was.
                interrupt_editor();
                tokio::time::sleep(Duration::from_millis(20)).await;
                std::process::exit(INTERRUPTED.into());
            }
        }
    });
    Ok(())
}

/// Has a line editor that is at work read Ctrl-C.
#[cfg(unix)]
pub(super) fn interrupt_editor() {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).ok();
}

/// Elsewhere nothing can, and the shell puts the terminal back.
#[cfg(not(unix))]
pub(super) fn interrupt_editor() {}
