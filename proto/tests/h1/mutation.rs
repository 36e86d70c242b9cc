//! Handshakes with octets changed, in pieces: no panic, and the pieces make no difference.

use sockeye_proto::h1::{Head, HeadReader};
use sockeye_proto::h2::Config;

use crate::common::*;

/// Octets that mean something in a head.
const ODD: &[u8] = b"\r\n\0 \t:;,/\\\"@[]%#?*01GETPOSTHhostUupgrade\x7f\x80\xff";

fn mutate(random: &mut Random) -> Vec<u8> {
    let mut octets = HANDSHAKE.as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(octets.len());
        let odd = ODD[random.below(ODD.len())];
        match random.below(5) {
            0 => octets[at] = odd,
            1 => octets.insert(at, odd),
            2 if octets.len() > 1 => drop(octets.remove(at)),
            3 => octets.truncate(at + 1),
            _ => {
                let end = (at + random.below(60)).min(octets.len());
                octets.extend_from_within(at..end);
            }
        }
    }
    octets
}

/// What was read, in short.
fn verdict(head: &Head) -> String {
    match head {
        Head::WebSocket { request, length } => format!("{length} {request:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn mutated_heads() {
    let mut ours = 0;
    for seed in 0..iterations() {
        let mut random = Random(seed);
        let octets = mutate(&mut random);
        let config = Config { max_header_list_size: [16 << 10, 300][random.below(2)], ..Config::default() };
        let whole = HeadReader::new(&config).read(&octets);
        ours += u64::from(matches!(whole, Head::WebSocket { .. }));
        let mut reader = HeadReader::new(&config);
        let mut end = 0;
        let last = loop {
            end = (end + random.below(40)).min(octets.len());
            match reader.read(&octets[..end]) {
                Head::Partial if end < octets.len() => {}
                head => break head,
            }
        };
        assert_eq!(verdict(&last), verdict(&whole), "seed {seed}");
    }
    assert!(ours > iterations() / 10 && ours < iterations(), "{ours} are ours");
}
