//! What the gateway answers itself, as the end of a request's way.

use http::header::{CONTENT_LENGTH, MAX_FORWARDS};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use sockeye::Body;

use super::{Content, fields};
use crate::answer::Failure;
use crate::observe::{End, Exchange};

/// An answer to a request that goes no further. None where it goes on. The gateway has this name.
pub(crate) fn answer<B>(request: &Request<B>, name: &str) -> Option<fn(Exchange) -> Response<Content>> {
    // RFC 9110 §7.6.3: each time around would take a connection more, until there is none left.
    if fields::are_via(request.headers(), name) {
        return Some(|exchange| {
            let text = "this gateway has forwarded the request before: an upstream of it leads back to it";
            Failure::new(StatusCode::LOOP_DETECTED, text).answer(exchange)
        });
    }
    // RFC 9110 §4.2: what is asked for by another scheme is none of an upstream's resources.
    if request.uri().scheme().is_some_and(|scheme| ![Scheme::HTTP, Scheme::HTTPS].contains(scheme)) {
        return Some(|exchange| {
            let text = "the target's scheme is neither http nor https, which alone go on here (RFC 9110 §4.2)";
            Failure::new(StatusCode::BAD_REQUEST, text).answer(exchange)
        });
    }
    // RFC 9110 §9.3.6: no tunnel to anywhere.
    if request.method() == Method::CONNECT && !crate::websocket::is_asked_for(request) {
        return Some(|exchange| {
            Failure::new(StatusCode::NOT_IMPLEMENTED, "this gateway has no CONNECT but for WebSockets").answer(exchange)
        });
    }
    match (max_forwards(request.method(), request.headers()), request.method()) {
        (Err(NoNumber), _) => Some(|exchange| {
            let text = "Max-Forwards is no number (RFC 9110 §7.6.2)";
            Failure::new(StatusCode::BAD_REQUEST, text).answer(exchange)
        }),
        (Ok(Some(0)), &Method::OPTIONS) => Some(options),
        (Ok(Some(0)), _) => Some(|exchange| {
            let text = "this gateway has no TRACE of its own, and Max-Forwards lets it go no further";
            Failure::new(StatusCode::NOT_IMPLEMENTED, text).answer(exchange)
        }),
        (Ok(_), _) => None,
    }
}

/// What of a request's `Max-Forwards` goes on, where it says anything.
pub(super) fn count_down(method: &Method, fields: &mut HeaderMap) {
    if let Ok(Some(left)) = max_forwards(method, fields) {
        fields.insert(MAX_FORWARDS, left.saturating_sub(1).into());
    }
}

/// RFC 9110 §9.3.7: what the gateway has to tell of itself is that it is there.
fn options(mut exchange: Exchange) -> Response<Content> {
    exchange.status(StatusCode::OK);
    exchange.ended(End::Done);
    let mut response = Response::new(Body::empty().into());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

struct NoNumber;

/// How many more gateways may take a request on (RFC 9110 §7.6.2), where that is said: a number that is larger than any counts as the
/// largest. For other methods than these two it means nothing.
fn max_forwards(method: &Method, fields: &HeaderMap) -> Result<Option<u64>, NoNumber> {
    if ![Method::OPTIONS, Method::TRACE].contains(method) {
        return Ok(None);
    }
    let mut values = fields.get_all(MAX_FORWARDS).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    match value.to_str() {
        Ok(digits) if is_number && values.next().is_none() => Ok(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => Err(NoNumber),
    }
}
