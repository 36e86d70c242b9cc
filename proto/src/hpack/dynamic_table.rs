//! The dynamic table (RFC 7541 §2.3.2 and §4), in one piece of memory.

use std::collections::VecDeque;

use super::{FIELD_OVERHEAD, Field};

/// The fields last inserted, each found by its position: 0 is the newest (RFC 7541 §2.3.3).
///
/// The octets of all fields stand in one vector in the order of insertion. Evicted ones stay at its front until the
/// vector would have to grow, and are then squeezed out if they are at least half of it: so each octet is moved
/// once per insertion on average, and the vector stays within twice the table's size. An empty table owns no memory.
#[derive(Debug)]
pub(super) struct DynamicTable {
    octets: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// As §4.1 counts it, in octets.
    size: usize,
    max_size: usize,
}

/// A field's place in [`DynamicTable::octets`]: the name, and the value right behind it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    name_length: u32,
    value_length: u32,
}

impl Entry {
    fn value_start(&self) -> usize {
        self.start + self.name_length as usize
    }

    fn end(&self) -> usize {
        self.value_start() + self.value_length as usize
    }

    fn size(&self) -> usize {
        self.end() - self.start + FIELD_OVERHEAD
    }
}

/// The smallest memory to begin with, in octets: a browser's first request in one piece.
const MIN_CAPACITY: usize = 512;

impl DynamicTable {
    /// `max_size` in octets, as §4.1 counts them.
    pub(super) fn new(max_size: usize) -> Self {
        Self { octets: Vec::new(), entries: VecDeque::new(), size: 0, max_size: clamp(max_size) }
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    /// The name and value at a position, 0 being the newest.
    pub(super) fn get(&self, position: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(self.entries.len().checked_sub(position + 1)?)?;
        let value_start = entry.value_start();
        Some((&self.octets[entry.start..value_start], &self.octets[value_start..entry.end()]))
    }

    /// Evicts what the new maximum has no room for (RFC 7541 §4.3).
    pub(super) fn set_max_size(&mut self, max_size: usize) {
        self.max_size = clamp(max_size);
        self.evict_to(self.max_size);
        if self.entries.is_empty() {
            (self.octets, self.entries) = (Vec::new(), VecDeque::new());
        }
    }

    /// Inserts a field after it has evicted what the table has no room for beside it (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, field: &Field<'_>) {
        let size = field.size();
        let Some(rest) = self.max_size.checked_sub(size) else {
            // "It is not an error to attempt to add an entry that is larger than the maximum size; an attempt to add
            // an entry larger than the maximum size causes the table to be emptied of all existing entries and results
            // in an empty table."
            return self.evict_to(0);
        };
        self.evict_to(rest);
        self.make_room(size - FIELD_OVERHEAD);
        let start = self.octets.len();
        self.octets.extend_from_slice(field.name);
        self.octets.extend_from_slice(field.value);
        // Neither length exceeds max_size, which fits in 32 bits.
        let (name_length, value_length) = (field.name.len() as u32, field.value.len() as u32);
        self.entries.push_back(Entry { start, name_length, value_length });
        self.size += size;
    }

    fn evict_to(&mut self, max_size: usize) {
        while self.size > max_size {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
        }
        if self.entries.is_empty() {
            self.octets.clear();
        }
    }

    /// Makes the vector ready for so many octets more.
    fn make_room(&mut self, additional: usize) {
        let needed = self.octets.len() + additional;
        if needed <= self.octets.capacity() {
            return;
        }
        let evicted = self.entries.front().map_or(0, |oldest| oldest.start);
        if evicted * 2 >= self.octets.len() && needed - evicted <= self.octets.capacity() {
            self.octets.drain(..evicted);
            self.entries.iter_mut().for_each(|entry| entry.start -= evicted);
        } else {
            let capacity = (self.octets.capacity() * 2).max(MIN_CAPACITY).min(self.max_size * 2).max(needed);
            self.octets.reserve_exact(capacity - self.octets.len());
        }
    }
}

/// SETTINGS_HEADER_TABLE_SIZE has 32 bits (RFC 9113 §6.5.1).
fn clamp(max_size: usize) -> usize {
    max_size.min(u32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as §2.3.2 and §4 describe it.
    struct Model {
        fields: VecDeque<(Vec<u8>, Vec<u8>)>,
        max_size: usize,
    }

    impl Model {
        fn size(&self) -> usize {
            self.fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
        }

        fn insert(&mut self, field: &Field<'_>) {
            self.fields.push_front((field.name.into(), field.value.into()));
            self.evict();
        }

        fn evict(&mut self) {
            while self.size() > self.max_size {
                self.fields.pop_back();
            }
        }
    }

    /// With any insertions and changes of size, and memory within the bound that the decoder's documentation states.
    #[test]
    fn the_table_is_what_the_rfc_describes() {
        const TEXT: &[u8; 1000] = &{
            let mut text = [0; 1000];
            let mut position = 0;
            while position < text.len() {
                text[position] = (position * position / 7) as u8;
                position += 1;
            }
            text
        };
        let mut table = DynamicTable::new(4096);
        let mut model = Model { fields: VecDeque::new(), max_size: 4096 };
        let mut bound = 4096;
        for step in 0..20_000_usize {
            let random = step.wrapping_mul(0x9e37_79b9).rotate_left(7) % 1_000_003;
            // Spells of short fields and of long ones.
            let longest = [10, 60, 400, 1000][step / 500 % 4];
            let (name, value) = (&TEXT[..random % 40], &TEXT[random % 13..][..random % longest % 900]);
            if step % 700 == 699 {
                let max_size = [0, 33, 500, 4096, 1000, 4096][step / 700 % 6];
                table.set_max_size(max_size);
                model.max_size = max_size;
                model.evict();
                bound = if model.fields.is_empty() { max_size } else { bound.max(max_size) };
            }
            table.insert(&Field::new(name, value));
            model.insert(&Field::new(name, value));
            assert_eq!((table.size, table.entries.len()), (model.size(), model.fields.len()), "step {step}");
            if step % 16 == 0 {
                for (position, (name, value)) in model.fields.iter().enumerate() {
                    assert_eq!(table.get(position), Some((&name[..], &value[..])), "step {step}");
                }
                assert_eq!(table.get(model.fields.len()), None);
            }
            assert!(table.octets.capacity() <= 2 * bound, "step {step}: {}", table.octets.capacity());
        }
    }

    #[test]
    fn an_empty_table_owns_no_memory() {
        let mut table = DynamicTable::new(4096);
        assert_eq!((table.octets.capacity(), table.entries.capacity()), (0, 0));
        table.insert(&Field::new(b"name", b"value"));
        assert_eq!(table.octets.capacity(), MIN_CAPACITY);
        table.set_max_size(0);
        assert_eq!((table.octets.capacity(), table.entries.capacity()), (0, 0));
    }
}
