//! Responses before the response.

use std::fmt;
use std::sync::Arc;

use http::{Request, Response, StatusCode};

use super::http1::Turn;
use crate::engine::peer::Peer;
use crate::engine::stream::StreamCell;
use crate::error::{Error, Result};

/// Sends interim responses (1xx, RFC 9110 §15.2) to a request's client before the response, such as a 103 with the links that a
/// browser may begin to load (RFC 8297). Clones are alike, and may be used in any task until the response begins.
///
/// A 100 (Continue) is none of its business: it goes out by itself when the [`Body`](crate::Body) of a request that expects one is
/// first waited for. Nor is a 101, which opens a WebSocket.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{Request, Response, StatusCode};
/// use sockeye::Body;
/// use sockeye::server::Interim;
///
/// async fn page(request: Request<Body>) -> Result<Response<Body>, Infallible> {
///     if let Some(interim) = Interim::of(&request) {
///         let mut hints = Response::new(());
///         *hints.status_mut() = StatusCode::EARLY_HINTS;
///         hints.headers_mut().insert("link", "</style.css>; rel=preload; as=style".parse().unwrap());
///         interim.send(hints).ok(); // a client that is gone needs none
///     }
///     Ok(Response::new("what takes its time".into()))
/// }
/// ```
#[derive(Clone)]
pub struct Interim(Way);

/// By which version of HTTP the request came.
#[derive(Clone)]
enum Way {
    /// A stream of HTTP/2.
    Stream(Arc<StreamCell>),
    /// A connection of HTTP/1.1.
    Turn(Turn),
}

impl Interim {
    /// What a request of a [`Server`](crate::Server) may be answered by. None where nothing interim may be sent: to HTTP/1.0 (RFC
    /// 9110 §15.2), and by the server of somebody else.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let extensions = request.extensions();
        if let Some(turn) = extensions.get::<Turn>() {
            return Some(Self(Way::Turn(turn.clone())));
        }
        let peer = extensions.get::<Peer>()?;
        Some(Self(Way::Stream(peer.cell.clone()?)))
    }

    /// Sends one, without waiting until it is out. Fields of a connection and `Content-Length` are left out (RFC 9110 §7.6.1, §8.6).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the status is not 102 to 199. [`Error::Closed`] where the response has begun, the client is gone, or
    /// sixteen wait to be sent already.
    pub fn send(&self, response: Response<()>) -> Result {
        if !response.status().is_informational() || response.status() <= StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::invalid(format!(
                "{} is no interim response that a service may send: 102 to 199 are",
                response.status().as_u16()
            )));
        }
        let goes = match &self.0 {
            Way::Stream(cell) => cell.send_interim(response),
            Way::Turn(turn) => turn.send(&response),
        };
        if goes { Ok(()) } else { Err(Error::Closed) }
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interim").finish_non_exhaustive()
    }
}
