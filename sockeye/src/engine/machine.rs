//! How a connection's machine is made: with what the protocol itself does not know.

use std::hash::{BuildHasher, RandomState};

use http::Request;
use sockeye_proto::{h1, h2};

use crate::engine::{date, now};

/// A machine of HTTP/2 whose hash nobody can foresee, and that knows the time.
pub(crate) fn machine(role: h2::Role, config: &h2::Config) -> h2::Connection {
    let seed = RandomState::new().hash_one(0_u8);
    h2::Connection::new(role, dated(config).with(|config| config.seed = seed), now())
}

/// The machine of one exchange of HTTP/1.1, which answers `request` and knows the time.
pub(crate) fn exchange(request: Box<Request<()>>, config: &h2::Config) -> h1::Connection {
    h1::Connection::server(request, &dated(config), now())
}

/// Responses tell the date by the system's clock, unless the caller has one.
fn dated(config: &h2::Config) -> h2::Config {
    config.clone().with(|config| config.date = config.date.or(Some(date::now)))
}
