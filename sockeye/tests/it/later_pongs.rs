//! A peer may answer only the last of several Pings (RFC 6455 §5.5.3): a Pong for a later one is the answer to `ping`, too.

use std::pin::pin;
use std::time::Duration;

use http::Version;
use sockeye::{Server, WebSocket};
use tokio::time::{sleep, timeout};

use crate::client::far::{self, Far, VERSIONS};
use crate::common::{Carrier, Socket, hand_over, poll_now, settle, start, within};

const INTERVAL: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(10);

async fn pinged(version: Version) -> (sockeye::Client, WebSocket, Far) {
    let (client, mut socket, mut far) = far::open(version).await;
    assert!(timeout(SHORT, socket.ping()).await.is_err());
    far.next_ping().await;
    (client, socket, far)
}

/// Pings of the application's own, the last of which is answered, or one before.
#[tokio::test(start_paused = true)]
async fn a_later_ping_of_the_application_answers() {
    for version in VERSIONS {
        for answered in [0, 1, 99] {
            let (_client, mut socket, mut far) = pinged(version).await;
            for number in 0..100_u8 {
                socket.send_ping(&[number]).await.unwrap();
            }
            let answering = async {
                sleep(SHORT).await;
                // Far behind, a peer answers some Ping of those that are on their way, and the last when it has read all.
                far.pong(&[answered]).await;
                far.pong(&[99]).await;
            };
            let (time, ()) = within(async { tokio::join!(socket.ping(), answering) }).await;
            assert!((SHORT * 2..SHORT * 3).contains(&time.unwrap()), "{version:?}");
            far.send(b"\x81\x01a").await;
            assert_eq!(within(socket.recv()).await.unwrap(), Some("a".into()));
        }
    }
}

/// The application is told of its Pong all the same.
#[tokio::test(start_paused = true)]
async fn the_later_pong_is_told() {
    for version in VERSIONS {
        let (_client, socket, mut far) = pinged(version).await;
        let (mut sender, mut receiver) = socket.split();
        sender.send_ping(b"later").await.unwrap();
        let receiving = tokio::spawn(async move {
            let mut pongs = Vec::new();
            receiver.recv_with(|pong| pongs.push(pong)).await.unwrap();
            pongs
        });
        let answering = async {
            sleep(SHORT).await;
            far.pong(b"later").await;
        };
        let (time, ()) = within(async { tokio::join!(sender.ping(), answering) }).await;
        assert!((SHORT * 2..SHORT * 3).contains(&time.unwrap()), "{version:?}");
        far.send(b"\x81\x01a").await;
        assert_eq!(within(receiving).await.unwrap(), [&b"later"[..]], "{version:?}");
    }
}

/// A half whose other is gone receives the Pong itself.
#[tokio::test(start_paused = true)]
async fn a_half_alone_takes_the_later_pong() {
    for version in VERSIONS {
        let (_client, socket, mut far) = pinged(version).await;
        let (mut sender, receiver) = socket.split();
        drop(receiver);
        sender.send_ping(b"").await.unwrap();
        far.pong(b"").await;
        within(sender.ping()).await.unwrap();
    }
}

/// What was sent before is answered before, and says nothing of our Ping.
#[tokio::test(start_paused = true)]
async fn an_earlier_ping_answers_nothing() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        socket.send_ping(b"before").await.unwrap();
        assert_eq!(far.next_ping().await, b"before");
        let answering = async {
            let ours = far.next_ping().await;
            far.pong(b"before").await;
            sleep(SHORT).await;
            far.pong(&ours).await;
        };
        let (time, ()) = within(async { tokio::join!(socket.ping(), answering) }).await;
        assert!(time.unwrap() >= SHORT, "{version:?}");
    }
}

/// The keep-alive asks while our Ping waits, and its Pong is the only one that comes: whoever receives.
#[tokio::test(start_paused = true)]
async fn a_later_ping_of_the_keep_alive_answers() {
    for version in VERSIONS {
        for split in [false, true] {
            let set = |builder: sockeye::ClientBuilder| builder.ping(INTERVAL, TIMEOUT);
            let (_client, socket, mut far) = far::open_with(version, set).await;
            // Each round trip is told from the one before.
            let rounds = async {
                for _ in 0..3 {
                    far.next_ping().await;
                    let kept_alive = far.next_ping().await;
                    sleep(SHORT).await;
                    far.pong(&kept_alive).await;
                }
            };
            let pinging = async {
                let mut times = Vec::new();
                if split {
                    let (mut sender, mut receiver) = socket.split();
                    let receiving = tokio::spawn(async move { receiver.recv_with(|pong| panic!("{pong:?}")).await });
                    for _ in 0..3 {
                        times.push(sender.ping().await.unwrap());
                    }
                    receiving.abort();
                } else {
                    let mut socket = socket;
                    for _ in 0..3 {
                        times.push(socket.ping().await.unwrap());
                    }
                }
                times
            };
            let patience = 4 * INTERVAL;
            let (times, ()) = timeout(patience, async { tokio::join!(pinging, rounds) }).await.expect("it goes on");
            assert!(times.iter().all(|time| (INTERVAL..INTERVAL + TIMEOUT).contains(time)), "{version:?}: {times:?}");
        }
    }
}

/// A Pong of the keep-alive that was asked for before our Ping, in this round trip's time or in that of the one before.
#[tokio::test(start_paused = true)]
async fn an_earlier_ping_of_the_keep_alive_answers_nothing() {
    for version in VERSIONS {
        let set = |builder: sockeye::ClientBuilder| builder.ping(INTERVAL, TIMEOUT);
        let (_client, mut socket, mut far) = far::open_with(version, set).await;
        assert!(timeout(INTERVAL + SHORT * 100, socket.recv()).await.is_err());
        let before = far.next_ping().await;
        for _ in 0..2 {
            let mut pinging = Box::pin(socket.ping());
            assert!(poll_now(&mut pinging).await.is_pending());
            let ours = far.next_ping().await;
            far.pong(&before).await;
            settle().await;
            assert!(poll_now(&mut pinging).await.is_pending(), "{version:?}");
            sleep(INTERVAL + SHORT * 100).await;
            let during = far.next_ping().await;
            assert_ne!(during, before);
            far.pong(&ours).await;
            within(&mut pinging).await.unwrap();
            drop(pinging);
            // The next round trip has begun when the Pong comes.
            let mut next = Box::pin(socket.ping());
            assert!(poll_now(&mut next).await.is_pending());
            let ours = far.next_ping().await;
            far.pong(&during).await;
            settle().await;
            assert!(poll_now(&mut next).await.is_pending(), "{version:?}");
            far.pong(&ours).await;
            within(next).await.unwrap();
        }
        assert!(poll_now(&mut pin!(socket.recv())).await.is_pending());
    }
}

/// A server's socket, over both versions.
#[tokio::test]
async fn a_server_takes_the_later_pong() {
    for carrier in Carrier::ALL {
        let (service, mut sockets) = hand_over();
        let running = start(Server::new(), service).await;
        let mut peer = Socket::open(carrier, running.addr).await;
        let mut socket = within(sockets.recv()).await.unwrap();
        assert!(timeout(SHORT, socket.ping()).await.is_err());
        socket.send_ping(b"a").await.unwrap();
        peer.send_octets(b"\x8A\x81\0\0\0\0a").await;
        within(socket.ping()).await.unwrap();
    }
}
