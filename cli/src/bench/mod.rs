//! `sockeye bench`: a load of WebSockets, over HTTP/2 (RFC 8441) or HTTP/1.1, that checks what comes back.

mod alarm;
mod broadcast;
mod buffers;
mod dial;
mod due;
mod exchange;
mod failure;
mod http1;
mod http2;
mod ledger;
mod limits;
mod load;
mod measured;
mod messages;
mod pace;
mod pipe;
mod plan;
mod process;
mod progress;
mod report;
mod run;
mod sizes;
mod socket;
mod units;
mod wire;
mod worker;

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use self::pace::Rate;
use self::plan::Plan;
use self::process::Process;
use self::run::Run;
use self::sizes::Sizes;
use crate::handshake::HandshakeOptions;
use crate::reach::ReachOptions;
use crate::{out, style};
use sockeye_proto::uri::Target;

const AFTER_HELP: &str = "\
The server is to send every message back as it is; `sockeye serve` does
so at /echo. All sockets are opened first. Then each sends a message, and
the next one as soon as that has come back (--depth of them at a time): a
closed loop, whose latencies are those of a server under as much load as
it takes. With --rate messages are due at even times whether or not the
server keeps up, and latency counts from when a message was due, so that
a server that stalls cannot hide it: an open loop, with no bound on what
is in flight unless --depth sets one.

With --broadcast the server is to send what comes on one socket to all
sockets that are open on the path, the sender's own included. Only the
first socket sends; in a closed loop a message follows when the one
before has arrived everywhere. Messages, latencies and processor time are
counted for each arrival. With --beside, --silent or --stall each
connection has more sockets, which are there to be in the way: they are
opened and closed with the others, and fail like them, but are in none of
the figures. What goes on beside sends a DATA frame, and the next one
when the server has answered a PING behind it: so nobody waits in our own
queue. A socket that stalls reads nothing: after the first 65,535 octets
the server has no window for it.

A message is a piece of a random pattern, another one for each socket and
each turn. What is merged, split, lost, repeated, changed or out of order
ends its socket and is reported with the first difference.

Exit status:
  0    every message came back as it was sent
  1    no socket could be opened, this machine cannot do what was asked,
       or stdout takes no more
  2    the arguments are wrong
  3    sockets were refused, broke off, or had to wait longer than
       --timeout; or no message came back while it was measured
  4    what came back is not what was sent
  130  a second Ctrl-C; the first one ends the measurement early, and
       reports what was measured

With --json the report is one object; what does not apply is null, and
fields are only ever added:
  url, http, connections, sockets (in all), size, binary, threads,
  interrupted, broadcast, silent, stall
  depth     null: no bound
  rate      null: a closed loop
  verdict   ok, failures, wrong, nothing_opened, nothing_came
  answered  messages that came back at any time, measured or not
  opening   connections, sockets (those of --beside and --stall too),
            seconds, sockets_per_second, server_us_per_socket and
            own_us_per_socket (of processor time)
  load      seconds, messages, messages_per_second, octets_per_second (of
            payload, one way), latency_us and, in an open loop,
            lateness_us, of sending, which is a part of it (each mean,
            p50, p90, p99, p99_9, max), histogram (a list of up_to_us,
            messages)
  beside    size, messages, octets_per_second (of payload, one way)
  idle      seconds, exchange_seconds, answered and answered_after
            (sockets, before and after)
  cpu       server_us_per_message, server_cores, own_us_per_message,
            own_cores
  memory    before, after (octets of the server's), per_socket
  failures  a list, the most frequent first, of kind (connect, tls,
            not_offered, refused, broken, closed, violation, timeout,
            mismatch, or interrupted, which is none), what, sockets, first
            (the first one's details)";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The WebSocket: wss:// or https://; ws:// or http:// for cleartext, where HTTP/2 is spoken by prior knowledge.
    url: Target,
    /// Connections.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    connections: usize,
    /// Sockets on each connection (over HTTP/1.1, where each takes one: times the connections).
    #[arg(short = 'm', long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    sockets: usize,
    /// Octets of a message: 32, 16k (16,000), 16Ki (16,384), any of 16..1k, or by weight 32:90,1k..4k:9,1M:1.
    #[arg(long, value_name = "SIZE", default_value = "32")]
    size: Sizes,
    /// Messages of a socket that are on their way at a time [default: 1, with --rate no bound]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    depth: Option<u64>,
    /// Messages per second of all sockets together, such as 500, 20k or 1M: an open loop.
    #[arg(long, value_name = "N", conflicts_with = "idle")]
    rate: Option<Rate>,
    /// How long to measure, such as 10s, 500ms or 2m; with --idle, how long to hold.
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    duration: Duration,
    /// How long to send messages before.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_time)]
    warm_up: Duration,
    /// Send text messages; else binary ones.
    #[arg(long)]
    text: bool,
    /// One message to all: only the first socket sends, and each message is to arrive at every socket of the path.
    #[arg(long, conflicts_with_all = ["idle", "threads"])]
    broadcast: bool,
    /// On each connection one more socket that echoes messages of this size all the while, outside all figures.
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["idle", "broadcast", "http1"])]
    beside: Option<Sizes>,
    /// On each connection so many more sockets that say nothing.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["idle", "broadcast", "http1"])]
    silent: usize,
    /// On each connection so many more sockets that send what the server takes and are never read.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["idle", "broadcast", "http1"])]
    stall: usize,
    /// Open all sockets, exchange a message on each, hold them in silence, exchange another.
    #[arg(long)]
    idle: bool,
    /// The server's process on this machine, to measure its processor time and memory (Linux).
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// HTTP/1.1: every socket is a connection.
    #[arg(long = "http1.1", conflicts_with = "http2")]
    http1: bool,
    /// HTTP/2: sockets share connections. This is the default.
    #[arg(long)]
    http2: bool,
    /// The longest that each step to an open socket, and each answer, may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    /// Threads that make the load.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    threads: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    handshake: HandshakeOptions,
    #[command(flatten)]
    reach: ReachOptions,
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=u32::MAX as usize).contains(count));
    count.ok_or_else(|| "a whole number above 0".to_owned())
}

/// A time with a unit, or in seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().ok().and_then(|number| Duration::try_from_secs_f64(number * unit).ok());
    // A year is for ever, and still within every clock's reach.
    let time = seconds.filter(|time| *time < Duration::from_secs(365 * 24 * 3600));
    time.ok_or_else(|| "a time is such as 10s, 500ms or 2m".to_owned())
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_time(text)
        .and_then(|time| if time < Duration::from_millis(1) { Err("at least 1ms".to_owned()) } else { Ok(time) })
}

/// What becomes the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Right = 0,
    NothingOpened = 1,
    WrongArguments = 2,
    Failures = 3,
    Wrong = 4,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let server = arguments.pid.map(Process::new).transpose()?;
    // What cannot be sent says nothing about the server.
    if let Err(error) = Plan::handshake(&arguments) {
        crate::notes::error(&error.to_string());
        return Ok(ExitCode::from(Status::WrongArguments as u8));
    }
    let plan = Arc::new(Plan::new(&arguments).await?);
    limits::make_room(plan.connections)?;
    let outcome = Run::start(plan.clone(), server)?.finish(&arguments).await?;
    let report = report::Report::new(&arguments, &plan, outcome);
    if arguments.json {
        out::print_json(&report)?;
    } else {
        out::print(&report.render(style::colors(stdout().is_terminal())))?;
    }
    Ok(ExitCode::from(report.status() as u8))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{parse_time, parse_timeout};

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        bench: super::Arguments,
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        let times = ["10s", "500ms", "2m", "1h", "1.5", "0"].map(|text| parse_time(text).unwrap());
        assert_eq!(times.map(|time| time.as_millis()), [10_000, 500, 120_000, 3_600_000, 1500, 0]);
        for text in ["", "s", "-1s", "10x", "nan", "inf", "1 s", "9999999h"] {
            assert!(parse_time(text).is_err(), "{text:?}");
        }
        assert!(parse_timeout("0").is_err());
        assert_eq!(parse_timeout("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let parse =
            |words: &str| Program::try_parse_from(["bench", "ws://localhost/"].into_iter().chain(words.split(' ')));
        assert_eq!(parse("-c 2 -m 100 --size 16..1k --depth 4").ok().unwrap().bench.sockets, 100);
        let wrong = ["--http1.1 --http2", "--rate 5 --idle", "-c 0", "-m x", "--depth 0", "--threads 0", "--size big"];
        let new = [
            "--broadcast --threads 2",
            "--broadcast --idle",
            "--beside 1k --http1.1",
            "--stall 5 --broadcast",
            "--silent 1 --idle",
        ];
        for words in wrong.into_iter().chain(new) {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
