//! The server's side of the opening handshake (RFC 6455 §4.2, RFC 8441 §5): each test holds one rule.
#![cfg(feature = "web-socket")]

use http::{Method, Request, Response, StatusCode, Version};
use sockeye_proto::Protocol;
use sockeye_proto::ws::Extensions;
use sockeye_proto::ws::handshake::{Offer, Refusal};

/// The handshake of RFC 6455 §1.3.
fn upgrade() -> Request<()> {
    Request::get("/chat")
        .header("host", "server.example.com")
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", "http://example.com")
        .header("sec-websocket-protocol", "chat, superchat")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap()
}

/// The handshake of RFC 8441 §5.1.
fn connect() -> Request<()> {
    Request::connect("https://server.example.com/chat")
        .version(Version::HTTP_2)
        .extension(Protocol::websocket())
        .header("sec-websocket-protocol", "chat, superchat")
        .header("sec-websocket-extensions", "permessage-deflate")
        .header("sec-websocket-version", "13")
        .header("origin", "http://www.example.com")
        .body(())
        .unwrap()
}

/// The request with a field in place of what it had there; an empty list takes the field away.
fn with(mut request: Request<()>, name: &'static str, values: &[&str]) -> Request<()> {
    request.headers_mut().remove(name);
    for value in values {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn with_method(mut request: Request<()>, method: Method) -> Request<()> {
    *request.method_mut() = method;
    request
}

fn offer(request: &Request<()>) -> Offer {
    Offer::from_request(request).expect("a handshake without fault").expect("a handshake")
}

fn accept(request: &Request<()>, protocol: Option<&str>) -> Response<()> {
    offer(request).accept(protocol, &Extensions::default(), true).0
}

fn refusal(request: Request<()>) -> Refusal {
    Offer::from_request(&request).expect_err("a handshake with a fault")
}

fn is_ordinary(request: Request<()>) -> bool {
    matches!(Offer::from_request(&request), Ok(None))
}

fn header<'a, T>(response: &'a Response<T>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// RFC 6455 §1.3: the example, key and all.
#[test]
fn answers_the_rfc_example_over_http1() {
    let response = accept(&upgrade(), Some("chat"));
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(header(&response, "upgrade"), Some("websocket"));
    assert_eq!(header(&response, "connection"), Some("upgrade"));
    assert_eq!(header(&response, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(header(&response, "sec-websocket-protocol"), Some("chat"));
    assert_eq!(response.headers().len(), 4);
}

/// RFC 8441 §5.1: the example. No Accept, no Connection, no Upgrade; RFC 9110 §9.3.6: no Content-Length.
#[test]
fn answers_the_rfc_example_over_http2() {
    let response = accept(&connect(), Some("chat"));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "sec-websocket-protocol"), Some("chat"));
    assert_eq!(response.headers().len(), 1);
}

/// Requests that are no handshake are not ours to judge.
#[test]
fn leaves_ordinary_requests_alone() {
    assert!(is_ordinary(with(upgrade(), "upgrade", &[])));
    assert!(is_ordinary(with(upgrade(), "upgrade", &["h2c"])));
    assert!(is_ordinary(with(upgrade(), "upgrade", &["websockets"])));
    let mut plain_connect = connect();
    plain_connect.extensions_mut().clear();
    assert!(is_ordinary(plain_connect));
}

/// RFC 9110 §7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
#[test]
fn ignores_an_upgrade_in_http_1_0() {
    let mut request = upgrade();
    *request.version_mut() = Version::HTTP_10;
    assert!(is_ordinary(request));
}

/// RFC 9113 §8.6: HTTP/2 has no upgrade.
#[test]
fn ignores_an_upgrade_in_http2() {
    let mut request = upgrade();
    *request.version_mut() = Version::HTTP_2;
    assert!(is_ordinary(request));
}

/// RFC 6455 §4.1: "The method of the request MUST be GET".
#[test]
fn only_get_upgrades() {
    for method in [Method::POST, Method::HEAD, Method::CONNECT] {
        assert_eq!(refusal(with_method(upgrade(), method)), Refusal::GetRequired);
    }
    let response = Refusal::GetRequired.response();
    assert_eq!((response.status(), header(&response, "allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("GET")));
}

/// RFC 8441 §4: `:protocol` goes with CONNECT.
#[test]
fn only_connect_opens_over_http2() {
    assert_eq!(refusal(with_method(connect(), Method::GET)), Refusal::ConnectRequired);
    let response = Refusal::ConnectRequired.response();
    assert_eq!((response.status(), header(&response, "allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("CONNECT")));
}

/// RFC 8441 §4 leaves an unknown `:protocol` to the server; RFC 9220 §3 names 501 for it.
#[test]
fn refuses_other_protocols() {
    for name in ["connect-udp", "websocket2", ""] {
        let mut request = connect();
        request.extensions_mut().insert(Protocol::new(name));
        assert_eq!(refusal(request), Refusal::UnknownProtocol);
    }
    assert_eq!(Refusal::UnknownProtocol.status(), StatusCode::NOT_IMPLEMENTED);
}

/// RFC 6455 §4.2.1: `websocket` and `upgrade` count in any letter case; proxies carry that over to `:protocol`.
#[test]
fn websocket_is_matched_in_any_letter_case() {
    offer(&with(upgrade(), "upgrade", &["WebSocket"]));
    let mut request = connect();
    request.extensions_mut().insert(Protocol::new("WebSocket"));
    offer(&request);
}

/// RFC 6455 §4.2.1: both fields are lists, in one line or several.
#[test]
fn upgrade_and_connection_are_lists() {
    offer(&with(upgrade(), "upgrade", &["h2c,\twebsocket"]));
    offer(&with(upgrade(), "upgrade", &["h2c", "WEBSOCKET"]));
    offer(&with(upgrade(), "connection", &["keep-alive, Upgrade"]));
    offer(&with(upgrade(), "connection", &["keep-alive", "UPGRADE,"]));
}

/// RFC 6455 §4.2.1: "A |Connection| header field that includes the token 'Upgrade'".
#[test]
fn connection_must_list_upgrade() {
    for connection in [&[] as &[&str], &["keep-alive"], &["upgrade-insecure"], &[""]] {
        assert_eq!(refusal(with(upgrade(), "connection", connection)), Refusal::Connection);
    }
}

/// RFC 9112 §3.2: 400 for a request without Host, with more than one, or with one whose value is invalid.
#[test]
fn http1_must_name_its_host_once() {
    for host in [&[] as &[&str], &["a.example", "a.example"], &[""], &["a b"], &["user@a.example"], &[":80"], &["/"]] {
        assert_eq!(refusal(with(upgrade(), "host", host)), Refusal::Host, "{host:?}");
    }
    let mut absolute = with(upgrade(), "host", &[]);
    *absolute.uri_mut() = "http://server.example.com/chat".parse().unwrap();
    assert_eq!(refusal(absolute), Refusal::Host);
    for host in ["a.example", "a.example:8443", "127.0.0.1:80", "[::1]:80"] {
        assert_eq!(offer(&with(upgrade(), "host", &[host])).authority(), host);
    }
}

/// RFC 9112 §3.2.2: the authority of an absolute target goes before Host.
#[test]
fn the_target_goes_before_host() {
    let mut request = upgrade();
    *request.uri_mut() = "http://target.example/chat".parse().unwrap();
    assert_eq!(offer(&request).authority(), "target.example");
    assert_eq!(offer(&connect()).authority(), "server.example.com");
}

/// RFC 6455 §4.4: a server that does not speak the version answers with those it does speak.
#[test]
fn the_version_is_13() {
    for version in [&[] as &[&str], &["8"], &["14"], &["13, 8"], &["13", "13"], &["+13"], &["013"], &[""]] {
        assert_eq!(refusal(with(upgrade(), "sec-websocket-version", version)), Refusal::Version, "{version:?}");
        assert_eq!(refusal(with(connect(), "sec-websocket-version", version)), Refusal::Version, "{version:?}");
    }
    let response = Refusal::Version.response();
    assert_eq!((response.status(), header(&response, "sec-websocket-version")), (StatusCode::BAD_REQUEST, Some("13")));
}

/// A client of another version may know another kind of key: it hears about the version first.
#[test]
fn the_version_is_judged_before_the_key() {
    let request = with(with(upgrade(), "sec-websocket-version", &["99"]), "sec-websocket-key", &[]);
    assert_eq!(refusal(request), Refusal::Version);
}

/// RFC 6455 §4.2.1: base64 that decodes to 16 octets; §11.3.1: once.
#[test]
fn the_key_is_sixteen_octets_of_base64() {
    let good = "AAAAAAAAAAAAAAAAAAAAAA==";
    let bad: [&[&str]; 9] = [
        &[],
        &[""],
        &[good, good],
        &["AAAAAAAAAAAAAAAAAAAA"],             // 15 octets
        &["AAAAAAAAAAAAAAAAAAAAAAA="],         // 17 octets
        &["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="], // 22 octets
        &["AAAAAAAAAAAAAAAAAAAAAA"],           // no padding
        &["AAAAAAAAAAA-AAAAAAAA_A=="],         // the alphabet of URLs
        &["AAAAAAAAAAA AAAAAAAAAA=="],
    ];
    for key in bad {
        assert_eq!(refusal(with(upgrade(), "sec-websocket-key", key)), Refusal::Key, "{key:?}");
    }
    for key in [good, "+/+/+/+/+/+/+/+/+/+/+/==", "zzzzzzzzzzzzzzzzzzzzzz=="] {
        offer(&with(upgrade(), "sec-websocket-key", &[key]));
    }
}

/// RFC 8441 §5 knows neither key nor accept, but who sends a key may wait for its accept: a client of HTTP/1.1 before a proxy
/// that makes neither, or one that goes by RFC 6455 §4.1.
#[test]
fn a_key_over_http2_is_answered() {
    for key in ["dGhlIHNhbXBsZSBub25jZQ==", " dGhlIHNhbXBsZSBub25jZQ=="] {
        let response = accept(&with(connect(), "sec-websocket-key", &[key]), None);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.headers().len(), 1);
    }
}

/// RFC 8441 §5: a key has no part in it, so one that is none does no harm.
#[test]
fn a_bad_key_over_http2_is_ignored() {
    let good = "dGhlIHNhbXBsZSBub25jZQ==";
    for key in [&["nonsense"] as &[&str], &[""], &[good, good], &["nonsense", "twice"], &["AAAAAAAAAAAAAAAAAAAA"]] {
        let response = accept(&with(connect(), "sec-websocket-key", key), None);
        assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 0), "{key:?}");
    }
}

/// Octets after the head are the socket's: a handshake that calls them content would have two readings.
#[test]
fn a_handshake_carries_no_content() {
    assert_eq!(refusal(with(upgrade(), "content-length", &["5"])), Refusal::Content);
    assert_eq!(refusal(with(upgrade(), "transfer-encoding", &["chunked"])), Refusal::Content);
    offer(&with(upgrade(), "content-length", &["0"]));
}

/// RFC 6455 §11.3.4: several lines of the field are one list.
#[test]
fn subprotocols_come_in_one_line_or_several() {
    let spellings: [&[&str]; 3] =
        [&["chat, superchat , v2.chat"], &["chat", "superchat,v2.chat"], &[",chat,", ",superchat,v2.chat"]];
    for lines in spellings {
        for request in [upgrade(), connect()] {
            let offer = offer(&with(request, "sec-websocket-protocol", lines));
            assert_eq!(offer.protocols().collect::<Vec<_>>(), ["chat", "superchat", "v2.chat"]);
        }
    }
    assert_eq!(offer(&with(upgrade(), "sec-websocket-protocol", &[])).protocols().count(), 0);
}

/// RFC 6455 §4.1: the elements are tokens and "MUST all be unique strings".
#[test]
fn subprotocols_are_distinct_tokens() {
    for lines in [&["chat, chat"] as &[&str], &["chat", "chat"], &["two words"], &["a;b"], &["\"chat\""], &[""], &[","]]
    {
        assert_eq!(refusal(with(connect(), "sec-websocket-protocol", lines)), Refusal::Protocols, "{lines:?}");
    }
    let mut request = connect();
    request.headers_mut().insert("sec-websocket-protocol", b"caf\xe9"[..].try_into().unwrap());
    assert_eq!(refusal(request), Refusal::Protocols);
    // Letter case tells them apart.
    assert_eq!(offer(&with(connect(), "sec-websocket-protocol", &["chat, Chat"])).protocols().count(), 2);
}

/// RFC 6455 §4.1: "ordered by preference", and it is the client's.
#[test]
fn the_client_prefers() {
    let offer = offer(&connect());
    assert_eq!(offer.select_protocol(&["superchat", "chat"]), Some("chat"));
    assert_eq!(offer.select_protocol(&["superchat"]), Some("superchat"));
    assert_eq!(offer.select_protocol(&["Chat"]), None);
}

/// RFC 6455 §4.2.2: the server's choice comes from the client's list.
#[test]
fn a_subprotocol_that_was_not_offered_is_never_sent() {
    for request in [upgrade(), connect()] {
        for protocol in [None, Some("other"), Some("bad\r\nvalue: 1")] {
            assert_eq!(header(&accept(&request, protocol), "sec-websocket-protocol"), None);
        }
    }
}

/// At most 64 of each list.
#[test]
fn lists_have_a_limit() {
    let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
    for name in ["sec-websocket-protocol", "sec-websocket-extensions"] {
        offer(&with(connect(), name, &[&names(64).join(",")]));
        assert_eq!(refusal(with(connect(), name, &[&names(65).join(",")])), Refusal::TooMany);
        let names = names(65);
        let lines: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(refusal(with(connect(), name, &lines)), Refusal::TooMany);
    }
    offer(&with(connect(), "sec-websocket-extensions", &[&format!("x;{}", names(64).join(";"))]));
    let parameters = format!("x;{}", names(65).join(";"));
    assert_eq!(refusal(with(connect(), "sec-websocket-extensions", &[&parameters])), Refusal::TooMany);
    assert_eq!(Refusal::TooMany.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// RFC 9110 §15.5.22: a 426 names the protocols it wants; RFC 9113 §8.6: HTTP/2 has neither.
#[test]
fn an_ordinary_request_hears_how_to_ask() {
    let response = Refusal::websocket_required(Version::HTTP_11).response();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!((header(&response, "upgrade"), header(&response, "connection")), (Some("websocket"), Some("upgrade")));
    let response = Refusal::websocket_required(Version::HTTP_2).response();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!((header(&response, "upgrade"), header(&response, "connection")), (None, None));
}

/// Every refusal says what to do, in text.
#[test]
fn refusals_are_plain_text() {
    use Refusal::*;
    for refusal in [Host, Connection, Key, Content, Protocols, Extensions] {
        let response = refusal.response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(header(&response, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.body(), &format!("{refusal}\n"));
    }
}

/// Firefox gives a page's whole connection up over a refusal of an extended CONNECT with a Content-Type.
#[test]
fn a_connect_is_refused_without_a_content_type() {
    use Refusal::*;
    for refusal in [Host, Version, Protocols, Extensions, TooMany, Origin, UnknownProtocol] {
        let (to_connect, to_get) = (refusal.response_to(&Method::CONNECT), refusal.response_to(&Method::GET));
        assert_eq!(header(&to_connect, "content-type"), None);
        assert_eq!(header(&to_get, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!((to_connect.status(), to_connect.body()), (to_get.status(), to_get.body()));
    }
    assert_eq!(header(&Version.response_to(&Method::CONNECT), "sec-websocket-version"), Some("13"));
}
