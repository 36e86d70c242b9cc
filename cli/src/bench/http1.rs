//! A socket over HTTP/1.1: an upgrade (RFC 6455 §4) on a connection of its own.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sockeye_proto::h1::{self, STREAM};
use sockeye_proto::h2::{Config, Event, Role};
use sockeye_proto::ws::handshake::{Carrier, ResponseError};
use sockeye_proto::{Loan, Machine as _, MachineStream as _, Pump, Step};
use tokio::time::timeout;

use super::exchange::Means;
use super::failure::{Failure, Kind};
use super::ledger::{Ledger, Phase};
use super::pace::Schedule;
use super::socket::{Received, Socket};
use super::wire::Wire;
use super::worker::Worker;
use crate::dial::Transport;

/// Reads of one connection before the others have their turn.
const MAX_BATCHES: usize = 8;

/// Opens the socket of this number and works it to its end.
pub(super) async fn run(worker: Rc<Worker>, number: usize) {
    let (transport, read) = match worker.while_opening(open(&worker, number)).await {
        Ok(opened) => opened,
        Err(failure) => return worker.give_up(failure, 1),
    };
    worker.count_opened();
    // What comes is taken at once.
    let config = Config { initial_window_size: (1 << 31) - 1, ..Config::default() };
    let mut pump = Pump::new(h1::Connection::tunnel(Role::Client, &config, Instant::now()));
    pump.input().unsplit(read);
    pump.handle_input(Instant::now());
    let mut connection = Connection {
        number,
        socket: Socket::new(number as u32, worker.plan.task(), &worker.plan),
        wire: Wire::new(transport, pump),
        unsent: None,
        loan: Loan::default(),
        phase: Phase::Opening,
        schedule: None,
        ticks: worker.ticks(),
        is_closed: false,
        worker,
    };
    poll_fn(|cx| connection.turn(cx)).await;
}

/// Connects and upgrades; with what came behind the answer.
async fn open(worker: &Worker, number: usize) -> Result<(Transport, BytesMut), Failure> {
    let (transport, _turn) = worker.dial(number).await?;
    worker.ledger().count_connected();
    let opened = timeout(worker.plan.timeout, upgrade(worker, transport)).await;
    opened.map_err(|_| Failure::timeout("the answer to the handshake"))?
}

async fn upgrade(worker: &Worker, transport: Transport) -> Result<(Transport, BytesMut), Failure> {
    let handshake = &worker.plan.handshake;
    let carrier = Carrier::Http1 { key: rand::random() };
    let refused = |error: ResponseError| Failure::new(Kind::Refused, error.to_string());
    let broken = |error: hyper::Error| Failure::new(Kind::Broken, error.to_string());
    let request = handshake.request(carrier).map_err(|error| Failure::new(Kind::Refused, error.to_string()))?;
    let request: Request<Empty<Bytes>> = request.map(|()| Empty::new());
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await.map_err(broken)?;
    tokio::task::spawn_local(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(broken)?;
    handshake.check(carrier, &response).map_err(refused)?;
    let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
    match upgraded.downcast::<TokioIo<Transport>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf.into())),
        Err(_) => Err(Failure::new(Kind::Broken, "the upgrade yielded another transport")),
    }
}

/// A connection that is one socket.
struct Connection {
    worker: Rc<Worker>,
    number: usize,
    socket: Socket,
    wire: Wire<h1::Connection>,
    /// Octets of a message that the machine has no room for.
    unsent: Option<Box<BytesMut>>,
    /// Empty between two uses.
    loan: Loan,
    phase: Phase,
    schedule: Option<Schedule>,
    ticks: u64,
    /// Both Closes are done.
    is_closed: bool,
}

impl Connection {
    /// Does what there is to do. Ready when the socket has ended.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = self.worker.clone();
        worker.register(self.number, cx);
        let mut ledger = worker.ledger();
        let result = self.batches(cx, &mut ledger);
        if let Poll::Ready(result) = &result {
            if let Err(failure) = result
                && ledger.phase() != Phase::Closing
            {
                ledger.count_lost(failure.clone());
            }
            self.socket.abandon(&worker.plan, &mut ledger);
        }
        worker.wake_sender(&ledger, self.number);
        ledger.publish();
        result.map(|_| ())
    }

    fn batches(&mut self, cx: &mut Context<'_>, ledger: &mut Ledger) -> Poll<Result<(), Failure>> {
        for _ in 0..MAX_BATCHES {
            let received = self.wire.receive(cx, &self.worker.read_buffer, ledger);
            self.handle_events(ledger)?;
            self.follow(ledger)?;
            self.speak(ledger);
            // Of what is not read where it stands nothing is left now.
            self.worker.read_buffer.keep(self.wire.pump.machine().take_batch());
            let (is_written, sent) = self.transmit(cx, ledger)?;
            if self.is_closed && is_written {
                return Poll::Ready(Ok(()));
            }
            if !received && !sent {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn handle_events(&mut self, ledger: &mut Ledger) -> Result<(), Failure> {
        while let Some(event) = self.wire.pump.poll_event() {
            self.handle(&event, ledger)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: &Event, ledger: &mut Ledger) -> Result<(), Failure> {
        match event {
            Event::Readable(_) => self.read(ledger),
            Event::Finished { .. } | Event::Closed(_) if !self.is_closed => {
                let why = self.wire.failure().map(ToString::to_string);
                let why = why.unwrap_or_else(|| "the server ended the connection without a Close".to_owned());
                Err(Failure::new(Kind::Broken, why))
            }
            // Room to write is used in every batch.
            _ => Ok(()),
        }
    }

    /// Takes what came, and sends what comes of it.
    fn read(&mut self, ledger: &mut Ledger) -> Result<(), Failure> {
        let Self { wire, socket, unsent, loan, worker, is_closed, .. } = self;
        let Some(mut stream) = wire.pump.machine().stream(STREAM) else { return Ok(()) };
        let mut means = Means { loan, spares: &worker.spares, plan: &worker.plan, ledger };
        if means.exchange(&mut stream, socket, unsent) {
            return Ok(());
        }
        // What is no message as it was sent, and whatever follows.
        let mut input = stream.read();
        let received = socket.receive(&mut input, &worker.plan, ledger);
        wire.pump.machine().recycle(input);
        *is_closed |= received? == Received::Closed;
        Ok(())
    }

    /// Sends what the socket has, as far as it goes.
    fn speak(&mut self, ledger: &mut Ledger) {
        let Self { wire, socket, unsent, loan, worker, .. } = self;
        let Some(mut stream) = wire.pump.machine().stream(STREAM) else { return };
        let mut means = Means { loan, spares: &worker.spares, plan: &worker.plan, ledger };
        means.send(&mut stream, socket, unsent, usize::MAX);
    }

    /// Sends what there is; whether all of it is written, and whether there was anything to do.
    fn transmit(&mut self, cx: &mut Context<'_>, ledger: &mut Ledger) -> Result<(bool, bool), Failure> {
        let mut progress = false;
        while let Poll::Ready(step) = self.wire.poll_step(cx) {
            match step {
                Step::Write | Step::Shutdown => progress = true,
                Step::Event(event) => {
                    self.handle(&event, ledger)?;
                    return Ok((false, true));
                }
                Step::Await | Step::Closed => return Ok((true, progress)),
            }
        }
        Ok((false, progress))
    }

    /// Does what the phase and the clock ask for.
    fn follow(&mut self, ledger: &mut Ledger) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.phase, ledger.phase());
        if self.phase != before {
            let is_running = matches!(before, Phase::Running { .. });
            match self.phase {
                Phase::Opening => {}
                Phase::Exchange(_) => self.socket.ask(ledger.received(), ledger),
                Phase::Running { .. } if is_running => {}
                Phase::Running { .. } => {
                    self.schedule = self.worker.plan.schedule(self.phase, self.number);
                    self.socket.begin(&self.worker.plan, ledger);
                }
                Phase::Hold => {
                    self.socket.shrink();
                    self.wire.pump.shrink();
                }
                Phase::Draining => self.schedule = None,
                Phase::Closing => self.socket.close(),
            }
        }
        while let Some((_, due)) = self.schedule.as_mut().and_then(|schedule| schedule.take(ledger.received())) {
            self.socket.ask(due, ledger);
        }
        if self.ticks != self.worker.ticks() {
            self.ticks = self.worker.ticks();
            self.socket.check_time(&self.worker.plan, ledger)?;
        }
        Ok(())
    }
}
