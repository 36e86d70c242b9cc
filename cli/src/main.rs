//! The program `sockeye`: WebSockets over HTTP/2 (RFC 8441) from a command line.

mod bench;
mod certificate;
mod connect;
mod dial;
mod escape;
mod handshake;
mod probe;
mod serve;
mod signals;
mod site;
mod style;
mod tls;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
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
