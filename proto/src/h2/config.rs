//! Every limit, with its default and its reason.

use std::time::Duration;

use super::Role;
use crate::Rate;

/// The largest flow-control window, in octets (RFC 9113 §6.9.1).
pub(super) const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The window of a stream before any SETTINGS, and of the connection at its start, in octets (RFC 9113 §6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;
/// The smallest SETTINGS_MAX_FRAME_SIZE, in octets (RFC 9113 §6.5.2).
pub(super) const MIN_MAX_FRAME_SIZE: u32 = 1 << 14;
/// The largest SETTINGS_MAX_FRAME_SIZE, in octets (RFC 9113 §6.5.2).
pub(super) const MAX_MAX_FRAME_SIZE: u32 = (1 << 24) - 1;
/// The smallest window that a stream begins with, however many there may be: more than most messages take.
const MIN_WINDOW: u32 = 64;
/// What goes past a soft limit of header lists by this factor is an attack.
pub(super) const HARD_HEADER_FACTOR: u32 = 4;

/// The limits and choices of one [`Connection`](super::Connection).
///
/// What one connection can make its holder store is bounded by `max_unread` octets of unread DATA, `max_send_buffer` and some
/// 128 KiB of frames to send, one header block, 64 requests to be heard (256 KiB of their header lists and one more), and about
/// 80 octets for each stream.
///
/// A time that no clock can reach, such as [`Duration::MAX`], never ends.
///
/// ```
/// use sockeye_proto::h2::Config;
///
/// let config = Config::default().with(|config| config.max_concurrent_streams = 100_000);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Server: advertise SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3); a client never sends it. Default: true, it is
    /// what this crate is for.
    pub enable_connect_protocol: bool,
    /// Streams of the peer at once, and ours. Default: 100, what RFC 9113 §6.5.2 recommends at least; every WebSocket
    /// is a stream, so a server of many raises it (100,000 works). More are refused with REFUSED_STREAM.
    pub max_concurrent_streams: u32,
    /// Server: closed streams that the application has not [released](super::Stream::release). They are no streams of the
    /// peer's any more (RFC 9113 §5.1.2), but each may hold what it had received. Past it new streams are refused, which
    /// does not count as the peer's fault. Default: as many as `max_concurrent_streams`, and 100 at least: all of a page's
    /// sockets may end at once. Fewer than 2 count as 2.
    pub max_closed_streams: Option<u32>,
    /// Octets of DATA that were received and not read, of all streams together: the connection's receive window, 65,535 to
    /// 2³¹−1. Default: 2.25 MiB. All streams that there may be fit into it with their windows, so that none that is left unread
    /// stops another. A service whose peers have thousands of busy streams on a connection sets some KiB for each.
    pub max_unread: u32,
    /// Octets of each stream's receive window at its start, at most 2³¹−1. Default: 65,535, the protocol's own. It is less
    /// where `max_concurrent_streams` such windows and the pool do not fit into `max_unread`: 17 KiB for 100 streams, 1728
    /// octets for 1024, and 64 at least; not at a client, which opens the streams itself. A peer that sends as if it were not is
    /// at no fault.
    pub initial_window_size: u32,
    /// Octets that all receive windows together may grow beyond their initial size; a part of `max_unread`, at most half of it.
    /// Default: 576 KiB, enough for one upload at full speed over a long path beside a few smaller ones.
    pub window_pool: u32,
    /// Octets to which a receive window may grow, by doubling, for a reader that keeps up. Default: 1 MiB, some 80 Mbit/s
    /// over a path of 100 ms; of the default pool a window gets half of that.
    pub max_window_size: u32,
    /// Octets of payload of the largest frame taken, 2¹⁴ to 2²⁴−1. Default: 16,384, the smallest allowed: a larger frame
    /// only delays others.
    pub max_frame_size: u32,
    /// Octets of a header list: names, values and 32 for each field (RFC 9113 §10.5.1). The crumbs of a cookie are one
    /// field, with `"; "` between them (§8.2.3), but each takes 32 octets at least, so that nobody sends thousands. Default:
    /// 16 KiB. Past it a request is answered with 431, past four times it the connection ends.
    pub max_header_list_size: u32,
    /// Fields of a header list, all cookie crumbs of it being one (RFC 9113 §8.2.3): a browser may send as many crumbs as
    /// it has cookies, 180 or more. Default: 100. Past it as for the size.
    pub max_header_fields: u32,
    /// CONTINUATION frames of one header block. Default: 8, far beyond what 16 KiB of fields need.
    pub max_continuations: u32,
    /// Octets of the HPACK table that the peer may use for what it sends to us. Default: 4096, the protocol's own.
    pub max_hpack_len_decoder: u32,
    /// Octets of the HPACK table that we use at most for what we send. Default: 4096, the protocol's own.
    pub max_hpack_len_encoder: u32,
    /// Time to the peer's preface with its SETTINGS. Default: 10 s.
    pub preface_timeout: Duration,
    /// Time to the acknowledgement of our SETTINGS. Default: 10 s.
    pub settings_timeout: Duration,
    /// Time from HEADERS to END_HEADERS. Default: 10 s.
    pub header_timeout: Duration,
    /// Time for which a stream with data to send may be blocked, within which 16 KiB must go. Default: 60 s. Past it
    /// (within twice the time, as streams are looked at once in each period) the stream is reset with CANCEL.
    pub progress_timeout: Duration,
    /// Time without a stream after which the connection drains: a place that nobody uses is free for others. Between one
    /// and two times that long, since the release of the last stream. Default: none.
    pub idle_timeout: Option<Duration>,
    /// Silence of the peer after which a PING asks whether it is there. Default: none, a connection may be silent.
    pub keep_alive_interval: Option<Duration>,
    /// Time to the answer of that PING. Default: 20 s.
    pub keep_alive_timeout: Duration,
    /// Time for which [`Connection::drain`](super::Connection::drain) waits for the peer to have seen its first GOAWAY.
    /// Default: 2 s, some round trips of the slowest path.
    pub drain_timeout: Duration,
    /// Server, HTTP/1.1 alone: time for the response to a client that ended its half behind its request (RFC 9112 §9.6). Default:
    /// 1 s. It may read on, and nothing tells it from one that is gone until something is written.
    pub half_close_timeout: Duration,
    /// Octets of frames waiting for `poll_transmit`, from which on [`Stream::write`](super::Stream::write) takes nothing.
    /// Default: 256 KiB, which keeps the transport busy and a control frame's wait short. Of that, streams that wait for
    /// their turn are given 48 KiB.
    ///
    /// The last DATA frame may go 16 KiB past it. What answers the peer has 64 KiB of room beyond it, past which reading
    /// stops. Not bounded by it is what the application sends besides: responses, trailers, PINGs, and 13 octets of credit
    /// for each stream that it reads.
    pub max_send_buffer: usize,
    /// Streams reset by the peer before their answer had begun, and streams reset for the peer's faults. Default: a
    /// burst of 200, then 100 a second: a page that cancels as one types stays far below, a reset flood far above.
    pub resets: Rate,
    /// Tunnels in which the peer broke the protocol, as [`Connection::blame`](super::Connection::blame) says: WebSockets that broke a
    /// rule or a limit of RFC 6455. Default: a burst of 200, then 100 a second: all sockets of a page may fail at once, and
    /// again when it opens them anew, but who opens sockets to break them does so some thousand times a second.
    pub failed_tunnels: Rate,
    /// SETTINGS after the first. Default: a burst of 100, then 10 a second: peers that measure their path change their
    /// window a few times, and each change may cost a look at every stream.
    pub settings: Rate,
    /// Frames that do nothing: PRIORITY, unknown types, empty DATA, WINDOW_UPDATE on closed streams, GOAWAY after the
    /// first, informational responses. Default: a burst of 1000, then 33 a second; each header block makes up for two, each DATA frame sent for
    /// one.
    pub glitches: Rate,
    /// Octets received, divided by 8, may exceed useful ones (those of non-empty DATA frames both ways and of accepted
    /// header blocks) by this. Default: 1 MiB, then 1 KiB a second, which is far more than any keep-alive.
    pub overhead: Rate,
    /// Server: says the time, for the `Date` of responses that have none (RFC 9110 §6.6.1), as an IMF-fixdate in GMT (§5.6.7).
    /// Called once for each final response, refusals of our own included. Default: none, as RFC 9110 asks of a server
    /// without a clock.
    pub date: Option<fn() -> [u8; 29]>,
    /// Seeds the hash of stream numbers, so that nobody can choose colliding ones. Default: 0; give a random number.
    pub seed: u64,
}

impl Config {
    /// These limits with some changed: there may be more of them in later versions, so that they cannot be listed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enable_connect_protocol: true,
            max_concurrent_streams: 100,
            max_closed_streams: None,
            max_unread: 2304 << 10,
            initial_window_size: DEFAULT_WINDOW,
            window_pool: 576 << 10,
            max_window_size: 1 << 20,
            max_frame_size: MIN_MAX_FRAME_SIZE,
            max_header_list_size: 16 << 10,
            max_header_fields: 100,
            max_continuations: 8,
            max_hpack_len_decoder: 4096,
            max_hpack_len_encoder: 4096,
            preface_timeout: Duration::from_secs(10),
            settings_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(60),
            idle_timeout: None,
            keep_alive_interval: None,
            keep_alive_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(2),
            half_close_timeout: Duration::from_secs(1),
            max_send_buffer: 256 << 10,
            resets: Rate { burst: 200, per_second: 100 },
            failed_tunnels: Rate { burst: 200, per_second: 100 },
            settings: Rate { burst: 100, per_second: 10 },
            glitches: Rate { burst: 1000, per_second: 33 },
            overhead: Rate { burst: 1 << 20, per_second: 1 << 10 },
            date: None,
            seed: 0,
        }
    }
}

impl Config {
    /// The connection's receive window. Nothing takes away from what the protocol gives each connection.
    pub(super) fn connection_window(&self) -> u32 {
        self.max_unread.clamp(DEFAULT_WINDOW, MAX_WINDOW)
    }

    /// The window that each stream begins with. A client itself says how many there are.
    pub(super) fn initial_window(&self, role: Role) -> u32 {
        if role == Role::Client {
            return self.initial_window_size.min(MAX_WINDOW);
        }
        let all = self.connection_window() - self.fitting_window_pool();
        let fitting = (all / self.max_concurrent_streams.max(1)).max(MIN_WINDOW);
        self.initial_window_size.min(MAX_WINDOW).min(fitting)
    }

    /// [`window_pool`](Self::window_pool), as far as there is room for it.
    pub(super) fn fitting_window_pool(&self) -> u32 {
        self.window_pool.min(self.connection_window() / 2)
    }

    /// [`max_closed_streams`](Self::max_closed_streams), or its default.
    pub fn max_closed_streams(&self) -> usize {
        // One is about to be let go of, and one may wait.
        self.max_closed_streams.unwrap_or(self.max_concurrent_streams.max(100)).max(2) as usize
    }
}

/// How often each limit was met, and what counts towards one. Which rule or limit has ended the connection is said by
/// [`Event::Closed`](super::Event::Closed).
///
/// Most of them count what an honest peer is free to do as well, in moderation: it cancels requests, changes its window,
/// gives credit to streams that have just closed, opens one stream too many, sends two PINGs together, reads slowly. Not
/// so `connection_errors`, unless its path has failed, and `resets_for_faults` beyond `streams_refused`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Streams refused with REFUSED_STREAM.
    pub streams_refused: u64,
    /// Header lists past the limits, answered with 431 or a reset.
    pub header_lists_refused: u64,
    /// RST_STREAM received, whatever for.
    pub resets_received: u64,
    /// RST_STREAM sent for the peer's faults.
    pub resets_for_faults: u64,
    /// SETTINGS received after the first.
    pub settings_changes: u64,
    /// Frames that did nothing.
    pub glitches: u64,
    /// Times that reading stopped until answers had been sent.
    pub stops: u64,
    /// Streams reset because they were blocked for too long.
    pub streams_without_progress: u64,
    /// Drains of a connection that had no stream for too long: 0 or 1.
    pub idle_timeouts: u64,
    /// Connection errors of the peer, limits and times included: 0 or 1.
    pub connection_errors: u64,
}
