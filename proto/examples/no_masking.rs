//! What `no-masking` buys: nanoseconds for a client to send a message and for a server to receive it, with the mask of
//! RFC 6455 §5.3 and without. `cargo run --release -p sockeye-proto --example no_masking`
//!
//! The key is drawn by a generator that costs as little as one can. One that is fit for RFC 6455 §10.3 costs more.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use sockeye_proto::ws::{Config, Event, Extensions, Message, Role, WebSocket};

/// Octets of frames in one batch, as of one read.
const BATCH: usize = 16 * 1024;

fn mask_key() -> [u8; 4] {
    thread_local!(static STATE: Cell<u32> = const { Cell::new(0x9E37_79B9) });
    let mut state = STATE.get();
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    STATE.set(state);
    state.to_ne_bytes()
}

/// Nanoseconds for each message of the fastest batch, to send it and to receive it.
fn measure(message: &Message, no_masking: bool) -> (f64, f64) {
    let extensions = Extensions { no_masking, ..Extensions::default() };
    let role = Role::Client { mask_key };
    let mut client = WebSocket::new(role, Config::default()).with_extensions(extensions);
    let mut server = WebSocket::new(Role::Server, Config::default()).with_extensions(extensions);
    let count = (BATCH / (message.len() + 8)).max(1);
    let rounds = (1 << 29) / (BATCH.max(message.len()) + 50 * count);
    let mut wire = BytesMut::with_capacity(2 * BATCH.max(message.len()));
    let (mut sending, mut receiving) = (f64::MAX, f64::MAX);
    for _ in 0..rounds {
        wire.clear();
        let start = Instant::now();
        for _ in 0..count {
            client.send_into(message, &mut wire).expect("open");
        }
        let middle = Instant::now();
        while !wire.is_empty() {
            server.handle_data(Instant::now, &mut wire);
            assert!(matches!(black_box(server.poll_event()), Some(Event::Message(_))));
        }
        let each = 1e9 / count as f64;
        receiving = receiving.min(middle.elapsed().as_secs_f64() * each);
        sending = sending.min((middle - start).as_secs_f64() * each);
        // What the last messages took away.
        wire.reserve(2 * BATCH.max(message.len()));
    }
    (sending, receiving)
}

fn main() {
    println!("| octets | send, masked | send, bare | receive, masked | receive, bare | saved, both ends |");
    println!("| --: | --: | --: | --: | --: | --: |");
    for size in [0, 32, 125, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let message = Message::from(vec![b'x'; size]);
        let (masked, bare) = (measure(&message, false), measure(&message, true));
        let saved = 100.0 * (1.0 - (bare.0 + bare.1) / (masked.0 + masked.1));
        println!("| {size} | {:.0} | {:.0} | {:.0} | {:.0} | {saved:.0} % |", masked.0, bare.0, masked.1, bare.1);
    }
}
