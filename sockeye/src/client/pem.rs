//! A private root of trust by a file.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::client::ClientBuilder;
use crate::error::{Error, Result, Step};

impl ClientBuilder {
    /// Trusts the certificates of a PEM file, given by its content, and no others: the root of a company's own authority, or the
    /// certificate of a test server. It takes the place of what [`tls`](Self::tls) or an earlier call said.
    ///
    /// ```no_run
    /// # async fn run() -> sockeye::Result {
    /// let client = sockeye::Client::builder().root_pem(std::fs::read("ca.pem")?).connect("https://chat.internal").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where there is no certificate in it, or one that cannot be read, [`connect`](Self::connect) says so by
    /// [`Error::Invalid`].
    #[must_use]
    pub fn root_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        match trusting(pem.as_ref()) {
            Ok(config) => self.tls(config),
            Err(error) => {
                self.invalidate(error);
                self
            }
        }
    }
}

fn trusting(pem: &[u8]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| Error::invalid(format!("the trusted certificates are no PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| Error::invalid(format!("a trusted certificate cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(Error::invalid("there is no certificate (BEGIN CERTIFICATE) to trust"));
    }
    // Said by name: where a program's dependencies bring two providers along, rustls would ask for a choice by a panic.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::connect(Step::Tls, error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
