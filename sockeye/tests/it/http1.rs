//! HTTP/1.1: which handler runs, what a request may expect, and whose fault an end is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use sockeye::{Body, BoxError, Counter, Error, Fault, Limits, Peer, Server, Upgrade, WebSocket, websocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tower::service_fn;

use crate::common::http::Http;
use crate::common::{Carrier, Running, Socket, echo, handshake, start, within};

/// A raw connection.
pub(crate) struct Wire<T = TcpStream>(pub(crate) T);

impl Wire {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        assert!(self.try_send(octets).await);
    }

    pub(crate) async fn try_send(&mut self, octets: &[u8]) -> bool {
        within(self.0.write_all(octets)).await.is_ok() && within(self.0.flush()).await.is_ok()
    }

    /// The next octets that come together, up to the end of what their head promises; nothing at the end.
    pub(crate) async fn answer(&mut self) -> String {
        let mut octets = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&octets);
            if let Some((head, content)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length =
                    length.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap());
                if content.len() >= length.parse().unwrap() {
                    return text.into_owned();
                }
            }
            if within(self.0.read_buf(&mut octets)).await.unwrap_or(0) == 0 {
                return String::from_utf8_lossy(&octets).into_owned();
            }
        }
    }

    /// All there is up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        while matches!(within(self.0.read_buf(&mut octets)).await, Ok(1..)) {}
        octets
    }
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A handshake with these fields besides its own.
pub(crate) fn upgrade(path: &str, connection: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n{more}\r\n"
    )
    .into_bytes()
}

/// "hi", masked.
const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

/// Handlers that have started.
type Started = Arc<AtomicUsize>;

/// RFC 9112 §2.2, RFC 9110 §15.6.6: who asks for something in words that are nearly HTTP/1.1 is told so.
#[tokio::test]
async fn a_head_that_is_wrong_is_answered() {
    let server = start(Server::new(), websocket(echo)).await;
    let rows = [
        ("GET /\rx", 400),
        ("GET /", 400),
        ("GET / HTTP", 400),
        ("GET /\0 HTTP/1.1", 400),
        ("GET / HTTP/1.1 x", 400),
        ("GET x HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nno field", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\na\0: b", 400),
        ("GET / HTTP/20", 400),
        ("GET / HTTP/2.0", 505),
        ("\r\nGET / HTTP/0.9\nhost: a", 505),
    ];
    for (head, expected) in rows {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(format!("{head}\r\n\r\n").as_bytes()).await;
        let answer = wire.answer().await;
        assert_eq!(status(&answer), expected, "{head:?}: {answer:?}");
    }
}

/// Accepts a handshake, and answers as the path asks.
async fn replaced(mut request: Request<Body>, started: Started) -> Result<Response<Body>, BoxError> {
    let path = request.uri().path().to_owned();
    let accepted = Upgrade::from_request(&mut request)?.accept(move |socket: WebSocket| async move {
        started.fetch_add(1, Ordering::SeqCst);
        echo(socket).await
    });
    let mut fresh = Response::new(Body::from("no"));
    match path.as_str() {
        "/403" => {
            let (mut head, body) = accepted.into_parts();
            head.status = StatusCode::FORBIDDEN;
            Ok(Response::from_parts(head, body))
        }
        "/403-with-content" => {
            let mut response = accepted.map(|_| Body::from("no"));
            *response.status_mut() = StatusCode::FORBIDDEN;
            Ok(response)
        }
        "/200" => Ok(fresh),
        "/404" => {
            *fresh.status_mut() = StatusCode::NOT_FOUND;
            Ok(fresh)
        }
        "/error" => Err("no".into()),
        "/panic" => panic!("after accept"),
        _ => Ok(accepted),
    }
}

const REPLACED: [&str; 6] = ["/403", "/403-with-content", "/200", "/404", "/error", "/panic"];

async fn replacing(started: &Started) -> Running {
    let started = started.clone();
    start(Server::new(), service_fn(move |request| replaced(request, started.clone()))).await
}

async fn check_that_nothing_starts(addr: SocketAddr, path: &str, started: &Started) {
    for connection in ["close, upgrade", "upgrade"] {
        let mut wire = Wire::connect(addr).await;
        wire.send(&upgrade(path, connection, "")).await;
        let answer = wire.answer().await;
        assert_ne!(status(&answer), 101, "{path}");
        wire.try_send(HI).await;
        wire.0.shutdown().await.ok();
        let rest = wire.rest().await;
        assert!(!rest.windows(3).any(|window| window == b"\x02hi"), "{path}: {rest:?}");
        sleep(Duration::from_millis(20)).await;
        assert_eq!(started.load(Ordering::SeqCst), 0, "{path}, {connection}");
    }
}

/// A handshake's handler belongs to its response: where another went out, no handler runs.
#[tokio::test]
async fn a_response_that_was_replaced_starts_no_handler() {
    let started = Started::default();
    let server = replacing(&started).await;
    for path in REPLACED {
        check_that_nothing_starts(server.addr, path, &started).await;
    }
    let mut socket = Socket::open(Carrier::Http1, server.addr).await;
    socket.check_echo("hello").await;
    assert_eq!(started.load(Ordering::SeqCst), 1);
}

/// The same in the server of axum, as far as can be seen there.
#[tokio::test]
async fn a_response_that_was_replaced_starts_no_handler_in_axum() {
    let started = Started::default();
    let handler = {
        let started = started.clone();
        move |socket: WebSocket| {
            let started = started.clone();
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                echo(socket).await
            }
        }
    };
    let forbid = axum::middleware::map_response(|mut response: Response<axum::body::Body>| async move {
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    });
    let replace = axum::middleware::map_response(|_: Response<axum::body::Body>| async { StatusCode::FORBIDDEN });
    let recollect = axum::middleware::map_response(|response: Response<axum::body::Body>| async {
        let (head, body) = response.into_parts();
        let content = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, axum::body::Body::from(content))
    });
    let sockets = websocket(handler);
    let router = Router::new()
        .merge(Router::new().route_service("/403", sockets.clone()).layer(forbid))
        .merge(Router::new().route_service("/replaced", sockets.clone()).layer(replace))
        .merge(Router::new().route_service("/collected", sockets.clone()).layer(recollect))
        .route_service("/", sockets);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for path in ["/403", "/replaced"] {
        check_that_nothing_starts(addr, path, &started).await;
    }
    for path in ["/", "/collected"] {
        let mut socket = Socket::open_with(Carrier::Http1, addr, &handshake(path)).await;
        socket.check_echo("hello").await;
        socket.close(1000.into(), "").await;
        assert_eq!(socket.close_code().await, 1000);
    }
    assert_eq!(started.load(Ordering::SeqCst), 2);
}

/// Handshakes whose responses were replaced leave nothing that wakes their connection.
#[tokio::test]
async fn refused_upgrades_on_one_connection_leave_it_idle() {
    let started = Started::default();
    let (mut client, ours) = tokio::io::duplex(1 << 16);
    let polls = Arc::new(AtomicUsize::new(0));
    let (counted, in_service) = (polls.clone(), started.clone());
    let service = service_fn(move |request| replaced(request, in_service.clone()));
    tokio::spawn(async move {
        let server = Server::new();
        let mut connection = Box::pin(server.serve_connection(ours, service));
        std::future::poll_fn(|cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            connection.as_mut().poll(cx)
        })
        .await
    });
    let mut wire = Wire(&mut client);
    for path in ["/403", "/200", "/403-with-content", "/403"] {
        wire.send(&upgrade(path, "upgrade", "")).await;
        assert_ne!(status(&wire.answer().await), 101);
    }
    sleep(Duration::from_millis(20)).await;
    let before = polls.load(Ordering::SeqCst);
    sleep(Duration::from_millis(100)).await;
    let after = polls.load(Ordering::SeqCst);
    assert!(after - before <= 2, "{} polls of an idle connection", after - before);
    // And the next handshake is answered there.
    wire.send(&upgrade("/", "upgrade", "")).await;
    assert_eq!(status(&wire.answer().await), 101);
    assert_eq!(started.load(Ordering::SeqCst), 1);
}

/// RFC 9110 §7.8: HTTP/1.0 has no upgrades.
#[tokio::test]
async fn an_upgrade_over_http_1_0_is_a_plain_request() {
    let server = start(Server::new(), websocket(echo)).await;
    let mut wire = Wire::connect(server.addr).await;
    let request = String::from_utf8(upgrade("/", "upgrade", "")).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    wire.send(request.as_bytes()).await;
    assert_eq!(status(&wire.answer().await), 426);
    let mut wire = Wire::connect(server.addr).await;
    let request = String::from_utf8(upgrade("/", "close, upgrade", "")).unwrap().replace("GET", "HEAD");
    wire.send(request.as_bytes()).await;
    assert_eq!(status(&wire.answer().await), 405);
}

/// An upgrade of somebody else's, here axum's kind: hyper's own.
#[tokio::test]
async fn upgrades_of_hyper_work_on_our_server() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut upgraded = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            upgraded.write_all(b"hello").await.unwrap();
            upgraded.shutdown().await.unwrap();
        });
        let (status, path) = (StatusCode::SWITCHING_PROTOCOLS, request.uri().path());
        let head = Response::builder().status(if path == "/403" { StatusCode::FORBIDDEN } else { status });
        Ok::<_, BoxError>(head.header("connection", "upgrade").header("upgrade", "other").body(Body::empty())?)
    });
    let server = start(Server::new(), service).await;
    let ask = |path: &str, connection: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\nupgrade: other\r\n\r\n")
    };
    let mut wire = Wire::connect(server.addr).await;
    wire.send(ask("/", "upgrade").as_bytes()).await;
    let answer = String::from_utf8(wire.rest().await).unwrap();
    assert!(status(&answer) == 101 && answer.ends_with("hello"), "{answer}");
    // Nor do they get a connection whose response was no 101.
    let mut wire = Wire::connect(server.addr).await;
    wire.send(ask("/403", "close, upgrade").as_bytes()).await;
    let answer = String::from_utf8(wire.rest().await).unwrap();
    assert!(status(&answer) == 403 && !answer.ends_with("hello"), "{answer}");
}

/// A service that knows hyper's upgrades alone, as axum's extractor, gets one for a WebSocket too, though our own engine reads
/// such a request: octets go both ways, as many as it likes, and end when it shuts down or drops them.
#[tokio::test]
async fn upgrades_of_hyper_are_lent_to_websockets() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        let path = request.uri().path().to_owned();
        let is_refused = path == "/403";
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return assert!(is_refused) };
            assert!(!is_refused);
            let mut upgraded = hyper_util::rt::TokioIo::new(upgraded);
            let mut octets = vec![0; 1 << 20];
            upgraded.read_exact(&mut octets).await.unwrap();
            octets.reverse();
            upgraded.write_all(&octets).await.unwrap();
            if path == "/shutdown" {
                upgraded.shutdown().await.unwrap();
                assert_eq!(upgraded.read(&mut octets).await.unwrap(), 0);
            }
        });
        let status = if is_refused { StatusCode::FORBIDDEN } else { StatusCode::SWITCHING_PROTOCOLS };
        let head = Response::builder().status(status).header("connection", "upgrade").header("upgrade", "websocket");
        Ok::<_, BoxError>(head.body(Body::empty())?)
    });
    let server = start(Server::new(), service).await;
    for path in ["/shutdown", "/drop"] {
        let mut wire = Wire::connect(server.addr).await;
        let octets: Vec<_> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
        wire.send(&upgrade(path, "upgrade", "")).await;
        wire.send(&octets).await;
        let answer = wire.rest().await;
        let start = answer.len() - octets.len();
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer[..start].escape_ascii());
        assert!(answer[start..].iter().eq(octets.iter().rev()), "{path}");
    }
    let mut wire = Wire::connect(server.addr).await;
    wire.send(&upgrade("/403", "close, upgrade", "")).await;
    assert_eq!(status(&wire.answer().await), 403);
    assert_eq!(server.handle.counter(Counter::Panics), 0);
}

/// A request that turned out to be no handshake is what it was.
#[tokio::test]
async fn a_failed_upgrade_leaves_the_request_as_it_was() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let before = (request.method().clone(), request.uri().clone(), request.headers().clone());
        assert!(Upgrade::from_request(&mut request).is_err());
        assert_eq!(before, (request.method().clone(), request.uri().clone(), request.headers().clone()));
        let peer = request.extensions().get::<Peer>().map(Peer::version);
        let protocol = request.extensions().get::<sockeye::Protocol>().is_some();
        let upgrade = request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some();
        Ok::<_, BoxError>(Response::new(Body::from(format!("{peer:?} {protocol} {upgrade}"))))
    });
    let server = start(Server::new(), service).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let answer = Http::connect(version, server.addr).await.get("/").await;
        assert_eq!(answer.content, format!("Some({version:?}) false false"));
    }
    // One that asks for an upgrade, in wrong words.
    let mut wire = Wire::connect(server.addr).await;
    wire.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert!(wire.answer().await.ends_with("Some(HTTP/1.1) false true"));
    let mut wire = Wire::connect(server.addr).await;
    wire.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n").await;
    assert!(wire.answer().await.ends_with("Some(HTTP/1.1) false true"));
}

/// RFC 6455 §10.2: over TLS a page of the same origin came by TLS, whatever the version.
#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls_the_page_of_the_same_origin_came_by_tls() {
    let secure = crate::tls::Secure::serve(Server::new(), websocket(echo)).await;
    for (origin, target, expected) in [
        ("http://localhost", "/", 403),
        ("http://localhost:443", "/", 403),
        ("https://localhost", "/", 101),
        ("http://localhost", "http://localhost/", 403),
        ("https://localhost", "http://localhost/", 101),
        ("https://other.example", "/", 403),
    ] {
        let mut wire = Wire(secure.connect(&["http/1.1"]).await.unwrap());
        wire.send(&upgrade(target, "upgrade", &format!("origin: {origin}\r\n"))).await;
        assert_eq!(status(&wire.answer().await), expected, "{origin} {target}");
    }
    // In cleartext, TLS may have ended at a proxy.
    let server = start(Server::new(), websocket(echo)).await;
    for origin in ["http://localhost", "https://localhost"] {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(&upgrade("/", "upgrade", &format!("origin: {origin}\r\n"))).await;
        assert_eq!(status(&wire.answer().await), 101, "{origin}");
    }
}

/// RFC 9110 §7.8: the 100 goes before the 101.
#[tokio::test]
async fn an_upgrade_that_expects_100_gets_it_before_the_101() {
    let server = start(Server::new(), websocket(echo)).await;
    let mut wire = Wire::connect(server.addr).await;
    // Also behind an answer that is still on its way out.
    let first = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    wire.send(&[first, &upgrade("/", "upgrade", "expect: 100-continue\r\n")[..], HI].concat()).await;
    let mut answer = String::new();
    while !answer.ends_with("\u{2}hi") {
        let mut octets = [0; 4096];
        let read = within(wire.0.read(&mut octets)).await.unwrap();
        assert!(read > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&octets[..read]));
    }
    let (first, rest) = answer.split_once("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 ").expect(&answer);
    assert!(first.starts_with("HTTP/1.1 426") && !rest.contains("HTTP/1.1"), "{answer}");
    // Its refusal has none before it.
    let mut wire = Wire::connect(server.addr).await;
    wire.send(&upgrade("/", "upgrade", "expect: 100-continue\r\norigin: http://elsewhere\r\n")).await;
    assert_eq!(status(&wire.answer().await), 403);
}

/// RFC 9110 §10.1.1: when the service first asks for content, and not before.
#[tokio::test]
async fn a_request_that_expects_100_gets_it_when_it_is_read() {
    let service = service_fn(|request: Request<Body>| async move {
        if request.uri().path() == "/unread" {
            return Ok::<_, BoxError>(Response::new(Body::from("no need")));
        }
        Ok(Response::new(Body::from(request.into_body().collect().await?.to_bytes())))
    });
    let server = start(Server::new(), service).await;
    let head = |path| format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let mut wire = Wire::connect(server.addr).await;
    wire.send(head("/").as_bytes()).await;
    assert_eq!(wire.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    wire.send(b"hello").await;
    assert!(wire.answer().await.ends_with("hello"));
    let mut wire = Wire::connect(server.addr).await;
    wire.send(head("/unread").as_bytes()).await;
    assert_eq!(status(&wire.answer().await), 200);
}

/// What ended a connection, for octets of a client's that goes away after them.
async fn ended_by(octets: &[u8]) -> Result<(), Error> {
    let service = service_fn(|request: Request<Body>| async move {
        if request.uri().path() == "/broken" {
            let frames = futures_util::stream::iter([Ok(Frame::data(Bytes::from("a"))), Err("the service's own")]);
            return Ok::<_, Infallible>(Response::new(StreamBody::new(frames).boxed_unsync()));
        }
        Ok(Response::new(http_body_util::Full::from("whole").map_err(|never| match never {}).boxed_unsync()))
    });
    let (client, ours) = tokio::io::duplex(1 << 16);
    let mut wire = Wire(client);
    wire.send(octets).await;
    let task = tokio::spawn(async move { Server::new().serve_connection(ours, service).await });
    if !octets.starts_with(b"GET /broken") && octets.ends_with(b"\r\n\r\n") {
        wire.answer().await;
    }
    drop(wire);
    within(task).await.unwrap()
}

/// An end is told by whose doing it is.
#[tokio::test]
async fn ends_are_told_by_whose_fault_they_are() {
    let fault = |result: Result<(), Error>| result.map_err(|error| (error.fault(), error));
    assert!(matches!(fault(ended_by(b"").await), Ok(())));
    assert!(matches!(fault(ended_by(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await), Ok(())));
    assert!(matches!(fault(ended_by(b"GET / HTTP/1.1\r\nhost").await), Err((Fault::Network, Error::Disconnected))));
    let garbage = fault(ended_by(b"G\0T / HTTP/1.1\r\n\r\n").await);
    assert!(matches!(garbage, Err((Fault::Peer, Error::Violation(_)))), "{garbage:?}");
    let long = [b"GET / HTTP/1.1\r\nhost: a\r\nx: ".as_slice(), &[b'a'; 40_000], b"\r\n\r\n"].concat();
    let long = fault(ended_by(&long).await);
    let Err((Fault::Peer, Error::Violation(violation))) = &long else { panic!("{long:?}") };
    assert_eq!(violation.status().map(u16::from), Some(431));
    let broken = fault(ended_by(b"GET /broken HTTP/1.1\r\nhost: a\r\n\r\n").await);
    assert!(matches!(broken, Err((Fault::Application, Error::Application(_)))), "{broken:?}");
    let silent = async {
        let (client, ours) = tokio::io::duplex(64);
        let server = Server::new().limits(Limits::new().handshake_timeout(Duration::from_millis(50)));
        let mut wire = Wire(client);
        wire.send(b"GET / HTTP/1.1\r\nhost").await;
        within(server.serve_connection(ours, websocket(echo))).await
    };
    let silent = fault(silent.await);
    assert!(matches!(silent, Err((Fault::Network, Error::Timeout(_)))), "{silent:?}");
}

/// What a service hears about a body that breaks off, or is none.
#[tokio::test]
async fn faults_in_a_body_are_the_peers() {
    let (sender, mut faults) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            let read = request.into_body().collect().await.map(drop);
            sender.send(read.map_err(|error| (error.fault(), error)))?;
            Ok::<_, BoxError>(Response::new(Body::empty()))
        }
    });
    let server = start(Server::new(), service).await;
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
    for content in ["zz\r\n", "3\r\nabcX", "fffffffffffffffff\r\n", "3;\n\r\nabc\r\n", "3\r\nabc\r\n0\r\n:\r\n\r\n"] {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(format!("{chunked}{content}").as_bytes()).await;
        let fault = within(faults.recv()).await.unwrap();
        assert!(matches!(fault, Err((Fault::Peer, Error::Violation(_)))), "{content:?}: {fault:?}");
    }
    for octets in [format!("{chunked}3\r\nab"), format!("{length}hello"), format!("{chunked}3\r\nabc\r\n")] {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(octets.as_bytes()).await;
        sleep(Duration::from_millis(20)).await;
        drop(wire);
        let fault = within(faults.recv()).await.unwrap();
        assert!(matches!(fault, Err((Fault::Network, Error::Disconnected | Error::Io(_)))), "{octets:?}: {fault:?}");
        let mut wire = Wire::connect(server.addr).await;
        wire.send(octets.as_bytes()).await;
        sleep(Duration::from_millis(20)).await;
        wire.0.set_zero_linger().unwrap();
        drop(wire);
        let fault = within(faults.recv()).await.unwrap();
        assert!(matches!(fault, Err((Fault::Network, Error::Disconnected | Error::Io(_)))), "{octets:?}: {fault:?}");
    }
}

/// A service takes the socket of a connection's first request, as it takes a stream of HTTP/2.
#[tokio::test]
async fn a_socket_is_taken_over_before_its_response() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let mut socket = Upgrade::from_request(&mut request)?.take().await?;
        tokio::spawn(async move { socket.send("welcome").await });
        Ok::<_, BoxError>(Response::new(Body::from("nobody reads this")))
    });
    let server = start(Server::new(), service).await;
    let mut wire = Wire::connect(server.addr).await;
    wire.send(&upgrade("/", "upgrade", "")).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    // 1001: it was dropped, and no handler had a result.
    assert!(answer.ends_with(b"\r\n\r\n\x81\x07welcome\x88\x02\x03\xe9"), "{}", answer.escape_ascii());
}

/// So it does with that of a later request, for which hyper still waits: the service goes on as the handler of the socket.
#[tokio::test]
async fn a_later_socket_is_taken_over_before_its_response() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let mut socket = Upgrade::from_request(&mut request)?.take().await?;
        let message = socket.recv().await?.unwrap();
        socket.send(message).await?;
        socket.close().await?;
        Ok::<_, BoxError>(Response::new(Body::from("nobody reads this")))
    });
    let server = start(Server::new(), service).await;
    let mut wire = Wire::connect(server.addr).await;
    wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(status(&wire.answer().await), 500);
    wire.send(&[&upgrade("/", "upgrade", "")[..], b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8"].concat()).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    assert!(answer.ends_with(b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8"), "{}", answer.escape_ascii());
}

/// The peer of a later request hears why it is refused, and not what the service returns afterwards.
#[tokio::test]
async fn a_later_socket_of_a_foreign_origin_is_not_taken_over() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let error = Upgrade::from_request(&mut request)?.take().await.unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
        Ok::<_, BoxError>(Response::new(Body::from("nobody reads this")))
    });
    let server = start(Server::new(), service).await;
    let mut wire = Wire::connect(server.addr).await;
    wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(status(&wire.answer().await), 500);
    wire.send(&upgrade("/", "upgrade", "origin: https://elsewhere.example\r\n")).await;
    assert_eq!(status(&wire.answer().await), 403);
}

/// A target that names another host than Host changes that field, and no other.
#[tokio::test]
async fn other_fields_stay_as_they_are() {
    let service = service_fn(|request: Request<Body>| async move {
        assert_eq!(request.headers().get("x-a"), Some(&HeaderValue::from_static("b")));
        assert_eq!(request.headers().len(), 2);
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let server = start(Server::new(), service).await;
    let mut wire = Wire::connect(server.addr).await;
    wire.send(b"GET http://a/ HTTP/1.1\r\nhost: b\r\nx-a: b\r\n\r\n").await;
    assert_eq!(status(&wire.answer().await), 200);
    assert_eq!(server.handle.counter(Counter::Panics), 0);
    assert!(timeout(Duration::from_millis(1), wire.rest()).await.is_err(), "the connection stays");
}
