//! The connections that members of a group are on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::link::Link;
use crate::engine::members::Members;

#[derive(Default)]
pub(super) struct Crowds {
    pub(super) connections: Connections,
    /// Messages sent so far.
    sent: u64,
}

/// In the order in which they are told. One alone, which is what most of many groups have, takes no memory of its own.
pub(super) enum Connections {
    One(Crowd),
    #[expect(clippy::box_collection, reason = "a group is small that has one or none")]
    Many(Option<Box<BTreeMap<Place, Crowd>>>),
}

/// There are as many as groups.
const _: () = assert!(size_of::<Connections>() <= 16);

/// The members on one connection.
#[derive(Clone)]
pub(super) struct Crowd {
    pub(super) link: Arc<Link>,
    pub(super) members: Arc<Members>,
}

/// A connection's place in the order in which connections are told: by its number, so that it is the same whenever the same is
/// done, and by its address, since connections of several servers may have the same number.
type Place = (u64, usize);

fn place(link: &Arc<Link>) -> Place {
    (link.number, Arc::as_ptr(link).addr())
}

impl Crowds {
    /// The number of the next message.
    pub(super) fn next(&mut self) -> u64 {
        let number = self.sent;
        self.sent += 1;
        number
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl Connections {
    /// The members on a connection; new ones, where there are none.
    pub(super) fn get_or_insert(&mut self, link: &Arc<Link>, new: impl FnOnce() -> Crowd) -> Crowd {
        match self {
            Self::Many(None) => {
                let crowd = new();
                *self = Self::One(crowd.clone());
                crowd
            }
            Self::Many(Some(many)) => many.entry(place(link)).or_insert_with(new).clone(),
            Self::One(one) if Arc::ptr_eq(&one.link, link) => one.clone(),
            Self::One(one) => {
                let crowd = new();
                let both = [&*one, &crowd].map(|crowd| (place(&crowd.link), crowd.clone()));
                *self = Self::Many(Some(Box::new(BTreeMap::from(both))));
                crowd
            }
        }
    }

    /// A connection has no members any more.
    pub(super) fn remove(&mut self, link: &Arc<Link>) {
        let is_left = match self {
            Self::One(one) => !Arc::ptr_eq(&one.link, link),
            Self::Many(many) => many.as_mut().is_some_and(|many| {
                many.remove(&place(link));
                !many.is_empty()
            }),
        };
        if !is_left {
            *self = Self::default();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Crowd> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, many.as_ref()),
        };
        one.into_iter().chain(many.into_iter().flat_map(|many| many.values()))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(None))
    }
}
