//! A process that has no descriptors left: a binary of its own, since all tests of one share them.

#![cfg(all(target_os = "linux", feature = "http2", feature = "web-socket"))]

#[allow(unused_imports, reason = "other tests name more of it")]
#[path = "common/mod.rs"]
mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sockeye::{Counter, Server, websocket};
use tokio::net::TcpStream;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::common::{Carrier, Socket, echo, start};

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

/// Counts warnings.
struct Counting;

impl Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("sockeye")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        WARNINGS.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The listener is left alone for longer and longer, one warning says so, those who are connected notice nothing, and once
/// there are descriptors again, whoever waits is let in.
#[tokio::test]
async fn a_listener_without_descriptors_is_left_alone() {
    tracing::subscriber::set_global_default(Counting).unwrap();
    let server = start(Server::new().max_connections(100_000), websocket(echo)).await;
    let mut before = Socket::open(Carrier::Http2, server.addr).await;
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, used + 40, hard).unwrap();

    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.addr).await {
        clients.push(client);
        assert!(clients.len() <= 100, "descriptors have run out by now");
    }
    let seconds = 4;
    for _ in 0..seconds * 10 {
        before.check_echo("goes on").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let errors = server.handle.counter(Counter::AcceptErrors);
    // 5 ms, doubled up to a second, of which a half at least: eight to the first second's wait, and then two a second.
    assert!((4..=8 + 2 * seconds).contains(&errors), "{errors} tries in {seconds} seconds");
    assert_eq!(WARNINGS.load(Ordering::Relaxed), 1, "one warning");

    clients.clear();
    for carrier in Carrier::ALL {
        Socket::open(carrier, server.addr).await.check_echo("let in").await;
    }
    before.check_echo("goes on").await;
    assert_eq!(server.handle.counter(Counter::ConnectionsRefused), 0);
}
