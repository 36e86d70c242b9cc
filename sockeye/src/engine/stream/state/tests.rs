//! Every operation in every state that some others lead to, and what must hold behind each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, Version};
use sockeye_proto::h2::SendError;
use sockeye_proto::{Loan, MachineStream};

use super::waiters::{Waiter, Waiting, Who};
use super::{Ending, Exchanged, Look, Next, PeersEnd, StreamState};
use crate::engine::link::{ConnectionInfo, Limits, Link, Side};
use crate::engine::stream::ends::{Closer, Death, ErrorCode, Input, Parting, Received};
use sockeye_proto::Reason;

/// A machine's stream that takes as much as it is told to.
#[derive(Default)]
struct Wire {
    room: usize,
    taken: Vec<u8>,
    unread: BytesMut,
    /// Octets that were taken and not credited.
    owed: usize,
    responded: bool,
    send_ended: bool,
    recv_ended: bool,
    reset: bool,
}

impl MachineStream for Wire {
    fn take(&mut self) -> BytesMut {
        self.owed += self.unread.len();
        self.unread.split()
    }

    fn credit(&mut self, octets: usize) {
        assert!(octets <= self.owed, "credit is given once");
        self.owed -= octets;
    }

    fn unread(&self) -> usize {
        self.unread.len()
    }

    fn recv_window(&self) -> i32 {
        0
    }

    fn has_room(&self) -> bool {
        self.room > 0
    }

    fn lend(&mut self, _: &mut Loan) {}

    fn settle(&mut self, _: &mut Loan) {}

    fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        assert!(!self.send_ended && !self.reset, "nothing is written behind the end");
        let taken = data.len().min(self.room);
        self.taken.extend_from_slice(&data[..taken]);
        self.room -= taken;
        self.send_ended = end_stream && taken == data.len();
        taken
    }

    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        if self.responded || self.reset {
            return Err(SendError::OutOfOrder);
        }
        self.responded = !response.status().is_informational();
        self.send_ended = end_stream;
        Ok(())
    }

    fn send_trailers(&mut self, _: &HeaderMap) -> Result<(), SendError> {
        self.send_ended = true;
        Ok(())
    }

    fn reset(&mut self, _: Reason) {
        self.reset = true;
    }

    fn dismiss(&mut self) {
        assert!(self.is_send_closed(), "a stream is dismissed once all of it is sent");
    }

    fn release(self) {}

    fn is_closed(&self) -> bool {
        self.reset || self.send_ended && self.recv_ended
    }

    fn is_send_closed(&self) -> bool {
        self.reset || self.send_ended
    }
}

/// A task that counts how often it was woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Last words of one octet, which the peer's answer with.
struct Words;

impl Closer for Words {
    fn close(&mut self, _: u16, output: &mut BytesMut) {
        output.extend_from_slice(b"C");
    }

    fn hear(&mut self, input: BytesMut) -> bool {
        input.contains(&b'C')
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    // Of the application.
    Share,
    Leave,
    Receive,
    ReceiveElsewhere,
    ReceiveFew,
    ReceiveFewElsewhere,
    Append,
    Flush,
    Respond,
    BeginTunnel,
    RespondEnd,
    Finish,
    FinishAfterPeer,
    PartSaid,
    CloseBy,
    Refuse,
    Watch,
    // Of the connection.
    Deliver,
    PeerEnds,
    PeerResets,
    Disconnect,
    GoAway,
    CloseSlow,
    Frame,
    SendFrame,
    Flushed,
    Exchange,
    ExchangeWithoutRoom,
}

use Op::*;

const OPS: [Op; 28] = [
    Share,
    Leave,
    Receive,
    ReceiveElsewhere,
    ReceiveFew,
    ReceiveFewElsewhere,
    Append,
    Flush,
    Respond,
    BeginTunnel,
    RespondEnd,
    Finish,
    FinishAfterPeer,
    PartSaid,
    CloseBy,
    Refuse,
    Watch,
    Deliver,
    PeerEnds,
    PeerResets,
    Disconnect,
    GoAway,
    CloseSlow,
    Frame,
    SendFrame,
    Flushed,
    Exchange,
    ExchangeWithoutRoom,
];

/// One stream, with what the test knows of it.
struct Case {
    state: StreamState,
    wire: Wire,
    link: Arc<Link>,
    side: Side,
    handles: usize,
    appended: Vec<u8>,
    /// The response has begun, and content may follow.
    is_answered: bool,
    is_let_go: bool,
    handler_waits: bool,
    task: Arc<Task>,
    task_waits: Option<usize>,
}

impl Case {
    fn new(side: Side, is_tunnel: bool) -> Self {
        let info = ConnectionInfo { side, peer: None, version: Version::HTTP_2, secure: false };
        let mut state = if is_tunnel { StreamState::tunnel() } else { StreamState::default() };
        state.share();
        let wire = Wire { responded: is_tunnel, ..Wire::default() };
        Self {
            state,
            wire,
            link: Link::alone(Limits::default(), info),
            side,
            handles: 1,
            appended: Vec::new(),
            is_answered: false,
            is_let_go: false,
            handler_waits: false,
            task: Arc::default(),
            task_waits: None,
        }
    }

    fn is_of_connection(op: Op) -> bool {
        OPS.iter().position(|other| *other == op) >= OPS.iter().position(|other| *other == Deliver)
    }

    /// Whether somebody can do this here: an application that has left does nothing, and a connection that has let go of the
    /// stream neither.
    fn may(&self, op: Op) -> bool {
        if Self::is_of_connection(op) {
            let recv_is_open = !self.wire.recv_ended && !self.wire.reset;
            return !self.is_let_go && (recv_is_open || !matches!(op, Deliver | PeerEnds | PeerResets));
        }
        let is_tunnel = self.state.is_tunnel();
        self.handles > 0
            && match op {
                Share => self.handles < 3,
                Respond | RespondEnd | Refuse => self.side == Side::Server,
                BeginTunnel => self.side == Side::Server || !is_tunnel,
                Append | Finish => is_tunnel || self.is_answered,
                PartSaid | CloseBy | FinishAfterPeer => is_tunnel,
                _ => true,
            }
    }

    fn wake(&mut self, waiting: Waiting) {
        for waiter in [waiting.sender, waiting.receiver] {
            match waiter {
                Waiter::Nobody => {}
                Waiter::Handler => self.handler_waits = false,
                Waiter::Task(waker) => waker.wake(),
            }
        }
        if let Some(watcher) = waiting.watcher {
            watcher.wake();
        }
    }

    fn is_woken(&self) -> bool {
        !self.handler_waits && self.task_waits.is_none_or(|woken| self.task.0.load(Ordering::Relaxed) > woken)
    }

    fn receive(&mut self, waker: Option<&Waker>) {
        let before = self.state.inbox.len();
        let mut input = BytesMut::new();
        let who = waker.map_or(Who::Handler, Who::Task);
        match self.state.receive(who, &mut input) {
            Poll::Ready(Ok(Input::Octets)) => assert_eq!(input.len(), before, "all that is there is read"),
            Poll::Ready(Ok(Input::End | Input::Notice(_)) | Err(_)) => assert_eq!(before, 0, "nothing is lost"),
            Poll::Pending => self.await_octets(waker),
        }
    }

    /// All octets but the last are read under the lock, or all of them by the handler.
    fn receive_few(&mut self, waker: Option<&Waker>) {
        let before = self.state.inbox.len();
        let mut rest = BytesMut::new();
        let who = waker.map_or(Who::Handler, Who::Task);
        let most = if waker.is_some() { before.saturating_sub(1) } else { before };
        match self.state.receive_few(who, &mut rest, |octets| (most, octets[..most].len())) {
            Poll::Ready(Some(read)) => assert_eq!(read + rest.len(), before, "nothing is lost"),
            Poll::Ready(None) => assert_eq!(before, 0, "few octets are read"),
            Poll::Pending => self.await_octets(waker),
        }
        assert!(self.state.inbox.is_empty(), "all that is there is read or handed over");
    }

    fn await_octets(&mut self, waker: Option<&Waker>) {
        assert!(self.state.inbox.is_empty(), "who waits has read all");
        match waker {
            None => (self.handler_waits, self.task_waits) = (true, None),
            Some(_) => (self.handler_waits, self.task_waits) = (false, Some(self.task.0.load(Ordering::Relaxed))),
        }
    }

    fn end(&mut self, received: Received) {
        let rest = self.wire.read();
        match received {
            Received::Finished => self.wire.recv_ended = true,
            _ => self.wire.reset = true,
        }
        let waiting = self.state.end(rest, None, received, self.side);
        self.wake(waiting);
        assert!(self.is_woken(), "who waits hears of the end");
    }

    fn exchange(&mut self, room: usize) {
        self.wire.room = room;
        let look = Look { has_handler: false, peers_end: PeersEnd::OfItsHalf };
        let Exchanged { waiting, next, .. } = self.state.exchange(&mut self.wire, &self.link, look);
        self.wake(waiting);
        assert!(self.wire.owed <= self.state.inbox.len(), "the peer has credit for all that was read");
        self.is_let_go = next == Next::LetGo;
        if self.is_let_go {
            assert!(self.handles == 0 || self.state.is_ended(), "what is held goes on until both halves are over");
        }
    }

    fn run(&mut self, op: Op) {
        let waker = Waker::from(self.task.clone());
        match op {
            Share => {
                self.state.share();
                self.handles += 1;
            }
            Leave => {
                let was_last = self.state.leave(self.side);
                self.handles -= 1;
                assert_eq!(was_last, self.handles == 0);
            }
            Receive => self.receive(None),
            ReceiveElsewhere => self.receive(Some(&waker)),
            ReceiveFew => self.receive_few(None),
            ReceiveFewElsewhere => self.receive_few(Some(&waker)),
            Append => {
                if self.state.check_open().is_ok() {
                    self.state.append(|outbox| (outbox.extend_from_slice(b"ab"), None));
                    self.appended.extend_from_slice(b"ab");
                }
            }
            Flush => {
                if self.state.flush(Who::Task(&waker)).is_none() {
                    assert_eq!(self.state.flush, super::Flush::Asked);
                }
            }
            Respond => self.is_answered |= self.state.respond(Response::new(()), false, false).is_ok(),
            BeginTunnel if self.side == Side::Client => self.state.start_tunnel(),
            BeginTunnel => drop(self.state.respond(Response::new(()), false, true)),
            RespondEnd => drop(self.state.respond(Response::new(()), true, false)),
            Finish => self.state.finish(Ending::Now(None), |_| {}),
            FinishAfterPeer => self.state.finish(Ending::AfterPeer, |_| {}),
            PartSaid => self.state.part(Parting::Said),
            CloseBy => self.state.close_by(Box::new(Words), BytesMut::new()),
            Refuse => self.state.refuse(),
            Watch => drop(self.state.watch(&waker)),
            Deliver => {
                self.wire.unread.extend_from_slice(b"x");
                match self.state.deliver(&mut self.wire) {
                    super::Delivered::Put(receiver) => {
                        self.wake(Waiting { receiver, ..Waiting::default() });
                        assert!(self.is_woken(), "who waits hears of what came");
                    }
                    super::Delivered::HeldBack => assert!(!self.state.takes_octets(), "who waits gets what came"),
                    super::Delivered::Heard => assert_eq!(self.handles, 0),
                }
            }
            PeerEnds => self.end(Received::Finished),
            PeerResets => self.end(Received::Dead(Death::Reset(ErrorCode::new(Reason::CANCEL), self.side.peer()))),
            Disconnect => self.end(Received::Dead(Death::Disconnected)),
            GoAway => {
                let before = self.state.telling;
                let waiting = self.state.go_away();
                self.wake(waiting);
                assert!(before != super::Telling::Told || self.state.telling == before, "it is told once");
            }
            Frame => {
                if self.state.takes_frames() && self.state.is_tunnel() {
                    self.state.append_frame(Bytes::from_static(b"f"));
                    self.appended.push(b'f');
                }
            }
            SendFrame => {
                self.wire.room = 1;
                if self.state.takes_frames()
                    && self.state.is_tunnel()
                    && !self.is_let_go
                    && !self.wire.is_send_closed()
                    && self.state.send_frame(&mut self.wire, &Bytes::from_static(b"gh")) > 0
                {
                    self.appended.extend_from_slice(b"gh");
                }
            }
            CloseSlow => {
                let waiting = self.state.close_slow();
                self.wake(waiting);
            }
            Flushed => {
                let waiting = self.state.flushed(super::Flush::Done);
                self.wake(waiting);
            }
            Exchange => self.exchange(usize::MAX),
            ExchangeWithoutRoom => self.exchange(1),
        }
        self.state.check();
        assert_eq!(self.wire.owed, self.state.uncredited as usize, "what is owed is known");
        let sent = &self.wire.taken;
        let words = sent.iter().filter(|octet| **octet != b'C').copied().collect::<Vec<_>>();
        assert!(self.appended.starts_with(&words), "what is sent goes out once, in its order");
    }

    /// Whatever came before, a stream that everybody leaves comes to its end, and its connection lets go of it.
    fn conclude(&mut self) {
        while self.handles > 0 {
            self.run(Leave);
        }
        if !self.is_let_go {
            self.run(Exchange);
        }
        if !self.is_let_go && self.may(PeerEnds) {
            self.run(PeerEnds);
        }
        if !self.is_let_go {
            self.run(Exchange);
        }
        assert!(self.is_let_go, "the connection lets go of what nobody holds");
        assert_eq!(self.state.booked, 0, "nothing waits any more");
    }
}

fn every_sequence(length: usize, side: Side, is_tunnel: bool) -> usize {
    let mut sequence = vec![0; length];
    let mut cases = 0;
    'sequences: loop {
        let mut case = Case::new(side, is_tunnel);
        let ops: Vec<_> = sequence.iter().map(|at| OPS[*at]).collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for op in &ops {
                if case.may(*op) {
                    case.run(*op);
                }
            }
            case.conclude();
        }));
        assert!(done.is_ok(), "{side:?}, tunnel {is_tunnel}: {ops:?}");
        cases += 1;
        for at in (0..length).rev() {
            sequence[at] += 1;
            if sequence[at] < OPS.len() {
                continue 'sequences;
            }
            sequence[at] = 0;
        }
        return cases;
    }
}

/// A closer that takes note of what it hears.
struct Ear(Arc<std::sync::Mutex<Vec<u8>>>);

impl Closer for Ear {
    fn close(&mut self, _: u16, _: &mut BytesMut) {}

    fn hear(&mut self, input: BytesMut) -> bool {
        self.0.lock().unwrap().extend_from_slice(&input);
        false
    }
}

/// What the last handle had not read is heard by the closer, before what comes later, also where our half had ended before: or
/// the closer would miss the peer's last words, or begin in the middle of a frame.
#[test]
fn what_was_not_read_is_heard_in_order() {
    for ends_before in [false, true] {
        let heard = Arc::default();
        let mut case = Case::new(Side::Server, true);
        case.run(Deliver);
        case.state.close_by(Box::new(Ear(Arc::clone(&heard))), BytesMut::from("unread "));
        if ends_before {
            case.run(Finish);
        }
        case.run(Leave);
        case.wire.unread.extend_from_slice(b" later");
        case.run(Exchange);
        assert_eq!(heard.lock().unwrap().escape_ascii().to_string(), "unread x later", "{ends_before}");
    }
}

/// Every operation behind every two others, on both sides, for exchanges and tunnels.
#[test]
fn every_operation_in_every_state() {
    for side in [Side::Server, Side::Client] {
        for is_tunnel in [false, true] {
            assert_eq!(every_sequence(3, side, is_tunnel), OPS.len().pow(3));
        }
    }
}

/// Operations by the thousand, in random order.
#[test]
fn long_lives_end_as_well() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..20_000 {
        let side = if round % 2 == 0 { Side::Server } else { Side::Client };
        let mut case = Case::new(side, round % 4 < 2);
        let mut ops = Vec::new();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..16 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let op = OPS[(random % OPS.len() as u64) as usize];
                if case.may(op) {
                    ops.push(op);
                    case.run(op);
                }
            }
            case.conclude();
        }));
        assert!(done.is_ok(), "{side:?}: {ops:?}");
    }
}
