//! How a terminal was before its line editor changed it: that may be at work when the conversation ends.

/// The mode of the terminal at stdin, if that is one.
#[derive(Clone)]
pub(super) struct TerminalMode {
    #[cfg(unix)]
    mode: Option<nix::sys::termios::Termios>,
}

impl TerminalMode {
    /// As it is now.
    #[cfg(unix)]
    pub(super) fn save() -> Self {
        Self { mode: nix::sys::termios::tcgetattr(std::io::stdin()).ok() }
    }

    /// Puts it back.
    #[cfg(unix)]
    pub(super) fn restore(&self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(mode) = &self.mode {
            tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, mode).ok();
        }
    }

    /// Elsewhere the shell puts it back.
    #[cfg(not(unix))]
    pub(super) fn save() -> Self {
        Self {}
    }

    /// Elsewhere the shell puts it back.
    #[cfg(not(unix))]
    pub(super) fn restore(&self) {}
}
