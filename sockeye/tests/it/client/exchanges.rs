//! Requests that open no socket, beside those that do.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};
use sockeye::client::OnInterim;
use sockeye::error::Missing;
use sockeye::{Body, Client, Counter, Error, Limits, Reason, Result, Server, Side};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::service_fn;

use super::peer::{self, END_HEADERS, END_STREAM, MAX_CONCURRENT_STREAMS, Peer, Wires, connect, http2, kind};
use super::peer::{STATUS_103, STATUS_200, STATUS_204};
use crate::common::within;

const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
/// A 200 with a content-length of 4.
const LENGTH_4: &[u8] = b"\x88\x0F\x0D\x014";

/// Content that comes when the test says so.
struct Slow(mpsc::UnboundedReceiver<std::io::Result<Frame<Bytes>>>);

type SlowSender = mpsc::UnboundedSender<std::io::Result<Frame<Bytes>>>;

fn slow() -> (SlowSender, Slow) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Slow(receiver))
}

fn data(octets: &'static [u8]) -> std::io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(octets)))
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }
}

fn get() -> Request<Body> {
    Request::new(Body::empty())
}

fn post<B>(content: B) -> Request<B> {
    Request::post("/upload").body(content).unwrap()
}

/// A task that makes a request.
fn ask<B>(client: &Client, request: Request<B>) -> JoinHandle<Result<Response<Body>>>
where
    B: http_body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
{
    let client = client.clone();
    tokio::spawn(async move { client.request(request).await })
}

fn ask_get(client: &Client) -> JoinHandle<Result<Response<Body>>> {
    let client = client.clone();
    tokio::spawn(async move { client.request(get()).await })
}

/// A client of a server of ours, on one connection in memory.
fn client_of<F, R>(answer: F) -> Client
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let server = Server::new();
    let client = Client::builder().http2_only().max_connections(1).connector(move |_| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(server.serve_connection(far, service_fn(answer.clone())));
        ready(Ok(near))
    });
    client.lazy("http://test/").unwrap()
}

async fn echo(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(body);
    for name in ["content-length", "x-own", "host"] {
        if let Some(value) = parts.headers.get(name) {
            response.headers_mut().insert(http::HeaderName::try_from(format!("x-{name}")).unwrap(), value.clone());
        }
    }
    response.headers_mut().insert("x-uri", parts.uri.to_string().parse().unwrap());
    Ok(response)
}

/// RFC 9113 §8.1: content and trailers go and come, larger than any window, and other streams go on beside them.
#[tokio::test]
async fn content_and_trailers_pass_both_ways() {
    let client = client_of(echo);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    let frames = (0..48).map(|_| Ok(Frame::data(Bytes::from(vec![7; 1 << 16]))));
    let frames = frames.chain([Ok::<_, std::io::Error>(Frame::trailers(trailers.clone()))]);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let response = within(client.request(post(body))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("x-content-length"), "nobody knew it");
    let small = within(client.request(post(Body::from("beside")))).await.unwrap();
    assert_eq!(small.headers()["x-content-length"], "6", "RFC 9110 §8.6");
    assert_eq!(within(small.into_body().collect()).await.unwrap().to_bytes(), "beside");
    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), vec![7; 3 << 20]);
}

/// The authority may be any; where there is none, it is the origin's. A `Host` is no field of HTTP/2 (RFC 9113 §8.3.1).
#[tokio::test]
async fn a_request_goes_with_its_own_fields() {
    let client = client_of(echo);
    for (uri, expected) in [("/a?b", "http://test:80/a?b"), ("http://other/", "http://other/")] {
        let request = Request::get(uri).header("x-own", "1").header("host", "x").header("connection", "close");
        let response = within(client.request(request.body(Body::empty()).unwrap())).await.unwrap();
        assert_eq!(response.headers()["x-uri"], expected);
        assert_eq!(response.headers()["x-x-own"], "1");
        assert!(response.headers().get("x-host").is_none_or(|host| host != "x"));
    }
}

/// RFC 9110 §9.3.2, §15.3.5: no content is none, whatever its length would be.
#[tokio::test]
async fn no_content_has_ended() {
    let client = client_of(async |request: Request<Body>| {
        let status = if request.uri().path() == "/204" { StatusCode::NO_CONTENT } else { StatusCode::OK };
        Ok(Response::builder().status(status).body("page".into()).unwrap())
    });
    for (method, path, length) in [(Method::HEAD, "/", Some("4")), (Method::GET, "/204", None)] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = within(client.request(request)).await.unwrap();
        assert_eq!(response.headers().get("content-length").map(|value| value.to_str().unwrap()), length);
        assert!(http_body::Body::is_end_stream(response.body()));
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
    }
}

/// RFC 9110 §15.2: what comes before the response is heard in its order, and none of it is the response.
#[tokio::test(start_paused = true)]
async fn interim_responses_are_heard() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut request = get();
    let hears = heard.clone();
    request.extensions_mut().insert(OnInterim::new(move |head| hears.lock().unwrap().push(head.status().as_u16())));
    let serving = async {
        let id = peer.request().await;
        peer.respond(id, b"\x08\x03100").await;
        peer.respond(id, STATUS_103).await;
        peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
    };
    let (response, ()) = within(async { tokio::join!(client.request(request), serving) }).await;
    assert_eq!(response.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(*heard.lock().unwrap(), [100, 103]);
}

/// Who panics while it hears loses what it would have heard, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_panic_of_who_hears_is_its_own() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let mut request = get();
    request.extensions_mut().insert(OnInterim::new(|_| panic!("on purpose")));
    let serving = async {
        let id = peer.request().await;
        peer.respond(id, STATUS_103).await;
        peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
    };
    let (response, ()) = within(async { tokio::join!(client.request(request), serving) }).await;
    assert_eq!(response.unwrap().status(), StatusCode::NO_CONTENT);
}

/// RFC 9113 §5.4.2: who awaits a response no more gives its stream up, whatever of the request is to come, before the response and
/// within it.
#[tokio::test(start_paused = true)]
async fn what_nobody_awaits_is_given_up() {
    for (has_content, is_answered) in [(false, false), (false, true), (true, false), (true, true)] {
        let (builder, mut wires) = http2();
        let client = builder.max_connections(1).lazy(peer::URL).unwrap();
        let (_sender, content) = slow();
        let asked = if has_content { ask(&client, post(content)) } else { ask_get(&client) };
        let mut peer = Peer::accept_with(wires.next().await, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
        let id = peer.request().await;
        if is_answered {
            peer.respond(id, STATUS_200).await;
            drop(within(asked).await.unwrap().unwrap());
        } else {
            asked.abort();
        }
        let reset = peer.next(kind::RST_STREAM).await;
        assert_eq!((reset.stream_id, reset.code()), (id, CANCEL), "{has_content} {is_answered}");
        // Its place is free again.
        let asked = ask_get(&client);
        let id = peer.request().await;
        peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
        within(asked).await.unwrap().unwrap();
    }
}

/// Who has the content that a length announced has no use for more. The end of the stream may come then, and is no reset's place (RFC
/// 9113 §8.1), for a moment: servers count resets.
#[tokio::test(start_paused = true)]
async fn content_of_a_length_is_whole_before_its_stream_ends() {
    for ends in [true, false] {
        let (builder, mut wires) = http2();
        let client = builder.max_connections(1).lazy(peer::URL).unwrap();
        let asked = ask_get(&client);
        let mut peer = Peer::accept_with(wires.next().await, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
        let id = peer.request().await;
        peer.respond(id, LENGTH_4).await;
        peer.send(kind::DATA, 0, id, b"four").await;
        let mut body = within(asked).await.unwrap().unwrap().into_body();
        assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "four");
        drop(body);
        let begun = tokio::time::Instant::now();
        if ends {
            peer.round_trip_alone().await;
            peer.send(kind::DATA, END_STREAM, id, b"").await;
        } else {
            let reset = peer.receive().await.unwrap();
            assert_eq!((reset.kind, reset.stream_id, reset.code()), (kind::RST_STREAM, id, CANCEL));
            assert!(begun.elapsed() >= Duration::from_secs(1));
        }
        // Its place is free again.
        let _asked = ask_get(&client);
        assert_eq!(peer.receive().await.unwrap().kind, kind::HEADERS);
    }
}

/// How much of an answer had come makes no difference to who gives it up.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_took_is_given_up() {
    for is_taken in [false, true] {
        let (builder, mut wires) = http2();
        let (client, mut peer) = connect(&builder, &mut wires).await;
        let (sender, content) = slow();
        let mut asked = Box::pin(client.request(post(content)));
        assert!(futures_util::poll!(&mut asked).is_pending());
        peer.round_trip().await;
        assert!(futures_util::poll!(&mut asked).is_pending());
        let id = peer.request().await;
        peer.respond(id, STATUS_200).await;
        peer.send(kind::DATA, END_STREAM, id, b"whole").await;
        peer.round_trip().await;
        if is_taken {
            drop(within(asked).await.unwrap());
        } else {
            drop(asked);
        }
        let reset = peer.next(kind::RST_STREAM).await;
        assert_eq!((reset.stream_id, reset.code()), (id, CANCEL));
        within(sender.closed()).await;
    }
}

/// What a server does behind its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    Resets(u32),
    Ends,
}

/// A response that has come whole is whole, though nobody wants the rest of the request (RFC 9113 §8.1): some servers say so by another
/// code than NO_ERROR, and some by the end of the connection.
#[tokio::test(start_paused = true)]
async fn an_answer_may_come_before_the_content() {
    for then in [Then::GoesOn, Then::Resets(NO_ERROR), Then::Resets(CANCEL), Then::Ends] {
        let (builder, mut wires) = http2();
        let (client, mut peer) = connect(&builder, &mut wires).await;
        let (sender, content) = slow();
        sender.send(data(b"some")).unwrap();
        let asked = ask(&client, post(content));
        let id = peer.request().await;
        assert_eq!(peer.next(kind::DATA).await.payload, b"some");
        peer.respond(id, STATUS_200).await;
        peer.send(kind::DATA, END_STREAM, id, b"enough").await;
        match then {
            Then::GoesOn => {}
            Then::Resets(code) => {
                peer.reset(id, code).await;
                peer.round_trip().await;
            }
            Then::Ends => peer.end().await,
        }
        let response = within(asked).await.unwrap().unwrap();
        assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes(), "enough");
        if then != Then::GoesOn {
            within(sender.closed()).await;
        } else {
            // The request goes on to its end.
            sender.send(data(b"more")).unwrap();
            assert_eq!(peer.next(kind::DATA).await.payload, b"more");
            drop(sender);
            assert_eq!(peer.next(kind::DATA).await.flags, END_STREAM);
        }
    }
}

/// Content that breaks off ends the request, and is what its caller hears of; so does content that is shorter than was said (RFC 9110
/// §8.6).
#[tokio::test(start_paused = true)]
async fn content_that_breaks_off_ends_the_request() {
    for is_short in [false, true] {
        let (builder, mut wires) = http2();
        let (client, mut peer) = connect(&builder, &mut wires).await;
        let (sender, content) = slow();
        let mut request = post(content);
        request.headers_mut().insert("content-length", 8.into());
        let asked = ask(&client, request);
        let id = peer.request().await;
        sender.send(data(b"some")).unwrap();
        assert_eq!(peer.next(kind::DATA).await.payload, b"some");
        if is_short {
            drop(sender);
        } else {
            sender.send(Err(std::io::Error::other("no more"))).unwrap();
        }
        let reset = peer.next(kind::RST_STREAM).await;
        assert_eq!((reset.stream_id, reset.code()), (id, CANCEL));
        let error = within(asked).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Application(_)), "{error:?}");
        let expected = if is_short { "shorter" } else { "no more" };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Content that panics as it is polled.
struct Panics;

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        panic!("on purpose")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1)
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_panics_ends_its_request_alone() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let asked = ask(&client, post(Panics));
    let id = peer.request().await;
    assert_eq!(peer.next(kind::RST_STREAM).await.stream_id, id);
    let error = within(asked).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Reset { reason: Reason::CANCEL, by: Side::Client }), "{error:?}");
    let asked = ask_get(&client);
    let id = peer.request().await;
    peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
    within(asked).await.unwrap().unwrap();
}

/// RFC 9113 §8.7: a stream that was not acted on is tried once elsewhere, whatever its method; not where content went with it.
#[tokio::test(start_paused = true)]
async fn a_refused_request_is_made_elsewhere() {
    for has_content in [false, true] {
        let (builder, mut wires) = http2();
        let (client, mut first) = connect(&builder, &mut wires).await;
        let (sender, content) = slow();
        if !has_content {
            drop(sender);
        }
        let request = post(content);
        let asked = if has_content {
            ask(&client, request)
        } else {
            let client = client.clone();
            tokio::spawn(async move { client.request(post(Body::empty())).await })
        };
        let id = first.request().await;
        first.reset(id, REFUSED_STREAM).await;
        if has_content {
            let error = within(asked).await.unwrap().unwrap_err();
            assert!(error.is_retryable(), "{error}");
            continue;
        }
        let mut second = wires.peer().await;
        let id = second.request().await;
        second.respond(id, STATUS_200).await;
        assert_eq!(within(asked).await.unwrap().unwrap().status(), StatusCode::OK);
    }
}

/// RFC 9110 §9.2.2: an idempotent request is made again where a connection ended under it that was good before. Whether it is
/// the request that ends connections nobody knows of one that had answered nothing.
#[tokio::test(start_paused = true)]
async fn an_idempotent_request_is_made_again_where_a_good_connection_ended() {
    for (method, was_good, is_made_again) in
        [(Method::GET, true, true), (Method::PUT, true, true), (Method::POST, true, false), (Method::GET, false, false)]
    {
        let (builder, mut wires) = http2();
        let (client, mut first) = connect(&builder, &mut wires).await;
        if was_good {
            let asked = ask_get(&client);
            let id = first.request().await;
            first.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
            within(asked).await.unwrap().unwrap();
        }
        let request = Request::builder().method(&method).uri("/").body(Body::empty()).unwrap();
        let asked = tokio::spawn({
            let client = client.clone();
            async move { client.request(request).await }
        });
        first.request().await;
        drop(first);
        if is_made_again {
            let mut second = wires.peer().await;
            let id = second.request().await;
            second.respond(id, STATUS_200).await;
            assert_eq!(within(asked).await.unwrap().unwrap().status(), StatusCode::OK);
        } else {
            let error = within(asked).await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Disconnected | Error::Io(_)), "{method} {was_good}: {error:?}");
        }
        assert_eq!(wires.waiting(), 0);
    }
}

/// A server that accepts, without the extended CONNECT.
async fn accept_plain(wires: &mut Wires) -> Peer {
    Peer::accept_with(wires.next().await, &[]).await
}

/// RFC 8441 §3: what a server does not offer for sockets says nothing of requests, and the connection is theirs.
#[tokio::test(start_paused = true)]
async fn requests_need_no_extended_connect() {
    let (builder, mut wires) = http2();
    let client = builder.max_connections(1).lazy(peer::URL).unwrap();
    let asked = ask_get(&client);
    let mut peer = accept_plain(&mut wires).await;
    let id = peer.request().await;
    peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
    within(asked).await.unwrap().unwrap();
    peer.round_trip().await;
    // A socket's connection is another, though nobody uses the first, and is not kept.
    let opening = tokio::spawn(client.open("/").into_future());
    let mut other = accept_plain(&mut wires).await;
    let error = within(opening).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotOffered(Missing::ExtendedConnect)), "{error:?}");
    other.rest().await;
    let asked = ask_get(&client);
    let id = peer.request().await;
    peer.respond(id, STATUS_200).await;
    within(asked).await.unwrap().unwrap();
    assert_eq!(wires.waiting(), 0);
}

/// Without prior knowledge a client speaks HTTP/1.1 in cleartext (RFC 9113 §3.3), and asks nothing. The server is not blamed for that.
#[tokio::test]
async fn requests_go_over_http2_alone() {
    let (builder, wires) = peer::wires();
    for builder in [builder.clone(), builder.http1_only()] {
        let client = builder.lazy(peer::URL).unwrap();
        let error = within(client.request(get())).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("http2_only"), "{error:?}");
        let error = within(client.tunnel(Request::get(peer::URL).body(()).unwrap())).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("http2_only"), "{error:?}");
        assert!(!within(client.offers_http2()).await.unwrap());
    }
    assert_eq!(wires.waiting(), 0);
}

/// A stream of events is silent for as long as nothing happens: its time is the server's own.
#[tokio::test(start_paused = true)]
async fn a_response_may_be_silent() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let asked = ask_get(&client);
    let id = peer.request().await;
    peer.respond(id, STATUS_200).await;
    let mut body = within(asked).await.unwrap().unwrap().into_body();
    for event in ["one", "two"] {
        let serving = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            peer.send(kind::DATA, 0, id, event.as_bytes()).await;
        };
        let (frame, ()) = tokio::join!(body.frame(), serving);
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
    }
}

/// A connection from which nothing comes while something is asked may be dead: what is new goes on another. Who asks for a moment only
/// knows nothing of it.
#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_used_no_more() {
    for (time, is_left) in [(Duration::from_millis(100), false), (Duration::from_secs(10), true)] {
        let (builder, mut wires) = http2();
        let (client, mut first) = connect(&builder, &mut wires).await;
        tokio::time::timeout(time, client.request(get())).await.unwrap_err();
        let _asked = ask_get(&client);
        if is_left {
            wires.peer().await.request().await;
        } else {
            first.request().await;
            first.request().await;
        }
        assert_eq!(wires.waiting(), 0);
    }
}

/// Where a server speaks HTTP/2, it does so with all of its streams taken.
#[tokio::test(start_paused = true)]
async fn a_connection_without_room_is_one_of_http2() {
    let (builder, mut wires) = http2();
    let client = builder.max_connections(1).lazy(peer::URL).unwrap();
    let offers = tokio::spawn({
        let client = client.clone();
        async move { client.offers_http2().await }
    });
    let mut peer = Peer::accept_with(wires.next().await, &[(MAX_CONCURRENT_STREAMS, 0)]).await;
    peer.round_trip().await;
    assert!(within(offers).await.unwrap().unwrap());
    assert!(within(client.offers_http2()).await.unwrap());
}

/// RFC 9113 §8.5
#[tokio::test]
async fn a_connect_is_no_request() {
    let client = client_of(echo);
    let request = Request::connect("http://test/").body(Body::empty()).unwrap();
    let error = within(client.request(request)).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(why) if why.to_string().contains("tunnel")), "{error:?}");
}

/// RFC 9113 §5.2: who does not read a response holds its peer up, and no other stream.
#[tokio::test]
async fn an_unread_response_stops_no_other() {
    let client = client_of(async |request: Request<Body>| {
        let octets = if request.uri().path() == "/large" { 64 << 20 } else { 4 };
        Ok(Response::new(vec![7; octets].into()))
    });
    let large = within(client.request(Request::get("/large").body(Body::empty()).unwrap())).await.unwrap();
    for _ in 0..20 {
        let small = within(client.request(get())).await.unwrap();
        assert_eq!(within(small.into_body().collect()).await.unwrap().to_bytes().len(), 4);
    }
    drop(large);
}

/// What is to be sent of a request holds nothing up of its response, however much waits on the connection: a server that says again
/// what it is told would read no more.
#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_holds_no_response_up() {
    let server = Server::new();
    let little = Limits::new().stream_send_buffer(1000).connection_send_buffer(1000);
    let client = Client::builder().http2_only().max_connections(1).limits(little).connector(move |_| {
        let (near, far) = tokio::io::duplex(200);
        tokio::spawn(server.serve_connection(far, service_fn(echo)));
        ready(Ok(near))
    });
    let client = client.lazy("http://test/").unwrap();
    let exchange = async || {
        let response = client.request(post(Body::from(vec![7; 300_000]))).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes().len()
    };
    let lengths = within(async { tokio::join!(exchange(), exchange(), exchange(), exchange()) }).await;
    assert_eq!(lengths, (300_000, 300_000, 300_000, 300_000));
    assert_eq!(client.handle().counter(Counter::UnreadStreamsReset), 0);
}

/// An idle connection ends where its client is told so, and the next request makes another.
#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_may_end() {
    let (builder, mut wires) = http2();
    let time = Duration::from_secs(10);
    let client = builder.limits(Limits::new().idle_timeout(time)).lazy(peer::URL).unwrap();
    for _ in 0..2 {
        let asked = ask_get(&client);
        let mut peer = wires.peer().await;
        let id = peer.request().await;
        peer.send(kind::HEADERS, END_HEADERS | END_STREAM, id, STATUS_204).await;
        within(asked).await.unwrap().unwrap();
        let rest = peer.receive().await.expect("a GOAWAY");
        assert_eq!((rest.kind, rest.code()), (kind::GOAWAY, NO_ERROR));
    }
}
