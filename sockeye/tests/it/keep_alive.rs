//! Keep-alive by WebSocket Ping (RFC 6455 §5.5.2): who is silent is asked, and who stays silent is given up.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use sockeye::error::Step;
use sockeye::{Counter, Error, Fault, Handle, HttpService, Limits, Message, Server, Upgrade, WebSocket, websocket};
use sockeye_proto::h2::{Config, StreamId};
use sockeye_proto::ws::handshake;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use crate::client::far::{self, VERSIONS};
use crate::common::{Carrier, Client, echo, fill, hand_over, settle};

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
/// As much too late as a Ping, and then its timeout, may be.
const SLACK: Duration = Duration::from_millis(400);
/// The keep-alive's, as a server sends it.
const PING: &[u8] = b"\x89\x12keep-alive@sockeye";
const PONG: u8 = 0xA;

/// Frames may take as long as they like.
fn server() -> Server {
    Server::new().limits(limits())
}

fn limits() -> Limits {
    Limits::new().ping(INTERVAL, TIMEOUT).receive_timeout(Duration::MAX)
}

/// The client's end of one socket, octet by octet; its transport is no network, so that time may be paused.
enum Near {
    Http1(DuplexStream),
    Http2(Client, StreamId),
}

impl Near {
    async fn open<S: HttpService>(carrier: Carrier, server: &Server, service: S) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let server = server.clone();
        tokio::spawn(async move { server.serve_connection(theirs, service).await });
        let handshake = crate::common::handshake("/");
        if carrier == Carrier::Http2 {
            let client = Client::over(ours, Config::default()).await;
            let id = client.open(&handshake.request(handshake::Carrier::Http2).unwrap(), false).unwrap();
            client.until(|state| state.heard(id).response.take()).await;
            return Self::Http2(client, id);
        }
        let mut transport = ours;
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
        transport.write_all(request).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(transport.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self::Http1(transport)
    }

    async fn send(&mut self, octets: &[u8]) {
        match self {
            Self::Http1(transport) => transport.write_all(octets).await.unwrap(),
            Self::Http2(client, id) => assert!(client.send(*id, octets, false).await),
        }
    }

    /// The next octets; none at the end, with the code of an RST_STREAM.
    async fn receive(&mut self) -> Result<Vec<u8>, Option<u32>> {
        match self {
            Self::Http1(transport) => {
                let mut octets = vec![0; 4096];
                let length = transport.read(&mut octets).await.unwrap();
                octets.truncate(length);
                if length > 0 { Ok(octets) } else { Err(None) }
            }
            Self::Http2(client, id) => match client.receive(*id).await {
                Ok(Some(octets)) => Ok(octets.to_vec()),
                Ok(None) => Err(None),
                Err(reason) => Err(Some(reason.code())),
            },
        }
    }

    /// Sends as much as there is room for on the way.
    async fn fill(&mut self) {
        const OCTETS: &[u8] = &[7; 16 << 10];
        loop {
            settle().await;
            let has_room = match self {
                Self::Http1(transport) => timeout(Duration::from_millis(1), transport.write_all(OCTETS)).await.is_ok(),
                Self::Http2(client, id) => client.act(|machine| machine.stream(*id).unwrap().write(OCTETS, false)) > 0,
            };
            if !has_room {
                return;
            }
        }
    }

    /// What the stream's end looks like when its peer is given up.
    fn given_up(&self) -> Option<u32> {
        matches!(self, Self::Http2(..)).then_some(0x8) // CANCEL
    }

    /// Waits for a Ping, which comes in time.
    async fn await_ping(&mut self) {
        let start = Instant::now();
        assert_eq!(self.receive().await.as_deref(), Ok(PING));
        let waited = start.elapsed();
        assert!((INTERVAL..INTERVAL + SLACK).contains(&waited), "asked after {waited:?}");
    }

    async fn answer(&mut self) {
        self.send(&[b"\x8A\x92\0\0\0\0", &PING[2..]].concat()).await;
    }
}

const DEAF: &str = "a handler that never receives";

/// Every way to hold a socket.
async fn in_every_hand<F: AsyncFn(&str, Near, Handle)>(check: F) {
    for carrier in Carrier::ALL {
        let server = server();
        check("a handler that receives", Near::open(carrier, &server, websocket(echo)).await, server.handle()).await;
        let server = self::server();
        let deaf = websocket(|socket: WebSocket| async move {
            let _socket = socket;
            pending::<()>().await;
        });
        check(DEAF, Near::open(carrier, &server, deaf).await, server.handle()).await;
        let server = self::server();
        let (service, mut sockets) = hand_over();
        let near = Near::open(carrier, &server, service).await;
        let mut socket = sockets.recv().await.unwrap();
        let task = tokio::spawn(async move { while let Ok(Some(_)) = socket.recv().await {} });
        check("a task of its own", near, server.handle()).await;
        task.abort();
        let server = self::server();
        let (service, mut sockets) = hand_over();
        let near = Near::open(carrier, &server, service).await;
        let (sender, mut receiver) = sockets.recv().await.unwrap().split();
        let task = tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        check("halves", near, server.handle()).await;
        task.abort();
        drop(sender);
    }
}

/// A peer that answers is asked again and again, and one that stops is given up.
#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_asked_and_then_given_up() {
    in_every_hand(async |how: &str, mut near: Near, handle: Handle| {
        for _ in 0..20 {
            near.await_ping().await;
            near.answer().await;
        }
        assert_eq!(handle.counter(Counter::PingTimeouts), 0, "{how}");
        near.await_ping().await;
        let start = Instant::now();
        assert_eq!(near.receive().await, Err(near.given_up()), "{how}");
        let waited = start.elapsed();
        assert!((TIMEOUT..TIMEOUT + SLACK).contains(&waited), "{how}: given up after {waited:?}");
        assert_eq!(handle.counter(Counter::PingTimeouts), 1, "{how}");
    })
    .await;
}

/// Any octet is a sign of life: also one of a frame that is not whole. Where nobody reads, the peer may be asked all the same.
#[tokio::test(start_paused = true)]
async fn any_octet_is_a_sign_of_life() {
    in_every_hand(async |how: &str, mut near: Near, handle: Handle| {
        for octet in b"\x82\xFE\x10\x00\0\0\0\0".iter().chain(&[7; 20]) {
            near.send(&[*octet]).await;
            let asked = timeout(INTERVAL - SLACK, near.receive()).await;
            assert!(asked.is_err() || how == DEAF && asked.unwrap().is_ok(), "{how}: asked");
        }
        if how == DEAF {
            return assert_eq!(handle.counter(Counter::PingTimeouts), 0);
        }
        near.await_ping_after(SLACK).await;
        // The answer comes at the last moment, in pieces.
        sleep(TIMEOUT - SLACK).await;
        near.send(&[7]).await;
        assert!(timeout(INTERVAL - SLACK, near.receive()).await.is_err(), "{how}");
        assert_eq!(handle.counter(Counter::PingTimeouts), 0, "{how}");
    })
    .await;
}

impl Near {
    /// The same where part of the interval is over.
    async fn await_ping_after(&mut self, left: Duration) {
        assert_eq!(timeout(left + SLACK, self.receive()).await.unwrap().as_deref(), Ok(PING));
    }
}

/// RFC 6455 §7.1.5: what the receiver learns is none of its doing, and worth another attempt.
#[tokio::test(start_paused = true)]
async fn a_receiver_learns_that_its_peer_is_gone() {
    for carrier in Carrier::ALL {
        let server = server();
        let (service, mut sockets) = hand_over();
        let mut near = Near::open(carrier, &server, service).await;
        let mut socket = sockets.recv().await.unwrap();
        near.send(b"\x81\x82\0\0\0\0hi").await;
        sleep(INTERVAL + TIMEOUT + 2 * SLACK).await;
        // What had arrived comes first.
        assert_eq!(socket.recv().await.unwrap(), Some("hi".into()));
        let error = socket.recv().await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Step::Pong)), "{error:?}");
        assert!(error.is_retryable() && error.fault() == Fault::Network);
        assert_eq!(socket.recv().await.unwrap(), None);
        assert!(matches!(socket.send("late").await, Err(Error::Timeout(_) | Error::Closed)));
        assert!(matches!(socket.flush().await, Err(Error::Timeout(_))));
    }
}

/// The client asks as the server does, masked by a key of each Ping's own (RFC 6455 §5.3).
#[tokio::test(start_paused = true)]
async fn a_client_asks_its_server() {
    for version in VERSIONS {
        let (client, mut socket, mut far) = far::open_with(version, |builder| builder.ping(INTERVAL, TIMEOUT)).await;
        let pongs = Arc::new(Mutex::new(0));
        let counted = pongs.clone();
        let receiving = tokio::spawn(async move {
            loop {
                match socket.recv_with(|_| *counted.lock().unwrap() += 1).await {
                    Ok(Some(_)) => {}
                    end => return end,
                }
            }
        });
        for _ in 0..5 {
            let start = Instant::now();
            assert_eq!(far.frames(Some(9)).await, [(true, 9, PING[2..].to_vec())], "{version:?}");
            assert!((INTERVAL..INTERVAL + SLACK).contains(&start.elapsed()), "{version:?}");
            far.send(&[b"\x8A\x12", &PING[2..]].concat()).await;
        }
        // An unasked Pong is told, the answers to the keep-alive are not.
        far.send(b"\x8A\x01x").await;
        assert_eq!(far.frames(Some(9)).await.len(), 1);
        assert_eq!(*pongs.lock().unwrap(), 1, "{version:?}");
        let end = receiving.await.unwrap();
        assert!(matches!(end, Err(Error::Timeout(_))), "{version:?}: {end:?}");
        assert_eq!(client.handle().counter(Counter::PingTimeouts), 1);
    }
}

/// Off by default, and by an interval of zero.
#[tokio::test(start_paused = true)]
async fn nobody_is_asked_by_default() {
    for carrier in Carrier::ALL {
        for server in [Server::new(), Server::new().ping(Duration::ZERO, TIMEOUT)] {
            let mut near = Near::open(carrier, &server, websocket(echo)).await;
            assert!(timeout(100 * INTERVAL, near.receive()).await.is_err());
        }
    }
}

/// A peer that takes nothing is not asked: what bounds that is the time without progress.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_not_asked() {
    for carrier in Carrier::ALL {
        // The transport of HTTP/1.1 would be cut off by its own limit.
        let server = server().limits(limits().write_timeout(Duration::from_secs(3600)));
        let (service, mut sockets) = hand_over();
        let mut near = Near::open(carrier, &server, service).await;
        let mut socket = sockets.recv().await.unwrap();
        let message = Message::from(vec![7; 1000]);
        let sent = fill(&mut socket, &message).await;
        sleep(5 * INTERVAL).await;
        assert_eq!(server.handle().counter(Counter::PingTimeouts), 0, "{carrier:?}");
        // It takes everything at last, and is asked then.
        let mut received = 0;
        while received < sent * 1004 {
            received += near.receive().await.unwrap().len();
        }
        assert_eq!(received, sent * 1004);
        assert_eq!(near.receive().await.as_deref(), Ok(PING));
        near.answer().await;
        near.await_ping().await;
        assert_eq!(server.handle().counter(Counter::PingTimeouts), 0, "{carrier:?}");
    }
}

/// A peer whose octets find no room since nobody reads them may be alive.
#[tokio::test(start_paused = true)]
async fn a_peer_that_nobody_reads_is_not_given_up() {
    for carrier in Carrier::ALL {
        let server = server();
        let (service, mut sockets) = hand_over();
        let mut near = Near::open(carrier, &server, service).await;
        let mut socket = sockets.recv().await.unwrap();
        near.send(b"\x82\xFF\0\0\0\0\0\x0F\0\0\0\0\0\0").await;
        near.fill().await;
        sleep(10 * (INTERVAL + TIMEOUT)).await;
        assert_eq!(server.handle().counter(Counter::PingTimeouts), 0, "{carrier:?}");
        socket.send("still there").await.unwrap();
    }
}

/// After a Close, which is to be answered within a time of its own, no Ping follows (RFC 6455 §5.5.1).
#[tokio::test(start_paused = true)]
async fn a_closing_socket_is_not_asked() {
    for carrier in Carrier::ALL {
        let server = server().limits(limits().close_timeout(Duration::from_secs(100)));
        let (service, mut sockets) = hand_over();
        let mut near = Near::open(carrier, &server, service).await;
        let mut socket = sockets.recv().await.unwrap();
        let closing = tokio::spawn(async move { socket.close().await });
        assert_eq!(near.receive().await.as_deref(), Ok(&b"\x88\x02\x03\xE8"[..]));
        assert!(timeout(5 * INTERVAL, near.receive()).await.is_err(), "{carrier:?}");
        near.send(b"\x88\x82\0\0\0\0\x03\xE8").await;
        closing.await.unwrap().unwrap();
        assert_eq!(server.handle().counter(Counter::PingTimeouts), 0);
    }
}

/// Before the tunnel is open there is nobody to ask.
#[tokio::test(start_paused = true)]
async fn a_request_is_not_asked() {
    for carrier in Carrier::ALL {
        let service = tower::service_fn(async |mut request: http::Request<sockeye::Body>| {
            sleep(5 * INTERVAL).await;
            let upgrade = Upgrade::from_request(&mut request).map_err(|_| StatusCode::BAD_REQUEST).unwrap();
            Ok::<_, std::convert::Infallible>(upgrade.accept(echo))
        });
        let mut near = Near::open(carrier, &server(), service).await;
        assert_eq!(near.receive().await.as_deref(), Ok(PING), "{carrier:?}");
    }
}

/// All sockets of a connection are asked, those among them that were opened later, too; a stream that is not silent is not.
#[tokio::test(start_paused = true)]
async fn each_socket_of_a_connection_has_its_own_silence() {
    let server = server();
    let near = Near::open(Carrier::Http2, &server, websocket(echo)).await;
    let Near::Http2(client, first) = &near else { unreachable!() };
    let request = crate::common::handshake("/").request(handshake::Carrier::Http2).unwrap();
    let mut nears = vec![Near::Http2(client.clone(), *first)];
    let start = Instant::now();
    for _ in 1..10 {
        sleep(INTERVAL / 20).await;
        let id = client.open(&request, false).unwrap();
        client.until(|state| state.heard(id).response.take()).await;
        nears.push(Near::Http2(client.clone(), id));
    }
    for (index, near) in nears.iter_mut().enumerate() {
        assert_eq!(near.receive().await.as_deref(), Ok(PING));
        let due = INTERVAL + INTERVAL / 20 * u32::try_from(index).unwrap();
        assert!((due..due + SLACK).contains(&start.elapsed()), "{index}: {:?}", start.elapsed());
        near.answer().await;
    }
    // One goes on; the others are given up, and it notices nothing.
    let (talker, silent) = nears.split_first_mut().unwrap();
    for _ in 0..20 {
        talker.send(b"\x81\x82\0\0\0\0hi").await;
        assert_eq!(talker.receive().await.as_deref(), Ok(&b"\x81\x02hi"[..]));
        sleep(INTERVAL / 8).await;
    }
    for near in silent {
        assert_eq!(near.receive().await.as_deref(), Ok(PING));
        assert_eq!(near.receive().await, Err(Some(8)));
    }
    assert_eq!(server.handle().counter(Counter::PingTimeouts), 9);
}

/// A Pong of the keep-alive ends no round trip, and is told to nobody.
#[tokio::test(start_paused = true)]
async fn the_answers_are_told_to_nobody() {
    for carrier in Carrier::ALL {
        let (service, mut sockets) = hand_over();
        let mut near = Near::open(carrier, &server(), service).await;
        let mut socket = sockets.recv().await.unwrap();
        near.await_ping().await;
        near.answer().await;
        near.send(b"\x81\x82\0\0\0\0hi").await;
        let received = socket.recv_with(|pong| panic!("{pong:?}")).await.unwrap();
        assert_eq!(received, Some("hi".into()));
        let mut ping = Box::pin(socket.ping());
        near.answer().await;
        assert!(timeout(INTERVAL / 2, ping.as_mut()).await.is_err(), "{carrier:?}");
        let sent = near.receive().await.unwrap();
        assert_eq!(sent[0] & 0xF, 9);
        near.send(&[&[0x80 | PONG, 0x80 | sent[1], 0, 0, 0, 0], &sent[2..]].concat()).await;
        let time = ping.await.unwrap();
        assert!((INTERVAL / 2..INTERVAL).contains(&time), "{time:?}");
    }
}

/// Sockets that are gone are forgotten: nothing is left that wakes anybody.
#[tokio::test(start_paused = true)]
async fn what_is_gone_is_not_asked() {
    let server = server();
    let near = Near::open(Carrier::Http2, &server, websocket(echo)).await;
    let Near::Http2(client, id) = &near else { unreachable!() };
    client.reset(*id, sockeye_proto::h2::Reason::CANCEL);
    settle().await;
    sleep(10 * INTERVAL).await;
    assert_eq!(server.handle().counter(Counter::PingTimeouts), 0);
}
