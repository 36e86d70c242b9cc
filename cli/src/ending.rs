//! How a program that serves ends.

use std::future::pending;
use std::time::Duration;

use anyhow::Result;
use sockeye::Handle;

use crate::listeners::{self, SharedPort};
use crate::signals::{Signal, Signals};
use crate::systemd;

/// From now on the first signal asks for a graceful end, and a second one does not wait for it.
pub(crate) fn on_signal(handle: Handle, drain: Duration, shared_ports: Vec<SharedPort>) -> Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        let first = signals.next().await;
        systemd::stopping();
        let end = async {
            match first {
                Signal::Interrupt => handle.shutdown(),
                Signal::Terminate => {
                    listeners::leave(shared_ports).await;
                    handle.drain(drain);
                }
            }
            pending::<Signal>().await
        };
        let second = tokio::select! {
            second = signals.next() => second,
            never = end => never,
        };
        std::process::exit(second.exit_status());
    });
    Ok(())
}
