//! Messages that are sent in pieces (RFC 6455 §5.4; RFC 7692 §6.1), and compressed ones that are received so.

#![cfg(feature = "web-socket")]

#[path = "ws_common/pieces.rs"]
mod pieces;
mod ws_common;

use bytes::BytesMut;
use pieces::*;
use sockeye_proto::ws::{CloseCode, Config, Event, Extensions, Message, MessageKind, Role, SendError, WebSocket};
use ws_common::*;

/// What a piece puts on the wire.
fn send(socket: &mut WebSocket, piece: impl Into<Message>, is_last: bool) -> Vec<u8> {
    let mut output = BytesMut::new();
    let payload = socket.send_piece(&piece.into(), is_last, &mut output).unwrap();
    [&output[..], &payload.unwrap_or_default()].concat()
}

/// The first fragment has the opcode, the last one FIN, and a client masks each (RFC 6455 §5.3).
#[test]
fn a_piece_is_a_fragment() {
    let mut server = server();
    assert_eq!(send(&mut server, "Hel", false), bare(TEXT, "Hel"));
    assert_eq!(server.unfinished_kind(), Some(MessageKind::Text));
    assert_eq!(send(&mut server, "", false), bare(CONTINUATION, ""));
    assert_eq!(send(&mut server, "lo", true), bare(FIN | CONTINUATION, "lo"));
    assert_eq!(server.unfinished_kind(), None);
    assert_eq!(send(&mut server, "whole", true), bare(FIN | TEXT, "whole"));
    let mut client = client();
    assert_eq!(send(&mut client, b"Hel", false), frame(BINARY, "Hel"));
    assert_eq!(send(&mut client, b"lo", true), frame(FIN | CONTINUATION, "lo"));
}

/// RFC 6455 §5.4: control frames may go between the fragments of a message, and no other message.
#[test]
fn what_may_go_between_two_pieces() {
    let mut socket = server();
    send(&mut socket, "Hel", false);
    assert_eq!(socket.send(&"other".into()), Err(SendError::Unfinished));
    assert_eq!(socket.send_into(&"other".into(), &mut BytesMut::new()), Err(SendError::Unfinished));
    assert_eq!(socket.send_head_into(&"other".into(), &mut BytesMut::new()), Err(SendError::Unfinished));
    assert_eq!(socket.send_piece(&b"other".into(), true, &mut BytesMut::new()), Err(SendError::OtherKind));
    socket.ping(b"?").unwrap();
    feed(&mut socket, &frame(FIN | PING, "!"));
    assert_eq!(feed(&mut socket, &frame(FIN | TEXT, "in")), [Event::Message("in".into())]);
    let between = [bare(FIN | PONG, "!"), bare(FIN | PING, "?"), bare(CONTINUATION, "l")].concat();
    assert_eq!(send(&mut socket, "l", false), between);
    socket.close(CloseCode::INTERNAL_ERROR, "").unwrap();
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, close_body(1011, "")));
    assert_eq!(socket.send_piece(&"o".into(), true, &mut BytesMut::new()), Err(SendError::Closed));
}

/// The peer's Close is answered between two pieces (RFC 6455 §5.5.1).
#[test]
fn a_close_between_two_pieces_is_answered() {
    let mut socket = server();
    send(&mut socket, "Hel", false);
    assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, close_body(1000, ""))), [closed(CloseCode::NORMAL, "")]);
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, close_body(1000, "")));
    assert_eq!(socket.send_piece(&"lo".into(), true, &mut BytesMut::new()), Err(SendError::Closed));
}

/// Both ends, with these extensions.
fn pair(extensions: Extensions) -> [WebSocket; 2] {
    let client = Role::Client { mask_key: || KEY };
    [Role::Server, client].map(|role| WebSocket::new(role, Config::default()).with_extensions(extensions))
}

/// Sends messages whole and in pieces, both ways; whole or in pieces they come as they were sent.
fn check_exchange(extensions: Extensions, seed: u64) {
    let mut random = Random(seed);
    let mut sockets = pair(extensions);
    for _ in 0..6 {
        sockets.reverse();
        let [sender, receiver] = &mut sockets;
        let is_text = random.below(2) == 0;
        let mut sent_octets = String::new();
        let mut heard = Vec::new();
        let in_pieces = random.below(2) == 0;
        for left in (0..random.below(6)).rev() {
            let size = [0, 3, 130, 1000, 20_000, 140_000][random.below(6)];
            let part = if random.below(2) == 0 { "a€😀 again and ".into() } else { random.next().to_string() };
            let piece = part.repeat(size / part.len());
            sent_octets += &piece;
            let piece = if is_text { Message::from(piece) } else { piece.into_bytes().into() };
            let wire = send(sender, piece, left == 0);
            for octets in wire.chunks(1 + random.below(30_000)) {
                if in_pieces && heard.is_empty() {
                    receiver.receive_in_pieces();
                }
                heard.extend(go_on(receiver, octets));
            }
            // What was sent can be had at once.
            if in_pieces {
                let had: usize = heard.iter().map(length).sum();
                assert_eq!(had, sent_octets.len(), "seed {seed}");
            }
        }
        let expected = if is_text { Message::from(sent_octets) } else { sent_octets.into_bytes().into() };
        assert!(sender.unfinished_kind().is_none());
        if !heard.is_empty() {
            assert!(put_together(heard) == [Event::Message(expected)], "seed {seed}");
            assert!(receiver.is_at_rest());
        }
    }
}

fn length(heard: &Heard) -> usize {
    match heard {
        Heard::Piece(sockeye_proto::ws::Piece::Payload(piece)) => piece.len(),
        Heard::Piece(_) => 0,
        Heard::Event(event) => panic!("{event:?}"),
    }
}

#[test]
fn whatever_is_sent_arrives() {
    for seed in 0..50 {
        for no_masking in [false, true] {
            check_exchange(Extensions { no_masking, ..Extensions::default() }, seed);
        }
    }
}

#[cfg(feature = "deflate")]
mod deflate {
    use flate2::{Compress, Compression, FlushCompress};
    use sockeye_proto::ws::{Deflate, DeflateContext, Piece, Violation};

    use super::*;

    fn extensions(takeover: bool) -> Extensions {
        let context = DeflateContext::new().takeover(takeover).window_bits(15);
        let deflate = Deflate::new().contexts(context).min_size(128);
        Extensions { deflate: Some(deflate), ..Extensions::default() }
    }

    fn receiver(takeover: bool, config: Config) -> WebSocket {
        server_with(config).with_extensions(extensions(takeover))
    }

    fn zlib(message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() + 100);
        let mut compress = Compress::new(Compression::best(), false);
        compress.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.truncate(output.len() - 4);
        output
    }

    /// RFC 7692 §6.1 and §7.2.1: RSV1 stands in the first fragment, and the tail of the last piece is missing.
    #[test]
    fn whatever_is_sent_compressed_arrives() {
        for seed in 0..40 {
            for takeover in [false, true] {
                check_exchange(extensions(takeover), seed);
            }
        }
    }

    /// The first piece says whether it is worth it.
    #[test]
    fn a_message_is_compressed_if_its_first_piece_is_worth_it() {
        let [mut server, _] = pair(extensions(false));
        let large = "much the same ".repeat(100);
        assert_eq!(send(&mut server, "small", false)[0], TEXT);
        assert!(send(&mut server, large.as_str(), true).len() > large.len());
        let first = send(&mut server, large.as_str(), false);
        assert_eq!((first[0], first.len() < large.len() / 5), (RSV1 | TEXT, true));
        let second = send(&mut server, large.as_str(), false);
        assert_eq!((second[0], second.len() < large.len() / 5), (CONTINUATION, true));
        assert_eq!(send(&mut server, "", true), bare(FIN | CONTINUATION, ""));
    }

    /// RFC 7692 §7.2.3.2: with context takeover the next message refers to one that came in pieces, and to one that was skipped.
    #[test]
    fn the_context_goes_on_behind_a_message_in_pieces() {
        for is_skipped in [false, true] {
            let [mut server, mut client] = pair(extensions(true));
            let text: String = (0..2000).map(|number| format!("{number} ")).collect();
            let first = send(&mut server, text.as_str(), true);
            client.receive_in_pieces();
            let (front, back) = first.split_at(first.len() / 2);
            let mut heard = go_on(&mut client, front);
            if is_skipped {
                client.receive_whole();
            }
            heard.extend(go_on(&mut client, back));
            assert_eq!(heard.contains(&END), !is_skipped);
            let again = send(&mut server, text.as_str(), true);
            assert!(again.len() < first.len() / 10, "{} octets of {}", again.len(), first.len());
            assert!(go_on(&mut client, &again) == [Heard::Event(Event::Message(text.as_str().into()))]);
        }
    }

    /// RFC 6455 §10.4: the limit is of what is decompressed; what is no DEFLATE data, or cut off, fails with 1007 as ever.
    #[test]
    fn violations_of_compressed_messages() {
        for takeover in [false, true] {
            let payload = zlib(&[0; 100_000]);
            let limited =
                |max| receiver(takeover, Config::default().with(|config| config.max_streamed_message_size = max));
            let octets = frame(FIN | RSV1 | BINARY, &payload);
            let heard = put_together(hear(&mut limited(100_000), &octets));
            assert!(heard == [Event::Message(vec![0; 100_000].into())]);
            let heard = hear(&mut limited(99_999), &octets);
            assert_eq!(heard.last(), Some(&Heard::Event(Event::Failed(Violation::StreamedMessageTooBig))));
            for bad in [&payload[..payload.len() - 1], &payload[..3], &[0xFF, 0xFF], &[]] {
                let heard = hear(&mut limited(u64::MAX), &frame(FIN | RSV1 | BINARY, bad));
                assert_eq!(heard.last(), Some(&Heard::Event(Event::Failed(Violation::Deflate))), "{bad:x?}");
            }
            let heard = hear(&mut limited(u64::MAX), &frame(FIN | RSV1 | TEXT, zlib(b"\xE2\x82")));
            assert_eq!(heard.last(), Some(&Heard::Event(Event::Failed(Violation::Text))));
        }
    }

    /// RFC 7692 §7.2.3: its examples, an octet at a time.
    #[test]
    fn examples_of_the_rfc() {
        let messages: [&[u8]; 4] = [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ];
        for message in messages {
            let mut socket = receiver(false, Config::default());
            socket.receive_in_pieces();
            let octets = frame(FIN | RSV1 | TEXT, message);
            let heard = octets.chunks(1).flat_map(|octet| go_on(&mut socket, octet));
            assert_eq!(put_together(heard), [Event::Message("Hello".into())], "{message:x?}");
        }
    }

    /// A message that has begun to come whole and compressed goes on in pieces.
    #[test]
    fn a_compressed_message_that_has_begun_goes_on_in_pieces() {
        let text: String = (0..5000).map(|number| format!("{number}€ ")).collect();
        let octets = frame(FIN | RSV1 | TEXT, zlib(text.as_bytes()));
        for cut in [10, 1000, octets.len() - 1] {
            let mut socket = receiver(false, Config::default());
            assert_eq!(go_on(&mut socket, &octets[..cut]), []);
            socket.receive_in_pieces();
            let mut heard: Vec<_> = std::iter::from_fn(|| socket.poll_piece()).map(Heard::Piece).collect();
            heard.extend(go_on(&mut socket, &octets[cut..]));
            assert!(put_together(heard) == [Event::Message(text.as_str().into())]);
        }
    }

    /// Who does not take the pieces of what decompresses to a thousand times as much holds none of it but one: no input is
    /// taken meanwhile.
    #[test]
    fn a_bomb_goes_off_at_the_reader_s_pace() {
        let mut socket = receiver(false, Config::default());
        socket.receive_in_pieces();
        let bomb = frame(FIN | RSV1 | BINARY, zlib(&vec![0; 16 << 20]));
        let mut input = BytesMut::from(&bomb[..]);
        let mut total = 0;
        let mut is_ended = false;
        while !is_ended {
            socket.handle_data(std::time::Instant::now, &mut input);
            let before = input.len();
            socket.handle_data(std::time::Instant::now, &mut input);
            assert_eq!(input.len(), before, "a piece is there");
            match socket.poll_piece() {
                Some(Piece::Payload(piece)) => {
                    assert!(piece.len() <= 16 << 10);
                    total += piece.len();
                }
                piece => is_ended = piece == Some(Piece::End),
            }
        }
        assert_eq!(total, 16 << 20);
    }
}
