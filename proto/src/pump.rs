//! The loop that stands around every machine, without its transport.

use std::time::Instant;

use bytes::BytesMut;

use crate::Machine;
use crate::h2::Event;

/// Drives any [`Machine`] for whoever moves its octets. A `Pump` does no I/O either: it says what is to be done next, and
/// keeps the rules that every such loop has to follow:
///
/// - A machine that [stopped](Machine::is_stopped) is handed what it left again before more is read for it. To read on would
///   gather whatever the peer sends.
/// - The machine is asked for more to send once all that it said is written, so that a peer that does not read stops itself
///   (RFC 9113 §10.5).
/// - The peer's end comes behind all that the peer sent: behind what the machine left, too.
/// - After each of these the machine may have events, and after those something to send.
///
/// Whoever drives it goes round: [`step`](Self::step) until it says [`Await`](Step::Await), then whatever comes first of
/// octets into [`input`](Self::input) (where it [wants](Self::wants_input) any), the time of
/// [`poll_timeout`](Self::poll_timeout), or a wish of the application. Who cannot write at the moment may read all the same.
///
/// It holds what the machine has left of one read, and what the machine has said at once: both are bounded by the machine.
///
/// ```
/// use std::time::Instant;
///
/// use http::{Request, Response};
/// use sockeye_proto::h2::{Config, Connection, Event, Role};
/// use sockeye_proto::{Machine, Pump, Step};
///
/// /// Does all that can be done for one side; its octets arrive at the other.
/// fn work<A: Machine, B>(from: &mut Pump<A>, to: &mut Pump<B>, mut handle: impl FnMut(&mut A, Event)) {
///     loop {
///         match from.step(Instant::now()) {
///             Step::Event(event) => handle(from.machine(), event),
///             Step::Write => {
///                 to.input().extend_from_slice(from.output());
///                 from.handle_written(from.output().len());
///             }
///             Step::Shutdown | Step::Await | Step::Closed => return,
///         }
///     }
/// }
///
/// let now = Instant::now();
/// let mut client = Pump::new(Connection::new(Role::Client, Config::default(), now));
/// let mut server = Pump::new(Connection::new(Role::Server, Config::default(), now));
/// client.machine().open(&Request::get("https://example.com/").body(())?, true)?;
/// let mut status = None;
/// while status.is_none() {
///     work(&mut client, &mut server, |_, event| {
///         if let Event::Response { response, .. } = event {
///             status = Some(response.status());
///         }
///     });
///     server.handle_input(now);
///     work(&mut server, &mut client, |machine, event| {
///         if let Event::Request { id, .. } = event {
///             machine.stream(id).unwrap().respond(&Response::new(()), true).unwrap();
///         }
///     });
///     client.handle_input(now);
/// }
/// assert_eq!(status, Some(http::StatusCode::OK));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pump<M> {
    machine: M,
    /// What was read and the machine has left.
    input: BytesMut,
    reading: Reading,
    /// What the machine said, of which so many octets are written.
    output: BytesMut,
    written: usize,
    writing: Writing,
}

/// What is to be done next, from [`Pump::step`].
#[derive(Debug)]
pub enum Step {
    /// Something happened, which is for the application.
    Event(Event),
    /// [`output`](Pump::output) is to be written, or some of it: [`handle_written`](Pump::handle_written) says how much was.
    Write,
    /// Our half of the transport is to be shut down, behind all that was written. The peer may go on.
    Shutdown,
    /// Nothing, until more was read, time has passed or the application has done something.
    Await,
    /// The connection is over, and all that it had to say is written. Where it [is left](Machine::is_left) to somebody else,
    /// what was read behind it is theirs.
    Closed,
}

/// What becomes of the peer's half of the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    Open,
    /// The machine stopped before it had taken all.
    Behind,
    /// The peer has ended its half, which the machine is to hear once it has taken all.
    Ending,
    /// Nothing more comes.
    Ended,
}

/// What becomes of our half of the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writing {
    Open,
    /// The transport is told to shut it down.
    ShutDown,
    /// The transport takes nothing any more.
    Failed,
}

impl<M> Pump<M> {
    /// A machine whose transport has just begun.
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            input: BytesMut::new(),
            reading: Reading::Open,
            output: BytesMut::new(),
            written: 0,
            writing: Writing::Open,
        }
    }

    /// The machine, for the verbs of the application.
    #[inline]
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Where to read to: what came and the machine has left, behind which more is to be appended.
    /// [`handle_input`](Self::handle_input) hands it over. It may be exchanged for a buffer that begins with the same octets.
    #[inline]
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What is to be written.
    #[inline]
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// So many octets off the front of [`output`](Self::output) were written.
    #[inline]
    pub fn handle_written(&mut self, octets: usize) {
        self.written += octets;
        debug_assert!(self.written <= self.output.len(), "no more is written than there was");
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }
}

impl<M: Machine> Pump<M> {
    /// What is to be done next. `now` is the time at which the machine handles what it had left.
    #[inline]
    pub fn step(&mut self, now: Instant) -> Step {
        loop {
            if let Some(event) = self.machine.poll_event() {
                return Step::Event(event);
            }
            if self.has_output() {
                return Step::Write;
            }
            // To have been asked for its output may be what a machine stopped for.
            if !self.hand_over(now) {
                return self.idle();
            }
        }
    }

    /// What happened, oldest first: what [`step`](Self::step) says first. For an application that has something of its own to
    /// say once it has heard all.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.machine.poll_event()
    }

    /// Whether more is to be read. Not while the machine has stopped, and not behind the end.
    #[inline]
    pub fn wants_input(&self) -> bool {
        self.reading == Reading::Open && !self.machine.is_stopped() && !self.machine.is_closed()
    }

    /// Octets were read into [`input`](Self::input).
    #[inline]
    pub fn handle_input(&mut self, now: Instant) {
        match self.reading {
            Reading::Open if self.machine.is_stopped() => self.reading = Reading::Behind,
            Reading::Open => {
                self.machine.handle_data(now, &mut self.input);
                if self.machine.is_stopped() {
                    self.reading = Reading::Behind;
                }
            }
            // It stays behind what was left before.
            Reading::Behind | Reading::Ending => {}
            Reading::Ended => self.input.clear(),
        }
    }

    /// The peer has ended its half of the transport, behind what is in [`input`](Self::input).
    pub fn handle_eof(&mut self, now: Instant) {
        self.handle_input(now);
        match self.reading {
            Reading::Open => self.end(now),
            Reading::Behind => self.reading = Reading::Ending,
            Reading::Ending | Reading::Ended => {}
        }
    }

    /// The transport failed: nothing goes out any more, and nothing comes but what is in [`input`](Self::input).
    pub fn handle_failure(&mut self, now: Instant) {
        self.handle_input(now);
        self.reading = Reading::Ended;
        self.writing = Writing::Failed;
        self.input.clear();
        self.handle_written(self.output().len());
        self.machine.handle_failure(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if it is.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Sees to all that is due, which is nothing before the time of [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
        }
    }

    /// Frees what is kept for reuse, in the machine too.
    pub fn shrink(&mut self) {
        self.machine.shrink();
        self.input = BytesMut::from(&self.input[..]);
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }

    /// Whether anything is to be written. The machine is asked only where there is nothing.
    #[inline]
    fn has_output(&mut self) -> bool {
        if self.output.is_empty() {
            self.machine.poll_transmit(&mut self.output);
            if self.writing == Writing::Failed {
                self.output.clear();
            }
        }
        !self.output.is_empty()
    }

    /// Hands over again what a machine left that goes on; whether that changed anything.
    #[inline]
    fn hand_over(&mut self, now: Instant) -> bool {
        if matches!(self.reading, Reading::Open | Reading::Ended) || self.machine.is_stopped() {
            return false;
        }
        let before = self.input.len();
        self.machine.handle_data(now, &mut self.input);
        if self.machine.is_stopped() {
            return self.input.len() < before;
        }
        match self.reading {
            Reading::Ending => self.end(now),
            _ => self.reading = Reading::Open,
        }
        true
    }

    /// The machine has taken all that there will be.
    fn end(&mut self, now: Instant) {
        self.reading = Reading::Ended;
        self.input.clear();
        self.machine.handle_eof(now);
    }

    /// What there is to do for a machine that has nothing to say.
    fn idle(&mut self) -> Step {
        if self.machine.is_closed() {
            return Step::Closed;
        }
        if self.writing == Writing::Open && self.machine.is_send_closed() {
            self.writing = Writing::ShutDown;
            return Step::Shutdown;
        }
        Step::Await
    }
}
