//! The probe over HTTP/1.1: an upgrade (RFC 6455 §4), on a connection of its own.

use std::sync::PoisonError;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sockeye_proto::h1::{Connection, STREAM};
use sockeye_proto::h2::{Config, Role};
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
use tokio::time::timeout;

use super::attempt::{Attempt, Problem, Step};
use super::conversation::converse;
use super::dialer::Dialer;
use super::link::Link;
use super::tunnel::Tunnel;
use super::{BODY_SIZE, Result, answered, within};
use crate::beginning::Remembering;
use crate::dial::Transport;
use crate::words::of_hyper;

/// Does all of it, and fails where it cannot go on.
pub(super) async fn probe(dialer: &Dialer<'_>, ask: &ClientHandshake, message: &str, attempt: &mut Attempt) -> Result {
    let transport = dialer.connect(&[b"http/1.1"], attempt).await?;
    let wrong = |text: String| Problem::new(Step::Handshake, text);
    let carrier = Carrier::Http1 { key: rand::random() };
    let request = ask.request(carrier).map_err(|error| wrong(error.to_string()))?;
    let start = Instant::now();
    let (transport, beginning) = Remembering::new(transport);
    let exchange = exchange(transport, request.map(|()| Empty::new()));
    let response = within(Step::Handshake, dialer.timeout, exchange).await.map_err(|problem| {
        let beginning = beginning.lock().unwrap_or_else(PoisonError::into_inner);
        beginning.other_than_http1().map_or(problem, wrong)
    })?;
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
        hyper::upgrade::on(response).await.map_err(|error| of_hyper(&error))
    });
    let parts = upgraded
        .await?
        .downcast::<TokioIo<Remembering<Transport>>>()
        .map_err(|_| wrong("it yields no connection".to_owned()))?;
    let machine = Connection::tunnel(Role::Client, &Config::default(), Instant::now());
    let mut link = Link::new(parts.io.into_inner().into_inner(), machine, parts.read_buf.into());
    let tunnel = Tunnel::of_connection(&mut link, STREAM);
    converse(tunnel, accepted.extensions, message, dialer, attempt).await;
    timeout(dialer.timeout, link.finish()).await.ok();
    Ok(())
}

/// Sends the request and waits for the answer's head.
async fn exchange(
    transport: Remembering<Transport>,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let connected = http1::handshake(TokioIo::new(transport)).await;
    let (mut sender, connection) = connected.map_err(|error| of_hyper(&error))?;
    // Queued before the connection runs, so that what ends the connection at once is told with the request.
    let response = sender.send_request(request);
    tokio::spawn(connection.with_upgrades());
    response.await.map_err(|error| of_hyper(&error))
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
