//! The server's side: it echoes what a client in memory sends, over HTTP/2 or over HTTP/1.1.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use instructions::{Between, Load, Memory, data_frames, runtime};
use sockeye::{Limits, Result, Server, WebSocket, websocket};
use sockeye_proto::Protocol;
use sockeye_proto::h2;
use sockeye_proto::ws;

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A client of HTTP/2 that opens all sockets on its connection, and then sends each of them the frame.
fn http2(load: Load, frame: &[u8]) -> Memory {
    let Load { sockets, rounds, .. } = load;
    let now = Instant::now();
    // As many as `sockeye serve` lets a connection have.
    let config = h2::Config::default().with(|config| config.max_concurrent_streams = 1024);
    // Room for all that is echoed.
    let wide = config.clone().with(|config| {
        config.initial_window_size = (1 << 31) - 1;
        config.max_unread = (1 << 31) - 1;
    });
    let mut client = h2::Connection::new(h2::Role::Client, wide, now);
    // The server's SETTINGS, so that the client may open.
    let mut settings = BytesMut::new();
    h2::Connection::new(h2::Role::Server, config, now).poll_transmit(&mut settings);
    client.handle_data(now, &mut settings);
    let mut opening = BytesMut::new();
    let request = http::Request::connect("https://example.com/echo")
        .extension(Protocol::websocket())
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request");
    let ids: Vec<_> = (0..sockets).map(|_| client.open(&request, false).expect("a stream")).collect();
    client.poll_transmit(&mut opening);
    let round = data_frames(&ids, frame);
    let expected = load.expected(round.len());
    // Nothing here gives credit back (RFC 9113 §6.9.1): past the window the echo would wait for ever.
    assert!(expected.saturating_mul(rounds) < 1 << 31, "2 GiB at most: take fewer rounds");
    Memory::new(opening.freeze(), round.freeze(), rounds, expected, Between::Nothing)
}

/// A client of HTTP/1.1, which has one socket on its connection. The server sleeps until the next message comes, as one of
/// thousands of connections does.
fn http1(load: Load, frame: &[u8]) -> Memory {
    assert_eq!(load.sockets, 1, "a connection of HTTP/1.1 has one socket");
    let opening = b"GET /echo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let round = BytesMut::from(frame).freeze();
    let expected = load.expected(round.len());
    Memory::new(opening.as_slice().into(), round, load.rounds, expected, Between::Sleep)
}

fn main() {
    let load = Load::parse();
    // A masked message.
    let mut socket = ws::WebSocket::new(ws::Role::Client { mask_key: || [1, 2, 3, 4] }, ws::Config::default());
    socket.send(&vec![b'x'; load.octets].into()).expect("open");
    let mut frame = BytesMut::new();
    socket.poll_transmit(&mut frame);
    let transport = if load.is_http1 { http1(load, &frame) } else { http2(load, &frame) };
    let (tally, expected) = (transport.tally(), transport.expected() * load.rounds);

    let runtime = runtime();
    // What is counted must not depend on the clock, by which valgrind is slow.
    let limits = Limits::new().max_concurrent_streams(1024).time_slice(Duration::from_secs(3600));
    let server = Server::new().limits(limits);
    if load.apart {
        let handler = |socket| async { tokio::spawn(echo(socket)).await.expect("no panic") };
        runtime.block_on(server.serve_connection(transport, websocket(handler))).ok();
    } else {
        runtime.block_on(server.serve_connection(transport, websocket(echo))).ok();
    }
    load.report(tally.nanoseconds(expected));
}
