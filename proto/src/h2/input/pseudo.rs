//! The pseudo-header fields of a request (RFC 9113 §8.3.1), and the URI that they make.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, header};

use crate::h2::Violation;
use crate::uri::{default_port, is_host_and_port};

/// The pseudo-header fields that are defined.
#[derive(Clone, Copy)]
pub(super) enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
}

/// The pseudo-header fields of a list.
pub(super) struct PseudoHeaders([Option<Bytes>; 6]);

impl PseudoHeaders {
    pub(super) fn new(values: [Option<Bytes>; 6]) -> Self {
        Self(values)
    }

    pub(super) fn take(&mut self, pseudo: Pseudo) -> Option<Bytes> {
        self.0[pseudo as usize].take()
    }

    /// RFC 9113 §8.3.1 for requests, §8.5 for CONNECT, RFC 8441 §4 for the extended one, which has all of them.
    pub(super) fn uri(
        &mut self,
        method: &Method,
        is_plain_connect: bool,
        headers: &HeaderMap,
    ) -> Result<Uri, Violation> {
        let (scheme, path) = (self.take(Pseudo::Scheme), self.take(Pseudo::Path));
        let authority = self.take(Pseudo::Authority).map(parse_authority).transpose()?;
        let mut parts = http::uri::Parts::default();
        if is_plain_connect {
            if scheme.is_some() || path.is_some() || authority.is_none() {
                return Err(Violation::ConnectPseudoHeaders);
            }
            // RFC 9110 §9.3.6
            if authority.as_ref().and_then(Authority::port_u16).is_none() {
                return Err(Violation::Authority);
            }
            check_host(authority.as_ref(), None, headers)?;
            parts.authority = authority;
            return Uri::from_parts(parts).map_err(|_| Violation::Authority);
        }
        let (Some(scheme), Some(path)) = (scheme, path) else {
            return Err(Violation::PseudoHeaderMissing);
        };
        let scheme = parse_scheme(&scheme)?;
        let host = check_host(authority.as_ref(), Some(&scheme), headers)?;
        // RFC 9113 §8.3.1: the authority of `http` and `https` is mandatory, in one field or the other.
        parts.authority = Some(authority.or(host).ok_or(Violation::PseudoHeaderMissing)?);
        parts.path_and_query = Some(parse_path(path, method)?);
        parts.scheme = Some(scheme);
        Uri::from_parts(parts).map_err(|_| Violation::Path)
    }
}

/// RFC 3986 §3.1
fn parse_scheme(scheme: &[u8]) -> Result<Scheme, Violation> {
    let is_scheme_character = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(is_scheme_character) {
        return Err(Violation::SchemeSyntax);
    }
    Scheme::try_from(scheme).map_err(|_| Violation::SchemeSyntax)
}

/// RFC 9113 §8.3.1: a path starts with `/`; only OPTIONS may have `*`. A fragment is no part of it.
fn parse_path(path: Bytes, method: &Method) -> Result<PathAndQuery, Violation> {
    let is_path = path.starts_with(b"/") || (path == "*" && method == Method::OPTIONS);
    if !is_path || path.contains(&b'#') {
        return Err(Violation::Path);
    }
    PathAndQuery::from_maybe_shared(path).map_err(|_| Violation::Path)
}

/// A host, and perhaps a port (RFC 9110 §7.2), as over HTTP/1.1. User information has no place here (RFC 9113 §8.3.1).
fn parse_authority(authority: Bytes) -> Result<Authority, Violation> {
    if !is_host_and_port(&authority) {
        return Err(Violation::Authority);
    }
    Authority::from_maybe_shared(authority).map_err(|_| Violation::Authority)
}

/// RFC 9113 §8.3.1: where there is a `host` as well, it names the same. Returns it.
fn check_host(
    authority: Option<&Authority>,
    scheme: Option<&Scheme>,
    headers: &HeaderMap,
) -> Result<Option<Authority>, Violation> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return Ok(None);
    };
    if hosts.next().is_some() {
        return Err(Violation::Authority);
    }
    let host = parse_authority(Bytes::copy_from_slice(host.as_bytes()))?;
    let implied = scheme.and_then(|scheme| default_port(scheme.as_str()));
    fn place(authority: &Authority, implied: Option<u16>) -> (&str, Option<u16>) {
        let port = authority.port_u16();
        // A port that cannot be read stays a part of the text.
        let text = if port.is_some() { authority.host() } else { authority.as_str() };
        (text, port.or(implied))
    }
    match authority.map(|authority| (place(authority, implied), place(&host, implied))) {
        Some(((ours, port), (theirs, other))) if port != other || !ours.eq_ignore_ascii_case(theirs) => {
            Err(Violation::HostMismatch)
        }
        _ => Ok(Some(host)),
    }
}
