//! What is sent, and the check of what comes back.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sockeye_proto::ws::Message;

use super::sizes::Sizes;

/// Places in the pattern where a message may begin: as many messages of a socket follow one another without a repetition.
const PLACES: usize = 1 << 16;
/// The first octets of a message's only frame, and the octets of the longest head (RFC 6455 §5.2).
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const MAX_HEAD: usize = 10;
/// Octets of a payload whose length stands in the second octet, and in the two after it.
const MAX_SHORT: usize = 125;
const MAX_MEDIUM: usize = 0xFFFF;
/// Octets of a client's mask key.
const MASK_KEY: usize = 4;

/// Every message that any socket sends, by the numbers of both: nothing need be kept to know what an echo has to be.
///
/// A message is a piece of one random pattern, which costs nothing to make and still differs from those around it.
pub(super) struct Messages {
    sizes: Sizes,
    /// Octets of the largest message.
    largest: usize,
    pattern: Pattern,
}

/// As large as [`PLACES`] and the largest message. It lasts as long as the program, so that no message counts its owners.
#[derive(Clone, Copy)]
enum Pattern {
    Text(&'static str),
    Binary(&'static [u8]),
}

impl Messages {
    pub(super) fn new(sizes: Sizes, is_text: bool) -> Self {
        let largest = sizes.max();
        let length = PLACES + largest;
        let octets: Vec<u8> = (0..length as u64).map(|place| mix(place) as u8).collect();
        let pattern = if is_text {
            // Printable ASCII.
            let text: String = octets.into_iter().map(|octet| char::from(b' ' + octet % 95)).collect();
            Pattern::Text(text.leak())
        } else {
            Pattern::Binary(octets.leak())
        };
        Self { sizes, largest, pattern }
    }

    pub(super) fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Octets of the largest frame that a client sends for a message, or in the closing handshake.
    #[inline]
    pub(super) fn largest_frame(&self) -> usize {
        MAX_HEAD + MASK_KEY + self.largest.max(MAX_SHORT)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.pattern, Pattern::Text(_))
    }

    /// Message `number` of a socket.
    #[inline]
    pub(super) fn get(&self, socket: u32, number: u64) -> Message {
        let range = self.range(socket, number);
        match self.pattern {
            Pattern::Text(text) => Message::Text(ByteString::from_static(&text[range])),
            Pattern::Binary(octets) => Message::Binary(Bytes::from_static(&octets[range])),
        }
    }

    /// Message `number` of a socket as a server is to send it: in one frame, without a mask (RFC 6455 §5.2).
    #[inline]
    pub(super) fn frame(&self, socket: u32, number: u64) -> Frame {
        let range = self.range(socket, number);
        match self.pattern {
            Pattern::Text(text) => Frame { first: TEXT, payload: &text.as_bytes()[range] },
            Pattern::Binary(octets) => Frame { first: BINARY, payload: &octets[range] },
        }
    }

    /// Where in the pattern a message stands.
    #[inline]
    fn range(&self, socket: u32, number: u64) -> Range<usize> {
        // Odd factors: neither the messages of a socket nor those of many sockets meet soon.
        let place = socket.wrapping_mul(40_503).wrapping_add((number as u32).wrapping_mul(25_173)) as usize % PLACES;
        place..place + self.sizes.draw(|| mix(u64::from(socket) << 32 ^ number))
    }

    /// Whether what came is message `number` of the socket, which has sent those below `sent`.
    #[inline]
    pub(super) fn check(&self, socket: u32, number: u64, sent: u64, came: &Message) -> Result<(), Mismatch> {
        if number < sent {
            let expected = self.get(socket, number);
            if expected.is_text() == came.is_text() && expected.as_bytes() == came.as_bytes() {
                return Ok(());
            }
        }
        Err(self.explain(socket, number, sent, came))
    }

    #[cold]
    fn explain(&self, socket: u32, number: u64, sent: u64, came: &Message) -> Mismatch {
        let mismatch = |what, text| Mismatch { what, text: format!("message {number}: {text}") };
        if number >= sent {
            return mismatch("more messages than were sent", format!("{} octets that nobody waits for", came.len()));
        }
        let expected = self.get(socket, number);
        let difference = Difference { expected: expected.as_bytes(), came: came.as_bytes() };
        if expected.is_text() != came.is_text() {
            let name = |is_text| if is_text { "text" } else { "binary" };
            let text = format!("{} where {} was sent", name(came.is_text()), name(expected.is_text()));
            return mismatch("text and binary confused", text);
        }
        let what = match (came.as_bytes(), expected.as_bytes()) {
            (came, expected) if came.starts_with(expected) => {
                let next = self.get(socket, number + 1);
                if number + 1 < sent && came[expected.len()..].starts_with(next.as_bytes()) {
                    "messages merged"
                } else {
                    "octets added"
                }
            }
            (came, expected) if expected.starts_with(came) => "messages cut short or split",
            _ if (number + 1..sent).any(|later| self.get(socket, later) == *came) => "messages lost or out of order",
            _ if number > 0 && self.get(socket, number - 1) == *came => "messages repeated",
            (came, _) if self.contains(came) => "messages of another socket",
            _ => "octets changed",
        };
        mismatch(what, difference.to_string())
    }

    /// Whether this is a piece of the pattern, and large enough not to be so by chance.
    fn contains(&self, octets: &[u8]) -> bool {
        let pattern = match self.pattern {
            Pattern::Text(text) => text.as_bytes(),
            Pattern::Binary(octets) => octets,
        };
        octets.len() >= 8 && pattern.windows(octets.len()).any(|window| window == octets)
    }
}

/// The octets of a whole message: the head of its frame, and its payload.
pub(super) struct Frame {
    first: u8,
    payload: &'static [u8],
}

impl Frame {
    #[inline]
    pub(super) fn length(&self) -> usize {
        self.head_length() + self.payload.len()
    }

    #[inline]
    pub(super) fn payload(&self) -> &'static [u8] {
        self.payload
    }

    /// How many octets of the frame, from this one on, `octets` begins with: as far as both go, or none where one differs.
    #[inline]
    pub(super) fn matches(&self, from: usize, octets: &[u8]) -> Option<usize> {
        let length = self.payload.len();
        if let (0, ..=MAX_SHORT, [first, second, rest @ ..]) = (from, length, octets)
            && let Some(came) = rest.get(..length)
        {
            let is_same = *first == self.first && usize::from(*second) == length && came == self.payload;
            return is_same.then_some(2 + length);
        }
        self.matches_piece(from, octets)
    }

    fn matches_piece(&self, from: usize, octets: &[u8]) -> Option<usize> {
        let (head, head_length) = (self.head(), self.head_length());
        let length = octets.len().min(self.length() - from);
        let in_head = head_length.saturating_sub(from).min(length);
        let (came_head, came_payload) = octets[..length].split_at(in_head);
        let from_payload = from.saturating_sub(head_length);
        let is_same = head[..head_length].get(from..from + in_head).unwrap_or_default() == came_head
            && self.payload[from_payload..from_payload + came_payload.len()] == *came_payload;
        is_same.then_some(length)
    }

    /// The first octets of the frame.
    pub(super) fn front(&self, length: usize) -> BytesMut {
        let mut octets = BytesMut::from(&self.head()[..self.head_length()]);
        octets.extend_from_slice(self.payload);
        octets.truncate(length);
        octets
    }

    /// RFC 6455 §5.2: the length takes as few octets as it can.
    #[inline]
    fn head_length(&self) -> usize {
        match self.payload.len() {
            length if length <= MAX_SHORT => 2,
            length if length <= MAX_MEDIUM => 4,
            _ => MAX_HEAD,
        }
    }

    fn head(&self) -> [u8; MAX_HEAD] {
        let mut head = [0; MAX_HEAD];
        head[0] = self.first;
        match self.payload.len() {
            length @ ..=MAX_SHORT => head[1] = length as u8,
            length @ ..=MAX_MEDIUM => {
                head[1] = 126;
                head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                head[1] = 127;
                head[2..].copy_from_slice(&(length as u64).to_be_bytes());
            }
        }
        head
    }
}

/// What came back is not what was sent.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// In a few words, the same for all of its kind.
    pub(super) what: &'static str,
    /// Where, and the first difference.
    pub(super) text: String,
}

/// The first difference between two payloads.
struct Difference<'a> {
    expected: &'a [u8],
    came: &'a [u8],
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, came } = self;
        if expected.len() != came.len() {
            write!(f, "{} octets where {} were sent; ", came.len(), expected.len())?;
        }
        match expected.iter().zip(*came).position(|(expected, came)| expected != came) {
            Some(place) => write!(f, "octet {place} is {:#04x}, not {:#04x}", came[place], expected[place]),
            None => write!(f, "the first {} octets are as sent", expected.len().min(came.len())),
        }
    }
}

/// Scatters the bits of a number (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::BytesMut;
    use sockeye_proto::ws::{Config, Message, Role, WebSocket};

    use super::Messages;

    fn messages(sizes: &str, is_text: bool) -> Messages {
        Messages::new(sizes.parse().unwrap(), is_text)
    }

    #[test]
    fn neighbours_differ() {
        for is_text in [true, false] {
            let messages = messages("32", is_text);
            let mut seen = HashSet::new();
            for socket in 0..100 {
                for number in 0..100 {
                    let message = messages.get(socket, number);
                    assert_eq!((message.len(), message.is_text()), (32, is_text));
                    assert!(seen.insert(message), "{socket} {number}");
                }
            }
        }
    }

    #[test]
    fn what_was_sent_is_right() {
        for (sizes, is_text) in [("0", false), ("1", true), ("16..1k", false), ("32:9,64Ki", true)] {
            let messages = messages(sizes, is_text);
            for number in 0..200 {
                messages.check(7, number, 200, &messages.get(7, number)).unwrap();
            }
        }
    }

    /// A frame is what the protocol makes of its message, and is found in any pieces; what differs from it anywhere is not.
    #[test]
    fn a_frame_is_its_message() {
        for (size, is_text) in
            [("0", false), ("1", true), ("125", false), ("126", false), ("65535", true), ("65536", false)]
        {
            let messages = messages(size, is_text);
            let frame = messages.frame(3, 9);
            let mut server = WebSocket::new(Role::Server, Config::default());
            let mut octets = BytesMut::new();
            server.send_into(&messages.get(3, 9), &mut octets).unwrap();
            assert_eq!((frame.length(), &frame.front(octets.len())), (octets.len(), &octets));
            octets.extend_from_slice(b"more");
            assert_eq!(frame.matches(0, &octets), Some(frame.length()));
            for from in [0, 1, 2, 5, 11, 70].into_iter().filter(|from| *from < frame.length()) {
                let until = octets.len().min(from + 7);
                assert_eq!(frame.matches(from, &octets[from..until]), Some((until - from).min(frame.length() - from)));
                let mut altered = octets[from..until].to_vec();
                altered[0] ^= 1;
                assert_eq!(frame.matches(from, &altered), None, "{size}, octet {from}");
            }
        }
    }

    /// Each thing that a server can do to messages is told apart.
    #[test]
    fn what_was_not_sent_is_explained() {
        let messages = messages("32", false);
        let octets = |number| messages.get(1, number).into_bytes();
        let mut altered = octets(5).to_vec();
        altered[3] ^= 1;
        let cases: [(Message, &str, &str); 8] = [
            ([octets(5), octets(6)].concat().into(), "messages merged", "64 octets where 32 were sent; the first 32"),
            ([&octets(5)[..], b"!"].concat().into(), "octets added", "33 octets where 32"),
            (octets(5).slice(..20).into(), "messages cut short or split", "20 octets where 32"),
            (octets(6).into(), "messages lost or out of order", "octet 0 is"),
            (octets(4).into(), "messages repeated", "octet 0 is"),
            (messages.get(2, 900), "messages of another socket", "octet 0 is"),
            (altered.into(), "octets changed", "octet 3 is"),
            ("text".into(), "text and binary confused", "text where binary was sent"),
        ];
        for (came, what, text) in cases {
            let mismatch = messages.check(1, 5, 10, &came).unwrap_err();
            assert_eq!(mismatch.what, what);
            assert!(mismatch.text.starts_with("message 5: "), "{mismatch:?}");
            assert!(mismatch.text.contains(text), "{mismatch:?}");
        }
        let mismatch = messages.check(1, 10, 10, &octets(10).into()).unwrap_err();
        assert_eq!(mismatch.what, "more messages than were sent");
    }
}
