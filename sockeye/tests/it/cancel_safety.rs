//! Each public async function says whether it is cancel safe; and those of a server, and what is rare of a socket, are what they say.
//! The others are in `cancel.rs`, `client/cancel.rs`, `pieces.rs`, `round_trip.rs` and `group_waits.rs`.

use std::path::Path;
use std::pin::pin;

use bytes::BytesMut;
use http::{Request, Response};
use sockeye::{Body, Message, Result, Server, Upgrade, WebSocket, websocket};
use sockeye_proto::ws::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{
    Carrier, Socket, echo, fill, hand_over, handshake, open, pair, poll_now, restarted, settle, start, within,
};

/// The functions of a source text that make a future for users, with whether their documentation says what becomes of it when
/// that is dropped.
fn async_functions(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut documentation = String::new();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    for (number, line) in lines.iter().enumerate() {
        if let Some(more) = line.strip_prefix("///") {
            documentation.push_str(more);
            continue;
        }
        let is_function = line.starts_with("pub fn ") || line.starts_with("pub async fn ");
        if is_function {
            // A head may take several lines.
            let end = lines[number..].iter().position(|line| line.ends_with('{')).unwrap_or(0);
            let head = lines[number..=number + end].concat();
            let future = ["async fn ", "-> impl Future", "-> Open", "-> GroupSend"];
            if future.iter().any(|word| head.contains(word)) {
                let name = head.split("fn ").nth(1).unwrap_or_default();
                let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
                found.push((name, documentation.to_lowercase().contains("cancel safe")));
            }
        }
        if !line.starts_with("#[") && !line.starts_with("//") {
            documentation.clear();
        }
    }
    found
}

#[test]
fn each_async_function_says_whether_it_is_cancel_safe() {
    fn visit(folder: &Path, found: &mut Vec<String>, count: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found, count);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                for (name, says) in async_functions(&std::fs::read_to_string(&path).unwrap()) {
                    *count += 1;
                    if !says {
                        found.push(format!("{}: {name}", path.display()));
                    }
                }
            }
        }
    }
    let (mut silent, mut count) = (Vec::new(), 0);
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut silent, &mut count);
    assert!(count > 30, "{count} functions were found only");
    assert!(silent.is_empty(), "these do not say whether they are cancel safe: {silent:#?}");
}

/// Nothing more is accepted, and what there is goes on. A connection that was accepted is not lost.
#[tokio::test]
async fn serve_leaves_its_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = Server::new();
    let handle = server.handle();
    let mut serving = Box::pin(server.serve(listener, websocket(echo)));
    let mut sockets = Vec::new();
    for carrier in Carrier::ALL {
        let socket = tokio::select! {
            socket = Socket::open(carrier, addr) => socket,
            served = &mut serving => panic!("{served:?}"),
        };
        sockets.push(socket);
    }
    drop(serving);
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    for socket in &mut sockets {
        socket.check_echo("still here").await;
    }
    handle.shutdown();
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 1001);
    }
}

/// Each message, and each Pong, comes once and in its place.
#[tokio::test]
async fn recv_with_loses_nothing() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        let sending = async {
            for n in 0..20_u8 {
                peer.machine.send(&Message::from(vec![n; 300])).unwrap();
                let mut octets = BytesMut::new();
                peer.machine.poll_transmit(&mut octets);
                // RFC 6455 §5.5.3: a Pong that nobody asked for, masked with zeros.
                octets.extend_from_slice(&[0x8A, 0x81, 0, 0, 0, 0, n]);
                for piece in octets.chunks(100) {
                    peer.send_octets(piece).await;
                    settle().await;
                }
            }
            peer.machine.send(&Message::from("end")).unwrap();
            let mut octets = BytesMut::new();
            peer.machine.poll_transmit(&mut octets);
            peer.send_octets(&octets).await;
        };
        let receiving = async {
            let (mut pongs, mut drops) = (Vec::new(), 0);
            for n in 0..20_u8 {
                let (received, dropped) = restarted(async || socket.recv_with(|pong| pongs.push(pong[0])).await).await;
                assert!(received.unwrap() == Some(vec![n; 300].into()), "{carrier:?}: message {n} is another");
                drops += dropped;
            }
            let end = restarted(async || socket.recv_with(|pong| pongs.push(pong[0])).await).await;
            assert_eq!(end.0.unwrap(), Some("end".into()));
            assert_eq!(pongs, Vec::from_iter(0..20), "{carrier:?}");
            assert!(drops >= 20, "futures were dropped {drops} times only");
        };
        within(async { tokio::join!(sending, receiving) }).await;
    }
}

/// It waits for room, and is sent once.
#[tokio::test]
async fn pong_pongs_once() {
    for halves in [false, true] {
        let (mut connection, client) = pair().await;
        let (mut socket, mut peer) = open(&mut connection, &client).await;
        let filled = fill(&mut socket, &vec![0; 1000].into()).await;
        let sending = async {
            let (sent, dropped) = if halves {
                let (mut sender, receiver) = socket.split();
                let sent = restarted(async || sender.pong(b"once").await).await;
                drop((sender, receiver));
                sent
            } else {
                let sent = restarted(async || socket.pong(b"once").await).await;
                drop(socket);
                sent
            };
            sent.unwrap();
            assert!(dropped > 0);
        };
        let receiving = async {
            let mut pongs = 0;
            for _ in 0..filled + 1 {
                match peer.event().await {
                    Event::Pong(payload) => {
                        assert_eq!(&payload[..], b"once");
                        pongs += 1;
                    }
                    Event::Message(message) => assert_eq!(message.len(), 1000),
                    event => panic!("{event:?}"),
                }
            }
            assert_eq!(pongs, 1);
            assert_eq!(peer.close_code().await, 1001, "nothing is between the Pong and the end");
        };
        within(async { tokio::join!(sending, receiving) }).await;
    }
}

/// Who waits anew is told as well, and who waits late.
#[tokio::test]
async fn ending_is_told_to_all() {
    let handle = Server::new().handle();
    for _ in 0..3 {
        assert!(poll_now(&mut Box::pin(handle.ending())).await.is_pending());
    }
    let mut waiting = Box::pin(handle.ending());
    assert!(poll_now(&mut waiting).await.is_pending());
    handle.shutdown();
    within(waiting).await;
    within(handle.ending()).await;
}

/// The handler of an opening that was given up never runs; the server's socket ends, or never begins.
#[tokio::test]
async fn run_of_an_open_leaves_nothing() {
    for http2 in [false, true] {
        let (service, mut sockets) = hand_over();
        let server = start(Server::new(), service).await;
        let builder = sockeye::Client::builder();
        let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
        let client = within(builder.connect(&format!("ws://{}", server.addr))).await.unwrap();
        let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for polls in 0..12 {
            let counted = runs.clone();
            let handler = move |socket: WebSocket| {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move { drop(socket) }
            };
            let mut opened = pin!(client.open("/").run(handler));
            let mut is_open = false;
            for _ in 0..polls {
                if poll_now(&mut opened).await.is_ready() {
                    is_open = true;
                    break;
                }
                tokio::task::yield_now().await;
            }
            if is_open {
                break;
            }
        }
        settle().await;
        let dropped = runs.load(std::sync::atomic::Ordering::Relaxed);
        assert!(dropped <= 1, "http2: {http2}: only one that was ready may have run, and {dropped} did");
        // And the client is as good as before.
        let mut socket = within(client.open("/").into_future()).await.unwrap();
        socket.send("hello").await.unwrap();
        let heard = async {
            loop {
                let mut theirs = sockets.recv().await.unwrap();
                if let Ok(Some(message)) = theirs.recv().await {
                    return message;
                }
            }
        };
        assert_eq!(within(heard).await, "hello".into(), "http2: {http2}");
    }
}

/// Where it is not cancel safe its documentation says what happens, which is that: over a connection of HTTP/1.1 that answered
/// before, a socket whose `take` is dropped has been answered, and ends with 1001. Elsewhere it is ready at once.
#[tokio::test]
async fn take_is_ready_or_ends_its_socket() {
    async fn chat(mut request: Request<Body>) -> Result<Response<Body>> {
        let Ok(upgrade) = Upgrade::from_request(&mut request) else { return Ok(Response::new("hello".into())) };
        let mut taking = Box::pin(upgrade.take());
        if let std::task::Poll::Ready(taken) = poll_now(&mut taking).await {
            let mut socket = taken?;
            tokio::spawn(async move { socket.send("taken").await });
        }
        Ok(Response::new(Body::empty()))
    }
    let server = start(Server::new(), tower::service_fn(chat)).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        assert!(socket.message().await == "taken".into(), "{carrier:?}");
    }
    let mut late = later_on_http1(server.addr).await;
    assert_eq!(late.close_code().await, 1001);
}

/// A socket on a connection of HTTP/1.1 that has answered a request before.
async fn later_on_http1(addr: std::net::SocketAddr) -> Socket {
    let mut transport = TcpStream::connect(addr).await.unwrap();
    transport.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(within(transport.read_buf(&mut answer)).await.unwrap() > 0, "{}", answer.escape_ascii());
    }
    Socket::upgrade(transport, &handshake("/")).await.unwrap()
}

/// A response whose future is dropped resets its stream, as its documentation says; the connection goes on.
#[tokio::test]
async fn respond_resets_what_it_does_not_finish() {
    let (mut connection, client) = pair().await;
    let request = Request::get("http://localhost/").body(()).unwrap();
    let id = client.open(&request, true).unwrap();
    let stream = within(connection.next()).await.unwrap().unwrap();
    let (_more, content) = tokio::sync::mpsc::channel::<bytes::Bytes>(1);
    let content = http_body_util::StreamBody::new(futures_util::stream::unfold(content, async |mut content| {
        let piece = content.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece)), content))
    }));
    let mut responding = Box::pin(stream.respond(Response::new(content)));
    assert!(poll_now(&mut responding).await.is_pending());
    drop(responding);
    assert!(within(client.receive(id)).await.is_err(), "the stream is reset");
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    socket.send("hello").await.unwrap();
    assert!(peer.message().await == "hello".into());
}
