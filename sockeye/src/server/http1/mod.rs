//! HTTP/1.1, the fallback that every browser needs for its first socket: hyper's, up to the 101, where a first request for a
//! WebSocket is not [ours](First).

mod answering;
mod first;
mod pace;
mod taking;
mod turn;
mod wire;
mod yielding;

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sockeye_proto::h2;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, Sleep, timeout};

use self::answering::answer;
use self::pace::Overdue;
use self::wire::{Line, Next, PeerEnd, Wire};
use self::yielding::Yielding;
use crate::engine::body::Body;
use crate::engine::buffers::MIN_HYPER_SIZE;
use crate::engine::driver::Driver;
use crate::engine::driver::linger::Linger;
use crate::engine::link::{End, Link, Phase};
use crate::engine::metrics::Counter;
use crate::engine::now;
use crate::engine::read_ahead::ReadAhead;
use crate::engine::relay::{self, Then};
use crate::engine::slice::Slice;
use crate::engine::transport::AnyTransport;
use crate::engine::tunnel::{self, Panicked};
use crate::error::{BoxError, Error, Result, Step, Violation};
use crate::server::answer::{AnyService, trace};
use crate::server::builder::Settled;

pub(crate) use self::answering::call;
pub(crate) use self::first::{First, Served};
pub(crate) use self::turn::Turn;

/// Fields of a head that hyper takes without a word: to say the same number would cost an allocation for each request.
const HYPERS_MAX_HEADERS: usize = 100;

/// Serves one connection until it ends or a WebSocket takes it over. Of HTTP/2's limits those of a head hold here, too: past
/// them a request is answered with 431 (RFC 6585 §5).
pub(crate) fn serve(
    transport: AnyTransport,
    read: BytesMut,
    link: Arc<Link>,
    settled: &Settled,
    service: AnyService,
) -> impl Future<Output = Then> + Send + use<> {
    let times = Times { head: settled.handshake_timeout, half_close: settled.http2.half_close_timeout };
    run(transport, read, link, builder(&settled.http2), times, service)
}

async fn run(
    transport: AnyTransport,
    read: BytesMut,
    link: Arc<Link>,
    builder: http1::Builder,
    times: Times,
    service: AnyService,
) -> Then {
    let place = Listed(Some(link.clone()));
    let line = Line::default();
    let wire = TokioIo::new(Wire::new(transport, read, line.clone()));
    let (shared, lines) = (link.clone(), line.clone());
    let answer = service_fn(move |request: Request<Incoming>| {
        shared.count_request();
        let request = request.map(|content| Body::received(content, shared.clone()));
        trace(&request);
        answer(service.clone(), request, shared.clone(), lines.clone())
    });
    let http = builder.serve_connection(wire, answer);
    let http = Http::Plain(http);
    let yielding = Yielding::default();
    let mut task = Task { http, line: line.clone(), times, yielding, overdue: None, gone: None, cut_off: None };
    let ended = poll_fn(|cx| {
        tunnel::catch(link.metrics(), || task.poll(cx, &link))
            .unwrap_or_else(|Panicked| Poll::Ready(Err(Error::application("what the service made panicked"))))
    });
    let ended = ended.await;
    if is_too_large(&ended) {
        link.metrics().count(Counter::HeaderListsRefused);
    }
    // Whatever else the service made is dropped here, which is foreign code.
    let left = tunnel::catch(link.metrics(), || {
        let next = mem::take(&mut line.lock().next);
        match task.http {
            Http::Plain(http) if ended.is_ok() && link.phase() < Phase::Ending => Some((http.into_parts(), next)),
            _ => None,
        }
    });
    if let Ok(Some((parts, next))) = left {
        let (transport, ahead) = parts.io.into_inner().into_parts();
        // Copied: hyper's buffer is large, and would stay for as long as the socket.
        let read = [&parts.read_buf[..], &ahead[..]].concat();
        let read = BytesMut::from(&read[..]);
        drop((parts.read_buf, parts.service, ahead));
        return follow(ReadAhead::new(transport, read), next, link, place).await;
    }
    Then::Over(ended)
}

/// Tells a client whose request is of another major version of HTTP that it is not served here (RFC 9110 §15.6.6).
pub(crate) async fn refuse_version(mut transport: AnyTransport, link: Arc<Link>) -> Then {
    const REFUSAL: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let time = link.limits.failed_timeout;
    let _place = Listed(Some(link));
    let told = async {
        transport.write_all(REFUSAL).await?;
        transport.shutdown().await
    };
    timeout(time, told).await.ok();
    let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    Then::Over(Err(Error::Violation(Violation::Http1 { status, rule: "an HTTP version that is not served".into() })))
}

/// RFC 6585 §5
fn is_too_large(ended: &Result) -> bool {
    let told = match ended {
        Err(Error::Violation(violation)) => violation.status(),
        _ => None,
    };
    told == Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// Hyper's part of a connection.
fn builder(limits: &h2::Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let (max_size, max_fields) = (limits.max_header_list_size as usize, limits.max_header_fields as usize);
    if max_fields != HYPERS_MAX_HEADERS {
        builder.max_headers(max_fields);
    }
    builder
        // What the times of a connection are is for us to say: hyper takes one without a request for one with half a head.
        .header_read_timeout(None)
        .max_header_size(max_size)
        .max_buf_size(max_size.saturating_mul(2).max(MIN_HYPER_SIZE))
        // Whether the client is gone is for us to say: hyper would leave a half-closed one without any answer.
        .half_close(true);
    builder
}

/// What comes after HTTP, where that has ended well.
async fn follow(mut transport: ReadAhead<AnyTransport>, next: Next, link: Arc<Link>, mut place: Listed) -> Then {
    if let Next::Socket(start) = next {
        // From here on it is the socket's, whose connection it is.
        place.0 = None;
        let (cell, handler) = start(link);
        let (transport, read) = transport.into_parts();
        return Then::Follows(relay::last(Driver::of_tunnel(transport, read, cell, Some(handler))));
    }
    // Hyper has done so, but for a connection on which an upgrade was asked for and refused.
    timeout(link.limits.failed_timeout, transport.shutdown()).await.ok();
    if link.is_unread() {
        linger(&mut transport, &link).await;
    }
    Then::Over(Ok(()))
}

/// RFC 9112 §9.6: a client that still sends the content of a request would fail at that, and not read its answer.
async fn linger(transport: &mut ReadAhead<AnyTransport>, link: &Link) {
    let mut linger = Linger::new(&link.limits, true);
    poll_fn(|cx| {
        let phase = link.phase();
        if !link.watch(cx, phase) {
            cx.waker().wake_by_ref();
        }
        if linger.poll_shutdown(cx, transport, link, false) {
            return Poll::Ready(());
        }
        if phase == Phase::Ending {
            linger.hasten(link.limits.failed_timeout);
        }
        linger.poll_deadline(cx)
    })
    .await;
}

/// The connection's place among those of its server, until it is over: whatever still holds a request of it.
struct Listed(Option<Arc<Link>>);

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.leave(End::Lost);
        }
    }
}

/// What a client gets of time.
#[derive(Clone, Copy)]
struct Times {
    /// For the head of a request.
    head: Duration,
    /// For an answer, or more of one, once it has ended its half (RFC 9112 §9.6).
    half_close: Duration,
}

/// A connection while it speaks HTTP.
struct Task<S: HyperService> {
    http: Http<S>,
    line: Line,
    times: Times,
    yielding: Yielding,
    /// Ends no later than the connection has to go on.
    overdue: Option<Pin<Box<Sleep>>>,
    /// When a client that ended its half had its time.
    gone: Option<Pin<Box<Sleep>>>,
    /// When a drain that has begun is over.
    cut_off: Option<Pin<Box<Sleep>>>,
}

/// Hyper gives a connection to whoever holds the upgrade of a request, whatever its response was. So it is told of upgrades
/// only when a 101 is about to go out, or a 2xx to a CONNECT, that is none of ours.
enum Http<S: HyperService> {
    Plain(http1::Connection<TokioIo<Wire<AnyTransport>>, S>),
    WithUpgrades(http1::UpgradeableConnection<TokioIo<Wire<AnyTransport>>, S>),
    /// Between the two.
    Changing,
}

/// What [`service_fn`] makes.
trait HyperService:
    hyper::service::HttpService<Incoming, ResBody: http_body::Body<Error: Into<BoxError>> + 'static, Error: Into<BoxError>>
{
}

impl<S> HyperService for S where
    S: hyper::service::HttpService<
            Incoming,
            ResBody: http_body::Body<Error: Into<BoxError>> + 'static,
            Error: Into<BoxError>,
        >
{
}

impl<S: HyperService> Task<S> {
    fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Result> {
        let phase = link.phase();
        if !link.watch(cx, phase) {
            cx.waker().wake_by_ref();
        }
        match phase {
            Phase::Spreading | Phase::Draining => {
                let to_tell = link.told_by().map_or(Duration::ZERO, |until| until.saturating_duration_since(now()));
                if let Poll::Ready(ended) = self.drain(cx, to_tell.saturating_add(link.limits.shutdown_timeout)) {
                    return Poll::Ready(ended);
                }
            }
            Phase::Ending => return Poll::Ready(Ok(())),
            Phase::Running | Phase::Closing => {}
        }
        if self.cut_off.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready()) {
            link.enter(Phase::Ending);
            return Poll::Ready(Ok(()));
        }
        let begun = now();
        let _slice = Slice::begin(begun, link.limits.slice);
        loop {
            self.line.lock().reading = false;
            let Self { http, yielding, .. } = &mut *self;
            if let Poll::Ready(ended) = yielding.poll(cx, |cx| http.poll(cx)) {
                return Poll::Ready(ended.map_err(Error::of_hyper));
            }
            if !self.line.grant() {
                break;
            }
            self.http.allow_upgrades();
        }
        let time = now().saturating_duration_since(begun);
        if time >= link.limits.watchdog {
            link.count_block(time);
        }
        if let Poll::Ready(overdue) = self.poll_overdue(cx, link) {
            return Poll::Ready(overdue);
        }
        self.poll_gone(cx, link)
    }

    /// Ready when the client had its time for what is awaited of it.
    fn poll_overdue(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Result> {
        loop {
            let Some((due, why)) = self.line.lock().pace.due(&link.limits, self.times.head) else {
                return Poll::Pending;
            };
            let timer = self.overdue.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            // A timer that fires too early is set again then: to set it whenever the time moves would cost more.
            if timer.is_elapsed() || timer.deadline().into_std() > due {
                timer.as_mut().reset(due.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if due <= now() {
                return Poll::Ready(end_overdue(why, link));
            }
        }
    }

    /// Takes no more requests; what is under way has so much time, or what is left of what it was given before.
    fn drain(&mut self, cx: &mut Context<'_>, time: Duration) -> Poll<Result> {
        if let Some(cut_off) = &mut self.cut_off {
            let due = Instant::now().checked_add(time).filter(|due| *due < cut_off.deadline());
            if let Some(due) = due {
                cut_off.as_mut().reset(due);
            }
            return Poll::Pending;
        }
        self.cut_off = Some(Box::pin(tokio::time::sleep(time)));
        // Told before it has read anything, hyper would end the connection without an answer to the request that is there.
        if let Poll::Ready(ended) = self.http.poll(cx) {
            return Poll::Ready(ended.map_err(Error::of_hyper));
        }
        self.http.shut_down();
        Poll::Pending
    }

    /// Ready when the client is gone, as far as can be told: one that ended its half may read on, until it takes nothing.
    fn poll_gone(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Result> {
        let mut state = self.line.lock();
        if mem::take(&mut state.written) || state.pace.is_stuck() {
            // It reads on, or has the time of a write.
            self.gone = None;
        }
        match state.peer {
            PeerEnd::Open => return Poll::Pending,
            PeerEnd::Ended if state.pace.is_stuck() => return Poll::Pending,
            PeerEnd::Ended => {}
            PeerEnd::Failed => return Poll::Ready(Err(Error::Disconnected)),
        }
        drop(state);
        let gone = self.gone.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.times.half_close)));
        ready!(gone.as_mut().poll(cx));
        link.metrics().count(Counter::HalfCloseTimeouts);
        Poll::Ready(Err(Error::Disconnected))
    }
}

/// How a connection ends that had its time.
fn end_overdue(why: Overdue, link: &Link) -> Result {
    match why {
        Overdue::Request => {
            link.metrics().count(Counter::IdleTimeouts);
            Ok(())
        }
        Overdue::Head => {
            link.metrics().count(Counter::HandshakeTimeouts);
            Err(Error::Timeout(Step::RequestHead))
        }
        Overdue::Write => {
            link.metrics().count(Counter::WriteTimeouts);
            Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        }
    }
}

impl<S: HyperService> Http<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::Plain(http) => Pin::new(http).poll(cx),
            Self::WithUpgrades(http) => Pin::new(http).poll(cx),
            Self::Changing => Poll::Ready(Ok(())),
        }
    }

    fn shut_down(&mut self) {
        match self {
            Self::Plain(http) => Pin::new(http).graceful_shutdown(),
            Self::WithUpgrades(http) => Pin::new(http).graceful_shutdown(),
            Self::Changing => {}
        }
    }

    fn allow_upgrades(&mut self) {
        *self = match mem::replace(self, Self::Changing) {
            Self::Plain(http) => Self::WithUpgrades(http.with_upgrades()),
            other => other,
        };
    }
}
