//! RFC 9113 §3: starting HTTP/2.

use std::time::Duration;

use sockeye_proto::h2::{Config, Event, Reason, Role, Violation};

use crate::common::*;

/// §3.4: "The server connection preface consists of a potentially empty SETTINGS frame that MUST be the first frame the
/// server sends".
#[test]
fn server_speaks_settings_first() {
    let mut tested = Tested::new(Role::Server, Config::default());
    let sent = tested.sent();
    let Some(Sent::Settings(values)) = sent.first() else { panic!("{sent:?}") };
    assert!(values.contains(&(8, 1)), "the extended CONNECT is offered in the first SETTINGS (RFC 8441 §3)");
    assert!(values.contains(&(3, 100)));
    assert_eq!(sent[1], Sent::WindowUpdate { id: 0, increment: (2304 << 10) - 65_535 });
}

/// §3.4: the client sends 24 octets and SETTINGS, without waiting; §6.5.2: it does not want pushes.
#[test]
fn client_speaks_preface_and_settings_first() {
    let mut tested = Tested::new(Role::Client, Config::default());
    let mut output = bytes::BytesMut::new();
    tested.machine.poll_transmit(&mut output);
    assert!(output.starts_with(PREFACE));
    let values = [(2, 0), (6, 16 << 10)];
    assert!(output[PREFACE.len()..].starts_with(&settings(&values)), "{output:?}");
}

/// §3.4: "Clients and servers MUST treat an invalid connection preface as a connection error of type PROTOCOL_ERROR."
/// It is answered at the first octet that differs, and not by silence.
#[test]
fn bad_preface_is_answered() {
    for bytes in
        ["G", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", "INVALID CONNECTION PREFACE\r\n\r\n"]
    {
        let mut tested = Tested::new(Role::Server, Config::default());
        tested.receive(bytes.as_bytes());
        let sent = tested.sent();
        assert!(matches!(sent[..], [Sent::Settings(_), Sent::WindowUpdate { .. }, Sent::GoAway { .. }]), "{sent:?}");
        assert!(matches!(tested.events()[..], [Event::Closed(Some(_))]));
    }
}

/// §3.4, RFC 8441 §3: what a server offers stands in its first SETTINGS; a connection that ends before them says nothing.
#[test]
fn settings_that_never_came_are_unknown() {
    let mut tested = Tested::new(Role::Client, Config::default());
    assert!(tested.machine.peer_settings().is_none());
    tested.machine.handle_eof(tested.now);
    assert!(matches!(tested.events()[..], [Event::Closed(None)]));
    assert!(tested.machine.peer_settings().is_none());
}

/// §3.4: the preface is followed by SETTINGS; an acknowledgement is not that.
#[test]
fn first_frame_is_settings() {
    let others = [ping(1), frame(SETTINGS, ACK, 0, &[]), headers(1, true, GET), frame(0xbb, 0, 0, &[])];
    for other in others {
        let mut tested = Tested::new(Role::Server, Config::default());
        tested.receive(PREFACE).receive(&other);
        tested.assert_connection_error(Violation::FirstFrame);
        let mut tested = Tested::new(Role::Client, Config::default());
        tested.receive(&other);
        tested.assert_connection_error(Violation::FirstFrame);
    }
    // What a client reads of a server that only speaks HTTP/1.1.
    let mut tested = Tested::new(Role::Client, Config::default());
    tested.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    tested.assert_connection_error(Violation::FirstFrame);
}

/// What a server of TLS says to the preface, in as many pieces as it likes. A server hears none.
#[test]
fn an_alert_of_tls_is_known_by_two_octets() {
    let alert = b"\x15\x03\x03\0\x02\x02\x46";
    for first in 1..alert.len() {
        let mut tested = Tested::new(Role::Client, Config::default());
        tested.receive(&alert[..first]);
        assert_eq!(tested.machine.is_closed(), first > 1, "{first}");
        tested.receive(&alert[first..]);
        tested.assert_connection_error(Violation::TlsAlert);
    }
    let mut tested = Tested::new(Role::Server, Config::default());
    tested.receive(PREFACE).receive(alert).receive(&[0; 9]);
    tested.assert_connection_error(Violation::FirstFrame);
}

/// Our limit: a silent peer is not waited for.
#[test]
fn preface_has_to_come_in_time() {
    let mut tested = Tested::new(Role::Server, Config::default());
    tested.receive(PREFACE).after(Duration::from_millis(9_999));
    assert!(!tested.machine.is_closed());
    tested.after(Duration::from_millis(1));
    tested.assert_connection_error(Violation::PrefaceTimeout);
}

/// A transport that ends without a word is no error; with streams open it is one.
#[test]
fn end_of_transport() {
    let mut tested = Tested::new(Role::Server, Config::default());
    tested.machine.handle_eof(tested.now);
    assert!(matches!(tested.events()[..], [Event::Closed(None)]));

    let mut tested = Tested::server();
    tested.accept(1, true, GET);
    tested.receive(&headers(3, true, GET)[..12]);
    tested.machine.handle_eof(tested.now);
    tested.machine.handle_eof(tested.now);
    let events = tested.events();
    let [Event::Closed(Some(error))] = events[..] else { panic!("{events:?}") };
    assert_eq!(error, sockeye_proto::h2::ConnectionError::Eof);

    let mut tested = Tested::client();
    tested.open(&get("https://example.com/"), true);
    let goaway = [&[0; 4][..], &Reason::ENHANCE_YOUR_CALM.code().to_be_bytes(), b"calm down"].concat();
    tested.receive(&frame(GOAWAY, 0, 0, &goaway));
    assert!(tested.events().iter().any(|event| matches!(event, Event::Reset { remote: true, .. })));
    tested.machine.handle_eof(tested.now);
    let events = tested.events();
    let [Event::Closed(Some(error))] = events[..] else { panic!("{events:?}") };
    assert_eq!(error, sockeye_proto::h2::ConnectionError::GoAway(Reason::ENHANCE_YOUR_CALM));
}
