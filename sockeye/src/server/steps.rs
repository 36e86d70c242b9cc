//! The steps of an accepted connection: TLS, the first octets, which tell the version of HTTP, and what serves it then.

use std::future::Future;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use http::Version;
use sockeye_proto::h1::{Head, HeadReader, NotOurs};
use sockeye_proto::h2;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::engine::driver::Driver;
use crate::engine::link::{ConnectionInfo, Link, Side};
use crate::engine::machine::{exchange, machine};
use crate::engine::metrics::Counter;
use crate::engine::peer::PeerAddress;
use crate::engine::registry::Arrival;
use crate::engine::relay::{self, Step, Then};
use crate::engine::slice;
use crate::engine::transport::AnyTransport;
use crate::error::{self, Error, Result};
use crate::server::answer::{AnyService, ByService};
use crate::server::builder::{Secure, Secured, Settled};
use crate::server::http1::{First, Served, refuse_version, serve as serve_http1};

impl Settled {
    /// The first step of a connection's life: whatever goes before HTTP.
    pub(super) async fn run(
        self: Arc<Self>,
        transport: AnyTransport,
        peer: Option<PeerAddress>,
        arrival: Arrival,
        service: AnyService,
    ) -> Then {
        let handshake = async {
            let Some(secure) = &self.secure else {
                let Some((version, transport, read)) = self.first_octets(transport).await? else { return Ok(None) };
                let link = self.enter(arrival, ConnectionInfo { side: Side::Server, peer, version, secure: false });
                return Ok(Some(self.clone().start_http(transport, read, link, service)));
            };
            let Some(mut secured) = self.shake_hands(secure, transport).await? else { return Ok(None) };
            let mut read = BytesMut::new();
            let version = match secured.version {
                Some(version) => version,
                None => {
                    let Some(first) = self.first_octets(secured.transport).await? else { return Ok(None) };
                    (secured.transport, read) = (first.1, first.2);
                    first.0
                }
            };
            let link = self.enter(arrival, ConnectionInfo { side: Side::Server, peer, version, secure: true });
            secured.identify(&link);
            Ok(Some(self.clone().start_http(secured.transport, read, link, service)))
        };
        match handshake.await {
            Ok(Some(http)) => Then::Follows(http),
            Ok(None) => Then::Over(Ok(())),
            Err(error) => Then::Over(Err(error)),
        }
    }

    /// Makes a transport secure; none where the server shuts down before that is done.
    pub(super) async fn shake_hands(&self, secure: &Secure, transport: AnyTransport) -> Result<Option<Secured>> {
        let Some(secured) = self.before_shutdown(error::Step::Tls, secure(transport)).await? else { return Ok(None) };
        Ok(Some(secured.inspect_err(|_| self.registry.metrics.count(Counter::TlsFailures))?))
    }

    async fn first_octets(&self, transport: AnyTransport) -> Result<Option<(Version, AnyTransport, BytesMut)>> {
        self.before_shutdown(error::Step::FirstOctets, sniff(transport)).await?.transpose()
    }

    /// Takes a step of a handshake in its time; none where the server shuts down before it is done.
    async fn before_shutdown<F: Future>(&self, step: error::Step, taken: F) -> Result<Option<F::Output>> {
        tokio::select! {
            biased;
            taken = timeout(self.handshake_timeout, slice::within(self.limits.slice, taken)) => taken.map(Some).map_err(|_| {
                self.registry.metrics.count(Counter::HandshakeTimeouts);
                Error::Timeout(step)
            }),
            () = self.registry.wait_shutdown() => Ok(None),
        }
    }

    /// Reads until it is known whether the first request asks for a WebSocket. It is not where the client ends before, or goes
    /// away: whoever answers it then may tell. [`Head::Partial`] says that the server shuts down.
    async fn read_head(&self, transport: &mut AnyTransport, read: &mut BytesMut) -> Result<Head> {
        let mut reader = HeadReader::new(&self.http2);
        let reading = async {
            loop {
                match reader.read(read) {
                    Head::Partial => {}
                    head => return head,
                }
                if !matches!(transport.read_buf(read).await, Ok(1..)) {
                    return Head::Other(NotOurs::Malformed);
                }
            }
        };
        Ok(self.before_shutdown(error::Step::RequestHead, reading).await?.unwrap_or(Head::Partial))
    }

    /// Lists a connection, as one that has arrived.
    pub(super) fn enter(&self, arrival: Arrival, info: ConnectionInfo) -> Arc<Link> {
        self.registry.enter_from(Some(arrival), self.limits.clone(), info)
    }

    fn start_http(
        self: Arc<Self>,
        transport: AnyTransport,
        read: BytesMut,
        link: Arc<Link>,
        service: AnyService,
    ) -> Step {
        if link.info.version == Version::HTTP_2 {
            let machine = machine(h2::Role::Server, &self.http2);
            relay::last(Driver::new(transport, read, machine, link, ByService(service)))
        } else {
            Box::pin(self.run_http1(transport, read, link, service))
        }
    }

    /// A first request for a WebSocket is ours; whatever else comes is hyper's.
    async fn run_http1(
        self: Arc<Self>,
        mut transport: AnyTransport,
        mut read: BytesMut,
        link: Arc<Link>,
        service: AnyService,
    ) -> Then {
        match self.read_head(&mut transport, &mut read).await {
            Ok(Head::WebSocket { request, length }) => {
                read.advance(length);
                let machine = exchange(request, &self.http2);
                let served = Served { service: ByService(service), server: self };
                Then::Follows(Box::pin(First::new(transport, read, machine, link, served)))
            }
            Ok(Head::Other(_)) if is_of_another_version(&read) => {
                Then::Follows(Box::pin(refuse_version(transport, link)))
            }
            Ok(Head::Other(_)) => Then::Follows(Box::pin(serve_http1(transport, read, link, &self, service))),
            Ok(Head::Partial) => Then::Over(Ok(())),
            Err(error) => Then::Over(Err(error)),
        }
    }
}

/// Octets within which a request line of HTTP/1.1 is looked for; RFC 9112 §3 asks for 8000 to be taken at least.
const MAX_REQUEST_LINE: usize = 8 << 10;

/// Tells HTTP/2 by its preface, and gives back what was read for it.
async fn sniff<T: AsyncRead + Unpin>(mut transport: T) -> Result<(Version, T, BytesMut)> {
    let mut read = BytesMut::with_capacity(h2::PREFACE.len());
    loop {
        if let Some(version) = version(&read) {
            return Ok((version, transport, read));
        }
        // No further than the preface: what follows belongs into the connection's own buffer.
        let limit = if h2::PREFACE.starts_with(&read) { h2::PREFACE.len() } else { MAX_REQUEST_LINE };
        let mut rest = (&mut transport).take((limit - read.len()) as u64);
        if rest.read_buf(&mut read).await? == 0 {
            return Ok((Version::HTTP_11, transport, read));
        }
    }
}

/// What the first octets of a connection speak, `None` while they do not tell.
///
/// HTTP/1.1 is what has its request line, or one too long to see, or what was to be one by its target or its version: its parser
/// judges it. All else counts as an HTTP/2 preface gone wrong, which ends in GOAWAY (RFC 9113 §3.4): a peer that awaits frames could
/// not read a 400.
fn version(read: &[u8]) -> Option<Version> {
    if h2::PREFACE.starts_with(read) {
        return (read.len() == h2::PREFACE.len()).then_some(Version::HTTP_2);
    }
    // RFC 9112 §2.2: empty lines may come before the request line, which ends in its version (§3).
    let Some(line) = first_line(read) else {
        return (read.len() >= MAX_REQUEST_LINE).then_some(Version::HTTP_11);
    };
    let mut words = line.split(|&octet| octet == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let last_word = words.next_back().unwrap_or(target);
    let is_line = last_word.starts_with(b"HTTP/1.")
        || method != b"PRI" && (target.starts_with(b"/") || last_word.starts_with(b"HTTP/"));
    Some(if is_line { Version::HTTP_11 } else { Version::HTTP_2 })
}

/// Whether a request line names a version that there may be, of another major number than ours (RFC 9112 §2.3).
fn is_of_another_version(read: &[u8]) -> bool {
    let last_word = first_line(read).and_then(|line| line.rsplit(|&octet| octet == b' ').next());
    let version = last_word.and_then(|word| word.strip_prefix(b"HTTP/"));
    matches!(version, Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1')
}

/// The first line that is not empty, up to what ends it or may not stand in it.
fn first_line(read: &[u8]) -> Option<&[u8]> {
    let start = read.iter().position(|octet| !b"\r\n".contains(octet))?;
    let end = read[start..].iter().position(u8::is_ascii_control)?;
    Some(&read[start..][..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9113 §3.4
    #[test]
    fn first_octets_tell_the_version() {
        let cases: [(&[u8], Option<Version>); 18] = [
            (b"", None),
            (b"P", None),
            (&h2::PREFACE[..23], None),
            (h2::PREFACE, Some(Version::HTTP_2)),
            (b"POST /path HTTP/1.", None),
            (b"POST /path HTTP/1.1\r", Some(Version::HTTP_11)),
            (b"GET / HTTP/1.0\nhost: a\n\n", Some(Version::HTTP_11)),
            (b"\r\n\r\n", None),
            (b"\r\nGET / HTTP/1.1\r\n", Some(Version::HTTP_11)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some(Version::HTTP_2)),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Some(Version::HTTP_2)),
            (b"GET / HTTP/2.0\r\n", Some(Version::HTTP_11)),
            (b"GET /\rx", Some(Version::HTTP_11)),
            (b"GET /\n", Some(Version::HTTP_11)),
            (b"GET HTTP/3\r\n", Some(Version::HTTP_11)),
            (b"PRI / HTTP/2.0\r\n", Some(Version::HTTP_2)),
            (b"\x16\x03\x01\x02\x00", Some(Version::HTTP_2)),
            (&[b'a'; MAX_REQUEST_LINE], Some(Version::HTTP_11)),
        ];
        for (octets, expected) in cases {
            assert_eq!(version(octets), expected, "{}", octets.escape_ascii());
        }
    }

    /// What was read to tell the version is not lost, and nothing behind a preface is read.
    #[tokio::test]
    async fn sniffing_loses_nothing() {
        let request = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1000));
        let (found, mut rest, mut read) = sniff(request.as_bytes()).await.unwrap();
        rest.read_buf(&mut read).await.unwrap();
        assert_eq!((found, &read[..]), (Version::HTTP_11, request.as_bytes()));

        let octets = [h2::PREFACE.as_slice(), b"SETTINGS"].concat();
        let (found, rest, read) = sniff(&octets[..]).await.unwrap();
        assert_eq!((found, rest, &read[..]), (Version::HTTP_2, &b"SETTINGS"[..], &h2::PREFACE[..]));
    }
}
