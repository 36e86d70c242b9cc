//! A socket's membership of a topic.

use std::fmt;
use std::sync::Arc;

use sockeye::Message;
use sockeye::socket::{GroupSend, Member};

use crate::state::TopicState;
use crate::topic::Topic;

/// A socket's membership of a [`Topic`], which ends when this is dropped. It does not keep the socket open.
#[must_use = "the socket leaves the topic when this is dropped"]
pub struct Membership {
    // The socket leaves before the node may lose its interest.
    pub(crate) member: Member,
    pub(crate) interest: Interested,
}

/// Keeps the topic subscribed to.
pub(crate) struct Interested(Arc<TopicState>);

impl Interested {
    pub(crate) fn new(topic: Arc<TopicState>) -> Self {
        topic.gain_interest();
        Self(topic)
    }
}

impl Drop for Interested {
    fn drop(&mut self) {
        self.0.lose_interest();
    }
}

impl Membership {
    /// Waits until this socket has missed messages of the topic, and says how many since this was last told: since its peer did not
    /// read, or since they were lost between the machines. It waits for ever where none are missed. One task may wait so. Cancel safe.
    ///
    /// ```
    /// # use sockeye::{Result, WebSocket};
    /// # use sockeye_hub::Topic;
    /// async fn quotes(mut socket: WebSocket, topic: Topic) -> Result {
    ///     let member = topic.join(&socket).await?;
    ///     loop {
    ///         tokio::select! {
    ///             message = socket.recv() => if message?.is_none() { return Ok(()) },
    ///             missed = member.lagged() => { member.send(format!("{missed} were left out")).await }
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn lagged(&self) -> u64 {
        self.member.lagged().await
    }

    /// How many messages of the topic this socket has missed in all.
    pub fn missed(&self) -> u64 {
        self.member.missed()
    }

    /// Sends a message to this member alone, in its place among those of the topic, as [`Member::send`] does.
    pub fn send(&self, message: impl Into<Message>) -> GroupSend {
        self.member.send(message)
    }

    /// The topic that it is a member of.
    pub fn topic(&self) -> Topic {
        Topic(self.interest.0.clone())
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("topic", &self.topic().name()).field("missed", &self.missed()).finish()
    }
}
