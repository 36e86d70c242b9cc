//! Where the gateway logs what has ended.

use std::io::stdout;

use anyhow::{Context as _, Result};
use sockeye_gateway::AccessLog;

use super::arguments::Settings;

/// # Errors
///
/// The file cannot be opened.
pub(super) fn open(settings: &Settings) -> Result<AccessLog> {
    let format = settings.access_log;
    match &settings.access_log_file {
        Some(path) => {
            AccessLog::to_file(format, path).with_context(|| format!("cannot write the access log {}", path.display()))
        }
        None => AccessLog::to(format, stdout()).context("cannot write the access log"),
    }
}
