//! Sockets on streams of one HTTP/2 connection (RFC 8441), by the protocol machine itself.

mod course;
mod failure;
mod opening;
mod tunnel;

use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use sockeye_proto::h2::{Config, Connection as Machine, Event, Reason, Role, StreamId};
use sockeye_proto::{Loan, Pump, Step};
use tokio::sync::OwnedSemaphorePermit;

use self::failure::{ended, reset};
use self::tunnel::{State, Tunnel};
use super::exchange::Means;
use super::failure::{Failure, Kind};
use super::ledger::{Ledger, Phase};
use super::pace::Schedule;
use super::plan::{Plan, Task};
use super::socket::Received;
use super::wire::Wire;
use super::worker::Worker;

/// Reads of one connection before the others have their turn.
const MAX_BATCHES: usize = 8;
/// Octets of each stream's window, and of the connection's: the largest (RFC 9113 §6.9.1), so that it is never we who stop the
/// server. What comes is taken at once.
const WINDOW: u32 = (1 << 31) - 1;
/// Where there are streams that are not read, it is the protocol's own (RFC 9113 §6.9.2), and grows for those that are.
const FIRST_WINDOW: u32 = (1 << 16) - 1;

/// Opens the connection of this number with its sockets and works it to its end.
pub(super) async fn run(worker: Rc<Worker>, number: usize) {
    // Boxed, so that what is only needed once takes no room later.
    let (transport, turn) = match Box::pin(worker.while_opening(worker.dial(number))).await {
        Ok(dialed) => dialed,
        Err(failure) => return worker.give_up(failure, worker.plan.sockets_each()),
    };
    let mut connection = Connection {
        number,
        wire: Wire::new(transport, Pump::new(Machine::new(Role::Client, config(&worker.plan), Instant::now()))),
        turn,
        is_offered: false,
        to_open: worker.plan.sockets_each(),
        opening: 0,
        held: 0,
        tunnels: Vec::new(),
        beside: Beside::default(),
        loan: Loan::default(),
        phase: Phase::Opening,
        schedule: None,
        ticks: worker.ticks(),
        is_over: false,
        worker,
    };
    poll_fn(|cx| connection.turn(cx)).await;
}

fn config(plan: &Plan) -> Config {
    Config::default().with(|config| {
        config.max_concurrent_streams = plan.sockets_each() as u32;
        config.max_unread = WINDOW;
        config.initial_window_size = if plan.stalled > 0 { FIRST_WINDOW } else { WINDOW };
        config.max_window_size = WINDOW;
        config.window_pool = u32::MAX;
        config.preface_timeout = plan.timeout;
        config.settings_timeout = plan.timeout;
        // Here an answer that takes too long is a failure of its own.
        config.progress_timeout = Duration::MAX;
        config.seed = RandomState::new().hash_one(0);
    })
}

/// One connection and its sockets.
struct Connection {
    worker: Rc<Worker>,
    number: usize,
    wire: Wire<Machine>,
    /// Held until all sockets are opened.
    turn: Option<OwnedSemaphorePermit>,
    /// The server takes extended CONNECTs.
    is_offered: bool,
    /// Sockets for which no stream was opened yet, streams that wait for an answer, and all streams there are.
    to_open: usize,
    opening: usize,
    held: usize,
    /// By [`StreamId::slot`].
    tunnels: Vec<Option<Tunnel>>,
    /// The socket that is there beside the load.
    beside: Beside,
    /// Empty between two uses.
    loan: Loan,
    phase: Phase,
    schedule: Option<Schedule>,
    ticks: u64,
    /// Nothing is read any more.
    is_over: bool,
}

/// What goes on beside the load sends a DATA frame at a time, and the next one when the server has answered the PING behind it. Or
/// its messages would stand in line before the others in the transport, where no server can do anything about it.
#[derive(Default)]
struct Beside {
    slot: Option<usize>,
    /// The PING is not answered.
    is_waiting: bool,
}

impl Connection {
    /// Does what there is to do. Ready when the connection has ended.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = self.worker.clone();
        worker.register(self.number, cx);
        let mut ledger = worker.ledger();
        let result = self.batches(cx, &mut ledger);
        worker.wake_sender(&ledger, self.number);
        ledger.publish();
        result
    }

    fn batches(&mut self, cx: &mut Context<'_>, ledger: &mut Ledger) -> Poll<()> {
        for _ in 0..MAX_BATCHES {
            let received = self.wire.receive(cx, &self.worker.read_buffer, ledger);
            self.follow(ledger);
            self.handle_events(ledger);
            if self.worker.plan.is_broadcast && self.number == 0 {
                // What has arrived everywhere makes the next message due.
                self.pump(0, ledger);
            }
            if self.to_open + self.opening == 0 {
                self.turn = None;
            }
            // Of what is not read where it stands nothing is left now.
            self.worker.read_buffer.keep(self.wire.pump.machine().take_batch());
            let sent = self.transmit(cx, ledger);
            if self.is_over {
                // One of the last events may come of the end itself.
                self.handle_events(ledger);
                return Poll::Ready(());
            }
            if !received && !sent {
                if !matches!(self.phase, Phase::Running { .. }) && self.to_open + self.opening == 0 {
                    self.shrink();
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what there is; whether there was anything to do.
    fn transmit(&mut self, cx: &mut Context<'_>, ledger: &mut Ledger) -> bool {
        let mut progress = false;
        while let Poll::Ready(step) = self.wire.poll_step(cx) {
            match step {
                Step::Write | Step::Shutdown => progress = true,
                // Those that follow it have their turn in the next batch.
                Step::Event(event) => {
                    self.handle(event, ledger);
                    return true;
                }
                Step::Await => break,
                Step::Closed => {
                    self.is_over = true;
                    break;
                }
            }
        }
        progress
    }

    fn machine(&mut self) -> &mut Machine {
        self.wire.pump.machine()
    }

    fn handle_events(&mut self, ledger: &mut Ledger) {
        while let Some(event) = self.wire.pump.poll_event() {
            self.handle(event, ledger);
        }
    }

    #[inline]
    fn handle(&mut self, event: Event, ledger: &mut Ledger) {
        match event {
            Event::Readable(id) => self.read(id, ledger),
            Event::Writable(id) => self.pump(id.slot(), ledger),
            Event::Response { id, response, .. } => self.respond(id, &response, ledger),
            Event::Finished { id, .. } => {
                self.read(id, ledger);
                self.end(id, Failure::new(Kind::Broken, "the server ended the stream without a Close"), ledger);
            }
            Event::Reset { id, reason, violation, .. } => {
                self.read(id, ledger);
                self.end(id, reset(reason, violation), ledger);
            }
            Event::Settings if !self.is_offered => self.begin(ledger),
            Event::Closed(error) => {
                let refused = self.wire.refusal.take().map(|what| Failure::new(Kind::Tls, what));
                self.end_all(&refused.unwrap_or_else(|| ended(error)), ledger);
            }
            Event::Pong(_) => {
                self.beside.is_waiting = false;
                if let Some(slot) = self.beside.slot {
                    self.pump(slot, ledger);
                }
            }
            Event::Settings | Event::GoAway { .. } | Event::Request { .. } => {}
        }
    }

    /// Takes what came on a stream, and sends what comes of it.
    #[inline]
    fn read(&mut self, id: StreamId, ledger: &mut Ledger) {
        let Self { wire, tunnels, worker, loan, .. } = self;
        let Some(Tunnel { state: State::Open(socket), unsent, .. }) = tunnel(tunnels, id) else { return };
        let Some(mut stream) = wire.pump.machine().stream(id) else { return };
        if socket.task() == Task::Stall {
            return;
        }
        let is_beside = socket.task() == Task::Beside;
        let mut means = Means { loan, spares: &worker.spares, plan: &worker.plan, ledger };
        if !means.exchange(&mut stream, socket, unsent) {
            self.read_on(id, ledger);
        } else if is_beside {
            self.pump(id.slot(), ledger);
        }
    }

    /// Takes what is no message as it was sent, and whatever follows.
    fn read_on(&mut self, id: StreamId, ledger: &mut Ledger) {
        let Self { wire, tunnels, worker, .. } = self;
        let machine = wire.pump.machine();
        let Some(Tunnel { state: State::Open(socket), .. }) = tunnel(tunnels, id) else { return };
        let Some(mut input) = machine.stream(id).map(|mut stream| stream.read()) else { return };
        let received = socket.receive(&mut input, &worker.plan, ledger);
        machine.recycle(input);
        match received {
            Ok(Received::Messages) => self.pump(id.slot(), ledger),
            Ok(Received::Closed) => self.finish(id, ledger),
            Err(failure) => self.end(id, failure, ledger),
        }
    }

    /// Sends what a socket has, as far as it goes.
    fn pump(&mut self, slot: usize, ledger: &mut Ledger) {
        let Self { wire, tunnels, worker, loan, beside, .. } = self;
        let machine = wire.pump.machine();
        let Some(Some(Tunnel { id, state: State::Open(socket), unsent })) = tunnels.get_mut(slot) else { return };
        let Some(mut stream) = machine.stream(*id) else { return };
        let mut means = Means { loan, spares: &worker.spares, plan: &worker.plan, ledger };
        if socket.task() != Task::Beside {
            means.send(&mut stream, socket, unsent, usize::MAX);
        } else if !beside.is_waiting && means.send(&mut stream, socket, unsent, 1) {
            beside.is_waiting = true;
            machine.ping(*b"bench...");
        }
    }

    /// Ends our side once both Closes are done.
    fn finish(&mut self, id: StreamId, ledger: &mut Ledger) {
        // The Close that answers the server's goes first.
        self.pump(id.slot(), ledger);
        let Some(tunnel) = tunnel(&mut self.tunnels, id) else { return };
        if let State::Open(socket) = std::mem::replace(&mut tunnel.state, State::Closed) {
            socket.abandon(&self.worker.plan, ledger);
        }
        let is_closed = self.machine().stream(id).is_none_or(|mut stream| {
            stream.write(&[], true);
            stream.is_closed()
        });
        if is_closed {
            self.release(id);
        }
    }

    /// A stream is of no more use, for this reason unless its end was asked for.
    fn end(&mut self, id: StreamId, failure: Failure, ledger: &mut Ledger) {
        let Some(tunnel) = tunnel(&mut self.tunnels, id) else { return };
        match &tunnel.state {
            State::Asked { .. } => {
                self.opening -= 1;
                ledger.count_unopened(failure, 1);
            }
            State::Open(socket) => {
                if ledger.phase() != Phase::Closing {
                    ledger.count_lost(failure);
                }
                socket.abandon(&self.worker.plan, ledger);
            }
            State::Closed => {}
        }
        self.release(id);
    }

    fn release(&mut self, id: StreamId) {
        if let Some(stream) = self.machine().stream(id) {
            stream.release();
        }
        self.tunnels[id.slot()] = None;
        self.held -= 1;
        self.close_if_empty();
    }

    /// Without a socket there is no reason for the connection.
    fn close_if_empty(&mut self) {
        if self.to_open + self.held == 0 {
            self.machine().close(Reason::NO_ERROR);
        }
    }

    /// The connection is of no more use.
    fn end_all(&mut self, failure: &Failure, ledger: &mut Ledger) {
        if self.to_open > 0 {
            ledger.count_unopened(failure.clone(), std::mem::take(&mut self.to_open));
        }
        for slot in 0..self.tunnels.len() {
            if let Some(tunnel) = &self.tunnels[slot] {
                self.end(tunnel.id, failure.clone(), ledger);
            }
        }
        self.close_if_empty();
    }
}

/// The tunnel of a stream, unless it is gone.
#[inline]
fn tunnel(tunnels: &mut [Option<Tunnel>], id: StreamId) -> Option<&mut Tunnel> {
    tunnels.get_mut(id.slot())?.as_mut().filter(|tunnel| tunnel.id == id)
}
