//! When the messages of a socket were due.

use std::collections::VecDeque;

/// Instants in nanoseconds, oldest first. Nearly every socket has none or one, and a million sockets may have one each.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "a queue is twice as large as all the rest")]
pub(super) enum Due {
    #[default]
    None,
    One(u64),
    /// It stays so, to keep its room, even where there are fewer.
    Many(Box<VecDeque<u64>>),
}

impl Due {
    #[inline]
    pub(super) fn push(&mut self, instant: u64) {
        match self {
            Self::None => *self = Self::One(instant),
            Self::One(first) => *self = Self::Many(Box::new(VecDeque::from([*first, instant]))),
            Self::Many(all) => all.push_back(instant),
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::One(first) => {
                let first = *first;
                *self = Self::None;
                Some(first)
            }
            Self::Many(all) => all.pop_front(),
        }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<u64> {
        match self {
            Self::One(first) if index == 0 => Some(*first),
            Self::None | Self::One(_) => None,
            Self::Many(all) => all.get(index).copied(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(all) => all.len(),
        }
    }

    /// Frees the room of instants that are past.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Self::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Due;

    #[test]
    fn first_in_first_out() {
        let mut due = Due::default();
        for most in [1, 3, 1, 2] {
            (0..most).for_each(|instant| due.push(instant));
            assert_eq!((due.len() as u64, due.get(0), due.get(most as usize - 1)), (most, Some(0), Some(most - 1)));
            assert_eq!(due.get(most as usize), None);
            assert!((0..most).all(|instant| due.pop() == Some(instant)));
            assert_eq!((due.len(), due.get(0), due.pop()), (0, None, None));
        }
        due.shrink();
        assert!(matches!(due, Due::None));
    }
}
