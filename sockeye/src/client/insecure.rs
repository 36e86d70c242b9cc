//! TLS that takes any certificate.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::client::ClientBuilder;
use crate::client::tls::by_roots;
use crate::error::Result;

impl ClientBuilder {
    /// A configuration for [`tls`](Self::tls) that takes any certificate of the server, for tests and for tools that look at
    /// servers: **whoever stands between may read and change everything**. A server of one's own is better trusted by
    /// [`root_pem`](Self::root_pem).
    ///
    /// # Errors
    ///
    /// [`Error::Connect`](crate::Error::Connect) where rustls refuses its own defaults.
    pub fn insecure_tls() -> Result<ClientConfig> {
        let mut config = by_roots(RootCertStore::empty())?;
        let schemes = config.crypto_provider().signature_verification_algorithms.supported_schemes();
        config.dangerous().set_certificate_verifier(Arc::new(AnyCertificate { schemes }));
        Ok(config)
    }
}

/// Takes every certificate. To check the signature of a key that nobody vouches for would prove nothing.
#[derive(Debug)]
struct AnyCertificate {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
