//! The closing table: what each end of a socket looks like, here and on the wire.

use std::time::Duration;

use sockeye::{CloseCode, Counter, Error, Limits, Result, Server, SocketOptions, WebSocket, websocket};
use sockeye_proto::h2::Reason;
use sockeye_proto::ws::Event;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::common::{
    Carrier, Client, Ending, Running, Socket, echo, fill, hand_over, handshake, open, pair, settle, start,
    start_websocket, within,
};

/// A server whose handler echoes and tells the test how it ended.
async fn start_telling() -> (Running, mpsc::UnboundedReceiver<Result>) {
    let (sender, results) = mpsc::unbounded_channel();
    let handler = move |socket| {
        let sender = sender.clone();
        async move { drop(sender.send(echo(socket).await)) }
    };
    // What ends for want of time would take longer than any test waits.
    let server = Server::new().limits(Limits::new().close_timeout(Duration::from_secs(60)));
    (start(server, websocket(handler)).await, results)
}

/// Close and the end of our half, with no reset after the peer has ended its own.
async fn check_end(peer: &mut Socket, code: u16) {
    assert_eq!(peer.close_code().await, code);
    assert_eq!(peer.ending().await, Ending::End);
    peer.end().await;
}

/// RFC 6455 §7.1.5: our Close has the peer's code.
#[tokio::test]
async fn the_peer_closes() {
    let (server, mut results) = start_telling().await;
    for carrier in Carrier::ALL {
        for code in [1000, 1001, 3999] {
            let mut peer = Socket::open(carrier, server.addr).await;
            peer.close(code.into(), "").await;
            check_end(&mut peer, code).await;
            assert!(within(results.recv()).await.unwrap().is_ok(), "{carrier:?}");
        }
    }
}

#[tokio::test]
async fn we_close() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        let closed = tokio::spawn(async move {
            socket.close_with(3001.into(), "enough").await.unwrap();
            socket
        });
        let Event::Close(frame) = peer.event().await else { panic!("no Close") };
        assert_eq!((u16::from(frame.code), &frame.reason[..]), (3001, "enough"));
        assert_eq!(peer.ending().await, Ending::End, "{carrier:?}");
        let mut socket = within(closed).await.unwrap();
        assert_eq!(socket.close_frame().unwrap().code, 3001.into(), "the echo");
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        assert!(matches!(socket.send_ping(b"late").await, Err(Error::Closed)));
    }
}

/// RFC 6455 §7.4.2
#[tokio::test]
async fn a_code_that_may_not_be_sent_is_not() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    let mut peer = Socket::open(Carrier::Http2, server.addr).await;
    let mut socket = sockets.recv().await.unwrap();
    assert!(matches!(socket.close_with(CloseCode::ABNORMAL, "").await, Err(Error::Invalid(_))));
    assert!(matches!(socket.close_with(CloseCode::NORMAL, &"x".repeat(124)).await, Err(Error::Invalid(_))));
    socket.send("still open").await.unwrap();
    assert_eq!(peer.message().await, "still open".into());
}

/// Messages that come after our Close are dropped, and the peer's Close is seen.
#[tokio::test]
async fn what_comes_after_our_close_is_dropped() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        for _ in 0..15 {
            peer.send(vec![1; 1000]).await;
        }
        let closed = tokio::spawn(async move { socket.close().await });
        // The window has no room for these before.
        for _ in 15..20 {
            peer.send(vec![1; 1000]).await;
        }
        assert_eq!(peer.close_code().await, 1000);
        within(closed).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_returns_closes_with_1000() {
    let server = start_websocket(|mut socket: WebSocket| async move { socket.send("bye").await }).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        assert_eq!(peer.message().await, "bye".into());
        check_end(&mut peer, 1000).await;
    }
}

#[tokio::test]
async fn a_handler_that_fails_closes_with_1011() {
    let server = start_websocket(|mut socket: WebSocket| async move {
        socket.recv().await?;
        Err(Error::application("no"))
    });
    let server = server.await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        peer.send("go").await;
        check_end(&mut peer, 1011).await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_closes_with_1011_alone() {
    async fn handler(mut socket: WebSocket) -> Result {
        while let Some(message) = socket.recv().await? {
            assert_ne!(message.as_text(), Some("panic"), "it was asked to");
            socket.send(message).await?;
        }
        Ok(())
    }
    let server = start_websocket(handler).await;
    let client = Client::connect(server.addr).await;
    let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
    let mut peer = Socket::on(&client, &handshake("/")).await.unwrap();
    peer.send("panic").await;
    check_end(&mut peer, 1011).await;
    sibling.check_echo("unharmed").await;

    let mut peer = Socket::open(Carrier::Http1, server.addr).await;
    peer.send("panic").await;
    check_end(&mut peer, 1011).await;
    assert_eq!(server.handle.counter(Counter::Panics), 2);
}

/// A handler that panics as it is called, before there is a future.
#[tokio::test]
async fn a_handler_that_panics_at_once_closes_with_1011() {
    fn handler(_: WebSocket) -> std::future::Ready<()> {
        panic!("it always does")
    }
    let server = start_websocket(handler).await;
    for carrier in Carrier::ALL {
        check_end(&mut Socket::open(carrier, server.addr).await, 1011).await;
    }
}

/// RFC 6455 §7.1.5: that is 1006. RFC 8441 §5: END_STREAM is answered by END_STREAM.
#[tokio::test]
async fn an_end_without_close_is_abnormal() {
    let (server, mut results) = start_telling().await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        peer.check_echo("hello").await;
        peer.end().await;
        assert!(matches!(within(results.recv()).await.unwrap(), Err(Error::Abnormal)), "{carrier:?}");
        assert_eq!(peer.event().await, Event::Eof, "{carrier:?}: no Close");
        assert_eq!(peer.ending().await, Ending::End, "{carrier:?}");
    }
}

#[tokio::test]
async fn what_arrived_before_a_reset_is_delivered() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let mut peer = Socket::on(&client, &handshake("/")).await.unwrap();
    let mut socket = sockets.recv().await.unwrap();
    for n in 0..10 {
        peer.send(n.to_string()).await;
        // Some wait in the inbox, some behind it.
        settle().await;
    }
    client.reset(peer.id(), Reason::CANCEL);
    client.round_trip().await;
    for n in 0..10 {
        assert_eq!(within(socket.recv()).await.unwrap(), Some(n.to_string().into()));
    }
    assert!(matches!(within(socket.recv()).await, Err(Error::Abnormal)));
    assert_eq!(within(socket.recv()).await.unwrap(), None);
    assert!(matches!(socket.send("late").await, Err(Error::Abnormal)));
}

/// The connection of HTTP/1.1 is reset, that of HTTP/2 goes away.
#[tokio::test]
async fn a_connection_that_breaks_off_disconnects_its_sockets() {
    let (server, mut results) = start_telling().await;
    let mut peer = Socket::open(Carrier::Http1, server.addr).await;
    peer.check_echo("hello").await;
    peer.disconnect();
    let result = within(results.recv()).await.unwrap();
    assert!(matches!(result, Err(Error::Disconnected)), "{result:?}");

    let client = Client::connect(server.addr).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(Socket::on(&client, &handshake("/")).await.unwrap());
    }
    sockets.pop().unwrap().disconnect();
    for _ in 0..10 {
        let result = within(results.recv()).await.unwrap();
        assert!(matches!(result, Err(Error::Disconnected)), "{result:?}");
    }
    within(async {
        while !server.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The peer is told its code, by a Close and END_STREAM.
#[tokio::test]
async fn a_violation_is_told_by_its_code() {
    let service = websocket(echo).options(SocketOptions::new().max_fragments(2).max_message_size(10));
    let server = start(Server::new(), service).await;
    let violations: [(&[u8], u16, Counter); 6] = [
        (b"\x81\x01a", 1002, Counter::WebSocketViolations), // not masked
        (b"\x83\x80\0\0\0\0", 1002, Counter::WebSocketViolations), // an unknown opcode
        (b"\x81\x82\0\0\0\0\xC0\x80", 1007, Counter::WebSocketViolations), // not UTF-8
        (b"\x88\x82\0\0\0\0\x03\xEE", 1002, Counter::WebSocketViolations), // 1006 in a Close
        (b"\x82\x8B\0\0\0\0", 1009, Counter::MessagesTooBig), // eleven octets
        (b"\x02\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0", 1009, Counter::MessagesTooBig), // fragments
    ];
    for carrier in Carrier::ALL {
        for (octets, code, counter) in violations {
            let before = server.handle.counter(counter);
            let mut peer = Socket::open(carrier, server.addr).await;
            peer.check_echo("ten octets").await;
            peer.send_octets(octets).await;
            check_end(&mut peer, code).await;
            assert_eq!(server.handle.counter(counter), before + 1, "{carrier:?}: {octets:?}");
        }
    }
}

#[tokio::test]
async fn a_violation_is_an_error_of_the_socket() {
    let (server, mut results) = start_telling().await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        peer.send("before").await;
        peer.send_octets(b"\x81\x01a").await;
        assert_eq!(peer.message().await, "before".into(), "what came before is delivered");
        let result = within(results.recv()).await.unwrap();
        assert!(
            matches!(result, Err(Error::Violation(ref violation)) if violation.close_code() == Some(1002.into())),
            "{carrier:?}: {result:?}"
        );
    }
}

/// How long it takes until the peer hears RST_STREAM with CANCEL.
async fn time_to_cancel(peer: &Socket) -> Duration {
    let start = Instant::now();
    let reset = within(peer.client().until(|state| state.heard(peer.id()).reset)).await;
    assert_eq!(reset, Reason::CANCEL);
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_cut_off_in_time() {
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    drop(socket);
    // It takes what we send, and says nothing.
    assert_eq!(peer.ending().await, Ending::End);
    assert_eq!(time_to_cancel(&peer).await.as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_our_close_is_given_up_in_time() {
    let (mut connection, client) = pair().await;
    let (mut socket, peer) = open(&mut connection, &client).await;
    let start = Instant::now();
    assert!(matches!(within(socket.close()).await, Err(Error::Timeout(_))));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(matches!(socket.recv().await, Ok(None)));
    drop(socket);
    assert_eq!(time_to_cancel(&peer).await.as_secs(), 5);
}

/// A violation is told by a Close and END_STREAM, for which the peer has as long as for any other Close.
#[tokio::test(start_paused = true)]
async fn a_violation_is_not_reset_while_it_can_be_told() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    peer.send_octets(b"\x81\x01a").await;
    assert!(
        matches!(socket.recv().await, Err(Error::Violation(ref violation)) if violation.close_code() == Some(1002.into()))
    );
    drop(socket);
    assert_eq!(peer.close_code().await, 1002);
    assert_eq!(time_to_cancel(&peer).await.as_secs(), 5);
}

/// A peer that reads nothing cannot be told.
#[tokio::test(start_paused = true)]
async fn a_violation_is_reset_where_it_cannot_be_told() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    fill(&mut socket, &vec![0; 1000].into()).await;
    peer.send_octets(b"\x81\x01a").await;
    assert!(
        matches!(socket.recv().await, Err(Error::Violation(ref violation)) if violation.close_code() == Some(1002.into()))
    );
    drop(socket);
    assert_eq!(time_to_cancel(&peer).await.as_secs(), 1);
}

/// A handler learns that its connection is gone, and goes on to its end.
#[tokio::test]
async fn a_handler_goes_on_after_its_connection() {
    let (sender, mut results) = mpsc::unbounded_channel();
    let handler = move |mut socket: WebSocket| {
        let sender = sender.clone();
        async move {
            let result = socket.recv().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            sender.send(result).unwrap();
        }
    };
    let server =
        start(Server::new().limits(Limits::new().close_timeout(Duration::from_secs(60))), websocket(handler)).await;
    for carrier in Carrier::ALL {
        Socket::open(carrier, server.addr).await.disconnect();
        let result = within(results.recv()).await.unwrap();
        assert!(matches!(result, Err(Error::Disconnected)), "{carrier:?}: {result:?}");
    }
}
