//! A gateway before an upstream, and the wire on either side of it.

use std::net::SocketAddr;
use std::time::Duration;

use ::http::Request;
use socket2::{Domain, Socket, Type};
use sockeye::client::TunnelAnswer;
use sockeye::{Client, Handle, Result, Server, Tunnel, WebSocket};
use sockeye_gateway::{Config, Gateway, Live, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// As long as anything may take that works.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A gateway in cleartext before this upstream.
pub(crate) async fn gateway(upstream: &str, protocol: Protocol) -> SocketAddr {
    gateway_with_handle(upstream, protocol).await.0
}

/// The same with what ends it.
pub(crate) async fn gateway_with_handle(upstream: &str, protocol: Protocol) -> (SocketAddr, Handle) {
    let mut config = Config::to(upstream);
    config.all.to = Some(protocol.to_string());
    gateway_of(&config).await
}

/// A gateway in cleartext that is configured so, with what ends it.
pub(crate) async fn gateway_of(config: &Config) -> (SocketAddr, Handle) {
    gateway_of_live(Live::new(config).unwrap()).await
}

/// A gateway in cleartext that goes by this.
pub(crate) async fn gateway_of_live(live: Live) -> (SocketAddr, Handle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Gateway::new(live);
    let server = Server::new();
    let handle = server.handle();
    tokio::spawn(async move { server.serve(listener, gateway).await });
    (address, handle)
}

/// A server of Sockeye's own as an upstream, which speaks both versions of HTTP.
pub(crate) async fn upstream<S: sockeye::server::HttpService>(service: S) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { Server::new().serve(listener, service).await });
    format!("http://{address}")
}

/// An upstream that is written by hand.
pub(crate) async fn raw_upstream() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

/// A place of TCP that is one test's, whether it listens there or not: one that is only given back is another test's at once.
pub(crate) struct Place {
    /// Bound, and it never listens, so that who connects is refused where nothing else does.
    reserved: Socket,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { reserved: Self::socket(SocketAddr::from(([127, 0, 0, 1], 0))) }
    }

    fn socket(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        #[cfg(unix)]
        socket.set_reuse_port(true).unwrap();
        #[cfg(not(unix))]
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.reserved.local_addr().unwrap().as_socket().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// As often as one before it was dropped.
    pub(crate) fn listen(&self) -> std::net::TcpListener {
        let socket = Self::socket(self.address());
        socket.listen(128).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.into()
    }
}

/// A client of one version of HTTP.
pub(crate) fn client(gateway: SocketAddr, version: ::http::Version) -> Client {
    let builder = if version == ::http::Version::HTTP_2 {
        Client::builder().http2_only()
    } else {
        Client::builder().http1_only()
    };
    builder.lazy(&format!("http://{gateway}")).unwrap()
}

pub(crate) async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

pub(crate) async fn soon<F: IntoFuture>(future: F) -> F::Output {
    timeout(SOON, future.into_future()).await.expect("it takes no time")
}

/// Reads a head of HTTP/1.1.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).await.expect("the head is whole");
        head.push(octet[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The value of a field of a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What a server answers to a key (RFC 6455 §4.2.2).
pub(crate) fn accept(head: &str) -> String {
    use base64::Engine as _;
    use sha1::Digest as _;
    let key = field(head, "sec-websocket-key").expect("there is a key");
    let digest = sha1::Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Takes the next handshake and answers it with a 101; the head that came, and the connection.
pub(crate) async fn take_socket(listener: &TcpListener) -> (String, TcpStream) {
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let head = soon(read_head(&mut stream)).await;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(&head)
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    (head, stream)
}

/// Opens a socket as octets.
pub(crate) async fn open_tunnel(client: &Client) -> Tunnel {
    let request = Request::get("http://example.com/chat").header("sec-websocket-version", "13").body(()).unwrap();
    match soon(client.tunnel(request)).await.unwrap() {
        TunnelAnswer::Opened(_, tunnel) => tunnel,
        answer => panic!("{answer:?}"),
    }
}
