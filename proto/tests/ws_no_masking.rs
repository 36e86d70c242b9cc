//! no-masking (draft-damjanovic-websockets-nomasking-02) on the wire: each test holds one rule.

#![cfg(feature = "web-socket")]

mod ws_common;

use sockeye_proto::ws::{CloseCode, Config, Event, Extensions, Role, Violation, WebSocket};
use ws_common::*;

const NO_MASKING: Extensions = Extensions { no_masking: true, deflate: None };

fn unmasked_client() -> WebSocket {
    let mask_key = || unreachable!("no frame is masked");
    WebSocket::new(Role::Client { mask_key }, Config::default()).with_extensions(NO_MASKING)
}

fn unmasking_server() -> WebSocket {
    server().with_extensions(NO_MASKING)
}

/// The client masks nothing that it sends, and the server reads it.
#[test]
fn the_client_sends_every_frame_bare() {
    let (mut client, mut server) = (unmasked_client(), unmasking_server());
    assert_eq!(feed(&mut client, &bare(FIN | PING, "?")), []);
    client.send(&"text".into()).unwrap();
    client.ping(b"ping").unwrap();
    client.close(CloseCode::NORMAL, "bye").unwrap();
    let wire = sent(&mut client);
    let expected = [
        bare(FIN | PONG, "?"),
        bare(FIN | TEXT, "text"),
        bare(FIN | PING, "ping"),
        bare(FIN | CLOSE, close_body(1000, "bye")),
    ];
    assert_eq!(wire, expected.concat());
    let events = feed(&mut server, &wire);
    assert_eq!(events, [Event::Pong("?".into()), Event::Message("text".into()), closed(CloseCode::NORMAL, "bye")]);
    assert_eq!(sent(&mut server), [bare(FIN | PONG, "ping"), bare(FIN | CLOSE, close_body(1000, "bye"))].concat());
}

/// So are the Closes that it answers with, and those by which it fails.
#[test]
fn the_client_closes_bare() {
    for octets in [bare(FIN | CLOSE, close_body(1000, "")), vec![0xFF]] {
        let mut client = unmasked_client();
        feed(&mut client, &octets);
        assert_eq!(sent(&mut client)[1] & 0x80, 0);
    }
}

/// Once it is accepted a masked frame fails with 1002, of whatever kind, as soon as its second octet is there.
#[test]
fn the_server_fails_a_masked_frame() {
    for first in [FIN | TEXT, BINARY, FIN | PING, FIN | CLOSE] {
        let mut server = unmasking_server();
        assert_eq!(feed(&mut server, &bare(FIN | TEXT, "bare")).len(), 1);
        assert_eq!(feed(&mut server, &[first]), []);
        assert_eq!(feed(&mut server, &[0x80]), [Event::Failed(Violation::Masked)]);
        assert_eq!(sent(&mut server)[2..4], 1002u16.to_be_bytes());
    }
}

/// What a server sends is bare as ever, and a client fails a masked frame as ever.
#[test]
fn the_other_way_nothing_changes() {
    let mut server = unmasking_server();
    server.send(&"text".into()).unwrap();
    assert_eq!(sent(&mut server), bare(FIN | TEXT, "text"));
    assert_eq!(feed(&mut unmasked_client(), &frame(FIN | TEXT, "")), [Event::Failed(Violation::Masked)]);
}

/// Without it a bare frame fails as ever.
#[test]
fn it_is_off_unless_it_is_in_use() {
    assert_eq!(feed(&mut server(), &bare(FIN | TEXT, "bare")), [Event::Failed(Violation::Unmasked)]);
    assert_eq!(server().extensions(), Extensions::default());
    assert_eq!(unmasking_server().extensions(), NO_MASKING);
}
