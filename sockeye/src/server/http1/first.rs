//! A connection whose first request asks for a WebSocket: ours until it is refused, and then hyper's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::Request;
use sockeye_proto::h1;

use super::serve;
use crate::engine::body::Body;
use crate::engine::driver::{Application, Driver};
use crate::engine::link::Link;
use crate::engine::relay::Then;
use crate::engine::stream::StreamHandle;
use crate::engine::transport::AnyTransport;
use crate::engine::tunnel::{self, Handler};
use crate::server::answer::ByService;
use crate::server::builder::Settled;

/// The connection until its request is refused, or its tunnel is over.
pub(crate) struct First {
    /// By an application that lets go of its service in a tunnel.
    driver: Driver<AnyTransport, h1::Connection, UntilTunnel>,
}

impl First {
    /// `read` is what stands behind the head of the request that the machine has.
    pub(crate) fn new(
        transport: AnyTransport,
        read: BytesMut,
        machine: h1::Connection,
        link: Arc<Link>,
        served: Served,
    ) -> Self {
        Self { driver: Driver::new(transport, read, machine, link, UntilTunnel(Some(Box::new(served)))) }
    }
}

/// What answers requests.
pub(crate) struct Served {
    pub(crate) service: ByService,
    /// Whose settings hold where the client goes on with other requests.
    pub(crate) server: Arc<Settled>,
}

/// Answers by a service that is boxed, and dropped once there is a tunnel: nobody asks for anything there, and a socket that is
/// idle for hours pays for no service.
struct UntilTunnel(Option<Box<Served>>);

impl Application<h1::Connection> for UntilTunnel {
    type Permit = ();

    fn accept(&mut self, request: Request<Body>, handle: StreamHandle) -> Option<Handler> {
        let Served { service, .. } = self.0.as_deref_mut()?;
        Application::<h1::Connection>::accept(service, request, handle)
    }
}

impl Future for First {
    type Output = Then;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Then> {
        let First { driver } = &mut *self;
        let polled = Pin::new(&mut *driver).poll(cx);
        let Poll::Ready(ended) = polled else {
            if driver.is_tunnel() && driver.application().0.is_some() {
                let served = driver.application().0.take();
                tunnel::drop_caught(driver.link().metrics(), served);
            }
            return Poll::Pending;
        };
        let served = driver.application().0.take();
        Poll::Ready(match (driver.leave(), served) {
            (Some((transport, read)), Some(served)) => {
                let (link, Served { service, server }) = (driver.link().clone(), *served);
                Then::Follows(Box::pin(serve(transport, read, link, &server, service.0)))
            }
            _ => Then::Over(ended),
        })
    }
}

// Nothing in it is pinned in place.
impl Unpin for First {}
