//! One connection of WebSockets that echo, over a transport in memory: what is left is the engine's own work, for a count of
//! instructions. The two sides are programs of their own, since what one links changes what the compiler makes of the other.
//!
//!     instructions        SOCKETS OCTETS ROUNDS [--spawned] [--http1.1]     a server's sockets
//!     instructions-client SOCKETS OCTETS ROUNDS [--spawned]                 a client's
//!
//! Each round every socket gets one message of so many octets, all in one read, and sends it back: inside the connection's task,
//! or each in a spawned task of its own. `count` beside this crate runs both under valgrind.

mod memory;

use bytes::BytesMut;
use sockeye_proto::h2::StreamId;
use tokio::runtime::{Builder, Runtime};

pub use memory::{Between, Memory};

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Load {
    pub sockets: usize,
    pub octets: usize,
    pub rounds: usize,
    /// Each socket in a task of its own.
    pub apart: bool,
    /// Over HTTP/1.1.
    pub is_http1: bool,
}

impl Load {
    /// What the command line asks for.
    ///
    /// # Panics
    ///
    /// Panics where a word of it is neither a flag nor a number.
    pub fn parse() -> Self {
        let (flags, numbers): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word.starts_with("--"));
        let mut numbers = numbers.iter().map(|number| number.parse::<usize>().expect("a number"));
        let mut next = |default| numbers.next().unwrap_or(default);
        let has = |name| flags.iter().any(|flag| flag == name);
        let (apart, is_http1) = (has("--spawned"), has("--http1.1"));
        Self { sockets: next(1000), octets: next(32), rounds: next(100), apart, is_http1 }
    }

    /// Octets that come back of a round of so many: what a server sends has no mask, which is four octets of each message.
    pub fn expected(self, round: usize) -> usize {
        round - 4 * self.sockets
    }

    /// Prints what all rounds took.
    pub fn report(self, nanoseconds: u128) {
        let messages = self.sockets * self.rounds;
        println!("{messages} messages, {:.1} ns each", nanoseconds as f64 / messages as f64);
    }
}

/// A runtime of one thread without a network.
///
/// # Panics
///
/// Panics where the system gives no thread.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// The same WebSocket frame on each stream, in a DATA frame of its own (RFC 9113 §6.1), or as many as it takes.
pub fn data_frames(ids: &[StreamId], frame: &[u8]) -> BytesMut {
    let mut round = BytesMut::new();
    for id in ids {
        for piece in frame.chunks(16 << 10) {
            round.extend_from_slice(&[(piece.len() >> 16) as u8, (piece.len() >> 8) as u8, piece.len() as u8, 0, 0]);
            round.extend_from_slice(&id.value().to_be_bytes());
            round.extend_from_slice(piece);
        }
    }
    round
}
