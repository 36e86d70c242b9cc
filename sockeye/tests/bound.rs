//! What one connection can make its server hold, by the octets that the allocator has given out: each term of the bound that the
//! documentation of `Server` states, under a peer that does its worst.

#![cfg(all(feature = "http2", feature = "web-socket", feature = "deflate"))]

#[allow(unused_imports, reason = "it uses a part")]
mod common;
mod heap;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use sockeye::socket::Handler;
use sockeye::{Body, BoxError, Counter, Deflate, Handle, Limits, Message, Server, WebSocket, websocket};
use sockeye_proto::h2::{Config, StreamId};
use sockeye_proto::ws::handshake::ClientHandshake;
use tokio::io::DuplexStream;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::common::client::generous;
use crate::common::{Client, Socket, echo, handshake, within};
use crate::heap::live;

const MIB: usize = 1 << 20;
/// As many as `sockeye serve` lets a connection have.
const SOCKETS: usize = 1024;
/// What one connection may hold under any of these attacks: the bound in the documentation of the crate is less.
const MAX: usize = 16 * MIB;
/// Until nothing goes on.
const SHORT: Duration = Duration::from_secs(5);
/// So long that streams are reset whose peer takes nothing, and others go on in their place.
const LONG: Duration = Duration::from_secs(40);
/// One case at a time counts.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A server whose connections are in memory, so that time, which the tests have paused, goes on only where all are at rest.
struct Tested {
    handle: Handle,
    serve: Box<dyn Fn(DuplexStream)>,
}

impl Tested {
    fn new<H: Handler + Clone + Sync>(handler: H) -> Self {
        let limits = Limits::new().max_concurrent_streams(1 + SOCKETS as u32);
        let server = Server::new().limits(limits);
        let service = websocket(handler).deflate(Deflate::default());
        let serve = {
            let server = server.clone();
            move |transport| drop(tokio::spawn(server.serve_connection(transport, service.clone())))
        };
        Self { handle: server.handle(), serve: Box::new(serve) }
    }

    async fn connect(&self, config: Config) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        (self.serve)(ours);
        Client::over(theirs, config).await
    }

    /// A peer that has a stream's window of `window` for each of its sockets, reads none of them, and any number of octets of all.
    async fn connect_with(&self, window: u32) -> Client {
        let config = Config::default().with(|config| {
            config.initial_window_size = window;
            config.max_unread = 1 << 30;
            config.max_concurrent_streams = 1 << 12;
        });
        self.connect(config).await
    }

    fn streams_reset(&self) -> u64 {
        self.handle.counter(Counter::UnreadStreamsReset)
    }
}

fn offer(compressed: bool) -> ClientHandshake {
    let mut handshake = handshake("/");
    handshake.extensions.deflate = compressed.then(Deflate::default);
    handshake
}

/// The octets of messages as a client sends them, compressed or not.
async fn octets(server: &Tested, messages: &[Message], compressed: bool) -> Bytes {
    let client = server.connect(generous()).await;
    let mut socket = Socket::on(&client, &offer(compressed)).await.unwrap();
    assert_eq!(socket.response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS), compressed);
    let mut octets = BytesMut::new();
    for message in messages {
        socket.machine.send(message).unwrap();
        socket.machine.poll_transmit(&mut octets);
    }
    octets.freeze()
}

/// A megabyte that a compressor makes a 24th of.
fn compressible() -> Message {
    let mut number = 1_u32;
    let words: Vec<_> = (0..41_000)
        .flat_map(|_| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{:<26}", number >> 29).into_bytes()
        })
        .collect();
    words[..MIB - 16].to_vec().into()
}

/// Sends on all sockets at once, on each the next of `sent`, and reads none; the most that this makes the server hold in so much time, once
/// all are at rest, and the client that did it.
async fn attack(server: &Tested, window: u32, sent: &[Bytes], compressed: bool, time: Duration) -> (usize, Client) {
    let client = server.connect_with(window).await;
    let (gate, open) = watch::channel(false);
    let mut ids = Vec::new();
    for sent in sent.iter().cycle().take(SOCKETS) {
        let id = Socket::on(&client, &offer(compressed)).await.unwrap().id();
        ids.push(id);
        let (client, sent, mut open) = (client.clone(), sent.clone(), open.clone());
        tokio::spawn(async move {
            open.wait_for(|open| *open).await.unwrap();
            client.send(id, &sent, false).await
        });
    }
    // What has come to the client does not count, and the server gets no credit for it.
    let throw_away = |client: &Client| {
        let mut state = client.state();
        ids.iter().for_each(|id| drop(state.machine.stream(*id).map(|mut stream| stream.take())));
    };
    let before = live();
    gate.send(true).unwrap();
    let mut most = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
        throw_away(&client);
        most = most.max(live().saturating_sub(before));
    }
    println!("{most} octets are held, {} streams reset", server.streams_reset());
    (most, client)
}

/// Megabytes that are compressed to a 24th, echoed, and never read.
#[tokio::test(start_paused = true)]
async fn echoes_that_nobody_reads() {
    let _alone = ALONE.lock().await;
    // In which no echo has room.
    for window in [16_000] {
        let server = Tested::new(echo);
        let sent = octets(&server, &[compressible(), compressible()], true).await;
        assert!((20_000..60_000).contains(&(sent.len() / 2)), "{} octets", sent.len());
        let (held, _client) = attack(&server, window, &[sent], true, SHORT).await;
        assert!(held < MAX, "window {window}: {held} octets are held");
    }
}

/// The same in a task for each socket.
#[tokio::test(start_paused = true)]
async fn echoes_of_tasks_that_nobody_reads() {
    let _alone = ALONE.lock().await;
    let server = Tested::new(|socket: WebSocket| async {
        tokio::spawn(echo(socket));
    });
    let sent = octets(&server, &[compressible(), compressible()], true).await;
    let (held, _client) = attack(&server, 1, &[sent], true, LONG).await;
    assert!(held < MAX, "{held} octets are held");
    // Those that were let go on and are not read leave their turn to others, every ten seconds.
    assert!(server.streams_reset() > 0);
}

/// Messages of any size, as they are.
#[tokio::test(start_paused = true)]
async fn messages_of_any_size() {
    let _alone = ALONE.lock().await;
    for size in [10_000] {
        let server = Tested::new(echo);
        let count = (200_000 / size).clamp(2, 2000);
        let sent = octets(&server, &vec![Message::from(vec![7; size]); count], false).await;
        let (held, _client) = attack(&server, 100, &[sent], false, SHORT).await;
        assert!(held < MAX, "{count} messages of {size} octets: {held} octets are held");
    }
}

/// Messages that are never whole, in one frame or in many, of any size, compressed or not.
#[tokio::test(start_paused = true)]
async fn messages_that_are_never_whole() {
    let _alone = ALONE.lock().await;
    for (size, compressed) in [(MIB, true)] {
        let server = Tested::new(echo);
        let message = if compressed { compressible() } else { vec![7; size].into() };
        let whole = octets(&server, &[message], compressed).await;
        let (held, _client) = attack(&server, 65_535, &[whole.slice(..whole.len() - 1)], compressed, SHORT).await;
        assert!(held < MAX, "{size} octets but one: {held} octets are held");
    }
}

/// Echoes that nobody reads beside messages that are never whole: what the ones hold is taken from the others' room.
#[tokio::test(start_paused = true)]
async fn echoes_beside_messages_that_are_never_whole() {
    let _alone = ALONE.lock().await;
    let server = Tested::new(echo);
    let echoed = octets(&server, &vec![Message::from(vec![7; 1500]); 130], false).await;
    let whole = octets(&server, &[vec![7; MIB].into()], false).await;
    let (held, _client) = attack(&server, 1, &[echoed, whole.slice(..whole.len() - 1)], false, SHORT).await;
    assert!(held < MAX, "{held} octets are held");
}

/// Handlers that read nothing.
#[tokio::test(start_paused = true)]
async fn what_no_handler_reads() {
    let _alone = ALONE.lock().await;
    let server = Tested::new(|_socket: WebSocket| std::future::pending::<()>());
    let sent = octets(&server, &vec![Message::from(vec![7; 1000]); 100], false).await;
    let (held, _client) = attack(&server, 65_535, &[sent], false, SHORT).await;
    assert!(held < MAX, "{held} octets are held");
}

/// Sockets that are read go on beside a thousand that are not as if they were alone.
#[tokio::test(start_paused = true)]
async fn siblings_that_are_read_go_on() {
    let _alone = ALONE.lock().await;
    let server = Tested::new(echo);
    let sent = octets(&server, &[compressible(), compressible()], true).await;
    let (_, client) = attack(&server, 16_000, &[sent], true, SHORT).await;
    let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
    for size in [10, 1000, 20_000].repeat(5) {
        within(sibling.check_echo(vec![7; size])).await;
    }
}

/// A service whose content is made as it is sent, as from a file: so many pieces, of which each is new.
fn content_of(pieces: usize, size: usize) -> Tested {
    let service = tower::service_fn(move |_: Request<Body>| async move {
        let made = std::iter::repeat_with(move || Ok::<_, BoxError>(Frame::data(vec![7; size].into()))).take(pieces);
        Ok::<_, BoxError>(Response::new(StreamBody::new(stream::iter(made))))
    });
    let server = Server::new().limits(Limits::new().max_concurrent_streams(1 + SOCKETS as u32));
    let handle = server.handle();
    let serve = move |transport| drop(tokio::spawn(server.clone().serve_connection(transport, service)));
    Tested { handle, serve: Box::new(serve) }
}

async fn ask(client: &Client, count: usize) -> Vec<StreamId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
        assert_eq!(client.response(id).await.unwrap().status(), 200);
        ids.push(id);
    }
    ids
}

/// Content that nobody takes is not made: a piece for each of a thousand streams would be more than all that may wait. Of that of which
/// something is taken one piece waits, and none to follow it.
#[tokio::test(start_paused = true)]
async fn content_that_nobody_takes() {
    let _alone = ALONE.lock().await;
    for (window, size) in [(0, 64 << 10), (1, 8 << 10)] {
        let server = content_of(usize::MAX, size);
        let client = server.connect_with(window).await;
        let before = live();
        let _ids = ask(&client, SOCKETS).await;
        let mut most = 0;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(live().saturating_sub(before));
        }
        println!("window {window}: {most} octets are held");
        assert!(most < MAX, "window {window}: {most} octets are held");
    }
}

/// Content that is taken goes on beside a thousand streams whose content is not.
#[tokio::test(start_paused = true)]
async fn content_that_is_taken_goes_on() {
    let _alone = ALONE.lock().await;
    let server = content_of(usize::MAX, 64 << 10);
    let client = server.connect_with(65_535).await;
    let _ids = ask(&client, SOCKETS).await;
    let sibling = ask(&client, 1).await[0];
    let mut left: usize = 4 * MIB;
    while left > 0 {
        let octets = within(client.receive(sibling)).await.unwrap().unwrap();
        left = left.saturating_sub(octets.len());
    }
    assert_eq!(server.streams_reset(), 0);
}

/// What was not made for want of room is made once there is some: nothing of it is lost, and no stream is forgotten.
#[tokio::test(start_paused = true)]
async fn content_that_waited_is_whole() {
    let _alone = ALONE.lock().await;
    let server = content_of(3, 64 << 10);
    for window in [2000, 65_535] {
        let client = server.connect_with(window).await;
        let ids = ask(&client, SOCKETS).await;
        tokio::time::sleep(SHORT).await;
        for id in ids {
            let mut octets = 0;
            while let Some(more) = within(client.receive(id)).await.unwrap() {
                octets += more.len();
            }
            assert_eq!(octets, 3 * (64 << 10), "window {window}");
        }
    }
}
