//! The server's certificate: given, or made on the spot.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::notes;

/// Reads a certificate chain and its key, both in PEM.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<ServerConfig> {
    let (chain, key_der) = read(cert, key)?;
    config(chain, key_der).with_context(|| do_not_match(cert, key))
}

/// The same, for who gives it to clients by itself.
pub(crate) fn load_key(cert: &Path, key: &Path) -> Result<CertifiedKey> {
    let (chain, key_der) = read(cert, key)?;
    let provider = ServerConfig::builder().crypto_provider().clone();
    CertifiedKey::from_der(chain, key_der, &provider).with_context(|| do_not_match(cert, key))
}

fn do_not_match(cert: &Path, key: &Path) -> String {
    format!("{} and {} do not go together", cert.display(), key.display())
}

fn read(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let cannot_read = |what: &str, path: &Path| format!("cannot read the {what} in {}", path.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| cannot_read("certificate", cert))?;
    ensure!(!chain.is_empty(), "there is no certificate in {}", cert.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| cannot_read("private key", key))?;
    Ok((chain, key))
}

/// Makes a self-signed certificate for this host alone, and tells its fingerprint.
pub(crate) fn make() -> Result<ServerConfig> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let certificate = CertificateDer::from(made.cert);
    let digest = Sha256::digest(&certificate);
    let fingerprint: Vec<String> = digest.iter().map(|octet| format!("{octet:02X}")).collect();
    notes::note(&format!("self-signed certificate for localhost, SHA-256 {}", fingerprint.join(":")));
    config(vec![certificate], PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into())
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig> {
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}
