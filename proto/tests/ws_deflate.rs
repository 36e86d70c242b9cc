//! permessage-deflate (RFC 7692 §6 and §7.2) on the wire: each test holds one rule.
#![cfg(feature = "deflate")]

mod ws_common;

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use sockeye_proto::ws::{CloseCode, Config, Deflate, DeflateContext, Event, Extensions, Role, Violation, WebSocket};
use ws_common::*;

/// RFC 7692 §7.2.3.1: "Hello" in one block with fixed Huffman codes.
const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

/// Both sides alike, and everything compressed that is not empty.
fn deflate(takeover: bool) -> Deflate {
    let context = DeflateContext::new().takeover(takeover).window_bits(15);
    Deflate::new().contexts(context).min_size(0)
}

fn in_use(deflate: Deflate) -> Extensions {
    Extensions { deflate: Some(deflate), ..Extensions::default() }
}

fn server(takeover: bool) -> WebSocket {
    server_with(Config::default()).with_extensions(in_use(deflate(takeover)))
}

fn text(text: &str) -> Event {
    Event::Message(text.into())
}

/// A client's compressed text message, whole.
fn compressed(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | RSV1 | TEXT, payload)
}

/// What zlib makes of a message, by itself.
fn zlib(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(2 * message.len() + 100);
    compress.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
    assert!(output.ends_with(&[0x00, 0x00, 0xFF, 0xFF]));
    output.truncate(output.len() - 4);
    output
}

fn zlib_once(message: &[u8]) -> Vec<u8> {
    zlib(&mut Compress::new(Compression::best(), false), message)
}

/// RFC 7692 §7.2.3: its examples.
#[test]
fn examples_of_the_rfc() {
    for takeover in [false, true] {
        let messages: [&[u8]; 4] = [
            HELLO,
            // §7.2.3.3: a block without compression.
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            // §7.2.3.4: a block with BFINAL.
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            // §7.2.3.5: two blocks.
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ];
        let mut socket = server(takeover);
        for message in messages.iter().chain(&messages) {
            assert_eq!(feed(&mut socket, &compressed(message)), [text("Hello")], "{message:x?}");
        }
        // §7.2.3.1: in two fragments, of which only the first has RSV1.
        let fragments = [frame(RSV1 | TEXT, &HELLO[..3]), frame(FIN | CONTINUATION, &HELLO[3..])].concat();
        assert_eq!(feed(&mut socket, &fragments), [text("Hello")]);
    }
}

/// RFC 7692 §7.2.3.2: with context takeover a message refers to the one before it, without it cannot.
#[test]
fn a_message_refers_to_the_one_before_it() {
    let again = compressed([0xF2, 0x00, 0x11, 0x00, 0x00]);
    let mut socket = server(true);
    assert_eq!(feed(&mut socket, &[compressed(HELLO), again.clone()].concat()), [text("Hello"), text("Hello")]);
    let mut socket = server(false);
    let events = feed(&mut socket, &[compressed(HELLO), again].concat());
    assert_eq!(events, [text("Hello"), Event::Failed(Violation::Deflate)]);
}

/// RFC 7692 §7.2.3.6: an empty message is a single octet 0x00, which decompresses to nothing: whoever waits for output
/// waits for ever.
#[test]
fn a_compressed_empty_message_after_another() {
    for takeover in [false, true] {
        let mut socket = server(takeover);
        let (hello, empty) = (compressed(HELLO), compressed([0x00]));
        let session = [&empty[..], &hello, &empty, &empty, &hello, &empty].concat();
        let expected = ["", "Hello", "", "", "Hello", ""].map(text);
        assert_eq!(feed(&mut socket, &session), expected);

        let role = Role::Client { mask_key: || KEY };
        let mut client = WebSocket::new(role, Config::default()).with_extensions(in_use(deflate(takeover)));
        let session = [bare(FIN | RSV1 | TEXT, HELLO), bare(FIN | RSV1 | BINARY, [0x00])].concat();
        assert_eq!(feed(&mut client, &session), [text("Hello"), Event::Message(b"".into())]);
    }
}

/// An empty message that we send after another is one that the peer can read, too.
#[test]
fn an_empty_message_of_ours_after_another() {
    for takeover in [false, true] {
        let (mut client, mut server) = pair(deflate(takeover), Config::default());
        for message in ["Hello", "", "", "Hello", ""] {
            client.send(&message.into()).unwrap();
            assert_eq!(feed(&mut server, &sent(&mut client)), [text(message)]);
        }
    }
}

/// RFC 7692 §6.1: RSV1 is for the first frame of a data message, RFC 6455 §5.2: and for nobody who has not negotiated it.
#[test]
fn reserved_bits_mean_nothing_elsewhere() {
    let first = frame(RSV1 | TEXT, &HELLO[..3]);
    let cases = [
        [&first[..], &[FIN | RSV1 | CONTINUATION]].concat(),
        [&first[..], &[FIN | RSV1 | PING]].concat(),
        [&frame(TEXT, "a")[..], &[RSV1 | CONTINUATION]].concat(),
        vec![FIN | RSV1 | PING],
        vec![FIN | RSV1 | PONG],
        vec![FIN | RSV1 | CLOSE],
        vec![FIN | RSV1 | 0x3],
        vec![FIN | 0x20 | TEXT],
        vec![FIN | 0x10 | BINARY],
        vec![FIN | 0x60 | TEXT],
    ];
    for octets in cases {
        assert_eq!(feed(&mut server(true), &octets), [Event::Failed(Violation::ReservedBits)], "{octets:x?}");
    }
    fails_at_last_octet(&[FIN | RSV1 | TEXT], Violation::ReservedBits);
    assert_eq!(Violation::ReservedBits.code(), CloseCode::PROTOCOL_ERROR);
    let interleaved = [first, vec![FIN | RSV1 | TEXT]].concat();
    assert_eq!(feed(&mut server(true), &interleaved), [Event::Failed(Violation::InterleavedMessage)]);
}

/// RFC 7692 §6: a message without RSV1 is not compressed, and control frames may stand between a message's fragments.
#[test]
fn plain_and_control_frames_go_between() {
    let session = [
        frame(FIN | TEXT, "plain"),
        frame(RSV1 | BINARY, &HELLO[..1]),
        frame(FIN | PING, "?"),
        frame(CONTINUATION, ""),
        frame(FIN | PONG, "!"),
        frame(FIN | CONTINUATION, &HELLO[1..]),
        frame(TEXT, "pl"),
        frame(FIN | CONTINUATION, "ain"),
        frame(FIN | CLOSE, close_body(1000, "")),
    ];
    let mut socket = server(true);
    let events = feed(&mut socket, &session.concat());
    let expected = [
        text("plain"),
        Event::Pong("!".into()),
        Event::Message(b"Hello".into()),
        text("plain"),
        closed(CloseCode::NORMAL, ""),
    ];
    assert_eq!(events, expected);
    assert_eq!(sent(&mut socket), [bare(FIN | PONG, "?"), bare(FIN | CLOSE, close_body(1000, ""))].concat());
}

/// Data that is not DEFLATE, or that its four octets do not complete, fails with 1007.
#[test]
fn invalid_data_fails() {
    // Nothing at all, a reserved block type, a length that is not its complement's, a distance before the start, a final
    // block that nothing follows.
    let cases: [&[u8]; 5] =
        [&[], &[0x06], &[0x00, 0x05, 0x00, 0x00, 0x00], &[0xF2, 0x00, 0x11, 0x00, 0x00], &HELLO_FINAL[..7]];
    for payload in cases {
        for takeover in [false, true] {
            let events = feed(&mut server(takeover), &compressed(payload));
            assert_eq!(events, [Event::Failed(Violation::Deflate)], "{payload:x?}");
        }
    }
    assert_eq!(Violation::Deflate.code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(Violation::Deflate.to_string(), "compressed message is not DEFLATE data (RFC 7692 §7.2.2)");
}

const HELLO_FINAL: [u8; 8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];

/// A message that was cut off never passes for a shorter one.
#[test]
fn truncated_data_fails() {
    let json = r#"[{"id":1,"name":"sockeye"},{"id":2,"name":"coho"},{"id":3,"name":"chinook"}]"#.repeat(20);
    let stored = zlib(&mut Compress::new(Compression::none(), false), &json.as_bytes()[..300]);
    for whole in [HELLO.to_vec(), zlib_once(json.as_bytes()), stored] {
        for takeover in [false, true] {
            assert!(matches!(
                feed(&mut server(takeover), &frame(FIN | RSV1 | BINARY, &whole))[..],
                [Event::Message(_)]
            ));
            // The header of a block without compression is a message by itself, an empty one.
            let is_message = |length: &usize| whole[..*length] == [0x00];
            for length in (0..whole.len()).filter(|length| !is_message(length)) {
                let events = feed(&mut server(takeover), &frame(FIN | RSV1 | BINARY, &whole[..length]));
                assert_eq!(events, [Event::Failed(Violation::Deflate)], "{length} of {} octets", whole.len());
            }
        }
    }
}

/// RFC 6455 §8.1 holds for what was decompressed.
#[test]
fn text_is_utf8_once_it_is_decompressed() {
    for bad in [&b"\xFF"[..], b"caf\xC3", b"\xED\xA0\x80"] {
        let payload = zlib_once(bad);
        assert_eq!(feed(&mut server(true), &compressed(&payload)), [Event::Failed(Violation::Text)]);
        let binary = frame(FIN | RSV1 | BINARY, &payload);
        assert_eq!(feed(&mut server(true), &binary), [Event::Message(bad.into())]);
    }
    // A fragment may end within a character, and within any other thing.
    let payload = zlib_once("é€😀".as_bytes());
    let mut fragments = frame(RSV1 | TEXT, "");
    payload.iter().for_each(|octet| fragments.extend(frame(CONTINUATION, [*octet])));
    fragments.extend(frame(FIN | CONTINUATION, ""));
    assert_eq!(feed(&mut server(true), &fragments), [text("é€😀")]);
}

/// RFC 7692 §8, RFC 6455 §10.4: the limit is on what a message decompresses to; exactly so much passes.
#[test]
fn the_limit_is_on_the_decompressed_message() {
    let config = Config::default().with(|config| config.max_message_size = 10_000);
    let mut random = Random(9);
    let noise: Vec<u8> = (0..10_000).map(|_| random.next() as u8).collect();
    for level in [Compression::none(), Compression::fast(), Compression::best()] {
        for message in [&noise[..], &[b'x'; 10_000], &[b'x'; 9999]] {
            let payload = zlib(&mut Compress::new(level, false), message);
            let mut socket = server_with(config).with_extensions(in_use(deflate(false)));
            let events = feed(&mut socket, &frame(FIN | RSV1 | BINARY, payload));
            assert_eq!(events, [Event::Message(message.into())]);
        }
        let payload = zlib(&mut Compress::new(level, false), &[b'x'; 10_001]);
        let mut socket = server_with(config).with_extensions(in_use(deflate(false)));
        let events = feed(&mut socket, &frame(FIN | RSV1 | BINARY, payload));
        assert_eq!(events, [Event::Failed(Violation::MessageTooBig)]);
    }
    // Compressed octets have a limit of their own, which shows in the header.
    let mut socket = server_with(config).with_extensions(in_use(deflate(false)));
    let first = frame(RSV1 | BINARY, vec![0; 10_000]);
    assert_eq!(feed(&mut socket, &first), []);
    assert_eq!(socket.buffered(), 10_000);
    assert_eq!(feed(&mut socket, &header(CONTINUATION, 1250 + 64)), []);
    assert_eq!(feed(&mut socket, &vec![0; 1250 + 64]), []);
    assert_eq!(feed(&mut socket, &header(CONTINUATION, 1)), [Event::Failed(Violation::MessageTooBig)]);
    assert_eq!(socket.buffered(), 0);
}

/// After our Close nothing is decompressed any more; the limits hold as before.
#[test]
fn after_our_close_messages_are_discarded() {
    let garbage =
        [compressed([0xFF; 100]), frame(RSV1 | TEXT, [0xFF; 100]), frame(FIN | CONTINUATION, [0xFF])].concat();
    let mut socket = server(true);
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(feed(&mut socket, &garbage), []);
    assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, "")), [closed(CloseCode::NO_STATUS, "")]);

    // Also where the message had begun, and had gone past the limit of others.
    let config = Config::default().with(|config| config.max_message_size = 100);
    let mut socket = server_with(config).with_extensions(in_use(deflate(true)));
    assert_eq!(feed(&mut socket, &frame(RSV1 | TEXT, [0xFF; 150])), []);
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(feed(&mut socket, &frame(CONTINUATION, "")), []);
    assert_eq!(feed(&mut socket, &frame(CONTINUATION, "x")), [Event::Failed(Violation::MessageTooBig)]);
}

fn pair(deflate: Deflate, config: Config) -> (WebSocket, WebSocket) {
    let client = WebSocket::new(Role::Client { mask_key: || KEY }, config).with_extensions(in_use(deflate));
    (client, server_with(config).with_extensions(in_use(deflate)))
}

/// RFC 7692 §7.2.1: what we send has RSV1 and not its last four octets, in one frame; small messages, and those that do
/// not get smaller, go as they are.
#[test]
fn what_we_send() {
    let settings = deflate(false).min_size(5);
    let (mut client, _) = pair(settings, Config::default());
    let long = "a long way home, ".repeat(10);
    client.send(&"four".into()).unwrap();
    assert_eq!(sent(&mut client), frame(FIN | TEXT, "four"));
    client.send(&"fives".into()).unwrap();
    assert_eq!(sent(&mut client), frame(FIN | TEXT, "fives"), "it would not be smaller");
    client.send(&long.as_str().into()).unwrap();
    let wire = sent(&mut client);
    assert_eq!(wire[0], FIN | RSV1 | TEXT);
    assert_eq!(wire, frame(wire[0], zlib(&mut Compress::new(Compression::new(2), false), long.as_bytes())));
    client.ping(&long.as_bytes()[..125]).unwrap();
    assert_eq!(sent(&mut client)[0], FIN | PING);
    client.close(CloseCode::NORMAL, &long[..123]).unwrap();
    assert_eq!(sent(&mut client)[0], FIN | CLOSE);
}

/// RFC 7692 §7.1.2: a window of 256 octets is one that zlib cannot keep to, so nothing is compressed for it.
#[test]
fn a_window_too_small_for_us_is_kept_by_not_compressing() {
    let mut settings = deflate(true);
    settings.client.window_bits = 8;
    let (mut client, mut server) = pair(settings, Config::default());
    let long = "a long way home, ".repeat(100);
    client.send(&long.as_str().into()).unwrap();
    let wire = sent(&mut client);
    assert_eq!(wire, frame(FIN | TEXT, &long));
    assert_eq!(feed(&mut server, &wire), [text(&long)]);
    // The other way is not affected.
    server.send(&long.as_str().into()).unwrap();
    let wire = sent(&mut server);
    assert!(wire.len() < long.len() / 2);
    assert_eq!(feed(&mut client, &wire), [text(&long)]);
}

/// Settings that zlib does not have are taken for the nearest that it has.
#[test]
fn settings_out_of_range() {
    for (window_bits, level) in [(0, 0), (255, 255), (16, 10)] {
        let context = DeflateContext::new().takeover(true).window_bits(window_bits);
        let settings = Deflate::new().contexts(context).level(level).min_size(0);
        let (mut client, mut server) = pair(settings, Config::default());
        for _ in 0..3 {
            client.send(&"a long way home".into()).unwrap();
            assert_eq!(feed(&mut server, &sent(&mut client)), [text("a long way home")]);
        }
    }
}

/// A message of some kind: repetitive, random, or a bit of an earlier one.
fn any_message(random: &mut Random, earlier: &[Vec<u8>]) -> Vec<u8> {
    let size = [random.below(40), random.below(2000), random.below(20_000)][random.below(3)];
    match random.below(4) {
        0 => (0..size).map(|_| random.next() as u8).collect(),
        1 if !earlier.is_empty() => {
            let message = &earlier[random.below(earlier.len())];
            message[random.below(message.len() + 1)..].to_vec()
        }
        2 => vec![random.next() as u8; size],
        _ => (0..size).map(|_| b"etaoin shrdlu"[random.below(13)]).collect(),
    }
}

/// All settings, both ways, against zlib by itself: what it compresses we read, and what we compress it reads. The window
/// is never wider than agreed.
#[test]
fn agrees_with_zlib() {
    let mut random = Random(11);
    for round in 0..70 {
        let window_bits = 9 + round % 7;
        let context = DeflateContext::new().takeover(round % 2 == 0).window_bits(window_bits);
        let level = 1 + random.below(9) as u8;
        let settings = Deflate::new().contexts(context).level(level).min_size(0);
        let (mut client, mut server) = pair(settings, Config::default());
        let mut compress = Compress::new_with_window_bits(Compression::new(level.into()), false, window_bits);
        let mut decompress = Decompress::new_with_window_bits(false, window_bits);
        let mut messages = Vec::new();
        for _ in 0..8 {
            let message = any_message(&mut random, &messages);
            if !context.takeover {
                compress.reset();
                decompress.reset(false);
            }
            if !message.is_empty() {
                let wire = frame(FIN | RSV1 | BINARY, zlib(&mut compress, &message));
                assert_eq!(feed(&mut server, &wire), [Event::Message(message.clone().into())]);
            }
            server.send(&message.clone().into()).unwrap();
            let wire = sent(&mut server);
            assert_eq!(feed(&mut client, &wire), [Event::Message(message.clone().into())]);
            if wire[0] & RSV1 != 0 {
                let header = if wire[1] < 126 {
                    2
                } else if wire[1] == 126 {
                    4
                } else {
                    10
                };
                let payload = [&wire[header..], &[0x00, 0x00, 0xFF, 0xFF]].concat();
                let mut output = Vec::with_capacity(message.len() + 1);
                decompress.decompress_vec(&payload, &mut output, FlushDecompress::Sync).unwrap();
                assert_eq!(output, message);
            } else {
                assert!(!context.takeover || message.is_empty());
            }
            messages.push(message);
        }
    }
}

/// Two sockets of one thread do not see each other's messages, nor do a thread's settings mix.
#[test]
fn sockets_of_a_thread_are_apart() {
    let mut pairs: Vec<_> = (0..14)
        .map(|n| {
            let context = DeflateContext::new().takeover(n % 2 == 0).window_bits(9 + n / 2);
            pair(Deflate::new().contexts(context).level(1 + n / 2).min_size(0), Config::default())
        })
        .collect();
    for round in 0..5 {
        for (n, (client, server)) in pairs.iter_mut().enumerate() {
            let message = format!("{n} says {}", "the same thing again and again, ".repeat(round + n));
            client.send(&message.as_str().into()).unwrap();
            assert_eq!(feed(server, &sent(client)), [text(&message)]);
        }
    }
}

/// RFC 6455 §5.4: any split of the octets gives the same events.
#[test]
fn every_split_of_a_session() {
    let session = [
        frame(FIN | TEXT, "a"),
        compressed(HELLO),
        compressed([0x00]),
        frame(RSV1 | TEXT, &HELLO[..2]),
        frame(FIN | PING, "p"),
        frame(CONTINUATION, &HELLO[2..5]),
        frame(FIN | CONTINUATION, &HELLO[5..]),
        compressed([0xF2, 0x00, 0x11, 0x00, 0x00]),
        compressed([0x06]),
    ]
    .concat();
    let run = |pieces: &[&[u8]]| {
        let mut socket = server(true);
        let events: Vec<_> = pieces.iter().flat_map(|piece| feed(&mut socket, piece)).collect();
        (events, sent(&mut socket), socket.state())
    };
    let whole = run(&[&session]);
    assert_eq!(whole.0.len(), 6);
    assert_eq!(whole.0.last(), Some(&Event::Failed(Violation::Deflate)));
    assert_eq!(run(&session.chunks(1).collect::<Vec<_>>()), whole);
    for first in 0..session.len() {
        for second in first..session.len() {
            assert_eq!(run(&[&session[..first], &session[first..second], &session[second..]]), whole);
        }
    }
}

/// A socket that moves between threads takes its context along.
#[test]
fn a_socket_moves_between_threads() {
    let (mut client, mut server) = pair(deflate(true), Config::default());
    for round in 0..4 {
        let message = "somewhere else ".repeat(100 + round);
        client.send(&message.as_str().into()).unwrap();
        let mut wire = BytesMut::new();
        client.poll_transmit(&mut wire);
        assert!(round == 0 || wire.len() < 60, "{} octets do not refer to the message before", wire.len());
        (client, server) = std::thread::spawn(move || {
            assert_eq!(feed(&mut server, &wire), [text(&message)]);
            (client, server)
        })
        .join()
        .unwrap();
    }
}
