//! Header lists and the messages that they begin or end (RFC 9113 §8): every rule that makes a message malformed.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};

use super::pseudo::{Pseudo, PseudoHeaders};
use crate::Protocol;
use crate::h2::config::HARD_HEADER_FACTOR;
use crate::h2::output::is_connection_specific;
use crate::h2::streams::{ContentLength, Exchange};
use crate::h2::{Config, Violation};
use crate::hpack::{Field, Limits, ListSize};

/// Octets of all values of most lists.
const COMMON_SIZE: usize = 256;

/// Octets of room that values keep beside them, rather than move once more.
const MAX_SPARE: usize = 1 << 10;

/// The hard limits, at which decoding stops.
pub(super) fn hard_limits(config: &Config) -> Limits {
    Limits {
        max_list_size: config.max_header_list_size.saturating_mul(HARD_HEADER_FACTOR) as usize,
        max_fields: config.max_header_fields.saturating_mul(HARD_HEADER_FACTOR) as usize,
    }
}

/// Which part of a message a header block is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Response,
    Trailers,
}

/// A header list as it is decoded: each field is checked when it is visited, and kept as little as can be.
pub(super) struct HeaderList {
    part: Part,
    soft: Limits,
    size: ListSize,
    /// The values of all fields, one after the other: they end up in one allocation.
    values: Vec<u8>,
    pseudo: [Option<Range<usize>>; 6],
    fields: Vec<(HeaderName, Range<usize>, bool)>,
    /// The first rule broken. The rest of the list is only decoded.
    violation: Option<Violation>,
}

impl HeaderList {
    pub(super) fn new(part: Part, config: &Config) -> Self {
        let soft = Limits {
            max_list_size: config.max_header_list_size as usize,
            max_fields: config.max_header_fields as usize,
        };
        Self {
            part,
            soft,
            size: ListSize::default(),
            values: Vec::with_capacity(COMMON_SIZE),
            pseudo: Default::default(),
            fields: Vec::new(),
            violation: None,
        }
    }

    /// Takes one field as HPACK decodes it.
    pub(super) fn visit(&mut self, field: Field<'_>) {
        if self.violation.is_some() {
            return;
        }
        let taken = if self.size.add(&field, &self.soft).is_err() {
            Err(Violation::HeaderListTooLarge)
        } else if field.name.first() == Some(&b':') {
            self.visit_pseudo(field)
        } else {
            self.visit_regular(field)
        };
        self.violation = taken.err();
    }

    fn visit_pseudo(&mut self, field: Field<'_>) -> Result<(), Violation> {
        let pseudo = match (self.part, field.name) {
            (Part::Trailers, _) => return Err(Violation::PseudoHeaderInTrailers),
            (Part::Request, b":method") => Pseudo::Method,
            (Part::Request, b":scheme") => Pseudo::Scheme,
            (Part::Request, b":authority") => Pseudo::Authority,
            (Part::Request, b":path") => Pseudo::Path,
            (Part::Request, b":protocol") => Pseudo::Protocol,
            (Part::Response, b":status") => Pseudo::Status,
            _ => return Err(Violation::PseudoHeaderUnknown),
        };
        // RFC 9113 §8.3
        if !self.fields.is_empty() {
            return Err(Violation::PseudoHeaderOrder);
        }
        let value = self.keep_value(field.value)?;
        match self.pseudo[pseudo as usize].replace(value) {
            None => Ok(()),
            Some(_) => Err(Violation::PseudoHeaderRepeated),
        }
    }

    fn visit_regular(&mut self, field: Field<'_>) -> Result<(), Violation> {
        // RFC 9113 §8.2.1; `from_lowercase` takes nothing but lowercase token characters.
        let name = HeaderName::from_lowercase(field.name).map_err(|_| Violation::FieldName)?;
        if is_connection_specific(&name) {
            return Err(Violation::ConnectionSpecificField);
        }
        // RFC 9113 §8.2.2
        if name == header::TE && !field.value.eq_ignore_ascii_case(b"trailers") {
            return Err(Violation::TeField);
        }
        let value = self.keep_value(field.value)?;
        self.fields.push((name, value, field.sensitive));
        Ok(())
    }

    fn keep_value(&mut self, value: &[u8]) -> Result<Range<usize>, Violation> {
        // RFC 9113 §8.2.1 forbids NUL, LF, CR and outer white space; RFC 9110 §5.5 the other control characters.
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let is_control = |&byte: &u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
        if is_space(value.first()) || is_space(value.last()) || value.iter().any(is_control) {
            return Err(Violation::FieldValue);
        }
        let start = self.values.len();
        self.values.extend_from_slice(value);
        Ok(start..self.values.len())
    }

    /// The list's size (RFC 9113 §6.5.2).
    pub(super) fn octets(&self) -> usize {
        self.size.octets()
    }

    /// The whole list as a request, and how much content it announces.
    pub(super) fn into_request(
        self,
        connect_protocol_offered: bool,
        end_stream: bool,
    ) -> Result<(Request<()>, ContentLength), Violation> {
        let (mut parsed, headers) = self.into_parsed()?;
        let method = parsed.take(Pseudo::Method).ok_or(Violation::PseudoHeaderMissing)?;
        let method = Method::from_bytes(&method).map_err(|_| Violation::Method)?;
        let protocol = parsed.take(Pseudo::Protocol);
        // RFC 8441 §3: what counts is what we advertised.
        if protocol.is_some() && !connect_protocol_offered {
            return Err(Violation::ProtocolNotOffered);
        }
        // RFC 8441 §4
        if protocol.is_some() && method != Method::CONNECT {
            return Err(Violation::ProtocolWithoutConnect);
        }
        if protocol.is_some() && end_stream {
            return Err(Violation::ExtendedConnectEnded);
        }
        let is_plain_connect = method == Method::CONNECT && protocol.is_none();
        let uri = parsed.uri(&method, is_plain_connect, &headers)?;
        let mut expected = ContentLength::ANY;
        if method != Method::CONNECT {
            expected = content_length(&headers)?;
            // RFC 9113 §8.1.1
            if !expected.take(0, end_stream) {
                return Err(Violation::ContentLengthMismatch);
            }
        }
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        if let Some(protocol) = protocol {
            let protocol = std::str::from_utf8(&protocol).map_err(|_| Violation::FieldValue)?;
            request.extensions_mut().insert(Protocol::new(protocol));
        }
        Ok((request, expected))
    }

    /// The whole list as a response, and how much content is to follow.
    pub(super) fn into_response(
        self,
        exchange: Exchange,
        end_stream: bool,
    ) -> Result<(Response<()>, ContentLength), Violation> {
        let (mut parsed, headers) = self.into_parsed()?;
        let status = parsed.take(Pseudo::Status).ok_or(Violation::PseudoHeaderMissing)?;
        let status = StatusCode::from_bytes(&status).map_err(|_| Violation::Status)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Violation::SwitchingProtocols);
        }
        // RFC 9113 §8.1
        if status.is_informational() && end_stream {
            return Err(Violation::InformationalEnded);
        }
        // RFC 9113 §8.1.1, RFC 9110 §9.3.6
        let expected = match exchange {
            _ if status.is_informational() => ContentLength::ANY,
            Exchange::Tunnel if status.is_success() => ContentLength::ANY,
            Exchange::Head => ContentLength::NONE,
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => ContentLength::NONE,
            _ => content_length(&headers)?,
        };
        if !expected.clone().take(0, end_stream) {
            return Err(Violation::ContentLengthMismatch);
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = headers;
        Ok((response, expected))
    }

    /// The whole list as trailers.
    pub(super) fn into_trailers(self) -> Result<HeaderMap, Violation> {
        self.into_parsed().map(|(_, headers)| headers)
    }

    fn into_parsed(mut self) -> Result<(PseudoHeaders, HeaderMap), Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        // Whoever holds the message holds these: of many octets no more than there are.
        if self.values.capacity() - self.values.len() > MAX_SPARE {
            self.values.shrink_to_fit();
        }
        let values = Bytes::from(self.values);
        let is_cookie = |name: &HeaderName| name == header::COOKIE;
        let cookies = self.fields.iter().filter(|(name, ..)| is_cookie(name)).count();
        let capacity = self.fields.len() - cookies.saturating_sub(1);
        let mut headers = HeaderMap::try_with_capacity(capacity).map_err(|_| Violation::HeaderListTooLarge)?;
        if cookies > 1 {
            let crumbs = self.fields.iter().filter(|(name, ..)| is_cookie(name));
            headers.insert(header::COOKIE, join_cookies(crumbs.map(|(_, range, _)| &values[range.clone()]))?);
        }
        for (name, range, sensitive) in self.fields {
            if cookies > 1 && is_cookie(&name) {
                continue;
            }
            let value = HeaderValue::from_maybe_shared(values.slice(range));
            let mut value = value.map_err(|_| Violation::FieldValue)?;
            value.set_sensitive(sensitive);
            headers.try_append(name, value).map_err(|_| Violation::HeaderListTooLarge)?;
        }
        let pseudo = self.pseudo.map(|range| range.map(|range| values.slice(range)));
        Ok((PseudoHeaders::new(pseudo), headers))
    }
}

/// RFC 9113 §8.2.3: crumbs are joined before the field goes where HTTP/2 is not known.
fn join_cookies<'a>(crumbs: impl Iterator<Item = &'a [u8]>) -> Result<HeaderValue, Violation> {
    let mut joined = BytesMut::new();
    for (index, crumb) in crumbs.enumerate() {
        if index > 0 {
            joined.put_slice(b"; ");
        }
        joined.put_slice(crumb);
    }
    let mut value = HeaderValue::from_maybe_shared(joined.freeze()).map_err(|_| Violation::FieldValue)?;
    value.set_sensitive(true);
    Ok(value)
}

/// How much content the header announces (RFC 9113 §8.1.1).
fn content_length(headers: &HeaderMap) -> Result<ContentLength, Violation> {
    let octets = crate::content_length(headers).map_err(|_| Violation::ContentLength)?;
    Ok(octets.map_or(ContentLength::ANY, ContentLength::exactly))
}
