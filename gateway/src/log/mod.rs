//! A line for each request and each WebSocket that has ended.

mod lines;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use http::Version;
use serde::{Deserialize, Serialize};

use self::lines::Lines;
use crate::observe::Ended;

/// Lines that may wait to be written; more are lost, and counted. A disk that stands still stops no request.
const WAITING: usize = 8192;

/// How ended exchanges are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// They are not.
    Off,
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where what has ended is logged: who asked for what, the upstream, how it was answered, octets, time, and how it ended. Queries
/// are left out, as they may hold what is secret; so are all fields.
///
/// A thread of its own does the writing.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Sink>);

#[derive(Clone, Debug)]
struct Sink {
    format: LogFormat,
    waiting: SyncSender<Waiting>,
    lost: Arc<AtomicU64>,
}

/// What waits for the thread that writes.
#[derive(Debug)]
enum Waiting {
    Line(String),
    /// Whoever waits until all before it is written.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Nothing is logged.
    pub fn off() -> Self {
        Self(None)
    }

    /// Logs to wherever.
    ///
    /// # Errors
    ///
    /// There is no thread for it.
    pub fn to(format: LogFormat, writer: impl Write + Send + 'static) -> io::Result<Self> {
        if format == LogFormat::Off {
            return Ok(Self::off());
        }
        let (waiting, received) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let mut lines = Lines::new(writer, lost.clone());
        std::thread::Builder::new().name("access-log".into()).spawn(move || lines.write_all_of(&received))?;
        Ok(Self(Some(Sink { format, waiting, lost })))
    }

    /// Logs to the end of a file, which is made where there is none.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn to_file(format: LogFormat, path: &Path) -> io::Result<Self> {
        Self::to(format, OpenOptions::new().create(true).append(true).open(path)?)
    }

    /// Lines that were lost because writing them took too long, or failed as on a full disk.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |sink| sink.lost.load(Ordering::Relaxed))
    }

    /// Waits until all lines so far are written, for no longer than this, and blocks the thread for so long: for the end of a program.
    pub fn flush(&self, time: Duration) {
        let Some(sink) = &self.0 else { return };
        let (written, wait) = sync_channel(1);
        if sink.waiting.try_send(Waiting::Flush(written)).is_ok() {
            wait.recv_timeout(time).ok();
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn write(&self, ended: &Ended<'_>) {
        let Some(sink) = &self.0 else { return };
        let line = match sink.format {
            LogFormat::Json => json(ended),
            _ => text(ended),
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sink.waiting.try_send(Waiting::Line(line)) {
            sink.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: Option<String>,
    version: &'static str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    websocket: bool,
    upstream: Option<String>,
    status: Option<u16>,
    received: u64,
    sent: u64,
    seconds: f64,
    end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(ended: &Ended<'a>) -> Self {
        let told = ended.told;
        Self {
            time: humantime::format_rfc3339_millis(ended.at).to_string(),
            client: told.client.map(|client| client.to_string()),
            version: version(told.version),
            method: told.method.as_str(),
            host: &told.host,
            path: &told.path,
            websocket: told.websocket,
            upstream: told.upstream.as_ref().map(ToString::to_string),
            status: told.status.map(|status| status.as_u16()),
            received: told.received.get(),
            sent: told.sent.get(),
            // Microseconds are as exact as anybody wants it.
            seconds: (ended.took.as_secs_f64() * 1e6).round() / 1e6,
            end: ended.end.name(),
            reason: ended.end.reason(),
        }
    }
}

pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn json(ended: &Ended<'_>) -> String {
    let line = serde_json::to_string(&Line::of(ended)).unwrap_or_default();
    let mut escaped = String::with_capacity(line.len() + 1);
    for character in line.chars() {
        // RFC 8259 §7 lets all be escaped, by the units of UTF-16; what a terminal obeys is, as in a line for people.
        match !character.is_ascii() && character.escape_debug().len() > 1 {
            true => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(escaped, "\\u{unit:04x}")),
            false => escaped.push(character),
        }
    }
    escaped.push('\n');
    escaped
}

fn text(ended: &Ended<'_>) -> String {
    let line = Line::of(ended);
    let mut text = format!("{} {} ", line.time, line.client.as_deref().unwrap_or("-"));
    let what = if line.websocket { "WebSocket" } else { line.method };
    // Neither can hold a space: they are parts of a URI.
    _ = write!(text, "{what} {}", line.host);
    push_visible(&mut text, line.path);
    _ = write!(text, " {} ", line.version);
    _ = match line.status {
        Some(status) => write!(text, "{status}"),
        None => write!(text, "-"),
    };
    _ = write!(text, " {} ", line.upstream.as_deref().unwrap_or("-"));
    _ = write!(text, "in {} out {} {:.3}s {}", line.received, line.sent, line.seconds, line.end);
    if let Some(reason) = line.reason {
        text.push_str(": ");
        push_visible(&mut text, reason);
    }
    text.push('\n');
    text
}

/// Without what would begin another line, or have a terminal do anything. A path may hold such beyond ASCII.
fn push_visible(text: &mut String, part: &str) {
    part.chars().for_each(|character| match character {
        '"' | '\'' => text.push(character),
        _ => text.extend(character.escape_debug()),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::Receiver;
    use std::time::SystemTime;

    use http::{Method, StatusCode};

    use super::*;
    use crate::observe::{End, Told};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told() -> Told {
        Told {
            begun: std::time::Instant::now(),
            client: Some([192, 0, 2, 7].into()),
            method: Method::CONNECT,
            version: Version::HTTP_2,
            host: "example.com".into(),
            path: "/chat".into(),
            websocket: true,
            upstream: Some(Arc::new("http://localhost:3000".parse().unwrap())),
            route: None,
            status: Some(StatusCode::OK),
            received: 12.into(),
            sent: 34.into(),
        }
    }

    fn end() -> End {
        End::Failed("it \"broke\"\noff".into())
    }

    fn written(format: LogFormat) -> String {
        let shared = Shared::default();
        let log = AccessLog::to(format, shared.clone()).unwrap();
        let (told, at) = (told(), SystemTime::UNIX_EPOCH);
        log.write(&Ended { told: &told, end: &end(), at, took: Duration::from_millis(1500) });
        log.flush(Duration::from_secs(10));
        let octets = shared.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn a_line_for_people() {
        assert_eq!(
            written(LogFormat::Text),
            "1970-01-01T00:00:00.000Z 192.0.2.7 WebSocket example.com/chat HTTP/2 200 http://localhost:3000 in 12 out 34 1.500s \
             failed: it \"broke\"\\noff\n"
        );
    }

    #[test]
    fn a_line_of_json() {
        let line: serde_json::Value = serde_json::from_str(&written(LogFormat::Json)).unwrap();
        assert_eq!(line["version"], "HTTP/2");
        assert_eq!(line["websocket"], true);
        assert_eq!((&line["status"], &line["received"], &line["sent"]), (&200.into(), &12.into(), &34.into()));
        assert_eq!((&line["end"], &line["upstream"]), (&"failed".into(), &"http://localhost:3000".into()));
        assert_eq!((&line["seconds"], &line["time"]), (&1.5.into(), &"1970-01-01T00:00:00.000Z".into()));
    }

    #[test]
    fn a_line_for_people_is_one_line_that_does_nothing_to_a_terminal() {
        let mut told = told();
        told.path = "/\u{9b}31m\u{85}\u{2028}\u{202e}caf\u{e9}\"".into();
        let line = text(&Ended { told: &told, end: &End::Done, at: SystemTime::UNIX_EPOCH, took: Duration::ZERO });
        assert!(line.contains("example.com/\\u{9b}31m\\u{85}\\u{2028}\\u{202e}caf\u{e9}\" HTTP/2"), "{line}");
    }

    #[test]
    fn a_line_of_json_does_nothing_to_a_terminal() {
        let mut told = told();
        told.path = "/\u{9b}31m\u{202e}caf\u{e9}\u{e0001}\"".into();
        let line = json(&Ended { told: &told, end: &End::Done, at: SystemTime::UNIX_EPOCH, took: Duration::ZERO });
        assert!(line.contains(r#""/\u009b31m\u202ecafé\udb40\udc01\"""#), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["path"], *told.path);
    }

    /// Whoever writes may stand still, and nothing else does.
    #[test]
    fn lines_that_cannot_be_written_are_lost_and_counted() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                self.0.recv().ok();
                Ok(octets.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (free, stuck) = sync_channel(0);
        let log = AccessLog::to(LogFormat::Text, Stuck(stuck)).unwrap();
        let told = told();
        for _ in 0..3 * WAITING {
            log.write(&Ended { told: &told, end: &end(), at: SystemTime::UNIX_EPOCH, took: Duration::ZERO });
        }
        assert!(log.lost() > 0);
        drop(free);
    }
}
