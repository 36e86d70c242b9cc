//! The times that a connection gives to what is at its end: peers that are to end their half, and handlers that outlive
//! their stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sockeye_proto::h2::StreamId;

use crate::engine::link::Limits;
use crate::engine::stream::Awaited;

/// Time to the END_STREAM of a peer that has said Close: a round trip. Browsers send it with their Close or not at all.
pub(crate) const MOMENT: Duration = Duration::from_millis(100);

/// A queue for each thing that is waited for: all who wait for the same wait for equally long, so that no order has to be
/// kept but that in which they came.
#[derive(Default)]
pub(crate) struct Partings {
    /// Boxed, since most connections have none for most of the time.
    queues: Option<Box<Queues>>,
    /// Handlers whose stream is over.
    handlers: usize,
}

type Queue = VecDeque<(Instant, StreamId)>;
type Queues = [Queue; KINDS.len()];

/// What has a queue.
const KINDS: [Awaited; 5] = [Awaited::Room, Awaited::OurEnd, Awaited::LastWords, Awaited::PeersEnd, Awaited::Handler];
/// Some years.
const LONGEST: Duration = Duration::from_secs(1 << 28);
/// A queue is rid of streams that wait no more when it is twice as long as there are streams, and this longer.
const SLACK: usize = 64;

impl Partings {
    /// A stream waits from now on. `is_waiting` says so of any stream, `streams` is how many there are.
    pub(crate) fn push(
        &mut self,
        awaited: Awaited,
        now: Instant,
        limits: &Limits,
        id: StreamId,
        streams: usize,
        is_waiting: impl Fn(StreamId, Awaited) -> bool,
    ) {
        self.handlers += usize::from(awaited == Awaited::Handler);
        let time = time(awaited, limits);
        // A time too long to count is as good as none: what waits so long stands in its queue all the same.
        let Some(due) = now.checked_add(time).or(now.checked_add(LONGEST)) else { return };
        let Some(queue) = self.queue(awaited) else { return };
        if queue.len() > 2 * streams + SLACK {
            queue.retain(|&(_, id)| is_waiting(id, awaited));
        }
        queue.push_back((due, id));
    }

    /// The stream waits for something else now, or is gone.
    pub(crate) fn leave(&mut self, awaited: Awaited) {
        self.handlers -= usize::from(awaited == Awaited::Handler);
    }

    /// When the next of them has had its time.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queues.as_deref()?.iter().filter_map(VecDeque::front).map(|&(due, _)| due).min()
    }

    /// One that has had its time; it may wait no more.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(StreamId, Awaited)> {
        let queues = self.queues.as_deref_mut()?;
        let index = queues.iter().position(|queue| queue.front().is_some_and(|&(due, _)| due <= now))?;
        let (_, id) = queues[index].pop_front()?;
        Some((id, KINDS[index]))
    }

    /// The handler that has outlived its stream for longest, where there are more than `max`; it may have ended.
    pub(crate) fn pop_handler(&mut self, max: usize) -> Option<StreamId> {
        if self.handlers <= max {
            return None;
        }
        self.queue(Awaited::Handler)?.pop_front().map(|(_, id)| id)
    }

    /// Whether there may be room that is not used.
    pub(crate) fn keeps_spare(&self) -> bool {
        self.queues.is_some()
    }

    /// Gives up room that is not used.
    pub(crate) fn shrink(&mut self) {
        self.queues.take_if(|queues| queues.iter().all(VecDeque::is_empty));
        self.queues.iter_mut().flat_map(|queues| queues.iter_mut()).for_each(VecDeque::shrink_to_fit);
    }

    fn queue(&mut self, awaited: Awaited) -> Option<&mut Queue> {
        let index = KINDS.iter().position(|kind| *kind == awaited)?;
        Some(&mut self.queues.get_or_insert_default()[index])
    }
}

fn time(awaited: Awaited, limits: &Limits) -> Duration {
    match awaited {
        Awaited::Nothing => Duration::MAX,
        Awaited::Room => limits.failed_timeout,
        Awaited::PeersEnd => MOMENT.min(limits.close_timeout),
        Awaited::OurEnd | Awaited::LastWords | Awaited::Handler => limits.close_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that opens and closes tunnels without end keeps no more than it has streams, however long the times are.
    #[test]
    fn what_waits_no_more_is_forgotten() {
        let mut partings = Partings::default();
        let limits = Limits { close_timeout: Duration::from_secs(3600), ..Limits::default() };
        let mut machine = sockeye_proto::h2::Connection::new(
            sockeye_proto::h2::Role::Client,
            sockeye_proto::h2::Config::default(),
            Instant::now(),
        );
        let id = machine.open(&http::Request::get("http://a/").body(()).unwrap(), true).unwrap();
        for _ in 0..10_000 {
            partings.push(Awaited::LastWords, Instant::now(), &limits, id, 1, |_, _| false);
        }
        assert!(partings.queues.iter().flat_map(|queues| queues.iter()).all(|queue| queue.len() <= 2 + SLACK + 1));
    }
}
