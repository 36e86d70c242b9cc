//! What comes before an answer: 103 (Early Hints), and 100 (Continue) with the content that waits for it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockeye::Body;
use sockeye::server::Interim;
use sockeye_gateway::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{gateway, raw_upstream, read_head, soon, upstream};

const HINTS: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// RFC 9110 §15.2: a proxy passes on what is interim, without what belongs to a connection.
#[tokio::test]
async fn early_hints_reach_a_client_of_http1() {
    let (url, listener) = raw_upstream().await;
    let mut client = TcpStream::connect(gateway(&url, Protocol::Http1).await).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    upstream.write_all(HINTS).await.unwrap();
    let hints = soon(read_head(&mut client)).await;
    assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
    assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 200 "));
}

/// RFC 9110 §15.2: to HTTP/1.0 nothing interim may be sent.
#[tokio::test]
async fn early_hints_do_not_reach_a_client_of_http10() {
    let (url, listener) = raw_upstream().await;
    let mut client = TcpStream::connect(gateway(&url, Protocol::Http1).await).await.unwrap();
    client.write_all(b"GET / HTTP/1.0\r\nhost: x\r\n\r\n").await.unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    upstream.write_all(HINTS).await.unwrap();
    assert!(soon(read_head(&mut client)).await.contains(" 200 "));
}

/// RFC 9113 §8.1: HEADERS that do not end the stream, before those of the response.
#[tokio::test]
async fn early_hints_reach_a_client_of_http2() {
    let (url, listener) = raw_upstream().await;
    let client = TcpStream::connect(gateway(&url, Protocol::Http1).await).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/").body(()).unwrap();
    let (mut response, _) = sender.send_request(request, true).unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    let (hints, answer) = HINTS.split_at(HINTS.len() - 40);
    upstream.write_all(hints).await.unwrap();
    let hints = soon(std::future::poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!(hints.status(), StatusCode::EARLY_HINTS);
    assert_eq!(hints.headers()["link"], "</a.css>; rel=preload");
    assert!(!hints.headers().contains_key("x-hop"));
    upstream.write_all(answer).await.unwrap();
    assert_eq!(soon(response).await.unwrap().status(), StatusCode::OK);
}

/// RFC 9110 §10.1.1: the upstream decides whether the content comes, and the client's 100 is the upstream's.
#[tokio::test]
async fn content_waits_for_the_upstreams_100() {
    let (url, listener) = raw_upstream().await;
    let mut client = TcpStream::connect(gateway(&url, Protocol::Http1).await).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    let head = soon(read_head(&mut upstream)).await;
    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
    let mut some = [0; 100];
    timeout(Duration::from_millis(300), client.read(&mut some)).await.expect_err("nobody has asked for it");
    upstream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    assert_eq!(soon(read_head(&mut client)).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    let mut content = [0; 5];
    soon(upstream.read_exact(&mut content)).await.unwrap();
    assert_eq!(&content, b"hello");
    upstream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 204 "));
}

/// RFC 9110 §10.1.1: an upstream that says no has its say before any content comes, over either version of HTTP.
#[tokio::test]
async fn a_refusal_comes_in_place_of_a_100() {
    const REFUSAL: &[u8] = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    upstream.write_all(REFUSAL).await.unwrap();
    assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 413 "));

    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://x/").header("expect", "100-continue").body(()).unwrap();
    let (mut response, _content) = sender.send_request(request, false).unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    upstream.write_all(REFUSAL).await.unwrap();
    let interim = soon(std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    assert!(interim.is_none(), "{interim:?}");
    assert_eq!(soon(response).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// RFC 9110 §10.1.1: nobody waits for ever for a server that knows no 100.
#[tokio::test]
async fn an_upstream_that_knows_no_100_gets_the_content_all_the_same() {
    let (url, listener) = raw_upstream().await;
    let mut client = TcpStream::connect(gateway(&url, Protocol::Http1).await).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    soon(read_head(&mut upstream)).await;
    assert_eq!(soon(read_head(&mut client)).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    let mut content = [0; 5];
    soon(upstream.read_exact(&mut content)).await.unwrap();
}

/// Over HTTP/2 an upstream has the same say: its hints go on, its 100 asks for the content, and its refusal comes in place of one.
#[tokio::test]
async fn what_comes_before_an_answer_over_http2_goes_on() {
    let site = tower::service_fn(|request: Request<Body>| async move {
        let interim = Interim::of(&request).expect("it is a server of ours");
        interim.send(Response::builder().status(103).header("link", "</a>").body(()).unwrap()).unwrap();
        if request.uri().path() == "/no" {
            return Ok::<_, Infallible>(Response::builder().status(413).body(Body::empty()).unwrap());
        }
        let content = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(content.into()))
    });
    let gateway = gateway(&upstream(site).await, Protocol::Http2).await;
    for (path, status) in [("/yes", " 200 "), ("/no", " 413 ")] {
        let mut client = TcpStream::connect(gateway).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut interims = vec![soon(read_head(&mut client)).await];
        if path == "/yes" {
            interims.push(soon(read_head(&mut client)).await);
            client.write_all(b"hello").await.unwrap();
        }
        // One says nothing of the other, whichever comes first.
        interims.sort();
        let expected = ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"];
        assert_eq!(interims, expected[expected.len() - interims.len()..]);
        let answer = soon(read_head(&mut client)).await;
        assert!(answer.contains(status), "{answer}");
    }
}

/// A service of Sockeye's own: what it sends before its answer goes before it, and nothing after it, over either version.
#[tokio::test]
async fn a_service_sends_hints_before_its_answer_and_none_behind() {
    let site = tower::service_fn(|request: Request<Body>| async move {
        let interim = Interim::of(&request).expect("it is a server of ours");
        let hints = || Response::builder().status(103).header("link", "</a>; rel=preload").body(()).unwrap();
        assert!(interim.send(Response::builder().status(101).body(()).unwrap()).is_err());
        assert!(interim.send(Response::new(())).is_err());
        interim.send(hints()).unwrap();
        interim.send(hints()).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            interim.send(hints()).ok();
        });
        Ok::<_, Infallible>(Response::new(Body::from("hello")))
    });
    let url = upstream(site).await;
    let authority = url.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(authority).await.unwrap();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        for _ in 0..2 {
            let hints = soon(read_head(&mut client)).await;
            assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n");
        }
        assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 200 "));
        let mut content = [0; 5];
        soon(client.read_exact(&mut content)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let stream = TokioIo::new(TcpStream::connect(authority).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(&url).body(Full::<Bytes>::default()).unwrap();
    let response = soon(sender.send_request(request)).await.unwrap();
    assert_eq!(soon(response.collect()).await.unwrap().to_bytes(), "hello");
}
