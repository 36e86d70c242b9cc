//! TLS for a server by two files, as ACME clients and `openssl` write them.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};
use crate::server::Server;

impl Server {
    /// Serves over TLS 1.3 and 1.2 with a certificate and its key, each the content of a PEM file: `chain` has the server's own
    /// certificate first and then those that lead to its root (what certbot calls `fullchain.pem`), `key` has the private key
    /// (`privkey.pem`). HTTP/2 and HTTP/1.1 are offered, as [`tls`](Self::tls) says, which is for all else.
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> sockeye::Result {
    /// let server = sockeye::Server::new().tls_pem(std::fs::read("fullchain.pem")?, std::fs::read("privkey.pem")?)?;
    /// server.serve(listener, app).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where there is no certificate or no key, or the two do not belong together.
    pub fn tls_pem(self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain.as_ref())
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Error::invalid(format!("the certificates are no PEM: {error}")))?;
        if chain.is_empty() {
            return Err(Error::invalid("there is no certificate (BEGIN CERTIFICATE) in the chain"));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_ref()).map_err(|error| match error {
            PemError::NoItemsFound => Error::invalid("there is no private key (BEGIN PRIVATE KEY) in the key"),
            error => Error::invalid(format!("the private key is no PEM: {error}")),
        })?;
        // Said by name: where a program's dependencies bring two providers along, rustls would ask for a choice by a panic.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| Error::invalid(format!("the certificate and its key cannot be used: {error}")))?;
        Ok(self.tls(config))
    }
}
