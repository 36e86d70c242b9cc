//! `sockeye probe`: what a server does with WebSockets, over HTTP/2 and over HTTP/1.1.

mod advice;
mod attempt;
mod conversation;
mod dialer;
mod http1;
mod http2;
mod link;
mod outcome;
mod page;
mod report;
mod table;
mod tunnel;
mod verdict;

use std::future::Future;
use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, Response};
use sockeye_proto::ws::handshake::{Accepted, Carrier, ClientHandshake, ResponseError};
use sockeye_proto::ws::{Deflate, DeflateContext, Extensions};

use self::attempt::{Attempt, Handshake, Problem, Step};
use self::dialer::Dialer;
use self::report::Report;
use self::verdict::Verdict;
use crate::handshake::{HandshakeOptions, MAX_MESSAGE_SIZE, parse_seconds};
use crate::reach::ReachOptions;
use crate::usage::WRONG_ARGUMENTS;
use crate::{hide, notes, out, style};
use sockeye_proto::uri::Target;

/// Octets of a refusal's content that are read.
const BODY_SIZE: usize = 1024;

/// What a step of the probe returns.
type Result<T = (), E = Problem> = std::result::Result<T, E>;

const AFTER_HELP: &str = "\
Exit status, and what --json calls it in verdict.kind:
  0  WebSockets work over HTTP/2: works, works_over_http2_only
  1  there is no connection to the server: unreachable; or stdout takes
     no more
  2  the arguments are wrong
  3  WebSockets work over HTTP/1.1 alone: not_offered_over_http2 (HTTP/2
     comes without extended CONNECT), http2_not_spoken
  4  something is wrong: refused_over_http2 (extended CONNECT is offered
     and refused), faulty_over_http2 (WebSockets open over HTTP/2, but do
     not go on or end as they should), faulty_over_http1 (they do over
     HTTP/1.1, and HTTP/2 works or is not there)
  5  WebSockets work over neither: does_not_work

Wrong is what a page of Chromium or Firefox would notice: no answer to a
Ping, no Close frame, a Close with an error's code, sockets without an
answer though SETTINGS allow them. What only one client would see is a
note. The message is sent as it is: to a server that closes with an error
for it give another one by --message, or none.

The JSON has the fields url, verdict (kind, text, next_step, notes), and
http2 and http1, the two connections: address, via, connect_ms, tls
(version, cipher_suite, alpn, verified, handshake_ms), settings (HTTP/2
alone: enable_connect_protocol, max_concurrent_streams,
initial_window_size, max_frame_size, max_header_list_size,
header_table_size, ms), handshake (status, accepted, subprotocol,
extensions, headers, body, ms), ping_ms, echo_ms, messages, close (code,
reason, by_server, end, ended_first, clean, ms), sockets (HTTP/2 alone,
of those asked for at once on another connection: asked, opened, refused,
unanswered), close_with_end_stream (as close; of one of them, closed as
Chromium does) and problems (step, text). What does not apply is null.
Fields are only ever added.";

#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The WebSocket: wss:// or https://; ws:// or http:// for cleartext, where HTTP/2 is spoken by prior knowledge.
    url: Target,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The text message to send, whose echo is timed; an empty one sends none.
    #[arg(short, long, value_name = "TEXT", default_value = "sockeye probe")]
    message: String,
    /// WebSockets to open at once on another HTTP/2 connection, as a page does, where one works; at most as many as the
    /// server's SETTINGS allow, and with 0 none.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    sockets: u32,
    /// The longest that one step may take.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    timeout: Duration,
    #[command(flatten)]
    handshake: HandshakeOptions,
    #[command(flatten)]
    reach: ReachOptions,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let ask = arguments.ask();
    // What cannot be sent says nothing about the server.
    for (carrier, ask) in [(Carrier::Http2, &ask), (Carrier::Http1 { key: [0; 16] }, &over_http1(&ask))] {
        if let Err(error) = ask.request(carrier) {
            notes::error(&error.to_string());
            return Ok(ExitCode::from(WRONG_ARGUMENTS));
        }
    }
    let report = probe(&arguments, &ask).await?;
    if arguments.json {
        out::print_json(&report)?;
    } else {
        out::print(&table::render(&report, style::colors(stdout().is_terminal())))?;
    }
    Ok(report.verdict.exit_code())
}

impl Arguments {
    fn ask(&self) -> ClientHandshake {
        let mut ask = ClientHandshake::new(self.url.uri.clone());
        ask.protocols = self.handshake.protocols.clone();
        ask.extensions = all_extensions();
        ask.headers = self.handshake.headers();
        if let Some(authorization) = &self.url.authorization {
            ask.headers.entry(AUTHORIZATION).or_insert(authorization.clone());
        }
        ask
    }
}

async fn probe(arguments: &Arguments, ask: &ClientHandshake) -> anyhow::Result<Report> {
    let target = &arguments.url;
    let options = &arguments.reach;
    let tls = if target.is_secure { Some(options.tls.client_config()?) } else { None };
    let route = options.route(target)?;
    let dialer = Dialer {
        target,
        route,
        tls,
        insecure: options.tls.insecure,
        timeout: arguments.timeout,
        max_message_size: arguments.handshake.max_message_size.unwrap_or(MAX_MESSAGE_SIZE),
    };

    let (mut http2, mut http1) = (Attempt::default(), Attempt::default());
    let result = http2::probe(&dialer, ask, &arguments.message, &mut http2).await;
    http2.problems.extend(result.err());
    if outcome::is_sound(&http2) && arguments.sockets > 0 {
        let result = page::probe(&dialer, ask, arguments.sockets, &mut http2).await;
        http2.problems.extend(
            result.err().map(|Problem { step, text }| Problem::new(step, format!("on another connection, {text}"))),
        );
    }
    if http2.connect_ms.is_some() {
        let result = http1::probe(&dialer, &over_http1(ask), &arguments.message, &mut http1).await;
        http1.problems.extend(result.err());
    } else {
        // Where no TCP connection is to be had, none is for HTTP/1.1.
        http1.problems.clone_from(&http2.problems);
    }
    let verdict = Verdict::new(&http2, &http1, target.is_secure);
    Ok(Report { url: hide::url(&target.to_string()), verdict, http2, http1 })
}

/// HTTP/1.1 has a key of its own (RFC 6455 §4.1).
fn over_http1(ask: &ClientHandshake) -> ClientHandshake {
    let mut ask = ask.clone();
    ask.headers.remove(SEC_WEBSOCKET_KEY);
    ask
}

/// Whatever the server is willing to do.
fn all_extensions() -> Extensions {
    let context = DeflateContext::new().takeover(true).window_bits(15);
    let deflate = Deflate::new().contexts(context);
    Extensions { deflate: Some(deflate), no_masking: true }
}

/// Runs one step, for as long as it may take.
async fn within<T>(step: Step, limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|text| Problem::new(step, text)),
        Err(_) => Err(Problem::new(step, format!("no answer within {}", time(limit)))),
    }
}

/// A limit as people write one: 5s, 1.67s, 500ms.
fn time(limit: Duration) -> String {
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let seconds = limit.as_secs_f64();
    if seconds < 1.0 { format!("{}ms", round(seconds * 1000.0)) } else { format!("{}s", round(seconds)) }
}

/// What an answer to the handshake says.
fn answered<B>(response: &Response<B>, checked: &Result<Accepted, ResponseError>, elapsed: Duration) -> Handshake {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let accepted = checked.as_ref().ok();
    Handshake {
        status: response.status().as_u16(),
        accepted: accepted.is_some(),
        subprotocol: accepted.and_then(|accepted| accepted.protocol.clone()),
        extensions: accepted.map(|_| extensions(response.headers())).unwrap_or_default(),
        headers: response.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
        body: None,
        ms: elapsed.into(),
    }
}

/// The elements of `Sec-WebSocket-Extensions`, of which none has a comma inside (RFC 6455 §9.1).
fn extensions(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|line| line.to_str().ok());
    let elements = lines.flat_map(|line| line.split(',')).map(str::trim);
    elements.filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

impl Handshake {
    fn set_body(&mut self, body: &[u8]) {
        let body = &body[..body.len().min(BODY_SIZE)];
        self.body = (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned());
    }
}
