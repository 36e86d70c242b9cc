//! What one stream's application side and the task of its connection share: the only thing that crosses tasks.
//!
//! [`state`] says what a stream may do and what is to be done for it. A [`cell`] puts a lock around it and tells the
//! connection's task of changes. An [`handle`] is the application's hold on a cell, and the [`port`] is how octets get in
//! and out.

mod cell;
mod ends;
mod handle;
pub(crate) mod outbox;
pub(crate) mod port;
mod state;

pub(crate) use cell::{Start, StreamCell};
#[cfg(any(feature = "http2", feature = "web-socket"))]
pub(crate) use ends::Closer;
#[cfg(feature = "web-socket")]
pub(crate) use ends::Notice;
#[cfg(feature = "web-socket")]
pub(crate) use ends::Parting;
#[cfg(feature = "web-socket")]
pub(crate) use ends::PeersHalf;
pub(crate) use ends::{Awaited, Death, ErrorCode, Input, Interims, Received};
pub(crate) use handle::{AwaitedResponse, StreamHandle};
use outbox::Outbox;
#[cfg(any(feature = "http2", feature = "web-socket"))]
pub(crate) use port::Room;
pub(crate) use state::{Ending, Look, Next, PeersEnd, Trailers, Waits};
