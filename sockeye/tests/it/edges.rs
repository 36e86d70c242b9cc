//! Where the parts meet: a stream that is taken over, refused or handed on, and what HTTP/1.1 may bring along.

use std::convert::Infallible;
use std::fmt::Debug;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use sockeye::{
    Body, Counter, Error, Limits, OriginPolicy, Refusal, Server, SocketOptions, Upgrade, WebSocket, http2, websocket,
};
use sockeye_proto::h2::{Reason, StreamId};
use sockeye_proto::ws::handshake::Carrier as Http;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::service_fn;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

use crate::common::{Carrier, Client, Ending, Socket, echo, handshake, pair, start, within};

/// A handshake with one field more.
fn handshake_with(name: &'static str, value: &str) -> Request<()> {
    let mut request = handshake("/").request(Http::Http2).unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn next(connection: &mut http2::Connection) -> http2::Stream {
    within(connection.next()).await.unwrap().unwrap()
}

/// The refusal's own response, whole.
async fn check_refused(client: &Client, id: StreamId, refusal: Refusal) {
    let method = if refusal == Refusal::ConnectRequired { Method::GET } else { Method::CONNECT };
    let expected = refusal.response_to(&method);
    let answer = client.answer(id).await;
    assert_eq!(answer.head.status(), expected.status());
    for (name, value) in expected.headers() {
        assert_eq!(answer.head.headers().get(name), Some(value), "{name}");
    }
    assert_eq!(answer.content, expected.body().as_bytes());
    // RFC 9113 §8.1: RST_STREAM may follow the end, to stop a request that goes on; it does not stand in its place.
    assert!(client.state().heard(id).finished, "no END_STREAM");
    assert!(matches!(answer.reset, None | Some(Reason::NO_ERROR)), "{:?}", answer.reset);
}

#[track_caller]
fn check_error<T>(result: Result<T, Error>, refusal: Refusal) {
    match result {
        Err(Error::Handshake(error)) => assert_eq!(error.downcast_ref(), Some(&refusal), "{error}"),
        Err(error) => panic!("{error:?} in place of {refusal:?}"),
        Ok(_) => panic!("{refusal:?} was to come"),
    }
}

/// What the service returns afterwards goes nowhere, whatever it is.
#[tokio::test]
async fn a_service_may_take_a_stream_over() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Body>| {
        let sender = sender.clone();
        async move {
            sender.send(Upgrade::from_request(&mut request)?.take().await?)?;
            match request.uri().path() {
                "/error" => Err("too late to fail"),
                _ => Ok(Response::new(Body::from("nobody reads this"))),
            }
            .map_err(sockeye::BoxError::from)
        }
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    for path in ["/", "/error"] {
        let mut peer = Socket::on(&client, &handshake(path)).await.unwrap();
        let mut socket = within(sockets.recv()).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(peer.message().await, "hello".into());
        peer.send("and back").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("and back".into()));
        drop(socket);
        assert_eq!(peer.close_code().await, 1001);
        assert_eq!(peer.ending().await, Ending::End);
    }
}

/// The peer hears why, and what the service returns afterwards changes nothing.
#[tokio::test]
async fn a_service_that_takes_a_stream_over_refuses_foreign_origins() {
    let service = service_fn(async |mut request: Request<Body>| {
        check_error(Upgrade::from_request(&mut request).unwrap().take().await, Refusal::Origin);
        Ok::<_, Infallible>(Response::new(Body::from("nobody reads this")))
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let id = client.open(&handshake_with("origin", "https://elsewhere.example"), false).unwrap();
    check_refused(&client, id, Refusal::Origin).await;
}

/// A refusal is a response with END_STREAM: a browser that meets RST_STREAM stays with HTTP/1.1 for good.
#[tokio::test]
async fn what_cannot_be_taken_over_is_refused_in_full() {
    let (mut connection, client) = pair().await;
    let foreign = handshake_with("origin", "https://elsewhere.example");
    let mut other = handshake("/").request(Http::Http2).unwrap();
    other.extensions_mut().insert(sockeye::Protocol::new("connect-udp"));
    let cases = [
        (Request::get("http://localhost/").body(()).unwrap(), Refusal::ConnectRequired),
        (Request::post("http://localhost/").body(()).unwrap(), Refusal::ConnectRequired),
        (handshake_with("sec-websocket-version", "12"), Refusal::Version),
        (other, Refusal::UnknownProtocol),
        (foreign.clone(), Refusal::Origin),
    ];
    for (request, refusal) in cases {
        let id = client.open(&request, request.method() == Method::GET).unwrap();
        check_error(next(&mut connection).await.into_websocket(), refusal);
        check_refused(&client, id, refusal).await;
    }

    let head = Request::head("http://localhost/").body(()).unwrap();
    let id = client.open(&head, true).unwrap();
    check_error(next(&mut connection).await.into_upgrade(), Refusal::ConnectRequired);
    let answer = client.answer(id).await;
    assert_eq!((answer.head.status(), answer.content.len()), (StatusCode::METHOD_NOT_ALLOWED, 0));

    // Whose pages are welcome is settled between the two steps.
    let id = client.open(&foreign, false).unwrap();
    let upgrade =
        next(&mut connection).await.into_upgrade().unwrap().options(SocketOptions::new().origins(OriginPolicy::Any));
    let _socket = upgrade.take().await.unwrap();
    assert_eq!(client.response(id).await.unwrap().status(), StatusCode::OK);
}

/// The handler runs on, whatever its stream's owner does next; its result is its socket's close code.
#[tokio::test]
async fn an_accepted_upgrade_is_a_response() {
    let (mut connection, client) = pair().await;
    for (message, code) in [("return", 1000), ("fail", 1011), ("panic", 1011)] {
        let handler =
            async |mut socket: WebSocket| match socket.recv().await?.as_ref().and_then(|message| message.as_text()) {
                Some("return") => Ok(()),
                Some("fail") => Err(Error::application("it was asked to fail")),
                _ => panic!("it was asked to panic"),
            };
        let asked = handshake("/");
        let respond = async {
            let mut stream = connection.next().await.unwrap().unwrap();
            let upgrade = Upgrade::from_request(stream.request()).unwrap();
            stream.respond(upgrade.accept(handler)).await;
        };
        let ((), peer) = within(async { tokio::join!(respond, Socket::on(&client, &asked)) }).await;
        let mut peer = peer.unwrap();
        peer.send(message).await;
        assert_eq!(peer.close_code().await, code, "{message}");
        assert_eq!(peer.ending().await, Ending::End);
    }
}

/// What HTTP/1.1 answers to a request with these fields.
async fn http1_status(addr: SocketAddr, fields: &str) -> String {
    let mut transport = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}");
    let mut answer = Vec::new();
    // The server may end before it has read all, which is an RST of TCP.
    transport.write_all(request.as_bytes()).await.ok();
    within(transport.read_to_end(&mut answer)).await.ok();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// As for HTTP/2: 16 KiB, 100 fields, else 431 (RFC 6585 §5), and the service hears nothing of it.
#[tokio::test]
async fn http1_heads_are_limited() {
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let server = start(Server::new(), service).await;
    let fields = |count: usize, octets: usize| format!("x-a: {}\r\n", "a".repeat(octets)).repeat(count);
    for (fields, status) in [
        (fields(98, 100) + "\r\n", "200"),
        (fields(99, 1) + "\r\n", "431"),
        (fields(1, 16_000) + "\r\n", "200"),
        (fields(1, 17_000) + "\r\n", "431"),
        (fields(10, 7_000), "431"),
    ] {
        assert_eq!(http1_status(server.addr, &fields).await, status, "{} octets", fields.len());
    }
    assert_eq!(server.handle.counter(Counter::Requests), 2);
    assert_eq!(server.handle.counter(Counter::HeaderListsRefused), 3);
}

/// The limits are those set for HTTP/2.
#[tokio::test]
async fn limits_of_http1_heads_are_settings() {
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let config = Limits::new().max_header_list_size(40_000).max_header_fields(10);
    let server = start(Server::new().limits(config), service).await;
    let fields = |count: usize, octets: usize| format!("x-a: {}\r\n", "a".repeat(octets)).repeat(count) + "\r\n";
    for (fields, status) in
        [(fields(1, 39_000), "200"), (fields(1, 41_000), "431"), (fields(8, 1), "200"), (fields(9, 1), "431")]
    {
        assert_eq!(http1_status(server.addr, &fields).await, status, "{} octets", fields.len());
    }
}

/// Writes down every event, as its message followed by its fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockeye")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (mut message, mut fields) = (String::new(), String::new());
        event.record(&mut |field: &Field, value: &dyn Debug| match field.name() {
            "message" => message = format!("{value:?}"),
            name => fields += &format!(" {name}={value:?}"),
        });
        self.0.lock().unwrap().push(message + &fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Every request, and the two ends of every socket; nothing for each message.
#[tokio::test]
async fn requests_and_sockets_are_traced() {
    // While there is only one, tracing asks the thread that first meets an event whether anyone wants it, and that may be
    // another test's.
    let _another = Dispatch::new(Log::default());
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let server = start(Server::new(), websocket(echo).protocols(["chat"])).await;
    for (carrier, method, version) in [(Carrier::Http1, "GET", "HTTP/1.1"), (Carrier::Http2, "CONNECT", "HTTP/2.0")] {
        let mut asked = handshake("/room?token=secret");
        asked.protocols = vec!["chat".into()];
        let mut socket = Socket::open_with(carrier, server.addr, &asked).await;
        for _ in 0..10 {
            socket.check_echo("hello").await;
        }
        socket.close(1000.into(), "").await;
        assert_eq!(socket.ending().await, Ending::End);
        assert_eq!(
            mem::take(&mut *log.0.lock().unwrap()),
            [
                format!("a request came in method={method} path=\"/room\" version={version}"),
                format!("a WebSocket was accepted path=\"/room\" protocol=\"chat\" version={version}"),
                "a WebSocket's handler ended code=1000".to_owned(),
            ]
        );
    }
    let foreign = handshake_with("origin", "https://elsewhere.example");
    let client = Client::connect(server.addr).await;
    let id = client.open(&foreign, false).unwrap();
    client.answer(id).await;
    let told = log.0.lock().unwrap().pop().unwrap();
    assert_eq!(told, format!("a WebSocket handshake was refused path=\"/\" reason={}", Refusal::Origin));
}
