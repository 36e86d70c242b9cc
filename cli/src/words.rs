//! What rustls says, in words: its own texts hold values as Rust writes them.

use std::fmt::Debug;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use sockeye::error::Missing;

/// What went wrong with TLS, and what to do about it.
pub(crate) fn of_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => {
            let is_issuers = matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature);
            let trust = if is_issuers { "--cacert FILE trusts another issuer, " } else { "" };
            format!(
                "invalid peer certificate: {} ({trust}-k takes any certificate but a proxy's)",
                of_certificate(error)
            )
        }
        Error::AlertReceived(alert) => {
            let show = if *alert == AlertDescription::CertificateRequired { " (--cert FILE shows it one)" } else { "" };
            format!("the server refused TLS: {} (its alert){show}", spaced(alert))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => not_tls(),
        Error::InvalidMessage(what) => format!("the server sent a TLS message that is broken: {}", spaced(what)),
        Error::PeerIncompatible(what) => format!("the server's TLS does not go with ours: {}", spaced(what)),
        Error::PeerMisbehaved(what) => format!("the server broke a rule of TLS: {}", spaced(what)),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the server sent a TLS message out of turn".to_owned()
        }
        error => error.to_string(),
    }
}

/// What is said where a server speaks cleartext.
pub(crate) fn not_tls() -> String {
    sockeye::Error::NotOffered(Missing::Tls).to_string()
}

/// The error of TLS in one of the transport, if it is one.
pub(crate) fn tls_of(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The error of TLS that led to another, if one did. A server of TLS 1.3 says only after the handshake that it wants another
/// certificate of its client's, or any (RFC 8446 §4.4.2.4): the alert comes where an answer is read.
pub(crate) fn tls_behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let of_transport = error.downcast_ref().and_then(tls_of);
    of_transport.or_else(|| error.downcast_ref()).or_else(|| tls_behind(error.source()?))
}

/// Why hyper has no answer.
pub(crate) fn of_hyper(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    // What TLS calls the end of TCP without a close_notify.
    let is_cut = source
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    if error.is_incomplete_message() || error.is_canceled() || is_cut {
        return "the server ended the connection without an answer".to_owned();
    }
    let source = source.map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::UnknownIssuer => "nobody whom this system trusts has issued it".to_owned(),
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| unwrapped(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("it is for {names}, not for {}", expected.to_str())
        }
        CertificateError::Revoked => "it has been revoked".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        // What webpki calls it is the name of a variant.
        CertificateError::Other(other) => match &*spaced(&other.0) {
            "ca used as end entity" => "it is an authority's, and not a server's".to_owned(),
            words => words.to_owned(),
        },
        error => spaced(error),
    }
}

/// `DnsName("localhost")` is `localhost`.
fn unwrapped(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// The name of a variant in words: `CaUsedAsEndEntity` is "ca used as end entity".
fn spaced(value: &impl Debug) -> String {
    let debug = format!("{value:?}");
    let name = debug.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut words = String::new();
    let mut before_is_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && before_is_lower {
            words.push(' ');
        }
        before_is_lower = !character.is_ascii_uppercase();
        words.push(character.to_ascii_lowercase());
    }
    if words.is_empty() { debug } else { words }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible};

    use super::of_tls;

    #[derive(Debug)]
    struct CaUsedAsEndEntity;

    impl std::fmt::Display for CaUsedAsEndEntity {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }

    impl std::error::Error for CaUsedAsEndEntity {}

    #[test]
    fn no_value_of_rust_is_in_a_sentence() {
        let certificate = Error::InvalidCertificate;
        let expected = ServerName::try_from("example.com").unwrap();
        let presented = vec!["DnsName(\"localhost\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let rows = [
            (
                certificate(CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity)))),
                "invalid peer certificate: it is an authority's, and not a server's (-k takes any certificate but a proxy's)",
            ),
            (
                certificate(CertificateError::UnknownIssuer),
                "invalid peer certificate: nobody whom this system trusts has issued it (--cacert FILE trusts another issuer, \
                 -k takes any certificate but a proxy's)",
            ),
            (
                certificate(CertificateError::Expired),
                "invalid peer certificate: it has expired (-k takes any certificate but a proxy's)",
            ),
            (
                certificate(CertificateError::NotValidForNameContext { expected, presented }),
                "invalid peer certificate: it is for localhost, 127.0.0.1, not for example.com (-k takes any certificate but a \
                 proxy's)",
            ),
            (
                certificate(CertificateError::BadEncoding),
                "invalid peer certificate: bad encoding (-k takes any certificate but a proxy's)",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the server refused TLS: handshake failure (its alert)",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "the server does not offer TLS on this port (try ws://)",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "the server's TLS does not go with ours: no cipher suites in common",
            ),
        ];
        for (error, words) in rows {
            assert_eq!(of_tls(&error), words);
        }
    }
}
