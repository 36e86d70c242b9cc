//! A socket's membership of a group.

use std::fmt;
use std::future::poll_fn;

use sockeye_proto::ws::Message;

use crate::engine::members::{Broadcast, Frame, To};
use crate::socket::crowds::Crowd;
use crate::socket::group::Group;
use crate::socket::group_send::{GroupSend, Sending};

/// A socket's membership of a [`Group`], which ends when this is dropped. It does not keep the socket open.
#[must_use = "the socket leaves the group when this is dropped"]
pub struct Member {
    pub(super) group: Group,
    pub(super) crowd: Crowd,
    pub(super) key: usize,
}

impl Member {
    /// Sends a message to this member alone, in its place among those of the group: behind all that was sent to the group
    /// before, and before all that is sent after. Otherwise as [`Group::send`], and cancel safe as that. For what is to go before all
    /// that the group sends see [`Group::join_with`]; what is to be this member's last goes by the socket's own
    /// [`send`](crate::WebSocket::send), since a member that [leaves](Group#who-gets-what) leaves at once.
    pub fn send(&self, message: impl Into<Message>) -> GroupSend {
        let frame = Frame::new(&message.into());
        let mut sending = Sending::new();
        {
            let mut crowds = self.group.crowds();
            let (members, number) = (self.crowd.members.clone(), crowds.next());
            sending.push(&self.crowd.link, Broadcast { members, number, to: To::Only(self.key), frame });
        }
        sending.start(self.group.wait_time())
    }

    /// Waits until this socket has missed messages of the group, since its peer did not read, and says how many since this
    /// was last told. The handler may then send what stands for all of them, or close the socket. It waits for ever where none
    /// are missed. One task may wait so. Cancel safe.
    ///
    /// ```
    /// # use sockeye::{Group, Result, WebSocket};
    /// async fn quotes(mut socket: WebSocket, room: Group) -> Result {
    ///     let member = room.join(&socket)?;
    ///     loop {
    ///         tokio::select! {
    ///             message = socket.recv() => if message?.is_none() { return Ok(()) },
    ///             missed = member.lagged() => { member.send(format!("{missed} were left out")).await }
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn lagged(&self) -> u64 {
        poll_fn(|cx| self.crowd.members.poll_lagged(self.key, cx)).await
    }

    /// How many messages of the group this socket has missed in all, since its peer did not read.
    pub fn missed(&self) -> u64 {
        self.crowd.members.missed(self.key)
    }

    /// The group that it is a member of.
    pub fn group(&self) -> &Group {
        &self.group
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let removed = {
            let mut crowds = self.group.crowds();
            let removed = self.crowd.members.remove(self.key);
            if self.crowd.members.len() == 0 {
                crowds.connections.remove(&self.crowd.link);
            }
            removed
        };
        // Who waited for this member goes on.
        self.crowd.link.leave_group(removed.freed);
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("missed", &self.missed()).finish_non_exhaustive()
    }
}
