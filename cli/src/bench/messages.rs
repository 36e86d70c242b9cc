//! What is sent, and the check of what comes back.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use sockeye_proto::ws::Message;

use super::sizes::Sizes;

/// Places in the pattern where a message may begin: as many messages of a socket follow one another without a repetition.
const PLACES: usize = 1 << 16;

/// Every message that any socket sends, by the numbers of both: nothing need be kept to know what an echo has to be.
///
/// A message is a piece of one random pattern, which costs nothing to make and still differs from those around it.
pub(super) struct Messages {
    sizes: Sizes,
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
        let length = PLACES + sizes.max();
        let octets: Vec<u8> = (0..length as u64).map(|place| mix(place) as u8).collect();
        let pattern = if is_text {
            // Printable ASCII.
            let text: String = octets.into_iter().map(|octet| char::from(b' ' + octet % 95)).collect();
            Pattern::Text(text.leak())
        } else {
            Pattern::Binary(octets.leak())
        };
        Self { sizes, pattern }
    }

    pub(super) fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.pattern, Pattern::Text(_))
    }

    /// Message `number` of a socket.
    #[inline]
    pub(super) fn get(&self, socket: u32, number: u64) -> Message {
        // Odd factors: neither the messages of a socket nor those of many sockets meet soon.
        let place = socket.wrapping_mul(40_503).wrapping_add((number as u32).wrapping_mul(25_173)) as usize % PLACES;
        let size = self.sizes.draw(|| mix(u64::from(socket) << 32 ^ number));
        match self.pattern {
            Pattern::Text(text) => Message::Text(ByteString::from_static(&text[place..place + size])),
            Pattern::Binary(octets) => Message::Binary(Bytes::from_static(&octets[place..place + size])),
        }
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
        let mismatch = |what, text| Mismatch { what, text: format!("socket {socket}, message {number}: {text}") };
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

    use sockeye_proto::ws::Message;

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
            assert!(mismatch.text.starts_with("socket 1, message 5: "), "{mismatch:?}");
            assert!(mismatch.text.contains(text), "{mismatch:?}");
        }
        let mismatch = messages.check(1, 10, 10, &octets(10).into()).unwrap_err();
        assert_eq!(mismatch.what, "more messages than were sent");
    }
}
