//! What a peer may do on a connection of HTTP/2, and how large the head of a request may be.

use std::time::Duration;

use sockeye_proto::Rate;

use super::Limits;

impl Limits {
    /// Streams of HTTP/2 at once; every WebSocket and every request is one. A server has 100 by default, which is what RFC 9113
    /// §6.5.2 recommends at least, and 100,000 work: more are refused with REFUSED_STREAM. A client opens as many as its server
    /// allows.
    #[must_use]
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.choices.max_concurrent_streams = Some(streams);
        self
    }

    /// Server: closed streams whose handler goes on. They are no streams of the peer's any more (RFC 9113 §5.1.2), but each may
    /// hold what it had received. Past it new streams are refused, and the oldest handler is dropped. By default as many as
    /// there may be streams, and 100 at least: all of a page's sockets may end at once. Fewer than 2 count as 2.
    #[must_use]
    pub fn max_closed_streams(mut self, streams: u32) -> Self {
        self.http2.max_closed_streams = Some(streams);
        self
    }

    /// Octets that were received and not read, of all streams of a connection of HTTP/2 together: the connection's receive
    /// window (RFC 9113 §6.9), 65,535 to 2³¹−1. A server has 2.25 MiB by default and a client 16 MiB.
    ///
    /// All streams that a server may have fit into it with their windows, so that none that is left unread stops another. A
    /// service whose peers have thousands of busy streams on a connection sets some KiB for each.
    #[must_use]
    pub fn max_unread(mut self, octets: u32) -> Self {
        self.choices.max_unread = Some(octets);
        self
    }

    /// Octets of each stream's receive window at its start, at most 2³¹−1; 65,535 by default, the protocol's own. A server
    /// gives less where [`max_concurrent_streams`](Self::max_concurrent_streams) such windows and the pool do not fit into
    /// [`max_unread`](Self::max_unread): 17 KiB for 100 streams, 1728 octets for 1024, and 64 at least.
    #[must_use]
    pub fn initial_window_size(mut self, octets: u32) -> Self {
        self.http2.initial_window_size = octets;
        self
    }

    /// Octets that all receive windows of a connection together may grow beyond their initial size; a part of
    /// [`max_unread`](Self::max_unread), at most half of it. A server has 576 KiB by default, enough for one upload at full
    /// speed over a long path beside a few smaller ones, and a client 1.5 MiB.
    #[must_use]
    pub fn window_pool(mut self, octets: u32) -> Self {
        self.choices.window_pool = Some(octets);
        self
    }

    /// Octets to which a receive window may grow, by doubling, for a reader that keeps up; 1 MiB by default, some 80 Mbit/s
    /// over a path of 100 ms.
    #[must_use]
    pub fn max_window_size(mut self, octets: u32) -> Self {
        self.http2.max_window_size = octets;
        self
    }

    /// Octets of payload of the largest frame of HTTP/2 taken, 2¹⁴ to 2²⁴−1; 16,384 by default, the smallest allowed: a
    /// larger frame only delays others.
    #[must_use]
    pub fn max_frame_size(mut self, octets: u32) -> Self {
        self.http2.max_frame_size = octets;
        self
    }

    /// Octets of a header list: names, values and 32 for each field (RFC 9113 §10.5.1); 16 KiB by default, over every version
    /// of HTTP. Past it a request is answered with 431 (RFC 6585 §5), and past four times it a connection of HTTP/2 ends.
    #[must_use]
    pub fn max_header_list_size(mut self, octets: u32) -> Self {
        self.http2.max_header_list_size = octets;
        self
    }

    /// Fields of a header list; 100 by default, over every version of HTTP. Over HTTP/2 all crumbs of a cookie are one field
    /// (RFC 9113 §8.2.3). Past it as for [the size](Self::max_header_list_size).
    #[must_use]
    pub fn max_header_fields(mut self, fields: u32) -> Self {
        self.http2.max_header_fields = fields;
        self
    }

    /// CONTINUATION frames of one header block (RFC 9113 §6.10); 8 by default, far beyond what 16 KiB of fields need. Past it
    /// the connection ends with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn max_continuations(mut self, frames: u32) -> Self {
        self.http2.max_continuations = frames;
        self
    }

    /// Octets of the HPACK table (RFC 7541 §4.2) that the peer may use for what it sends to us; 4096 by default, the protocol's
    /// own.
    #[must_use]
    pub fn max_hpack_len_decoder(mut self, octets: u32) -> Self {
        self.http2.max_hpack_len_decoder = octets;
        self
    }

    /// Octets of the HPACK table (RFC 7541 §4.2) that we use at most for what we send; 4096 by default, the protocol's own.
    #[must_use]
    pub fn max_hpack_len_encoder(mut self, octets: u32) -> Self {
        self.http2.max_hpack_len_encoder = octets;
        self
    }

    /// Octets of HTTP/2 frames that are made up before the transport has taken those before them; 256 KiB by default, which
    /// keeps a transport busy and the wait of a control frame short.
    #[must_use]
    pub fn max_send_buffer(mut self, octets: usize) -> Self {
        self.http2.max_send_buffer = octets;
        self
    }

    /// Server: whether the extended CONNECT is offered (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441 §3), without which no
    /// WebSocket opens over HTTP/2; true by default.
    #[must_use]
    pub fn enable_connect_protocol(mut self, is_enabled: bool) -> Self {
        self.http2.enable_connect_protocol = is_enabled;
        self
    }

    /// Says the time, for the `Date` of responses that have none (RFC 9110 §6.6.1), as an IMF-fixdate in GMT (§5.6.7); the
    /// system's clock by default. It is called once for each final response.
    #[must_use]
    pub fn date(mut self, clock: fn() -> [u8; 29]) -> Self {
        self.http2.date = Some(clock);
        self
    }

    /// Time to the acknowledgement of our SETTINGS (RFC 9113 §6.5.3); 10 seconds by default. Past it the connection ends with
    /// SETTINGS_TIMEOUT.
    #[must_use]
    pub fn settings_timeout(mut self, time: Duration) -> Self {
        self.http2.settings_timeout = time;
        self
    }

    /// Time from the HEADERS of a header block to its END_HEADERS (RFC 9113 §4.3); 10 seconds by default. Past it the
    /// connection ends with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn header_timeout(mut self, time: Duration) -> Self {
        self.http2.header_timeout = time;
        self
    }

    /// Time for which a stream of HTTP/2 with data to send may be blocked, within which 16 KiB must go; 60 seconds by default,
    /// and at most twice as long. Then the stream is reset with CANCEL.
    #[must_use]
    pub fn progress_timeout(mut self, time: Duration) -> Self {
        self.http2.progress_timeout = time;
        self
    }

    /// Time that a connection of HTTP/2 that drains gives its peer to have seen the first GOAWAY (RFC 9113 §6.8); 2 seconds by
    /// default, some round trips of the slowest path.
    #[must_use]
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.http2.drain_timeout = time;
        self
    }

    /// Asks a silent peer of HTTP/2 by PING after `interval`, and gives it up `timeout` later (RFC 9113 §6.7). Off by default.
    ///
    /// A PING asks whoever the connection is with, such as a proxy or a browser, and passes neither: it finds connections
    /// that are dead. Whether a WebSocket still has somebody at its other end only [`ping`](Self::ping) finds out.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.http2.keep_alive_interval = Some(interval);
        self.http2.keep_alive_timeout = timeout;
        self
    }

    /// RST_STREAM of the peer's before the answer of their stream had begun, and streams reset for the peer's faults; 200 at
    /// once, then 100 a second by default. A page that cancels as one types stays far below, a reset flood far above. Past it
    /// the connection ends with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn resets(mut self, rate: Rate) -> Self {
        self.http2.resets = rate;
        self
    }

    /// WebSockets of a connection of HTTP/2 that broke RFC 6455 or a limit of theirs; 200 at once, then 100 a second by default:
    /// all sockets of a page may fail at once, and again when it opens them anew. Past it the connection ends with
    /// ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn failed_tunnels(mut self, rate: Rate) -> Self {
        self.http2.failed_tunnels = rate;
        self
    }

    /// SETTINGS after the first; 100 at once, then 10 a second by default, since each may cost a look at every stream. Past it
    /// the connection ends with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn settings(mut self, rate: Rate) -> Self {
        self.http2.settings = rate;
        self
    }

    /// Frames of HTTP/2 that do nothing: PRIORITY, unknown types, empty DATA, WINDOW_UPDATE on closed streams, GOAWAY after the
    /// first, informational responses; 1000 at once, then 33 a second by default. Each header block makes up for two of them, and
    /// each DATA frame sent for one. Past it the connection ends with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn glitches(mut self, rate: Rate) -> Self {
        self.http2.glitches = rate;
        self
    }

    /// Octets by which those received over HTTP/2, divided by 8, may exceed useful ones (those of DATA both ways and of
    /// accepted header blocks); 1 MiB at once, then 1 KiB a second by default, which is far more than any keep-alive. Past it
    /// the connection ends with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn overhead(mut self, rate: Rate) -> Self {
        self.http2.overhead = rate;
        self
    }
}
