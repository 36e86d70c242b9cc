//! TLS by rustls, with ALPN (RFC 7301).

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use http::Version;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, InvalidMessage, RootCertStore};
use tokio_rustls::TlsConnector;

pub(super) use rustls::ClientConfig;

use super::Versions;
use crate::engine::read_ahead::ReadAhead;
use crate::engine::sealed::Sealed;
use crate::engine::transport::{AnyTransport, H2, HTTP_1_1};
use crate::error::{Error, Missing, Result, Step};

/// One configuration for each choice of versions: what differs is what ALPN offers.
pub(super) struct Tls {
    any: TlsConnector,
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Tls {
    /// By the caller's configuration, else by the system's certificates.
    pub(super) fn new(config: Option<&ClientConfig>) -> Result<Self> {
        let config = config.map_or_else(by_system_roots, |config| Ok(config.clone()))?;
        let connector = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self { any: connector(&[H2, HTTP_1_1]), http1: connector(&[HTTP_1_1]), http2: connector(&[H2]) })
    }

    /// Does the handshake; with what ALPN chose.
    pub(super) async fn secure(
        &self,
        transport: AnyTransport,
        host: &str,
        versions: Versions,
    ) -> Result<(AnyTransport, Option<Version>)> {
        // An IPv6 address stands in brackets in an URL (RFC 3986 §3.2.2).
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(Error::invalid)?;
        let connector = match versions {
            Versions::Any => &self.any,
            Versions::Http1 => &self.http1,
            Versions::Http2 => &self.http2,
        };
        let transport = match connector.connect(name, ReadAhead::new(transport, BytesMut::new())).await {
            Ok(transport) => transport,
            Err(error) if is_refused_by_alpn(&error) => return Err(Error::NotOffered(versions.by_alpn())),
            Err(error) if is_cleartext(&error) => return Err(Error::NotOffered(Missing::Tls)),
            Err(error) => return Err(Error::connect(Step::Tls, error)),
        };
        let version = match transport.get_ref().1.alpn_protocol() {
            Some(H2) => Some(Version::HTTP_2),
            Some(HTTP_1_1) => Some(Version::HTTP_11),
            _ => None,
        };
        Ok((AnyTransport::other(Sealed::new(transport.into(), None)), version))
    }
}

/// RFC 7301 §3.2: the alert of a server that speaks none of what was offered.
fn is_refused_by_alpn(error: &io::Error) -> bool {
    of_tls(error) == Some(&rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
}

/// RFC 8446 §5.1: what the server answered is no record of TLS.
fn is_cleartext(error: &io::Error) -> bool {
    of_tls(error) == Some(&rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn by_system_roots() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // A store holds certificates that nobody can read any more.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        let why = format!("the system has no certificate to trust{why}; install some or give a configuration");
        return Err(Error::connect(Step::Tls, why));
    }
    by_roots(roots)
}

/// Trusts these, and has no certificate of the client.
pub(super) fn by_roots(roots: RootCertStore) -> Result<ClientConfig> {
    // Said by name: where a program's dependencies bring two providers along, rustls would ask for a choice by a panic.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::connect(Step::Tls, error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
