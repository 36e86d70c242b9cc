//! What goes before a message on its way between nodes.
//!
//! ```text
//! octet  0       version, 1
//!        1       kind
//!        2..10   node: a random number for each run of a hub
//!        10..14  life: which of the node's numberings of the topic this is
//!        14..22  number: of the message in this life; what else it counts is with each kind
//!        22..30  age: microseconds since the life began
//! ```
//!
//! All numbers are big-endian. The payload follows.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;

/// Octets that go before each payload.
pub(crate) const SIZE: usize = 30;

const VERSION: u8 = 1;

/// Who numbers messages of a topic: a node, in one of its lives. A node begins to number anew where it had forgotten the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) node: u64,
    pub(crate) life: u32,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A message of text; the number is its own.
    Text = 0,
    /// A message of octets.
    Binary = 1,
    /// How many messages the source has sent: what a node has not got of them is lost.
    Position = 2,
    /// The same, and the source sends no more in this life.
    End = 3,
    /// For the sender itself, which is subscribed where it hears of it; the number is that of its request.
    Marker = 4,
    /// Whoever has sent to the topic is asked for its position.
    Ask = 5,
    /// Whoever has members is asked how many; the number is that of the request.
    Count = 6,
    /// The answer, on the channel of who has asked; the number is that of the request, and the members are in the age's place.
    Counted = 7,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Text, Self::Binary, Self::Position, Self::End, Self::Marker, Self::Ask, Self::Count, Self::Counted];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    pub(crate) number: u64,
    pub(crate) age: u64,
}

impl Envelope {
    pub(crate) fn encode(&self, payload: &[u8]) -> Bytes {
        let mut octets = BytesMut::with_capacity(SIZE + payload.len());
        octets.put_u8(VERSION);
        octets.put_u8(self.kind as u8);
        octets.put_u64(self.source.node);
        octets.put_u32(self.source.life);
        octets.put_u64(self.number);
        octets.put_u64(self.age);
        debug_assert_eq!(octets.len(), SIZE);
        octets.put_slice(payload);
        octets.freeze()
    }

    /// Whether what was encoded is a message, and no note between nodes.
    pub(crate) fn is_message(encoded: &[u8]) -> bool {
        encoded.get(1).is_some_and(|&kind| kind <= Kind::Binary as u8)
    }

    /// The envelope and what is in it; nothing of what is no envelope of this version.
    pub(crate) fn decode(octets: &Bytes) -> Option<(Self, Bytes)> {
        let (head, _) = octets.split_first_chunk::<SIZE>()?;
        let kind = *Kind::ALL.get(usize::from(head[1])).filter(|_| head[0] == VERSION)?;
        let number = |at: usize| head[at..at + 8].iter().fold(0, |number, &octet| number << 8 | u64::from(octet));
        let life = u32::from_be_bytes([head[10], head[11], head[12], head[13]]);
        let source = Source { node: number(2), life };
        Some((Self { kind, source, number: number(14), age: number(22) }, octets.slice(SIZE..)))
    }
}

/// What is encoded, and waits to be published. An age is that of the moment when it goes out: who hears of a life for the first time
/// sees by it whether that is younger than its own subscription, and owes it all.
#[derive(Debug)]
pub(crate) struct Aging {
    encoded: Bytes,
    at: Instant,
}

/// Where the age is.
const AGE: std::ops::Range<usize> = 22..30;
/// What waited for less is not written anew: far below what a network may add.
const MOMENT: Duration = Duration::from_millis(10);

impl Aging {
    pub(crate) fn new(encoded: Bytes) -> Self {
        Self { encoded, at: Instant::now() }
    }

    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }

    /// As it is to be published now.
    pub(crate) fn encoded(&mut self) -> &Bytes {
        let waited = self.at.elapsed();
        let has_age = self.encoded.get(1).is_some_and(|&kind| kind <= Kind::End as u8);
        if waited >= MOMENT && has_age && self.encoded.len() >= SIZE {
            self.at += waited;
            let encoded = std::mem::take(&mut self.encoded);
            let mut octets = encoded.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            let age = octets[AGE].iter().fold(0, |age: u64, &octet| age << 8 | u64::from(octet));
            let age = age.saturating_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
            octets[AGE].copy_from_slice(&age.to_be_bytes());
            self.encoded = octets.freeze();
        }
        &self.encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has an age grows older while it waits, each time that it is asked for; the members in an answer grow no more.
    #[tokio::test(start_paused = true)]
    async fn what_waits_grows_older() {
        let source = Source { node: 1, life: 1 };
        for kind in Kind::ALL {
            let octets = Envelope { kind, source, number: 1, age: 7 }.encode(b"payload");
            let mut aging = Aging::new(octets);
            for seconds in 1..3 {
                tokio::time::advance(Duration::from_secs(1)).await;
                let (envelope, payload) = Envelope::decode(aging.encoded()).unwrap();
                let age = if kind as u8 <= Kind::End as u8 { 7 + seconds * 1_000_000 } else { 7 };
                assert_eq!((envelope.kind, envelope.age, &payload[..]), (kind, age, &b"payload"[..]));
            }
        }
    }

    #[test]
    fn an_envelope_comes_back_as_it_went() {
        for (at, &kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind as usize, at);
            let source = Source { node: u64::MAX - 7, life: 0x0102_0304 };
            let envelope = Envelope { kind, source, number: 0x1122_3344_5566_7788, age: 99 };
            let octets = envelope.encode(b"payload");
            assert_eq!(octets.len(), SIZE + 7);
            assert_eq!(Envelope::decode(&octets), Some((envelope, Bytes::from_static(b"payload"))));
        }
    }

    /// What others publish on the same subjects, or a later version does, is no message.
    #[test]
    fn what_is_no_envelope_is_not_taken_for_one() {
        let source = Source { node: 1, life: 1 };
        let octets = Envelope { kind: Kind::Text, source, number: 1, age: 1 }.encode(b"");
        for end in 0..SIZE {
            assert_eq!(Envelope::decode(&octets.slice(..end)), None);
        }
        for (at, octet) in [(0, 0), (0, 2), (1, Kind::ALL.len() as u8), (1, 255)] {
            let mut other = octets.to_vec();
            other[at] = octet;
            assert_eq!(Envelope::decode(&other.into()), None);
        }
    }
}
