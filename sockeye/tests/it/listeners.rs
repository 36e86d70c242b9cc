//! What a server listens on: several sockets at once, of TCP and of Unix, under one set of limits; and who is at the other end.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use http::Uri;
use sockeye::{Client, Counter, Error, Server, websocket};
use tokio::net::TcpListener;

use crate::common::{Carrier, Socket, echo, hand_over, within};
use crate::counters::counted;

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A connector that has one connection.
fn once<T>(transport: T) -> impl Fn(Uri) -> Ready<io::Result<T>> {
    let transport = Mutex::new(Some(transport));
    move |_| ready(transport.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
}

#[tokio::test]
async fn several_listeners_are_one_server() {
    let ((one, first), (two, second)) = (bind().await, bind().await);
    let server = Server::new().max_connections(2).keep_places(0, |_| false);
    let handle = server.handle();
    let serving = tokio::spawn(server.serve([one, two], websocket(echo)));
    let mut sockets = Vec::new();
    for addr in [first, second] {
        let mut socket = Socket::open(Carrier::Http1, addr).await;
        socket.check_echo("hello").await;
        sockets.push(socket);
    }
    assert_eq!(handle.connections().len(), 2);
    // The limit is that of all together.
    for (refused, addr) in [(1, first), (2, second)] {
        drop(tokio::net::TcpStream::connect(addr).await);
        counted(&handle, Counter::ConnectionsRefused, refused).await;
    }
    handle.shutdown();
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 1001);
    }
    drop(sockets);
    within(serving).await.unwrap().unwrap();
    for addr in [first, second] {
        assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn a_server_without_a_listener_is_told_so() {
    let served = within(Server::new().serve(Vec::<TcpListener>::new(), websocket(echo))).await;
    assert!(matches!(&served, Err(Error::Invalid(text)) if text.to_string().contains("listener")), "{served:?}");
}

#[cfg(unix)]
mod unix {
    use sockeye::server::{Listener, Listeners};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("sockeye-{name}-{}.sock", std::process::id()));
        std::fs::remove_file(&path).ok();
        path
    }

    /// By a Unix socket as by TCP, over both versions, with the system's word for who is there.
    #[tokio::test]
    async fn unix_sockets_are_served_beside_tcp() {
        let path = path("beside");
        let (tcp, addr) = bind().await;
        let listeners: Vec<Listener> = vec![UnixListener::bind(&path).unwrap().into(), tcp.into()];
        assert_eq!(listeners[0].to_string(), format!("unix:{}", path.display()));
        assert_eq!(listeners[1].to_string(), addr.to_string());
        let (service, mut sockets) = hand_over();
        let server = Server::new();
        let handle = server.handle();
        let serving = tokio::spawn(server.serve(listeners, service));
        for http2 in [false, true] {
            let reached = path.clone();
            let builder = Client::builder().connector(move |_| UnixStream::connect(reached.clone()));
            let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
            let client = within(builder.connect("http://localhost")).await.unwrap();
            let mut ours = within(client.open("/").into_future()).await.unwrap();
            let mut theirs = within(sockets.recv()).await.unwrap();
            ours.send("hello").await.unwrap();
            assert_eq!(within(theirs.recv()).await.unwrap(), Some("hello".into()));
            let credentials = theirs.peer_credentials().unwrap();
            let process = i32::try_from(std::process::id()).unwrap();
            assert!(credentials.pid.is_none_or(|pid| pid == process), "{credentials:?}");
            assert_eq!(credentials.uid, std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap()));
            assert_eq!(theirs.peer_addr(), None);
            assert_eq!(handle.connections().last().unwrap().credentials, Some(credentials));
        }
        let mut socket = Socket::open(Carrier::Http1, addr).await;
        let mut theirs = within(sockets.recv()).await.unwrap();
        assert!(theirs.peer_credentials().is_none() && theirs.peer_addr().is_some());
        theirs.send("hello").await.unwrap();
        assert!(socket.message().await == "hello".into());
        drop((socket, theirs));
        handle.shutdown();
        within(serving).await.unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    /// The connections that wait in the queue of a Unix socket at a drain are served, as those of TCP are.
    #[tokio::test]
    async fn a_drain_serves_who_waits() {
        let path = path("drain");
        let listeners = Listeners::from(UnixListener::bind(&path).unwrap());
        let server = Server::new();
        let handle = server.handle();
        let transport = UnixStream::connect(&path).await.unwrap();
        handle.drain(std::time::Duration::from_secs(1));
        let serving = tokio::spawn(server.serve(listeners, websocket(echo)));
        let builder = Client::builder().http1_only().connector(once(transport));
        let client = within(builder.connect("http://localhost")).await.unwrap();
        let mut socket = within(client.open("/").into_future()).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
        drop(socket);
        client.close().await;
        within(serving).await.unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

/// As by the PROXY protocol: what is told of a peer is what is known, and what is limited by.
#[tokio::test]
async fn an_address_that_is_known_otherwise_is_the_peers() {
    let server = Server::new().max_connections_per_address(1);
    let addr: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let (service, mut sockets) = hand_over();
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(server.serve_connection_from(far, addr, service.clone()));
    let builder = Client::builder().http2_only().connector(once(near));
    let client = within(builder.connect("http://localhost")).await.unwrap();
    let _ours = within(client.open("/").into_future()).await.unwrap();
    assert_eq!(within(sockets.recv()).await.unwrap().peer_addr(), Some(addr));
    let (_near, far) = tokio::io::duplex(1024);
    let refused = within(server.serve_connection_from(far, addr, service)).await;
    assert!(matches!(&refused, Err(Error::Io(error)) if error.kind() == io::ErrorKind::QuotaExceeded));
}
