//! No step takes longer than it may, and each says which it was. Time is paused: it passes when nothing else happens.

use std::future::pending;
use std::io;
use std::time::Duration;

use sockeye::error::Step;
use sockeye::{Client, ClientBuilder, Error, Fault, Limits, Result, SocketOptions, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::peer::{MAX_CONCURRENT_STREAMS, OFFER, Peer, URL, connect, http1_request, http2, wires};
use super::secure;
use crate::common::{settle, within};

const TIME: Duration = Duration::from_secs(7);

/// The step took its time and no more.
#[track_caller]
fn check<T>(result: Result<T>, step: Step, start: Instant) {
    let Err(error) = result else { panic!("nothing went wrong") };
    assert!(matches!(error, Error::Timeout(name) if name == step), "{error:?} in place of {step}");
    assert_eq!(error.to_string(), format!("{step} took too long"));
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Network, true));
    // The clock of timers is one of milliseconds.
    let elapsed = start.elapsed();
    assert!(elapsed >= TIME && elapsed < TIME + Duration::from_millis(10), "{step}: {elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_connector() {
    let builder = Client::builder().connect_timeout(TIME).connector(|_| pending::<io::Result<DuplexStream>>());
    let start = Instant::now();
    check(builder.connect(URL).await, Step::Connector, start);
    let start = Instant::now();
    check(builder.open(URL).await, Step::Connector, start);
}

#[tokio::test(start_paused = true)]
async fn tls() {
    let (_, client_config) = secure::configs(&[]);
    let (builder, mut wires) = wires();
    let builder = builder.tls(client_config).connect_timeout(TIME);
    let start = Instant::now();
    let (connected, _silent) = tokio::join!(builder.connect("wss://localhost"), wires.next());
    check(connected, Step::Tls, start);
}

/// TLS is done, and then the server is silent.
#[tokio::test(start_paused = true)]
async fn the_servers_settings() {
    let (server, client_config) = secure::configs(&["h2"]);
    let (builder, mut wires) = wires();
    let builder = builder.tls(client_config).connect_timeout(TIME);
    let start = Instant::now();
    let accepting = async { Peer::start(secure::accept(&server, wires.next().await).await.unwrap()).await };
    let (connected, mut silent) = tokio::join!(builder.connect("wss://localhost"), accepting);
    check(connected, Step::Settings, start);
    // The connection was let go.
    silent.rest().await;
}

/// Over both versions: the server takes the request and says nothing.
#[tokio::test(start_paused = true)]
async fn the_answer_over_http2() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder.options(SocketOptions::new().answer_timeout(TIME)), &mut wires).await;
    let start = Instant::now();
    let (opened, id) = tokio::join!(client.open("/").into_future(), peer.request());
    check(opened, Step::Answer, start);
    let reset = peer.receive().await.unwrap();
    assert_eq!((reset.kind, reset.stream_id, reset.code()), (3, id, 8), "CANCEL tells the server");
}

/// A connection on which nothing was heard in all the time may be dead, and is not asked again; what it carries goes on.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_replaced() {
    let (builder, mut wires) = http2();
    let (client, mut first) = connect(&builder.options(SocketOptions::new().answer_timeout(TIME)), &mut wires).await;
    let (socket, socket_id) = tokio::join!(client.open("/").into_future(), first.open());
    let mut socket = socket.unwrap();
    // Something is heard on it: it is slow, and not dead.
    let serving = async {
        first.request().await;
        tokio::time::sleep(TIME / 2).await;
        first.text(socket_id, "slow").await;
    };
    let (opened, ()) = tokio::join!(client.open("/").into_future(), serving);
    assert!(matches!(opened, Err(Error::Timeout(_))), "{opened:?}");
    let (opened, _) = tokio::join!(client.open("/").into_future(), first.request());
    assert!(matches!(opened, Err(Error::Timeout(_))), "{opened:?}");
    // Nothing was heard.
    let serving = async {
        let mut second = wires.peer().await;
        second.open().await;
        second
    };
    let (opened, _second) = within(async { tokio::join!(client.open("/").into_future(), serving) }).await;
    opened.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("slow".into()));
    first.text(socket_id, "still here").await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some("still here".into()));
}

#[tokio::test(start_paused = true)]
async fn the_answer_over_http1() {
    let (builder, mut wires) = wires();
    let client = builder.options(SocketOptions::new().answer_timeout(TIME)).connect(URL).await.unwrap();
    let start = Instant::now();
    let mut transport = wires.next().await;
    let (opened, _) = tokio::join!(client.open("/").into_future(), http1_request(&mut transport));
    check(opened, Step::Answer, start);
    assert_eq!(within(transport.read(&mut [0])).await.unwrap(), 0, "the connection ends with the attempt");
}

async fn with_full_connection() -> (Client, WebSocket, Peer) {
    let (builder, mut wires) = http2();
    let builder = builder.connect_timeout(TIME).max_connections(1);
    let accepting = async { Peer::accept_with(wires.next().await, &[OFFER, (MAX_CONCURRENT_STREAMS, 1)]).await };
    let (client, mut peer) = tokio::join!(builder.connect(URL), accepting);
    let client = client.unwrap();
    let (socket, _) = tokio::join!(client.open("/").into_future(), peer.open());
    (client, socket.unwrap(), peer)
}

#[tokio::test(start_paused = true)]
async fn a_free_stream() {
    let (client, socket, _peer) = with_full_connection().await;
    let start = Instant::now();
    check(client.open("/").await, Step::FreeStream, start);
    drop(socket);
}

/// Who waits for the connection of another makes one when that fails, with a time of its own.
#[tokio::test(start_paused = true)]
async fn the_connection_of_another() {
    let (builder, mut wires) = http2();
    let (client, mut peer) =
        connect(&builder.connect_timeout(TIME).back_off(Duration::ZERO, Duration::ZERO), &mut wires).await;
    peer.goaway(0, 0).await;
    peer.rest().await;
    let start = Instant::now();
    let first = tokio::spawn(client.open("/1").into_future());
    let second = tokio::spawn(client.open("/2").into_future());
    let _silent = wires.next().await;
    check(first.await.unwrap(), Step::Settings, start);
    let _silent = wires.next().await;
    check(second.await.unwrap(), Step::Settings, start + TIME);
}

async fn proxied() -> (TcpListener, ClientBuilder) {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    (proxy, Client::builder().proxy(&url).connect_timeout(TIME))
}

/// Over loopback, and so with time paused only once there is nothing but time to wait for.
#[tokio::test]
async fn the_proxys_answer() {
    let (proxy, builder) = proxied().await;
    let connecting = tokio::spawn(async move { builder.connect("ws://example.com").await.map(drop) });
    let (mut transport, _) = proxy.accept().await.unwrap();
    http1_request(&mut transport).await;
    settle().await;
    tokio::time::pause();
    let connected = connecting.await.unwrap();
    let Err(error) = connected else { panic!("nothing went wrong") };
    assert!(matches!(error, Error::Timeout(Step::Proxy)), "{error:?}");
}

/// A proxy that refuses has answered, however long it goes on about it.
#[tokio::test]
async fn a_proxy_that_goes_on_and_on() {
    let (proxy, builder) = proxied().await;
    let connecting = tokio::spawn(async move { builder.connect("ws://example.com").await.map(drop) });
    let (mut transport, _) = proxy.accept().await.unwrap();
    http1_request(&mut transport).await;
    transport.write_all(b"HTTP/1.1 407 No\r\ncontent-length: 100\r\n\r\nonly half of it").await.unwrap();
    settle().await;
    tokio::time::pause();
    let Err(Error::Connect { step: Step::Proxy, source }) = connecting.await.unwrap() else { panic!() };
    let Some(Error::Refused(response)) = source.downcast_ref() else { panic!("{source}") };
    assert_eq!((response.status().as_u16(), &response.body()[..]), (407, &b"only half of it"[..]));
}

/// A time that no clock can reach never ends, and panics nowhere.
#[tokio::test(start_paused = true)]
async fn times_without_end() {
    let (builder, mut wires) = http2();
    let builder = builder.connect_timeout(Duration::MAX).options(SocketOptions::new().answer_timeout(Duration::MAX));
    let builder = builder
        .limits(Limits::new().close_timeout(Duration::MAX).shutdown_timeout(Duration::MAX).write_timeout(Duration::MAX))
        .keep_alive(Duration::MAX, Duration::MAX)
        .max_connections(1);
    let accepting = async {
        let transport = wires.next().await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        Peer::accept_with(transport, &[OFFER, (MAX_CONCURRENT_STREAMS, 1)]).await
    };
    let (client, mut peer) = tokio::join!(builder.connect(URL), accepting);
    let client = client.unwrap();
    let (socket, _) = tokio::join!(client.open("/").into_future(), peer.open());
    let waiting = tokio::spawn(client.open("/").into_future());
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!waiting.is_finished());
    drop(socket);
    let serving = async {
        peer.send(0, 1, 1, b"\x88\0").await;
        peer.open().await
    };
    let (opened, id) = within(async { tokio::join!(waiting, serving) }).await;
    opened.unwrap().unwrap();
    assert_eq!(id, 3);
}
