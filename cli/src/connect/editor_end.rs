//! The end of a line editor.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::stop::{Stop, interrupt_editor};

/// Ends a line editor, which else waits for a key and keeps the terminal as it needs it.
pub(super) struct EditorEnd {
    ended: Receiver<Infallible>,
    stop: Stop,
}

impl EditorEnd {
    /// `ended` is cut off when the editor has ended.
    pub(super) fn new(ended: Receiver<Infallible>, stop: Stop) -> Self {
        Self { ended, stop }
    }

    /// Whether it had not ended by itself.
    pub(super) fn end(&self) -> bool {
        self.stop.over();
        if self.ended.try_recv() == Err(TryRecvError::Disconnected) {
            return false;
        }
        for _ in 0..50 {
            interrupt_editor();
            if self.ended.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        true
    }
}
