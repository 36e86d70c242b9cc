//! What carries messages between nodes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use sockeye::BoxError;

use crate::history::History;

/// A future in a box.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What carries messages between the nodes of a service: NATS, or anything else that has channels with subscribers.
///
/// A backplane may lose messages, and may deliver them twice; the hub numbers them, counts what is missing and leaves out what is
/// there already. It must deliver those of one publisher on one channel in their order, back to the publisher itself as well. A channel is a token of at
/// most 800 ASCII letters, digits and `-_/:@=%`.
///
/// The hub calls [`subscribe`](Self::subscribe), [`unsubscribe`](Self::unsubscribe) and [`publish`](Self::publish) from one task and
/// one at a time, [`receive`](Self::receive) and [`close`](Self::close) from another.
pub trait Backplane: Send + Sync + 'static {
    /// Octets that a message may have now, with all that the hub puts before it.
    fn max_payload(&self) -> usize;

    /// Asks for what is published on a channel, until [`unsubscribe`](Self::unsubscribe), over any number of reconnects. It may return
    /// before the subscription is in force: the hub publishes a marker behind it, and waits for that.
    fn subscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Asks for a channel no longer.
    fn unsubscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Waits until it takes something: while it is down what is published stays in the hub's [queue](crate::HubBuilder::queue), which is
    /// bounded. By default it is always ready. Must be cancel safe; called by the task that publishes.
    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Publishes on a channel. It may wait while the backplane is down: then the hub's queue fills. It is never cancelled but by the
    /// end of the hub.
    fn publish<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Waits for something to happen, and gives all that is there to `hear`. Must be cancel safe.
    fn receive<'a>(&'a self, hear: &'a mut (dyn FnMut(Event<'_>) + Send)) -> BoxFuture<'a, ()>;

    /// Whether it keeps messages, for nodes that hear of a topic later than they were sent. By default it does not.
    fn keeps(&self) -> bool {
        false
    }

    /// Keeps what was just published on a channel. It is called as [`publish`](Self::publish) is, with messages alone, where it
    /// [keeps](Self::keeps) them and the hub has a [history](crate::HubBuilder::history).
    fn keep<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        _ = (channel, payload);
        Box::pin(std::future::ready(Ok(())))
    }

    /// The last of what it has kept of a channel, the oldest first, each with its age; no more than the history takes. It is called from
    /// any task.
    fn kept<'a>(
        &'a self,
        channel: &'a str,
        history: History,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Duration)>, BoxError>> {
        _ = (channel, history);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// The hub is gone: ends all subscriptions.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What happens on a backplane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A message on a channel.
    Message {
        /// As it was subscribed to.
        channel: &'a str,
        /// As it was published.
        payload: Bytes,
    },
    /// The backplane is connected, again or for the first time. Messages may have been lost meanwhile.
    Connected,
    /// It is not connected now.
    Disconnected,
    /// It has refused something after it was taken: why.
    Refused(&'a str),
}
