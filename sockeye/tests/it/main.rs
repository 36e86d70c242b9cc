//! The tokio layer, from outside: each test holds one rule, and is named after it.

#![cfg(all(feature = "http2", feature = "web-socket"))]

#[path = "../common/mod.rs"]
mod common;

mod admission;
mod after_close;
#[cfg(feature = "axum")]
mod axum_extractor;
mod back_pressure;
mod batches;
mod cancel;
mod cancel_safety;
#[cfg(feature = "tls")]
mod certificates;
mod client;
mod closing;
mod connection;
mod counters;
mod desk;
mod drain;
mod edges;
#[cfg(feature = "deflate")]
mod extensions;
#[cfg(feature = "deflate")]
mod fair;
#[cfg(feature = "tls")]
mod flush;
mod group;
#[cfg(feature = "deflate")]
mod group_deflate;
mod group_order;
mod group_waits;
mod heads;
mod http1;
mod http1_ends;
mod http1_host;
mod io;
mod keep_alive;
mod later_pongs;
mod limits;
mod lingering;
mod listeners;
mod lives;
mod membership;
mod mute;
mod options;
mod outlasting;
mod peers;
mod pieces;
mod pieces_edges;
mod progress;
#[cfg(feature = "prometheus")]
mod prometheus;
mod reading;
mod refusals;
mod requests;
mod round_trip;
mod semantics;
mod shutdown;
mod shutdown_alone;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod tunnel;
mod unfinished;
mod violations;
