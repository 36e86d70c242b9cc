//! Lives that end when they end: what answers a request that its client gave up, handlers that outlive their stream, and
//! peers that never end their half.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use sockeye::{
    Body, BoxError, CloseCode, Counter, Error, Handle, HttpService, Limits, Result, Server, Side, SocketOptions,
    WebSocket, websocket,
};
use sockeye_proto::h2::{Config, Reason, StreamId};
use sockeye_proto::hpack::{Encoder, Field};
use sockeye_proto::ws::Event;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};
use tower::service_fn;

use crate::common::{Client, Ending, Socket, echo, handshake, pair, settle, within};

/// Counts lives.
#[derive(Clone, Default)]
struct Lives(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Life(Lives);

impl Lives {
    fn begin(&self) -> Life {
        self.0.fetch_add(1, Ordering::SeqCst);
        Life(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Lets everything that is ready run until no life is left.
    async fn settle(&self) {
        for _ in 0..200 {
            if self.count() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server and one connection of a client to it, over memory, so that a paused clock goes on by itself.
async fn serve<S: HttpService>(server: Server, service: S) -> (Client, Handle) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let handle = server.handle();
    tokio::spawn(async move { server.serve_connection(ours, service).await });
    (Client::over(theirs, Config::default().with(|config| config.max_concurrent_streams = 10_000)).await, handle)
}

fn limited(max_concurrent_streams: u32) -> Server {
    Server::new().limits(Limits::new().max_concurrent_streams(max_concurrent_streams))
}

/// No limit was met, and nobody was blamed.
fn check_no_fault(handle: &Handle) {
    check_no_fault_but(handle, Counter::Requests);
}

fn check_no_fault_but(handle: &Handle, expected: Counter) {
    for counter in [
        Counter::CloseTimeouts,
        Counter::StreamsRefused,
        Counter::ResetsForFaults,
        Counter::WebSocketViolations,
        Counter::ConnectionErrors,
        Counter::Panics,
        Counter::HandlersDropped,
    ] {
        assert!(handle.counter(counter) == 0 || counter == expected, "{counter:?}");
    }
}

/// Answers by its path, each time with a life that ends when the answer does.
async fn answer(lives: Lives, request: Request<Body>) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
    let life = lives.begin();
    let hold = move |frame| {
        let _held = &life;
        Ok::<_, BoxError>(frame)
    };
    let data = || Frame::data(Bytes::from_static(b"data: 1\n\n"));
    let content = match request.uri().path() {
        // A long poll: the service itself does not answer.
        "/poll" => {
            let _hold = hold;
            pending().await
        }
        // An event stream that falls silent at once, or after its first event; or a stream of gRPC, whose trailers never come.
        "/silent" => stream::pending().map(hold).boxed(),
        "/stream" => stream::iter([data()]).chain(stream::pending()).map(hold).boxed(),
        // One that is not silent.
        "/ticks" => stream::unfold((), move |()| async move {
            sleep(Duration::from_millis(3)).await;
            Some((data(), ()))
        })
        .map(hold)
        .boxed(),
        // More than the peer has a window for.
        "/large" => stream::iter((0..100).map(|_| Frame::data(Bytes::from(vec![0; 10_000])))).map(hold).boxed(),
        // An upload that the service waits for.
        "/upload" => {
            let _hold = hold;
            request.into_body().collect().await?;
            pending().await
        }
        // One that another task reads.
        "/spawned" => {
            let life = lives.begin();
            let body = request.into_body();
            tokio::spawn(async move {
                let _life = life;
                body.collect().await.map(drop)
            });
            stream::pending().map(hold).boxed()
        }
        path => panic!("{path}"),
    };
    Ok(Response::new(StreamBody::new(content).boxed_unsync()))
}

/// RFC 9113 §5.1, §5.1.2: what answers a request is dropped when its stream is reset, whatever it is, and the stream does not
/// count any more. A thousand rounds of each kind, and the next request works.
#[tokio::test(start_paused = true)]
async fn what_answers_a_request_is_dropped_when_its_client_gives_it_up() {
    let lives = Lives::default();
    let shared = lives.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let (client, handle) = serve(limited(10), service).await;
    for path in ["/poll", "/silent", "/stream", "/ticks", "/large", "/upload", "/spawned"] {
        let request = || Request::post(format!("http://localhost{path}")).body(()).unwrap();
        for round in 0..1000 {
            let id = client.open(&request(), false).unwrap();
            // To give up what was not answered costs a token, of which there are a hundred a second.
            sleep(Duration::from_millis(10)).await;
            if path == "/upload" {
                client.send(id, b"half", false).await;
            }
            assert!(lives.count() >= 1, "{path} began in round {round}");
            client.reset(id, Reason::CANCEL);
            client.act(|machine| machine.stream(id).unwrap().release());
            lives.settle().await;
            assert_eq!(lives.count(), 0, "{path} has ended in round {round}");
        }
    }
    assert!(client.state().closed.is_none());
    check_no_fault(&handle);
}

/// The same where the whole connection goes away.
#[tokio::test(start_paused = true)]
async fn what_answers_a_request_is_dropped_when_its_connection_goes_away() {
    for path in ["/poll", "/silent", "/stream", "/ticks", "/large", "/upload", "/spawned"] {
        let lives = Lives::default();
        let shared = lives.clone();
        let service = service_fn(move |request| answer(shared.clone(), request));
        let (client, _) = serve(limited(10), service).await;
        for _ in 0..5 {
            client.open(&Request::post(format!("http://localhost{path}")).body(()).unwrap(), false).unwrap();
        }
        client.round_trip().await;
        settle().await;
        assert!(lives.count() >= 5, "{path}");
        client.act(|machine| machine.close(Reason::NO_ERROR));
        settle().await;
        assert_eq!(lives.count(), 0, "{path}");
    }
}

/// By the low-level way nobody drops an answer but the one who gives it: it hears that nobody awaits it any more.
#[tokio::test]
async fn a_silent_answer_by_the_low_level_way_ends_with_its_stream() {
    let (mut connection, client) = pair().await;
    let id = client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
    let stream = within(connection.next()).await.unwrap().unwrap();
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>());
    let answered = tokio::spawn(stream.respond(Response::new(silent)));
    client.response(id).await.unwrap();
    client.reset(id, Reason::CANCEL);
    within(answered).await.unwrap();
}

/// Requests that nobody takes, and that their client gave up, do not gather.
#[tokio::test(start_paused = true)]
async fn requests_given_up_before_they_are_taken_are_forgotten() {
    let (mut connection, client) = pair().await;
    let request = Request::get("http://localhost/").body(()).unwrap();
    for _ in 0..1000 {
        let id = client.open(&request, true).unwrap();
        sleep(Duration::from_millis(10)).await;
        client.reset(id, Reason::CANCEL);
        client.act(|machine| machine.stream(id).unwrap().release());
        client.round_trip().await;
    }
    assert_eq!(client.state().closed, None);
    let mut request = Request::get("http://localhost/last").body(()).unwrap();
    let id = client.open(&request, true).unwrap();
    // What waits to be taken is bounded: the last is refused, and comes again once there is room.
    assert_eq!(client.response(id).await.unwrap_err(), Reason::REFUSED_STREAM);
    let taken = tokio::spawn(async move { (connection.next().await.unwrap().unwrap(), connection) });
    settle().await;
    *request.uri_mut() = "http://localhost/again".parse().unwrap();
    client.open(&request, true).unwrap();
    let (stream, _connection) = within(taken).await.unwrap();
    assert_eq!(stream.uri().path(), "/again");
    assert_eq!(client.state().closed, None);
}

/// Opens a socket whose peer will never end its half.
async fn open(client: &Client) -> Socket {
    Socket::on(client, &handshake("/")).await.unwrap()
}

/// How a stream was reset, and when.
async fn reset(client: &Client, id: StreamId) -> (Reason, Duration) {
    let start = Instant::now();
    let reason = within(client.until(|state| state.heard(id).reset)).await;
    (reason, start.elapsed())
}

/// RFC 9113 §8.1: once both have said Close and our half is ended, the stream is over for us, and its place free: NO_ERROR says
/// so to a peer that does not end its half, as Firefox never does.
#[tokio::test(start_paused = true)]
async fn a_peer_that_said_close_and_does_not_end_its_half_is_let_go() {
    let told = |mut socket: WebSocket| async move { socket.close_with(CloseCode::from(3000), "bye").await };
    let ended = |socket: WebSocket| async move { drop(socket) };
    let waits = |mut socket: WebSocket| async move {
        let result = echo(&mut socket).await;
        sleep(Duration::from_secs(2)).await;
        result
    };
    async fn echo(socket: &mut WebSocket) -> Result {
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    }
    let (client, handle) = serve(Server::new(), websocket(waits)).await;
    let mut peer = open(&client).await;
    peer.check_echo("hello").await;
    peer.close(CloseCode::NORMAL, "").await;
    assert!(matches!(peer.event().await, Event::Close(_)));
    assert_eq!(peer.ending().await, Ending::End);
    let (reason, time) = reset(&client, peer.id()).await;
    assert_eq!(reason, Reason::NO_ERROR);
    assert!(time <= Duration::from_millis(110), "{time:?}");
    check_no_fault(&handle);

    // We close first, and the peer answers; its answer comes to a socket, or to nobody.
    let (client, handle) = serve(Server::new(), websocket(told)).await;
    let mut peer = open(&client).await;
    assert!(matches!(peer.event().await, Event::Close(_)));
    assert_eq!(peer.ending().await, Ending::End);
    assert_eq!(reset(&client, peer.id()).await.0, Reason::NO_ERROR);
    check_no_fault(&handle);
    let (client, handle) = serve(Server::new(), websocket(ended)).await;
    let mut peer = open(&client).await;
    assert!(matches!(peer.event().await, Event::Close(_)));
    assert_eq!(peer.ending().await, Ending::End);
    let (reason, time) = reset(&client, peer.id()).await;
    assert_eq!(reason, Reason::NO_ERROR);
    assert!(time <= Duration::from_millis(110), "{time:?}");
    check_no_fault(&handle);
}

/// A socket that was dropped with messages unread, and the peer's Close behind them, has heard it all the same.
#[tokio::test(start_paused = true)]
async fn a_close_that_nobody_read_counts() {
    let unread = |socket: WebSocket| async move {
        sleep(Duration::from_secs(1)).await;
        drop(socket);
    };
    let (client, handle) = serve(Server::new(), websocket(unread)).await;
    let mut peer = open(&client).await;
    for _ in 0..3 {
        peer.send("unread").await;
        settle().await;
    }
    peer.close(CloseCode::NORMAL, "").await;
    assert!(matches!(peer.event().await, Event::Close(_)));
    assert_eq!(peer.ending().await, Ending::End);
    assert_eq!(reset(&client, peer.id()).await.0, Reason::NO_ERROR);
    check_no_fault(&handle);
}

/// A page of Firefox with 60 sockets, reloaded 20 times at a limit of 100: no socket is refused, and none waits. Its sockets
/// count in its own books until they are reset, so it waits for that.
#[tokio::test(start_paused = true)]
async fn a_page_that_never_ends_its_halves_is_reloaded() {
    let (client, handle) = serve(limited(100), websocket(echo)).await;
    for _ in 0..20 {
        let start = Instant::now();
        let mut sockets = Vec::new();
        for _ in 0..60 {
            within(client.until(|state| (state.machine.active_stream_count() < 100).then_some(()))).await;
            sockets.push(open(&client).await);
        }
        assert!(start.elapsed() <= Duration::from_millis(110), "{:?}", start.elapsed());
        for socket in &mut sockets {
            socket.close(CloseCode::GOING_AWAY, "").await;
        }
        settle().await;
    }
    check_no_fault(&handle);
}

/// A new stream that would be one too many takes the place of one of which only the peer's end is awaited, at once: also of one
/// whose peer has not answered our Close. Its peer here keeps no books, as one does that counts otherwise than we.
#[tokio::test(start_paused = true)]
async fn a_stream_at_its_end_makes_place() {
    const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xE8";
    const TOO_LONG: &[u8] = b"\x82\x82\0\0\0\0no";
    let parted = |octets: &'static [u8]| async move {
        let server = limited(2);
        let handle = server.handle();
        let service = websocket(echo).max_message_size(1);
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { server.serve_connection(ours, service).await });
        theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").await.unwrap();
        let start = Instant::now();
        for number in 0..100_u32 {
            let stream_id = 2 * number + 1;
            theirs.write_all(&connect(stream_id)).await.unwrap();
            theirs.write_all(&frame(0, 0, stream_id, octets)).await.unwrap();
            settle().await;
        }
        assert!(start.elapsed() < Duration::from_millis(50));
        assert_eq!(handle.counter(Counter::WebSockets), 100);
        check_no_fault_but(&handle, Counter::CloseTimeouts);
    };
    parted(CLOSE).await;
    parted(TOO_LONG).await;
}

fn frame(kind: u8, flags: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat()
}

/// HEADERS of an extended CONNECT.
fn connect(stream_id: u32) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 6] = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", b"/"),
        (b"sec-websocket-version", b"13"),
    ];
    let mut block = bytes::BytesMut::new();
    Encoder::new(0).encode(fields.map(|(name, value)| Field::new(name, value)), &mut block);
    frame(1, 4, stream_id, &block)
}

/// A handler's stream is over. It gets its seconds to see that, and holds no place; one that never looks is dropped then.
#[tokio::test(start_paused = true)]
async fn a_handler_that_never_receives_is_dropped_in_time() {
    let lives = Lives::default();
    let shared = lives.clone();
    let handler = move |socket: WebSocket| {
        let life = shared.begin();
        async move {
            let _held = (socket, life);
            pending::<()>().await;
        }
    };
    let (client, handle) = serve(limited(1), websocket(handler)).await;
    for round in 1..=50 {
        let socket = open(&client).await;
        client.reset(socket.id(), Reason::CANCEL);
        client.round_trip().await;
        assert_eq!(lives.count(), round, "each has its seconds");
    }
    sleep(Duration::from_millis(4900)).await;
    assert_eq!(lives.count(), 50);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(lives.count(), 0);
    assert_eq!(handle.counter(Counter::HandlersDropped), 50);
    for counter in [Counter::StreamsRefused, Counter::ResetsForFaults, Counter::CloseTimeouts] {
        assert_eq!(handle.counter(counter), 0, "{counter:?}");
    }
}

/// The same where its connection ends with its stream.
#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_its_connection_is_dropped_in_time() {
    let http1 = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let http2 = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", connect(1).as_slice()].concat();
    for handshake in [http1.as_bytes(), &http2] {
        let lives = Lives::default();
        let shared = lives.clone();
        let server = Server::new();
        let handle = server.handle();
        let service = websocket(move |socket: WebSocket| {
            let life = shared.begin();
            async move {
                let _held = (socket, life);
                pending::<()>().await;
            }
        });
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { server.serve_connection(ours, service).await });
        theirs.write_all(handshake).await.unwrap();
        settle().await;
        drop(theirs);
        sleep(Duration::from_millis(4900)).await;
        assert_eq!((lives.count(), handle.counter(Counter::HandlersDropped)), (1, 0));
        sleep(Duration::from_millis(200)).await;
        assert_eq!((lives.count(), handle.counter(Counter::HandlersDropped)), (0, 1));
    }
}

/// However many handlers outlive their streams, they are bounded: the oldest is dropped, and nothing is refused.
#[tokio::test(start_paused = true)]
async fn handlers_that_outlive_their_streams_are_bounded() {
    let lives = Lives::default();
    let shared = lives.clone();
    let handler = move |socket: WebSocket| {
        let life = shared.begin();
        async move {
            let _held = (socket, life);
            pending::<()>().await;
        }
    };
    let server = Server::new().limits(Limits::new().max_closed_streams(10));
    let (client, handle) = serve(server, websocket(handler)).await;
    for _ in 0..1000 {
        let socket = open(&client).await;
        client.reset(socket.id(), Reason::CANCEL);
        client.round_trip().await;
        assert!(lives.count() <= 11, "{}", lives.count());
    }
    assert_eq!(handle.counter(Counter::StreamsRefused), 0);
    assert_eq!(handle.counter(Counter::HandlersDropped), 991);
}

/// A handler by the low-level way runs in a task of its own, for which the same holds.
#[tokio::test(start_paused = true)]
async fn a_spawned_handler_is_dropped_in_time() {
    let lives = Lives::default();
    let (mut connection, client) = pair().await;
    for ended in [false, true] {
        let life = lives.begin();
        let accepted = tokio::spawn(async move {
            let mut stream = connection.next().await.unwrap().unwrap();
            let upgrade = sockeye::Upgrade::from_request(stream.request()).unwrap();
            stream
                .respond(upgrade.accept(|mut socket: WebSocket| async move {
                    let _life = life;
                    socket.recv().await.ok();
                    pending::<()>().await;
                }))
                .await;
            connection
        });
        let mut socket = open(&client).await;
        connection = accepted.await.unwrap();
        if ended {
            socket.close(CloseCode::NORMAL, "").await;
            socket.end().await;
        } else {
            client.reset(socket.id(), Reason::CANCEL);
        }
        client.round_trip().await;
        settle().await;
        assert_eq!(lives.count(), 1);
        sleep(Duration::from_millis(5100)).await;
        assert_eq!(lives.count(), 0, "ended: {ended}");
    }
}

/// A handler that has more to do after its socket has ended cleanly is let go on.
#[tokio::test(start_paused = true)]
async fn a_handler_may_go_on_after_its_socket() {
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |socket: WebSocket| {
        let sender = sender.clone();
        async move {
            echo(socket).await.ok();
            sleep(Duration::from_secs(3)).await;
            sender.send(()).unwrap();
        }
    };
    let (client, handle) = serve(limited(1), websocket(handler)).await;
    for _ in 0..3 {
        let mut socket = open(&client).await;
        socket.close(CloseCode::NORMAL, "").await;
        assert!(matches!(socket.event().await, Event::Close(_)));
        socket.end().await;
    }
    for _ in 0..3 {
        within(done.recv()).await.unwrap();
    }
    check_no_fault(&handle);
}

/// A refusal is a whole answer, so a CONNECT that it is given to holds no place, though its client does not end its half.
#[tokio::test(start_paused = true)]
async fn a_refused_handshake_holds_no_place() {
    let service = websocket(echo)
        .options(SocketOptions::new().origins(sockeye::OriginPolicy::List(vec!["https://example.com".into()])));
    let (client, handle) = serve(limited(1), service).await;
    let mut handshake = handshake("/");
    handshake.headers.insert("origin", "https://elsewhere.example".parse().unwrap());
    for _ in 0..100 {
        assert_eq!(Socket::on(&client, &handshake).await.err().unwrap(), 403);
        within(client.until(|state| (state.machine.active_stream_count() == 0).then_some(()))).await;
    }
    for counter in [Counter::StreamsRefused, Counter::ResetsForFaults, Counter::CloseTimeouts] {
        assert_eq!(handle.counter(counter), 0, "{counter:?}");
    }
}

/// A closed tab of Chromium is one RST_STREAM(CANCEL) for each of its sockets, and no Close: the commonest end of all. It is
/// told as "went away" (RFC 6455 §7.1.5: 1006), what had arrived before is delivered, and nobody is at fault. So is
/// RST_STREAM(NO_ERROR); any other code is told as it is.
#[tokio::test]
async fn a_closed_tab_went_away() {
    let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |mut socket: WebSocket| {
        let sender = sender.clone();
        async move {
            let first = socket.recv().await;
            sender.send((first, socket.recv().await, socket.send("late").await)).unwrap();
        }
    };
    let (client, handle) = serve(Server::new(), websocket(handler)).await;
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let mut sockets = Vec::new();
        for _ in 0..10 {
            sockets.push(open(&client).await);
        }
        for socket in &mut sockets {
            socket.send("last").await;
            client.reset(socket.id(), reason);
        }
        for _ in 0..10 {
            let (first, second, sent) = within(results.recv()).await.unwrap();
            assert_eq!(first.unwrap(), Some("last".into()));
            for error in [second.unwrap_err(), sent.unwrap_err()] {
                match error {
                    Error::Abnormal => assert_ne!(reason, Reason::INTERNAL_ERROR),
                    Error::Reset { reason: told, by: Side::Client } => {
                        assert_eq!((told, reason), (Reason::INTERNAL_ERROR, Reason::INTERNAL_ERROR));
                    }
                    error => panic!("{error}"),
                }
            }
        }
    }
    assert_eq!(handle.counter(Counter::ResetsReceived), 30);
    check_no_fault(&handle);
    assert_eq!(handle.connections()[0].sockets, 0);
}

/// What panics as it is dropped: a handler's future, one that panicked before, what a panic carries.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as it is dropped");
        }
    }
}

/// A handler that panics, be it as it is dropped, or by what its panic carries, ends alone: its siblings go on, and what they
/// send is theirs.
#[tokio::test]
async fn a_handler_that_panics_as_it_is_dropped_takes_nobody_with_it() {
    async fn handler(mut socket: WebSocket) -> Result {
        let path = socket.request().uri.path().to_owned();
        match &path[..] {
            // The future is dropped when it is done, and with it what it holds.
            "/future" => {
                socket.recv().await?;
                let _bomb = Bomb;
                Ok(())
            }
            "/payload" => {
                socket.recv().await?;
                std::panic::panic_any(Bomb);
            }
            // It is dropped while it waits, since its stream is over.
            "/waiting" => {
                let _bomb = Bomb;
                pending().await
            }
            _ => echo(socket).await,
        }
    }
    let handled = |socket: WebSocket| {
        let bomb = if socket.request().uri.path() == "/held" { Some(Bomb) } else { None };
        // The bomb is dropped with the future, after that is done.
        let held = Arc::new(Mutex::new(bomb));
        let inner = handler(socket);
        async move {
            let _held = held;
            inner.await
        }
    };
    let server = Server::new().limits(Limits::new().close_timeout(Duration::from_millis(50)));
    let (client, handle) = serve(server, websocket(handled)).await;
    let mut sibling = Socket::on(&client, &handshake("/echo")).await.unwrap();
    for path in ["/future", "/payload", "/held", "/waiting"] {
        for _ in 0..3 {
            let panics = handle.counter(Counter::Panics);
            let mut socket = Socket::on(&client, &handshake(path)).await.unwrap();
            sibling.check_echo("before").await;
            if path == "/waiting" {
                client.reset(socket.id(), Reason::CANCEL);
            } else {
                socket.send("go").await;
                if path == "/held" {
                    socket.close(CloseCode::NORMAL, "").await;
                }
                assert!(matches!(socket.ending().await, Ending::End));
            }
            within(async {
                while handle.counter(Counter::Panics) == panics {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            sibling.check_echo("after").await;
            assert_eq!(client.state().closed, None, "{path}");
        }
    }
}
