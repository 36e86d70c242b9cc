//! Octets both ways, in all four combinations of versions.

use http::Version;
use sockeye::{CloseCode, Message, websocket};
use sockeye_gateway::Protocol;

use crate::common::{client, echo, gateway, soon, upstream};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];
const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// RFC 6455 and RFC 8441 on either side.
#[tokio::test]
async fn messages_pass_all_four_ways() {
    let upstream = upstream(websocket(echo)).await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&upstream, protocol).await;
        for version in VERSIONS {
            let client = client(gateway, version);
            let mut socket = soon(client.open("/")).await.unwrap();
            for size in [0, 1, 125, 126, 70_000, 900_000] {
                let message = Message::from(vec![7_u8; size]);
                soon(socket.send(message.clone())).await.unwrap();
                assert_eq!(
                    soon(socket.recv()).await.unwrap(),
                    Some(message),
                    "{version:?} to {protocol}, {size} octets"
                );
            }
            soon(socket.close()).await.unwrap();
        }
    }
}

/// The Close and its code are those of the two ends, and the end behind it is a clean one.
#[tokio::test]
async fn closes_pass_with_their_codes() {
    let upstream = upstream(websocket(|mut socket: sockeye::WebSocket| async move {
        let message = socket.recv().await?;
        let code = CloseCode::from(message.and_then(|message| message.as_text()?.parse().ok()).unwrap_or(4000_u16));
        socket.close_with(code, "because").await
    }))
    .await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&upstream, protocol).await;
        for version in VERSIONS {
            let client = client(gateway, version);
            let mut socket = soon(client.open("/")).await.unwrap();
            soon(socket.send("4321")).await.unwrap();
            assert_eq!(soon(socket.recv()).await.unwrap(), None, "{version:?} to {protocol}");
            let frame = socket.close_frame().expect("a Close came");
            assert_eq!((u16::from(frame.code), &*frame.reason), (4321, "because"));
        }
    }
}

/// A socket that nobody reads holds its own upstream back, and no other socket.
#[tokio::test]
async fn a_slow_reader_slows_its_own_upstream_alone() {
    let upstream = upstream(websocket(|mut socket: sockeye::WebSocket| async move {
        if socket.request().uri.path() == "/flood" {
            loop {
                socket.send(vec![0_u8; 16 * 1024]).await?;
            }
        }
        echo(socket).await
    }))
    .await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&upstream, protocol).await;
        let client = client(gateway, Version::HTTP_2);
        let _flood = soon(client.open("/flood")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let mut socket = soon(client.open("/")).await.unwrap();
        for _ in 0..20 {
            soon(socket.send("hello")).await.unwrap();
            assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()), "to {protocol}");
        }
    }
}
