//! Whose certificate a peer has shown, for a service, a socket, and the low-level way over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::{Body, Client, Error, Fault, Peer, Server};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::common::{self, Socket, hand_over, handshake, within};

/// What the test's two ends of TLS know of each other.
struct Identities {
    server: ServerConfig,
    client: ClientConfig,
    /// A client without a certificate.
    anonymous: ClientConfig,
    certificate: CertificateDer<'static>,
}

fn make(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.into(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into())
}

fn identities(protocols: &[&str]) -> Identities {
    let ((server, server_key), (client, client_key)) = (make("localhost"), make("client"));
    let roots = |certificate: &CertificateDer<'static>| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        roots
    };
    let verifier = WebPkiClientVerifier::builder(roots(&client).into()).allow_unauthenticated().build().unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots(&server));
    let anonymous = config.clone().with_no_client_auth();
    let mut config = config.with_client_auth_cert(vec![client.clone()], client_key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Identities {
        server: ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server], server_key)
            .unwrap(),
        client: config,
        anonymous,
        certificate: client,
    }
}

/// Over both versions, for a service and for a socket; none where the client has none.
#[tokio::test]
async fn a_clients_certificate_is_known() {
    for (protocol, has_certificate) in [("h2", true), ("http/1.1", true), ("h2", false)] {
        let Identities { server, client, anonymous, certificate } = identities(&[]);
        let client = if has_certificate { client } else { anonymous };
        let (service, mut sockets) = hand_over();
        let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::ServiceBuilder::new()
            .map_request(move |request: Request<Body>| {
                let peer = request.extensions().get::<Peer>().unwrap();
                sender.send(peer.certificates()).ok();
                request
            })
            .service(service);
        let running = common::start(Server::new().tls(server), service).await;
        let addr = running.addr;
        let builder = Client::builder().tls(client).connector(move |_| tokio::net::TcpStream::connect(addr));
        let builder = if protocol == "h2" { builder.http2_only() } else { builder.http1_only() };
        let client = within(builder.connect("https://localhost")).await.unwrap();
        let _ours = within(client.open("/").into_future()).await.unwrap();
        let theirs = within(sockets.recv()).await.unwrap();
        let expected = has_certificate.then(|| Arc::from([certificate]));
        assert_eq!(within(requests.recv()).await.unwrap(), expected, "{protocol}");
        assert_eq!(theirs.peer_certificates(), expected, "{protocol}");
    }
}

/// A client that lacks the certificate that its server asks for is not to try again, though TLS 1.3 tells it late.
#[tokio::test]
async fn a_certificate_that_the_server_misses_is_no_fault_of_the_network() {
    for is_http2 in [true, false] {
        let Identities { server, anonymous, certificate, .. } = identities(&[]);
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
            .with_cert_resolver(server.cert_resolver.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let builder = Client::builder().tls(anonymous).connector(move |_| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let accept = acceptor.accept(far).into_fallible();
            tokio::spawn(async move {
                // A transport that is kept, or the alert might be lost with it.
                let _refused = accept.await;
                std::future::pending::<()>().await;
            });
            std::future::ready(Ok(near))
        });
        let builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
        let error = within(builder.open("wss://localhost/").into_future()).await.unwrap_err();
        assert!(error.to_string().contains("CertificateRequired"), "{is_http2}: {error:?}");
        assert_eq!((error.fault(), error.is_retryable()), (Fault::Peer, false), "{error:?}");
    }
}

/// The low-level way has TLS, its peer, and its server's handle.
#[tokio::test]
async fn http2_is_accepted_over_tls_stream_by_stream() {
    let Identities { server, client, certificate, .. } = identities(&["h2"]);
    let server = Server::new().tls(server).max_connections(1);
    let handle = server.handle();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let addr: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let connect = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), near);
    let (connection, transport) = within(async { tokio::join!(server.accept_http2(far, Some(addr)), connect) }).await;
    let mut connection = connection.unwrap();
    assert_eq!((connection.peer().addr(), connection.peer().to_string()), (Some(addr), addr.to_string()));
    assert!(connection.peer().is_secure());
    assert_eq!(connection.peer().certificates(), Some(Arc::from([certificate])));
    assert_eq!(handle.connections().len(), 1);
    let (_, second) = tokio::io::duplex(1024);
    let refused = server.accept_http2(second, None).await;
    assert!(matches!(&refused, Err(Error::Io(error)) if error.kind() == io::ErrorKind::QuotaExceeded));

    let client = common::Client::over(transport.unwrap(), common::client::generous()).await;
    let asked = handshake("/");
    let accept = async {
        let stream = connection.next().await.unwrap().unwrap();
        assert_eq!(stream.peer().addr(), Some(addr));
        stream.into_websocket().unwrap()
    };
    let (mut socket, peer) = within(async { tokio::join!(accept, Socket::on(&client, &asked)) }).await;
    let mut peer = peer.unwrap();
    assert_eq!(socket.peer_addr(), Some(addr));
    socket.send("hello").await.unwrap();
    assert!(peer.message().await == "hello".into());
    handle.shutdown();
    // A socket says its Close while it is being received from.
    let (_, code) = within(async { tokio::join!(socket.recv(), peer.close_code()) }).await;
    assert_eq!(code, 1001);
}

/// Who chose HTTP/1.1 cannot be served so, and is not served wrongly.
#[tokio::test]
async fn http2_is_not_taken_for_http1() {
    let Identities { server, client, .. } = identities(&["http/1.1"]);
    let server = Server::new().tls(server);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connect = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), near);
    let (connection, _transport) = within(async { tokio::join!(server.accept_http2(far, None), connect) }).await;
    assert!(
        matches!(&connection, Err(Error::Invalid(text)) if text.to_string().contains("HTTP/1.1")),
        "{connection:?}"
    );
    assert_eq!(server.handle().connections().len(), 0);
}
