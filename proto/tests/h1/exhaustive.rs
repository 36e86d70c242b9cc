//! Every state × every operation × every operation that may follow: what holds always, and what each verb says.

use std::time::Duration;

use bytes::BytesMut;
use http::HeaderMap;
use sockeye_proto::h1::{STREAM, Stream};
use sockeye_proto::h2::{Reason, SendError};
use sockeye_proto::{Loan, Machine, MachineStream};

use crate::common::*;

/// A state, and what `respond` and `send_trailers` say in it.
type State = (&'static str, fn() -> Tested, Result<(), SendError>, Result<(), SendError>);

const CLOSED: Result<(), SendError> = Err(SendError::Closed);
const OUT_OF_ORDER: Result<(), SendError> = Err(SendError::OutOfOrder);

/// A server that did this.
fn server(work: impl FnOnce(&mut Tested)) -> Tested {
    let mut tested = Tested::server();
    work(&mut tested);
    tested
}

/// A tunnel that did this.
fn tunnel(work: impl FnOnce(&mut Tested)) -> Tested {
    let mut tested = Tested::tunnel();
    work(&mut tested);
    tested
}

fn respond(tested: &mut Tested, status: u16, fields: &[(&str, &str)], end_stream: bool) {
    tested.stream().respond(&response(status, fields), end_stream).unwrap();
}

const STATES: &[State] = &[
    ("asked", Tested::server, Ok(()), OUT_OF_ORDER),
    ("asked, with octets", || server(|tested| _ = tested.receive(b"early")), Ok(()), OUT_OF_ORDER),
    ("asked, half-closed", || server(|tested| _ = tested.eof()), Ok(()), OUT_OF_ORDER),
    ("gone", || server(|tested| _ = tested.eof().after(Duration::from_secs(1))), CLOSED, CLOSED),
    ("chunked", || server(|tested| respond(tested, 200, &[], false)), OUT_OF_ORDER, Ok(())),
    ("of a length", || server(|tested| respond(tested, 200, &[("content-length", "9")], false)), OUT_OF_ORDER, Ok(())),
    ("answered", || server(|tested| respond(tested, 200, &[], true)), CLOSED, CLOSED),
    ("switched", || server(|tested| respond(tested, 101, &[], false)), OUT_OF_ORDER, OUT_OF_ORDER),
    ("tunnel", Tested::tunnel, OUT_OF_ORDER, OUT_OF_ORDER),
    ("unread", || tunnel(|tested| _ = tested.receive(b"unread")), OUT_OF_ORDER, OUT_OF_ORDER),
    ("stopped", || tunnel(|tested| _ = tested.receive(&[1; 70_000])), OUT_OF_ORDER, OUT_OF_ORDER),
    ("waiting", || tunnel(|tested| _ = tested.stream().write(&[1; 70_000], true)), OUT_OF_ORDER, OUT_OF_ORDER),
    ("peer ended", || tunnel(|tested| _ = tested.eof()), OUT_OF_ORDER, OUT_OF_ORDER),
    ("we ended", || tunnel(|tested| _ = tested.stream().write(b"x", true)), CLOSED, CLOSED),
    ("both ended", || tunnel(|tested| _ = tested.eof().stream().write(b"x", true)), CLOSED, CLOSED),
    ("reset", || tunnel(|tested| tested.stream().reset(Reason::CANCEL)), CLOSED, CLOSED),
    ("closed", || tunnel(|tested| tested.machine.close(Reason::NO_ERROR)), CLOSED, CLOSED),
    ("failed", || tunnel(|tested| tested.machine.handle_failure(tested.now)), CLOSED, CLOSED),
    ("released", || tunnel(|tested| tested.stream().release()), CLOSED, CLOSED),
];

type Operation = (&'static str, fn(&mut Tested));

/// An operation on the stream, if it is held.
fn on_stream(tested: &mut Tested, work: impl FnOnce(Stream<'_>)) {
    if let Some(stream) = tested.machine.stream(STREAM) {
        work(stream);
    }
}

fn lend(tested: &mut Tested, read: usize, put: usize) {
    let mut loan = Loan::default();
    if let Some(mut stream) = tested.machine.stream(STREAM) {
        stream.lend(&mut loan);
        loan.read(read);
        let (room, ((), rest)) = (loan.room(), loan.put(|output| output.extend_from_slice(&vec![7; put])));
        assert_eq!(rest.map(|rest| rest.len()), (put > room).then_some(put));
        tested.stream().settle(&mut loan);
    }
}

const OPERATIONS: &[Operation] = &[
    ("data", |tested| _ = tested.receive(b"more")),
    ("much data", |tested| _ = tested.receive(&[2; 70_000])),
    ("no data", |tested| _ = tested.receive(b"")),
    ("eof", |tested| _ = tested.eof()),
    ("failure", |tested| tested.machine.handle_failure(tested.now)),
    ("time", |tested| _ = tested.after(Duration::from_secs(1))),
    ("early timeout", |tested| tested.machine.handle_timeout(tested.now)),
    ("event", |tested| _ = tested.machine.poll_event()),
    ("transmit", |tested| _ = tested.sent()),
    ("drain", |tested| tested.machine.drain(tested.now)),
    ("close", |tested| tested.machine.close(Reason::NO_ERROR)),
    ("batch", |tested| _ = tested.machine.take_batch()),
    ("recycle", |tested| tested.machine.recycle(BytesMut::with_capacity(10))),
    ("shrink", |tested| tested.machine.shrink()),
    ("read", |tested| on_stream(tested, |mut stream| _ = stream.read())),
    ("lend", |tested| lend(tested, 0, 0)),
    ("read some, put some", |tested| lend(tested, 2, 20)),
    ("read all, put much", |tested| lend(tested, 70_000, 20_000)),
    ("write", |tested| on_stream(tested, |mut stream| _ = stream.write(b"data", false))),
    ("write nothing", |tested| on_stream(tested, |mut stream| _ = stream.write(b"", false))),
    ("write much", |tested| on_stream(tested, |mut stream| _ = stream.write(&[3; 300_000], true))),
    ("end", |tested| on_stream(tested, |mut stream| _ = stream.write(b"", true))),
    ("interim", |tested| on_stream(tested, |mut stream| _ = stream.respond(&response(100, &[]), false))),
    ("switch", |tested| on_stream(tested, |mut stream| _ = stream.respond(&response(101, &[]), false))),
    ("switch, and end", |tested| on_stream(tested, |mut stream| _ = stream.respond(&response(101, &[]), true))),
    ("respond", |tested| on_stream(tested, |mut stream| _ = stream.respond(&response(200, &[]), false))),
    ("refuse", |tested| on_stream(tested, |mut stream| _ = stream.respond(&response(403, &[]), true))),
    ("trailers", |tested| on_stream(tested, |mut stream| _ = stream.send_trailers(&HeaderMap::new()))),
    ("reset", |tested| on_stream(tested, |mut stream| stream.reset(Reason::CANCEL))),
    ("dismiss", |tested| on_stream(tested, |mut stream| stream.dismiss())),
    ("release", |tested| on_stream(tested, |stream| stream.release())),
];

/// What holds between any two operations.
#[track_caller]
fn look(tested: &mut Tested, what: &str) {
    let machine = &mut tested.machine;
    let (is_closed, is_send_closed) = (machine.is_closed(), machine.is_send_closed());
    assert!(!is_closed || is_send_closed, "{what}: nothing is sent on a closed connection");
    assert!(!is_closed || !machine.is_stopped() && machine.poll_timeout().is_none(), "{what}: it awaits nothing");
    let (count, is_tunnel) = (machine.stream_count(), machine.is_tunnel());
    let Some(stream) = machine.stream(STREAM) else {
        return assert!(is_closed && count == 0, "{what}: with its stream the connection ends");
    };
    assert_eq!(count, 1);
    assert!(!stream.is_closed() || stream.is_send_closed(), "{what}: a closed stream has no half");
    assert!(!is_closed || stream.is_closed(), "{what}: no stream outlives its connection");
    assert_eq!(stream.is_send_closed(), is_send_closed, "{what}: their half is the same");
    // What a refused client still sends is dropped out of the window.
    let window = stream.recv_window() as usize + stream.unread();
    assert!(window <= 65_535 && (window == 65_535 || !is_tunnel), "{what}: {window}");
}

/// Lets everything go, and looks at all that was heard: `Closed` comes once, and last.
#[track_caller]
fn finish(mut tested: Tested, mut heard: Vec<String>, what: &str) {
    on_stream(&mut tested, |stream| stream.release());
    look(&mut tested, what);
    heard.extend(tested.heard());
    let closed = heard.iter().filter(|event| event.starts_with("closed")).count();
    assert!(closed == 1 && heard.last().is_some_and(|last| last.starts_with("closed")), "{what}: {heard:?}");
    let finished = heard.iter().filter(|event| *event == "finished" || event.starts_with("reset")).count();
    assert!(finished <= 1, "{what}: {heard:?}");
    tested.sent();
    tested.receive(b"late").eof();
    assert_eq!((tested.sent().len(), tested.heard().len(), tested.input.len()), (0, 0, 0), "{what}: it is over");
}

#[test]
fn every_state_and_two_operations() {
    for (state, make, ..) in STATES {
        for (first, work) in OPERATIONS {
            for (second, work_again) in OPERATIONS {
                let what = format!("{state}: {first}, {second}");
                let mut tested = make();
                look(&mut tested, &what);
                work(&mut tested);
                look(&mut tested, &what);
                work_again(&mut tested);
                look(&mut tested, &what);
                // An event that an operation took is missing from those that are left.
                if ![*first, *second].contains(&"event") {
                    let heard = tested.heard();
                    finish(tested, heard, &what);
                }
            }
        }
    }
}

/// What each verb that may be refused says in each state.
#[test]
fn verbs_are_refused_by_state() {
    for (state, make, respond, trailers) in STATES {
        for status in [101, 200, 403, 100] {
            if let Some(mut stream) = make().machine.stream(STREAM) {
                assert_eq!(stream.respond(&response(status, &[]), false), *respond, "{state}: {status}");
            }
        }
        if let Some(mut stream) = make().machine.stream(STREAM) {
            assert_eq!(stream.send_trailers(&HeaderMap::new()), *trailers, "{state}");
        }
        let mut tested = make();
        let writes = ["chunked", "of a length", "switched", "tunnel", "unread", "stopped", "waiting", "peer ended"];
        let taken = tested.machine.stream(STREAM).map_or(0, |mut stream| stream.write(b"data", false));
        assert_eq!(taken, if writes.contains(state) { 4 } else { 0 }, "{state}");
    }
}
