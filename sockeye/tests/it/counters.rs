//! What a handle tells about its server: every counter that a peer can move, and the connections.

use std::future::pending;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use sockeye::{Body, BoxError, Counter, Handle, Limits, Rate, Server, WebSocket, websocket};
use sockeye_proto::h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::service_fn;

use crate::common::http::Http;
use crate::common::{Carrier, Client, Ending, Running, Socket, echo, handshake, start, start_websocket, within};

/// A connection counts as it goes to sleep, which nobody can wait for.
pub(crate) async fn counted(handle: &Handle, counter: Counter, expected: u64) {
    let counts = async {
        while handle.counter(counter) < expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(5), counts).await.is_err() {
        panic!("{counter:?} is {} and not {expected}", handle.counter(counter));
    }
    assert_eq!(handle.counter(counter), expected, "{counter:?}");
}

/// A server of HTTP/2 that never answers.
async fn silent(config: Limits) -> Running {
    let service = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, BoxError>>());
    start(Server::new().limits(config), service).await
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat()
}

/// HEADERS with `GET http://localhost/`, without END_STREAM.
fn request(stream_id: u32) -> Vec<u8> {
    frame(1, 4, stream_id, b"\x82\x86\x84\x01\x09localhost")
}

/// A connection that says the preface and then these frames.
async fn say(running: &Running, frames: &[Vec<u8>]) -> TcpStream {
    let mut transport = TcpStream::connect(running.addr).await.unwrap();
    transport.write_all(&[PREFACE, &frames.concat()].concat()).await.unwrap();
    transport
}

#[tokio::test]
async fn totals_are_counted() {
    let server = start_websocket(echo).await;
    Http::connect(Version::HTTP_11, server.addr).await.get("/").await;
    let client = Client::connect(server.addr).await;
    client.get("http://localhost/").await;
    for _ in 0..3 {
        Socket::on(&client, &handshake("/")).await.unwrap();
    }
    Socket::open(Carrier::Http1, server.addr).await;
    counted(&server.handle, Counter::Connections, 3).await;
    counted(&server.handle, Counter::Requests, 6).await;
    counted(&server.handle, Counter::WebSockets, 4).await;
}

/// Honest peers move no counter but the totals.
#[tokio::test]
async fn nothing_else_is_counted_of_honest_peers() {
    let server = start_websocket(echo).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        for n in 0..200 {
            socket.check_echo(vec![0; n * 100]).await;
        }
        socket.ping(b"").await;
        assert!(matches!(socket.event().await, sockeye_proto::ws::Event::Pong(_)));
        socket.close(1000.into(), "").await;
        assert_eq!(socket.close_code().await, 1000);
        socket.ending().await;
        socket.end().await;
    }
    within(async {
        while !server.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            server.handle.shutdown();
        }
    })
    .await;
    for &counter in Counter::ALL {
        let expected = match counter {
            Counter::Connections | Counter::Requests | Counter::WebSockets | Counter::WebSocketsClosed => 2,
            _ => 0,
        };
        assert_eq!(server.handle.counter(counter), expected, "{counter:?}");
    }
}

#[tokio::test]
async fn refused_handshakes_are_counted() {
    let server = start_websocket(echo).await;
    let client = Client::connect(server.addr).await;
    let mut wrong = handshake("/").request(sockeye_proto::ws::handshake::Carrier::Http2).unwrap();
    wrong.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("12"));
    let id = client.open(&wrong, false).unwrap();
    let response = client.response(id).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["sec-websocket-version"], "13", "RFC 6455 §4.4");
    counted(&server.handle, Counter::HandshakesRefused, 1).await;
}

#[tokio::test]
async fn refused_streams_are_counted() {
    let server = silent(Limits::new().max_concurrent_streams(1)).await;
    let _open = say(&server, &[request(1), request(3), request(5)]).await;
    counted(&server.handle, Counter::StreamsRefused, 2).await;
    counted(&server.handle, Counter::Requests, 1).await;
}

#[tokio::test]
async fn refused_header_lists_are_counted() {
    let server = silent(Limits::new()).await;
    let client = Client::connect(server.addr).await;
    let mut request = Request::get("http://localhost/").body(()).unwrap();
    *request.headers_mut() = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-long"),
        HeaderValue::from_bytes(&[b'x'; 20_000]).unwrap(),
    )]);
    let id = client.open(&request, true).unwrap();
    assert_eq!(client.response(id).await.unwrap().status(), 431);
    counted(&server.handle, Counter::HeaderListsRefused, 1).await;
}

#[tokio::test]
async fn resets_are_counted() {
    let server = silent(Limits::new()).await;
    let client = Client::connect(server.addr).await;
    for _ in 0..2 {
        let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
        client.reset(id, Reason::CANCEL);
    }
    counted(&server.handle, Counter::ResetsReceived, 2).await;

    // Without a `:method`: RFC 9113 §8.1.1.
    let _open = say(&server, &[frame(1, 5, 1, b"\x86\x84")]).await;
    counted(&server.handle, Counter::ResetsForFaults, 1).await;
}

#[tokio::test]
async fn glitches_are_counted() {
    let server = silent(Limits::new()).await;
    let _open = say(&server, &[frame(2, 0, 1, b"\0\0\0\0\0"), frame(0xFE, 0, 0, b"unknown")]).await;
    counted(&server.handle, Counter::Glitches, 2).await;
}

#[tokio::test]
async fn connection_errors_are_counted() {
    let server = silent(Limits::new()).await;
    let mut transport = say(&server, &[frame(0, 0, 0, b"DATA on stream 0")]).await;
    within(transport.read_to_end(&mut Vec::new())).await.unwrap();
    counted(&server.handle, Counter::ConnectionErrors, 1).await;
}

/// The last GOAWAY of what a server said; its code.
fn goaway(mut said: &[u8]) -> Option<u32> {
    let mut code = None;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = said {
        let (payload, rest) = rest.split_at_checked(u32::from_be_bytes([0, *a, *b, *c]) as usize)?;
        if *kind == 7 {
            code = payload[4..8].try_into().ok().map(u32::from_be_bytes);
        }
        said = rest;
    }
    code
}

/// Each limit of HTTP/2 is an option, ends the connection that passes it, and is counted by its name and no other.
#[tokio::test]
async fn limits_that_end_a_connection_are_counted() {
    /// ENHANCE_YOUR_CALM (RFC 9113 §7).
    const CALM: u32 = 11;
    let few = Rate { burst: 1, per_second: 1 };
    let soon = Duration::from_millis(30);
    let begun = frame(1, 0, 1, b"\x82");
    let reset = [request(1), frame(3, 0, 1, b"\0\0\0\x08"), request(3), frame(3, 0, 3, b"\0\0\0\x08")].concat();
    let large = [b"\x82\x86\x84\x01\x09localhost\0\x01a\x7f\x81\x02".as_slice(), &[b'b'; 384]].concat();
    let acknowledged = frame(4, 1, 0, b"");
    let limits = Limits::new;
    let too_long = [begun.clone(), frame(9, 0, 1, b"\x86").repeat(2)].concat();
    let too_wide = [acknowledged.clone(), frame(1, 5, 1, b"\x3f\x46\x82")].concat();
    let cases = [
        (limits().max_continuations(1), too_long, Counter::HeaderBlocksTooLarge, CALM),
        (limits().max_header_list_size(100), frame(1, 5, 1, &large), Counter::HeaderBlocksTooLarge, CALM),
        (limits(), frame(1, 5, 1, b"\x80"), Counter::HeaderCompressionErrors, 9),
        (limits().max_hpack_len_decoder(100), too_wide, Counter::HeaderCompressionErrors, 9),
        (limits().resets(few), reset, Counter::ResetFloods, CALM),
        (limits().settings(few), frame(4, 0, 0, b"").repeat(5), Counter::SettingsFloods, CALM),
        (limits().glitches(few), frame(2, 0, 1, b"\0\0\0\0\0").repeat(5), Counter::GlitchFloods, CALM),
        (limits().overhead(few), frame(8, 0, 0, b"\0\0\0\x01").repeat(9), Counter::OverheadFloods, CALM),
        (limits().settings_timeout(soon), Vec::new(), Counter::FrameTimeouts, 4),
        (limits().header_timeout(soon), [acknowledged.clone(), begun].concat(), Counter::FrameTimeouts, CALM),
        (limits().keep_alive(soon, soon), acknowledged, Counter::KeepAliveTimeouts, 0),
    ];
    let counters: Vec<_> = cases.iter().map(|(_, _, counter, _)| *counter).collect();
    for (limits, frames, counter, code) in cases {
        let server = silent(limits).await;
        let mut said = Vec::new();
        within(say(&server, &[frames]).await.read_to_end(&mut said)).await.unwrap();
        assert_eq!(goaway(&said), Some(code), "{counter:?}: {}", said.escape_ascii());
        counted(&server.handle, counter, 1).await;
        for other in counters.iter().filter(|other| **other != counter) {
            assert_eq!(server.handle.counter(*other), 0, "{other:?} beside {counter:?}");
        }
        counted(&server.handle, Counter::ConnectionErrors, 1).await;
    }
}

/// One PING waits for its answer, the second for the first's.
#[tokio::test]
async fn stops_of_reading_are_counted() {
    let server = silent(Limits::new()).await;
    let _open = say(&server, &[frame(6, 0, 0, b"12345678"), frame(6, 0, 0, b"87654321")]).await;
    counted(&server.handle, Counter::ReadingStopped, 1).await;
}

/// The peer takes nothing of a response for too long.
#[tokio::test]
async fn streams_without_progress_are_counted() {
    let service = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from(vec![0; 100_000]))));
    let config = Limits::new().progress_timeout(Duration::from_millis(30));
    let server = start(Server::new().limits(config), service).await;
    let client = Client::connect(server.addr).await;
    let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
    let reset = within(client.until(|state| state.heard(id).reset)).await;
    assert_eq!(reset, Reason::CANCEL);
    counted(&server.handle, Counter::StreamsWithoutProgress, 1).await;
}

/// Also over HTTP/1.1, where the connection is what is cut off.
#[tokio::test]
async fn close_timeouts_are_counted() {
    for waits in [false, true] {
        let service = websocket(async move |mut socket: WebSocket| {
            if waits {
                socket.close().await.unwrap_err();
            }
        });
        let limits = Limits::new().close_timeout(Duration::from_millis(30));
        let server = start(Server::new().limits(limits), service).await;
        for (count, carrier) in (1..).zip(Carrier::ALL) {
            let mut socket = Socket::open(carrier, server.addr).await;
            // The peer answers nothing.
            assert_eq!(socket.ending().await, Ending::End);
            counted(&server.handle, Counter::CloseTimeouts, count).await;
        }
    }
}

#[tokio::test]
async fn connections_are_listed_while_they_are_open() {
    let server = start_websocket(echo).await;
    assert!(server.handle.connections().is_empty());
    let http1 = Socket::open(Carrier::Http1, server.addr).await;
    let client = Client::connect(server.addr).await;
    let mut first = Socket::on(&client, &handshake("/")).await.unwrap();
    let _second = Socket::on(&client, &handshake("/")).await.unwrap();
    client.get("http://localhost/").await;

    let connections = server.handle.connections();
    let told: Vec<_> =
        connections.iter().map(|it| (it.id, it.version, it.sockets, it.requests, it.peer.is_some())).collect();
    assert_eq!(told, [(1, Version::HTTP_11, 1, 1, true), (2, Version::HTTP_2, 2, 3, true)]);

    first.close(1000.into(), "").await;
    assert_eq!(first.close_code().await, 1000);
    first.end().await;
    client.round_trip().await;
    assert_eq!(server.handle.connections()[1].sockets, 1);

    http1.disconnect();
    within(async {
        while server.handle.connections().len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(server.handle.connections()[0].id, 2);
}
