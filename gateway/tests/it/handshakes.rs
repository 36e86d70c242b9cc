//! What of a handshake crosses, and what an upstream may answer.

use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::BodyExt as _;
use sockeye::client::TunnelAnswer;
use sockeye::{Client, Error, websocket};
use sockeye_gateway::{Config, Protocol};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{
    Place, accept, client, echo, field, gateway, gateway_of, raw_upstream, read_head, soon, take_socket, upstream,
};

async fn ask(client: &Client, fields: &[(&'static str, &'static str)]) -> TunnelAnswer {
    let mut request = Request::get("http://example.com/chat?a=b").header("sec-websocket-version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    soon(client.tunnel(request.body(()).unwrap())).await.unwrap()
}

async fn refused(client: &Client) -> (StatusCode, HeaderMap, String) {
    match ask(client, &[("sec-websocket-protocol", "chat"), ("sec-websocket-extensions", "permessage-deflate")]).await {
        TunnelAnswer::Refused(response) => {
            let (parts, body) = response.into_parts();
            let body = soon(body.collect()).await.unwrap().to_bytes();
            (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
        }
        answer => panic!("{answer:?}"),
    }
}

/// Answers one handshake with these octets, in which ACCEPT stands for what the key asks for.
async fn answer_once(listener: TcpListener, answer: &'static str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut stream).await;
    let answer = answer.replace("ACCEPT", &accept(&head));
    stream.write_all(answer.as_bytes()).await.unwrap();
    std::future::pending::<()>().await;
}

/// RFC 6455 §4.1: a key of its own, new each time; the client's own does not cross, nor does what no hop could keep.
#[tokio::test]
async fn the_upstreams_handshake_is_the_gateways_own() {
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let client = client(gateway, Version::HTTP_2);
    let fields = [
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("sec-websocket-extensions", "no-masking, permessage-deflate; client_max_window_bits"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("origin", "https://example.com"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("expect", "100-continue"),
    ];
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (answer, (head, _stream)) = tokio::join!(ask(&client, &fields), take_socket(&listener));
        let TunnelAnswer::Opened(response, _tunnel) = answer else { panic!("{answer:?}") };
        // RFC 8441 §5: no more of the handshake than what answers the client's own key.
        assert_eq!(response.headers()["sec-websocket-accept"], "ICX+Yqv66kxgM0FcWaLWlFLwTAI=");
        assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
        assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "sec-websocket-extensions"), Some("permessage-deflate; client_max_window_bits"));
        assert_eq!(field(&head, "sec-websocket-protocol"), Some("chat, superchat"));
        assert_eq!(field(&head, "origin"), Some("https://example.com"));
        assert_eq!(field(&head, "cookie"), Some("a=1; b=2"));
        assert_eq!(field(&head, "host"), url.strip_prefix("http://"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("example.com"));
        // RFC 9110 §10.1: they are for content, which a handshake has none of; and `Connection` would have to name the second.
        assert_eq!((field(&head, "expect"), field(&head, "te")), (None, None));
        keys.push(field(&head, "sec-websocket-key").unwrap().to_owned());
    }
    assert!(keys[0] != keys[1] && !keys.contains(&"AAAAAAAAAAAAAAAAAAAAAA==".to_owned()), "{keys:?}");
}

/// RFC 7239 §5.2: an upstream learns who opens a socket, as it does of any request, whatever was asked on that connection before.
#[tokio::test]
async fn an_upstream_is_told_who_opens_a_socket() {
    const HANDSHAKE: &[u8] =
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                               sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let told = |head: &str| {
        assert_eq!(field(head, "x-forwarded-for"), Some("127.0.0.1"), "{head}");
        assert!(field(head, "forwarded").is_some_and(|value| value.starts_with("for=127.0.0.1;")), "{head}");
    };
    let client = client(gateway, Version::HTTP_2);
    let (_answer, (head, _stream)) = tokio::join!(ask(&client, &[]), take_socket(&listener));
    told(&head);
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    told(&take_socket(&listener).await.0);
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let (mut first, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut first)).await;
    first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    soon(read_head(&mut client)).await;
    client.write_all(HANDSHAKE).await.unwrap();
    told(&take_socket(&listener).await.0);
}

/// RFC 6455 §4.1: each rule of a 101, and that nothing else opens a socket.
#[tokio::test]
async fn an_answer_that_breaks_a_rule_is_502() {
    let rows = [
        ("HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n", "Accept"),
        ("HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "without Sec-WebSocket-Accept"),
        ("HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\nsec-websocket-accept: ACCEPT\r\n\r\n", "Upgrade"),
        (
            "HTTP/1.1 101 X\r\nupgrade: websocket, foo\r\nconnection: upgrade\r\nsec-websocket-accept: ACCEPT\r\n\r\n",
            "nothing else",
        ),
        (
            "HTTP/1.0 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ACCEPT\r\n\r\n",
            "HTTP/1.0",
        ),
        (
            "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: close\r\nsec-websocket-accept: ACCEPT\r\n\r\n",
            "Connection",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "opens no socket"),
        (
            "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ACCEPT\r\nsec-websocket-protocol: other\r\n\r\n",
            "not offered",
        ),
        (
            "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ACCEPT\r\nsec-websocket-extensions: no-masking\r\n\r\n",
            "not offered",
        ),
        ("nonsense\r\n\r\n", "no answer"),
    ];
    for (answer, why) in rows {
        let (url, listener) = raw_upstream().await;
        let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
        tokio::spawn(answer_once(listener, answer));
        let (status, fields, body) = refused(&client).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}: {body}");
        assert!(body.contains(why) && body.contains(&url), "{answer}: {body}");
        // Firefox ends the whole connection over one.
        assert!(!fields.contains_key("content-type"));
    }
}

/// An upstream's own no reaches the client as it is, over either version of HTTP.
#[tokio::test]
async fn a_refusal_reaches_the_client_whole() {
    const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\nx-why: because\r\ncontent-length: 7\r\nconnection: close\r\n\r\nnot you";
    let (url, listener) = raw_upstream().await;
    let http2 = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    tokio::spawn(answer_once(listener, REFUSAL));
    let (status, fields, body) = refused(&http2).await;
    assert_eq!(
        (status, body.as_str(), &fields["x-why"]),
        (StatusCode::FORBIDDEN, "not you", &"because".parse().unwrap())
    );
    assert!(!fields.contains_key("content-type") && !fields.contains_key("connection"));

    let (url, listener) = raw_upstream().await;
    let http1 = client(gateway(&url, Protocol::Http1).await, Version::HTTP_11);
    tokio::spawn(answer_once(listener, REFUSAL));
    let Err(Error::Refused(response)) = soon(http1.open("/")).await else { panic!("refused") };
    assert_eq!((response.status(), &response.body()[..]), (StatusCode::FORBIDDEN, &b"not you"[..]));
    assert_eq!(response.headers()["content-type"], "text/html");
}

/// Nobody is there: 502, and the sentence says who and what to do.
#[tokio::test]
async fn an_upstream_that_is_down_is_502_until_it_is_back() {
    let place = Place::new();
    let url = place.url();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let client = client(gateway(&url, protocol).await, Version::HTTP_2);
        let (status, _, body) = refused(&client).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(body.contains(&url) && body.contains("running"), "{protocol}: {body}");
    }
    let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    refused(&client).await;
    let listener = TcpListener::from_std(place.listen()).unwrap();
    let (answer, _) = tokio::join!(ask(&client, &[]), take_socket(&listener));
    assert!(matches!(answer, TunnelAnswer::Opened(..)), "{answer:?}");
}

/// A handshake that nobody has seen goes on until an upstream takes it.
#[tokio::test]
async fn a_handshake_passes_by_all_upstreams_that_are_down() {
    let (down, too) = (Place::new(), Place::new());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut config = Config::to(down.url());
        config.all.upstream.extend([too.url(), upstream(websocket(echo)).await]);
        config.all.to = Some(protocol.to_string());
        let client = client(gateway_of(&config).await.0, Version::HTTP_2);
        for _ in 0..6 {
            soon(client.open("/")).await.unwrap();
        }
    }
}

/// RFC 8441 §3: an upstream that speaks HTTP/2 and does not offer the extended CONNECT gets its WebSockets over HTTP/1.1, and is not
/// asked for each of them.
#[tokio::test]
async fn without_extended_connect_sockets_go_over_http1() {
    let (url, listener) = raw_upstream().await;
    let client = client(gateway(&url, Protocol::Http2).await, Version::HTTP_2);
    let upstream = async {
        let (mut http2, _) = listener.accept().await.unwrap();
        // RFC 9113 §6.5: SETTINGS of nothing.
        http2.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let first = take_socket(&listener).await;
        (first, take_socket(&listener).await)
    };
    let sockets = async { (ask(&client, &[]).await, ask(&client, &[]).await) };
    let ((first, second), _upstream) = tokio::join!(sockets, upstream);
    assert!(matches!((&first, &second), (TunnelAnswer::Opened(..), TunnelAnswer::Opened(..))), "{first:?}, {second:?}");
}
