//! RFC 6455 §8: text is UTF-8, judged octet by octet.

#![cfg(feature = "web-socket")]

mod ws_common;

use std::str;

use sockeye_proto::ws::{Event, Violation};
use ws_common::*;

/// Octets that are not UTF-8, with the index of the first that no UTF-8 text could have there.
const INVALID: &[(&[u8], usize)] = &[
    (b"\x80", 0),                     // a continuation octet alone
    (b"\xBF", 0),                     // the last of them
    (b"\xC0\x80", 0),                 // overlong NUL
    (b"\xC1\xBF", 0),                 // overlong in two octets
    (b"\xC2\x41", 1),                 // a sequence of two cut short
    (b"\xE0\x9F\xBF", 1),             // overlong in three
    (b"\xE2\x82\x41", 2),             // a sequence of three cut short
    (b"\xED\xA0\x80", 1),             // U+D800, a surrogate
    (b"\xED\xBF\xBF", 1),             // U+DFFF, a surrogate
    (b"\xF0\x8F\xBF\xBF", 1),         // overlong in four
    (b"\xF0\x9F\x98\x41", 3),         // a sequence of four cut short
    (b"\xF4\x90\x80\x80", 1),         // U+110000, past the last code point
    (b"\xF5\x80\x80\x80", 0),         // past it
    (b"\xF8\x88\x80\x80\x80", 0),     // five octets
    (b"\xFC\x84\x80\x80\x80\x80", 0), // six octets
    (b"\xFE", 0),                     // never in UTF-8
    (b"\xFF", 0),                     // never in UTF-8
];

/// Every length of sequence at the first and the last code point that has it, noncharacters, and plain words.
const VALID: &str = "Hello κόσμε \0\u{7F}\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFE}\u{FFFF}\u{10000}\u{10FFFF} 😀";

/// §8.1: invalid UTF-8 fails with 1007 as soon as its octet is there: before the frame, or the message, is whole.
#[test]
fn fails_at_the_first_bad_octet() {
    for before in ["", "a", "é", "plain ASCII of more than sixteen octets, and 😀"] {
        for &(octets, bad) in INVALID {
            for first in [TEXT, FIN | TEXT] {
                let wire = frame(first, [before.as_bytes(), octets, &b"after"[..]].concat());
                let header = wire.len() - before.len() - octets.len() - b"after".len();
                fails_at_last_octet(&wire[..=header + before.len() + bad], Violation::Text);
            }
        }
    }
}

/// §8.1: the same where the bad sequence is spread over fragments.
#[test]
fn fails_across_fragments() {
    for &(octets, bad) in INVALID {
        let mut wire = frame(TEXT, "é");
        for octet in &octets[..bad] {
            wire.extend(frame(CONTINUATION, [*octet]));
        }
        wire.extend(frame(CONTINUATION, [octets[bad]]));
        fails_at_last_octet(&wire, Violation::Text);
    }
}

/// §8.1: whole frames at once, and text at the end of a message, which must not stop inside of a sequence.
#[test]
fn fails_whole() {
    for &(octets, _) in INVALID {
        assert_eq!(events(&frame(FIN | TEXT, octets)), [Event::Failed(Violation::Text)], "{octets:x?}");
    }
    for (index, character) in VALID.char_indices() {
        for cut in 1..character.len_utf8() {
            let octets = &VALID.as_bytes()[..index + cut];
            fails_at_last_octet(&frame(FIN | TEXT, octets), Violation::Text);
            let fragments = [frame(TEXT, octets), frame(FIN | CONTINUATION, "")].concat();
            fails_at_last_octet(&fragments, Violation::Text);
        }
    }
}

/// §5.6: "a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid
/// UTF-8".
#[test]
fn valid_however_it_is_cut() {
    let octets = VALID.as_bytes();
    for first in 0..=octets.len() {
        for second in first..=octets.len() {
            let wire = [
                frame(TEXT, &octets[..first]),
                frame(CONTINUATION, &octets[first..second]),
                frame(FIN | CONTINUATION, &octets[second..]),
            ];
            assert_eq!(events(&wire.concat()), [Event::Message(VALID.into())], "{first} {second}");
        }
    }
}

/// The judgement of sequences of up to three octets from every class, octet by octet, is that of the standard library on the whole.
#[test]
fn agrees_with_the_standard_library() {
    const OCTETS: [u8; 24] = [
        0, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
        0xF0, 0xF1, 0xF4, 0xF5, 0xFF,
    ];
    let longer = |start: &Vec<u8>| OCTETS.map(|octet| [&start[..], &[octet]].concat());
    let one: Vec<Vec<u8>> = OCTETS.map(|octet| vec![octet]).into();
    let two: Vec<Vec<u8>> = one.iter().flat_map(longer).collect();
    let three: Vec<Vec<u8>> = two.iter().flat_map(longer).collect();
    for sequence in one.iter().chain(&two).chain(&three) {
        let mut socket = server();
        let mut pieces: Vec<Vec<u8>> = sequence.iter().map(|octet| frame(CONTINUATION, [*octet])).collect();
        pieces.insert(0, frame(TEXT, ""));
        pieces.push(frame(FIN | CONTINUATION, ""));
        let expected = match str::from_utf8(sequence) {
            Ok(text) => Event::Message(text.into()),
            Err(_) => Event::Failed(Violation::Text),
        };
        assert_eq!(feed(&mut socket, &pieces.concat()), [expected], "{sequence:x?}");
    }
}

/// §5.6: binary data is not judged.
#[test]
fn binary_may_be_anything() {
    for &(octets, _) in INVALID {
        assert_eq!(events(&frame(FIN | BINARY, octets)), [Event::Message(octets.into())]);
    }
}
