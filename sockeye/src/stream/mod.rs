//! What one stream's application side and the task of its connection share: the only thing that crosses tasks.
//!
//! [`state`] says what a stream may do and what is to be done for it. A [`cell`] puts a lock around it and tells the
//! connection's task of changes. An [`owner`] is the application's hold on a cell, and the [`port`] is how octets get in
//! and out.

mod cell;
mod ends;
pub(crate) mod outbox;
mod owner;
pub(crate) mod port;
mod state;

pub(crate) use cell::StreamCell;
pub(crate) use ends::{Awaited, Closer, Death, ErrorCode, Input, Parting, Received};
use outbox::Outbox;
pub(crate) use owner::Owner;
pub(crate) use port::Room;
pub(crate) use state::{Ending, Look, Next, PeersEnd};
