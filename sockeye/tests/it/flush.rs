//! What was flushed is with the transport: whoever sends, flushes and ends, and has left nothing unread, loses nothing.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::{Client, Error, Message, Result, Server, WebSocket, websocket};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, DuplexStream, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::common::{self, poll_now, settle, within};

/// Messages that a program sends before it ends, and their size. All of them are less than a peer gives credit back for: where a
/// program leaves something unread, its system breaks the connection off, with what is still to go out (RFC 1122 §4.2.2.13).
const MESSAGES: usize = 200;
const SIZE: usize = 100;

/// What a program does between its last message and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Flush,
    FlushOfHalf,
    FlushOfSink,
    Close,
    CloseOfSink,
}

const LASTS: [Last; 5] = [Last::Flush, Last::FlushOfHalf, Last::FlushOfSink, Last::Close, Last::CloseOfSink];

/// Who ends, and by what.
#[derive(Clone, Debug)]
struct Way {
    is_server: bool,
    http2: bool,
    tls: bool,
    threads: bool,
    last: Last,
}

impl Way {
    fn name(&self) -> String {
        let Self { is_server, http2, tls, threads, last } = self;
        let last = LASTS.iter().position(|each| each == last).unwrap();
        format!("{} {} {} {} {last}", *is_server as u8, *http2 as u8, *tls as u8, *threads as u8)
    }

    fn parse(name: &str) -> Self {
        let numbers: Vec<usize> = name.split(' ').map(|word| word.parse().unwrap()).collect();
        let &[is_server, http2, tls, threads, last] = &numbers[..] else { panic!("{name}") };
        let [is_server, http2, tls, threads] = [is_server, http2, tls, threads].map(|number| number == 1);
        Self { is_server, http2, tls, threads, last: LASTS[last] }
    }

    fn server(&self, files: &Files) -> Server {
        if !self.tls {
            return Server::new();
        }
        let certificate = CertificateDer::from(std::fs::read(files.certificate()).unwrap());
        let key = PrivatePkcs8KeyDer::from(std::fs::read(files.key()).unwrap()).into();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Server::new().tls(config)
    }

    async fn open(&self, addr: SocketAddr, files: &Files) -> (Client, WebSocket) {
        let builder = if self.http2 { Client::builder().http2_only() } else { Client::builder().http1_only() };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(std::fs::read(files.certificate()).unwrap())).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let scheme = if self.tls { "wss" } else { "ws" };
        let url = format!("{scheme}://localhost:{}", addr.port());
        let builder = builder.tls(config).connector(move |_| tokio::net::TcpStream::connect(addr));
        let client = builder.connect(&url).await.unwrap();
        let socket = client.open("/").await.unwrap();
        (client, socket)
    }

    /// What the program does, that does not live to see what becomes of it.
    async fn end(&self, mut socket: WebSocket) -> Result {
        let message = || Message::from(vec![7; SIZE]);
        match self.last {
            Last::FlushOfHalf => {
                let (mut sender, _receiver) = socket.split();
                for _ in 0..MESSAGES {
                    sender.send(message()).await?;
                }
                sender.flush().await?;
            }
            Last::FlushOfSink | Last::CloseOfSink => {
                for _ in 0..MESSAGES {
                    SinkExt::<Message>::feed(&mut socket, message()).await?;
                }
                match self.last {
                    Last::FlushOfSink => SinkExt::<Message>::flush(&mut socket).await?,
                    _ => SinkExt::<Message>::close(&mut socket).await?,
                }
            }
            Last::Flush | Last::Close => {
                for _ in 0..MESSAGES {
                    socket.send(message()).await?;
                }
                match self.last {
                    Last::Flush => socket.flush().await?,
                    _ => socket.close().await?,
                }
            }
        }
        std::process::exit(0);
    }
}

/// What both programs know.
#[derive(Clone)]
struct Files(PathBuf);

impl Files {
    fn make() -> Self {
        let folder = std::env::temp_dir().join(format!("sockeye-flush-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(files.certificate(), made.cert.der()).unwrap();
        std::fs::write(files.key(), made.signing_key.serialize_der()).unwrap();
        files
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("certificate")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key")
    }
}

/// The program that ends: this test, by itself in a process of its own.
#[test]
#[ignore = "run by the other tests"]
fn program() {
    let Ok(way) = std::env::var("SOCKEYE_FLUSH_WAY") else { return };
    let way = Way::parse(&way);
    let files = Files(std::env::var("SOCKEYE_FLUSH_FILES").unwrap().into());
    let mut runtime = if way.threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    runtime.enable_all().worker_threads(2).build().unwrap().block_on(async {
        if !way.is_server {
            let addr = std::env::var("SOCKEYE_FLUSH_ADDR").unwrap().parse().unwrap();
            let (_client, socket) = way.open(addr, &files).await;
            return way.end(socket).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nlistening {}", listener.local_addr().unwrap());
        let ending = way.clone();
        let service = websocket(move |socket| {
            let way = ending.clone();
            async move { way.end(socket).await }
        });
        way.server(&files).serve(listener, service).await.unwrap();
    });
}

/// What came of a socket whose peer ended: messages, and whether the last thing was its Close.
async fn drain(mut socket: WebSocket) -> (usize, Result<bool>) {
    let mut messages = 0;
    loop {
        match socket.recv().await {
            Ok(Some(message)) => {
                assert_eq!(message.len(), SIZE);
                messages += 1;
            }
            Ok(None) => return (messages, Ok(true)),
            Err(error) => return (messages, Err(error)),
        }
    }
}

async fn check(way: Way, files: &Files) {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["flush::program", "--exact", "--ignored", "--nocapture"]).kill_on_drop(true);
    command.env("SOCKEYE_FLUSH_WAY", way.name()).env("SOCKEYE_FLUSH_FILES", &files.0).stdout(Stdio::piped());
    let (messages, end) = if way.is_server {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = loop {
            let line = lines.next_line().await.unwrap().expect("a line that says where");
            if let Some(addr) = line.strip_prefix("listening ") {
                break addr.parse().unwrap();
            }
        };
        let (_client, socket) = way.open(addr, files).await;
        drain(socket).await
    } else {
        let (sender, mut drained) = mpsc::unbounded_channel();
        let service = websocket(move |socket| {
            let sender = sender.clone();
            async move { sender.send(drain(socket).await).unwrap() }
        });
        let running = common::start(way.server(files), service).await;
        let mut child = command.env("SOCKEYE_FLUSH_ADDR", running.addr.to_string()).spawn().unwrap();
        let drained = drained.recv().await.unwrap();
        assert!(child.wait().await.unwrap().success(), "{way:?}");
        drained
    };
    assert_eq!(messages, MESSAGES, "{way:?}: {end:?}");
    let closes = matches!(way.last, Last::Close | Last::CloseOfSink);
    // Halves that are dropped before the end may have said a Close, too.
    assert!(!closes || matches!(end, Ok(true)), "{way:?}: {end:?}");
}

/// Over HTTP/1.1, HTTP/2 and TLS, on either kind of runtime, by client and server, whatever flushes.
#[tokio::test]
async fn a_program_that_flushes_and_exits_loses_nothing() {
    let files = Files::make();
    for number in 0..16 {
        let [is_server, http2, tls, threads] = [1, 2, 4, 8].map(|bit| number & bit != 0);
        for last in LASTS {
            within(check(Way { is_server, http2, tls, threads, last }, &files)).await;
        }
    }
    std::fs::remove_dir_all(&files.0).unwrap();
}

/// A transport that can be told to take nothing, to keep what it takes until it is flushed, or to fail.
#[derive(Clone)]
struct Gate(Arc<Mutex<Gated>>);

struct Gated {
    shut: bool,
    kept: Vec<u8>,
    broken: bool,
    waiting: Option<Waker>,
}

struct Slow {
    transport: DuplexStream,
    gate: Gate,
}

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Gated { shut: false, kept: Vec::new(), broken: false, waiting: None })))
    }

    fn shut(&self) {
        self.0.lock().unwrap().shut = true;
    }

    fn open(&self) {
        let mut gated = self.0.lock().unwrap();
        gated.shut = false;
        if let Some(waiting) = gated.waiting.take() {
            waiting.wake();
        }
    }

    fn fail(&self) {
        self.0.lock().unwrap().broken = true;
        self.open();
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().kept.is_empty()
    }
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Slow {
    /// As TLS does, this takes octets that it does not pass on.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let mut gated = self.gate.0.lock().unwrap();
        if gated.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if gated.kept.len() > 4096 {
            drop(gated);
            if self.poll_flush(cx)?.is_pending() {
                return Poll::Pending;
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        gated.kept.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut gated = this.gate.0.lock().unwrap();
        if gated.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while !gated.kept.is_empty() {
            if gated.shut {
                gated.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            match Pin::new(&mut this.transport).poll_write(cx, &gated.kept)? {
                Poll::Ready(n) => drop(gated.kept.drain(..n)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.as_mut().poll_flush(cx)? {
            Poll::Ready(()) => Pin::new(&mut self.transport).poll_shutdown(cx),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A client and a server with a gate between them: what the side that is asked for sends passes it.
async fn gated(http2: bool, side: sockeye_side::Side) -> (WebSocket, WebSocket, Gate, Client) {
    let (service, mut sockets) = common::hand_over();
    let gate = Gate::new();
    let passed = gate.clone();
    let connect = move |_| {
        let (near, far) = tokio::io::duplex(1 << 20);
        let [client_gate, server_gate] = match side {
            sockeye_side::Side::Client => [passed.clone(), Gate::new()],
            sockeye_side::Side::Server => [Gate::new(), passed.clone()],
        };
        let far = Slow { transport: far, gate: server_gate };
        let service = service.clone();
        tokio::spawn(async move { Server::new().serve_connection(far, service).await });
        async move { Ok(Slow { transport: near, gate: client_gate }) }
    };
    let builder = Client::builder().connector(connect);
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    let client = within(builder.connect("ws://localhost")).await.unwrap();
    let socket = within(client.open("/").into_future()).await.unwrap();
    let peer = within(sockets.recv()).await.unwrap();
    match side {
        sockeye_side::Side::Client => (socket, peer, gate, client),
        sockeye_side::Side::Server => (peer, socket, gate, client),
    }
}

mod sockeye_side {
    #[derive(Clone, Copy, Debug)]
    pub(super) enum Side {
        Client,
        Server,
    }
}

/// Both versions, both sides.
async fn on_every_side<F: AsyncFn(WebSocket, WebSocket, Gate)>(check: F) {
    for http2 in [false, true] {
        for side in [sockeye_side::Side::Client, sockeye_side::Side::Server] {
            let (socket, peer, gate, _client) = gated(http2, side).await;
            settle().await;
            check(socket, peer, gate).await;
        }
    }
}

#[tokio::test]
async fn flush_waits_for_the_transport() {
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, gate: Gate| {
        for round in 0..3 {
            gate.shut();
            socket.send("hello").await.unwrap();
            {
                let mut flush = pin!(socket.flush());
                for _ in 0..3 {
                    assert!(poll_now(&mut flush).await.is_pending(), "round {round}");
                    settle().await;
                }
                gate.open();
                within(flush).await.unwrap();
            }
            assert!(gate.is_empty());
            assert_eq!(within(peer.recv()).await.unwrap(), Some("hello".into()));
            // Nothing is left to be flushed.
            within(socket.flush()).await.unwrap();
        }
    })
    .await;
}

/// One that was given up says nothing of what is sent after it; several are as good as one.
#[tokio::test]
async fn flush_is_cancel_safe() {
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, gate: Gate| {
        gate.shut();
        socket.send("one").await.unwrap();
        assert!(poll_now(&mut pin!(socket.flush())).await.is_pending());
        settle().await;
        gate.open();
        settle().await;
        // The answer to the first is there, and nobody took it.
        gate.shut();
        socket.send("two").await.unwrap();
        settle().await;
        assert!(poll_now(&mut pin!(socket.flush())).await.is_pending(), "the answer of before counts for nothing");
        socket.send("three").await.unwrap();
        assert!(poll_now(&mut pin!(socket.flush())).await.is_pending());
        gate.open();
        let (flushed, _) = within(common::restarted(async || socket.flush().await)).await;
        flushed.unwrap();
        assert!(gate.is_empty());
        for text in ["one", "two", "three"] {
            assert_eq!(within(peer.recv()).await.unwrap(), Some(text.into()));
        }
    })
    .await;
}

/// A sink that takes another message while it is being flushed flushes that, too.
#[tokio::test]
async fn a_sink_flushes_what_came_meanwhile() {
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, gate: Gate| {
        gate.shut();
        SinkExt::<Message>::feed(&mut socket, "one".into()).await.unwrap();
        let mut poll_flush = async || {
            let mut flush = pin!(SinkExt::<Message>::flush(&mut socket));
            poll_fn(|cx| Poll::Ready(flush.as_mut().poll(cx))).await
        };
        assert!(poll_flush().await.is_pending());
        settle().await;
        gate.open();
        settle().await;
        gate.shut();
        SinkExt::<Message>::feed(&mut socket, "two".into()).await.unwrap();
        let mut flush = pin!(SinkExt::<Message>::flush(&mut socket));
        for _ in 0..3 {
            assert!(poll_fn(|cx| Poll::Ready(flush.as_mut().poll(cx))).await.is_pending());
            settle().await;
        }
        gate.open();
        within(flush).await.unwrap();
        assert!(gate.is_empty());
        assert_eq!(within(peer.next()).await.unwrap().unwrap(), "one".into());
        assert_eq!(within(peer.next()).await.unwrap().unwrap(), "two".into());
    })
    .await;
}

/// A transport that fails ends the wait, and one that takes nothing does so within its time.
#[tokio::test(start_paused = true)]
async fn flush_ends_with_its_connection() {
    on_every_side(async |mut socket: WebSocket, _peer: WebSocket, gate: Gate| {
        gate.shut();
        socket.send("hello").await.unwrap();
        let mut flush = Box::pin(socket.flush());
        assert!(poll_now(&mut flush).await.is_pending());
        settle().await;
        gate.fail();
        assert!(matches!(within(flush).await, Err(Error::Disconnected)));
        assert!(within(socket.flush()).await.is_err());
    })
    .await;
    on_every_side(async |mut socket: WebSocket, _peer: WebSocket, gate: Gate| {
        gate.shut();
        let large = Message::from(vec![7; 60_000]);
        socket.send(large.clone()).await.unwrap();
        socket.send(large).await.unwrap();
        let flushed = tokio::time::timeout(Duration::from_secs(90), socket.flush()).await;
        assert!(flushed.unwrap().is_err(), "the write timeout is 60 seconds");
    })
    .await;
}

/// `close` waits for the transport, too: for our Close, or the end of our half.
#[tokio::test]
async fn close_waits_for_the_transport() {
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, gate: Gate| {
        // The peer begins: our answer is the last.
        let closing = tokio::spawn(async move { peer.close().await });
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        within(socket.close()).await.unwrap();
        assert!(gate.is_empty());
        within(closing).await.unwrap().unwrap();
    })
    .await;
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, gate: Gate| {
        gate.shut();
        let closing = tokio::spawn(async move {
            socket.close().await.unwrap();
            socket
        });
        settle().await;
        assert!(!closing.is_finished());
        gate.open();
        assert_eq!(within(peer.recv()).await.unwrap(), None);
        within(closing).await.unwrap();
        settle().await;
        assert!(gate.is_empty());
    })
    .await;
}

/// A handler flushes in its connection's task; so do a hundred at once, and each only what it needs.
#[tokio::test]
async fn handlers_flush_in_their_connections_task() {
    for http2 in [false, true] {
        let running = common::start_websocket(async |mut socket: WebSocket| {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
                socket.flush().await?;
                SinkExt::<Message>::flush(&mut socket).await?;
            }
            socket.flush().await
        })
        .await;
        let builder = if http2 { Client::builder().http2_only() } else { Client::builder().http1_only() };
        let client = builder.connect(&format!("ws://{}", running.addr)).await.unwrap();
        let mut sockets = Vec::new();
        for _ in 0..50 {
            sockets.push(within(client.open("/").into_future()).await.unwrap());
        }
        for round in 0..5 {
            for socket in &mut sockets {
                socket.send(format!("{round}")).await.unwrap();
            }
            for socket in &mut sockets {
                within(socket.flush()).await.unwrap();
                assert_eq!(within(socket.recv()).await.unwrap(), Some(format!("{round}").into()));
            }
        }
        for socket in &mut sockets {
            within(socket.close()).await.unwrap();
        }
    }
}

/// Octets that arrived before the connection went away are delivered, however slowly they are received.
#[tokio::test]
async fn what_arrived_before_the_end_is_delivered() {
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, gate: Gate| {
        for _ in 0..12 {
            socket.send(vec![7; SIZE]).await.unwrap();
            within(socket.flush()).await.unwrap();
            settle().await;
        }
        gate.fail();
        // The connection finds out as it writes.
        socket.send("lost").await.ok();
        settle().await;
        drop(socket);
        settle().await;
        for _ in 0..12 {
            assert_eq!(within(peer.recv()).await.unwrap(), Some(vec![7; SIZE].into()));
        }
        assert!(within(peer.recv()).await.is_err());
    })
    .await;
}

/// What was flushed stays so until more is sent, however often it is asked: a codec flushes again before it closes, each time that it
/// is woken, and a fanout flushes both of its sinks.
#[tokio::test]
async fn what_was_flushed_is_not_waited_for_again() {
    on_every_side(async |mut socket: WebSocket, mut peer: WebSocket, _gate: Gate| {
        let answering = async { while peer.recv().await.unwrap().is_some() {} };
        let closing = async {
            SinkExt::<Message>::feed(&mut socket, "one".into()).await.unwrap();
            poll_fn(|cx| {
                ready!(Sink::<Message>::poll_flush(Pin::new(&mut socket), cx))?;
                Sink::<Message>::poll_close(Pin::new(&mut socket), cx)
            })
            .await
            .unwrap();
            while socket.recv().await.unwrap().is_some() {}
        };
        within(async { tokio::join!(answering, closing) }).await;
    })
    .await;
    on_every_side(async |socket: WebSocket, peer: WebSocket, _gate: Gate| {
        let ((sender, mut receiver), (theirs, mut received)) = (socket.split(), peer.split());
        let mut both = SinkExt::<Message>::fanout(sender, theirs);
        for text in ["one", "two"] {
            within(both.send(Message::from(text))).await.unwrap();
            for receiver in [&mut receiver, &mut received] {
                assert_eq!(within(receiver.recv()).await.unwrap(), Some(text.into()));
            }
        }
    })
    .await;
}
