//! How a connection's HTTP/2 machine is made.

use std::hash::{BuildHasher, RandomState};

use sockeye_proto::h2;

use crate::engine::{date, now};

/// A machine whose hash nobody can foresee, and that knows the time.
pub(crate) fn machine(role: h2::Role, config: &h2::Config) -> h2::Connection {
    let seed = RandomState::new().hash_one(0_u8);
    let date = config.date.or(Some(date::now));
    h2::Connection::new(role, h2::Config { seed, date, ..config.clone() }, now())
}
