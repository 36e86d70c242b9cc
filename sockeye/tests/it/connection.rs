//! The low-level way: one connection over any transport, its streams one by one.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use sockeye::{Error, Limits, http2};
use sockeye_proto::Protocol;
use sockeye_proto::h2::{OpenError, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Client, Ending, Socket, handshake, open, pair, pair_with, within};

const URI: &str = "http://localhost/";

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://localhost{path}")).body(()).unwrap()
}

#[tokio::test]
async fn a_stream_shows_its_request() {
    let (mut connection, client) = pair().await;
    let mut asked = handshake("/chat").request(sockeye_proto::ws::handshake::Carrier::Http2).unwrap();
    asked.headers_mut().insert("x-name", HeaderValue::from_static("value"));
    client.open(&asked, false).unwrap();
    let stream = within(connection.next()).await.unwrap().unwrap();
    assert_eq!(stream.method(), Method::CONNECT);
    assert_eq!(stream.uri(), "http://localhost/chat");
    assert!(stream.protocol().unwrap().is_websocket());
    assert_eq!(stream.headers()["x-name"], "value");

    client.open(&get("/plain"), true).unwrap();
    let stream = within(connection.next()).await.unwrap().unwrap();
    assert_eq!(stream.method(), Method::GET);
    assert_eq!(stream.protocol(), None);
}

/// Take a stream over, speak, close, and go on with the next.
#[tokio::test]
async fn sockets_follow_each_other() {
    let (mut connection, client) = pair().await;
    for n in 0..5 {
        let (mut socket, mut peer) = open(&mut connection, &client).await;
        peer.send(format!("hello {n}")).await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some(format!("hello {n}").into()));
        socket.send("bye").await.unwrap();
        let closed = tokio::spawn(async move { socket.close().await });
        assert_eq!(peer.message().await, "bye".into());
        assert_eq!(peer.close_code().await, 1000);
        within(closed).await.unwrap().unwrap();
        assert_eq!(peer.ending().await, Ending::End);
        peer.end().await;
    }
}

#[tokio::test]
async fn an_upgrade_may_settle_a_subprotocol() {
    let (mut connection, client) = pair().await;
    let mut asked = handshake("/");
    asked.protocols = vec!["chat".into()];
    let accept = async {
        let upgrade = connection.next().await.unwrap().unwrap().into_upgrade().unwrap();
        assert_eq!(upgrade.offer().protocols().collect::<Vec<_>>(), ["chat"]);
        upgrade.protocols(["chat"]).take().await.unwrap()
    };
    let (socket, peer) = within(async { tokio::join!(accept, Socket::on(&client, &asked)) }).await;
    assert_eq!(socket.protocol(), Some("chat"));
    assert_eq!(peer.unwrap().response.headers()["sec-websocket-protocol"], "chat");
}

#[tokio::test]
async fn a_request_is_answered_with_content_and_trailers() {
    let (mut connection, client) = pair().await;
    let id = client.open(&Request::post(URI).body(()).unwrap(), false).unwrap();
    client.send(id, b"question", true).await;
    let mut stream = within(connection.next()).await.unwrap().unwrap();
    let content = within(stream.request().body_mut().collect()).await.unwrap().to_bytes();
    assert_eq!(content, "question");
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
    let body = http_body_util::Full::from("answer").with_trailers(async { Some(Ok(trailers)) });
    within(stream.respond(Response::new(body))).await;
    let answer = client.answer(id).await;
    assert_eq!((answer.head.status(), &answer.content[..]), (StatusCode::OK, &b"answer"[..]));
    assert_eq!(answer.trailers.unwrap()["x-sum"], "1");
}

#[tokio::test]
async fn a_dropped_stream_is_reset() {
    let (mut connection, client) = pair().await;
    let id = client.open(&get("/"), true).unwrap();
    drop(within(connection.next()).await.unwrap().unwrap());
    assert_eq!(client.response(id).await.unwrap_err(), Reason::INTERNAL_ERROR);
}

/// RFC 9113 §6.8: streams that were taken go on; those that nobody took may be tried again elsewhere.
#[tokio::test]
async fn a_dropped_connection_drains() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let under_way = client.open(&get("/taken"), true).unwrap();
    let stream = within(connection.next()).await.unwrap().unwrap();
    let untaken = client.open(&get("/untaken"), true).unwrap();
    client.round_trip().await;
    drop(connection);
    assert_eq!(client.response(untaken).await.unwrap_err(), Reason::REFUSED_STREAM);
    within(stream.respond(Response::new(http_body_util::Full::from("whole")))).await;
    assert_eq!(client.answer(under_way).await.content, "whole");

    // The socket is of use as long as both sides want it.
    peer.send("still there?").await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some("still there?".into()));
    let closed = tokio::spawn(async move { socket.close().await });
    assert_eq!(peer.close_code().await, 1000);
    within(closed).await.unwrap().unwrap();
    peer.end().await;
    let goaways = within(client.until(|state| state.eof.then(|| state.goaways.clone()))).await;
    assert_eq!(goaways.last(), Some(&(untaken.value(), Reason::NO_ERROR)));
}

#[tokio::test]
async fn shutdown_ends_with_the_last_stream() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    connection.shutdown();
    let received = tokio::spawn(async move { socket.recv().await });
    assert_eq!(peer.close_code().await, 1001);
    peer.end().await;
    assert_eq!(within(received).await.unwrap().unwrap(), None);
    assert!(within(connection.next()).await.unwrap().is_none());
    assert!(within(connection.next()).await.unwrap().is_none(), "the end stays");
}

/// What ended a connection is told once.
#[tokio::test]
async fn a_violation_ends_the_connection() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let mut connection = http2::Connection::accept(ours, Limits::new());
    theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    theirs.write_all(b"\0\0\x01\0\0\0\0\0\0!").await.unwrap(); // DATA on stream 0
    let mut octets = Vec::new();
    let (result, read) = within(async {
        tokio::join!(connection.next(), async {
            let read = theirs.read_to_end(&mut octets).await;
            drop(theirs);
            read
        })
    })
    .await;
    read.unwrap();
    let Err(Error::Violation(violation)) = result else { panic!("{result:?}") };
    assert_eq!(violation.reason(), Some(Reason::PROTOCOL_ERROR));
    assert!(within(connection.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_an_error_of_its_own() {
    let (mut connection, client) = pair().await;
    let (mut socket, peer) = open(&mut connection, &client).await;
    peer.disconnect();
    assert!(matches!(within(socket.recv()).await, Err(Error::Disconnected)));
    assert!(matches!(within(connection.next()).await, Err(Error::Disconnected)));
}

/// RFC 8441 §3: a client may not send what was not offered; what it sends all the same is malformed.
#[tokio::test]
async fn the_connect_protocol_is_a_setting() {
    let off = Limits::new().enable_connect_protocol(false);
    let (mut connection, client) = pair_with(off, sockeye_proto::h2::Config::default()).await;
    let mut request = Request::connect(URI).body(()).unwrap();
    request.extensions_mut().insert(Protocol::websocket());
    assert_eq!(client.open(&request, false).unwrap_err(), OpenError::ExtendedConnectNotAllowed);
    client.open(&get("/"), true).unwrap();
    within(connection.next()).await.unwrap().unwrap();
}

/// SETTINGS as they stand on the wire.
#[tokio::test]
async fn settings_go_out_as_configured() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let config = Limits::new()
        .initial_window_size(100_000)
        .max_frame_size(20_000)
        .max_concurrent_streams(7)
        .max_hpack_len_decoder(1234);
    let _connection = http2::Connection::accept(ours, config);
    let mut head = [0; 9];
    within(theirs.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[3..], [4, 0, 0, 0, 0, 0], "SETTINGS come first");
    let mut settings = vec![0; usize::from(head[2])];
    within(theirs.read_exact(&mut settings)).await.unwrap();
    let value = |identifier: u8| {
        let setting = settings.chunks(6).find(|setting| setting[..2] == [0, identifier])?;
        Some(u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(value(1), Some(1234), "SETTINGS_HEADER_TABLE_SIZE");
    assert_eq!(value(3), Some(7), "SETTINGS_MAX_CONCURRENT_STREAMS");
    assert_eq!(value(4), Some(100_000), "SETTINGS_INITIAL_WINDOW_SIZE");
    assert_eq!(value(5), Some(20_000), "SETTINGS_MAX_FRAME_SIZE");
    assert_eq!(value(8), Some(1), "SETTINGS_ENABLE_CONNECT_PROTOCOL");
}

/// A peer sends as much as the window that was configured, and no more until it is read.
#[tokio::test]
async fn the_window_is_a_setting() {
    let small = Limits::new().initial_window_size(1000);
    let (mut connection, client) = pair_with(small, sockeye_proto::h2::Config::default()).await;
    let id = client.open(&Request::post(URI).body(()).unwrap(), false).unwrap();
    let sent = client.act(|machine| machine.stream(id).unwrap().write(&[1; 5000], false));
    assert_eq!(sent, 1000);
    let mut stream = within(connection.next()).await.unwrap().unwrap();
    let sending = client.send(id, &[1; 4000], true);
    let reading = stream.request().body_mut().collect();
    let (sent, read) = within(async { tokio::join!(sending, reading) }).await;
    assert!(sent);
    assert_eq!(read.unwrap().to_bytes().len(), 5000);
}

/// The tables of HPACK, in both directions, at any size.
#[tokio::test]
async fn header_tables_may_be_of_any_size() {
    for (decoder, encoder) in [(0, 0), (0, 4096), (65_536, 0), (100, 65_536)] {
        let theirs = sockeye_proto::h2::Config::default().with(|config| {
            config.max_hpack_len_decoder = decoder;
            config.max_hpack_len_encoder = encoder;
        });
        let tables = Limits::new().max_hpack_len_decoder(decoder).max_hpack_len_encoder(encoder);
        let (mut connection, client) = pair_with(tables, theirs).await;
        for _ in 0..20 {
            let mut request = get("/");
            request.headers_mut().insert("x-name", HeaderValue::from_static("value"));
            let id = client.open(&request, true).unwrap();
            let stream = within(connection.next()).await.unwrap().unwrap();
            assert_eq!(stream.headers()["x-name"], "value");
            let response = Response::builder().header("x-answer", "yes").body(http_body_util::Empty::new()).unwrap();
            within(stream.respond(response)).await;
            assert_eq!(client.answer(id).await.head.headers()["x-answer"], "yes");
        }
    }
}

/// Streams go on while nobody asks for the next one.
#[tokio::test]
async fn streams_need_no_call_of_next() {
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    tokio::spawn(crate::common::echo(socket));
    for _ in 0..10 {
        peer.check_echo(vec![3; 100_000]).await;
    }
    let _client: Client = client;
}
