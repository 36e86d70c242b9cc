//! What a message costs, for people to read: `cargo test --release --test ws_speed -- --ignored --nocapture`.

#![cfg(feature = "web-socket")]

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use sockeye_proto::ws::{Config, Event, Message, Role, WebSocket};

/// Nanoseconds for one message to be read and sent back by a server, where `batch` octets of frames come at a time.
fn echo(message: &Message, batch: usize, total: usize) -> f64 {
    let mut client = WebSocket::new(Role::Client { mask_key: || [1, 2, 3, 4] }, Config::default());
    let mut wire = BytesMut::new();
    while wire.len() < batch {
        client.send_into(message, &mut wire).expect("open");
    }
    let mut server = WebSocket::new(Role::Server, Config::default());
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let start = Instant::now();
    let mut messages = 0;
    while messages < total {
        input.clear();
        input.extend_from_slice(&wire);
        output.clear();
        while !input.is_empty() {
            server.handle_data(Instant::now, &mut input);
            match server.poll_event() {
                Some(Event::Message(message)) => server.send_into(&message, &mut output).expect("open"),
                event => panic!("{event:?}"),
            }
            messages += 1;
        }
        black_box(&output);
    }
    start.elapsed().as_secs_f64() * 1e9 / messages as f64
}

#[test]
#[ignore = "a measurement"]
fn echo_speed() {
    println!("size_of::<WebSocket>() = {}", size_of::<WebSocket>());
    println!("size_of::<Event>() = {}", size_of::<Event>());
    for size in [0, 32, 125, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let total = (1 << 26) / (size + 400);
        let best = |message| (0..9).map(|_| echo(&message, 16 << 10, total)).fold(f64::MAX, f64::min);
        let (binary, text) = (best(vec![b'x'; size].into()), best("x".repeat(size).into()));
        println!("{size:8} octets: binary {binary:9.0} ns, text {text:9.0} ns");
    }
}
