//! The parameters of `permessage-deflate` in `Sec-WebSocket-Extensions` (RFC 7692 §7.1).

use std::mem;

use super::{Deflate, DeflateContext, MAX_WINDOW_BITS, MIN_WINDOW_BITS};
use crate::ws::handshake::{Extension, PERMESSAGE_DEFLATE};

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The parameters of one offer or of an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Limit>,
}

/// The value of `client_max_window_bits`.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// No value, which only an offer may have: the client can be limited.
    Any,
    Bits(u8),
}

impl Deflate {
    /// What a client asks for.
    pub(in crate::ws) fn offer(&self) -> Extension {
        let Self { server, client, .. } = self.normalized();
        let limit = |bits| (bits < MAX_WINDOW_BITS).then_some(bits);
        let parameters = Parameters {
            server_no_context_takeover: !server.takeover,
            client_no_context_takeover: !client.takeover,
            server_max_window_bits: limit(server.window_bits),
            client_max_window_bits: Some(limit(client.window_bits).map_or(Limit::Any, Limit::Bits)),
        };
        parameters.extension()
    }

    /// A server's answer to one offer, and what is in use then; `None` to decline it.
    pub(in crate::ws) fn accept(&self, offer: &Extension) -> Option<(Self, Extension)> {
        let offered = Parameters::parse(offer)?;
        let mut in_use = self.normalized();
        let Self { server, client, .. } = &mut in_use;
        server.takeover &= !offered.server_no_context_takeover;
        client.takeover &= !offered.client_no_context_takeover;
        if let Some(bits) = offered.server_max_window_bits {
            // RFC 7692 §7.1.2.1: a server that cannot do with so small a window declines.
            if bits < MIN_WINDOW_BITS {
                return None;
            }
            server.window_bits = server.window_bits.min(bits);
        }
        // RFC 7692 §7.1.2.2: a client that does not offer to be limited must not be.
        client.window_bits = match offered.client_max_window_bits {
            None => MAX_WINDOW_BITS,
            Some(Limit::Any) => client.window_bits,
            Some(Limit::Bits(bits)) => client.window_bits.min(bits),
        };
        let is_limited = |context: &DeflateContext| context.window_bits < MAX_WINDOW_BITS;
        let answer = Parameters {
            server_no_context_takeover: !server.takeover,
            client_no_context_takeover: !client.takeover,
            // RFC 7692 §7.1.2.1: to accept the parameter is to repeat it, with the same value or a smaller one.
            server_max_window_bits: (offered.server_max_window_bits.is_some() || is_limited(server))
                .then_some(server.window_bits),
            client_max_window_bits: is_limited(client).then_some(Limit::Bits(client.window_bits)),
        };
        Some((in_use, answer.extension()))
    }

    /// What is in use by a server's answer to our [`offer`](Self::offer); `None` where it is no answer to it.
    pub(in crate::ws) fn check(&self, answer: &Extension) -> Option<Self> {
        let answered = Parameters::parse(answer)?;
        let mut in_use = self.normalized();
        let Self { server, client, .. } = &mut in_use;
        // RFC 7692 §7.1.1.1: to accept what we asked of the server is to repeat it. What it limits itself to beyond that
        // is its own affair.
        if !server.takeover && !answered.server_no_context_takeover {
            return None;
        }
        server.takeover &= !answered.server_no_context_takeover;
        client.takeover &= !answered.client_no_context_takeover;
        let server_bits = answered.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        if server_bits > server.window_bits {
            return None;
        }
        server.window_bits = server_bits;
        match answered.client_max_window_bits {
            None => {}
            Some(Limit::Bits(bits)) => client.window_bits = client.window_bits.min(bits),
            // RFC 7692 §7.1.2.2: in an answer it has a value.
            Some(Limit::Any) => return None,
        }
        Some(in_use)
    }

    /// What we want ourselves, as near as zlib can do it.
    fn normalized(self) -> Self {
        let mut bounded = self.bounded();
        for context in [&mut bounded.server, &mut bounded.client] {
            context.window_bits = context.window_bits.max(MIN_WINDOW_BITS);
        }
        bounded
    }
}

impl Parameters {
    /// RFC 7692 §7.1: an element with a parameter that is unknown, repeated or ill-valued is declined, or fails the
    /// connection where it is the answer.
    fn parse(extension: &Extension) -> Option<Self> {
        let mut parameters = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let is_new = match name.as_str() {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => parameters.server_max_window_bits.replace(window_bits(value?)?).is_none(),
                CLIENT_MAX_WINDOW_BITS => {
                    let limit = match value {
                        Some(value) => Limit::Bits(window_bits(value)?),
                        None => Limit::Any,
                    };
                    parameters.client_max_window_bits.replace(limit).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(parameters)
    }

    fn extension(self) -> Extension {
        let mut extension = Extension::new(PERMESSAGE_DEFLATE);
        if self.server_no_context_takeover {
            extension = extension.with(SERVER_NO_CONTEXT_TAKEOVER, None);
        }
        if self.client_no_context_takeover {
            extension = extension.with(CLIENT_NO_CONTEXT_TAKEOVER, None);
        }
        if let Some(bits) = self.server_max_window_bits {
            extension = extension.with(SERVER_MAX_WINDOW_BITS, Some(&bits.to_string()));
        }
        match self.client_max_window_bits {
            Some(Limit::Bits(bits)) => extension.with(CLIENT_MAX_WINDOW_BITS, Some(&bits.to_string())),
            Some(Limit::Any) => extension.with(CLIENT_MAX_WINDOW_BITS, None),
            None => extension,
        }
    }
}

/// RFC 7692 §7.1.2: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}
