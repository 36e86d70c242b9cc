//! What a peer makes us hold by heads that cost it next to nothing, and by content that it does not take: by the octets that the
//! allocator has given out.

#![cfg(all(feature = "http2", feature = "web-socket"))]

mod heap;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sockeye::{Body, Counter, Handle, HttpService, Limits, Result, Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::heap::live;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const STREAMS: u32 = 1024;

/// Once nothing has changed for so many hundredths of a second.
async fn settled(hundredths: usize) -> usize {
    let (mut before, mut quiet) = (live(), 0);
    while quiet < hundredths {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = live();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    before
}

/// What has come to be held since: a connection gives its tables up a second after its last octet.
async fn held(since: usize) -> usize {
    settled(120).await.saturating_sub(since)
}

/// A peer that keeps nothing but the transport.
struct Peer {
    transport: TcpStream,
    next: u32,
}

/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// Flags.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Head,
    /// With this code.
    Reset(u8),
}

const REFUSED_STREAM: Answered = Answered::Reset(7);

/// An extended CONNECT, and a GET and a POST, without any entry for a table.
const CONNECT: &[u8] =
    b"\x02\x07CONNECT\0\x09:protocol\x09websocket\x86\x84\x01\x09localhost\0\x15sec-websocket-version\x0213";
const GET: &[u8] = b"\x82\x86\x84\x01\x09localhost";
const POST: &[u8] = b"\x83\x86\x84\x01\x09localhost";

/// A field of 3950 octets that goes into the table (RFC 7541 §6.2.1), and the octet that repeats it (§6.1).
fn dear() -> Vec<u8> {
    [&b"\x40\x03x-a\x7f\xEF\x1D"[..], &[b'a'; 3950]].concat()
}
const AGAIN: [u8; 4] = [0xBE; 4];

/// A field of so many octets that is nobody else's.
fn unique(number: u32, octets: usize) -> Vec<u8> {
    let value = format!("{number:0octets$}");
    let length = octets - 127;
    let length = [length as u8 & 0x7F | 0x80, (length >> 7) as u8 & 0x7F | 0x80, (length >> 14) as u8];
    [&b"\0\x03x-b\x7f"[..], &length, value.as_bytes()].concat()
}

/// What a browser says of itself.
fn browsers() -> Vec<u8> {
    let fields = [
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        ),
        ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cache-control", "no-cache"),
        ("origin", "http://localhost"),
        ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\""),
        ("sec-fetch-mode", "websocket"),
        ("cookie", "session=0123456789abcdef0123456789abcdef0123456789abcdef; theme=dark; consent=all"),
    ];
    let literal = |(name, value): (&str, &str)| {
        [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    fields.into_iter().flat_map(literal).collect()
}

impl Peer {
    async fn connect(addr: SocketAddr, window: u32) -> Self {
        let mut transport = TcpStream::connect(addr).await.unwrap();
        let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4][..], &window.to_be_bytes()].concat();
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &[0, 0, 0, 4, 1, 0, 0, 0, 0]].concat();
        transport.write_all(&preface).await.unwrap();
        Self { transport, next: 1 }
    }

    async fn send(&mut self, kind: u8, flags: u8, stream_id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat();
        self.transport.write_all(&frame).await.unwrap();
    }

    /// Opens a stream, and says which.
    async fn open(&mut self, flags: u8, block: &[&[u8]]) -> u32 {
        let stream_id = self.next;
        self.next += 2;
        self.send(HEADERS, flags | END_HEADERS, stream_id, &block.concat()).await;
        stream_id
    }

    /// What comes first of a head or a reset.
    async fn answered(&mut self) -> Answered {
        loop {
            let mut head = [0; 9];
            self.transport.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            self.transport.read_exact(&mut payload).await.unwrap();
            match head[3] {
                HEADERS => {
                    assert_eq!(payload[0], 0x88, "the status 200");
                    return Answered::Head;
                }
                RST_STREAM => return Answered::Reset(payload[3]),
                7 => panic!("GOAWAY {payload:?}"),
                _ => {}
            }
        }
    }

    async fn exchange(&mut self, flags: u8, block: &[&[u8]]) -> Answered {
        self.open(flags, block).await;
        self.answered().await
    }

    /// Until the server has seen all that was sent.
    async fn ping(&mut self) {
        self.send(6, 0, 0, b"12345678").await;
        loop {
            let mut head = [0; 9];
            self.transport.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            self.transport.read_exact(&mut payload).await.unwrap();
            if head[3] == 6 {
                return;
            }
        }
    }
}

async fn start<S: HttpService>(service: S) -> (SocketAddr, Handle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let config = Limits::new().max_concurrent_streams(STREAMS + 8);
    let server = Server::new().limits(config);
    let handle = server.handle();
    tokio::spawn(server.serve(listener, service));
    (addr, handle)
}

async fn listen(mut socket: WebSocket) -> Result {
    while socket.recv().await?.is_some() {}
    Ok(())
}

/// What a connection with so many sockets holds, each of which says this besides.
async fn sockets(more: impl Fn(u32) -> Vec<u8>) -> usize {
    let (addr, _) = start(websocket(listen)).await;
    let before = settled(30).await;
    let mut peer = Peer::connect(addr, 65_535).await;
    let dear = dear();
    for number in 0..STREAMS {
        let more = if number == 0 { dear.clone() } else { more(number) };
        assert_eq!(peer.exchange(0, &[CONNECT, &more]).await, Answered::Head, "socket {number}");
    }
    held(before).await
}

/// HPACK says 16 KiB in four octets: a socket that keeps them for its life keeps four octets and not much more, in whatever
/// order they come; a hundred browsers' heads are cheaper than as many texts.
async fn heads_of_sockets_are_kept_in_what_they_cost() {
    let plain = sockets(|_| Vec::new()).await;
    let same = sockets(|_| AGAIN.to_vec()).await;
    assert!(same <= plain + MIB, "{} KiB, {} of plain ones", same / KIB, plain / KIB);
    let others = sockets(|number| {
        [&AGAIN[..number as usize % 4], &[0, 1, b'b', 4][..], format!("{number:04}").as_bytes()].concat()
    })
    .await;
    assert!(others <= plain + MIB, "{} KiB, {} of plain ones", others / KIB, plain / KIB);
    let text = browsers();
    let browsers = sockets(|_| text.clone()).await;
    assert!(browsers <= plain + 64 * KIB, "{} KiB, {} of plain ones", browsers / KIB, plain / KIB);
    println!(
        "KiB of {STREAMS} sockets: plain {}, amplified {}, varied {}, browsers' {}",
        plain / KIB,
        same / KIB,
        others / KIB,
        browsers / KIB
    );
}

/// What nobody shares has a limit, past which streams are refused that the service does not hear of; and room again.
async fn heads_that_nobody_shares_have_a_limit() {
    let (addr, handle) = start(websocket(listen)).await;
    let before = settled(30).await;
    let mut peer = Peer::connect(addr, 65_535).await;
    let (mut open, mut refused) = (Vec::new(), 0);
    for number in 0..STREAMS {
        let stream_id = peer.open(0, &[CONNECT, &unique(number, 15_000)]).await;
        match peer.answered().await {
            Answered::Head => open.push(stream_id),
            answer => {
                assert_eq!(answer, REFUSED_STREAM);
                refused += 1;
            }
        }
    }
    assert!((100..200).contains(&open.len()), "{} are open", open.len());
    assert_eq!(handle.counter(Counter::HeadsRefused), refused);
    let octets = held(before).await;
    assert!(octets <= 3 * MIB, "{} KiB", octets / KIB);
    for stream_id in open {
        peer.send(RST_STREAM, 0, stream_id, &[0, 0, 0, 8]).await;
    }
    peer.ping().await;
    assert_eq!(peer.exchange(0, &[CONNECT, &unique(0, 15_000)]).await, Answered::Head);
}

/// A service that never answers, and holds every request.
async fn hold(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    pending::<()>().await;
    Ok(Response::new(request.into_body()))
}

/// The heads of requests that a service holds have the same limit, whether they are large or of many fields, and the peer's
/// part in each is a few octets. A browser's requests are far from it.
async fn requests_that_are_held_have_a_limit() {
    for (flags, start_of_block, more) in
        [(END_STREAM, GET, AGAIN.to_vec()), (0, POST, AGAIN.to_vec()), (END_STREAM, GET, vec![0x90; 90])]
    {
        let (addr, handle) = start(tower::service_fn(hold)).await;
        let before = settled(30).await;
        let mut peer = Peer::connect(addr, 0).await;
        peer.open(END_STREAM, &[GET, &dear()]).await;
        for _ in 1..STREAMS {
            peer.open(flags, &[start_of_block, &more]).await;
        }
        peer.ping().await;
        let octets = held(before).await;
        assert!(octets <= 3 * MIB, "{} KiB", octets / KIB);
        assert!(handle.counter(Counter::HeadsRefused) > 500, "{}", handle.counter(Counter::HeadsRefused));
        assert_eq!(peer.exchange(flags, &[start_of_block, &more]).await, REFUSED_STREAM);
    }
    let (addr, handle) = start(tower::service_fn(hold)).await;
    let mut peer = Peer::connect(addr, 65_535).await;
    for _ in 0..300 {
        peer.open(END_STREAM, &[GET, &browsers()]).await;
    }
    peer.ping().await;
    assert_eq!(handle.counter(Counter::HeadsRefused), 0);
}

/// Trailers that nobody reads are held, too.
async fn trailers_have_a_limit() {
    let (addr, handle) = start(tower::service_fn(hold)).await;
    let before = settled(30).await;
    let mut peer = Peer::connect(addr, 65_535).await;
    peer.open(END_STREAM, &[GET, &dear()]).await;
    for _ in 1..STREAMS {
        let stream_id = peer.open(0, &[POST]).await;
        peer.send(DATA, 0, stream_id, b"some").await;
        peer.send(HEADERS, END_STREAM | END_HEADERS, stream_id, &AGAIN).await;
    }
    peer.ping().await;
    let octets = held(before).await;
    assert!(octets <= 4 * MIB, "{} KiB", octets / KIB);
    assert!(handle.counter(Counter::HeadsRefused) > 500, "{}", handle.counter(Counter::HeadsRefused));
}

/// Many answers that wait with the same content hold it once.
async fn content_that_waits_is_shared() {
    for length in [600, 5000, 40_000, 150_000] {
        let page = Bytes::from(vec![b'p'; length]);
        let service = tower::service_fn(move |_: Request<Body>| {
            let page = page.clone();
            async { Ok::<_, Infallible>(Response::new(Full::new(page))) }
        });
        let (addr, _) = start(service).await;
        let before = settled(30).await;
        let mut peer = Peer::connect(addr, 0).await;
        for _ in 0..STREAMS {
            assert_eq!(peer.exchange(END_STREAM, &[GET]).await, Answered::Head);
        }
        let each = held(before).await / STREAMS as usize;
        assert!(each <= 1600, "{each} octets for each answer of {length}");
        println!("{each} octets for each answer of {length} that waits");
    }
}

/// A hostile server's answers are kept by a client as little as a client's by a server.
async fn a_clients_sockets_keep_little_of_the_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = async move {
        let (mut transport, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        transport.read_exact(&mut preface).await.unwrap();
        // SETTINGS_ENABLE_CONNECT_PROTOCOL, SETTINGS_MAX_CONCURRENT_STREAMS
        let settings = [&[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 3][..], &STREAMS.to_be_bytes()].concat();
        transport.write_all(&settings).await.unwrap();
        let mut is_first = true;
        loop {
            let mut head = [0; 9];
            if transport.read_exact(&mut head).await.is_err() {
                return;
            }
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            transport.read_exact(&mut payload).await.unwrap();
            let answer = match head[3] {
                4 if head[4] == 0 => vec![0, 0, 0, 4, 1, 0, 0, 0, 0],
                HEADERS => {
                    let more = if std::mem::take(&mut is_first) { dear() } else { AGAIN.to_vec() };
                    let block = [&[0x88][..], &more].concat();
                    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
                    [&length[1..], &[HEADERS, END_HEADERS], &head[5..], &block].concat()
                }
                _ => continue,
            };
            transport.write_all(&answer).await.unwrap();
        }
    };
    tokio::spawn(server);
    let config = Limits::new().max_concurrent_streams(STREAMS);
    let builder = sockeye::Client::builder().http2_only().limits(config);
    let client = builder.connect(&format!("ws://{addr}/")).await.unwrap();
    let before = settled(30).await;
    let mut sockets = Vec::new();
    for _ in 0..STREAMS - 1 {
        sockets.push(client.open("/").await.unwrap());
    }
    let each = held(before).await / sockets.len();
    assert!(each <= 1600, "{each} octets for each socket");
    assert_eq!(sockets.last().unwrap().response().unwrap().headers.get_all("x-a").iter().count(), 4);
}

/// One test for all, since they share the allocator that is counted.
#[tokio::test]
async fn a_peer_makes_us_hold_little_more_than_it_sends() {
    heads_of_sockets_are_kept_in_what_they_cost().await;
    heads_that_nobody_shares_have_a_limit().await;
    requests_that_are_held_have_a_limit().await;
    trailers_have_a_limit().await;
    content_that_waits_is_shared().await;
    a_clients_sockets_keep_little_of_the_answers().await;
}
