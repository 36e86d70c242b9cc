//! A client of HTTP/2: the machine of `sockeye-proto`, its octets moved by a task, and what it heard written down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use sockeye_proto::h2::{Config, Connection, ConnectionError, Event, OpenError, Reason, Role, StreamId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::within;

/// One connection; clones are the same.
#[derive(Clone)]
pub(crate) struct Client(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to send.
    work: Notify,
    /// Something was heard.
    changed: Notify,
}

/// The machine, and all that it said.
pub(crate) struct State {
    pub(crate) machine: Connection,
    pub(crate) settings: bool,
    pub(crate) pongs: usize,
    pub(crate) goaways: Vec<(u32, Reason)>,
    /// The machine is done; its reason.
    pub(crate) closed: Option<Option<ConnectionError>>,
    /// The server has ended the transport.
    pub(crate) eof: bool,
    streams: HashMap<StreamId, Heard>,
}

/// What was heard of one stream.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) response: Option<Response<()>>,
    /// The interim responses, by their status.
    pub(crate) interim: Vec<u16>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) finished: bool,
    pub(crate) reset: Option<Reason>,
}

/// A response, whole.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) content: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) reset: Option<Reason>,
}

/// The settings of a peer whose windows are those of the protocol, however many streams it has.
pub(crate) fn generous() -> Config {
    Config::default().with(|config| config.max_unread = 1 << 30)
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap(), generous()).await
    }

    /// Waits for the server's SETTINGS.
    pub(crate) async fn over<T>(transport: T, config: Config) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let client = Self::start(transport, config);
        client.until(|state| state.settings.then_some(())).await;
        client
    }

    pub(crate) fn start<T>(transport: T, config: Config) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let state = State {
            machine: Connection::new(Role::Client, config, Instant::now()),
            settings: false,
            pongs: 0,
            goaways: Vec::new(),
            closed: None,
            eof: false,
            streams: HashMap::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Notify::new(), changed: Notify::new() });
        tokio::spawn(drive(transport, shared.clone()));
        Self(shared)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Does something to the machine, and has its output sent.
    pub(crate) fn act<T>(&self, action: impl FnOnce(&mut Connection) -> T) -> T {
        let value = action(&mut self.state().machine);
        self.0.work.notify_one();
        value
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.0.changed.notified();
            if let Some(value) = look(&mut self.state()) {
                return value;
            }
            changed.await;
        }
    }

    pub(crate) fn open(&self, request: &Request<()>, end_stream: bool) -> Result<StreamId, OpenError> {
        let mut state = self.state();
        let id = state.machine.open(request, end_stream)?;
        // The response may be heard as soon as the request is sent.
        state.streams.insert(id, Heard::default());
        drop(state);
        self.0.work.notify_one();
        Ok(id)
    }

    /// The final response's head, or the reset in its place.
    pub(crate) async fn response(&self, id: StreamId) -> Result<Response<()>, Reason> {
        let look = |state: &mut State| {
            let heard = state.heard(id);
            heard.response.take().map(Ok).or(heard.reset.map(Err))
        };
        within(self.until(look)).await
    }

    /// The rest of the response.
    pub(crate) async fn answer(&self, id: StreamId) -> Answer {
        let head = self.response(id).await.unwrap();
        let mut content = BytesMut::new();
        loop {
            match within(self.receive(id)).await {
                Ok(Some(octets)) => content.extend_from_slice(&octets),
                end => {
                    let trailers = self.state().heard(id).trailers.take();
                    return Answer { head, content: content.freeze(), trailers, reset: end.err() };
                }
            }
        }
    }

    /// A request without content.
    pub(crate) async fn get(&self, uri: &str) -> Answer {
        let id = self.open(&Request::get(uri).body(()).unwrap(), true).unwrap();
        self.answer(id).await
    }

    /// The next octets, which gives credit for them; `None` at END_STREAM, an error after a reset.
    pub(crate) async fn receive(&self, id: StreamId) -> Result<Option<BytesMut>, Reason> {
        let octets = self.until(|state| {
            let mut stream = state.machine.stream(id).unwrap();
            if stream.unread() > 0 {
                return Some(Ok(Some(stream.read())));
            }
            let heard = state.heard(id);
            heard.reset.map(Err).or(heard.finished.then_some(Ok(None)))
        });
        let octets = octets.await;
        self.0.work.notify_one();
        octets
    }

    /// Sends octets as the windows allow; false where the stream is closed for that.
    pub(crate) async fn send(&self, id: StreamId, mut octets: &[u8], end_stream: bool) -> bool {
        let sent = self.until(|state| {
            let over = state.closed.is_some();
            let mut stream = state.machine.stream(id).unwrap();
            if over || stream.is_send_closed() {
                return Some(false);
            }
            loop {
                let taken = stream.write(octets, end_stream);
                octets = &octets[taken..];
                // Who is told of nothing wakes the other senders that wait, and they it, without end.
                if taken == 0 && !octets.is_empty() {
                    return None;
                }
                self.0.work.notify_one();
                if octets.is_empty() {
                    return Some(true);
                }
            }
        });
        sent.await
    }

    /// Waits until the server has acted on all that was sent before.
    pub(crate) async fn round_trip(&self) {
        let pongs = self.state().pongs;
        self.act(|machine| machine.ping(*b"so far??"));
        within(self.until(|state| (state.pongs > pongs).then_some(()))).await;
    }

    /// Sends RST_STREAM.
    pub(crate) fn reset(&self, id: StreamId, reason: Reason) {
        self.act(|machine| machine.stream(id).unwrap().reset(reason));
    }
}

impl State {
    pub(crate) fn heard(&mut self, id: StreamId) -> &mut Heard {
        self.streams.get_mut(&id).unwrap()
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Settings => self.settings = true,
            Event::Response { id, response, end_stream } => {
                let heard = self.streams.entry(id).or_default();
                if response.status().is_informational() {
                    heard.interim.push(response.status().as_u16());
                } else {
                    heard.response = Some(*response);
                }
                heard.finished = end_stream;
            }
            Event::Finished { id, trailers } => {
                let heard = self.streams.entry(id).or_default();
                heard.finished = true;
                heard.trailers = trailers.map(|trailers| *trailers);
            }
            Event::Reset { id, reason, .. } => self.streams.entry(id).or_default().reset = Some(reason),
            Event::Pong(_) => self.pongs += 1,
            Event::GoAway { last, reason } => self.goaways.push((last, reason)),
            Event::Closed(error) => self.closed = Some(error),
            _ => {}
        }
    }
}

/// Moves octets until the machine is done or nobody else holds the client.
async fn drive<T: AsyncRead + AsyncWrite + Unpin>(mut transport: T, shared: Arc<Shared>) {
    let mut input = BytesMut::new();
    loop {
        let mut output = BytesMut::new();
        let closed = {
            let mut state = shared.state.lock().unwrap();
            while let Some(event) = state.machine.poll_event() {
                state.note(event);
            }
            state.machine.poll_transmit(&mut output);
            state.closed.is_some()
        };
        shared.changed.notify_waiters();
        if !output.is_empty() && transport.write_all(&output).await.is_err() || closed {
            break;
        }
        if !output.is_empty() {
            // There is room again for streams that wait for their turn: the machine may have more to tell.
            continue;
        }
        tokio::select! {
            read = transport.read_buf(&mut input) => {
                let mut state = shared.state.lock().unwrap();
                if read.unwrap_or(0) == 0 {
                    state.eof = true;
                    state.machine.handle_eof(Instant::now());
                } else {
                    state.machine.handle_data(Instant::now(), &mut input);
                }
            }
            () = shared.work.notified() => {}
        }
        if Arc::strong_count(&shared) == 1 {
            return;
        }
    }
    transport.shutdown().await.ok();
    while transport.read_buf(&mut BytesMut::with_capacity(4096)).await.is_ok_and(|n| n > 0) {}
    shared.state.lock().unwrap().eof = true;
    shared.changed.notify_waiters();
}
