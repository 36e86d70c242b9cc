//! Sockets as streams of HTTP/2 (RFC 8441).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Version};
use sockeye_proto::content_length;
use sockeye_proto::h2::{self, OpenError, Reason};
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake, ResponseError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument;

use super::exchange::collect;
use super::fall_back::{Attempt, Failure};
use super::occupancy::{Occupancy, Permit};
use super::open::{Answer, check_protocol, socket, with_key};
use super::request::upload;
use super::{Shared, Versions, within};
use crate::engine::body::Body;
use crate::engine::content::Content;
use crate::engine::driver::{Application, Driver, Opening};
use crate::engine::machine::machine;
use crate::engine::sending::AnyContent;
use crate::engine::stream::{AwaitedResponse, Interims, StreamHandle};
use crate::engine::tunnel::Handler;
use crate::error::{Error, Missing, Result, Step, Violation};
use crate::socket::SocketOptions;

/// Attempts to open a stream on connections that turned out to take none just then.
const MAX_ATTEMPTS: usize = 16;

/// Connections that are made for one socket where each goes away before it takes any: a server that drains may be reached once
/// more before another has taken its place.
const MAX_GONE: usize = 3;

/// What a stream is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An extended CONNECT, which not every server offers (RFC 8441 §3).
    Tunnel,
    /// Any other request.
    Request,
}

/// What is asked on a stream of its own.
pub(super) struct Question {
    pub(super) purpose: Purpose,
    pub(super) request: Request<()>,
    pub(super) interims: Option<Interims>,
    /// For the answer.
    pub(super) time: Option<Duration>,
}

impl Question {
    pub(super) fn tunnel(request: Request<()>, time: Duration) -> Self {
        Self { purpose: Purpose::Tunnel, request, interims: None, time: Some(time) }
    }
}

/// What came of a question.
pub(super) enum Asked {
    Answered(AwaitedResponse, Response<()>),
    /// Nothing was asked: HTTP/1.1 is to be used.
    NotOffered,
    /// It was sent, and the stream ended without an answer.
    Broken(Error),
}

/// The client's hold on one connection, which ends when this and its last stream are gone.
pub(super) struct Connection {
    openings: mpsc::UnboundedSender<Opening<Option<Permit>>>,
    occupancy: Arc<Occupancy>,
    /// Whether the server offers the extended CONNECT (RFC 8441 §3).
    offers_tunnels: bool,
}

impl Connection {
    pub(super) fn occupancy(&self) -> &Arc<Occupancy> {
        &self.occupancy
    }

    /// Whether streams may be opened for this.
    pub(super) fn serves(&self, purpose: Purpose) -> bool {
        purpose == Purpose::Request || self.offers_tunnels
    }

    /// Sends a request on a stream of its own. An error says that nothing was sent.
    async fn open(&self, question: &Question, end_stream: bool, permit: Permit) -> Result<StreamHandle, OpenError> {
        let (reply, opened) = oneshot::channel();
        let Question { request, interims, .. } = question;
        let (request, interims) = (request.clone(), interims.clone());
        let opening = Opening { request, end_stream, interims, permit: Some(permit), reply };
        self.openings.send(opening).map_err(|_| OpenError::Closed)?;
        let opened = opened.await.unwrap_or(Err(OpenError::Closed));
        // What does not pass makes the connection useless; the rest was counted too late.
        if let Err(OpenError::Closed | OpenError::GoingAway | OpenError::StreamIdsUsedUp) = opened {
            self.occupancy.leave();
        }
        opened
    }
}

impl Shared {
    /// Makes an HTTP/2 connection and waits for the server's SETTINGS; `None` where HTTP/1.1 is to be used. Nothing was asked on one
    /// that goes away at once, which its server may do in order: another is made.
    pub(super) async fn make_connection(&self, purpose: Purpose) -> Result<Option<Arc<Connection>>> {
        for attempt in 0..MAX_GONE {
            if attempt > 0 {
                self.back_off.wait(self.settings.back_off).await;
            }
            let made = self.try_connection(purpose).await.inspect_err(|_| self.back_off.fail())?;
            match made {
                Some(connection) if connection.occupancy.is_gone() => self.back_off.fail(),
                made => return Ok(made),
            }
        }
        // A server that goes away at once so often will do so again.
        Err(Error::Disconnected)
    }

    async fn try_connection(&self, purpose: Purpose) -> Result<Option<Arc<Connection>>> {
        let versions = self.settings.versions;
        let established = self.settings.establish(&self.origin, versions).await?;
        if established.version != Version::HTTP_2 {
            self.pool.find_http1();
            self.keep(established);
            self.fall_back();
            return Ok(None);
        }
        let config = self.settings.limits.http2(h2::Role::Client);
        let (openings, requests) = mpsc::unbounded_channel();
        let (offered, offer) = oneshot::channel();
        let occupancy = self.pool.occupancy();
        let opener = Opener {
            openings: Some(requests),
            occupancy: occupancy.clone(),
            max_streams: config.max_concurrent_streams,
            offered: Some(offered),
        };
        let link = self.link(&established);
        let machine = machine(h2::Role::Client, &config);
        let connection = Driver::new(established.transport, BytesMut::new(), machine, link, opener);
        let span = tracing::debug_span!("connection", origin = %self.origin);
        let task = tokio::spawn(connection.instrument(span));
        // Dropped, it ends the connection.
        let mut connection = Connection { openings, occupancy, offers_tunnels: false };
        match within(self.settings.connect_timeout, Step::Settings, offer).await? {
            Ok(offers_tunnels) => {
                connection.offers_tunnels = offers_tunnels;
                if !offers_tunnels && versions == Versions::Any {
                    self.fall_back();
                }
                if connection.serves(purpose) {
                    Ok(Some(Arc::new(connection)))
                } else if versions == Versions::Http2 {
                    Err(Error::NotOffered(Missing::ExtendedConnect))
                } else {
                    Ok(None)
                }
            }
            // The task has ended, and its result says why.
            Err(_) => Err(match task.await.map_err(Error::application)? {
                Err(Error::Violation(Violation::Http2(h2::Violation::FirstFrame))) => {
                    Error::NotOffered(Missing::Http2Preface)
                }
                Err(Error::Violation(Violation::Http2(h2::Violation::TlsAlert))) => {
                    Error::NotOffered(Missing::Cleartext)
                }
                result => result.err().unwrap_or(Error::Disconnected),
            }),
        }
    }

    /// Opens a socket on a stream. An error comes before an extended CONNECT was answered, or without an answer in time.
    pub(super) async fn open_stream(&self, handshake: &ClientHandshake, options: &SocketOptions) -> Result<Attempt> {
        let handshake = &with_key(options, handshake);
        let request = handshake.request(Carrier::Http2).map_err(Error::invalid)?;
        let question = Question::tunnel(request, options.answer_timeout.0);
        match self.ask(&question, None).await? {
            Asked::Answered(awaited, response) => {
                accept(awaited.settle(), question.request, response, handshake, options)
            }
            Asked::NotOffered => Ok(Attempt::Http1(None)),
            Asked::Broken(error @ Error::Reset { reason: Reason::HTTP_1_1_REQUIRED, .. })
                if self.settings.versions == Versions::Any =>
            {
                self.fall_back();
                Ok(Attempt::Http1(Some(error)))
            }
            Asked::Broken(error) => Ok(Attempt::Failed(Failure::Broken(error))),
        }
    }

    /// Asks on a stream of its own, on another connection once more where a server did not act on it. An error says that nothing was
    /// sent, or that there was no answer in time.
    pub(super) async fn ask(&self, question: &Question, mut content: Option<Content<AnyContent>>) -> Result<Asked> {
        let has_content = content.is_some();
        let end_stream = question.purpose == Purpose::Request && !has_content;
        let mut may_repeat = end_stream && question.request.method().is_idempotent();
        let mut refused_by = None;
        for _ in 0..MAX_ATTEMPTS {
            let Some((connection, permit)) = self.reserve(refused_by.as_ref(), question.purpose).await? else {
                return Ok(Asked::NotOffered);
            };
            let handle = match connection.open(question, end_stream, permit).await {
                Ok(handle) => handle,
                Err(error @ OpenError::Malformed) => return Err(Error::invalid(error)),
                Err(_) => continue,
            };
            let awaited = AwaitedResponse::new(handle);
            let handle = awaited.handle();
            let upload = content.take().map(|content| upload(content, handle));
            let waiting = Waiting::begin(&connection.occupancy, question.time);
            let answer = poll_fn(|cx| handle.poll_response(cx));
            let answered = match question.time {
                Some(time) => within(time, Step::Answer, answer).await,
                None => Ok(answer.await),
            };
            drop(waiting);
            match answered? {
                Ok(response) => {
                    connection.occupancy.prove();
                    return Ok(Asked::Answered(awaited, response));
                }
                // RFC 9113 §8.7: nothing was done for it.
                Err(Error::Reset { reason: Reason::REFUSED_STREAM, .. }) if refused_by.is_none() && !has_content => {
                    refused_by = Some(connection)
                }
                // RFC 9110 §9.2.2. One that ends with its first request may do so because of it.
                Err(Error::Disconnected | Error::GoAway { .. }) if may_repeat && connection.occupancy.is_proven() => {
                    may_repeat = false
                }
                // The connection may know more.
                Err(Error::Disconnected | Error::GoAway { .. }) => {
                    return Ok(Asked::Broken(connection.occupancy.error()));
                }
                Err(error) => {
                    let failure = upload.and_then(|mut failure| failure.try_recv().ok());
                    return Ok(Asked::Broken(failure.map_or(error, Error::Application)));
                }
            }
        }
        Err(Error::Timeout(Step::FreeStream))
    }

    /// Reads what a refusal has to say, as far as it comes in time.
    pub(super) async fn read_refusal(
        &self,
        handle: StreamHandle,
        response: Response<()>,
        time: Duration,
    ) -> Response<Bytes> {
        let length = content_length(response.headers()).unwrap_or_default();
        let mut content = BytesMut::new();
        let body = Body::stream(handle, length);
        // The stream is given up by RST_STREAM: some servers end the connection over an END_STREAM where they have ended theirs.
        collect(body, &mut content, time).await;
        response.map(|()| content.freeze())
    }
}

/// Silence from a server that is asked something after which its connection may be dead, as after a change of the network: any that
/// is there acknowledges or answers something in this time, and one that does not loses no more than a connection for what is new.
const SILENCE: Duration = Duration::from_secs(1);

/// While an answer is waited for. Where that is given up, be it by the caller's own clock, and nothing at all came meanwhile, what is
/// open on the connection may go on, and what is new goes on another.
struct Waiting<'a> {
    occupancy: &'a Occupancy,
    since: Instant,
    heard: usize,
    /// How long a silence says something.
    silence: Duration,
}

impl<'a> Waiting<'a> {
    /// `time` is all that there is for the answer, where that is known.
    fn begin(occupancy: &'a Occupancy, time: Option<Duration>) -> Self {
        let silence = time.map_or(SILENCE, |time| time.min(SILENCE));
        Self { occupancy, since: Instant::now(), heard: occupancy.heard(), silence }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.occupancy.heard() == self.heard && self.since.elapsed() >= self.silence {
            self.occupancy.leave();
        }
    }
}

fn accept(
    handle: StreamHandle,
    request: Request<()>,
    response: Response<()>,
    handshake: &ClientHandshake,
    options: &SocketOptions,
) -> Result<Attempt> {
    match handshake.check(Carrier::Http2, &response) {
        Ok(accepted) => {
            check_protocol(options, &accepted)?;
            handle.start_tunnel();
            Ok(Attempt::Opened(Box::new(socket(options, handle, request, Answer { response, accepted }))))
        }
        Err(ResponseError::Status(_)) => Ok(Attempt::Failed(Failure::Refused(handle, response))),
        Err(error) => Err(Error::handshake(error)),
    }
}

/// The client's side of a connection's task.
struct Opener {
    /// None once there are no more to come.
    openings: Option<mpsc::UnboundedReceiver<Opening<Option<Permit>>>>,
    occupancy: Arc<Occupancy>,
    /// Our own limit.
    max_streams: u32,
    /// Waits for the first SETTINGS: whether they offer the extended CONNECT.
    offered: Option<oneshot::Sender<bool>>,
}

impl Application<h2::Connection> for Opener {
    type Permit = Option<Permit>;

    /// Never called: a server opens no streams (RFC 9113 §8.4).
    fn accept(&mut self, _: Request<Body>, _: StreamHandle) -> Option<Handler> {
        None
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Option<Opening<Self::Permit>>> {
        let Some(openings) = &mut self.openings else { return Poll::Pending };
        let opening = ready!(openings.poll_recv(cx));
        if opening.is_none() {
            self.openings = None;
        }
        Poll::Ready(opening)
    }

    fn hear(&mut self) {
        self.occupancy.hear();
    }

    fn observe(&mut self, machine: &h2::Connection) {
        if let Some(error) = machine.error() {
            self.occupancy.fail(error, machine.goaway_debug_data());
        }
        if machine.is_closed() || machine.is_going_away() {
            self.occupancy.leave();
        }
        if let Some(settings) = machine.peer_settings() {
            let max_streams = settings.max_concurrent_streams.unwrap_or(u32::MAX).min(self.max_streams);
            self.occupancy.allow(max_streams as usize);
            if let Some(offered) = self.offered.take() {
                offered.send(settings.enable_connect_protocol).ok();
            }
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.occupancy.leave();
    }
}
