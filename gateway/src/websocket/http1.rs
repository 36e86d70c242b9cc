//! Towards an upstream over HTTP/1.1: an upgrade on a connection of its own (RFC 6455 §4.1), by hyper.

use std::iter::successors;

use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::Answer;
use super::handshake::Handshake;
use super::key::Key;
use crate::http::{Source, fields};
use crate::reach::{Error, MAX_HEAD, Reach, Stream, Target, Turns};

pub(super) async fn open(handshake: &Handshake, reach: &Reach) -> Result<Answer, Error> {
    let target = reach.target();
    let key = Key::random();
    let request = request(handshake, target, &key)?;
    let stream = reach.dialer().dial().await?;
    let time = reach.timeouts().answer;
    let Ok(answered) = timeout(time, send(stream, request, target)).await else {
        let time = time.as_secs_f32();
        return Err(Error::timed_out(
            format!(
                "{target} did not answer the WebSocket handshake within {time} s; is it one that serves WebSockets? (--answer-timeout gives more)"
            ),
            true,
        ));
    };
    let response = answered?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        check(&response, &key, target)?;
        handshake.check(response.headers(), target)?;
        return upgraded(response, target).await;
    }
    if response.status().is_success() {
        // RFC 6455 §4.1: only a 101 opens a socket; a server that ignored the upgrade sent a page.
        return Err(Error::unfit(format!(
            "{target} answered the WebSocket handshake with {}, which opens no socket: nothing there serves WebSockets at this path",
            response.status()
        )));
    }
    if fields::has_foreign_coding(response.headers()) {
        return Err(Error::foreign_coding(target));
    }
    Ok(Answer::Refused(response.map(Source::Hyper)))
}

fn request(handshake: &Handshake, target: &Target, key: &Key) -> Result<Request<Empty<Bytes>>, Error> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = handshake.path.clone().into();
    let mut fields = HeaderMap::with_capacity(handshake.fields.len() + 4);
    let host = HeaderValue::from_str(handshake.host(target).as_str());
    fields.insert(HOST, host.map_err(|error| Error::failed(error.to_string()))?);
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // RFC 6455 §4.1: new for each connection, and no client's own.
    fields.insert(SEC_WEBSOCKET_KEY, key.value());
    fields.extend(handshake.fields.clone());
    *request.headers_mut() = fields;
    Ok(request)
}

async fn send(stream: Stream, request: Request<Empty<Bytes>>, target: &Target) -> Result<Response<Incoming>, Error> {
    let failed = |error: hyper::Error| {
        let cause = successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
        let cause = cause.map(ToString::to_string).unwrap_or_default();
        Error::failed(format!("{target} gave no answer to the WebSocket handshake: {cause}"))
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(Turns::new(stream))).await.map_err(failed)?;
    // Queued before the connection runs, so that what ends the connection at once is told with the request.
    let response = sender.send_request(request);
    // It ends when the sender and the response are gone, or gives its transport away.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    response.await.map_err(failed)
}

/// The rules of a 101 (RFC 6455 §4.1).
fn check(response: &Response<Incoming>, key: &Key, target: &Target) -> Result<(), Error> {
    let agreed = response.headers();
    let failed = |what: &str| {
        Err(Error::failed(format!("{target} answered the WebSocket handshake with {what} (RFC 6455 §4.1)")))
    };
    // RFC 9110 §15.2
    if response.version() < Version::HTTP_11 {
        return failed("a 101 of HTTP/1.0, which has none");
    }
    let is_websocket = |token: &str| token.eq_ignore_ascii_case("websocket");
    if !fields::tokens(agreed, &UPGRADE).any(is_websocket) || !fields::tokens(agreed, &UPGRADE).all(is_websocket) {
        return failed("a 101 that does not say Upgrade: websocket, and nothing else");
    }
    if !fields::tokens(agreed, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return failed("a 101 that does not say Connection: Upgrade");
    }
    let mut accepts = agreed.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    match (accepts.next(), accepts.next()) {
        (Some(accept), None) if key.is_accepted_by(accept) => Ok(()),
        (None, _) => failed("a 101 without Sec-WebSocket-Accept"),
        _ => failed("a wrong Sec-WebSocket-Accept: something between answers for it, as a cache does"),
    }
}

/// The transport behind a 101, with what came right after it.
async fn upgraded(response: Response<Incoming>, target: &Target) -> Result<Answer, Error> {
    let failed = || Error::failed(format!("{target} ended the connection with its 101"));
    let agreed = response.headers().clone();
    let upgraded = hyper::upgrade::on(response).await.map_err(|_| failed())?;
    let parts = upgraded.downcast::<TokioIo<Turns>>().map_err(|_| failed())?;
    // Copied: hyper's buffer would stay for as long as the octets wait.
    let early = Bytes::copy_from_slice(&parts.read_buf);
    Ok(Answer::Upgraded(agreed, parts.io.into_inner().into_inner(), early))
}
