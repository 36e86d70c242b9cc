//! The key of a handshake over HTTP/1.1, and the proof that it was read (RFC 6455 §4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha1::{Digest, Sha1};

/// Sixteen random octets in base64.
pub(super) struct Key(String);

impl Key {
    pub(super) fn random() -> Self {
        Self(STANDARD.encode(rand::random::<[u8; 16]>()))
    }

    pub(super) fn value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("base64 is visible ASCII")
    }

    /// Whether this is the `Sec-WebSocket-Accept` for it.
    pub(super) fn is_accepted_by(&self, accept: &HeaderValue) -> bool {
        let digest = Sha1::new().chain_update(&self.0).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
        accept.as_bytes().trim_ascii() == STANDARD.encode(digest).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3
    #[test]
    fn the_example_of_the_rfc() {
        let key = Key("dGhlIHNhbXBsZSBub25jZQ==".into());
        assert!(key.is_accepted_by(&HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        assert!(!key.is_accepted_by(&HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")));
        assert_ne!(Key::random().0, Key::random().0);
    }
}
