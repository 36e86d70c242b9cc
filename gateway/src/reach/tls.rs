//! TLS towards upstreams: whom to trust.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

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
        if self.insecure {
            return any_certificate();
        }
        let Some(path) = &self.roots else {
            return sockeye::ClientBuilder::system_tls().map_err(|error| Error::invalid(error.to_string()));
        };
        let invalid = |error: &dyn std::fmt::Display| Error::invalid(format!("{}: {error}", path.display()));
        let pem = std::fs::read(path).map_err(|error| invalid(&error))?;
        sockeye::ClientBuilder::root_tls(&pem).map_err(|error| invalid(&error))
    }
}

fn any_certificate() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid(error.to_string()))?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider))).with_no_client_auth())
}

/// Trusts any certificate, but not signatures that are wrong.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
