//! The Host of ordinary requests over HTTP/1.1 (RFC 9112 §3.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use sockeye::{Body, BoxError, Server};
use tower::service_fn;

use crate::common::{Running, start};
use crate::http1::{Wire, status};

/// A server that says which host it was asked for, and how many requests reached its service.
async fn serve() -> (Running, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let in_service = visits.clone();
    let service = service_fn(move |request: Request<Body>| {
        in_service.fetch_add(1, Ordering::Relaxed);
        let target = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned()).unwrap_or_default();
        async move { Ok::<_, BoxError>(Response::new(Body::from(format!("<{target}|{host}>")))) }
    });
    (start(Server::new(), service).await, visits)
}

async fn ask(running: &Running, head: &str) -> String {
    let mut wire = Wire::connect(running.addr).await;
    wire.send(head.replace('\n', "\r\n").as_bytes()).await;
    wire.answer().await
}

/// RFC 9112 §3.2: none, two, or one that is no host and port; §3.2.3: a host in place of a path.
#[tokio::test]
async fn a_wrong_host_is_answered_400() {
    let (running, visits) = serve().await;
    let heads = [
        "GET / HTTP/1.1\n\n",
        "GET http://example.com/ HTTP/1.1\n\n",
        "OPTIONS * HTTP/1.1\n\n",
        "GET example.com HTTP/1.1\nhost: example.com\n\n",
        "GET example.com:80 HTTP/1.1\nhost: example.com:80\n\n",
        "CONNECT example.com:443 HTTP/1.1\n\n",
        "GET / HTTP/1.1\nhost: example.com\nhost: example.com\n\n",
        "GET / HTTP/1.1\nhost: example.com\nHOST: other.example\n\n",
        "GET / HTTP/1.0\nhost: example.com\nhost: example.com\n\n",
        "GET / HTTP/1.0\nhost: a b\n\n",
        "GET / HTTP/1.1\nhost: user@example.com\n\n",
        "GET / HTTP/1.1\nhost: user:password@example.com\n\n",
        "GET / HTTP/1.1\nhost: http://example.com\n\n",
        "GET / HTTP/1.1\nhost: example.com/path\n\n",
        "GET / HTTP/1.1\nhost: example.com?query\n\n",
        "GET / HTTP/1.1\nhost: example.com#fragment\n\n",
        "GET / HTTP/1.1\nhost: example.com, other.example\n\n",
        "GET / HTTP/1.1\nhost: exa mple.com\n\n",
        "GET / HTTP/1.1\nhost: example.com:port\n\n",
        "GET / HTTP/1.1\nhost: example.com:-1\n\n",
        "GET / HTTP/1.1\nhost: example.com:80:80\n\n",
        "GET / HTTP/1.1\nhost: example.com:65536\n\n",
        "GET / HTTP/1.1\nhost: :80\n\n",
        "GET / HTTP/1.1\nhost: [::1\n\n",
        "GET / HTTP/1.1\nhost: ::1\n\n",
        "GET / HTTP/1.1\nhost: [::1]80\n\n",
        "GET / HTTP/1.1\nhost: [example.com]\n\n",
        "GET / HTTP/1.1\nhost: []\n\n",
        "GET / HTTP/1.1\nhost: ex%zzample.com\n\n",
        "GET / HTTP/1.1\nhost: ex\\ample.com\n\n",
        "GET / HTTP/1.1\nhost: ex\u{e4}mple.com\n\n",
        "GET http://example.com/ HTTP/1.1\nhost:\n\n",
        "GET http://example.com/ HTTP/1.1\nhost: a b\n\n",
        "GET http://user@example.com/ HTTP/1.1\nhost: example.com\n\n",
        "CONNECT example.com:443 HTTP/1.1\nhost:\n\n",
        "POST / HTTP/1.1\ncontent-length: 5\n\nhello",
        "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\n\
         sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\n\n",
    ];
    for head in heads {
        assert_eq!(status(&ask(&running, head).await), 400, "{head:?}");
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0, "the service sees none of them");
}

/// RFC 9112 §3.2 and RFC 3986 §3.2.2: all that may be a host.
#[tokio::test]
async fn an_honest_host_reaches_the_service() {
    let (running, _) = serve().await;
    let heads = [
        ("GET / HTTP/1.1\nhost: example.com\n\n", "<|example.com>"),
        ("GET / HTTP/1.1\nhost:   example.com  \n\n", "<|example.com>"),
        ("GET / HTTP/1.1\nhost: example.com:8080\n\n", "<|example.com:8080>"),
        ("GET / HTTP/1.1\nhost: example.com:\n\n", "<|example.com:>"),
        ("GET / HTTP/1.1\nhost: under_score.example~!$&'()*+;=\n\n", "<|under_score.example~!$&'()*+;=>"),
        ("GET / HTTP/1.1\nhost: ex%61mple.com\n\n", "<|ex%61mple.com>"),
        ("GET / HTTP/1.1\nhost: 127.0.0.1:80\n\n", "<|127.0.0.1:80>"),
        ("GET / HTTP/1.1\nhost: [::1]\n\n", "<|[::1]>"),
        ("GET / HTTP/1.1\nhost: [2001:db8::7]:65535\n\n", "<|[2001:db8::7]:65535>"),
        ("GET / HTTP/1.1\nhost: [::ffff:127.0.0.1]:80\n\n", "<|[::ffff:127.0.0.1]:80>"),
        ("GET / HTTP/1.1\nhost: [v7.a:b]\n\n", "<|[v7.a:b]>"),
        // The target has no authority, and an empty Host says so.
        ("GET / HTTP/1.1\nhost:\n\n", "<|>"),
        ("OPTIONS * HTTP/1.1\nhost: example.com\n\n", "<|example.com>"),
        ("OPTIONS * HTTP/1.1\nhost:\n\n", "<|>"),
        ("GET / HTTP/1.0\n\n", "<|>"),
        ("GET / HTTP/1.0\nhost: example.com\n\n", "<|example.com>"),
        ("GET http://example.com/ HTTP/1.0\n\n", "<example.com|example.com>"),
        ("GET http://example.com/ HTTP/1.1\nhost: example.com\n\n", "<example.com|example.com>"),
        // RFC 9112 §3.2.2: the target wins.
        ("GET http://example.com:81/ HTTP/1.1\nhost: other.example\n\n", "<example.com:81|example.com:81>"),
        ("GET http://[::1]:81/ HTTP/1.1\nhost: [::1]:81\n\n", "<[::1]:81|[::1]:81>"),
    ];
    for (head, expected) in heads {
        let answer = ask(&running, head).await;
        assert!(status(&answer) == 200 && answer.ends_with(expected), "{head:?}: {answer}");
    }
}

/// A plain CONNECT with its host is a request like others. One that is answered with 200 would be a tunnel, so the answer has
/// no content.
#[tokio::test]
async fn a_plain_connect_is_let_through() {
    let (running, visits) = serve().await;
    let answer = ask(&running, "CONNECT example.com:443 HTTP/1.1\nhost: example.com:443\n\n").await;
    assert_eq!(visits.load(Ordering::Relaxed), 1, "{answer}");
}

/// What follows a request without Host on its connection is a request of its own.
#[tokio::test]
async fn a_refused_host_hides_no_request() {
    let (running, _) = serve().await;
    let mut wire = Wire::connect(running.addr).await;
    wire.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(status(&wire.answer().await), 400);
    if wire.try_send(b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\n").await {
        let answer = wire.answer().await;
        assert!(answer.is_empty() || answer.ends_with("<|example.com>"), "{answer}");
    }
}
