//! What waits to be given to the backplane. Whoever adds to it never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::envelope::Aging;

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
    Publish(Arc<str>, Aging),
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
    /// Subscriptions and markers, which go first and in their order; what ends a subscription waits as well, once for each.
    control: VecDeque<Task>,
    messages: VecDeque<(Arc<str>, Aging)>,
    octets: usize,
    is_closed: bool,
}

/// What is charged for a message beside its octets: its place in the queue.
const CHARGE: usize = size_of::<(Arc<str>, Aging)>();

/// Control that may wait before a question is left out: the backplane takes it all at once, or is down.
const MAX_ASKED: usize = 1024;

/// Control that may wait before a subscription has to be asked for later: while the backplane is down joins come again and again.
const MAX_CONTROL: usize = 65_536;

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
        let (mut waiting, mut dropped) = (self.waiting(), 0);
        while waiting.is_full(&self.bounds, payload.len()) {
            match self.bounds.overflow {
                Overflow::Error => return Queued::Refused,
                Overflow::DropNewest => return Queued::Dropped,
                Overflow::DropOldest => {
                    waiting.pop();
                    dropped += 1;
                }
            }
        }
        waiting.push(channel, payload);
        drop(waiting);
        self.changed.notify_one();
        Queued::Taken { dropped }
    }

    /// What a node tells of itself goes among the messages, and none is dropped for it. Whether there was room.
    pub(crate) fn note(&self, channel: &Arc<str>, payload: Bytes) -> bool {
        let mut waiting = self.waiting();
        if waiting.is_full(&self.bounds, payload.len()) {
            return false;
        }
        waiting.push(channel, payload);
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// Asks for a subscription, with the marker behind it. Whether there was room.
    pub(crate) fn subscribe(&self, channel: &Arc<str>, marker: Bytes) -> bool {
        let mut waiting = self.waiting();
        if waiting.control.len() >= MAX_CONTROL {
            return false;
        }
        let marker = Task::Publish(channel.clone(), Aging::new(marker));
        waiting.control.extend([Task::Subscribe(channel.clone()), marker]);
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// A question that anybody may have asked goes among the control, unless that waits as it is.
    pub(crate) fn ask(&self, channel: &Arc<str>, payload: Bytes) {
        let mut waiting = self.waiting();
        if waiting.control.len() < MAX_ASKED {
            waiting.control.push_back(Task::Publish(channel.clone(), Aging::new(payload)));
            drop(waiting);
            self.changed.notify_one();
        }
    }

    /// Waits for something to do. None once the hub is gone and all is done.
    pub(crate) async fn wait(&self) -> Option<()> {
        loop {
            {
                let waiting = self.waiting();
                if !waiting.control.is_empty() || !waiting.messages.is_empty() {
                    return Some(());
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Takes up to so much of what there is to do.
    pub(crate) fn take(&self, tasks: &mut Vec<Task>, max: usize) {
        let mut waiting = self.waiting();
        while tasks.len() < max {
            let next = waiting.control.pop_front();
            match next.or_else(|| waiting.pop().map(|(channel, payload)| Task::Publish(channel, payload))) {
                Some(task) => tasks.push(task),
                None => break,
            }
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
    /// Whether a message of so many octets has no room: one of any size has where no other waits.
    fn is_full(&self, bounds: &Bounds, len: usize) -> bool {
        let has_no_octets = self.octets + len + CHARGE > bounds.octets;
        !self.messages.is_empty() && (has_no_octets || self.messages.len() >= bounds.messages)
    }

    fn push(&mut self, channel: &Arc<str>, payload: Bytes) {
        self.octets += payload.len() + CHARGE;
        self.messages.push_back((channel.clone(), Aging::new(payload)));
    }

    fn pop(&mut self) -> Option<(Arc<str>, Aging)> {
        let (channel, payload) = self.messages.pop_front()?;
        self.octets -= payload.len() + CHARGE;
        debug_assert!(!self.messages.is_empty() || self.octets == 0, "what is charged waits");
        Some((channel, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(queue: &Queue) -> Vec<u8> {
        let mut tasks = Vec::new();
        queue.close();
        queue.take(&mut tasks, 1000);
        let first = |task| match task {
            Task::Publish(_, mut payload) => payload.encoded()[0],
            Task::Subscribe(_) | Task::Unsubscribe(_) => 255,
        };
        tasks.into_iter().map(first).collect()
    }

    /// Past its bound, in messages or in octets, each policy drops what it says, and counts it.
    #[test]
    fn a_full_queue_does_as_its_policy_says() {
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
                assert_eq!(rest(&queue), left);
                assert_eq!(queue.len(), (0, 0));
            }
        }
    }

    /// Joins that come again and again while nothing is taken have a bound, and none that was asked for is forgotten to be ended.
    #[test]
    fn subscriptions_that_wait_are_bounded() {
        let queue = Queue::new(Bounds { octets: 10, messages: 1, overflow: Overflow::Error });
        let mut asked = 0;
        for number in 0..MAX_CONTROL {
            let channel = Arc::from(number.to_string());
            if queue.subscribe(&channel, Bytes::from_static(b"m")) {
                queue.control(Task::Unsubscribe(channel));
                asked += 1;
            }
        }
        assert_eq!(asked, MAX_CONTROL.div_ceil(3));
        assert_eq!(queue.waiting().control.len(), 3 * asked);
    }

    /// What a node tells of itself costs no message its place, whatever the policy.
    #[test]
    fn a_note_drops_no_message() {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Error] {
            let queue = Queue::new(Bounds { octets: 1000, messages: 1, overflow });
            let channel = Arc::from("T");
            assert!(queue.note(&channel, Bytes::from_static(&[1])));
            assert!(!queue.note(&channel, Bytes::from_static(&[2])));
            assert_eq!(rest(&queue), [1]);
        }
    }

    /// A subscription does not wait behind messages, and a message of any size goes where none waits.
    #[tokio::test]
    async fn subscriptions_go_first() {
        let queue = Queue::new(Bounds { octets: 10, messages: 1, overflow: Overflow::Error });
        assert_eq!(queue.message(&Arc::from("T"), Bytes::from(vec![7; 1000])), Queued::Taken { dropped: 0 });
        queue.control(Task::Subscribe(Arc::from("T")));
        assert_eq!(rest(&queue), [255, 7]);
        assert_eq!(queue.wait().await, None);
    }
}
