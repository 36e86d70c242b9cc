//! RFC 9113 §5.1: every state of a stream against every frame type, in both roles.

use http::Response;
use sockeye_proto::h2::{Reason, StreamId};

use crate::common::*;

/// What the machine does about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// Takes it, or ignores it.
    Taken,
    Stream(Reason),
    Connection(Reason),
}

const T: Answer = Answer::Taken;
const SP: Answer = Answer::Stream(Reason::PROTOCOL_ERROR);
const SC: Answer = Answer::Stream(Reason::STREAM_CLOSED);
const CP: Answer = Answer::Connection(Reason::PROTOCOL_ERROR);
const CC: Answer = Answer::Connection(Reason::STREAM_CLOSED);

/// The frames, on stream 1, in the order of the columns below.
fn frames(fields: &[(&str, &str)]) -> [Vec<u8>; 13] {
    [
        data(1, false, b"x"),
        data(1, true, b"x"),
        headers(1, false, fields),
        headers(1, true, fields),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
        rst_stream(1, Reason::CANCEL),
        frame(SETTINGS, 0, 1, &[]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        frame(PING, 0, 1, &[0; 8]),
        frame(GOAWAY, 0, 1, &[0; 8]),
        window_update(1, 1),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        frame(0xee, 0xff, 1, &[1, 2, 3]),
    ]
}

#[track_caller]
fn assert_answers(state: &str, fields: &[(&str, &str)], answers: [Answer; 13], reach: impl Fn() -> Tested) {
    for (column, (frame, expected)) in frames(fields).into_iter().zip(answers).enumerate() {
        let mut tested = reach();
        tested.sent();
        tested.events();
        tested.receive(&frame);
        let sent = tested.sent();
        let answer = match sent[..] {
            [] => Answer::Taken,
            [Sent::RstStream { id: 1, reason }] => Answer::Stream(reason),
            [Sent::GoAway { reason, .. }] => Answer::Connection(reason),
            _ => panic!("{state}, column {column}: {sent:?}"),
        };
        assert_eq!(answer, expected, "{state}, column {column}");
        assert_eq!(tested.machine.is_closed(), matches!(answer, Answer::Connection(_)));
        // Once more: nothing gets worse by a repetition than a connection error, and nothing panics.
        tested.receive(&frame).receive(&frame);
        tested.check();
    }
}

const TRAILERS: &[(&str, &str)] = &[("x", "y")];

fn release(tested: &mut Tested, id: StreamId) {
    tested.machine.stream(id).unwrap().release();
}

#[test]
fn server() {
    type Reach = fn(&mut Tested, StreamId);
    let none: Reach = |_, _| {};
    let peer_resets: Reach = |tested, _| {
        tested.receive(&rst_stream(1, Reason::CANCEL));
    };
    let we_reset: Reach = |tested, id| tested.machine.stream(id).unwrap().reset(Reason::CANCEL);
    let end: Reach = |tested, id| {
        tested.machine.stream(id).unwrap().write(b"all", true);
    };

    //                                        DATA   END HEAD END PRIO RST SET PUSH PING AWAY WINDOW CONT ?
    assert_answers("idle", GET, /*         */ [CP, CP, T, T, T, CP, CP, CP, CP, CP, CP, CP, T], Tested::server);
    type Row = (&'static str, bool, Reach, [Answer; 13]);
    let rows: [Row; 6] = [
        ("open", /*               */ false, none, [T, T, SP, T, T, T, CP, CP, CP, CP, T, CP, T]),
        ("half-closed (local)", /* */ false, end, [T, T, SP, T, T, T, CP, CP, CP, CP, T, CP, T]),
        ("half-closed (remote)", /**/ true, none, [SC, SC, SC, SC, T, T, CP, CP, CP, CP, T, CP, T]),
        ("finished", /*            */ true, end, [CC, CC, CC, CC, T, T, CP, CP, CP, CP, T, CP, T]),
        ("reset by the peer", false, peer_resets, [SC, SC, SC, SC, T, T, CP, CP, CP, CP, T, CP, T]),
        ("reset by us", /*    */ false, we_reset, [T, T, T, T, T, T, CP, CP, CP, CP, T, CP, T]),
    ];
    for (state, end_stream, reach, answers) in rows {
        let reach = || {
            let mut tested = Tested::server();
            let id = tested.accept_and_respond(1, end_stream, if end_stream { GET } else { POST });
            reach(&mut tested, id);
            (tested, id)
        };
        assert_answers(state, TRAILERS, answers, || reach().0);
        // The same is known after the release; what was not over is over by it, reset by us.
        let answers =
            if matches!(state, "open" | "half-closed (local)" | "half-closed (remote)") { rows[5].3 } else { answers };
        assert_answers(&format!("{state}, released"), TRAILERS, answers, || {
            let (mut tested, id) = reach();
            release(&mut tested, id);
            tested
        });
    }
}

#[test]
fn client() {
    type Reach = fn(&mut Tested, StreamId);
    const OK: &[(&str, &str)] = &[(":status", "200")];
    let respond: Reach = |tested, _| {
        tested.receive(&headers(1, false, OK));
    };
    let respond_and_end: Reach = |tested, _| {
        tested.receive(&headers(1, true, OK));
    };
    let finish: Reach = |tested, id| {
        tested.receive(&headers(1, true, OK));
        tested.machine.stream(id).unwrap().write(&[], true);
    };
    let peer_resets: Reach = |tested, _| {
        tested.receive(&rst_stream(1, Reason::CANCEL));
    };
    let we_reset: Reach = |tested, id| tested.machine.stream(id).unwrap().reset(Reason::CANCEL);
    let none: Reach = |_, _| {};

    //                                        DATA   END HEAD END PRIO RST SET PUSH PING AWAY WINDOW CONT ?
    assert_answers("idle", OK, /*          */ [CP, CP, CP, CP, T, CP, CP, CP, CP, CP, CP, CP, T], Tested::client);
    type Row = (&'static str, &'static [(&'static str, &'static str)], Reach, [Answer; 13]);
    let rows: [Row; 6] = [
        ("open, before the response", OK, none, [SP, SP, T, T, T, T, CP, CP, CP, CP, T, CP, T]),
        ("open, after the header", TRAILERS, respond, [T, T, SP, T, T, T, CP, CP, CP, CP, T, CP, T]),
        ("half-closed (remote)", TRAILERS, respond_and_end, [SC, SC, SC, SC, T, T, CP, CP, CP, CP, T, CP, T]),
        ("finished", TRAILERS, finish, [CC, CC, CC, CC, T, T, CP, CP, CP, CP, T, CP, T]),
        ("reset by the peer", OK, peer_resets, [SC, SC, SC, SC, T, T, CP, CP, CP, CP, T, CP, T]),
        ("reset by us", OK, we_reset, [T, T, T, T, T, T, CP, CP, CP, CP, T, CP, T]),
    ];
    for (index, (state, fields, reach, answers)) in rows.into_iter().enumerate() {
        let reach = || {
            let mut tested = Tested::client();
            let id = tested.open(&get("https://example.com/"), false);
            reach(&mut tested, id);
            (tested, id)
        };
        assert_answers(state, fields, answers, || reach().0);
        let answers = if index < 3 { rows[5].3 } else { answers };
        assert_answers(&format!("{state}, released"), fields, answers, || {
            let (mut tested, id) = reach();
            release(&mut tested, id);
            tested
        });
    }
}

/// A stream closed so long ago that nothing is known of it any more: frames that may be late do no harm, a new header
/// does (§5.1.1).
#[test]
fn forgotten() {
    let reach = || {
        let mut tested = Tested::server();
        for index in 0..200 {
            let id = tested.accept(1 + 2 * index, true, GET);
            tested.machine.stream(id).unwrap().respond(&Response::new(()), true).unwrap();
            release(&mut tested, id);
        }
        tested
    };
    assert_answers("forgotten", GET, [T, T, CP, CP, T, T, CP, CP, CP, CP, T, CP, T], reach);
}
