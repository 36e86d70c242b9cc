//! Streams that wait to write: who is told, and who is watched.

use std::time::Duration;

use sockeye_proto::h2::{Config, Event, Reason, Role};

use crate::common::*;

/// A side that has ended has nothing to write: its turn does not come, and it is not watched for progress.
#[test]
fn a_side_that_ended_waits_for_nothing() {
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, false, POST);
    tested.receive(&window_update(0, 1 << 20));
    let mut stream = tested.machine.stream(id).unwrap();
    let taken: usize = (0..5).map(|_| stream.write(&[0; 16_384], false)).sum();
    assert_eq!(taken, 65_535);
    assert_eq!(stream.write(b"more", false), 0);
    stream.write(b"", true);
    tested.sent();
    tested.receive(&window_update(1, 1000)).receive(&settings(&[(4, 100_000)]));
    assert!(!tested.events().iter().any(|event| matches!(event, Event::Writable(_))));
    tested.after(Duration::from_secs(61)).after(Duration::from_secs(61));
    assert!(!tested.events().iter().any(|event| matches!(event, Event::Reset { .. })));
    assert_eq!(tested.machine.counters().streams_without_progress, 0);
}

/// A stream may be blocked before a single octet came: its time runs from the next look at the clock on.
#[test]
fn a_stream_is_watched_before_anything_came() {
    let mut tested = Tested::new(Role::Client, Config::default().with(|config| config.preface_timeout = Duration::MAX));
    let id = tested.machine.open(&get("https://example.com/"), false).unwrap();
    while tested.machine.stream(id).unwrap().write(&[0; 16_384], false) > 0 {}
    tested.after(Duration::ZERO).after(Duration::from_secs(61));
    assert!(matches!(tested.events()[..], [Event::Reset { reason: Reason::CANCEL, remote: false, .. }]));
}
