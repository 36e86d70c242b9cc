//! One connection in memory, and the threads of a model.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;
use std::{io, mem};

use bytes::BytesMut;
use http::Version;
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use sockeye_proto::h1;
use sockeye_proto::ws::{self, CloseCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::driver::{Abort, Driver, NoMore};
use crate::engine::link::{ConnectionInfo, Limits, Link, Side};
use crate::engine::stream::{Closer, Input, Room, StreamCell, StreamHandle};
use crate::engine::tunnel::Handler;
use crate::error::Result;
use crate::socket::WebSocket;

/// A task, in a thread of its own: it is polled, and sleeps until it is woken.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let sleep = Arc::new(Sleep::default());
    let waker = Waker::from(sleep.clone());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        sleep.wait();
    }
}

/// As a task of a runtime, it is not asleep to whoever wakes it early.
#[derive(Default)]
struct Sleep {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Sleep {
    fn wait(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.condvar.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Wake for Sleep {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.condvar.notify_one();
    }
}

pub(super) fn spawn<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    thread::spawn(run)
}

/// What is seen from outside, by all threads.
type Seen<T> = Arc<std::sync::Mutex<T>>;

/// What the peer does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// It sends this.
    Send(Vec<u8>),
    /// It waits until it has got this many octets.
    Wait(usize),
    /// It ends its half.
    End,
    /// Its connection breaks off.
    Fail,
}

/// The peer's end of the transport; once its steps are done it waits for our end and ends then.
pub(super) struct Wire {
    steps: VecDeque<Step>,
    got: Seen<Got>,
    reader: Option<Waker>,
}

/// What the peer has got.
#[derive(Default)]
pub(super) struct Got {
    pub(super) octets: Vec<u8>,
    /// How often our half was ended.
    pub(super) ends: usize,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_ready = match self.steps.front() {
            None => self.got.lock().unwrap().ends > 0,
            Some(Step::Wait(octets)) => self.got.lock().unwrap().octets.len() >= *octets,
            Some(_) => true,
        };
        if !is_ready {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match self.steps.front().cloned() {
            Some(Step::Wait(_)) => {
                // What comes next comes later: the connection may go to sleep before.
                self.steps.pop_front();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Send(octets)) => {
                self.steps.pop_front();
                buffer.put_slice(&octets);
            }
            Some(Step::Fail) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Step::End) | None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    fn got(&mut self, take: impl FnOnce(&mut Got)) {
        take(&mut self.got.lock().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Abort for Wire {}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        assert_eq!(self.got.lock().unwrap().ends, 0, "nothing follows our end");
        self.got(|got| got.octets.extend_from_slice(octets));
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.got(|got| got.ends += 1);
        Poll::Ready(Ok(()))
    }
}

/// A tunnel through a connection that is driven by nobody yet.
pub(super) struct Tunnel {
    cell: Arc<StreamCell>,
    got: Seen<Got>,
    wire: Wire,
}

/// What tells how a tunnel has ended, and keeps nothing of it.
pub(super) struct Remains {
    cell: Weak<StreamCell>,
    link: Weak<Link>,
    got: Seen<Got>,
}

impl Tunnel {
    pub(super) fn new(steps: impl Into<VecDeque<Step>>) -> Self {
        Self::limited(Limits::default(), steps)
    }

    pub(super) fn limited(limits: Limits, steps: impl Into<VecDeque<Step>>) -> Self {
        // What a batch does must not depend on the clock.
        let limits = Limits { slice: Duration::from_secs(3600), ..limits };
        let info = ConnectionInfo { side: Side::Server, peer: None, version: Version::HTTP_11, secure: false };
        let link = Link::alone(limits, info);
        let got = Seen::default();
        let wire = Wire { steps: steps.into(), got: got.clone(), reader: None };
        Self { cell: StreamCell::new_tunnel(link), got, wire }
    }

    pub(super) fn link(&self) -> Arc<Link> {
        self.cell.link().clone()
    }

    pub(super) fn owner(&self) -> StreamHandle {
        StreamHandle::new(&self.cell)
    }

    /// A WebSocket on the tunnel.
    pub(super) fn socket(&self) -> WebSocket {
        let machine = ws::WebSocket::new(ws::Role::Server, ws::Config::default());
        let (request, ()) = http::Request::new(()).into_parts();
        WebSocket::new(machine, self.owner(), request, None)
    }

    /// Whose task is not running yet.
    pub(super) fn connection(self, handler: Option<Handler>) -> (Connection, Remains) {
        let Self { cell, got, wire } = self;
        let remains = Remains { cell: Arc::downgrade(&cell), link: Arc::downgrade(cell.link()), got };
        (Driver::of_tunnel(wire, BytesMut::new(), cell, handler), remains)
    }

    /// Runs the connection's task in a thread of its own.
    pub(super) fn run(self, handler: Option<Handler>) -> (JoinHandle<Result>, Remains) {
        let (connection, remains) = self.connection(handler);
        (spawn(move || block_on(connection)), remains)
    }
}

pub(super) type Connection = Driver<Wire, h1::Connection, NoMore>;

impl Remains {
    /// Looks at what the peer has got so far.
    pub(super) fn look(&self, look: impl FnOnce(&Got)) {
        look(&self.got.lock().unwrap());
    }

    /// All that the peer got, once nobody holds anything of the connection any more.
    pub(super) fn got(self) -> String {
        assert!(self.cell.upgrade().is_none(), "the cell is freed");
        assert!(self.link.upgrade().is_none(), "the connection is freed");
        let got = self.got.lock().unwrap();
        assert!(got.ends <= 1, "our half ends once");
        String::from_utf8(got.octets.clone()).unwrap()
    }

    /// The frames that the peer got.
    pub(super) fn frames(self) -> Vec<Frame> {
        let got = self.got.clone();
        assert!(self.cell.upgrade().is_none(), "the cell is freed");
        assert!(self.link.upgrade().is_none(), "the connection is freed");
        let got = got.lock().unwrap();
        let mut octets = &got.octets[..];
        let mut frames = Vec::new();
        while let [head, size, rest @ ..] = octets {
            let (payload, rest) = rest.split_at(usize::from(*size));
            frames.push(Frame { head: *head, payload: payload.escape_ascii().to_string() });
            octets = rest;
        }
        assert!(octets.is_empty(), "frames are whole");
        frames
    }
}

/// A small frame without a mask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) head: u8,
    pub(super) payload: String,
}

impl Frame {
    pub(super) fn is_close(&self) -> bool {
        self.head == 0x88
    }
}

/// A frame as a client sends it, masked by nothing.
pub(super) fn client_frame(head: u8, payload: &[u8]) -> Vec<u8> {
    [&[head, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// A client's Close.
pub(super) fn client_close() -> Vec<u8> {
    client_frame(0x88, &u16::from(CloseCode::NORMAL).to_be_bytes())
}

/// Sends octets, once there is room for them.
pub(super) async fn send(owner: &StreamHandle, octets: &'static str) -> Result {
    poll_fn(|cx| {
        owner.poll_append(octets.len(), Room::Wait(cx), |output| (output.extend_from_slice(octets.as_bytes()), None))
    })
    .await
}

/// Receives until this many octets have come, or the end; what has come.
pub(super) async fn receive(owner: &StreamHandle, octets: usize) -> String {
    let mut input = BytesMut::new();
    poll_fn(|cx| {
        while input.len() < octets {
            // As a socket does, each time.
            if let Some(all) = owner.read_in_place(|octets| (octets.len(), octets.to_vec())) {
                input.extend_from_slice(&all);
            } else if matches!(ready!(owner.poll_read(cx, &mut input)), Ok(Input::End) | Err(_)) {
                break;
            }
        }
        Poll::Ready(String::from_utf8(mem::take(&mut input).into()).unwrap())
    })
    .await
}

pub(super) async fn flush(owner: &StreamHandle) -> Result {
    poll_fn(|cx| owner.poll_flush(cx)).await
}

/// Last words, and what was heard before and after them.
pub(super) struct Words(pub(super) Seen<String>);

impl Closer for Words {
    fn close(&mut self, _: u16, output: &mut BytesMut) {
        output.extend_from_slice(b".");
    }

    fn hear(&mut self, input: BytesMut) -> bool {
        self.0.lock().unwrap().push_str(std::str::from_utf8(&input).unwrap());
        false
    }
}

/// Lets the last owner end the tunnel by a full stop; what is heard of the peer.
pub(super) fn close_by_words(owner: &StreamHandle) -> Seen<String> {
    let heard = Seen::default();
    owner.close_by(Box::new(Words(heard.clone())), BytesMut::new());
    heard
}

/// What is left of `text` without all that is not among `octets`.
pub(super) fn only(text: &str, octets: &str) -> String {
    text.chars().filter(|octet| octets.contains(*octet)).collect()
}

/// Something that one thread gives and a future waits for.
#[derive(Default)]
struct Gift {
    given: bool,
    waiter: Option<Waker>,
}

pub(super) struct Giver(Arc<Mutex<Gift>>);

pub(super) struct Taker(Arc<Mutex<Gift>>);

pub(super) fn signal() -> (Giver, Taker) {
    let gift = Arc::<Mutex<Gift>>::default();
    (Giver(gift.clone()), Taker(gift))
}

impl Giver {
    pub(super) fn give(self) {
        let waiter = {
            let mut gift = self.0.lock().unwrap();
            gift.given = true;
            gift.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl Taker {
    pub(super) async fn wait(self) {
        poll_fn(|cx| {
            let mut gift = self.0.lock().unwrap();
            if gift.given {
                return Poll::Ready(());
            }
            gift.waiter = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
