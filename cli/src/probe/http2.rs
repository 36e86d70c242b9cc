//! The probe over HTTP/2: extended CONNECT (RFC 8441), by the protocol machine itself, so that nothing is hidden.

use std::time::Instant;

use bytes::BytesMut;
use http::Response;
use sockeye_proto::h2::{Config, Connection, Event, OpenError, Reason, Role, StreamId};
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
use tokio::time::timeout;

use super::attempt::{Attempt, Ending, Problem, Settings, Step};
use super::conversation::converse;
use super::dialer::Dialer;
use super::link::Link;
use super::tunnel::{Tunnel, describe_end, describe_reset, describe_violation};
use super::{BODY_SIZE, Result, answered, within};
use crate::words;

/// What browsers offer by ALPN (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Does all of it, and fails where it cannot go on.
pub(super) async fn probe(dialer: &Dialer<'_>, ask: &ClientHandshake, message: &str, attempt: &mut Attempt) -> Result {
    let mut link = connect(dialer, attempt).await?;
    if !link.machine().extended_connect_allowed() {
        leave(&mut link, dialer).await;
        return Ok(());
    }
    let result = open(&mut link, ask, message, dialer, attempt).await;
    leave(&mut link, dialer).await;
    result
}

/// A connection on which the server's SETTINGS have come.
pub(super) async fn connect(dialer: &Dialer<'_>, attempt: &mut Attempt) -> Result<Link<Connection>> {
    let transport = dialer.connect(&ALPN, attempt).await?;
    match &attempt.tls {
        Some(tls) if tls.alpn.as_deref() != Some("h2") => {
            let chosen = tls.alpn.as_deref().map_or("chose none".to_owned(), |name| format!("chose {name}"));
            return Err(Problem::new(Step::Settings, format!("the server was offered h2 by ALPN, and {chosen}")));
        }
        _ => {}
    }
    let start = Instant::now();
    let config = Config::default().with(|config| {
        config.preface_timeout = dialer.timeout;
        config.settings_timeout = dialer.timeout;
        config.seed = rand::random();
    });
    let machine = Connection::new(Role::Client, config, start);
    let mut link = Link::new(transport, machine, BytesMut::new());
    if let Err(problem) = within(Step::Settings, dialer.timeout, settings(&mut link)).await {
        leave(&mut link, dialer).await;
        let refused = link.failure().and_then(words::tls_of).map(|error| Problem::new(Step::Tls, words::of_tls(error)));
        return Err(refused.unwrap_or(problem));
    }
    attempt.settings = link.machine().peer_settings().map(|settings| Settings::new(settings, start.elapsed()));
    Ok(link)
}

/// Ends a connection in the protocol's words.
pub(super) async fn leave(link: &mut Link<Connection>, dialer: &Dialer<'_>) {
    link.machine().close(Reason::NO_ERROR);
    timeout(dialer.timeout, link.finish()).await.ok();
}

/// Opens the WebSocket, and has it talk.
async fn open(
    link: &mut Link<Connection>,
    ask: &ClientHandshake,
    message: &str,
    dialer: &Dialer<'_>,
    attempt: &mut Attempt,
) -> Result {
    let wrong = |text: String| Problem::new(Step::Handshake, text);
    let request = ask.request(Carrier::Http2).map_err(|error| wrong(error.to_string()))?;
    let start = Instant::now();
    let id = link.machine().open(&request, false).map_err(|error| wrong(describe_open(error)))?;
    let (response, ended) = within(Step::Handshake, dialer.timeout, answer(link, id)).await?;
    let elapsed = start.elapsed();
    let checked = ask.check(Carrier::Http2, &response);
    let mut handshake = answered(&response, &checked, elapsed);
    let mut tunnel = Tunnel::of_stream(link, id);
    if ended {
        tunnel.finish();
    }
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(error) => {
            let mut content = BytesMut::new();
            timeout(dialer.timeout, body(tunnel, &mut content)).await.ok();
            handshake.set_body(&content);
            attempt.handshake = Some(handshake);
            return Err(wrong(error.to_string()));
        }
    };
    attempt.handshake = Some(handshake);
    converse(tunnel, accepted.extensions, message, dialer, attempt).await;
    Ok(())
}

/// Waits for the server's first SETTINGS.
async fn settings(link: &mut Link<Connection>) -> Result<(), String> {
    loop {
        match link.event().await {
            Event::Settings => return Ok(()),
            Event::Closed(error) => {
                return Err(link.beginning().other_than_http2().unwrap_or_else(|| describe_end(error)));
            }
            _ => {}
        }
    }
}

/// Waits for the answer, and whether it ended its stream.
async fn answer(link: &mut Link<Connection>, id: StreamId) -> Result<(Response<()>, bool), String> {
    loop {
        match link.event().await {
            Event::Response { id: of, response, end_stream } if of == id && !response.status().is_informational() => {
                return Ok((*response, end_stream));
            }
            Event::Reset { id: of, violation: Some(violation), .. } if of == id => {
                return Err(describe_violation(violation));
            }
            Event::Reset { id: of, reason, .. } if of == id => {
                return Err(match link.reset_by_server(reason) {
                    Ending::Broken(how) => how,
                    _ => describe_reset(reason),
                });
            }
            Event::Closed(error) => return Err(describe_end(error)),
            _ => {}
        }
    }
}

/// The beginning of a refusal's content.
async fn body(mut tunnel: Tunnel<'_, Connection>, body: &mut BytesMut) {
    while body.len() < BODY_SIZE && tunnel.receive(body).await.is_ok() {}
}

pub(super) fn describe_open(error: OpenError) -> String {
    match error {
        OpenError::TooManyStreams => "the server's SETTINGS_MAX_CONCURRENT_STREAMS allow no stream".to_owned(),
        OpenError::GoingAway => "the server sent GOAWAY at once".to_owned(),
        error => error.to_string(),
    }
}
