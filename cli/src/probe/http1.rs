//! The probe over HTTP/1.1: an upgrade (RFC 6455 §4), on a connection of its own.

use std::io;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::conversation::{Tunnel, converse};
use super::report::{Attempt, Ending, Problem, Step};
use super::transport::{Dialer, Transport, describe};
use super::{BODY_SIZE, Result, answered, within};

/// Does all of it, and fails where it cannot go on.
pub(super) async fn probe(dialer: &Dialer<'_>, ask: &ClientHandshake, message: &str, attempt: &mut Attempt) -> Result {
    let transport = dialer.connect(&[b"http/1.1"], attempt).await?;
    let wrong = |text: String| Problem::new(Step::Handshake, text);
    let carrier = Carrier::Http1 { key: rand::random() };
    let request = ask.request(carrier).map_err(|error| wrong(error.to_string()))?;
    let start = Instant::now();
    let exchange = exchange(transport, request.map(|()| Empty::new()));
    let response = within(Step::Handshake, dialer.timeout, exchange).await?;
    let elapsed = start.elapsed();
    let checked = ask.check(carrier, &response);
    let mut handshake = answered(&response, &checked, elapsed);
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(error) => {
            let mut body = BytesMut::new();
            timeout(dialer.timeout, read_body(response, &mut body)).await.ok();
            handshake.set_body(&body);
            attempt.handshake = Some(handshake);
            return Err(wrong(error.to_string()));
        }
    };
    attempt.handshake = Some(handshake);
    let upgraded = within(Step::Handshake, dialer.timeout, async {
        hyper::upgrade::on(response).await.map_err(|error| describe_hyper(&error))
    });
    let tunnel = UpgradedTunnel(TokioIo::new(upgraded.await?));
    converse(tunnel, accepted.extensions, message, dialer.timeout, attempt).await;
    Ok(())
}

/// Sends the request and waits for the answer's head.
async fn exchange(transport: Box<dyn Transport>, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String> {
    let connected = http1::handshake(TokioIo::new(transport)).await;
    let (mut sender, connection) = connected.map_err(|error| describe_hyper(&error))?;
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(|error| describe_hyper(&error))
}

/// The beginning of a refusal's content.
async fn read_body(response: Response<Incoming>, body: &mut BytesMut) {
    let mut content = response.into_body();
    while body.len() < BODY_SIZE {
        match content.frame().await {
            Some(Ok(frame)) => body.extend(frame.into_data().ok()),
            _ => return,
        }
    }
}

/// An upgraded connection as a WebSocket's tunnel.
struct UpgradedTunnel(TokioIo<Upgraded>);

impl Tunnel for UpgradedTunnel {
    /// Never ends TCP: RFC 6455 §7.1.1 leaves that to the server.
    async fn send(&mut self, octets: &[u8], _last: bool) -> Result<(), Ending> {
        let sent = async {
            self.0.write_all(octets).await?;
            self.0.flush().await
        };
        sent.await.map_err(end)
    }

    async fn receive(&mut self, input: &mut BytesMut) -> Result<(), Ending> {
        match self.0.read_buf(input).await {
            Ok(0) => Err(Ending::Fin),
            Ok(_) => Ok(()),
            Err(error) => Err(end(error)),
        }
    }
}

fn end(error: io::Error) -> Ending {
    match error.kind() {
        // What TLS calls the end of TCP without a close_notify, which the Close frame makes up for.
        io::ErrorKind::UnexpectedEof => Ending::Fin,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ending::Broken("TCP reset".to_owned()),
        _ => Ending::Broken(describe(&error)),
    }
}

fn describe_hyper(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "the server ended the connection without an answer".to_owned();
    }
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}
