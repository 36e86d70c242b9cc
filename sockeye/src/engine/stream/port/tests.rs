use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use http::Version;
use sockeye_proto::h1::{Connection, STREAM};
use sockeye_proto::{Machine, h2};

use super::*;
use crate::engine::link::{ConnectionInfo, Limits, Link, Side};
use crate::engine::stream::{Look, PeersEnd};

/// A tunnel of a machine of its own, and its handle.
struct Tunnel {
    machine: Connection,
    handle: StreamHandle,
}

impl Tunnel {
    fn new(received: &[u8]) -> Self {
        let info = ConnectionInfo { side: Side::Server, peer: None, version: Version::HTTP_11, secure: false };
        let cell = StreamCell::new_tunnel(Link::alone(Limits::default(), info));
        let handle = StreamHandle::new(&cell);
        let mut machine = Connection::tunnel(h2::Role::Server, &h2::Config::default(), Instant::now());
        machine.handle_data(Instant::now(), &mut received.into());
        let mut tunnel = Self { machine, handle };
        tunnel.look();
        tunnel
    }

    /// What the connection does after it looked at all of the cell.
    fn look(&mut self) {
        let cell = self.handle.cell().clone();
        let mut state = cell.lock_all();
        let look = Look { has_handler: true, peers_end: PeersEnd::OfAll };
        let mut stream = self.machine.stream(STREAM).unwrap();
        let exchanged = state.exchange(&mut stream, cell.link(), look);
        cell.calm_down(&state);
        drop(state);
        cell.wake(exchanged.waiting);
    }

    fn visit<T>(&mut self, run: impl FnOnce(&StreamHandle) -> T) -> T {
        let cell = self.handle.cell().clone();
        let _visit = Visit::begin(&cell, self.machine.stream(STREAM).unwrap());
        run(&self.handle)
    }

    fn transmitted(&mut self) -> BytesMut {
        let mut output = BytesMut::new();
        self.machine.poll_transmit(&mut output);
        output
    }
}

fn read_all(handle: &StreamHandle) -> Option<Vec<u8>> {
    handle.read_in_place(|octets| (octets.len(), octets.to_vec()))
}

fn append(handle: &StreamHandle, octets: &[u8]) -> bool {
    handle.append_in_place(octets.len(), |output| (output.extend_from_slice(octets), None)).is_ok()
}

/// A handler that was woken by something else than data finds nothing to read, and takes no lock to see that.
#[test]
fn octets_go_in_and_out_in_place() {
    let mut tunnel = Tunnel::new(b"in");
    assert!(!append(&tunnel.handle, b"no"), "outside of a visit there is no desk");
    tunnel.visit(|handle| {
        assert_eq!(read_all(handle).as_deref(), Some(&b"in"[..]));
        assert_eq!(read_all(handle), None, "all is read");
        assert!(append(handle, b"out") && append(handle, b" again"));
        assert!(handle.cell().is_quiet(), "no lock was taken");
    });
    assert_eq!(tunnel.transmitted(), "out again");
}

fn send_elsewhere(handle: &StreamHandle, octets: &[u8]) {
    let sent = handle.poll_append_in_cell(octets.len(), Room::Wait(&Context::from_waker(Waker::noop())), |output| {
        (output.extend_from_slice(octets), None)
    });
    assert!(matches!(sent, Poll::Ready(Ok(()))));
}

/// What another task hands over goes past the cell, which is not quiet until it was sent; what takes the way through the
/// outbox goes behind it, and what the connection had begun to send before it.
#[test]
fn what_is_handed_over_keeps_its_place() {
    let mut tunnel = Tunnel::new(b"");
    let cell = tunnel.handle.cell().clone();
    send_elsewhere(&tunnel.handle, b"one ");
    assert!(!cell.is_quiet() && cell.lock().waiting_octets() == 0, "it is with the connection");
    tunnel.handle.append_now(0, |output| (output.extend_from_slice(b"two "), None)).unwrap();
    send_elsewhere(&tunnel.handle, b"three ");
    assert_eq!(cell.lock().waiting_octets(), 10, "the outbox is in use");
    tunnel.look();
    assert_eq!(tunnel.transmitted(), "one two three ");
    assert!(cell.is_quiet());

    send_elsewhere(&tunnel.handle, b"handed");
    cell.put_first(Bytes::from_static(b"a frame, "));
    assert!(cell.link().take_handed().is_none(), "it is back in the outbox");
    tunnel.look();
    assert_eq!(tunnel.transmitted(), "a frame, handed");
}

/// What a handler leaves unread stays with the machine, without credit for its peer, while something waits to be sent; then it
/// is the first that is read by the cell.
#[test]
fn what_is_left_waits_with_the_connection() {
    let mut tunnel = Tunnel::new(b"first rest");
    tunnel.visit(|handle| assert_eq!(handle.read_in_place(|octets| (6, octets[..6].to_vec())).unwrap(), b"first "));
    assert!(!tunnel.handle.cell().is_quiet());
    assert_eq!(tunnel.machine.stream(STREAM).unwrap().unread(), 4);
    let cell = tunnel.handle.cell().clone();
    cell.append_frame_with(|| Bytes::from_static(b"waits"));
    cell.deliver(&mut tunnel.machine.stream(STREAM).unwrap());
    assert_eq!(tunnel.machine.stream(STREAM).unwrap().unread(), 4, "something waits to be sent");
    tunnel.look();
    cell.deliver(&mut tunnel.machine.stream(STREAM).unwrap());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut input = BytesMut::new();
    let read = tunnel.handle.poll_read(cx, &mut input);
    assert!(matches!(read, Poll::Ready(Ok(Input::Octets))) && input == "rest");
}

/// RFC 9113 §5.2.1: the peer gets credit for what was read, and not for what waits in the cell, of which a reader may take a part. A
/// reader elsewhere has the connection see to that where the peer waits for it, and not for each message.
#[test]
fn credit_is_given_for_what_was_read() {
    const WINDOW: u32 = 65_535;
    for (octets, peer_waits) in [(100, false), (30_000, false), (40_000, true), (WINDOW as usize, true)] {
        let mut tunnel = Tunnel::new(b"");
        let cell = tunnel.handle.cell().clone();
        let window = |tunnel: &mut Tunnel| tunnel.machine.stream(STREAM).unwrap().recv_window();
        tunnel.machine.handle_data(Instant::now(), &mut BytesMut::from(&vec![7; octets][..]));
        cell.deliver(&mut tunnel.machine.stream(STREAM).unwrap());
        let left = WINDOW as i32 - octets as i32;
        assert_eq!(window(&mut tunnel), left, "{octets} wait to be read");

        let cx = &mut Context::from_waker(Waker::noop());
        let mut part = vec![0; octets / 2];
        assert!(tunnel.handle.poll_read_into(cx, &mut ReadBuf::new(&mut part)).is_ready());
        assert_eq!(cell.start().is_queued, peer_waits, "{octets}");
        cell.unqueue();
        tunnel.look();
        assert_eq!(window(&mut tunnel), left + part.len() as i32, "half of {octets} is read");

        let mut rest = vec![0; octets];
        let mut rest = ReadBuf::new(&mut rest);
        assert!(tunnel.handle.poll_read_into(cx, &mut rest).is_ready());
        assert_eq!(rest.filled().len(), octets - part.len());
        tunnel.look();
        assert_eq!(window(&mut tunnel), WINDOW as i32);
    }
}

/// A closer that takes note of what it hears.
struct Ear(Arc<std::sync::Mutex<Vec<u8>>>);

impl crate::engine::stream::ends::Closer for Ear {
    fn close(&mut self, _: u16, _: &mut BytesMut) {}

    fn hear(&mut self, input: BytesMut) -> bool {
        self.0.lock().unwrap().extend_from_slice(&input);
        false
    }
}

/// What a handler leaves unread that drops its socket is heard by the closer, before what comes later: or that would begin
/// in the middle of a frame.
#[test]
fn what_is_left_by_the_last_owner_is_heard_in_order() {
    let mut tunnel = Tunnel::new(b"read, left, ");
    let heard = Arc::default();
    let cell = tunnel.handle.cell().clone();
    let visit = Visit::begin(&cell, tunnel.machine.stream(STREAM).unwrap());
    let handle = StreamHandle::new(&cell);
    assert_eq!(handle.read_in_place(|octets| (6, octets[..6].to_vec())).unwrap(), b"read, ");
    handle.close_by(Box::new(Ear(Arc::clone(&heard))), BytesMut::new());
    drop((handle, std::mem::replace(&mut tunnel.handle, Tunnel::new(b"").handle)));
    drop(visit);
    tunnel.machine.handle_data(Instant::now(), &mut b"later"[..].into());
    let mut stream = tunnel.machine.stream(STREAM).unwrap();
    let look = Look { has_handler: false, peers_end: PeersEnd::OfAll };
    let exchanged = cell.lock().exchange(&mut stream, cell.link(), look);
    cell.wake(exchanged.waiting);
    assert_eq!(heard.lock().unwrap().escape_ascii().to_string(), "left, later");
}

/// Once the cell has been used nothing goes past it.
#[test]
fn nothing_overtakes_what_waits() {
    let mut tunnel = Tunnel::new(b"");
    tunnel.visit(|handle| {
        assert!(append(handle, b"1 "));
        let by_cell = handle.poll_append_in_cell(2, Room::Now, |output| (output.extend_from_slice(b"2 "), None));
        assert!(matches!(by_cell, Poll::Ready(Ok(()))));
        assert!(!append(handle, b"3"), "the outbox goes first");
    });
    tunnel.look();
    assert_eq!(tunnel.transmitted(), "1 2 ");
}

/// A handler may drive a connection of its own: what lay on the desk lies there again.
#[test]
fn visits_nest() {
    let (mut outer, mut inner) = (Tunnel::new(b"outer"), Tunnel::new(b"inner"));
    outer.visit(|handle| {
        assert_eq!(handle.read_in_place(|octets| (2, octets[..2].to_vec())).unwrap(), b"ou");
        assert!(append(handle, b"<"));
        inner.visit(|within| {
            assert_eq!(read_all(handle), None, "the outer desk is covered");
            assert!(!append(handle, b"no"));
            assert_eq!(read_all(within).as_deref(), Some(&b"inner"[..]));
            assert!(append(within, b"of the inner"));
        });
        assert_eq!(read_all(handle).as_deref(), Some(&b"ter"[..]));
        assert!(append(handle, b">"));
    });
    assert_eq!((outer.transmitted(), inner.transmitted()), ("<>".into(), "of the inner".into()));
}

/// A visit that a panic ends settles all the same, and leaves no desk behind that another could take for its own.
#[test]
fn a_panic_settles() {
    let (mut outer, mut inner) = (Tunnel::new(b"outer"), Tunnel::new(b"inner"));
    outer.visit(|handle| {
        let visited = catch_unwind(AssertUnwindSafe(|| {
            inner.visit(|within| {
                assert!(append(within, b"said"));
                panic!("a handler does");
            })
        }));
        assert!(visited.is_err() && !append(&inner.handle, b"no"));
        assert_eq!(read_all(handle).as_deref(), Some(&b"outer"[..]));
    });
    assert_eq!(inner.transmitted(), "said");
    assert_eq!(Arc::strong_count(inner.handle.cell()), 1, "nobody holds the cell but its handle");
}
