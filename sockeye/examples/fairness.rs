//! What a bystander waits beside one flood, on a server with a single thread.
//!
//!     cargo run --release -p sockeye --example fairness -- [SECONDS] [FLOOD...]
//!
//! A bystander sends a message each millisecond and gets it back; then again while one of the floods runs. For each flood one
//! line: the bystander's round trips before and during, what the server's thread spent, and how often the flood's connection was
//! ended. All of it runs in one process, so the machine needs as many processors as there are parties: three.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, Response};
use sockeye::socket::Extensions as WebSocketExtensions;
use sockeye::{Body, Deflate, Server, WebSocket, websocket};
use sockeye_proto::ws::{Config, Message, Role, WebSocket as Machine};
use tower::service_fn;
use tower_service::Service as _;

type Octets = Vec<u8>;

/// What a flood's connections do.
struct Flood {
    name: &'static str,
    connections: usize,
    opening: fn() -> Octets,
    /// Octets that go out again and again: made for the n-th time, with how many of them count against the stream's window.
    load: fn(u32) -> (Octets, usize),
}

const FLOODS: &[Flood] = &[
    Flood { name: "pongs", connections: 1, opening: open, load: |_| tunnel(&PONG.repeat(1300)) },
    Flood { name: "pongs-tiny-data", connections: 1, opening: open, load: |_| tiny(PONG, 200) },
    Flood { name: "inflate", connections: 1, opening: open, load: |_| tunnel(&bomb().repeat(12)) },
    Flood { name: "wrong-sockets", connections: 1, opening: preface, load: |n| (wrong(n, 100), 0) },
    Flood { name: "requests", connections: 1, opening: preface, load: |n| (requests(n, 100), 0) },
    Flood { name: "refused", connections: 1, opening: open, load: |n| (refused(n, 100), 0) },
    Flood { name: "ping", connections: 1, opening: preface, load: |_| (frame(6, 0, 0, &[0; 8]).repeat(500), 0) },
    Flood { name: "settings", connections: 1, opening: preface, load: |_| (frame(4, 0, 0, &[]).repeat(500), 0) },
    Flood { name: "priority", connections: 1, opening: preface, load: |_| (frame(2, 0, 9, &[0; 5]).repeat(500), 0) },
    Flood { name: "window", connections: 1, opening: open, load: |_| (frame(8, 0, 1, &[0, 0, 0, 1]).repeat(500), 0) },
    Flood { name: "empty-data", connections: 1, opening: open, load: |_| (frame(0, 0, 1, &[]).repeat(500), 0) },
    Flood { name: "unknown", connections: 1, opening: preface, load: |_| (frame(77, 0, 1, &[]).repeat(500), 0) },
    Flood { name: "tiny-data", connections: 1, opening: open, load: |_| tiny(HELLO, 200) },
    Flood { name: "echo", connections: 1, opening: open, load: |_| tunnel(&HELLO.repeat(800)) },
    Flood { name: "ten-echoes", connections: 10, opening: open, load: |_| tunnel(&HELLO.repeat(800)) },
    Flood { name: "http1-pipelined", connections: 1, opening: Vec::new, load: |_| (GET.repeat(200), 0) },
    Flood { name: "http1-pongs", connections: 1, opening: upgrade, load: |_| (PONG.repeat(2000), 0) },
    Flood { name: "http1-echo", connections: 1, opening: upgrade, load: |_| (HELLO.repeat(800), 0) },
    Flood { name: "http1-inflate", connections: 1, opening: upgrade, load: |_| (bomb().repeat(12), 0) },
];

/// Masked by zeros: an empty Pong, and a message of fourteen octets.
const PONG: &[u8] = b"\x8A\x80\0\0\0\0";
const HELLO: &[u8] = b"\x82\x8E\0\0\0\0hello, sockeye";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    let seconds = words.next_if(|word| word.parse::<f64>().is_ok()).map_or(2.0, |word| word.parse().unwrap_or(2.0));
    let names: Vec<_> = words.collect();
    let addr = serve();
    println!("{:<18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}", "flood", "p50", "p99", "p50", "p99", "CPU", "ended");
    for flood in FLOODS.iter().filter(|flood| names.is_empty() || names.iter().any(|name| name == flood.name)) {
        let before = bystander(addr, Duration::from_secs_f64(seconds / 2.0));
        let run = Arc::new(Run { over: AtomicBool::new(false), ended: AtomicU64::new(0) });
        let floods: Vec<_> = (0..flood.connections)
            .map(|_| {
                let run = run.clone();
                thread::spawn(move || flood.run(addr, &run))
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        let (cpu, begun) = (server_ticks(), Instant::now());
        let during = bystander(addr, Duration::from_secs_f64(seconds));
        let cpu = (server_ticks() - cpu) as f64 / begun.elapsed().as_secs_f64();
        run.over.store(true, Ordering::Relaxed);
        floods.into_iter().for_each(|flood| flood.join().unwrap_or(()));
        let [a, b, c, d] = [before[0], before[1], during[0], during[1]].map(|time| format!("{time:.2?}"));
        let ended = run.ended.load(Ordering::Relaxed);
        println!("{:<18} {a:>9} {b:>9} {c:>9} {d:>9} {cpu:>8.0}% {ended:>6}", flood.name);
    }
}

/// A server whose runtime has one thread.
fn serve() -> SocketAddr {
    let (sender, addr) = std::sync::mpsc::channel();
    thread::Builder::new()
        .name("server".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("an address")).expect("the main thread");
                Server::new().serve(listener, service_fn(answer)).await.expect("a listener");
            });
        })
        .expect("a thread");
    addr.recv().expect("a server")
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, std::convert::Infallible> {
    if request.uri().path() == "/echo" {
        return websocket(echo).deflate(Deflate::default()).call(request).await;
    }
    Ok(Response::new(Body::from("hello")))
}

async fn echo(mut socket: WebSocket) -> sockeye::Result {
    while let Some(message) = socket.recv().await? {
        // Nobody reads a megabyte here.
        if message.len() < 1000 {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Hundredths of a second that the server's thread has spent.
fn server_ticks() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let server = stats.filter(|stat| stat.contains("(server)"));
    server.map(|stat| stat.split(' ').skip(13).take(2).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>()).sum()
}

/// The middle and the 99th percentile of round trips, one begun in each millisecond.
fn bystander(addr: SocketAddr, time: Duration) -> [Duration; 2] {
    let mut transport = TcpStream::connect(addr).expect("the server");
    transport.set_nodelay(true).ok();
    transport.write_all(&upgrade()).expect("the server");
    let mut octets = [0; 4096];
    let mut head = Octets::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = transport.read(&mut octets).expect("an answer");
        head.extend(&octets[..read]);
    }
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let sent = Instant::now();
        transport.write_all(HELLO).expect("the server");
        let mut read = 0;
        while read < HELLO.len() - 4 {
            read += transport.read(&mut octets).expect("an echo");
        }
        times.push(sent.elapsed());
        thread::sleep(Duration::from_millis(1).saturating_sub(sent.elapsed()));
    }
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// What all connections of a flood know.
struct Run {
    over: AtomicBool,
    /// How often the server ended one.
    ended: AtomicU64,
}

impl Flood {
    fn run(&self, addr: SocketAddr, run: &Arc<Run>) {
        while !run.over.load(Ordering::Relaxed) {
            if self.connect(addr, run).is_err() && !run.over.load(Ordering::Relaxed) {
                run.ended.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// One connection, until the server ends it.
    fn connect(&self, addr: SocketAddr, run: &Arc<Run>) -> std::io::Result<()> {
        let mut transport = TcpStream::connect(addr)?;
        let opening = (self.opening)();
        // What stream 1 may still send: over HTTP/1.1 the transport says.
        let window = Arc::new(AtomicI64::new(if opening.starts_with(b"PRI") { 65_535 } else { i64::MAX / 2 }));
        transport.write_all(&opening)?;
        let (reader, credit, is_over) = (transport.try_clone()?, window.clone(), run.clone());
        let reader = thread::spawn(move || read(reader, &credit, &is_over));
        let mut n = 0;
        let ended = loop {
            if run.over.load(Ordering::Relaxed) || reader.is_finished() {
                break if reader.is_finished() { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) };
            }
            let (load, size) = (self.load)(n);
            n += 1;
            if window.fetch_sub(size as i64, Ordering::Relaxed) < size as i64 {
                window.fetch_add(size as i64, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(50));
                continue;
            }
            if let Err(error) = transport.write_all(&load) {
                break Err(error);
            }
        };
        transport.shutdown(std::net::Shutdown::Both).ok();
        reader.join().ok();
        ended
    }
}

/// Reads all there is, and takes note of what stream 1 may send.
fn read(mut transport: TcpStream, window: &AtomicI64, run: &Run) {
    let (mut octets, mut buffer) = (BytesMut::new(), vec![0; 64 << 10]);
    while let Ok(read @ 1..) = transport.read(&mut buffer) {
        if run.over.load(Ordering::Relaxed) {
            return;
        }
        if octets.is_empty() && buffer.starts_with(b"HTTP") || octets.starts_with(b"HTTP") {
            octets = BytesMut::from(&b"HTTP"[..]);
            continue;
        }
        octets.extend_from_slice(&buffer[..read]);
        while octets.len() >= 9 {
            let length = usize::from(octets[0]) << 16 | usize::from(octets[1]) << 8 | usize::from(octets[2]);
            if octets.len() < 9 + length {
                break;
            }
            let frame = octets.split_to(9 + length);
            if frame[3] == 8 && frame[8] == 1 {
                let increment = u32::from_be_bytes([frame[9], frame[10], frame[11], frame[12]]);
                window.fetch_add(increment.into(), Ordering::Relaxed);
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Octets {
    let length = payload.len();
    let head = [(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// RFC 9113 §3.4, with windows that nothing fills.
fn preface() -> Octets {
    let settings = frame(4, 0, 0, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]);
    let window = frame(8, 0, 0, &0x7FFF_0000_u32.to_be_bytes());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &frame(4, 1, 0, &[]), &window].concat()
}

fn field(name: &str, value: &str) -> Octets {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

const DEFLATE: (&str, &str) = ("sec-websocket-extensions", "permessage-deflate");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");

/// An extended CONNECT (RFC 8441 §4).
fn connect(stream: u32, fields: &[(&str, &str)]) -> Octets {
    let own = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/echo"),
        (":authority", "localhost"),
    ];
    let block: Octets = own.iter().chain(fields).flat_map(|(name, value)| field(name, value)).collect();
    frame(1, 4, stream, &block)
}

/// A connection with an open socket on stream 1.
fn open() -> Octets {
    [preface(), connect(1, &[VERSION, DEFLATE])].concat()
}

fn upgrade() -> Octets {
    let fields = "host: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
    let key = "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nsec-websocket-extensions: permessage-deflate\r\n";
    format!("GET /echo HTTP/1.1\r\n{fields}{key}\r\n").into_bytes()
}

/// Octets in the tunnel of stream 1.
fn tunnel(octets: &[u8]) -> (Octets, usize) {
    (octets.chunks(16 << 10).flat_map(|piece| frame(0, 0, 1, piece)).collect(), octets.len())
}

/// The same in DATA frames of one octet.
fn tiny(octets: &[u8], times: usize) -> (Octets, usize) {
    let octets = octets.repeat(times);
    (octets.chunks(1).flat_map(|piece| frame(0, 0, 1, piece)).collect(), octets.len())
}

/// A megabyte of zeros, compressed.
fn bomb() -> Octets {
    let extensions = WebSocketExtensions { deflate: Some(Deflate::default()), no_masking: false };
    let role = Role::Client { mask_key: || [0; 4] };
    let mut machine = Machine::new(role, Config::default()).with_extensions(extensions);
    machine.send(&Message::from(vec![0; 1 << 20])).expect("an open socket");
    let mut output = BytesMut::new();
    machine.poll_transmit(&mut output);
    output.to_vec()
}

/// Sockets of a version that nobody knows, each given up at once.
fn wrong(n: u32, count: u32) -> Octets {
    let ids = (0..count).map(|i| (n * count + i) * 2 + 1);
    ids.flat_map(|id| [connect(id, &[]), frame(0, 1, id, &[])].concat()).collect()
}

fn requests(n: u32, count: u32) -> Octets {
    let block = [&[0x82, 0x86, 0x84][..], &[0x41, 9], b"localhost"].concat();
    (0..count).flat_map(|i| frame(1, 5, (n * count + i) * 2 + 1, &block)).collect()
}

/// More sockets than there may be.
fn refused(n: u32, count: u32) -> Octets {
    (0..count).flat_map(|i| connect((n * count + i) * 2 + 3, &[VERSION])).collect()
}
