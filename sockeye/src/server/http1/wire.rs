//! The transport below hyper, and what its connection's task has to know of it.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::Pace;
use crate::engine::now;
use crate::engine::read_ahead::ReadAhead;
use crate::engine::switch::Start;

/// What the answers, the transport and the task of one connection tell each other; all of them run in that task.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) interim: Interim,
    pub(super) interims: Interims,
    pub(super) next: Next,
    pub(super) peer: PeerEnd,
    /// Hyper has asked to read in this turn, and waits for what comes.
    pub(super) reading: bool,
    /// A peer that ended its half has taken something since.
    pub(super) written: bool,
    pub(super) pace: Pace,
}

/// A 100 that goes before an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Interim {
    #[default]
    None,
    Wanted,
    Sent,
}

/// What a service sends before its answer.
#[derive(Default)]
pub(super) struct Interims {
    /// The request whose answer is awaited; behind it nothing interim may go.
    pub(super) turn: Option<u64>,
    turns: u64,
    /// Whole heads that wait until what hyper wrote before them is out.
    pub(super) waiting: BytesMut,
    /// What is left of those that are being sent: nothing of hyper's goes before it.
    pub(super) begun: BytesMut,
    /// The connection's task, which sends them.
    pub(super) task: Option<Waker>,
}

impl Interims {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.begun.is_empty()
    }

    pub(super) fn begin(&mut self) -> u64 {
        self.turns += 1;
        self.turn = Some(self.turns);
        self.turns
    }
}

/// What follows HTTP on this connection.
#[derive(Default)]
pub(super) enum Next {
    #[default]
    Nothing,
    /// Whoever holds hyper's upgrade waits for the connection's task to let it.
    Asked,
    /// It may have the connection.
    Granted,
    /// A WebSocket.
    Socket(Start),
}

/// What is known of the peer's half.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PeerEnd {
    #[default]
    Open,
    /// There is nothing behind what was read.
    Ended,
    Failed,
}

impl Line {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares the connection for a response that ends HTTP on it, which is to be sent then.
    pub(super) async fn switch(&self, start: Option<Start>, expects_continue: bool) {
        // RFC 9110 §7.8: the 100 goes before the 101.
        if expects_continue {
            self.lock().interim = Interim::Wanted;
            self.wait(|state| state.interim == Interim::Sent).await;
        }
        if let Some(start) = start {
            self.lock().next = Next::Socket(start);
            return;
        }
        self.lock().next = Next::Asked;
        self.wait(|state| matches!(state.next, Next::Granted)).await;
    }

    /// Waits for what the connection's task, or its transport, does in its next turn.
    pub(super) async fn wait(&self, is_done: impl Fn(&State) -> bool) {
        poll_fn(|_| if is_done(&self.lock()) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// A request has come whose response is to be written, until what is returned is dropped.
    pub(super) fn begin_exchange(&self) -> Exchange {
        self.lock().pace.begin_exchange();
        Exchange(self.clone())
    }

    /// For the connection's task: whether hyper's upgrade is asked for, which it then may have.
    pub(super) fn grant(&self) -> bool {
        let mut state = self.lock();
        let asked = matches!(state.next, Next::Asked);
        if asked {
            state.next = Next::Granted;
        }
        asked
    }
}

/// A request and its response, until its content is written.
pub(super) struct Exchange(Line);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.lock().pace.end_exchange(now());
    }
}

/// Looks for the peer's end when nobody reads: while a service waits, its content is not read, or more stands behind the
/// request, hyper does not learn that the client is gone. Flushing is what hyper does in each of its turns, and last.
pub(super) struct Wire<T> {
    transport: ReadAhead<T>,
    line: Line,
    /// Octets of the 100 that are sent.
    sent: usize,
}

/// RFC 9110 §15.2.1
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<T> Wire<T> {
    pub(super) fn new(transport: T, read: BytesMut, line: Line) -> Self {
        if !read.is_empty() {
            line.lock().pace.note_read(now());
        }
        Self { transport: ReadAhead::new(transport, read), line, sent: 0 }
    }

    /// The transport, and what was read ahead of it.
    pub(super) fn into_parts(self) -> (T, BytesMut) {
        self.transport.into_parts()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Sends the 100 that is wanted. Hyper flushes when it has nothing more to write, so that all before it is out.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.lock().interim != Interim::Wanted {
            return Poll::Ready(Ok(()));
        }
        while self.sent < CONTINUE.len() {
            match ready!(Pin::new(self.transport.transport()).poll_write(cx, &CONTINUE[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.sent = 0;
        self.line.lock().interim = Interim::Sent;
        // For the answer, which has been asked already in this turn.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// Begins to send what goes before the answer that is awaited, as [`poll_interim`](Self::poll_interim) does a 100.
    fn poll_interims(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = self.line.lock();
            let interims = &mut state.interims;
            if interims.begun.is_empty() {
                interims.begun = mem::take(&mut interims.waiting);
            }
            if interims.turn.is_some() && !interims.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                interims.task = Some(cx.waker().clone());
            }
        }
        self.poll_begun(cx)
    }

    /// Sends on what was begun.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.line.lock();
        if state.interims.begun.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !state.interims.begun.is_empty() {
            match Pin::new(self.transport.transport()).poll_write(cx, &state.interims.begun) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => state.interims.begun.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    state.pace.stick(now());
                    return Poll::Pending;
                }
            }
        }
        state.interims.begun = BytesMut::new();
        // For the answer, which may wait for it, and which has been asked already in this turn.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// What became of a write, or of a flush.
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        let mut state = self.line.lock();
        match written {
            Poll::Ready(Ok(octets)) => {
                state.written |= state.peer == PeerEnd::Ended;
                state.pace.note_taken(*octets);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => state.pace.stick(now()),
        }
    }

    fn look_for_the_end(&mut self, cx: &mut Context<'_>) {
        let mut state = self.line.lock();
        if state.reading || state.peer != PeerEnd::Open {
            return;
        }
        match self.transport.poll_end(cx) {
            Poll::Ready(Ok(())) => state.peer = PeerEnd::Ended,
            Poll::Ready(Err(_)) => state.peer = PeerEnd::Failed,
            Poll::Pending => {}
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { transport, line, .. } = self.get_mut();
        let before = buffer.filled().len();
        let poll = Pin::new(transport).poll_read(cx, buffer);
        let mut state = line.lock();
        state.reading = poll.is_pending();
        if buffer.filled().len() > before {
            state.pace.note_read(now());
        }
        poll
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
        let written = Pin::new(&mut self.transport).poll_write(cx, octets);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        self.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Also where a peer takes nothing: it may be gone.
        self.look_for_the_end(cx);
        ready!(self.poll_interim(cx))?;
        ready!(self.poll_interims(cx))?;
        let flushed = Pin::new(&mut self.transport).poll_flush(cx);
        match &flushed {
            Poll::Ready(Ok(())) => self.line.lock().pace.note_flushed(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.line.lock().pace.stick(now()),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
