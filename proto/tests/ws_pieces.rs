//! Messages that are received in pieces: RFC 6455 §5.4 to §5.7 and §8.1, and the limits (§10.4).

#![cfg(feature = "web-socket")]

#[path = "ws_common/pieces.rs"]
mod pieces;
mod ws_common;

use std::time::Instant;

use bytes::BytesMut;
use pieces::*;
#[cfg(feature = "deflate")]
use sockeye_proto::ws::Deflate;
use sockeye_proto::ws::{
    CloseCode, Config, Event, Extensions, Message, MessageKind, Piece, State, Violation, WebSocket,
};
use ws_common::*;

const TEXT_KIND: MessageKind = MessageKind::Text;
const BINARY_KIND: MessageKind = MessageKind::Binary;

fn failed(violation: Violation) -> Heard {
    Heard::Event(Event::Failed(violation))
}

fn whole(message: impl Into<Message>) -> Heard {
    Heard::Event(Event::Message(message.into()))
}

/// Each fragment is a piece as soon as it is there; control frames come between (RFC 6455 §5.4).
#[test]
fn a_fragment_is_a_piece() {
    let mut socket = server();
    socket.receive_in_pieces();
    assert_eq!(go_on(&mut socket, &frame(TEXT, "Hel")), [begin(TEXT_KIND), payload("Hel")]);
    assert_eq!(go_on(&mut socket, &frame(FIN | PONG, "!")), [Heard::Event(Event::Pong("!".into()))]);
    assert_eq!(go_on(&mut socket, &frame(FIN | PING, "?")), []);
    assert_eq!(sent(&mut socket), bare(FIN | PONG, "?"));
    assert_eq!(go_on(&mut socket, &frame(FIN | CONTINUATION, "lo")), [payload("lo"), END]);
    assert!(socket.is_at_rest());
    // For one message it was asked.
    assert_eq!(go_on(&mut socket, &frame(FIN | TEXT, "next")), [whole("next")]);
}

/// What came of a frame is a piece, and a frame may be of any size.
#[test]
fn a_frame_comes_in_pieces() {
    let mut socket = server();
    socket.receive_in_pieces();
    let whole = frame(FIN | BINARY, [7; 300]);
    assert_eq!(go_on(&mut socket, &whole[..3]), []);
    assert_eq!(go_on(&mut socket, &whole[3..8]), [begin(BINARY_KIND)]);
    assert_eq!(go_on(&mut socket, &whole[8..9]), [payload(vec![7])]);
    assert_eq!(go_on(&mut socket, &whole[9..]), [payload(vec![7; 299]), END]);
    // The header announces nearly 2^63 octets, and nothing is held but what came.
    socket.receive_in_pieces();
    let huge = [&[FIN | BINARY, 0xFF, 0x7F][..], &[0xFF; 7], &KEY].concat();
    assert_eq!(go_on(&mut socket, &huge), [begin(BINARY_KIND)]);
    let piece = vec![0; 100_000];
    let lengths = go_on(&mut socket, &piece).into_iter().map(|heard| match heard {
        Heard::Piece(Piece::Payload(piece)) => piece.len(),
        heard => panic!("{heard:?}"),
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [65_536, 34_464]);
    assert_eq!(socket.buffered(), 0);
    assert_eq!(socket.unfinished(), None);
}

/// A message without a payload has a begin and an end (RFC 6455 §5.6).
#[test]
fn an_empty_message_has_no_piece() {
    for octets in
        [frame(FIN | TEXT, ""), [frame(TEXT, ""), frame(CONTINUATION, ""), frame(FIN | CONTINUATION, "")].concat()]
    {
        assert_eq!(hear(&mut server(), &octets), [begin(TEXT_KIND), END]);
    }
}

/// RFC 6455 §8.1: a character may be cut anywhere, and comes whole with the piece in which it ends.
#[test]
fn a_piece_of_text_ends_between_characters() {
    let text = "aé€😀";
    for cut in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        let octets = [frame(TEXT, first), frame(FIN | CONTINUATION, second)].concat();
        for step in 1..octets.len() {
            let mut socket = server();
            socket.receive_in_pieces();
            let heard = octets.chunks(step).flat_map(|octets| go_on(&mut socket, octets));
            assert_eq!(put_together(heard), [Event::Message(text.into())], "cut at {cut}, {step} octets at a time");
        }
    }
}

/// RFC 6455 §8.1: text that is not UTF-8 fails with 1007 at the first octet that cannot be right, or at the end.
#[test]
fn invalid_text_fails_where_it_shows() {
    let good = [begin(TEXT_KIND), payload("ok")];
    for (bad, is_shown_before_the_end) in
        [(&b"\xFF"[..], true), (b"\xE2\x28", true), (b"\xED\xA0", true), (b"\xE2\x82", false)]
    {
        let mut socket = server();
        assert_eq!(hear(&mut socket, &frame(TEXT, "ok")), good);
        let heard = go_on(&mut socket, &frame(CONTINUATION, bad));
        assert_eq!(heard.is_empty(), !is_shown_before_the_end, "{bad:x?}");
        let heard = [heard, go_on(&mut socket, &frame(FIN | CONTINUATION, ""))].concat();
        assert_eq!(heard, [failed(Violation::Text)]);
        assert_eq!(sent(&mut socket)[2..4], 1007_u16.to_be_bytes());
    }
}

/// Every session gives the same, whole or in pieces, however it is cut, and with one message so and the next one otherwise.
#[test]
fn pieces_make_up_the_message() {
    let sizes = [0, 1, 5, 125, 126, 5000, 65_535, 65_536, 200_000];
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut session = Vec::new();
        for _ in 0..10 {
            let size = sizes[random.below(sizes.len())];
            let text: String = "aé😀".chars().cycle().skip(random.below(3)).take(size).collect();
            let (opcode, mut rest) =
                if random.below(2) == 0 { (TEXT, text.as_bytes()) } else { (BINARY, &text.as_bytes()[..size]) };
            let mut opcode = opcode;
            while random.below(3) > 0 {
                let (first, behind) = rest.split_at(random.below(rest.len() + 1));
                session.extend([frame(opcode, first), frame(FIN | PONG, "between")].concat());
                (opcode, rest) = (CONTINUATION, behind);
            }
            session.extend(frame(FIN | opcode, rest));
        }
        session.extend(frame(FIN | CLOSE, close_body(1000, "")));
        let expected = feed(&mut server(), &session);
        let mut socket = server();
        let mut heard = Vec::new();
        let mut rest = &session[..];
        let largest = [1, 100, 20_000, 1 << 20][random.below(4)].max(session.len() / 5000);
        let mut is_open = false;
        while !rest.is_empty() {
            let (octets, behind) = rest.split_at((1 + random.below(largest)).min(rest.len()));
            rest = behind;
            // A message that has begun goes on as it has begun, or in pieces.
            let mut choice = || !is_open && random.below(2) == 0;
            let more = if is_open { go_on(&mut socket, octets) } else { hear_if(&mut socket, octets, &mut choice) };
            for heard in &more {
                if let Heard::Piece(piece) = heard {
                    is_open = *piece != Piece::End;
                }
            }
            heard.extend(more);
        }
        assert!(put_together(heard) == expected, "seed {seed}");
    }
}

/// A message that has begun to come whole goes on in pieces: what is held of it is the first.
#[test]
fn a_message_that_has_begun_goes_on_in_pieces() {
    let euro = "€".as_bytes();
    let begun = [(TEXT, euro, payload("€")), (BINARY, &b"\x01\x02"[..], payload(&b"\x01"[..]))];
    for (opcode, octets, _) in begun {
        let mut socket = server();
        let octets = frame(FIN | opcode, octets.repeat(3));
        assert_eq!(go_on(&mut socket, &octets[..octets.len() - 2]), []);
        let held = socket.buffered();
        assert!(held > 0);
        socket.receive_in_pieces();
        assert_eq!(socket.buffered(), 0);
        let heard: Vec<_> = std::iter::from_fn(|| socket.poll_piece()).map(Heard::Piece).collect();
        assert_eq!(heard.len(), 2, "{heard:?}");
        let heard = [heard, go_on(&mut socket, &octets[octets.len() - 2..])].concat();
        let expected = feed(&mut server(), &octets);
        assert_eq!(put_together(heard), expected);
    }
    // Too large for pieces.
    let mut socket = server_with(Config::default().with(|config| config.max_streamed_message_size = 9));
    assert_eq!(go_on(&mut socket, &frame(FIN | BINARY, [0; 10])[..10]), []);
    socket.receive_in_pieces();
    assert_eq!(socket.poll_event(), Some(Event::Failed(Violation::StreamedMessageTooBig)));
}

/// RFC 6455 §10.4: a limit of its own, which shows as soon as a length announces more.
#[test]
fn the_limit_of_a_message_in_pieces() {
    let limited = |max| {
        server_with(Config::default().with(|config| {
            config.max_message_size = 3;
            config.max_streamed_message_size = max;
        }))
    };
    let ok = [frame(BINARY, [0; 6]), frame(FIN | CONTINUATION, [0; 4])].concat();
    assert_eq!(put_together(hear(&mut limited(10), &ok)), [Event::Message(vec![0; 10].into())]);
    let mut socket = limited(9);
    assert_eq!(hear(&mut socket, &ok).last(), Some(&failed(Violation::StreamedMessageTooBig)));
    assert_eq!(sent(&mut socket)[2..4], 1009_u16.to_be_bytes());
    assert_eq!(hear(&mut limited(9), &header(FIN | BINARY, 10)), [failed(Violation::StreamedMessageTooBig)]);
    // The next message is to be whole, and has that limit.
    let mut socket = limited(10);
    assert_eq!(hear_if(&mut socket, &ok, || false), [failed(Violation::MessageTooBig)]);
    let limit = limited(9).limit_passed(Violation::StreamedMessageTooBig).unwrap();
    assert!(limit.to_string().contains("our limit is 9 octets in a message received in pieces"), "{limit}");
}

/// RFC 6455 §10.4: no fragment is too small as long as it brings something, and many in a row that bring nothing are too many.
#[test]
fn the_limit_of_empty_fragments() {
    let config = Config::default().with(|config| config.max_fragments = 4);
    let mut socket = server_with(config);
    let fragments = [frame(CONTINUATION, ""), frame(CONTINUATION, "x")].concat().repeat(100);
    assert_eq!(hear(&mut socket, &[frame(BINARY, "x"), fragments].concat()).len(), 102);
    assert_eq!(go_on(&mut socket, &frame(CONTINUATION, "").repeat(4)), []);
    assert_eq!(go_on(&mut socket, &frame(CONTINUATION, "")), [failed(Violation::TooManyFragments)]);
}

/// A reader that goes away leaves the rest to be skipped: checked as ever, and dropped.
#[test]
fn the_rest_of_a_message_is_skipped() {
    let next = [frame(FIN | CONTINUATION, "rest"), frame(FIN | TEXT, "next")].concat();
    let mut socket = server();
    assert_eq!(hear(&mut socket, &frame(TEXT, "first")), [begin(TEXT_KIND), payload("first")]);
    socket.receive_whole();
    assert_eq!(go_on(&mut socket, &frame(CONTINUATION, "more")), []);
    assert_eq!(go_on(&mut socket, &next), [whole("next")]);
    assert!(socket.is_at_rest());
    // The next reader gets the next message.
    let mut socket = server();
    assert_eq!(hear(&mut socket, &frame(TEXT, "first")).len(), 2);
    socket.receive_in_pieces();
    assert_eq!(go_on(&mut socket, &next), [begin(TEXT_KIND), payload("next"), END]);
    assert!(socket.is_at_rest());
    let mut socket = server();
    assert_eq!(hear(&mut socket, &frame(TEXT, "first")).len(), 2);
    socket.receive_whole();
    assert_eq!(go_on(&mut socket, &frame(CONTINUATION, b"\xFF")), [failed(Violation::Text)]);
}

/// Pieces that nobody took are dropped with the rest.
#[test]
fn pieces_that_are_there_are_skipped() {
    for again in [WebSocket::receive_in_pieces, WebSocket::receive_whole] {
        let mut socket = server();
        socket.receive_in_pieces();
        let mut input = BytesMut::from(&frame(FIN | TEXT, "message")[..]);
        socket.handle_data(Instant::now, &mut input);
        assert_eq!(socket.poll_piece(), Some(Piece::Begin(TEXT_KIND)));
        again(&mut socket);
        let next = go_on(&mut socket, &frame(FIN | TEXT, "next"));
        assert_eq!(put_together(next), [Event::Message("next".into())]);
    }
}

/// RFC 6455 §5.5.1 and §7.1.5: a message that a Close, ours or the peer's, or the end of the transport cuts off has no end.
#[test]
fn a_message_that_is_cut_off_has_no_end() {
    let begun = || {
        let mut socket = server();
        assert_eq!(hear(&mut socket, &frame(TEXT, "first")).len(), 2);
        socket
    };
    let mut socket = begun();
    let heard = go_on(&mut socket, &frame(FIN | CLOSE, close_body(1001, "")));
    assert_eq!(heard, [Heard::Event(closed(CloseCode::GOING_AWAY, ""))]);
    let mut socket = begun();
    socket.handle_eof();
    assert_eq!((socket.poll_piece(), socket.poll_event()), (None, Some(Event::Eof)));
    let mut socket = begun();
    socket.close(CloseCode::NORMAL, "").unwrap();
    // It was text; of what is discarded only the length counts.
    let rest = [frame(CONTINUATION, b"\xFF"), frame(FIN | CONTINUATION, [0; 100_000])].concat();
    assert_eq!(go_on(&mut socket, &rest), []);
    socket.receive_in_pieces();
    let next = [frame(FIN | TEXT, "late"), frame(FIN | CLOSE, close_body(1000, ""))].concat();
    assert_eq!(go_on(&mut socket, &next), [Heard::Event(closed(CloseCode::NORMAL, ""))]);
    assert_eq!(socket.state(), State::Closed);
}

/// RFC 6455 §5.4: its rules hold within a message in pieces.
#[test]
fn violations_within_a_message_in_pieces() {
    for (octets, violation) in [
        (frame(FIN | TEXT, "other"), Violation::InterleavedMessage),
        (frame(FIN | 0x3, ""), Violation::ReservedOpcode),
        (frame(FIN | RSV1 | CONTINUATION, ""), Violation::ReservedBits),
        (frame(PING, ""), Violation::FragmentedControl),
        (bare(FIN | CONTINUATION, ""), Violation::Unmasked),
    ] {
        let mut socket = server();
        assert_eq!(hear(&mut socket, &frame(BINARY, "first")).len(), 2);
        assert_eq!(go_on(&mut socket, &octets), [failed(violation)]);
        assert_eq!(socket.poll_piece(), None);
    }
    assert_eq!(hear(&mut server(), &frame(CONTINUATION, "")), [failed(Violation::UnexpectedContinuation)]);
}

/// RFC 6455 §5.4: a message that has come whole before our Close is whole, though its pieces were not all taken; what its peer sends
/// next, which does not know of the Close yet, breaks no rule.
#[test]
fn what_follows_a_message_in_pieces_after_our_close_is_another() {
    let late = [frame(TEXT, "la"), frame(FIN | CONTINUATION, "te"), frame(FIN | CLOSE, close_body(1000, ""))].concat();
    let plain = (Extensions::default(), frame(FIN | TEXT, "Hello"));
    // RFC 7692 §7.2.3.1
    #[cfg(feature = "deflate")]
    let compressed = (
        Extensions { deflate: Some(Deflate::new()), ..Extensions::default() },
        frame(FIN | RSV1 | TEXT, [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
    );
    for (extensions, whole) in [
        plain,
        #[cfg(feature = "deflate")]
        compressed,
    ] {
        for taken in 0..4 {
            let mut socket = server().with_extensions(extensions);
            socket.receive_in_pieces();
            socket.handle_data(Instant::now, &mut BytesMut::from(&whole[..]));
            let pieces = Vec::from_iter(std::iter::from_fn(|| socket.poll_piece()).take(taken));
            assert_eq!(pieces, [Piece::Begin(TEXT_KIND), Piece::Payload("Hello".into()), Piece::End][..taken.min(3)]);
            socket.close(CloseCode::NORMAL, "").unwrap();
            let heard = go_on(&mut socket, &late);
            assert_eq!(heard, [Heard::Event(closed(CloseCode::NORMAL, ""))], "with {taken} pieces taken");
        }
    }
}
