//! What one connection may hold, how fast its peer may be and how long is waited for it: one set of options for servers,
//! clients and the low-level way.

mod http2;
mod memory;
mod time;

use std::time::Duration;

use sockeye_proto::h2;

use crate::engine::link;
use crate::engine::transport::KeepAlive;

/// The limits of a connection, of every version of HTTP: what it may hold, what its peer may ask, and how long is waited for it.
///
/// One value serves [`Server::limits`](crate::Server::limits), [`ClientBuilder::limits`](crate::client::ClientBuilder::limits)
/// and [`http2::Connection::accept`](crate::http2::Connection::accept); clones are independent. What a single WebSocket
/// may send stands in [`SocketOptions`](crate::SocketOptions) instead, and how many connections there may be in the server and
/// in the client.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::{Limits, Server};
///
/// let limits = Limits::new()
///     .max_concurrent_streams(10_000)
///     .keep_alive(Duration::from_secs(30), Duration::from_secs(10))
///     .write_timeout(Duration::from_secs(20));
/// let server = Server::new().limits(limits);
/// ```
///
/// No honest peer meets a limit at its default. SECURITY.md has a table of all, with what happens past each. A time that no
/// clock can reach, such as [`Duration::MAX`], never ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    http2: h2::Config,
    connection: link::Limits,
    pub(crate) handshake_timeout: Duration,
    pub(crate) tcp_keep_alive: Option<KeepAlive>,
    choices: Choices,
}

/// What has one default for a server and another for a client; none where nothing was said.
#[derive(Clone, Copy, Debug, Default)]
struct Choices {
    max_concurrent_streams: Option<u32>,
    max_unread: Option<u32>,
    window_pool: Option<u32>,
    idle_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    /// Every limit at its default.
    pub fn new() -> Self {
        Self {
            http2: h2::Config::default(),
            connection: link::Limits::default(),
            handshake_timeout: Duration::from_secs(10),
            tcp_keep_alive: KeepAlive::new(KeepAlive::TIME),
            choices: Choices::default(),
        }
    }

    /// What HTTP/2's machine is to know, and that of HTTP/1.1 of a request's head.
    pub(crate) fn http2(&self, role: h2::Role) -> h2::Config {
        let Choices { max_concurrent_streams, max_unread, window_pool, idle_timeout } = self.choices;
        let mut config = self.http2.clone();
        match role {
            h2::Role::Server => {
                config.preface_timeout = self.handshake_timeout;
                config.idle_timeout = Some(idle_timeout.unwrap_or(self.connection.idle_timeout));
            }
            h2::Role::Client => {
                // The server's limit is the one that counts; each stream is the caller's own doing.
                config.max_concurrent_streams = u32::MAX;
                // Its streams are its own: it bounds what they hold, and stops none for some two hundred that it does not read.
                config.max_unread = 16 << 20;
                config.window_pool = 1536 << 10;
                // The client waits for the first SETTINGS itself.
                config.preface_timeout = Duration::MAX;
                config.idle_timeout = idle_timeout;
            }
        }
        config.max_concurrent_streams = max_concurrent_streams.unwrap_or(config.max_concurrent_streams);
        config.max_unread = max_unread.unwrap_or(config.max_unread);
        config.window_pool = window_pool.unwrap_or(config.window_pool);
        config
    }

    /// What the connection's task is to know.
    pub(crate) fn connection(&self, role: h2::Role) -> link::Limits {
        let mut limits = self.connection;
        limits.idle_timeout = self.choices.idle_timeout.unwrap_or(limits.idle_timeout);
        if role == h2::Role::Server {
            // One more is about to be let go of.
            limits.outliving_handlers = self.http2(role).max_closed_streams().saturating_sub(1);
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server bounds what others open, a client is bounded by its server; what was said holds for either.
    #[test]
    fn a_limit_that_was_said_holds_for_either_role() {
        let (server, client) = (Limits::new().http2(h2::Role::Server), Limits::new().http2(h2::Role::Client));
        assert_eq!((server.max_concurrent_streams, client.max_concurrent_streams), (100, u32::MAX));
        assert_eq!((server.idle_timeout, client.idle_timeout), (Some(Duration::from_secs(60)), None));
        assert!(server.max_unread < client.max_unread);

        let time = Duration::from_secs(7);
        let limits = Limits::new().max_concurrent_streams(5).max_unread(1 << 20).window_pool(1).idle_timeout(time);
        for role in [h2::Role::Server, h2::Role::Client] {
            let config = limits.http2(role);
            assert_eq!((config.max_concurrent_streams, config.max_unread, config.window_pool), (5, 1 << 20, 1));
            assert_eq!((config.idle_timeout, limits.connection(role).idle_timeout), (Some(time), time));
        }
    }

    /// The bound that the documentation of the crate states, term by term in its order, with messages of 1 MiB.
    fn bound(limits: &Limits) -> [usize; 8] {
        const MESSAGE: usize = 1 << 20;
        // The window that a stream begins with is never smaller.
        const MIN_WINDOW: usize = 64;
        let (config, held) = (limits.http2(h2::Role::Server), limits.connection(h2::Role::Server));
        let [unread, pool, streams] =
            [config.max_unread, config.window_pool, config.max_concurrent_streams].map(|number| number as usize);
        let window = ((unread - pool) / streams).clamp(MIN_WINDOW, config.initial_window_size as usize);
        [
            unread,
            streams * window,
            2 * held.unfinished_messages + held.connection_send / 4,
            held.unfinished_messages / 8 + held.late(),
            2 * MESSAGE,
            held.kept_heads,
            (320 + 97 + 64) << 10,
            held.group_send,
        ]
    }

    /// A connection may hold 16 MiB with what `sockeye serve` sets, and 24 MiB where it has 100,000 streams, and what waits for
    /// groups besides; and what the documentation says is that bound.
    #[test]
    fn what_a_connection_may_hold_is_as_documented() {
        const MIB: usize = 1 << 20;
        let serve = |streams| bound(&Limits::new().max_concurrent_streams(streams).kept_heads(MIB));
        let terms = serve(1024);
        let with_groups = [1024, 100_000].map(|streams| serve(streams).iter().sum::<usize>());
        let [all, most] = with_groups.map(|octets| octets - terms.last().unwrap());
        assert!(all <= 16 * MIB && most <= 24 * MIB, "{all} and {most} octets");

        let (_, section) = include_str!("../lib.rs").split_once("//!   what was received").unwrap();
        let (formula, sentence) = section.split_once("//! ```").unwrap();
        let mib = |octets: usize| octets as f64 / MIB as f64;
        for (line, octets) in formula.lines().zip(terms) {
            let said = line.split_whitespace().rev().nth(1).unwrap();
            assert!((said.parse::<f64>().unwrap() - mib(octets)).abs() < 0.05, "{line}: {octets} octets");
        }
        assert_eq!(formula.lines().count(), terms.len());
        for octets in [all, most].into_iter().chain(with_groups) {
            assert!(sentence.contains(&format!("{:.1} MiB with", mib(octets))), "{octets} octets");
        }
    }

    /// RFC 9113 §3.4: a client's preface is awaited as long as all that goes before it.
    #[test]
    fn the_handshake_timeout_is_that_of_the_preface() {
        let limits = Limits::new().handshake_timeout(Duration::from_secs(3));
        assert_eq!(limits.http2(h2::Role::Server).preface_timeout, Duration::from_secs(3));
        assert_eq!(limits.http2(h2::Role::Client).preface_timeout, Duration::MAX);
    }
}
