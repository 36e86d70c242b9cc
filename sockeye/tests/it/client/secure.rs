//! TLS between a client and a server that trust each other.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::common::within;

/// The two configurations; the server's knows these protocols by ALPN.
pub(crate) fn configs(protocols: &[&str]) -> (ServerConfig, ClientConfig) {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (server, ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Accepts TLS, or says why not.
pub(crate) async fn accept<T>(config: &ServerConfig, transport: T) -> std::io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    within(TlsAcceptor::from(Arc::new(config.clone())).accept(transport)).await
}
