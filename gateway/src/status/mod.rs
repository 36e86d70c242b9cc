//! A page that shows a gateway at work, and what it counts; for a listener that is not the public's.
//!
//! | path | |
//! |---|---|
//! | `/` | the page, which looks again every second |
//! | `/status.json` | what it shows |
//! | `/metrics` | what Prometheus reads, of the gateway and of its server |
//!
//! There are addresses of clients and paths in it, but no query, no field and no content.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use sockeye::{Body, Handle};

use crate::live::Live;
use crate::log;
use crate::metrics::Recent;
use crate::upstreams::{Route, Upstream};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing but what is served here; no other page may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// The media type of what Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request for the page or for what is counted. The handle is that of the server that the gateway runs in: with it
/// `/metrics` tells of its connections, too.
pub fn answer<B>(live: &Live, server: Option<&Handle>, request: &Request<B>) -> Response<Body> {
    let (content_type, content) = match request.uri().path() {
        "/" => ("text/html; charset=utf-8", PAGE.to_owned()),
        "/status.css" => ("text/css; charset=utf-8", STYLE.to_owned()),
        "/status.js" => ("text/javascript; charset=utf-8", SCRIPT.to_owned()),
        "/status.json" => ("application/json", json(live)),
        "/metrics" => (PROMETHEUS, metrics(live, server)),
        _ => return plain(StatusCode::NOT_FOUND, "There is nothing here; try / or /metrics.\n"),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Here are only GET, HEAD.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    with_fields(Response::new(Body::from(content)), content_type)
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = with_fields(Response::new(Body::from(text.to_owned())), "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response
}

fn with_fields(mut response: Response<Body>, content_type: &'static str) -> Response<Body> {
    let fields: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn metrics(live: &Live, server: Option<&Handle>) -> String {
    let mut text = live.prometheus();
    if let Some(server) = server {
        text.push_str(&server.prometheus());
    }
    text
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    open_sockets: u64,
    open_requests: u64,
    sockets: u64,
    requests: u64,
    failed: u64,
    received: u64,
    sent: u64,
    routes: Vec<ShownRoute>,
    recent: Vec<ShownExchange>,
}

#[derive(Serialize)]
struct ShownRoute {
    path: String,
    host: Option<String>,
    upstreams: Vec<ShownUpstream>,
}

#[derive(Serialize)]
struct ShownUpstream {
    target: String,
    protocol: String,
    open: usize,
    begun: u64,
    failures: u64,
    trouble: Option<String>,
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

fn json(live: &Live) -> String {
    let counts = live.counts();
    let (received, sent) = counts.octets();
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        open_sockets: counts.open_sockets(),
        open_requests: counts.open_requests(),
        sockets: counts.sockets(),
        requests: counts.requests(),
        failed: counts.failed(),
        received,
        sent,
        routes: live.routes().iter().map(|route| shown_route(route)).collect(),
        recent: counts.recent().iter().rev().map(shown_exchange).collect(),
    };
    serde_json::to_string(&status).unwrap_or_default()
}

fn shown_route(route: &Route) -> ShownRoute {
    let path = if route.path().is_empty() { "/" } else { route.path() };
    ShownRoute {
        path: path.to_owned(),
        host: route.host().map(str::to_owned),
        upstreams: route.upstreams().iter().map(|upstream| shown_upstream(upstream)).collect(),
    }
}

fn shown_upstream(upstream: &Upstream) -> ShownUpstream {
    ShownUpstream {
        target: upstream.reach().target().to_string(),
        protocol: upstream.reach().protocol().to_string(),
        open: upstream.open(),
        begun: upstream.begun(),
        failures: upstream.failures(),
        trouble: upstream.trouble(),
    }
}

fn shown_exchange(recent: &Recent) -> ShownExchange {
    let told = &recent.told;
    ShownExchange {
        number: recent.number,
        client: told.client.map(|client| client.to_string()),
        what: if told.websocket { "WebSocket".to_owned() } else { told.method.to_string() },
        host: told.host.to_string(),
        path: told.path.to_string(),
        version: log::version(told.version),
        status: told.status.map(|status| status.as_u16()),
        upstream: told.upstream.as_ref().map(ToString::to_string),
        received: told.received,
        sent: told.sent,
        seconds: recent.took.as_secs_f64(),
        end: told.end.name(),
        reason: told.end.reason().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::observe::Exchange;

    fn get(live: &Live, method: Method, path: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        answer(live, None, &request)
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        let request = Request::get("https://example.com/chat?token=hush")
            .header("authorization", "Bearer hush")
            .header("cookie", "session=hush")
            .body(())
            .unwrap();
        drop(Exchange::begin(&request, &live));
        let shown = json(&live);
        let status: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(status["recent"][0]["path"], "/chat");
        assert_eq!(status["routes"][0]["upstreams"][0]["target"], "http://a:1");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn there_is_a_page_what_it_needs_and_nothing_else() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        for path in ["/", "/status.css", "/status.js", "/status.json", "/metrics"] {
            let response = get(&live, Method::GET, path);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        }
        assert_eq!(get(&live, Method::POST, "/").status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(get(&live, Method::GET, "/x").status(), StatusCode::NOT_FOUND);
        for inline in ["<style", "onclick", " style=", "http://", "https://"] {
            assert!(!PAGE.contains(inline), "the page's own policy forbids {inline}");
        }
    }
}
