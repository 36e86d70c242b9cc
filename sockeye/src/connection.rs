//! The task that owns one HTTP/2 connection: its transport, its protocol machine and its handlers.
//!
//! A turn is one batch: one read, all of its frames, all the handlers that they wake, one write. Nothing but the cells
//! of [`crate::stream`] crosses to other tasks, so no lock stands around protocol state.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use futures_task::waker_ref;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use sockeye_proto::Loan;
use sockeye_proto::h2::{self, Event, OpenError, Reason, StreamId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tokio_util::io::poll_read_buf;

use crate::carrier::{Carrier, End, MAX_TURNS, Phase, Side};
use crate::content::expects_continue;
use crate::linger::Linger;
use crate::metrics::Counter;
use crate::partings::Partings;
use crate::pulse::{Backlog, Hearing, Pulse, Stamp};
use crate::stream::desk::{Lender, Visit};
use crate::stream::{Awaited, Death, ErrorCode, Outbox, Owner, Parting, Received, Sent, Shared, StreamCell, Waiting};
use crate::tunnel::{self, Handler};
use crate::{Body, Error, Peer, Result, buffers, now};

/// Time without anything to do after which a connection gives up its spare memory.
const IDLE: Duration = Duration::from_secs(1);

/// Octets that are read at once of a transport that has failed: as much as systems keep for one.
const MAX_REST: usize = 8 << 20;

/// What a connection serves: a server's application answers requests, a client's makes them.
pub(crate) trait Application {
    /// What a stream holds until it is gone; one that the peer opened holds the default.
    type Permit: Default;

    /// Server: takes a request; the handler to poll inside the connection's task, none where the request went elsewhere.
    fn accept(&mut self, request: Request<Body>, owner: Owner) -> Option<Handler>;

    /// Client: the next stream to open; `None`, once, when there will be no more.
    fn poll_opening(&mut self, _: &mut Context<'_>) -> Poll<Option<Opening<Self::Permit>>> {
        Poll::Pending
    }

    /// Client: something came from the peer.
    fn hear(&mut self) {}

    /// Client: the peer's settings or its will to take streams have changed.
    fn observe(&mut self, _: &h2::Connection) {}
}

/// A stream that a client opens: an extended CONNECT.
pub(crate) struct Opening<P> {
    pub(crate) request: Request<()>,
    pub(crate) permit: P,
    /// Takes the stream, or why there is none. Nothing was sent then.
    pub(crate) reply: oneshot::Sender<Result<Owner, OpenError>>,
}

/// One HTTP/2 connection, as a future that is done when it is over.
pub(crate) struct Connection<T, A: Application> {
    transport: T,
    application: A,
    machine: h2::Connection,
    carrier: Arc<Carrier>,
    /// By [`StreamId::slot`].
    slots: Vec<Option<Slot<A::Permit>>>,
    ready: Vec<u32>,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
    /// The transport takes nothing since then.
    write_blocked: Option<Instant>,
    read_ended: bool,
    /// The machine stopped before it had taken all of the input.
    behind: bool,
    partings: Partings,
    timer: Option<Pin<Box<Sleep>>>,
    /// Asks silent sockets for a sign of life, if it is to.
    pulse: Option<Box<Pulse>>,
    /// What a cell is stamped with for which something comes in this batch.
    stamp: Stamp,
    phase: Phase,
    /// When something last happened; none once the machine's spare memory was given up since.
    active: Option<Instant>,
    counted: h2::Counters,
    /// What is left when the machine is done.
    linger: Option<Linger>,
    result: Result,
}

/// What belongs to one stream.
struct Slot<P> {
    id: StreamId,
    cell: Arc<StreamCell>,
    handler: Option<Handler>,
    _permit: P,
}

const _: () = assert!(size_of::<Option<Slot<()>>>() <= 32);

impl<P> Slot<P> {
    /// Polls the handler while the connection's buffers lie on its desk, if its cell is calm. Whether they did; otherwise
    /// nothing was done.
    #[inline]
    fn poll_at_desk(&mut self, machine: &mut h2::Connection) -> bool {
        let Some(stream) = machine.stream(self.id).filter(|_| self.cell.is_quiet()) else { return false };
        let Some(_visit) = Visit::begin(&self.cell, stream) else { return false };
        tunnel::poll_caught(&mut self.handler, &self.cell, &waker_ref(&self.cell));
        true
    }

    #[inline]
    fn poll_handler(&mut self) {
        tunnel::poll_caught(&mut self.handler, &self.cell, &waker_ref(&self.cell));
    }

    fn drop_handler(&mut self) {
        tunnel::drop_caught(self.cell.carrier(), self.handler.take());
    }
}

impl Lender for h2::Stream<'_> {
    #[inline]
    fn lend(&mut self, loan: &mut Loan) {
        h2::Stream::lend(self, loan);
    }

    #[inline]
    fn settle(&mut self, loan: &mut Loan) {
        h2::Stream::settle(self, loan);
    }
}

impl<T, A> Connection<T, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    A: Application,
{
    /// `input` is what was read from the transport before.
    pub(crate) fn new(
        transport: T,
        input: BytesMut,
        machine: h2::Connection,
        carrier: Arc<Carrier>,
        application: A,
    ) -> Self {
        let pulse = carrier.limits.pings.map(|times| Box::new(Pulse::new(times, now())));
        Self {
            transport,
            application,
            machine,
            carrier,
            slots: Vec::new(),
            ready: Vec::new(),
            input,
            output: BytesMut::new(),
            unflushed: false,
            write_blocked: None,
            read_ended: false,
            behind: false,
            partings: Partings::default(),
            timer: None,
            pulse,
            stamp: Stamp::default(),
            phase: Phase::Running,
            active: None,
            counted: h2::Counters::default(),
            linger: None,
            result: Ok(()),
        }
    }

    /// Reads once, and hands over what is there; whether anything happened.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.machine.is_stopped() || self.machine.is_closed() {
            return false;
        }
        // First what was left when the machine stopped: to read on would gather whatever a peer sends.
        if self.behind {
            self.hand_over(now);
            return true;
        }
        let before = self.input.len();
        let mut progress = false;
        if !self.read_ended {
            if self.input.capacity() == 0 {
                self.input = self.machine.take_batch();
            }
            buffers::fill(&mut self.input);
            let room = room_to_read(before);
            match poll_read_buf(Pin::new(&mut self.transport), cx, &mut (&mut self.input).limit(room)) {
                Poll::Ready(Ok(0)) => self.end_of_transport(now),
                Poll::Ready(Err(error)) => {
                    self.result = Err(error.into());
                    self.end_of_transport(now);
                }
                Poll::Ready(Ok(_)) => self.application.hear(),
                Poll::Pending => {}
            }
            progress = self.read_ended || self.input.len() > before;
        }
        progress | self.hand_over(now)
    }

    /// Hands the machine what was read, which it may leave when it stops; whether it took anything.
    fn hand_over(&mut self, now: Instant) -> bool {
        let before = self.input.len();
        if before > 0 {
            self.machine.handle_data(now, &mut self.input);
        }
        self.behind = self.machine.is_stopped();
        self.input.len() < before
    }

    fn end_of_transport(&mut self, now: Instant) {
        self.read_ended = true;
        self.hand_over(now);
        self.machine.handle_eof(now);
    }

    /// Handles what the machine has to say, then looks at every stream that changed; whether anything happened.
    fn run(&mut self, now: Instant) -> bool {
        let mut progress = self.handle_events(now);
        let mut ready = mem::take(&mut self.ready);
        self.carrier.take_ready(&mut ready);
        progress |= !ready.is_empty();
        for slot in ready.drain(..) {
            self.visit(slot as usize, now);
        }
        self.ready = ready;
        progress |= self.cast();
        progress | self.handle_events(now)
    }

    /// Sends what groups have for streams here; whether anything was there.
    fn cast(&mut self) -> bool {
        let casts = self.carrier.take_casts();
        for cast in &casts {
            cast.deliver(|cell, frame| {
                let slot = self.slots.get(cell.slot()).and_then(Option::as_ref);
                let slot =
                    slot.filter(|slot| Arc::ptr_eq(&slot.cell, cell) && !cell.takes_no_message() && cell.is_quiet());
                let Some(mut stream) = slot.and_then(|slot| self.machine.stream(slot.id)) else {
                    let had_room = cell.cast(frame);
                    cell.rebook();
                    return had_room;
                };
                let taken = stream.write(frame, false);
                if taken < frame.len() {
                    cell.put_first(frame.slice(taken..));
                    cell.rebook();
                }
                true
            });
        }
        !casts.is_empty()
    }

    fn handle_events(&mut self, now: Instant) -> bool {
        let mut progress = false;
        while let Some(event) = self.machine.poll_event() {
            self.handle_event(event, now);
            progress = true;
        }
        progress
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Request { id, request, end_stream } => self.accept(id, *request, end_stream, now),
            Event::Response { id, response, end_stream } => self.respond(id, *response, end_stream, now),
            Event::Readable(id) => self.handle_readable(id, now),
            Event::Writable(id) => self.exchange(id.slot(), now),
            Event::Finished { id, trailers } => {
                self.end(id, trailers.map(|trailers| *trailers), Received::Finished, now)
            }
            Event::Reset { id, reason, remote } => {
                let side = self.carrier.facts.side;
                let by = if remote { side.peer() } else { side };
                self.end(id, None, Received::Dead(Death::Reset(ErrorCode::new(reason), by)), now);
            }
            Event::Closed(error) => {
                if let Some(h2::ConnectionError::Violation(violation)) = error
                    && let Some(counter) = limit(violation)
                {
                    self.carrier.metrics().count(counter);
                }
                if let (Some(error), Ok(())) = (error, &self.result) {
                    tracing::debug!(%error, "an HTTP/2 connection ended");
                    self.result =
                        Err(connection_error(error, self.machine.goaway_debug_data(), self.carrier.facts.side.peer()));
                }
                self.application.observe(&self.machine);
            }
            Event::Settings | Event::GoAway { .. } => self.application.observe(&self.machine),
            Event::Pong(_) => {}
        }
    }

    fn accept(&mut self, id: StreamId, request: Request<()>, end_stream: bool, now: Instant) {
        self.carrier.count_request();
        let cell = StreamCell::new(self.carrier.clone(), id.slot() as u32);
        let owner = Owner::new(&cell);
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if end_stream {
            cell.end(BytesMut::new(), None, Received::Finished);
        }
        let body = if end_stream || request.method() == Method::CONNECT {
            // RFC 9110 §9.3.6: what follows a CONNECT is the tunnel's, and no content.
            Body::empty()
        } else if expects_continue(request.headers()) {
            Body::expected_stream(owner.share(), length)
        } else {
            Body::stream(owner.share(), length)
        };
        let mut request = request.map(|()| body);
        request.extensions_mut().insert(Peer { carrier: self.carrier.clone(), cell: Some(cell.clone()) });
        cell.start();
        self.insert(id, cell, A::Permit::default());
        // A service is cloned for each request, which is foreign code.
        let handler = tunnel::catch(&self.carrier, || self.application.accept(request, owner));
        if let Some(slot) = &mut self.slots[id.slot()] {
            slot.handler = handler.unwrap_or_default();
        }
        self.look_after(id.slot(), true, now);
    }

    fn insert(&mut self, id: StreamId, cell: Arc<StreamCell>, permit: A::Permit) {
        if self.slots.len() <= id.slot() {
            self.slots.resize_with(id.slot() + 1, || None);
        }
        if self.phase >= Phase::Draining {
            cell.go_away();
        }
        cell.set_stamp(self.stamp);
        self.slots[id.slot()] = Some(Slot { id, cell, handler: None, _permit: permit });
    }

    /// Client: opens the streams that the application asks for; whether anything happened.
    fn open(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Poll::Ready(opening) = self.application.poll_opening(cx) {
            progress = true;
            let Some(Opening { request, permit, reply }) = opening else {
                self.carrier.enter(Phase::Closing);
                break;
            };
            // Whoever asked may have gone away in the meantime.
            if reply.is_closed() {
                continue;
            }
            let opened = self.machine.open(&request, false).map(|id| {
                self.carrier.count_request();
                let cell = StreamCell::new(self.carrier.clone(), id.slot() as u32);
                let owner = Owner::new(&cell);
                self.insert(id, cell, permit);
                owner
            });
            // An owner that nobody takes gives its stream up.
            reply.send(opened).ok();
        }
        progress
    }

    /// Client: hands a response over. The interim ones (RFC 9110 §15.2) have nothing to say to a WebSocket.
    fn respond(&mut self, id: StreamId, response: Response<()>, end_stream: bool, now: Instant) {
        if response.status().is_informational() {
            return;
        }
        let Some(slot) = find(&self.slots, id) else { return };
        slot.cell.respond(response);
        if end_stream {
            self.end(id, None, Received::Finished, now);
        }
    }

    /// Moves what has arrived into the cell, if that is empty, and lets the handler have it at once, while it is in the
    /// processor's cache.
    fn handle_readable(&mut self, id: StreamId, now: Instant) {
        let Self { slots, machine, .. } = self;
        let Some(slot) = slots.get_mut(id.slot()).and_then(Option::as_mut) else { return };
        slot.cell.set_stamp(self.stamp);
        if slot.handler.is_some() && slot.cell.is_listening() && slot.poll_at_desk(machine) {
            if !slot.cell.is_quiet() {
                self.exchange(id.slot(), now);
            }
            return;
        }
        if slot.cell.deliver(|| machine.stream(id).map(|mut stream| stream.read()).unwrap_or_default()) {
            slot.cell.start();
            self.look_after(id.slot(), true, now);
        }
    }

    fn end(&mut self, id: StreamId, trailers: Option<HeaderMap>, received: Received, now: Instant) {
        let Self { slots, machine, .. } = self;
        if let Some(slot) = find(slots, id) {
            let rest = machine.stream(id).map(|mut stream| stream.read()).unwrap_or_default();
            slot.cell.end(rest, trailers, received);
            // Who waits for the stream sees its end before an answer that nobody awaits is dropped.
            self.visit(id.slot(), now);
        }
    }

    /// Looks at a stream of the ready list.
    fn visit(&mut self, index: usize, now: Instant) {
        if let Some(slot) = self.slots.get(index).and_then(Option::as_ref) {
            let woken = slot.cell.start();
            self.look_after(index, woken, now);
        }
    }

    /// Polls the handler of a stream if it was woken, then exchanges what there is.
    fn look_after(&mut self, index: usize, woken: bool, now: Instant) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if woken && !slot.poll_at_desk(&mut self.machine) {
            slot.poll_handler();
        }
        slot.cell.unqueue();
        if !slot.cell.is_quiet() {
            self.exchange(index, now);
        }
    }

    /// Moves octets between a stream's cell and the machine, both ways, and sees to its end.
    fn exchange(&mut self, index: usize, now: Instant) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(mut stream) = self.machine.stream(slot.id) else { return };
        let mut refill = false;
        let mut spare = BytesMut::new();
        let mut shared = slot.cell.lock();
        if shared.is_abandoned() {
            // Nobody reads any more; credit for a tunnel's last frames lets its peer get to its end.
            if shared.tunnel {
                shared.hear(stream.read());
            }
        } else if shared.inbox.is_empty() {
            refill = mem::take(&mut shared.more);
            spare = mem::take(&mut shared.inbox);
        }
        let waiting = send(&mut stream, &mut shared, &mut spare, &self.carrier);
        let mut watcher = None;
        let next = next(&stream, &shared, slot.handler.is_some());
        let awaited = match next {
            Next::GoOn => Awaited::Nothing,
            Next::Await(awaited) => awaited,
            Next::LetGo => {
                shared.outbox = Outbox::default();
                shared.rebook(&self.carrier);
                watcher = shared.take_watcher();
                Awaited::Nothing
            }
        };
        let before = mem::replace(&mut shared.awaited, awaited);
        if awaited.is_peers() && !before.is_peers() {
            stream.dismiss();
        }
        slot.cell.calm_down(&shared);
        drop(shared);
        slot.cell.wake(waiting);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        let id = slot.id;
        if next == Next::LetGo {
            stream.release();
            self.partings.leave(before);
            if let Some(mut slot) = self.slots[index].take() {
                slot.drop_handler();
            }
        } else {
            if awaited != before {
                self.part(id, before, awaited, now);
            }
            if refill {
                self.handle_readable(id, now);
            }
        }
        self.machine.recycle(spare);
    }

    /// What a stream waits for has changed.
    fn part(&mut self, id: StreamId, before: Awaited, awaited: Awaited, now: Instant) {
        self.partings.leave(before);
        if awaited == Awaited::Nothing {
            return;
        }
        let Self { partings, slots, carrier, machine, .. } = self;
        let is_waiting = |id, awaited| find(slots, id).is_some_and(|slot| slot.cell.lock().awaited == awaited);
        partings.push(awaited, now, &carrier.limits, id, machine.stream_count(), is_waiting);
        while let Some(id) = self.partings.pop_handler(self.carrier.limits.outliving_handlers) {
            self.end_waiting(id, Awaited::Handler, now);
        }
    }

    /// What a stream waited for has had its time.
    fn end_waiting(&mut self, id: StreamId, awaited: Awaited, now: Instant) {
        let Some(slot) = self.slots.get_mut(id.slot()).and_then(Option::as_mut) else { return };
        if slot.id != id || slot.cell.lock().awaited != awaited {
            return;
        }
        match awaited {
            Awaited::Handler => {
                self.carrier.metrics().count(Counter::HandlersDropped);
                slot.drop_handler();
            }
            // Both sides have said all: nobody is at fault (RFC 9113 §8.1).
            Awaited::PeersEnd => self.reset(id, Reason::NO_ERROR, None),
            Awaited::Nothing | Awaited::Room | Awaited::OurEnd | Awaited::LastWords => {
                self.carrier.metrics().count(Counter::CloseTimeouts);
                self.reset(id, Reason::CANCEL, None);
            }
        }
        self.exchange(id.slot(), now);
    }

    /// Resets a stream, which is told of its death as of the reset, or otherwise. What had arrived for it is its own still.
    fn reset(&mut self, id: StreamId, reason: Reason, death: Option<Death>) {
        let Some(slot) = find(&self.slots, id) else { return };
        let mut rest = BytesMut::new();
        if let Some(mut stream) = self.machine.stream(id) {
            rest = stream.read();
            stream.reset(reason);
        }
        let death = death.unwrap_or(Death::Reset(ErrorCode::new(reason), self.carrier.facts.side));
        slot.cell.end(rest, None, Received::Dead(death));
    }

    /// Writes as much of the batch as the transport takes; whether anything happened.
    fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        loop {
            if self.output.is_empty() {
                self.machine.poll_transmit(&mut self.output);
                if self.output.is_empty() {
                    progress |= self.flush(cx, now);
                    return progress | (!self.unflushed && self.carrier.settle_flushes());
                }
            }
            match Pin::new(&mut self.transport).poll_write(cx, &self.output) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.output.advance(n);
                    self.unflushed = true;
                    self.unblock(now);
                }
                Poll::Ready(result) => {
                    let error = result.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    self.receive_rest(cx, now);
                    self.abort(error);
                    return true;
                }
                Poll::Pending => {
                    self.write_blocked.get_or_insert(now);
                    return progress;
                }
            }
            progress = true;
        }
    }

    /// A transport such as TLS may keep some of what was written.
    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.unflushed {
            match Pin::new(&mut self.transport).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    self.unblock(now);
                }
                Poll::Ready(Err(error)) => {
                    self.unflushed = false;
                    self.receive_rest(cx, now);
                    self.abort(error);
                    return true;
                }
                Poll::Pending => {
                    self.write_blocked.get_or_insert(now);
                }
            }
        }
        false
    }

    /// The transport takes something again.
    fn unblock(&mut self, now: Instant) {
        if self.write_blocked.take().is_some()
            && let Some(pulse) = &mut self.pulse
        {
            pulse.unblock(now);
        }
    }

    /// Reads what the peer had sent before it went away: it stands in the transport, though that takes nothing any more.
    fn receive_rest(&mut self, cx: &mut Context<'_>, now: Instant) {
        for _ in 0..MAX_REST / buffers::SIZE {
            if !self.receive(cx, now) {
                break;
            }
            self.handle_events(now);
        }
    }

    /// Whether the transport has taken all that there was.
    fn has_written(&self) -> bool {
        self.output.is_empty() && !self.unflushed
    }

    /// The transport takes nothing any more.
    fn abort(&mut self, error: io::Error) {
        if self.result.is_ok() {
            self.result = Err(error.into());
        }
        drop(self.carrier.end(End::Lost));
        self.output = BytesMut::new();
        self.write_blocked = None;
        self.read_ended = true;
        self.machine.handle_eof(now());
        // What it says goes nowhere.
        self.machine.poll_transmit(&mut BytesMut::new());
        self.machine.close(Reason::NO_ERROR);
        self.machine.poll_transmit(&mut BytesMut::new());
    }

    /// Follows the server as it shuts down.
    fn follow(&mut self, now: Instant) {
        let phase = self.carrier.phase();
        if phase == self.phase {
            return;
        }
        if self.phase == Phase::Running {
            self.machine.drain(now);
            self.application.observe(&self.machine);
        }
        if self.phase < Phase::Draining && phase >= Phase::Draining {
            for slot in self.slots.iter().flatten() {
                slot.cell.go_away();
            }
        }
        if phase == Phase::Ending {
            for index in 0..self.slots.len() {
                if let Some(slot) = &mut self.slots[index] {
                    slot.drop_handler();
                }
                self.exchange(index, now);
            }
            self.machine.close(Reason::NO_ERROR);
        }
        self.phase = phase;
    }

    /// Sees to what is due; whether anything was.
    fn handle_timeouts(&mut self, cx: &mut Context<'_>, hearing: Hearing) -> bool {
        let pulse = self.pulse.as_ref().and_then(|pulse| pulse.due());
        let (parting, machine) = (self.partings.next(), self.machine.poll_timeout());
        let dues = [parting, self.write_deadline(), self.idle_deadline(), machine, pulse];
        let Some(due) = dues.into_iter().flatten().min() else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        // A timer that fires too early is set again then: to set it whenever a deadline moves would cost more.
        if timer.is_elapsed() || timer.deadline().into_std() > due {
            timer.as_mut().reset(due.into());
        }
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = now();
        if self.write_deadline().is_some_and(|due| due <= now) {
            self.carrier.metrics().count(Counter::WriteTimeouts);
            self.abort(io::ErrorKind::TimedOut.into());
        }
        if self.idle_deadline().is_some_and(|due| due <= now) {
            self.active = None;
            self.machine.shrink();
            self.slots.shrink_to_fit();
            self.partings.shrink();
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
            // Before any stream is let go of below, whose slot another may take.
            self.handle_events(now);
        }
        while let Some((id, awaited)) = self.partings.pop(now) {
            self.end_waiting(id, awaited, now);
        }
        if pulse.is_some_and(|due| due <= now) {
            self.ask_silent(now, hearing);
        }
        true
    }

    /// Asks the peers of some more silent sockets, and gives up those that did not answer.
    fn ask_silent(&mut self, now: Instant, hearing: Hearing) {
        let Some(mut pulse) = self.pulse.take() else { return };
        let blocked = self.write_blocked.is_some() || self.behind;
        let hearing = if blocked { Hearing::Blocked } else { hearing };
        for index in pulse.advance(now, self.slots.len()) {
            let Self { slots, machine, .. } = self;
            let Some(slot) = slots.get(index).and_then(Option::as_ref) else { continue };
            let backlog = || {
                let stream = machine.stream(slot.id);
                stream.map_or(Backlog { unread: 0, window: 0 }, |stream| Backlog {
                    unread: stream.unread(),
                    window: stream.recv_window(),
                })
            };
            let id = slot.id;
            if pulse.look(index, &slot.cell, hearing, backlog) {
                self.carrier.metrics().count(Counter::PingTimeouts);
                self.reset(id, Reason::CANCEL, Some(Death::Silent));
                self.exchange(index, now);
            }
        }
        pulse.rest(self.slots.len());
        self.pulse = Some(pulse);
    }

    fn write_deadline(&self) -> Option<Instant> {
        self.write_blocked?.checked_add(self.carrier.limits.write_timeout)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        Some(self.active? + IDLE)
    }

    /// The machine is done: the transport is shut down once all it said is written, and the handlers see that their
    /// streams are gone and have some time to end.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.linger.is_none() {
            disconnect(&self.slots, &mut self.machine);
            for slot in self.slots.iter_mut().flatten() {
                if !slot.cell.lock().tunnel {
                    // Nobody awaits the answer any more.
                    if slot.cell.start() {
                        slot.poll_handler();
                    }
                    slot.drop_handler();
                }
            }
        }
        let time = self.carrier.limits.close_timeout;
        let linger = self.linger.get_or_insert_with(|| Linger::new(time));
        let written = self.output.is_empty() && !self.unflushed;
        let shut_down = written && linger.poll_shutdown(cx, &mut self.transport, self.read_ended).is_ready();
        // A socket that is held elsewhere has in its cell all that there will be.
        let handled = self.slots.iter().flatten().all(|slot| slot.handler.is_none());
        if shut_down && handled { Poll::Ready(()) } else { linger.poll_deadline(cx) }
    }

    /// Goes to sleep, without buffers; false if there is something to do.
    fn sleep(&mut self, cx: &Context<'_>) -> bool {
        self.publish_counters();
        buffers::give_back(&mut self.input);
        buffers::give_back(&mut self.machine.take_batch());
        buffers::give_back(&mut self.output);
        self.ready = Vec::new();
        self.carrier.sleep(cx, self.phase, self.has_written())
    }

    fn publish_counters(&mut self) {
        let counters = *self.machine.counters();
        if counters != self.counted {
            let before = mem::replace(&mut self.counted, counters);
            let metrics = self.carrier.metrics();
            metrics.add(Counter::StreamsRefused, counters.streams_refused - before.streams_refused);
            metrics.add(Counter::HeaderListsRefused, counters.header_lists_refused - before.header_lists_refused);
            metrics.add(Counter::ResetsReceived, counters.resets_received - before.resets_received);
            metrics.add(Counter::ResetsForFaults, counters.resets_for_faults - before.resets_for_faults);
            metrics.add(Counter::SettingsChanges, counters.settings_changes - before.settings_changes);
            metrics.add(Counter::Glitches, counters.glitches - before.glitches);
            metrics.add(Counter::ReadingStopped, counters.stops - before.stops);
            let stuck = counters.streams_without_progress - before.streams_without_progress;
            metrics.add(Counter::StreamsWithoutProgress, stuck);
            metrics.add(Counter::ConnectionErrors, counters.connection_errors - before.connection_errors);
        }
    }
}

/// What becomes of a stream that was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It goes on.
    GoOn,
    /// It is at its end, which is waited for.
    Await(Awaited),
    /// The connection has nothing to do with it any more; its cell has all that there will be.
    LetGo,
}

/// What becomes of a stream by what is in its cell, with or without a handler.
fn next(stream: &h2::Stream<'_>, shared: &Shared, has_handler: bool) -> Next {
    let Shared { tunnel, parting, sent, received, .. } = *shared;
    let abandoned = shared.is_abandoned();
    if received == Received::Open && sent == Sent::Open && parting == Parting::Open && !abandoned {
        // Nearly always.
        return Next::GoOn;
    }
    if stream.is_closed() && shared.is_ended() {
        // An answer that nobody awaits is dropped; a WebSocket's handler gets to see the end.
        return if tunnel && has_handler { Next::Await(Awaited::Handler) } else { Next::LetGo };
    }
    let is_sent = matches!(sent, Sent::Finished | Sent::Dead(_));
    if abandoned && (stream.is_closed() || is_sent && !tunnel) {
        return Next::LetGo;
    }
    if !tunnel {
        return Next::GoOn;
    }
    if is_sent && received == Received::Open {
        return Next::Await(if parting == Parting::Said { Awaited::PeersEnd } else { Awaited::LastWords });
    }
    match parting {
        Parting::Failed if !is_sent => Next::Await(Awaited::Room),
        _ if abandoned || sent == Sent::Following => Next::Await(Awaited::OurEnd),
        _ => Next::GoOn,
    }
}

fn find<P>(slots: &[Option<Slot<P>>], id: StreamId) -> Option<&Slot<P>> {
    slots.get(id.slot())?.as_ref().filter(|slot| slot.id == id)
}

/// Octets to read behind those that wait for the rest of their frame. Of a frame that is larger than what is read at once
/// each read takes as much again.
fn room_to_read(waiting: usize) -> usize {
    if waiting <= buffers::SIZE / 2 { buffers::SIZE - waiting } else { buffers::SIZE }
}

/// Gives the machine what the application wants sent, as far as it takes it.
fn send(stream: &mut h2::Stream<'_>, shared: &mut Shared, spare: &mut BytesMut, carrier: &Carrier) -> Waiting {
    let mut progress = false;
    if shared.take_continue() {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::CONTINUE;
        // The machine declines where the response has begun: then nobody waits for it.
        progress = stream.respond(&head, false).is_ok();
    }
    if let Some((head, end_stream)) = shared.take_head() {
        progress = true;
        if let Err(error) = stream.respond(&head, end_stream) {
            tracing::debug!(%error, "a response could not be sent");
            shared.sent = Sent::Resetting(ErrorCode::new(Reason::INTERNAL_ERROR));
        }
    }
    if let Sent::Resetting(code) = shared.sent {
        shared.outbox = Outbox::default();
        stream.reset(code.reason());
        shared.sent = Sent::Dead(Death::Reset(code, carrier.facts.side));
        progress = true;
    }
    let finishing = shared.sent == Sent::Finishing;
    if (finishing || !shared.outbox.is_empty()) && !stream.is_send_closed() {
        let trailers = shared.rare.as_ref().is_some_and(|rare| rare.trailers_out.is_some());
        let whole = loop {
            let chunk = shared.outbox.chunk();
            let is_last = chunk.len() == shared.outbox.len();
            let taken = stream.write(chunk, is_last && finishing && !trailers);
            let whole = taken == chunk.len();
            progress |= taken > 0;
            shared.outbox.advance(taken);
            if is_last || !whole {
                break whole;
            }
        };
        if whole {
            *spare = mem::take(&mut shared.outbox).into_octets();
            let trailers = shared.rare.as_mut().filter(|_| finishing).and_then(|rare| rare.trailers_out.take());
            if let Some(Err(error)) = trailers.map(|trailers| stream.send_trailers(&trailers)) {
                tracing::debug!(%error, "trailers could not be sent");
                stream.write(&[], true);
            }
        }
    }
    if finishing && stream.is_send_closed() {
        progress = true;
        shared.sent = Sent::Finished;
    }
    shared.rebook(carrier);
    if progress { shared.take_waiting(carrier) } else { Waiting::default() }
}

// Nothing in it is pinned in place.
impl<T: Unpin, A: Application> Unpin for Connection<T, A> {}

impl<T, A> Future for Connection<T, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    A: Application,
{
    type Output = Result;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let this = &mut *self;
        // A task that wakes itself is put behind those that are ready, where one that others wake goes before them.
        if this.carrier.was_called() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        for _ in 0..MAX_TURNS {
            let now = now();
            if let Some(pulse) = &this.pulse {
                this.stamp = pulse.stamp(now);
            }
            this.follow(now);
            let mut progress = this.receive(cx, now);
            progress |= this.open(cx);
            progress |= this.run(now);
            progress |= this.transmit(cx, now);
            if progress {
                this.active = Some(now);
            }
            if this.machine.is_closed() && this.poll_over(cx).is_ready() {
                this.publish_counters();
                return Poll::Ready(mem::replace(&mut this.result, Ok(())));
            }
            if !progress && !this.handle_timeouts(cx, Hearing::Sharp) && this.sleep(cx) {
                return Poll::Pending;
            }
            if !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        this.handle_timeouts(cx, Hearing::Behind);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T, A: Application> Drop for Connection<T, A> {
    fn drop(&mut self) {
        disconnect(&self.slots, &mut self.machine);
        for slot in self.slots.iter_mut().flatten() {
            slot.drop_handler();
        }
        let has_written = self.output.is_empty() && !self.unflushed;
        self.carrier.leave(if has_written { End::Flushed } else { End::Lost });
    }
}

/// Every stream that there is has gone away. What had arrived for it is its own still.
fn disconnect<P>(slots: &[Option<Slot<P>>], machine: &mut h2::Connection) {
    for slot in slots.iter().flatten() {
        let rest = machine.stream(slot.id).map(|mut stream| stream.read()).unwrap_or_default();
        slot.cell.end(rest, None, Received::Dead(Death::Disconnected));
    }
}

/// The counter of the limit that ended a connection.
fn limit(violation: h2::Violation) -> Option<Counter> {
    use h2::Violation as V;
    Some(match violation {
        V::HeaderListFarTooLarge | V::TooManyContinuations => Counter::HeaderBlocksTooLarge,
        V::HeaderCompression => Counter::HeaderCompressionErrors,
        V::TooManyResets => Counter::ResetFloods,
        V::TooManyGlitches => Counter::GlitchFloods,
        V::TooManySettings => Counter::SettingsFloods,
        V::TooMuchOverhead => Counter::OverheadFloods,
        V::PrefaceTimeout | V::SettingsTimeout | V::HeaderTimeout => Counter::FrameTimeouts,
        V::KeepAliveTimeout => Counter::KeepAliveTimeouts,
        _ => return None,
    })
}

/// An error of the connection's with `peer`, whose GOAWAY, if there was one, said this besides its reason.
pub(crate) fn connection_error(error: h2::ConnectionError, debug_data: &[u8], peer: Side) -> Error {
    match error {
        h2::ConnectionError::Violation(violation) => {
            Error::Violation { code: violation.reason().code(), rule: Box::new(violation) }
        }
        h2::ConnectionError::GoAway(reason) => {
            Error::GoAway { reason, by: peer, debug: String::from_utf8_lossy(debug_data).into() }
        }
        h2::ConnectionError::Eof => Error::Disconnected,
    }
}
