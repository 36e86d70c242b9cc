//! TLS of a client: whom it trusts, who it is, and what it leaves for who debugs.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Once};

use anyhow::Result;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, KeyLog, RootCertStore};
use sockeye::ClientBuilder;

use crate::certificate;
use crate::dial::describe;
use crate::notes;
use crate::usage::Usage;

/// Where the secrets of TLS sessions are written, for programs that decrypt what was recorded.
const KEY_LOG: &str = "SSLKEYLOGFILE";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TlsOptions {
    /// Take any certificate of the server.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Trust the certificates in this file (PEM) in place of the system's.
    ///
    /// With or without it, the secrets of TLS sessions go to the file that SSLKEYLOGFILE names in the environment, for programs
    /// that decrypt what was recorded.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// The client's certificate chain (PEM), for a server that asks for one.
    #[arg(short = 'E', long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of --cert (PEM), where it is not in the same file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl TlsOptions {
    /// A client's configuration, without protocols for ALPN.
    ///
    /// With `-k` any certificate is taken, and stderr says so. What SSLKEYLOGFILE names gets the secrets of each session.
    ///
    /// # Errors
    ///
    /// The system has no roots, or a file is not what it is to be.
    pub(crate) fn client_config(&self) -> Result<ClientConfig> {
        let mut config = if self.insecure {
            notes::warning(
                "the server's certificate is not checked (-k): anyone on the way may read and change it all",
            );
            ClientBuilder::insecure_tls()?
        } else {
            self.trusted()?
        };
        if let Some(chain) = &self.cert {
            let key = self.key.as_ref().unwrap_or(chain);
            let certified = certificate::load_key(chain, key).map_err(Usage::of)?;
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        }
        if let Some(path) = std::env::var_os(KEY_LOG).filter(|path| !path.is_empty()) {
            let opened = OpenOptions::new().append(true).create(true).open(&path);
            let cannot = format!("cannot write {}, by {KEY_LOG}", path.display());
            let file = opened.map_err(|error| Usage::new(format!("{cannot}: {}", describe(&error))))?;
            config.key_log = Arc::new(Secrets { file, cannot, has_failed: Once::new() });
        }
        Ok(config)
    }

    /// That with a proxy, which `-k` does not hold for, and which is shown no certificate of ours.
    ///
    /// # Errors
    ///
    /// The system has no roots, or a file is not what it is to be.
    pub(crate) fn of_proxy(&self) -> Result<ClientConfig> {
        self.trusted()
    }

    fn trusted(&self) -> Result<ClientConfig> {
        let Some(path) = &self.cacert else { return Ok(ClientBuilder::system_tls()?) };
        let mut roots = RootCertStore::empty();
        for certificate in certificate::read_chain(path).map_err(Usage::of)? {
            let added = roots.add(certificate);
            added.map_err(|error| Usage::new(format!("{} cannot be trusted: {error}", path.display())))?;
        }
        Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

/// Where secrets go. A disk that is full is told of, which rustls' own log keeps to itself.
#[derive(Debug)]
struct Secrets {
    file: File,
    cannot: String,
    has_failed: Once,
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // In one piece, beside those of other threads and programs: the file is appended to.
        if let Err(error) = (&self.file).write_all(line.as_bytes()) {
            self.has_failed.call_once(|| notes::warning(&format!("{}: {}", self.cannot, describe(&error))));
        }
    }
}
