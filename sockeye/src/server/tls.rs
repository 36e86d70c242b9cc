use std::sync::Arc;

use bytes::BytesMut;
use http::Version;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::engine::read_ahead::ReadAhead;
use crate::engine::sealed::Sealed;
use crate::engine::transport::{AnyTransport, H2, HTTP_1_1};
use crate::server::Server;
use crate::server::builder::Secured;

impl Server {
    /// Serves over TLS. Where the configuration names no protocols for ALPN, HTTP/2 and HTTP/1.1 are offered: browsers
    /// open their first WebSocket by a connection that offers HTTP/1.1 alone. For a certificate and a key in files
    /// [`tls_pem`](Self::tls_pem) is enough.
    ///
    /// Make the configuration by `builder_with_provider`, of the [`rustls`](crate::rustls) that Sockeye uses:
    /// `ServerConfig::builder` panics in a program whose dependencies bring two of its cryptographic providers along.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use sockeye::rustls::crypto::ring;
    /// use sockeye::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    /// use sockeye::rustls::server::WebPkiClientVerifier;
    /// use sockeye::rustls::{RootCertStore, ServerConfig};
    ///
    /// # fn run(roots: RootCertStore, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> sockeye::Result {
    /// // Clients have to have a certificate of their own.
    /// let provider = Arc::new(ring::default_provider());
    /// let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    /// let config = ServerConfig::builder_with_provider(provider)
    ///     .with_safe_default_protocol_versions()
    ///     .map_err(sockeye::Error::application)?
    ///     .with_client_cert_verifier(clients.map_err(sockeye::Error::application)?)
    ///     .with_single_cert(chain, key)
    ///     .map_err(sockeye::Error::application)?;
    /// let server = sockeye::Server::new().tls(config);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tls(mut self, mut config: ServerConfig) -> Self {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let registry = self.registry.clone();
        self.secure = Some(Arc::new(move |stream| {
            let accept = acceptor.accept(ReadAhead::new(stream, BytesMut::new()));
            let registry = registry.clone();
            Box::pin(async move {
                let transport = accept.await?;
                let session = transport.get_ref().1;
                let certificates = session.peer_certificates().map(|chain| chain.iter().cloned().collect());
                let version = match session.alpn_protocol() {
                    Some(H2) => Some(Version::HTTP_2),
                    Some(HTTP_1_1) => Some(Version::HTTP_11),
                    _ => None,
                };
                Ok(Secured {
                    transport: AnyTransport::other(Sealed::new(transport.into(), Some(registry))),
                    version,
                    certificates,
                })
            })
        }));
        self
    }
}
