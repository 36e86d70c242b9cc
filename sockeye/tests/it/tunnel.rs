//! Streams as octets, for who relays a WebSocket that is spoken elsewhere.

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::io::ErrorKind;
use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sockeye::client::TunnelAnswer;
use sockeye::socket::TunnelPeer;
use sockeye::{Body, Client, Limits, Reason, Server, Tunnel, Upgrade};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower::service_fn;

use crate::common::{start, within};

/// What an upstream agreed to, with fields that no hop may pass on.
fn agreed() -> HeaderMap {
    let fields = [
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-accept", "not for this key"),
        ("set-cookie", "a=1"),
        ("content-length", "5"),
    ];
    fields.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).into_iter().collect()
}

async fn answer(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/no" {
        let response = Response::builder().status(StatusCode::FORBIDDEN).header("x-why", "because");
        return Ok(response.body("not you".into()).unwrap());
    }
    let upgrade = Upgrade::from_request(&mut request).unwrap();
    Ok(upgrade.tunnel(&agreed(), move |mut tunnel: Tunnel| async move {
        match path.as_str() {
            "/reset" => tunnel.reset(Reason::INTERNAL_ERROR),
            "/drop" => drop(tunnel),
            _ => {
                let mut octets = Vec::new();
                tunnel.read_to_end(&mut octets).await.unwrap();
                tunnel.write_all(&octets).await.unwrap();
                tunnel.shutdown().await.unwrap();
            }
        }
    }))
}

async fn ask(path: &str) -> TunnelAnswer {
    let server = Server::new();
    let client = Client::builder().http2_only().connector(move |_| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(server.serve_connection(far, service_fn(answer)));
        ready(Ok(near))
    });
    let client = client.lazy("http://test/").unwrap();
    let request = Request::get(format!("http://other{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    client.tunnel(request.body(()).unwrap()).await.unwrap()
}

async fn open(path: &str) -> (Response<()>, Tunnel) {
    match ask(path).await {
        TunnelAnswer::Opened(response, tunnel) => (response, tunnel),
        answer => panic!("{answer:?}"),
    }
}

/// RFC 9113 §5.1: an end of one half is one, and the other goes on; octets pass as they are, larger than any window.
#[tokio::test]
async fn halves_end_one_by_one() {
    let (_, mut tunnel) = open("/").await;
    let octets = vec![7; 3 << 20];
    let (mut reader, mut writer) = tokio::io::split(&mut tunnel);
    let write = async {
        writer.write_all(&octets).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let (read, ()) = tokio::join!(reader.read_to_end(&mut back), write);
    assert_eq!((read.unwrap(), back == octets), (3 << 20, true));
    assert_eq!(tunnel.peer(), TunnelPeer::Finished);
}

/// RFC 6455 §4.2.2: what was agreed upon elsewhere goes on, with an Accept for the key that came here.
#[tokio::test]
async fn the_answer_is_what_was_agreed() {
    let (response, _tunnel) = open("/").await;
    let fields = response.headers();
    assert_eq!(fields["sec-websocket-protocol"], "chat");
    assert_eq!(fields["sec-websocket-extensions"], "permessage-deflate");
    assert_eq!(fields["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(fields["set-cookie"], "a=1");
    assert!(!fields.contains_key("content-length"));
}

/// RFC 9113 §7: a reset has its code, and what nobody ended is given up by CANCEL.
#[tokio::test]
async fn a_reset_tells_its_code() {
    for (path, reason) in [("/reset", Reason::INTERNAL_ERROR), ("/drop", Reason::CANCEL)] {
        let (_, mut tunnel) = open(path).await;
        tunnel.read_to_end(&mut Vec::new()).await.expect_err("no clean end");
        assert_eq!(tunnel.peer(), TunnelPeer::Reset(reason), "{path}");
    }
}

/// How requests end by their path, and whether that is a clean end.
const ENDS: [(&str, bool); 3] = [("/reset", false), ("/drop", false), ("/", true)];

/// RFC 9293 §3.10.5: HTTP/1.1 has no words for a reset, and its transport has: what is broken off is no clean end, be it the first
/// request of its connection or a later one. What has ended has a clean end.
#[tokio::test]
async fn a_reset_over_http1_is_the_transports() {
    let server = start(Server::new(), service_fn(answer)).await;
    for ((path, is_clean), is_later) in ENDS.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        let end = end_of(TcpStream::connect(server.addr).await.unwrap(), path, is_later).await;
        assert_eq!(end, (!is_clean).then_some(ErrorKind::ConnectionReset), "{path}, later: {is_later}");
    }
}

/// RFC 8446 §6.1: over TLS the same is an end without a close_notify.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_reset_over_tls_has_no_close_notify() {
    let server = crate::tls::Secure::serve(Server::new(), service_fn(answer)).await;
    for ((path, is_clean), is_later) in ENDS.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        let end = end_of(server.connect(&["http/1.1"]).await.unwrap(), path, is_later).await;
        assert_eq!(end, (!is_clean).then_some(ErrorKind::UnexpectedEof), "{path}, later: {is_later}");
    }
}

/// Opens a tunnel that the client ends at once, and says how the server ends it.
async fn end_of(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, is_later: bool) -> Option<ErrorKind> {
    if is_later {
        stream.write_all(b"GET /no HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"not you") {
            answer.push(within(stream.read_u8()).await.unwrap());
        }
    }
    let handshake = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{HANDSHAKE}\r\n");
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match within(stream.read_u8()).await {
            Ok(octet) => head.push(octet),
            Err(error) => return Some(error.kind()),
        }
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream.shutdown().await.ok();
    within(stream.read_to_end(&mut Vec::new())).await.err().map(|error| error.kind())
}

const HANDSHAKE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// RFC 9113 §8.1: a refusal is whole, though RST_STREAM(NO_ERROR) follows it at once.
#[tokio::test]
async fn a_refusal_is_whole() {
    let TunnelAnswer::Refused(response) = ask("/no").await else { panic!("it was refused") };
    assert_eq!(
        (response.status(), &response.headers()["x-why"]),
        (StatusCode::FORBIDDEN, &HeaderValue::from_static("because"))
    );
    // What follows has come by then.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "not you");
}

/// Of a thousand tunnels that their peer does not read, each waits with a little: by the bound of the connection alone it would be
/// 64 KiB for each of them. Who relays is told not to read for them.
#[tokio::test]
async fn tunnels_that_nobody_reads_hold_little_together() {
    const TUNNELS: usize = 1000;
    let (waiting, taken, held) =
        (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (waiting, taken, held) = (waiting.clone(), taken.clone(), held.clone());
        move |mut tunnel: Tunnel| async move {
            let octets = [0; 64 * 1024];
            let mut waits = false;
            poll_fn(|cx| {
                while let Poll::Ready(written) = Pin::new(&mut tunnel).poll_write(cx, &octets) {
                    let Ok(written) = written else { return Poll::Ready(()) };
                    taken.fetch_add(written, Ordering::Relaxed);
                }
                if !replace(&mut waits, true) {
                    held.fetch_add(tunnel.poll_room(cx).is_pending().into(), Ordering::Relaxed);
                    waiting.add_permits(1);
                }
                Poll::Pending
            })
            .await;
        }
    };
    let answer = service_fn(move |mut request: Request<Body>| {
        let upgrade = Upgrade::from_request(&mut request).unwrap();
        ready(Ok::<_, Infallible>(upgrade.tunnel(&HeaderMap::new(), handler.clone())))
    });
    let server = Server::new().limits(Limits::new().max_concurrent_streams(TUNNELS as u32));
    let client = Client::builder().http2_only().limits(Limits::new().initial_window_size(0)).connector(move |_| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(server.serve_connection(far, answer.clone()));
        ready(Ok(near))
    });
    let client = client.lazy("http://test/").unwrap();
    let mut tunnels = Vec::new();
    for _ in 0..TUNNELS {
        let request = Request::get("http://test/").header("sec-websocket-version", "13").body(()).unwrap();
        tunnels.push(within(client.tunnel(request)).await.unwrap());
    }
    drop(within(waiting.acquire_many(TUNNELS as u32)).await.unwrap());
    let (least, most) = (3 << 20, (4 << 20) + TUNNELS * 4096);
    let taken = taken.load(Ordering::Relaxed);
    assert!((least..most).contains(&taken), "{taken}");
    // All but the first hear that nothing more is to be read for them.
    let held = held.load(Ordering::Relaxed);
    assert!(held >= TUNNELS - most / (64 * 1024), "{held}");
}
