//! One exchange as others see it: in the log, in the counters, on the status page.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::uri::Authority;
use http::{Method, Request, StatusCode, Version};
use sockeye::Peer;

use crate::http::{Progress, fields};
use crate::live::Live;
use crate::reach::Target;
use crate::upstreams::Route;

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// As both wanted it.
    Done,
    /// The upstream refused a handshake, and the client was told so.
    Refused,
    /// The client went away.
    ClientLeft,
    /// The upstream went away.
    UpstreamLeft,
    /// The client broke it off.
    ClientReset,
    /// The upstream broke it off.
    UpstreamReset,
    /// The gateway was on its way out.
    Drained,
    /// No route leads there.
    NoRoute,
    /// No upstream takes anything: why.
    Unavailable(String),
    /// There was no answer of an upstream: why.
    Failed(String),
}

impl End {
    /// All there are, by the names that the log and the metrics have for them.
    pub(crate) const NAMES: [&str; 10] = [
        "done",
        "refused",
        "client_left",
        "upstream_left",
        "client_reset",
        "upstream_reset",
        "drained",
        "no_route",
        "unavailable",
        "failed",
    ];

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::ClientLeft => 2,
            Self::UpstreamLeft => 3,
            Self::ClientReset => 4,
            Self::UpstreamReset => 5,
            Self::Drained => 6,
            Self::NoRoute => 7,
            Self::Unavailable(_) => 8,
            Self::Failed(_) => 9,
        }
    }

    /// One word for it, such as `client_left`.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// More about it, for people.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unavailable(why) | Self::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// A request, or a WebSocket, on its way through. It is counted and logged when it is dropped; one of which nobody said how it ended
/// ended because its client left, or was cut off.
pub struct Exchange {
    live: Live,
    told: Arc<Told>,
    peer: Option<Peer>,
    upload: Option<Progress>,
    end: End,
    counted: Counted,
}

/// As what an exchange is counted as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Request,
    /// By this number it is listed.
    Socket(u64),
}

/// What is told of an exchange. It is the exchange's own until it is listed as an open socket; from then on its octets alone change.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) begun: Instant,
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) host: Box<str>,
    /// Without its query, which may hold what is secret, such as the token of a WebSocket.
    pub(crate) path: Box<str>,
    pub(crate) websocket: bool,
    /// As people know it.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) upstream: Option<Arc<Target>>,
    pub(crate) status: Option<StatusCode>,
    /// Of content, or of a WebSocket, from the client on.
    pub(crate) received: Octets,
    /// Of content, or of a WebSocket, to the client.
    pub(crate) sent: Octets,
}

/// Octets that one task counts, and others may look at.
#[derive(Debug, Default)]
pub(crate) struct Octets(AtomicU64);

impl Octets {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Cheaper than an addition that several may make at once.
    fn add(&self, octets: u64) {
        self.set(self.get().wrapping_add(octets));
    }

    fn set(&self, octets: u64) {
        self.0.store(octets, Ordering::Relaxed);
    }
}

impl From<u64> for Octets {
    fn from(octets: u64) -> Self {
        Self(octets.into())
    }
}

/// An exchange that is over.
pub(crate) struct Ended<'a> {
    pub(crate) told: &'a Told,
    pub(crate) end: &'a End,
    pub(crate) at: SystemTime,
    pub(crate) took: Duration,
}

impl Exchange {
    /// A request has come.
    pub fn begin<B>(request: &Request<B>, live: &Live) -> Self {
        let peer = request.extensions().get::<Peer>();
        let asked = fields::authority(request.uri(), request.headers());
        live.counts().begin_request();
        let told = Told {
            begun: Instant::now(),
            client: peer.and_then(Peer::addr).map(|address| address.ip().to_canonical()),
            method: request.method().clone(),
            version: peer.map_or(request.version(), Peer::version),
            host: asked.as_ref().map_or("", Authority::host).into(),
            path: request.uri().path().into(),
            websocket: crate::websocket::is_asked_for(request),
            route: None,
            upstream: None,
            status: None,
            received: Octets::default(),
            sent: Octets::default(),
        };
        let (told, peer) = (Arc::new(told), peer.cloned());
        Self { live: live.clone(), told, peer, upload: None, end: End::ClientLeft, counted: Counted::Request }
    }

    #[cfg(test)]
    pub(crate) fn came_from(&mut self, client: IpAddr) {
        self.tell(|told| told.client = Some(client));
    }

    /// It takes this route.
    pub(crate) fn route(&mut self, route: &Route) {
        self.tell(|told| told.route = Some(route.name().clone()));
    }

    /// It goes there.
    pub fn upstream(&mut self, target: &Arc<Target>) {
        self.tell(|told| told.upstream = Some(target.clone()));
    }

    /// The client is answered with this.
    pub fn status(&mut self, status: StatusCode) {
        self.tell(|told| told.status = Some(status));
        self.live.counts().answered(self.told.begun.elapsed());
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Told)) {
        let told = Arc::get_mut(&mut self.told);
        debug_assert!(told.is_some(), "a socket that is listed stays as it is");
        told.map(tell);
    }

    /// It is a WebSocket, and open.
    pub fn upgraded(&mut self) {
        debug_assert_eq!(self.counted, Counted::Request, "a socket opens once");
        self.tell(|told| told.websocket = true);
        let is_http2 = self.told.version == Version::HTTP_2;
        self.status(if is_http2 { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS });
        self.counted = Counted::Socket(self.live.counts().open_socket(&self.told));
    }

    /// So many octets went from the client to the upstream just now.
    pub fn received(&mut self, octets: u64) {
        self.told.received.add(octets);
        self.live.counts().received(octets);
    }

    /// So many octets went from the upstream to the client just now.
    pub fn sent(&mut self, octets: u64) {
        self.told.sent.add(octets);
        self.live.counts().sent(octets);
    }

    /// Its content goes on by this upload, which counts it itself.
    pub(crate) fn uploads(&mut self, upload: &Progress) {
        self.upload = Some(upload.clone());
    }

    /// Octets that went either way so far.
    pub(crate) fn octets(&self) -> u64 {
        self.told.octets()
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// How it ends: the first to say so is right.
    pub fn ended(&mut self, end: End) {
        if self.end == End::ClientLeft {
            self.end = end;
        }
    }
}

impl Told {
    /// Octets that went either way so far.
    pub(crate) fn octets(&self) -> u64 {
        self.received.get().wrapping_add(self.sent.get())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.peer.as_ref().is_some_and(Peer::is_cut_off) {
            self.ended(End::Drained);
        }
        if let Some(upload) = &self.upload {
            self.told.received.set(upload.octets());
        }
        let counts = self.live.counts();
        match self.counted {
            Counted::Request => counts.end_request(),
            Counted::Socket(number) => counts.close_socket(number),
        }
        counts.ended(&self.told, &self.end);
        let took = self.told.begun.elapsed();
        let log = self.live.log();
        if !log.is_off() {
            log.write(&Ended { told: &self.told, end: &self.end, at: SystemTime::now(), took });
        }
        counts.remember(&self.told, std::mem::replace(&mut self.end, End::Done), took);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("told", &self.told).field("end", &self.end).finish_non_exhaustive()
    }
}
