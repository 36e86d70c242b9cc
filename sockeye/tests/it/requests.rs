//! Ordinary requests, beside WebSockets, on both versions of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use sockeye::{Body, BoxError, Counter, Limits, Server};
use sockeye_proto::Protocol;
use sockeye_proto::h2::{Config, Reason};
use tokio::net::TcpStream;
use tower::service_fn;

use crate::common::http::{Http, empty, full};
use crate::common::{Client, Running, settle, start, within};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

fn content(content: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(content.into()).map_err(Into::into).boxed_unsync()
}

async fn answer(request: Request<Body>) -> Answer {
    match request.uri().path() {
        "/echo" => {
            let body = request.into_body().collect().await?;
            let trailers = body.trailers().cloned().map(Frame::trailers);
            let frames = [Frame::data(body.to_bytes())].into_iter().chain(trailers).map(Ok);
            let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
            Ok(Response::builder().header("trailer", "x-sum").body(body)?)
        }
        "/error" => Err("it was asked to fail".into()),
        "/panic" => panic!("it was asked to panic"),
        "/interim" => Ok(Response::builder().status(103).body(content(""))?),
        _ => Ok(Response::new(content("hello"))),
    }
}

async fn site() -> Running {
    start(Server::new(), service_fn(answer)).await
}

/// Cleartext is told apart by the preface of HTTP/2.
#[tokio::test]
async fn both_versions_are_served_on_one_port() {
    let site = site().await;
    for version in VERSIONS {
        let mut http = Http::connect(version, site.addr).await;
        for _ in 0..3 {
            let answer = http.get("/").await;
            assert_eq!(answer.head.version, version);
            assert_eq!(answer.head.status, 200);
            assert_eq!(answer.content, "hello");
            assert_eq!(answer.head.headers["content-length"], "5");
        }
    }
    assert_eq!(site.handle.counter(Counter::Requests), 6);
}

/// The content is echoed whole, which takes its end to be seen, and so are the trailers.
#[tokio::test]
async fn content_and_trailers_go_both_ways() {
    let site = site().await;
    for version in VERSIONS {
        let mut http = Http::connect(version, site.addr).await;
        let sent = Bytes::from((0..300_000).map(|n| n as u8).collect::<Vec<_>>());
        let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("42"))]);
        // Of no known length: HTTP/1.1 has trailers only behind chunks.
        let frames = [Frame::data(sent.clone()), Frame::trailers(trailers)].map(Ok);
        let body = BodyExt::boxed(StreamBody::new(stream::iter(frames)));
        let request = http.request("POST", "/echo").header("te", "trailers").header("trailer", "x-sum");
        let answer = http.exchange(request.body(body).unwrap()).await;
        assert!(answer.content == sent, "{version:?}: other content");
        assert_eq!(answer.trailers.expect("trailers")["x-sum"], "42", "{version:?}");
    }
}

/// RFC 9110 §9.3.2
#[tokio::test]
async fn head_is_answered_without_content() {
    let site = site().await;
    for version in VERSIONS {
        let mut http = Http::connect(version, site.addr).await;
        let request = http.request("HEAD", "/").body(empty()).unwrap();
        let answer = http.exchange(request).await;
        assert_eq!(answer.head.headers["content-length"], "5");
        assert!(answer.content.is_empty());
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_a_500() {
    let site = site().await;
    for version in VERSIONS {
        let mut http = Http::connect(version, site.addr).await;
        assert_eq!(http.get("/error").await.head.status, 500);
        assert_eq!(http.get("/").await.head.status, 200, "{version:?}: the connection goes on");
    }
}

/// RFC 9110 §15.2: another response has to follow, and a service gives only one.
#[tokio::test]
async fn an_interim_status_is_no_answer() {
    let site = site().await;
    let answer = Client::connect(site.addr).await.get("http://localhost/interim").await;
    assert_eq!(answer.head.status(), 500);
}

#[tokio::test]
async fn a_panic_takes_nobody_with_it() {
    let site = site().await;
    let client = Client::connect(site.addr).await;
    let request = |path: &str| Request::post(format!("http://localhost{path}")).body(()).unwrap();
    let under_way = client.open(&request("/echo"), false).unwrap();
    let panicking = client.open(&request("/panic"), true).unwrap();
    assert_eq!(client.response(panicking).await.unwrap_err(), Reason::INTERNAL_ERROR);
    client.send(under_way, b"still here", true).await;
    assert_eq!(client.answer(under_way).await.content, "still here");

    let mut http = Http::connect(Version::HTTP_11, site.addr).await;
    assert_eq!(http.get("/panic").await.head.status, 500);
    assert_eq!(http.get("/").await.head.status, 200);
    assert_eq!(site.handle.counter(Counter::Panics), 2);
}

/// RFC 9110 §9.3.6: any 2xx would say that there is a tunnel.
#[tokio::test]
async fn connect_needs_a_tunnel_to_succeed() {
    let site = site().await;
    let client = Client::connect(site.addr).await;
    let mut request = Request::connect("http://localhost/").body(()).unwrap();
    request.extensions_mut().insert(Protocol::websocket());
    let id = client.open(&request, false).unwrap();
    assert_eq!(client.response(id).await.unwrap().status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(client.get("http://localhost/").await.head.status(), 200);
}

/// RFC 9113 §8.1: the response is whole, and RST_STREAM with NO_ERROR asks for no more of the request.
#[tokio::test]
async fn an_early_response_is_whole() {
    let site = site().await;
    let client = Client::connect(site.addr).await;
    let id = client.open(&Request::post("http://localhost/early").body(()).unwrap(), false).unwrap();
    client.send(id, &[0; 30_000], false).await;
    let answer = client.answer(id).await;
    assert_eq!((answer.head.status(), &answer.content[..]), (StatusCode::OK, &b"hello"[..]));
    let reset = within(client.until(|state| state.heard(id).reset)).await;
    assert_eq!(reset, Reason::NO_ERROR);

    let mut http = Http::connect(Version::HTTP_11, site.addr).await;
    let request = http.request("POST", "/early").body(full(vec![0; 30_000])).unwrap();
    assert_eq!(http.exchange(request).await.content, "hello");
}

/// A large response is asked of the service as fast as the peer takes it, and no faster.
#[tokio::test]
async fn a_response_is_made_as_the_peer_takes_it() {
    const PIECE: usize = 10_000;
    const PIECES: usize = 300;
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let service = service_fn(move |_: Request<Body>| {
        let counter = counter.clone();
        async move {
            let pieces = stream::iter(0..PIECES).map(move |n| {
                counter.fetch_add(PIECE, Ordering::Relaxed);
                Ok::<_, BoxError>(Frame::data(Bytes::from(vec![n as u8; PIECE])))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(pieces)))
        }
    });
    let site = start(Server::new(), service).await;
    let client = Client::connect(site.addr).await;
    let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
    client.until(|state| (state.machine.stream(id).unwrap().unread() == 65_535).then_some(())).await;
    settle().await;
    // The window, the outbox, and the piece that fills it.
    assert!(made.load(Ordering::Relaxed) <= 65_535 + 65_536 + 2 * PIECE, "{} were made", made.load(Ordering::Relaxed));
    let answer = client.answer(id).await;
    let expected: Vec<u8> = (0..PIECES).flat_map(|n| vec![n as u8; PIECE]).collect();
    assert!(answer.content == expected, "other content");
    assert!(answer.trailers.is_none() && answer.reset.is_none());
}

/// A body that breaks off is not taken for a whole one.
#[tokio::test]
async fn a_response_that_breaks_off_is_reset() {
    let service = service_fn(|request: Request<Body>| async move {
        assert_eq!(request.method(), Method::GET);
        let pieces = [Ok(Frame::data(Bytes::from_static(b"half"))), Err::<_, BoxError>("and no more".into())];
        Ok::<_, BoxError>(Response::new(StreamBody::new(stream::iter(pieces))))
    });
    let site = start(Server::new(), service).await;
    let answer = Client::connect(site.addr).await.get("http://localhost/").await;
    assert_eq!(answer.reset, Some(Reason::INTERNAL_ERROR));
}

/// The service hears of it, whether it reads the body or not.
#[tokio::test]
async fn a_request_that_breaks_off_is_an_error_of_its_body() {
    let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            sender.send(request.into_body().collect().await.map(|body| body.to_bytes()))?;
            Ok::<_, BoxError>(Response::new(Body::empty()))
        }
    });
    let site = start(Server::new(), service).await;
    let client = Client::connect(site.addr).await;
    let id = client.open(&Request::post("http://localhost/").body(()).unwrap(), false).unwrap();
    client.send(id, b"half", false).await;
    client.reset(id, Reason::CANCEL);
    let result = within(results.recv()).await.unwrap();
    assert!(
        matches!(result, Err(sockeye::Error::Reset { reason: Reason::CANCEL, by: sockeye::Side::Client })),
        "{result:?}"
    );
}

/// Requests that fill more than one read are all answered, though the machine hears only some of them at a time.
#[tokio::test]
async fn many_requests_that_arrive_together_are_all_answered() {
    const REQUESTS: usize = 1000;
    let config = Limits::new().max_concurrent_streams(REQUESTS as u32);
    let server = start(Server::new().limits(config), service_fn(answer)).await;
    let transport = TcpStream::connect(server.addr).await.unwrap();
    let client =
        Client::over(transport, Config::default().with(|config| config.max_concurrent_streams = REQUESTS as u32)).await;
    let requests = |number: usize| {
        let value = HeaderValue::from_str(&format!("{number:0100}")).unwrap();
        Request::head("http://localhost/").header("x-number", value).body(()).unwrap()
    };
    let ids: Vec<_> = (0..REQUESTS).map(|number| client.open(&requests(number), true).unwrap()).collect();
    for id in ids {
        assert_eq!(client.response(id).await.unwrap().status(), StatusCode::OK);
    }
}
