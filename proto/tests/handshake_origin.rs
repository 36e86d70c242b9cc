//! Which pages may open a socket (RFC 6455 §10.2): each test holds one rule.
#![cfg(feature = "web-socket")]

use http::{Request, StatusCode, Version};
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake::{Offer, OriginPolicy, Refusal};

fn over_http2(target: &str, origins: &[&str]) -> Result<Offer, Refusal> {
    let mut request = Request::connect(target).version(Version::HTTP_2).header("sec-websocket-version", "13");
    for origin in origins {
        request = request.header("origin", *origin);
    }
    let request = request.extension(Protocol::websocket()).body(()).unwrap();
    Offer::from_request(&request).map(|offer| offer.expect("a handshake"))
}

fn over_http1(host: &str, origin: &str) -> Offer {
    let request = Request::get("/")
        .header("host", host)
        .header("origin", origin)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
    Offer::from_request(&request.body(()).unwrap()).unwrap().unwrap()
}

fn allows(policy: &OriginPolicy, target: &str, origin: &str) -> bool {
    policy.check(&over_http2(target, &[origin]).unwrap()).is_ok()
}

/// A client that is no browser sends no Origin, and is not what the check protects from.
#[test]
fn without_origin_every_policy_allows() {
    let offer = over_http2("https://example.com/", &[]).unwrap();
    for policy in [OriginPolicy::SameOrigin, OriginPolicy::List(vec![]), OriginPolicy::Any] {
        assert_eq!(policy.check(&offer), Ok(()));
    }
}

/// RFC 6454 §5: scheme, host and port must all agree; a port may be implied, a host is in any letter case.
#[test]
fn same_origin_compares_scheme_host_and_port() {
    let same = |target, origin| allows(&OriginPolicy::default(), target, origin);
    assert!(same("https://example.com/chat", "https://example.com"));
    assert!(same("https://example.com:443/chat", "https://example.com"));
    assert!(same("https://Example.COM/", "https://example.com:443"));
    assert!(same("https://example.com:8443/", "https://example.com:8443"));
    assert!(same("https://[::1]:8443/", "https://[::1]:8443"));

    assert!(!same("https://example.com/", "https://example.org"));
    assert!(!same("https://example.com/", "https://www.example.com"));
    assert!(!same("https://example.com/", "https://example.com.evil.example"));
    assert!(!same("https://example.com/", "https://example.com:8443"));
    assert!(!same("https://example.com:8443/", "https://example.com"));
    assert!(!same("https://example.com/", "http://example.com"));
    assert!(!same("https://example.com/", "null"));
    assert!(!same("https://example.com/", "example.com"));
    assert!(!same("https://example.com/", ""));
}

/// In cleartext, TLS may have ended at a proxy: pages of both schemes are the same host's.
#[test]
fn cleartext_takes_pages_of_both_schemes() {
    assert!(allows(&OriginPolicy::SameOrigin, "http://example.com/", "https://example.com"));
    assert!(allows(&OriginPolicy::SameOrigin, "http://example.com/", "http://example.com"));
}

/// What HTTP/1.1 does not say, the connection does; a target of `https` is secure whatever the connection.
#[test]
fn a_secure_connection_takes_pages_that_came_by_tls() {
    let check = |offer: Offer, secure| OriginPolicy::SameOrigin.check(&offer.on_secure_connection(secure)).is_ok();
    for (origin, secure, allowed) in [
        ("http://example.com", true, false),
        ("http://example.com:443", true, false),
        ("https://example.com", true, true),
        ("http://example.com", false, true),
        ("https://example.com", false, true),
    ] {
        assert_eq!(check(over_http1("example.com", origin), secure), allowed, "{origin} {secure}");
        assert_eq!(check(over_http2("http://example.com/", &[origin]).unwrap(), secure), allowed, "{origin} {secure}");
    }
    assert!(!check(over_http2("https://example.com/", &["http://example.com"]).unwrap(), false));
    assert!(check(over_http2("https://example.com/", &["https://example.com"]).unwrap(), false));
}

/// Over HTTP/1.1 the authority is Host's.
#[test]
fn same_origin_asks_host_over_http1() {
    let check = |host, origin| OriginPolicy::SameOrigin.check(&over_http1(host, origin));
    assert_eq!(check("127.0.0.1:4433", "https://127.0.0.1:4433"), Ok(()));
    assert_eq!(check("localhost", "http://localhost"), Ok(()));
    assert_eq!(check("127.0.0.1:4433", "https://localhost:4433"), Err(Refusal::Origin));
}

/// A list is the whole of what is allowed: the server's own pages must stand in it too.
#[test]
fn a_list_allows_its_entries_alone() {
    let list = OriginPolicy::List(vec!["https://a.example".into(), "http://b.example:8080/".into()]);
    let allows = |origin| allows(&list, "https://example.com/", origin);
    assert!(allows("https://a.example"));
    assert!(allows("https://A.example:443"));
    assert!(allows("http://b.example:8080"));
    assert!(!allows("http://a.example"));
    assert!(!allows("http://b.example"));
    assert!(!allows("https://example.com"));
    assert!(!allows("null"));
}

/// RFC 6454 §6.1: a sandboxed page's origin is `null`; it is allowed only where it is named.
#[test]
fn null_is_allowed_only_by_name() {
    let null = OriginPolicy::List(vec!["null".into()]);
    assert!(allows(&null, "https://example.com/", "null"));
    assert!(!allows(&null, "https://example.com/", "https://example.com"));
}

/// Any page at all.
#[test]
fn any_allows_every_page() {
    assert!(allows(&OriginPolicy::Any, "https://example.com/", "https://elsewhere.example"));
    assert!(allows(&OriginPolicy::Any, "https://example.com/", "null"));
}

/// RFC 6454 §7.3: "the user agent MUST NOT include more than one Origin header field": which one counts?
#[test]
fn a_second_origin_is_refused() {
    let same = "https://example.com";
    assert_eq!(over_http2("https://example.com/", &[same, same]).unwrap_err(), Refusal::Origin);
}

/// RFC 6455 §4.2.2 suggests 403 for an origin that is not welcome.
#[test]
fn a_refused_origin_is_403() {
    assert_eq!(Refusal::Origin.status(), StatusCode::FORBIDDEN);
}
