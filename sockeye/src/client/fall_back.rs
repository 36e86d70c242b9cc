//! From HTTP/2 to HTTP/1.1, where the server says one thing in its SETTINGS and does another.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_KEY;
use http::{Response, StatusCode};
use sockeye_proto::Reason;
use sockeye_proto::ws::handshake::ClientHandshake;

use super::http2::Purpose;
use super::memory::Way;
use super::{Shared, Versions};
use crate::engine::link::Side;
use crate::engine::stream::StreamHandle;
use crate::error::{Error, Missing, Result};
use crate::socket::{SocketOptions, WebSocket};

/// What came of a socket that was to be a stream of HTTP/2.
pub(super) enum Attempt {
    Opened(Box<WebSocket>),
    /// HTTP/1.1 is to be used, where the server said so by this.
    Http1(Option<Error>),
    Failed(Failure),
}

/// How an extended CONNECT ended that was sent.
pub(super) enum Failure {
    /// By this answer, whose content may be on its way still.
    Refused(StreamHandle, Response<()>),
    Broken(Error),
}

/// What servers answer an extended CONNECT that offer it and hand it to something that does not know it: a proxy whose
/// upstream misses what HTTP/1.1 has (400, 426), a server that takes it for a page's request (404, 405), one that says so (501).
const SIGNS: [StatusCode; 5] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::UPGRADE_REQUIRED,
    StatusCode::NOT_IMPLEMENTED,
];

impl Failure {
    /// Whether it may be the extended CONNECT as such that the server does not serve.
    fn points_to_http1(&self) -> bool {
        match self {
            Self::Refused(_, response) => SIGNS.contains(&response.status()),
            // REFUSED_STREAM stands here when it came a second time.
            Self::Broken(Error::Reset { reason, by: Side::Server }) => {
                [Reason::REFUSED_STREAM, Reason::PROTOCOL_ERROR].contains(reason)
            }
            Self::Broken(Error::GoAway { reason, .. }) => {
                [Reason::PROTOCOL_ERROR, Reason::HTTP_1_1_REQUIRED].contains(reason)
            }
            // There are proxies that end the connection without a word.
            Self::Broken(error) => matches!(error, Error::Disconnected),
        }
    }
}

impl Failure {
    /// Whether it says more than that the server was restarted, or had no room for a stream.
    fn lasts(&self) -> bool {
        !matches!(self, Self::Broken(Error::Disconnected | Error::Reset { reason: Reason::REFUSED_STREAM, .. }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, response) => fmt::Display::fmt(&response.status(), f),
            Self::Broken(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Shared {
    /// Opens a socket over HTTP/2 or over HTTP/1.1; over the second where the first turns out not to do.
    pub(super) async fn open(&self, mut handshake: ClientHandshake, options: &SocketOptions) -> Result<WebSocket> {
        let attempt = self.open_stream(&handshake, options).await?;
        if self.settings.versions == Versions::Any && self.origin.secure {
            // HTTP/1.1 has a key in any case, a fresh one for each connection (RFC 6455 §4.1).
            handshake.headers.remove(SEC_WEBSOCKET_KEY);
        }
        let failure = match attempt {
            Attempt::Opened(socket) => {
                self.back_off.succeed();
                self.settle(Way::Http2);
                return Ok(*socket);
            }
            Attempt::Http1(asked_for) => {
                let socket = self.open_upgrade(&handshake, options).await?;
                if let Some(error) = asked_for {
                    self.note_fall_back(error);
                }
                return Ok(socket);
            }
            Attempt::Failed(failure) => failure,
        };
        if !failure.points_to_http1() || !self.may_fall_back() {
            return Err(self.conclude(failure, options).await);
        }
        tracing::debug!(origin = %self.origin, answer = %failure, "HTTP/2 opened no WebSocket, HTTP/1.1 is tried");
        match self.open_upgrade(&handshake, options).await {
            Ok(socket) => {
                // What may pass is remembered when it has come a second time.
                if failure.lasts() || self.doubts.fetch_add(1, Ordering::Relaxed) > 0 {
                    self.settle(Way::Http1);
                }
                self.note_fall_back(match failure {
                    Failure::Refused(_, response) => Error::Refused(Box::new(response.map(|()| Bytes::new()))),
                    Failure::Broken(error) => error,
                });
                Ok(socket)
            }
            Err(http1) => Err(both(self.conclude(failure, options).await, http1)),
        }
    }

    fn note_fall_back(&self, why: Error) {
        *self.fell_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(why));
    }

    /// Why nothing was asked over HTTP/2: it is the server that lacks it, unless it was not to be spoken.
    pub(super) fn without_http2(&self, missing: Missing) -> Error {
        if self.speaks_http1(Purpose::Request) {
            Error::invalid(
                "this goes over HTTP/2 alone, and the client speaks HTTP/1.1: in cleartext it is to be told http2_only()",
            )
        } else {
            Error::NotOffered(missing)
        }
    }

    /// Whether streams for this are none of HTTP/2. What was learnt of sockets, and not said by the caller or the scheme, is forgotten
    /// in time, and says nothing of other requests.
    pub(super) fn speaks_http1(&self, purpose: Purpose) -> bool {
        let versions = self.settings.versions;
        let is_learnt = versions == Versions::Any && self.origin.secure;
        if purpose == Purpose::Request {
            return versions != Versions::Http2 && !is_learnt;
        }
        let mut way = self.way();
        if *way == Way::Http1 && is_learnt && self.settings.memory.recall(&self.origin) != Way::Http1 {
            *way = Way::Unknown;
            self.doubts.store(0, Ordering::Relaxed);
        }
        *way == Way::Http1
    }

    pub(super) fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// HTTP/2 does not do here: from now on sockets go over HTTP/1.1. Where that was known, what connections there are, other
    /// requests have made.
    pub(super) fn fall_back(&self) {
        let before = std::mem::replace(&mut *self.way(), Way::Http1);
        self.settings.memory.remember(&self.origin, Way::Http1);
        if before != Way::Http1 {
            self.leave_http2();
        }
    }

    /// A socket opened this way; what is known already stays so, as one path of a server says nothing against another.
    fn settle(&self, way: Way) {
        {
            let mut known = self.way();
            if *known != Way::Unknown {
                return;
            }
            *known = way;
        }
        self.settings.memory.remember(&self.origin, way);
        if way == Way::Http1 {
            self.leave_http2();
        }
    }

    fn leave_http2(&self) {
        tracing::debug!(origin = %self.origin, "WebSockets go over HTTP/1.1 here");
        self.pool.clear();
    }

    /// Whether no socket has opened over HTTP/2 here, as far as this client and others of its builder know.
    fn may_fall_back(&self) -> bool {
        self.settings.versions == Versions::Any
            && *self.way() != Way::Http2
            && self.settings.memory.recall(&self.origin) != Way::Http2
    }

    /// The error that a failure is, with the content of a refusal.
    async fn conclude(&self, failure: Failure, options: &SocketOptions) -> Error {
        match failure {
            Failure::Refused(handle, response) => {
                Error::Refused(Box::new(self.read_refusal(handle, response, options.answer_timeout.0).await))
            }
            Failure::Broken(error) => error,
        }
    }
}

/// What to say where neither version opened a socket. The same answer twice is one answer, and where HTTP/1.1 came to none,
/// that of HTTP/2 is the one there is.
fn both(http2: Error, http1: Error) -> Error {
    if let Error::Refused(response) = &http2 {
        let says_no_more = match &http1 {
            Error::Refused(other) => other.status() == response.status(),
            Error::Handshake(_) => false,
            _ => true,
        };
        if says_no_more {
            tracing::debug!(error = %http1, "HTTP/1.1 opened no WebSocket either");
            return http2;
        }
    }
    Error::Neither { http2: Box::new(http2), http1: Box::new(http1) }
}
