//! A connection whose first request asks for a WebSocket: ours until it is refused, and then hyper's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use sockeye_proto::h1;

use super::serve;
use crate::engine::body::Body;
use crate::engine::driver::{Application, Driver};
use crate::engine::relay::Then;
use crate::engine::stream::StreamHandle;
use crate::engine::transport::Transport;
use crate::engine::tunnel::{self, Handler};
use crate::server::Server;
use crate::server::answer::{ByService, HttpService};

/// The connection until its request is refused, or its tunnel is over.
pub(crate) struct First<T, S: HttpService> {
    /// By an application that lets go of its service in a tunnel.
    pub(crate) driver: Driver<T, h1::Connection, UntilTunnel<S>>,
    /// Whose settings hold where the client goes on with other requests.
    pub(crate) server: Arc<Server>,
}

/// Answers by a service that is boxed, and dropped once there is a tunnel: nobody asks for anything there, and a socket that is
/// idle for hours pays for no service.
pub(crate) struct UntilTunnel<S>(Option<Box<ByService<S>>>);

impl<S: HttpService> UntilTunnel<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(Some(Box::new(ByService(service))))
    }
}

impl<S: HttpService> Application<h1::Connection> for UntilTunnel<S> {
    type Permit = ();

    fn accept(&mut self, request: Request<Body>, handle: StreamHandle) -> Option<Handler> {
        Application::<h1::Connection>::accept(self.0.as_deref_mut()?, request, handle)
    }
}

impl<T: Transport + 'static, S: HttpService> Future for First<T, S> {
    type Output = Then;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Then> {
        let First { driver, server } = &mut *self;
        let polled = Pin::new(&mut *driver).poll(cx);
        let Poll::Ready(ended) = polled else {
            if driver.is_tunnel() && driver.application().0.is_some() {
                let service = driver.application().0.take();
                tunnel::drop_caught(driver.link().metrics(), service);
            }
            return Poll::Pending;
        };
        let service = driver.application().0.take();
        Poll::Ready(match (driver.leave(), service) {
            (Some((transport, read)), Some(service)) => {
                let link = driver.link().clone();
                Then::Follows(Box::pin(serve(transport, read, link, &server.http2, service.0)))
            }
            _ => Then::Over(ended),
        })
    }
}

// Nothing in it is pinned in place.
impl<T, S: HttpService> Unpin for First<T, S> {}
