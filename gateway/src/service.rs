//! The tower service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use sockeye::{Body, BoxError, Peer, Upgrade};
use tower_service::Service;

use crate::answer::Failure;
use crate::http::{Content, Incoming};
use crate::live::Live;
use crate::observe::Exchange;

/// A tower [`Service`] that forwards each request to an upstream of its route: WebSockets, over either version of HTTP on either
/// side, and all else. It stands in a [`sockeye::Server`], alone or below layers and routers that leave a request's extensions as they
/// are, such as axum's:
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use sockeye_gateway::{Config, Gateway, Live};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gateway = Gateway::new(Live::new(&Config::to("http://localhost:3000"))?);
/// let app: Router = Router::new().route("/health", get(async || "well")).fallback_service(gateway);
/// # Ok(())
/// # }
/// ```
///
/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Gateway {
    live: Live,
}

impl Gateway {
    /// Forwards by these routes, as they are at each request.
    pub fn new(live: Live) -> Self {
        Self { live }
    }

    /// The routes, and what is counted.
    pub fn live(&self) -> &Live {
        &self.live
    }
}

impl<B> Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let live = self.live.clone();
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        Box::pin(async move { Ok(forward(live, request).await) })
    }
}

async fn forward(live: Live, mut request: Request<Incoming>) -> Response<Content> {
    let mut exchange = Exchange::begin(&request, &live);
    if let Some(answer) = crate::http::own::answer(&request, live.name()) {
        return answer(exchange);
    }
    let Some(route) = live.find(&request) else { return Failure::no_route().answer(exchange) };
    exchange.route(&route);
    let lease = match route.lease() {
        Ok(lease) => lease,
        Err(unavailable) => return Failure::unavailable(unavailable.to_string()).answer(exchange),
    };
    if !crate::websocket::is_asked_for(&request) {
        return crate::http::forward(request, route.policy(), lease, exchange).await;
    }
    // Who asks leaves the request with the way to its stream.
    let peer = request.extensions().get::<Peer>().cloned();
    match Upgrade::from_request(&mut request) {
        Ok(upgrade) => crate::websocket::open(upgrade, peer, route.policy(), lease, exchange).await,
        Err(refusal) => refuse(&refusal, request.method(), exchange),
    }
}

fn refuse(refusal: &sockeye::socket::Refusal, method: &http::Method, mut exchange: Exchange) -> Response<Content> {
    let response = refusal.response_to(method);
    exchange.status(response.status());
    exchange.ended(crate::observe::End::Failed(refusal.to_string()));
    response.map(|text| Content::from(Body::from(text)))
}
