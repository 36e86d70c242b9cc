//! Upgrades of hyper's for services that know no others, over a tunnel of ours.
//!
//! A service made for hyper finds its upgrade in the request ([`OnUpgrade`]) and waits for it after it has answered with a
//! 101. Hyper alone makes one, and only for a connection that it serves: so it serves one of a single request, which is said
//! here, and of which nothing leaves this process. What it then gives to the service is the tunnel.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::engine::body::Body;
use crate::engine::stream::{Closer, Ending, Input, Room, StreamHandle};
use crate::engine::tunnel::Handler;

/// What is said to hyper.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// An upgrade that a request was lent. Dropped, it tells whoever waits for it that there is none.
pub(crate) struct LentUpgrade {
    serving: Pin<Box<dyn Future<Output = ()> + Send>>,
    begin: oneshot::Sender<()>,
    tunnel: Tunnel,
}

impl LentUpgrade {
    /// Puts an upgrade of hyper's into the request.
    pub(crate) fn put_into(request: &mut Request<Body>) -> Option<Self> {
        let found = Arc::new(Mutex::new(None::<OnUpgrade>));
        let (begin, begun) = oneshot::channel();
        let (finder, begun) = (found.clone(), Mutex::new(Some(begun)));
        let service = service_fn(move |mut request: Request<Incoming>| {
            *lock(&finder) = request.extensions_mut().remove::<OnUpgrade>();
            let begun = lock(&begun).take();
            async move {
                if let Some(begun) = begun {
                    begun.await.ok();
                }
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok::<_, Infallible>(response)
            }
        });
        let tunnel = Tunnel::default();
        let transport =
            TokioIo::new(Io { said: REQUEST, answered: false, tunnel: tunnel.clone(), input: BytesMut::new() });
        let http = http1::Builder::new().serve_connection(transport, service).with_upgrades();
        let mut serving: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { drop(http.await) });
        // Hyper asks its service as soon as it has read the request.
        let served = serving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        debug_assert!(served.is_pending(), "the answer is to come");
        let upgrade = lock(&found).take()?;
        request.extensions_mut().insert(upgrade);
        Some(Self { serving, begin, tunnel })
    }

    /// The 101 was sent: whoever waits for the upgrade gets the tunnel of `handle`.
    pub(crate) fn begin(self, handle: StreamHandle) -> Handler {
        let Self { serving, begin, tunnel } = self;
        handle.close_by(Box::new(Silence), BytesMut::new());
        *lock(&tunnel.0) = State::Open(handle);
        begin.send(()).ok();
        Box::pin(async move {
            serving.await;
            None
        })
    }
}

/// The last words of a tunnel whose protocol is not ours: none, but its half ends behind all that was said.
struct Silence;

impl Closer for Silence {
    fn close(&mut self, _: u16, _: &mut BytesMut) {}

    fn hear(&mut self, _: BytesMut) -> bool {
        false
    }
}

#[derive(Clone, Default)]
struct Tunnel(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open(StreamHandle),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The transport below hyper: first the request that is said here, and its answer, which goes nowhere; then the tunnel.
struct Io {
    said: &'static [u8],
    answered: bool,
    tunnel: Tunnel,
    input: BytesMut,
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.said.is_empty() {
            let length = this.said.len().min(buffer.remaining());
            buffer.put_slice(&this.said[..length]);
            this.said = &this.said[length..];
            return Poll::Ready(Ok(()));
        }
        let State::Open(handle) = &*lock(&this.tunnel.0) else { return Poll::Pending };
        if !this.answered {
            return Poll::Pending;
        }
        while this.input.is_empty() {
            match ready!(handle.poll_read(cx, &mut this.input)).map_err(io::Error::other)? {
                Input::Octets | Input::Notice(_) => {}
                Input::End => return Poll::Ready(Ok(())),
            }
        }
        let length = this.input.len().min(buffer.remaining());
        buffer.put_slice(&this.input[..length]);
        this.input.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.answered {
            // Hyper writes a head at once.
            this.answered = true;
            return Poll::Ready(Ok(octets.len()));
        }
        let State::Open(handle) = &*lock(&this.tunnel.0) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let append = |outbox: &mut BytesMut| (outbox.extend_from_slice(octets), None);
        ready!(handle.poll_append(octets.len(), Room::Wait(cx), append)).map_err(io::Error::other)?;
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &*lock(&self.tunnel.0) {
            State::Open(handle) if self.answered => handle.poll_flush(cx).map_err(io::Error::other),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Open(handle) = &*lock(&self.tunnel.0) {
            handle.append_last(Ending::Now(None), |_| {});
        }
        self.poll_flush(cx)
    }
}
