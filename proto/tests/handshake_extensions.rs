//! `Sec-WebSocket-Extensions` (RFC 6455 §9.1), read and printed.
#![cfg(feature = "web-socket")]

use http::{HeaderValue, Request, Version};
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake::{Extension, Offer, Refusal};

fn parse(lines: &[&[u8]]) -> Result<Vec<Extension>, Refusal> {
    let request = Request::connect("https://example.com/").version(Version::HTTP_2);
    let mut request = request.extension(Protocol::websocket()).header("sec-websocket-version", "13").body(()).unwrap();
    for line in lines {
        let value = HeaderValue::from_bytes(line).expect("a field value");
        request.headers_mut().append("sec-websocket-extensions", value);
    }
    Offer::from_request(&request).map(|offer| offer.expect("a handshake").extensions().to_vec())
}

fn parse_line(line: &str) -> Result<Vec<Extension>, Refusal> {
    parse(&[line.as_bytes()])
}

/// What browsers send.
#[test]
fn reads_names_and_parameters() {
    let deflate = Extension::new("permessage-deflate").with("client_max_window_bits", None);
    assert_eq!(parse_line("permessage-deflate; client_max_window_bits"), Ok(vec![deflate]));
    assert_eq!(parse(&[]), Ok(vec![]));
}

/// RFC 6455 §9.1's own examples: several extensions, parameters with values, the order kept.
#[test]
fn reads_several_extensions() {
    let expected = vec![
        Extension::new("mux").with("max-channels", Some("4")).with("flow-control", None),
        Extension::new("deflate-stream"),
    ];
    assert_eq!(parse_line("mux; max-channels=4; flow-control, deflate-stream"), Ok(expected.clone()));
    assert_eq!(parse_line("mux;max-channels=4;flow-control,deflate-stream"), Ok(expected.clone()));
    assert_eq!(parse_line(" ,\tmux ; max-channels = 4\t; flow-control ,, deflate-stream, "), Ok(expected));
}

/// RFC 6455 §9.1: several lines of the field are one list.
#[test]
fn several_lines_are_one_list() {
    assert_eq!(parse(&[b"a; b=1", b"c, a"]), parse_line("a; b=1, c, a"));
    assert_eq!(parse(&[b"x", b""]), parse_line("x"));
}

/// RFC 6455 §9.1: a quoted value is the token inside; RFC 9110 §5.6.4: a backslash takes the next octet as it is.
#[test]
fn quoted_values_lose_their_quotes() {
    let expected = Ok(vec![Extension::new("x").with("a", Some("10")).with("b", None)]);
    assert_eq!(parse_line("x; a=\"10\"; b"), expected);
    assert_eq!(parse_line("x; a=\"\\1\\0\" ;b"), expected);
}

/// RFC 6455 §9.1: what does not follow the grammar fails the handshake.
#[test]
fn refuses_what_the_grammar_does_not_allow() {
    #[rustfmt::skip]
    let lines = [
        "", ",", ";", "x;", "x; ;a", "x; =1", "x; a=", "x; a=,y", "x y", "x=1", "x; a b", "x; a=1 2", "x/1", "(x)",
        "\"x\"", "x; \"a\"=1", "x; a=\"", "x; a=\"1", "x; a=\"1\\", "x; a=\"1\"2", "x; a=\"\"", "x; a=\"1 2\"",
        "x; a=\"1,2\"", "x; a=\"\\\"\"", "x; a=\"é\"", "é",
    ];
    for line in lines {
        assert_eq!(parse_line(line), Err(Refusal::Extensions), "{line:?}");
    }
    assert_eq!(parse(&[b"x; a=\xe9"]), Err(Refusal::Extensions));
}

/// Any field value is read or refused, nothing worse; what was read prints as something that reads the same.
#[test]
fn what_is_read_prints_as_it_reads() {
    #[rustfmt::skip]
    const PIECES: [&str; 17] = [
        "x", "no-masking", ",", ";", "=", "\"", "\\", " ", "\t", "10", "é", ";a=\"b\"", ", y", "; p", "=q", "; r = s",
        ";t=\"\\u\"",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let line: String = (0..random(10)).map(|_| PIECES[random(PIECES.len())]).collect();
        match parse_line(&line) {
            Ok(extensions) => {
                let printed: Vec<_> = extensions.iter().map(Extension::to_string).collect();
                assert_eq!(parse_line(&printed.join(",")), Ok(extensions), "{line:?}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 500 && refused > 500, "{read} read, {refused} refused: the inputs no longer reach both");
}
