//! What went wrong, in words.

use sockeye::Error;
use sockeye::error::Missing;
use sockeye_proto::h2::{ConnectionError, OpenError, Reason, Settings, Violation};

use super::super::failure::{Failure, Kind};

/// Why a stream was reset.
pub(super) fn reset(reason: Reason, violation: Option<Violation>) -> Failure {
    match violation {
        None if reason == Reason::REFUSED_STREAM => Failure::new(Kind::Refused, "the server refused the stream"),
        None => Failure::new(Kind::Broken, format!("the server reset the stream: {reason}")),
        Some(violation) => Failure::new(Kind::Violation, format!("the server broke HTTP/2 on the stream: {violation}")),
    }
}

/// Why the connection ended.
pub(super) fn ended(error: Option<ConnectionError>) -> Failure {
    match error {
        Some(ConnectionError::GoAway(reason)) => {
            Failure::new(Kind::Broken, format!("the server ended the connection by GOAWAY: {reason}"))
        }
        Some(ConnectionError::Violation(Violation::PrefaceTimeout)) => Failure::timeout("the server's SETTINGS"),
        Some(ConnectionError::Violation(Violation::SettingsTimeout)) => Failure::timeout("the answer to our SETTINGS"),
        Some(ConnectionError::Violation(Violation::TlsAlert)) => {
            Failure::new(Kind::Connect, Error::NotOffered(Missing::Cleartext).to_string())
        }
        // RFC 9113 §3.4
        Some(ConnectionError::Violation(violation @ Violation::FirstFrame)) => {
            Failure::new(Kind::Violation, format!("the server did not answer in HTTP/2: {violation}"))
        }
        Some(ConnectionError::Violation(violation)) => Failure::new(Kind::Violation, violation.to_string()),
        Some(_) | None => Failure::new(Kind::Broken, "the server ended the connection"),
    }
}

/// Why there is no stream for a socket.
pub(super) fn not_opened(error: OpenError, server: Option<&Settings>) -> Failure {
    let what = match (error, server.and_then(|settings| settings.max_concurrent_streams)) {
        (OpenError::TooManyStreams, Some(max)) => {
            format!("the server allows {max} streams on a connection (SETTINGS_MAX_CONCURRENT_STREAMS)")
        }
        (error, _) => error.to_string(),
    };
    Failure::new(Kind::NotOffered, what)
}
