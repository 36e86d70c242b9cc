//! What `-v` tells of a handshake.

use std::fmt::Write as _;

use http::{HeaderMap, Version};
use sockeye::WebSocket;

use crate::secrets;
use sockeye_proto::uri::Target;

/// Where a socket leads, by what.
pub(super) fn opened(target: &Target, socket: &WebSocket) -> String {
    let mut text = format!("connected to {target} over {}", name(socket.version()));
    if let Some(protocol) = socket.protocol() {
        write!(text, ", subprotocol {protocol}").unwrap_or_default();
    }
    text
}

/// The request and the response, a line for each field.
pub(super) fn handshake(socket: &WebSocket) -> String {
    let request = socket.request();
    let mut text = format!("> {} {} {}\n", request.method, request.uri, name(socket.version()));
    // RFC 8441 §4
    if socket.version() == Version::HTTP_2 {
        text.push_str("> :protocol: websocket\n");
    }
    fields(&mut text, ">", &request.headers);
    if let Some(response) = socket.response() {
        writeln!(text, "< {} {}", name(response.version), response.status).unwrap_or_default();
        fields(&mut text, "<", &response.headers);
    }
    text
}

fn fields(text: &mut String, arrow: &str, headers: &HeaderMap) {
    for (name, value) in headers {
        writeln!(text, "{arrow} {name}: {}", secrets::shown(name, value)).unwrap_or_default();
    }
}

fn name(version: Version) -> String {
    if version == Version::HTTP_2 { "HTTP/2".to_owned() } else { format!("{version:?}") }
}
