//! `yawc PORT CERTIFICATE KEY`: an echo by yawc on hyper's server, for both versions of HTTP.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use yawc::{OpCode, HttpResponse, WebSocket, WebSocketError};

async fn echo(request: Request<Incoming>) -> Result<HttpResponse, WebSocketError> {
    let (response, socket) = WebSocket::upgrade(request)?;
    tokio::spawn(async move {
        let mut socket = socket.await?;
        while let Some(frame) = socket.next().await {
            if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                socket.send(frame).await?;
            }
        }
        Ok::<_, WebSocketError>(())
    });
    Ok(response)
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, certificate, key] = &arguments[..] else { panic!("yawc PORT CERTIFICATE KEY") };
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().enable_connect_protocol();
            builder.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(echo)).await.ok();
        });
    }
}
