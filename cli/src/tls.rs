//! TLS of a client: the system's roots, or no check at all.

use std::sync::Arc;

use anyhow::Result;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sockeye::ClientBuilder;

/// A client's configuration, without protocols for ALPN.
///
/// With `insecure` any certificate is taken, and stderr says so.
///
/// # Errors
///
/// The system has no roots.
pub(crate) fn client_config(insecure: bool) -> Result<ClientConfig> {
    if !insecure {
        return Ok(ClientBuilder::system_tls()?);
    }
    eprintln!("warning: the server's certificate is not checked (-k): anyone on the way may read and change it all");
    let builder = ClientConfig::builder();
    let schemes = builder.crypto_provider().signature_verification_algorithms.supported_schemes();
    let verifier = Arc::new(AnyCertificate { schemes });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
