//! The gateway's certificate, which can change while it runs.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Result;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate;
use crate::usage::Usage;

/// How clients know the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// By a chain and its key, in these files.
    Files { cert: PathBuf, key: PathBuf },
    /// By a certificate that is made on the spot.
    Made,
    /// Not at all: no TLS.
    Cleartext,
}

impl Identity {
    /// # Errors
    ///
    /// A certificate without its key, or with no TLS to be for.
    pub(super) fn new(cert: Option<PathBuf>, key: Option<PathBuf>, cleartext: bool) -> Result<Self> {
        match (cert, key, cleartext) {
            (None, None, true) => Ok(Self::Cleartext),
            (None, None, false) => Ok(Self::Made),
            (Some(cert), Some(key), false) => Ok(Self::Files { cert, key }),
            (Some(_), Some(_), true) => {
                Err(Usage::new("a certificate is for TLS: leave out cleartext, or cert and key").into())
            }
            _ => Err(Usage::new("cert and key go together").into()),
        }
    }

    /// What the files hold, where there are files.
    ///
    /// # Errors
    ///
    /// They cannot be read, or do not go together.
    pub(super) fn read(&self) -> Result<Option<Arc<CertifiedKey>>> {
        match self {
            Self::Files { cert, key } => Ok(Some(Arc::new(certificate::load_key(cert, key)?))),
            Self::Made | Self::Cleartext => Ok(None),
        }
    }

    pub(super) fn is_made(&self) -> bool {
        *self == Self::Made
    }

    pub(super) fn is_cleartext(&self) -> bool {
        *self == Self::Cleartext
    }
}

/// What new connections are shown.
#[derive(Clone)]
pub(super) enum Certificates {
    Files(Arc<Current>),
    Made(Arc<ServerConfig>),
}

/// The certificate of this moment.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<CertifiedKey>>);

impl Certificates {
    /// None where there is no TLS.
    ///
    /// # Errors
    ///
    /// The files cannot be read, or do not go together.
    pub(super) fn load(identity: &Identity) -> Result<Option<Self>> {
        Ok(match identity {
            Identity::Cleartext => None,
            Identity::Made => Some(Self::Made(Arc::new(certificate::make()?))),
            Identity::Files { .. } => {
                identity.read()?.map(|certificate| Self::Files(Arc::new(Current(RwLock::new(certificate)))))
            }
        })
    }

    /// What a server is told once.
    pub(super) fn config(&self) -> ServerConfig {
        match self {
            Self::Made(config) => ServerConfig::clone(config),
            Self::Files(current) => ServerConfig::builder().with_no_client_auth().with_cert_resolver(current.clone()),
        }
    }

    /// From now on new connections are shown this one, where the first one came from files, too.
    pub(super) fn change(&self, certificate: Arc<CertifiedKey>) {
        if let Self::Files(current) = self {
            *current.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
