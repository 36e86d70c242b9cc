//! Handshakes with anything in their fields: what is taken follows its grammar, both sides settle on the same, and a WebSocket
//! works with it.

use std::time::Instant;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake, Offer, OriginPolicy};
use sockeye_proto::ws::{Config, Deflate, DeflateContext, Event, Extensions, Role, WebSocket};

use super::choices::{Choices, Random};
use super::ws_common::KEY;

const CARRIERS: [Carrier; 2] = [Carrier::Http1 { key: [7; 16] }, Carrier::Http2];

pub fn check(choices: &mut Choices<'_>) {
    let (offered, willing) = (any_extensions(choices), any_extensions(choices));
    let (carrier, is_secure) = (choices.pick(&CARRIERS), choices.one_in(2));
    let is_whole = !choices.one_in(4);
    // To send messages takes longer than all else.
    let is_tried = choices.one_in(8);
    let mut settled = vec![settle(offered, willing, carrier, is_secure)];
    let fields = parse_fields(&choices.rest(any_fields));
    settled.extend(check_offer(carrier, is_whole, &fields, willing, is_secure).map(|in_use| (in_use, in_use)));
    settled.extend(check_answer(offered, carrier, is_whole, &fields, is_secure).map(|in_use| (in_use, in_use)));
    for (client, server) in settled.into_iter().filter(|_| is_tried) {
        assert_works(client, server);
    }
}

fn any_extensions(choices: &mut Choices<'_>) -> Extensions {
    if choices.one_in(8) {
        return Extensions::default();
    }
    let mut context = || {
        DeflateContext::new().takeover(choices.one_in(2)).window_bits(choices.pick(&[15, 15, 0, 8, 9, 10, 14, 16, 255]))
    };
    let (server, client) = (context(), context());
    let deflate = Deflate::new()
        .server(server)
        .client(client)
        .level(choices.pick(&[1, 2, 9, 255]))
        .min_size(choices.pick(&[0, 16]));
    Extensions { deflate: Some(deflate), no_masking: choices.one_in(2) }
}

fn client_handshake(extensions: Extensions, is_secure: bool) -> ClientHandshake {
    let mut handshake = ClientHandshake::new(
        if is_secure { "wss://example.com/chat" } else { "ws://example.com/chat" }.parse().unwrap(),
    );
    handshake.extensions = extensions;
    handshake.protocols = vec!["chat".into(), "superchat".into()];
    handshake
}

/// What our client and our server settle on, whatever each of them would like.
fn settle(offered: Extensions, willing: Extensions, carrier: Carrier, is_secure: bool) -> (Extensions, Extensions) {
    let client = client_handshake(offered, is_secure);
    let request = client.request(carrier).expect("a handshake");
    let offer = Offer::from_request(&request).expect("our server takes it").expect("a handshake");
    let (response, in_use) = offer.accept(Some("superchat"), &willing, is_secure);
    let accepted = client.check(carrier, &response).expect("our client takes the answer");
    assert_eq!(accepted.protocol.as_deref(), Some("superchat"));
    let contexts = |extensions: Extensions| extensions.deflate.map(|deflate| (deflate.server, deflate.client));
    assert_eq!(contexts(accepted.extensions), contexts(in_use));
    assert_eq!(accepted.extensions.no_masking, in_use.no_masking);
    (accepted.extensions, in_use)
}

/// A message each way, twice, so that the second may refer to the first.
fn assert_works(client: Extensions, server: Extensions) {
    let new = |role, extensions| WebSocket::new(role, Config::default()).with_extensions(extensions);
    let mut client = new(Role::Client { mask_key: || KEY }, client);
    let mut server = new(Role::Server, server);
    for _ in 0..2 {
        carry(&mut client, &mut server);
        carry(&mut server, &mut client);
    }
}

fn carry(from: &mut WebSocket, to: &mut WebSocket) {
    let message = "over and over, ".repeat(30).into();
    let mut wire = BytesMut::new();
    from.send(&message).expect("it is open");
    from.poll_transmit(&mut wire);
    to.handle_data(Instant::now, &mut wire);
    assert_eq!(to.poll_event(), Some(Event::Message(message)));
}

/// A server reads a client's fields: what is in use then, if it takes them.
fn check_offer(
    carrier: Carrier,
    is_whole: bool,
    fields: &HeaderMap,
    willing: Extensions,
    is_secure: bool,
) -> Option<Extensions> {
    let client = client_handshake(Extensions::default(), is_secure);
    let mut request = if is_whole { client.request(carrier).expect("a handshake") } else { bare_request(carrier) };
    add(request.headers_mut(), fields);
    let offer = match Offer::from_request(&request) {
        Ok(Some(offer)) => offer,
        Ok(None) => return None,
        Err(refusal) => {
            let status = refusal.response_to(request.method()).status();
            assert!(status.is_client_error() || status.is_server_error());
            return None;
        }
    };
    for policy in [OriginPolicy::SameOrigin, OriginPolicy::Any, OriginPolicy::List(vec!["https://a.b".into()])] {
        let is_allowed = policy.check(&offer).is_ok();
        assert!(is_allowed || offer.origin().is_some(), "whoever is no browser may open it");
    }
    // What was read is written down and read again.
    let written: Vec<_> = offer.extensions().iter().map(ToString::to_string).collect();
    let mut again = client.request(carrier).expect("a handshake");
    if !written.is_empty() {
        let value = written.join(", ").parse().expect("tokens are a field value");
        again.headers_mut().insert("sec-websocket-extensions", value);
    }
    let again = Offer::from_request(&again).expect("it was taken before").expect("a handshake");
    assert_eq!(again.extensions(), offer.extensions());
    let first = offer.protocols().next().map(str::to_owned);
    let (response, in_use) = offer.accept(first.as_deref(), &willing, is_secure);
    let chosen = response.headers().get("sec-websocket-protocol");
    assert_eq!(chosen.map(HeaderValue::as_bytes), first.as_deref().map(str::as_bytes));
    assert!(is_secure || !in_use.no_masking);
    assert!(in_use.deflate.is_none() || willing.deflate.is_some());
    Some(in_use)
}

/// A client reads a server's answer: what is in use then, if it takes that.
fn check_answer(
    offered: Extensions,
    carrier: Carrier,
    is_whole: bool,
    fields: &HeaderMap,
    is_secure: bool,
) -> Option<Extensions> {
    let client = client_handshake(offered, is_secure);
    let mut response = Response::new(());
    if is_whole {
        let request = client.request(carrier).expect("a handshake");
        let offer = Offer::from_request(&request).expect("our server takes it").expect("a handshake");
        response = offer.accept(None, &Extensions::default(), is_secure).0;
    }
    add(response.headers_mut(), fields);
    let accepted = client.check(carrier, &response).ok()?;
    assert!(accepted.protocol.is_none_or(|protocol| client.protocols.contains(&protocol)));
    let in_use = accepted.extensions;
    assert!(!in_use.no_masking || (offered.no_masking && is_secure), "it was not offered");
    if let Some(deflate) = in_use.deflate {
        let offered = offered.deflate.expect("it was offered");
        for (in_use, offered) in [(deflate.server, offered.server), (deflate.client, offered.client)] {
            assert!(in_use.window_bits <= offered.window_bits.max(9) && (8..=15).contains(&in_use.window_bits));
            assert!(!in_use.takeover || offered.takeover);
        }
    }
    Some(in_use)
}

fn bare_request(carrier: Carrier) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = "/chat".parse().expect("a path");
    *request.version_mut() = Version::HTTP_11;
    if carrier == Carrier::Http2 {
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        request.extensions_mut().insert(Protocol::websocket());
    }
    request
}

fn add(headers: &mut HeaderMap, fields: &HeaderMap) {
    for (name, value) in fields {
        headers.append(name, value.clone());
    }
}

/// Fields as they stand in an input: `name: value`, one on each line. What is none is left out.
fn parse_fields(input: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in input.split(|octet| *octet == b'\n') {
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

fn any_fields(random: &mut Random) -> Vec<u8> {
    const FIELDS: &[&str] = &[
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits",
        "sec-websocket-extensions: permessage-deflate; server_max_window_bits=10; client_no_context_takeover",
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits=\"9\"; server_no_context_takeover",
        "sec-websocket-extensions: no-masking, x; a=b; c=\"d\\e\"",
        "sec-websocket-protocol: chat",
        "sec-websocket-protocol: chat, superchat",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-version: 13",
        "origin: https://example.com",
        "host: example.com",
        "upgrade: websocket",
        "connection: keep-alive, Upgrade",
        "content-length: 0",
    ];
    let lines: Vec<_> = (0..random.below(5)).map(|_| random.pick(FIELDS)).collect();
    let mut input = lines.join("\n").into_bytes();
    if random.one_in(2) {
        random.mutate(&mut input, b",;=\"\\ \t:89a\n");
    }
    input
}
