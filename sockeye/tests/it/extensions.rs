//! Compression over both versions of HTTP, on our server and in other people's.

use axum::Router;
use sockeye::socket::Extensions as WebSocketExtensions;
use sockeye::{
    Counter, Deflate, DeflateContext, Error, Limits, Message, Rate, Result, Server, SocketOptions, Upgrade, WebSocket,
    error, http2, websocket,
};
use sockeye_proto::ws::handshake::ClientHandshake;
use sockeye_proto::ws::{self, Event, Role, Violation};
use tokio::net::TcpListener;

use crate::common::{Carrier, Client, Running, Socket, echo, hand_over, handshake, start, start_websocket, within};
use crate::counters::counted;

const FIELD: &str = "sec-websocket-extensions";

fn deflate(takeover: bool) -> Deflate {
    let context = DeflateContext::new().takeover(takeover).window_bits(15);
    Deflate::new().contexts(context).min_size(1)
}

/// A client that compresses everything, and would do it with takeover.
fn asking() -> ClientHandshake {
    let mut handshake = handshake("/");
    handshake.extensions.deflate = Some(deflate(true));
    handshake
}

async fn start_deflating(deflate: Deflate) -> Running {
    start(Server::new(), websocket(echo).deflate(deflate)).await
}

fn json(items: usize) -> String {
    (0..items).map(|n| format!(r#"{{"id":{n},"name":"sockeye","home":"Adams River"}},"#)).collect()
}

#[tokio::test]
async fn messages_are_compressed_both_ways() {
    for takeover in [false, true] {
        let server = start_deflating(deflate(takeover)).await;
        for carrier in Carrier::ALL {
            let mut socket = Socket::open_with(carrier, server.addr, &asking()).await;
            let in_use = WebSocketExtensions { deflate: Some(deflate(takeover)), no_masking: false };
            let contexts =
                |extensions: WebSocketExtensions| extensions.deflate.map(|deflate| (deflate.server, deflate.client));
            assert_eq!(contexts(socket.machine.extensions()), contexts(in_use), "{carrier:?}");
            for items in [1, 0, 3, 100, 0, 10_000] {
                socket.check_echo(json(items)).await;
                socket.check_echo(json(items).into_bytes()).await;
            }
            socket.ping(b"?").await;
            assert_eq!(socket.event().await, Event::Pong("?".into()));
            socket.close(1000.into(), "").await;
            assert_eq!(socket.close_code().await, 1000);
        }
    }
}

/// Who knows nothing of RSV1 sees it.
#[tokio::test]
async fn what_the_server_sends_is_compressed() {
    let server = start_deflating(Deflate::default()).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open_with(carrier, server.addr, &asking()).await;
        socket.machine = ws::WebSocket::new(Role::Client { mask_key: || *b"mask" }, ws::Config::default());
        socket.check_echo("too short to be compressed").await;
        socket.send(json(10)).await;
        assert_eq!(socket.event().await, Event::Failed(Violation::ReservedBits), "{carrier:?}");
    }
}

#[tokio::test]
async fn nothing_is_compressed_unless_both_ask_for_it() {
    let (plain, deflating) = (start_websocket(echo).await, start_deflating(Deflate::default()).await);
    for carrier in Carrier::ALL {
        for (server, handshake) in [(&plain, asking()), (&deflating, handshake("/"))] {
            let mut socket = Socket::open_with(carrier, server.addr, &handshake).await;
            assert_eq!(socket.response.headers().get(FIELD), None, "{carrier:?}");
            assert_eq!(socket.machine.extensions(), WebSocketExtensions::default());
            socket.check_echo(json(100)).await;
        }
    }
}

#[tokio::test]
async fn a_socket_tells_what_is_in_use() {
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service.deflate(Deflate::default())).await;
    for carrier in Carrier::ALL {
        let peer = Socket::open_with(carrier, server.addr, &asking()).await;
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(peer.response.headers()[FIELD], answer);
        let socket = within(sockets.recv()).await.unwrap();
        assert_eq!(socket.extensions(), WebSocketExtensions { deflate: Some(Deflate::default()), no_masking: false });
    }
}

/// RFC 7692 §8: a message is as large as it is once decompressed.
#[tokio::test]
async fn a_decompression_bomb_is_too_big() {
    let server = start(Server::new(), websocket(echo).max_message_size(100_000).deflate(Deflate::default())).await;
    for (n, carrier) in (1..).zip(Carrier::ALL) {
        let mut socket = Socket::open_with(carrier, server.addr, &asking()).await;
        socket.check_echo(vec![0; 100_000]).await;
        socket.send(vec![0; 10_000_000]).await;
        assert_eq!(socket.close_code().await, 1009, "{carrier:?}");
        counted(&server.handle, Counter::MessagesTooBig, n).await;
    }
}

/// What compressed messages may become together is a limit of either side: 64 times what came, and here a thousand octets beyond that.
#[tokio::test]
async fn what_comes_of_compressed_messages_is_a_limit() {
    let little = Limits::new().inflation(Rate { burst: 1000, per_second: 0 });
    let zeros = vec![0; 100_000];
    for builder in [sockeye::Client::builder().http1_only(), sockeye::Client::builder().http2_only()] {
        let builder = builder.options(SocketOptions::new().deflate(deflate(false)));
        let service = websocket(echo).deflate(deflate(false));
        let server = start(Server::new().limits(little.clone()), service).await;
        let mut socket = builder.open(&format!("ws://{}/", server.addr)).await.unwrap();
        socket.send(zeros.clone()).await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert_eq!(socket.close_frame().unwrap().code, 1008.into());
        counted(&server.handle, Counter::InflationFloods, 1).await;

        let server = start_deflating(deflate(false)).await;
        let client = builder.limits(little.clone()).connect(&format!("ws://{}", server.addr)).await.unwrap();
        let mut socket = client.open("/").await.unwrap();
        socket.send(zeros.clone()).await.unwrap();
        let error = within(socket.recv()).await.unwrap_err();
        let rule = Violation::InflatedTooMuch;
        assert!(matches!(error, Error::Violation(error::Violation::WebSocket { violation, .. }) if violation == rule));
        counted(&client.handle(), Counter::InflationFloods, 1).await;
    }
}

#[tokio::test]
async fn invalid_data_is_a_violation() {
    let server = start_deflating(Deflate::default()).await;
    for (n, carrier) in (1..).zip(Carrier::ALL) {
        let mut socket = Socket::open_with(carrier, server.addr, &asking()).await;
        // A block of the reserved type, masked by zeros.
        socket.send_octets(b"\xC2\x81\0\0\0\0\x06").await;
        assert_eq!(socket.close_code().await, 1007, "{carrier:?}");
        counted(&server.handle, Counter::WebSocketViolations, n).await;
    }
}

/// The URI's scheme does not make a connection secure.
#[tokio::test]
async fn masking_stays_on_in_cleartext() {
    let server = start(Server::new(), websocket(echo).options(SocketOptions::new().no_masking())).await;
    let mut asked = ClientHandshake::new("wss://localhost/".parse().unwrap());
    asked.extensions.no_masking = true;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open_with(carrier, server.addr, &asked).await;
        assert_eq!(socket.response.headers().get(FIELD), None, "{carrier:?}");
        socket.check_echo("hello").await;
    }
}

/// With the request in hand.
#[tokio::test]
async fn an_upgrade_settles_it_too() {
    async fn answer(mut request: http::Request<sockeye::Body>) -> Result<http::Response<sockeye::Body>> {
        let upgrade = Upgrade::from_request(&mut request).map_err(sockeye::Error::application)?;
        Ok(upgrade.deflate(deflate(true)).accept(echo))
    }
    let server = start(Server::new(), tower::service_fn(answer)).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open_with(carrier, server.addr, &asking()).await;
        assert_eq!(socket.response.headers()[FIELD], "permessage-deflate");
        socket.check_echo(json(10)).await;
    }
}

/// By the low-level way.
#[tokio::test]
async fn a_stream_taken_over_may_be_compressed() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut connection = http2::Connection::accept(ours, Limits::new());
    let client = Client::over(theirs, Default::default()).await;
    let asking = asking();
    let accept = async {
        let stream = connection.next().await.unwrap().unwrap();
        stream.into_upgrade().unwrap().deflate(deflate(true)).take().await.unwrap()
    };
    let (mut socket, peer): (WebSocket, _) = within(async { tokio::join!(accept, Socket::on(&client, &asking)) }).await;
    let mut peer = peer.unwrap();
    assert!(socket.extensions().deflate.is_some());
    peer.send(json(50)).await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some(Message::from(json(50))));
    within(socket.send(json(60))).await.unwrap();
    assert_eq!(peer.message().await, json(60).into());
}

#[tokio::test]
async fn our_handlers_compress_in_the_server_of_axum() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new()
        .route_service("/", websocket(echo).options(SocketOptions::new().deflate(deflate(true)).no_masking()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    for carrier in Carrier::ALL {
        let mut socket = Socket::open_with(carrier, addr, &asking()).await;
        assert_eq!(socket.response.headers()[FIELD], "permessage-deflate", "{carrier:?}");
        for items in [1, 0, 100, 100] {
            socket.check_echo(json(items)).await;
        }
    }
}

/// Our client against our server.
#[tokio::test]
async fn our_client_compresses() {
    let server = start_deflating(deflate(true)).await;
    for builder in [sockeye::Client::builder().http1_only(), sockeye::Client::builder().http2_only()] {
        let client = builder.connect(&format!("ws://{}", server.addr)).await.unwrap();
        // In cleartext no-masking is not offered, whatever was asked.
        let open = client.open("/").options(SocketOptions::new().deflate(deflate(true)).no_masking());
        let mut socket = within(open.into_future()).await.unwrap();
        assert_eq!(socket.response().unwrap().headers[FIELD], "permessage-deflate");
        assert_eq!(socket.extensions(), WebSocketExtensions { deflate: Some(deflate(true)), no_masking: false });
        for items in [1, 0, 100, 100] {
            within(socket.send(json(items))).await.unwrap();
            assert_eq!(within(socket.recv()).await.unwrap(), Some(json(items).into()));
        }
        within(socket.close()).await.unwrap();
        let socket = within(client.open("/").into_future()).await.unwrap();
        assert_eq!(socket.extensions(), WebSocketExtensions::default());
    }
}

/// A compressed socket may be used on any thread, and by two at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn compressed_sockets_go_between_threads() {
    async fn spawned(socket: WebSocket) {
        tokio::spawn(async move {
            let (mut sender, mut receiver) = socket.split();
            while let Some(message) = receiver.recv().await.unwrap() {
                tokio::task::yield_now().await;
                sender.send(message).await.unwrap();
            }
        });
    }
    let server = start(Server::new(), websocket(spawned).deflate(deflate(true))).await;
    let peers = (0..10).map(|n| async move {
        let mut socket = Socket::open_with(Carrier::ALL[n % 2], server.addr, &asking()).await;
        for round in 0..20 {
            socket.check_echo(json(n * round)).await;
        }
    });
    within(futures_util::future::join_all(peers)).await;
}
