//! Who waits for a stream, and who is to be woken once no lock is held.

use std::mem;
use std::task::Waker;

use super::StreamState;

/// Whoever looks at a stream and may have to wait.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    /// The handler that the connection polls for this stream. It is woken by a flag, without counting references.
    Handler,
    /// Another task.
    Task(&'a Waker),
}

/// Who waits for one half of a stream.
#[derive(Default)]
pub(in crate::engine::stream) enum Waiter {
    #[default]
    Nobody,
    Handler,
    Task(Waker),
}

/// What waits and takes no waker.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Wait {
    HandlerReceives = 1,
    /// The receiver, whoever it is, waits for the end of what comes, and takes no octets before.
    ForEndAlone = 2,
    HandlerSends = 4,
    /// The receiver has an answer that found no room.
    Answers = 8,
    /// The connection keeps octets that have come, since the inbox [takes none](StreamState::takes_octets).
    HeldBack = 16,
    /// The peer could send no more, as octets came last, than it was yet to get [credit](StreamState::uncredited) for.
    Peer = 32,
}

/// Those that wait: a bit for each, since there are so many streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct WhoWaits(u8);

impl WhoWaits {
    #[inline]
    pub(super) fn has(self, wait: Wait) -> bool {
        self.0 & wait as u8 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, wait: Wait, waits: bool) {
        self.0 = self.0 & !(wait as u8) | if waits { wait as u8 } else { 0 };
    }

    /// Whether it waited: it does no more.
    #[inline]
    pub(super) fn take(&mut self, wait: Wait) -> bool {
        let waited = self.has(wait);
        self.0 &= !(wait as u8);
        waited
    }
}

/// Whether whoever makes what is sent has to wait before it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    #[default]
    Nobodys,
    /// The sender waits, with nothing made.
    Awaited,
    /// The connection has let it go on.
    Given,
}

impl StreamState {
    pub(super) fn put_receiver(&mut self, who: Who<'_>) {
        match (who, &mut self.receiver) {
            (Who::Task(waker), Some(before)) => before.clone_from(waker),
            (Who::Task(waker), none) => *none = Some(waker.clone()),
            (Who::Handler, before) => *before = None,
        }
        self.waits.set(Wait::HandlerReceives, matches!(who, Who::Handler));
        self.waits.set(Wait::ForEndAlone, false);
    }

    /// Whether somebody waits for octets, and not for room to answer what the inbox holds.
    #[inline]
    pub(super) fn awaits_octets(&self) -> bool {
        let waits = self.waits.has(Wait::HandlerReceives) || self.receiver.is_some();
        waits && !self.waits.has(Wait::ForEndAlone) && self.inbox.is_empty()
    }

    /// Whether octets go into the inbox: not where whoever is to read them waits to send.
    pub(super) fn takes_octets(&self) -> bool {
        self.awaits_octets() || self.inbox.is_empty() && self.waits().octets == 0
    }

    pub(super) fn take_receiver(&mut self) -> Waiter {
        match self.receiver.take() {
            _ if self.waits.take(Wait::HandlerReceives) => Waiter::Handler,
            Some(waker) => Waiter::Task(waker),
            None => Waiter::Nobody,
        }
    }

    /// Most senders never wait, so that their waker is a rare thing.
    pub(in crate::engine::stream) fn put_sender(&mut self, who: Who<'_>) {
        self.waits.set(Wait::HandlerSends, matches!(who, Who::Handler));
        match who {
            Who::Handler => drop(self.take_rare(|rare| rare.sender.take())),
            Who::Task(waker) => match &mut self.rare().sender {
                Some(before) => before.clone_from(waker),
                none => *none = Some(waker.clone()),
            },
        }
    }

    pub(super) fn take_sender(&mut self) -> Waiter {
        if self.waits.take(Wait::HandlerSends) {
            return Waiter::Handler;
        }
        self.take_rare(|rare| rare.sender.take()).map_or(Waiter::Nobody, Waiter::Task)
    }

    /// Whether the sender may make what it sends next, since the connection has let it. Otherwise it waits for that.
    pub(in crate::engine::stream) fn take_turn(&mut self, who: Who<'_>) -> bool {
        if self.take_rare(|rare| (mem::take(&mut rare.turn) == Turn::Given).then_some(())).is_some() {
            return true;
        }
        self.put_sender(who);
        self.rare().turn = Turn::Awaited;
        false
    }

    pub(super) fn awaits_turn(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.turn == Turn::Awaited)
    }

    pub(super) fn give_turn(&mut self) {
        self.rare().turn = Turn::Given;
    }

    /// The receiver has an answer, which finds room or waits for some.
    pub(in crate::engine::stream) fn put_answerer(&mut self, who: Who<'_>, has_room: bool) {
        self.waits.set(Wait::Answers, !has_room);
        if !has_room {
            self.put_receiver(who);
        }
    }

    pub(super) fn take_watcher(&mut self) -> Option<Waker> {
        self.take_rare(|rare| rare.watcher.take())
    }
}

/// Who is to be woken by [`StreamCell::wake`](crate::engine::stream::StreamCell::wake), once no lock is held.
#[derive(Default)]
#[must_use = "whoever waits is to be woken"]
pub(crate) struct Waiting {
    pub(in crate::engine::stream) sender: Waiter,
    pub(in crate::engine::stream) receiver: Waiter,
    /// Who waits for the end of the stream.
    pub(in crate::engine::stream) watcher: Option<Waker>,
}
