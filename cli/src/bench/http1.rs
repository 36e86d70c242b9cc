//! A socket over HTTP/1.1: an upgrade (RFC 6455 §4) on a connection of its own.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::PoisonError;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sockeye_proto::ws::handshake::{Carrier, ResponseError};
use tokio::time::timeout;

use super::failure::{Failure, Kind};
use super::ledger::{Ledger, Phase};
use super::pace::Schedule;
use super::pipe::Pipe;
use super::socket::{Received, Socket};
use super::worker::Worker;
use crate::beginning::Remembering;
use crate::dial::Transport;
use crate::words::of_hyper;

/// Octets that may wait to be written before another message is added.
const MAX_OUTPUT: usize = 64 << 10;
/// Reads of one connection before the others have their turn.
const MAX_BATCHES: usize = 8;

/// Opens the socket of this number and works it to its end.
pub(super) async fn run(worker: Rc<Worker>, number: usize) {
    let (transport, input) = match worker.while_opening(open(&worker, number)).await {
        Ok(opened) => opened,
        Err(failure) => return worker.give_up(failure, 1),
    };
    worker.count_opened();
    let mut connection = Connection {
        number,
        socket: Socket::new(number as u32, worker.plan.task(), &worker.plan),
        pipe: Pipe::new(transport),
        input,
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
    let (transport, beginning) = Remembering::new(transport);
    let broken = |error: hyper::Error| {
        let other = beginning.lock().unwrap_or_else(PoisonError::into_inner).other_than_http1();
        Failure::new(Kind::Broken, other.unwrap_or_else(|| of_hyper(&error)))
    };
    let request = handshake.request(carrier).map_err(|error| Failure::new(Kind::Refused, error.to_string()))?;
    let request: Request<Empty<Bytes>> = request.map(|()| Empty::new());
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await.map_err(broken)?;
    // Queued before the connection runs, so that what ends the connection at once is told with the request.
    let response = sender.send_request(request);
    tokio::task::spawn_local(connection.with_upgrades());
    let response = response.await.map_err(broken)?;
    handshake.check(carrier, &response).map_err(refused)?;
    let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
    match upgraded.downcast::<TokioIo<Remembering<Transport>>>() {
        Ok(parts) => Ok((parts.io.into_inner().into_inner(), parts.read_buf.into())),
        Err(_) => Err(Failure::new(Kind::Broken, "the upgrade yielded another transport")),
    }
}

/// A connection that is one socket.
struct Connection {
    worker: Rc<Worker>,
    number: usize,
    socket: Socket,
    pipe: Pipe,
    /// What came with the answer to the handshake.
    input: BytesMut,
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
            let received = self.receive(cx, ledger)?;
            self.follow(ledger)?;
            let sent = self.send(cx, ledger)?;
            if self.is_closed && sent.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if !received {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and takes all of it; whether there was anything.
    fn receive(&mut self, cx: &mut Context<'_>, ledger: &mut Ledger) -> Result<bool, Failure> {
        let mut input = std::mem::take(&mut self.input);
        self.worker.read_buffer.lend(&mut input);
        let read = self.pipe.poll_read(cx, &mut input);
        ledger.begin_batch();
        let has_more = !input.is_empty();
        let received = self.socket.receive(&mut input, &self.worker.plan, ledger);
        self.worker.read_buffer.keep(input);
        self.is_closed |= received? == Received::Closed;
        match read {
            Poll::Ready(Ok(0)) if !self.is_closed => {
                Err(Failure::new(Kind::Broken, "the server ended the connection without a Close"))
            }
            Poll::Ready(Err(error)) if !self.is_closed => Err(Failure::new(Kind::Broken, error.to_string())),
            _ => Ok(has_more && !self.is_closed),
        }
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
                    self.pipe.shrink();
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

    /// Sends what there is. Ready when all is written.
    fn send(&mut self, cx: &mut Context<'_>, ledger: &mut Ledger) -> Result<Poll<()>, Failure> {
        loop {
            let output = self.pipe.output();
            while output.len() < MAX_OUTPUT && self.socket.encode(output, &self.worker.plan, ledger) {}
            match self.pipe.poll_write(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Ok(Poll::Ready(())),
                Poll::Ready(Err(error)) => return Err(Failure::new(Kind::Broken, error.to_string())),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }
}
