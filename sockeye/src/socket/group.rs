//! One message to many sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use sockeye_proto::ws::{self, Message};

use crate::engine::link::{Link, Side};
use crate::engine::sync::{Mutex, MutexGuard};
use crate::error::{Error, Result};
use crate::socket::WebSocket;
use crate::socket::members::{Members, ToMembers};

/// Sockets that all get what is sent to the group, by a fraction of the work of a [`send`](WebSocket::send) for each: the
/// message is encoded once, each connection is told once, and no handler runs for it.
///
/// A clone is the same group. The sockets may be of any number of connections, servers and threads.
///
/// ```
/// # use sockeye::{Group, Result, WebSocket};
/// async fn chat(mut socket: WebSocket, room: Group) -> Result {
///     let _member = room.join(&socket)?; // until it is dropped
///     while let Some(message) = socket.recv().await? {
///         room.send(message);
///     }
///     Ok(())
/// }
/// ```
///
/// A socket gets what is sent from the moment at which [`join`](Self::join) returns until its [`Member`] is dropped, and nothing
/// that was sent before or after. What one sender sends arrives in its order, and so do several messages to the group. Between
/// what the group and what the socket itself sends there is no order. Members with [compression](crate::WebSocketService::deflate) get the message as
/// it is, which RFC 7692 §6 leaves to the sender.
#[derive(Clone, Default)]
pub struct Group(Arc<Mutex<Crowds>>);

#[derive(Default)]
struct Crowds {
    by_link: BTreeMap<Place, Crowd>,
    /// Messages sent so far.
    sent: u64,
}

/// A connection's place in the order in which connections are told: by its number, so that it is the same whenever the same is
/// done, and by its address, since connections of several servers may have the same number.
type Place = (u64, usize);

fn place(link: &Arc<Link>) -> Place {
    (link.number, Arc::as_ptr(link).addr())
}

/// The members on one connection.
#[derive(Clone)]
struct Crowd {
    link: Arc<Link>,
    members: Arc<Members>,
}

/// A socket's membership of a [`Group`], which ends when this is dropped. It does not keep the socket open.
#[must_use = "the socket leaves the group when this is dropped"]
pub struct Member {
    group: Group,
    crowd: Crowd,
    key: usize,
}

impl Group {
    /// A group without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the socket a member. To be called before the socket is [split](WebSocket::split).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a client's socket that masks what it sends: each copy would need a key of its own
    /// (RFC 6455 §5.3).
    pub fn join(&self, socket: &WebSocket) -> Result<Member> {
        let cell = socket.cell();
        if cell.link().info.side == Side::Client && !socket.extensions().no_masking {
            return Err(Error::invalid(
                "a client's socket masks each message by itself: send to each, without a group",
            ));
        }
        let link = cell.link();
        let mut crowds = self.crowds();
        let Crowds { by_link, sent } = &mut *crowds;
        let new = || Crowd { link: link.clone(), members: Arc::default() };
        let crowd = by_link.entry(place(link)).or_insert_with(new).clone();
        let key = crowd.members.insert(cell.address(), *sent);
        drop(crowds);
        Ok(Member { group: self.clone(), crowd, key })
    }

    /// Sends a message to all members, without waiting. A member whose peer does not read misses it, once 64 KiB or a whole
    /// message wait for that peer; past 1 MiB that waits for its connection, once a message does: see [`Member::missed`].
    pub fn send(&self, message: impl Into<Message>) {
        let frame = ws::encode(&message.into());
        // Whoever is woken may leave the group at once.
        let (crowds, number) = {
            let mut crowds = self.crowds();
            let number = crowds.sent;
            crowds.sent += 1;
            (crowds.by_link.values().cloned().collect::<Vec<_>>(), number)
        };
        for Crowd { link, members } in crowds {
            link.broadcast(Box::new(ToMembers { members, number, frame: frame.clone() }));
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.crowds().by_link.values().map(|crowd| crowd.members.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.crowds().by_link.is_empty()
    }

    fn crowds(&self) -> MutexGuard<'_, Crowds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// How many messages to the group this socket has missed, since its peer did not read. The handler may close the socket
    /// over it, or send what stands for all of them.
    pub fn missed(&self) -> u64 {
        self.crowd.members.missed(self.key)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut crowds = self.group.crowds();
        self.crowd.members.remove(self.key);
        if self.crowd.members.len() == 0 {
            crowds.by_link.remove(&place(&self.crowd.link));
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("len", &self.len()).finish()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("missed", &self.missed()).finish_non_exhaustive()
    }
}
