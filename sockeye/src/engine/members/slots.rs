//! Members by key.

use slab::Slab;

use super::listed::Listed;

/// One alone, as in most of many groups, has no memory of its own.
pub(super) enum Slots {
    One(Listed),
    Many(Option<Box<Slab<Listed>>>),
}

/// There are as many as groups with members, on each connection.
const _: () = assert!(size_of::<Slots>() <= 32);

impl Default for Slots {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl Slots {
    pub(super) fn insert(&mut self, member: Listed) -> usize {
        match std::mem::take(self) {
            Self::Many(None) => {
                *self = Self::One(member);
                0
            }
            Self::Many(Some(mut many)) => {
                let key = many.insert(member);
                *self = Self::Many(Some(many));
                key
            }
            Self::One(first) => {
                let mut many = Slab::with_capacity(4);
                many.insert(first);
                let key = many.insert(member);
                *self = Self::Many(Some(Box::new(many)));
                key
            }
        }
    }

    /// Takes the member with this key out, if there is one.
    pub(super) fn remove(&mut self, key: usize) -> Option<Listed> {
        match self {
            Self::One(_) if key != 0 => None,
            Self::One(_) => match std::mem::take(self) {
                Self::One(member) => Some(member),
                Self::Many(_) => None,
            },
            Self::Many(slab) => {
                let many = slab.as_mut()?;
                let member = many.try_remove(key);
                if many.is_empty() {
                    *slab = None;
                }
                member
            }
        }
    }

    pub(super) fn get(&self, key: usize) -> Option<&Listed> {
        match self {
            Self::One(member) => Some(member).filter(|_| key == 0),
            Self::Many(many) => many.as_ref()?.get(key),
        }
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Listed> {
        match self {
            Self::One(member) => Some(member).filter(|_| key == 0),
            Self::Many(many) => many.as_mut()?.get_mut(key),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(many) => many.as_ref().map_or(0, |many| many.len()),
        }
    }

    /// All, with their keys, in the order of these.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Listed)> {
        let (one, many) = match self {
            Self::One(member) => (Some((0, member)), None),
            Self::Many(many) => (None, many.as_mut()),
        };
        one.into_iter().chain(many.into_iter().flat_map(|many| many.iter_mut()))
    }
}
