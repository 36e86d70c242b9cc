//! TLS towards upstreams: whom to trust.

use rustls::ClientConfig;
use sockeye::ClientBuilder;

use super::Error;

/// How an upstream's certificate is looked at. By default the system's roots are trusted, and the name is the target's host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// What a PEM file holds whose certificates are trusted, and no others.
    pub roots: Option<Vec<u8>>,
    /// Takes any certificate: for tests, since whoever stands between can read and change everything.
    pub insecure: bool,
    /// The name that the certificate is to have, in place of the target's host.
    pub server_name: Option<String>,
}

impl Tls {
    /// Reads what is trusted.
    pub(super) fn config(&self) -> Result<ClientConfig, Error> {
        let invalid = |error: sockeye::Error| Error::invalid(error.to_string());
        if self.insecure {
            return ClientBuilder::insecure_tls().map_err(invalid);
        }
        match &self.roots {
            Some(pem) => ClientBuilder::root_tls(pem).map_err(invalid),
            None => ClientBuilder::system_tls().map_err(invalid),
        }
    }
}
