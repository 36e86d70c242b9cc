//! The opening handshake: pure functions over [`http`] types, for HTTP/1.1 (RFC 6455 §4) and HTTP/2 (RFC 8441 §5) alike.
//!
//! A server reads an [`Offer`] out of a request, asks its [`OriginPolicy`] and answers with [`Offer::accept`] or with
//! [`Refusal::response`]:
//!
//! ```
//! use sockeye_proto::Protocol;
//! use sockeye_proto::ws::Extensions;
//! use sockeye_proto::ws::handshake::{Offer, OriginPolicy, Refusal};
//!
//! fn answer(request: &http::Request<()>) -> Result<http::Response<()>, Refusal> {
//!     let Some(offer) = Offer::from_request(request)? else {
//!         return Err(Refusal::websocket_required(request.version()));
//!     };
//!     OriginPolicy::SameOrigin.check(&offer)?;
//!     let (response, _) = offer.accept(offer.select_protocol(&["chat"]), &Extensions::default(), false);
//!     Ok(response)
//! }
//!
//! let request = http::Request::connect("https://example.com/chat")
//!     .version(http::Version::HTTP_2)
//!     .extension(Protocol::websocket())
//!     .header("sec-websocket-version", "13")
//!     .header("sec-websocket-protocol", "superchat, chat")
//!     .body(())?;
//! let response = answer(&request).unwrap();
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
//! # Ok::<(), http::Error>(())
//! ```
//!
//! A client builds its request from a [`ClientHandshake`] and checks the answer against the same value.
//!
//! Nothing here does I/O or draws a random number: over HTTP/1.1 the client's key comes in as sixteen octets.

mod client;
mod extension;
mod fields;
mod negotiation;
mod offer;
mod origin;
mod refusal;

pub use client::{Accepted, Carrier, ClientHandshake, RequestError, ResponseError};
pub use extension::Extension;
pub use offer::Offer;
pub use origin::OriginPolicy;
pub use refusal::Refusal;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha1::{Digest, Sha1};

/// The one version of the protocol there is (RFC 6455 §4.1).
const VERSION: &str = "13";

/// The extension tokens that we know (RFC 7692 §7, draft-damjanovic-websockets-nomasking-02).
pub(super) const PERMESSAGE_DEFLATE: &str = "permessage-deflate";
const NO_MASKING: &str = "no-masking";

/// The most elements of one list field, and the most parameters of one extension. Browsers send one extension with two
/// parameters; what bounds the field's octets is the limit on the header list.
const MAX_ELEMENTS: usize = 64;

/// The value of `Sec-WebSocket-Accept` for the value of a `Sec-WebSocket-Key`: proof that the server understood the
/// handshake, not a secret (RFC 6455 §4.2.2).
fn accept_for(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    HeaderValue::from_str(&STANDARD.encode(digest)).expect("base64 is visible ASCII")
}
