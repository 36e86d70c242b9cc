//! One side of one socket, which does what its plan says.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::{Sink, StreamExt};
use sockeye::error::Step;
use sockeye::socket::Member;
use sockeye::{CloseCode, Error, Message, WebSocket};

use crate::content;
use crate::program::{Finish, Side, Style};
use crate::random::Random;
use crate::wire::SERVER;
use crate::world::{Alive, CLOSE_TIMEOUT, Heard, World};

/// What a handler panics with that is meant to.
pub(crate) struct Deliberate;

pub(crate) struct Actor {
    pub(crate) world: World,
    pub(crate) socket: u32,
    pub(crate) side: usize,
    pub(crate) plan: Side,
    pub(crate) random: Random,
    /// The code of a socket that is dropped: what its handler comes to, or 1001 without one.
    pub(crate) code_of_drop: u16,
    /// The socket has ended.
    is_over: bool,
    ping_since: Option<u64>,
    members: Vec<(usize, usize, Member)>,
    _alive: Alive,
}

/// Milliseconds for which a fickle actor may wait before it gives up.
const PATIENCE: [u64; 7] = [0, 0, 0, 1, 5, 40, 2000];
/// Milliseconds for which nobody waits longer where both sides might wait for each other.
const LONG: u64 = 2000;

impl Actor {
    pub(crate) fn new(world: &World, socket: u32, side: usize, plan: &Side, code_of_drop: u16) -> Self {
        world.opened(socket, side);
        Self {
            world: world.clone(),
            socket,
            side,
            plan: plan.clone(),
            random: Random::new(plan.seed),
            code_of_drop,
            is_over: false,
            ping_since: None,
            members: Vec::new(),
            _alive: world.alive(),
        }
    }

    /// The same side, for another task.
    pub(crate) fn twin(&mut self) -> Self {
        Self {
            world: self.world.clone(),
            plan: self.plan.clone(),
            random: self.random.fork(),
            members: Vec::new(),
            _alive: self.world.alive(),
            ..*self
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Does all of it; what comes of it is a handler's result.
    pub(crate) async fn run(mut self, mut socket: WebSocket) -> Result<(), &'static str> {
        if self.plan.joins {
            self.join(&socket);
        }
        match self.plan.style {
            Style::Split => return crate::halves::run(self, socket).await,
            Style::Whole | Style::Traits => {
                for _ in 0..self.plan.operations {
                    if self.is_over {
                        break;
                    }
                    self.operate(&mut socket).await;
                }
            }
        }
        self.finish(socket).await
    }

    fn join(&mut self, socket: &WebSocket) {
        let groups = self.world.groups.clone();
        for (number, group) in groups.iter().enumerate() {
            match group.join(socket) {
                Ok(member) => self.members.push((number, self.world.sent_to_group(number), member)),
                Err(error) => self.fail(&format!("it could not join a group: {error:?}")),
            }
        }
    }

    pub(crate) fn fail(&self, why: &str) {
        self.world.fail(self.socket, self.side, why);
    }

    /// Awaits a future, or drops it at some moment.
    pub(crate) async fn attempt<F: Future>(&mut self, future: F, longest: Option<u64>) -> Option<F::Output> {
        let patience =
            if self.plan.is_fickle && self.random.one_in(2) { Some(self.random.pick(&PATIENCE)) } else { longest };
        let mut future = pin!(future);
        match patience {
            None => Some(future.await),
            Some(0) => {
                let once = poll_fn(|cx| match future.as_mut().poll(cx) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending => Poll::Ready(None),
                });
                once.await
            }
            Some(time) => self.world.scheduler.clone().within(time, future).await,
        }
    }

    pub(crate) async fn pause(&mut self) {
        let time = self.random.between(0, self.plan.laziness);
        if self.plan.laziness > 0 {
            self.world.scheduler.sleep(time).await;
        }
    }

    async fn operate(&mut self, socket: &mut WebSocket) {
        self.pause().await;
        let operation = self.random.below(20);
        self.world.note("does", self.socket, (operation * 2 + self.side) as u64);
        match operation {
            0..=9 => self.send(socket).await,
            10..=13 => {
                let longest = Some(self.random.pick(&[0, 1, 50, LONG]));
                self.receive(socket, longest).await;
            }
            14 if self.plan.awaits_pongs => self.ping(socket).await,
            15 => {
                let sent = self.attempt(socket.send_ping(b"are you there?"), Some(LONG)).await;
                self.check("send_ping", sent);
            }
            16 => {
                let sent = self.attempt(socket.pong(b"here I am"), Some(LONG)).await;
                self.check("pong", sent);
            }
            17 => self.flush(socket).await,
            18 if !self.world.groups.is_empty() => {
                let sent = crate::groups::send(&self.world, &mut self.random, &self.members);
                let world = self.world.clone();
                if let Some(sent) = sent {
                    crate::groups::wait(&world, sent, async |sent| self.attempt(sent, Some(LONG)).await.is_some())
                        .await;
                }
            }
            _ => self.look_at_groups(socket).await,
        }
    }

    /// The next message, which is sent in one attempt or another, or never.
    pub(crate) fn next_message(&mut self) -> (usize, Message) {
        let size = content::size(&mut self.random, self.plan.is_large);
        let number = self.world.records(self.socket, |records| records[self.side].sent.len());
        (size, content::message(self.socket, self.side, number, size))
    }

    async fn send(&mut self, socket: &mut WebSocket) {
        let (size, message) = self.next_message();
        for _ in 0..self.random.pick(&[1, 3, 100]) {
            let sent = match self.plan.style {
                Style::Traits => self.attempt(feed(socket, message.clone()), Some(LONG)).await,
                _ => self.attempt(socket.send(message.clone()), Some(LONG)).await,
            };
            match sent {
                Some(Ok(())) => return self.world.sent(self.socket, self.side, size),
                Some(Err(error)) => return self.give_up("send", &error),
                // The peer may wait for us to receive.
                None => self.receive(socket, Some(1)).await,
            }
            if self.is_over {
                return;
            }
        }
    }

    /// What cannot be sent any more.
    pub(crate) fn give_up(&mut self, what: &str, error: &Error) {
        self.world.failed(self.socket, self.side, what, error);
    }

    pub(crate) fn check<T>(&mut self, what: &str, result: Option<Result<T, Error>>) -> Option<T> {
        match result? {
            Ok(value) => Some(value),
            Err(error) => {
                self.give_up(what, &error);
                None
            }
        }
    }

    async fn receive(&mut self, socket: &mut WebSocket, longest: Option<u64>) {
        let received = match self.plan.style {
            Style::Traits => self.attempt(socket.next(), longest).await.map(Option::transpose),
            _ if self.random.one_in(4) => self.attempt(socket.recv_with(|_| {}), longest).await,
            _ => self.attempt(socket.recv(), longest).await,
        };
        if let Some(received) = received {
            let frame = socket.close_frame().map(|frame| frame.code.into());
            self.take(received, frame);
        }
    }

    /// Looks at what `recv` said; `code` is that of the peer's Close.
    pub(crate) fn take(&mut self, received: Result<Option<Message>, Error>, code: Option<u16>) {
        match received {
            Ok(Some(message)) => self.world.received(self.socket, self.side, &message),
            Ok(None) => self.end(Heard::Close(code.unwrap_or(0))),
            Err(error) => self.end(Heard::Error(format!("{error:?}"))),
        }
    }

    fn end(&mut self, heard: Heard) {
        self.is_over = true;
        self.world.ended(self.socket, self.side, heard);
    }

    async fn ping(&mut self, socket: &mut WebSocket) {
        let now = self.world.scheduler.now();
        let since = *self.ping_since.get_or_insert(now);
        match self.attempt(socket.ping(), None).await {
            None => {}
            // A peer whose messages are not received meanwhile.
            Some(Err(Error::Invalid(_)))
                if self.world.records(self.socket, |r| r[1 - self.side].sent_octets > 500_000) => {}
            Some(result) => {
                self.ping_since = None;
                let Some(time) = self.check("ping", Some(result)) else { return };
                let most = self.world.scheduler.now() - since;
                if time.as_millis() as u64 > most {
                    self.fail(&format!("a Ping took {time:?} of {most} ms"));
                }
            }
        }
    }

    async fn flush(&mut self, socket: &mut WebSocket) {
        let flushed = match self.plan.style {
            Style::Traits => {
                let flush = poll_fn(|cx| <WebSocket as Sink<Message>>::poll_flush(Pin::new(&mut *socket), cx));
                self.attempt(flush, Some(LONG)).await
            }
            _ => self.attempt(socket.flush(), Some(LONG)).await,
        };
        if self.check("flush", flushed).is_some() {
            self.world.flushed(self.socket, self.side);
        }
    }

    /// Each message to a group goes out, is missed or waits for the peer, where the socket is open.
    async fn look_at_groups(&mut self, socket: &mut WebSocket) {
        let before: Vec<_> = self.members.iter().map(|(group, ..)| self.world.sent_to_group(*group)).collect();
        if before.is_empty() {
            return;
        }
        if self.world.is_swift() && self.random.one_in(2) && self.peer_listens() {
            // Nobody but the group wakes the connection.
            self.world.scheduler.sleep(5000).await;
            return crate::groups::check(&self.world, self.socket, &self.members, Some(&before));
        }
        // The connection's task has had its turn by then.
        self.world.scheduler.sleep(100).await;
        let flushed = self.attempt(socket.flush(), Some(LONG)).await;
        if self.check("flush", flushed).is_none() {
            return;
        }
        crate::groups::check(&self.world, self.socket, &self.members, None);
    }

    fn peer_listens(&self) -> bool {
        self.world.records(self.socket, |records| records[1 - self.side].is_listening)
    }

    /// How the socket ends.
    pub(crate) async fn finish(mut self, mut socket: WebSocket) -> Result<(), &'static str> {
        if self.is_over && self.random.one_in(3) {
            self.try_after_the_end(&mut socket).await;
        }
        let finish = self.plan.finish;
        match finish {
            Finish::Await => {
                self.world.records(self.socket, |records| records[self.side].is_listening = true);
                while !self.is_over {
                    self.receive(&mut socket, None).await;
                }
            }
            Finish::Close | Finish::CloseWith(_) | Finish::Stay => self.close(&mut socket, finish).await,
            Finish::Ok | Finish::Err | Finish::Panic | Finish::Drop => {}
        }
        self.leave(finish);
        drop(socket);
        self.depart(finish).await
    }

    /// Says which code a socket gets that is dropped now.
    pub(crate) fn leave(&mut self, finish: Finish) {
        self.members.clear();
        let code = match finish {
            Finish::Err | Finish::Panic if self.code_of_drop != 1001 => 1011,
            _ => self.code_of_drop,
        };
        self.allow(code);
        let now = self.world.scheduler.now();
        self.world.records(self.socket, |records| records[self.side].left = Some(now));
        self.world.note("leaves", self.socket, self.side as u64);
    }

    /// What is left to do when the socket is gone.
    pub(crate) async fn depart(mut self, finish: Finish) -> Result<(), &'static str> {
        match finish {
            Finish::Panic if self.side == SERVER => std::panic::panic_any(Deliberate),
            Finish::Err => Err("this handler fails"),
            Finish::Stay => std::future::pending().await,
            Finish::Drop => {
                self.pause().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// From here on the socket may be closed with this code.
    pub(crate) fn allow(&self, code: u16) {
        self.world.records(self.socket, |records| records[self.side].codes.insert(code));
    }

    async fn close(&mut self, socket: &mut WebSocket, finish: Finish) {
        let code = if let Finish::CloseWith(code) = finish { code } else { 1000 };
        self.allow(code);
        self.world.records(self.socket, |records| records[self.side].is_discarding = true);
        let start = self.world.scheduler.now();
        loop {
            let closed = match finish {
                Finish::CloseWith(_) => self.attempt(socket.close_with(CloseCode::from(code), "enough"), None).await,
                _ => self.attempt(socket.close(), None).await,
            };
            let Some(closed) = closed else { continue };
            let code = socket.close_frame().map(|frame| u16::from(frame.code));
            if let Err(Error::Timeout(Step::Closing)) = closed {
                self.world.records(self.socket, |records| records[self.side].gave_up = true);
                if self.world.scheduler.now() < start + CLOSE_TIMEOUT {
                    self.fail("the closing handshake had no time");
                }
            }
            match (closed, code) {
                (Err(error), _) => self.end(Heard::Error(format!("{error:?}"))),
                (Ok(()), code) if !self.is_over => self.end(Heard::Close(code.unwrap_or(0))),
                (Ok(()), _) => {}
            }
            return;
        }
    }

    /// What has ended stays so.
    async fn try_after_the_end(&mut self, socket: &mut WebSocket) {
        if let Ok(()) = socket.send("too late").await {
            self.fail("a message was sent after the end");
        }
        if let Ok(Some(_)) = socket.recv().await {
            self.fail("a message came after the end");
        }
    }
}

/// Sends by the `Sink`, in one step: what is not ready is not sent.
async fn feed(socket: &mut WebSocket, message: Message) -> Result<(), Error> {
    poll_fn(|cx| <WebSocket as Sink<Message>>::poll_ready(Pin::new(&mut *socket), cx)).await?;
    Pin::new(socket).start_send(message)
}
