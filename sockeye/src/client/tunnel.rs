//! Streams that are opened for somebody else, and relayed as octets.

use http::{Method, Request, Response, Version};
use sockeye_proto::{Protocol, content_length};

use super::Client;
use super::http2::{Asked, Question};
use crate::engine::body::Body;
use crate::error::{Missing, Result};
use crate::socket::Tunnel;

/// What a server answered to an extended CONNECT.
#[derive(Debug)]
#[non_exhaustive]
pub enum TunnelAnswer {
    /// A 2xx: octets go both ways.
    Opened(Response<()>, Tunnel),
    /// Anything else, whole: its content is read as it comes.
    Refused(Response<Body>),
}

impl Client {
    /// Opens a stream by an extended CONNECT (RFC 8441 §4) with the request's own fields, and takes it over as octets: what a gateway
    /// does for a WebSocket that is spoken elsewhere. It goes on one of the client's HTTP/2 connections, as a socket of
    /// [`open`](Self::open) does, and never over HTTP/1.1.
    ///
    /// Of the request's URI the authority may be any; the connection is to the client's own origin. Its method and version do not
    /// count, the `:protocol` is [`Protocol`] among its extensions, or else `websocket`. What belongs to a connection is
    /// not to stand among its fields (RFC 9113 §8.2.2).
    ///
    /// Cancel safe: dropped before it is ready, it gives the stream up.
    ///
    /// ```no_run
    /// use sockeye::client::TunnelAnswer;
    ///
    /// # async fn run(client: sockeye::Client) -> sockeye::Result {
    /// let request = http::Request::get("https://example.com/chat").header("sec-websocket-version", "13").body(());
    /// match client.tunnel(request.map_err(sockeye::Error::application)?).await? {
    ///     TunnelAnswer::Opened(response, _tunnel) => println!("opened: {:?}", response.headers()),
    ///     TunnelAnswer::Refused(response) => println!("refused: {}", response.status()),
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotOffered`](crate::Error::NotOffered) where the server does not speak HTTP/2 or does not offer the extended CONNECT, and
    /// [`Invalid`](crate::Error::Invalid) where the client does not speak HTTP/2 (in cleartext, unless told
    /// [`http2_only`](super::ClientBuilder::http2_only)) or for a request that cannot be sent: nothing was asked then; else those of
    /// [`open`](Self::open). A stream that the server did not act on (REFUSED_STREAM) was tried once elsewhere before.
    pub async fn tunnel(&self, mut request: Request<()>) -> Result<TunnelAnswer> {
        if request.extensions().get::<Protocol>().is_none() {
            request.extensions_mut().insert(Protocol::websocket());
        }
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        let question = Question::tunnel(request, self.0.settings.options.answer_timeout.0);
        let (awaited, response) = match self.0.ask(&question, None).await? {
            Asked::Answered(awaited, response) => (awaited, response),
            Asked::NotOffered => {
                self.0.spare().take();
                return Err(self.0.without_http2(Missing::ExtendedConnect));
            }
            Asked::Broken(error) => return Err(error),
        };
        if response.status().is_success() {
            let handle = awaited.settle();
            handle.start_tunnel();
            self.0.back_off.succeed();
            return Ok(TunnelAnswer::Opened(response, Tunnel::new(handle)));
        }
        let length = content_length(response.headers()).unwrap_or_default();
        Ok(TunnelAnswer::Refused(response.map(|()| Body::response(awaited, length))))
    }
}
