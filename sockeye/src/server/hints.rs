//! What the server says, once in a process, of services that cannot open WebSockets over HTTP/2 as they are written: over HTTP/1.1 they
//! can, so that only browsers would find out.

use std::sync::Once;

use http::StatusCode;

/// Octets of the two texts with which the extractor of axum 0.8 answers where it does not find what the `hyper` crate puts into a
/// request: its `:protocol` (with 400), and its upgrade (with 426).
const WITHOUT_PROTOCOL: u64 = 53;
const WITHOUT_UPGRADE: u64 = 73;

/// Looks at what a service answered to an extended CONNECT (RFC 8441 §4).
pub(super) fn look_at_refusal(status: StatusCode, content_length: Option<u64>) {
    match (status, content_length) {
        (StatusCode::METHOD_NOT_ALLOWED, _) => by_method(),
        (StatusCode::BAD_REQUEST, Some(WITHOUT_PROTOCOL)) | (StatusCode::UPGRADE_REQUIRED, Some(WITHOUT_UPGRADE)) => {
            by_extractor();
        }
        _ => {}
    }
}

fn by_method() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "a WebSocket over HTTP/2 was refused with 405: its method is CONNECT, and the service takes another. \
             In axum, route it by `any` instead of `get`. This is said once"
        );
    });
}

fn by_extractor() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "a WebSocket over HTTP/2 was refused as axum's own `WebSocketUpgrade` refuses those of any server but hyper's. \
             Extract `sockeye::axum::WebSocketUpgrade` instead (feature `axum`). This is said once"
        );
    });
}
