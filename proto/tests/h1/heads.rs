//! The head of a request: which ones are served here, and in what pieces they may come.

use http::{Method, Version};
use sockeye_proto::h1::{Head, HeadReader, NotOurs};
use sockeye_proto::h2::Config;

use crate::common::*;

fn read(head: &str) -> Head {
    HeadReader::new(&Config::default()).read(head.as_bytes())
}

/// A handshake with other lines than these.
fn with(replace: &str, by: &str) -> String {
    assert!(HANDSHAKE.contains(replace), "{replace}");
    HANDSHAKE.replace(replace, by)
}

#[track_caller]
fn assert_ours(head: &str) {
    match read(head) {
        Head::WebSocket { length, .. } => assert_eq!(length, head.len()),
        other => panic!("{other:?} for {head}"),
    }
}

#[track_caller]
fn assert_not_ours(head: &str, reason: NotOurs) {
    match read(head) {
        Head::Other(other) => assert_eq!(other, reason, "{head}"),
        other => panic!("{other:?} for {head}"),
    }
}

/// The request is as it stood on the wire, with its target and the fields in order.
#[test]
fn a_handshake_becomes_a_request() {
    let octets = format!("{HANDSHAKE}first octets of the tunnel");
    let Head::WebSocket { request, length } = read(&octets) else { panic!("not ours") };
    assert_eq!(length, HANDSHAKE.len());
    assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
    assert_eq!(request.uri(), "/chat?room=7");
    assert_eq!(request.headers().len(), 9);
    assert_eq!(request.headers()["host"], "example.com:8080");
    assert_eq!(request.headers()["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
}

/// A head is partial up to its last octet, in whatever two pieces it comes, and one by one.
#[test]
fn the_pieces_of_a_head_make_no_difference() {
    for prefix in ["", "\r\n", "\n\r\n\n"] {
        let octets = format!("{prefix}{HANDSHAKE}rest");
        let whole = octets.len() - "rest".len();
        for split in 0..octets.len() {
            let mut reader = HeadReader::new(&Config::default());
            let first = reader.read(&octets.as_bytes()[..split]);
            assert_eq!(matches!(first, Head::Partial), split < whole, "{split}: {first:?}");
            let second = reader.read(octets.as_bytes());
            assert!(matches!(second, Head::WebSocket { length, .. } if length == whole), "{split}: {second:?}");
        }
        let mut reader = HeadReader::new(&Config::default());
        assert!((0..whole).all(|end| matches!(reader.read(&octets.as_bytes()[..end]), Head::Partial)));
    }
}

/// Each octet is looked at once until the head is whole: this would take hours otherwise.
#[test]
fn a_head_that_trickles_costs_its_length() {
    const SIZE: usize = 1 << 20;
    let config = Config::default().with(|config| config.max_header_list_size = 2 * SIZE as u32);
    let long_line = format!("GET /{}", "x".repeat(SIZE));
    let many_lines = format!("GET / HTTP/1.1\r\n{}", "a:\n".repeat(SIZE / 3));
    let empty_lines = "\r\n".repeat(SIZE / 2);
    for octets in [long_line, many_lines, empty_lines] {
        let mut reader = HeadReader::new(&config);
        for end in 0..octets.len() {
            assert!(matches!(reader.read(&octets.as_bytes()[..end]), Head::Partial));
        }
    }
}

/// RFC 9112 §2.2: empty lines before the request line are ignored, and a line may end with LF alone.
#[test]
fn lenient_line_ends() {
    assert_ours(&format!("\r\n\r\n\n{HANDSHAKE}"));
    assert_ours(&HANDSHAKE.replace("\r\n", "\n"));
    assert_ours(&format!("{}\n\n", HANDSHAKE.trim_end()));
    assert_ours(&format!("{}\n\r\n", HANDSHAKE.trim_end()));
    assert_ours(&format!("{}\r\n\n", HANDSHAKE.trim_end()));
}

/// RFC 9110 §5.6.1, §7.6.1, §7.8: both fields are lists, in any letter case, on one line or several.
#[test]
fn upgrade_and_connection_are_lists() {
    for upgrade in ["WebSocket", "foo/2, websocket", "foo, ,\tWEBSOCKET ", "foo\r\nupgrade: websocket"] {
        assert_ours(&with("Upgrade: websocket", &format!("Upgrade: {upgrade}")));
    }
    for connection in ["keep-alive, Upgrade", "UPGRADE,close", "keep-alive\r\nconnection: upgrade"] {
        assert_ours(&with("Connection: Upgrade", &format!("Connection: {connection}")));
    }
}

/// RFC 6455 §4.1, RFC 9112 §6.3: what asks for something else, or has content.
#[test]
fn other_requests_are_not_ours() {
    let no_upgrade = with("Upgrade: websocket\r\n", "");
    let lines = [
        ("GET /", "POST /"),
        ("GET /", "HEAD /"),
        ("GET /", "get /"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Upgrade: websocket", "Upgrade: websocket/13"),
        ("Upgrade: websocket", "Upgrade: websockets"),
        ("Upgrade: websocket", "Upgrade: web socket"),
        ("Upgrade: websocket", "Upgrades: websocket"),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Connection: Upgrade", "Connection: upgraded"),
        ("Pragma: no-cache", "Transfer-Encoding: chunked"),
        ("Pragma: no-cache", "transfer-encoding: identity"),
        ("Pragma: no-cache", "Content-Length: 5"),
        ("Pragma: no-cache", "Content-Length: 00"),
        ("Pragma: no-cache", "Content-Length: +0"),
        ("Pragma: no-cache", "Content-Length: 0, 0"),
        ("Pragma: no-cache", "Content-Length:"),
        ("Pragma: no-cache", "Content-Length: 0\r\nContent-Length: 1"),
        ("/chat?room=7", "*"),
        ("/chat?room=7", "example.com:80"),
    ];
    let others = lines.map(|(replace, by)| with(replace, by));
    for head in [no_upgrade].iter().chain(&others) {
        assert_not_ours(head, NotOurs::Ordinary);
    }
    assert_ours(&with("Pragma: no-cache", "Content-Length: 0"));
}

/// What cannot be a GET is known from its first octets, and need not wait.
#[test]
fn other_methods_are_known_at_once() {
    for octets in ["P", "GEX", "GET\t", "\r\nPOST", "\x16\x03\x01", " GET", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\rG"] {
        assert_not_ours(octets, NotOurs::Ordinary);
    }
    for octets in ["", "G", "GET ", "\r", "\r\n", "\r\n\rG"] {
        let is_partial = matches!(read(octets), Head::Partial);
        assert_eq!(is_partial, octets != "\r\n\rG", "{octets:?}");
    }
}

/// RFC 9112 §2 to §5, §3.2 for Host: whoever answers 400 for it does so elsewhere.
#[test]
fn malformed_heads_are_not_ours() {
    let lines = [
        ("GET /chat", "GET  /chat"),
        ("GET /chat", "GET /ch\x01at"),
        (" HTTP/1.1", ""),
        (" HTTP/1.1", " HTTP/1.2"),
        (" HTTP/1.1", " HTTP/2"),
        (" HTTP/1.1", " http/1.1"),
        ("Pragma: no-cache", "Pragma no-cache"),
        ("Pragma: no-cache", "Pragma : no-cache"),
        ("Pragma: no-cache", ": no-cache"),
        ("Pragma: no-cache", "Pra(gma: no-cache"),
        ("Pragma: no-cache", "Pragma: no\0cache"),
        ("Pragma: no-cache", "Pragma: no\x7fcache"),
        ("Pragma: no-cache", "Pragma: no\rcache"),
        // RFC 9112 §5.2: obsolete line folding.
        ("Pragma: no-cache", "Pragma: no\r\n cache"),
        ("Host: example.com:8080\r\n", ""),
        ("Host: example.com:8080", "Host: example.com\r\nHost: example.com"),
        ("Host: example.com:8080", "Host: user@example.com"),
        ("Host: example.com:8080", "Host: example.com/"),
        ("Host: example.com:8080", "Host: example.com:99999"),
    ];
    for (replace, by) in lines {
        assert_not_ours(&with(replace, by), NotOurs::Malformed);
    }
    // A target that is longer than any URI can be.
    let config = Config::default().with(|config| config.max_header_list_size = 1 << 20);
    let long = with("/chat", &format!("/{}", "x".repeat(70_000)));
    let head = HeadReader::new(&config).read(long.as_bytes());
    assert!(matches!(head, Head::Other(NotOurs::Malformed)), "{head:?}");
}

/// RFC 9112 §3.2.2: the target goes before Host, which is made to say the same.
#[test]
fn the_target_names_the_host() {
    let head = with("GET /chat?room=7", "GET http://example.org/chat");
    let Head::WebSocket { request, .. } = read(&head) else { panic!("not ours") };
    assert_eq!(request.headers()["host"], "example.org");
    assert_eq!(request.uri(), "http://example.org/chat");
}

/// Values may have octets above 0x7f (RFC 9110 §5.5), and white space about them is no part of them (§5.5).
#[test]
fn values_are_kept_as_they_are() {
    let head = with("Pragma: no-cache", "Pragma:\t  n\tö  x \t");
    let Head::WebSocket { request, .. } = read(&head) else { panic!("not ours") };
    assert_eq!(request.headers()["pragma"].as_bytes(), "n\tö  x".as_bytes());
}

/// The head's octets are limited, whether it ends or not.
#[test]
fn a_head_has_so_many_octets() {
    let read = |size: usize, octets: &str| {
        let config = Config::default().with(|config| config.max_header_list_size = size as u32);
        HeadReader::new(&config).read(octets.as_bytes())
    };
    let size = HANDSHAKE.len();
    assert!(matches!(read(size, HANDSHAKE), Head::WebSocket { .. }));
    assert!(matches!(read(size, &format!("{HANDSHAKE}behind it")), Head::WebSocket { .. }));
    assert!(matches!(read(size - 1, HANDSHAKE), Head::Other(NotOurs::TooLarge)));
    assert!(matches!(read(size, &HANDSHAKE[..size - 1]), Head::Partial));
    assert!(matches!(read(size - 1, &HANDSHAKE[..size - 1]), Head::Other(NotOurs::TooLarge)));
    assert!(matches!(read(10, "\r\n\r\n\r\n\r\n\r\n"), Head::Other(NotOurs::TooLarge)));
}

/// The fields are limited, and the limit may be as high as a number can say.
#[test]
fn a_head_has_so_many_fields() {
    let read = |max_header_fields: u32| {
        let config = Config::default().with(|config| config.max_header_fields = max_header_fields);
        HeadReader::new(&config).read(HANDSHAKE.as_bytes())
    };
    assert!(matches!(read(9), Head::WebSocket { .. }));
    assert!(matches!(read(8), Head::Other(NotOurs::TooLarge)));
    assert!(matches!(read(0), Head::Other(NotOurs::TooLarge)));
    assert!(matches!(read(u32::MAX), Head::WebSocket { .. }));
}
