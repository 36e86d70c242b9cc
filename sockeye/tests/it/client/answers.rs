//! What a server may answer to a handshake, and what becomes of it.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sockeye::{Error, Result, SocketOptions, WebSocket};
use sockeye_proto::ws::handshake::ResponseError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::peer::{END_HEADERS, END_STREAM, Peer, STATUS_103, STATUS_200, STATUS_204, STATUS_206, STATUS_404, URL};
use super::peer::{connect, http1_acceptance, http1_request, http2, kind, wires};
use crate::common::within;

/// A field by its name and value, in full (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// Opens a socket by HTTP/2 at a server that does this with its stream.
async fn by_http2(protocols: &[&str], serve: impl AsyncFnOnce(&mut Peer, u32)) -> (Result<WebSocket>, Peer) {
    let (builder, mut wires) = http2();
    let (client, mut peer) =
        connect(&builder.options(SocketOptions::new().answer_timeout(Duration::from_secs(7))), &mut wires).await;
    let serving = async {
        let id = peer.request().await;
        serve(&mut peer, id).await;
    };
    let opening = client.open("/").protocols(protocols.iter().copied()).into_future();
    let (opened, ()) = within(async { tokio::join!(opening, serving) }).await;
    (opened, peer)
}

/// Opens a socket by HTTP/1.1 at a server that answers so; `{accept}` stands for what accepts the handshake.
async fn by_http1(answer: &str) -> Result<WebSocket> {
    let (builder, mut wires) = wires();
    let client =
        builder.options(SocketOptions::new().answer_timeout(Duration::from_secs(7))).connect(URL).await.unwrap();
    let serving = async {
        let mut transport = wires.next().await;
        let request = http1_request(&mut transport).await;
        let octets = answer.replace("{accept}", &http1_acceptance(&request));
        // Whoever has heard enough hears no more.
        transport.write_all(octets.as_bytes()).await.ok();
        transport
    };
    let opening = client.open("/").protocols(["chat"]).into_future();
    within(async { tokio::join!(opening, serving).0 }).await
}

fn refusal(opened: Result<WebSocket>) -> Response<Bytes> {
    match opened {
        Err(Error::Refused(response)) => *response,
        opened => panic!("{opened:?}"),
    }
}

fn handshake_error(opened: Result<WebSocket>) -> ResponseError {
    match opened {
        Err(Error::Handshake(error)) => *error.downcast_ref().unwrap_or_else(|| panic!("{error:?}")),
        opened => panic!("{opened:?}"),
    }
}

/// RFC 9110 §15: status, fields and content are the caller's to read.
#[tokio::test(start_paused = true)]
async fn a_refusal_over_http2() {
    let (opened, mut peer) = by_http2(&[], async |peer, id| {
        peer.respond(id, &[STATUS_404, &field("retry-after", "7")].concat()).await;
        peer.send(kind::DATA, 0, id, b"not ").await;
        peer.send(kind::DATA, END_STREAM, id, b"here").await;
    })
    .await;
    let response = refusal(opened);
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (404, &"7".parse().unwrap()));
    assert_eq!(response.body(), "not here");
    // CANCEL, and no DATA: a server may have done with the stream.
    let rest = peer.rest().await;
    assert!(rest.iter().any(|frame| frame.kind == kind::RST_STREAM && frame.code() == 8), "{rest:?}");
    assert!(rest.iter().all(|frame| frame.kind != kind::DATA), "{rest:?}");
}

/// A response of HEADERS alone.
#[tokio::test(start_paused = true)]
async fn a_refusal_without_content() {
    let (opened, _peer) = by_http2(&[], async |peer, id| {
        peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_404).await;
    })
    .await;
    assert_eq!(refusal(opened).body(), "");
    let opened = by_http1("HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n").await;
    let response = refusal(opened);
    assert_eq!((response.status().as_u16(), &response.headers()["www-authenticate"]), (401, &"Basic".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_over_http1() {
    for answer in [
        "HTTP/1.1 404 No\r\ncontent-length: 8\r\n\r\nnot here",
        "HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n4\r\nnot \r\n4\r\nhere\r\n0\r\n\r\n",
    ] {
        let response = refusal(by_http1(answer).await);
        assert_eq!((response.status().as_u16(), &response.body()[..]), (404, &b"not here"[..]));
    }
}

const KEPT: usize = 64 << 10;

#[tokio::test(start_paused = true)]
async fn content_is_cut() {
    let (opened, mut peer) = by_http2(&[], async |peer, id| {
        peer.respond(id, STATUS_404).await;
        for _ in 0..9 {
            peer.send(kind::DATA, 0, id, &[b'.'; 8 << 10]).await;
            peer.round_trip().await;
        }
    })
    .await;
    assert_eq!(refusal(opened).body().len(), KEPT);
    assert_eq!(peer.next(kind::RST_STREAM).await.code(), 8, "CANCEL: no more is wanted");

    let content = ".".repeat(KEPT + 1);
    let answer = format!("HTTP/1.1 404 No\r\ncontent-length: {}\r\n\r\n{content}", content.len());
    assert_eq!(refusal(by_http1(&answer).await).body().len(), KEPT);
}

/// What has come in time is handed over.
#[tokio::test(start_paused = true)]
async fn slow_content_is_not_waited_for() {
    let start = Instant::now();
    let (opened, _peer) = by_http2(&[], async |peer, id| {
        peer.respond(id, STATUS_404).await;
        peer.send(kind::DATA, 0, id, b"not ").await;
    })
    .await;
    assert_eq!(refusal(opened).body(), "not ");
    let opened = by_http1("HTTP/1.1 404 No\r\ncontent-length: 8\r\n\r\nnot ").await;
    assert_eq!(refusal(opened).body(), "not ");
    assert!(start.elapsed() < Duration::from_secs(15));
}

/// RFC 8441 §5: any 2xx will do. RFC 9110 §9.3.6: `content-length` has no meaning in it.
#[tokio::test(start_paused = true)]
async fn any_2xx_accepts_over_http2() {
    let with_length = [STATUS_200, &field("content-length", "0")].concat();
    for block in [STATUS_200, STATUS_204, STATUS_206, &with_length] {
        let (opened, mut peer) = by_http2(&[], async |peer, id| peer.respond(id, block).await).await;
        let mut socket = opened.unwrap();
        peer.text(1, "hello").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()), "{block:?}");
    }
}

/// RFC 6455 §4.1: nothing but 101 will do.
#[tokio::test(start_paused = true)]
async fn a_2xx_refuses_over_http1() {
    let opened = by_http1("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(refusal(opened).body(), "hello");
}

/// RFC 9110 §15.2: interim responses come before the one that counts.
#[tokio::test(start_paused = true)]
async fn interim_responses_are_passed_over() {
    let (opened, _peer) = by_http2(&[], async |peer, id| {
        for _ in 0..3 {
            peer.respond(id, STATUS_103).await;
        }
        peer.respond(id, STATUS_200).await;
    })
    .await;
    assert_eq!(opened.unwrap().response().unwrap().status, 200);
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"] {
        let opened = by_http1(&format!("{interim}{interim}{{accept}}")).await;
        assert_eq!(opened.unwrap().response().unwrap().status, 101);
    }
}

/// What follows the head in the same octets is the socket's.
#[tokio::test(start_paused = true)]
async fn the_first_message_may_come_with_the_answer() {
    let mut socket = by_http1("{accept}\u{1}\u{2}").await.unwrap();
    assert!(within(socket.recv()).await.is_err(), "a fragment that is not the last, and no more");
    let (opened, _peer) = by_http2(&[], async |peer, id| {
        peer.respond(id, STATUS_200).await;
        peer.text(id, "first").await;
        peer.send(kind::DATA, END_STREAM, id, b"\x88\x02\x03\xE8").await;
    })
    .await;
    let mut socket = opened.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("first".into()));
    assert_eq!(within(socket.recv()).await.unwrap(), None);
}

/// RFC 6455 §4.1
#[tokio::test(start_paused = true)]
async fn a_wrong_101_fails_the_handshake() {
    let rows = [
        ("upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n", ResponseError::Accept),
        ("upgrade: websocket\r\nconnection: upgrade\r\n", ResponseError::AcceptMissing),
        ("connection: upgrade\r\nupgrade: h2c\r\n", ResponseError::Upgrade),
        (
            "connection: upgrade\r\nupgrade: websocket, foo\r\nsec-websocket-accept: {accept}\r\n",
            ResponseError::Upgrade,
        ),
        ("upgrade: websocket\r\n", ResponseError::Connection),
    ];
    for (fields, expected) in rows {
        let opened = by_http1(&format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n")).await;
        assert_eq!(handshake_error(opened), expected, "{fields}");
    }
    let fields = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: AAAA\r\n";
    let opened = by_http1(&format!("HTTP/1.0 101 Switching Protocols\r\n{fields}\r\n")).await;
    assert_eq!(handshake_error(opened), ResponseError::Version);
}

/// RFC 6455 §4.1: a server chooses among what it was offered.
#[tokio::test(start_paused = true)]
async fn what_was_not_offered_fails_the_handshake() {
    let rows = [
        ("sec-websocket-protocol", "superchat", ResponseError::Protocol),
        ("sec-websocket-protocol", "chat, superchat", ResponseError::Protocol),
        ("sec-websocket-extensions", "x-unheard-of", ResponseError::Extensions),
        ("sec-websocket-extensions", "=;", ResponseError::Extensions),
    ];
    for (name, value, expected) in rows {
        let (opened, mut peer) = by_http2(&["chat"], async |peer, id| {
            peer.respond(id, &[STATUS_200, &field(name, value)].concat()).await;
        })
        .await;
        assert_eq!(handshake_error(opened), expected, "{name}: {value}");
        assert_eq!(peer.next(kind::RST_STREAM).await.code(), 8, "the stream is of no use");
    }
    let (opened, _) = by_http2(&["chat"], async |peer, id| {
        peer.respond(id, &[STATUS_200, &field("sec-websocket-protocol", "chat")].concat()).await;
    })
    .await;
    assert_eq!(opened.unwrap().protocol(), Some("chat"));
}

/// RFC 6455 §4.1 for HTTP/1.1: the same fields, and the transport ends.
#[tokio::test(start_paused = true)]
async fn what_was_not_offered_fails_the_handshake_over_http1() {
    let (builder, mut wires) = wires();
    let client = builder.connect(URL).await.unwrap();
    let serving = async {
        let mut transport = wires.next().await;
        let request = http1_request(&mut transport).await;
        let acceptance = http1_acceptance(&request).replacen("\r\n", "\r\nsec-websocket-protocol: chat\r\n", 1);
        transport.write_all(acceptance.as_bytes()).await.unwrap();
        transport.read(&mut [0]).await.unwrap()
    };
    let (opened, read) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    assert_eq!((handshake_error(opened), read), (ResponseError::Protocol, 0));
}

/// A server of another protocol may have spoken before the request is sent.
#[tokio::test(start_paused = true)]
async fn who_speaks_first_is_no_server_of_http1() {
    let (builder, mut wires) = wires();
    let client = builder.connect(URL).await.unwrap();
    let serving = async {
        // The first is found unfit before it is asked anything.
        for _ in 0..2 {
            wires.next().await.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        }
    };
    let (opened, _) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    assert!(matches!(opened, Err(Error::Handshake(_))), "{opened:?}");
}

/// A head that is no HTTP, and one without end.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_none() {
    let endless = format!("HTTP/1.1 200 OK\r\nx-long: {}", "a".repeat(100 << 10));
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", &endless] {
        let opened = by_http1(answer).await;
        assert!(matches!(opened, Err(Error::Handshake(_))), "{opened:?}");
    }
}
