//! Limits that a peer runs into, and nobody else.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::Response;
use sockeye::{Body, Counter, Error, Limits, Rate, Server, SocketOptions, WebSocket, http2, websocket};
use sockeye_proto::h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{
    Carrier, Client, Ending, Socket, echo, hand_over, handshake, settle, start, start_websocket, within,
};
use crate::counters::counted;

/// A client's preface, with SETTINGS and their acknowledgement.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// Silent, or as good as: nothing, half a preface, half a head of HTTP/1.1, a preface without its SETTINGS.
#[tokio::test]
async fn a_silent_connection_is_closed_in_time() {
    let server =
        start(Server::new().limits(Limits::new().handshake_timeout(Duration::from_millis(50))), websocket(echo)).await;
    for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost: lo", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut transport = TcpStream::connect(server.addr).await.unwrap();
        transport.write_all(said).await.unwrap();
        within(transport.read_to_end(&mut Vec::new())).await.unwrap();
    }
    counted(&server.handle, Counter::HandshakeTimeouts, 3).await;
}

/// A socket that pings too often fails with 1008, its siblings do not notice.
#[tokio::test]
async fn a_ping_flood_fails_its_own_socket() {
    let server = start_websocket(echo).await;
    let client = Client::connect(server.addr).await;
    let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
    for carrier in Carrier::ALL {
        let mut socket = match carrier {
            Carrier::Http1 => Socket::open(carrier, server.addr).await,
            Carrier::Http2 => Socket::on(&client, &handshake("/")).await.unwrap(),
        };
        socket.send_octets(&b"\x89\x80\0\0\0\0".repeat(1000)).await;
        let code = loop {
            match socket.event().await {
                sockeye_proto::ws::Event::Pong(_) => {}
                sockeye_proto::ws::Event::Close(frame) => break frame.code,
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(code, 1008.into(), "{carrier:?}");
        assert_eq!(socket.ending().await, Ending::End, "{carrier:?}");
        sibling.check_echo("unharmed").await;
    }
    counted(&server.handle, Counter::PingFloods, 2).await;
}

/// As many pings as the configuration says are answered.
#[tokio::test]
async fn pings_within_their_limit_are_answered() {
    let options = SocketOptions::new().max_pings(Rate { burst: 100, per_second: 10 });
    let server = start(Server::new(), websocket(echo).options(options)).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        for n in 0..100_u8 {
            socket.ping(&[n]).await;
            assert_eq!(socket.event().await, sockeye_proto::ws::Event::Pong(vec![n].into()), "{carrier:?}");
        }
    }
}

/// A message of exactly the size passes, one octet more fails with 1009.
#[tokio::test]
async fn the_size_of_messages_is_a_limit() {
    let server = start(Server::new(), websocket(echo).max_message_size(100_000)).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.check_echo(vec![1; 100_000]).await;
        socket.machine.send(&vec![1; 100_001].into()).unwrap();
        let mut octets = bytes::BytesMut::new();
        socket.machine.poll_transmit(&mut octets);
        socket.send_octets(&octets[..50_000]).await;
        assert_eq!(socket.close_code().await, 1009, "{carrier:?}");
    }
}

/// A peer that is asked and does not answer is given up.
#[tokio::test]
async fn keep_alive_gives_up_a_dead_peer() {
    let server = Server::new().keep_alive(Duration::from_millis(20), Duration::from_millis(20));
    let server = start(server, websocket(echo)).await;
    let mut dead = TcpStream::connect(server.addr).await.unwrap();
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // One that lives answers.
    let client = Client::connect(server.addr).await;
    let mut octets = Vec::new();
    within(dead.read_to_end(&mut octets)).await.unwrap();
    let goaway = octets.windows(9).any(|head| head[3] == 7 && head[5..] == [0; 4]);
    assert!(goaway, "no GOAWAY in {octets:?}");
    Socket::on(&client, &handshake("/")).await.unwrap().check_echo("alive").await;
    assert!(client.state().goaways.is_empty());
}

/// While one answer waits to be sent, no more is read: a flood of PINGs waits in the transport, not in the memory.
/// (It was read as fast as it came, and worked off frame by frame: gigabytes stood there after seconds.)
#[tokio::test]
async fn reading_stops_where_answers_wait() {
    const PIPE: usize = 64 << 10;
    const READ: usize = 256 << 10;
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let _connection = http2::Connection::accept(theirs, Limits::new());
    let (mut answers, mut ours) = tokio::io::split(ours);
    ours.write_all(HELLO).await.unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = answered.clone();
    tokio::spawn(async move {
        let mut octets = vec![0; PIPE];
        while let Ok(n @ 1..) = answers.read(&mut octets).await {
            counted.fetch_add(n, Ordering::Relaxed);
        }
    });
    let flood = b"\0\0\x08\x06\0\0\0\0\0somebody".repeat(1 << 10);
    let mut sent = 0;
    while sent < 4 << 20 {
        ours.write_all(&flood).await.unwrap();
        sent += flood.len();
        let waiting = sent.saturating_sub(answered.load(Ordering::Relaxed));
        assert!(waiting < 2 * READ + 2 * PIPE, "{waiting} octets wait");
    }
}

/// A handler that always has more to do leaves its thread to others, too.
#[tokio::test]
async fn a_busy_handler_shares_its_thread() {
    const ENOUGH: usize = 1_000_000;
    for carrier in Carrier::ALL {
        let (stop, polls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, polled) = (stop.clone(), polls.clone());
        let server = start_websocket(move |_socket: WebSocket| {
            let (stopped, polled) = (stopped.clone(), polled.clone());
            poll_fn(move |cx| {
                if stopped.load(Ordering::Relaxed) || polled.fetch_add(1, Ordering::Relaxed) > ENOUGH {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        })
        .await;
        let mut socket = Socket::open(carrier, server.addr).await;
        settle().await;
        stop.store(true, Ordering::Relaxed);
        assert_eq!(socket.close_code().await, 1000, "{carrier:?}");
        assert!(polls.load(Ordering::Relaxed) <= ENOUGH, "{carrier:?}");
    }
}

/// A transport that takes nothing for a minute is cut off: an RST_STREAM could not get out either.
#[tokio::test(start_paused = true)]
async fn a_transport_that_takes_nothing_is_cut_off() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 10);
    let mut connection = http2::Connection::accept(theirs, Limits::new());
    ours.write_all(HELLO).await.unwrap();
    ours.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x").await.unwrap();
    let stream = connection.next().await.unwrap().unwrap();
    let respond = tokio::spawn(stream.respond(Response::new(Body::from(vec![0; 1 << 20]))));
    let begun = tokio::time::Instant::now();
    assert!(matches!(connection.next().await, Err(Error::Io(_))));
    assert_eq!(begun.elapsed().as_secs(), 60);
    respond.await.unwrap();
}

/// The same over HTTP/1.1.
#[tokio::test]
async fn an_upgraded_transport_that_takes_nothing_is_cut_off() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new().limits(Limits::new().write_timeout(Duration::from_millis(50))), service).await;
    let _unread = Socket::open(Carrier::Http1, server.addr).await;
    let mut socket = sockets.recv().await.unwrap();
    let sent = within(async {
        loop {
            if let Err(error) = socket.send(vec![0; 1 << 20]).await {
                return error;
            }
        }
    });
    assert!(matches!(sent.await, Error::Disconnected));
    counted(&server.handle, Counter::WriteTimeouts, 1).await;
}

/// A time too long to count is no limit.
#[tokio::test]
async fn endless_times_are_no_limit() {
    let server = Server::new()
        .limits(
            Limits::new()
                .handshake_timeout(Duration::MAX)
                .close_timeout(Duration::MAX)
                .write_timeout(Duration::MAX)
                .receive_timeout(Duration::MAX)
                .idle_timeout(Duration::MAX)
                .tcp_keep_alive(Duration::MAX)
                .time_slice(Duration::MAX)
                .watchdog(Duration::MAX),
        )
        .keep_alive(Duration::MAX, Duration::MAX);
    let server = start(server, websocket(|mut socket: WebSocket| async move { socket.send("bye").await })).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        assert_eq!(socket.message().await, "bye".into());
        assert_eq!(socket.close_code().await, 1000);
    }
}

/// A shorthand changes the limits that were given before it, and no other of them.
#[tokio::test]
async fn a_shorthand_adds_to_the_limits() {
    let time = Duration::from_millis(20);
    let server = Server::new().limits(Limits::new().keep_alive(time, time)).max_concurrent_streams(5);
    let server = start(server, websocket(echo)).await;
    let mut transport = TcpStream::connect(server.addr).await.unwrap();
    transport.write_all(HELLO).await.unwrap();
    within(transport.read_to_end(&mut Vec::new())).await.unwrap();
}

/// A socket that waits for room for its unfinished message hears of the end of its stream, even after more has come.
#[tokio::test]
async fn who_waits_for_room_hears_of_the_end() {
    const HOLDERS: usize = 4;
    const LENGTH: usize = 1 << 20;
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |mut socket: WebSocket| {
        let ended = ended.clone();
        async move {
            let result = socket.recv().await;
            ended.send(result.is_err()).ok();
            result.map(|_| ())
        }
    };
    let server = start_websocket(handler).await;
    let client = Client::connect(server.addr).await;
    // A masked binary frame of 1 MiB, but for its end.
    let head = [&[0x82, 0xFF], &(LENGTH as u64).to_be_bytes()[..], &[0; 4]].concat();
    let mut sockets = Vec::new();
    for _ in 0..HOLDERS {
        let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
        socket.send_octets(&head).await;
        socket.send_octets(&vec![7; LENGTH - 1]).await;
        sockets.push(socket);
    }
    let mut waiting = Socket::on(&client, &handshake("/")).await.unwrap();
    waiting.send_octets(&head).await;
    for _ in 0..3 {
        waiting.send_octets(&[7; 100]).await;
        client.round_trip().await;
    }
    client.reset(waiting.id(), Reason::CANCEL);
    assert_eq!(within(ends.recv()).await, Some(true));
}
