//! What `sockeye serve` counts, for Prometheus, on a listener of its own.

use std::time::Duration;

use anyhow::Result;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use sockeye::server::Listener;
use sockeye::{Body, Handle, Server};
use sockeye_hub::Hub;

use crate::listeners::{self, Listen};
use crate::out;
use crate::served::Served;

/// Connections to this listener at once: a few who scrape, and a person who looks.
const MAX_CONNECTIONS: usize = 32;

/// Where it is served, if it is to be.
///
/// # Errors
///
/// It cannot be listened on.
pub(crate) async fn listen(listen: Option<&Listen>) -> Result<Vec<Listener>> {
    match listen {
        Some(listen) => Ok(listeners::at(listen, false).await?),
        None => Ok(Vec::new()),
    }
}

/// Serves what is counted at /metrics, in cleartext, for as long as the program runs: also while the server drains.
pub(crate) fn serve(listener: Listener, handle: Handle, hub: Option<Hub>) -> Result<()> {
    out::print(&match &listener {
        Listener::Tcp(listener) => format!("metrics at http://{}/metrics", listener.local_addr()?),
        other => format!("metrics at /metrics of {other}"),
    })?;
    let time = Duration::from_secs(10);
    let server = Server::new().max_connections(MAX_CONNECTIONS).keep_alive(time, time);
    let counted = move || handle.prometheus() + &hub.as_ref().map(Hub::prometheus).unwrap_or_default();
    let service = Served::own(move |request| std::future::ready(answer(&counted, &request)));
    tokio::spawn(server.serve(listener, service));
    Ok(())
}

fn answer(counted: &impl Fn() -> String, request: &Request<Body>) -> Response<Body> {
    let (status, content) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, counted()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "Here are only GET, HEAD.\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "There is nothing here; try /metrics.\n".to_owned()),
    };
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Handle::PROMETHEUS));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
