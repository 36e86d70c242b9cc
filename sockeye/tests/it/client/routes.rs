//! How a client reaches its server: addresses of both families, a proxy, a transport of the caller's own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::Version;
use sockeye::error::Step;
use sockeye::{Client, Counter, Error, Fault, Server, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::peer::{connect, http1_request, http2};
#[cfg(feature = "tls")]
use crate::common::start;
use crate::common::{Running, echo, start_websocket, within};

async fn check_echo(client: &Client) {
    let mut socket = within(client.open("/").into_future()).await.unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    within(socket.close()).await.unwrap();
}

/// Where there is IPv6.
async fn start_at(addr: &str) -> Option<Running> {
    let listener = TcpListener::bind(addr).await.ok()?;
    let addr = listener.local_addr().unwrap();
    let server = Server::new();
    let handle = server.handle();
    Some(Running { addr, handle, task: tokio::spawn(server.serve(listener, websocket(echo))) })
}

/// RFC 8305: a name with addresses of both families is reached at the one that answers.
#[tokio::test]
async fn a_name_is_tried_at_all_its_addresses() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let Some(running) = start_at(addr).await else { continue };
        let url = format!("http://localhost:{}", running.addr.port());
        let resolved: Vec<SocketAddr> =
            tokio::net::lookup_host(("localhost", running.addr.port())).await.unwrap().collect();
        // Not every machine calls itself so by both.
        if resolved.contains(&running.addr) {
            check_echo(&within(Client::connect(&url)).await.unwrap()).await;
        }
    }
}

/// RFC 3986 §3.2.2
#[tokio::test]
async fn an_ipv6_address_stands_in_brackets() {
    let Some(running) = start_at("[::1]:0").await else { return };
    for builder in [Client::builder().http1_only(), Client::builder().http2_only()] {
        let client = within(builder.connect(&format!("ws://[::1]:{}", running.addr.port()))).await.unwrap();
        let _socket = within(client.open("/").into_future()).await.unwrap();
        assert_eq!(client.handle().connections().first().and_then(|connection| connection.peer), Some(running.addr));
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn an_ipv6_address_may_have_a_certificate() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let (server_config, client_config) = super::secure::configs(&["h2"]);
    let addr = listener.local_addr().unwrap();
    tokio::spawn(Server::new().tls(server_config).serve(listener, websocket(echo)));
    let client = within(Client::builder().tls(client_config).connect(&format!("wss://{addr}"))).await.unwrap();
    check_echo(&client).await;
}

#[tokio::test]
async fn where_nobody_listens() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [format!("ws://{addr}"), "ws://name.invalid".to_owned()] {
        let error = within(Client::connect(&url)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { step: Step::Tcp, .. }), "{error:?}");
        assert_eq!((error.fault(), error.is_retryable()), (Fault::Network, true));
    }
}

/// A certificate that nobody vouches for will not do the next time either.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    let (server_config, _) = super::secure::configs(&["h2"]);
    let (_, of_another) = super::secure::configs(&["h2"]);
    let running = start(Server::new().tls(server_config), websocket(echo)).await;
    let builder = Client::builder().tls(of_another);
    let error = within(builder.connect(&format!("wss://{}", running.addr))).await.unwrap_err();
    assert!(matches!(error, Error::Connect { step: Step::Tls, .. }), "{error:?}");
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Peer, false));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_by_a_connector() {
    let path = std::env::temp_dir().join(format!("sockeye-{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let accepting = async {
        let (transport, _) = listener.accept().await.unwrap();
        let mut connection = sockeye::http2::Connection::accept(transport, Default::default());
        let stream = connection.next().await.unwrap().unwrap();
        assert_eq!(stream.uri(), "http://chat.example/room");
        let mut socket = stream.into_websocket().unwrap();
        socket.send("hello").await.unwrap();
        while socket.recv().await.unwrap().is_some() {}
    };
    let asked = Arc::new(Mutex::new(None));
    let (known, place) = (asked.clone(), path.clone());
    let builder = Client::builder().http2_only().connector(move |uri| {
        *known.lock().unwrap() = Some(uri);
        tokio::net::UnixStream::connect(place.clone())
    });
    let opening = async {
        let client = builder.connect("ws://chat.example").await.unwrap();
        let mut socket = client.open("/room").await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some("hello".into()));
        assert_eq!(socket.peer_addr(), None);
        socket.close().await.unwrap();
    };
    within(async { tokio::join!(accepting, opening) }).await;
    std::fs::remove_file(path).unwrap();
    let asked = asked.lock().unwrap().take().unwrap();
    assert_eq!((asked.host(), asked.port_u16()), (Some("chat.example"), Some(80)), "what a connector may go by");
}

#[tokio::test]
async fn a_connector_that_fails() {
    let refuse = |_| async { Err::<TcpStream, _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
    let error = Client::builder().connector(refuse).connect("ws://localhost").await.unwrap_err();
    assert!(matches!(error, Error::Connect { step: Step::Connector, .. }), "{error:?}");
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Network, true));
}

/// Two that share nothing: what each made is its own.
#[tokio::test(start_paused = true)]
async fn a_pipe_in_memory() {
    let (builder, mut wires) = http2();
    let (client, mut peer) = connect(&builder, &mut wires).await;
    let (socket, _) = within(async { tokio::join!(client.open("/").into_future(), peer.open()) }).await;
    assert_eq!(socket.unwrap().version(), Version::HTTP_2);
    let handle = client.handle();
    assert_eq!((handle.connections().len(), handle.counter(Counter::Requests)), (1, 1));
    assert_eq!(handle.connections()[0].requests, 1);
}

/// A proxy that answers what comes with this, and tunnels where it says yes; and what it was asked.
async fn proxy(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<http::Request<()>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut transport, _)) = listener.accept().await {
            let request = http1_request(&mut transport).await;
            let target = request.uri().authority().unwrap().to_string();
            heard.lock().unwrap().push(request);
            transport.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains(" 200 ") {
                let mut server = TcpStream::connect(target).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut transport, &mut server).await });
            }
        }
    });
    (addr, asked)
}

/// RFC 9110 §9.3.6: for every scheme and version the proxy is asked for a tunnel, which then is none of its business.
#[tokio::test]
async fn a_proxy_tunnels() {
    // The second is how old ones say it.
    for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\n\r\n"] {
        let running = start_websocket(echo).await;
        let (addr, asked) = proxy(answer).await;
        let builder = Client::builder().proxy(&format!("http://user:p%20w@{addr}"));
        for builder in [builder.clone().http1_only(), builder.http2_only()] {
            let client = within(builder.connect(&format!("ws://{}", running.addr))).await.unwrap();
            check_echo(&client).await;
            assert_eq!(client.handle().connections().iter().find_map(|connection| connection.peer), None);
        }
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2);
        for request in &*asked {
            assert_eq!(
                (request.method().as_str(), request.uri()),
                ("CONNECT", &running.addr.to_string().parse().unwrap())
            );
            assert_eq!(request.headers()["host"], running.addr.to_string());
            assert_eq!(request.headers()["proxy-authorization"], "Basic dXNlcjpwIHc=");
        }
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_proxy_tunnels_tls() {
    let (server_config, client_config) = super::secure::configs(&["h2", "http/1.1"]);
    let running = start(Server::new().tls(server_config), websocket(echo)).await;
    let (addr, _) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    let builder = Client::builder().tls(client_config).proxy(&format!("http://{addr}"));
    let client = within(builder.connect(&format!("wss://{}", running.addr))).await.unwrap();
    check_echo(&client).await;
    assert_eq!(client.handle().counter(Counter::Connections), 1);
}

/// The proxy's own words are handed over, as the refusal of that step.
#[tokio::test]
async fn a_proxy_refuses() {
    for (answer, status, retryable) in [
        ("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 5\r\n\r\nwho??", 407, false),
        ("HTTP/1.1 502 No\r\ncontent-length: 5\r\n\r\nwho??", 502, true),
    ] {
        let (addr, _) = proxy(answer).await;
        let builder = Client::builder().proxy(&format!("http://{addr}"));
        let error = within(builder.connect("ws://127.0.0.1:9")).await.unwrap_err();
        let Error::Connect { step: Step::Proxy, source } = &error else { panic!("{error:?}") };
        let Some(Error::Refused(response)) = source.downcast_ref() else { panic!("{source:?}") };
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, &b"who??"[..]));
        assert_eq!(error.is_retryable(), retryable);
    }
}

/// What is no proxy, and one that goes away.
#[tokio::test]
async fn a_proxy_that_is_none() {
    for answer in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let builder = Client::builder().proxy(&format!("http://{}", listener.local_addr().unwrap()));
        let serving = async {
            let (mut transport, _) = listener.accept().await.unwrap();
            http1_request(&mut transport).await;
            transport.write_all(answer).await.unwrap();
            transport.shutdown().await.unwrap();
            transport.read_to_end(&mut Vec::new()).await.ok();
        };
        let (connected, ()) = within(async { tokio::join!(builder.connect("ws://127.0.0.1:9"), serving) }).await;
        let error = connected.unwrap_err();
        assert!(matches!(error, Error::Connect { step: Step::Proxy, .. }), "{error:?}");
    }
}
