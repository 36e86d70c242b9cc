//! How octets get to the server: names, addresses, a proxy, TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{Method, Request, Version};
use http_body_util::Empty;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use super::exchange;
use super::origin::Origin;
use super::settings::{Proxy, Settings};
use super::{Versions, within};
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result, Step};

/// A connection that is ready for HTTP.
pub(super) struct Established {
    pub(super) transport: AnyTransport,
    pub(super) version: Version,
    pub(super) peer: Option<SocketAddr>,
}

impl Settings {
    /// Connects to an origin and settles the version of HTTP, which is one of `versions`.
    pub(super) async fn establish(&self, origin: &Origin, versions: Versions) -> Result<Established> {
        let (transport, peer) = self.dial(origin).await?;
        if !origin.secure {
            return Ok(Established { transport, version: versions.by_prior_knowledge(), peer });
        }
        let tls = self.tls()?;
        let secured = tls.secure(transport, origin.host(), versions);
        let (transport, chosen) = within(self.connect_timeout, Step::Tls, secured).await??;
        let version = match (chosen, versions) {
            (Some(Version::HTTP_2), _) => Version::HTTP_2,
            (_, Versions::Http2) => return Err(Error::NotOffered(versions.by_alpn())),
            _ => Version::HTTP_11,
        };
        Ok(Established { transport, version, peer })
    }

    async fn dial(&self, origin: &Origin) -> Result<(AnyTransport, Option<SocketAddr>)> {
        if let Some(connector) = &self.connector {
            let connecting = connector(origin.uri(PathAndQuery::from_static("/"))?);
            let transport = within(self.connect_timeout, Step::Connector, connecting).await?;
            return Ok((transport.map_err(|error| Error::connect(Step::Connector, error))?, None));
        }
        let Some(proxy) = &self.proxy else {
            let (transport, peer) = self.connect_tcp(origin).await?;
            return Ok((transport, Some(peer)));
        };
        let (transport, _) = self.connect_tcp(&proxy.origin).await?;
        Ok((tunnel(transport, proxy, origin, self.connect_timeout).await?, None))
    }

    /// Looks the host up and tries its addresses of both families (RFC 8305).
    async fn connect_tcp(&self, origin: &Origin) -> Result<(AnyTransport, SocketAddr)> {
        const STEP: Step = Step::Tcp;
        let mut connector = with_settings(HttpConnector::new(), self.connect_timeout);
        let uri = origin.uri(PathAndQuery::from_static("/"))?;
        let connected = within(self.connect_timeout, STEP, connector.call(uri)).await?;
        let transport = connected.map_err(|error| failure(STEP, error))?.into_inner();
        if let Some(keep_alive) = self.limits.tcp_keep_alive {
            keep_alive.set(&transport)?;
        }
        let peer = transport.peer_addr()?;
        Ok((transport.into(), peer))
    }
}

/// How a server is connected to, whoever looks its name up.
fn with_settings<R>(mut connector: HttpConnector<R>, time: Duration) -> HttpConnector<R> {
    connector.set_nodelay(true);
    // TLS is ours, so whatever the origin's scheme, this is a matter of host and port.
    connector.enforce_http(false);
    // Of several addresses of a family each gets its share, so that one that says nothing does not use it all up.
    connector.set_connect_timeout(Some(time));
    connector
}

/// The last of the addresses may have said nothing in time, too.
fn failure(step: Step, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let mut causes = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |cause| cause.source());
    let is_late = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
    };
    if causes.any(is_late) { Error::Timeout(step) } else { Error::connect(step, error) }
}

/// Octets of the head of a proxy's answer.
const MAX_PROXY_HEAD: usize = 16 << 10;

/// Asks a proxy for a tunnel to the origin (RFC 9110 §9.3.6).
async fn tunnel(transport: AnyTransport, proxy: &Proxy, origin: &Origin, time: Duration) -> Result<AnyTransport> {
    const STEP: Step = Step::Proxy;
    let authority = origin.authority.as_str();
    let mut request = Request::builder().method(Method::CONNECT).uri(authority).header(HOST, authority);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::new()).map_err(Error::invalid)?;
    let sent = within(time, STEP, exchange::send(transport, request, MAX_PROXY_HEAD)).await?;
    let response = sent.map_err(|unanswered| Error::connect(STEP, Error::from(unanswered)))?;
    if response.status().is_success() {
        let transport = exchange::take_over(response).await.map_err(|error| Error::connect(STEP, error))?;
        Ok(AnyTransport::other(transport))
    } else {
        let response = exchange::read_refusal(response, time).await;
        Err(Error::connect(STEP, Error::Refused(Box::new(response))))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use http::Uri;
    use socket2::{Domain, Socket, Type};
    use tower::service_fn;

    use super::*;

    /// A name of several machines, the first of which is down: the queue of those that are to be accepted there is full.
    #[tokio::test]
    async fn of_several_addresses_one_that_is_silent_leaves_time_for_the_others() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let silent = socket.local_addr().unwrap().as_socket().unwrap();
        let dial = || std::net::TcpStream::connect_timeout(&silent, Duration::from_millis(100)).ok();
        let _queued: Vec<_> = std::iter::from_fn(dial).collect();
        let second = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 3], silent.port()))).unwrap();
        let resolver = service_fn(move |_| async move {
            Ok::<_, io::Error>([silent, SocketAddr::from(([127, 0, 0, 3], 0))].into_iter())
        });
        let time = Duration::from_secs(2);
        let mut connector = with_settings(HttpConnector::new_with_resolver(resolver), time);
        let uri = format!("http://several.example:{}/", silent.port()).parse::<Uri>().unwrap();
        let connected = tokio::time::timeout(time, connector.call(uri)).await.expect("there is time for both");
        assert_eq!(connected.unwrap().inner().peer_addr().unwrap(), second.local_addr().unwrap());
        let alone = Uri::try_from(format!("http://{silent}/")).unwrap();
        let error = with_settings(HttpConnector::new(), Duration::from_millis(50)).call(alone).await.unwrap_err();
        assert!(matches!(failure(Step::Tcp, error), Error::Timeout(Step::Tcp)));
    }
}
