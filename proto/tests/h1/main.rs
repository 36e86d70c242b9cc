//! The machine of HTTP/1.1 against RFC 9112, RFC 9110 and RFC 6455: the head that is read, the response, and the tunnel.

mod common;

mod heads;
mod lending;
mod responses;
mod tunnels;

mod exhaustive;
