//! What a connection holds that was ended for a fault of its peer's and waits for that to hang up, by the octets that the
//! allocator has given out: nothing of what the peer sent.

#![cfg(all(feature = "http2", feature = "web-socket"))]

mod heap;

use std::time::Duration;

use sockeye::{Result, Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::heap::live;

const CONNECTIONS: usize = 50;
/// Octets of heap for one such connection: its task, its streams' tables and 4 KiB of HPACK's at most, and no part of the
/// 48 KiB of its header block.
const MAX: usize = 12 << 10;
/// Octets of a duplex stream's buffers, in which the peer's octets wait: not the connection's.
const PIPE: usize = 1 << 10;

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

fn put_frame(octets: &mut Vec<u8>, kind: u8, stream: u32, payload: &[u8]) {
    octets.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    octets.extend_from_slice(&[kind, 0]);
    octets.extend_from_slice(&stream.to_be_bytes());
    octets.extend_from_slice(payload);
}

/// A header block that goes on in CONTINUATION frames and breaks off for a PING (RFC 9113 §6.10).
fn interrupted_block() -> Vec<u8> {
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    put_frame(&mut octets, 4, 0, &[]);
    put_frame(&mut octets, 1, 1, &[0; 16 << 10]);
    put_frame(&mut octets, 9, 1, &[0; 16 << 10]);
    put_frame(&mut octets, 9, 1, &[0; 16 << 10]);
    put_frame(&mut octets, 6, 0, &[0; 8]);
    octets
}

/// A WebSocket over HTTP/1.1 whose message in fragments breaks off for an opcode that there is not (RFC 6455 §5.2).
fn interrupted_message() -> Vec<u8> {
    let mut octets = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    for opcode in [2, 0, 0, 0] {
        octets.extend_from_slice(&[opcode, 0x80 | 126, 0x40, 0, 0, 0, 0, 0]);
        octets.resize(octets.len() + (16 << 10), 0);
    }
    octets.extend_from_slice(&[0x83, 0x80, 0, 0, 0, 0]);
    octets
}

/// Ends as the peer of a fault does: all its octets are sent, the server has said all, and it does not hang up.
async fn open(server: &Server, sent: &[u8], said: &[u8]) -> DuplexStream {
    let (mut client, theirs) = tokio::io::duplex(PIPE);
    let server = server.clone();
    tokio::spawn(async move { server.serve_connection(theirs, websocket(echo)).await.ok() });
    client.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.windows(said.len()).any(|words| words == said), "{}", String::from_utf8_lossy(&answer));
    client
}

async fn check(sent: &[u8], said: &[u8]) {
    let server = Server::new();
    // What a thread keeps for everybody is not counted.
    drop(open(&server, sent, said).await);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = live();
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        clients.push(open(&server, sent, said).await);
    }
    assert_eq!(server.handle().connections().len(), CONNECTIONS, "each of them lingers");
    let held = (live() - before) / CONNECTIONS;
    println!("{held} octets for each that was told {:?}", String::from_utf8_lossy(said));
    assert!(held <= MAX + 2 * PIPE, "{held} octets for a connection that is over");
}

/// One test for both, since they share the allocator that counts.
#[tokio::test(start_paused = true)]
async fn what_a_refused_peer_has_sent_is_not_kept() {
    check(&interrupted_block(), "header block interrupted (§6.10)".as_bytes()).await;
    check(&interrupted_message(), &1002_u16.to_be_bytes()).await;
}
