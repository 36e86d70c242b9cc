//! The Host of a request (RFC 9112 §3.2).

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Version};

/// Judges the host that a request names. The authority of the request's target goes before its Host (RFC 9112 §3.2.2), and
/// the Host is made to say the same, for an application that reads no other.
///
/// ```
/// let mut request = http::Request::get("http://example.com/chat").header("host", "example.org").body(()).unwrap();
/// sockeye_proto::h1::settle_host(&mut request).unwrap();
/// assert_eq!(request.headers()["host"], "example.com");
/// ```
///
/// # Errors
///
/// What is to be answered with 400: the rule that the request breaks.
pub fn settle_host<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err("more than one Host (RFC 9112 §3.2)"),
        (None, None) if request.version() == Version::HTTP_11 => return Err("no Host (RFC 9112 §3.2)"),
        (host, None) => host.map(HeaderValue::as_bytes),
    };
    // RFC 9110 §7.2: it is empty where the target has no authority.
    if host.is_some_and(|host| !host.is_empty() && !is_host_and_port(host)) {
        return Err("Host is no host and port (RFC 9112 §3.2)");
    }
    let Some(authority) = request.uri().authority() else { return Ok(()) };
    if host.is_some_and(<[u8]>::is_empty) {
        return Err("an empty Host, where the target names one (RFC 9112 §3.2)");
    }
    if !is_host_and_port(authority.as_str().as_bytes()) {
        return Err("the target names no host and port (RFC 9110 §4.2)");
    }
    // RFC 9110 §9.3.6
    if request.method() == Method::CONNECT && authority.port_u16().is_none() {
        return Err("a CONNECT without a port (RFC 9110 §9.3.6)");
    }
    if host != Some(authority.as_str().as_bytes()) {
        let authority = field_value(authority)?;
        request.headers_mut().insert(HOST, authority);
    }
    Ok(())
}

fn field_value(authority: &Authority) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_str(authority.as_str()).map_err(|_| "the target names no host (RFC 9110 §4.2)")
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), of a host that is not empty. User information has no place here (§4.2.4).
fn is_host_and_port(octets: &[u8]) -> bool {
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
