//! RFC 9110 as HTTP/2 carries it: what may stand in a message that we send, and how its fields are counted.

use http::{HeaderMap, HeaderValue, Method, Request, Response};
use sockeye_proto::h2::{Config, Event, Reason, Violation};

use crate::common::*;

/// What a browser sends beside its cookies.
const BROWSER: &[(&str, &str)] = &[
    ("sec-ch-ua", "\"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://example.com/"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("priority", "u=0, i"),
];

fn with_crumbs(crumbs: &[String]) -> Vec<(&str, &str)> {
    let crumbs = crumbs.iter().map(|crumb| ("cookie", &crumb[..]));
    GET.iter().chain(BROWSER).copied().chain(crumbs).collect()
}

fn crumbs(number: usize, octets: usize) -> Vec<String> {
    (0..number).map(|index| format!("{index:0octets$}")).map(|crumb| crumb[crumb.len() - octets..].to_owned()).collect()
}

/// Gives one header block in as many frames as it takes.
fn receive_block(tested: &mut Tested, stream_id: u32, block: &[u8]) {
    let last = block.len().div_ceil(16_384) - 1;
    for (index, fragment) in block.chunks(16_384).enumerate() {
        let (kind, flags) = if index == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let flags = flags | if index == last { END_HEADERS } else { 0 };
        tested.receive(&frame(kind, flags, stream_id, fragment));
    }
}

/// RFC 9113 §8.2.3: crumbs are one field, and count by their octets.
#[test]
fn cookie_crumbs_count_as_one_field() {
    for (number, octets) in [(2, 3000), (150, 16), (300, 16), (180, 60), (400, 3)] {
        let crumbs = crumbs(number, octets);
        let mut tested = Tested::server();
        receive_block(&mut tested, 1, &block(&with_crumbs(&crumbs)));
        let (_, request) = tested.request();
        assert_eq!(request.headers()["cookie"], crumbs.join("; "), "{number} of {octets} octets");
        assert_eq!(request.headers().len(), BROWSER.len() + 1);
    }
    // They stay one field where others come between them, and where there may be but a few.
    let config = Config::default().with(|config| config.max_header_fields = 6);
    let mut tested = Tested::server_with(config);
    let mut fields = GET.to_vec();
    fields.extend((0..20).map(|_| ("cookie", "a=b")));
    fields.push(("x", "y"));
    fields.extend((0..20).map(|_| ("cookie", "a=b")));
    tested.accept(1, true, &fields);
    fields.push(("z", ""));
    tested.receive(&headers(3, true, &fields));
    assert!(matches!(&tested.sent()[..], [Sent::Headers { id: 3, fields, .. }] if fields[0].1 == "431"));
}

/// Past the size of a header list, crumbs get a 431 as other fields do; none is so small that thousands pass.
#[test]
fn many_cookie_crumbs_get_431() {
    for (number, octets) in [(1000, 0), (1000, 1), (1000, 16), (600, 3), (100, 200), (2, 9000)] {
        let mut tested = Tested::server();
        receive_block(&mut tested, 1, &block(&with_crumbs(&crumbs(number, octets))));
        let sent = tested.sent();
        let refused = matches!(&sent[..], [Sent::Headers { id: 1, fields, .. }] if fields[0].1 == "431");
        assert!(refused, "{number} of {octets} octets: {sent:?}");
        tested.assert_alive();
        assert!(tested.events().is_empty());
    }
}

/// The bomb of many crumbs: whether they are literals or one indexed field again and again, an octet each.
#[test]
fn a_bomb_of_cookie_crumbs_ends_the_connection() {
    for (number, octets) in [(3000, 0), (3000, 1), (30, 3000), (1200, 60)] {
        let mut tested = Tested::server();
        receive_block(&mut tested, 1, &block(&with_crumbs(&crumbs(number, octets))));
        tested.assert_connection_error(Violation::HeaderListFarTooLarge);
    }
    for (repeats, octets) in [(3000_usize, 0_usize), (3000, 1), (100, 126)].map(|(n, o)| (n * 8, o)) {
        let mut tested = Tested::server();
        let mut bomb = block(GET);
        // A literal with incremental indexing by the static name `cookie`, then dynamic index 62.
        bomb.extend([0x40 | 32, octets as u8]);
        bomb.extend(vec![b'a'; octets]);
        bomb.extend(vec![0x80 | 62; repeats]);
        receive_block(&mut tested, 1, &bomb);
        tested.assert_connection_error(Violation::HeaderListFarTooLarge);
    }
}

/// The fields of the HEADERS frame that was sent last, without `:status`.
fn fields_of(sent: &[Sent]) -> Vec<(&str, &str)> {
    let Some(Sent::Headers { fields, .. }) = sent.iter().rev().find(|sent| matches!(sent, Sent::Headers { .. })) else {
        panic!("no HEADERS in {sent:?}")
    };
    fields.iter().map(|(name, value)| (&name[..], &value[..])).filter(|(name, _)| !name.starts_with(':')).collect()
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let value = |value: &str| HeaderValue::from_str(value).unwrap();
    let mut map = HeaderMap::new();
    for (name, text) in fields {
        map.append(*name, value(text));
    }
    map
}

fn response(status: u16, fields: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = map(fields);
    response
}

/// RFC 9113 §8.2.1: "A field value MUST NOT start or end with an ASCII whitespace character".
#[test]
fn values_are_sent_without_white_space_about_them() {
    let spaced = [("a", " x"), ("b", "x\t"), ("c", " \t x y\t "), ("d", " "), ("d", "\t\t"), ("e", "")];
    let trimmed = [("a", "x"), ("b", "x"), ("c", "x y"), ("d", ""), ("d", ""), ("e", "")];

    let mut tested = Tested::server();
    let id = tested.accept(1, true, GET);
    let mut stream = tested.machine.stream(id).unwrap();
    stream.respond(&response(103, &spaced), false).unwrap();
    assert_eq!(fields_of(&tested.sent()), trimmed);
    let mut stream = tested.machine.stream(id).unwrap();
    stream.respond(&response(200, &spaced), false).unwrap();
    assert_eq!(fields_of(&tested.sent()), trimmed);
    let mut stream = tested.machine.stream(id).unwrap();
    stream.send_trailers(&map(&spaced)).unwrap();
    assert_eq!(fields_of(&tested.sent()), trimmed);

    for mut request in [get("https://example.com/"), connect_websocket("https://example.com/")] {
        let mut tested = Tested::client();
        *request.headers_mut() = map(&spaced);
        tested.machine.open(&request, false).unwrap();
        assert_eq!(fields_of(&tested.sent()), trimmed);
    }
}

/// The same the other way: such a value makes a message malformed, whichever part of it it stands in.
#[test]
fn values_with_white_space_about_them_are_malformed() {
    for value in [" x", "x ", "\tx", "x\t", " ", "\t"] {
        let mut tested = Tested::client();
        tested.open(&get("https://example.com/"), true);
        tested.receive(&headers(1, true, &[(":status", "200"), ("x", value)]));
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);

        for is_server in [true, false] {
            let mut tested = if is_server { Tested::server() } else { Tested::client() };
            if is_server {
                tested.accept(1, false, POST);
            } else {
                tested.open(&get("https://example.com/"), true);
                tested.receive(&headers(1, false, &[(":status", "200")]));
            }
            tested.receive(&headers(1, true, &[("x", value)]));
            tested.assert_reset(1, Reason::PROTOCOL_ERROR);
        }
        let mut tested = Tested::server();
        let fields: Vec<_> = CONNECT_WEBSOCKET.iter().copied().chain([("x", value)]).collect();
        tested.receive(&headers(1, false, &fields));
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    }
}

/// RFC 9113 §8.2.2, RFC 9110 §7.6.1: neither what speaks of a connection goes out, nor what `Connection` names.
#[test]
fn fields_of_a_connection_are_not_sent() {
    let fields = [
        ("connection", "close, X-Hop"),
        ("connection", "\tx-other ,, keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-hop", "1"),
        ("x-hop", "2"),
        ("x-other", "3"),
        ("x-kept", "4"),
    ];
    let kept = [("x-kept", "4")];

    let mut tested = Tested::server();
    let id = tested.accept(1, true, GET);
    for status in [103, 200] {
        tested.machine.stream(id).unwrap().respond(&response(status, &fields), false).unwrap();
        assert_eq!(fields_of(&tested.sent()), kept);
    }
    tested.machine.stream(id).unwrap().send_trailers(&map(&fields)).unwrap();
    assert_eq!(fields_of(&tested.sent()), kept);

    for mut request in [get("https://example.com/"), connect_websocket("https://example.com/")] {
        let mut tested = Tested::client();
        *request.headers_mut() = map(&fields);
        tested.machine.open(&request, false).unwrap();
        assert_eq!(fields_of(&tested.sent()), kept);
    }
}

/// RFC 9113 §8.2.2: TE belongs to requests, and says `trailers` or nothing.
#[test]
fn te_is_sent_in_requests_alone() {
    for (value, sent) in [("trailers", true), (" Trailers ", true), ("trailers, deflate", false), ("gzip", false)] {
        let mut tested = Tested::client();
        let mut request = get("https://example.com/");
        request.headers_mut().insert("te", value.parse().unwrap());
        tested.machine.open(&request, true).unwrap();
        assert_eq!(fields_of(&tested.sent()).len(), usize::from(sent), "{value}");

        let mut tested = Tested::server();
        let id = tested.accept(1, true, GET);
        let mut stream = tested.machine.stream(id).unwrap();
        stream.respond(&response(200, &[("te", "trailers")]), false).unwrap();
        stream.send_trailers(&map(&[("te", "trailers")])).unwrap();
        for frame in tested.sent() {
            assert_eq!(fields_of(&[frame]), []);
        }
    }
}

fn head_request() -> Vec<(&'static str, &'static str)> {
    GET.iter().map(|&(name, value)| (name, if name == ":method" { "HEAD" } else { value })).collect()
}

/// RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
/// (Informational) or 204 (No Content)", nor "in any 2xx (Successful) response to a CONNECT request". §15.3.6: a 205 has no
/// content; a 304 and what answers HEAD may say how much there would be.
#[test]
fn content_length_of_responses() {
    let connect = [(":method", "CONNECT"), (":authority", "example.com:443")];
    let head = head_request();
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Fields<'_>, u16, bool); 13] = [
        (GET, 200, true),
        (GET, 103, false),
        (GET, 204, false),
        (GET, 205, false),
        (GET, 304, true),
        (GET, 404, true),
        (&head, 200, true),
        (&head, 204, false),
        (CONNECT_WEBSOCKET, 200, false),
        (CONNECT_WEBSOCKET, 204, false),
        (CONNECT_WEBSOCKET, 404, true),
        (&connect, 200, false),
        (&connect, 502, true),
    ];
    for (request, status, may_stay) in cases {
        let mut tested = Tested::server();
        let id = tested.accept(1, request[0].1 != "CONNECT", request);
        let answer = response(status, &[("content-length", "5"), ("x", "y")]);
        tested.machine.stream(id).unwrap().respond(&answer, false).unwrap();
        let sent = tested.sent();
        let stays = fields_of(&sent).iter().any(|(name, _)| *name == "content-length");
        assert_eq!(stays, may_stay, "{status} to {request:?}");
        assert!(fields_of(&sent).contains(&("x", "y")));
    }
}

/// RFC 9110 §15.3.5, §15.3.6, §15.4.5, §9.3.2: such a response ends with its header, whatever the application says.
#[test]
fn a_response_without_content_ends_with_its_header() {
    let head = head_request();
    for (request, status) in [(GET, 204), (GET, 205), (GET, 304), (&head[..], 200), (&head[..], 404), (GET, 200)] {
        let has_content = status == 200 && request[0].1 == "GET";
        let mut tested = Tested::server();
        let id = tested.accept(1, true, request);
        let mut stream = tested.machine.stream(id).unwrap();
        stream.respond(&response(status, &[]), false).unwrap();
        assert_eq!(stream.is_send_closed(), !has_content, "{status}");
        assert_eq!(stream.write(b"content", true), if has_content { 7 } else { 0 });
        let sent = tested.sent();
        assert!(matches!(sent[0], Sent::Headers { end_stream, .. } if end_stream != has_content), "{sent:?}");
        assert_eq!(sent.len(), 1 + usize::from(has_content));
    }
    // In a tunnel any 2xx is the beginning.
    let mut tested = Tested::server();
    let id = tested.accept(1, false, CONNECT_WEBSOCKET);
    let mut stream = tested.machine.stream(id).unwrap();
    stream.respond(&response(204, &[]), false).unwrap();
    assert_eq!(stream.write(b"octets", false), 6);
}

const DATE: [u8; 29] = *b"Sun, 06 Nov 1994 08:49:37 GMT";

/// RFC 9110 §6.6.1: an origin server with a clock sends a Date in all final responses, its own refusals too; what the
/// application says stands, and without a clock there is none.
#[test]
fn responses_have_a_date() {
    let with_clock = Config::default().with(|config| config.date = Some(|| DATE));
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (request, status) in [(GET, 200), (GET, 204), (GET, 304), (GET, 404), (GET, 500), (CONNECT_WEBSOCKET, 200)] {
        let mut tested = Tested::server_with(with_clock.clone());
        let id = tested.accept(1, request == GET, request);
        tested.machine.stream(id).unwrap().respond(&response(103, &[]), false).unwrap();
        assert_eq!(fields_of(&tested.sent()), []);
        tested.machine.stream(id).unwrap().respond(&response(status, &[]), false).unwrap();
        assert_eq!(fields_of(&tested.sent()), [date], "{status}");
    }
    let mut tested = Tested::server_with(with_clock.clone());
    let id = tested.accept(1, true, GET);
    tested.machine.stream(id).unwrap().respond(&response(200, &[("date", "today")]), false).unwrap();
    assert_eq!(fields_of(&tested.sent()), [("date", "today")]);
    let many: Vec<_> = GET.iter().copied().chain((0..100).map(|_| ("a", ""))).collect();
    tested.receive(&headers(3, true, &many));
    assert!(fields_of(&tested.sent()).contains(&date));

    let mut tested = Tested::server();
    let id = tested.accept(1, true, GET);
    tested.machine.stream(id).unwrap().respond(&response(200, &[]), true).unwrap();
    assert_eq!(fields_of(&tested.sent()), []);
    // Requests have none.
    let mut tested = Tested::client_with(with_clock);
    let request = Request::builder().method(Method::POST).uri("https://example.com/").body(()).unwrap();
    tested.machine.open(&request, false).unwrap();
    assert_eq!(fields_of(&tested.sent()), []);
    assert!(tested.events().iter().all(|event| !matches!(event, Event::Closed(_))));
}
