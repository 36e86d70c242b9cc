//! What a host may look like (RFC 3986 §3.2.2), which `http` judges more mildly.

use std::net::Ipv6Addr;

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), of a host that is not empty. User information has no place here (§4.2.4).
pub(crate) fn is_host_and_port(octets: &[u8]) -> bool {
    let is_literal = octets.first() == Some(&b'[');
    let end = if is_literal {
        octets.iter().position(|octet| *octet == b']').map(|end| end + 1)
    } else {
        octets.iter().position(|octet| *octet == b':')
    };
    let (host, rest) = octets.split_at(end.unwrap_or(octets.len()));
    let is_host = if is_literal { is_ip_literal(host) } else { is_name(host) };
    is_host && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port))
}

/// RFC 3986 §3.2.3; one that is empty is the default port.
fn is_port(octets: &[u8]) -> bool {
    let digits = octets.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(octets).ok().and_then(|digits| digits.parse::<u16>().ok());
    digits && (octets.is_empty() || number.is_some())
}

/// RFC 3986 §3.2.2: `reg-name`, of which an IPv4 address is one.
fn is_name(octets: &[u8]) -> bool {
    let mut rest = octets;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (octet, after) if is_of_name(*octet) => after,
            _ => return false,
        };
    }
    !octets.is_empty()
}

/// RFC 3986 §2.2 and §2.3: `unreserved` and `sub-delims`, but for the comma, which can only come from fields that were joined
/// (RFC 9110 §5.3).
fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&octet)
}

/// RFC 3986 §3.2.2: `IP-literal`.
fn is_ip_literal(octets: &[u8]) -> bool {
    let Some(address) = octets.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else { return false };
    match address {
        [b'v' | b'V', future @ ..] => {
            let mut parts = future.splitn(2, |octet| *octet == b'.');
            let (version, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let is_version = !version.is_empty() && version.iter().all(u8::is_ascii_hexdigit);
            is_version && !rest.is_empty() && rest.iter().all(|octet| is_of_name(*octet) || *octet == b':')
        }
        _ => str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()),
    }
}
