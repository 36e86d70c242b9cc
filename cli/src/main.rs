//! The program `sockeye`: WebSockets over HTTP/2 (RFC 8441) from a command line.

mod admission;
mod beginning;
mod bench;
mod certificate;
mod connect;
mod dial;
mod ending;
mod escape;
mod file;
mod files;
mod gateway;
mod handshake;
mod hide;
mod listeners;
mod manual;
mod metrics;
mod notes;
mod out;
mod probe;
mod reach;
mod serve;
mod served;
mod signals;
mod site;
mod stats;
mod style;
mod systemd;
mod tls;
mod topics;
mod usage;
mod words;

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::usage::{Usage, WRONG_ARGUMENTS};

/// Gives memory back once the load is gone, by a thread of its own; the C library's would keep most of it: the book's page about
/// memory (docs/src/topics/memory.md) shows these lines.
#[cfg(all(unix, target_pointer_width = "64"))]
// ANCHOR: allocator
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
// ANCHOR_END: allocator

/// WebSockets over HTTP/2 (RFC 8441), and over HTTP/1.1 where they must be.
#[derive(Parser)]
#[command(name = "sockeye", version, max_term_width = 100, args_override_self = true)]
struct Arguments {
    /// How logs, warnings and errors are written to stderr; RUST_LOG says which logs, such as sockeye=debug.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    log_format: notes::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve an echoing WebSocket at /echo, topics, and a page at / that opens many sockets and shows them live.
    Serve(Box<serve::Arguments>),
    /// Stand before a server of HTTP/1.1 or HTTP/2, and give its clients WebSockets over HTTP/2.
    Gateway(Box<gateway::Arguments>),
    /// Talk over a WebSocket, in a terminal or between pipes.
    Connect(Box<connect::Arguments>),
    /// Put a server under load, and check what it sends back.
    Bench(Box<bench::Arguments>),
    /// Tell what a server does with WebSockets, over HTTP/2 and over HTTP/1.1.
    Probe(Box<probe::Arguments>),
    /// Print a script that completes the program's arguments in a shell.
    Completions(manual::Completions),
    /// Write manual pages.
    Man(manual::Man),
}

/// Of how many turns of a worker one goes to the queue that all workers share. A worker's own queue holds 256 tasks, and those
/// that find no room there go to the shared one. By default (up to 61, or more) a thousand busy connections of HTTP/1.1 would
/// make some of them wait a hundred times as long as the others; so all wait about alike. At 2 they would take turns so evenly
/// that each is out of the cache when its turn comes, which costs a fifth more.
const SHARED_QUEUE_INTERVAL: u32 = 4;
/// Of how many turns of a worker one is a look at the network. By default (61) what a peer sent waits for sixty others' turns
/// before anybody knows of it, which is milliseconds beside thousands of connections that have just come. A look costs a microsecond.
const NETWORK_INTERVAL: u32 = 13;
/// Threads for what blocks: reading files, and looking names up. As many as a peer can have at work by asking for files keep some
/// memory each, and hold it for some time; tokio would have 512.
const BLOCKING_THREADS: usize = 32;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return say(&error),
    };
    notes::start(arguments.log_format);
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .global_queue_interval(SHARED_QUEUE_INTERVAL)
        .event_interval(NETWORK_INTERVAL)
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            notes::error(&format!("no threads: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Help and the version on stdout, which may be full; what is wrong with the arguments on stderr.
fn say(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| stdout().flush());
    match out::unless_closed(printed) {
        // Where stderr takes nothing, the status is all that can tell.
        Err(_) if error.use_stderr() => ExitCode::from(WRONG_ARGUMENTS),
        Err(error) => {
            notes::error(&format!("cannot write: {error}"));
            ExitCode::FAILURE
        }
        Ok(()) => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

async fn run(Arguments { command, .. }: Arguments) -> ExitCode {
    let result = match command {
        Command::Serve(arguments) => serve::run(*arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Gateway(arguments) => gateway::run(*arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Connect(arguments) => connect::run(*arguments).await,
        Command::Bench(arguments) => bench::run(*arguments).await,
        Command::Probe(arguments) => probe::run(*arguments).await,
        Command::Completions(arguments) => arguments.run(Arguments::command()).map(|()| ExitCode::SUCCESS),
        Command::Man(arguments) => arguments.run(Arguments::command()).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        notes::error(&format!("{error:#}"));
        let is_usage = error.chain().any(|cause| cause.is::<Usage>());
        if is_usage { ExitCode::from(WRONG_ARGUMENTS) } else { ExitCode::FAILURE }
    })
}
