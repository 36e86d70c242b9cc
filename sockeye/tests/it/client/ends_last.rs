//! RFC 6455 §7.1.1: the server ends first. A client's Close does not end its half, however it comes to be said.

use std::time::Duration;

use sockeye::WebSocket;
use tokio::time::{Instant, timeout};

use super::far::{self, Far, VERSIONS};
use super::peer::{END_STREAM, kind};
use crate::common::within;

/// Whether the client has ended its half, behind its Close, within some time.
async fn has_ended(far: &mut Far, time: Duration) -> bool {
    let ending = async {
        match far {
            Far::Http1(_) => while far.receive().await.is_some() {},
            Far::Http2(peer, _) => loop {
                let frame = peer.receive().await.expect("the connection goes on");
                if frame.kind == kind::RST_STREAM || frame.kind == kind::DATA && frame.flags & END_STREAM != 0 {
                    return;
                }
            },
        }
    };
    timeout(time, ending).await.is_ok()
}

/// Ways to let go of a socket.
const WAYS: [&str; 3] = ["dropped", "both halves dropped", "closed, then dropped"];

async fn let_go(way: &str, socket: WebSocket) {
    match way {
        "dropped" => drop(socket),
        "both halves dropped" => drop(socket.split()),
        _ => {
            let mut socket = socket;
            drop(timeout(Duration::from_millis(1), socket.close()).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_ends_after_its_server() {
    const TIME: Duration = Duration::from_secs(2);
    for version in VERSIONS {
        for way in WAYS {
            for answers in [true, false] {
                println!("{version:?}, {way}, {answers}");
                let (client, socket, mut far) = far::open(version).await;
                let start = Instant::now();
                let_go(way, socket).await;
                if answers {
                    far.send(b"\x88\x02\x03\xE8").await;
                    assert!(!has_ended(&mut far, TIME).await, "{version:?}, {way}: it ended before its server");
                    far.end().await;
                    assert!(has_ended(&mut far, TIME).await);
                    assert!(start.elapsed() < 2 * TIME);
                } else {
                    // Bounded by the close timeout of 5 seconds.
                    assert!(!has_ended(&mut far, TIME).await, "{version:?}, {way}: it ended before its server");
                    assert!(has_ended(&mut far, 3 * TIME).await, "{version:?}, {way}: it has no bound");
                }
                drop(client);
                within(async { drop(far) }).await;
            }
        }
    }
}
