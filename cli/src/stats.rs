//! What `sockeye serve` tells at `/stats`: counters, totals, and connections as far as it is told to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Version;
use http_body::Frame;
use serde::Serialize;
use serde_json::{Map, Value};
use sockeye::{ConnectionStats, Counter, Handle, Peer};
use sockeye_hub::{Hub, HubCounter};

/// Whose connections are shown, by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shown {
    /// There is nothing at /stats.
    Off,
    /// Counters and totals, and of the connections the one that asks.
    Own,
    /// All connections, to everybody.
    All,
}

/// Time for which a snapshot is good. To make one looks at every connection.
const FRESH: Duration = Duration::from_millis(100);
/// Snapshots that may be made before their time: whoever opens a socket and then asks sees it.
const BURST: u32 = 16;

/// What is told, from one snapshot for all that ask at about the same time: many answers that wait hold one.
#[derive(Clone)]
pub(crate) struct Stats {
    handle: Handle,
    /// Whose counters stand beside the server's.
    hub: Option<Hub>,
    shown: Shown,
    latest: Arc<Mutex<Option<Latest>>>,
}

/// The latest snapshot.
struct Latest {
    made: Instant,
    /// How many may follow before their time.
    spare: u32,
    snapshot: Arc<Snapshot>,
}

struct Snapshot {
    /// The connections that everybody sees, in JSON, with commas between them; and where each stands.
    connections: Bytes,
    places: Vec<(u64, Range<usize>)>,
    /// What follows them.
    rest: Bytes,
}

impl Stats {
    pub(crate) fn new(handle: Handle, hub: Option<Hub>, shown: Shown) -> Self {
        Self { handle, hub, shown, latest: Arc::default() }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.shown == Shown::Off
    }

    /// The answer to whoever asks. Its own connection is told as it is at this moment.
    pub(crate) fn answer(&self, peer: Option<&Peer>) -> Chunks {
        let snapshot = self.snapshot(Instant::now());
        let all = &snapshot.connections;
        let Some(own) = peer.map(Peer::stats) else {
            return Chunks::new([START, all.clone(), snapshot.rest.clone()]);
        };
        let place = snapshot.places.iter().find(|(id, _)| *id == own.id).map(|(_, place)| place.clone());
        let own = json(&Connection::new(own, true));
        let (before, after) = match place {
            Some(place) => (all.slice(..place.start), all.slice(place.end..)),
            // It came after the snapshot.
            None if all.is_empty() => (Bytes::new(), Bytes::new()),
            None => (Bytes::new(), Bytes::from([b",", &all[..]].concat())),
        };
        Chunks::new([START, before, own.into(), after, snapshot.rest.clone()])
    }

    fn snapshot(&self, now: Instant) -> Arc<Snapshot> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = match &*latest {
            None => BURST,
            Some(Latest { made, spare, .. }) => {
                let earned = now.saturating_duration_since(*made).as_millis() / FRESH.as_millis();
                spare.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST)
            }
        };
        match (&*latest, spare.checked_sub(1)) {
            (Some(latest), None) => latest.snapshot.clone(),
            (_, spare) => {
                let snapshot = Arc::new(self.make());
                *latest = Some(Latest { made: now, spare: spare.unwrap_or_default(), snapshot: snapshot.clone() });
                snapshot
            }
        }
    }

    fn make(&self) -> Snapshot {
        let open = self.handle.connections();
        let totals = Totals {
            connections_open: open.len(),
            sockets: open.iter().map(|connection| connection.sockets).sum(),
            counters: Counter::ALL
                .iter()
                .map(|counter| (counter.name().to_owned(), self.handle.counter(*counter).into()))
                .collect(),
            hub: self.hub.as_ref().map(|hub| {
                let counted = |counter: &HubCounter| (counter.name().to_owned(), hub.counter(*counter).into());
                HubCounter::ALL.iter().map(counted).collect()
            }),
        };
        let (mut connections, mut places) = (String::new(), Vec::new());
        for connection in open.into_iter().filter(|_| self.shown == Shown::All) {
            if !connections.is_empty() {
                connections.push(',');
            }
            let start = connections.len();
            let id = connection.id;
            connections.push_str(&json(&Connection::new(connection, false)));
            places.push((id, start..connections.len()));
        }
        // The braces of the totals are those of the whole.
        let rest = json(&totals).replacen('{', "],", 1);
        Snapshot { connections: connections.into(), places, rest: rest.into() }
    }
}

const START: Bytes = Bytes::from_static(b"{\"connections\":[");

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The server's side of things, besides its connections.
#[derive(Serialize)]
struct Totals {
    connections_open: usize,
    sockets: usize,
    counters: Map<String, Value>,
    /// The counters of the topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    hub: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Connection {
    id: u64,
    /// Its address, or who made it over a Unix socket, in words.
    peer: Option<String>,
    version: &'static str,
    sockets: usize,
    requests: u64,
    /// Whether this connection asked.
    you: bool,
}

impl Connection {
    fn new(stats: ConnectionStats, you: bool) -> Self {
        let version = if stats.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
        let ConnectionStats { id, peer, credentials, sockets, requests, .. } = stats;
        let peer = peer.map(|peer| peer.to_string()).or_else(|| Some(credentials?.to_string()));
        Self { id, peer, version, sockets, requests, you }
    }
}

/// Content in several pieces, which others may share.
pub(crate) struct Chunks(VecDeque<Bytes>);

impl Chunks {
    fn new<const N: usize>(chunks: [Bytes; N]) -> Self {
        Self(chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect())
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many ask, few snapshots are made, and all answers share them.
    #[test]
    fn a_snapshot_is_shared() {
        let stats = Stats::new(sockeye::Server::new().handle(), None, Shown::All);
        let start = Instant::now();
        let mut made: Vec<_> = (0..1000).map(|_| Arc::as_ptr(&stats.snapshot(start))).collect();
        // Those that nobody holds may have had the same place.
        made.dedup();
        assert!(made.len() <= BURST as usize, "{} snapshots", made.len());
        let last = stats.snapshot(start);
        assert!(Arc::ptr_eq(&last, &stats.snapshot(start + FRESH / 2)));
        assert!(!Arc::ptr_eq(&last, &stats.snapshot(start + FRESH)));
    }
}
