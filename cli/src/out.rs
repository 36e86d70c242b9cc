//! What the program writes to stdout.

use std::io::{self, Write as _, stdout};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::escape;

/// Prints a text, with a newline at its end.
///
/// # Errors
///
/// It could not be written, as to a disk that is full. A reader that has gone away has read enough, and is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut output = stdout().lock();
    let written = writeln!(output, "{}", text.trim_end()).and_then(|()| output.flush());
    unless_closed(written).context("cannot write to stdout")
}

/// Prints a value as JSON, for programs and for people.
///
/// # Errors
///
/// As [`print()`].
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&escape::json(&serde_json::to_string_pretty(value).context("cannot print JSON")?))
}

/// What became of some output, where a pipe that nobody reads any more is no error.
pub(crate) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
