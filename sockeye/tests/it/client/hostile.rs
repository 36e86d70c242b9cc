//! Servers that break rules, and what they cannot do: nothing panics or grows without end, and other connections go on.

use std::time::Duration;

use http::Version;
use sockeye::error::Step;
use sockeye::{Counter, Error, Reason, WebSocket};
use tokio::io::AsyncWriteExt;

use super::far::{self, VERSIONS};
use super::peer::{
    self, END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, OFFER, Peer, STATUS_103,
};
use super::peer::{STATUS_200, URL, connect, http1_request, http2, kind};
use crate::common::{poll_now, settle, within};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 0xB;

/// What a server does to the connection of its socket, which is stream 1, ends that with a GOAWAY of this code and no
/// other, and the socket's error names the rule.
async fn check_connection_error(what: &str, code: u32, act: impl AsyncFnOnce(&mut Peer)) {
    let (builder, mut wires) = http2();
    let settings = [OFFER, (MAX_CONCURRENT_STREAMS, 1)];
    let accepting = async { Peer::accept_with(wires.next().await, &settings).await };
    let (client, mut hostile) = tokio::join!(builder.connect(URL), accepting);
    let client = client.unwrap();
    let (socket, _) = tokio::join!(client.open("/").into_future(), hostile.open());
    let mut socket = socket.unwrap();
    let other = async {
        let mut peer = wires.peer().await;
        peer.open().await;
        peer
    };
    let (bystander, mut peer) = tokio::join!(client.open("/").into_future(), other);
    let mut bystander = bystander.unwrap();

    let hostile = async {
        act(&mut hostile).await;
        let goaway = hostile.next(kind::GOAWAY).await;
        assert_eq!(goaway.code(), code, "{what}: {}", goaway.payload[8..].escape_ascii());
    };
    let (received, ()) = within(async { tokio::join!(socket.recv(), hostile) }).await;
    let Err(Error::Violation(violation)) = &received else { panic!("{what}: {received:?}") };
    assert_eq!(violation.reason().map(Reason::code), Some(code), "{what}: {violation}");
    assert!(violation.close_code().is_none(), "{what}");
    assert_eq!(client.handle().counter(Counter::ConnectionErrors), 1, "{what}");

    peer.text(1, "still here").await;
    assert_eq!(within(bystander.recv()).await.unwrap(), Some("still here".into()), "{what}");
}

/// RFC 9113 §5.4.1
#[tokio::test(start_paused = true)]
async fn violations_end_a_connection() {
    check_connection_error("PUSH_PROMISE (§8.4)", PROTOCOL_ERROR, async |peer| {
        peer.send(kind::PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02\x82\x86\x84\x41\0").await;
    })
    .await;
    check_connection_error("a response on a stream that was never opened (§5.1)", PROTOCOL_ERROR, async |peer| {
        peer.respond(9, STATUS_200).await;
    })
    .await;
    check_connection_error("a stream of the server's (§8.4)", PROTOCOL_ERROR, async |peer| {
        peer.respond(2, STATUS_200).await;
    })
    .await;
    check_connection_error("DATA on an idle stream (§5.1)", PROTOCOL_ERROR, async |peer| {
        peer.send(kind::DATA, 0, 9, b"hello").await;
    })
    .await;
    check_connection_error("too large a frame (§4.2)", FRAME_SIZE_ERROR, async |peer| {
        peer.send(kind::DATA, 0, 1, &[0; (16 << 10) + 1]).await;
    })
    .await;
    check_connection_error("too large an initial window (§6.5.2)", FLOW_CONTROL_ERROR, async |peer| {
        peer.settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]).await;
    })
    .await;
    check_connection_error("the connection's window above all (§6.9.1)", FLOW_CONTROL_ERROR, async |peer| {
        peer.send(kind::WINDOW_UPDATE, 0, 0, b"\x7F\xFF\xFF\xFF").await;
    })
    .await;
    check_connection_error("the offer taken back (RFC 8441 §3)", PROTOCOL_ERROR, async |peer| {
        peer.settings(&[(OFFER.0, 0)]).await;
    })
    .await;
    check_connection_error("a header block that is none (§4.3)", 9, async |peer| {
        peer.respond(1, b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").await;
    })
    .await;
}

/// RFC 9113 §10.5: what costs a client more than the server.
#[tokio::test(start_paused = true)]
async fn floods_end_a_connection() {
    check_connection_error("SETTINGS", ENHANCE_YOUR_CALM, async |peer| {
        for round in 0..200 {
            peer.settings(&[(INITIAL_WINDOW_SIZE, round)]).await;
            settle().await;
        }
    })
    .await;
    check_connection_error("frames of an unknown type", ENHANCE_YOUR_CALM, async |peer| {
        for _ in 0..2000 {
            peer.send(0xBB, 0, 0, b"").await;
        }
    })
    .await;
    check_connection_error("empty DATA", ENHANCE_YOUR_CALM, async |peer| {
        for _ in 0..2000 {
            peer.send(kind::DATA, 0, 1, b"").await;
        }
    })
    .await;
    check_connection_error("a header list without end", ENHANCE_YOUR_CALM, async |peer| {
        // A field of 4 KiB, and then many times the same out of the table (RFC 7541 §6.1).
        let mut block = [&b"\x88\x40\x01a\x7F\xA1\x1E"[..], &[b'.'; 4000]].concat();
        block.extend([0xBE; 100]);
        peer.respond(1, &block).await;
    })
    .await;
}

/// RFC 9113 §5.4.2: the stream of an open that the server broke a rule on, and no other.
#[tokio::test(start_paused = true)]
async fn violations_end_an_open() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let (bystander, bystander_id) = tokio::join!(client.open("/").into_future(), peer.open());
    let mut bystander = bystander.unwrap();
    let long = [STATUS_200, b"\0\x01a\x7F\x81\x7F", &[b'.'; 16 << 10][..]].concat();
    for (what, flags, block, code) in [
        ("DATA before the header (§8.1)", None, &b"\x81\x02hi"[..], PROTOCOL_ERROR),
        ("101 (§8.6)", Some(END_HEADERS), b"\x08\x03101", PROTOCOL_ERROR),
        ("no status (§8.3)", Some(END_HEADERS), b"\0\x01a\x01b", PROTOCOL_ERROR),
        ("an interim response at the end (§8.1)", Some(END_HEADERS | END_STREAM), STATUS_103, PROTOCOL_ERROR),
        ("connection-specific fields (§8.2.2)", Some(END_HEADERS), b"\x88\0\x07upgrade\x01a", PROTOCOL_ERROR),
        ("too large a header list (§10.5.1)", Some(END_HEADERS), &long[..16 << 10], ENHANCE_YOUR_CALM),
    ] {
        let serving = async {
            let id = peer.request().await;
            match flags {
                Some(flags) if block.len() == 16 << 10 => {
                    peer.send(kind::HEADERS, 0, id, block).await;
                    peer.send(9, flags, id, &long[16 << 10..]).await;
                }
                Some(flags) => peer.send(kind::HEADERS, flags, id, block).await,
                None => peer.send(kind::DATA, 0, id, block).await,
            }
            let reset = peer.next(kind::RST_STREAM).await;
            assert_eq!((reset.stream_id, reset.code()), (id, code), "{what}");
        };
        let (opened, ()) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
        assert!(
            matches!(&opened, Err(Error::Violation(rule)) if rule.reason().is_some_and(|reason| reason.code() == code)),
            "{what}: {opened:?}"
        );
        // It says which rule.
        let (said, section) = (opened.unwrap_err().to_string(), what.split(['(', ')']).nth(1).unwrap());
        assert!(said.ends_with(&format!("({section})")), "{what}: {said}");
    }
    peer.text(bystander_id, "still here").await;
    assert_eq!(within(bystander.recv()).await.unwrap(), Some("still here".into()));
}

/// Interim responses without end are heard for as long as an answer is awaited, and hold no memory.
#[tokio::test(start_paused = true)]
async fn interim_responses_without_end() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let flood = async {
        let id = peer.request().await;
        loop {
            peer.respond(id, STATUS_103).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let opened = tokio::select! { opened = client.open("/").into_future() => opened, () = flood => unreachable!() };
    assert!(matches!(opened, Err(Error::Timeout(Step::Answer))), "{opened:?}");

    let (builder, mut wires) = peer::wires();
    let client = builder.connect(URL).await.unwrap();
    let mut transport = wires.next().await;
    let flood = async {
        http1_request(&mut transport).await;
        loop {
            transport.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let opened = tokio::select! { opened = client.open("/").into_future() => opened, () = flood => unreachable!() };
    assert!(matches!(opened, Err(Error::Timeout(Step::Answer))), "{opened:?}");
}

/// RFC 6455 §7.4.1: what a socket fails with, over either version, and that it says so.
#[tokio::test(start_paused = true)]
async fn violations_fail_a_socket() {
    let too_big = [&b"\x82\x7F\0\0\0\0\0\x10\0\x01"[..], &[0; 100]].concat();
    let fragments = [&b"\x01\0"[..], &b"\0\0".repeat(5000)].concat();
    let pings = b"\x89\0".repeat(1000);
    let rows: [(&str, &[u8], u16); 9] = [
        ("a masked frame (§5.1)", b"\x81\x82\0\0\0\0hi", 1002),
        ("an opcode without meaning (§5.2)", b"\x83\0", 1002),
        ("a reserved bit (§5.2)", b"\xC1\0", 1002),
        ("a continuation of nothing (§5.4)", b"\x80\0", 1002),
        ("a long Ping (§5.5)", b"\x89\x7E\0\x7E", 1002),
        ("text that is no UTF-8 (§8.1)", b"\x81\x02\xC3\x28", 1007),
        ("a message above the limit (§7.4.1)", &too_big, 1009),
        ("fragments without end", &fragments, 1009),
        ("Pings without end", &pings, 1008),
    ];
    for version in VERSIONS {
        for (what, octets, code) in rows {
            let (_client, mut socket, mut far) = far::open(version).await;
            let hostile = async {
                far.send(octets).await;
                let frames = far.frames(Some(8)).await;
                let (masked, opcode, payload) = frames.last().unwrap();
                assert_eq!((*masked, *opcode, &payload[..2]), (true, 8, &code.to_be_bytes()[..]), "{what}");
            };
            let (received, ()) = within(async { tokio::join!(socket.recv(), hostile) }).await;
            let Err(Error::Violation(violation)) = received else { panic!("{what}: {received:?}") };
            assert_eq!(violation.close_code(), Some(code.into()), "{what}");
            assert!(within(socket.recv()).await.unwrap().is_none(), "{what}: said once");
        }
    }
}

/// RFC 6455 §7.1.5: a half that ends without a Close, at whatever time.
#[tokio::test(start_paused = true)]
async fn an_end_without_a_close() {
    for version in VERSIONS {
        for before in [&b""[..], b"\x81", b"\x81\x05hel", b"\x01\x02hi"] {
            let (_client, mut socket, mut far) = far::open(version).await;
            far.send(before).await;
            far.end().await;
            let received = within(socket.recv()).await;
            assert!(matches!(received, Err(Error::Abnormal)), "{received:?}");
            assert!(far.frames(None).await.is_empty(), "the end is answered by the end");
        }
    }
    // With the answer itself.
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let serving = async {
        let id = peer.request().await;
        peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_200).await;
        id
    };
    let (socket, id) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    let received = within(socket.unwrap().recv()).await;
    assert!(matches!(received, Err(Error::Abnormal)), "{received:?}");
    let end = peer.next(kind::DATA).await;
    assert_eq!((end.stream_id, end.flags), (id, END_STREAM), "END_STREAM is answered by END_STREAM");
}

/// RFC 9113 §6.9.2: a window that shrinks below nothing and grows again. Whoever waits for it goes on.
#[tokio::test(start_paused = true)]
async fn windows_that_come_and_go() {
    let (_client, mut socket, far) = far::open(Version::HTTP_2).await;
    let far::Far::Http2(mut peer, id) = far else { unreachable!() };
    let message = vec![7; 50_000];
    socket.send(message.clone()).await.unwrap();
    socket.flush().await.unwrap();
    peer.settings(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    // What came before is passed over with it.
    peer.round_trip().await;
    socket.send(message).await.unwrap();
    assert!(poll_now(&mut Box::pin(socket.flush())).await.is_pending());
    for window in [1, 0, 65_535, 0, 65_535 + 50_000] {
        peer.settings(&[(INITIAL_WINDOW_SIZE, window)]).await;
        peer.send(kind::WINDOW_UPDATE, 0, 0, &window.max(1).to_be_bytes()).await;
        settle().await;
    }
    let mut received = 0;
    let reading = async {
        // The head of the frame has 8 octets.
        while received < 50_000 + 8 {
            let data = peer.next(kind::DATA).await;
            assert_eq!(data.stream_id, id);
            received += data.payload.len();
        }
    };
    let (flushed, ()) = within(async { tokio::join!(socket.flush(), reading) }).await;
    flushed.unwrap();
}

/// A stream's window, which may have grown once, and what stood in the inbox before are all that a server can make a
/// client hold that does not receive.
#[tokio::test(start_paused = true)]
async fn what_is_not_received_is_held_back() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let (socket, id) = tokio::join!(client.open("/").into_future(), peer.open());
    let _socket: WebSocket = socket.unwrap();
    let flood = async {
        for _ in 0..16 {
            peer.send(kind::DATA, 0, id, &[0x80; 16 << 10]).await;
        }
        peer.next(kind::RST_STREAM).await
    };
    let reset = within(flood).await;
    assert_eq!(reset.code(), FLOW_CONTROL_ERROR, "§6.9: more than the window");
}
