//! The rows, by family: what they attack.

mod connections;
mod deflate;
mod floods;
mod headers;
mod honest;
mod http1;
mod lies;
mod resets;
mod slow;
mod smuggling;
mod websocket;
mod windows;

use crate::attack::Attack;

pub struct Family {
    pub name: &'static str,
    pub title: &'static str,
    pub rows: &'static [Attack],
}

pub const ATTACKS: &[Family] = &[
    Family { name: "resets", title: "Resets", rows: resets::ROWS },
    Family { name: "headers", title: "Header blocks", rows: headers::ROWS },
    Family { name: "floods", title: "Floods of frames", rows: floods::ROWS },
    Family { name: "windows", title: "Windows, and peers that do not read", rows: windows::ROWS },
    Family { name: "lies", title: "Numbers, lengths and settings that lie", rows: lies::ROWS },
    Family { name: "smuggling", title: "Smuggling", rows: smuggling::ROWS },
    Family { name: "websocket", title: "WebSocket frames", rows: websocket::ROWS },
    Family { name: "deflate", title: "Compression", rows: deflate::ROWS },
    Family { name: "http1", title: "HTTP/1.1", rows: http1::ROWS },
    Family { name: "connections", title: "Connections and TLS", rows: connections::ROWS },
    Family { name: "slow", title: "Slow peers", rows: slow::ROWS },
];

pub const HONEST: &[Family] = &[Family { name: "honest", title: "Honest traffic", rows: honest::ROWS }];
