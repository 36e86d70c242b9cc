//! A WebSocket from its handler's side, alike over both versions of HTTP.

use futures_util::{SinkExt, StreamExt, TryStreamExt};
use http::HeaderValue;
use sockeye::{CloseCode, Error, Message, OriginPolicy, Result, Server, SocketOptions, WebSocket, websocket};
use sockeye_proto::ws::Event;
use tokio::sync::mpsc;

use crate::common::{Carrier, Socket, echo, hand_over, handshake, restarted, start, start_websocket, within};

#[tokio::test]
async fn messages_are_echoed_whole() {
    let server = start_websocket(echo).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.check_echo("hello").await;
        socket.check_echo("").await;
        socket.check_echo(b"").await;
        socket.check_echo("grüße, 日本").await;
        socket.check_echo(vec![0xFF; 126]).await;
        socket.check_echo((0..1 << 20).map(|n| n as u8).collect::<Vec<_>>()).await;
        socket.check_echo("x".repeat(1 << 20)).await;
    }
}

/// `Stream` and `Sink`, as what was written for other WebSockets uses their halves.
#[tokio::test]
async fn a_half_may_be_forwarded_to_the_other() {
    let server = start_websocket(async |socket: WebSocket| {
        let (sender, receiver) = socket.split();
        receiver.forward(sender).await
    })
    .await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.check_echo("hello").await;
        socket.check_echo(vec![0xFF; 200_000]).await;
        socket.close(CloseCode::NORMAL, "").await;
        assert_eq!(socket.close_code().await, 1000, "{carrier:?}");
    }
}

/// RFC 6455 §5.4, and frames that no DATA frame holds whole.
#[tokio::test]
async fn fragments_become_one_message() {
    let server = start_websocket(echo).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        // Masked by zeros: "Hel", a Ping, "lo".
        let octets = b"\x01\x83\0\0\0\0Hel\x89\x81\0\0\0\0!\x80\x82\0\0\0\0lo";
        for octet in octets.chunks(1) {
            socket.send_octets(octet).await;
        }
        assert_eq!(socket.event().await, Event::Pong("!".into()), "{carrier:?}");
        assert_eq!(socket.message().await, Message::from("Hello"), "{carrier:?}");
    }
}

#[tokio::test]
async fn pings_go_both_ways() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = within(sockets.recv()).await.unwrap();
        socket.send_ping(b"are you there").await.unwrap();
        assert!(matches!(socket.send_ping(&[0; 126]).await, Err(Error::Invalid(_))), "{carrier:?}: RFC 6455 §5.5");
        peer.ping(b"and you").await;
        peer.send("after the pong").await;
        let ping_answered = async {
            assert_eq!(peer.event().await, Event::Pong("and you".into()), "{carrier:?}");
            // The answer of our own Ping went before, and is not seen.
            peer.send("last").await;
        };
        let received = async {
            assert_eq!(socket.recv().await.unwrap(), Some("after the pong".into()), "{carrier:?}");
            assert_eq!(socket.recv().await.unwrap(), Some("last".into()), "{carrier:?}");
        };
        within(async { tokio::join!(ping_answered, received) }).await;
    }
}

/// RFC 6455 §5.5.3: the answer to a Ping, and a Pong that nobody asked for.
#[tokio::test]
async fn pongs_are_told_to_who_asks() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let (mut sender, mut receiver) = within(sockets.recv()).await.unwrap().split();
        sender.send_ping(b"are you there").await.unwrap();
        sender.pong(b"I am").await.unwrap();
        let answered = async {
            assert_eq!(peer.event().await, Event::Pong("I am".into()), "{carrier:?}");
            peer.send("after the pong").await;
        };
        let mut pongs = Vec::new();
        let received = async {
            let message = receiver.recv_with(|payload| pongs.push(payload)).await.unwrap();
            assert_eq!(message, Some("after the pong".into()), "{carrier:?}");
        };
        within(async { tokio::join!(answered, received) }).await;
        assert_eq!(pongs, ["are you there"], "{carrier:?}");
    }
}

/// RFC 6455 §5.5.2: Pings that come together are answered one by one while there is room for the answers.
#[tokio::test]
async fn every_ping_is_answered() {
    let server = start_websocket(echo).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        // Masked by zeros.
        let pings: Vec<u8> = (b'0'..=b'9').flat_map(|number| [0x89, 0x81, 0, 0, 0, 0, number]).collect();
        socket.send_octets(&pings).await;
        for number in b'0'..=b'9' {
            assert_eq!(socket.event().await, Event::Pong(vec![number].into()), "{carrier:?}");
        }
    }
}

#[tokio::test]
async fn a_socket_tells_what_it_is() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service.protocols(["echo", "chat"])).await;
    for carrier in Carrier::ALL {
        let mut handshake = handshake("/room?id=7");
        handshake.protocols = ["other", "chat", "echo"].map(str::to_owned).into();
        handshake.headers.insert("x-name", HeaderValue::from_static("value"));
        let mut peer = Socket::open_with(carrier, server.addr, &handshake).await;
        assert_eq!(peer.response.headers()["sec-websocket-protocol"], "chat");
        let mut socket = within(sockets.recv()).await.unwrap();
        assert_eq!(socket.protocol(), Some("chat"), "the client's first that is spoken here");
        assert_eq!(socket.request().uri.path_and_query().unwrap(), "/room?id=7");
        assert_eq!(socket.request().headers["x-name"], "value");
        assert_eq!(socket.version(), carrier.version());
        assert_eq!(socket.peer_addr().unwrap().ip(), server.addr.ip());
        assert_eq!(socket.close_frame(), None);
        peer.close(3456.into(), "had enough").await;
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        let frame = socket.close_frame().unwrap();
        assert_eq!((frame.code, &frame.reason[..]), (3456.into(), "had enough"));
    }
}

#[tokio::test]
async fn no_subprotocol_is_taken_that_is_not_spoken() {
    let server = start(Server::new(), websocket(echo).protocols(["echo"])).await;
    for carrier in Carrier::ALL {
        let mut handshake = handshake("/");
        handshake.protocols = vec!["chat".into()];
        let socket = Socket::open_with(carrier, server.addr, &handshake).await;
        assert!(!socket.response.headers().contains_key("sec-websocket-protocol"));
    }
}

/// Pages of other origins are refused by default, and let in where they are listed.
#[tokio::test]
async fn origins_are_checked() {
    let strict = start_websocket(echo).await;
    let open = start(Server::new(), websocket(echo).options(SocketOptions::new().origins(OriginPolicy::Any))).await;
    for carrier in Carrier::ALL {
        let mut handshake = handshake("/");
        handshake.headers.insert("origin", HeaderValue::from_static("http://elsewhere.example"));
        let refused = Socket::try_open(carrier, strict.addr, &handshake).await.err();
        assert_eq!(refused, Some(http::StatusCode::FORBIDDEN), "{carrier:?}");
        Socket::open_with(carrier, open.addr, &handshake).await.check_echo("in").await;
    }
    assert_eq!(strict.handle.counter(sockeye::Counter::OriginsRefused), 2);
}

/// The handler is not called before the response is sent, so a socket that it gives away in its call works.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_outlives_its_handler_in_another_task() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    tokio::spawn(async move {
        while let Some(socket) = sockets.recv().await {
            tokio::spawn(echo(socket));
        }
    });
    for carrier in Carrier::ALL {
        for _ in 0..20 {
            let mut socket = Socket::open(carrier, server.addr).await;
            socket.check_echo("still open").await;
            socket.check_echo(vec![7; 300_000]).await;
        }
    }
}

/// The server speaks first, at once, from another task.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_at_once_follows_the_response() {
    let (sender, mut sockets) = mpsc::unbounded_channel::<WebSocket>();
    tokio::spawn(async move {
        while let Some(mut socket) = sockets.recv().await {
            socket.send("welcome").await.unwrap();
            socket.close().await.ok();
        }
    });
    let handler = move |socket| {
        sender.send(socket).unwrap();
        async {}
    };
    let server = start(Server::new(), websocket(handler)).await;
    for carrier in Carrier::ALL {
        for _ in 0..20 {
            let mut socket = Socket::open(carrier, server.addr).await;
            assert_eq!(socket.message().await, Message::from("welcome"));
            assert_eq!(socket.close_code().await, 1000);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_work_on_two_tasks() {
    const MESSAGES: u32 = 2000;
    let (done, mut results) = mpsc::unbounded_channel();
    let handler = move |socket: WebSocket| {
        let done = done.clone();
        async move {
            let (mut sender, mut receiver) = socket.split();
            let sending = tokio::spawn(async move {
                for n in 0..MESSAGES {
                    sender.send(n.to_string()).await.unwrap();
                }
                sender.flush().await.unwrap();
                sender
            });
            let mut received = 0;
            for n in 0..MESSAGES {
                assert_eq!(receiver.recv().await.unwrap().unwrap(), n.to_string().into());
                received += 1;
            }
            let socket = sending.await.unwrap().reunite(receiver).unwrap();
            done.send(received).unwrap();
            drop(socket);
        }
    };
    let server = start_websocket(handler).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        for n in 0..MESSAGES {
            peer.send(n.to_string()).await;
        }
        for n in 0..MESSAGES {
            assert_eq!(peer.message().await, n.to_string().into(), "{carrier:?}");
        }
        assert_eq!(within(results.recv()).await, Some(MESSAGES));
        assert_eq!(peer.close_code().await, 1000, "{carrier:?}");
    }
}

#[tokio::test]
async fn only_halves_of_one_socket_reunite() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    let mut peers = Vec::new();
    for carrier in Carrier::ALL {
        peers.push(Socket::open(carrier, server.addr).await);
    }
    let (first, second) = (sockets.recv().await.unwrap(), sockets.recv().await.unwrap());
    let ((first_sender, first_receiver), (second_sender, second_receiver)) = (first.split(), second.split());
    let (first_sender, second_receiver) = first_sender.reunite(second_receiver).unwrap_err();
    first_sender.reunite(first_receiver).unwrap().send("first").await.unwrap();
    second_sender.reunite(second_receiver).unwrap().send("second").await.unwrap();
    assert_eq!(peers[0].message().await, Message::from("first"));
    assert_eq!(peers[1].message().await, Message::from("second"));
}

/// The half that sends says Close, the other sees the answer.
#[tokio::test]
async fn a_sender_closes_for_both_halves() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let (mut sender, mut receiver) = sockets.recv().await.unwrap().split();
        sender.close(CloseCode::from(3000), "bye").unwrap();
        assert!(matches!(sender.send("late").await, Err(Error::Closed)));
        assert_eq!(peer.close_code().await, 3000);
        assert_eq!(within(receiver.recv()).await.unwrap(), None, "{carrier:?}");
    }
}

#[tokio::test]
async fn a_socket_is_a_stream_and_a_sink() {
    async fn echo(socket: WebSocket) -> Result {
        let (sink, stream) = StreamExt::split::<Message>(socket);
        stream.try_filter(|message| std::future::ready(!message.is_empty())).forward(sink).await
    }
    let server = start_websocket(echo).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        peer.send("").await;
        peer.check_echo("hello").await;
        peer.check_echo(vec![1; 200_000]).await;
        peer.close(CloseCode::NORMAL, "").await;
        assert_eq!(peer.close_code().await, 1000, "{carrier:?}");
    }
}

/// The sink's `close` sends the Close, and the stream ends with the peer's.
#[tokio::test]
async fn a_sink_closes_without_waiting() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        SinkExt::<Message>::close(&mut socket).await.unwrap();
        assert_eq!(peer.close_code().await, 1000);
        assert!(within(socket.next()).await.is_none(), "{carrier:?}");
    }
}

/// After the end there is nothing more, however often it is asked for.
#[tokio::test]
async fn the_end_stays() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        peer.close(CloseCode::NORMAL, "").await;
        for _ in 0..3 {
            assert_eq!(within(socket.recv()).await.unwrap(), None);
        }
        socket.close().await.unwrap();
        let (flushed, _) = within(restarted(async || socket.flush().await)).await;
        flushed.unwrap();
    }
}
