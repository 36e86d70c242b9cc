use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

/// Whether one of the `Connection` fields names this option, or this field (RFC 9110 §7.6.1).
pub(crate) fn is_connection_option(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|&octet| octet == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}
