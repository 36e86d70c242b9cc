//! A private root of trust by a file.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::client::ClientBuilder;
use crate::client::tls::by_roots;
use crate::error::{Error, Result};

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
        match Self::root_tls(pem.as_ref()) {
            Ok(config) => self.tls(config),
            Err(error) => {
                self.invalidate(error);
                self
            }
        }
    }

    /// What [`root_pem`](Self::root_pem) uses, to be changed and given to [`tls`](Self::tls): the certificates of a PEM file, given by
    /// its content, are trusted and no others, and there is none of the client.
    ///
    /// ```no_run
    /// # fn run() -> sockeye::Result {
    /// let mut config = sockeye::ClientBuilder::root_tls(&std::fs::read("ca.pem")?)?;
    /// config.key_log = std::sync::Arc::new(sockeye::rustls::KeyLogFile::new());
    /// let builder = sockeye::Client::builder().tls(config);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where there is no certificate in it, or one that cannot be read or used.
    pub fn root_tls(pem: &[u8]) -> Result<ClientConfig> {
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
        by_roots(roots)
    }
}
