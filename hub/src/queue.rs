//! What waits to be given to the backplane. Whoever adds to it never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// What becomes of a message where the queue to the backplane is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest that waits is dropped; members on other nodes are told that they missed it.
    #[default]
    DropOldest,
    /// The new one is dropped; members on other nodes are told.
    DropNewest,
    /// The sender gets [`Error::QueueFull`](crate::Error::QueueFull), and members on other nodes hear nothing.
    Error,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) octets: usize,
    pub(crate) messages: usize,
    pub(crate) overflow: Overflow,
}

/// What the publisher has to do next.
pub(crate) enum Task {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
    Publish(Arc<str>, Bytes),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It waits, and so many others were dropped for it.
    Taken { dropped: u64 },
    /// It was dropped itself.
    Dropped,
    /// It has no place, and the sender is to know.
    Refused,
}

pub(crate) struct Queue {
    bounds: Bounds,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Subscriptions and markers, which go first and in their order. There are no more of them than topics that come and go,
    /// and some questions.
    control: VecDeque<Task>,
    messages: VecDeque<(Arc<str>, Bytes)>,
    octets: usize,
    is_closed: bool,
}

/// What is charged for a message beside its octets: its place in the queue.
const CHARGE: usize = size_of::<(Arc<str>, Bytes)>();

/// Control that may wait before a question is left out: the backplane takes it all at once, or is down.
const MAX_ASKED: usize = 1024;

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: Mutex::default(), changed: Notify::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn control(&self, task: Task) {
        self.waiting().control.push_back(task);
        self.changed.notify_one();
    }

    pub(crate) fn message(&self, channel: &Arc<str>, payload: Bytes) -> Queued {
        let Bounds { octets, messages, overflow } = self.bounds;
        let charge = payload.len() + CHARGE;
        let mut waiting = self.waiting();
        // A message of any size goes where no other waits.
        let is_full = |waiting: &Waiting| {
            !waiting.messages.is_empty() && (waiting.octets + charge > octets || waiting.messages.len() >= messages)
        };
        let mut dropped = 0;
        if is_full(&waiting) {
            match overflow {
                Overflow::Error => return Queued::Refused,
                Overflow::DropNewest => return Queued::Dropped,
                Overflow::DropOldest => {
                    while is_full(&waiting) {
                        waiting.pop();
                        dropped += 1;
                    }
                }
            }
        }
        waiting.octets += charge;
        waiting.messages.push_back((channel.clone(), payload));
        drop(waiting);
        self.changed.notify_one();
        Queued::Taken { dropped }
    }

    /// A question that anybody may have asked goes among the control, unless that waits as it is.
    pub(crate) fn ask(&self, channel: &Arc<str>, payload: Bytes) {
        let mut waiting = self.waiting();
        if waiting.control.len() < MAX_ASKED {
            waiting.control.push_back(Task::Publish(channel.clone(), payload));
            drop(waiting);
            self.changed.notify_one();
        }
    }

    /// Waits for something to do and takes up to so much of it. None once the hub is gone.
    pub(crate) async fn take(&self, tasks: &mut Vec<Task>, max: usize) -> Option<()> {
        loop {
            {
                let mut waiting = self.waiting();
                while tasks.len() < max {
                    let next = waiting.control.pop_front();
                    match next.or_else(|| waiting.pop().map(|(channel, payload)| Task::Publish(channel, payload))) {
                        Some(task) => tasks.push(task),
                        None => break,
                    }
                }
                if !tasks.is_empty() {
                    return Some(());
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// The hub is gone: what waits still goes out, and nothing follows.
    pub(crate) fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_one();
    }

    /// Messages and octets that wait.
    pub(crate) fn len(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.messages.len(), waiting.octets)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<(Arc<str>, Bytes)> {
        let (channel, payload) = self.messages.pop_front()?;
        self.octets -= payload.len() + CHARGE;
        debug_assert!(!self.messages.is_empty() || self.octets == 0, "what is charged waits");
        Some((channel, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rest(queue: &Queue) -> Vec<u8> {
        let mut tasks = Vec::new();
        queue.close();
        queue.take(&mut tasks, 1000).await;
        let first = |task| match task {
            Task::Publish(_, payload) => payload[0],
            Task::Subscribe(_) | Task::Unsubscribe(_) => 255,
        };
        tasks.into_iter().map(first).collect()
    }

    /// Past its bound, in messages or in octets, each policy drops what it says, and counts it.
    #[tokio::test]
    async fn a_full_queue_does_as_its_policy_says() {
        let cases = [
            (Overflow::DropOldest, Queued::Taken { dropped: 1 }, vec![1, 2]),
            (Overflow::DropNewest, Queued::Dropped, vec![0, 1]),
            (Overflow::Error, Queued::Refused, vec![0, 1]),
        ];
        for (overflow, outcome, left) in cases {
            for (octets, messages) in [(usize::MAX, 2), (2 * (100 + CHARGE), 10)] {
                let queue = Queue::new(Bounds { octets, messages, overflow });
                let channel = Arc::from("T");
                for number in 0..2 {
                    let payload = Bytes::from(vec![number; 100]);
                    assert_eq!(queue.message(&channel, payload), Queued::Taken { dropped: 0 });
                }
                assert_eq!(queue.message(&channel, Bytes::from(vec![2; 100])), outcome);
                assert_eq!(rest(&queue).await, left);
                assert_eq!(queue.len(), (0, 0));
            }
        }
    }

    /// A subscription does not wait behind messages, and a message of any size goes where none waits.
    #[tokio::test]
    async fn subscriptions_go_first() {
        let queue = Queue::new(Bounds { octets: 10, messages: 1, overflow: Overflow::Error });
        assert_eq!(queue.message(&Arc::from("T"), Bytes::from(vec![7; 1000])), Queued::Taken { dropped: 0 });
        queue.control(Task::Subscribe(Arc::from("T")));
        assert_eq!(rest(&queue).await, [255, 7]);
        let mut tasks = Vec::new();
        assert_eq!(queue.take(&mut tasks, 1).await, None);
    }
}
