use super::deflate::Deflate;

/// The extensions of a WebSocket (RFC 6455 §9): those that an endpoint is willing to use, and after the handshake those
/// that are in use. By default none.
///
#[cfg_attr(feature = "deflate", doc = "```")]
#[cfg_attr(not(feature = "deflate"), doc = "```ignore")]
/// use sockeye_proto::ws::{Deflate, Extensions};
///
/// let willing = Extensions { deflate: Some(Deflate::default()), ..Extensions::default() };
/// assert!(!willing.no_masking);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// `permessage-deflate` (RFC 7692): messages are compressed. Always `None` without the feature `deflate`.
    pub deflate: Option<Deflate>,
    /// `no-masking` (draft-damjanovic-websockets-nomasking-02): the client masks no frame.
    ///
    /// Masking protects proxies that read cleartext from what a page makes a browser send (RFC 6455 §10.3). So the
    /// extension is for encrypted connections: it is neither offered nor accepted on others.
    pub no_masking: bool,
}
