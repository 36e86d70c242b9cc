//! `ping` waits for its Pong (RFC 6455 §5.5.2), and loses nothing that comes before.

use std::pin::pin;
use std::time::Duration;

use sockeye::{Error, Fault, Message, WebSocket};
use tokio::time::{sleep, timeout};

use crate::client::far::{self, VERSIONS};
use crate::common::{Carrier, Socket, hand_over, poll_now, restarted, settle, start, within};

#[tokio::test(start_paused = true)]
async fn ping_gives_the_round_trip() {
    const TIME: Duration = Duration::from_millis(70);
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        let mut payloads = Vec::new();
        for _ in 0..3 {
            let answering = async {
                let payload = far.next_ping().await;
                // Pongs that answer something else (RFC 6455 §5.5.3).
                far.pong(b"").await;
                far.pong(b"else").await;
                sleep(TIME).await;
                far.pong(&payload).await;
                payload
            };
            let (time, payload) = tokio::join!(socket.ping(), answering);
            let time = time.unwrap();
            assert!((TIME..TIME * 2).contains(&time), "{version:?}: {time:?}");
            payloads.push(payload);
        }
        payloads.dedup();
        assert_eq!(payloads.len(), 3, "each Ping has a payload of its own");
    }
}

/// A server's socket, against a peer that answers by itself.
#[tokio::test]
async fn a_server_may_ping() {
    for carrier in Carrier::ALL {
        let (service, mut sockets) = hand_over();
        let running = start(sockeye::Server::new(), service).await;
        let mut peer = Socket::open(carrier, running.addr).await;
        let mut socket = within(sockets.recv()).await.unwrap();
        let answering = async {
            peer.send("before").await;
            peer.message().await
        };
        let pinging = async {
            let time = within(socket.ping()).await.unwrap();
            assert!(time < Duration::from_secs(30));
            socket.send("after").await.unwrap();
        };
        let (message, ()) = tokio::join!(answering, pinging);
        assert_eq!(message, "after".into());
        assert_eq!(within(socket.recv()).await.unwrap(), Some("before".into()));
    }
}

/// Messages that come meanwhile are there for the next `recv`, in their order, with what comes after them.
#[tokio::test(start_paused = true)]
async fn ping_keeps_messages() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        for round in 0..3_u8 {
            let answering = async {
                let payload = far.next_ping().await;
                far.send(&[0x81, 1, b'a' + round, 0x82, 1, round, 0x01, 1, b'x']).await;
                settle().await;
                far.pong(&payload).await;
                far.send(b"\x80\x01y").await;
            };
            let (time, ()) = tokio::join!(socket.ping(), answering);
            time.unwrap();
        }
        far.send(b"\x81\x04last").await;
        settle().await;
        for round in 0..3_u8 {
            let text = String::from_utf8(vec![b'a' + round]).unwrap();
            assert_eq!(within(socket.recv()).await.unwrap(), Some(text.into()), "{version:?}");
            assert_eq!(within(socket.recv()).await.unwrap(), Some(vec![round].into()));
            assert_eq!(within(socket.recv()).await.unwrap(), Some("xy".into()));
        }
        assert_eq!(within(socket.recv()).await.unwrap(), Some("last".into()));
        // Nothing was kept behind.
        assert!(poll_now(&mut pin!(socket.recv())).await.is_pending());
    }
}

/// What is kept has a bound, and is not lost when it is met.
#[tokio::test(start_paused = true)]
async fn ping_keeps_messages_up_to_a_bound() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        const MESSAGES: usize = 30;
        let flooding = async {
            let payload = far.next_ping().await;
            for _ in 0..MESSAGES {
                far.send(&[&b"\x82\x7E\xC3\x50"[..], &[7; 50_000]].concat()).await;
                if version == http::Version::HTTP_2 {
                    // The window comes back.
                    settle().await;
                }
            }
            far.pong(&payload).await;
            far
        };
        let flooding = async { timeout(Duration::from_secs(20), flooding).await.ok() };
        let (result, far) = tokio::join!(socket.ping(), flooding);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.fault() == Fault::Caller, "{error:?}");
        let mut received = 0;
        while let Ok(Ok(Some(message))) = timeout(Duration::from_secs(1), socket.recv()).await {
            assert_eq!(message, Message::from(vec![7; 50_000]));
            received += 1;
        }
        assert!(received >= (1 << 20) / 50_064, "{version:?}: {received}");
        drop(far);
    }
}

/// Dropped and called again it waits for the Ping that was sent; what came in between is not lost.
#[tokio::test(start_paused = true)]
async fn ping_is_cancel_safe() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        let answering = async {
            let payload = far.next_ping().await;
            for text in [&b"\x81\x01a"[..], b"\x81\x01b", b"\x81\x01c"] {
                far.send(text).await;
                settle().await;
            }
            far.pong(&payload).await;
        };
        let ((time, dropped), ()) =
            within(async { tokio::join!(restarted(async || socket.ping().await), answering) }).await;
        time.unwrap();
        assert!(dropped > 0);
        for text in ["a", "b", "c"] {
            assert_eq!(within(socket.recv()).await.unwrap(), Some(text.into()), "{version:?}");
        }
        // The Pong of one that was given up comes late, and answers no other.
        assert!(timeout(Duration::from_secs(1), socket.ping()).await.is_err());
        let first = far.next_ping().await;
        far.pong(&first).await;
        far.send(b"\x81\x01d").await;
        let received = within(socket.recv_with(|pong| panic!("{pong:?}"))).await;
        assert_eq!(received.unwrap(), Some("d".into()));
        let answering = async {
            let second = far.next_ping().await;
            assert_ne!(first, second);
            sleep(Duration::from_millis(10)).await;
            far.pong(&first).await;
            sleep(Duration::from_millis(10)).await;
            far.pong(&second).await;
        };
        let (time, ()) = within(async { tokio::join!(socket.ping(), answering) }).await;
        assert!((20..30).contains(&time.unwrap().as_millis()));
    }
}

/// One half waits while the other receives.
#[tokio::test(start_paused = true)]
async fn a_half_pings_while_the_other_receives() {
    for version in VERSIONS {
        let (_client, socket, mut far) = far::open(version).await;
        let (mut sender, mut receiver) = socket.split();
        let receiving = tokio::spawn(async move {
            let mut pongs = Vec::new();
            let mut messages = Vec::new();
            while let Some(message) = receiver.recv_with(|pong| pongs.push(pong)).await.unwrap() {
                messages.push(message);
            }
            (messages, pongs)
        });
        let answering = async {
            let payload = far.next_ping().await;
            far.send(b"\x81\x01a\x8A\x01x").await;
            sleep(Duration::from_millis(10)).await;
            far.pong(&payload).await;
        };
        let (time, ()) = within(async { tokio::join!(sender.ping(), answering) }).await;
        assert!((10..20).contains(&time.unwrap().as_millis()), "{version:?}");
        // The end comes before an answer.
        let ending = async {
            far.next_ping().await;
            far.send(b"\x88\x02\x03\xE8").await;
        };
        let (result, ()) = within(async { tokio::join!(sender.ping(), ending) }).await;
        assert!(matches!(result, Err(Error::Closed)), "{result:?}");
        assert!(matches!(within(sender.ping()).await, Err(Error::Closed)));
        let (messages, pongs) = within(receiving).await.unwrap();
        assert_eq!((messages, pongs), (vec!["a".into()], vec!["x".into()]));
    }
}

/// A half whose other is gone receives by itself.
#[tokio::test(start_paused = true)]
async fn a_half_pings_alone() {
    for version in VERSIONS {
        let (_client, socket, mut far) = far::open(version).await;
        let (mut sender, receiver) = socket.split();
        drop(receiver);
        let answering = async {
            let payload = far.next_ping().await;
            far.send(b"\x81\x01a").await;
            far.pong(&payload).await;
        };
        within(async { tokio::join!(sender.ping(), answering) }).await.0.unwrap();
    }
}

/// The end before the Pong is an error; what came before it is not lost.
#[tokio::test(start_paused = true)]
async fn ping_ends_with_its_socket() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        let ending = async {
            far.next_ping().await;
            far.send(b"\x81\x01a\x81\x01b\x88\x02\x03\xE8").await;
        };
        let (result, ()) = within(async { tokio::join!(socket.ping(), ending) }).await;
        assert!(matches!(result, Err(Error::Closed)), "{version:?}: {result:?}");
        assert_eq!(within(socket.recv()).await.unwrap(), Some("a".into()));
        assert_eq!(within(socket.recv()).await.unwrap(), Some("b".into()));
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert!(matches!(within(socket.ping()).await, Err(Error::Closed)));

        let (_client, mut socket, mut far) = far::open(version).await;
        let ending = async {
            far.next_ping().await;
            // A reserved opcode (RFC 6455 §5.2).
            far.send(b"\x81\x01a\x8F\0").await;
        };
        let (result, ()) = within(async { tokio::join!(socket.ping(), ending) }).await;
        assert!(
            matches!(result, Err(Error::Violation(ref violation)) if violation.close_code() == Some(1002.into())),
            "{version:?}: {result:?}"
        );
        assert_eq!(within(socket.recv()).await.unwrap(), Some("a".into()));
        assert_eq!(within(socket.recv()).await.unwrap(), None);
    }
}

/// A socket that sends more than its peer takes waits with its Ping, and receives meanwhile.
#[tokio::test]
async fn a_ping_that_waits_for_room_receives() {
    for carrier in Carrier::ALL {
        let (service, mut sockets) = hand_over();
        let running = start(sockeye::Server::new(), service).await;
        let mut peer = Socket::open(carrier, running.addr).await;
        let mut socket: WebSocket = within(sockets.recv()).await.unwrap();
        let sent = within(crate::common::fill(&mut socket, &vec![7; 10_000].into())).await;
        peer.send("hello").await;
        let reading = async {
            for _ in 0..sent {
                assert_eq!(peer.message().await.len(), 10_000);
            }
            // Answers the Ping.
            timeout(Duration::from_secs(1), peer.event()).await.ok();
        };
        let (time, ()) = within(async { tokio::join!(socket.ping(), reading) }).await;
        time.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    }
}
