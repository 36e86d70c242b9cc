//! One connection that somebody else has accepted.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::link::{ConnectionInfo, Side};
use crate::engine::peer::PeerAddress;
use crate::engine::registry::Arrival;
use crate::engine::relay::{Relay, Then};
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result};
use crate::server::Server;
use crate::server::answer::{AnyService, HttpService};
use crate::server::http2::Connection;

impl Server {
    /// Serves one connection over any transport, by the same settings: TLS where it was asked for, HTTP/2 and HTTP/1.1. It
    /// follows [`Handle::shutdown`](crate::Handle::shutdown) as others do.
    ///
    /// ```no_run
    /// # async fn run(server: sockeye::Server, app: axum::Router) -> sockeye::Result {
    /// // What stands between a program and its tests: no network.
    /// let (near, far) = tokio::io::duplex(64 * 1024);
    /// tokio::spawn(server.serve_connection(far, app));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The connection counts among those that [`max_connections`](Self::max_connections) allows. Where the future is dropped it
    /// ends at once, without a word to the peer: it is not cancel safe.
    ///
    /// # Errors
    ///
    /// What ended the connection otherwise than cleanly; [`Error::Io`] of the kind
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) where there are as many as there may be.
    pub fn serve_connection<T, S>(&self, transport: T, service: S) -> impl Future<Output = Result> + Send + use<T, S>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: HttpService,
    {
        self.serve_admitted(AnyTransport::other(transport), None, AnyService::new(service))
    }

    /// The same of a connection whose peer's address is known, as from the PROXY protocol: it is what [`Peer`](crate::Peer) tells, and
    /// what [`max_connections_per_address`](Self::max_connections_per_address) and [`keep_places`](Self::keep_places) go by.
    /// Not cancel safe, as the other.
    ///
    /// # Errors
    ///
    /// Those of [`serve_connection`](Self::serve_connection).
    pub fn serve_connection_from<T, S>(
        &self,
        transport: T,
        peer: SocketAddr,
        service: S,
    ) -> impl Future<Output = Result> + Send + use<T, S>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: HttpService,
    {
        self.serve_admitted(AnyTransport::other(transport), Some(peer), AnyService::new(service))
    }

    fn serve_admitted(&self, transport: AnyTransport, peer: Option<SocketAddr>, service: AnyService) -> Relay {
        let arrival = self.admit(peer);
        let server = self.clone().settled();
        Relay::new(async move {
            match arrival {
                Ok(arrival) => server.run(transport, peer.map(PeerAddress::Tcp), arrival, service).await,
                Err(error) => Then::Over(Err(error)),
            }
        })
    }

    /// Takes one connection of HTTP/2 over any transport, to have [its streams](crate::http2::Connection::next) one by one instead of
    /// a service that answers them: by the same settings, TLS where it was asked for, and with the same handle and counters. HTTP/2
    /// is taken for granted where ALPN (RFC 7301) does not say otherwise. `peer` is what [`Peer::addr`](crate::Peer::addr) tells.
    ///
    /// ```no_run
    /// # async fn run(server: sockeye::Server, listener: tokio::net::TcpListener) -> sockeye::Result {
    /// let (transport, peer) = listener.accept().await?;
    /// let mut connection = server.accept_http2(transport, Some(peer)).await?;
    /// while let Some(stream) = connection.next().await? {
    ///     let greeting = format!("hello {}", stream.peer());
    ///     stream.respond(http::Response::new(greeting)).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Not cancel safe: dropped before it is ready, it ends the connection. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where TLS fails, or of the kind [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) where there are as many
    /// connections as there may be; [`Error::Timeout`] where TLS takes too long; [`Error::Closed`] where the server is shutting down;
    /// [`Error::Invalid`] where the peer chose HTTP/1.1 by ALPN: offer `h2` alone in the
    /// [configuration](Self::tls) for this.
    pub async fn accept_http2<T>(&self, transport: T, peer: Option<SocketAddr>) -> Result<Connection>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let arrival = self.admit(peer)?;
        let server = self.clone().settled();
        let info = |secure| ConnectionInfo {
            side: Side::Server,
            peer: peer.map(PeerAddress::Tcp),
            version: Version::HTTP_2,
            secure,
        };
        let transport = AnyTransport::other(transport);
        let Some(secure) = &server.secure else {
            let link = server.enter(arrival, info(false));
            return Ok(Connection::start(transport, &server.http2, link));
        };
        let secured = server.shake_hands(secure, transport).await?.ok_or(Error::Closed)?;
        if secured.version == Some(Version::HTTP_11) {
            return Err(Error::invalid("the peer speaks HTTP/1.1: offer h2 alone by ALPN"));
        }
        let link = server.enter(arrival, info(true));
        secured.identify(&link);
        Ok(Connection::start(secured.transport, &server.http2, link))
    }

    fn admit(&self, peer: Option<SocketAddr>) -> Result<Arrival> {
        let admitted = self.registry.admit(&self.admission.doors(), peer.map(|peer| peer.ip()));
        admitted.map_err(|_| Error::Io(io::ErrorKind::QuotaExceeded.into()))
    }
}
