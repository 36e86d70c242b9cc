//! What of a message's fields goes on, and what a gateway says of itself (RFC 9110 §7.6).

use std::net::IpAddr;

use http::header::{self, HeaderName, HeaderValue, VIA};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri, Version, request, response};
use hyper::ext::ReasonPhrase;
use sockeye::Peer;

use crate::policy::Policy;
use crate::reach::Target;

/// Fields of one connection, whether or not `Connection` names them (RFC 9110 §7.6.1).
const OF_A_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// Fields that count for nothing where they come behind content (RFC 9110 §6.5.1).
const OF_A_HEADER: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::MAX_FORWARDS,
    header::SET_COOKIE,
    header::TRAILER,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The host that the client asked for: of the request's target, else of its `Host` (RFC 9112 §3.2.2).
pub(crate) fn authority(uri: &Uri, fields: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    let host = fields.get(header::HOST)?.as_bytes().trim_ascii();
    Authority::try_from(host).ok().filter(|authority| !authority.as_str().contains('@'))
}

/// The path and the query that the client asked for. An absolute target may have no path, which is sent as `/` (RFC 9112 §3.2.1,
/// RFC 9113 §8.3.1).
pub(crate) fn path(uri: &Uri) -> PathAndQuery {
    match uri.path_and_query() {
        Some(path) if path.as_str().starts_with('?') => format!("/{}", path.as_str()).try_into().ok(),
        path => path.cloned(),
    }
    .unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// The fields of a request as they go to the upstream, but for `Host`; the gateway has this name.
pub(crate) fn of_request(parts: &request::Parts, peer: Option<&Peer>, policy: &Policy, name: &str) -> HeaderMap {
    let mut fields = parts.headers.clone();
    // RFC 9110 §10.1.4: of TE nothing but this outlives a hop.
    let takes_trailers = tokens(&fields, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    remove_connections(&mut fields);
    fields.remove(header::HOST);
    // RFC 9110 §10.1.1: from a client of HTTP/1.0, which does not wait for a 100, it counts for nothing.
    if parts.version == Version::HTTP_10 {
        fields.remove(header::EXPECT);
    }
    if takes_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(&mut fields);
    forward(&mut fields, parts, peer, policy);
    // RFC 9110 §7.6.3
    append(&mut fields, VIA, &format!("{} {name}", via(parts.version)));
    fields
}

/// The head of a response as it goes to the client, with the reason phrase of HTTP/1.1 (RFC 9112 §4). RFC 9112 §2.3: a version is said by who sends it, and an upstream of HTTP/1.0
/// would end the client's connection with each answer.
pub(crate) fn head_of_response(parts: &mut response::Parts) {
    of_response(&mut parts.headers);
    parts.version = Version::default();
    let reason = parts.extensions.remove::<ReasonPhrase>();
    parts.extensions.clear();
    // Some clients show it, and hyper has none for a status that is not registered.
    reason.and_then(|reason| parts.extensions.insert(reason));
}

/// The fields of a response as they go to the client.
pub(crate) fn of_response(fields: &mut HeaderMap) {
    // RFC 9112 §6.3: beside it a length counts for nothing.
    if fields.contains_key(header::TRANSFER_ENCODING) {
        fields.remove(header::CONTENT_LENGTH);
    }
    remove_connections(fields);
}

/// Has a redirect lead to the gateway that names the upstream as it was named to itself (RFC 9110 §10.2.2), with the scheme of its own or
/// of the client: it would lead past the gateway, to where the client may reach nothing. What is left is relative to the client's target.
pub(crate) fn lead_back(answered: &mut HeaderMap, asked: &HeaderMap, upstream: &Target) {
    let Some(location) = answered.get_mut(header::LOCATION) else { return };
    let Some((scheme, rest)) = location.to_str().ok().and_then(|location| location.split_once("://")) else { return };
    let own = if upstream.is_secure() { "https" } else { "http" };
    let of_client = tokens(asked, &FORWARDED_PROTO).next();
    let is_known = [Some(own), of_client].into_iter().flatten().any(|known| scheme.eq_ignore_ascii_case(known));
    if let Some(Ok(path)) = path_at(rest, upstream.authority()).filter(|_| is_known).map(HeaderValue::try_from) {
        *location = path;
    }
}

/// What follows this host. None where browsers would read another in it: they take two slashes for the beginning of one, a backslash
/// for a slash, and leave out tabs.
fn path_at(rest: &str, host: &Authority) -> Option<String> {
    let (named, path) = rest.split_at_checked(host.as_str().len())?;
    match path.as_bytes() {
        _ if !named.eq_ignore_ascii_case(host.as_str()) => None,
        [] | [b'?' | b'#', ..] => Some(format!("/{path}")),
        [b'/', b'/' | b'\\' | b'\t', ..] => None,
        [b'/', ..] => Some(path.to_owned()),
        _ => None,
    }
}

/// The fields behind content, either way. RFC 9110 §6.5.1: what says where a message ends, where it goes, who asks and what its
/// content is was due before that; who took it for the header's would be told otherwise too late.
pub(crate) fn of_trailers(fields: &mut HeaderMap) {
    let is_late = |name: &HeaderName| OF_A_CONNECTION.contains(name) || OF_A_HEADER.contains(name) || is_claim(name);
    let late: Vec<_> = fields.keys().filter(|name| is_late(name)).cloned().collect();
    for name in late {
        fields.remove(name);
    }
}

/// Whether content of HTTP/1.1 came in a coding that hyper does not take off (RFC 9112 §6.1): it would go on as what it is not.
pub(crate) fn has_foreign_coding(fields: &HeaderMap) -> bool {
    let mut codings = tokens(fields, &header::TRANSFER_ENCODING);
    codings.next().is_some_and(|coding| !coding.eq_ignore_ascii_case("chunked")) || codings.next().is_some()
}

fn remove_connections(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(fields, &header::CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        // To name one of these would take from the message what it is made of.
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::CONTENT_TYPE | header::COOKIE))
        .collect();
    for name in named.iter().chain(&OF_A_CONNECTION) {
        fields.remove(name);
    }
}

/// The elements of a list field (RFC 9110 §5.6.1).
pub(crate) fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// RFC 9113 §8.2.3: crumbs of HTTP/2 are one field anywhere else.
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
    for crumb in crumbs {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(mut cookie) = HeaderValue::from_bytes(&joined) {
        cookie.set_sensitive(true);
        fields.insert(header::COOKIE, cookie);
    }
}

/// Says for whom the request goes on (RFC 7239), after what the client's own proxies say where they are trusted.
fn forward(fields: &mut HeaderMap, parts: &request::Parts, peer: Option<&Peer>, policy: &Policy) {
    if !policy.trust_forwarded {
        let claimed: Vec<_> = fields.keys().filter(|name| is_claim(name)).cloned().collect();
        for name in claimed {
            fields.remove(name);
        }
    }
    let ip = peer.and_then(Peer::addr).map(|addr| addr.ip().to_canonical());
    let proto = if peer.is_some_and(Peer::is_secure) { "https" } else { "http" };
    let host = authority(&parts.uri, &parts.headers);
    let host = host.as_ref().map(Authority::as_str);
    append(fields, header::FORWARDED, &forwarded(ip, host, proto));
    if let Some(ip) = ip {
        append(fields, FORWARDED_FOR, &ip.to_string());
    }
    // The first proxy's word counts: it is where the client is.
    if let Some(host) = host {
        insert_first(fields, FORWARDED_HOST, host);
    }
    insert_first(fields, FORWARDED_PROTO, proto);
}

/// RFC 3875 §4.1.18: to a server of CGI, WSGI or PHP an underscore is as good as a hyphen.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name == header::FORWARDED.as_str() || name == REAL_IP.as_str() || name.starts_with("x-forwarded-")
}

/// Whether a request has been forwarded by the gateway of this name, and so goes round in a circle. No proxy between removes a `Via`
/// (RFC 9110 §7.6.3), as it may all that says for whom a request is forwarded.
pub(crate) fn are_via(fields: &HeaderMap, name: &str) -> bool {
    tokens(fields, &VIA).any(|element| element.split_ascii_whitespace().nth(1) == Some(name))
}

/// How a `Via` says in which version a message came.
fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2.0",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn forwarded(ip: Option<IpAddr>, host: Option<&str>, proto: &str) -> String {
    let who = match ip {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        // RFC 7239 §6: in brackets, and so in quotes.
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".to_owned(),
    };
    let host = host.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    format!("for={who}{host};proto={proto}")
}

fn append(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    let before: Vec<&str> = fields.get_all(&name).iter().filter_map(|value| value.to_str().ok()).collect();
    let all = if before.is_empty() { value.to_owned() } else { format!("{}, {value}", before.join(", ")) };
    if let Ok(value) = HeaderValue::try_from(all) {
        fields.insert(name, value);
    }
}

fn insert_first(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    if !fields.contains_key(&name)
        && let Ok(value) = HeaderValue::try_from(value)
    {
        fields.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(fields: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = http::Request::get("https://example.com/").body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    /// RFC 9113 §8.3.1
    #[test]
    fn a_target_without_a_path_has_one() {
        for (target, sent) in
            [("http://x?a=b", "/?a=b"), ("http://x", "/"), ("http://x/?a", "/?a"), ("/p?a", "/p?a"), ("*", "*")]
        {
            assert_eq!(path(&target.parse().unwrap()).as_str(), sent, "{target}");
        }
    }

    /// RFC 9110 §7.6.1
    #[test]
    fn what_belongs_to_a_connection_stays_there() {
        let parts = parts(&[
            ("connection", "keep-alive, X-Hop , content-length"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("x-end", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip, Trailers;q=0.5"),
            ("te", "trailers"),
        ]);
        let fields = of_request(&parts, None, &Policy::default(), "_us");
        for gone in ["connection", "keep-alive", "x-hop", "transfer-encoding", "upgrade", "host"] {
            assert!(!fields.contains_key(gone), "{gone}");
        }
        assert_eq!(fields["x-end"], "1");
        assert_eq!(fields["content-length"], "5", "it says where the message ends");
        assert_eq!(fields.get_all("te").iter().collect::<Vec<_>>(), ["trailers"]);
    }

    /// RFC 9110 §10.1.1
    #[test]
    fn nobody_waits_for_what_a_client_of_http_1_0_expects() {
        let mut parts = parts(&[("expect", "100-continue")]);
        for (version, expects) in [(Version::HTTP_10, false), (Version::HTTP_11, true), (Version::HTTP_2, true)] {
            parts.version = version;
            let fields = of_request(&parts, None, &Policy::default(), "_us");
            assert_eq!(fields.contains_key("expect"), expects, "{version:?}");
        }
    }

    /// RFC 7239 §8.1: who may say anything may lie.
    #[test]
    fn what_clients_say_of_proxies_is_not_trusted_unless_told() {
        let parts = parts(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-real_ip", "1.2.3.4"),
        ]);
        let fields = of_request(&parts, None, &Policy::default(), "_us");
        assert!(fields.keys().all(|name| !name.as_str().contains('_')), "CGI knows no hyphen: {fields:?}");
        assert!(!fields.contains_key("x-forwarded-for") && !fields.contains_key("x-forwarded-port"));
        assert_eq!(fields["forwarded"], "for=unknown;host=\"example.com\";proto=http");
        assert_eq!(fields["x-forwarded-host"], "example.com");
        let trusting = Policy { trust_forwarded: true, ..Policy::default() };
        let fields = of_request(&parts, None, &trusting, "_us");
        assert_eq!(fields["x-forwarded-for"], "1.2.3.4");
        assert_eq!(fields["forwarded"], "for=1.2.3.4, for=unknown;host=\"example.com\";proto=http");
    }

    /// RFC 9110 §7.6.3
    #[test]
    fn a_request_that_comes_again_is_known_by_the_gateways_name() {
        let mut again = parts(&[("via", "1.0 fred, HTTP/1.1 p.example (Apache/1.1)"), ("via", "1.1 _inner")]);
        again.headers = of_request(&again, None, &Policy::default(), "_us");
        assert_eq!(again.headers["via"], "1.0 fred, HTTP/1.1 p.example (Apache/1.1), 1.1 _inner, 1.1 _us");
        again.version = Version::HTTP_2;
        let behind_another = of_request(&again, None, &Policy::default(), "_other");
        assert!(["_us", "_other", "_inner", "fred", "p.example"].iter().all(|name| are_via(&behind_another, name)));
        assert!(!are_via(&behind_another, "_u") && !are_via(&behind_another, "(Apache/1.1)"));
        assert!(behind_another["via"].to_str().unwrap().ends_with(", 2.0 _other"));
    }

    /// RFC 9110 §10.2.2
    #[test]
    fn a_redirect_to_the_upstream_by_its_own_name_leads_back() {
        let led_to = |location: &'static str, scheme: &'static str| {
            let mut fields = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(location))]);
            let asked = HeaderMap::from_iter([(FORWARDED_PROTO, HeaderValue::from_static(scheme))]);
            lead_back(&mut fields, &asked, &"http://localhost:3000".parse().unwrap());
            fields[header::LOCATION].to_str().unwrap().to_owned()
        };
        let led = |location: &'static str| led_to(location, "https, http");
        // It asks for TLS, which the client does not speak to the gateway: it would be sent round in a circle.
        assert_eq!(led_to("https://localhost:3000/", "http"), "https://localhost:3000/");
        assert_eq!(led_to("http://localhost:3000/", "http"), "/");
        for (location, path) in [
            ("http://localhost:3000/items/?a=b#c", "/items/?a=b#c"),
            ("https://LocalHost:3000/", "/"),
            ("http://localhost:3000", "/"),
            ("http://localhost:3000?a", "/?a"),
            ("http://localhost:3000#a", "/#a"),
        ] {
            assert_eq!(led(location), path, "{location}");
        }
        for elsewhere in [
            "/items/",
            "items",
            "//localhost:3000/",
            "http://localhost/",
            "http://localhost:30001/",
            "http://localhost:3000.example/",
            "http://localhost:3000@example.com/",
            "ftp://localhost:3000/",
            "http://local",
            // A host, were the name before it gone.
            "http://localhost:3000//example.com/",
            "http://localhost:3000/\\example.com/",
            "http://localhost:3000/\t/example.com/",
        ] {
            assert_eq!(led(elsewhere), elsewhere);
        }
    }

    /// RFC 9113 §8.2.3
    #[test]
    fn crumbs_of_cookies_are_one_field() {
        let parts = parts(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        let fields = of_request(&parts, None, &Policy::default(), "_us");
        assert_eq!(fields.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }
}
