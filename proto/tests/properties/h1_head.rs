//! The head of a connection's first request: where it is cut makes no difference, what is taken for a WebSocket's is what a
//! plain reading of its lines says, and it is taken again when it is written down anew.

use http::header::HOST;
use http::{HeaderMap, Request};
use sockeye_proto::h1::{Head, HeadReader, NotOurs, settle_host};
use sockeye_proto::h2::Config;
use sockeye_proto::ws::handshake::Offer;

use super::choices::{Choices, Random};
use super::h1_common::HANDSHAKE;

/// Octets that mean something in a head.
const ODD: &[u8] = b"\r\n\0 \t:;,/\\\"@[]%#?*01GETPOSTHhostUupgrade\x7f\x80\xff";

pub fn check(choices: &mut Choices<'_>) {
    let config = Config::default().with(|config| {
        config.max_header_list_size = choices.pick(&[16 << 10, 300]);
        config.max_header_fields = choices.pick(&[100, 100, 100, 5]);
    });
    let mut random = choices.random();
    let octets = choices.rest(any_head);
    let whole = HeadReader::new(&config).read(&octets);
    let mut reader = HeadReader::new(&config);
    let longest = random.pick(&[2, 40]);
    let mut end = 0;
    let last = loop {
        end = (end + random.below(longest)).min(octets.len());
        match reader.read(&octets[..end]) {
            Head::Partial if end < octets.len() => {}
            head => break head,
        }
    };
    assert_eq!(format!("{last:?}"), format!("{whole:?}"), "what is read depends on where it is cut");
    match whole {
        // RFC 9112 §2.1: an empty line ends a head.
        Head::Partial => assert!(octets.len() < config.max_header_list_size as usize),
        Head::Other(NotOurs::TooLarge) => {
            let fields = octets.iter().filter(|octet| **octet == b'\n').count();
            let is_large = octets.len() >= config.max_header_list_size as usize;
            assert!(is_large || fields > config.max_header_fields as usize, "it is within the limits");
        }
        Head::Other(_) => {}
        Head::WebSocket { request, length } => check_request(&request, &octets[..length]),
    }
}

fn check_request(request: &Request<()>, head: &[u8]) {
    check_lines(request, head);
    let (mut again, headers) = (request.clone(), request.headers().clone());
    assert_eq!(settle_host(&mut again), Ok(()), "what was settled is settled");
    assert_eq!(again.headers(), &headers);
    check_again(request);
    // Whatever it asks for, there is an answer.
    match Offer::from_request(request) {
        Ok(offer) => drop(offer.expect("it asks for a WebSocket").accept(None, &Default::default(), false)),
        Err(refusal) => assert!(refusal.response().status().is_client_error()),
    }
}

/// RFC 9112 §2.1, §3, §5, line by line, as plainly as can be.
fn check_lines(request: &Request<()>, head: &[u8]) {
    let mut lines = head.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // §2.2: empty lines before the request line are ignored.
    let first = lines.by_ref().find(|line| !line.is_empty()).expect("a request line");
    let parts: Vec<_> = first.split(|octet| *octet == b' ').collect();
    let [method, target, version] = parts[..] else { panic!("{}", first.escape_ascii()) };
    assert_eq!((method, version), (&b"GET"[..], &b"HTTP/1.1"[..]));
    let uri: http::Uri = str::from_utf8(target).expect("ASCII").parse().expect("a URI");
    assert_eq!(request.uri(), &uri);
    let mut fields = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|octet| *octet == b':').expect("a field has a colon");
        // §5.1: no white space before it; §5.2: no folding, which begins with white space. Neither is of a token.
        let name = http::HeaderName::from_bytes(&line[..colon]).expect("a token");
        let value = line[colon + 1..].trim_ascii();
        fields.append(name, http::HeaderValue::from_bytes(value).expect("a field value"));
    }
    if let Some(authority) = request.uri().authority() {
        // §3.2.2: what the target says goes before it.
        fields.insert(HOST, authority.as_str().parse().expect("a field value"));
    }
    assert_eq!(request.headers(), &fields);
    let has = |name: &str, token: &str| {
        let values = fields.get_all(name).into_iter();
        let mut tokens = values.flat_map(|value| value.as_bytes().split(|octet| *octet == b','));
        tokens.any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    assert!(has("upgrade", "websocket") && has("connection", "upgrade"));
    // §6.3: nothing that could be content, where the first octets of a tunnel stand.
    assert!(!fields.contains_key("transfer-encoding"));
    assert!(fields.get_all("content-length").iter().all(|length| length == "0"));
}

/// What is written down anew is read as the same.
fn check_again(request: &Request<()>) {
    let mut octets = format!("GET {} HTTP/1.1\r\n", request.uri()).into_bytes();
    for (name, value) in request.headers() {
        octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    octets.extend(b"\r\n");
    let config = Config::default().with(|config| config.max_header_list_size = 1 << 20);
    match HeadReader::new(&config).read(&octets) {
        Head::WebSocket { request: again, length } => {
            assert_eq!(length, octets.len());
            assert_eq!((again.uri(), again.headers()), (request.uri(), request.headers()));
        }
        other => panic!("{other:?} of {}", octets.escape_ascii()),
    }
}

fn any_head(random: &mut Random) -> Vec<u8> {
    let mut octets = HANDSHAKE.as_bytes().to_vec();
    random.mutate(&mut octets, ODD);
    octets
}
