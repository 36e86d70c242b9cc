//! How a client ends: with its last owner, by its own close, or by its server's.

use std::time::Duration;

use http::Version;
use sockeye::{Client, CloseCode, Counter, Error, Limits, Server, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::far::{self, Far, VERSIONS};
use super::peer::{self, END_STREAM, URL, http1_acceptance, http1_request, kind, wires};
use crate::common::{Running, echo, settle, start, within};

const CLOSE: u8 = 8;
const CLOSE_NORMAL: &[u8] = b"\x88\x02\x03\xE8";
const GOING_AWAY: &[u8] = b"\x03\xE9";

/// Its connection lives as long as one of its sockets.
#[tokio::test(start_paused = true)]
async fn a_socket_outlives_its_client() {
    for version in VERSIONS {
        let (client, mut socket, mut far) = far::open(version).await;
        let handle = client.handle();
        drop(client);
        settle().await;
        far.send(b"\x81\x05hello").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
        socket.send("you, too").await.unwrap();
        assert_eq!(far.frames(Some(1)).await, [(true, 1, b"you, too".to_vec())]);
        // The last socket ends its connection, without RST_STREAM.
        let serving = async {
            assert_eq!(far.frames(None).await, [(true, CLOSE, b"\x03\xE8".to_vec())]);
            far.send(CLOSE_NORMAL).await;
            far.end().await;
            far.wait_for_end().await;
        };
        let (closed, ()) = within(async { tokio::join!(socket.close(), serving) }).await;
        closed.unwrap();
        // The socket is still held, and holds nothing open.
        settle().await;
        assert!(handle.connections().is_empty(), "{version:?}");
    }
}

/// RFC 6455 §7.4.1: 1001 for a socket that is dropped, which has its answer in time or not.
#[tokio::test(start_paused = true)]
async fn a_dropped_socket_says_so() {
    for version in VERSIONS {
        for answers in [true, false] {
            let (client, socket, mut far) = far::open(version).await;
            let handle = client.handle();
            drop((client, socket));
            assert_eq!(far.frames(None).await, [(true, CLOSE, GOING_AWAY.to_vec())]);
            if answers {
                far.send(b"\x88\x02\x03\xE9").await;
                far.end().await;
                far.wait_for_end().await;
            } else {
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            settle().await;
            assert!(handle.connections().is_empty(), "{version:?}");
            assert_eq!(handle.counter(Counter::CloseTimeouts), u64::from(!answers), "{version:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_closes_everything() {
    for version in VERSIONS {
        let (client, mut socket, mut far) = far::open(version).await;
        let serving = async {
            assert_eq!(far.frames(None).await, [(true, CLOSE, GOING_AWAY.to_vec())]);
            far.send(b"\x88\x02\x03\xE9").await;
            far.end().await;
            far.wait_for_end().await;
        };
        let (start, receiving) = (Instant::now(), async { socket.recv().await.unwrap() });
        let (received, (), ()) = within(async { tokio::join!(receiving, serving, client.close()) }).await;
        assert!(received.is_none());
        assert_eq!(start.elapsed(), Duration::ZERO, "nothing is left to wait for, though the socket is held");
        assert!(client.handle().connections().is_empty());
        assert!(matches!(client.open("/").await, Err(Error::Closed)));
        assert!(matches!(client.clone().open("/").await, Err(Error::Closed)));
        within(client.close()).await;
    }
}

/// A socket that nobody receives from cannot say its Close: it is cut off in time.
#[tokio::test(start_paused = true)]
async fn close_cuts_off_what_is_left() {
    for version in VERSIONS {
        let (client, mut socket, mut far) =
            far::open_with(version, |builder| builder.limits(Limits::new().close_timeout(Duration::from_secs(3))))
                .await;
        let start = Instant::now();
        client.close().await;
        assert!(start.elapsed() >= Duration::from_secs(3) && start.elapsed() < Duration::from_secs(8));
        far.wait_for_end().await;
        let received = within(socket.recv()).await;
        assert!(matches!(received, Err(Error::Disconnected)), "{version:?}: {received:?}");
        settle().await;
        assert!(client.handle().connections().is_empty(), "{version:?}");
    }
}

/// Whoever waits for a stream or a connection while the client is closed hears of it, and nothing comes of it.
#[tokio::test(start_paused = true)]
async fn close_turns_away_who_waits() {
    let (builder, mut wires) = peer::http2();
    let settings = [peer::OFFER, (peer::MAX_CONCURRENT_STREAMS, 1)];
    let accepting = async { peer::Peer::accept_with(wires.next().await, &settings).await };
    let (client, mut first) = tokio::join!(builder.connect(URL), accepting);
    let client = client.unwrap();
    let (socket, _) = tokio::join!(client.open("/").into_future(), first.open());
    let socket = socket.unwrap();
    let connecting = tokio::spawn(client.open("/").into_future());
    let slow = wires.next().await;
    let waiting = tokio::spawn(client.open("/").into_future());
    settle().await;
    let closing = tokio::spawn(async move { client.close().await });
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
    let mut late = peer::Peer::accept(slow).await;
    let connected = connecting.await.unwrap();
    assert!(connected.is_err(), "{connected:?}");
    late.rest().await;
    drop(socket);
    within(closing).await.unwrap();
    assert_eq!(wires.waiting(), 0);
}

/// A handle's shutdown is the beginning of it.
#[tokio::test(start_paused = true)]
async fn nothing_is_opened_after_a_shutdown() {
    let (builder, mut wires) = peer::http2();
    let (client, mut peer) = peer::connect(&builder, &mut wires).await;
    client.handle().shutdown();
    peer.rest().await;
    assert!(matches!(client.open("/").await, Err(Error::Closed)));
    assert_eq!(wires.waiting(), 0);
}

/// Our own server shuts down: RFC 6455 §7.4.1, 1001 over both versions.
#[tokio::test]
async fn a_server_that_goes_away_says_so() {
    let Running { addr, handle, task } = start(Server::new(), websocket(echo)).await;
    let mut sockets = Vec::new();
    for builder in [Client::builder().http1_only(), Client::builder().http2_only()] {
        let client = builder.connect(&format!("ws://{addr}")).await.unwrap();
        sockets.push(within(client.open("/").into_future()).await.unwrap());
    }
    handle.shutdown();
    for socket in &mut sockets {
        assert!(within(socket.recv()).await.unwrap().is_none());
        assert_eq!(socket.close_frame().unwrap().code, CloseCode::GOING_AWAY);
    }
    drop(sockets);
    within(task).await.unwrap().unwrap();
}

/// A client that is idle keeps a connection of HTTP/1.1 for its next socket, which servers tire of.
#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_have_ended() {
    let timeout = &b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"[..];
    for farewell in [b"", timeout] {
        let (builder, mut wires) = wires();
        let client = builder.connect(URL).await.unwrap();
        let mut kept = wires.next().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        kept.write_all(farewell).await.unwrap();
        drop(kept);
        let serving = async {
            let mut transport = wires.next().await;
            let request = http1_request(&mut transport).await;
            transport.write_all(http1_acceptance(&request).as_bytes()).await.unwrap();
            transport
        };
        let (opened, _transport) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
        assert_eq!(opened.unwrap().version(), Version::HTTP_11);
    }
}

/// A handshake that the server may have seen is made once, though the connection was a kept one: it may have begun a socket
/// (RFC 9112 §9.3.1). The caller may try again.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_was_seen_is_not_made_twice() {
    for octets in [1, usize::MAX] {
        let (builder, mut wires) = wires();
        let client = builder.connect(URL).await.unwrap();
        let mut kept = wires.next().await;
        let serving = async {
            if octets == 1 {
                kept.read_exact(&mut [0]).await.unwrap();
            } else {
                http1_request(&mut kept).await;
            }
            drop(kept);
        };
        let (opened, ()) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::Disconnected | Error::Io(_)) && error.is_retryable(), "{error:?}");
        assert_eq!(wires.waiting(), 0, "it is not tried again");
    }
}

/// It is kept no longer than its client.
#[tokio::test(start_paused = true)]
async fn a_kept_connection_ends_with_its_client() {
    let (builder, mut wires) = wires();
    for closes in [true, false] {
        let client = builder.connect(URL).await.unwrap();
        let mut kept = wires.next().await;
        if closes {
            client.close().await;
        } else {
            drop(client);
        }
        assert_eq!(within(kept.read(&mut [0])).await.unwrap(), 0);
    }
}

/// RFC 9113 §8.1.1: a server that resets a stream after the Close has only cleared up.
#[tokio::test(start_paused = true)]
async fn a_reset_after_the_close_changes_nothing() {
    let (_client, mut socket, far) = far::open(Version::HTTP_2).await;
    let Far::Http2(mut peer, id) = far else { unreachable!() };
    peer.send(kind::DATA, 0, id, CLOSE_NORMAL).await;
    peer.reset(id, 0).await;
    peer.round_trip().await;
    assert!(within(socket.recv()).await.unwrap().is_none());
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::NORMAL);
}

/// RFC 6455 §7.1.1: the server ends first. After the closing handshake nothing is sent on the stream until it has: some servers
/// take DATA after a Close for an error of the whole connection.
#[tokio::test(start_paused = true)]
async fn the_servers_end_comes_first() {
    let (_client, mut socket, far) = far::open(Version::HTTP_2).await;
    let Far::Http2(mut peer, id) = far else { unreachable!() };
    let answer = async {
        let close = peer.next(kind::DATA).await;
        assert_eq!((close.flags, close.payload[0]), (0, 0x88));
        peer.send(kind::DATA, 0, id, CLOSE_NORMAL).await;
    };
    let (closed, ()) = within(async { tokio::join!(socket.close(), answer) }).await;
    closed.unwrap();
    // Nothing but the answer to our PING is sent meanwhile.
    peer.send(kind::PING, 0, 0, b"so far??").await;
    assert_eq!(within(peer.receive()).await.unwrap().kind, kind::PING);
    peer.send(kind::DATA, END_STREAM, id, b"").await;
    let end = within(peer.receive()).await.unwrap();
    assert_eq!((end.kind, end.flags, end.stream_id, end.payload.len()), (kind::DATA, END_STREAM, id, 0));
}

/// A server that never ends its half gets the time of a close, whether the closed socket is kept or not.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_ends_is_not_waited_for() {
    for kept in [true, false] {
        let (client, mut socket, far) = far::open(Version::HTTP_2).await;
        let Far::Http2(mut peer, id) = far else { unreachable!() };
        let answer = async {
            peer.next(kind::DATA).await;
            peer.send(kind::DATA, 0, id, CLOSE_NORMAL).await;
        };
        let (closed, ()) = within(async { tokio::join!(socket.close(), answer) }).await;
        closed.unwrap();
        let kept = kept.then_some(socket);
        let before = Instant::now();
        let reset = within(peer.receive()).await.unwrap();
        assert_eq!((reset.kind, reset.stream_id, reset.code()), (kind::RST_STREAM, id, 8));
        assert_eq!(before.elapsed().as_secs(), 5);
        assert_eq!(client.handle().counter(Counter::CloseTimeouts), 1);
        drop(kept);
    }
}
