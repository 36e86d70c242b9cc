//! One message to many sockets.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sockeye_proto::ws::Message;

use crate::engine::link::Side;
use crate::engine::members::{Broadcast, Frame, Members, SlowMember, To};
use crate::engine::sync::{Mutex, MutexGuard};
use crate::error::{Error, Result};
use crate::socket::crowds::{Crowd, Crowds};
use crate::socket::group_send::{GroupSend, Sending};
use crate::socket::join::Join;
use crate::socket::member::Member;

/// Sockets that all get what is sent to the group, by a fraction of the work of a [`send`](crate::WebSocket::send) for each: the
/// message is encoded once, each connection is told once, and no handler runs for it.
///
/// A clone is the same group. The sockets may be of any number of connections, servers and threads.
///
/// ```
/// use sockeye::{Group, Result, WebSocket, websocket};
///
/// async fn chat(mut socket: WebSocket, room: Group) -> Result {
///     let _member = room.join(&socket)?; // until it is dropped
///     while let Some(message) = socket.recv().await? {
///         room.send(message).await;
///     }
///     Ok(())
/// }
///
/// let room = Group::new();
/// let service = websocket(move |socket| chat(socket, room.clone()));
/// ```
///
/// # Who gets what
///
/// A socket gets what is sent from the moment at which [`join`](Self::join) returns until its [`Member`] is dropped, and nothing
/// that was sent before or after. What its connection has not taken by then, or by the socket's Close, it does not get, and nobody
/// counts it: what a handler says before it returns goes by the socket's own [`send`](crate::WebSocket::send). What was sent to
/// all before a handler in its connection's task closes goes before its Close.
///
/// All members get the messages of a group in one order, in which those of one sender stand as they were sent; what is for
/// [one member](Member::send) or for [all but one](Self::send_except) stands in that order too. What the socket itself has sent
/// before it joins goes before all that the group sends; from then on there is no order between the two. While a message is
/// [sent in pieces](crate::WebSocket::send_stream), those of the group wait for its end (RFC 6455 §5.4).
///
/// Members with [compression](crate::SocketOptions::deflate) get what it is worth for compressed once for all of them, on whichever
/// connections they are, and once for each size of window. To whom messages may refer to those before them
/// ([takeover](crate::DeflateContext::takeover)) it goes as it is, which RFC 7692 §6 leaves to the sender.
///
/// # Members that are slow
///
/// A message that a member has no room for waits, held once for all members of a connection, and the others get it at once. Up
/// to 2 MiB of messages may wait for a connection, of all groups together, or one that is larger, some octets added to each
/// (80 at most); beside each what it is compressed to, where that is less. Past that whoever awaits [`send`](Self::send) waits, so
/// that members that read get everything, but for no longer than [a time](GroupBuilder::wait) that is the group's. Then those that
/// are most behind make room: they miss the oldest messages, and their handlers are [told](Member::lagged) how many, or they are
/// [closed](SlowMember::Close). Who has made others wait in vain is not waited for again until it has caught up: one that does not
/// read holds the others once, for that time.
///
/// A socket that closes sends nothing after its Close (RFC 6455 §5.5.1): what waits for it then goes nowhere, and is not counted.
///
/// Whoever sends without awaiting does not wait: its messages find room all the same, at the cost of members that are behind.
#[derive(Clone, Default)]
pub struct Group(pub(super) Arc<Shared>);

/// What all clones share.
pub(super) struct Shared {
    /// In milliseconds, at most some weeks: a service has a group for each of a million topics.
    wait: u32,
    slow: SlowMember,
    crowds: Mutex<Crowds>,
}

/// Milliseconds, and one more where it is no whole number of them.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// How long a sender waits by default: longer than a hiccup of the network, and than a peer takes that gives credit for megabytes
/// at once; as long as the end of a socket may take.
const WAIT: Duration = Duration::from_secs(5);

impl Default for Shared {
    fn default() -> Self {
        GroupBuilder::default().shared()
    }
}

/// The options of a [`Group`].
///
/// ```
/// # use sockeye::{Group, socket::SlowMember};
/// # use std::time::Duration;
/// let quotes = Group::builder().wait(Duration::ZERO).build(); // who is slow misses some
/// let orders = Group::builder().wait(Duration::from_secs(5)).slow(SlowMember::Close).build();
/// ```
#[derive(Clone, Debug)]
#[must_use = "options make a group by `build`"]
pub struct GroupBuilder {
    wait: Duration,
    slow: SlowMember,
}

impl Default for GroupBuilder {
    fn default() -> Self {
        Self { wait: WAIT, slow: SlowMember::default() }
    }
}

impl GroupBuilder {
    /// How long each [`send`](Group::send) waits for members that are behind; 5 seconds by default. Zero never waits. It is
    /// counted in milliseconds, and 49 days are the most.
    ///
    /// A peer gives credit for what it has read when that is half of its window (RFC 9113 §6.9 leaves it the choice), so that
    /// one that reads slowly and has a large window may seem not to read for some time.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// What becomes of a member that was waited for in vain; by default it [misses](SlowMember::Skip) messages.
    pub fn slow(mut self, slow: SlowMember) -> Self {
        self.slow = slow;
        self
    }

    /// A group without members.
    pub fn build(self) -> Group {
        Group(Arc::new(self.shared()))
    }

    fn shared(self) -> Shared {
        Shared { wait: millis(self.wait), slow: self.slow, crowds: Mutex::default() }
    }
}

impl Group {
    /// A group without members, with every option's default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The options of a group.
    pub fn builder() -> GroupBuilder {
        GroupBuilder::default()
    }

    /// Makes a socket a member, or that of which this is a half.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a client's socket that masks what it sends: each copy would need a key of its own
    /// (RFC 6455 §5.3).
    pub fn join(&self, socket: &impl Join) -> Result<Member> {
        self.join_with(socket, std::iter::empty::<Message>())
    }

    /// Makes a socket a member that gets a history first, then all that the group sends from this moment on: no message of the
    /// group goes before the history or comes between.
    ///
    /// No message is lost between a history and what comes after it, or stands in both, where the history is kept under a lock
    /// that is held for this, and for each [`send`](Self::send), which sends as it is called and is awaited without the lock:
    ///
    /// ```
    /// # use std::sync::Mutex;
    /// # use sockeye::{Group, Message, Result, WebSocket};
    /// async fn chat(mut socket: WebSocket, room: Group, history: &Mutex<Vec<Message>>) -> Result {
    ///     let _member = {
    ///         let history = history.lock().unwrap();
    ///         room.join_with(&socket, history.iter().cloned())?
    ///     };
    ///     while let Some(message) = socket.recv().await? {
    ///         let sent = {
    ///             let mut history = history.lock().unwrap();
    ///             history.push(message.clone());
    ///             room.send(message)
    ///         };
    ///         sent.await;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// The history is sent without waiting. One that is larger than what may [wait](Self#members-that-are-slow) is better sent by
    /// the socket itself, before it joins with the rest.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_with<I>(&self, socket: &impl Join, history: I) -> Result<Member>
    where
        I: IntoIterator<Item: Into<Message>>,
    {
        let history: Vec<_> = history.into_iter().map(|message| Frame::new(&message.into())).collect();
        let (link, address, deflate) = socket.with_socket(|socket| {
            let cell = socket.cell();
            if cell.link().info.side == Side::Client && !socket.extensions().no_masking {
                let why = "a client's socket masks each message by itself: send to each, without a group";
                return Err(Error::invalid(why));
            }
            Ok((cell.link().clone(), cell.address(), socket.shared_deflate()))
        })?;
        let mut sending = Sending::new();
        let member = {
            let mut crowds = self.crowds();
            let new = || Crowd { link: link.clone(), members: Arc::new(Members::new(self.0.slow)) };
            let crowd = crowds.connections.get_or_insert(&link, new);
            let key = crowd.members.insert(address, crowds.sent(), deflate);
            for frame in history {
                let (members, number) = (crowd.members.clone(), crowds.next());
                sending.push(&link, Broadcast { members, number, to: To::Only(key), frame });
            }
            Member { group: self.clone(), crowd, key }
        };
        sending.start(Duration::ZERO);
        Ok(member)
    }

    /// Sends a message to all members, as this is called. The future waits for room where too much
    /// [waits](Self#members-that-are-slow) for a member; to drop it, or not to await it, is not to wait: the message goes to all
    /// members that are not behind, and finds its place at the cost of those that are. Cancel safe: it is sent once, whatever
    /// becomes of the future.
    ///
    /// The future is ready at once unless members are slow. It waits for no longer than [the group's time](GroupBuilder::wait),
    /// and ends when those that it waits for read, leave, or go away. Within a tokio runtime.
    pub fn send(&self, message: impl Into<Message>) -> GroupSend {
        self.send_to(&message.into(), |_| To::All)
    }

    /// Sends a message to all members but one, such as whoever said it; otherwise as [`send`](Self::send), and cancel safe as
    /// that. A member of another group is no member of this one.
    pub fn send_except(&self, member: &Member, message: impl Into<Message>) -> GroupSend {
        self.send_to(&message.into(), |crowd| match Arc::ptr_eq(&crowd.members, &member.crowd.members) {
            true => To::AllBut(member.key),
            false => To::All,
        })
    }

    fn send_to(&self, message: &Message, to: impl Fn(&Crowd) -> To) -> GroupSend {
        if self.is_empty() {
            return Sending::new().start(Duration::ZERO);
        }
        let frame = Frame::new(message);
        let mut sending = Sending::new();
        {
            // All connections are told under the lock, so that all members get all messages in one order.
            let mut crowds = self.crowds();
            let number = crowds.next();
            for crowd in crowds.connections.iter() {
                let (members, frame) = (crowd.members.clone(), frame.clone());
                sending.push(&crowd.link, Broadcast { members, number, to: to(crowd), frame });
            }
        }
        sending.start(self.wait_time())
    }

    /// Tells all members that so many messages are lost which would have been sent to the group, by [`Member::lagged`] and
    /// [`Member::missed`] as what they miss by being slow. It is for who brings messages from elsewhere, and knows of a hole.
    pub fn miss(&self, messages: u64) {
        if messages == 0 {
            return;
        }
        let missed: Vec<_> = {
            let crowds = self.crowds();
            crowds.connections.iter().map(|crowd| crowd.members.miss(messages)).collect()
        };
        // Who hears of it may be the one that sends: it runs without the lock.
        missed.into_iter().for_each(|mut missed| missed.wake());
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.crowds().connections.iter().map(|crowd| crowd.members.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.crowds().connections.is_empty()
    }

    pub(super) fn wait_time(&self) -> Duration {
        Duration::from_millis(self.0.wait.into())
    }

    pub(super) fn crowds(&self) -> MutexGuard<'_, Crowds> {
        self.0.crowds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = f.debug_struct("Group");
        group.field("len", &self.len()).field("wait", &self.wait_time()).field("slow", &self.0.slow).finish()
    }
}
