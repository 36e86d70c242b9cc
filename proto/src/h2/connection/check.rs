//! The sums that all verbs leave right.

use super::Connection;

impl Connection {
    /// Looks at everything that the parts promise each other, which takes a look at each stream: for tests.
    ///
    /// # Panics
    ///
    /// Where a promise is broken, which is a mistake of this crate.
    #[doc(hidden)]
    pub fn check(&self) {
        let is_open = !self.life.is_closed();
        self.events.check(!is_open);
        self.output.check(is_open.then(|| self.streams.unread()));
        self.streams.check(is_open);
        self.turns.check(&self.streams, is_open.then(|| self.peer.initial_window()));
        if is_open {
            let is_watched = |id| self.streams.get(id).map(|entry| entry.is_watched());
            self.timers.check(self.input.has_partial_block(), self.peer.has_acknowledged(), is_watched);
        }
    }
}
