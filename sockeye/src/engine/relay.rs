//! The life of a connection as a row of futures, of which each gives way to the next: so a socket that has been open for hours
//! pays for none of the steps that led to it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::error::Result;

/// One step of a connection's life.
pub(crate) type Step = Pin<Box<dyn Future<Output = Then> + Send>>;

/// What comes after a step.
pub(crate) enum Then {
    /// The connection is over.
    Over(Result),
    /// The connection goes on by this.
    Follows(Step),
}

/// The last step.
pub(crate) fn last(step: impl Future<Output = Result> + Send + Unpin + 'static) -> Step {
    Box::pin(Last(step))
}

/// A connection, whatever its step, as a future that is done when the connection is over.
pub(crate) struct Relay(Step);

impl Relay {
    pub(crate) fn new(first: impl Future<Output = Then> + Send + 'static) -> Self {
        Self(Box::pin(first))
    }
}

impl Future for Relay {
    type Output = Result;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        loop {
            match ready!(self.0.as_mut().poll(cx)) {
                Then::Over(result) => return Poll::Ready(result),
                Then::Follows(step) => self.0 = step,
            }
        }
    }
}

/// A [`Relay`] in a task that nobody awaits: how it ended is told to the log.
///
/// The task of an idle socket has 128 octets, of which this takes two words: an async block, or the result, would take more.
pub(crate) struct Unattended(pub(crate) Relay);

const _: () = assert!(size_of::<Unattended>() <= 16);

impl Future for Unattended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(Pin::new(&mut self.0).poll(cx)) {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
        }
        Poll::Ready(())
    }
}

/// By hand, since an async block would have room for the step twice.
struct Last<F>(F);

impl<F: Future<Output = Result> + Unpin> Future for Last<F> {
    type Output = Then;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Then> {
        Pin::new(&mut self.0).poll(cx).map(Then::Over)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;
    use crate::error::Error;

    /// What a step holds is gone once the next one runs, though that may never end.
    #[tokio::test]
    async fn a_step_is_dropped_before_the_next_runs() {
        let held = Arc::new(());
        let of_first = held.clone();
        let mut relay = Relay::new(async move {
            let _of_first = of_first;
            Then::Follows(Box::pin(pending()))
        });
        assert_eq!(Arc::strong_count(&held), 2);
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut relay).poll(cx))).await;
        assert!(polled.is_pending());
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn the_last_step_says_how_the_connection_ended() {
        let relay = Relay::new(async { Then::Follows(last(std::future::ready(Err(Error::Disconnected)))) });
        assert!(matches!(relay.await, Err(Error::Disconnected)));
    }
}
