//! What a gateway goes by while it runs: it can change under it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;

use crate::config::{Config, ConfigError};
use crate::log::AccessLog;
use crate::metrics::Counts;
use crate::routes::Routes;
use crate::upstreams::{Route, Upstream};

/// The routes, what is counted, and the log. Clones share them.
///
/// ```
/// use sockeye_gateway::{Config, Gateway, Live};
///
/// # fn main() -> Result<(), sockeye_gateway::ConfigError> {
/// let live = Live::new(&Config::to("http://localhost:3000"))?;
/// let gateway = Gateway::new(live.clone());
/// // From the next request on; what is open stays where it is.
/// live.reload(&Config::to("http://localhost:3001"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    /// By which it knows again what it has forwarded: a pseudonym (RFC 9110 §7.6.3).
    name: Box<str>,
    routes: ArcSwap<Routes>,
    /// One at a time, so that each begins with the upstreams of the one before.
    reloading: Mutex<()>,
    counts: Counts,
    log: ArcSwap<AccessLog>,
}

impl Live {
    /// Goes by this, and logs nothing.
    ///
    /// # Errors
    ///
    /// What cannot be in the configuration, such as an upstream that is none or a file of roots that cannot be read; a check where
    /// there is no runtime of tokio that could do it.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(Shared {
            name: format!("_{:08x}", rand::random::<u32>()).into(),
            routes: ArcSwap::from_pointee(config.routes(&[])?),
            reloading: Mutex::default(),
            counts: Counts::default(),
            log: ArcSwap::default(),
        })))
    }

    /// Goes by this from the next request on. What is open goes on as it is, and an upstream about which nothing has changed keeps
    /// its connections and its health; one about which anything has keeps its counts.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new). Then all stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), ConfigError> {
        let _one_at_a_time = self.0.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.upstreams();
        let routes = config.routes(&before)?;
        let kept = routes.upstreams();
        self.0.routes.store(Arc::new(routes));
        for upstream in before.iter().filter(|upstream| !kept.iter().any(|other| Arc::ptr_eq(upstream, other))) {
            upstream.leave();
        }
        Ok(())
    }

    /// From now on what ends is logged there.
    pub fn log_to(&self, log: AccessLog) {
        let before = self.0.log.swap(Arc::new(log));
        self.0.counts.lost_lines(before.lost());
    }

    /// Waits until all that has ended is logged, for no longer than this, and blocks the thread for so long: for the end of a program.
    pub fn flush_log(&self, time: Duration) {
        self.0.log.load().flush(time);
    }

    /// The route of a request: of those with its host before those with any, the one with the longest path that the request's begins
    /// with.
    pub fn find<B>(&self, request: &Request<B>) -> Option<Arc<Route>> {
        self.0.routes.load().find(request)
    }

    /// All upstreams, each once.
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.0.routes.load().upstreams()
    }

    /// All routes, the most exact first.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.0.routes.load().iter().cloned().collect()
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    pub(crate) fn log(&self) -> arc_swap::Guard<Arc<AccessLog>> {
        self.0.log.load()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("routes", &self.routes()).finish_non_exhaustive()
    }
}
