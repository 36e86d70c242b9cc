//! A client that is told to send a Sec-WebSocket-Key over HTTP/2.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use sockeye::{Body, BoxError, Client, ClientBuilder, Error, Result, Server, SocketOptions, WebSocket, websocket};
use sockeye_proto::ws::handshake::ResponseError;
use tower::{Service, service_fn};

use super::peer::{STATUS_200, connect, http2};
use crate::common::{Running, echo, start, within};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A server, and the keys that came to it.
async fn server() -> (Running, Arc<Mutex<Vec<Option<String>>>>) {
    let keys: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let heard = keys.clone();
    let service = service_fn(move |request: Request<Body>| {
        let key = request.headers().get("sec-websocket-key").map(|key| key.to_str().unwrap().to_owned());
        heard.lock().unwrap().push(key);
        let response = websocket(echo).call(request);
        async move { Ok::<Response<Body>, BoxError>(response.await?) }
    });
    (start(Server::new(), service).await, keys)
}

async fn open(builder: ClientBuilder, running: &Running) -> Result<WebSocket> {
    within(builder.open(&format!("ws://{}/", running.addr)).into_future()).await
}

/// RFC 8441 §5: never by itself; a random one for each socket where it is told to, or the caller's own.
#[tokio::test]
async fn a_key_goes_over_http2_where_it_is_asked_for() {
    let (running, keys) = server().await;
    let builder = || Client::builder().http2_only();
    open(builder(), &running).await.unwrap();
    for _ in 0..2 {
        let socket = open(builder().options(SocketOptions::new().send_key()), &running).await.unwrap();
        assert!(socket.response().unwrap().headers.contains_key("sec-websocket-accept"));
    }
    let url = format!("ws://{}/", running.addr);
    within(builder().open(&url).options(SocketOptions::new().send_key()).into_future()).await.unwrap();
    within(
        builder().open(&url).header("sec-websocket-key", KEY).options(SocketOptions::new().send_key()).into_future(),
    )
    .await
    .unwrap();
    let keys = keys.lock().unwrap();
    assert_eq!((keys[0].as_deref(), keys[4].as_deref()), (None, Some(KEY)));
    assert_eq!(keys[1..4].iter().flatten().filter(|key| key.len() == 24).count(), 3);
    assert!(keys[1] != keys[2] && keys[2] != keys[3], "{keys:?}");
}

/// RFC 6455 §4.1: over HTTP/1.1 the handshake has its own, once; a caller's would be a second.
#[tokio::test]
async fn over_http1_the_key_is_the_handshakes_own() {
    let (running, keys) = server().await;
    open(Client::builder().http1_only().options(SocketOptions::new().send_key()), &running).await.unwrap();
    assert_eq!(keys.lock().unwrap().len(), 1);
    let error = open(Client::builder().http1_only().header("sec-websocket-key", KEY), &running).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(why) if why.to_string().contains("sec-websocket-key itself")), "{error:?}");
    for builder in [Client::builder().http1_only(), Client::builder().http2_only()] {
        let error = open(builder.header("sec-websocket-key", "mine"), &running).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(why) if why.to_string().contains("16 octets")), "{error:?}");
    }
    assert_eq!(keys.lock().unwrap().len(), 1, "nothing was asked");
}

/// With a key sent, a wrong accept is no answer; none at all is what RFC 8441 §5 knows. Without a key a stray one is ignored.
#[tokio::test(start_paused = true)]
async fn an_accept_may_be_missing_but_not_wrong() {
    let right = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    for (key, accept, opens) in [
        (Some(KEY), Some(right), true),
        (Some(KEY), None, true),
        (Some(KEY), Some("wrong"), false),
        (None, Some("wrong"), true),
    ] {
        let (builder, mut wires) = http2();
        let (client, mut peer) = connect(&builder, &mut wires).await;
        let serving = async {
            let id = peer.request().await;
            let accept = accept.map_or(Vec::new(), |accept| {
                let (name, length) = ("sec-websocket-accept", accept.len() as u8);
                [&[0, name.len() as u8], name.as_bytes(), &[length], accept.as_bytes()].concat()
            });
            peer.respond(id, &[STATUS_200, &accept].concat()).await;
        };
        let mut open = client.open("/");
        if let Some(key) = key {
            open = open.header("sec-websocket-key", key);
        }
        let (opened, ()) = within(async { tokio::join!(open.into_future(), serving) }).await;
        match opened {
            Ok(_) => assert!(opens, "{key:?} {accept:?}"),
            Err(Error::Handshake(error)) => {
                assert!(!opens, "{key:?} {accept:?}");
                assert_eq!(error.downcast_ref(), Some(&ResponseError::Accept));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}
