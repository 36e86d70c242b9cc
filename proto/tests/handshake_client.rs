//! The client's side of the opening handshake (RFC 6455 §4.1, RFC 8441 §5): each test holds one rule.
#![cfg(feature = "web-socket")]

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use sockeye_proto::Protocol;
use sockeye_proto::ws::Extensions;
use sockeye_proto::ws::handshake::{Accepted, Carrier, ClientHandshake, Offer, RequestError, ResponseError};

/// The key of RFC 6455 §1.3.
const HTTP1: Carrier = Carrier::Http1 { key: *b"the sample nonce" };

fn handshake(uri: &str) -> ClientHandshake {
    ClientHandshake::new(uri.parse().unwrap())
}

fn chat() -> ClientHandshake {
    let mut handshake = handshake("wss://server.example.com/chat?room=1");
    handshake.protocols = vec!["chat".into(), "superchat".into()];
    handshake.extensions = Extensions { no_masking: true, ..Extensions::default() };
    handshake.headers.insert("origin", "https://example.com".parse().unwrap());
    handshake
}

fn header<'a>(request: &'a Request<()>, name: &str) -> Option<&'a str> {
    request.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The response of RFC 6455 §1.3, with these fields on top of it or in place of its own.
fn upgraded(fields: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        .body(())
        .unwrap();
    for (name, value) in fields {
        response.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    response
}

fn ok(fields: &[(&'static str, &str)]) -> Response<()> {
    let response = fields.iter().fold(Response::builder(), |response, (name, value)| response.header(*name, *value));
    response.body(()).unwrap()
}

/// RFC 6455 §4.1: a GET with Host, Upgrade, Connection, Key, Version, and what the client offers.
#[test]
fn asks_for_an_upgrade_over_http1() {
    let request = chat().request(HTTP1).unwrap();
    assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
    assert_eq!(request.uri(), "/chat?room=1");
    assert_eq!(header(&request, "host"), Some("server.example.com"));
    assert_eq!(header(&request, "upgrade"), Some("websocket"));
    assert_eq!(header(&request, "connection"), Some("Upgrade"));
    assert_eq!(header(&request, "sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(header(&request, "sec-websocket-version"), Some("13"));
    assert_eq!(header(&request, "sec-websocket-protocol"), Some("chat, superchat"));
    assert_eq!(header(&request, "sec-websocket-extensions"), Some("no-masking"));
    assert_eq!(header(&request, "origin"), Some("https://example.com"));
}

/// RFC 8441 §5: CONNECT with `:protocol`, `:scheme` https for wss, and no Key, Connection, Upgrade or Host.
#[test]
fn asks_for_a_tunnel_over_http2() {
    let request = chat().request(Carrier::Http2).unwrap();
    assert_eq!((request.method(), request.version()), (&Method::CONNECT, Version::HTTP_2));
    assert_eq!(request.uri(), "https://server.example.com/chat?room=1");
    assert_eq!(request.extensions().get(), Some(&Protocol::websocket()));
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = ["origin", "sec-websocket-extensions", "sec-websocket-protocol", "sec-websocket-version"];
    assert_eq!(names, expected);
    assert_eq!(handshake("ws://example.com/").request(Carrier::Http2).unwrap().uri(), "http://example.com/");
}

/// RFC 6455 §3, §4.1: an empty path is "/", a fragment is never sent, a port that the scheme implies is left out.
#[test]
fn writes_the_target_in_its_normal_form() {
    let cases = [
        ("wss://example.com", "example.com", "/"),
        ("wss://example.com?a=b", "example.com", "/?a=b"),
        ("wss://example.com/a#b", "example.com", "/a"),
        ("wss://example.com:443/", "example.com", "/"),
        ("https://example.com:80/", "example.com:80", "/"),
        ("ws://example.com:80/", "example.com", "/"),
        ("ws://[::1]:8080/x", "[::1]:8080", "/x"),
        ("http://[::1]:80/x", "[::1]", "/x"),
    ];
    for (uri, host, path) in cases {
        let request = handshake(uri).request(HTTP1).unwrap();
        assert_eq!((header(&request, "host").unwrap(), request.uri().path_and_query().unwrap().as_str()), (host, path));
        let request = handshake(uri).request(Carrier::Http2).unwrap();
        assert_eq!(request.uri().authority().unwrap(), host);
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), path);
    }
}

/// Only URIs that name a host over a scheme we speak; RFC 9110 §4.2.4: no user information.
#[test]
fn refuses_other_uris() {
    for uri in ["/chat", "example.com", "ftp://example.com/", "wss://user:secret@example.com/"] {
        for carrier in [HTTP1, Carrier::Http2] {
            assert_eq!(handshake(uri).request(carrier).unwrap_err(), RequestError::Uri, "{uri}");
        }
    }
}

/// RFC 6455 §4.1: distinct tokens, so that no name can add a header field or a second element.
#[test]
fn refuses_subprotocols_that_are_not_distinct_tokens() {
    for protocols in [vec![""], vec!["a, b"], vec!["a\r\nb: c"], vec!["a", "a"], vec!["é"]] {
        let mut handshake = chat();
        handshake.protocols = protocols.into_iter().map(String::from).collect();
        assert_eq!(handshake.request(Carrier::Http2).unwrap_err(), RequestError::Protocols);
    }
}

/// Fields that the handshake writes are its own.
#[test]
fn refuses_a_callers_copy_of_its_own_fields() {
    for name in ["connection", "upgrade", "content-length", "transfer-encoding", "sec-websocket-accept"] {
        let mut handshake = chat();
        handshake.headers.insert(HeaderName::from_static(name), "x".parse().unwrap());
        for carrier in [HTTP1, Carrier::Http2] {
            let error = handshake.request(carrier).unwrap_err();
            assert_eq!(error, RequestError::Header(HeaderName::from_static(name)));
        }
    }
}

/// RFC 9112 §3.2, RFC 9113 §8.3.1: a host of the caller's takes the place of the URI's, as a test of a server that is reached by its
/// address wants.
#[test]
fn a_callers_host_is_the_requests_authority() {
    for host in ["other.example", "other.example:8443", "[::1]:80"] {
        let mut handshake = chat();
        handshake.headers.insert("host", host.parse().unwrap());
        let request = handshake.request(HTTP1).unwrap();
        assert_eq!(header(&request, "host"), Some(host));
        assert_eq!(request.headers().get_all("host").iter().count(), 1);
        let request = handshake.request(Carrier::Http2).unwrap();
        assert_eq!(request.uri().authority().unwrap(), host);
        assert_eq!(header(&request, "host"), None);
    }
    for hosts in [&[""] as &[&str], &["a b"], &["user@a"], &["a", "b"], &["a/b"]] {
        let mut handshake = chat();
        for host in hosts {
            handshake.headers.append("host", host.parse().unwrap());
        }
        for carrier in [HTTP1, Carrier::Http2] {
            assert_eq!(handshake.request(carrier).unwrap_err(), RequestError::Host, "{hosts:?}");
        }
    }
}

/// The handshake with a key of the caller's (that of RFC 6455 §1.3 unless it says another).
fn with_key(keys: &[&str]) -> ClientHandshake {
    let mut handshake = chat();
    for key in keys {
        handshake.headers.append("sec-websocket-key", key.parse().unwrap());
    }
    handshake
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// RFC 8441 §5 has no key, so a caller may send one, for who waits for it behind a proxy. Over HTTP/1.1 the handshake makes
/// its own (RFC 6455 §4.1).
#[test]
fn a_callers_key_goes_over_http2_alone() {
    assert_eq!(header(&with_key(&[KEY]).request(Carrier::Http2).unwrap(), "sec-websocket-key"), Some(KEY));
    let error = with_key(&[KEY]).request(HTTP1).unwrap_err();
    assert_eq!(error, RequestError::Header(HeaderName::from_static("sec-websocket-key")));
    assert_eq!(header(&chat().request(Carrier::Http2).unwrap(), "sec-websocket-key"), None, "never by itself");
    for keys in [&["mine"] as &[&str], &[""], &[KEY, KEY], &["AAAAAAAAAAAAAAAAAAAA"]] {
        assert_eq!(with_key(keys).request(Carrier::Http2).unwrap_err(), RequestError::Key, "{keys:?}");
    }
}

/// RFC 6455 §4.1 for who took the key up; RFC 8441 §5 for who did not.
#[test]
fn a_key_over_http2_may_be_answered_and_then_rightly() {
    let check = |fields: &[_]| with_key(&[KEY]).check(Carrier::Http2, &ok(fields)).map(drop);
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]), Ok(()));
    for accept in ["", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo", KEY] {
        assert_eq!(check(&[("sec-websocket-accept", accept)]), Err(ResponseError::Accept), "{accept}");
    }
}

/// RFC 6455 §4.1, the client's list of what to validate: the answer that passes.
#[test]
fn accepts_what_was_offered() {
    let fields = [("sec-websocket-protocol", "superchat"), ("sec-websocket-extensions", "no-masking")];
    let expected = Accepted { protocol: Some("superchat".into()), extensions: chat().extensions };
    assert_eq!(chat().check(HTTP1, &upgraded(&fields)), Ok(expected.clone()));
    assert_eq!(chat().check(Carrier::Http2, &ok(&fields)), Ok(expected));
    assert_eq!(chat().check(HTTP1, &upgraded(&[])), Ok(Accepted::default()));
}

/// RFC 6455 §4.1: any status but 101 is an ordinary HTTP answer.
#[test]
fn over_http1_only_101_opens() {
    for status in [200, 204, 301, 401, 403, 426, 500] {
        let mut response = upgraded(&[]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        assert_eq!(chat().check(HTTP1, &response), Err(ResponseError::Status(response.status())));
    }
}

/// RFC 9110 §9.3.6: a CONNECT's tunnel is open on any 2xx.
#[test]
fn over_http2_any_2xx_opens() {
    for (status, opens) in
        [(200, true), (204, true), (299, true), (101, false), (300, false), (403, false), (501, false)]
    {
        let mut response = ok(&[]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        assert_eq!(chat().check(Carrier::Http2, &response).is_ok(), opens, "{status}");
    }
}

/// RFC 6455 §4.1: Upgrade, Connection and Accept must all be right.
#[test]
fn over_http1_the_server_proves_that_it_understood() {
    let check = |name, value| chat().check(HTTP1, &upgraded(&[(name, value)]));
    for other in ["h2c", "websocket, foo", "foo, websocket"] {
        assert_eq!(check("upgrade", other), Err(ResponseError::Upgrade));
    }
    let mut response = upgraded(&[]);
    *response.version_mut() = http::Version::HTTP_10;
    assert_eq!(chat().check(HTTP1, &response), Err(ResponseError::Version));
    assert_eq!(check("connection", "keep-alive"), Err(ResponseError::Connection));
    assert_eq!(check("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"), Err(ResponseError::Accept));
    assert_eq!(check("sec-websocket-accept", "S3PPLMBITXAQ9KYGZZHZRBK+XOO="), Err(ResponseError::Accept));
    for (name, error) in [
        ("upgrade", ResponseError::Upgrade),
        ("connection", ResponseError::Connection),
        ("sec-websocket-accept", ResponseError::AcceptMissing),
    ] {
        let mut response = upgraded(&[]);
        response.headers_mut().remove(name);
        assert_eq!(chat().check(HTTP1, &response), Err(error));
    }
    assert!(check("upgrade", "WebSocket").is_ok() && check("connection", "keep-alive, upgrade").is_ok());
    // RFC 6455 §11.3.3: a second Accept is not to be, and does not count where it is the same.
    for (second, expected) in [("nonsense", Err(ResponseError::Accept)), ("", Ok(()))] {
        let mut response = upgraded(&[]);
        let first = response.headers()["sec-websocket-accept"].clone();
        let second = if second.is_empty() { first } else { HeaderValue::from_static(second) };
        response.headers_mut().append("sec-websocket-accept", second);
        assert_eq!(chat().check(HTTP1, &response).map(drop), expected);
    }
}

/// RFC 8441 §5: Accept has no part in HTTP/2, even where a gateway left one in.
#[test]
fn over_http2_a_stray_accept_is_ignored() {
    assert!(chat().check(Carrier::Http2, &ok(&[("sec-websocket-accept", "nonsense")])).is_ok());
}

/// RFC 6455 §4.1: a subprotocol that the client did not offer fails the connection, as do two.
#[test]
fn refuses_a_subprotocol_that_was_not_offered() {
    for protocol in ["other", "Chat", "chat, superchat", "", "chat; x"] {
        let fields = [("sec-websocket-protocol", protocol)];
        assert_eq!(chat().check(HTTP1, &upgraded(&fields)), Err(ResponseError::Protocol), "{protocol:?}");
        assert_eq!(chat().check(Carrier::Http2, &ok(&fields)), Err(ResponseError::Protocol), "{protocol:?}");
    }
}

/// RFC 6455 §4.1: so does an extension; §9.1: and a field that does not follow the grammar.
#[test]
fn refuses_an_extension_that_was_not_offered() {
    for extensions in ["x-other", "no-masking, x-other", "no-masking;", "No-Masking", "no-masking, no-masking"] {
        let fields = [("sec-websocket-extensions", extensions)];
        assert_eq!(chat().check(HTTP1, &upgraded(&fields)), Err(ResponseError::Extensions), "{extensions:?}");
        assert_eq!(chat().check(Carrier::Http2, &ok(&fields)), Err(ResponseError::Extensions), "{extensions:?}");
    }
}

/// What there is not does not mismatch.
#[test]
fn a_missing_accept_is_called_missing() {
    assert_eq!(ResponseError::AcceptMissing.to_string(), "the server's Sec-WebSocket-Accept is missing");
    assert_eq!(ResponseError::Accept.to_string(), "the server's Sec-WebSocket-Accept does not match the key");
}

/// Both ends of this crate understand each other, whichever way the request went.
#[test]
fn client_and_server_agree() {
    for carrier in [HTTP1, Carrier::Http2] {
        let offer = Offer::from_request(&chat().request(carrier).unwrap()).unwrap().unwrap();
        assert_eq!(offer.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        let (response, in_use) = offer.accept(offer.select_protocol(&["superchat"]), &chat().extensions, true);
        let accepted = chat().check(carrier, &response).unwrap();
        assert_eq!(accepted, Accepted { protocol: Some("superchat".into()), extensions: in_use });
        assert_eq!(in_use, chat().extensions);
    }
}
