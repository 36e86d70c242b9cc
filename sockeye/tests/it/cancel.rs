//! Every async function is cancel safe: its future is dropped each time that it is pending, and nothing is lost, repeated
//! or sent in part.

use std::collections::VecDeque;

use bytes::BytesMut;
use http::Request;
use sockeye::{CloseCode, Message, Result, WebSocket};
use sockeye_proto::h2::StreamId;
use sockeye_proto::ws::Event;

use crate::common::{
    Carrier, Client, Socket, fill, hand_over, open, pair, restarted, settle, start, start_websocket, within,
};

const MESSAGES: usize = 60;

/// Of sizes that fit a frame, a window, and neither.
fn message(n: usize) -> Message {
    Message::from(vec![n as u8; [3, 1000, 40_000, 70_000][n % 4]])
}

/// Sends the messages in pieces that end anywhere.
async fn send_in_pieces(peer: &mut Socket) {
    for n in 0..MESSAGES {
        peer.machine.send(&message(n)).unwrap();
        let mut octets = BytesMut::new();
        peer.machine.poll_transmit(&mut octets);
        for piece in octets.chunks(octets.len() / 3 + 1) {
            peer.send_octets(piece).await;
            settle().await;
        }
    }
}

async fn check_received(mut recv: impl AsyncFnMut() -> Result<Option<Message>>) {
    let mut drops = 0;
    for n in 0..MESSAGES {
        let (received, dropped) = within(restarted(&mut recv)).await;
        assert!(received.unwrap().unwrap() == message(n), "message {n} is another");
        drops += dropped;
    }
    assert!(drops >= MESSAGES, "futures were dropped {drops} times only");
}

#[tokio::test]
async fn recv_loses_nothing() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        within(async { tokio::join!(send_in_pieces(&mut peer), check_received(async || socket.recv().await)) }).await;
    }
}

#[tokio::test]
async fn recv_of_a_half_loses_nothing() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let (_sender, mut receiver) = sockets.recv().await.unwrap().split();
        within(async { tokio::join!(send_in_pieces(&mut peer), check_received(async || receiver.recv().await)) }).await;
    }
}

async fn check_sent(peer: &mut Socket) {
    for n in 0..MESSAGES {
        settle().await;
        assert!(peer.message().await == message(n), "message {n} is another");
    }
}

/// The peer reads slowly, so that senders wait for room.
#[tokio::test]
async fn send_and_flush_send_once() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let sending = async {
        let (mut sends, mut flushes) = (0, 0);
        for n in 0..MESSAGES {
            let (sent, dropped) = restarted(async || socket.send(message(n)).await).await;
            sent.unwrap();
            sends += dropped;
            if n % 8 == 7 {
                let (flushed, dropped) = restarted(async || socket.flush().await).await;
                flushed.unwrap();
                flushes += dropped;
            }
        }
        assert!(sends > 0 && flushes > 0, "{sends} and {flushes} futures were dropped");
        socket
    };
    within(async { tokio::join!(sending, check_sent(&mut peer)) }).await;
    assert_eq!(peer.close_code().await, 1001, "the end follows the last message");
}

#[tokio::test]
async fn send_and_flush_of_a_half_send_once() {
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    let (mut sender, receiver) = socket.split();
    let sending = async {
        let (mut sends, mut flushes) = (0, 0);
        for n in 0..MESSAGES {
            let (sent, dropped) = restarted(async || sender.send(message(n)).await).await;
            sent.unwrap();
            sends += dropped;
            let (flushed, dropped) = restarted(async || sender.flush().await).await;
            flushed.unwrap();
            flushes += dropped;
        }
        assert!(flushes > 0, "{sends} and {flushes} futures were dropped");
        (sender, receiver)
    };
    within(async { tokio::join!(sending, check_sent(&mut peer)) }).await;
    assert_eq!(peer.close_code().await, 1001, "the end follows the last message");
}

/// The frames of a server by their opcodes and payloads, as they stand in the stream.
async fn frames(client: &Client, id: StreamId) -> Vec<(u8, Vec<u8>)> {
    let mut octets = Vec::new();
    while let Ok(Some(more)) = within(client.receive(id)).await {
        octets.extend_from_slice(&more);
    }
    let mut rest = &octets[..];
    let mut frames = Vec::new();
    while let [opcode, length, ..] = *rest {
        let (head, length) = match length {
            126 => (4, u16::from_be_bytes([rest[2], rest[3]]).into()),
            length => (2, usize::from(length)),
        };
        frames.push((opcode & 0xF, rest[head..head + length].to_vec()));
        rest = &rest[head + length..];
    }
    frames
}

#[tokio::test]
async fn ping_pings_once() {
    let (mut connection, client) = pair().await;
    let (mut socket, peer) = open(&mut connection, &client).await;
    let filled = fill(&mut socket, &vec![0; 1000].into()).await;
    let sending = async {
        let (sent, dropped) = restarted(async || socket.send_ping(b"once").await).await;
        sent.unwrap();
        assert!(dropped > 0);
        drop(socket);
    };
    let (_, frames) = within(async { tokio::join!(sending, frames(&client, peer.id())) }).await;
    assert_eq!(frames.len(), filled + 2);
    assert_eq!(frames[filled], (9, b"once".to_vec()));
    assert_eq!(frames[filled + 1], (8, vec![0x03, 0xE9]), "the Close of the dropped socket");
}

/// Each call goes on with the one closing handshake.
#[tokio::test]
async fn close_closes_once() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let closing = async {
        let (closed, dropped) = restarted(async || socket.close_with(CloseCode::from(3000), "once").await).await;
        closed.unwrap();
        assert!(dropped > 0);
        drop(socket);
    };
    let (id, answering) = (peer.id(), async {
        settle().await;
        peer.send("too late").await;
        settle().await;
        peer.close(3000.into(), "").await;
    });
    let (_, (), frames) = within(async { tokio::join!(closing, answering, frames(&client, id)) }).await;
    assert_eq!(frames, [(8, b"\x0B\xB8once".to_vec())]);
}

#[tokio::test]
async fn next_loses_no_stream() {
    let (mut connection, client) = pair().await;
    let opening = async {
        for n in 0..50 {
            let request = Request::get(format!("http://localhost/{n}")).body(()).unwrap();
            client.open(&request, true).unwrap();
            if n % 3 == 0 {
                settle().await;
            }
        }
    };
    let taking = async {
        let mut streams = Vec::new();
        let mut drops = 0;
        for n in 0..50 {
            let (stream, dropped) = restarted(async || connection.next().await).await;
            let stream = stream.unwrap().unwrap();
            assert_eq!(stream.uri().path(), format!("/{n}"));
            streams.push(stream);
            drops += dropped;
        }
        assert!(drops > 10, "{drops} futures were dropped");
    };
    within(async { tokio::join!(opening, taking) }).await;
    client.act(|machine| machine.close(sockeye_proto::h2::Reason::NO_ERROR));
    let (end, _) = within(restarted(async || connection.next().await)).await;
    assert!(end.unwrap().is_none());
}

/// With `select!`, the usual way to drop futures.
#[tokio::test]
async fn a_handler_may_select_between_its_directions() {
    async fn handler(mut socket: WebSocket) -> Result {
        let mut echoes = VecDeque::new();
        loop {
            tokio::select! {
                received = socket.recv(), if echoes.len() < 4 => match received? {
                    Some(message) => echoes.push_back(message),
                    None => return Ok(()),
                },
                () = tokio::task::yield_now(), if !echoes.is_empty() => {
                    socket.send(echoes.pop_front().unwrap()).await?;
                }
            }
        }
    }
    let server = start_websocket(handler).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        for round in 0..MESSAGES / 3 {
            for n in 0..3 {
                peer.send(message(3 * round + n)).await;
            }
            for n in 0..3 {
                assert!(peer.message().await == message(3 * round + n), "{carrier:?}");
            }
        }
        peer.close(CloseCode::NORMAL, "").await;
        assert!(matches!(peer.event().await, Event::Close(_)));
    }
}
