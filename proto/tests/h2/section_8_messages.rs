//! RFC 9113 §8: HTTP semantics: what makes a message malformed.

use http::{HeaderMap, Method, Request, Response};
use sockeye_proto::h2::{Event, Reason, SendError};

use crate::common::*;

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [base, more].concat()
}

fn without<'a>(base: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    base.iter().copied().filter(|(n, _)| *n != name).collect()
}

fn replaced<'a>(base: &[(&'a str, &'a str)], name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    base.iter().map(|&(n, v)| (n, if n == name { value } else { v })).collect()
}

#[track_caller]
fn assert_malformed(fields: &[(&str, &str)]) {
    let mut tested = Tested::server();
    tested.receive(&headers(1, true, fields));
    assert!(tested.events().is_empty(), "accepted: {fields:?}");
    tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    assert_eq!(tested.machine.counters().resets_for_faults, 1);
}

#[track_caller]
fn assert_well_formed(fields: &[(&str, &str)]) -> Request<()> {
    let mut tested = Tested::server();
    tested.receive(&headers(1, true, fields));
    tested.request().1
}

/// §8.2.1: names are lowercase tokens; values have no NUL, CR, LF and no outer white space.
#[test]
fn field_characters() {
    for name in ["X", "x y", "x\u{7f}", "x\0", "", "x:y", "é", "\u{1}"] {
        assert_malformed(&with(GET, &[(name, "value")]));
    }
    for value in ["a\0", "a\nb", "a\rb", " a", "a ", "\ta", "a\t", " ", "\u{7f}"] {
        assert_malformed(&with(GET, &[("x", value)]));
        assert_malformed(&replaced(GET, ":path", value));
    }
    let request = assert_well_formed(&with(GET, &[("x-y_z.1!", "a b\té"), ("empty", "")]));
    assert_eq!(request.headers()["x-y_z.1!"].as_bytes(), "a b\té".as_bytes());
    assert_eq!(request.headers()["empty"], "");
}

/// §8.2.2: fields that speak of a connection; `te` may be `trailers`.
#[test]
fn connection_specific_fields() {
    for name in ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"] {
        assert_malformed(&with(GET, &[(name, "x")]));
    }
    assert_malformed(&with(GET, &[("te", "trailers, deflate;q=0.5")]));
    assert_eq!(assert_well_formed(&with(GET, &[("te", "trailers")])).headers()["te"], "trailers");
}

/// §8.2.3: cookie crumbs are joined.
#[test]
fn cookie_crumbs() {
    let request =
        assert_well_formed(&with(GET, &[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")]));
    let cookies: Vec<_> = request.headers().get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=b; c=d; e=f"]);
    assert_eq!(request.headers()["x"], "y");
}

/// §8.3: pseudo-header fields come first, once, and are defined ones.
#[test]
fn pseudo_header_fields() {
    let mut late = vec![("x", "y")];
    late.extend_from_slice(GET);
    assert_malformed(&late);
    assert_malformed(&with(GET, &[("x", "y"), (":path", "/")]));
    assert_malformed(&with(GET, &[(":unknown", "x")]));
    assert_malformed(&with(GET, &[(":status", "200")]));
    for (name, value) in GET {
        assert_malformed(&with(GET, &[(name, value)]));
    }
}

/// §8.3.1: "All HTTP/2 requests MUST include exactly one valid value for the ":method", ":scheme", and ":path"".
#[test]
fn request_pseudo_header_fields() {
    for name in [":method", ":scheme", ":path", ":authority"] {
        assert_malformed(&without(GET, name));
    }
    for (name, value) in [
        (":method", ""),
        (":method", "G T"),
        (":scheme", ""),
        (":scheme", "ht tp"),
        (":path", ""),
        (":path", "*"),
        (":path", "relative"),
        (":path", "/a b"),
        (":path", "/a#fragment"),
        (":authority", ""),
        (":authority", "user@example.com"),
        (":authority", "user:password@example.com"),
        (":authority", "a b"),
    ] {
        assert_malformed(&replaced(GET, name, value));
    }
    let request = assert_well_formed(&replaced(GET, ":path", "/a/b?c=d"));
    assert_eq!(request.uri(), "https://example.com/a/b?c=d");
    assert_eq!(request.version(), http::Version::HTTP_2);
    let options = replaced(&replaced(GET, ":method", "OPTIONS"), ":path", "*");
    assert_eq!(assert_well_formed(&options).uri().path(), "*");
}

/// §8.3.1, RFC 9110 §7.2: `:authority` and `host` hold one host, perhaps with a port, as Host has to over HTTP/1.1.
#[test]
fn an_authority_is_a_host_and_a_port() {
    for authority in ["localhost:", "localhost:8080", "[::1]", "[::1]:80", "host_name"] {
        assert_well_formed(&replaced(GET, ":authority", authority));
    }
    for authority in [":80", "a:x", "a:+80", "a:65536", "a:80x", "a,b", "[::1]x", "[::g]"] {
        assert_malformed(&replaced(GET, ":authority", authority));
        assert_malformed(&with(&without(GET, ":authority"), &[("host", authority)]));
    }
}

/// §8.3.1: `host` says the same as `:authority`, or takes its place.
#[test]
fn host_and_authority() {
    assert_malformed(&with(GET, &[("host", "other.example")]));
    assert_malformed(&with(GET, &[("host", "example.com"), ("host", "example.com")]));
    assert_malformed(&with(GET, &[("host", "")]));
    assert_malformed(&with(GET, &[("host", "example.com:444")]));
    assert_well_formed(&with(GET, &[("host", "EXAMPLE.com:443")]));
    let request = assert_well_formed(&with(&without(GET, ":authority"), &[("host", "example.com")]));
    assert_eq!(request.uri().authority().unwrap(), "example.com");
}

/// §8.5: CONNECT has a `:method` and an `:authority`, and nothing else.
#[test]
fn connect() {
    let connect = [(":method", "CONNECT"), (":authority", "example.com:443")];
    let request = assert_well_formed(&connect);
    assert_eq!((request.method(), request.uri().to_string()), (&Method::CONNECT, "example.com:443".into()));
    assert_malformed(&connect[..1]);
    // RFC 9110 §9.3.6: it names a port.
    assert_malformed(&replaced(&connect, ":authority", "example.com"));
    assert_malformed(&with(&connect, &[(":path", "/")]));
    assert_malformed(&with(&connect, &[(":scheme", "https")]));
    assert_malformed(&with(&connect[..1], &[("host", "example.com:443")]));
}

/// §8.1.1: "A request or response that includes message content … is malformed if the value of a Content-Length header
/// field does not equal the sum of the DATA frame payload lengths".
#[test]
fn content_length() {
    assert_malformed(&with(POST, &[("content-length", "1")]));
    for value in ["", "+1", "-1", "1, 1", "0x1", "18446744073709551615", "99999999999999999999"] {
        assert_malformed(&with(POST, &[("content-length", value)]));
    }
    assert_malformed(&with(POST, &[("content-length", "0"), ("content-length", "1")]));
    assert_well_formed(&with(POST, &[("content-length", "0"), ("content-length", "0")]));

    let five = with(POST, &[("content-length", "5")]);
    let trailers = headers(1, true, &[("x", "y")]);
    let wrong: &[&[Vec<u8>]] = &[
        &[data(1, true, b"four")],
        &[data(1, false, b"sixsix")],
        &[data(1, false, b"four"), data(1, true, b"")],
        &[data(1, false, b"four"), data(1, true, b"!!")],
        &[data(1, false, b"four"), trailers.clone()],
    ];
    for frames in wrong {
        let mut tested = Tested::server();
        tested.accept(1, false, &five);
        tested.receive(&frames.concat());
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
        let events = tested.events();
        assert!(matches!(events.last(), Some(Event::Reset { remote: false, .. })), "{events:?}");
    }
    for frames in [&[data(1, true, b"five!")][..], &[data(1, false, b"five!"), trailers]] {
        let mut tested = Tested::server();
        let id = tested.accept(1, false, &five);
        tested.receive(&frames.concat());
        assert!(matches!(tested.events()[..], [Event::Readable(_), Event::Finished { .. }]));
        assert_eq!(tested.machine.stream(id).unwrap().read(), "five!");
    }
}

/// §8.1: trailers end the stream and have no pseudo-header fields.
#[test]
fn trailers() {
    let mut tested = Tested::server();
    tested.accept(1, false, POST);
    tested.receive(&headers(1, true, &[("checksum", "1")]));
    let events = tested.events();
    let [Event::Finished { trailers: Some(trailers), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(trailers["checksum"], "1");
    for bad in [
        headers(1, false, &[("x", "y")]),
        headers(1, true, &[(":method", "GET")]),
        headers(1, true, &[("X", "y")]),
        headers(1, true, &[("connection", "close")]),
    ] {
        let mut tested = Tested::server();
        tested.accept(1, false, POST);
        tested.receive(&bad);
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    }
}

/// §8.3.2, §8.6: `:status` is three digits and not 101; §8.1: informational responses do not end the stream.
#[test]
fn malformed_responses() {
    let cases: &[(bool, &[(&str, &str)])] = &[
        (true, &[]),
        (true, &[(":status", "20")]),
        (true, &[(":status", "abc")]),
        (true, &[(":status", "200"), (":status", "200")]),
        (true, &[(":status", "200"), (":path", "/")]),
        (true, &[("x", "y"), (":status", "200")]),
        (false, &[(":status", "101")]),
        (true, &[(":status", "100")]),
        (true, &[(":status", "200"), ("content-length", "1")]),
        (true, &[(":status", "200"), ("upgrade", "x")]),
    ];
    for (end_stream, fields) in cases {
        let mut tested = Tested::client();
        let id = tested.open(&get("https://example.com/"), true);
        tested.receive(&headers(1, *end_stream, fields));
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
        let events = tested.events();
        assert!(matches!(events[..], [Event::Reset { id: reset, remote: false, .. }] if reset == id), "{events:?}");
    }
    let mut tested = Tested::client();
    tested.open(&get("https://example.com/"), true);
    tested.receive(&data(1, false, b"no header yet"));
    tested.assert_reset(1, Reason::PROTOCOL_ERROR);
}

/// §8.1: informational responses, the response, its content, its trailers.
#[test]
fn whole_response() {
    let mut tested = Tested::client();
    let id = tested.open(&get("https://example.com/"), true);
    tested.receive(&headers(1, false, &[(":status", "103"), ("link", "</a>")]));
    tested.receive(&headers(1, false, &[(":status", "200"), ("content-length", "2")]));
    tested.receive(&data(1, false, b"ok")).receive(&headers(1, true, &[("x", "y")]));
    let events = tested.events();
    let [
        Event::Response { response: early, end_stream: false, .. },
        Event::Response { response, end_stream: false, .. },
        Event::Readable(_),
        Event::Finished { trailers: Some(_), .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((early.status().as_u16(), response.status().as_u16()), (103, 200));
    let mut stream = tested.machine.stream(id).unwrap();
    assert!(stream.is_closed());
    assert_eq!(stream.read(), "ok");
}

/// §8.1.1: responses without content, whatever their content-length.
#[test]
fn responses_without_content() {
    let length = ("content-length", "5");
    let head = Request::head("https://example.com/").body(()).unwrap();
    let cases = [(head.clone(), "200"), (get("https://example.com/"), "204"), (get("https://example.com/"), "304")];
    for (request, status) in &cases {
        for end in [headers(1, true, &[(":status", status), length]), {
            [headers(1, false, &[(":status", status), length]), data(1, true, b"")].concat()
        }] {
            let mut tested = Tested::client();
            tested.open(request, true);
            tested.receive(&end);
            tested.assert_alive();
            let events = tested.events();
            assert!(matches!(events.first(), Some(Event::Response { .. })), "{events:?}");
        }
        let mut tested = Tested::client();
        tested.open(request, true);
        tested.receive(&headers(1, false, &[(":status", status), length])).receive(&data(1, true, b"five!"));
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    }
}

/// What we send: pseudo-header fields first, no `host`, and nothing that speaks of a connection.
#[test]
fn fields_sent() {
    let mut tested = Tested::client();
    let mut request = get("http://example.com:8080?q");
    for (name, value) in [("host", "x"), ("connection", "close"), ("te", "gzip"), ("upgrade", "h2c"), ("accept", "*/*")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    tested.machine.open(&request, true).unwrap();
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.com:8080"),
        (":path", "/?q"),
        ("accept", "*/*"),
    ];
    let fields = fields.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
    assert_eq!(tested.sent(), [Sent::Headers { id: 1, fields, end_stream: true }]);
}

/// The order of what a server sends.
#[test]
fn order_of_a_response() {
    let status = |status: u16| Response::builder().status(status).body(()).unwrap();
    let mut tested = Tested::server();
    let id = tested.accept(1, true, GET);
    let mut stream = tested.machine.stream(id).unwrap();
    assert_eq!(stream.send_trailers(&HeaderMap::new()), Err(SendError::OutOfOrder));
    assert_eq!(stream.respond(&status(101), false), Err(SendError::OutOfOrder));
    assert_eq!(stream.respond(&status(103), true), Err(SendError::OutOfOrder));
    assert_eq!(stream.respond(&status(103), false), Ok(()));
    assert_eq!(stream.respond(&status(200), false), Ok(()));
    assert_eq!(stream.respond(&status(200), false), Err(SendError::OutOfOrder));
    assert_eq!(stream.write(b"x", false), 1);
    assert_eq!(stream.send_trailers(&HeaderMap::new()), Ok(()));
    assert_eq!(stream.send_trailers(&HeaderMap::new()), Err(SendError::Closed));
    assert_eq!(stream.respond(&status(200), false), Err(SendError::Closed));
    assert_eq!(stream.write(b"x", false), 0);
    assert!(stream.is_closed());
    assert_eq!(tested.sent().len(), 4);
}

/// A header block larger than a frame goes in several.
#[test]
fn large_header_block_is_continued() {
    let mut tested = Tested::server();
    let id = tested.accept(1, true, GET);
    let large = "a".repeat(20_000);
    let response = Response::builder().header("x", &large).header("y", &large).body(()).unwrap();
    tested.machine.stream(id).unwrap().respond(&response, true).unwrap();
    let sent = tested.sent();
    let [Sent::Headers { fields, end_stream: true, .. }] = &sent[..] else { panic!() };
    assert_eq!(fields[1..], [("x".to_string(), large.clone()), ("y".to_string(), large)]);
}

/// §8.5: "Frame types other than DATA or stream management frames (RST_STREAM, WINDOW_UPDATE, and PRIORITY) MUST NOT be
/// sent on a connected stream and MUST be treated as a stream error (Section 5.4.2) if received."
#[test]
fn headers_in_a_tunnel() {
    let connect = [(":method", "CONNECT"), (":authority", "example.com:443")];
    for fields in [&connect[..], CONNECT_WEBSOCKET] {
        for end_stream in [false, true] {
            let mut tested = Tested::server();
            let id = tested.accept_and_respond(1, false, fields);
            assert_eq!(tested.machine.stream(id).unwrap().send_trailers(&HeaderMap::new()), Err(SendError::OutOfOrder));
            tested.receive(&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]));
            tested.assert_alive();
            tested.receive(&headers(1, end_stream, &[("x", "y")]));
            tested.assert_reset(1, Reason::PROTOCOL_ERROR);
            assert!(matches!(tested.events()[..], [Event::Reset { remote: false, .. }]));
        }
    }
    let connect = || Request::connect("example.com:443").body(()).unwrap();
    for request in [connect(), connect_websocket("https://example.com/chat")] {
        let mut tested = Tested::client();
        let id = tested.open(&request, false);
        // The response that makes the tunnel may have others before it.
        tested.receive(&headers(1, false, &[(":status", "103")])).receive(&headers(1, false, &[(":status", "200")]));
        assert_eq!(tested.machine.stream(id).unwrap().send_trailers(&HeaderMap::new()), Err(SendError::OutOfOrder));
        tested.assert_alive();
        tested.events();
        tested.receive(&headers(1, true, &[("x", "y")]));
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
        assert!(matches!(tested.events()[..], [Event::Reset { remote: false, .. }]));
        // What refuses the tunnel is a message like others.
        tested.open(&request, false);
        tested.receive(&headers(3, false, &[(":status", "403")])).receive(&headers(3, true, &[("x", "y")]));
        tested.assert_alive();
        assert!(matches!(tested.events()[..], [Event::Response { .. }, Event::Finished { trailers: Some(_), .. }]));
    }
}
