//! TLS: which version of HTTP it settles on, and what goes wrong there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::{Counter, HttpService, Limits, Server, SocketOptions, websocket};
use sockeye_proto::ws::handshake::ClientHandshake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::http::Http;
use crate::common::{Client, Running, Socket, echo, handshake, start, within};
use crate::counters::counted;

pub(crate) struct Secure {
    pub(crate) running: Running,
    roots: RootCertStore,
}

impl Secure {
    async fn start(server: Server) -> Self {
        Self::serve(server, websocket(echo)).await
    }

    pub(crate) async fn serve<S: HttpService>(server: Server, service: S) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert);
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self { running: start(server.tls(config), service).await, roots }
    }

    /// Offers these protocols by ALPN.
    pub(crate) async fn connect(&self, offered: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder().with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let addr: SocketAddr = self.running.addr;
        let tcp = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
    }
}

#[tokio::test]
async fn alpn_settles_the_version() {
    let secure = Secure::start(Server::new()).await;
    let cases: [(&[&str], Version); 4] = [
        (&["h2", "http/1.1"], Version::HTTP_2),
        (&["http/1.1", "h2"], Version::HTTP_2),
        (&["h2"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
    ];
    for (offered, version) in cases {
        let transport = secure.connect(offered).await.unwrap();
        let answer = Http::over(version, transport).await.get("/").await;
        assert_eq!(answer.head.version, version, "{offered:?}");
    }
}

/// Then the preface tells.
#[tokio::test]
async fn without_alpn_the_preface_settles_the_version() {
    let secure = Secure::start(Server::new()).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let transport = secure.connect(&[]).await.unwrap();
        let answer = Http::over(version, transport).await.get("/").await;
        assert_eq!(answer.head.version, version);
    }
}

#[tokio::test]
async fn sockets_run_over_tls() {
    let secure = Secure::start(Server::new()).await;
    let client = Client::over(secure.connect(&["h2"]).await.unwrap(), Default::default()).await;
    let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
    socket.check_echo("hello").await;
    socket.check_echo(vec![1; 1 << 20]).await;
    socket.close(1000.into(), "").await;
    assert_eq!(socket.close_code().await, 1000);
}

/// draft-damjanovic-websockets-nomasking-02: over TLS, and only where the server was asked to.
#[tokio::test]
async fn a_client_may_leave_out_its_masking() {
    let mut asked = ClientHandshake::new("wss://localhost/".parse().unwrap());
    asked.extensions.no_masking = true;
    for accepts in [true, false] {
        let service =
            if accepts { websocket(echo).options(SocketOptions::new().no_masking()) } else { websocket(echo) };
        let secure = Secure::serve(Server::new(), service).await;
        let client = Client::over(secure.connect(&["h2"]).await.unwrap(), Default::default()).await;
        let mut socket = Socket::on(&client, &asked).await.unwrap();
        assert_eq!(socket.machine.extensions().no_masking, accepts);
        socket.check_echo("hello").await;
        if accepts {
            // A masked frame.
            socket.send_octets(b"\x81\x81mask\0").await;
            assert_eq!(socket.close_code().await, 1002);
        }
    }
}

/// Our own client, over both versions of HTTP.
#[tokio::test]
async fn our_client_leaves_out_its_masking() {
    let secure = Secure::serve(Server::new(), websocket(echo).options(SocketOptions::new().no_masking())).await;
    for builder in [sockeye::Client::builder().http1_only(), sockeye::Client::builder().http2_only()] {
        let config = ClientConfig::builder().with_root_certificates(secure.roots.clone()).with_no_client_auth();
        let url = format!("wss://localhost:{}", secure.running.addr.port());
        let client = within(builder.tls(config).connect(&url)).await.unwrap();
        for asks in [true, false] {
            let open =
                if asks { client.open("/").options(SocketOptions::new().no_masking()) } else { client.open("/") };
            let mut socket = within(open.into_future()).await.unwrap();
            assert_eq!(socket.extensions().no_masking, asks);
            within(socket.send("hello")).await.unwrap();
            assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
        }
    }
}

/// The frames themselves, over HTTP/1.1.
#[tokio::test]
async fn a_client_may_leave_out_its_masking_over_http1() {
    let secure = Secure::serve(Server::new(), websocket(echo).options(SocketOptions::new().no_masking())).await;
    let mut transport = secure.connect(&["http/1.1"]).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-extensions: no-masking\r\n\r\n\x81\x05hello\x88\0";
    transport.write_all(request).await.unwrap();
    let mut octets = Vec::new();
    within(transport.read_to_end(&mut octets)).await.ok();
    let answer = String::from_utf8_lossy(&octets);
    assert!(answer.contains("sec-websocket-extensions: no-masking\r\n"), "{answer}");
    assert!(octets.ends_with(b"\r\n\r\n\x81\x05hello\x88\0"), "{answer}");
}

/// RFC 9113 §3.4: a connection error of type PROTOCOL_ERROR, and a GOAWAY to say so.
#[tokio::test]
async fn a_wrong_preface_is_told_by_goaway() {
    let secure = Secure::start(Server::new()).await;
    let mut transport = secure.connect(&["h2"]).await.unwrap();
    transport.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut octets = Vec::new();
    within(transport.read_to_end(&mut octets)).await.unwrap();
    let mut rest = &octets[..];
    let mut last = None;
    while rest.len() >= 9 {
        let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
        last = Some((rest[3], rest[9..9 + length].to_vec()));
        rest = &rest[9 + length..];
    }
    let (kind, payload) = last.unwrap();
    assert_eq!((kind, &payload[4..8]), (7, &[0, 0, 0, 1][..]));
}

#[tokio::test]
async fn failures_of_tls_are_counted() {
    let secure = Secure::start(Server::new()).await;
    assert!(secure.connect(&["spdy/3"]).await.is_err());
    counted(&secure.running.handle, Counter::TlsFailures, 1).await;
    let mut plain = TcpStream::connect(secure.running.addr).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    counted(&secure.running.handle, Counter::TlsFailures, 2).await;
}

#[tokio::test]
async fn a_silent_handshake_is_closed_in_time() {
    let secure = Secure::start(Server::new().limits(Limits::new().handshake_timeout(Duration::from_millis(50)))).await;
    let mut silent = TcpStream::connect(secure.running.addr).await.unwrap();
    within(silent.read_to_end(&mut Vec::new())).await.unwrap();
    let mut silent = secure.connect(&[]).await.unwrap();
    within(silent.read_to_end(&mut Vec::new())).await.ok();
    counted(&secure.running.handle, Counter::HandshakeTimeouts, 2).await;
}

/// A frame that may be ignored, whose payload comes octet by octet.
const UNKNOWN: &[u8] = b"\0\x3E\x80\x4D\0\0\0\0\0";
/// A client's preface, with SETTINGS and their acknowledgement.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// Asks for new keys again and again, with so many requests for an octet of content, until the server ends the connection.
async fn ask_for_keys(stream: &mut TlsStream<TcpStream>, requests: usize) -> usize {
    for asked in 0.. {
        if asked % requests == 0 && stream.write_all(b"\0").await.is_err() {
            return asked;
        }
        stream.get_mut().1.refresh_traffic_keys().unwrap();
        if stream.flush().await.is_err() {
            return asked;
        }
        // What the server does shows some time after it was asked for.
        tokio::task::yield_now().await;
    }
    unreachable!()
}

/// Requests for new keys (RFC 8446 §4.6.3) have a limit, with or without an octet of content between them.
#[tokio::test]
async fn a_flood_of_key_updates_ends_its_connection() {
    let secure = Secure::start(Server::new()).await;
    let mut stream = secure.connect(&["h2"]).await.unwrap();
    stream.write_all(&[HELLO, UNKNOWN].concat()).await.unwrap();
    within(ask_for_keys(&mut stream, usize::MAX)).await;
    // rustls has seen to it.
    counted(&secure.running.handle, Counter::TlsFloods, 1).await;
    let mut stream = secure.connect(&["h2"]).await.unwrap();
    stream.write_all(&[HELLO, UNKNOWN].concat()).await.unwrap();
    let asked = within(ask_for_keys(&mut stream, 30)).await;
    assert!(asked > 3_000, "{asked}");
    counted(&secure.running.handle, Counter::TlsFloods, 2).await;
}

/// Records as small as can be are honest, be they as many as they like.
#[tokio::test]
async fn tiny_records_are_honest() {
    let secure = Secure::start(Server::new()).await;
    let mut stream = secure.connect(&["h2"]).await.unwrap();
    stream.write_all(&[HELLO, UNKNOWN].concat()).await.unwrap();
    // 1.2 MB of records, with some new keys.
    for index in 0..16_000 {
        if index % 1000 == 0 {
            stream.get_mut().1.refresh_traffic_keys().unwrap();
        }
        stream.write_all(b"\0").await.unwrap();
        stream.flush().await.unwrap();
    }
    for _ in 0..3 {
        stream.write_all(UNKNOWN).await.unwrap();
        for _ in 0..16_000 {
            stream.write_all(b"\0").await.unwrap();
        }
    }
    assert_eq!(secure.running.handle.counter(Counter::TlsFloods), 0);
    assert_eq!(secure.running.handle.connections().len(), 1);
}
