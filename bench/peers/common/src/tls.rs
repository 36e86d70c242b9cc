use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::Result;

/// A configuration with a certificate for this host that nobody else has signed, and one protocol for ALPN.
///
/// # Errors
///
/// There is no randomness for a key.
pub fn server_config(alpn: &[u8]) -> Result<ServerConfig> {
    Ok(certified_config(alpn)?.0)
}

/// As [`server_config`], and the certificate: its own root.
///
/// # Errors
///
/// There is no randomness for a key.
pub fn certified_config(alpn: &[u8]) -> Result<(ServerConfig, CertificateDer<'static>)> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let certificate = CertificateDer::from(made.cert);
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    // By name: a peer's dependencies may bring another provider, and then there is no default.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok((config, certificate))
}
