//! What octets go over, and what its TLS settles.

use tokio::io::{AsyncRead, AsyncWrite};

/// Anything that octets go over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What ALPN calls HTTP/2 and HTTP/1.1 (RFC 7301, RFC 9113 §3.2).
#[cfg(feature = "tls")]
pub(crate) const H2: &[u8] = b"h2";
#[cfg(feature = "tls")]
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";
