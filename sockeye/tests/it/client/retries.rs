//! What a server did not act on is tried once elsewhere; what it may have acted on is not.

use std::time::Duration;

use sockeye::{Error, Reason, Side, WebSocket};
use tokio::time::Instant;

use super::peer::{Peer, STATUS_200, connect, http2, kind};
use crate::common::{settle, within};

const REFUSED_STREAM: u32 = 7;

/// A socket is alive in both directions.
async fn check_alive(socket: &mut WebSocket, peer: &mut Peer, stream_id: u32) {
    peer.text(stream_id, "down").await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some("down".into()));
    socket.send("up").await.unwrap();
    let data = peer.next(kind::DATA).await;
    assert_eq!((data.stream_id, data.payload.len()), (stream_id, 2 + 4 + 2));
}

/// RFC 9113 §8.7
#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_tried_on_another_connection() {
    let (builder, mut wires) = http2();
    let (client, mut first) = connect(&builder, &mut wires).await;
    let serving = async {
        let id = first.request().await;
        first.reset(id, REFUSED_STREAM).await;
        let mut second = wires.peer().await;
        let id = second.open().await;
        (second, id)
    };
    let (opened, (mut second, id)) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    check_alive(&mut opened.unwrap(), &mut second, id).await;
    // The first was full for a moment; it is still good.
    let (again, _) = within(async { tokio::join!(client.open("/").into_future(), first.open()) }).await;
    again.unwrap();
}

/// Where no other connection may be made, on the same.
#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_tried_again_where_there_is_no_other() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder.max_connections(1), &mut wires).await;
    let serving = async {
        let id = peer.request().await;
        peer.reset(id, REFUSED_STREAM).await;
        peer.open().await
    };
    let (opened, id) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    opened.unwrap();
    assert_eq!(id, 3);
}

#[tokio::test(start_paused = true)]
async fn refused_twice_is_an_error() {
    let (builder, mut wires) = http2();
    let (client, mut first) = connect(&builder, &mut wires).await;
    let serving = async {
        let id = first.request().await;
        first.reset(id, REFUSED_STREAM).await;
        let mut second = wires.peer().await;
        let id = second.request().await;
        second.reset(id, REFUSED_STREAM).await;
        second
    };
    let (opened, _second) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, Error::Reset { reason: Reason::REFUSED_STREAM, .. }), "{error:?}");
    assert!(error.is_retryable());
    assert_eq!(wires.waiting(), 0);
}

/// The server may have acted on it.
#[tokio::test(start_paused = true)]
async fn other_resets_are_not_tried_again() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    for code in [1, 2, 8, 11, 99] {
        let serving = async {
            let id = peer.request().await;
            peer.reset(id, code).await;
        };
        let (opened, ()) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
        assert!(
            matches!(opened, Err(Error::Reset { reason, by: Side::Server }) if reason.code() == code),
            "{opened:?}"
        );
    }
    assert_eq!(wires.waiting(), 0);
}

/// RFC 9113 §6.8: above the last stream of a GOAWAY nothing was done. Below it sockets go on, and new ones go elsewhere.
#[tokio::test(start_paused = true)]
async fn what_a_goaway_leaves_out_is_tried_elsewhere() {
    let (builder, mut wires) = http2();
    let (client, mut first) = connect(&builder, &mut wires).await;
    let (old, old_id) = within(async { tokio::join!(client.open("/old").into_future(), first.open()) }).await;
    let mut old = old.unwrap();
    // One that the server will answer, one that it will not.
    let answered = tokio::spawn(client.open("/answered").into_future());
    let answered_id = first.request().await;
    let left_out = tokio::spawn(client.open("/left-out").into_future());
    first.request().await;
    first.goaway(answered_id, 0).await;
    let mut second = wires.peer().await;
    let new_id = second.open().await;
    let mut new = within(left_out).await.unwrap().unwrap();
    first.respond(answered_id, STATUS_200).await;
    let mut answered = within(answered).await.unwrap().unwrap();
    let (newer, newer_id) = within(async { tokio::join!(client.open("/newer").into_future(), second.open()) }).await;

    check_alive(&mut old, &mut first, old_id).await;
    check_alive(&mut answered, &mut first, answered_id).await;
    check_alive(&mut new, &mut second, new_id).await;
    let mut newer = newer.unwrap();
    check_alive(&mut newer, &mut second, newer_id).await;

    // The old connection ends with the last of its sockets.
    drop((old, answered));
    for id in [old_id, answered_id] {
        first.send(kind::DATA, 1, id, b"\x88\0").await;
    }
    first.rest().await;
    check_alive(&mut new, &mut second, new_id).await;
    assert_eq!(wires.waiting(), 0);
}

/// RFC 9113 §6.8: first a GOAWAY that leaves nothing out, then the final one.
#[tokio::test(start_paused = true)]
async fn a_draining_connection_takes_nothing_new() {
    let (builder, mut wires) = http2();
    let (client, mut first) = connect(&builder, &mut wires).await;
    let (old, old_id) = within(async { tokio::join!(client.open("/old").into_future(), first.open()) }).await;
    first.goaway((1 << 31) - 1, 0).await;
    first.round_trip().await;
    let (new, (mut second, new_id)) = within(async {
        tokio::join!(client.open("/new").into_future(), async {
            let mut second = wires.peer().await;
            let id = second.open().await;
            (second, id)
        })
    })
    .await;
    first.goaway(old_id, 0).await;
    check_alive(&mut old.unwrap(), &mut first, old_id).await;
    check_alive(&mut new.unwrap(), &mut second, new_id).await;
}

/// A connection that died long ago, and one that dies just as it is asked.
#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_replaced() {
    let (builder, mut wires) = http2();
    let (client, first) = connect(&builder, &mut wires).await;
    drop(first);
    for long_ago in [true, false] {
        if long_ago {
            settle().await;
        }
        let serving = async {
            let mut peer = wires.peer().await;
            (peer.open().await, peer)
        };
        let (opened, (_, peer)) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
        let mut socket = opened.unwrap();
        drop(peer);
        assert!(matches!(within(socket.recv()).await, Err(Error::Disconnected)));
    }
}

/// Where a connection is lost all who had sockets on it know in one moment, and shall not come back in one. Where it went away in
/// order its sockets were told one after another: nobody waits.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_lost_is_replaced_after_a_while() {
    const MOST: Duration = Duration::from_secs(9);
    for is_lost in [true, false] {
        let (builder, mut wires) = http2();
        let (client, mut first) = connect(&builder.back_off(MOST, MOST), &mut wires).await;
        let (socket, id) = within(async { tokio::join!(client.open("/").into_future(), first.open()) }).await;
        let socket = socket.unwrap();
        if is_lost {
            drop(first);
        } else {
            first.goaway(id, 0).await;
        }
        settle().await;
        let start = Instant::now();
        let serving = async {
            let mut second = wires.peer().await;
            (second.open().await, second)
        };
        let (opened, _second) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
        opened.unwrap();
        let waited = start.elapsed();
        assert!(waited <= MOST && waited.is_zero() != is_lost, "{waited:?}");
        drop(socket);
    }
}

/// A server that accepts connections only to end them is not pestered.
#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_at_once_is_an_error() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    peer.goaway(0, 0).await;
    peer.rest().await;
    let mut opening = client.open("/").into_future();
    let mut peers = Vec::new();
    let opened = loop {
        tokio::select! {
            opened = &mut opening => break opened,
            transport = wires.next() => {
                let mut peer = Peer::start(transport).await;
                // SETTINGS and GOAWAY in the same octets.
                peer.send_octets(b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0").await;
                peers.push(peer);
            }
        }
    };
    assert!(matches!(opened, Err(Error::Disconnected)), "{opened:?}");
    assert_eq!(peers.len(), 1);
}

/// A request that was sent may have been acted on: it is for the caller to say it again.
#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_before_the_answer_is_an_error() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let serving = async {
        peer.request().await;
        drop(peer);
    };
    let (opened, ()) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, Error::Disconnected), "{error:?}");
    assert!(error.is_retryable());
    assert_eq!(wires.waiting(), 0);
}
