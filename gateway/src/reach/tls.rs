//! TLS towards upstreams: whom to trust.

use std::path::PathBuf;

use rustls::ClientConfig;
use sockeye::ClientBuilder;

use super::Error;

/// How an upstream's certificate is looked at. By default the system's roots are trusted, and the name is the target's host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file whose certificates are trusted, and no others.
    pub roots: Option<PathBuf>,
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
        let Some(path) = &self.roots else { return ClientBuilder::system_tls().map_err(invalid) };
        let invalid = |error: &dyn std::fmt::Display| Error::invalid(format!("{}: {error}", path.display()));
        let pem = std::fs::read(path).map_err(|error| invalid(&error))?;
        ClientBuilder::root_tls(&pem).map_err(|error| invalid(&error))
    }
}
