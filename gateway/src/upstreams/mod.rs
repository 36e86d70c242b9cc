//! Upstreams of a route: whose turn it is, and who is well.

mod check;
mod health;
mod lease;
mod upstream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use self::lease::Lease;
pub use self::upstream::Upstream;
pub(crate) use self::upstream::{Settings, State};
use crate::policy::Policy;
use crate::routes;

/// Where some requests go.
#[derive(Debug)]
pub struct Route {
    /// Without an end that is a slash.
    path: String,
    /// The same as requests' are compared with it.
    segments: Vec<u8>,
    host: Option<String>,
    name: Arc<str>,
    policy: Policy,
    upstreams: Arc<Group>,
}

/// The upstreams of a route.
#[derive(Debug)]
struct Group {
    all: Vec<Arc<Upstream>>,
    /// Where the search begins, so that all get their turn among those with as much to do.
    turn: AtomicUsize,
}

/// Why a route has no upstream that takes anything.
#[derive(Debug)]
pub struct Unavailable(Vec<Arc<Upstream>>);

impl Route {
    pub(crate) fn new(
        path: Option<String>,
        host: Option<String>,
        policy: Policy,
        upstreams: Vec<Arc<Upstream>>,
    ) -> Self {
        let upstreams = Arc::new(Group { all: upstreams, turn: AtomicUsize::new(0) });
        let path = path.unwrap_or_default();
        let shown = if path.is_empty() { "/" } else { &path };
        let name = format!("{}{shown}", host.as_deref().unwrap_or_default()).into();
        let segments = routes::resolved(&path).into_owned();
        Self { path, segments, host, name, policy, upstreams }
    }

    /// Its host, where it is for one, and its path, as people are shown them.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The segments with which its paths begin: empty for all paths.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// They as they are [resolved](routes::resolved).
    pub(crate) fn segments(&self) -> &[u8] {
        &self.segments
    }

    /// The host that it is for: any where there is none.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// What holds for its requests.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its upstreams.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams.all
    }

    /// A place at the upstream that has the fewest exchanges open, of those that are well.
    ///
    /// One that failed several times in a row rests for a while. Where all rest, they are asked all the same: it is better to learn
    /// at once that one is back than to refuse for as long as it would have rested.
    ///
    /// # Errors
    ///
    /// All have failed the check that the configuration asks for.
    pub fn lease(&self) -> Result<Lease, Unavailable> {
        let group = &self.upstreams;
        group.least_open(Vec::new()).ok_or_else(|| Unavailable(group.all.clone()))
    }
}

impl Group {
    /// The one with the fewest open exchanges, but for those that were tried. Behind two of them it is one that is well: where all rest,
    /// nobody waits for each to time out.
    fn least_open(self: &Arc<Self>, tried: Vec<Arc<Upstream>>) -> Option<Lease> {
        let now = Instant::now();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let (behind, before) = self.all.split_at(first);
        let candidates =
            before.iter().chain(behind).filter(|upstream| !tried.iter().any(|tried| Arc::ptr_eq(tried, upstream)));
        let states = candidates.map(|upstream| (upstream, upstream.state(now)));
        let chosen = states
            .filter(|(_, state)| *state == State::Well || *state == State::Resting && tried.len() < 2)
            .min_by_key(|(upstream, state)| (*state == State::Resting, upstream.open()))?;
        Some(Lease::new(chosen.0.clone(), self.clone(), tried))
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no upstream is well:")?;
        for (index, upstream) in self.0.iter().enumerate() {
            let separator = if index == 0 { " " } else { "; " };
            let why = upstream.trouble().unwrap_or_else(|| "it has only just come back".to_owned());
            write!(f, "{separator}{}: {why}", upstream.reach().target())?;
        }
        Ok(())
    }
}

impl std::error::Error for Unavailable {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use base64::Engine as _;

    use super::health::FAILURES;
    use crate::config::Config;
    use crate::routes::Routes;

    fn routes(upstreams: &[&str]) -> Routes {
        let mut config = Config::default();
        config.all.upstream = upstreams.iter().map(|&text| text.to_owned()).collect();
        config.routes(&[]).unwrap()
    }

    #[test]
    fn the_one_with_the_fewest_open_exchanges_is_next() {
        let routes = routes(&["http://a:1", "http://b:1", "http://c:1"]);
        let route = routes.iter().next().unwrap();
        let held: Vec<_> = (0..9).map(|_| route.lease().unwrap()).collect();
        for upstream in route.upstreams() {
            assert_eq!(upstream.open(), 3);
        }
        let of_b: Vec<_> =
            held.into_iter().filter(|lease| lease.reach().target().to_string() != "http://b:1").collect();
        assert_eq!(route.lease().unwrap().reach().target().to_string(), "http://b:1");
        drop(of_b);
        assert!(route.upstreams().iter().all(|upstream| upstream.open() == 0), "a lease that ends counts no more");
    }

    #[test]
    fn one_that_fails_again_and_again_rests() {
        let routes = routes(&["http://a:1", "http://b:1"]);
        let route = routes.iter().next().unwrap();
        let lease = route.lease().unwrap();
        for _ in 0..FAILURES - 1 {
            lease.failed(&"refused");
        }
        lease.succeeded();
        lease.failed(&"refused");
        assert!(lease.trouble().is_none(), "only failures in a row count");
        for _ in 0..FAILURES {
            lease.failed(&"refused");
        }
        assert!(lease.trouble().unwrap().contains("refused"));
        let target = lease.reach().target().clone();
        drop(lease);
        for _ in 0..10 {
            assert_ne!(*route.lease().unwrap().reach().target(), target);
        }
    }

    #[test]
    fn where_all_rest_they_are_asked_all_the_same() {
        let routes = routes(&["http://a:1"]);
        let route = routes.iter().next().unwrap();
        for _ in 0..100 {
            route.lease().unwrap().failed(&"refused");
        }
        let lease = route.lease().unwrap();
        assert!(lease.trouble().is_some());
        lease.succeeded();
        assert!(lease.trouble().is_none());
    }

    #[test]
    fn another_one_is_another_one() {
        let alone = routes(&["http://a:1"]);
        assert!(alone.iter().next().unwrap().lease().unwrap().another().is_none());
        let routes = routes(&["http://a:1", "http://b:1"]);
        let first = routes.iter().next().unwrap().lease().unwrap();
        let second = first.another().unwrap();
        assert_ne!(first.reach().target(), second.reach().target());
        assert!(second.another().is_none(), "each is asked once");
    }

    #[test]
    fn behind_two_that_failed_one_that_rests_is_not_waited_for() {
        let routes = routes(&["http://a:1", "http://b:1", "http://c:1", "http://d:1"]);
        let route = routes.iter().next().unwrap();
        let second = route.lease().unwrap().another().unwrap();
        let third = second.another().unwrap();
        (0..FAILURES).for_each(|_| third.failed(&"refused"));
        let fourth = second.another().unwrap();
        assert_ne!(third.reach().target(), fourth.reach().target());
        assert!(fourth.another().is_none());
    }

    /// Connections, health and what is open stay with an upstream that a new configuration has as before.
    #[test]
    fn an_upstream_outlives_a_reload_where_nothing_changes_for_it() {
        let before = routes(&["http://a:1", "http://b:1"]);
        let held = before.iter().next().unwrap().lease().unwrap();
        let mut config = Config::to(held.reach().target().to_string());
        let after = config.routes(&before.upstreams()).unwrap();
        assert_eq!(after.upstreams()[0].open(), 1);
        config.all.answer_timeout = Some(Duration::from_secs(7).into());
        let changed = config.routes(&before.upstreams()).unwrap();
        assert!(!Arc::ptr_eq(&changed.upstreams()[0], &after.upstreams()[0]));
        assert_eq!(changed.upstreams()[0].open(), 1, "what is open there is open there still");
    }

    /// A private authority's certificates are in a file, which may hold others by now.
    #[test]
    fn a_reload_has_it_trust_what_the_file_holds_then() {
        let file = std::env::temp_dir().join(format!("sockeye-gateway-roots-{}.pem", std::process::id()));
        let write = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let octets = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
            std::fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{octets}\n-----END CERTIFICATE-----\n"))
                .unwrap();
        };
        write();
        let mut config = Config::to("https://a:1");
        config.all.upstream_ca = Some(file.clone());
        let before = config.routes(&[]).unwrap().upstreams();
        let is_kept = || Arc::ptr_eq(&before[0], &config.routes(&before).unwrap().upstreams()[0]);
        assert!(is_kept());
        write();
        assert!(!is_kept());
        std::fs::write(&file, "no certificate").unwrap();
        let error = config.routes(&before).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("upstream-ca") && error.contains(".pem"), "{error}");
    }
}
