//! Where one WebSocket frame ends and the next begins (RFC 6455 §5.2), in octets that are not looked at otherwise.
//!
//! A gateway that drains says Close to its clients, and may do so only between two frames of the upstream's; and a client's end goes on
//! only behind the answer to its Close. Nothing else of a frame is the gateway's affair: neither payload nor rules.

/// How far the octets that have passed are within a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// So many octets of a frame's head have passed: none between two frames.
    Head { octets: [u8; MAX_HEAD], passed: u8 },
    /// So many octets of a frame are to come.
    Payload(u64),
    /// So many of a Close, behind which nothing comes (RFC 6455 §5.5.1).
    Close,
}

/// Octets of the longest head: the payload's length in eight.
const MAX_HEAD: usize = 10;
/// RFC 6455 §5.5.1
const CLOSE: u8 = 8;

const _: () = assert!(size_of::<Boundary>() <= 16);

impl Boundary {
    pub(super) const BETWEEN: Self = Self::Head { octets: [0; MAX_HEAD], passed: 0 };

    pub(super) fn is_between(self) -> bool {
        matches!(self, Self::Head { passed: 0, .. })
    }

    /// Whether a Close has passed, or its head.
    pub(super) fn has_closed(self) -> bool {
        self == Self::Close
    }

    /// All of these pass.
    pub(super) fn pass(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let passed = self.pass_to_end(octets);
            octets = &octets[passed..];
        }
    }

    /// Lets octets pass up to the end of a frame; how many.
    pub(super) fn pass_to_end(&mut self, octets: &[u8]) -> usize {
        let mut at = 0;
        while at < octets.len() {
            match self {
                Self::Close => return octets.len(),
                Self::Payload(left) => {
                    let passed = (octets.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    at += passed;
                    *left -= passed as u64;
                    if *left == 0 {
                        *self = Self::BETWEEN;
                        return at;
                    }
                }
                Self::Head { octets: head, passed } => {
                    head[usize::from(*passed)] = octets[at];
                    *passed += 1;
                    at += 1;
                    if let Some(next) = after_head(&head[..usize::from(*passed)]) {
                        *self = next;
                        if self.is_between() {
                            return at;
                        }
                    }
                }
            }
        }
        at
    }
}

/// What follows a head that is whole.
fn after_head(head: &[u8]) -> Option<Boundary> {
    let &[first, second, ref length @ ..] = head else { return None };
    let length = match (second & 0x7f, length.len()) {
        (short @ ..=125, _) => u64::from(short),
        (126, 2..) | (127, 8..) => length.iter().fold(0, |length, octet| length << 8 | u64::from(*octet)),
        _ => return None,
    };
    let masking_key = if second & 0x80 == 0 { 0 } else { 4 };
    Some(match length.saturating_add(masking_key) {
        _ if first & 0x0f == CLOSE => Boundary::Close,
        0 => Boundary::BETWEEN,
        octets => Boundary::Payload(octets),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match length {
            ..=125 => frame.push(length as u8),
            126..=65535 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length, 0x88);
        frame
    }

    /// However the octets are split, the ends of frames are where they are.
    #[test]
    fn frames_end_where_their_heads_say() {
        let lengths = [0, 1, 125, 126, 127, 65535, 65536, 70_000, 0, 3];
        let mut wire = Vec::new();
        let mut ends = Vec::new();
        for length in lengths {
            wire.extend_from_slice(&frame(2, length));
            ends.push(wire.len());
        }
        for size in [1, 2, 3, 7, 1000, wire.len()] {
            let (mut boundary, mut found, mut at) = (Boundary::BETWEEN, Vec::new(), 0);
            while at < wire.len() {
                let piece = &wire[at..(at + size).min(wire.len())];
                at += boundary.pass_to_end(piece);
                if boundary.is_between() {
                    found.push(at);
                }
            }
            assert_eq!(found, ends, "in pieces of {size}");
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut boundary = Boundary::BETWEEN;
        boundary.pass(&frame(1, 300));
        assert!(boundary.is_between() && !boundary.has_closed());
        boundary.pass(&frame(8, 2));
        boundary.pass(b"anything");
        assert!(boundary.has_closed() && !boundary.is_between());
    }
}
