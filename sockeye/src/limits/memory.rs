//! What a connection may hold of its streams.

#[cfg(feature = "deflate")]
use sockeye_proto::Rate;

use super::Limits;

impl Limits {
    /// Octets of one stream's unsent data beyond which its sender waits; 64 KiB by default.
    #[must_use]
    pub fn stream_send_buffer(mut self, octets: usize) -> Self {
        self.connection.stream_send = octets;
        self
    }

    /// Octets that wait to be sent on one connection beyond which a sender waits that has some unsent itself; 4 MiB by default.
    ///
    /// Where three quarters of that wait, since the peer does not read, streams on which something waits are given nothing to
    /// read either: what they would answer would have to wait as well. What comes for them stays in their windows, and the
    /// others go on. One of these whose peer stops to read as well is reset with ENHANCE_YOUR_CALM after ten seconds, where such
    /// streams hold an eighth of it together ([`Counter::UnreadStreamsReset`](crate::Counter::UnreadStreamsReset)).
    #[must_use]
    pub fn connection_send_buffer(mut self, octets: usize) -> Self {
        self.connection.connection_send = octets;
        self
    }

    /// Octets of one connection's messages of [groups](crate::Group), beyond which who sends to a group waits; 2 MiB by default.
    /// Each is counted once, however many members wait for it, with some octets more; one is sent, whatever its size, where no
    /// other waits.
    #[cfg(feature = "web-socket")]
    #[must_use]
    pub fn group_send_buffer(mut self, octets: usize) -> Self {
        self.connection.group_send = octets;
        self
    }

    /// Octets that unfinished messages of one connection may take together; 3 MiB by default.
    ///
    /// Messages of up to a 64th of it (48 KiB) have an eighth beside it. Past it large messages wait, and one of them at a time goes
    /// on to its end; those of up to a third of it (1 MiB) go on as long as they leave room for others, in as many octets again.
    /// While somebody waits, a message that does not go on by 16 KiB in ten seconds fails its WebSocket with 1008.
    #[must_use]
    pub fn unfinished_messages(mut self, octets: usize) -> Self {
        self.connection.unfinished_messages = octets;
        self
    }

    /// Octets of memory that the heads of one HTTP/2 connection may take together; 2 MiB by default. Counted are those of
    /// requests, for as long as the service holds them, trailers that were not read, and what WebSockets keep of the requests
    /// that opened them, but for 128 octets each: of what their heads have in common a connection keeps one copy.
    ///
    /// HPACK lets a peer say a head of 16 KiB in a hundred octets (RFC 7541 §7.3). Past the limit new streams are refused
    /// with REFUSED_STREAM, before the service hears of them, and the peer may try elsewhere or later; streams with trailers
    /// are reset with ENHANCE_YOUR_CALM. [`Counter::HeadsRefused`](crate::Counter::HeadsRefused) counts both. A browser's
    /// request takes some 3.5 KiB while it is held. Behind a proxy that puts the sockets of thousands of users on one
    /// connection, allow for a cookie and a token of each.
    #[must_use]
    pub fn kept_heads(mut self, octets: usize) -> Self {
        self.connection.kept_heads = octets;
        self
    }

    /// Octets that the compressed messages of one connection may become beyond 64 times what came of them, at once and each
    /// second: 64 MiB and 16 MiB by default, which is a megabyte of zeros sixteen times a second for ever. Past it the message
    /// is decompressed no further, and fails its WebSocket with 1008, which
    /// [`Counter::InflationFloods`](crate::Counter::InflationFloods) counts. JSON comes to some 20 times what came.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn inflation(mut self, surplus: Rate) -> Self {
        self.connection.inflation = surplus;
        self
    }

    /// Octets that a connection reads and drops after its end, by an error or by ours, so that the peer gets the last that was
    /// sent; 4 MiB by default, which is what a fast peer far away has sent before it knows. Past it nothing more is read, and
    /// the connection is closed after a second ([`Counter::LingersGivenUp`](crate::Counter::LingersGivenUp)).
    #[must_use]
    pub fn linger(mut self, octets: usize) -> Self {
        self.connection.linger = octets;
        self
    }
}
