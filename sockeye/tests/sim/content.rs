//! What is said: each message's octets follow from who sends it, its number and its size, so that a receiver knows them.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use sockeye::Message;

use crate::random::{Random, mix};
use crate::wire::MARK;

/// Octets of which messages are parts: letters and digits, none of which is the groups' mark.
static OCTETS: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::new(1);
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    (0..2 * HALF).map(|_| letters[random.below(letters.len())]).collect()
});

const HALF: usize = 1 << 20;

/// The message of a number that one side of a socket sends.
pub(crate) fn message(socket: u32, side: usize, number: usize, size: usize) -> Message {
    let start = mix(u64::from(socket) << 32 | (number as u64) << 1 | side as u64) as usize % HALF;
    let octets = OCTETS.slice(start..start + size.min(HALF));
    if number.is_multiple_of(3) {
        Message::from(str::from_utf8(&octets).expect("letters and digits are text"))
    } else {
        Message::Binary(octets)
    }
}

/// The message of a number to a group.
pub(crate) fn group_message(group: usize, number: usize, size: usize) -> Message {
    let start = mix((group as u64) << 32 | number as u64 | 1 << 60) as usize % HALF;
    let mut octets = BytesMut::with_capacity(GROUP_HEAD + size);
    octets.put_u8(MARK);
    octets.put_u8(group as u8);
    octets.put_u32(number as u32);
    octets.put_u32(size as u32);
    octets.extend_from_slice(&OCTETS[start..start + size]);
    Message::Binary(octets.freeze())
}

const GROUP_HEAD: usize = 10;

/// The group and the number that a message to a group says it has.
pub(crate) fn parse_group_message(message: &Message) -> Option<(usize, usize, usize)> {
    let octets: &[u8; GROUP_HEAD] = message.as_bytes().first_chunk()?;
    let number = |at| u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]) as usize;
    (octets[0] == MARK).then(|| (usize::from(octets[1]), number(2), number(6)))
}

/// Octets in a message, mostly few.
pub(crate) fn size(random: &mut Random, is_large: bool) -> usize {
    let ranges: &[(u32, (u64, u64))] = if is_large {
        &[(4, (0, 200)), (4, (1000, 5000)), (4, (16_000, 17_000)), (3, (60_000, 70_000)), (1, (200_000, 300_000))]
    } else {
        &[(1, (0, 0)), (20, (1, 125)), (4, (126, 2000)), (1, (16_000, 17_000))]
    };
    let (least, most) = random.weighted(ranges);
    random.between(least, most) as usize
}
