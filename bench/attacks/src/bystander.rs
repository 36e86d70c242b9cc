//! Bystanders: WebSockets on connections of their own, each of which sends a message and waits for its echo, at a steady pace.
//! What a late answer delays counts as late too. Each keeps to its own pace: one that waits delays no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::target::Target;
use crate::wire::frames::{DATA, INITIAL_WINDOW_SIZE, MAX_WINDOW, data};
use crate::wire::{Connection, websocket};

const CONNECTIONS: u32 = 4;
/// Between one message and the next of each. It is longer than an answer may take by the rules: with less, an answer that is late
/// by a little delays all that follow, and what is measured is how long the measurement lasts.
const PACE: Duration = Duration::from_millis(8);
/// An echo that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Bystanders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    latencies: Mutex<Vec<Duration>>,
    stop: AtomicBool,
    lost: AtomicBool,
}

impl Bystanders {
    pub fn start(target: &Target) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
            connection.open(1, &[])?;
            connections.push(connection);
        }
        let shared = Arc::new(Shared::default());
        let threads = (0..).zip(connections).map(|(number, mut connection)| {
            let shared = shared.clone();
            let beginning = Instant::now() + PACE * number / CONNECTIONS;
            thread::spawn(move || {
                if run(&mut connection, beginning, &shared).is_err() {
                    shared.lost.store(true, Ordering::Relaxed);
                }
            })
        });
        Ok(Self { threads: threads.collect(), shared })
    }

    /// The 99th percentile since this was last asked.
    pub fn p99(&self) -> Option<Duration> {
        let mut latencies = std::mem::take(&mut *self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_unstable();
        latencies.get(latencies.len() * 99 / 100).copied()
    }

    /// Whether one of them was cut off, or has waited for too long.
    pub fn are_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(connection: &mut Connection, beginning: Instant, shared: &Shared) -> Result<()> {
    let ask = data(1, &websocket::message(websocket::BINARY, &[7; 32]));
    let mut due = beginning;
    while !shared.stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        // One that could not be asked in time, as the one before it waited, waits since then.
        let asked = if now < due {
            thread::sleep(due - now);
            Instant::now()
        } else {
            due
        };
        echo(connection, &ask)?;
        shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(asked.elapsed());
        due += PACE;
        // After a stall the pace starts anew, once what it delayed is counted.
        if due.elapsed() > Duration::from_secs(2) {
            due = Instant::now();
        }
    }
    Ok(())
}

fn echo(connection: &mut Connection, ask: &[u8]) -> Result<()> {
    connection.send(ask);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.poll_until(deadline)? {
            Some(received) if received.kind == DATA => return Ok(()),
            Some(_) => {}
            None => bail!("no echo"),
        }
    }
}
