//! What the gateway itself answers where no upstream does.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::http::Content;
use crate::observe::{End, Exchange};
use crate::reach;

/// A refusal of the gateway's own: a status, and a sentence for people that says what to do. An extended CONNECT gets it without
/// a content type, which the server leaves out: Firefox ends the whole connection over one.
pub(crate) struct Failure {
    status: StatusCode,
    text: String,
    end: End,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, end: End::Failed(text.clone()), text }
    }

    /// The upstream gave no answer.
    pub(crate) fn of_upstream(error: &reach::Error) -> Self {
        match Self::new(error.status(), error.to_string()) {
            failure if error.has_no_client() => Self { end: End::ClientLeft, ..failure },
            failure if error.is_of_gateway() => Self { end: End::Unavailable(failure.text.clone()), ..failure },
            failure => failure,
        }
    }

    /// No path of the gateway leads there.
    pub(crate) fn no_route() -> Self {
        let text = "no route of this gateway matches the request's path and host; see --route".to_owned();
        Self { status: StatusCode::NOT_FOUND, text, end: End::NoRoute }
    }

    /// No upstream takes anything just now (RFC 9110 §15.6.4).
    pub(crate) fn unavailable(why: String) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, end: End::Unavailable(why.clone()), text: why }
    }

    pub(crate) fn answer(self, mut exchange: Exchange) -> Response<Content> {
        let Self { status, text, end } = self;
        tracing::debug!(%status, reason = text, "the gateway refused");
        exchange.status(status);
        exchange.ended(end);
        let mut response = Response::new(sockeye::Body::from(format!("{} {text}\n", status.as_u16())).into());
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
