//! However the octets are cut: the same events, the same answers.

use sockeye_proto::h2::{Config, Event, Reason, Role, StreamId};

use crate::common::*;

/// Everything that the machine says about `session`, cut into pieces.
fn run(role: Role, session: &[u8], mut next_cut: impl FnMut() -> usize) -> (Vec<String>, Vec<Sent>, Vec<Vec<u8>>) {
    let mut tested = Tested::new(role, Config::default().with(|config| config.seed = 7));
    let mut ids: Vec<StreamId> = Vec::new();
    if role == Role::Client {
        for end_stream in [true, false] {
            ids.push(tested.machine.open(&get("https://example.com/"), end_stream).unwrap());
        }
    }
    let mut events = Vec::new();
    let mut rest = session;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(next_cut().min(rest.len()));
        rest = after;
        tested.receive(piece);
        for event in tested.events() {
            if let Event::Request { id, .. } = &event {
                ids.push(*id);
            }
            events.push(format!("{event:?}"));
        }
    }
    let unread = ids.iter().filter_map(|id| Some(tested.machine.stream(*id)?.read().to_vec())).collect();
    (events, tested.sent(), unread)
}

fn assert_same_for_all_cuts(role: Role, session: &[u8]) {
    let whole = run(role, session, || 1);
    assert!(whole.0.len() > 5, "{whole:?}");
    for cut in 1..session.len() {
        let mut cuts = [cut, session.len()].into_iter();
        assert_eq!(run(role, session, || cuts.next().unwrap()), whole, "cut at {cut}");
    }
    let mut random = Random(1);
    for _ in 0..300 {
        let longest = 1 + random.below(100);
        assert_eq!(run(role, session, || 1 + random.below(longest)), whole);
    }
}

#[test]
fn server() {
    let whole = block(POST);
    let session = [
        PREFACE.to_vec(),
        settings(&[(4, 100_000), (3, 7)]),
        frame(SETTINGS, ACK, 0, &[]),
        headers(1, true, GET),
        headers(3, false, CONNECT_WEBSOCKET),
        data(3, false, b"first message"),
        ping(1),
        ping(2),
        ping(3),
        frame(HEADERS, 0, 5, &whole[..20]),
        frame(CONTINUATION, 0, 5, &whole[20..30]),
        frame(CONTINUATION, END_HEADERS, 5, &whole[30..]),
        data(5, false, b"content"),
        frame(DATA, PADDED, 3, &[&[9][..], b"second", &[0; 9]].concat()),
        settings(&[(4, 65_535)]),
        settings(&[(4, 65_536)]),
        headers(5, true, &[("trailer", "x")]),
        headers(7, true, &[(":method", "bad")]),
        frame(0xaa, 1, 9, b"unknown"),
        window_update(0, 1000),
        window_update(3, 1000),
        rst_stream(3, Reason::CANCEL),
        headers(9, true, GET),
        frame(GOAWAY, 0, 0, &[0; 8]),
        window_update(11, 1),
        ping(4),
    ];
    assert_same_for_all_cuts(Role::Server, &session.concat());
}

#[test]
fn client() {
    let session = [
        settings(&[(8, 1), (3, 100)]),
        frame(SETTINGS, ACK, 0, &[]),
        headers(1, false, &[(":status", "103"), ("link", "<x>")]),
        headers(1, false, &[(":status", "200"), ("content-length", "11")]),
        data(1, false, b"hello "),
        headers(3, false, &[(":status", "404")]),
        data(1, true, b"world"),
        ping(1),
        ping(2),
        data(3, false, b"not found"),
        headers(3, true, &[("x", "y")]),
        frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
    ];
    assert_same_for_all_cuts(Role::Client, &session.concat());
}
