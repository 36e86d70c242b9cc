//! RFC 8441: bootstrapping WebSockets with HTTP/2.

use http::{Request, Response};
use sockeye_proto::Protocol;
use sockeye_proto::h2::{Config, Event, OpenError, Reason, Role};

use crate::common::*;

/// §3: "a client MUST NOT use the extended CONNECT without having received the setting"; §4: what it then sends.
#[test]
fn client_waits_for_the_setting() {
    let mut tested = Tested::new(Role::Client, Config::default());
    let request = connect_websocket("https://example.com/chat");
    assert_eq!(tested.machine.open(&request, false), Err(OpenError::ExtendedConnectNotAllowed));
    tested.receive(&settings(&[]));
    assert!(!tested.machine.extended_connect_allowed());
    tested.receive(&settings(&[(8, 1)]));
    assert!(tested.machine.extended_connect_allowed());
    tested.sent();
    tested.machine.open(&request, false).unwrap();
    let mut fields = vec![
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "example.com"),
        (":path", "/chat"),
    ];
    let sent = tested.sent();
    let [Sent::Headers { id: 1, fields: got, end_stream: false }] = &sent[..] else { panic!("{sent:?}") };
    let mut got: Vec<_> = got.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    got.sort_unstable();
    fields.sort_unstable();
    assert_eq!(got, fields);
    assert_eq!(tested.machine.open(&request, true), Err(OpenError::Malformed), "END_STREAM ends the tunnel");
}

/// §4: `:protocol` goes with CONNECT, `:scheme`, `:path` and `:authority`, on a stream that stays open.
#[test]
fn server_checks_the_request() {
    let mut tested = Tested::server();
    tested.receive(&headers(1, false, CONNECT_WEBSOCKET));
    let (_, request) = tested.request();
    assert_eq!(request.uri(), "https://example.com/chat");
    assert_eq!(request.extensions().get::<Protocol>(), Some(&Protocol::websocket()));

    for missing in 0..CONNECT_WEBSOCKET.len() {
        let mut fields = CONNECT_WEBSOCKET.to_vec();
        // Without `:protocol` it is a plain CONNECT, which has neither `:scheme` nor `:path`.
        fields.remove(missing);
        let mut tested = Tested::server();
        tested.receive(&headers(1, false, &fields));
        tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    }
    let mut get = GET.to_vec();
    get.push((":protocol", "websocket"));
    let mut tested = Tested::server();
    tested.receive(&headers(1, false, &get));
    tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    tested.receive(&headers(3, true, CONNECT_WEBSOCKET));
    tested.assert_reset(3, Reason::PROTOCOL_ERROR);
}

/// §3: what counts is what the server advertised, not what the client did.
#[test]
fn protocol_is_judged_by_our_offer() {
    let config = Config::default().with(|config| config.enable_connect_protocol = false);
    let mut tested = Tested::new(Role::Server, config);
    let sent = tested.sent();
    let Some(Sent::Settings(values)) = sent.first() else { panic!("{sent:?}") };
    assert!(values.iter().all(|(identifier, _)| *identifier != 8));
    tested.receive(PREFACE).receive(&settings(&[(8, 1)])).receive(&headers(1, false, CONNECT_WEBSOCKET));
    assert!(tested.sent().contains(&Sent::RstStream { id: 1, reason: Reason::PROTOCOL_ERROR }));

    let mut tested = Tested::server();
    tested.receive(&settings(&[(8, 0)])).receive(&headers(1, false, CONNECT_WEBSOCKET));
    assert!(tested.request().1.extensions().get::<Protocol>().is_some());
}

/// §5: after a 2xx the stream carries octets both ways; each side ends by itself.
#[test]
fn tunnel() {
    let mut pair = Pair::new(Config::default(), Config::default());
    let client_id = pair.client.open(&connect_websocket("https://example.com/chat"), false).unwrap();
    // RFC 9110 §9.3.6: a content-length means nothing here.
    pair.exchange();
    let Some(Event::Request { id: server_id, .. }) = pair.server.poll_event() else { panic!() };
    let response = Response::builder().header("content-length", "1").body(()).unwrap();
    pair.server.stream(server_id).unwrap().respond(&response, false).unwrap();
    pair.server.stream(server_id).unwrap().write(b"from the server", false);
    pair.client.stream(client_id).unwrap().write(b"from the client", true);
    pair.exchange();
    assert!(matches!(pair.client.poll_event(), Some(Event::Response { .. })));
    assert!(matches!(pair.client.poll_event(), Some(Event::Readable(_))));
    assert_eq!(pair.client.stream(client_id).unwrap().read(), "from the server");
    assert!(matches!(pair.server.poll_event(), Some(Event::Readable(_))));
    assert!(matches!(pair.server.poll_event(), Some(Event::Finished { trailers: None, .. })));
    let mut stream = pair.server.stream(server_id).unwrap();
    assert_eq!(stream.read(), "from the client");
    assert!(!stream.is_closed());
    stream.write(&[], true);
    assert!(stream.is_closed());
    stream.release();
    pair.exchange();
    assert!(pair.client.stream(client_id).unwrap().is_closed());
}

/// What cannot be a request of ours.
#[test]
fn requests_that_cannot_be_sent() {
    let mut tested = Tested::client();
    let no_scheme = Request::get("/relative").body(()).unwrap();
    let user = get("https://user@example.com/");
    let mut protocol_on_get = get("https://example.com/");
    protocol_on_get.extensions_mut().insert(Protocol::websocket());
    for request in [no_scheme, user, protocol_on_get] {
        assert_eq!(tested.machine.open(&request, false), Err(OpenError::Malformed), "{request:?}");
    }
    assert_eq!(tested.sent(), []);
    let mut server = Tested::server();
    assert_eq!(server.machine.open(&get("https://example.com/"), true), Err(OpenError::Malformed));
}
