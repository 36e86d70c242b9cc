//! Messages that are received and sent in pieces, over both versions of HTTP.

use std::mem;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use sockeye::{
    CloseCode, Counter, Error, Fault, Message, MessageKind, Result, Server, SocketOptions, WebSocket, websocket,
};
use sockeye_proto::ws::Event;
use tokio::sync::mpsc;

use crate::common::{
    Carrier, Running, Socket, echo, hand_over, handshake, open, pair, poll_now, restarted, settle, start,
    start_websocket, within,
};
use crate::counters::counted;

const MIB: usize = 1 << 20;

/// Sends each message back while it comes.
async fn forward(socket: WebSocket) -> Result {
    let (mut sender, mut receiver) = socket.split();
    while let Some(mut message) = receiver.recv_stream().await? {
        let mut echo = sender.send_stream(message.kind());
        while let Some(piece) = message.next().await? {
            echo.write(piece).await?;
        }
        echo.finish().await?;
    }
    Ok(())
}

/// Receives a message in pieces and puts it together.
async fn collect(socket: &mut WebSocket) -> Result<Option<Message>> {
    let Some(mut message) = socket.recv_stream().await? else { return Ok(None) };
    let kind = message.kind();
    let mut octets = Vec::new();
    while let Some(piece) = message.next().await? {
        assert!(piece.kind() == kind && !piece.is_empty());
        octets.extend(piece.as_bytes());
    }
    Ok(Some(match kind {
        MessageKind::Text => String::from_utf8(octets).unwrap().into(),
        MessageKind::Binary => octets.into(),
    }))
}

async fn client(carrier: Carrier, running: &Running) -> WebSocket {
    let builder = sockeye::Client::builder();
    let builder = if carrier == Carrier::Http2 { builder.http2_only() } else { builder.http1_only() };
    let url = format!("ws://{}/", running.addr);
    within(async { builder.open(&url).max_message_size(64 * MIB).await }).await.unwrap()
}

fn text(octets: usize) -> String {
    "aé€😀 ".chars().cycle().take(octets / 2).collect()
}

fn messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for octets in [0, 2, 126, 16_383, 70_000, MIB] {
        messages.extend([Message::from(text(octets)), text(octets).into_bytes().into()]);
    }
    messages
}

async fn check_echo(socket: WebSocket, messages: &[Message]) {
    let (mut sender, mut receiver) = socket.split();
    let send = async {
        for message in messages {
            sender.send(message.clone()).await.unwrap();
        }
    };
    let receive = async {
        for message in messages {
            let received = receiver.recv().await.unwrap().expect("a message");
            assert!(received == *message, "{} octets are others", message.len());
        }
    };
    within(async { tokio::join!(send, receive) }).await;
}

/// A message goes back while it comes, inside of its connection's task and in a task of its own.
#[tokio::test]
async fn messages_are_forwarded_in_pieces() {
    let inside = start_websocket(forward).await;
    let spawned = start_websocket(|socket| async move { tokio::spawn(forward(socket)).await.expect("no panic") }).await;
    for running in [inside, spawned] {
        for carrier in Carrier::ALL {
            check_echo(client(carrier, &running).await, &messages()).await;
        }
    }
}

/// A client sends and receives in pieces too, and its server knows nothing of it.
#[tokio::test]
async fn a_client_sends_and_receives_in_pieces() {
    let running = start(Server::new(), websocket(echo).max_message_size(64 * MIB)).await;
    for carrier in Carrier::ALL {
        let mut socket = client(carrier, &running).await;
        for message in messages() {
            let octets = message.as_bytes();
            let mut writer = socket.send_stream(message.kind());
            // The characters of the text are eleven octets together.
            for piece in octets.chunks(99_000) {
                let piece = match message.kind() {
                    MessageKind::Binary => piece.into(),
                    MessageKind::Text => Message::from(str::from_utf8(piece).unwrap()),
                };
                within(writer.write(piece)).await.unwrap();
            }
            within(writer.finish()).await.unwrap();
            let echo = within(collect(&mut socket)).await.unwrap().unwrap();
            assert!(echo == message, "{} octets are others", message.len());
        }
    }
}

/// With compression, with context takeover or without, both ways.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn compressed_messages_are_forwarded_in_pieces() {
    use sockeye::{Deflate, DeflateContext};
    for takeover in [false, true] {
        let context = DeflateContext::new().takeover(takeover).window_bits(15);
        let deflate = Deflate::new().contexts(context);
        let running = start(Server::new(), websocket(forward).deflate(deflate)).await;
        for carrier in Carrier::ALL {
            let builder = sockeye::Client::builder();
            let builder = if carrier == Carrier::Http2 { builder.http2_only() } else { builder.http1_only() };
            let url = format!("ws://{}/", running.addr);
            let socket = within(async { builder.open(&url).deflate(deflate).max_message_size(64 * MIB).await });
            let socket = socket.await.unwrap();
            assert!(socket.extensions().deflate.is_some());
            let messages = messages();
            check_echo(socket, &[&messages[..], &messages[..]].concat()).await;
        }
    }
}

/// `recv` and `recv_stream` may alternate, and what a reader leaves is skipped.
#[tokio::test]
async fn what_a_reader_leaves_is_skipped() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        // More than the window has room for.
        let send = async {
            for n in 0..5_u8 {
                peer.send(vec![n; 10_000]).await;
            }
            peer.send("next").await;
        };
        let receive = async {
            assert_eq!(socket.recv().await.unwrap(), Some(vec![0; 10_000].into()));
            let mut message = socket.recv_stream().await.unwrap().unwrap();
            assert_eq!(message.kind(), MessageKind::Binary);
            assert_eq!(message.next().await.unwrap().unwrap().as_bytes()[0], 1);
            // The reader goes away, and another comes.
            let mut message = socket.recv_stream().await.unwrap().unwrap();
            assert_eq!(message.next().await.unwrap().unwrap().as_bytes()[0], 2);
            assert_eq!(socket.recv().await.unwrap(), Some(vec![3; 10_000].into()));
            // One that is forgotten is gone as well.
            mem::forget(socket.recv_stream().await.unwrap());
            assert_eq!(socket.recv().await.unwrap(), Some("next".into()));
        };
        within(async { tokio::join!(send, receive) }).await;
    }
}

/// A message that `recv` has begun to receive goes on in pieces: nothing is lost.
#[tokio::test]
async fn a_message_that_recv_has_begun_goes_on_in_pieces() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
    let mut recv = Box::pin(socket.recv());
    assert!(poll_now(&mut recv).await.is_pending());
    settle().await;
    assert!(poll_now(&mut recv).await.is_pending());
    drop(recv);
    let mut message = within(socket.recv_stream()).await.unwrap().unwrap();
    assert_eq!(within(message.next()).await.unwrap(), Some("ab".into()));
    peer.send_octets(b"\x80\x81\0\0\0\0c").await;
    assert_eq!(within(message.next()).await.unwrap(), Some("c".into()));
    assert_eq!(within(message.next()).await.unwrap(), None);
    assert_eq!(within(message.next()).await.unwrap(), None);
}

/// Futures that are dropped each time that they are pending lose nothing and send nothing twice.
#[tokio::test]
async fn pieces_are_cancel_safe() {
    const MESSAGES: usize = 12;
    let message = |n: usize| Message::from(vec![n as u8; [0, 1000, 40_000, 70_000][n % 4]]);
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        let sending = async {
            for n in 0..MESSAGES {
                peer.machine.send(&message(n)).unwrap();
                let mut octets = bytes::BytesMut::new();
                peer.machine.poll_transmit(&mut octets);
                for piece in octets.chunks(octets.len() / 3 + 1) {
                    peer.send_octets(piece).await;
                    settle().await;
                }
            }
        };
        let receiving = async {
            let mut drops = 0;
            for n in 0..MESSAGES {
                let mut octets = Vec::new();
                // The reader would keep the socket borrowed from one future to the next.
                let (begun, dropped) =
                    restarted(async || socket.recv_stream().await.map(|reader| reader.map(|reader| reader.kind())))
                        .await;
                assert_eq!(begun.unwrap(), Some(MessageKind::Binary));
                drops += dropped;
                // It was dropped: this message is skipped, and the next one is read.
                let mut reader = within(socket.recv_stream()).await;
                let Ok(Some(reader)) = &mut reader else { break };
                loop {
                    let (piece, dropped) = restarted(async || reader.next().await).await;
                    drops += dropped;
                    let Some(piece) = piece.unwrap() else { break };
                    octets.extend(piece.into_bytes());
                }
                let expected = message(2 * n + 1);
                assert!(expected.as_bytes() == octets, "message {} is another", 2 * n + 1);
                if 2 * n + 2 == MESSAGES {
                    break;
                }
            }
            assert!(drops >= MESSAGES / 2, "futures were dropped {drops} times only");
        };
        within(async { tokio::join!(sending, receiving) }).await;
    }
}

/// Writes that are dropped each time that they wait send nothing twice, and nothing in part.
#[tokio::test]
async fn write_is_cancel_safe() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let writing = async {
        let mut drops = 0;
        let mut writer = socket.send_stream(MessageKind::Binary);
        for n in 0..60 {
            let (written, dropped) = restarted(async || writer.write(vec![n; 10_000]).await).await;
            written.unwrap();
            drops += dropped;
        }
        writer.finish().await.unwrap();
        drops
    };
    let (drops, message) = within(async { tokio::join!(writing, peer.message()) }).await;
    assert!(drops > 0);
    let expected: Vec<u8> = (0..60).flat_map(|n| [n; 10_000]).collect();
    assert!(message.as_bytes() == expected);
}

/// RFC 6455 §10.4: the limit of a message in pieces is its own, and counts.
#[tokio::test]
async fn the_limit_of_a_message_in_pieces() {
    let options = SocketOptions::new().max_message_size(10).max_streamed_message_size(1000);
    let running = start(Server::new(), websocket(forward).options(options)).await;
    for (n, carrier) in Carrier::ALL.into_iter().enumerate() {
        let mut peer = Socket::open(carrier, running.addr).await;
        peer.check_echo(vec![1; 1000]).await;
        peer.send(vec![1; 1001]).await;
        assert_eq!(peer.close_code().await, 1009);
        counted(&running.handle, Counter::MessagesTooBig, n as u64 + 1).await;
    }
}

/// A message that its peer cuts off by a Close is not taken for a whole one; neither is one whose peer is gone.
#[tokio::test]
async fn a_message_that_is_cut_off_is_an_error() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
        peer.close(CloseCode::GOING_AWAY, "").await;
        let mut message = within(socket.recv_stream()).await.unwrap().unwrap();
        assert_eq!(within(message.next()).await.unwrap(), Some("ab".into()));
        let error = within(message.next()).await.unwrap_err();
        assert!(matches!(error, Error::Incomplete), "{error}");
        assert_eq!((error.fault(), error.is_retryable()), (Fault::Peer, false));
        assert_eq!(within(message.next()).await.unwrap(), None);
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert_eq!(socket.close_frame().unwrap().code, CloseCode::GOING_AWAY);

        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
        peer.end().await;
        let mut message = within(socket.recv_stream()).await.unwrap().unwrap();
        assert_eq!(within(message.next()).await.unwrap(), Some("ab".into()));
        assert!(matches!(within(message.next()).await, Err(Error::Abnormal)));
    }
}

/// A server that shuts down says Close 1001, and a reader does not wait for the rest.
#[tokio::test]
async fn a_reader_sees_that_its_server_shuts_down() {
    for carrier in Carrier::ALL {
        let (results, mut told) = mpsc::unbounded_channel();
        let running = start_websocket(move |mut socket: WebSocket| {
            let results = results.clone();
            async move {
                let mut message = socket.recv_stream().await?.unwrap();
                message.next().await?;
                results.send(Ok(None)).unwrap();
                results.send(message.next().await).unwrap();
                Ok::<_, Error>(())
            }
        })
        .await;
        let mut peer = Socket::open(carrier, running.addr).await;
        peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
        within(told.recv()).await.unwrap().unwrap();
        running.handle.shutdown();
        assert!(matches!(within(told.recv()).await, Some(Err(Error::Closed))));
        assert_eq!(peer.close_code().await, 1001);
    }
}

/// A writer that is dropped before its message is whole closes the socket, and nothing that was sent passes for a message.
#[tokio::test]
async fn a_writer_that_is_dropped_closes_the_socket() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        // One that has sent nothing leaves nothing.
        drop(socket.send_stream(MessageKind::Text));
        let mut writer = socket.send_stream(MessageKind::Text);
        writer.write("").await.unwrap();
        drop(writer);
        socket.send("whole").await.unwrap();
        assert_eq!(peer.message().await, "whole".into());
        let mut writer = socket.send_stream(MessageKind::Text);
        writer.write("part").await.unwrap();
        drop(writer);
        assert!(matches!(socket.send("next").await, Err(Error::Closed)));
        let Event::Close(frame) = peer.event().await else { panic!("no Close") };
        assert_eq!((frame.code, &*frame.reason), (CloseCode::INTERNAL_ERROR, "a message was not finished"));
        assert_eq!(within(socket.recv()).await.unwrap(), None);
    }
}

/// Between two pieces no other message can be sent, and a writer that was forgotten leaves it so.
#[tokio::test]
async fn no_message_goes_between_two_pieces() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let mut writer = socket.send_stream(MessageKind::Text);
    assert!(matches!(writer.write(&b"binary"[..]).await, Err(Error::Invalid(_))));
    writer.write("a ").await.unwrap();
    mem::forget(writer);
    assert!(matches!(socket.send("other").await, Err(Error::Invalid(_))));
    let mut writer = socket.send_stream(MessageKind::Text);
    assert!(matches!(writer.write("piece").await, Err(Error::Invalid(_))));
    assert!(matches!(writer.finish().await, Err(Error::Invalid(_))));
    socket.send_ping(b"?").await.unwrap();
    drop(socket);
    assert_eq!(peer.close_code().await, 1001);
}

/// RFC 6455 §5.4: control frames go between the pieces of a message, either way.
#[tokio::test]
async fn pings_go_between_the_pieces() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let (mut sender, mut receiver) = sockets.recv().await.unwrap().split();
        let mut writer = sender.send_stream(MessageKind::Text);
        writer.write("a").await.unwrap();
        peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
        peer.ping(b"?").await;
        let mut message = within(receiver.recv_stream()).await.unwrap().unwrap();
        assert_eq!(within(message.next()).await.unwrap(), Some("ab".into()));
        {
            let mut next = Box::pin(message.next());
            let pong = async {
                assert_eq!(peer.event().await, Event::Pong("?".into()));
                peer.send_octets(b"\x80\x81\0\0\0\0c").await;
            };
            let (piece, ()) = within(async { tokio::join!(&mut next, pong) }).await;
            assert_eq!(piece.unwrap(), Some("c".into()));
        }
        writer.write("b").await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(peer.message().await, "ab".into());
    }
}

/// A round trip waits while the other half reads in pieces.
#[tokio::test]
async fn a_ping_is_answered_while_a_message_comes_in_pieces() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let (mut sender, mut receiver) = sockets.recv().await.unwrap().split();
        peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
        let mut message = within(receiver.recv_stream()).await.unwrap().unwrap();
        let reading = async { while message.next().await.unwrap().is_some() {} };
        let peering = async {
            // To be asked for events is to answer Pings.
            assert!(tokio::time::timeout(Duration::from_millis(200), peer.event()).await.is_err());
            peer.send_octets(b"\x80\x81\0\0\0\0c").await;
        };
        let (time, (), ()) = within(async { tokio::join!(sender.ping(), reading, peering) }).await;
        time.unwrap();
    }
}

/// Who does not read a message in pieces stops its peer, by the window of the stream, and nobody else.
#[tokio::test]
async fn who_does_not_read_stops_one_peer() {
    let (mut connection, client) = pair().await;
    let (mut socket, peer) = open(&mut connection, &client).await;
    let (mut sibling, mut siblings_peer) = open(&mut connection, &client).await;
    let id = peer.id();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    let sending = tokio::spawn({
        let client = client.clone();
        async move {
            // A frame of 16 MiB, masked by zeros.
            client.send(id, &[&[0x82, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0][..], &[0; 4]].concat(), false).await;
            for _ in 0..16 * MIB / 4096 {
                client.send(id, &[7; 4096], false).await;
                count.fetch_add(4096, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    let mut message = within(socket.recv_stream()).await.unwrap().unwrap();
    message.next().await.unwrap().unwrap();
    settle().await;
    settle().await;
    let stopped_at = sent.load(std::sync::atomic::Ordering::Relaxed);
    // Windows grow for who keeps up, and there are buffers on the way.
    assert!(stopped_at <= MIB, "{stopped_at} octets were taken");
    settle().await;
    assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), stopped_at);
    siblings_peer.send("hello").await;
    assert_eq!(within(sibling.recv()).await.unwrap(), Some("hello".into()));
    while within(message.next()).await.unwrap().is_some() {}
    sending.await.unwrap();
}

/// A writer whose peer does not read waits, as `send` does.
#[tokio::test]
async fn a_writer_waits_for_its_peer() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let piece = Message::from(vec![7; 1000]);
    let mut writer = socket.send_stream(MessageKind::Binary);
    let mut pieces = 0;
    loop {
        let mut write = Box::pin(writer.write(piece.clone()));
        if poll_now(&mut write).await.is_pending() {
            settle().await;
            if poll_now(&mut write).await.is_pending() {
                break;
            }
        }
        pieces += 1;
    }
    // The window of a stream and the outbox behind it; 4 octets are a head.
    assert_eq!(pieces, (65_535_usize + 64 * 1024).div_ceil(1004));
    // The end waits for nothing.
    within(writer.finish()).await.unwrap();
    assert_eq!(peer.message().await.len(), pieces * 1000);
}

/// By the traits of futures: a reader is a stream, a writer a sink, and to close it finishes the message.
#[tokio::test]
async fn a_reader_is_a_stream_and_a_writer_a_sink() {
    let running = start_websocket(|socket: WebSocket| async move {
        let (mut sender, mut receiver) = socket.split();
        while let Some(message) = receiver.recv_stream().await? {
            let echo = sender.send_stream(message.kind());
            message.forward(echo).await?;
        }
        Ok::<_, Error>(())
    })
    .await;
    for carrier in Carrier::ALL {
        check_echo(client(carrier, &running).await, &messages()).await;
    }
    let mut socket = client(Carrier::Http2, &running).await;
    socket.send("Hello").await.unwrap();
    let message = within(socket.recv_stream()).await.unwrap().unwrap();
    let pieces: Vec<Message> = within(message.try_collect()).await.unwrap();
    assert_eq!(pieces, ["Hello".into()]);
}

/// What is read in pieces in other people's servers.
#[tokio::test]
async fn messages_are_forwarded_in_axum() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = axum::Router::new().route_service("/", websocket(forward));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut peer = Socket::open_with(Carrier::Http1, addr, &handshake("/")).await;
    for message in messages().into_iter().filter(|message| message.len() < 20_000) {
        peer.check_echo(message).await;
    }
}
