//! The streams that wait to write: first come, first served, and a batch for each output.

use std::collections::VecDeque;

use super::Output;
use crate::h2::StreamId;
use crate::h2::frame::QUANTUM;
use crate::h2::streams::{Entry, Streams, Wait};

/// Octets that the streams which wait for their turn may add to one output: three full frames. So large messages go out as
/// evenly as they come in and while the cache has them. What is written at once but goes out bit by bit, as under a congestion
/// control that paces, wakes the kernel for each bit.
const BATCH: usize = 3 * QUANTUM;
/// Queues are rid of released streams when they are twice as long as there are streams, and this longer.
pub(in crate::h2) const QUEUE_SLACK: usize = 64;

/// The streams whose `write` took less than it was offered.
#[derive(Default)]
pub(in crate::h2) struct Turns {
    /// Those that wait for their turn, with some that wait no more.
    queue: VecDeque<StreamId>,
    /// What the output held when the first of them got its turn, if one did.
    from: Option<usize>,
    /// No stream that waits for its window has a difference above this, `None` where none waits: a larger initial window
    /// needs to look at the streams only where this says that one could go on.
    max_waiting_difference: Option<i32>,
}

impl Turns {
    /// A stream has more to send: its turn will come, once its window allows it.
    pub(in crate::h2) fn wait(&mut self, id: StreamId, streams: &mut Streams, initial_window: u32) {
        let entry = streams.slot_mut(id.slot);
        if entry.wait() == Wait::None {
            self.queue_or_hold(id, entry, initial_window);
        }
        if self.queue.len() > 2 * streams.len() + QUEUE_SLACK {
            self.queue.retain(|&id| streams.get(id).is_some_and(|entry| entry.wait() == Wait::Turn));
        }
    }

    /// The window of a stream grew, for which it may have waited.
    pub(in crate::h2) fn handle_window_update(&mut self, id: StreamId, entry: &mut Entry, initial_window: u32) {
        if entry.wait() == Wait::Window {
            self.queue_or_hold(id, entry, initial_window);
        }
    }

    /// The peer's initial window may have grown (RFC 9113 §6.9.2): streams that wait for their window may go on, or there are
    /// none that do any more.
    #[inline]
    pub(in crate::h2) fn handle_initial_window(&mut self, streams: &mut Streams, initial_window: u32) {
        let may_go_on = |difference| i64::from(initial_window) + i64::from(difference) > 0;
        if self.max_waiting_difference.is_some_and(may_go_on) {
            self.look_at_waiting(streams, initial_window);
        }
    }

    fn look_at_waiting(&mut self, streams: &mut Streams, initial_window: u32) {
        self.max_waiting_difference = None;
        for (id, entry) in streams.iter_mut().filter(|(_, entry)| entry.wait() == Wait::Window) {
            self.queue_or_hold(id, entry, initial_window);
        }
    }

    fn queue_or_hold(&mut self, id: StreamId, entry: &mut Entry, initial_window: u32) {
        let window = entry.send_window();
        if window.available(initial_window) > 0 {
            entry.set_wait(Wait::Turn);
            self.queue.push_back(id);
        } else {
            entry.set_wait(Wait::Window);
            self.max_waiting_difference = self.max_waiting_difference.max(Some(window.difference()));
        }
    }

    /// The next stream that waits, as long as something could be written and the turns of this batch are not used up.
    pub(in crate::h2) fn next(&mut self, output: &Output, streams: &mut Streams) -> Option<StreamId> {
        // What others put there before is no reason to wait: it may be as much each time.
        let batch = self.from.map_or(0, |from| output.len().saturating_sub(from));
        if !output.may_send() || batch >= BATCH {
            return None;
        }
        while let Some(id) = self.queue.pop_front() {
            if let Some(entry) = streams.get_mut(id)
                && entry.wait() == Wait::Turn
            {
                entry.set_wait(Wait::None);
                self.from.get_or_insert(output.len());
                return Some(id);
            }
        }
        None
    }

    /// The output was handed over: a new batch begins.
    pub(in crate::h2) fn begin_batch(&mut self) {
        self.from = None;
    }

    /// Gives up room that is not used.
    pub(in crate::h2) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
    }

    /// `initial_window` is none on a connection that is closed, where nobody's turn comes.
    pub(in crate::h2) fn check(&self, streams: &Streams, initial_window: Option<u32>) {
        let is_next = |&id: &StreamId| streams.get(id).is_some_and(|entry| entry.wait() == Wait::Turn);
        let mut queued: Vec<_> = self.queue.iter().filter(|id| is_next(id)).map(|id| id.value()).collect();
        queued.sort_unstable();
        assert!(queued.windows(2).all(|pair| pair[0] != pair[1]), "a stream stands in the queue twice");
        let waiting = streams.iter().filter(|entry| entry.wait() == Wait::Turn).count();
        assert_eq!(queued.len(), waiting, "a stream waits for a turn that does not come");
        let Some(initial_window) = initial_window else { return };
        for entry in streams.iter().filter(|entry| entry.wait() == Wait::Window) {
            let window = entry.send_window();
            assert!(window.available(initial_window) <= 0, "a stream waits for a window that is open");
            assert!(Some(window.difference()) <= self.max_waiting_difference, "a stream waits and is not looked for");
        }
    }
}
