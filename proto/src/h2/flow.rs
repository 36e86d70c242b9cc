//! Flow-control windows (RFC 9113 §5.2, §6.9).
//!
//! Both the windows of the streams and the connection's are credited when the application reads. What all streams may hold
//! together fits into the connection's window, so that those that nobody reads stop no sibling: where there may be many, the
//! window that each begins with is smaller, and grows for a reader that keeps up. The connection's window is what bounds
//! memory, whatever the peer does.

use super::config::{Config, DEFAULT_WINDOW, MAX_WINDOW};

/// A window that its reader empties by half within this time, in milliseconds, is too small for its peer: it doubles.
const GROWTH_MILLISECONDS: u32 = 250;
/// The same of a window below the protocol's own: that is soon empty on the slowest path.
const SMALL_GROWTH_MILLISECONDS: u32 = 2000;

/// What we may still send on a stream, kept relative to the peer's SETTINGS_INITIAL_WINDOW_SIZE, so that a change of
/// that costs nothing here (RFC 9113 §6.9.2).
#[derive(Clone, Copy, Default)]
pub(super) struct SendWindow {
    /// WINDOW_UPDATEs received, less octets sent. Both ends fit: the window is never above 2³¹−1, and we send only from
    /// a window above 0.
    difference: i32,
}

impl SendWindow {
    /// Octets that may be sent: negative after a decrease of the initial window.
    #[inline]
    pub(super) fn available(self, initial: u32) -> i64 {
        i64::from(initial) + i64::from(self.difference)
    }

    #[inline]
    pub(super) fn consume(&mut self, octets: u32) {
        self.difference -= octets as i32;
    }

    /// Takes a WINDOW_UPDATE; false where the window would pass 2³¹−1 (RFC 9113 §6.9.1).
    pub(super) fn update(&mut self, increment: u32, initial: u32) -> bool {
        let fits = self.available(initial) + i64::from(increment) <= i64::from(MAX_WINDOW);
        if fits {
            self.difference = (i64::from(self.difference) + i64::from(increment)) as i32;
        }
        fits
    }

    pub(super) fn difference(self) -> i32 {
        self.difference
    }
}

/// What the peer may still send on a stream.
pub(super) struct RecvWindow {
    /// Octets the peer may send: negative after our own decrease of the initial window (RFC 9113 §6.9.2).
    credit: i32,
    /// Octets of the whole window.
    size: u32,
    /// Octets read and not yet credited.
    returned: u32,
    /// Octets taken and not yet read. Checks alone need it, and there are millions of streams.
    #[cfg(debug_assertions)]
    taken: u32,
    /// When credit was last given, in milliseconds of the connection's life.
    updated_at: u32,
}

impl RecvWindow {
    pub(super) fn new(credit: u32, size: u32) -> Self {
        Self {
            credit: credit as i32,
            size,
            returned: 0,
            #[cfg(debug_assertions)]
            taken: 0,
            updated_at: 0,
        }
    }

    /// Takes the octets of a DATA frame, its padding included; false where the window does not allow them, nor so many more.
    #[inline]
    pub(super) fn receive(&mut self, octets: usize, more: u32) -> bool {
        let fits = octets as i64 <= i64::from(self.credit) + i64::from(more);
        if fits {
            self.credit -= octets as i32;
        }
        fits
    }

    /// Books octets that are to be read elsewhere.
    #[inline]
    pub(super) fn take(&mut self, octets: usize) {
        #[cfg(debug_assertions)]
        {
            self.taken += octets as u32;
        }
        let _ = octets;
    }

    /// Books that so many of them were read.
    #[inline]
    pub(super) fn return_taken(&mut self, octets: usize) {
        #[cfg(debug_assertions)]
        {
            assert!(octets <= self.taken as usize, "what is credited was taken");
            self.taken -= octets as u32;
        }
        let _ = octets;
    }

    /// Gives back what was read. Returns the WINDOW_UPDATE to send, once half of the window has gathered.
    #[inline]
    pub(super) fn give_back(
        &mut self,
        octets: usize,
        pool: &mut WindowPool,
        clock: impl FnOnce() -> u32,
    ) -> Option<u32> {
        self.returned += octets as u32;
        if self.returned == 0 || self.returned < self.size / 2 {
            return None;
        }
        let now = clock();
        let is_small = self.size < DEFAULT_WINDOW;
        let quick = if is_small { SMALL_GROWTH_MILLISECONDS } else { GROWTH_MILLISECONDS };
        let growth = if now.wrapping_sub(self.updated_at) < quick { pool.take(self.size) } else { 0 };
        let increment = self.returned + growth;
        self.size += growth;
        self.credit += increment as i32;
        self.returned = 0;
        self.updated_at = now;
        Some(increment)
    }

    /// Our decrease of the initial window was acknowledged.
    pub(super) fn decrease(&mut self, octets: u32) {
        self.credit -= octets as i32;
    }

    pub(super) fn credit(&self) -> i32 {
        self.credit
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// Octets read and not yet credited.
    pub(super) fn returned(&self) -> u32 {
        self.returned
    }

    /// Octets taken and not yet read, where that is known.
    pub(super) fn taken(&self) -> Option<u32> {
        #[cfg(debug_assertions)]
        let taken = Some(self.taken);
        #[cfg(not(debug_assertions))]
        let taken = None;
        taken
    }
}

/// What the peer may still send on the connection, all streams together.
pub(super) struct ConnectionWindow {
    credit: u32,
    size: u32,
    /// Octets read, or of no stream, and not yet credited.
    returned: u32,
}

impl ConnectionWindow {
    /// Beside it, the WINDOW_UPDATE to begin with.
    pub(super) fn new(config: &Config) -> (Self, u32) {
        let size = config.connection_window();
        (Self { credit: size, size, returned: 0 }, size - DEFAULT_WINDOW)
    }

    /// Takes the octets of a DATA frame, its padding included; false where the window does not allow them.
    #[inline]
    pub(super) fn receive(&mut self, octets: usize) -> bool {
        let fits = octets as u64 <= u64::from(self.credit);
        if fits {
            self.credit -= octets as u32;
        }
        fits
    }

    /// Gives back what was read. Returns the WINDOW_UPDATE to send, once as much has gathered as the peer has credit left: half
    /// of what the window has beyond that which nobody reads.
    #[inline]
    pub(super) fn give_back(&mut self, octets: usize) -> Option<u32> {
        self.returned += octets as u32;
        if self.returned == 0 || self.returned < self.credit {
            return None;
        }
        self.credit += self.returned;
        Some(std::mem::take(&mut self.returned))
    }

    /// `unread` are the octets that streams hold.
    pub(super) fn check(&self, unread: u64) {
        let sum = u64::from(self.credit) + u64::from(self.returned) + unread;
        assert_eq!(sum, u64::from(self.size), "octets of the connection's window are lost or made");
    }
}

/// The octets by which all receive windows of a connection together may grow.
pub(super) struct WindowPool {
    left: u32,
    whole: u32,
    initial: u32,
    max_window_size: u32,
}

impl WindowPool {
    pub(super) fn new(config: &Config, initial: u32) -> Self {
        Self {
            left: config.fitting_window_pool(),
            whole: config.fitting_window_pool(),
            initial,
            max_window_size: config.max_window_size.min(MAX_WINDOW),
        }
    }

    /// The growth granted to a window of this size: double, the largest size, or nothing.
    fn take(&mut self, size: u32) -> u32 {
        let growth = size.min(self.max_window_size.saturating_sub(size));
        if growth > self.left {
            return 0;
        }
        self.left -= growth;
        growth
    }

    /// A window is gone.
    pub(super) fn put_back(&mut self, window: &RecvWindow) {
        self.left += self.growth(window);
        debug_assert!(self.left <= self.whole, "a window gives back what it was given");
    }

    /// What a window has of the pool.
    pub(super) fn growth(&self, window: &RecvWindow) -> u32 {
        debug_assert!(window.size() >= self.initial, "a window never shrinks below its first size");
        window.size() - self.initial
    }

    /// All windows together have grown by so many octets.
    pub(super) fn check(&self, growth: u32) {
        assert_eq!(self.left + growth, self.whole, "octets of the pool are lost or made");
    }
}
