/// Where the encoder's dynamic table may hold a field or a name, by hash.
///
/// A hash leads to a set of a few places, the newest first, and a new one pushes the oldest out. So nothing is ever
/// searched for long, moved or deleted, at a price: a hit is only a hint, for the caller to compare, and a crowded set
/// forgets, which costs a literal. No memory is taken before the first insertion; then about an eighth of the table's.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    sets: Vec<[u16; WAYS]>,
    /// The number of the next insertion; it wraps.
    next: u16,
}

const WAYS: usize = 4;

/// The octets of a table that bring one set with them: a common field, found by its name and as a whole, has half of it.
const OCTETS_PER_SET: usize = 64;

/// A set for every field of a table of 64 KiB; larger ones forget a little sooner.
const MAX_SETS: usize = 1024;

impl Lookup {
    /// The position of a field, 0 being the last inserted one, that belongs to the hash and passes the test.
    pub(super) fn find(&self, hash: u64, is_wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let set = self.sets.get(self.set(hash))?;
        set.iter()
            .map(|number| self.next.wrapping_sub(*number).wrapping_sub(1).into())
            .find(|position| is_wanted(*position))
    }

    /// Lets the hash lead to the field that is inserted next, and no longer to the one at position `former`.
    pub(super) fn note(&mut self, hash: u64, former: Option<usize>, max_table_size: usize) {
        if self.sets.is_empty() {
            let sets = (max_table_size / OCTETS_PER_SET).clamp(1, MAX_SETS).next_power_of_two();
            self.sets = vec![[0; WAYS]; sets];
        }
        let former = former.map(|position| self.next.wrapping_sub(1).wrapping_sub(position as u16));
        let set = self.set(hash);
        let set = &mut self.sets[set];
        let dropped = set.iter().position(|number| Some(*number) == former).unwrap_or(WAYS - 1);
        set[..=dropped].rotate_right(1);
        set[0] = self.next;
    }

    /// A field was inserted: every position grows by one.
    pub(super) fn advance(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    /// Forgets everything, and takes the next table's size anew.
    pub(super) fn clear(&mut self) {
        self.sets = Vec::new();
    }

    /// Their number is a power of two. Where there are none, no index is in bounds.
    fn set(&self, hash: u64) -> usize {
        hash as usize & self.sets.len().wrapping_sub(1)
    }
}
