//! `axum-site PORT [CERTIFICATE KEY]`: the site of `conformance/servers` on axum, which speaks both versions of HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use axum::serve::Listener;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let router = Router::new()
        .route("/refuse", any(|| async { (StatusCode::FORBIDDEN, "not for you\n") }))
        .route("/echo", any(|upgrade| open(upgrade, echo)))
        .route("/close", any(|upgrade| open(upgrade, close)))
        .route("/ping", any(|upgrade| open(upgrade, ping)));
    let [port, files @ ..] = &arguments[..] else { return Err("usage: axum-site PORT [CERTIFICATE KEY]".into()) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    match files {
        [certificate, key] => axum::serve(TlsListener::new(listener, certificate, key)?, router).await?,
        _ => axum::serve(listener, router).await?,
    }
    Ok(())
}

async fn open<F>(upgrade: WebSocketUpgrade, handler: fn(WebSocket) -> F) -> Response
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    upgrade.protocols(["echo"]).on_upgrade(move |socket| async move {
        handler(socket).await;
    })
}

async fn echo(mut socket: WebSocket) -> Option<()> {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.send(message).await.ok()?;
        }
    }
    None
}

/// Closes with the code that the first message names.
async fn close(mut socket: WebSocket) -> Option<()> {
    let message = socket.recv().await?.ok()?;
    let code = message.to_text().ok()?.parse().ok()?;
    socket.send(Message::Close(Some(CloseFrame { code, reason: "as asked".into() }))).await.ok()?;
    while let Some(Ok(_)) = socket.recv().await {}
    None
}

async fn ping(mut socket: WebSocket) -> Option<()> {
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Text(_) => socket.send(Message::Ping("are you there?".into())).await.ok()?,
            Message::Pong(_) => socket.send("a Pong came".into()).await.ok()?,
            _ => {}
        }
    }
    None
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    fn new(listener: TcpListener, certificate: &str, key: &str) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (transport, address) = Listener::accept(&mut self.listener).await;
            if let Ok(secured) = self.acceptor.accept(transport).await {
                return (secured, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
