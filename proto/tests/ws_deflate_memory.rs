//! What permessage-deflate costs in memory, by the octets that the allocator has given out.
#![cfg(feature = "deflate")]

mod ws_common;

use std::alloc::System;
use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};
use sockeye_proto::ws::{Config, Deflate, DeflateContext, Event, Extensions, Inflation, Role, Violation, WebSocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use ws_common::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Octets given out while `run` ran, whatever was given back.
fn allocated(run: impl FnOnce()) -> usize {
    let before = ALLOCATOR.stats().bytes_allocated;
    run();
    ALLOCATOR.stats().bytes_allocated - before
}

fn pair(context: DeflateContext, config: Config) -> (WebSocket, WebSocket) {
    let deflate = Deflate::new().contexts(context);
    let in_use = Extensions { deflate: Some(deflate), ..Extensions::default() };
    let client = WebSocket::new(Role::Client { mask_key: || KEY }, config).with_extensions(in_use);
    let limit = Arc::new(Inflation::default());
    let server = server_with(config).with_extensions(in_use).with_inflation(limit.clone());
    (client.with_inflation(limit), server)
}

/// A message each way, compressed, that is gone when this is.
fn exchange(client: &mut WebSocket, server: &mut WebSocket) {
    let text = "upstream and downstream, ".repeat(2000);
    for _ in 0..2 {
        client.send(&text.as_str().into()).unwrap();
        let wire = sent(client);
        assert!(wire.len() < text.len() / 10);
        assert_eq!(feed(server, &wire), [Event::Message(text.as_str().into())]);
        server.send(&text.as_str().into()).unwrap();
        assert_eq!(feed(client, &sent(server)), [Event::Message(text.as_str().into())]);
    }
}

fn without_takeover_a_socket_keeps_nothing() {
    let context = DeflateContext::new().takeover(false).window_bits(15);
    let mut pairs: Vec<_> = (0..50).map(|_| pair(context, Config::default())).collect();
    let before = live();
    let (client, server) = &mut pairs[0];
    exchange(client, server);
    let thread = live() - before;
    assert!(thread <= (372 + 47 + 64) * KIB, "a thread holds {thread} octets");
    let before = live();
    for (client, server) in &mut pairs {
        exchange(client, server);
    }
    assert_eq!(live(), before);
}

fn with_takeover_a_socket_keeps_what_is_documented() {
    for (window_bits, compress, decompress) in
        [(15, 372 * KIB, 32 * KIB), (13, 276 * KIB, 8 * KIB), (11, 252 * KIB, 2 * KIB), (9, 246 * KIB, 512)]
    {
        let (mut client, mut server) =
            pair(DeflateContext::new().takeover(true).window_bits(window_bits), Config::default());
        let before = live();
        exchange(&mut client, &mut server);
        let each = (live() - before) / 2;
        let documented = compress + decompress;
        assert!(each <= documented && each > documented - 2 * KIB, "{window_bits} bits: {each} octets");
        drop((client, server));
    }
}

fn a_decompression_bomb_gets_no_more_than_the_limit() {
    let size = 16 << 20;
    let mut payload = Vec::with_capacity(size / 500);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![0; size], &mut payload, FlushCompress::Sync).unwrap();
    let payload = payload.strip_suffix(&[0x00, 0x00, 0xFF, 0xFF]).unwrap();
    for takeover in [false, true] {
        let config = Config::default().with(|config| config.max_message_size = 128 * KIB);
        let (_, mut server) = pair(DeflateContext::new().takeover(takeover).window_bits(15), config);
        // Compressed it is within the limit, by far.
        let bomb = frame(FIN | RSV1 | BINARY, payload);
        assert!(bomb.len() < config.max_message_size);
        let allocated = allocated(|| {
            assert_eq!(feed(&mut server, &bomb), [Event::Failed(Violation::MessageTooBig)]);
        });
        // The octets received twice, as the test hands them over and as they wait for the whole; and a buffer that grew
        // to the limit by doubling.
        assert!(allocated <= 2 * bomb.len() + 3 * config.max_message_size, "{allocated} octets");
    }
}

/// One test for all, since they share the allocator that is counted.
#[test]
fn memory() {
    without_takeover_a_socket_keeps_nothing();
    with_takeover_a_socket_keeps_what_is_documented();
    a_decompression_bomb_gets_no_more_than_the_limit();
}
