//! What `-v` tells of a handshake. Secrets are not shown: such output is shown to others.

use std::fmt::Write as _;

use http::{HeaderMap, Response, Version};
use sockeye::{Error, WebSocket};
use sockeye_proto::uri::Target;

use crate::hide;

/// Octets of a refusal's content that are shown.
const MAX_BODY: usize = 1024;

/// Where a socket leads, by what.
pub(super) fn opened(target: &Target, socket: &WebSocket) -> String {
    let mut text = format!("connected to {} over {}", hide::url(&target.to_string()), name(socket.version()));
    if let Some(protocol) = socket.protocol() {
        write!(text, ", subprotocol {}", hide::protocol(protocol)).unwrap_or_default();
    }
    text
}

/// The request and the response, a line for each field.
pub(super) fn handshake(socket: &WebSocket) -> String {
    let request = socket.request();
    let uri = hide::url(&request.uri.to_string());
    let mut text = format!("> {} {uri} {}\n", request.method, name(socket.version()));
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

/// The responses that refused a handshake, with the beginning of their content; nothing where there was none.
pub(super) fn refused(error: &Error) -> String {
    match error {
        Error::Refused(response) => answer(response),
        Error::Neither { http2, http1 } => refused(http2) + &refused(http1),
        // What a proxy said.
        Error::Connect { source, .. } => source.downcast_ref().map_or_else(String::new, refused),
        _ => String::new(),
    }
}

fn answer<B: AsRef<[u8]>>(response: &Response<B>) -> String {
    let mut text = format!("< {} {}\n", name(response.version()), response.status());
    fields(&mut text, "<", response.headers());
    let body = response.body().as_ref();
    if !body.is_empty() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(MAX_BODY)]);
        text.push_str("<\n");
        shown.lines().for_each(|line| writeln!(text, "< {line}").unwrap_or_default());
    }
    if body.len() > MAX_BODY {
        writeln!(text, "< ... {} octets in all", body.len()).unwrap_or_default();
    }
    text
}

fn fields(text: &mut String, arrow: &str, headers: &HeaderMap) {
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        writeln!(text, "{arrow} {name}: {}", hide::field(name, &value)).unwrap_or_default();
    }
}

fn name(version: Version) -> String {
    if version == Version::HTTP_2 { "HTTP/2".to_owned() } else { format!("{version:?}") }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::answer;

    #[test]
    fn a_refusal_is_shown_with_its_fields_and_the_beginning_of_its_content() {
        let response = Response::builder().status(403).header("set-cookie", "id=secret").header("x-why", "origin");
        let text = answer(&response.body(format!("no\n{}", "x".repeat(5000))).unwrap());
        assert!(
            text.starts_with("< HTTP/1.1 403 Forbidden\n< set-cookie: id=(hidden)\n< x-why: origin\n<\n< no\n< xxx"),
            "{text}"
        );
        assert!(text.ends_with("x\n< ... 5003 octets in all\n") && text.len() < 1200, "{text}");
    }
}
