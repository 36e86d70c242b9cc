use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::check;
use super::health::Health;
use crate::reach::{self, Protocol, Reach, Target, Timeouts, Tls};

/// All that is said of an upstream: two that are alike in it are one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Tls,
    pub(crate) timeouts: Timeouts,
    /// A path to ask for, and how often.
    pub(crate) check: Option<(String, Duration)>,
}

/// A server that requests go to.
pub struct Upstream {
    settings: Settings,
    reach: Reach,
    exchanges: Arc<Exchanges>,
    health: Mutex<Health>,
    /// Of its check, where there is one.
    check: OnceLock<AbortHandle>,
}

/// What goes to one target, by whichever route and whatever is said of it: a socket is there as long as it is open, though a reload has
/// changed all else.
#[derive(Debug, Default)]
struct Exchanges {
    open: AtomicUsize,
    begun: AtomicU64,
    failures: AtomicU64,
}

/// How much an upstream is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Well,
    /// It failed, and is asked where there is no other.
    Resting,
    /// It fails its check, and is not asked.
    Ill,
}

impl Upstream {
    /// With a check, where there is to be one, that goes on until the upstream [is left](Self::leave). It counts with those of `others`
    /// that have its target.
    pub(crate) fn new(settings: Settings, others: &[Arc<Self>]) -> Result<Arc<Self>, reach::Error> {
        let reach = Reach::new(settings.target.clone(), settings.protocol, &settings.tls, &settings.timeouts)?;
        let same = others.iter().find(|other| other.settings.target == settings.target);
        let upstream = Arc::new(Self {
            reach,
            exchanges: same.map(|same| same.exchanges.clone()).unwrap_or_default(),
            health: Mutex::default(),
            check: OnceLock::new(),
            settings,
        });
        if let Some((path, interval)) = &upstream.settings.check {
            let check = check::start(&upstream, path.clone(), *interval)?;
            upstream.check.get_or_init(|| check);
        }
        Ok(upstream)
    }

    /// No route leads there any more. Its sockets may live for days, and nobody wants to know whether it is well.
    pub(crate) fn leave(&self) {
        if let Some(check) = self.check.get() {
            check.abort();
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How it is reached.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Requests and WebSockets that are under way to its target.
    pub fn open(&self) -> usize {
        self.exchanges.open.load(Ordering::Relaxed)
    }

    /// Requests and WebSockets that it was asked for so far, those that failed included.
    pub fn begun(&self) -> u64 {
        self.exchanges.begun.load(Ordering::Relaxed)
    }

    /// Of these, those that it gave no answer to.
    pub fn failures(&self) -> u64 {
        self.exchanges.failures.load(Ordering::Relaxed)
    }

    /// Why it is not asked, or only where there is no other. None where it is well.
    pub fn trouble(&self) -> Option<String> {
        self.health(|health| health.trouble(Instant::now()))
    }

    pub(crate) fn state(&self, now: Instant) -> State {
        self.health(|health| health.state(now))
    }

    pub(super) fn begin(&self) {
        self.exchanges.open.fetch_add(1, Ordering::Relaxed);
        self.exchanges.begun.fetch_add(1, Ordering::Relaxed);
        self.health(|health| health.begin(Instant::now()));
    }

    pub(super) fn end(&self) {
        let before = self.exchanges.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an exchange ended that had not begun");
    }

    pub(super) fn failed(&self, why: &dyn fmt::Display) {
        self.exchanges.failures.fetch_add(1, Ordering::Relaxed);
        if self.health(|health| health.failed(why.to_string(), Instant::now())) {
            tracing::warn!(upstream = %self.reach.target(), reason = %why, "an upstream failed several times in a row, and rests");
        }
    }

    pub(super) fn succeeded(&self) {
        if self.health(Health::succeeded) {
            tracing::warn!(upstream = %self.reach.target(), "an upstream is back");
        }
    }

    pub(super) fn checked(&self, found: Result<(), String>) {
        let target = self.reach.target();
        match self.health(|health| health.checked(found.clone())) {
            false => {}
            true => match found {
                Ok(()) => tracing::warn!(upstream = %target, "an upstream passes its check again"),
                Err(why) => tracing::warn!(upstream = %target, reason = why, "an upstream fails its check"),
            },
        }
    }

    fn health<T>(&self, look: impl FnOnce(&mut Health) -> T) -> T {
        look(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("reach", &self.reach).field("open", &self.open()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::live::Live;

    fn config(upstream: &str) -> Config {
        let mut config = Config::to(upstream);
        config.all.check = Some("/healthy".into());
        config
    }

    /// A socket keeps its upstream for as long as it is open.
    #[tokio::test]
    async fn an_upstream_that_is_left_is_not_checked_for_the_sake_of_its_sockets() {
        let live = Live::new(&config("http://127.0.0.1:1")).unwrap();
        let lease = live.routes()[0].lease().unwrap();
        let check = lease.check.get().unwrap();
        live.reload(&config("http://127.0.0.1:1")).unwrap();
        tokio::task::yield_now().await;
        assert!(!check.is_finished(), "nothing has changed for it");
        live.reload(&config("http://127.0.0.1:2")).unwrap();
        while !check.is_finished() {
            tokio::task::yield_now().await;
        }
        let fails = live.reload(&config("nowhere"));
        assert!(fails.is_err() && !live.upstreams()[0].check.get().unwrap().is_finished(), "all stays as it was");
    }
}
