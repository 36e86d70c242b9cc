//! A topic, as its users have it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockeye::Message;
use sockeye::socket::{GroupSend, Join};

use crate::error::Error;
use crate::follow::{Followed, Start};
use crate::membership::{Interested, Membership};
use crate::name::topic_name;
use crate::presence::Presence;
use crate::state::TopicState;

/// Sockets that all get what is sent to the topic, on whichever node they are. A clone is the same topic.
///
/// See [the promises](crate#what-is-promised).
#[derive(Clone)]
pub struct Topic(pub(crate) Arc<TopicState>);

impl Topic {
    /// Makes a socket a member, or that of which this is a half. It gets what members here send as this is called, and what
    /// other nodes send once the topic is subscribed to, which is when this is done: at once, where it is already. Cancel safe: whoever
    /// drops the future leaves again.
    ///
    /// # Errors
    ///
    /// - [`Error::JoinTimeout`] where the backplane has not the subscription within [the hub's time](crate::HubBuilder::join_timeout):
    ///   the socket is no member then.
    /// - [`Error::Socket`] for a client's socket that masks, as [`Group::join`](sockeye::Group::join).
    pub fn join<S: Join>(&self, socket: &S) -> impl Future<Output = Result<Membership, Error>> + Send + use<S> {
        // First the membership and then the subscription, so that nothing comes between.
        let joined = self.0.group.join(socket);
        let topic = self.0.clone();
        async move {
            let member = joined?;
            let membership = Membership { member, interest: Interested::new(topic.clone()) };
            topic.subscribed().await?;
            Ok(membership)
        }
    }

    /// Makes a socket a member that gets each message with its number before it, and first what it has missed where it
    /// [comes back](Start::After), or some of the [last messages](Start::Last). Nothing comes between those and what is sent from then
    /// on, and nothing stands in both.
    ///
    /// A follower gets a message as `@SOURCE:NUMBER`, a line feed, and the message, of the same kind. Numbers of a source go up by
    /// one from message to message. To come back, also on another node, it keeps of each source the number of its last message plus
    /// one, beginning with [`Followed::seen`], and says so by a [`Seen`](crate::Seen). What is on its way to that other node meanwhile may come
    /// again, and is known by its number; so is what comes again of a source that a node in between had not heard of. A message that only
    /// members on this node get ([`Error::QueueFull`], [`Error::Down`]) has none: `@` and a line feed.
    ///
    /// What is kept is the hub's [history](crate::HubBuilder::history). Without one a socket hears how much it missed. Cancel safe: whoever
    /// drops the future is no member, and has got nothing.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub async fn follow<S: Join>(&self, socket: &S, start: Start) -> Result<Followed, Error> {
        self.0.clone().follow(socket, start).await
    }

    /// Sends a message to all members, on all nodes, as this is called. The future waits for members on this node that are behind,
    /// as [`Group::send`](sockeye::Group::send); never for the backplane. To drop it is not to wait, and not to hear of an error. Cancel
    /// safe. Within a tokio runtime.
    ///
    /// # Errors
    ///
    /// - [`Error::TooLarge`]: nobody has got it.
    /// - [`Error::QueueFull`] and [`Error::Down`], where the hub's options have it so: members on this node have got it.
    pub fn send(&self, message: impl Into<Message>) -> TopicSend {
        self.0.send(message.into(), None)
    }

    /// Sends a message to all members but one on this node, such as whoever said it; otherwise as [`send`](Self::send).
    pub fn send_except(&self, member: &Membership, message: impl Into<Message>) -> TopicSend {
        self.0.send(message.into(), Some(&member.member))
    }

    /// How many members there are on this node.
    pub fn members(&self) -> usize {
        self.0.members()
    }

    /// How many members there are on all nodes: asks the others, and waits for their answers for
    /// [a time](crate::HubBuilder::presence_wait). A node that does not answer in that time is not counted. Cancel safe.
    pub async fn all_members(&self) -> Presence {
        self.0.all_members().await
    }

    /// The topic's name.
    pub fn name(&self) -> Cow<'_, str> {
        topic_name(&self.0.channel)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name()).field("members", &self.members()).finish()
    }
}

/// Waits until a message that was sent has room for each member on this node, and says what became of it; made by [`Topic::send`].
///
/// The message is sent already: to drop this is not to wait.
#[derive(Debug)]
pub struct TopicSend {
    /// To members that get messages as they are, and to those that get them with numbers.
    pub(crate) here: [Option<GroupSend>; 2],
    pub(crate) outcome: Option<Error>,
}

impl Future for TopicSend {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        for sent in &mut self.here {
            if let Some(waiting) = sent
                && Pin::new(waiting).poll(cx).is_ready()
            {
                *sent = None;
            }
        }
        match self.here.iter().all(Option::is_none) {
            true => Poll::Ready(self.outcome.take().map_or(Ok(()), Err)),
            false => Poll::Pending,
        }
    }
}
