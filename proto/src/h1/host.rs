//! The Host of a request (RFC 9112 §3.2).

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Version};

use crate::uri::is_host_and_port;

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
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Err("a target of * for another method than OPTIONS (RFC 9112 §3.2.4)");
    }
    let Some(authority) = request.uri().authority() else { return Ok(()) };
    if request.method() != Method::CONNECT && request.uri().scheme().is_none() {
        return Err("the target is no path (RFC 9112 §3.2.3)");
    }
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
