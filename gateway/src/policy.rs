use sockeye::OriginPolicy;

/// What holds for the requests of a route.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The upstream gets the host that the client asked for, in place of its own. Off by default: a dev server such as Vite's
    /// takes no other name than `localhost` unless it is told, by whatever name the gateway itself is reached. What compares a
    /// WebSocket's Origin with its Host, as Go's gorilla/websocket does by default, wants it on.
    /// While it is off, a `Location` that names the upstream as the gateway did (RFC 9110 §10.2.2) leads to the gateway.
    pub preserve_host: bool,
    /// What a client says in `Forwarded`, `X-Forwarded-*` and `X-Real-IP` goes on, with our own behind it. Off by default, as
    /// anybody can say it: for a gateway behind a proxy that sets them.
    pub trust_forwarded: bool,
    /// The pages that may open WebSockets (RFC 6455 §10.2). Any by default: the upstream gets the `Origin` as it is, and decides.
    pub origins: OriginPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self { preserve_host: false, trust_forwarded: false, origins: OriginPolicy::Any }
    }
}
