//! Groups of WebSockets that span machines.
//!
//! A [`Group`](sockeye::Group) makes one message to many sockets cheap, on one machine. A [`Hub`] gives topics by name whose members
//! may be on any machine: what is sent to a topic goes to the members here as a group's does, and by a [`Backplane`] to all nodes
//! that have members of it. With [`Hub::local`] there is no backplane, and no server to run.
//!
//! ```
//! use sockeye::{Result, WebSocket, websocket};
//! use sockeye_hub::Hub;
//!
//! async fn chat(mut socket: WebSocket, hub: Hub) -> Result {
//!     let room = hub.topic("lobby")?;
//!     let _member = room.join(&socket).await?; // until it is dropped
//!     while let Some(message) = socket.recv().await? {
//!         room.send(message).await?; // to all members, on all machines
//!     }
//!     Ok(())
//! }
//!
//! let hub = Hub::local();
//! let service = websocket(move |socket| chat(socket, hub.clone()));
//! ```
//!
#![cfg_attr(feature = "nats", doc = "Over NATS it is [`Hub::nats`], with the client of the crate `async-nats`:")]
#![cfg_attr(
    not(feature = "nats"),
    doc = "Over NATS it is `Hub::nats` (feature `nats`), with the client of the crate `async-nats`:"
)]
//!
#![cfg_attr(feature = "nats", doc = "```no_run")]
#![cfg_attr(not(feature = "nats"), doc = "```ignore")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = async_nats::connect("nats://127.0.0.1:4222").await?;
//! let hub = sockeye_hub::Hub::nats(client);
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    feature = "redis",
    doc = "[`Hub::redis`] is the same over a server of Redis 7 or Valkey, and [`Redis::cluster`] over a cluster."
)]
#![cfg_attr(not(feature = "redis"), doc = "`Hub::redis` (feature `redis`) is the same over Redis 7 or Valkey.")]
//!
//! # What is promised
//!
//! - **Order.** What one node sends to a topic arrives in its order at every member. Members on that node get it at once, and not by
//!   way of the backplane: they have it though that is down, and the node leaves out its own messages as they come back. Between two
//!   nodes there is no order: one member may see what they send at the same time the one way round, one elsewhere the other.
//! - **Nothing is lost unseen.** Each message has its node and its number in the topic. A number that is left out is a message that
//!   the backplane has lost, and all members here are told by [`Membership::lagged`], as they are of what they miss by being slow;
//!   nothing comes twice. A node tells its position in a topic again 1, 5, 25 and 125 seconds after it last sent to it, when it is
//!   connected again, and when another node is and asks: so the loss of the last message is seen as well.
//! - **A join counts once it has.** The first member of a topic on a node waits for a message of the node's own to come back; others
//!   wait for nothing. It fails after [a time](HubBuilder::join_timeout) rather than to miss what it does not know of. In a cluster
//!   of servers other servers hear of the subscription with that message: what another node sends before then is
//!   before the join.
//! - **Nobody waits for the backplane.** What is sent goes into a [bounded queue](HubBuilder::queue). When it is full the oldest is
//!   dropped, or the newest, or the sender gets an error, [as you say](HubBuilder::overflow).
//! - **What is for a slow member** waits as [`Group`](sockeye::Group) has it. Messages from other nodes do not wait for it: past what
//!   may wait for a connection ([`group_send_buffer`](sockeye::Limits::group_send_buffer)) the slow one misses the oldest, and is told.
//!
//! - **Who comes back gets what it missed**, where the hub has a [history](HubBuilder::history): a member that [follows](Topic::follow) a
//!   topic knows the number of each message, and says to any node what it has [seen](Seen). What is missing comes first, and then what is
//!   new, without a hole or a double; what is no longer kept is counted, or said to be unknown.
//!
//! # What it does not know
//!
//! The members that are told of a hole are those that are there when it is found. One that joined in between, on a node that had
//! members before, is told as well. A node whose first message to a topic is lost together with what
//! tells of it (250 ms before it until it is connected again) is not known to have sent it. What a node sent that was then killed, and
//! that did not leave it, nobody has seen, and nobody is told of.
//!
//! # Who may
//!
//! Nothing here asks who somebody is: [`Topic::join`] and [`Topic::send`] are called by your handler, which knows. A topic's name may
//! be what a client sent: it is checked, and escaped to one token that has no dot, wildcard or space. TLS and credentials are those of
//! the client that you hand over.
//!
//! # Features
//!
//! - `nats`: `Hub::nats` and `Nats`, by the crate `async-nats`, with its JetStream. Turn on that crate's own features (`nkeys`,
//!   `websockets`) where you depend on it.
//! - `redis`: `Hub::redis` and `Redis`, by the crate `redis`. Turn on that crate's own features (`tokio-rustls-comp`) where you
//!   depend on it.

// On docs.rs each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod archive;
pub mod backplane;
mod builder;
mod counters;
mod envelope;
mod error;
mod follow;
mod history;
mod hub;
mod linger;
mod membership;
mod name;
#[cfg(feature = "nats")]
mod nats;
mod presence;
mod queue;
mod quiet;
#[cfg(feature = "redis")]
mod redis;
mod seen;
mod sources;
mod state;
#[cfg(feature = "nats")]
mod store;
mod topic;

pub use self::backplane::{Backplane, Event};
pub use self::builder::{HubBuilder, WhenDown};
pub use self::counters::HubCounter;
pub use self::error::Error;
pub use self::follow::{Followed, Start};
pub use self::history::History;
pub use self::hub::Hub;
pub use self::membership::Membership;
pub use self::name::MAX_NAME;
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use self::nats::{Interest, Nats};
pub use self::presence::Presence;
pub use self::queue::Overflow;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::Redis;
pub use self::seen::Seen;
pub use self::topic::{Topic, TopicSend};

/// What a function of this crate returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;
