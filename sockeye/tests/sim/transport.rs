//! A transport in memory that behaves as badly as a network may, by a seed: octets go in parts and arrive late, room runs
//! out, what was not flushed stays, and the connection ends or fails at any moment.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::wire::Watch;

/// How a connection's two directions behave.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Octets that are under way at most.
    pub(crate) capacity: usize,
    /// Milliseconds on the way, at most.
    pub(crate) latency: u64,
    /// One read, write or flush in so many has to wait for no reason; 0 for none.
    pub(crate) stalls: usize,
    /// Octets of one read or write, at most.
    pub(crate) chunk: usize,
    /// Octets that were written and not flushed stay where they are, as in TLS.
    pub(crate) holds_back: bool,
}

impl Manners {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            capacity: random.pick(&[200, 4 << 10, 64 << 10, 64 << 10, 1 << 20]),
            latency: random.pick(&[0, 0, 1, 20, 90]),
            stalls: random.pick(&[0, 50, 8, 3]),
            chunk: random.pick(&[100, 3000, 20_000, 1 << 20, 1 << 20]),
            holds_back: random.one_in(4),
        }
    }
}

/// How a connection goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All that is under way is lost, and both sides get an error.
    Abrupt,
    /// What is under way arrives, and then the end; nothing more is taken.
    Orderly,
    /// Nobody notices: nothing arrives any more.
    Silent,
}

/// One connection, of two ends.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) number: u64,
    directions: [Arc<Mutex<Direction>>; 2],
    watch: Arc<Mutex<Watch>>,
}

struct Direction {
    /// What was written and not flushed.
    held: BytesMut,
    /// What is under way, and when it arrives.
    under_way: VecDeque<(u64, Bytes)>,
    size: usize,
    writer: Writer,
    reader_is_gone: bool,
    loss: Option<Loss>,
    wakers: [Option<Waker>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Open,
    /// After what is under way comes the end.
    Ended,
}

const READER: usize = 0;
const WRITER: usize = 1;

impl Direction {
    fn new() -> Self {
        Self {
            held: BytesMut::new(),
            under_way: VecDeque::new(),
            size: 0,
            writer: Writer::Open,
            reader_is_gone: false,
            loss: None,
            wakers: [None, None],
        }
    }

    fn wake(&mut self, who: usize, scheduler: &Scheduler, delay: u64) {
        if let Some(waker) = self.wakers[who].take() {
            scheduler.wake_in(delay, &waker);
        }
    }

    /// Sends what was held back on its way; whether there was any.
    fn let_go(&mut self, arrival: u64) -> bool {
        let is_any = !self.held.is_empty();
        if is_any {
            let held = self.held.split().freeze();
            let arrival = self.under_way.back().map_or(arrival, |(before, _)| arrival.max(*before));
            self.under_way.push_back((arrival, held));
        }
        is_any
    }
}

impl Link {
    /// A connection, with its client's end and its server's.
    pub(crate) fn new(
        number: u64,
        scheduler: &Scheduler,
        random: &mut Random,
        manners: &Manners,
        watch: Watch,
    ) -> (Self, End, End) {
        let direction = || Arc::new(Mutex::new(Direction::new()));
        let link = Self { number, directions: [direction(), direction()], watch: Arc::new(Mutex::new(watch)) };
        let mut end = |side: usize| End {
            side,
            link: link.clone(),
            scheduler: scheduler.clone(),
            random: random.fork(),
            manners: manners.clone(),
            stalled: [None; 3],
            alarms: [None, None, None],
        };
        let (client, server) = (end(0), end(1));
        (link, client, server)
    }

    /// Takes the connection away.
    pub(crate) fn lose(&self, loss: Loss, scheduler: &Scheduler) {
        for direction in &self.directions {
            let mut direction = lock(direction);
            // What nobody had noticed is noticed in the end.
            if matches!(direction.loss, None | Some(Loss::Silent)) {
                direction.loss = Some(loss);
                if loss == Loss::Abrupt {
                    direction.under_way.clear();
                }
                for who in [READER, WRITER] {
                    direction.wake(who, scheduler, 0);
                }
            }
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        lock(&self.directions[0]).loss.is_some()
    }

    /// Whether both sides have let go of their ends.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.watch).is_over()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a connection.
pub(crate) struct End {
    /// 0 for the client, 1 for the server; what it writes goes into the direction of this number.
    side: usize,
    link: Link,
    scheduler: Scheduler,
    random: Random,
    manners: Manners,
    /// Until when a read, write or flush waits for no reason.
    stalled: [Option<u64>; 3],
    /// Who is woken when, at the latest, for each operation.
    alarms: [Option<(u64, Waker)>; 3],
}

const READ: usize = 0;
const WRITE: usize = 1;
const FLUSH: usize = 2;

impl End {
    /// Whether an operation is to wait once more. One that waited goes on.
    fn stalls(&mut self, operation: usize, cx: &Context<'_>) -> bool {
        let now = self.scheduler.now();
        if let Some(until) = self.stalled[operation] {
            if now < until {
                self.wake_at(operation, until, cx);
                return true;
            }
            self.stalled[operation] = None;
            return false;
        }
        let stalls = self.manners.stalls > 0 && self.random.one_in(self.manners.stalls);
        if stalls {
            let time = self.random.pick(&[0, 0, 1, 5, 30]);
            self.stalled[operation] = Some(now + time);
            self.scheduler.wake_in(time, cx.waker());
        }
        stalls
    }

    /// Wakes a task at a later time, once however often it asks.
    fn wake_at(&mut self, operation: usize, at: u64, cx: &Context<'_>) {
        let is_set =
            self.alarms[operation].as_ref().is_some_and(|(set, waker)| *set == at && waker.will_wake(cx.waker()));
        if !is_set {
            self.alarms[operation] = Some((at, cx.waker().clone()));
            self.scheduler.wake_in(at - self.scheduler.now(), cx.waker());
        }
    }

    fn latency(&mut self) -> u64 {
        self.random.between(0, self.manners.latency)
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.scheduler.idle(["the client reads", "the server reads"][this.side]) {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        if this.stalls(READ, cx) {
            return Poll::Pending;
        }
        let direction = this.link.directions[1 - this.side].clone();
        let mut direction = lock(&direction);
        let direction = &mut *direction;
        match direction.loss {
            Some(Loss::Abrupt) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Loss::Silent) => {
                direction.wakers[READER] = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Loss::Orderly) | None => {}
        }
        let now = this.scheduler.now();
        let most = this.random.between(1, this.manners.chunk as u64) as usize;
        match direction.under_way.front_mut() {
            Some((arrival, octets)) if *arrival <= now => {
                let size = octets.len().min(buffer.remaining()).min(most);
                buffer.put_slice(&octets[..size]);
                octets.advance(size);
                if octets.is_empty() {
                    direction.under_way.pop_front();
                }
                direction.size -= size;
                direction.wake(WRITER, &this.scheduler, 0);
                if size > 0 {
                    this.scheduler.progress();
                }
                Poll::Ready(Ok(()))
            }
            Some((arrival, _)) => {
                let arrival = *arrival;
                direction.wakers[READER] = Some(cx.waker().clone());
                this.wake_at(READ, arrival, cx);
                Poll::Pending
            }
            None if direction.writer == Writer::Ended || direction.loss.is_some() => Poll::Ready(Ok(())),
            None => {
                direction.wakers[READER] = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.scheduler.idle(["the client writes", "the server writes"][this.side]) {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        if this.stalls(WRITE, cx) {
            return Poll::Pending;
        }
        let (latency, now) = (this.latency(), this.scheduler.now());
        let direction = this.link.directions[this.side].clone();
        let mut direction = lock(&direction);
        if matches!(direction.loss, Some(Loss::Abrupt | Loss::Orderly)) || direction.reader_is_gone {
            drop(direction);
            lock(&this.link.watch).fail(this.side);
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if direction.writer == Writer::Ended {
            this.scheduler.fail("octets are written after the end");
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = this.manners.capacity - direction.size;
        if room == 0 {
            // What is held back goes when there is no more room, or it would never.
            if direction.let_go(now) {
                direction.wake(READER, &this.scheduler, 0);
            }
            direction.wakers[WRITER] = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = this.random.between(1, this.manners.chunk as u64) as usize;
        let size = octets.len().min(room).min(most);
        direction.held.extend_from_slice(&octets[..size]);
        direction.size += size;
        if !this.manners.holds_back {
            direction.let_go(now + latency);
            direction.wake(READER, &this.scheduler, latency);
        }
        drop(direction);
        this.scheduler.note("wrote", this.link.number * 2 + this.side as u64, size as u64);
        this.scheduler.progress();
        if let Err(why) = lock(&this.link.watch).see(now, this.side, &octets[..size]) {
            this.scheduler.fail(format!("connection {}: {why}", this.link.number));
        }
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.stalls(FLUSH, cx) {
            return Poll::Pending;
        }
        let (latency, now) = (this.latency(), this.scheduler.now());
        let direction = this.link.directions[this.side].clone();
        let mut direction = lock(&direction);
        if matches!(direction.loss, Some(Loss::Abrupt | Loss::Orderly)) || direction.reader_is_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !direction.held.is_empty() {
            direction.let_go(now + latency);
            direction.wake(READER, &this.scheduler, latency);
        }
        drop(direction);
        lock(&this.link.watch).flush(this.side);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.as_mut().poll_flush(cx)?.is_pending() {
            return Poll::Pending;
        }
        let mut direction = lock(&self.link.directions[self.side]);
        direction.writer = Writer::Ended;
        direction.wake(READER, &self.scheduler, 0);
        drop(direction);
        self.scheduler.note("ended", self.link.number * 2 + self.side as u64, 0);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        {
            let mut ours = lock(&self.link.directions[self.side]);
            // What was never flushed is lost, as where a TLS stream is dropped.
            ours.size -= ours.held.len();
            ours.held.clear();
            ours.writer = Writer::Ended;
            ours.wake(READER, &self.scheduler, 0);
        }
        let mut theirs = lock(&self.link.directions[1 - self.side]);
        theirs.reader_is_gone = true;
        theirs.under_way.clear();
        theirs.wake(WRITER, &self.scheduler, 0);
        drop(theirs);
        lock(&self.link.watch).close(self.side);
        self.scheduler.note("dropped", self.link.number * 2 + self.side as u64, 0);
    }
}
