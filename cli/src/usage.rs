//! Arguments that are wrong in a way that only shows once they are looked at.

use std::fmt;

/// The exit status for arguments that are wrong, as clap has it.
pub(crate) const WRONG_ARGUMENTS: u8 = 2;

/// What is wrong with them.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// What another found wrong.
    pub(crate) fn of(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
