//! Servers that each do one thing wrong: it is found, counted and told apart, and nothing hangs.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sockeye::{Message, WebSocket};
use tokio::sync::Notify;

use super::common::peer::{
    ACCEPTS_NOTHING, Does, ENHANCE_YOUR_CALM, Http1, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, OFFER, Peer,
};
use super::common::{interrupt, program};
use super::{FAILURES, NOTHING_OPENED, OK, WRONG, bench, report, serve};

/// The one failure of a run that ends with this status.
#[track_caller]
fn failure(status: i32, (actual, report): (i32, Value)) -> Value {
    let [failure] = &report["failures"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(actual, status, "{report}");
    failure.clone()
}

/// Holds a run to one failure, of this kind and with these words, of some of its sockets.
#[track_caller]
fn fails(url: &str, arguments: &str, status: i32, kind: &str, what: &str, sockets: u64) -> Value {
    let found = failure(status, report(url, arguments));
    assert_eq!((&found["kind"], &found["sockets"]), (&kind.into(), &sockets.into()), "{found}");
    assert!(found["what"].as_str().unwrap().contains(what), "no {what:?} in {found}");
    found
}

fn on_message(does: Does) -> String {
    Peer { on_message: does, ..Peer::default() }.listen()
}

/// What comes back for a message, by its number from 1 on, and with what was kept of those before it.
type Answer = fn(usize, Message, &mut Vec<u8>) -> Vec<Message>;

/// The URL of a server that answers so.
async fn answering(answer: Answer) -> String {
    let state = Arc::new(Mutex::new((0, Vec::new())));
    serve(move |mut socket: WebSocket| {
        let state = state.clone();
        async move {
            while let Some(message) = socket.recv().await? {
                let answers = {
                    let (count, kept) = &mut *state.lock().unwrap();
                    *count += 1;
                    answer(*count, message, kept)
                };
                for message in answers {
                    socket.send(message).await?;
                }
            }
            Ok(())
        }
    })
    .await
}

fn merges(number: usize, message: Message, kept: &mut Vec<u8>) -> Vec<Message> {
    match number {
        ..5 => vec![message],
        5 => {
            kept.extend_from_slice(&message.into_bytes());
            vec![]
        }
        _ => vec![[kept.as_slice(), &message.into_bytes()].concat().into()],
    }
}

fn splits(_: usize, message: Message, _: &mut Vec<u8>) -> Vec<Message> {
    let octets = message.into_bytes();
    vec![octets.slice(..20).into(), octets.slice(20..).into()]
}

fn changes(number: usize, message: Message, _: &mut Vec<u8>) -> Vec<Message> {
    let mut octets = message.into_bytes().to_vec();
    octets[7] ^= u8::from(number == 5);
    vec![octets.into()]
}

fn repeats(number: usize, message: Message, _: &mut Vec<u8>) -> Vec<Message> {
    vec![message; if number < 5 { 1 } else { 2 }]
}

fn loses(number: usize, message: Message, _: &mut Vec<u8>) -> Vec<Message> {
    if number == 5 { vec![] } else { vec![message] }
}

fn says_text(_: usize, message: Message, _: &mut Vec<u8>) -> Vec<Message> {
    vec!["x".repeat(message.len()).into()]
}

fn stops(number: usize, message: Message, _: &mut Vec<u8>) -> Vec<Message> {
    if number < 5 { vec![message] } else { vec![] }
}

#[tokio::test]
async fn what_comes_back_wrong_is_named() {
    for (answer, arguments, what, first) in [
        (merges as Answer, "--depth 2", "merged", "64 octets where 32 were sent"),
        (splits, "", "split", "message 0: 20 octets where 32 were sent"),
        (changes, "", "changed", "message 4: octet 7 is 0x"),
        // Whether the next one has been sent by then decides how the second copy is told.
        (repeats, "", "", "message 5: "),
        (loses, "--depth 3", "lost", "message 4: octet 0 is"),
        (says_text, "", "confused", "text where binary was sent"),
    ] {
        let found = failure(WRONG, bench(&answering(answer).await, arguments).await);
        assert_eq!(found["kind"], "mismatch", "{found}");
        assert!(found["what"].as_str().unwrap().contains(what), "no {what:?} in {found}");
        assert!(found["first"].as_str().unwrap().contains(first), "no {first:?} in {found}");
    }
}

#[tokio::test]
async fn a_server_that_stops_is_waited_for_no_longer_than_told() {
    for (arguments, sockets) in [("", 1), ("--rate 100", 1), ("-m 9 --idle", 9)] {
        let run = bench(&answering(stops).await, &format!("--timeout 500ms {arguments}")).await;
        let found = failure(FAILURES, run);
        assert_eq!((&found["kind"], &found["sockets"]), (&"timeout".into(), &sockets.into()), "{arguments}: {found}");
        assert!(found["what"].as_str().unwrap().contains("answer"), "{arguments}: {found}");
    }
}

#[test]
fn what_the_server_says_at_its_close_is_told_as_it_is() {
    let url = on_message(Does::Closes(4401, "log \x1b[31min"));
    let found = fails(&url, "", FAILURES, "closed", "4401", 1);
    assert_eq!(found["first"], "log \x1b[31min");
}

#[test]
fn each_end_of_a_socket_is_told_apart() {
    fails(&on_message(Does::Resets(INTERNAL_ERROR)), "", FAILURES, "broken", "INTERNAL_ERROR", 1);
    fails(&on_message(Does::Ends), "", FAILURES, "broken", "without a Close", 1);
    fails(&on_message(Does::GoesAway(ENHANCE_YOUR_CALM)), "-m 5", FAILURES, "broken", "ENHANCE_YOUR_CALM", 5);
    // RFC 6455 §5.1: a server's frame is not masked.
    fails(&on_message(Does::Says(b"\x82\x81\0\0\0\0a".to_vec())), "", FAILURES, "violation", "mask", 1);
}

#[test]
fn what_is_not_opened_is_counted() {
    let refuses = |status| Does::Answers(status, vec![], "");
    let refuses_some = Peer { beyond: Some((5, refuses(503))), ..Peer::default() }.listen();
    fails(&refuses_some, "-m 10", FAILURES, "refused", "503", 5);
    let refuses_all = Peer { on_connect: refuses(403), ..Peer::default() }.listen();
    fails(&refuses_all, "-m 3", NOTHING_OPENED, "refused", "403", 3);
    let allows_two = Peer { settings: Some(vec![OFFER, (MAX_CONCURRENT_STREAMS, 2)]), ..Peer::default() }.listen();
    fails(&allows_two, "-m 5", FAILURES, "not_offered", "allows 2 streams", 3);
    let without_offer = Peer { settings: Some(vec![]), ..Peer::default() }.listen();
    fails(&without_offer, "", NOTHING_OPENED, "not_offered", "SETTINGS", 1);
}

#[test]
fn silence_is_told_by_what_was_waited_for() {
    let never_answers = Peer { on_connect: Does::Nothing, ..Peer::default() }.listen();
    fails(&never_answers, "--timeout 500ms -m 4", NOTHING_OPENED, "timeout", "handshake", 4);
    // The system takes connections, which nobody serves.
    let never_speaks = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", never_speaks.local_addr().unwrap());
    fails(&url, "--timeout 500ms", NOTHING_OPENED, "timeout", "SETTINGS", 1);
    fails(&url, "--timeout 500ms --http1.1", NOTHING_OPENED, "timeout", "handshake", 1);
}

#[test]
fn a_server_that_never_closes_is_left() {
    let peer = Peer { on_close: Does::Nothing, on_close_with_end: Does::Nothing, ..Peer::default() };
    let (status, report) = report(&peer.listen(), "--timeout 500ms");
    assert_eq!((status, &report["verdict"]), (OK, &"ok".into()), "{report}");
}

#[test]
fn http1_has_the_same_faults() {
    let refuses = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\n\r\nno\n".to_vec();
    let url = Peer { http1: Http1::Says(refuses), ..Peer::default() }.listen();
    fails(&url, "--http1.1", NOTHING_OPENED, "refused", "401", 1);
    let url = Peer { http1: Http1::Says(ACCEPTS_NOTHING.to_vec()), ..Peer::default() }.listen();
    fails(&url, "--http1.1", NOTHING_OPENED, "refused", "Sec-WebSocket-Accept is missing", 1);
    let same = |does| Peer { on_message: does, http1: Http1::Same, ..Peer::default() }.listen();
    fails(&same(Does::Disconnects), "--http1.1", FAILURES, "broken", "without a Close", 1);
    let zeros = [&b"\x82\x20"[..], &[0; 32]].concat();
    let found = fails(&same(Does::Says(zeros)), "--http1.1", WRONG, "mismatch", "changed", 1);
    assert!(found["first"].as_str().unwrap().contains("message 0: "), "{found}");
}

/// Ctrl-C ends the measurement, and what was measured is reported.
#[tokio::test]
#[cfg(unix)]
async fn what_was_measured_before_ctrl_c_is_reported() {
    let some = Arc::new(Notify::new());
    let (noted, count) = (some.clone(), Arc::new(Mutex::new(0)));
    let url = serve(move |mut socket: WebSocket| {
        let (noted, count) = (noted.clone(), count.clone());
        async move {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
                let mut count = count.lock().unwrap();
                *count += 1;
                if *count == 100 {
                    noted.notify_one();
                }
            }
            Ok(())
        }
    })
    .await;
    let mut command = program(&["bench", &url, "-d", "1h", "--warm-up", "0", "--json"]);
    let process = command.stdout(Stdio::piped()).spawn().unwrap();
    some.notified().await;
    interrupt(&process);
    let output = tokio::task::spawn_blocking(|| process.wait_with_output().unwrap()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["interrupted"]), (Some(OK), &true.into()), "{report}");
    assert!(report["load"]["messages"].as_u64().unwrap() > 0, "{report}");
}

/// Sockets that Ctrl-C finds on their way have not failed, and did not take too long.
#[tokio::test]
#[cfg(unix)]
async fn an_opening_that_ctrl_c_ends_is_no_failure() {
    for version in ["--http2", "--http1.1"] {
        // It accepts and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let mut command = program(&["bench", &url, "--timeout", "1h", "--json", version]);
        let process = command.stdout(Stdio::piped()).spawn().unwrap();
        let _connection = listener.accept().await.unwrap();
        interrupt(&process);
        let output = tokio::task::spawn_blocking(|| process.wait_with_output().unwrap()).await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = ["verdict", "failures"].map(|name| report[name].clone());
        let what = "not open yet when it was interrupted";
        let lines = serde_json::json!([{ "kind": "interrupted", "what": what, "sockets": 1, "first": null }]);
        assert_eq!(found, ["nothing_came".into(), lines], "{report}");
        assert_eq!((output.status.code(), &report["interrupted"]), (Some(FAILURES), &true.into()), "{report}");
    }
}
