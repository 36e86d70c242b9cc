//! Heads that proto reads itself, beside hyper, which reads all others: whatever is served here, hyper takes as well, and for
//! the same request.

use std::convert::Infallible;
use std::sync::mpsc;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sockeye_proto::h1::{Head, HeadReader, settle_host};
use sockeye_proto::h2::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HANDSHAKE: &str = "GET /chat?room=7 HTTP/1.1\r\nHost: example.com:80\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\nCookie: a=1; b=2\r\n\r\n";
/// Octets that mean something in a head.
const ODD: &[u8] = b"\r\n\0 \t:;,/\\\"@[]%#?*01GETPOSTHhostUupgrade\x7f\x80\xff";

/// The request that hyper makes of these octets, if it takes them for one.
async fn read_by_hyper(octets: &[u8]) -> Option<Request<()>> {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let (requests, heard) = mpsc::channel::<Parts>();
    let service = service_fn(move |request: Request<Incoming>| {
        requests.send(request.into_parts().0).unwrap();
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let connection = http1::Builder::new().max_header_size(16 << 10).serve_connection(TokioIo::new(server), service);
    client.write_all(octets).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // It may end with an error about what follows the request.
    let (_, read) = tokio::join!(connection, client.read_to_end(&mut answer));
    read.unwrap();
    let mut request = Request::from_parts(heard.try_recv().ok()?, ());
    settle_host(&mut request).ok()?;
    Some(request)
}

/// A linear congruential generator: seeded, and good enough to reach odd corners.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn mutate(random: &mut Random) -> Vec<u8> {
    let mut octets = HANDSHAKE.as_bytes().to_vec();
    for _ in 0..random.below(3) {
        let at = random.below(octets.len());
        let odd = ODD[random.below(ODD.len())];
        match random.below(4) {
            0 => octets[at] = odd,
            1 => octets.insert(at, odd),
            2 if octets.len() > 1 => drop(octets.remove(at)),
            _ => octets.extend_from_within(at..(at + 30).min(octets.len())),
        }
    }
    octets
}

#[tokio::test]
async fn hyper_reads_the_same() {
    let mut ours = 0;
    for seed in 0..1_500 {
        let octets = mutate(&mut Random(seed));
        let Head::WebSocket { request, length } = HeadReader::new(&Config::default()).read(&octets) else { continue };
        ours += 1;
        let text = String::from_utf8_lossy(&octets).into_owned();
        let hyper =
            read_by_hyper(&octets[..length]).await.unwrap_or_else(|| panic!("seed {seed}: hyper refuses {text}"));
        assert_eq!((hyper.method(), hyper.version()), (request.method(), request.version()), "seed {seed}: {text}");
        assert_eq!(hyper.uri(), request.uri(), "seed {seed}: {text}");
        assert_eq!(hyper.headers(), request.headers(), "seed {seed}: {text}");
    }
    assert!(ours > 500, "{ours} are ours");
}
