#![cfg(all(feature = "http2", feature = "web-socket"))]
#[path = "common/mod.rs"]
mod common;
#[path = "it/group.rs"]
mod group;
#[path = "it/group_order.rs"]
mod group_order;
#[path = "it/group_waits.rs"]
mod group_waits;
#[path = "it/membership.rs"]
mod membership;
