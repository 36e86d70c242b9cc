//! A request's turn on a connection that hyper reads: while its answer is awaited, interim responses may go before it.

use bytes::{BufMut as _, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Response};

use super::wire::Line;
use crate::engine::content::named_by_connection;

/// Octets of interim responses that wait for the connection's next turn: more than sixteen of any that a server sends.
const MAX_WAITING: usize = 64 * 1024;

/// The turn of one request. Clones are alike; once its answer is there, they do nothing.
#[derive(Clone)]
pub(crate) struct Turn {
    line: Line,
    number: u64,
}

impl Turn {
    /// Begins with a request, and ends whichever there was before.
    pub(super) fn begin(line: Line) -> Self {
        let number = line.lock().interims.begin();
        Self { line, number }
    }

    /// Sends an interim response (RFC 9110 §15.2); whether it goes.
    pub(crate) fn send(&self, head: &Response<()>) -> bool {
        let task = {
            let mut state = self.line.lock();
            let interims = &mut state.interims;
            if interims.turn != Some(self.number) || interims.waiting.len() > MAX_WAITING {
                return false;
            }
            put(&mut interims.waiting, head);
            interims.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
        true
    }

    /// The answer is there: waits until what was sent before it is out.
    pub(super) async fn end(&self) {
        self.line.lock().interims.turn = None;
        self.line.wait(|state| state.interims.is_empty()).await;
    }
}

/// Appends the head of an interim response (RFC 9112 §4), without what speaks of the connection or of content.
fn put(output: &mut BytesMut, head: &Response<()>) {
    let named = named_by_connection(head.headers());
    let status = head.status();
    output
        .put_slice(format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("")).as_bytes());
    for (name, value) in head.headers() {
        if !is_of_a_connection(name) && !named.contains(name) {
            output.put_slice(name.as_str().as_bytes());
            output.put_slice(b": ");
            output.put_slice(value.as_bytes().trim_ascii());
            output.put_slice(b"\r\n");
        }
    }
    output.put_slice(b"\r\n");
}

/// RFC 9110 §7.6.1, and §8.6: an interim response has no content whose length it could say.
fn is_of_a_connection(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}
