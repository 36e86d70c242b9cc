//! The fields of what we send: those of a request, of a response, and of trailers, as HTTP/2 wants them.

use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};

use crate::Protocol;
use crate::connection_option::is_connection_option;
use crate::h2::streams::Exchange;
use crate::hpack::Field;

/// Whether a field speaks of a connection of HTTP/1.1. It makes a message malformed (RFC 9113 §8.2.2), and is left out
/// of what we send.
pub(in crate::h2) fn is_connection_specific(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "proxy-connection" | "keep-alive" | "transfer-encoding" | "upgrade")
}

/// The fields of a request to send, `None` where its URI lacks what HTTP/2 needs.
pub(in crate::h2) fn request_fields<'a>(
    request: &'a Request<()>,
    path: &'a str,
) -> Option<impl Iterator<Item = Field<'a>>> {
    let uri = request.uri();
    let protocol = request.extensions().get::<Protocol>();
    let is_connect = request.method() == Method::CONNECT;
    let authority = uri.authority()?.as_str();
    if authority.contains('@') || (protocol.is_some() && !is_connect) {
        return None;
    }
    // RFC 9113 §8.5: a plain CONNECT has neither.
    let (scheme, path) =
        if is_connect && protocol.is_none() { (None, None) } else { (Some(uri.scheme_str()?), Some(path)) };
    let pseudo = [
        Some((":method", request.method().as_str())),
        protocol.map(|protocol| (":protocol", protocol.as_str())),
        scheme.map(|scheme| (":scheme", scheme)),
        Some((":authority", authority)),
        path.map(|path| (":path", path)),
    ];
    let pseudo = pseudo.into_iter().flatten().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
    let is_wanted = |field: &Field<'_>| match field.name {
        // The authority of the URI says it.
        b"host" => false,
        // RFC 9113 §8.2.2: TE is the one field of a connection that may stand in a request, and says but this.
        b"te" => field.value.eq_ignore_ascii_case(b"trailers"),
        _ => true,
    };
    let headers = header_fields(request.headers()).filter(is_wanted);
    Some(pseudo.chain(headers))
}

/// The fields of a response to send; `date` is one that its own headers lack.
pub(in crate::h2) fn response_fields<'a>(
    status: &'a StatusCode,
    headers: &'a HeaderMap,
    exchange: Exchange,
    date: Option<&'a [u8; 29]>,
) -> impl Iterator<Item = Field<'a>> {
    let keeps_length = may_have_content_length(exchange, *status);
    let status = Field::new(b":status", status.as_str().as_bytes());
    // No table keeps a tunnel's: connections of sockets alone, which may be many and idle, then need none.
    let date = date.map(|date| Field { sensitive: exchange == Exchange::Tunnel, ..Field::new(b"date", date) });
    let headers = trailer_fields(headers).filter(move |field| keeps_length || field.name != b"content-length");
    std::iter::once(status).chain(date).chain(headers)
}

/// RFC 9110 §8.6: none in a 1xx, in a 204, nor in a 2xx to CONNECT. A 205 has no content (§15.3.6), so what it says could
/// only be wrong; a 304 and what answers HEAD may say what there would be.
fn may_have_content_length(exchange: Exchange, status: StatusCode) -> bool {
    let is_tunnel = exchange == Exchange::Tunnel && status.is_success();
    let is_never = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    !is_tunnel && !is_never
}

/// Whether content may follow a final response (RFC 9110 §6.4.1): not what answers HEAD, and no 204, 205 or 304. Those end
/// with their header (§15.3.5).
pub(in crate::h2) fn may_have_content(exchange: Exchange, status: StatusCode) -> bool {
    match exchange {
        Exchange::Head => false,
        Exchange::Tunnel if status.is_success() => true,
        _ => !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED),
    }
}

/// The fields of trailers to send. TE belongs to requests (RFC 9113 §8.2.2).
pub(in crate::h2) fn trailer_fields(trailers: &HeaderMap) -> impl Iterator<Item = Field<'_>> {
    header_fields(trailers).filter(|field| field.name != b"te")
}

/// The fields of a map, without those that speak of a connection of HTTP/1.1 (RFC 9113 §8.2.2) or are named by its
/// `Connection` fields as such (RFC 9110 §7.6.1).
fn header_fields(headers: &HeaderMap) -> impl Iterator<Item = Field<'_>> {
    // Hardly any message has one.
    let has_options = headers.contains_key(header::CONNECTION);
    let is_hop_by_hop =
        move |name: &HeaderName| is_connection_specific(name) || (has_options && is_connection_option(headers, name));
    headers.iter().filter(move |(name, _)| !is_hop_by_hop(name)).map(|(name, value)| Field {
        name: name.as_str().as_bytes(),
        // RFC 9113 §8.2.1: no white space about it. A `HeaderValue` has no other kind than SP and HTAB.
        value: value.as_bytes().trim_ascii(),
        sensitive: value.is_sensitive(),
    })
}
