use std::fmt;
use std::sync::Arc;

/// The value of a request's `:protocol` pseudo-header field (RFC 8441 §4), kept among the request's
/// [extensions](http::Extensions).
///
/// ```
/// use sockeye_proto::Protocol;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Protocol::websocket());
/// assert!(request.extensions().get::<Protocol>().is_some_and(Protocol::is_websocket));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Protocol(Inner);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Inner {
    WebSocket,
    Other(Arc<str>),
}

impl Protocol {
    /// `websocket`, as RFC 8441 §5 registers it.
    pub const fn websocket() -> Self {
        Self(Inner::WebSocket)
    }

    /// Any protocol by the name that stood in the field.
    pub fn new(name: &str) -> Self {
        // Only the canonical spelling is folded, so that `as_str` gives back what came.
        if name == "websocket" { Self::websocket() } else { Self(Inner::Other(name.into())) }
    }

    /// The name as it stood in the field.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Inner::WebSocket => "websocket",
            Inner::Other(name) => name,
        }
    }

    /// Whether this is `websocket` in any letter case: a proxy may pass on what its HTTP/1.1 client spelled.
    pub fn is_websocket(&self) -> bool {
        self.as_str().eq_ignore_ascii_case("websocket")
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
