//! Certificates and their keys: read from files, or made on the spot.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::dial::describe;
use crate::notes;

/// Reads a server's certificate chain and its key, both in PEM.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<ServerConfig> {
    let certified = Arc::new(SingleCertAndKey::from(load_key(cert, key)?));
    Ok(ServerConfig::builder().with_no_client_auth().with_cert_resolver(certified))
}

/// The same, for who gives it to others by itself.
pub(crate) fn load_key(cert: &Path, key: &Path) -> Result<CertifiedKey> {
    let (chain, key_der) = (read_chain(cert)?, read_key(key)?);
    let provider = ServerConfig::builder().crypto_provider().clone();
    CertifiedKey::from_der(chain, key_der, &provider).map_err(|error| {
        let what = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "the key is not that of the first certificate".to_owned()
            }
            error => error.to_string(),
        };
        anyhow!("{} and {} do not go together: {what}", cert.display(), key.display())
    })
}

/// The certificates in a file: one at least.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| cannot_read("certificates", path, error))?;
    ensure!(!chain.is_empty(), "there is no certificate in {} (PEM is wanted)", path.display());
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let is_encrypted = std::fs::read_to_string(path).is_ok_and(|text| text.contains("ENCRYPTED"));
        if is_encrypted {
            return anyhow!(
                "the private key in {0} is encrypted: openssl pkey -in {0} writes it without",
                path.display()
            );
        }
        cannot_read("a private key", path, error)
    })
}

fn cannot_read(what: &str, path: &Path, error: pem::Error) -> Error {
    let why = match error {
        pem::Error::Io(error) => describe(&error),
        pem::Error::NoItemsFound => "there is none (PEM is wanted)".to_owned(),
        // What follows in its text is a value of Rust's.
        pem::Error::Base64Decode(_) => "it is no base64".to_owned(),
        error => error.to_string(),
    };
    anyhow!("cannot read {what} in {}: {why}", path.display())
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
