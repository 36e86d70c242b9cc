//! What `sockeye bench` says where there is little to say.

use std::time::Duration;

use serde_json::Value;
use sockeye::WebSocket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{printed, serve};

/// The URL of a server whose echo takes this long.
async fn slow_echo(delay: Duration) -> String {
    serve(move |mut socket: WebSocket| async move {
        while let Some(message) = socket.recv().await? {
            tokio::time::sleep(delay).await;
            socket.send(message).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_came_back_is_not_right() {
    let url = slow_echo(Duration::from_millis(900)).await;
    for version in ["--http2", "--http1.1"] {
        let (status, text, _) = printed(&url, &format!("-d 100ms {version}")).await;
        assert!(
            text.contains("no message came back within the 0.1 s that were measured (1 message before or after)"),
            "{text}"
        );
        assert_eq!(status, 3, "{text}");
        let (status, text, _) = printed(&url, &format!("-d 100ms --json {version}")).await;
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &report["verdict"], &report["load"]["messages"]),
            (3, &"nothing_came".into(), &0.into()),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_cannot_be_sent_is_a_wrong_argument() {
    let url = slow_echo(Duration::ZERO).await;
    for arguments in ["-H upgrade:x", "-H sec-websocket-accept:x --http1.1", "-s a,a"] {
        let (status, text, errors) = printed(&url, &format!("-d 100ms {arguments}")).await;
        assert_eq!((status, &*text), (2, ""), "{arguments}: {errors}");
        assert!(errors.starts_with("error: "), "{arguments}: {errors}");
    }
}

/// The URL of a server that says this first, whatever it is asked.
async fn saying(octets: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(octets).await.ok();
            stream.shutdown().await.ok();
            // What is sent behind a TCP reset may be lost.
            tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_was_not_spoken_is_named() {
    let goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    for (octets, version, part) in [
        (&goaway[..], "--http1.1", "the server answered in HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "--http1.1", "the server answered in no HTTP: SSH-2.0-OpenSSH_9.2"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "--http2", "the server did not answer in HTTP/2"),
    ] {
        let (status, text, _) = printed(&saying(octets).await, &format!("-d 100ms {version}")).await;
        assert_eq!((status, text.contains(part)), (1, true), "{text}");
    }
}
