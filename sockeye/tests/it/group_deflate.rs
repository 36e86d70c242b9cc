//! One message to sockets that compress, each in its own way, and to those that do not.

use sockeye::{Deflate, DeflateContext, Group, Message, Server, WebSocket};
use sockeye_proto::ws::MessageKind;

use crate::common::{Carrier, Client, Socket, hand_over, handshake, start};

/// RFC 7692 §6: the frame is of a compressed message.
const RSV1: u8 = 0x40;

/// How a peer asks for compression, and whether it then shares what is compressed with others.
fn kinds() -> [(Option<Deflate>, bool); 5] {
    let server = |context| Some(Deflate::new().server(context));
    let context = DeflateContext::new();
    [
        (None, false),
        (Some(Deflate::new()), true),
        (server(context.window_bits(9)), true),
        (server(context.takeover(true)), false),
        (Some(Deflate::new().client(context.takeover(true))), true),
    ]
}

fn noise(octets: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as u8
    };
    (0..octets).map(|_| next()).collect()
}

/// Peers of each kind, in this order, on one connection of HTTP/2 and on some of HTTP/1.1, and the server's sockets.
async fn peers() -> Vec<(Socket, WebSocket, bool)> {
    let (service, mut sockets) = hand_over();
    // What the peer asks for decides whether there is a context.
    let server =
        start(Server::new(), service.deflate(Deflate::new().contexts(DeflateContext::new().takeover(true)))).await;
    let client = Client::connect(server.addr).await;
    let mut peers = Vec::new();
    for (deflate, is_shared) in kinds() {
        let mut asking = handshake("/");
        asking.extensions.deflate = deflate;
        for is_alone in [false, true] {
            let peer = match is_alone {
                false => Socket::on(&client, &asking).await.unwrap(),
                true => Socket::open_with(Carrier::Http1, server.addr, &asking).await,
            };
            let takeover = deflate.is_some_and(|deflate| deflate.server.takeover);
            let in_use = peer.machine.extensions().deflate;
            assert_eq!(in_use.map(|deflate| deflate.server.takeover), deflate.map(|_| takeover));
            peers.push((peer, sockets.recv().await.unwrap(), is_shared));
        }
    }
    peers
}

/// Whoever has compression without takeover gets the message compressed, the others as it is, and all of them the same message, in
/// order, between what their sockets send themselves.
#[tokio::test]
async fn members_that_compress_and_those_that_do_not_get_the_same() {
    let mut peers = peers().await;
    let group = Group::new();
    let members: Vec<_> = peers.iter().map(|(_, socket, _)| group.join(socket).unwrap()).collect();
    let text = Message::from("to be or not to be, ".repeat(60));
    let binary = Message::from(vec![7; 3000]);
    for message in [text, binary, "short".into(), noise(500).into()] {
        group.send(message.clone()).await;
        for (peer, socket, is_shared) in &mut peers {
            let (frame, got) = peer.frame().await;
            assert_eq!(got, message);
            let is_compressed = *is_shared && message.len() > 1000;
            assert_eq!(frame[0] & RSV1 != 0, is_compressed);
            assert_eq!(frame.len() < message.len(), is_compressed);
            let opcode = if message.kind() == MessageKind::Text { 1 } else { 2 };
            assert_eq!(frame[0] & 0xf, opcode);
            socket.send(message.clone()).await.unwrap();
            assert_eq!(peer.message().await, message);
        }
    }
    drop(members);
}

/// A frame refers no further back than the window that the peer has (RFC 7692 §7.1.2.1), also where others have a larger one.
#[tokio::test]
async fn nobody_gets_a_frame_that_its_window_is_too_small_for() {
    let mut peers = peers().await;
    let group = Group::new();
    let _members: Vec<_> = peers.iter().map(|(_, socket, _)| group.join(socket).unwrap()).collect();
    // What repeats is 2,000 octets away: only a window of 11 bits or more gets it smaller.
    let message = Message::from([noise(2000), noise(2000)].concat());
    group.send(message.clone()).await;
    for (peer, _, is_shared) in &mut peers {
        let bits = peer.machine.extensions().deflate.map(|deflate| deflate.server.window_bits);
        let (frame, got) = peer.frame().await;
        assert_eq!(got, message);
        assert_eq!(frame.len() < 3000, *is_shared && bits == Some(15), "{bits:?}: {} octets", frame.len());
    }
}

/// What waits for a slow member comes compressed too, and so does what is for one member, and a history.
#[tokio::test]
async fn what_waited_comes_compressed_too() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service.deflate(Deflate::new())).await;
    let mut asking = handshake("/");
    asking.extensions.deflate = Some(Deflate::new());
    let mut peer = Socket::open_with(Carrier::Http2, server.addr, &asking).await;
    let socket = sockets.recv().await.unwrap();
    let group = Group::new();
    let text = |number: usize| format!("{number}: {}", "and so on, ".repeat(100));
    let member = group.join_with(&socket, [text(0)]).unwrap();
    member.send(text(1)).await;
    // More than any window holds, though compressed.
    let large = |number: usize| Message::from([noise(60_000), text(number).into_bytes()].concat());
    for number in 2..12 {
        drop(group.send(large(number)));
    }
    for number in 0..12 {
        let (frame, got) = peer.frame().await;
        assert_eq!(got, if number < 2 { Message::from(text(number)) } else { large(number) });
        assert!(frame[0] & RSV1 != 0 && frame.len() < got.len());
    }
}
