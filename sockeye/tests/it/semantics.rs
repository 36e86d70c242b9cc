//! HTTP semantics (RFC 9110): what content is, how much there is of it, and what may stand in a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::SizeHint;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Frame};
use sockeye::{Body, BoxError, Server, WebSocketService, websocket};
use sockeye_proto::Protocol;
use sockeye_proto::h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::{Service, service_fn};

use crate::common::http::{Http, empty};
use crate::common::{Carrier, Client, Running, Socket, echo, handshake, pair, start, within};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

type Content = UnsyncBoxBody<Bytes, BoxError>;
type Made = fn() -> Content;

fn content(content: impl Into<Bytes>) -> Content {
    Full::new(content.into()).map_err(Into::into).boxed_unsync()
}

/// A body of these frames, whose length nobody knows.
fn frames<const N: usize>(frames: [Frame<Bytes>; N]) -> Content {
    StreamBody::new(stream::iter(frames.map(Ok::<_, BoxError>))).boxed_unsync()
}

fn data(data: &'static str) -> Frame<Bytes> {
    Frame::data(data.into())
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

/// A server that answers every request by what `answer` makes.
async fn answering(answer: impl Fn() -> Response<Content> + Clone + Send + 'static) -> Running {
    start(Server::new(), service_fn(move |_: Request<Body>| std::future::ready(Ok::<_, Infallible>(answer())))).await
}

/// A middleware that reads all of a request's body, as one that logs or checks it does, and hands it on.
#[derive(Clone)]
struct Collecting<S>(S, mpsc::UnboundedSender<(bool, SizeHint, usize)>);

impl<S> Service<Request<Body>> for Collecting<S>
where
    S: Service<Request<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self(mut service, seen) = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let (ended, hint) = (body.is_end_stream(), body.size_hint());
            let collected = body.collect().await.unwrap().to_bytes();
            seen.send((ended, hint, collected.len())).unwrap();
            service.call(Request::from_parts(head, Body::from(collected))).await
        })
    }
}

fn collecting<S>(service: S) -> (Collecting<S>, mpsc::UnboundedReceiver<(bool, SizeHint, usize)>) {
    let (sender, seen) = mpsc::unbounded_channel();
    (Collecting(service, sender), seen)
}

fn echo_service() -> WebSocketService<impl sockeye::socket::Handler + Clone + Sync> {
    websocket(echo)
}

/// RFC 9110 §9.3.6: a CONNECT has no content, so a middleware that collects bodies finds none, and eats nothing of the
/// tunnel's. The same for an upgrade.
#[tokio::test]
async fn a_connect_has_no_content() {
    let (service, mut seen) = collecting(echo_service());
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut socket = within(Socket::open(carrier, server.addr)).await;
        socket.check_echo("first").await;
        socket.check_echo("second").await;
        let (ended, hint, octets) = within(seen.recv()).await.unwrap();
        assert_eq!((ended, hint.exact(), octets), (true, Some(0), 0), "{carrier:?}");
    }
}

/// What a client sends before it has an answer is the tunnel's still, and a refusal needs nobody to read it.
#[tokio::test]
async fn what_follows_a_connect_is_not_read_as_content() {
    let (service, mut seen) = collecting(echo_service());
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let request = handshake("/").request(sockeye_proto::ws::handshake::Carrier::Http2).unwrap();
    let id = client.open(&request, false).unwrap();
    // A masked text frame with "hi", at once.
    client.send(id, &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'], false).await;
    assert_eq!(client.response(id).await.unwrap().status(), 200);
    assert_eq!(within(client.receive(id)).await.unwrap().unwrap()[..], [0x81, 2, b'h', b'i']);
    assert_eq!(within(seen.recv()).await.unwrap().2, 0);

    // A plain CONNECT, and a protocol that nobody knows: no tunnel comes of them.
    let plain = Request::connect("localhost:80").body(()).unwrap();
    let other = Request::connect("http://localhost/").extension(Protocol::new("other")).body(()).unwrap();
    for request in [plain, other] {
        let id = client.open(&request, false).unwrap();
        client.send(id, b"octets", false).await;
        assert!(client.response(id).await.unwrap().status().as_u16() >= 400);
        let (ended, hint, octets) = within(seen.recv()).await.unwrap();
        assert_eq!((ended, hint.exact(), octets), (true, Some(0), 0));
    }
}

/// The same by the low-level way, whose body may be looked at before the stream is taken over.
#[tokio::test]
async fn a_stream_of_a_connect_has_no_content() {
    let (mut connection, client) = pair().await;
    let handshake = handshake("/");
    let accept = async {
        let mut stream = connection.next().await.unwrap().unwrap();
        let body = stream.request().body_mut();
        assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
        assert!(body.frame().await.is_none());
        stream.into_websocket().unwrap()
    };
    let (mut socket, peer) = within(async { tokio::join!(accept, Socket::on(&client, &handshake)) }).await;
    peer.unwrap().send("hello").await;
    assert_eq!(within(socket.recv()).await.unwrap().unwrap(), sockeye::Message::from("hello"));
}

/// What a service sees of its request's content: the size hint and the end before each frame, and what comes.
#[derive(Debug, PartialEq)]
struct Seen {
    hint: (u64, Option<u64>),
    ended: bool,
    frame: Option<usize>,
}

async fn watch(mut body: Body, seen: mpsc::UnboundedSender<Seen>) {
    loop {
        let hint = body.size_hint();
        let ended = body.is_end_stream();
        let frame = body.frame().await.map(|frame| frame.unwrap().data_ref().map_or(0, Bytes::len));
        let hint = (hint.lower(), hint.upper());
        let is_last = frame.is_none();
        seen.send(Seen { hint, ended, frame }).unwrap();
        if is_last {
            return;
        }
    }
}

async fn watching() -> (Running, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            watch(request.into_body(), sender).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    (start(Server::new(), service).await, seen)
}

/// `http_body::Body::size_hint`: "the bounds on the remaining length of the stream".
#[tokio::test]
async fn a_size_hint_is_what_remains() {
    let (server, mut seen) = watching().await;
    let client = Client::connect(server.addr).await;
    let request = Request::post("http://localhost/").header("content-length", "10").body(()).unwrap();
    let id = client.open(&request, false).unwrap();
    client.send(id, b"four", false).await;
    let first = Seen { hint: (10, Some(10)), ended: false, frame: Some(4) };
    assert_eq!(within(seen.recv()).await.unwrap(), first);
    client.send(id, b"sixsix", false).await;
    let second = Seen { hint: (6, Some(6)), ended: false, frame: Some(6) };
    assert_eq!(within(seen.recv()).await.unwrap(), second);
    // All of a known length is there, and trailers may follow still.
    let trailers = map(&[("x-sum", "42")]);
    client.act(|machine| machine.stream(id).unwrap().send_trailers(&trailers)).unwrap();
    let third = Seen { hint: (0, Some(0)), ended: false, frame: Some(0) };
    assert_eq!(within(seen.recv()).await.unwrap(), third);
    let end = Seen { hint: (0, Some(0)), ended: true, frame: None };
    assert_eq!(within(seen.recv()).await.unwrap(), end);

    // Without a length nothing is known until all has come.
    let id = client.open(&Request::post("http://localhost/").body(()).unwrap(), false).unwrap();
    client.send(id, b"four", false).await;
    let first = Seen { hint: (0, None), ended: false, frame: Some(4) };
    assert_eq!(within(seen.recv()).await.unwrap(), first);
    client.send(id, b"", true).await;
    assert_eq!(within(seen.recv()).await.unwrap(), Seen { hint: (0, None), ended: false, frame: None });

    // Over HTTP/1.1 it is hyper's.
    let mut transport = TcpStream::connect(server.addr).await.unwrap();
    transport.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfour").await.unwrap();
    assert_eq!(within(seen.recv()).await.unwrap(), Seen { hint: (10, Some(10)), ended: false, frame: Some(4) });
    transport.write_all(b"sixsix").await.unwrap();
    assert_eq!(within(seen.recv()).await.unwrap(), Seen { hint: (6, Some(6)), ended: false, frame: Some(6) });
    assert_eq!(within(seen.recv()).await.unwrap(), Seen { hint: (0, Some(0)), ended: true, frame: None });
}

/// What has come whole is ended where it ends, with nothing more to wait for.
#[tokio::test]
async fn content_that_has_come_whole_is_known_to_end() {
    let (mut connection, client) = pair().await;
    let id = client.open(&Request::post("http://localhost/").body(()).unwrap(), false).unwrap();
    client.send(id, b"whole", true).await;
    client.round_trip().await;
    let mut stream = within(connection.next()).await.unwrap().unwrap();
    let body = stream.request().body_mut();
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(5)));
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "whole");
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
    assert!(within(body.frame()).await.is_none());

    // Not so where trailers are left: of what has a length hyper sends none on (RFC 9112 §7.1.2).
    let id = client.open(&Request::post("http://localhost/").body(()).unwrap(), false).unwrap();
    client.send(id, b"whole", false).await;
    client.act(|machine| machine.stream(id).unwrap().send_trailers(&map(&[("x-sum", "42")]))).unwrap();
    client.round_trip().await;
    let mut stream = within(connection.next()).await.unwrap().unwrap();
    let body = stream.request().body_mut();
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, None));
    within(body.frame()).await.unwrap().unwrap();
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, None));
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_trailers().unwrap()["x-sum"], "42");
    assert!(body.is_end_stream());
}

/// Of every kind of body.
#[tokio::test]
async fn a_body_of_ours_tells_what_remains() {
    let mut body = Body::from("hello");
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(5)));
    body.frame().await.unwrap().unwrap();
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
    for body in [Body::empty(), Body::from(""), Body::from(Vec::new())] {
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
    }
}

/// A request that was read in part and sent back: its response is as long as what was left.
#[tokio::test]
async fn what_was_read_in_part_is_sent_back_by_its_own_length() {
    let service = service_fn(|request: Request<Body>| async move {
        let mut body = request.into_body();
        body.frame().await.unwrap().unwrap();
        Ok::<_, Infallible>(Response::new(body))
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let request = Request::post("http://localhost/").header("content-length", "10").body(()).unwrap();
    let id = client.open(&request, false).unwrap();
    client.send(id, b"four", false).await;
    let head = client.response(id).await.unwrap();
    assert_eq!(head.headers()["content-length"], "6");
    client.send(id, b"sixsix", true).await;
    assert_eq!(within(client.receive(id)).await.unwrap().unwrap(), "sixsix");
    assert_eq!(within(client.receive(id)).await, Ok(None));
}

/// A body that fails the test when it is read.
struct Unread(Option<u64>);

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("what has no content is dropped unread")
    }

    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// RFC 9110 §15.3.5, §15.3.6, §15.4.5: 204, 205 and 304 have no content, whatever the service's body says; §8.6: a 204 has
/// no content-length, and a 304 says no more than its service does.
#[tokio::test]
async fn statuses_without_content_go_out_without() {
    for (status, said) in [204, 205, 304].into_iter().flat_map(|status| [(status, None), (status, Some("5"))]) {
        for hint in [Some(5), None] {
            let server = answering(move || {
                let response = Response::builder().status(status).header("x", "y");
                let response = said.iter().fold(response, |response, &said| response.header("content-length", said));
                response.body(Unread(hint).boxed_unsync()).unwrap()
            });
            let server = server.await;
            for version in VERSIONS {
                let mut http = Http::connect(version, server.addr).await;
                // The second says that the connection goes on, in step.
                for method in ["GET", "POST"] {
                    let answer = http.exchange(http.request(method, "/").body(empty()).unwrap()).await;
                    let length = answer.head.headers.get("content-length").map(|length| length.to_str().unwrap());
                    let told = (version, status, said, hint, length);
                    assert_eq!((answer.head.status.as_u16(), answer.content.len()), (status, 0), "{told:?}");
                    assert_eq!(answer.head.headers["x"], "y");
                    match status {
                        204 => assert_eq!(length, None, "{told:?}"),
                        205 => assert!(matches!(length, None | Some("0")), "{told:?}"),
                        _ => assert!(matches!(length, None | Some("5")), "{told:?}"),
                    }
                }
            }
        }
    }
}

/// RFC 9110 §9.3.2: what answers HEAD has no content either, and may say how much GET would get.
#[tokio::test]
async fn head_is_told_the_length_of_what_get_would_get() {
    for (said, hint, told) in [(None, Some(5), Some("5")), (Some("7"), None, Some("7")), (None, None, None)] {
        let server = answering(move || {
            let response =
                said.iter().fold(Response::builder(), |response, &said| response.header("content-length", said));
            response.body(Unread(hint).boxed_unsync()).unwrap()
        });
        let server = server.await;
        let client = Client::connect(server.addr).await;
        let id = client.open(&Request::head("http://localhost/").body(()).unwrap(), true).unwrap();
        let answer = client.answer(id).await;
        assert_eq!(answer.head.headers().get("content-length").map(|length| length.to_str().unwrap()), told);
        assert!(answer.content.is_empty() && answer.reset.is_none());
    }
}

/// RFC 9110 §8.6: a 2xx to CONNECT has no content-length, and a tunnel no end by it.
#[tokio::test]
async fn a_tunnel_has_no_length() {
    let service = service_fn(|mut request: Request<Body>| async move {
        let mut response = match sockeye::Upgrade::from_request(&mut request) {
            Ok(upgrade) => upgrade.accept(echo),
            Err(refusal) => refusal.response().map(Body::from),
        };
        response.headers_mut().insert("content-length", HeaderValue::from_static("0"));
        response.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
        Ok::<_, Infallible>(response)
    });
    let server = start(Server::new(), service).await;
    let mut socket = Socket::open(Carrier::Http2, server.addr).await;
    assert!(!socket.response.headers().contains_key("content-length"));
    assert!(!socket.response.headers().contains_key("transfer-encoding"));
    socket.check_echo("still a tunnel").await;
}

/// RFC 9113 §8.1.1: what a service says of the length of its content and does not keep goes out as nothing malformed.
#[tokio::test]
async fn a_content_length_that_is_wrong_is_not_sent_as_such() {
    let cases: [(&str, Made, Result<&str, Reason>); 10] = [
        ("5", || content("hello"), Ok("hello")),
        (" 5 ", || content("hello"), Ok("hello")),
        ("5", || frames([data("he"), data("llo")]), Ok("hello")),
        // Too much is cut.
        ("4", || content("hello"), Ok("hell")),
        ("4", || frames([data("he"), data("llo"), data("!")]), Ok("hell")),
        ("0", || content("hello"), Ok("")),
        // Too little is reset.
        ("6", || content("hello"), Err(Reason::INTERNAL_ERROR)),
        ("6", || content(""), Err(Reason::INTERNAL_ERROR)),
        ("6", || frames([data("hello"), Frame::trailers(map(&[("x", "y")]))]), Err(Reason::INTERNAL_ERROR)),
        ("6", || frames([]), Err(Reason::INTERNAL_ERROR)),
    ];
    for (length, body, wanted) in cases {
        let server =
            answering(move || Response::builder().header("content-length", length).body(body()).unwrap()).await;
        let client = Client::connect(server.addr).await;
        let answer = client.get("http://localhost/").await;
        assert_eq!(answer.head.headers()["content-length"], length.trim());
        assert_eq!(answer.reset, wanted.err(), "{length}");
        if let Ok(wanted) = wanted {
            assert_eq!(answer.content, wanted, "{length}");
        }
        assert_eq!(client.get("http://localhost/").await.head.status(), 200);
    }
    // What is no length is not sent.
    for lengths in [&["five"][..], &["-5"], &["5", "6"], &[""], &["5, 5"]] {
        let server = answering(move || {
            let response =
                lengths.iter().fold(Response::builder(), |response, &length| response.header("content-length", length));
            response.body(content("hello")).unwrap()
        });
        let server = server.await;
        let answer = Client::connect(server.addr).await.get("http://localhost/").await;
        assert_eq!((&answer.content[..], answer.reset), (&b"hello"[..], None));
        assert_eq!(answer.head.headers().get_all("content-length").iter().collect::<Vec<_>>(), ["5"]);
    }
}

/// The same over HTTP/1.1, where more would be taken for the next response, and less be waited for.
#[tokio::test]
async fn a_content_length_that_is_wrong_over_http1_is_kept_to() {
    let cases: [(&str, Made, &str); 6] = [
        ("5", || content("hello"), "hello"),
        ("4", || content("hello"), "hell"),
        ("4", || frames([data("he"), data("llo"), data("!")]), "hell"),
        ("0", || content("hello"), ""),
        // It breaks off.
        ("6", || content("hello"), "hello"),
        ("6", || frames([data("hello")]), "hello"),
    ];
    for (length, body, wanted) in cases {
        let server =
            answering(move || Response::builder().header("content-length", length).body(body()).unwrap()).await;
        let mut transport = TcpStream::connect(server.addr).await.unwrap();
        // Twice, and then the end: whatever is not asked for shows between.
        let is_short = length == "6";
        let request: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        transport.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        within(transport.read_to_end(&mut answer)).await.ok();
        let answer = String::from_utf8(answer).unwrap();
        let bodies: Vec<_> =
            answer.split("HTTP/1.1 200 OK").skip(1).map(|one| one.split_once("\r\n\r\n").unwrap().1).collect();
        if is_short {
            assert!(bodies.len() <= 1 && bodies.iter().all(|body| wanted.starts_with(body)), "{length}: {answer}");
        } else {
            assert_eq!(bodies, [wanted; 2], "{length}: {answer}");
        }
        assert!(answer.is_empty() || answer.contains(&format!("content-length: {length}")), "{answer}");
    }
}

/// The content of a stream by the low-level way keeps to the same.
#[tokio::test]
async fn a_stream_is_answered_within_the_length_that_is_said() {
    let (mut connection, client) = pair().await;
    for (length, wanted) in [("4", Ok("hell")), ("6", Err(Reason::INTERNAL_ERROR))] {
        let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
        let stream = within(connection.next()).await.unwrap().unwrap();
        within(stream.respond(Response::builder().header("content-length", length).body(content("hello")).unwrap()))
            .await;
        let answer = client.answer(id).await;
        assert_eq!(answer.reset, wanted.err());
        assert!(wanted.is_err() || answer.content == wanted.unwrap());
    }
}

/// A response that breaks off does so at once, whoever reads the content of its request (RFC 9113 §8.1): they read no more.
#[tokio::test]
async fn a_response_that_breaks_off_ends_its_request() {
    let (sender, mut bodies) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        sender.send(request.into_body()).unwrap();
        let frames = [Ok(data("some")), Err(BoxError::from("no more"))];
        std::future::ready(Ok::<_, Infallible>(Response::new(StreamBody::new(stream::iter(frames)))))
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let id = client.open(&Request::post("http://localhost/").body(()).unwrap(), false).unwrap();
    let mut body = within(bodies.recv()).await.unwrap();
    assert_eq!(within(client.answer(id)).await.reset, Some(Reason::INTERNAL_ERROR));
    within(body.frame()).await.unwrap().unwrap_err();
}

/// RFC 9110 §6.6.1: an origin server says the time with every response, unless the service says one.
#[tokio::test]
async fn responses_have_a_date() {
    let service = service_fn(|request: Request<Body>| async move {
        match request.uri().path() {
            "/error" => return Err::<_, BoxError>("it was asked to fail".into()),
            "/own" => {
                return Ok(Response::builder().header("date", "Sun, 06 Nov 1994 08:49:37 GMT").body(content(""))?);
            }
            "/socket" => {}
            path => return Ok(Response::builder().status(&path[1..]).body(content("hello"))?),
        }
        let mut request = request;
        Ok(match sockeye::Upgrade::from_request(&mut request) {
            Ok(upgrade) => upgrade.accept(echo).map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(refusal) => refusal.response().map(content),
        })
    });
    let server = start(Server::new(), service).await;
    let assert_date = |headers: &HeaderMap, what: &str| {
        let dates: Vec<_> = headers.get_all("date").iter().collect();
        assert_eq!(dates.len(), 1, "{what}: {dates:?}");
        let text = dates[0].to_str().unwrap();
        assert!(text.len() == 29 && text.ends_with(" GMT"), "{what}: {text}");
    };
    for version in VERSIONS {
        let mut http = Http::connect(version, server.addr).await;
        for path in ["/200", "/204", "/304", "/404", "/500", "/error", "/socket"] {
            assert_date(&http.get(path).await.head.headers, path);
        }
        assert_eq!(http.get("/own").await.head.headers["date"], "Sun, 06 Nov 1994 08:49:37 GMT");
    }
    let socket = Socket::open_with(Carrier::Http2, server.addr, &handshake("/socket")).await;
    assert_date(socket.response.headers(), "a tunnel");
    // Refusals of the machine's own, and those that no service gives.
    let client = Client::connect(server.addr).await;
    let mut request = Request::get("http://localhost/200").body(()).unwrap();
    request.headers_mut().insert("x", HeaderValue::from_str(&"x".repeat(20_000)).unwrap());
    let id = client.open(&request, true).unwrap();
    let head = client.response(id).await.unwrap();
    assert_eq!(head.status(), 431);
    assert_date(head.headers(), "431");
    let (mut connection, client) = pair().await;
    let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
    within(connection.next()).await.unwrap().unwrap().into_websocket().unwrap_err();
    assert_date(client.response(id).await.unwrap().headers(), "a refusal of a stream");
}

/// RFC 9113 §8.2.1, §8.2.2, RFC 9110 §7.6.1: a service's fields go out without white space about them, and without those of
/// a connection; trailers too, of which the response's `Connection` may name some.
#[tokio::test]
async fn fields_of_a_service_are_put_right() {
    let server = answering(|| {
        let trailers = map(&[("x-sum", "\t42 "), ("x-hop", "1"), ("x-inner", "2"), ("connection", "x-inner")]);
        let body = frames([data("hello"), Frame::trailers(trailers)]);
        let response =
            Response::builder().header("connection", "X-Hop, close").header("x-hop", "1").header("keep-alive", "5");
        response.header("x-name", "  value\t").body(body).unwrap()
    });
    let server = server.await;
    let answer = Client::connect(server.addr).await.get("http://localhost/").await;
    let mut headers = answer.head.headers().clone();
    headers.remove("date");
    assert_eq!(headers, map(&[("x-name", "value")]));
    assert_eq!(answer.trailers.unwrap(), map(&[("x-sum", "42")]));
}

/// Waits until the client has heard this many interim responses of a stream.
async fn interim(client: &Client, id: sockeye_proto::h2::StreamId, number: usize) -> Vec<u16> {
    within(client.until(|state| Some(state.heard(id).interim.clone()).filter(|interim| interim.len() >= number))).await
}

fn expecting(value: &str) -> Request<()> {
    Request::post("http://localhost/").header("expect", value).body(()).unwrap()
}

/// RFC 9110 §10.1.1: the 100 goes out when the service first asks for content, once.
#[tokio::test]
async fn a_100_goes_out_when_content_is_asked_for() {
    let (go, mut asked) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let go = go.clone();
        async move {
            let (sender, wait) = tokio::sync::oneshot::channel::<()>();
            go.send(sender)?;
            wait.await?;
            let content = request.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::new(Full::new(content)))
        }
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    for value in ["100-continue", "100-Continue", "else, 100-continue"] {
        let id = client.open(&expecting(value), false).unwrap();
        let go = within(asked.recv()).await.unwrap();
        client.round_trip().await;
        assert!(interim(&client, id, 0).await.is_empty(), "nobody asked for content yet");
        go.send(()).unwrap();
        assert_eq!(interim(&client, id, 1).await, [100]);
        client.send(id, b"first ", false).await;
        client.round_trip().await;
        client.send(id, b"second", true).await;
        assert_eq!(client.answer(id).await.content, "first second");
        assert_eq!(interim(&client, id, 1).await, [100], "once");
    }
}

/// Nobody is told to go on who did not ask, who has begun, whose response has begun, or who has nothing to send.
#[tokio::test]
async fn no_100_goes_out_where_it_would_be_wrong() {
    // Echoes the content as it comes, and so answers first.
    let service = service_fn(|request: Request<Body>| async move {
        match request.uri().path() {
            "/early" => Ok::<_, Infallible>(Response::new(Body::from("early"))),
            "/echo" => Ok(Response::new(request.into_body())),
            _ => {
                let content = request.into_body().collect().await.unwrap().to_bytes();
                Ok(Response::new(Body::from(content)))
            }
        }
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let request = |path: &str, expect: &str| {
        Request::post(format!("http://localhost{path}")).header("expect", expect).body(()).unwrap()
    };
    for (path, expect, early) in [
        ("/echo", "100-continue", false),
        ("/early", "100-continue", false),
        ("/", "200-ok", false),
        ("/", "100-continue", true),
    ] {
        let id = client.open(&request(path, expect), false).unwrap();
        if early {
            client.send(id, b"content", false).await;
        }
        client.round_trip().await;
        client.send(id, b"content", true).await;
        let answer = client.answer(id).await;
        assert!(answer.head.status() == 200 && !answer.content.is_empty());
        // What came with its first content may have been asked for before that was there.
        let heard = interim(&client, id, 0).await;
        assert!(heard.is_empty() || early, "{path} {expect}: {heard:?}");
    }
    let id = client.open(&request("/", "100-continue"), true).unwrap();
    client.answer(id).await;
    assert!(interim(&client, id, 0).await.is_empty());
    let mut get = Request::connect("http://localhost/").header("expect", "100-continue").body(()).unwrap();
    get.extensions_mut().insert(Protocol::websocket());
    let id = client.open(&get, false).unwrap();
    client.response(id).await.unwrap();
    assert!(interim(&client, id, 0).await.is_empty());
}

/// By the low-level way, too, and not where the content came with the request.
#[tokio::test]
async fn a_stream_sends_its_100() {
    let (mut connection, client) = pair().await;
    let id = client.open(&expecting("100-continue"), false).unwrap();
    let mut stream = within(connection.next()).await.unwrap().unwrap();
    let content = async { within(stream.request().body_mut().frame()).await.unwrap().unwrap().into_data().unwrap() };
    let peer = async {
        assert_eq!(interim(&client, id, 1).await, [100]);
        client.send(id, b"content", true).await;
    };
    assert_eq!(tokio::join!(content, peer).0, "content");
    within(stream.respond(Response::new(Body::empty()))).await;
    assert_eq!(client.answer(id).await.head.status(), 200);

    let id = client.open(&expecting("100-continue"), false).unwrap();
    client.send(id, b"first", false).await;
    client.round_trip().await;
    let mut stream = within(connection.next()).await.unwrap().unwrap();
    assert_eq!(within(stream.request().body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
    let rest = async { assert!(within(stream.request().body_mut().frame()).await.is_none()) };
    let peer = async {
        client.round_trip().await;
        assert!(interim(&client, id, 0).await.is_empty());
        client.send(id, b"", true).await;
    };
    tokio::join!(rest, peer);
}

/// Cookies of a browser, over the whole of the server: a hundred and fifty crumbs are one field.
#[tokio::test]
async fn many_cookies_reach_the_service_as_one_field() {
    let cookies = Arc::new(Mutex::new(Vec::new()));
    let seen = cookies.clone();
    let service = service_fn(move |request: Request<Body>| {
        let values = request.headers().get_all("cookie").iter().map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().extend(values);
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    let server = start(Server::new(), service).await;
    let crumbs: Vec<_> = (0..150).map(|number| format!("cookie-{number:03}=value")).collect();
    let mut request = Request::builder().method(Method::GET).uri("http://localhost/").body(()).unwrap();
    for crumb in &crumbs {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    let client = Client::connect(server.addr).await;
    let id = client.open(&request, true).unwrap();
    assert_eq!(client.response(id).await.unwrap().status(), 200);
    assert_eq!(*cookies.lock().unwrap(), [crumbs.join("; ")]);
}

/// What a client's body of HTTP/1.1 leaves behind is no matter of a response without content.
#[tokio::test]
async fn a_205_over_http1_is_framed_as_empty() {
    let server =
        answering(|| Response::builder().status(205).header("content-length", "5").body(content("hello")).unwrap());
    let server = server.await;
    let mut transport = TcpStream::connect(server.addr).await.unwrap();
    transport.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(transport.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 205") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: 0\r\n"), "{answer}");
}

/// A body that never ends holds nothing up where it is not to be sent.
#[tokio::test]
async fn an_endless_body_of_a_204_is_let_go() {
    let server = answering(|| {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>().boxed());
        Response::builder().status(204).body(body.boxed_unsync()).unwrap()
    });
    let server = server.await;
    for version in VERSIONS {
        let mut http = Http::connect(version, server.addr).await;
        for _ in 0..2 {
            assert_eq!(http.get("/").await.head.status, 204);
        }
    }
}
