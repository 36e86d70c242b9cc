//! Octets both ways, until both have ended or one has broken off.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use sockeye::{Reason, Tunnel};
use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::time::Sleep;

use super::boundary::Boundary;
use super::end::End;
use crate::observe::{self, Exchange};
use crate::reach::Stream;
use crate::upstreams::Lease;

/// Octets that are read at once: what a batch of a connection is made of.
const BATCH: usize = 64 << 10;
/// Octets that go one way before others have their turn.
const TURN: usize = 256 << 10;
/// Time for the client's answer to the Close of an upstream that has ended: a round trip, where it has not come before.
const ANSWER: Duration = Duration::from_secs(1);
/// RFC 6455 §5.5.1, §7.4.1: a Close of 1001, as a server sends it.
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

thread_local! {
    /// What is read goes on from here at once. So an idle socket owns no buffer, and one whose reader is slow no more than a batch.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BATCH].into());
}

/// What is at the other end of a relay.
pub(super) enum Upstream {
    /// A connection of HTTP/1.1, with the octets that came with the 101.
    Stream(Stream, Bytes),
    /// A stream of HTTP/2.
    Tunnel(Tunnel),
}

impl Upstream {
    pub(super) fn relay(self, client: Tunnel, exchange: Exchange, lease: Lease) -> Relayed {
        match self {
            Self::Stream(stream, early) => Relayed::Stream(Relay::new(client, stream, early, exchange, lease)),
            Self::Tunnel(tunnel) => Relayed::Tunnel(Relay::new(client, tunnel, Bytes::new(), exchange, lease)),
        }
    }
}

/// A relay to either. It is what an open socket consists of here, and an async block would keep twice what it is made of.
pub(super) enum Relayed {
    Stream(Relay<Stream>),
    Tunnel(Relay<Tunnel>),
}

impl Future for Relayed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Stream(relay) => relay.poll_ends(cx),
            Self::Tunnel(relay) => relay.poll_ends(cx),
        }
    }
}

/// One socket on its way through: ready once it is over. While an end takes nothing, nothing is read for it, so that whoever sends
/// is held back (by the window of its stream, or of TCP) and nobody else is.
pub(super) struct Relay<U: End> {
    /// None once the relay is over.
    ends: Option<(Tunnel, U)>,
    to_upstream: Half,
    to_client: Half,
    /// Of what goes to the client.
    boundary: Boundary,
    /// Of what goes to an upstream that ends first.
    to_first: Boundary,
    farewell: Farewell,
    first: Option<observe::End>,
    /// Of an end that is awaited since the other has come.
    closing: Option<Box<Closing>>,
    exchange: Exchange,
    lease: Lease,
}

/// The wait for the second of two ends. RFC 6455 §7.1.1 has both follow a Close at once, and not every peer ends its half:
/// Firefox leaves that of a stream open for as long as the connection lives.
struct Closing {
    due: Pin<Box<Sleep>>,
    /// Octets that had moved when the time began: where more move, it begins again.
    moved: u64,
}

/// How far one direction is.
enum Half {
    /// Octets go on; these were read and found no room yet.
    Moving(Bytes),
    /// Nothing is read, for it would have to wait.
    Held,
    /// Its end is to go on.
    Ending,
    Over,
}

/// Whether the client was told that the gateway goes away (RFC 6455 §7.4.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Unsaid,
    /// The Close has gone, and of the upstream's octets nothing follows it. The client's own Close goes on to the upstream, which
    /// ends the socket in order.
    Said,
}

/// The end that broke off.
enum Broken {
    Reader,
    Writer,
}

impl<U: End> Relay<U> {
    fn new(client: Tunnel, upstream: U, early: Bytes, exchange: Exchange, lease: Lease) -> Self {
        let mut boundary = Boundary::BETWEEN;
        boundary.pass(&early);
        let mut exchange = exchange;
        exchange.sent(early.len() as u64);
        Self {
            ends: Some((client, upstream)),
            to_upstream: Half::Moving(Bytes::new()),
            to_client: Half::Moving(early),
            boundary,
            to_first: Boundary::BETWEEN,
            farewell: Farewell::Unsaid,
            first: None,
            closing: None,
            exchange,
            lease,
        }
    }

    fn poll_ends(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_to_upstream(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_to_client(cx).is_ready() {
            return Poll::Ready(());
        }
        let awaits_upstream = self.awaits_upstream();
        let Some((client, upstream)) = &mut self.ends else { return Poll::Ready(()) };
        if !awaits_upstream {
            self.to_upstream.end(cx, upstream);
        }
        // Whoever is not read from may break off all the same.
        if self.to_upstream.is_stuck()
            && let Poll::Ready(reason) = End::poll_broken(client, cx)
        {
            self.break_off(observe::End::ClientReset, reason);
            return Poll::Ready(());
        }
        if self.to_client.is_stuck()
            && let Poll::Ready(reason) = End::poll_broken(upstream, cx)
            && !self.to_client.goes_on_behind(reason)
        {
            self.break_off(observe::End::UpstreamReset, reason);
            return Poll::Ready(());
        }
        if matches!((&self.to_upstream, &self.to_client), (Half::Over, Half::Over)) {
            self.ends = None;
            let end = self.orderly_end();
            self.exchange.ended(end);
            return Poll::Ready(());
        }
        self.poll_closing(cx)
    }

    /// RFC 6455 §7.1.1: whether the client's end is to wait for the upstream's answer to its Close.
    fn awaits_upstream(&self) -> bool {
        let is_answered = self.boundary.has_closed() || self.to_client.is_over();
        self.to_first.has_closed() && !is_answered && self.farewell == Farewell::Unsaid
    }

    /// How it ended where nothing broke off: as both wanted it where the upstream's Close went on, which is the first or the
    /// answer to the client's (RFC 6455 §7.1.4); else by the one that went without a word.
    fn orderly_end(&mut self) -> observe::End {
        if self.farewell == Farewell::Said {
            return observe::End::Drained;
        }
        let first = self.first.take().filter(|_| !self.boundary.has_closed());
        first.unwrap_or(observe::End::Done)
    }

    /// Where one side has ended, the other has some time to do so as well, from the last octet on: ready once it is over.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.to_upstream.has_ended() && !self.to_client.has_ended() {
            return Poll::Pending;
        }
        // All of the upstream's is said. What it may want is the client's Close, and that its own end is answered: Firefox ends no half.
        let is_answer = self.to_client.is_over() && self.boundary.has_closed() && !self.to_upstream.is_stuck();
        let time = self.lease.reach().timeouts().close;
        let time = if is_answer { time.min(ANSWER) } else { time };
        let moved = self.exchange.octets();
        loop {
            let closing = self
                .closing
                .get_or_insert_with(|| Box::new(Closing { due: Box::pin(tokio::time::sleep(time)), moved }));
            ready!(closing.due.as_mut().poll(cx));
            if closing.moved == moved {
                break;
            }
            self.closing = None;
        }
        if is_answer {
            (self.to_upstream, self.closing) = (Half::Ending, None);
            return self.poll_ends(cx);
        }
        let Some((client, upstream)) = self.ends.take() else { return Poll::Ready(()) };
        // RFC 9113 §8.1: what we had to say is said, and nothing is wrong.
        let reason = if self.to_client.is_over() { Reason::NO_ERROR } else { Reason::CANCEL };
        client.abort(reason);
        upstream.abort(Reason::CANCEL);
        let end = self.orderly_end();
        self.exchange.ended(end);
        Poll::Ready(())
    }

    /// Ready where the relay is over.
    fn poll_to_upstream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((client, upstream)) = &mut self.ends else { return Poll::Ready(()) };
        let mut received = 0;
        let to_first = &mut self.to_first;
        let moved = self.to_upstream.poll(cx, client, upstream, |octets| {
            received += octets.len() as u64;
            if U::ENDS_FIRST {
                to_first.pass(octets);
            }
            Pass::All
        });
        if received > 0 {
            self.exchange.received(received);
        }
        match moved {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.first.get_or_insert(observe::End::ClientLeft);
                Poll::Pending
            }
            Poll::Ready(Err(Broken::Reader)) => {
                let reason = client.reason();
                self.break_off(observe::End::ClientReset, reason);
                Poll::Ready(())
            }
            Poll::Ready(Err(Broken::Writer)) => {
                // What the upstream said before it left is the client's still.
                self.to_upstream = Half::Over;
                if self.poll_to_client(cx).is_ready() || self.to_client.is_over() {
                    return Poll::Pending;
                }
                if self.to_client.goes_on_behind(self.upstreams_reason()) {
                    return Poll::Pending;
                }
                self.break_off_upstreams();
                Poll::Ready(())
            }
        }
    }

    /// Ready where the relay is over.
    fn poll_to_client(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((client, upstream)) = &mut self.ends else { return Poll::Ready(()) };
        let Self { boundary, farewell, .. } = self;
        let mut sent = 0;
        let draining = client.is_draining() && !boundary.has_closed();
        if draining && *farewell == Farewell::Unsaid && boundary.is_between() && self.to_client.follow(&GOING_AWAY) {
            *farewell = Farewell::Said;
        }
        let moved = self.to_client.poll(cx, upstream, client, |octets| {
            if *farewell == Farewell::Said {
                return Pass::Nothing;
            }
            if !draining {
                boundary.pass(octets);
                sent += octets.len() as u64;
                return Pass::All;
            }
            let end = boundary.pass_to_end(octets);
            sent += end as u64;
            if !boundary.is_between() {
                return Pass::All;
            }
            *farewell = Farewell::Said;
            Pass::Last(end, &GOING_AWAY)
        });
        if sent > 0 {
            self.exchange.sent(sent);
        }
        match moved {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.first.get_or_insert(observe::End::UpstreamLeft);
                self.to_client.end(cx, client);
                Poll::Pending
            }
            Poll::Ready(Err(Broken::Reader)) => {
                self.break_off_upstreams();
                Poll::Ready(())
            }
            Poll::Ready(Err(Broken::Writer)) => {
                let reason = client.reason();
                self.break_off(observe::End::ClientReset, reason);
                Poll::Ready(())
            }
        }
    }

    fn upstreams_reason(&self) -> Reason {
        self.ends.as_ref().map_or(Reason::CANCEL, |(_, upstream)| upstream.reason())
    }

    fn break_off_upstreams(&mut self) {
        self.break_off(observe::End::UpstreamReset, self.upstreams_reason());
    }

    /// One end is gone: the other is told so.
    fn break_off(&mut self, end: observe::End, reason: Reason) {
        let Some((mut client, upstream)) = self.ends.take() else { return };
        match end {
            // RFC 9113 §8.1: it had said all, and what of it waits for the client is to arrive.
            observe::End::UpstreamReset if reason == Reason::NO_ERROR => {
                let _ = Pin::new(&mut client).poll_shutdown(&mut Context::from_waker(Waker::noop()));
            }
            observe::End::UpstreamReset => client.abort(reason),
            _ => upstream.abort(reason),
        }
        // What is reset behind the other side's end, or for no error (RFC 9113 §8.1), had ended before.
        let had_ended = match (&self.first, &end) {
            (None, _) => reason == Reason::NO_ERROR && self.boundary.has_closed(),
            (Some(observe::End::UpstreamLeft), observe::End::ClientReset)
            | (Some(observe::End::ClientLeft), observe::End::UpstreamReset) => true,
            (Some(_), _) => reason == Reason::NO_ERROR,
        };
        let end = if had_ended { self.orderly_end() } else { end };
        self.exchange.ended(end);
    }
}

/// What of some octets goes on.
enum Pass<'a> {
    All,
    Nothing,
    /// So many, then these, and nothing of what follows.
    Last(usize, &'a [u8]),
}

impl Half {
    fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Whether nobody reads just now.
    fn is_stuck(&self) -> bool {
        !matches!(self, Self::Moving(rest) if rest.is_empty())
    }

    fn has_ended(&self) -> bool {
        matches!(self, Self::Ending | Self::Over)
    }

    /// RFC 9113 §8.1: whether what a side had said is still on its way, though it is reset for this reason.
    fn goes_on_behind(&self, reason: Reason) -> bool {
        reason == Reason::NO_ERROR && !self.has_ended()
    }

    /// Puts octets of our own behind all that was read; whether that goes.
    fn follow(&mut self, octets: &[u8]) -> bool {
        let behind = match self {
            Self::Moving(rest) => &rest[..],
            Self::Held => &[],
            Self::Ending | Self::Over => return false,
        };
        *self = Self::Moving([behind, octets].concat().into());
        true
    }

    /// Has an end that came go on. One that can no longer be told has gone.
    fn end<W: End>(&mut self, cx: &mut Context<'_>, writer: &mut W) {
        if matches!(self, Self::Ending) && Pin::new(writer).poll_shutdown(cx).is_ready() {
            *self = Self::Over;
        }
    }

    /// Moves octets: ready once the end has come.
    fn poll<'a, R: End, W: End>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        mut pass: impl FnMut(&[u8]) -> Pass<'a>,
    ) -> Poll<Result<(), Broken>> {
        let mut moved = 0;
        loop {
            match self {
                Self::Ending | Self::Over => return Poll::Ready(Ok(())),
                Self::Moving(rest) if !rest.is_empty() => {
                    let written = ready!(write(cx, writer, rest))?;
                    rest.advance(written);
                    if rest.is_empty() {
                        *rest = Bytes::new();
                    }
                }
                Self::Moving(_) if moved >= TURN => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Self::Held | Self::Moving(_) => {
                    *self = Self::Held;
                    let room = ready!(writer.poll_room(cx)).map_err(|_| Broken::Writer)?;
                    *self = Self::Moving(Bytes::new());
                    let read =
                        SCRATCH.with_borrow_mut(|scratch| move_some(cx, reader, writer, room, scratch, &mut pass));
                    match read {
                        Poll::Pending => {
                            let _ = writer.poll_send(cx).map_err(|_| Broken::Writer)?;
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(Moved::Octets(octets, left))) => {
                            moved += octets;
                            *self = Self::Moving(left);
                        }
                        Poll::Ready(Ok(Moved::End)) => *self = Self::Ending,
                        Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                    }
                }
            }
        }
    }
}

enum Moved {
    /// So many were read, and these found no room.
    Octets(usize, Bytes),
    End,
}

/// One read, and a write of all that it brought.
fn move_some<'a, R: End, W: End>(
    cx: &mut Context<'_>,
    reader: &mut R,
    writer: &mut W,
    room: usize,
    scratch: &mut [u8],
    pass: &mut impl FnMut(&[u8]) -> Pass<'a>,
) -> Poll<Result<Moved, Broken>> {
    let room = room.min(scratch.len());
    let mut buffer = ReadBuf::new(&mut scratch[..room]);
    ready!(Pin::new(reader).poll_read(cx, &mut buffer)).map_err(|_| Broken::Reader)?;
    let octets = buffer.filled();
    if octets.is_empty() {
        return Poll::Ready(Ok(Moved::End));
    }
    let read = octets.len();
    let left = match pass(octets) {
        Pass::Nothing => Bytes::new(),
        Pass::Last(end, last) => [&octets[..end], last].concat().into(),
        Pass::All => match write(cx, writer, octets)? {
            Poll::Ready(written) if written == read => Bytes::new(),
            Poll::Ready(written) => Bytes::copy_from_slice(&octets[written..]),
            Poll::Pending => Bytes::copy_from_slice(octets),
        },
    };
    Poll::Ready(Ok(Moved::Octets(read, left)))
}

fn write<W: End>(cx: &mut Context<'_>, writer: &mut W, octets: &[u8]) -> Poll<Result<usize, Broken>> {
    let written: io::Result<usize> = ready!(Pin::new(writer).poll_write(cx, octets));
    Poll::Ready(match written {
        Ok(0) | Err(_) => Err(Broken::Writer),
        Ok(written) => Ok(written),
    })
}

impl<U: End> Drop for Relay<U> {
    /// Where the gateway itself ends it, both ends are broken off, the client by the tunnel's own end.
    fn drop(&mut self) {
        if let Some((_client, upstream)) = self.ends.take() {
            upstream.abort(Reason::CANCEL);
        }
    }
}
