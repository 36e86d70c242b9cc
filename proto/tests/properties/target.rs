//! URLs with anything in them: what is taken for one says the same when it is written down and read again, and our own server
//! takes the handshake that it leads to, over either version of HTTP.

use http::Version;
use sockeye_proto::h1::settle_host;
use sockeye_proto::uri::Target;
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake, Offer};

use super::choices::{Choices, Random};

pub fn check(choices: &mut Choices<'_>) {
    let octets = choices.rest(any_url);
    let text = String::from_utf8_lossy(&octets);
    let target: Target = match text.parse() {
        Ok(target) => target,
        Err(error) => return drop(error.to_string()),
    };
    check_parts(&target);
    let again: Target = target.to_string().parse().expect("what is written down is read again");
    let mut expected = target.clone();
    expected.authorization = None;
    assert_eq!(again, expected);
    // As the URI of HTTP, too.
    let again: Target = target.uri.to_string().parse().expect("an https URL is one of a WebSocket");
    assert_eq!((again.uri, again.port), (target.uri.clone(), target.port));
    check_handshake(&target);
}

fn check_parts(target: &Target) {
    let Target { uri, is_secure, host, port, authorization, .. } = target;
    assert_eq!(uri.scheme_str(), Some(if *is_secure { "https" } else { "http" }));
    assert!(uri.path().starts_with('/') && *port > 0);
    let authority = uri.authority().expect("a host");
    // RFC 9110 §4.2.4: no user information.
    assert!(!authority.as_str().contains('@'));
    assert!(!host.is_empty() && !host.bytes().any(|octet| octet.is_ascii_uppercase()), "{host}");
    let implied = if *is_secure { 443 } else { 80 };
    assert_eq!(authority.port_u16().unwrap_or(implied), *port);
    assert_eq!(authority.port().is_none(), *port == implied);
    assert!(authorization.as_ref().is_none_or(|value| value.is_sensitive() && value.as_bytes().starts_with(b"Basic ")));
}

fn check_handshake(target: &Target) {
    let handshake = ClientHandshake::new(target.uri.clone());
    for carrier in [Carrier::Http1 { key: [7; 16] }, Carrier::Http2] {
        let mut request = handshake.request(carrier).expect("a target leads to a handshake");
        if request.version() == Version::HTTP_11 {
            assert_eq!(settle_host(&mut request), Ok(()), "our server takes the Host of {target}");
        }
        let offer = Offer::from_request(&request).expect("our server takes what our client asks for");
        let offer = offer.expect("a handshake");
        assert_eq!(offer.authority(), target.uri.authority().expect("a host"));
        let (response, _) = offer.accept(None, &handshake.extensions, target.is_secure);
        handshake.check(carrier, &response).expect("our client takes what our server answers");
    }
}

/// A URL with a few octets changed.
fn any_url(random: &mut Random) -> Vec<u8> {
    let scheme = random.pick(&["wss://", "ws://", "https://", "HTTP://", "ftp://", ""]);
    let user = random.pick(&["", "", "user@", "user:pass%20word@", "a%3Ab@", ":@"]);
    let host = random.pick(&["example.com", "EXAMPLE.com", "[::1]", "[v1.x]", "127.0.0.1", "", "a_b", "%41"]);
    let port = random.pick(&["", "", ":", ":80", ":443", ":8080", ":0", ":65536"]);
    let path = random.pick(&["", "/", "/chat?room=1", "?a=b", "/%20", "/a#b", "*"]);
    let mut url = [scheme, user, host, port, path].concat().into_bytes();
    if random.one_in(2) {
        random.mutate(&mut url, b"/:@[]?#%\\ \"<>|{}^`*.,;=&$!'()\x7f\x80");
    }
    url
}
