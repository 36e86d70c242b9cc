//! Hostile servers, and what our client makes of them.

mod http1;
mod http2;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;
/// What a client may grow by: a connection's budget, and the library's own pages.
const GROWTH: u64 = 16;

/// A server, and what is expected of the client.
pub struct Hostile {
    pub name: &'static str,
    pub why: &'static str,
    /// What the client does: see the victim's program.
    pub scenario: &'static str,
    /// Seconds within which it must be over.
    pub within: f64,
    pub expected: Outcome,
    /// Serves one connection, until the client has gone or the time is over.
    pub serve: fn(TcpStream) -> Result<()>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The client names an error.
    Error,
    /// The client gets what it asked for.
    Works,
    /// Either.
    Either,
}

pub fn rows() -> impl Iterator<Item = &'static Hostile> {
    http2::ROWS.iter().chain(http1::ROWS)
}

/// What came of a row.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub outcome: String,
    pub seconds: f64,
    pub growth: u64,
    pub cpu: f64,
    pub failures: Vec<String>,
}

/// What the victim prints.
#[derive(Deserialize)]
struct Printed {
    outcome: String,
    seconds: f64,
    growth: u64,
    cpu: f64,
}

pub fn measure(row: &Hostile, victim: &Path) -> Report {
    match try_to_measure(row, victim) {
        Ok(report) => report,
        Err(error) => Report { failures: vec![format!("not measured: {error:#}")], ..Report::default() },
    }
}

fn try_to_measure(row: &Hostile, victim: &Path) -> Result<Report> {
    let server = Server::start(row.serve)?;
    let scheme = if row.scenario.starts_with("tls") { "https" } else { "http" };
    let output = Command::new("taskset")
        .args(["-c", "0"])
        .arg(victim)
        .args([format!("{scheme}://{}", server.address), row.scenario.to_owned()])
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .output()?;
    let printed: Printed = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the client printed {:?}", String::from_utf8_lossy(&output.stderr)))?;
    let mut failures = Vec::new();
    if printed.seconds > row.within {
        failures.push(format!("took {:.1} s of {}", printed.seconds, row.within));
    }
    if printed.growth > GROWTH * MIB {
        failures.push(format!("grew by {} MiB of {GROWTH}", printed.growth / MIB));
    }
    let worked = printed.outcome.starts_with("ok");
    if worked && row.expected == Outcome::Error || !worked && row.expected == Outcome::Works {
        failures.push(format!("wanted {:?}", row.expected));
    }
    if String::from_utf8_lossy(&output.stderr).contains("panicked") {
        failures.push("a panic".to_owned());
    }
    Ok(Report {
        outcome: printed.outcome,
        seconds: printed.seconds,
        growth: printed.growth,
        cpu: printed.cpu,
        failures,
    })
}

struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn start(serve: fn(TcpStream) -> Result<()>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let _ = stream.set_nonblocking(false);
                            thread::spawn(move || serve(stream));
                        }
                        Err(_) => thread::sleep(Duration::from_millis(2)),
                    }
                }
            }
        });
        Ok(Self { address, stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
