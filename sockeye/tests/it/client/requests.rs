//! What a client says in its handshakes, and what it refuses to say.

use http::header::{AUTHORIZATION, ORIGIN, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, Version, request};
use sockeye::{Client, ClientBuilder, Error, Fault, Server, SocketOptions, WebSocket};
use tokio::sync::mpsc;

use crate::common::{Running, hand_over, start, within};

/// A server that gives its sockets to the test, whose requests are what is looked at.
async fn server() -> (Running, mpsc::UnboundedReceiver<WebSocket>) {
    let (service, sockets) = hand_over();
    (start(Server::new(), service.options(SocketOptions::new().origins(sockeye::OriginPolicy::Any))).await, sockets)
}

/// A builder for each version, in cleartext.
fn both() -> [(Version, ClientBuilder); 2] {
    [(Version::HTTP_11, Client::builder().http1_only()), (Version::HTTP_2, Client::builder().http2_only())]
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// The head of a request as it came, and as the client's own socket shows it.
async fn heads(socket: WebSocket, sockets: &mut mpsc::UnboundedReceiver<WebSocket>) -> [request::Parts; 2] {
    let theirs = within(sockets.recv()).await.unwrap();
    [theirs.request().clone(), socket.request().clone()]
}

#[tokio::test]
async fn fields_of_the_client_and_of_the_socket_are_sent() {
    let (running, mut sockets) = server().await;
    for (version, builder) in both() {
        let builder = builder.header("user-agent", "dashboard/1.0").header("x-many", "of the client");
        let client = builder.connect(&format!("ws://{}", running.addr)).await.unwrap();
        let opening =
            client.open("/chat?room=1&name=%20x").header("x-many", "of the socket").origin("https://a.example");
        let socket = within(opening.origin("https://b.example").into_future()).await.unwrap();
        for head in heads(socket, &mut sockets).await {
            assert_eq!(head.version, version);
            assert_eq!(head.uri.path_and_query().unwrap(), "/chat?room=1&name=%20x");
            assert_eq!(head.headers[USER_AGENT], "dashboard/1.0");
            assert_eq!(all(&head.headers, "x-many"), ["of the client", "of the socket"]);
            assert_eq!(all(&head.headers, ORIGIN.as_str()), ["https://b.example"], "the last one said");
            assert_eq!(head.headers["sec-websocket-version"], "13");
        }
        // RFC 6454 §7: a client that is no browser names none.
        let socket = within(client.open("").into_future()).await.unwrap();
        for head in heads(socket, &mut sockets).await {
            assert_eq!(head.uri.path_and_query().unwrap(), "/");
            assert!(!head.headers.contains_key(ORIGIN) && !head.headers.contains_key(PROXY_AUTHORIZATION));
        }
    }
}

/// RFC 7617 §2; RFC 3986 §2.1: what stands in escapes is what is meant.
#[tokio::test]
async fn user_information_becomes_basic_authorization() {
    let (running, mut sockets) = server().await;
    for (_, builder) in both() {
        let url = format!("ws://us%40er:pa%3Ass%C3%A9@{}", running.addr);
        // What the URL says comes before what is said of every URL.
        let client = builder.header("authorization", "Bearer of another").connect(&url).await.unwrap();
        let socket = within(client.open("/").into_future()).await.unwrap();
        let [theirs, ours] = heads(socket, &mut sockets).await;
        assert_eq!(all(&theirs.headers, "authorization"), ["Basic dXNAZXI6cGE6c3PDqQ=="]);
        assert!(ours.headers[AUTHORIZATION].is_sensitive(), "no log shows it, and HPACK keeps it out of its table");
        assert!(!format!("{client:?} {ours:?}").contains("dXNA"), "it is not printed");
        let socket = within(builder_of_one(&running.addr.to_string()).into_future()).await.unwrap();
        let [theirs, _] = heads(socket, &mut sockets).await;
        assert_eq!(all(&theirs.headers, "authorization"), ["Basic dTo="], "without a password");
    }
}

fn builder_of_one(authority: &str) -> sockeye::Open {
    sockeye::connect(&format!("ws://u@{authority}/"))
}

/// RFC 6455 §1.9
#[tokio::test]
async fn subprotocols_are_offered_in_their_order() {
    let (service, mut sockets) = hand_over();
    let running = start(Server::new(), service.protocols(["b", "c"])).await;
    for (_, builder) in both() {
        let client = builder.connect(&format!("ws://{}", running.addr)).await.unwrap();
        let socket = within(client.open("/").protocols(["a", "c", "b"]).into_future()).await.unwrap();
        assert_eq!(socket.protocol(), Some("c"));
        let [theirs, _] = heads(socket, &mut sockets).await;
        assert_eq!(theirs.headers["sec-websocket-protocol"], "a, c, b");
        let socket = within(client.open("/").protocols(["x"]).into_future()).await.unwrap();
        assert_eq!(socket.protocol(), None);
        drop(heads(socket, &mut sockets).await);
    }
}

/// An URL of the client's origin may stand for a path.
#[tokio::test]
async fn a_socket_may_be_named_by_its_url() {
    let (running, mut sockets) = server().await;
    let client = Client::connect(&format!("http://{}", running.addr)).await.unwrap();
    for url in [format!("ws://{}/chat", running.addr), format!("HTTP://{}/chat", running.addr)] {
        let socket = within(client.open(&url).into_future()).await.unwrap();
        let [theirs, _] = heads(socket, &mut sockets).await;
        assert_eq!(theirs.uri.path(), "/chat");
    }
}

/// The caller's fault, with a text that says what to do.
#[track_caller]
fn check<T>(result: sockeye::Result<T>, says: &str) {
    let Err(error) = result else { panic!("{says}: nothing went wrong") };
    let Error::Invalid(why) = &error else { panic!("{says}: {error:?}") };
    assert!(why.to_string().contains(says), "{why} in place of {says}");
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Caller, false));
}

#[tokio::test]
async fn wrong_urls_say_why() {
    for (url, says) in [
        ("example.com", "begins with none of wss://, ws://, https:// and http://"),
        ("ftp://example.com", "begins with none of"),
        ("wss://example.com/#top", "write # as %23"),
        ("wss://exa mple.com", "is no URL"),
        ("wss://example.com:70000", "port above 65535"),
        ("wss://a%3Ab:c@example.com", "may not hold a colon"),
        ("", "is no URL"),
    ] {
        check(Client::connect(url).await, says);
        check(sockeye::connect(url).await, says);
    }
}

#[tokio::test]
async fn wrong_settings_say_why() {
    let (running, _sockets) = server().await;
    let url = format!("ws://{}", running.addr);
    let builder = Client::builder();
    for (builder, says) in [
        (builder.clone().header("x y", "z").header("a", "\n"), "\"x y\" is no name of a header field"),
        (builder.clone().header("cookie", "a\r\nhost: evil"), "not a value for the header field cookie"),
        (builder.clone().proxy("https://localhost"), "by http://"),
        (builder.clone().proxy("localhost:3128"), "begins with none of"),
    ] {
        check(builder.connect(&url).await, says);
        check(builder.open(&url).await, says);
    }
    for (_, builder) in both() {
        // Fields of the handshake's own are known as such when it is made.
        let client = builder.clone().header("upgrade", "h2c").connect(&url).await.unwrap();
        check(client.open("/").await, "writes the header field upgrade itself");
        let client = builder.connect(&url).await.unwrap();
        check(client.open("/").header("sec-websocket-accept", "mine").await, "sec-websocket-accept itself");
        check(client.open("/").header("a b", "c").header("d e", "f").await, "\"a b\" is no name");
        check(client.open("/").origin("\u{7F}").await, "not a value for the header field origin");
        check(client.open("/").protocols(["a", "a"]).await, "distinct");
        check(client.open("/").protocols(["two words"]).await, "tokens");
        check(client.open("chat").await, "neither an URL nor a path that begins with /");
        check(client.open("/#top").await, "write # as %23");
        check(client.open("ws://example.org/").await, "is not of the client's origin");
        check(client.open(&url.replace("://", "://me@")).await, "user information belongs in the URL");
        assert!(client.handle().connections().len() <= 1, "nothing was asked for");
    }
}
