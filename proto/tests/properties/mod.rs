//! What holds for any input: the properties of each machine and parser, said once.
//!
//! A property takes its input from [`Choices`]: of seeds, as the tests of this crate make them, of files, which are the corpora
//! in `fuzz/corpus`, or of a fuzzer that looks for what no seed has found (`fuzz/`, which takes this module in as it is). One
//! that does not hold panics.

#![allow(missing_docs, unreachable_pub)]

pub mod choices;

mod fields;
mod h1_exchange;
mod h1_head;
mod h1_pair;
mod h2_octets;
mod h2_pair;
mod handshake;
mod hpack_decode;
mod hpack_round_trip;
mod inflate;
mod sent;
mod target;
mod ws_model;
mod ws_octets;
mod ws_pair;

#[allow(dead_code, reason = "most of it is for tests of single rules")]
#[path = "../h2/common.rs"]
mod h2_common;

#[allow(dead_code, reason = "most of it is for tests of single rules")]
#[path = "../h1/common.rs"]
mod h1_common;

#[path = "../ws_common/mod.rs"]
mod ws_common;

use self::choices::Choices;

/// What holds for every input.
#[derive(Clone, Copy)]
pub struct Property {
    /// Also of its fuzz target, and of its corpus.
    pub name: &'static str,
    pub check: fn(&mut Choices<'_>),
    /// How many times as long a seed takes as one of the cheapest property.
    pub cost: u64,
}

/// All of them.
pub const PROPERTIES: &[Property] = &[
    Property { name: "h1_exchange", check: h1_exchange::check, cost: 1 },
    Property { name: "h1_head", check: h1_head::check, cost: 1 },
    Property { name: "h1_pair", check: h1_pair::check, cost: 200 },
    Property { name: "h2_client", check: h2_octets::client, cost: 10 },
    Property { name: "h2_pair", check: h2_pair::check, cost: 500 },
    Property { name: "h2_server", check: h2_octets::server, cost: 10 },
    Property { name: "handshake", check: handshake::check, cost: 4 },
    Property { name: "hpack_decode", check: hpack_decode::check, cost: 4 },
    Property { name: "hpack_round_trip", check: hpack_round_trip::check, cost: 50 },
    Property { name: "inflate", check: inflate::check, cost: 5 },
    Property { name: "target", check: target::check, cost: 1 },
    Property { name: "ws_client", check: ws_octets::client, cost: 2 },
    Property { name: "ws_pair", check: ws_pair::check, cost: 20 },
    Property { name: "ws_server", check: ws_octets::server, cost: 2 },
];

/// The property of this name.
///
/// # Panics
///
/// Where there is none.
pub fn named(name: &str) -> Property {
    *PROPERTIES.iter().find(|property| property.name == name).unwrap_or_else(|| panic!("{name} is no property"))
}
