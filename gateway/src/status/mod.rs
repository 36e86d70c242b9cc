//! A page that shows a gateway at work, and what it counts; for a listener that is not the public's.
//!
//! | path | |
//! |---|---|
//! | `/` | the page, which looks again every second |
//! | `/status.json` | what it shows |
//! | `/metrics` | what Prometheus reads, of the gateway and of its server |
//!
//! There are paths and upstreams in it, and no query, no field and no content. Addresses of clients are shown where that is
//! [said](Page::show_clients).

mod json;

use std::pin::pin;
use std::task::{Context, Waker};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use sockeye::{Body, Handle};

use crate::live::Live;
use crate::open::Order;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing but what is served here; no other page may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// The media type of what Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What shows a gateway at work. Clones show the same.
#[derive(Clone, Debug)]
pub struct Page {
    live: Live,
    server: Option<Handle>,
    shows_clients: bool,
}

impl Page {
    /// Shows this gateway, and the addresses of no client.
    pub fn new(live: Live) -> Self {
        Self { live, server: None, shows_clients: false }
    }

    /// Shows the server that the gateway runs in, too: its connections, whether it ends, and in `/metrics` all that it counts.
    #[must_use]
    pub fn server(mut self, handle: Handle) -> Self {
        self.server = Some(handle);
        self
    }

    /// Whether clients' addresses are shown. They are not by default: whoever may look at a gateway need not know who uses it.
    #[must_use]
    pub fn show_clients(mut self, shown: bool) -> Self {
        self.shows_clients = shown;
        self
    }

    /// Answers a request for the page or for what is counted.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let (content_type, content) = match request.uri().path() {
            "/" => ("text/html; charset=utf-8", PAGE.to_owned()),
            "/status.css" => ("text/css; charset=utf-8", STYLE.to_owned()),
            "/status.js" => ("text/javascript; charset=utf-8", SCRIPT.to_owned()),
            "/status.json" => ("application/json", self.json(order(request.uri().query()))),
            "/metrics" => (PROMETHEUS, self.metrics()),
            _ => return plain(StatusCode::NOT_FOUND, "There is nothing here; try / or /metrics.\n"),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Here are only GET, HEAD.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        with_fields(Response::new(Body::from(content)), content_type)
    }

    fn metrics(&self) -> String {
        let mut text = self.live.prometheus();
        if let Some(server) = &self.server {
            text.push_str(&server.prometheus());
        }
        text
    }

    fn is_draining(&self) -> bool {
        let Some(server) = &self.server else { return false };
        pin!(server.ending()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

/// Which of the open sockets are shown, where there are more than are.
fn order(query: Option<&str>) -> Order {
    match query {
        Some("order=oldest") => Order::Oldest,
        Some("order=newest") => Order::Newest,
        _ => Order::Busiest,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn get(page: &Page, method: Method, path: &str) -> Response<Body> {
        page.answer(&Request::builder().method(method).uri(path).body(()).unwrap())
    }

    #[test]
    fn there_is_a_page_what_it_needs_and_nothing_else() {
        let page = Page::new(Live::new(&Config::to("http://a:1")).unwrap());
        for path in ["/", "/status.css", "/status.js", "/status.json", "/status.json?order=oldest", "/metrics"] {
            let response = get(&page, Method::GET, path);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        }
        assert_eq!(get(&page, Method::POST, "/").status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(get(&page, Method::GET, "/x").status(), StatusCode::NOT_FOUND);
        for inline in ["<style", "onclick", " style=", "http://", "https://"] {
            assert!(!PAGE.contains(inline), "the page's own policy forbids {inline}");
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_is_shown_to_drain() {
        let server = sockeye::Server::new();
        let page = Page::new(Live::new(&Config::to("http://a:1")).unwrap()).server(server.handle());
        assert!(!page.is_draining());
        server.handle().drain(std::time::Duration::from_secs(1));
        assert!(page.is_draining());
    }
}
