//! Messages that are not whole: what one socket holds of its own keeps no other from its messages, and who holds up others
//! gives its place up.

use std::time::{Duration, Instant};

use sockeye::{CloseCode, Counter, Error, Rate, Result, Server, SocketOptions, WebSocket, websocket};
use sockeye_proto::ws::Event;
use tokio::sync::mpsc;
use tokio::time::{advance, sleep};

use crate::common::{Carrier, Client, Running, Socket, echo, handshake, open, pair, poll_now, settle, start, within};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Octets of one frame that announces `size`, masked by zeros.
fn head(first: u8, size: usize) -> Vec<u8> {
    [&[first, 0xFF][..], &(size as u64).to_be_bytes(), &[0; 4]].concat()
}

/// The first `octets` of a message: of one frame that announces `size`, or in fragments of 4 KiB without an end.
fn beginning(octets: usize, size: Option<usize>) -> Vec<u8> {
    match size {
        Some(size) => [head(0x82, size), vec![0; octets]].concat(),
        None => {
            let fragment = |first| [&[first, 0xFE, 0x10, 0, 0, 0, 0, 0][..], &[0; 4096]].concat();
            let mut wire = fragment(0x02);
            (1..octets.div_ceil(4096)).for_each(|_| wire.extend(fragment(0)));
            wire
        }
    }
}

/// Echoes messages of up to 16 MiB.
async fn start_large() -> Running {
    start(Server::new(), websocket(echo).max_message_size(16 * MIB)).await
}

/// Begins a message and sends as much of it as the server takes; a task goes on where it does not take it now.
async fn park(client: &Client, octets: usize, size: Option<usize>) -> Socket {
    let socket = Socket::on(client, &handshake("/")).await.unwrap();
    let (client, id) = (client.clone(), socket.id());
    tokio::spawn(async move { client.send(id, &beginning(octets, size), false).await });
    socket
}

/// The time of an echo, which has to come in much less than any deadline.
async fn check_quick(socket: &mut Socket, octets: usize) -> Duration {
    let start = Instant::now();
    tokio::time::timeout(Duration::from_secs(5), socket.check_echo(vec![7; octets])).await.expect("a quick echo");
    start.elapsed()
}

/// Beside one slow upload, in one frame or in many, messages of others have their echo at once.
#[tokio::test]
async fn a_slow_upload_stops_no_sibling() {
    for size in [Some(15 * MIB), None] {
        let server = start_large().await;
        let client = Client::connect(server.addr).await;
        let upload = park(&client, 5 * MIB, size).await;
        let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
        for octets in [100, 60 * KIB, 200 * KIB, MIB, 2 * MIB] {
            check_quick(&mut sibling, octets).await;
            let drip = if size.is_some() { vec![0; 100] } else { beginning(1, None).split_off(8) };
            assert!(size.is_none() || client.send(upload.id(), &drip, false).await);
        }
        assert_eq!(server.handle.counter(Counter::UnfinishedMessagesGivenUp), 0);
    }
}

/// Six sockets that hold 4.3 MiB and go quiet, and many that hold more, stop no small or middling message.
#[tokio::test]
async fn parked_messages_stop_no_sibling() {
    for (count, octets, size) in [
        (6, 4400 * KIB / 6, Some(MIB)),
        (6, 4400 * KIB / 6, None),
        (6, 4400 * KIB / 6, Some(15 * MIB)),
        (30, 900 * KIB, Some(MIB)),
        (30, 900 * KIB, None),
        (90, MIB - 1, Some(MIB)),
        (90, 250 * KIB, Some(2 * MIB)),
    ] {
        let server = start_large().await;
        let client = Client::connect(server.addr).await;
        let mut parked = Vec::new();
        for _ in 0..count {
            parked.push(park(&client, octets, size).await);
        }
        settle().await;
        let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
        for octets in [100, 60 * KIB, 200 * KIB, 200 * KIB] {
            check_quick(&mut sibling, octets).await;
        }
    }
}

/// A handler that tells how its socket ended, or how large its message was.
async fn tell(mut socket: WebSocket, results: mpsc::UnboundedSender<Result<usize>>) {
    let result = socket.recv().await;
    results.send(result.map(|message| message.map_or(0, |message| message.len()))).unwrap();
}

/// While somebody waits, ten seconds without progress cost a message its place: its socket fails with 1008, and whoever
/// waited goes on. A peer that goes on keeps its place.
#[tokio::test(start_paused = true)]
async fn who_stalls_gives_its_place_up() {
    const SOCKETS: usize = 16;
    let (mut connection, client) = pair().await;
    let (results, mut ends) = mpsc::unbounded_channel();
    let mut peers = Vec::new();
    for index in 0..SOCKETS {
        let (socket, peer) = open(&mut connection, &client).await;
        tokio::spawn(tell(socket, results.clone()));
        let (client, id) = (client.clone(), peer.id());
        // The last one sends all of its message, as far as it may; the others all but an octet.
        let octets = if index + 1 == SOCKETS { MIB } else { MIB - 1 };
        tokio::spawn(async move { client.send(id, &beginning(octets, Some(MIB)), false).await });
        settle().await;
        peers.push(peer);
    }
    tokio::spawn(async move { while let Ok(Some(_)) = connection.next().await {} });
    for _ in 0..9 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert!(ends.try_recv().is_err(), "nobody gives up before its time");
    let (mut gave_up, mut whole) = (0, 0);
    for _ in 0..90 {
        advance(Duration::from_secs(1)).await;
        settle().await;
        match ends.try_recv() {
            Err(_) if whole > 0 => break,
            Err(_) => {}
            Ok(Ok(octets)) => {
                assert_eq!(octets, MIB);
                whole += 1;
            }
            Ok(Err(error)) if close_code(&error) == Some(1008.into()) => {
                assert!(error.to_string().contains("did not go on while others waited"), "{error}");
                gave_up += 1;
            }
            Ok(Err(error)) => panic!("{error}"),
        }
    }
    assert_eq!(whole, 1, "the one that sends all of it");
    assert!((1..SOCKETS).contains(&gave_up), "{gave_up}");
    let mut told = 0;
    for peer in &mut peers[..SOCKETS - 1] {
        let mut event = Box::pin(peer.event());
        if let std::task::Poll::Ready(Event::Close(frame)) = poll_now(&mut event).await {
            assert_eq!(frame.code, CloseCode::POLICY_VIOLATION);
            assert!(frame.reason.is_ascii() && !frame.reason.is_empty());
            told += 1;
        }
    }
    assert!(told > 0);
}

/// Quiet for most of its time, and nobody waits: it goes on where it stopped.
#[tokio::test(start_paused = true)]
async fn who_disturbs_nobody_keeps_its_place() {
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    tokio::spawn(async move { while let Ok(Some(_)) = connection.next().await {} });
    let (results, mut ends) = mpsc::unbounded_channel();
    tokio::spawn(tell(socket, results));
    peer.send_octets(&beginning(MIB - 1, Some(MIB))).await;
    sleep(Duration::from_secs(50)).await;
    peer.send_octets(&[0]).await;
    assert_eq!(within(ends.recv()).await.unwrap().unwrap(), MIB);
}

/// A connection of HTTP/1.1 has one socket, which never waits.
#[tokio::test]
async fn a_connection_of_http1_never_waits() {
    let server = start_large().await;
    let mut socket = Socket::open(Carrier::Http1, server.addr).await;
    check_quick(&mut socket, 15 * MIB).await;
    assert_eq!(server.handle.counter(Counter::UnfinishedMessagesWaited), 0);
}

/// A message of 6 MiB in fragments of 4 KiB passes where one of 16 MiB may; 1,025 empty ones do not.
#[tokio::test]
async fn fragments_count_against_the_size() {
    let server = start_large().await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        let wire = [beginning(6 * MIB, None), b"\x80\x80\0\0\0\0".to_vec()].concat();
        socket.send_octets(&wire).await;
        assert_eq!(socket.message().await.len(), 6 * MIB);
        socket.send_octets(&[&b"\x02\x80\0\0\0\0"[..], &b"\0\x80\0\0\0\0".repeat(1024)].concat()).await;
        assert_eq!(socket.close_code().await, 1009);
    }
}

/// An error says its words once, with all that led to it; a limit says that it is ours, and how much it is.
#[tokio::test]
async fn an_error_says_its_words_once_and_whose_limit_it_was() {
    let (sender, mut results) = mpsc::unbounded_channel();
    let options =
        SocketOptions::new().max_fragments(3).max_pings(Rate { burst: 2, per_second: 10 }).max_message_size(1000);
    let handler = move |socket: WebSocket| {
        let sender = sender.clone();
        async move { tell(socket, sender).await }
    };
    let server = start(Server::new(), websocket(handler).options(options)).await;
    for (octets, words, reason) in [
        (&b"\xC1\x80\0\0\0\0"[..], "reserved bit set", "reserved bit set"),
        (&b"\x82\xFE\x03\xE9\0\0\0\0"[..], "our limit is 1000 octets", "message too big"),
        (&b"\x02\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0"[..], "our limit is 3", "too many fragments"),
        (&b"\x89\x80\0\0\0\0\x89\x80\0\0\0\0\x89\x80\0\0\0\0"[..], "our limit is 2 at once", "too many pings"),
    ] {
        for carrier in Carrier::ALL {
            let mut socket = Socket::open(carrier, server.addr).await;
            socket.send_octets(octets).await;
            let error = within(results.recv()).await.unwrap().unwrap_err();
            let text = error.to_string();
            assert_eq!(text.matches(words).count(), 1, "{text}");
            assert_eq!(text.matches("RFC ").count(), 1, "{text}");
            let frame = loop {
                match socket.event().await {
                    Event::Close(frame) => break frame,
                    Event::Pong(_) => {}
                    event => panic!("{event:?}"),
                }
            };
            assert_eq!(&*frame.reason, reason, "short, and in ASCII");
        }
    }
}

/// The answer to a Close has its code and its reason, over both versions; where there was none there is none.
#[tokio::test]
async fn the_answer_to_a_close_echoes_its_reason() {
    let server = start_large().await;
    let longest = "x".repeat(123);
    for carrier in Carrier::ALL {
        for (code, reason) in [(4321, "käse"), (1000, ""), (1001, longest.as_str())] {
            let mut socket = Socket::open(carrier, server.addr).await;
            socket.close(code.into(), reason).await;
            let Event::Close(frame) = socket.event().await else { panic!("no Close") };
            assert_eq!((u16::from(frame.code), &*frame.reason), (code, reason));
        }
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.close(CloseCode::NO_STATUS, "").await;
        assert_eq!(socket.close_code().await, 1005);
    }
}

/// No test: prints the p99 of echoes of 200 KiB, alone and beside twenty slow uploads of 15 MiB (some 400 KiB a second each).
///
/// `cargo test --release -p sockeye --test it measure_siblings -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_siblings_of_slow_uploads() {
    for size in [None, Some(Some(15 * MIB)), Some(None)] {
        let server = start_large().await;
        let client = Client::connect(server.addr).await;
        let mut uploads = Vec::new();
        for _ in 0..if size.is_some() { 20 } else { 0 } {
            let socket = Socket::on(&client, &handshake("/")).await.unwrap();
            let (client, wire) = (client.clone(), beginning(14 * MIB, size.unwrap()));
            uploads.push(tokio::spawn(async move {
                for piece in wire.chunks(4 * KIB) {
                    client.send(socket.id(), piece, false).await;
                    sleep(Duration::from_millis(10)).await;
                }
            }));
        }
        sleep(Duration::from_secs(2)).await;
        let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..300 {
            times.push(check_quick(&mut sibling, 200 * KIB).await);
            sleep(Duration::from_millis(10)).await;
        }
        times.sort();
        println!("{size:?}: median {:?}, p99 {:?}", times[150], times[297]);
        uploads.iter().for_each(|upload| upload.abort());
    }
}

fn close_code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Violation(violation) => violation.close_code(),
        _ => None,
    }
}
