//! The extractor for axum: used as axum's own, on our server and on axum's, over both versions of HTTP.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router, middleware};
use http::Version;
use sockeye::axum::{WebSocketUpgrade, WebSocketUpgradeRejection};
use sockeye::{Group, Message, OriginPolicy, Peer, Refusal, Server, SocketOptions, WebSocket};
use sockeye_proto::ws::handshake::Carrier::Http2;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::common::http::{Http, empty};
use crate::common::{Carrier, Client, Socket, echo, handshake, start, within};

/// The router on our server and on axum's.
async fn both(router: Router) -> [SocketAddr; 2] {
    let ours = start(Server::new(), router.clone()).await.addr;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    [ours, theirs]
}

/// All that a handler may extract, on both sides of the socket.
#[allow(clippy::too_many_arguments, reason = "it is what is tested")]
async fn all(
    State(room): State<Group>,
    Path(name): Path<String>,
    ConnectInfo(before): ConnectInfo<SocketAddr>,
    ws: WebSocketUpgrade,
    ConnectInfo(after): ConnectInfo<SocketAddr>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    assert_eq!(before, after);
    let user = headers[header::USER_AGENT].to_str().unwrap().to_owned();
    ws.protocols(["chat"]).on_upgrade(move |mut socket| async move {
        let _member = room.join(&socket)?;
        let said = format!("{name} {query:?} {user} {} {before}", uri.path());
        socket.send(said).await?;
        assert_eq!(socket.request().uri.path(), uri.path());
        assert_eq!(socket.request().headers[header::USER_AGENT], "test");
        socket.send(socket.protocol().unwrap_or_default().to_owned()).await?;
        echo(socket).await
    })
}

#[tokio::test]
async fn it_stands_beside_all_other_extractors() {
    let router = Router::new().route("/room/{name}", any(all)).with_state(Group::new());
    for addr in both(router).await {
        for carrier in Carrier::ALL {
            let mut asked = handshake("/room/blue?a=b");
            asked.protocols = vec!["other".into(), "chat".into()];
            asked.headers.insert(header::USER_AGENT, "test".parse().unwrap());
            let mut socket = Socket::open_with(carrier, addr, &asked).await;
            let said = socket.message().await;
            let said = said.as_text().unwrap();
            assert!(said.starts_with("blue [(\"a\", \"b\")] test /room/blue 127.0.0.1:"), "{carrier:?}: {said}");
            assert_eq!(socket.message().await, Message::from("chat"));
            socket.check_echo("hello").await;
        }
    }
}

/// Over HTTP/2 a socket's method is CONNECT (RFC 8441 §4), which a route of `get` does not take.
#[tokio::test]
async fn get_takes_http1_alone_and_any_takes_both() {
    let open = |ws: WebSocketUpgrade| async { ws.on_upgrade(echo) };
    let router = Router::new().route("/get", get(open)).route("/any", any(open));
    for addr in both(router).await {
        for (carrier, path, refused) in [
            (Carrier::Http1, "/get", None),
            (Carrier::Http1, "/any", None),
            (Carrier::Http2, "/get", Some(StatusCode::METHOD_NOT_ALLOWED)),
            (Carrier::Http2, "/any", None),
        ] {
            let opened = Socket::try_open(carrier, addr, &handshake(path)).await;
            assert_eq!(opened.as_ref().err(), refused.as_ref(), "{carrier:?} {path}");
            if let Ok(mut socket) = opened {
                socket.check_echo(vec![7; 100_000]).await;
            }
        }
    }
}

/// A connection of HTTP/1.1 that has answered other requests before.
#[tokio::test]
async fn a_later_request_of_a_connection_opens_a_socket() {
    let open = |ws: WebSocketUpgrade| async { ws.on_upgrade(echo) };
    let router = Router::new().route("/", any(open)).route("/page", get(|| async { "page" }));
    for addr in both(router).await {
        let mut transport = TcpStream::connect(addr).await.unwrap();
        transport.write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"page") {
            assert!(within(transport.read_buf(&mut answer)).await.unwrap() > 0);
        }
        let mut socket = Socket::upgrade(transport, &handshake("/")).await.unwrap_or_else(|status| panic!("{status}"));
        socket.check_echo("hello").await;
    }
}

#[tokio::test]
async fn its_limits_and_protocols_hold() {
    let open = |ws: WebSocketUpgrade| async {
        assert_eq!(ws.requested_protocols().collect::<Vec<_>>(), ["a", "b"]);
        let ws = ws.protocols(["b", "a"]);
        assert_eq!(ws.selected_protocol(), Some("a"));
        ws.max_message_size(1000).on_upgrade(echo)
    };
    for addr in both(Router::new().route("/", any(open))).await {
        for carrier in Carrier::ALL {
            let mut asked = handshake("/");
            asked.protocols = vec!["a".into(), "b".into()];
            let mut socket = Socket::open_with(carrier, addr, &asked).await;
            assert_eq!(socket.response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "a");
            socket.check_echo(vec![0; 1000]).await;
            socket.send(vec![0; 1001]).await;
            assert_eq!(socket.close_code().await, 1009, "{carrier:?}");
        }
    }
}

/// RFC 6455 §10.2
#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let router = Router::new().route("/same", any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) })).route(
        "/any",
        any(|ws: WebSocketUpgrade| async {
            ws.options(SocketOptions::new().origins(OriginPolicy::Any)).on_upgrade(echo)
        }),
    );
    for addr in both(router).await {
        for carrier in Carrier::ALL {
            for (path, refused) in [("/same", Some(StatusCode::FORBIDDEN)), ("/any", None)] {
                let mut asked = handshake(path);
                asked.headers.insert(header::ORIGIN, "https://elsewhere.example".parse().unwrap());
                let opened = Socket::try_open(carrier, addr, &asked).await;
                assert_eq!(opened.err(), refused, "{carrier:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_result_of_the_callback_closes_the_socket() {
    let router = Router::new()
        .route("/ok", any(|ws: WebSocketUpgrade| async { ws.on_upgrade(|_| async {}) }))
        .route("/error", any(|ws: WebSocketUpgrade| async { ws.on_upgrade(|_| async { Err("no") }) }));
    for addr in both(router).await {
        for carrier in Carrier::ALL {
            for (path, code) in [("/ok", 1000), ("/error", 1011)] {
                let mut socket = Socket::open_with(carrier, addr, &handshake(path)).await;
                assert_eq!(socket.close_code().await, code, "{carrier:?}");
            }
        }
    }
}

/// What is no handshake is told so, as by [`sockeye::websocket`].
#[tokio::test]
async fn rejections_say_what_to_change() {
    let router = Router::new().route("/", any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) }));
    for addr in both(router).await {
        for (version, status, refusal) in
            [(Version::HTTP_11, 426, Refusal::UpgradeRequired), (Version::HTTP_2, 405, Refusal::ConnectRequired)]
        {
            let answer = Http::connect(version, addr).await.get("/").await;
            assert_eq!(answer.head.status, status);
            assert_eq!(answer.content, format!("{refusal}\n"));
        }
        // RFC 6455 §4.4: a version that is not ours.
        let mut http1 = Http::connect(Version::HTTP_11, addr).await;
        let asked = http1.request("GET", "/").header("connection", "upgrade").header("upgrade", "websocket");
        let asked = asked.header("sec-websocket-version", "12").header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        let answer = http1.exchange(asked.body(empty()).unwrap()).await;
        assert_eq!(
            (answer.head.status.as_u16(), &answer.head.headers["sec-websocket-version"]),
            (400, &"13".parse().unwrap())
        );
        let client = Client::connect(addr).await;
        let mut asked = handshake("/").request(Http2).unwrap();
        asked.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, "12".parse().unwrap());
        let id = client.open(&asked, false).unwrap();
        let answer = within(client.response(id)).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["sec-websocket-version"]),
            (400, &"13".parse().unwrap())
        );
    }
}

/// One route for the page and its socket.
#[tokio::test]
async fn a_handler_may_answer_what_is_rejected() {
    let page_or_socket = |ws: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| async {
        match ws {
            Ok(ws) => ws.on_upgrade(echo),
            Err(rejection) => {
                (StatusCode::OK, format!("{} {:?}", rejection.status(), rejection.refusal())).into_response()
            }
        }
    };
    for addr in both(Router::new().route("/", any(page_or_socket))).await {
        for (carrier, told) in [
            (Carrier::Http1, "426 Upgrade Required Some(UpgradeRequired)"),
            (Carrier::Http2, "405 Method Not Allowed Some(ConnectRequired)"),
        ] {
            let answer = Http::connect(carrier.version(), addr).await.get("/").await;
            assert_eq!((answer.head.status.as_u16(), &answer.content[..]), (200, told.as_bytes()));
            Socket::open(carrier, addr).await.check_echo("hello").await;
        }
    }
}

/// There is one stream, and so one socket.
#[tokio::test]
async fn a_second_extractor_is_rejected() {
    let two = |first: WebSocketUpgrade, second: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| async {
        let rejection = second.unwrap_err();
        assert_eq!((rejection.status().as_u16(), rejection.refusal()), (426, None));
        first.on_upgrade(echo)
    };
    for addr in both(Router::new().route("/", any(two))).await {
        for carrier in Carrier::ALL {
            Socket::open(carrier, addr).await.check_echo("hello").await;
        }
    }
}

/// Neither a handler that answers otherwise nor a middleware that does lets the callback run.
#[tokio::test]
async fn a_callback_whose_response_is_not_sent_is_dropped() {
    let (began, mut beginnings) = mpsc::unbounded_channel::<()>();
    let open =
        move |ws: WebSocketUpgrade| async move { ws.on_upgrade(move |_| async move { began.send(()).unwrap() }) };
    let forbid = middleware::map_response(|_: Response| async { StatusCode::FORBIDDEN });
    let running = start(Server::new(), Router::new().route("/", any(open)).layer(forbid)).await;
    for carrier in Carrier::ALL {
        let opened = Socket::try_open(carrier, running.addr, &handshake("/")).await;
        assert_eq!(opened.err(), Some(StatusCode::FORBIDDEN));
    }
    running.handle.shutdown();
    within(running.task).await.unwrap().unwrap();
    assert!(beginnings.recv().await.is_none(), "a callback ran");
}

/// Of ordinary requests as well, and nothing else is needed; the socket keeps nothing of it.
#[tokio::test]
async fn our_server_says_who_the_client_is() {
    let who = |ConnectInfo(addr): ConnectInfo<SocketAddr>, Extension(peer): Extension<Peer>| async move {
        assert_eq!(peer.addr(), Some(addr));
        addr.to_string()
    };
    let open = |ws: WebSocketUpgrade, Extension(peer): Extension<Peer>, request: Request| async move {
        assert!(request.extensions().get::<ConnectInfo<SocketAddr>>().is_some());
        ws.on_upgrade(move |mut socket: WebSocket| async move {
            assert_eq!(socket.peer_addr(), peer.addr());
            assert!(socket.request().extensions.is_empty());
            socket.send(peer.connection().to_string()).await
        })
    };
    let router = Router::new().route("/", get(who)).route("/ws", any(open));
    let running = start(Server::new(), router).await;
    for carrier in Carrier::ALL {
        let transport = TcpStream::connect(running.addr).await.unwrap();
        let ours = transport.local_addr().unwrap().to_string();
        assert_eq!(Http::over(carrier.version(), transport).await.get("/").await.content, ours);
        let mut socket = Socket::open_with(carrier, running.addr, &handshake("/ws")).await;
        assert!(socket.message().await.as_text().unwrap().parse::<u64>().is_ok());
    }
}
