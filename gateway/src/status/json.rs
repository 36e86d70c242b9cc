//! What the page shows, as it is now.

use std::sync::Arc;
use std::time::Instant;

use http::Version;
use serde::Serialize;

use super::Page;
use crate::log;
use crate::metrics::Recent;
use crate::observe::Told;
use crate::open::Order;
use crate::reach::Target;
use crate::upstreams::{Route, Upstream};

/// Open sockets that are shown, however many there are.
const SHOWN_SOCKETS: usize = 50;

#[derive(Serialize)]
struct Status {
    version: &'static str,
    draining: bool,
    shows_clients: bool,
    open_sockets: u64,
    open_requests: u64,
    sockets: u64,
    requests: u64,
    failed: u64,
    received: u64,
    sent: u64,
    /// Of clients; none where the server is not known.
    connections: Option<Connections>,
    upstreams: Vec<ShownUpstream>,
    open: Vec<ShownSocket>,
    recent: Vec<ShownExchange>,
}

#[derive(Default, Serialize)]
struct Connections {
    http1: usize,
    http2: usize,
}

/// An upstream of a route.
#[derive(Serialize)]
struct ShownUpstream {
    route: String,
    target: String,
    protocol: String,
    sockets: u64,
    /// With requests.
    open: usize,
    begun: u64,
    failures: u64,
    trouble: Option<String>,
    /// Whether it is no longer in the configuration, and has sockets still.
    left: bool,
}

#[derive(Serialize)]
struct ShownSocket {
    number: u64,
    client: Option<String>,
    route: Option<String>,
    path: String,
    version: &'static str,
    upstream: Option<String>,
    received: u64,
    sent: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct ShownExchange {
    number: u64,
    client: Option<String>,
    what: String,
    host: String,
    path: String,
    version: &'static str,
    status: Option<u16>,
    upstream: Option<String>,
    received: u64,
    sent: u64,
    seconds: f64,
    end: &'static str,
    reason: Option<String>,
}

/// The open sockets of each route at each upstream. There are few of these: a search is less than what a table would copy.
#[derive(Default)]
struct Tally(Vec<(Arc<str>, Arc<Target>, u64)>);

impl Tally {
    fn count(&mut self, told: &Told) {
        let (Some(route), Some(upstream)) = (&told.route, &told.upstream) else { return };
        match self.0.iter_mut().find(|(at, target, _)| at == route && target == upstream) {
            Some((_, _, sockets)) => *sockets += 1,
            None => self.0.push((route.clone(), upstream.clone(), 1)),
        }
    }

    fn take(&mut self, route: &str, upstream: &Target) -> u64 {
        let found = self.0.iter().position(|(at, target, _)| **at == *route && **target == *upstream);
        found.map_or(0, |index| self.0.swap_remove(index).2)
    }
}

impl Page {
    pub(super) fn json(&self, order: Order) -> String {
        let counts = self.live.counts();
        let (received, sent) = counts.octets();
        let mut tally = Tally::default();
        let open = counts.open_sockets().first(SHOWN_SOCKETS, order, |told| tally.count(told));
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            draining: self.is_draining(),
            shows_clients: self.shows_clients,
            open_sockets: counts.open_sockets().len(),
            open_requests: counts.open_requests(),
            sockets: counts.sockets(),
            requests: counts.requests(),
            failed: counts.failed(),
            received,
            sent,
            connections: self.server.as_ref().map(connections),
            upstreams: upstreams(&self.live.routes(), tally),
            open: open.iter().map(|(number, told)| self.socket(*number, told)).collect(),
            recent: counts.recent().iter().rev().map(|recent| self.exchange(recent)).collect(),
        };
        serde_json::to_string(&status).unwrap_or_default()
    }

    fn client(&self, told: &Told) -> Option<String> {
        told.client.filter(|_| self.shows_clients).map(|client| client.to_string())
    }

    fn socket(&self, number: u64, told: &Told) -> ShownSocket {
        ShownSocket {
            number,
            client: self.client(told),
            route: told.route.as_ref().map(ToString::to_string),
            path: format!("{}{}", told.host, told.path),
            version: log::version(told.version),
            upstream: told.upstream.as_ref().map(ToString::to_string),
            received: told.received.get(),
            sent: told.sent.get(),
            seconds: Instant::now().saturating_duration_since(told.begun).as_secs_f64(),
        }
    }

    fn exchange(&self, recent: &Recent) -> ShownExchange {
        let told = &recent.told;
        ShownExchange {
            number: recent.number,
            client: self.client(told),
            what: if told.websocket { "WebSocket".to_owned() } else { told.method.to_string() },
            host: told.host.to_string(),
            path: told.path.to_string(),
            version: log::version(told.version),
            status: told.status.map(|status| status.as_u16()),
            upstream: told.upstream.as_ref().map(ToString::to_string),
            received: told.received.get(),
            sent: told.sent.get(),
            seconds: recent.took.as_secs_f64(),
            end: recent.end.name(),
            reason: recent.end.reason().map(str::to_owned),
        }
    }
}

fn connections(server: &sockeye::Handle) -> Connections {
    let mut connections = Connections::default();
    for connection in server.connections() {
        match connection.version {
            Version::HTTP_2 => connections.http2 += 1,
            _ => connections.http1 += 1,
        }
    }
    connections
}

/// Those of the configuration, and what has sockets from one before.
fn upstreams(routes: &[Arc<Route>], mut tally: Tally) -> Vec<ShownUpstream> {
    let mut shown = Vec::new();
    for route in routes {
        for upstream in route.upstreams() {
            let sockets = tally.take(route.name(), upstream.reach().target());
            shown.push(shown_upstream(route, upstream, sockets));
        }
    }
    shown.extend(tally.0.into_iter().map(|(route, target, sockets)| ShownUpstream {
        route: route.to_string(),
        target: target.to_string(),
        protocol: String::new(),
        sockets,
        open: usize::try_from(sockets).unwrap_or(usize::MAX),
        begun: 0,
        failures: 0,
        trouble: None,
        left: true,
    }));
    shown
}

fn shown_upstream(route: &Route, upstream: &Upstream, sockets: u64) -> ShownUpstream {
    ShownUpstream {
        route: route.name().to_string(),
        target: upstream.reach().target().to_string(),
        protocol: upstream.reach().protocol().to_string(),
        sockets,
        open: upstream.open(),
        begun: upstream.begun(),
        failures: upstream.failures(),
        trouble: upstream.trouble(),
        left: false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::{Config, RouteConfig};
    use crate::live::Live;
    use crate::observe::Exchange;

    fn status(page: &Page) -> serde_json::Value {
        serde_json::from_str(&page.json(Order::Oldest)).unwrap()
    }

    fn socket(live: &Live, uri: &str) -> Exchange {
        let request = Request::get(uri).body(()).unwrap();
        let mut exchange = Exchange::begin(&request, live);
        exchange.came_from([192, 0, 2, 7].into());
        let route = live.find(&request).unwrap();
        exchange.route(&route);
        exchange.upstream(route.upstreams()[0].reach().shared_target());
        exchange.upgraded();
        exchange
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        let request = Request::get("https://example.com/chat?token=hush")
            .header("authorization", "Bearer hush")
            .header("cookie", "session=hush")
            .body(())
            .unwrap();
        let mut open = Exchange::begin(&request, &live);
        open.upgraded();
        drop(Exchange::begin(&request, &live));
        let page = Page::new(live);
        let (text, status) = (page.json(Order::Busiest), status(&page));
        assert_eq!(
            (&status["recent"][0]["path"], &status["open"][0]["path"]),
            (&"/chat".into(), &"example.com/chat".into())
        );
        assert_eq!(status["upstreams"][0]["target"], "http://a:1");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn clients_have_addresses_only_where_that_is_said() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        drop(socket(&live, "https://example.com/"));
        let _open = socket(&live, "https://example.com/");
        let page = Page::new(live);
        assert!(!page.json(Order::Oldest).contains("192.0.2.7"));
        let told = status(&page.show_clients(true));
        assert_eq!(
            (&told["open"][0]["client"], &told["recent"][0]["client"]),
            (&"192.0.2.7".into(), &"192.0.2.7".into())
        );
    }

    #[test]
    fn sockets_are_counted_by_route_and_upstream_and_stay_in_sight_when_these_are_gone() {
        let both = Config::to("http://a:1").route(RouteConfig::new("/api", "http://b:2"));
        let live = Live::new(&both).unwrap();
        let _open: Vec<_> = ["/", "/x", "/api/y"].iter().map(|path| socket(&live, path)).collect();
        let page = Page::new(live.clone());
        let shown = |status: &serde_json::Value| {
            let each = status["upstreams"].as_array().unwrap().iter();
            each.map(|one| (one["route"].to_string(), one["sockets"].to_string(), one["left"].to_string()))
                .collect::<Vec<_>>()
        };
        let row =
            |route: &str, sockets: &str, left: &str| (format!("\"{route}\""), sockets.to_owned(), left.to_owned());
        assert_eq!(shown(&status(&page)), [row("/api", "1", "false"), row("/", "2", "false")]);
        live.reload(&Config::to("http://a:1")).unwrap();
        assert_eq!(shown(&status(&page)), [row("/", "2", "false"), row("/api", "1", "true")]);
    }
}
