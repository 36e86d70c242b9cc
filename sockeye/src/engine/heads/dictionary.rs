//! What the heads of one connection's WebSockets have in common.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;

/// Octets of the least piece that is worth a reference, which takes three.
const LEAST: usize = 8;
/// Octets of a dictionary at most, its tables included: a quarter of what heads may take by default.
const MAX: usize = 512 << 10;
/// Octets for each piece in the tables.
const ENTRY: usize = 128;
/// Pieces that are remembered as seen, by their hash: twice as many as HPACK's own table has entries (4096 octets of 32 at least,
/// RFC 7541 §4.1), so that what a peer can repeat at no cost is found to be repeated. They stand in rows of four, by another
/// part of the hash: the oldest of its row goes.
const SEEN: [usize; 2] = [64, 4];

/// Pieces of heads, such as a field with its value, each of which has come twice at least. They stay for as long as a head is
/// kept: none of them is looked after.
pub(crate) struct Dictionary {
    pieces: Vec<Bytes>,
    places: HashMap<Bytes, u16>,
    /// A part of the hash of each piece that has come once.
    seen: [[u32; SEEN[1]]; SEEN[0]],
    octets: usize,
}

impl Default for Dictionary {
    fn default() -> Self {
        let octets = size_of::<Self>();
        Self {
            pieces: Vec::new(),
            places: HashMap::with_hasher(RandomState::new()),
            seen: [[0; SEEN[1]]; SEEN[0]],
            octets,
        }
    }
}

impl Dictionary {
    /// Octets that it takes, or not many more.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// What to refer to a piece by, where it came before.
    pub(crate) fn refer(&mut self, piece: &[u8]) -> Option<u16> {
        if piece.len() < LEAST {
            return None;
        }
        if let Some(place) = self.places.get(piece) {
            return Some(*place);
        }
        let hash = self.places.hasher().hash_one(piece);
        let row = &mut self.seen[hash as usize % SEEN[0]];
        // Where nothing was seen stands what is no mark.
        let mark = (hash >> 32) as u32 | 1;
        if !row.contains(&mark) {
            row.rotate_right(1);
            row[0] = mark;
            return None;
        }
        let place = u16::try_from(self.pieces.len()).ok()?;
        let octets = self.octets + piece.len() + ENTRY;
        if octets > MAX {
            return None;
        }
        self.octets = octets;
        let piece = Bytes::copy_from_slice(piece);
        self.pieces.push(piece.clone());
        self.places.insert(piece, place);
        Some(place)
    }

    /// The piece of a reference.
    pub(crate) fn piece(&self, place: u16) -> Option<&Bytes> {
        self.pieces.get(usize::from(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes once is not taken, or the dictionary would be full of what nobody shares.
    #[test]
    fn what_comes_twice_is_shared() {
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.refer(b"user-agent: a"), None);
        assert_eq!(dictionary.refer(b"user-agent: a"), Some(0));
        assert_eq!(dictionary.refer(b"user-agent: a"), Some(0));
        assert_eq!(dictionary.piece(0).map(|piece| &piece[..]), Some(&b"user-agent: a"[..]));
        assert_eq!([dictionary.refer(b"short"), dictionary.refer(b"short")], [None; 2]);
        let empty = Dictionary::default().octets();
        for number in 0..10_000_u64 {
            dictionary.refer(&number.to_ne_bytes());
        }
        assert_eq!((dictionary.pieces.len(), dictionary.octets()), (1, empty + 13 + ENTRY));
    }

    /// A peer that repeats all that it says fills it, and then nothing more is taken.
    #[test]
    fn a_dictionary_is_bounded() {
        let mut dictionary = Dictionary::default();
        let mut refused = 0;
        for number in 0..10_000_u64 {
            let piece = [number.to_ne_bytes(); 100].concat();
            dictionary.refer(&piece);
            refused += usize::from(dictionary.refer(&piece).is_none());
        }
        assert!(refused > 9000 && dictionary.octets() <= MAX, "{refused} refused, {} octets", dictionary.octets());
    }
}
