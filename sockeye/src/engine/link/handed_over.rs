//! What tasks send: handed over to their connection, all in one list and in its order.
//!
//! A task that sends finds its stream's outbox empty nearly always. Its octets then go past the cell, onto the list of the
//! connection: the connection takes all of that at once, and need not lock and look through each cell, which by then has left the
//! processor's near caches. The outbox remains for what has to wait, and what was handed over goes before it.

use bytes::BytesMut;

use super::Address;

/// Octets on the list past which outboxes are used: as much as one stream may have waiting, and beside
/// [`Limits::connection_send`](super::Limits::connection_send).
const MAX_OCTETS: usize = 64 * 1024;
/// Sends on the list, since each keeps a buffer.
const MAX_COUNT: usize = 1024;

/// The list.
#[derive(Default)]
pub(crate) struct HandedOver {
    sent: Vec<(Address, BytesMut)>,
    octets: u32,
}

impl HandedOver {
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Puts octets at the end; gives them back where there is no room.
    #[inline]
    pub(crate) fn push(&mut self, from: Address, octets: BytesMut) -> Result<(), BytesMut> {
        let total = self.octets as usize + octets.len();
        if total > MAX_OCTETS || self.sent.len() >= MAX_COUNT {
            return Err(octets);
        }
        self.octets = total as u32;
        self.sent.push((from, octets));
        Ok(())
    }

    /// Takes all that one stream has on the list.
    pub(crate) fn take_from(&mut self, from: Address) -> Option<BytesMut> {
        let mut taken: Option<BytesMut> = None;
        for (_, octets) in self.sent.extract_if(.., |(address, _)| *address == from) {
            self.octets -= octets.len() as u32;
            match &mut taken {
                Some(before) => before.unsplit(octets),
                none => *none = Some(octets),
            }
        }
        taken
    }

    /// Gives all octets to `send`, in their order, and what that returns to `give_back` with all that the same stream has
    /// behind it. The list is empty then.
    pub(crate) fn send_all(
        &mut self,
        mut send: impl FnMut(Address, BytesMut) -> Option<BytesMut>,
        mut give_back: impl FnMut(Address, BytesMut),
    ) {
        self.octets = 0;
        for index in 0..self.sent.len() {
            let (address, octets) = &mut self.sent[index];
            let address = *address;
            // None is left of those that were given back before.
            if octets.is_empty() {
                continue;
            }
            if let Some(mut rest) = send(address, std::mem::take(octets)) {
                for (_, behind) in self.sent[index + 1..].iter_mut().filter(|(other, _)| *other == address) {
                    rest.unsplit(std::mem::take(behind));
                }
                give_back(address, rest);
            }
        }
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Address = Address { key: 1, slot: 0 };
    const OTHER: Address = Address { key: 2, slot: 1 };

    fn list(sent: &[(Address, &str)]) -> HandedOver {
        let mut list = HandedOver::default();
        for (from, octets) in sent {
            list.push(*from, BytesMut::from(*octets)).unwrap();
        }
        list
    }

    /// What finds no room goes back with all that its stream has behind it, and the other streams go on.
    #[test]
    fn what_is_given_back_is_followed_by_what_came_after_it() {
        let mut list = list(&[(ONE, "a"), (OTHER, "b"), (ONE, "cd"), (ONE, "e"), (OTHER, "f")]);
        let (mut sent, mut returned) = (Vec::new(), Vec::new());
        list.send_all(
            |from, octets| {
                if &octets[..] == b"cd" {
                    return Some(BytesMut::from("d"));
                }
                sent.push((from, octets));
                None
            },
            |from, rest| returned.push((from, rest)),
        );
        assert_eq!(sent, [(ONE, "a".into()), (OTHER, "b".into()), (OTHER, "f".into())]);
        assert_eq!(returned, [(ONE, "de".into())]);
        assert!(list.is_empty());
    }

    /// One stream's octets are taken back in their order, and make room.
    #[test]
    fn what_is_taken_back_is_in_order() {
        let mut list = list(&[(ONE, "a"), (OTHER, "b"), (ONE, "c")]);
        assert_eq!(list.take_from(ONE), Some("ac".into()));
        assert_eq!(list.take_from(ONE), None);
        assert_eq!((list.octets, list.sent.len()), (1, 1));
    }

    /// Past either limit nothing is taken, and nothing is lost.
    #[test]
    fn a_full_list_takes_nothing() {
        let mut list = HandedOver::default();
        assert!(list.push(ONE, BytesMut::from(&[0; MAX_OCTETS][..])).is_ok());
        assert_eq!(list.push(ONE, "a".into()), Err("a".into()));
        let mut list = HandedOver::default();
        for _ in 0..MAX_COUNT {
            assert!(list.push(OTHER, "a".into()).is_ok());
        }
        assert_eq!(list.push(ONE, "a".into()), Err("a".into()));
    }
}
