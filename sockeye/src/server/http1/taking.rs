//! A request that asks for an upgrade, and whose service may take the socket over before it returns.

use std::future::Future;

use http::{Request, Response};
#[cfg(feature = "web-socket")]
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;

use crate::engine::body::Body;
#[cfg(feature = "web-socket")]
use crate::engine::switch::Switch;
#[cfg(feature = "web-socket")]
use crate::server::early::Early;

/// The answer to a request.
pub(super) enum Answered<R> {
    /// What the service came to.
    ByService(R),
    /// What the service sent before: a 101 with the start of its socket, or a refusal.
    Early(Response<Body>),
}

/// Where an early answer to this request would arrive; none where it asks for no upgrade.
#[cfg(feature = "web-socket")]
pub(super) fn expect_early(request: &mut Request<Body>) -> Option<oneshot::Receiver<Response<Body>>> {
    request.extensions().get::<OnUpgrade>()?;
    let (early, response) = Early::new();
    request.extensions_mut().insert(early);
    Some(response)
}

/// The same where nobody could take a socket over.
#[cfg(not(feature = "web-socket"))]
pub(super) fn expect_early(_: &mut Request<Body>) -> Option<oneshot::Receiver<Response<Body>>> {
    None
}

/// Waits for the answer to a request. A service that took its socket over goes on as the handler of that socket's connection,
/// as it would in a connection of HTTP/2.
pub(super) async fn answer<R: Send>(
    call: impl Future<Output = R> + Send + 'static,
    early: Option<oneshot::Receiver<Response<Body>>>,
) -> Answered<R> {
    let Some(mut early) = early else { return Answered::ByService(call.await) };
    let mut call = Box::pin(call);
    let answer = tokio::select! {
        biased;
        answer = &mut call => answer,
        // Where nobody can answer early any more, the service alone is waited for.
        Ok(response) = &mut early => return Answered::Early(go_on(response, call).await),
    };
    // What was sent before goes, also where the service returned at once.
    match early.try_recv() {
        Ok(response) => Answered::Early(response),
        Err(_) => Answered::ByService(answer),
    }
}

#[cfg(feature = "web-socket")]
async fn go_on<R: Send>(
    mut response: Response<Body>,
    call: std::pin::Pin<Box<impl Future<Output = R> + Send + 'static>>,
) -> Response<Body> {
    match response.extensions_mut().remove::<Switch>().and_then(|switch| switch.take()) {
        Some(start) => {
            let switch = Switch::new(Box::new(move |link| {
                let (cell, _) = start(link);
                let rest = async {
                    call.await;
                    None
                };
                (cell, Box::pin(rest))
            }));
            response.extensions_mut().insert(switch);
        }
        // A refusal. The service may have more to do, and its own response goes nowhere.
        None => drop(call.await),
    }
    response
}

#[cfg(not(feature = "web-socket"))]
async fn go_on<R>(response: Response<Body>, _: impl Future<Output = R>) -> Response<Body> {
    response
}
