//! What the program says on stderr beside its logs, in the same format.

use std::env;
use std::io::{self, IsTerminal as _, Write, stderr};
use std::sync::OnceLock;

use serde_json::json;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::escape;
use crate::style;

/// How logs, warnings and errors are written to stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

static FORMAT: OnceLock<Format> = OnceLock::new();

/// From now on logs are written, as RUST_LOG asks for them (from warnings on, if it says nothing).
pub(crate) fn start(format: Format) {
    FORMAT.get_or_init(|| format);
    let default = || Targets::new().with_default(LevelFilter::WARN);
    // Targets and levels, without regular expressions over the fields of spans: those were a thirtieth of the program.
    let wanted = match env::var("RUST_LOG").as_deref() {
        Ok("") | Err(_) => Ok(default()),
        Ok(text) => text.parse::<Targets>(),
    };
    let filter = wanted.as_ref().map_or_else(|_| default(), Targets::clone);
    let logs = tracing_subscriber::fmt::layer().log_internal_errors(false);
    match format {
        Format::Text => {
            let logs = logs.with_writer(stderr).with_ansi(style::colors(stderr().is_terminal()));
            tracing_subscriber::registry().with(filter).with(logs).init();
        }
        Format::Json => {
            let logs = logs.with_writer(|| Escaping).json().with_ansi(false);
            tracing_subscriber::registry().with(filter).with(logs).init();
        }
    }
    if let Err(error) = wanted {
        warning(&format!(
            "RUST_LOG: {error}; logs are written from warnings on. It takes targets and levels: sockeye=debug,warn"
        ));
    }
}

/// Why the program ends.
pub(crate) fn error(text: &str) {
    say("ERROR", "error: ", text);
}

/// What a person had better know.
pub(crate) fn warning(text: &str) {
    say("WARN", "warning: ", text);
}

/// What is of use to know.
pub(crate) fn note(text: &str) {
    say("INFO", "", text);
}

/// A stderr that takes nothing leaves nowhere to say so.
fn say(level: &str, before: &str, text: &str) {
    let line = in_json(level, text).unwrap_or_else(|| format!("{before}{text}"));
    writeln!(stderr(), "{line}").ok();
}

/// What is said as an object in a line, where that is how it is to be written.
pub(crate) fn in_json(level: &str, text: &str) -> Option<String> {
    match FORMAT.get().copied().unwrap_or_default() {
        Format::Text => None,
        Format::Json => {
            let line = json!({ "level": level, "fields": { "message": text }, "target": "sockeye" }).to_string();
            Some(escape::json(&line).into_owned())
        }
    }
}

/// A stderr for lines of JSON, each of which comes whole.
struct Escaping;

impl Write for Escaping {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        stderr().write_all(escape::json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}
