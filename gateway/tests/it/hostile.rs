//! Clients that would have a request understood in two ways, and upstreams that would answer what nobody asked them: nothing of the
//! first reaches an upstream, nothing of the second another client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye_gateway::{Config, Live, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{gateway, gateway_of_live, raw_upstream, read_head, soon, take_socket, upstream};

/// All octets that an upstream got, which answers each head with a 200.
type Seen = Arc<Mutex<Vec<u8>>>;

async fn recording_upstream() -> (String, Seen) {
    let (url, listener) = raw_upstream().await;
    let seen = Seen::default();
    let recorded = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(record(stream, recorded.clone()));
        }
    });
    (url, seen)
}

async fn record(mut stream: TcpStream, seen: Seen) {
    let mut octets = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut octets).await {
        let has_head = {
            let mut seen = seen.lock().unwrap();
            seen.extend_from_slice(&octets[..count]);
            seen.windows(4).any(|end| end == b"\r\n\r\n")
        };
        if has_head && stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

/// Sends octets, ends, and takes all that comes.
async fn exchange(gateway: std::net::SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    // Who is refused may be gone before all is sent.
    stream.write_all(octets).await.ok();
    stream.shutdown().await.ok();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// RFC 9112 §11.2: a head whose message ends in one place for one reader and elsewhere for another is refused, and never repaired. No
/// octet of it reaches the upstream, nor does what stands behind it.
#[tokio::test]
async fn a_head_that_two_readers_understand_in_two_ways_reaches_no_upstream() {
    const BEHIND: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let rows = [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 6\r\n",
        "content-length: 18446744073709551621\r\n",
        "content-length:\r\n",
        "content-length : 5\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: identity, chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
        "transfer-encoding: \x0bchunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "x: y\rtransfer-encoding: chunked\r\n",
        "x: y\0z\r\n",
        "x y: z\r\n",
        ": z\r\n",
        "x\r\n",
        "host: y\r\n",
    ];
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    for fields in rows {
        let answer = exchange(gateway, format!("POST /a HTTP/1.1\r\nhost: x\r\n{fields}\r\n{BEHIND}").as_bytes()).await;
        let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        assert_eq!(seen, "", "{fields:?} was answered with {answer:?}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501"),
            "{fields:?}: {answer}"
        );
    }
}

/// RFC 9112 §3: nothing is asked for by a line that is none. What its client asks for behind it, in words of their own, may go on.
#[tokio::test]
async fn a_request_line_that_is_none_reaches_no_upstream() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    for line in [
        "GET /a b HTTP/1.1",
        "GET /a\tHTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET  /a HTTP/1.1",
        "GET /a\x0b HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a:1 HTTP/1.1",
        "G@T /a HTTP/1.1",
        "GET /a HTTP/1.2\r\nx",
        "GET /a HTTP/2.0",
        "GET http://x/a#b c HTTP/1.1",
        "CONNECT x:1 HTTP/1.1",
        "GET /a HTTP/1.1\r\nhost: x y",
        "GET /a HTTP/1.1\r\nhost: x/y",
        "GET /a HTTP/1.1\r\nhost: x@y",
    ] {
        let host = if line.contains("host:") { "" } else { "host: x\r\n" };
        let octets = format!("{line}\r\n{host}\r\nGET /behind HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = exchange(gateway, octets.as_bytes()).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let heads = String::from_utf8_lossy(&seen).into_owned();
        assert!(
            heads.is_empty() || heads.starts_with("GET /behind HTTP/1.1\r\n"),
            "{line:?}: {heads:?}, and {answer:?}"
        );
        assert!(heads.matches("\r\n\r\n").count() <= 1, "{line:?}: {heads:?}");
    }
}

/// RFC 9112 §6.1: a length beside chunks counts for nothing. It goes no further, and the connection ends with the answer.
#[tokio::test]
async fn a_length_beside_chunks_goes_no_further() {
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 60\r\ntransfer-encoding: chunked\r\n",
    ] {
        let (url, seen) = recording_upstream().await;
        let gateway = gateway(&url, Protocol::Http1).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
        let octets = format!("POST /a HTTP/1.1\r\nhost: x\r\n{fields}\r\n0\r\n\r\n{smuggled}");
        let answer = exchange(gateway, octets.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        assert!(!seen.contains("content-length") && !seen.contains("/smuggled"), "{fields:?}: {seen}");
    }
}

/// RFC 9112 §7.1: content that is broken is broken off upstream, too, so that nobody takes for whole what is not.
#[tokio::test]
async fn content_that_is_broken_never_ends_upstream() {
    for chunks in [
        "5\r\nhello\r\n5\r\nhel",
        "5\r\nhello6\r\nworld!\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
    ] {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, Protocol::Http1).await;
        let mut client = TcpStream::connect(gateway).await.unwrap();
        client.write_all(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        // The head goes on, as it is whole.
        let (mut upstream, _) = soon(listener.accept()).await.unwrap();
        soon(read_head(&mut upstream)).await;
        client.write_all(format!("{chunks}GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.ok();
        client.shutdown().await.ok();
        let mut seen = Vec::new();
        soon(upstream.read_to_end(&mut seen)).await.ok();
        let seen = String::from_utf8_lossy(&seen);
        assert!(!seen.contains("\r\n0\r\n") && !seen.starts_with("0\r\n"), "{chunks:?} came as {seen:?}");
        assert!(!seen.contains("GET /smuggled HTTP/1.1\r\n"), "{chunks:?} came as {seen:?}");
    }
}

/// A client of HTTP/2 whose fields hold what only HTTP/1.1 gives a meaning (RFC 9113 §8.2.1, §8.3.1, §10.3): each is a malformed request.
#[tokio::test]
async fn nothing_that_http2_lets_through_splits_a_request() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    const SPLIT: &str = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let well = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/a")];
    let with = |name: &'static str, value: &'static str| {
        well.map(|field| if field.0 == name { (name, value) } else { field }).to_vec()
    };
    let and = |name: &'static str, value: &'static str| {
        let mut fields = well.to_vec();
        fields.push((name, value));
        fields
    };
    let rows = [
        well.to_vec(),
        with(":method", "GET /smuggled HTTP/1.1\r\nx: "),
        with(":path", "/a HTTP/1.1\r\nhost: x\r\n\r\nGET /smuggled"),
        with(":path", "/a b"),
        with(":path", "smuggled"),
        with(":path", ""),
        with(":authority", SPLIT),
        with(":authority", "x y"),
        with(":authority", "x@y"),
        with(":scheme", "http://x/smuggled?"),
        and("x", SPLIT),
        and("x", "y\0"),
        and("x", " y"),
        and("x\r\nsmuggled", "y"),
        and("x: smuggled", "y"),
        and("X", "y"),
        and("", "y"),
        and("host", "y"),
        and("transfer-encoding", "chunked"),
        and("connection", "x"),
        and("upgrade", "websocket"),
        and("te", "chunked"),
        and("content-length", "5"),
        and("content-length", "x"),
    ];
    for fields in rows {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        octets.extend(headers(1, &fields));
        stream.write_all(&octets).await.unwrap();
        soon(until_answered(&mut stream)).await;
        let seen = String::from_utf8_lossy(&std::mem::take(&mut *seen.lock().unwrap())).into_owned();
        if fields[..] == well {
            assert!(seen.starts_with("GET /a HTTP/1.1\r\n"), "{seen}");
        } else {
            assert_eq!(seen, "", "{fields:?}");
        }
    }
}

/// RFC 9110 §8.6: a length that is said twice is said once to whoever may take the two for a list.
#[tokio::test]
async fn a_length_goes_on_once() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/a")];
    let lengths = [("content-length", "0"), ("content-length", "0")];
    octets.extend(headers(1, &[&fields[..], &lengths[..]].concat()));
    stream.write_all(&octets).await.unwrap();
    soon(until_answered(&mut stream)).await;
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert_eq!(seen.matches("content-length: 0\r\n").count(), 1, "{seen}");
}

/// RFC 9110 §8.6
#[tokio::test]
async fn what_may_have_content_says_that_it_has_none() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let length = || {
        let seen = String::from_utf8(std::mem::take(&mut *seen.lock().unwrap())).unwrap();
        assert!(!seen.contains("transfer-encoding"), "{seen}");
        crate::common::field(&seen, "content-length").map(str::to_owned)
    };
    for (method, said) in
        [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("GET", None), ("DELETE", None)]
    {
        let head = format!("{method} / HTTP/1.1\r\nhost: x\r\n\r\n");
        exchange(gateway, head.as_bytes()).await;
        assert_eq!(length().as_deref(), said, "{method} of HTTP/1.1");
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        octets.extend(headers(1, &[(":method", method), (":scheme", "http"), (":authority", "x"), (":path", "/a")]));
        stream.write_all(&octets).await.unwrap();
        soon(until_answered(&mut stream)).await;
        assert_eq!(length().as_deref(), said, "{method} of HTTP/2");
    }
}

/// RFC 9110 §7.1: a request to the server as a whole goes to the upstream as a whole.
#[tokio::test]
async fn options_of_a_server_are_the_upstreams() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let answer = exchange(gateway, b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(seen.starts_with("OPTIONS * HTTP/1.1\r\n"), "{seen}");
}

/// RFC 9110 §7.6.2: each gateway counts down, and the last one answers.
#[tokio::test]
async fn max_forwards_says_who_answers() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    for (method, said, status, goes_on) in [
        ("OPTIONS", "0", "200", None),
        ("TRACE", "0", "501", None),
        ("OPTIONS", "1", "200", Some("0")),
        ("TRACE", "010", "200", Some("9")),
        ("OPTIONS", "99999999999999999999", "200", Some("18446744073709551614")),
        ("OPTIONS", "-1", "400", None),
        ("TRACE", "", "400", None),
        ("OPTIONS", "1\r\nmax-forwards: 1", "400", None),
        ("GET", "0", "200", Some("0")),
        ("GET", "none", "200", Some("none")),
    ] {
        let head = format!("{method} / HTTP/1.1\r\nhost: x\r\nmax-forwards: {said}\r\n\r\n");
        let answer = exchange(gateway, head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        let seen = String::from_utf8(std::mem::take(&mut *seen.lock().unwrap())).unwrap();
        assert_eq!(crate::common::field(&seen, "max-forwards"), goes_on, "{head}: {seen}");
        assert_eq!(seen.is_empty(), goes_on.is_none(), "{head}: {seen}");
        if (said, status) == ("0", "200") && goes_on.is_none() {
            assert!(answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        }
    }
}

/// RFC 9110 §4.2: an upstream of HTTP has nothing by another scheme, whatever is asked for.
#[tokio::test]
async fn another_scheme_is_400() {
    const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                           sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    for line in ["GET ftp://x/a", "GET file://x/etc/passwd", "POST ws://x/", "OPTIONS gopher://x"] {
        for fields in ["", UPGRADE] {
            let answer = exchange(gateway, format!("{line} HTTP/1.1\r\nhost: x\r\n{fields}\r\n").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{line}: {answer}");
        }
    }
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    octets.extend(headers(1, &[(":method", "GET"), (":scheme", "ftp"), (":authority", "x"), (":path", "/a")]));
    stream.write_all(&octets).await.unwrap();
    soon(until_answered(&mut stream)).await;
    assert_eq!(String::from_utf8_lossy(&seen.lock().unwrap()), "");
    for line in ["GET HTTP://x/a", "GET https://x/a"] {
        let answer = exchange(gateway, format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{line}: {answer}");
    }
}

/// RFC 9112 §2.3: what an upstream speaks is no matter of the client's, whose connection goes on. §4: it may show what a status is called.
#[tokio::test]
async fn an_answer_of_http10_is_one_of_the_gateways_own_version() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    const HANDSHAKE: &[u8] =
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (url, listener) = raw_upstream().await;
    let mut client = TcpStream::connect(gateway(&url, Protocol::Http1).await).await.unwrap();
    for request in [REQUEST, HANDSHAKE, REQUEST] {
        client.write_all(request).await.unwrap();
        let (mut upstream, _) = soon(listener.accept()).await.unwrap();
        soon(read_head(&mut upstream)).await;
        upstream.write_all(b"HTTP/1.0 520 Not Our Day\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let answer = soon(read_head(&mut client)).await;
        assert!(answer.starts_with("HTTP/1.1 520 Not Our Day\r\n") && !answer.contains("close"), "{answer}");
    }
}

/// RFC 9110 §10.1.4: what a client takes of trailers is said to the upstream as what holds for one hop.
#[tokio::test]
async fn te_goes_on_with_connection() {
    let (url, seen) = recording_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    exchange(gateway, b"GET /a HTTP/1.1\r\nhost: x\r\nte: trailers, gzip\r\nconnection: te\r\n\r\n").await;
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(seen.contains("\r\nte: trailers\r\n") && seen.contains("\r\nconnection: te\r\n"), "{seen}");
}

/// HEADERS that end their stream, with each field as a literal (RFC 7541 §6.2.2).
fn headers(stream: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short one"));
            block.extend(text.as_bytes());
        }
    }
    let mut frame = vec![0, 0, block.len() as u8, 1, 0x5, 0, 0, 0, stream];
    frame.extend(block);
    frame
}

/// Reads up to what ends a request: HEADERS, RST_STREAM, GOAWAY or the connection's end.
async fn until_answered(stream: &mut TcpStream) {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() && !matches!(head[3], 1 | 3 | 7) {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await.unwrap();
    }
}

/// Answers the first request with these octets, on a connection that it leaves open or ends, and all others honestly.
async fn answer_first(listener: TcpListener, answer: &'static [u8], ends: bool) {
    let mut is_first = true;
    while let Ok((mut stream, _)) = listener.accept().await {
        let (first, ends) = (std::mem::take(&mut is_first), ends);
        tokio::spawn(async move {
            let mut octets = [0; 4096];
            let mut is_first = first;
            while let Ok(1..) = stream.read(&mut octets).await {
                let honest = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhonest".as_slice();
                let was_first = std::mem::take(&mut is_first);
                stream.write_all(if was_first { answer } else { honest }).await.ok();
                if was_first && ends {
                    return;
                }
            }
        });
    }
}

/// RFC 9112 §6.3: what an upstream says beyond its answer answers nobody else.
#[tokio::test]
async fn what_an_upstream_says_too_much_is_no_other_clients_answer() {
    let rows: [&[u8]; 8] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\npoisonHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 6\r\n\r\npoisonHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: a\rb\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
    ];
    for (row, answer) in rows.into_iter().enumerate() {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, Protocol::Http1).await;
        tokio::spawn(answer_first(listener, answer, false));
        for turn in 0..3 {
            let said = exchange(gateway, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            assert!(!said.contains("poison"), "{row}: {said}");
            assert!(turn == 0 || said.ends_with("honest"), "{row}: {said}");
        }
    }
}

/// RFC 9110 §15.2.2: a 101 to a request that asks for no other protocol opens nothing, whatever its client had asked of the gateway.
#[tokio::test]
async fn a_101_that_nobody_asked_for_is_502() {
    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
    for fields in ["", "upgrade: h2c\r\nconnection: upgrade\r\n", "upgrade: websocket\r\n"] {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, Protocol::Http1).await;
        tokio::spawn(answer_first(listener, ANSWER, false));
        let said =
            exchange(gateway, format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{fields}\r\n").as_bytes())
                .await;
        assert!(said.starts_with("HTTP/1.1 502 "), "{fields:?}: {said}");
    }
}

/// RFC 9112 §8, RFC 9113 §8.1.1: an answer that broke off is none that ended, over either version of HTTP.
#[tokio::test]
async fn an_answer_that_breaks_off_is_never_whole() {
    let rows: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\nbegun",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\nzz\r\n",
    ];
    for answer in rows {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, Protocol::Http1).await;
        tokio::spawn(answer_first(listener, answer, true));
        let stream = TcpStream::connect(gateway).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://x/").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let mut content = soon(response).await.unwrap().into_body();
        let end = loop {
            match soon(content.data()).await {
                Some(Ok(_)) => {}
                end => break end.and_then(Result::err),
            }
        };
        assert!(end.is_some_and(|error| error.is_reset()), "{:?}", String::from_utf8_lossy(answer));

        let (url, listener) = raw_upstream().await;
        let gateway = crate::common::gateway(&url, Protocol::Http1).await;
        tokio::spawn(answer_first(listener, answer, true));
        let said = exchange(gateway, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(said.contains("begun") && !said.contains("\r\n0\r\n"), "{said}");
    }
}

/// RFC 9112 §6.1: content in a coding that nobody takes off is no content, be it the answer to a handshake.
#[tokio::test]
async fn an_answer_in_a_foreign_coding_is_502() {
    const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                           sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let rows: [&[u8]; 3] = [
        b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\ncoded\r\n0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n5\r\ncoded\r\n0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: gzip\r\n\r\ncoded",
    ];
    for answer in rows {
        for fields in ["", UPGRADE] {
            let (url, listener) = raw_upstream().await;
            let gateway = gateway(&url, Protocol::Http1).await;
            tokio::spawn(answer_first(listener, answer, true));
            let said = exchange(gateway, format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n").as_bytes()).await;
            assert!(said.starts_with("HTTP/1.1 502 ") && said.contains("transfer coding"), "{said}");
        }
    }
}

/// An answer whose head has no end is none, and takes no more than a head may.
#[tokio::test]
async fn a_head_without_an_end_is_502() {
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok();
            while stream.write_all(b"x-more: and more of it, without an end\r\n").await.is_ok() {}
        }
    });
    let said = exchange(gateway, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 502 "), "{said}");
}

/// RFC 6455 §4.1: what a client sends behind its handshake, before it knows the answer, is the socket's: it goes on behind a 101, and
/// nowhere where there is none.
#[tokio::test]
async fn octets_behind_a_handshake_are_the_sockets_or_nobodys() {
    const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                             sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
    const BEHIND: &[u8] = b"\x81\x85\0\0\0\0hello";
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(&[HANDSHAKE.as_bytes(), BEHIND].concat()).await.unwrap();
    let (_, mut upstream) = take_socket(&listener).await;
    let mut octets = vec![0; BEHIND.len()];
    soon(upstream.read_exact(&mut octets)).await.unwrap();
    assert_eq!(octets, BEHIND);

    // A 101 that was there before it was asked for knows no key.
    for answer in
        ["HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 101 X\r\nupgrade: websocket\r\n\r\n"]
    {
        let mut client = TcpStream::connect(gateway).await.unwrap();
        client.write_all(&[HANDSHAKE.as_bytes(), BEHIND].concat()).await.unwrap();
        let (mut upstream, _) = soon(listener.accept()).await.unwrap();
        upstream.write_all(answer.as_bytes()).await.unwrap();
        soon(read_head(&mut upstream)).await;
        let refusal = soon(read_head(&mut client)).await;
        assert!(refusal.starts_with("HTTP/1.1 403 ") || refusal.starts_with("HTTP/1.1 502 "), "{refusal}");
        drop(client);
        let mut octets = Vec::new();
        soon(upstream.read_to_end(&mut octets)).await.ok();
        assert_eq!(String::from_utf8_lossy(&octets), "", "{answer}");
    }
}

/// What a client does to its own content is told to it, and is no upstream's failure, over whichever version of HTTP that is
/// reached: none is counted (RFC 9112 §7.1, RFC 9110 §15.5.9).
#[tokio::test]
async fn content_that_does_not_come_whole_is_the_clients_fault() {
    let service = tower::service_fn(|request: http::Request<sockeye::Body>| async {
        let content = http_body_util::BodyExt::collect(request.into_body()).await;
        Ok::<_, std::convert::Infallible>(http::Response::new(sockeye::Body::from(match content {
            Ok(_) => "whole",
            Err(_) => "broken",
        })))
    });
    let url = upstream(service).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut config = Config::to(&url);
        config.all.to = Some(protocol.to_string());
        config.all.answer_timeout = Some(Duration::from_secs(1).into());
        let live = Live::new(&config).unwrap();
        let gateway = gateway_of_live(live.clone()).await.0;
        let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
        let rows = [
            ("transfer-encoding: chunked\r\n\r\nzz\r\n", "400"),
            ("transfer-encoding: chunked\r\n\r\n5\r\nab", "408"),
            ("content-length: 5\r\n\r\nab", "408"),
        ];
        let answers = rows.map(|(content, status)| async move {
            let mut stream = TcpStream::connect(gateway).await.unwrap();
            stream.write_all(format!("{head}{content}").as_bytes()).await.unwrap();
            let answer = soon(read_head(&mut stream)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{protocol}: {content:?} got {answer}");
        });
        futures_util::future::join_all(answers).await;
        assert_eq!(live.upstreams()[0].failures(), 0, "{protocol}");
    }
}
