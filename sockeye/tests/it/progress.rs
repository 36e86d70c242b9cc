//! What has begun goes on, or is given up: messages, content, responses, heads, and connections that are of no use to anybody.
//! Each beside those that are slow, or silent, and honest.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use sockeye::{Body, BoxError, Counter, Error, Handle, HttpService, Result, Server, WebSocket, websocket};
use sockeye_proto::h2::Config;
use sockeye_proto::ws::{Config as WebSocketConfig, Event, Role, WebSocket as Machine};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tower::service_fn;

use crate::common::{Client, echo};
use crate::http1::upgrade;

/// A server, and one connection to it over memory, so that a paused clock goes on by itself.
fn serve<S: HttpService>(server: Server, service: S, size: usize) -> (DuplexStream, Handle) {
    let (ours, theirs) = tokio::io::duplex(size);
    let handle = server.handle();
    tokio::spawn(async move { server.serve_connection(ours, service).await });
    (theirs, handle)
}

fn seconds(time: f64) -> Duration {
    Duration::from_secs_f64(time)
}

/// A socket over either version, by its octets: no machine stands between.
enum Tunnel {
    Http1(DuplexStream),
    Http2(Client, sockeye_proto::h2::StreamId),
}

impl Tunnel {
    async fn open<S: HttpService + Clone>(server: Server, service: S, is_http2: bool) -> (Self, Handle) {
        let (mut transport, handle) = serve(server, service, 1 << 20);
        if is_http2 {
            let client = Client::over(transport, Config::default()).await;
            let handshake = crate::common::handshake("/");
            let request = handshake.request(sockeye_proto::ws::handshake::Carrier::Http2).unwrap();
            let id = client.open(&request, false).unwrap();
            assert!(client.response(id).await.unwrap().status().is_success());
            return (Self::Http2(client, id), handle);
        }
        transport.write_all(&upgrade("/", "upgrade", "")).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(transport.read_u8().await.unwrap());
        }
        (Self::Http1(transport), handle)
    }

    async fn send(&mut self, octets: &[u8]) -> bool {
        match self {
            Self::Http1(transport) => transport.write_all(octets).await.is_ok(),
            Self::Http2(client, id) => client.send(*id, octets, false).await,
        }
    }

    /// The next event, `None` at the end.
    async fn event(&mut self, machine: &mut Machine) -> Option<Event> {
        loop {
            if let Some(event) = machine.poll_event() {
                return Some(event);
            }
            let mut octets = bytes::BytesMut::new();
            match self {
                Self::Http1(transport) => {
                    if transport.read_buf(&mut octets).await.unwrap_or(0) == 0 {
                        return None;
                    }
                }
                Self::Http2(client, id) => octets = client.receive(*id).await.ok()??,
            }
            machine.handle_data(std::time::Instant::now, &mut octets);
        }
    }

    /// The code of the server's Close, and when it came.
    async fn close_code(&mut self) -> (u16, Duration) {
        let begun = Instant::now();
        let mut machine = client_machine();
        match self.event(&mut machine).await {
            Some(Event::Close(frame)) => (frame.code.into(), begun.elapsed()),
            event => panic!("{event:?} in place of a Close"),
        }
    }
}

fn client_machine() -> Machine {
    Machine::new(Role::Client { mask_key: || [0; 4] }, WebSocketConfig::default())
}

/// A masked binary frame of so many octets, or the beginning of one.
fn head(fin: bool, length: usize) -> Vec<u8> {
    let first = if fin { 0x82 } else { 0x02 };
    match length {
        0..=125 => vec![first, 0x80 | length as u8, 0, 0, 0, 0],
        126..=0xFFFF => [&[first, 0xFE][..], &(length as u16).to_be_bytes(), &[0; 4]].concat(),
        _ => [&[first, 0xFF][..], &(length as u64).to_be_bytes(), &[0; 4]].concat(),
    }
}

/// A handler that hands its socket to a task of its own.
async fn echo_apart(socket: WebSocket) -> Result {
    tokio::spawn(echo(socket)).await.unwrap()
}

/// Half a header, half a frame, half a message, and one that drips: each is given its time, and then told why.
#[tokio::test(start_paused = true)]
async fn half_a_message_fails_its_socket() {
    let half_message = [&head(false, 10)[..], &[7; 10]].concat();
    for half in [b"\x82".to_vec(), b"\x89\x85\0\0\0\0hi".to_vec(), head(true, 1 << 20), half_message] {
        for (is_http2, apart) in [(false, false), (true, false), (false, true), (true, true)] {
            let (mut tunnel, handle) = if apart {
                Tunnel::open(Server::new(), websocket(echo_apart), is_http2).await
            } else {
                Tunnel::open(Server::new(), websocket(echo), is_http2).await
            };
            tunnel.send(&half).await;
            let (code, time) = tunnel.close_code().await;
            assert_eq!(code, 1008, "{half:x?}");
            assert!((seconds(59.0)..seconds(121.0)).contains(&time), "{half:x?}: {time:?}");
            assert_eq!(handle.counter(Counter::ReceiveTimeouts), 1);
        }
    }
}

/// An octet a second is no progress.
#[tokio::test(start_paused = true)]
async fn a_message_that_drips_fails_its_socket() {
    for is_http2 in [false, true] {
        let (mut tunnel, handle) = Tunnel::open(Server::new(), websocket(echo), is_http2).await;
        tunnel.send(&head(true, 1 << 20)).await;
        let begun = Instant::now();
        while handle.counter(Counter::ReceiveTimeouts) == 0 {
            tunnel.send(b"x").await;
            sleep(seconds(1.0)).await;
        }
        assert!((seconds(59.0)..seconds(121.0)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(tunnel.close_code().await.0, 1008);
    }
}

/// A slow link, and long silence between messages and between Pings: honest, for as long as it takes.
#[tokio::test(start_paused = true)]
async fn a_slow_link_and_a_silent_one_fail_nobody() {
    for is_http2 in [false, true] {
        let (mut tunnel, handle) = Tunnel::open(Server::new(), websocket(echo), is_http2).await;
        let mut machine = client_machine();
        const LENGTH: usize = 300 << 10;
        // 0.5 kB a second.
        let message = [head(true, LENGTH), vec![7; LENGTH]].concat();
        for piece in message.chunks(500) {
            assert!(tunnel.send(piece).await);
            sleep(seconds(1.0)).await;
        }
        assert!(matches!(tunnel.event(&mut machine).await, Some(Event::Message(message)) if message.len() == LENGTH));
        // Messages that begin at the end of one period and end in the next, between long silences.
        for pause in [59.9, 0.2, 3600.0, 60.0, 119.9, 7200.0] {
            sleep(seconds(pause)).await;
            assert!(tunnel.send(b"\x82\x85\0\0\0\0h").await);
            sleep(seconds(1.0)).await;
            assert!(tunnel.send(b"ello").await);
            assert_eq!(tunnel.event(&mut machine).await, Some(Event::Message(Bytes::from_static(b"hello").into())));
        }
        assert_eq!(handle.counter(Counter::ReceiveTimeouts), 0);
    }
}

/// A message that is received in pieces may wait between two of its frames.
#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_may_pause_between_frames() {
    async fn count(mut socket: WebSocket) -> Result {
        while let Some(mut message) = socket.recv_stream().await? {
            let mut octets = 0;
            while let Some(piece) = message.next().await? {
                octets += piece.len();
            }
            socket.send(octets.to_string()).await?;
        }
        Ok(())
    }
    for is_http2 in [false, true] {
        let (mut tunnel, handle) = Tunnel::open(Server::new(), websocket(count), is_http2).await;
        for frame in [b"\x02\x82\0\0\0\0hi", b"\x00\x82\0\0\0\0hi", b"\x80\x82\0\0\0\0hi"] {
            assert!(tunnel.send(frame).await);
            sleep(seconds(1000.0)).await;
        }
        assert_eq!(tunnel.event(&mut client_machine()).await, Some(Event::Message("6".into())));
        assert_eq!(handle.counter(Counter::ReceiveTimeouts), 0);
        tunnel.send(b"\x02\x82\0\0\0\0h").await;
        assert_eq!(tunnel.close_code().await.0, 1008);
    }
}

/// Whoever does not receive has nobody to blame: a message that waits for the application is nobody's fault.
#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_receive_blames_nobody() {
    async fn sleepy(mut socket: WebSocket) -> Result {
        let _ = tokio::time::timeout(seconds(1.0), socket.recv()).await;
        sleep(seconds(600.0)).await;
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    }
    for is_http2 in [false, true] {
        let (mut tunnel, handle) = Tunnel::open(Server::new(), websocket(sleepy), is_http2).await;
        let message = [head(true, 20_000), vec![7; 20_000]].concat();
        tunnel.send(&message[..20]).await;
        sleep(seconds(2.0)).await;
        tunnel.send(&message[20..]).await;
        let event = tunnel.event(&mut client_machine()).await;
        assert!(matches!(event, Some(Event::Message(message)) if message.len() == 20_000));
        assert_eq!(handle.counter(Counter::ReceiveTimeouts), 0);
    }
}

/// Answers with what became of a request's content.
async fn collect(request: Request<Body>) -> Result<Response<Body>, BoxError> {
    Ok(Response::new(Body::from(match request.into_body().collect().await {
        Ok(content) => content.to_bytes().len().to_string(),
        Err(Error::Timeout(what)) => what.to_string(),
        Err(error) => error.to_string(),
    })))
}

/// A body of so many octets a second, and what it is answered with.
async fn upload(is_http2: bool, length: usize, rate: usize) -> (String, Duration, Handle) {
    let (mut transport, handle) = serve(Server::new(), service_fn(collect), 1 << 20);
    let begun = Instant::now();
    if is_http2 {
        let client = Client::over(transport, Config::default()).await;
        let request = Request::builder().method(Method::POST).uri("http://localhost/").body(()).unwrap();
        let id = client.open(&request, false).unwrap();
        let content = vec![7; length];
        let send = async {
            for (index, piece) in content.chunks(rate).enumerate() {
                client.send(id, piece, (index + 1) * rate >= length).await;
                sleep(seconds(1.0)).await;
            }
            pending::<()>().await;
        };
        let answer = async {
            client.until(|state| state.heard(id).response.take()).await;
            client.receive(id).await.unwrap().unwrap()
        };
        let answer = tokio::select! { answer = answer => answer, () = send => unreachable!() };
        return (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed(), handle);
    }
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    transport.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(transport);
    let send = async {
        for piece in vec![7; length].chunks(rate) {
            writer.write_all(piece).await.ok();
            sleep(seconds(1.0)).await;
        }
        pending::<()>().await;
    };
    let answer = async {
        let mut answer = Vec::new();
        while String::from_utf8_lossy(&answer).split("\r\n\r\n").nth(1).is_none_or(str::is_empty) {
            reader.read_buf(&mut answer).await.unwrap();
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::select! { answer = answer => answer, () = send => unreachable!() };
    let content = answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
    (content, begun.elapsed(), handle)
}

#[tokio::test(start_paused = true)]
async fn content_that_drips_is_given_up() {
    for is_http2 in [false, true] {
        let (answer, time, handle) = upload(is_http2, 100_000, 1).await;
        assert_eq!(answer, "the rest of the content");
        assert!((seconds(59.0)..seconds(121.0)).contains(&time), "{time:?}");
        assert_eq!(handle.counter(Counter::ReceiveTimeouts), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn content_of_a_slow_link_is_taken() {
    for is_http2 in [false, true] {
        let (answer, time, handle) = upload(is_http2, 100_000, 400).await;
        assert_eq!(answer, "100000");
        assert!(time > seconds(240.0), "{time:?}");
        assert_eq!(handle.counter(Counter::ReceiveTimeouts), 0);
    }
}

/// A response of a megabyte.
async fn large(_: Request<Body>) -> Result<Response<Body>, BoxError> {
    Ok(Response::new(Body::from(vec![0; 1 << 20])))
}

/// Reads so many octets a second until the server gives up or ends; how many they were, and after what time.
async fn read_slowly(mut transport: DuplexStream, rate: usize, handle: &Handle) -> (usize, Duration) {
    let begun = Instant::now();
    let (mut read, mut octets) = (0, vec![0; rate]);
    while handle.counter(Counter::WriteTimeouts) == 0 {
        sleep(seconds(1.0)).await;
        assert!(begun.elapsed() < seconds(10_000.0), "nobody gives up");
        if transport.read_exact(&mut octets).await.is_err() {
            break;
        }
        read += rate;
    }
    (read, begun.elapsed())
}

/// Over HTTP/1.1, by hyper and in a tunnel: who reads nothing, or an octet a second, is cut off.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_cut_off() {
    async fn talk(mut socket: WebSocket) {
        while socket.send(vec![0; 1 << 20]).await.is_ok() {}
    }
    for is_tunnel in [false, true] {
        for rate in [0, 1] {
            let (mut transport, handle) = if is_tunnel {
                serve(Server::new(), websocket(talk), 100)
            } else {
                serve(Server::new(), service_fn(large), 100)
            };
            let request =
                if is_tunnel { upgrade("/", "upgrade", "") } else { b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec() };
            transport.write_all(&request).await.unwrap();
            let (_, time) = read_slowly(transport, rate, &handle).await;
            assert!((seconds(59.0)..seconds(63.0)).contains(&time), "{is_tunnel}, {rate}: {time:?}");
            assert_eq!(handle.counter(Counter::WriteTimeouts), 1, "{is_tunnel}, {rate}");
        }
    }
}

/// The same at 400 octets a second is a slow link, and gets all of it.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_read_slowly_is_sent() {
    let (mut transport, handle) = serve(Server::new(), service_fn(large), 100);
    transport.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let (read, _) = read_slowly(transport, 400, &handle).await;
    assert!(read >= (1 << 20) - 400, "{read}");
    assert_eq!(handle.counter(Counter::WriteTimeouts), 0);
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn hello(_: Request<Body>) -> Result<Response<Body>, BoxError> {
    Ok(Response::new(Body::from("hello")))
}

async fn read_answer(transport: &mut DuplexStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(transport.read_buf(&mut answer).await.unwrap() > 0);
    }
}

/// Between two requests there is a time, and for half a head a shorter one.
#[tokio::test(start_paused = true)]
async fn a_kept_connection_waits_for_a_request_for_some_time() {
    for (half, expected, counter) in
        [(&b""[..], 60.0, Counter::IdleTimeouts), (b"GET / HT", 10.0, Counter::HandshakeTimeouts)]
    {
        let (mut transport, handle) = serve(Server::new(), service_fn(hello), 1 << 16);
        for _ in 0..100 {
            transport.write_all(GET).await.unwrap();
            read_answer(&mut transport).await;
            sleep(seconds(50.0)).await;
        }
        assert_eq!(handle.counter(counter), 0);
        transport.write_all(GET).await.unwrap();
        read_answer(&mut transport).await;
        transport.write_all(half).await.unwrap();
        let begun = Instant::now();
        assert_eq!(transport.read(&mut [0]).await.unwrap_or(0), 0);
        let time = begun.elapsed();
        assert!((seconds(expected - 0.1)..seconds(expected + 1.0)).contains(&time), "{half:?}: {time:?}");
        assert_eq!(handle.counter(counter), 1);
    }
}

/// An answer that takes long is no idleness, and half a head is none either when it goes on.
#[tokio::test(start_paused = true)]
async fn a_slow_service_is_waited_for() {
    let service = service_fn(|request: Request<Body>| async move {
        sleep(seconds(1000.0)).await;
        hello(request).await
    });
    let (mut transport, handle) = serve(Server::new(), service, 1 << 16);
    for piece in GET.chunks(10) {
        transport.write_all(piece).await.unwrap();
        sleep(seconds(1.0)).await;
    }
    read_answer(&mut transport).await;
    assert_eq!(handle.counter(Counter::IdleTimeouts), 0);
    assert_eq!(handle.counter(Counter::HandshakeTimeouts), 0);
}

/// A connection of HTTP/2 without a stream drains, and one with a silent socket does not.
#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_streams_drains() {
    let (transport, handle) = serve(Server::new(), websocket(echo), 1 << 16);
    let client = Client::over(transport, Config::default()).await;
    let begun = Instant::now();
    client.until(|state| state.eof.then_some(())).await;
    let time = begun.elapsed();
    assert!((seconds(59.0)..seconds(65.0)).contains(&time), "{time:?}");
    assert_eq!(client.state().goaways.last().map(|(_, reason)| *reason), Some(sockeye_proto::h2::Reason::NO_ERROR));
    assert_eq!(handle.counter(Counter::IdleTimeouts), 1);
    assert_eq!(handle.counter(Counter::ConnectionErrors), 0);

    let (mut tunnel, handle) = Tunnel::open(Server::new(), websocket(echo), true).await;
    sleep(seconds(10_000.0)).await;
    assert!(tunnel.send(b"\x82\x82\0\0\0\0hi").await);
    let mut machine = client_machine();
    assert_eq!(tunnel.event(&mut machine).await, Some(Event::Message(Bytes::from_static(b"hi").into())));
    assert_eq!(handle.counter(Counter::IdleTimeouts), 0);
    // Once it is closed, the connection is idle from then on.
    tunnel.send(b"\x88\x80\0\0\0\0").await;
    let Tunnel::Http2(client, _) = &tunnel else { unreachable!() };
    let begun = Instant::now();
    client.until(|state| state.eof.then_some(())).await;
    let time = begun.elapsed();
    assert!((seconds(59.0)..seconds(130.0)).contains(&time), "{time:?}");
    assert_eq!(handle.counter(Counter::IdleTimeouts), 1);
}
