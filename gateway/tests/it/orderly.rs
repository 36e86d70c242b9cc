//! What the log and the counters say of a socket, while it lives and when it has ended; and ends that never come.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use sockeye::{Body, Client, Limits, Server, Tunnel, websocket};
use sockeye_gateway::{AccessLog, Config, Gateway, Live, LogFormat, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{client, echo, open_tunnel, raw_upstream, read_head, soon, take_socket, upstream};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];
const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// A gateway whose log and counters are looked at.
struct Observed {
    address: SocketAddr,
    live: Live,
    log: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Observed {
    async fn start(config: Config) -> Self {
        Self::start_in(Server::new(), config).await
    }

    async fn start_in(server: Server, config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (live, log) = (Live::new(&config).unwrap(), Lines::default());
        live.log_to(AccessLog::to(LogFormat::Text, log.clone()).unwrap());
        tokio::spawn(server.serve(listener, Gateway::new(live.clone())));
        Self { address, live, log }
    }

    /// How the next exchange ended.
    async fn end(&self) -> String {
        self.line().await.split("s ").last().unwrap().trim().to_owned()
    }

    /// What is logged of the next exchange.
    async fn line(&self) -> String {
        let text = async {
            loop {
                let octets = std::mem::take(&mut *self.log.0.lock().unwrap());
                if !octets.is_empty() {
                    return String::from_utf8(octets).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon(text).await
    }

    async fn counts(&self, line: &str) {
        let line = format!("sockeye_gateway_{line}\n");
        let found = async {
            while !self.live.prometheus().contains(&line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon(found).await;
    }
}

fn config(upstream: &str, protocol: Protocol) -> Config {
    let mut config = Config::to(upstream);
    config.all.to = Some(protocol.to_string());
    config
}

/// A stream of HTTP/2 whose octets go on to an upstream of HTTP/1.1 and back, with the `close-timeout` if there is to be one; the client
/// is to be kept.
async fn relay(close_timeout: Option<Duration>) -> (Observed, Tunnel, TcpStream, Client) {
    let (url, listener) = raw_upstream().await;
    let mut config = config(&url, Protocol::Http1);
    config.all.close_timeout = close_timeout.map(Into::into);
    let gateway = Observed::start(config).await;
    let client = client(gateway.address, Version::HTTP_2);
    let (tunnel, (_, upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    (gateway, tunnel, upstream, client)
}

/// RFC 6455 §7.1.4: a Close each way and the ends behind it are what both wanted, whoever began.
#[tokio::test]
async fn a_closing_handshake_is_logged_as_done() {
    let closes = websocket(|mut socket: sockeye::WebSocket| async move {
        match socket.request().uri.path() {
            "/close" => socket.close().await,
            _ => echo(socket).await,
        }
    });
    let upstream = upstream(closes).await;
    for protocol in PROTOCOLS {
        let gateway = Observed::start(config(&upstream, protocol)).await;
        for version in VERSIONS {
            let client = client(gateway.address, version);
            let mut socket = soon(client.open("/")).await.unwrap();
            soon(socket.close()).await.unwrap();
            assert_eq!(gateway.end().await, "done", "the client closes, {version:?} to {protocol}");
            let mut socket = soon(client.open("/close")).await.unwrap();
            assert_eq!(soon(socket.recv()).await.unwrap(), None);
            drop(socket);
            assert_eq!(gateway.end().await, "done", "the upstream closes, {version:?} to {protocol}");
        }
    }
}

/// An end without a Close is what it was.
#[tokio::test]
async fn an_end_without_a_close_names_who_left() {
    for upstream_first in [false, true] {
        let (gateway, mut tunnel, mut upstream, _client) = relay(None).await;
        if upstream_first {
            upstream.shutdown().await.unwrap();
            soon(tunnel.read_to_end(&mut Vec::new())).await.unwrap();
            tunnel.shutdown().await.unwrap();
        } else {
            tunnel.shutdown().await.unwrap();
            soon(upstream.read_to_end(&mut Vec::new())).await.unwrap();
            upstream.shutdown().await.unwrap();
        }
        assert_eq!(gateway.end().await, if upstream_first { "upstream_left" } else { "client_left" });
    }
}

/// Asks for something, and waits for all of it.
async fn ask(gateway: SocketAddr, version: Version) {
    if version == Version::HTTP_2 {
        let client = client(gateway, version);
        let response = client.request(Request::get("http://example.com/").body(Body::empty()).unwrap()).await;
        response.unwrap().into_body().collect().await.ok();
    } else {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.ok();
    }
}

/// A client that is still there as a drain is over did not leave.
#[tokio::test]
async fn what_is_cut_off_behind_a_drain_is_logged_as_drained() {
    const PART: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart";
    for version in VERSIONS {
        let (url, listener) = raw_upstream().await;
        let start = || async {
            let server = Server::new().limits(Limits::new().shutdown_timeout(Duration::from_millis(100)));
            (server.handle(), Observed::start_in(server, config(&url, Protocol::Http1)).await)
        };
        for answer in ["", PART] {
            let (handle, gateway) = start().await;
            tokio::spawn(ask(gateway.address, version));
            let (mut upstream, _) = soon(listener.accept()).await.unwrap();
            soon(read_head(&mut upstream)).await;
            upstream.write_all(answer.as_bytes()).await.unwrap();
            handle.shutdown();
            assert_eq!(gateway.end().await, "drained", "a request of {version:?} that got {answer:?}");
        }
        let (handle, gateway) = start().await;
        let client = client(gateway.address, version);
        let (socket, (_, _upstream)) = tokio::join!(soon(client.open("/")), take_socket(&listener));
        let _socket = socket.unwrap();
        handle.shutdown();
        assert_eq!(gateway.end().await, "drained", "a WebSocket of {version:?} that answers no Close");
    }
}

/// The status page and the metrics move while a socket lives, and count each octet once.
#[tokio::test]
async fn octets_are_counted_while_a_socket_lives() {
    let upstream = upstream(websocket(echo)).await;
    for protocol in PROTOCOLS {
        let gateway = Observed::start(config(&upstream, protocol)).await;
        let client = client(gateway.address, Version::HTTP_2);
        let mut socket = soon(client.open("/")).await.unwrap();
        soon(socket.send("hello")).await.unwrap();
        soon(socket.recv()).await.unwrap();
        // A head of two octets, a masking key from the client.
        gateway.counts("octets_total{direction=\"received\"} 11").await;
        gateway.counts("octets_total{direction=\"sent\"} 7").await;
        gateway.counts("open_web_sockets 1").await;
        soon(socket.close()).await.unwrap();
        gateway.counts("open_web_sockets 0").await;
        gateway.counts("octets_total{direction=\"received\"} 19").await;
        gateway.counts("octets_total{direction=\"sent\"} 11").await;
    }
}

/// RFC 9113 §7: Chromium resets a stream that ended without a Close. It is no more than the answer to an end, whoever gives it.
#[tokio::test]
async fn a_reset_behind_the_other_sides_end_is_none() {
    for upstream_first in [false, true] {
        let (gateway, mut tunnel, mut upstream, _client) = relay(None).await;
        if upstream_first {
            upstream.shutdown().await.unwrap();
            soon(tunnel.read_to_end(&mut Vec::new())).await.unwrap();
            tunnel.reset(sockeye::Reason::CANCEL);
        } else {
            tunnel.shutdown().await.unwrap();
            soon(upstream.read_to_end(&mut Vec::new())).await.unwrap();
            socket2::SockRef::from(&upstream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(upstream);
        }
        assert_eq!(gateway.end().await, if upstream_first { "upstream_left" } else { "client_left" });
    }
}

/// RFC 6455 §7.1.1: an upstream that has said Close and ended is not kept waiting for a client that never ends its half, as Firefox: many
/// servers tell their application of the end only then.
#[tokio::test]
async fn an_upstream_that_has_closed_does_not_wait_for_the_clients_end() {
    let (gateway, mut tunnel, mut upstream, _client) = relay(None).await;
    tunnel.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    upstream.write_all(b"\x88\x00").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    let at_ease = tokio::time::timeout(Duration::from_secs(4), upstream.read_to_end(&mut heard));
    at_ease.await.expect("the server's own patience of 5 s is not in the way").unwrap();
    assert_eq!(heard, b"\x88\x80\0\0\0\0");
    assert_eq!(gateway.end().await, "done");
    let mut told = Vec::new();
    soon(tunnel.read_to_end(&mut told)).await.unwrap();
    assert_eq!(told, b"\x88\x00");
}

/// RFC 6455 §7.1.1: over TCP it is the server that ends first, and many take a FIN behind a Close for a connection that is gone, and answer
/// nothing. Chromium ends its stream together with its Close; the upstream's FIN waits for its answer.
#[tokio::test]
async fn the_end_behind_a_clients_close_waits_for_the_upstreams_close() {
    const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
    for answers in [true, false] {
        let time = Duration::from_millis(if answers { 9000 } else { 400 });
        let (gateway, mut tunnel, mut upstream, _client) = relay(Some(time)).await;
        tunnel.write_all(CLOSE).await.unwrap();
        tunnel.shutdown().await.unwrap();
        let mut heard = vec![0; CLOSE.len()];
        soon(upstream.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, CLOSE);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let kind = upstream.try_read(&mut heard).map_err(|error| error.kind());
        assert_eq!(kind, Err(std::io::ErrorKind::WouldBlock));
        if answers {
            // It does not end its half: nothing is left to wait for.
            upstream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
            assert_eq!(soon(upstream.read(&mut heard)).await.unwrap(), 0);
            drop(upstream);
            let mut told = Vec::new();
            soon(tunnel.read_to_end(&mut told)).await.unwrap();
            assert_eq!(told, b"\x88\x02\x03\xe8");
            assert_eq!(gateway.end().await, "done");
        } else {
            // Nobody waits longer than the option says.
            assert_eq!(gateway.end().await, "client_left");
        }
    }
}

/// A side that never ends behind the other's end is cut off, after its time of silence and no earlier.
#[tokio::test]
async fn who_never_ends_its_half_is_cut_off() {
    for upstream_first in [false, true] {
        let time = Duration::from_millis(400);
        let (gateway, mut tunnel, mut upstream, _client) = relay(Some(time)).await;
        let before = tokio::time::Instant::now();
        if upstream_first {
            upstream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
            upstream.shutdown().await.unwrap();
            soon(tunnel.read_to_end(&mut Vec::new())).await.unwrap();
        } else {
            tunnel.shutdown().await.unwrap();
        }
        // What moves begins the time anew.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let empty = b"\x82\x00";
            if upstream_first {
                tunnel.write_all(empty).await.unwrap();
            } else {
                upstream.write_all(empty).await.unwrap();
            }
        }
        let end = gateway.end().await;
        assert!(before.elapsed() >= Duration::from_millis(1100), "{:?}", before.elapsed());
        assert_eq!(end, if upstream_first { "done" } else { "client_left" });
        soon(upstream.read_to_end(&mut Vec::new())).await.ok();
        gateway.counts("open_web_sockets 0").await;
        let address = upstream.local_addr().unwrap();
        gateway.counts(&format!("upstream_open{{upstream=\"http://{address}\"}} 0")).await;
    }
}

/// A 101 with a wrong Accept is a failure of the upstream's; a page where a client asked for a socket is none (RFC 6455 §4.1).
#[tokio::test]
async fn a_wrong_accept_is_a_failure_and_a_page_is_none() {
    const WRONG: &str =
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n";
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    for (answer, failures) in [(WRONG, 6), (PAGE, 0)] {
        let (url, listener) = raw_upstream().await;
        let gateway = Observed::start(config(&url, Protocol::Http1)).await;
        let client = client(gateway.address, Version::HTTP_2);
        for _ in 0..6 {
            let answered = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                crate::common::read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream
            };
            let (opened, _stream) = soon(async { tokio::join!(client.open("/"), answered) }).await;
            opened.unwrap_err();
        }
        let upstream = gateway.live.upstreams().pop().unwrap();
        assert_eq!((upstream.failures(), upstream.trouble().is_some()), (failures, failures > 0), "{answer}");
    }
}

/// Trailers, and a length that does not count, end an answer as well as its last octet does.
#[tokio::test]
async fn an_answer_that_is_whole_is_logged_as_done() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n5\r\nwhole\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
    ] {
        let (url, listener) = raw_upstream().await;
        let gateway = Observed::start(config(&url, Protocol::Http1)).await;
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let (mut upstream, _) = soon(listener.accept()).await.unwrap();
        soon(read_head(&mut upstream)).await;
        upstream.write_all(answer.as_bytes()).await.unwrap();
        let mut said = String::new();
        soon(client.read_to_string(&mut said)).await.unwrap();
        assert!(said.contains("whole") && !said.contains("content-length"), "{said}");
        assert_eq!(gateway.end().await, "done", "{answer}");
    }
}

async fn swallow(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    // It knows that content broke off, and answers all the same.
    request.into_body().collect().await.ok();
    Ok(Response::new(Body::empty()))
}

/// What went on counts, also where nobody waits for an answer any more.
#[tokio::test]
async fn what_was_sent_by_a_client_that_left_is_logged() {
    let (url, listener) = raw_upstream().await;
    let gateway = Observed::start(config(&url, Protocol::Http1)).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\npart").await.unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    soon(upstream.read_exact(&mut [0; 4])).await.unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let line = gateway.line().await;
    assert!(line.contains(" in 4 out 0 ") && line.trim_end().ends_with("client_left"), "{line}");
}

/// What a client does not send whole is no upstream's fault: none rests for it, and the client is told what it did.
#[tokio::test]
async fn content_that_breaks_off_is_the_clients() {
    const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let url = upstream(tower::service_fn(swallow)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let gateway = Observed::start(config(&url, protocol)).await;
        for _ in 0..4 {
            let mut client = TcpStream::connect(gateway.address).await.unwrap();
            client.write_all(format!("{CHUNKED}zz\r\n").as_bytes()).await.unwrap();
            let mut said = String::new();
            soon(client.read_to_string(&mut said)).await.ok();
            assert!(said.starts_with("HTTP/1.1 400 "), "{protocol}: {said}");
            assert_ne!(gateway.end().await, "client_left", "{protocol}");

            let mut client = TcpStream::connect(gateway.address).await.unwrap();
            client.write_all(CHUNKED.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            soon(client.read_to_string(&mut said)).await.ok();
            assert_eq!(gateway.end().await, "client_left", "{protocol}");
        }
        gateway.counts(&format!("upstream_failures_total{{upstream=\"{url}\"}} 0")).await;
    }
}
