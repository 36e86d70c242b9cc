//! The program `sockeye`: WebSockets over HTTP/2 (RFC 8441) from a command line.

mod admission;
mod beginning;
mod bench;
mod certificate;
mod connect;
mod dial;
mod escape;
mod handshake;
mod hide;
mod listeners;
mod metrics;
mod probe;
mod serve;
mod signals;
mod site;
mod stats;
mod style;
mod systemd;
mod tls;
mod words;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

/// Gives memory back once the load is gone, by a thread of its own; the C library's would keep most of it: see docs/memory.md.
#[cfg(all(unix, target_pointer_width = "64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// WebSockets over HTTP/2 (RFC 8441), and over HTTP/1.1 where they must be.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve an echoing WebSocket at /echo, and a page at / that opens many and shows them live.
    Serve(serve::Arguments),
    /// Talk over a WebSocket, in a terminal or between pipes.
    Connect(connect::Arguments),
    /// Put a server under load, and check what it sends back.
    Bench(bench::Arguments),
    /// Tell what a server does with WebSockets, over HTTP/2 and over HTTP/1.1.
    Probe(probe::Arguments),
}

/// Of how many turns of a worker one goes to the queue that all workers share. A worker's own queue holds 256 tasks, and those
/// that find no room there go to the shared one. By default (up to 61, or more) a thousand busy connections of HTTP/1.1 would
/// make some of them wait a hundred times as long as the others; so all wait about alike. At 2 they would take turns so evenly
/// that each is out of the cache when its turn comes, which costs a fifth more.
const SHARED_QUEUE_INTERVAL: u32 = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = Builder::new_multi_thread().enable_all().global_queue_interval(SHARED_QUEUE_INTERVAL).build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            eprintln!("error: no threads: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { command }: Arguments) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal()).init();
    let result = match command {
        Command::Serve(arguments) => serve::run(arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Connect(arguments) => connect::run(arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Probe(arguments) => probe::run(arguments).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
