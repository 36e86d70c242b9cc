//! A WebSocket that has a connection of HTTP/1.1 to itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::Shared;
use crate::frame::{Answer, WsHead};
use crate::mask::unmask_back;
use crate::output::Output;
use crate::stream::{Kind, Stream};

/// RFC 6455 §1.3
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one stream of such a connection, from its handshake on.
#[derive(Default)]
pub struct Http1(Option<Stream>);

impl Http1 {
    /// Answers what is at the front of the buffer; where what is not whole begins.
    pub fn answer(&mut self, end: usize, shared: &mut Shared) -> usize {
        let Some(stream) = &mut self.0 else {
            return self.open(end, &mut shared.output);
        };
        let at = if stream.is_within() { 0 } else { echo_run(end, &mut shared.output) };
        if at < end {
            // A control frame, a long message, a piece of one: its octets are kept there.
            stream.digest(&shared.output.buffer[at..end], &mut shared.shouts);
            let waiting = stream.aside.as_mut().map(|aside| std::mem::take(&mut aside.waiting)).unwrap_or_default();
            shared.output.extend(&[&waiting]);
            stream.settle();
        }
        end
    }

    /// The handshake, once it is whole.
    fn open(&mut self, end: usize, output: &mut Output) -> usize {
        let request = &output.buffer[..end];
        let Some(head) = request.windows(4).position(|octets| octets == b"\r\n\r\n") else { return 0 };
        let text = String::from_utf8_lossy(&request[..head]);
        let key = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        });
        let accept = STANDARD.encode(Sha1::new().chain_update(key.unwrap_or_default()).chain_update(GUID).finalize());
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ";
        output.extend(&[answer.as_bytes(), accept.as_bytes(), b"\r\n\r\n"]);
        self.0 = Some(Stream::new(Kind::Echo, i32::MAX));
        head + 4
    }
}

/// Echoes messages that are whole and have less than 126 octets, up to where there is anything else.
fn echo_run(end: usize, output: &mut Output) -> usize {
    let mut at = 0;
    while let Some(ws) = WsHead::read(&output.buffer[at..end]) {
        let next = at + ws.size + ws.payload;
        let Answer::Short(answer) = ws.answer(ws.first) else { break };
        if ws.first & 0x08 != 0 || next > end {
            break;
        }
        let place = output.place(at);
        let payload = place + answer.len();
        output.buffer[place..payload].copy_from_slice(&answer);
        unmask_back(&mut output.buffer, at + ws.size, payload, ws.payload, ws.key);
        output.push(place..payload + ws.payload);
        at = next;
    }
    at
}
