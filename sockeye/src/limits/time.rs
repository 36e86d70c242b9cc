//! How long a connection waits for its peer, and others for it.

use std::time::Duration;

use super::Limits;
#[cfg(feature = "web-socket")]
use crate::engine::link::PingTimes;
use crate::engine::transport::KeepAlive;

impl Limits {
    /// Server: time for TLS, for the first octets of HTTP with the preface of HTTP/2 (RFC 9113 §3.4), and for the head of an
    /// HTTP/1.1 request; 10 seconds for each by default. The time of a later head begins with its first octet.
    ///
    /// A client has its [`connect_timeout`](crate::client::ClientBuilder::connect_timeout), and for each socket an
    /// [`answer_timeout`](crate::SocketOptions::answer_timeout).
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// Time for the peer of a closed WebSocket to end its half of the stream, and for a handler to end after its stream is
    /// over; 5 seconds by default. A handler that goes on is dropped then
    /// ([`Counter::HandlersDropped`](crate::Counter::HandlersDropped)).
    ///
    /// Over HTTP/1.1 the end of a peer is seen behind at most a window of octets that nobody has read (64 KiB by default):
    /// [`ping`](Self::ping) finds the others.
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Self {
        self.connection.set_close_timeout(time);
        self
    }

    /// Server: time for the answer, or for more of it, to a client of HTTP/1.1 that has ended its half behind its request, as some
    /// scripts and health checks do (RFC 9112 §9.6); one second by default. Then the request is dropped.
    ///
    /// A client that is gone has ended its half as well, and nothing tells the two apart until something is written: what
    /// fails then ends the connection at once, as a reset does at any time. So this is how long the work for such a client goes on for
    /// nobody, and longest for what waits and says nothing, such as a long poll. A service whose answers take longer, and whose
    /// clients do this, sets more; [`Duration::MAX`] is no limit, and with zero such a client is gone at once.
    #[must_use]
    pub fn half_close_timeout(mut self, time: Duration) -> Self {
        self.http2.half_close_timeout = time;
        self
    }

    /// Time for what is open to end once the connection drains, as after
    /// [`Handle::shutdown`](crate::Handle::shutdown), after the time of [`Handle::drain`](crate::Handle::drain), and after a
    /// client's `close`; 5 seconds by default. Then handlers are dropped, and the peer has a second to read the last. At a
    /// shutdown handshakes that are under way end at once; a drain lets them end.
    #[must_use]
    pub fn shutdown_timeout(mut self, time: Duration) -> Self {
        self.connection.shutdown_timeout = time;
        self
    }

    /// Time in which a connection has to take 16 KiB of what there is to write, or all of it; 60 seconds by default. Then it is
    /// cut off ([`Counter::WriteTimeouts`](crate::Counter::WriteTimeouts)): who takes nothing, or an octet a minute, keeps what
    /// is held for it for ever. A link of 300 octets a second is quick enough. It holds over every version of HTTP; one stream of
    /// HTTP/2 has the same in its [`progress_timeout`](Self::progress_timeout).
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.connection.write_timeout = time;
        self
    }

    /// Time in which 16 KiB have to come, or the rest, of a WebSocket message or of a request's content that has begun, while the
    /// application waits for it; 60 seconds by default, and at most twice as long, since it is looked at once in each
    /// period. Then the socket fails with 1008, or the content with [`Error::Timeout`](crate::Error::Timeout), and
    /// [`Counter::ReceiveTimeouts`](crate::Counter::ReceiveTimeouts) counts it.
    ///
    /// A link of 300 octets a second is quick enough, and between two messages a socket may be silent for as long as it likes; so
    /// may one whose message is received [in pieces](crate::WebSocket::recv_stream), between two frames. For requests whose
    /// content is a stream of events from the client, [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn receive_timeout(mut self, time: Duration) -> Self {
        self.connection.receive_timeout = time;
        self
    }

    /// Time for which a connection may have neither a request nor a WebSocket; 60 seconds by default for a server, and over
    /// HTTP/2 at most twice as long. Then it ends, over HTTP/2 by a GOAWAY that loses no request that is under way, and
    /// [`Counter::IdleTimeouts`](crate::Counter::IdleTimeouts) counts it. To the first request over HTTP/1.1 there is the
    /// [`handshake_timeout`](Self::handshake_timeout). PINGs do not make a connection busy. A client keeps its connection of
    /// HTTP/2 for the next socket by default, for as long as the server does.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.choices.idle_timeout = Some(time);
        self
    }

    /// Asks the peer of each WebSocket that was silent for `interval` by a Ping (RFC 6455 §5.5.2), over every version of
    /// HTTP, and gives the socket up where nothing at all comes within `timeout` after that: it gets
    /// [`Error::Timeout`](crate::Error::Timeout), which RFC 6455 §7.1.5 calls code 1006, its stream is reset with CANCEL or its connection of
    /// HTTP/1.1 is closed, and [`Counter::PingTimeouts`](crate::Counter::PingTimeouts) counts it. Off by default, and with an
    /// `interval` of zero; 25 and 20 seconds do well, since proxies cut off what is silent for 60.
    ///
    /// It does not matter what the application does: neither whether it receives nor in which task. The Pongs are not told
    /// to [`recv_with`](crate::WebSocket::recv_with). A Ping may be late by a 64th of the shorter time, or an eighth where a
    /// connection has more than 512 streams, since one clock serves all sockets of a connection. A peer whose octets or ours wait for
    /// room is not silent.
    ///
    /// Other than the PING of HTTP/2, of [`keep_alive`](Self::keep_alive), a Ping passes proxies and keeps them from cutting
    /// the socket off, and finds a page that is gone while its browser keeps the connection.
    #[cfg(feature = "web-socket")]
    #[doc(alias = "ping_interval")]
    #[doc(alias = "ping_timeout")]
    #[doc(alias = "heartbeat")]
    #[must_use]
    pub fn ping(mut self, interval: Duration, timeout: Duration) -> Self {
        self.connection.pings = PingTimes::new(interval, timeout);
        self
    }

    /// Asks the systems of peers that are silent whether they are there, by TCP's own keep-alive (RFC 9293 §3.8.4): after `time`
    /// without a segment, then four times within the same time. So a peer whose link was cut is gone after twice the `time`,
    /// whether we have something to send or not (where the system has `TCP_USER_TIMEOUT`). 60 seconds by default; with zero
    /// nobody is asked.
    ///
    /// It holds for the connections that [`Server::serve`](crate::Server::serve) accepts, and for those that a client makes
    /// without a connector of its own. It finds systems that are gone, and no more: whether a program or a page is there is
    /// found out by [`keep_alive`](Self::keep_alive) and [`ping`](Self::ping).
    #[must_use]
    pub fn tcp_keep_alive(mut self, time: Duration) -> Self {
        self.tcp_keep_alive = KeepAlive::new(time);
        self
    }

    /// Time for which a busy connection, and the handlers that run in its task, keep their thread before others have their turn;
    /// 200 microseconds by default. A batch that takes twice as long is broken off where it is. With less others wait less;
    /// with zero the connection gives way at every step, which is for tests.
    #[must_use]
    pub fn time_slice(mut self, time: Duration) -> Self {
        self.connection.set_slice(time);
        self
    }

    /// Time that a connection's task may take in one go before it is logged, with the peer's address, and counted
    /// ([`Counter::BlockedThreads`](crate::Counter::BlockedThreads)): then a handler or a service has blocked its thread, and
    /// nothing else of the thread has run. 1 second by default.
    #[must_use]
    pub fn watchdog(mut self, time: Duration) -> Self {
        self.connection.watchdog = time;
        self
    }
}
