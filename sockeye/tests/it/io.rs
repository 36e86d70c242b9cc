//! A socket as a stream of octets: what it reads and writes, its ends, and what is lost where its futures are dropped (nothing).

use std::io::ErrorKind;

use sockeye::socket::WebSocketIo;
use sockeye::{CloseCode, Message, WebSocket};
use sockeye_proto::ws::Event;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::common::{Carrier, Running, Socket, hand_over, poll_now, restarted, settle, start, start_websocket, within};

/// A server whose socket is here, and the peer of that socket.
async fn open(carrier: Carrier) -> (WebSocketIo, Socket, Running) {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    let peer = Socket::open(carrier, server.addr).await;
    let socket: WebSocket = sockets.recv().await.unwrap();
    (socket.into_io(), peer, server)
}

/// Octets that tell where they stand.
fn octets(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn messages_are_read_as_one_stream() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        let sent = octets(300_000);
        let sending = async {
            let (mut rest, mut length) = (&sent[..], 0);
            while !rest.is_empty() {
                let (message, behind) = rest.split_at(rest.len().min(length));
                // The first is empty, which is not the end.
                peer.send(message).await;
                (rest, length) = (behind, length * 3 + 1);
            }
            peer.close(CloseCode::NORMAL, "").await;
            peer
        };
        let receiving = async {
            let mut read = Vec::new();
            io.read_to_end(&mut read).await.unwrap();
            read
        };
        let (_peer, read) = within(async { tokio::join!(sending, receiving) }).await;
        assert!(read == sent, "{carrier:?}");
        assert_eq!(io.read(&mut [0; 1]).await.unwrap(), 0, "the end stays the end");
    }
}

/// In a message that is larger than any that would be received whole (1 MiB), and one that a `ping` kept.
#[tokio::test]
async fn large_and_kept_messages_are_read() {
    for carrier in Carrier::ALL {
        let (service, mut sockets) = hand_over();
        let server = start(Default::default(), service).await;
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        peer.send(&b"kept"[..]).await;
        // The peer answers while it reads.
        within(async {
            tokio::select! {
                answered = socket.ping() => drop(answered.unwrap()),
                event = peer.event() => panic!("{event:?}"),
            }
        })
        .await;
        let (mut io, sent) = (socket.into_io(), octets(3 << 20));
        let receiving = async {
            let mut read = vec![0; 4 + sent.len()];
            io.read_exact(&mut read).await.unwrap();
            read
        };
        let (_, read) = within(async { tokio::join!(peer.send(&sent[..]), receiving) }).await;
        assert!(&read[..4] == b"kept" && read[4..] == sent, "{carrier:?}");
    }
}

#[tokio::test]
async fn each_write_is_a_binary_message_of_64_kib_at_most() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        assert_eq!(io.write(b"").await.unwrap(), 0);
        io.write_all(b"hello").await.unwrap();
        assert_eq!(io.write(&octets(100_000)).await.unwrap(), 65_536);
        assert_eq!(peer.message().await, Message::from(b"hello"));
        assert_eq!(peer.message().await.len(), 65_536, "an empty write is no message");
    }
}

/// 1000 and a Close without a code end the stream; all else is an error.
#[tokio::test]
async fn the_code_of_a_close_says_whether_it_is_an_end() {
    let ends = [
        (1000, None),
        (1005, None),
        (1001, Some(ErrorKind::ConnectionAborted)),
        (1011, Some(ErrorKind::ConnectionAborted)),
    ];
    for carrier in Carrier::ALL {
        for (code, expected) in ends {
            let (mut io, mut peer, _server) = open(carrier).await;
            match code {
                1005 => peer.send_octets(&[0x88, 0x80, 0, 0, 0, 0]).await,
                code => peer.close(code.into(), "why").await,
            }
            let read = within(io.read(&mut [0; 8])).await;
            match expected {
                None => assert_eq!(read.unwrap(), 0, "{carrier:?}, {code}"),
                Some(kind) => {
                    let error = read.unwrap_err();
                    assert_eq!(error.kind(), kind, "{carrier:?}, {code}");
                    assert!(error.to_string().contains(&code.to_string()), "{error}");
                }
            }
            assert_eq!(io.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            io.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_end_without_a_close_is_an_error() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        peer.send(&b"last"[..]).await;
        peer.end().await;
        let mut read = [0; 8];
        assert_eq!(within(io.read(&mut read)).await.unwrap(), 4, "what had come is read first");
        for _ in 0..2 {
            let error = within(io.read(&mut read)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{carrier:?}");
        }
    }
}

/// RFC 6455 §5.5.1: a Close may stand between the fragments of a message, which is never whole then.
#[tokio::test]
async fn a_close_within_a_message_is_an_error() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        // A first fragment, and a Close 1000.
        peer.send_octets(&[0x02, 0x82, 0, 0, 0, 0, b'h', b'i', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await;
        let mut read = [0; 8];
        assert_eq!(within(io.read(&mut read)).await.unwrap(), 2);
        assert_eq!(within(io.read(&mut read)).await.unwrap_err().kind(), ErrorKind::UnexpectedEof, "{carrier:?}");
    }
}

/// RFC 6455 §7.4.1: what is not accepted is told so by 1003.
#[tokio::test]
async fn text_is_refused() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        peer.send("text").await;
        assert_eq!(within(io.read(&mut [0; 8])).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(peer.close_code().await, 1003, "{carrier:?}");
    }
}

#[tokio::test]
async fn a_broken_rule_is_invalid_data() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        // RFC 6455 §5.2: a reserved opcode.
        peer.send_octets(&[0x83, 0x80, 0, 0, 0, 0]).await;
        assert_eq!(within(io.read(&mut [0; 8])).await.unwrap_err().kind(), ErrorKind::InvalidData, "{carrier:?}");
    }
}

#[tokio::test]
async fn shutting_down_sends_close_1000() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        io.write_all(b"last").await.unwrap();
        within(io.shutdown()).await.unwrap();
        assert_eq!(io.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(peer.message().await, Message::from(b"last"));
        let mut rest = [0; 8];
        let (code, read) = within(async { tokio::join!(peer.close_code(), io.read(&mut rest)) }).await;
        assert_eq!((code, read.unwrap()), (1000, 0), "{carrier:?}");
        within(io.shutdown()).await.unwrap();
    }
}

/// What was read to its end before is whole, and what our Close cut off is not.
#[tokio::test]
async fn after_shutting_down_a_message_that_was_read_is_whole() {
    for carrier in Carrier::ALL {
        for (octets, end) in [(5, Ok(0)), (4, Ok(1)), (1, Ok(4)), (5000, Err(ErrorKind::UnexpectedEof))] {
            let (mut io, mut peer, _server) = open(carrier).await;
            let sent = if octets <= 5 { "hello".into() } else { "hello".repeat(100_000) };
            let (mut read, mut rest) = (vec![0; octets], Vec::new());
            let reading = async {
                io.read_exact(&mut read).await.unwrap();
                assert_eq!(read, &sent.as_bytes()[..octets]);
                io.shutdown().await.unwrap();
                let ended = io.read_to_end(&mut rest).await.map_err(|error| error.kind());
                assert_eq!(ended, end, "{carrier:?}: {octets} octets");
                assert!(sent.as_bytes()[octets..].starts_with(&rest));
            };
            let sending = async {
                peer.send(sent.as_bytes()).await;
                assert_eq!(peer.close_code().await, 1000);
            };
            within(async { tokio::join!(reading, sending) }).await;
        }
    }
}

#[tokio::test]
async fn lines_are_read_without_a_buffer_of_their_own() {
    for carrier in Carrier::ALL {
        let (io, mut peer, _server) = open(carrier).await;
        for part in ["on", "e\ntw", "o\n"] {
            peer.send(part.as_bytes()).await;
        }
        let mut lines = io.lines();
        for line in ["one", "two"] {
            assert_eq!(within(lines.next_line()).await.unwrap().unwrap(), line);
        }
    }
}

/// What was not read comes with the socket.
#[tokio::test]
async fn the_socket_comes_back() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        peer.send(&b"octets"[..]).await;
        assert_eq!(within(io.read_u8()).await.unwrap(), b'o');
        let (mut socket, unread) = io.into_inner();
        assert_eq!(unread, &b"ctets"[..]);
        peer.send("whole").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("whole".into()), "{carrier:?}");
    }
}

/// While the peer does not read, a write waits; no other socket does.
#[tokio::test]
async fn a_write_waits_for_room() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        let (chunk, mut written) = (octets(10_000), 0);
        // The system's buffers hold megabytes, and no more.
        let waits = loop {
            let mut write = Box::pin(io.write_all(&chunk));
            let mut waits = poll_now(&mut write).await.is_pending();
            for _ in 0..20 {
                if !waits {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                waits = poll_now(&mut write).await.is_pending();
            }
            if waits || written > 64 << 20 {
                break waits;
            }
            written += chunk.len();
        };
        assert!(waits, "{carrier:?}: {written} octets were taken");
        let mut read = 0;
        while read < written {
            read += peer.message().await.len();
        }
    }
}

/// Each future is dropped whenever it is pending.
#[tokio::test]
async fn a_read_that_is_dropped_loses_nothing() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        let sent = octets(100_000);
        let sending = async {
            for message in sent.chunks(7_000) {
                peer.machine.send(&message.into()).unwrap();
                let mut frame = bytes::BytesMut::new();
                peer.machine.poll_transmit(&mut frame);
                for piece in frame.chunks(1_500) {
                    peer.send_octets(piece).await;
                    settle().await;
                }
            }
        };
        let receiving = async {
            let (mut read, mut drops, mut buffer) = (Vec::new(), 0, [0; 5_000]);
            while read.len() < sent.len() {
                let (length, dropped) = restarted(async || io.read(&mut buffer).await).await;
                read.extend_from_slice(&buffer[..length.unwrap()]);
                drops += dropped;
            }
            assert!(drops > 10, "{drops} futures were dropped");
            read
        };
        let ((), read) = within(async { tokio::join!(sending, receiving) }).await;
        assert!(read == sent, "{carrier:?}");
    }
}

#[tokio::test]
async fn a_write_that_is_dropped_sends_nothing() {
    for carrier in Carrier::ALL {
        let (mut io, mut peer, _server) = open(carrier).await;
        let sent = octets(8 << 20);
        let sending = async {
            let (mut rest, mut drops) = (&sent[..], 0);
            while !rest.is_empty() {
                let (length, dropped) = restarted(async || io.write(&rest[..rest.len().min(50_000)]).await).await;
                rest = &rest[length.unwrap()..];
                drops += dropped;
            }
            let (shut, dropped) = restarted(async || io.shutdown().await).await;
            shut.unwrap();
            assert!(drops > 10, "{drops} and {dropped} futures were dropped");
        };
        let receiving = async {
            let mut read = Vec::new();
            loop {
                match peer.event().await {
                    Event::Message(message) => read.extend_from_slice(message.as_bytes()),
                    Event::Close(frame) => break assert_eq!(frame.code, CloseCode::NORMAL),
                    event => panic!("{event:?}"),
                }
            }
            read
        };
        let ((), read) = within(async { tokio::join!(sending, receiving) }).await;
        assert!(read == sent, "{carrier:?}");
    }
}

/// What a codec or a proxy does: two directions at once, in one handler.
#[tokio::test]
async fn two_sockets_are_joined() {
    let server = start_websocket(|socket: WebSocket| async {
        let (mut reader, mut writer) = tokio::io::split(socket.into_io());
        tokio::io::copy(&mut reader, &mut writer).await?;
        writer.shutdown().await
    })
    .await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        for n in 0..10 {
            peer.send(&[n; 1000][..]).await;
            assert_eq!(peer.message().await, Message::from(vec![n; 1000]));
        }
        peer.close(CloseCode::NORMAL, "").await;
        assert_eq!(peer.close_code().await, 1000, "{carrier:?}");
    }
}
