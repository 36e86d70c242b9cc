//! Servers that offer the extended CONNECT and do not serve it: one open is tried over HTTP/1.1, and if that opens, the rest
//! goes that way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use http::Version;
use rustls::ServerConfig;
use sockeye::{
    Client, ClientBuilder, Counter, Error, Fault, Reason, Result, Server, Side, SocketOptions, WebSocket, websocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::{END_HEADERS, END_STREAM, Peer, Wires, http1_acceptance, http1_request, http2, kind, wires};
use super::secure;
use crate::common::{echo, settle, start, within};

const URL: &str = "wss://localhost";

/// What a scripted server does to an extended CONNECT.
#[derive(Clone, Copy, Debug)]
enum Over2 {
    Status(u16),
    Reset(u32),
    /// The connection ends without a frame.
    Fin,
    GoAway(u32),
    /// It breaks a rule: DATA without HEADERS, and one of the connection's.
    DataFirst,
    Push,
    Opens,
}

/// And to an upgrade.
#[derive(Clone, Copy, Debug)]
enum Over1 {
    Opens,
    Status(u16),
    /// TLS that knows no HTTP/1.1.
    NotOffered,
    Fin,
}

/// A server by script, and what it saw: the protocol of every connection, by ALPN, and the requests of each.
#[derive(Clone)]
struct Script {
    config: ServerConfig,
    over2: Arc<Mutex<Over2>>,
    over1: Over1,
    connections: Arc<Mutex<Vec<String>>>,
    requests: Arc<Mutex<Vec<&'static str>>>,
}

impl Script {
    fn start(over2: Over2, over1: Over1) -> (Self, ClientBuilder) {
        let protocols: &[&str] = if matches!(over1, Over1::NotOffered) { &["h2"] } else { &["h2", "http/1.1"] };
        let (config, client) = secure::configs(protocols);
        let (builder, wires) = wires();
        let over2 = Arc::new(Mutex::new(over2));
        let script = Self { config, over2, over1, connections: Arc::default(), requests: Arc::default() };
        tokio::spawn(script.clone().run(wires));
        (script, builder.tls(client).options(SocketOptions::new().answer_timeout(Duration::from_secs(5))))
    }

    async fn run(self, mut wires: Wires) {
        loop {
            let wire = wires.wait().await;
            tokio::spawn(self.clone().serve(wire));
        }
    }

    async fn serve(self, wire: tokio::io::DuplexStream) {
        let Ok(mut transport) = secure::accept(&self.config, wire).await else {
            self.connections.lock().unwrap().push("none".to_owned());
            return;
        };
        let protocol = transport.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let protocol = protocol.unwrap_or_default();
        self.connections.lock().unwrap().push(protocol.clone());
        if protocol == "h2" {
            let mut peer = Peer::accept(transport).await;
            while let Some(frame) = peer.receive().await {
                if frame.kind == kind::HEADERS {
                    self.requests.lock().unwrap().push("CONNECT");
                    let over2 = *self.over2.lock().unwrap();
                    if !answer(&mut peer, frame.stream_id, over2).await {
                        return;
                    }
                }
            }
            return;
        }
        let request = http1_request(&mut transport).await;
        self.requests.lock().unwrap().push("GET");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let head = match self.over1 {
            Over1::Opens => http1_acceptance(&request),
            Over1::Status(status) => format!("HTTP/1.1 {status} No\r\ncontent-length: 6\r\n\r\nover 1"),
            Over1::NotOffered | Over1::Fin => return,
        };
        transport.write_all(head.as_bytes()).await.unwrap();
        transport.read_u8().await.ok();
        tokio::time::sleep(Duration::from_secs(100)).await;
    }

    fn connections(&self) -> Vec<String> {
        self.connections.lock().unwrap().clone()
    }

    fn requests(&self) -> Vec<&'static str> {
        self.requests.lock().unwrap().clone()
    }
}

/// Whether the connection goes on.
async fn answer<T>(peer: &mut Peer<T>, id: u32, over2: Over2) -> bool
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match over2 {
        Over2::Status(status) => {
            let block = [&b"\x08\x03"[..], status.to_string().as_bytes()].concat();
            peer.send(kind::HEADERS, END_HEADERS, id, &block).await;
            peer.send(kind::DATA, END_STREAM, id, b"over 2").await;
        }
        Over2::Opens => peer.respond(id, b"\x88").await,
        Over2::Reset(code) => peer.reset(id, code).await,
        Over2::DataFirst => peer.send(kind::DATA, 0, id, b"hi").await,
        Over2::Push => peer.send(kind::PUSH_PROMISE, END_HEADERS, id, b"\0\0\0\x02\x88").await,
        Over2::GoAway(code) => {
            let payload = [&id.to_be_bytes()[..], &code.to_be_bytes(), b"no CONNECT here"].concat();
            peer.send(kind::GOAWAY, 0, 0, &payload).await;
            return false;
        }
        Over2::Fin => return false,
    }
    true
}

async fn open(client: &Client) -> Result<WebSocket> {
    within(client.open("/").into_future()).await
}

const REFUSED_STREAM: u32 = 7;
const PROTOCOL_ERROR: u32 = 1;
const HTTP_1_1_REQUIRED: u32 = 0xD;

/// One open is tried over HTTP/1.1 and opens there, or two where the failure may pass; the others, those of other clients of the
/// builder as well, go that way at once, for an hour.
#[tokio::test(start_paused = true)]
async fn an_extended_connect_that_is_not_served_falls_back() {
    for over2 in [400, 404, 405, 426, 501].map(Over2::Status).into_iter().chain([
        Over2::Reset(REFUSED_STREAM),
        Over2::Reset(PROTOCOL_ERROR),
        Over2::Fin,
        Over2::GoAway(PROTOCOL_ERROR),
        Over2::GoAway(HTTP_1_1_REQUIRED),
    ]) {
        let (script, builder) = Script::start(over2, Over1::Opens);
        let client = within(builder.connect(URL)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_11, "{over2:?}");
        }
        let why = client.fell_back().unwrap();
        match over2 {
            Over2::Status(status) => assert!(matches!(&*why, Error::Refused(response) if response.status() == status)),
            _ => assert!(!matches!(*why, Error::Refused(_)), "{why}"),
        }
        let tries = script.requests().iter().filter(|request| **request == "CONNECT").count();
        // What may pass is tried a second time, and REFUSED_STREAM elsewhere over HTTP/2 each time before.
        let expected = match over2 {
            Over2::Reset(REFUSED_STREAM) => 4,
            Over2::Fin => 2,
            _ => 1,
        };
        assert_eq!((tries, script.requests().len()), (expected, expected + 3), "{over2:?}");
        // One-shot, by another clone of the builder.
        let socket = within(builder.clone().open(URL).into_future()).await.unwrap();
        assert_eq!(socket.version(), Version::HTTP_11);
        assert_eq!(script.connections().last().unwrap(), "http/1.1");
        assert_eq!(script.requests().len(), expected + 4, "{over2:?}");
        // After an hour it is asked again.
        tokio::time::sleep(Duration::from_secs(3601)).await;
        *script.over2.lock().unwrap() = Over2::Opens;
        assert_eq!(within(builder.open(URL).into_future()).await.unwrap().version(), Version::HTTP_2, "{over2:?}");
    }
}

/// A one-shot that finds out by itself.
#[tokio::test(start_paused = true)]
async fn a_single_socket_falls_back() {
    let (script, builder) = Script::start(Over2::Status(400), Over1::Opens);
    assert_eq!(within(builder.open(URL).into_future()).await.unwrap().version(), Version::HTTP_11);
    assert_eq!(script.connections(), ["h2", "http/1.1"]);
}

/// A real refusal is the same over both versions: it stays what it is, with its content, and the origin keeps its version.
#[tokio::test(start_paused = true)]
async fn the_same_refusal_over_both_is_one() {
    for (status, over1) in [(404, Over1::Status(404)), (404, Over1::NotOffered), (400, Over1::Fin)] {
        let (script, builder) = Script::start(Over2::Status(status), over1);
        let client = within(builder.connect(URL)).await.unwrap();
        for _ in 0..2 {
            let Err(Error::Refused(response)) = open(&client).await else { panic!("{over1:?}") };
            assert_eq!((response.status().as_u16(), &response.body()[..]), (status, &b"over 2"[..]));
        }
        assert!(client.fell_back().is_none(), "{over1:?}");
        *script.over2.lock().unwrap() = Over2::Opens;
        assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_2, "{over1:?}");
        // From here on a refusal is no matter of the version, for others of the builder as well.
        *script.over2.lock().unwrap() = Over2::Status(status);
        let requests = script.requests().len();
        let other = within(builder.connect(URL)).await.unwrap();
        for client in [&client, &other] {
            let Err(Error::Refused(_)) = open(client).await else { panic!("{over1:?}") };
        }
        assert_eq!(script.requests()[requests..], ["CONNECT", "CONNECT"], "{over1:?}");
    }
}

/// Where the two differ, the error names both.
#[tokio::test(start_paused = true)]
async fn two_answers_are_both_named() {
    let (_script, builder) = Script::start(Over2::Status(405), Over1::Status(401));
    let client = within(builder.connect(URL)).await.unwrap();
    let error = open(&client).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("405 Method Not Allowed") && text.contains("401 Unauthorized"), "{text}");
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Peer, false));
    let Error::Neither { http2, http1 } = error else { panic!("{error:?}") };
    let Error::Refused(http2) = *http2 else { panic!("{http2:?}") };
    let Error::Refused(http1) = *http1 else { panic!("{http1:?}") };
    assert_eq!((&http2.body()[..], &http1.body()[..]), (&b"over 2"[..], &b"over 1"[..]));

    // HAProxy before a server without extended CONNECT.
    let (_script, builder) = Script::start(Over2::Reset(REFUSED_STREAM), Over1::Status(502));
    let client = within(builder.connect(URL)).await.unwrap();
    let error = open(&client).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("by the server: REFUSED_STREAM") && text.contains("502 Bad Gateway"), "{text}");
    assert!(error.is_retryable());
}

/// What says nothing against the extended CONNECT as such is the caller's to know, at once.
#[tokio::test(start_paused = true)]
async fn other_ends_do_not_fall_back() {
    for over2 in [301, 401, 403, 421, 429, 500, 502, 503, 504].map(Over2::Status).into_iter().chain([
        Over2::Reset(2),
        Over2::Reset(8),
        Over2::Reset(0xB),
        Over2::DataFirst,
        Over2::Push,
        Over2::GoAway(0xB),
    ]) {
        let (script, builder) = Script::start(over2, Over1::Opens);
        let client = within(builder.connect(URL)).await.unwrap();
        let error = open(&client).await.unwrap_err();
        match (over2, &error) {
            (Over2::Status(status), Error::Refused(response)) => assert_eq!(response.status(), status),
            (Over2::Reset(code), Error::Reset { reason, by: Side::Server }) => assert_eq!(reason.code(), code),
            (Over2::DataFirst | Over2::Push, Error::Violation(violation)) => {
                assert_eq!(violation.reason(), Some(Reason::PROTOCOL_ERROR));
            }
            (Over2::GoAway(_), Error::GoAway { reason: Reason::ENHANCE_YOUR_CALM, debug, .. }) => {
                assert_eq!(&**debug, "no CONNECT here");
            }
            _ => panic!("{over2:?}: {error:?}"),
        }
        assert_eq!(script.requests(), ["CONNECT"], "{over2:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_only_does_not_fall_back() {
    for over2 in [Over2::Status(404), Over2::Status(501), Over2::Reset(PROTOCOL_ERROR), Over2::Fin] {
        let (script, builder) = Script::start(over2, Over1::Opens);
        let client = within(builder.http2_only().connect(URL)).await.unwrap();
        open(&client).await.unwrap_err();
        assert_eq!((script.requests(), script.connections().len()), (vec!["CONNECT"], 1), "{over2:?}");
    }
    // In cleartext, by prior knowledge.
    let (builder, mut wires) = http2();
    let (client, mut peer) = super::peer::connect(&builder, &mut wires).await;
    let serving = async {
        let id = peer.request().await;
        answer(&mut peer, id, Over2::Status(405)).await
    };
    let (opened, _) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    assert!(matches!(opened, Err(Error::Refused(_))), "{opened:?}");
    settle().await;
    assert_eq!(wires.waiting(), 0);
}

/// Many opens at once are each tried, and every one of them opens.
#[tokio::test(start_paused = true)]
async fn many_opens_fall_back_together() {
    let (script, builder) = Script::start(Over2::Status(501), Over1::Opens);
    let client = within(builder.connect(URL)).await.unwrap();
    let opening: Vec<_> = (0..20).map(|_| tokio::spawn(client.open("/").into_future())).collect();
    for opening in opening {
        assert_eq!(within(opening).await.unwrap().unwrap().version(), Version::HTTP_11);
    }
    let upgrades = script.requests().iter().filter(|request| **request == "GET").count();
    assert_eq!(upgrades, 20, "one for each socket");
    assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_11);
}

/// A path that HTTP/2 serves settles it: another path that falls back meanwhile takes nobody along.
#[tokio::test(start_paused = true)]
async fn a_socket_that_opened_over_http2_keeps_the_origin_there() {
    let (script, builder) = Script::start(Over2::Status(404), Over1::Opens);
    let client = within(builder.connect(URL)).await.unwrap();
    let falling = tokio::spawn(client.open("/").into_future());
    // The first has its refusal and is on its way over HTTP/1.1, which takes a second, when the second opens.
    while script.connections().len() < 2 {
        settle().await;
    }
    *script.over2.lock().unwrap() = Over2::Opens;
    assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_2);
    assert_eq!(within(falling).await.unwrap().unwrap().version(), Version::HTTP_11);
    assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_2);
}

/// A real server: a route that takes GET alone answers a CONNECT with 405.
#[tokio::test]
async fn a_route_for_get_alone_is_reached() {
    let (server_config, client_config) = secure::configs(&["h2", "http/1.1"]);
    let router = Router::new().route("/chat", axum::routing::get_service(websocket(echo)));
    let running = start(Server::new().tls(server_config), router).await;
    let builder = Client::builder().tls(client_config);
    let client = within(builder.connect(&format!("wss://{}", running.addr))).await.unwrap();
    let mut socket = within(client.open("/chat").into_future()).await.unwrap();
    assert_eq!(socket.version(), Version::HTTP_11);
    socket.send("hello").await.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    within(socket.close()).await.unwrap();
    assert_eq!(running.handle.counter(Counter::Connections), 2);
    let error = within(client.open("/nowhere").into_future()).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

/// A server that was restarted, or had no room for a stream, is given HTTP/2 again; and what was learnt for good is forgotten
/// after an hour, by the client that learnt it too.
#[tokio::test(start_paused = true)]
async fn http2_is_tried_again_in_time() {
    for passing in [Over2::Fin, Over2::Reset(REFUSED_STREAM)] {
        let (script, builder) = Script::start(passing, Over1::Opens);
        let client = within(builder.connect(URL)).await.unwrap();
        assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_11);
        *script.over2.lock().unwrap() = Over2::Opens;
        assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_2, "{passing:?}");
    }
    let (script, builder) = Script::start(Over2::Reset(PROTOCOL_ERROR), Over1::Opens);
    let client = within(builder.connect(URL)).await.unwrap();
    assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_11);
    *script.over2.lock().unwrap() = Over2::Opens;
    assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_11);
    tokio::time::sleep(Duration::from_secs(3601)).await;
    assert_eq!(open(&client).await.unwrap().version(), Version::HTTP_2);
}
