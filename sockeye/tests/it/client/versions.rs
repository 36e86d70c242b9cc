//! Which version of HTTP a client speaks, and how it finds out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use sockeye::error::Missing;
use sockeye::{Body, Client, ClientBuilder, Counter, Error, Fault, Limits, Reason, Server, Side, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;
use tokio::time::Instant;
use tower::service_fn;

use super::peer::{OFFER, Peer, STATUS_200, URL, Wires, http1_acceptance, http1_request, http2, wires};
use super::secure;
use crate::common::{Running, echo, start, within};

/// A server with these protocols for ALPN, which offers the extended CONNECT or not, and a client's settings for it.
async fn secure(protocols: &[&str], offers: bool) -> (Running, ClientBuilder) {
    let (server_config, client_config) = secure::configs(protocols);
    let config = Limits::new().enable_connect_protocol(offers);
    let running = start(Server::new().limits(config).tls(server_config), websocket(echo)).await;
    (running, Client::builder().tls(client_config))
}

async fn connect(builder: &ClientBuilder, running: &Running) -> sockeye::Result<Client> {
    within(builder.connect(&format!("wss://{}", running.addr))).await
}

/// Opens sockets and says which version carries them.
async fn open(client: &Client, sockets: usize) -> Version {
    let mut versions = Vec::new();
    for _ in 0..sockets {
        let mut socket = within(client.open("/").into_future()).await.unwrap();
        versions.push(socket.version());
        assert_eq!(socket.response().unwrap().version, socket.version());
        socket.send("hello").await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
        within(socket.close()).await.unwrap();
    }
    assert!(versions.iter().all(|version| *version == versions[0]));
    versions[0]
}

/// RFC 9113 §3.2
#[tokio::test]
async fn alpn_chooses_http2() {
    let (running, builder) = secure(&["h2", "http/1.1"], true).await;
    let client = connect(&builder, &running).await.unwrap();
    assert_eq!(open(&client, 3).await, Version::HTTP_2);
    assert_eq!(running.handle.counter(Counter::Connections), 1);
}

/// The connection by which it was found out carries the first socket.
#[tokio::test]
async fn alpn_chooses_http1() {
    let (running, builder) = secure(&["http/1.1"], true).await;
    let client = connect(&builder, &running).await.unwrap();
    assert_eq!(open(&client, 3).await, Version::HTTP_11);
    assert_eq!(running.handle.counter(Counter::Connections), 3);
}

/// RFC 9113 §3.2: a server without ALPN speaks HTTP/1.1, as far as a client can know.
#[tokio::test]
async fn without_alpn_it_is_http1() {
    let (server, client_config) = secure::configs(&[]);
    let (builder, mut wires) = wires();
    let builder = builder.tls(client_config);
    let serving = async {
        let mut transport = secure::accept(&server, wires.next().await).await.unwrap();
        let request = http1_request(&mut transport).await;
        transport.write_all(http1_acceptance(&request).as_bytes()).await.unwrap();
        transport
    };
    let opening = async { builder.connect("wss://localhost").await.unwrap().open("/").await.unwrap() };
    let (_transport, socket) = within(async { tokio::join!(serving, opening) }).await;
    assert_eq!((socket.version(), wires.waiting()), (Version::HTTP_11, 0));

    let serving = async { secure::accept(&server, wires.next().await).await.ok() };
    let builder = builder.http2_only();
    let (_transport, connected) = tokio::join!(serving, builder.connect("wss://localhost"));
    assert!(matches!(connected, Err(Error::NotOffered(_))), "{connected:?}");
}

/// RFC 8441 §3: without the setting there is no extended CONNECT. What a builder's clients have learnt once they know.
#[tokio::test]
async fn without_the_setting_sockets_go_over_http1() {
    let (running, builder) = secure(&["h2", "http/1.1"], false).await;
    let client = connect(&builder, &running).await.unwrap();
    assert_eq!(open(&client, 2).await, Version::HTTP_11);
    assert!(client.fell_back().is_none(), "nothing was refused");
    assert_eq!(running.handle.counter(Counter::Connections), 1 + 2, "one of HTTP/2, and one for each socket");
    let second = connect(&builder.clone(), &running).await.unwrap();
    assert_eq!(open(&second, 1).await, Version::HTTP_11);
    assert_eq!(running.handle.counter(Counter::Connections), 1 + 2 + 1);
    // Another builder has to ask.
    let (_, other) = secure(&[], false).await;
    drop(connect(&other, &running).await.unwrap_err());
}

/// The connection that is of no use goes away.
#[tokio::test]
async fn a_useless_http2_connection_ends() {
    let (running, builder) = secure(&["h2", "http/1.1"], false).await;
    let _client = connect(&builder, &running).await.unwrap();
    within(async {
        while !running.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A client of a site over TLS that answers each request once so many are there.
async fn site(protocols: &[&str], offers: bool, at_once: usize) -> (Running, Client) {
    let (server_config, client_config) = secure::configs(protocols);
    let limits = Limits::new().enable_connect_protocol(offers).max_concurrent_streams(2);
    let gathered = Arc::new(Barrier::new(at_once));
    let site = service_fn(move |_: Request<Body>| {
        let gathered = gathered.clone();
        async move {
            gathered.wait().await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let running = start(Server::new().limits(limits).tls(server_config), site).await;
    let client = Client::builder().tls(client_config).lazy(&format!("https://{}", running.addr)).unwrap();
    (running, client)
}

/// What a server does not offer for sockets takes no connection from requests.
#[tokio::test]
async fn without_the_setting_requests_keep_their_connections() {
    let (running, client) = site(&["h2", "http/1.1"], false, 3).await;
    for _ in 0..10 {
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.request(Request::new(Body::empty())).await })
            })
            .collect();
        for response in asked {
            within(response).await.unwrap().unwrap();
        }
    }
    assert_eq!(running.handle.counter(Counter::Connections), 2);
}

/// Who waits for a connection that turns out to be of HTTP/1.1 makes no other to find that out as well.
#[tokio::test]
async fn that_it_is_http1_is_found_out_once() {
    let (server, client_config) = secure::configs(&["http/1.1"]);
    let (builder, mut wires) = wires();
    let client = builder.tls(client_config).lazy("https://localhost").unwrap();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.offers_http2().await })
        })
        .collect();
    let transport = wires.next().await;
    // By now all have asked.
    tokio::task::yield_now().await;
    // The client leaves as soon as it knows.
    secure::accept(&server, transport).await.ok();
    for offers in asked {
        assert!(!within(offers).await.unwrap().unwrap());
    }
    assert_eq!(wires.waiting(), 0);
}

#[tokio::test]
async fn http2_only_is_not_offered() {
    for (protocols, offers, why) in
        [(&["h2"][..], false, "RFC 8441"), (&["http/1.1"], true, "ALPN"), (&["spdy/3"], true, "ALPN")]
    {
        let (running, builder) = secure(protocols, offers).await;
        let error = connect(&builder.http2_only(), &running).await.unwrap_err();
        assert!(matches!(error, Error::NotOffered(_)), "{protocols:?}: {error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!((error.fault(), error.is_retryable()), (Fault::Peer, false));
    }
}

#[tokio::test]
async fn http1_only_offers_nothing_else() {
    let (running, builder) = secure(&["h2", "http/1.1"], true).await;
    let client = connect(&builder.http1_only(), &running).await.unwrap();
    assert_eq!(open(&client, 2).await, Version::HTTP_11);
    assert_eq!(running.handle.counter(Counter::Connections), 2);
}

/// RFC 9113 §7: HTTP_1_1_REQUIRED is heeded, at once and from then on.
#[tokio::test]
async fn http1_may_be_required() {
    const HTTP_1_1_REQUIRED: u32 = 0xD;
    let (server, client_config) = secure::configs(&["h2", "http/1.1"]);
    let (builder, mut wires) = wires();
    let builder = builder.tls(client_config);
    let serving = async {
        let mut peer = Peer::accept(secure::accept(&server, wires.next().await).await.unwrap()).await;
        let id = peer.request().await;
        peer.reset(id, HTTP_1_1_REQUIRED).await;
        assert!(!peer.rest().await.is_empty(), "the connection ends by GOAWAY: nothing will come of it");
        for _ in 0..2 {
            let mut transport = secure::accept(&server, wires.next().await).await.unwrap();
            assert_eq!(transport.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let request = http1_request(&mut transport).await;
            transport.write_all(http1_acceptance(&request).as_bytes()).await.unwrap();
            transport.read_u8().await.ok();
        }
    };
    let opening = async {
        let client = builder.connect("wss://localhost").await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.open("/").await.unwrap().version(), Version::HTTP_11);
        }
        let why = client.fell_back().unwrap();
        assert!(matches!(*why, Error::Reset { reason: Reason::HTTP_1_1_REQUIRED, .. }), "{why}");
    };
    within(async { tokio::join!(serving, opening) }).await;
}

/// What was learnt about an origin holds for an hour.
#[tokio::test(start_paused = true)]
async fn an_origin_is_asked_again() {
    let (server, client_config) = secure::configs(&["h2", "http/1.1"]);
    let (builder, mut wires) = wires();
    let builder = builder.tls(client_config);
    let chosen = async |builder: &ClientBuilder, wires: &mut Wires| {
        let serving = async {
            let transport = secure::accept(&server, wires.next().await).await.unwrap();
            let chosen = transport.get_ref().1.alpn_protocol().unwrap().to_vec();
            if chosen == b"h2" {
                Peer::accept_with(transport, &[]).await.rest().await;
            }
            chosen
        };
        let (connected, chosen) = within(async { tokio::join!(builder.connect("wss://localhost"), serving) }).await;
        connected.unwrap();
        chosen
    };
    assert_eq!(chosen(&builder, &mut wires).await, b"h2");
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(chosen(&builder, &mut wires).await, b"http/1.1");
    tokio::time::sleep(Duration::from_secs(101)).await;
    assert_eq!(chosen(&builder, &mut wires).await, b"h2");
}

/// RFC 9113 §7: the same for a client that may not.
#[tokio::test]
async fn http1_required_is_an_error_for_http2_only() {
    let (builder, mut wires) = http2();
    let serving = async {
        let mut peer = wires.peer().await;
        let id = peer.request().await;
        peer.reset(id, 0xD).await;
        peer
    };
    let opening = async { builder.connect(URL).await.unwrap().open("/").await };
    let (_, opened) = within(async { tokio::join!(serving, opening) }).await;
    assert!(matches!(opened, Err(Error::Reset { reason: Reason::HTTP_1_1_REQUIRED, by: Side::Server })), "{opened:?}");
}

/// RFC 9113 §3.4: the client may not go by what it has not heard yet.
#[tokio::test(start_paused = true)]
async fn settings_are_waited_for() {
    let (builder, mut wires) = http2();
    let serving = async {
        let mut peer = Peer::start(wires.next().await).await;
        // In pieces, some seconds apart.
        for piece in [&b"\0\0\x06\x04"[..], b"\0\0\0\0\0\0\x08", b"\0\0\0\x01"] {
            tokio::time::sleep(Duration::from_secs(3)).await;
            peer.send_octets(piece).await;
        }
        let id = peer.request().await;
        peer.respond(id, STATUS_200).await;
        peer
    };
    let opening = async { builder.connect(URL).await.unwrap().open("/").await.unwrap() };
    let (_peer, socket) = within(async { tokio::join!(serving, opening) }).await;
    assert_eq!(socket.version(), Version::HTTP_2);
}

/// RFC 8441 §3 lets a server offer it later; a client that waited for that would wait for ever with all others.
#[tokio::test(start_paused = true)]
async fn the_first_settings_decide() {
    let (builder, mut wires) = http2();
    let serving = async {
        let mut peer = Peer::accept_with(wires.next().await, &[]).await;
        peer.settings(&[OFFER]).await;
        peer
    };
    let connecting = builder.connect(URL);
    let (_peer, connected) = within(async { tokio::join!(serving, connecting) }).await;
    assert!(matches!(connected, Err(Error::NotOffered(_))), "{connected:?}");
}

/// RFC 8446 §5.1: the first octets tell, whichever version is spoken.
#[tokio::test(start_paused = true)]
async fn the_scheme_may_be_wrong() {
    for (builder, mut wires) in [wires(), http2()] {
        let serving = async {
            let mut transport = wires.next().await;
            transport.read_u8().await.unwrap();
            transport.write_all(b"\x15\x03\x03\0\x02\x02\x46").await.unwrap();
        };
        let opening = async { builder.connect(URL).await?.open("/").await };
        let ((), opened) = within(async { tokio::join!(serving, opening) }).await;
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::NotOffered(Missing::Cleartext)), "{error:?}");
    }
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\0\0\0\x04\0\0\0\0\0"] {
        let (builder, mut wires) = wires();
        let (_, config) = secure::configs(&[]);
        let builder = builder.tls(config);
        let serving = async {
            let mut transport = wires.next().await;
            transport.read_u8().await.unwrap();
            transport.write_all(answer).await.unwrap();
        };
        let ((), connected) = within(async { tokio::join!(serving, builder.connect("wss://localhost")) }).await;
        let error = connected.unwrap_err();
        assert!(matches!(error, Error::NotOffered(Missing::Tls)), "{error:?}");
    }
}

/// RFC 9113 §3.3: prior knowledge that is wrong shows at the first octets, whether the server then goes away or not.
#[tokio::test(start_paused = true)]
async fn prior_knowledge_may_be_wrong() {
    for stays in [false, true] {
        let (builder, mut wires) = http2();
        let serving = async {
            let mut transport = wires.next().await;
            transport.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
            stays.then_some(transport)
        };
        let start = Instant::now();
        let connecting = builder.connect(URL);
        let (_stays, connected) = within(async { tokio::join!(serving, connecting) }).await;
        let error = connected.unwrap_err();
        assert!(matches!(error, Error::NotOffered(_)), "{error:?}");
        assert!(error.to_string().contains("first octets"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "it was found out before the time was up");
    }
}
