//! How sockets end: END_STREAM and FIN, RST and abort.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, Request, Version};
use sockeye::socket::TunnelPeer;
use sockeye::{Body, Client, Limits, Reason, Tunnel, Upgrade};
use sockeye_gateway::{Config, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{
    client, gateway, gateway_of, gateway_with_handle, open_tunnel, raw_upstream, read_head, soon, take_socket, upstream,
};

/// PEERS: a FIN without a Close ends the stream at once, and cleanly.
#[tokio::test]
async fn a_fin_of_the_upstream_is_end_stream() {
    let (url, listener) = raw_upstream().await;
    let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    upstream.write_all(b"last words").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut words = Vec::new();
    soon(tunnel.read_to_end(&mut words)).await.unwrap();
    assert_eq!((words.as_slice(), tunnel.peer()), (&b"last words"[..], TunnelPeer::Finished));
    // The other direction goes on.
    tunnel.write_all(b"and mine").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut answer = Vec::new();
    soon(upstream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"and mine");
}

/// The client's half alone ends, and the upstream goes on.
#[tokio::test]
async fn end_stream_is_a_fin() {
    let (url, listener) = raw_upstream().await;
    let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    tunnel.write_all(b"question").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut question = Vec::new();
    soon(upstream.read_to_end(&mut question)).await.unwrap();
    assert_eq!(question, b"question");
    upstream.write_all(b"answer").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    soon(tunnel.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"answer");
}

/// The time for the second end is from the last octet on, and what the options say: an upstream of HTTP/2 had five seconds in all.
#[tokio::test]
async fn an_upstream_of_http2_may_go_on_behind_the_clients_end() {
    let site = tower::service_fn(|mut request: Request<Body>| async move {
        let upgrade = Upgrade::from_request(&mut request).unwrap();
        Ok::<_, Infallible>(upgrade.tunnel(&HeaderMap::new(), |mut tunnel: Tunnel| async move {
            tunnel.read_to_end(&mut Vec::new()).await.unwrap();
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                tunnel.write_all(b".").await.unwrap();
            }
            tunnel.shutdown().await.unwrap();
        }))
    });
    let mut config = Config::to(upstream(site).await);
    config.all.to = Some(Protocol::Http2.to_string());
    config.all.close_timeout = Some(Duration::from_secs(3).into());
    let limits = Limits::new().close_timeout(Duration::from_secs(60));
    let client = Client::builder().http2_only().limits(limits);
    let client = client.lazy(&format!("http://{}", gateway_of(&config).await.0)).unwrap();
    let mut tunnel = open_tunnel(&client).await;
    tunnel.shutdown().await.unwrap();
    let mut words = Vec::new();
    soon(tunnel.read_to_end(&mut words)).await.unwrap();
    assert_eq!(words, b"......");
}

/// A server of HTTP/2, written by hand, that opens the first WebSocket, and its connection.
async fn take_stream(listener: &TcpListener) -> TcpStream {
    const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01";
    const HEADERS: u8 = 1;
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    soon(stream.read_exact(&mut [0; 24])).await.unwrap();
    loop {
        let mut head = [0; 9];
        soon(stream.read_exact(&mut head)).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        soon(stream.read_exact(&mut vec![0; length])).await.unwrap();
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(b"\0\0\x01\x01\x04\0\0\0\x01\x88").await.unwrap();
    stream
}

/// RFC 9113 §8.1: servers reset for no error what they have ended, and the other side has not. That takes nothing back.
#[tokio::test]
async fn what_was_said_before_a_reset_for_no_error_arrives() {
    const LAST: &[u8] = b"\x81\x02so\x88\x02\x03\xe8";
    const DATA: &[u8] = b"\0\0\x08\0\x01\0\0\0\x01";
    const RST_STREAM: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\0";
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, Protocol::Http2).await;
        let (mut client, mut upstream) = tokio::join!(open(gateway, version, false), take_stream(&listener));
        upstream.write_all(&[DATA, LAST, RST_STREAM].concat()).await.unwrap();
        let mut words = Vec::new();
        soon(client.octets().read_to_end(&mut words)).await.expect("a clean end");
        assert_eq!(words, LAST, "{version:?}");
    }
}

/// RFC 9113 §7: CANCEL is what a closed tab sends; the upstream learns of it as a reset, whoever waits for whom.
#[tokio::test]
async fn a_reset_of_the_client_aborts_the_upstream() {
    for is_stuck in [false, true] {
        let (url, listener) = raw_upstream().await;
        let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
        let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
        if is_stuck {
            // As much as finds room on the way, with nobody to read it.
            let octets = vec![0; 32 << 20];
            let flood = tunnel.write_all(&octets);
            tokio::time::timeout(std::time::Duration::from_millis(500), flood).await.unwrap_err();
        }
        tunnel.reset(Reason::CANCEL);
        let mut octets = Vec::new();
        let error = soon(upstream.read_to_end(&mut octets)).await.expect_err("no clean end");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "stuck: {is_stuck}");
    }
}

/// A socket's end as its owner has it: a connection of HTTP/1.1, or a stream.
enum Owned {
    Connection(TcpStream),
    Stream(Tunnel),
}

impl Owned {
    /// Breaks it off: RST of TCP, RST_STREAM with CANCEL.
    fn abort(self) {
        match self {
            Self::Connection(stream) => {
                socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
            Self::Stream(tunnel) => tunnel.reset(Reason::CANCEL),
        }
    }

    /// The same is seen at the other end.
    async fn sees_an_abort(self) {
        let mut octets = Vec::new();
        match self {
            Self::Connection(mut stream) => {
                let error = soon(stream.read_to_end(&mut octets)).await.expect_err("no clean end");
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
            Self::Stream(mut tunnel) => {
                soon(tunnel.read_to_end(&mut octets)).await.expect_err("no clean end");
                assert_eq!(tunnel.peer(), TunnelPeer::Reset(Reason::CANCEL));
            }
        }
        assert_eq!(octets, b"");
    }

    async fn exchange(&mut self, other: &mut Self) {
        let (one, other) = (self.octets(), other.octets());
        one.write_all(b"there").await.unwrap();
        let mut octets = [0; 5];
        soon(other.read_exact(&mut octets)).await.unwrap();
        other.write_all(&octets).await.unwrap();
        soon(one.read_exact(&mut octets)).await.unwrap();
        assert_eq!(&octets, b"there");
    }

    fn octets(&mut self) -> &mut dyn Octets {
        match self {
            Self::Connection(stream) => stream,
            Self::Stream(tunnel) => tunnel,
        }
    }
}

trait Octets: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Octets for T {}

/// A client's end of a new socket, whose connection of HTTP/1.1 has had an answer of the gateway's before where `is_later`.
async fn open(gateway: SocketAddr, version: Version, is_later: bool) -> Owned {
    if version == Version::HTTP_2 {
        return Owned::Stream(open_tunnel(&client(gateway, version)).await);
    }
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    if is_later {
        stream.write_all(b"OPTIONS / HTTP/1.1\r\nhost: x\r\nmax-forwards: 0\r\n\r\n").await.unwrap();
        soon(read_head(&mut stream)).await;
    }
    let head =
        b"GET /chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let answer = soon(read_head(&mut stream)).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    Owned::Connection(stream)
}

/// Both ends of a socket through the gateway.
async fn opened(from: Version, to: Protocol, is_later: bool) -> (Owned, Owned) {
    if to == Protocol::Http1 {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, to).await;
        let (client, (_, upstream)) = tokio::join!(open(gateway, from, is_later), take_socket(&listener));
        return (client, Owned::Connection(upstream));
    }
    let (sender, mut tunnels) = tokio::sync::mpsc::unbounded_channel();
    let url = upstream(tower::service_fn(move |mut request: http::Request<sockeye::Body>| {
        let sender = sender.clone();
        async move {
            let upgrade = sockeye::Upgrade::from_request(&mut request).expect("it is a handshake");
            let response = upgrade.tunnel(&http::HeaderMap::new(), move |tunnel| async move {
                sender.send(tunnel).ok();
            });
            Ok::<_, std::convert::Infallible>(response.map(sockeye::Body::from))
        }
    }))
    .await;
    let client = open(gateway(&url, to).await, from, is_later).await;
    (client, Owned::Stream(soon(tunnels.recv()).await.unwrap()))
}

/// RFC 9113 §7, RFC 9293 §3.10.5: what breaks off at one end breaks off at the other, whatever carries either.
#[tokio::test]
async fn an_abort_is_an_abort_all_four_ways() {
    for from in [Version::HTTP_11, Version::HTTP_2] {
        for to in [Protocol::Http1, Protocol::Http2] {
            for (is_of_client, is_later) in [(true, false), (false, false), (true, true), (false, true)] {
                let (mut client, mut upstream) = opened(from, to, is_later).await;
                client.exchange(&mut upstream).await;
                let (aborts, sees) = if is_of_client { (client, upstream) } else { (upstream, client) };
                aborts.abort();
                sees.sees_an_abort().await;
            }
        }
    }
}

/// A connection of the client's that is lost takes its sockets along, upstream too.
#[tokio::test]
async fn a_lost_connection_aborts_the_upstream() {
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let client = client(gateway, Version::HTTP_2);
    let (tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    drop((tunnel, client));
    soon(upstream.read_to_end(&mut Vec::new())).await.expect_err("no clean end");
}

/// RFC 6455 §7.4.1: a gateway that goes away says 1001 between two frames, whatever the upstream is in the middle of; nothing of the
/// upstream's follows, and the client's own Close goes on to it.
#[tokio::test]
async fn a_drain_closes_with_1001_between_frames() {
    for is_within in [false, true] {
        let (url, listener) = raw_upstream().await;
        let (address, handle) = gateway_with_handle(&url, Protocol::Http1).await;
        let client = client(address, Version::HTTP_2);
        let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
        let frame = b"\x82\x05hello";
        upstream.write_all(if is_within { &frame[..4] } else { frame }).await.unwrap();
        let mut seen = [0; 4];
        soon(tunnel.read_exact(&mut seen)).await.unwrap();
        handle.shutdown();
        let mut rest = vec![0; 3 + 4];
        if is_within {
            // Not before the frame is whole.
            let early = tokio::time::timeout(std::time::Duration::from_millis(200), tunnel.read(&mut rest)).await;
            assert!(early.is_err(), "{early:?}");
            upstream.write_all(&[&frame[4..], b"\x82\x05later"].concat()).await.unwrap();
        }
        soon(tunnel.read_exact(&mut rest)).await.unwrap();
        assert_eq!(rest, b"llo\x88\x02\x03\xe9", "within a frame: {is_within}");
        upstream.write_all(b"\x82\x05later").await.unwrap();
        tunnel.write_all(b"the client's Close").await.unwrap();
        let mut close = [0; 18];
        soon(upstream.read_exact(&mut close)).await.unwrap();
        assert_eq!(&close, b"the client's Close");
        upstream.shutdown().await.unwrap();
        let mut after = Vec::new();
        soon(tunnel.read_to_end(&mut after)).await.unwrap();
        assert_eq!((after.len(), tunnel.peer()), (0, TunnelPeer::Finished));
    }
}
