//! HTTP/1.1: lives that end when they end.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use sockeye::{Body, BoxError, Counter, HttpService, Limits, Server, WebSocket, websocket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::service_fn;

use crate::common::{Carrier, Running, Socket, echo, start, within};
use crate::counters::counted;
use crate::http1::{Wire, status, upgrade};

/// Tells its name as it begins, and once more as it ends.
struct Life(mpsc::UnboundedSender<&'static str>, &'static str);

impl Life {
    fn begin(lives: &mpsc::UnboundedSender<&'static str>, name: &'static str) -> Self {
        lives.send(name).ok();
        Self(lives.clone(), name)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.send(self.1).ok();
    }
}

/// Content that never comes.
struct Silent(#[expect(dead_code, reason = "for its end")] Life);

impl http_body::Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

type Content = UnsyncBoxBody<Bytes, BoxError>;

/// Lives that end only if they are ended: a service that does not answer, content that does not come.
async fn stall(
    request: Request<Body>,
    lives: mpsc::UnboundedSender<&'static str>,
) -> Result<Response<Content>, BoxError> {
    let life = |name| Life::begin(&lives, name);
    let silent = |life| Response::new(Silent(life).map_err(|never| match never {}).boxed_unsync());
    match request.uri().path() {
        "/poll" => {
            let _life = life("poll");
            pending().await
        }
        // With its content unread, but held.
        "/held" => {
            let _life = life("held");
            let _request = request;
            pending().await
        }
        "/upload" => {
            let _life = life("upload");
            let _ = request.into_body().collect().await;
            pending().await
        }
        // With its content dropped.
        "/ignored" => {
            drop(request);
            Ok(silent(life("ignored")))
        }
        "/events" => Ok(silent(life("events"))),
        _ => Ok(Response::new(Body::from("ok").map_err(Into::into).boxed_unsync())),
    }
}

fn stalling() -> (impl HttpService, mpsc::UnboundedReceiver<&'static str>) {
    let (sender, lives) = mpsc::unbounded_channel();
    (service_fn(move |request| stall(request, sender.clone())), lives)
}

const LEN: &str = "content-length: 100000\r\n\r\nhello";

/// Requests that stall, and the life that each has.
fn stalled() -> Vec<(String, &'static str)> {
    let head = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nhost: a\r\n");
    let get = |path| head("GET", path) + "\r\n";
    vec![
        (get("/poll"), "poll"),
        (get("/events"), "events"),
        (head("POST", "/held") + LEN, "held"),
        (head("POST", "/upload") + LEN, "upload"),
        (head("POST", "/upload") + "transfer-encoding: chunked\r\n\r\n5\r\nhel", "upload"),
        (head("POST", "/held") + "expect: 100-continue\r\n" + LEN, "held"),
        (head("POST", "/held") + "content-length: 40000\r\n\r\n" + &"a".repeat(40_000), "held"),
        (head("POST", "/ignored") + LEN, "ignored"),
        // With more on the connection behind it.
        (get("/poll") + &get("/"), "poll"),
        (get("/events") + &get("/"), "events"),
        (get("/poll") + "\r\n", "poll"),
        (get("/") + &get("/events") + "GET / HT", "events"),
    ]
}

/// Gives up who ended its half after a moment.
fn impatient() -> Limits {
    Limits::new().half_close_timeout(Duration::from_millis(100))
}

/// What a client gives up is dropped: when the connection is reset, and when it had the time of who ended its half.
#[tokio::test]
async fn what_a_client_gives_up_is_dropped() {
    let (service, mut lives) = stalling();
    let server = start(Server::new().limits(impatient()), service).await;
    for (octets, life) in stalled() {
        for reset in [false, true] {
            let mut wire = Wire::connect(server.addr).await;
            wire.send(octets.as_bytes()).await;
            assert_eq!(within(lives.recv()).await, Some(life));
            sleep(Duration::from_millis(30)).await;
            assert!(lives.try_recv().is_err(), "{octets:.60?} lives while its client waits");
            if reset {
                wire.0.set_zero_linger().unwrap();
            }
            drop(wire);
            let ended = within(lives.recv()).await;
            assert_eq!(ended, Some(life), "reset: {reset}, {octets:.60?}");
        }
    }
    idle(&server).await;
}

/// A plain request and one for a WebSocket, which hyper does not see.
#[tokio::test]
async fn what_a_half_closed_client_does_not_wait_for_is_counted() {
    let (service, mut lives) = stalling();
    let server = start(Server::new().limits(impatient()), service).await;
    for (octets, count) in
        [(b"GET /poll HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), 1), (upgrade("/poll", "upgrade", ""), 2)]
    {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(&octets).await;
        wire.0.shutdown().await.unwrap();
        assert_eq!((within(lives.recv()).await, within(lives.recv()).await), (Some("poll"), Some("poll")));
        assert_eq!(within(wire.rest()).await, b"");
        counted(&server.handle, Counter::HalfCloseTimeouts, count).await;
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn what_a_client_gives_up_over_tls_is_dropped() {
    let (service, mut lives) = stalling();
    let secure = crate::tls::Secure::serve(Server::new().limits(impatient()), service).await;
    for (octets, life) in stalled() {
        for cut in [false, true] {
            let mut wire = Wire(secure.connect(&["http/1.1"]).await.unwrap());
            wire.send(octets.as_bytes()).await;
            assert_eq!(within(lives.recv()).await, Some(life));
            sleep(Duration::from_millis(30)).await;
            assert!(lives.try_recv().is_err(), "{octets:.60?} lives while its client waits");
            if cut {
                wire.0.get_ref().0.set_zero_linger().unwrap();
            } else {
                wire.0.shutdown().await.unwrap();
            }
            drop(wire);
            let ended = within(lives.recv()).await;
            assert_eq!(ended, Some(life), "cut: {cut}, {octets:.60?}");
        }
    }
    idle(&secure.running).await;
}

/// Waits until the server has no connection.
async fn idle(server: &Running) {
    within(async {
        while !server.handle.connections().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A client may end its half behind its request, as scripts do, and read the answer.
#[tokio::test]
async fn a_half_closed_client_is_answered() {
    let service = service_fn(|request: Request<Body>| async move {
        let content = request.into_body().collect().await?.to_bytes();
        tokio::task::yield_now().await;
        Ok::<_, BoxError>(Response::new(Body::from(content)))
    });
    let server = start(Server::new(), service).await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    for (octets, answers) in
        [("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 1), (post.to_owned(), 1), (post.repeat(3), 3)]
    {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(octets.as_bytes()).await;
        wire.0.shutdown().await.unwrap();
        let rest = String::from_utf8(wire.rest().await).unwrap();
        assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), answers, "{octets:?}: {rest}");
    }
    idle(&server).await;
}

/// RFC 9112 §9.6: who ends its half is answered when there is an answer, and gets all of one that it takes slowly.
#[tokio::test]
async fn a_half_closed_client_may_wait() {
    const LARGE: usize = 16 << 20;
    let service = service_fn(|request: Request<Body>| async move {
        sleep(Duration::from_millis(300)).await;
        let large = vec![b'a'; LARGE];
        Ok::<_, BoxError>(Response::new(Body::from(if request.uri().path() == "/large" { large } else { Vec::new() })))
    });
    let patient = Limits::new().half_close_timeout(Duration::MAX);
    let server = start(Server::new().limits(patient), service).await;
    let get = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    for octets in [get, upgrade("/", "upgrade", "")] {
        let mut wire = Wire::connect(server.addr).await;
        wire.send(&octets).await;
        wire.0.shutdown().await.unwrap();
        assert_eq!(status(&String::from_utf8(wire.rest().await).unwrap()), 200);
    }
    idle(&server).await;
    let server =
        start(Server::new().limits(Limits::new().half_close_timeout(Duration::from_millis(500))), service).await;
    let mut wire = Wire::connect(server.addr).await;
    wire.send(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    wire.0.shutdown().await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert!(wire.rest().await.len() > LARGE);
    idle(&server).await;
}

/// A server whose handler does as the path says, and never looks at its socket.
async fn outliving(server: Server) -> (Running, mpsc::UnboundedReceiver<&'static str>) {
    let (sender, lives) = mpsc::unbounded_channel();
    let handler = move |mut socket: WebSocket| {
        let life = Life::begin(&sender, "handler");
        async move {
            let _life = life;
            match socket.request().uri.path() {
                "/blind" => pending::<()>().await,
                "/sends" => loop {
                    socket.send("tick").await.ok();
                    sleep(Duration::from_millis(10)).await;
                },
                "/recv" => {
                    while let Ok(Some(_)) = socket.recv().await {}
                    pending::<()>().await;
                }
                _ => {
                    socket.close().await.ok();
                    pending::<()>().await;
                }
            }
            drop(socket);
        }
    };
    (start(server, websocket(handler)).await, lives)
}

/// A handler that outlives its ended transport gets `close_timeout`, whatever it waits for.
#[tokio::test]
async fn a_handler_that_outlives_its_transport_is_dropped_in_time() {
    const TIME: Duration = Duration::from_millis(300);
    let (server, mut lives) = outliving(Server::new().limits(Limits::new().close_timeout(TIME))).await;
    for path in ["/blind", "/sends", "/recv", "/close"] {
        for end in ["end", "reset", "close"] {
            let asked = crate::common::handshake(path);
            let mut socket = Socket::open_with(Carrier::Http1, server.addr, &asked).await;
            assert_eq!(within(lives.recv()).await, Some("handler"));
            sleep(Duration::from_millis(30)).await;
            if end == "close" {
                socket.close(1000.into(), "").await;
            }
            assert!(lives.try_recv().is_err(), "{path} {end}");
            let ended = Instant::now();
            if end == "reset" {
                socket.disconnect()
            } else {
                drop(socket)
            }
            assert_eq!(within(lives.recv()).await, Some("handler"), "{path} {end}");
            let lasted = ended.elapsed();
            assert!(lasted >= TIME / 2, "{path} {end}: {lasted:?}");
        }
    }
    idle(&server).await;
    assert_eq!(server.handle.counter(Counter::Panics), 0);
}

/// While the transport lives, a handler may take its time.
#[tokio::test]
async fn a_handler_that_takes_its_time_is_left_alone() {
    let (server, mut lives) =
        outliving(Server::new().limits(Limits::new().close_timeout(Duration::from_millis(50)))).await;
    let mut socket = Socket::open_with(Carrier::Http1, server.addr, &crate::common::handshake("/blind")).await;
    socket.send("unread").await;
    assert_eq!(within(lives.recv()).await, Some("handler"));
    sleep(Duration::from_millis(200)).await;
    assert!(lives.try_recv().is_err());
    drop(socket);
    assert_eq!(within(lives.recv()).await, Some("handler"));
}

/// Panics when it is dropped.
struct Mine;

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

/// Foreign code written by hand, which keeps what it has until it is dropped.
struct ByHand<F>(Pin<Box<F>>, Mine);

impl<F: Future> Future for ByHand<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// What panics as it is dropped takes its own socket at most: the Close that its result asks for goes out.
#[tokio::test]
async fn a_handler_that_panics_as_it_is_dropped_closes_its_socket() {
    let server = start(Server::new(), websocket(|socket| ByHand(Box::pin(echo(socket)), Mine))).await;
    let mut socket = Socket::open(Carrier::Http1, server.addr).await;
    socket.check_echo("hello").await;
    socket.close(1000.into(), "").await;
    assert_eq!(socket.close_code().await, 1000);
    drop(socket);
    idle(&server).await;
    assert!(server.handle.counter(Counter::Panics) >= 1);
    let mut socket = Socket::open(Carrier::Http1, server.addr).await;
    socket.check_echo("hello").await;
}

/// A future of a service that panics as it is dropped has answered, and its connection goes on.
#[tokio::test]
async fn a_service_that_panics_as_it_is_dropped_has_answered() {
    let service = service_fn(|request: Request<Body>| {
        ByHand(
            Box::pin(async move {
                if request.uri().path() == "/never" {
                    pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new(Body::from("answer")))
            }),
            Mine,
        )
    });
    let (client, ours) = tokio::io::duplex(1 << 16);
    let task = tokio::spawn(async move { Server::new().serve_connection(ours, service).await });
    let mut wire = Wire(client);
    for _ in 0..2 {
        wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(wire.answer().await.ends_with("answer"));
    }
    // Given up, it panics as its connection ends: no panic of the one who serves it.
    wire.send(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    sleep(Duration::from_millis(20)).await;
    drop(wire);
    assert!(within(task).await.is_ok());
}

/// Content that panics ends its connection, and not the one who serves it.
#[tokio::test]
async fn content_that_panics_ends_its_connection() {
    struct Panicking;
    impl http_body::Body for Panicking {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("as asked")
        }
    }
    let service = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Panicking)) });
    let (client, ours) = tokio::io::duplex(1 << 16);
    let server = Server::new();
    let handle = server.handle();
    let task = tokio::spawn(async move { server.serve_connection(ours, service).await });
    let mut wire = Wire(client);
    wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    wire.rest().await;
    let ended = within(task).await.expect("no panic");
    assert_eq!(ended.unwrap_err().fault(), sockeye::Fault::Application);
    assert_eq!(handle.counter(Counter::Panics), 1);
}

/// A connection that has not said yet what it speaks ends as the server does, and before its `serve` returns.
#[tokio::test]
async fn handshakes_under_way_end_with_the_server() {
    for octets in [b"".as_slice(), b"PRI * HT", b"GET / HT"] {
        let Running { addr, handle, task } = start(Server::new(), websocket(echo)).await;
        check_that_it_ends(addr, octets, || handle.shutdown(), task).await;
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn handshakes_of_tls_under_way_end_with_the_server() {
    for octets in [b"".as_slice(), b"\x16\x03\x01"] {
        let secure = crate::tls::Secure::serve(Server::new(), websocket(echo)).await;
        let Running { addr, handle, task } = secure.running;
        check_that_it_ends(addr, octets, || handle.shutdown(), task).await;
    }
    // TLS is through, and nothing was said.
    let secure = crate::tls::Secure::serve(Server::new(), websocket(echo)).await;
    let mut wire = Wire(secure.connect(&[]).await.unwrap());
    sleep(Duration::from_millis(20)).await;
    secure.running.handle.shutdown();
    within(secure.running.task).await.unwrap().unwrap();
    assert!(within(wire.rest()).await.is_empty());
}

async fn check_that_it_ends(
    addr: SocketAddr,
    octets: &[u8],
    shutdown: impl FnOnce(),
    task: tokio::task::JoinHandle<sockeye::Result>,
) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(octets).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    shutdown();
    within(task).await.unwrap().unwrap();
    let rest = within(Wire(stream).rest()).await;
    assert!(rest.is_empty(), "{rest:?}");
}

/// The server waits for what is served by hand, too, from its first moment.
#[tokio::test]
async fn a_connection_served_by_hand_ends_with_the_server() {
    let server = Server::new();
    let handle = server.handle();
    let (client, ours) = tokio::io::duplex(64);
    let serving = server.clone();
    let task = tokio::spawn(async move { serving.serve_connection(ours, websocket(echo)).await });
    tokio::task::yield_now().await;
    let running = start(server, websocket(echo)).await;
    handle.shutdown();
    within(running.task).await.unwrap().unwrap();
    assert!(within(task).await.is_ok());
    drop(client);
}

/// A request that was answered, and then a handshake on the same connection: the socket works, and ends.
#[tokio::test]
async fn a_socket_may_follow_requests_on_its_connection() {
    let (service, mut sockets) = crate::common::hand_over();
    let server = start(Server::new(), service).await;
    let mut wire = Wire::connect(server.addr).await;
    for _ in 0..3 {
        wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(status(&wire.answer().await), 426);
    }
    wire.send(&[&upgrade("/", "keep-alive, upgrade", "")[..], b"\x81\x82\0\0\0\0hi"].concat()).await;
    assert_eq!(status(&wire.answer().await), 101);
    let mut socket = within(sockets.recv()).await.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
    drop((socket, wire));
    idle(&server).await;
}
