//! HTTP/1.1 (RFC 9112), as far as its WebSockets go: the head of a request that asks for one, and a connection that answers
//! it and then is a tunnel (RFC 9110 §7.8), with the face of an HTTP/2 connection that has one stream.

mod connection;
mod head;
mod response;

pub use self::connection::{Connection, STREAM};
pub use self::head::{Head, RequestHead};
