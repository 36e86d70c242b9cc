//! One set of options, wherever a socket is opened or accepted.

use std::future::IntoFuture as _;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, Request, Response};
use sockeye::socket::Violation as Rule;
use sockeye::{Body, BoxError, Client, ClientBuilder, Error, Server, SocketOptions, Upgrade, WebSocket, websocket};
use tower::service_fn;

use crate::common::{Running, echo, start, within};

fn builders() -> [ClientBuilder; 2] {
    [Client::builder().http1_only(), Client::builder().http2_only()]
}

async fn open(builder: &ClientBuilder, running: &Running) -> sockeye::Result<WebSocket> {
    within(builder.open(&format!("ws://{}/", running.addr)).into_future()).await
}

/// A rule that a peer broke, or the limit that it passed, is told by its type.
fn rule(error: &Error) -> Option<Rule> {
    match error {
        Error::Violation(sockeye::error::Violation::WebSocket { violation, .. }) => Some(*violation),
        _ => None,
    }
}

/// RFC 6455 §4.2.2: a server may insist on a subprotocol, of clients that offer another and of those that offer none.
#[tokio::test]
async fn a_required_subprotocol_is_required_of_all() {
    let options = SocketOptions::new().protocols(["chat"]).require_protocol();
    let running = start(Server::new(), websocket(echo).options(options)).await;
    for builder in builders() {
        for offered in [&[][..], &["other"]] {
            let offering = builder.clone().options(SocketOptions::new().protocols(offered.iter().copied()));
            let Err(Error::Refused(response)) = open(&offering, &running).await else { panic!("{offered:?}") };
            assert_eq!(response.status(), 400, "{offered:?}");
        }
        let offering = builder.options(SocketOptions::new().protocols(["other", "chat"]));
        assert_eq!(open(&offering, &running).await.unwrap().protocol(), Some("chat"));
    }
}

/// RFC 6455 §1.9: and so may a client.
#[tokio::test]
async fn a_client_may_require_a_subprotocol_too() {
    let running = start(Server::new(), websocket(echo)).await;
    for builder in builders() {
        let builder = builder.options(SocketOptions::new().protocols(["chat"]).require_protocol());
        let error = open(&builder, &running).await.unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
        assert!(error.to_string().contains("none of the subprotocols"), "{error}");
    }
}

/// What a builder says of all sockets holds for each, until it is said otherwise of one.
#[tokio::test]
async fn a_clients_options_hold_for_all_its_sockets() {
    let running = start(Server::new(), websocket(echo)).await;
    for builder in builders() {
        let builder = builder.options(SocketOptions::new().max_message_size(10));
        let client = within(builder.connect(&format!("ws://{}", running.addr))).await.unwrap();
        let mut small = within(client.open("/").into_future()).await.unwrap();
        small.send("more than ten octets").await.unwrap();
        let error = within(small.recv()).await.unwrap_err();
        assert_eq!(rule(&error), Some(Rule::MessageTooBig), "{error}");
        let mut large = within(client.open("/").max_message_size(100).into_future()).await.unwrap();
        large.send("more than ten octets").await.unwrap();
        assert_eq!(within(large.recv()).await.unwrap(), Some("more than ten octets".into()));
    }
}

/// An upgrade has the same options, and the fields of a response beside the handshake's own.
#[tokio::test]
async fn an_upgrade_has_options_and_fields_of_its_response() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let upgrade = Upgrade::from_request(&mut request)?
            .max_message_size(10)
            .header(SET_COOKIE, HeaderValue::from_static("a=1"))
            .header(SET_COOKIE, HeaderValue::from_static("b=2"))
            .header(HeaderName::from_static("sec-websocket-protocol"), HeaderValue::from_static("nonsense"));
        Ok::<Response<Body>, BoxError>(upgrade.accept(echo))
    });
    let running = start(Server::new(), service).await;
    for builder in builders() {
        let mut socket = open(&builder, &running).await.unwrap();
        let cookies: Vec<_> = socket.response().unwrap().headers.get_all(SET_COOKIE).iter().cloned().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(socket.protocol(), None);
        socket.send("more than ten octets").await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert_eq!(socket.close_frame().unwrap().code, 1009.into());
    }
}

/// One connection is ended by its number, and no other.
#[tokio::test]
async fn one_connection_can_be_ended() {
    let running = start(Server::new(), websocket(echo)).await;
    for builder in builders() {
        let mut first = open(&builder, &running).await.unwrap();
        let mut second = open(&builder, &running).await.unwrap();
        let connections = running.handle.connections();
        let [.., of_first, _] = &connections[..] else { panic!("{connections:?}") };
        assert!(running.handle.close_connection(of_first.id));
        assert_eq!(within(first.recv()).await.unwrap(), None);
        assert_eq!(first.close_frame().unwrap().code, 1001.into());
        second.send("still there").await.unwrap();
        assert_eq!(within(second.recv()).await.unwrap(), Some("still there".into()));
        drop((first, second));
    }
    assert!(!running.handle.close_connection(u64::MAX));
}

/// What waits for the end of a server hears of it, before and after.
#[tokio::test]
async fn the_end_of_a_server_can_be_waited_for() {
    for end in [sockeye::Handle::shutdown, |handle: &sockeye::Handle| handle.drain(Duration::ZERO)] {
        let server = Server::new();
        let handle = server.handle();
        let waiting = tokio::spawn(handle.ending());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        end(&handle);
        within(waiting).await.unwrap();
        within(handle.ending()).await;
    }
}
