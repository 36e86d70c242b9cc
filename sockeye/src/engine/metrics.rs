//! What the server counts: every limit that was met, and what is open now.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters once: the enum, all of it, and the names.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// How often something happened that a limit or a policy is about.
        ///
        /// Limits stand far above what honest peers do, so one that is met says that somebody is at fault, or that the
        /// limit is too low for what is served. Others count what happens to honest peers too: the totals, and what
        /// people and networks do, such as a page that cancels its requests
        /// ([`ResetsReceived`](Self::ResetsReceived)), a network that goes away
        /// ([`CloseTimeouts`](Self::CloseTimeouts)) or a client that does not trust the certificate
        /// ([`TlsFailures`](Self::TlsFailures)).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Counter {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Counter {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in snake case, as in the JSON of `/stats`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What is counted, in a sentence or two.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

counters! {
    /// Connections that have said what they speak, after TLS where there is some.
    Connections => "connections",
    /// Requests answered, WebSockets included.
    Requests => "requests",
    /// WebSockets opened.
    WebSockets => "web_sockets",
    /// WebSockets that were open and are no more.
    WebSocketsClosed => "web_sockets_closed",
    /// Connections refused past the limit of all.
    ConnectionsRefused => "connections_refused",
    /// Connections refused past the limit of one address.
    ConnectionsRefusedByAddress => "connections_refused_by_address",
    /// Connections that left a place which was kept for those of their address, to a later one.
    ConnectionsDisplaced => "connections_displaced",
    /// Times that a listener could not accept a connection, for want of descriptors or memory.
    AcceptErrors => "accept_errors",
    /// Connections closed since they did not finish TLS, say what they speak or send the head of their first request in time.
    HandshakeTimeouts => "handshake_timeouts",
    /// TLS handshakes that failed.
    TlsFailures => "tls_failures",
    /// Secure connections ended for records without content.
    TlsFloods => "tls_floods",
    /// WebSocket handshakes refused for their shape.
    HandshakesRefused => "handshakes_refused",
    /// WebSocket handshakes refused for their origin.
    OriginsRefused => "origins_refused",
    /// WebSockets failed for breaking a rule of RFC 6455.
    WebSocketViolations => "web_socket_violations",
    /// WebSockets failed for a message, or its fragments, past the limit (1009).
    MessagesTooBig => "messages_too_big",
    /// WebSockets failed for too many pings (1008).
    PingFloods => "ping_floods",
    /// Times that an unfinished message had to wait for others of its connection.
    UnfinishedMessagesWaited => "unfinished_messages_waited",
    /// WebSockets failed for an unfinished message that did not go on while others waited for its room (1008).
    UnfinishedMessagesGivenUp => "unfinished_messages_given_up",
    /// WebSockets failed for messages that decompressed to far more than came (1008).
    InflationFloods => "inflation_floods",
    /// Messages to groups that a member missed since its peer did not read.
    GroupMessagesMissed => "group_messages_missed",
    /// WebSockets failed since their peer did not read what a group had sent (1013), where the group has it so.
    SlowMembersClosed => "slow_members_closed",
    /// WebSockets reset since their peer did not end its half in time after ours.
    CloseTimeouts => "close_timeouts",
    /// Handlers dropped since they outlived their WebSocket's stream for too long, or too many did.
    HandlersDropped => "handlers_dropped",
    /// Streams reset since their peer left more unread than may wait for a connection.
    UnreadStreamsReset => "unread_streams_reset",
    /// Connections whose peer went on sending after their end, past the limit, and was not read to its end.
    LingersGivenUp => "lingers_given_up",
    /// Connections cut off since they took too little of what there was to write.
    WriteTimeouts => "write_timeouts",
    /// WebSockets failed (1008), and requests given up, since too little came of a message or of content that had begun.
    ReceiveTimeouts => "receive_timeouts",
    /// Connections ended that had neither a request nor a WebSocket for too long.
    IdleTimeouts => "idle_timeouts",
    /// HTTP/1.1: requests given up whose client had ended its half, or was gone, before the answer was there.
    HalfCloseTimeouts => "half_close_timeouts",
    /// Times that a connection's task blocked its thread for longer than the watchdog allows.
    BlockedThreads => "blocked_threads",
    /// WebSockets given up since a Ping of the keep-alive was not answered.
    PingTimeouts => "ping_timeouts",
    /// Handlers and services that panicked.
    Panics => "panics",
    /// HTTP/2: streams refused past the limit of concurrent ones.
    StreamsRefused => "streams_refused",
    /// HTTP/2: streams refused, or reset for their trailers, since the heads that their connection holds take too much memory.
    HeadsRefused => "heads_refused",
    /// Header lists past their limits.
    HeaderListsRefused => "header_lists_refused",
    /// HTTP/2: RST_STREAM received.
    ResetsReceived => "resets_received",
    /// HTTP/2: streams reset for a fault of the peer.
    ResetsForFaults => "resets_for_faults",
    /// HTTP/2: SETTINGS after a connection's first.
    SettingsChanges => "settings_changes",
    /// HTTP/2: frames without effect.
    Glitches => "glitches",
    /// HTTP/2: times that reading stopped until acknowledgements had gone out.
    ReadingStopped => "reading_stopped",
    /// HTTP/2: streams reset since they took nothing for too long.
    StreamsWithoutProgress => "streams_without_progress",
    /// HTTP/2: connections ended for a fault of the peer, those of the limits below included.
    ConnectionErrors => "connection_errors",
    /// HTTP/2: connections ended for the size of a header list or the number of its CONTINUATION frames.
    HeaderBlocksTooLarge => "header_blocks_too_large",
    /// HTTP/2: connections ended for a header block that HPACK's limits or rules refuse.
    HeaderCompressionErrors => "header_compression_errors",
    /// HTTP/2: connections ended for the rate of streams reset.
    ResetFloods => "reset_floods",
    /// HTTP/2: connections ended for the rate of WebSockets that broke a rule or a limit of RFC 6455.
    ViolationFloods => "violation_floods",
    /// HTTP/2: connections ended for the rate of frames without effect.
    GlitchFloods => "glitch_floods",
    /// HTTP/2: connections ended for the rate of SETTINGS.
    SettingsFloods => "settings_floods",
    /// HTTP/2: connections ended for octets without content.
    OverheadFloods => "overhead_floods",
    /// HTTP/2: connections ended for the time to a preface, an acknowledgement of SETTINGS or the end of a header block.
    FrameTimeouts => "frame_timeouts",
    /// HTTP/2: connections ended since a PING was not answered.
    KeepAliveTimeouts => "keep_alive_timeouts",
}

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics([AtomicU64; Counter::ALL.len()]);

impl Default for Metrics {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Counter::ALL.len()])
    }
}

impl Metrics {
    pub(crate) fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) fn add(&self, counter: Counter, n: u64) {
        if n > 0 {
            self.0[counter as usize].fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}
