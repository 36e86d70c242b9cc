//! What a server of TLS says to who speaks cleartext.

/// Whether a connection begins with an alert of TLS, by its type and the first octet of every version (RFC 8446 §5.1, §6). Neither
/// version of HTTP begins so: a frame of HTTP/2 would have 1.4 MB, and a line of HTTP/1.1 begins with a letter.
pub fn is_tls_alert(first_octets: &[u8]) -> bool {
    first_octets.starts_with(&[21, 3])
}
