//! Requests to upstreams of HTTP/2.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, Request, Response, Version};
use rustls::ServerConfig;
use sockeye::{Body, Counter, Limits, Rate, Server, websocket};
use sockeye_gateway::{Config, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::common::{client, echo, gateway, gateway_of, raw_upstream, soon};

/// Sends the head of a GET.
async fn ask(gateway: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    stream
}

/// All of an answer.
async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// RFC 9113 §5.2.2: what some clients do not take stands in the windows of their own streams, however many these are, and in no other's
/// way.
#[tokio::test]
async fn the_window_of_a_connection_is_the_largest() {
    const WINDOW_UPDATE: u8 = 8;
    let (url, listener) = raw_upstream().await;
    let _asked = ask(gateway(&url, Protocol::Http2).await).await;
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(upstream.read_exact(&mut [0; 24])).await.unwrap();
    loop {
        let mut head = [0; 9];
        soon(upstream.read_exact(&mut head)).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        soon(upstream.read_exact(&mut payload)).await.unwrap();
        if head[3..] == [WINDOW_UPDATE, 0, 0, 0, 0, 0] {
            assert_eq!(u32::from_be_bytes(payload.try_into().unwrap()) + 65_535, i32::MAX as u32);
            break;
        }
    }
}

/// What clients ask for and give up ends nobody's WebSocket, even where the upstream ends the connection for it (CVE-2023-44487).
#[tokio::test]
async fn requests_that_are_given_up_end_no_websocket() {
    const REQUESTS: u32 = 40;
    let asked = Arc::new(Semaphore::new(0));
    let arrived = asked.clone();
    let site = tower::service_fn(move |request: Request<Body>| {
        let arrived = arrived.clone();
        async move {
            if request.method() == Method::CONNECT {
                return websocket(echo).call(request).await;
            }
            arrived.add_permits(1);
            pending().await
        }
    });
    let (url, listener) = raw_upstream().await;
    let server = Server::new().limits(Limits::new().resets(Rate { burst: REQUESTS / 2, per_second: 0 }));
    let upstream = server.handle();
    tokio::spawn(async move { server.serve(listener, site).await });
    let client = client(gateway(&url, Protocol::Http2).await, Version::HTTP_2);
    let mut socket = soon(client.open("/")).await.unwrap();
    soon(async {
        tokio::select! {
            _ = join_all((0..REQUESTS).map(|_| client.request(Request::new(Body::empty())))) => panic!("nobody answers"),
            all = asked.acquire_many(REQUESTS) => all.unwrap().forget(),
        }
        while upstream.counter(Counter::ResetFloods) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    socket.send("still there").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap(), Some("still there".into()));
}

/// What is wrong with an upstream, or with what was said of it, is told with what to do.
#[tokio::test]
async fn an_upstream_of_something_else_is_told_of() {
    let (silent, _listener) = raw_upstream().await;
    let (http1, listener) = raw_upstream().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    });
    let in_tls = |url: &str| url.replace("http://", "https://");
    for (url, status, advice) in [
        (silent.clone(), " 504 ", "does it speak HTTP/2 on this port? (--connect-timeout"),
        (in_tls(&silent), " 504 ", "does it speak TLS on this port? (--connect-timeout"),
        (http1.clone(), " 502 ", "leave the choice to it, by auto"),
        (in_tls(&http1), " 502 ", "is it an http:// that is meant?"),
    ] {
        let mut config = Config::to(&url);
        config.all.to = Some(Protocol::Http2.to_string());
        if status == " 504 " {
            config.all.connect_timeout = Some(Duration::from_millis(500).into());
        }
        let told = answer(ask(gateway_of(&config).await.0).await).await;
        assert!(told.contains(status) && told.contains(advice), "{url}: {told}");
    }
}

/// What an upstream with TLS speaks, by ALPN and by what it says there.
type Tls = Arc<dyn Fn(&[u8]) -> TlsAcceptor + Send + Sync>;

/// A listener for an upstream with TLS, and a gateway before it that leaves the choice to it.
async fn secure_upstream() -> (TcpListener, Tls, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::to(format!("https://{}", listener.local_addr().unwrap()));
    config.all.upstream_insecure = Some(true);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let speaking = move |protocol: &[u8]| {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(tls))
    };
    (listener, Arc::new(speaking), gateway_of(&config).await.0)
}

/// RFC 9113 §7: HTTP_1_1_REQUIRED is heeded, at once and for what is asked next.
#[tokio::test]
async fn an_upstream_may_require_http1() {
    let (listener, tls, gateway) = secure_upstream().await;
    tokio::spawn(async move {
        let stream = tls(b"h2").accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = tls(b"http/1.1").accept(stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
            stream.shutdown().await.ok();
            tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
        }
    });
    for _ in 0..2 {
        let told = answer(ask(gateway).await).await;
        assert!(told.starts_with("HTTP/1.1 204 "), "{told}");
    }
}

/// An upstream that chose HTTP/2 may choose HTTP/1.1 on its next connection (RFC 9113 §3.2), as behind a balancer while it is replaced:
/// a request that comes to that connection goes the new way.
#[tokio::test]
async fn an_upstream_may_change_its_choice() {
    let (listener, tls, gateway) = secure_upstream().await;
    let (held, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (first, holding) = (asked.clone(), held.clone());
    let site = tower::service_fn(move |_: Request<Body>| {
        let (first, holding) = (first.clone(), holding.clone());
        async move {
            if first.fetch_add(1, Ordering::SeqCst) == 0 {
                holding.acquire().await.unwrap().forget();
            }
            Ok::<_, Infallible>(Response::new(Body::from("ok")))
        }
    });
    tokio::spawn(async move {
        let server = Server::new().limits(Limits::new().max_concurrent_streams(1));
        let mut choice: &[u8] = b"h2";
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls(std::mem::replace(&mut choice, b"http/1.1"));
            let connection = server.clone();
            let site = site.clone();
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                connection.serve_connection(stream, site).await.ok();
            });
        }
    });
    let waits = ask(gateway).await;
    soon(async {
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The only stream is taken.
    for _ in 0..2 {
        let told = answer(ask(gateway).await).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    held.add_permits(1);
    assert!(answer(waits).await.starts_with("HTTP/1.1 200 "));
}

/// Nothing is wrong with it: it has no WebSockets, over either version of HTTP.
#[tokio::test]
async fn an_upstream_that_speaks_http2_alone_may_serve_no_websockets() {
    let (listener, tls, gateway) = secure_upstream().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who offers HTTP/1.1 alone gets no further.
            let Ok(stream) = tls(b"h2").accept(stream).await else { continue };
            let mut connection = h2::server::handshake(stream).await.unwrap();
            tokio::spawn(async move {
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
        }
    });
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let handshake = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let told = answer(stream).await;
    assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("serves no WebSockets"), "{told}");
    let told = answer(ask(gateway).await).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
}
