//! What goes out: encoded at once into the one output, or not taken. No stream has a queue.

mod fields;
mod turns;

use std::mem;

use bytes::BytesMut;
use http::{HeaderMap, Request, Response, StatusCode};

use super::config::{Config, DEFAULT_WINDOW, MAX_WINDOW};
use super::flow::ConnectionWindow;
use super::frame::{self, HEAD_LENGTH, QUANTUM};
use super::streams::{Entry, Exchange, Side};
use super::{Reason, Role, StreamId, Violation, settings};
use crate::hpack::{Encoder, Field};
use crate::loan::{Buffers, Loan};
use crate::uri::request_path;

pub(super) use self::fields::{is_connection_specific, may_have_content};
pub(super) use self::turns::{QUEUE_SLACK, Turns};

/// Octets beyond [`Config::max_send_buffer`] that answers and control frames may take before reading stops.
const CONTROL_ROOM: usize = 64 << 10;

/// The frames to send, and what bounds them.
pub(super) struct Output {
    /// The output, and beside it the batch of what came last: they are lent together.
    buffers: Box<Buffers>,
    encoder: Encoder,
    /// What we may still send on the connection.
    window: u32,
    /// What the peer may still send on the connection.
    recv_window: ConnectionWindow,
    /// The answer of this kind waits in the output; a second one must wait for it to be sent.
    settings_ack_waits: bool,
    ping_ack_waits: bool,
    max_send_buffer: usize,
}

impl Output {
    /// Our preface (RFC 9113 §3.4) stands in it.
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let mut output = BytesMut::with_capacity(128);
        if role == Role::Client {
            output.extend_from_slice(frame::PREFACE);
        }
        frame::put_settings(&mut output, &settings::ours(role, config));
        let (recv_window, increment) = ConnectionWindow::new(config);
        if increment > 0 {
            frame::put_window_update(&mut output, 0, increment);
        }
        Self {
            buffers: Box::new(Buffers { batch: BytesMut::new(), output }),
            encoder: Encoder::new(config.max_hpack_len_encoder as usize),
            window: DEFAULT_WINDOW,
            recv_window,
            settings_ack_waits: false,
            ping_ack_waits: false,
            max_send_buffer: config.max_send_buffer.max(1),
        }
    }

    /// Octets that wait to be sent.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.buffers.output.len()
    }

    /// Whether DATA may be added.
    #[inline]
    fn has_room(&self) -> bool {
        self.len() < self.max_send_buffer
    }

    /// Whether so much waits that reading has to stop.
    #[inline]
    pub(super) fn is_overfull(&self) -> bool {
        self.len() > self.max_send_buffer.saturating_add(CONTROL_ROOM)
    }

    #[inline]
    pub(super) fn settings_ack_waits(&self) -> bool {
        self.settings_ack_waits
    }

    #[inline]
    pub(super) fn ping_ack_waits(&self) -> bool {
        self.ping_ack_waits
    }

    /// Hands all frames over.
    pub(super) fn transmit(&mut self, output: &mut BytesMut) {
        if output.is_empty() {
            mem::swap(&mut self.buffers.output, output);
        } else {
            output.extend_from_slice(&self.buffers.output);
            self.buffers.output.clear();
        }
        self.settings_ack_waits = false;
        self.ping_ack_waits = false;
    }

    /// The octets handled last, while there is DATA among them to be read.
    #[inline]
    pub(super) fn batch(&mut self) -> &mut BytesMut {
        &mut self.buffers.batch
    }

    /// Frees the room of what is empty.
    pub(super) fn shrink(&mut self) {
        if self.buffers.output.is_empty() {
            self.buffers.output = BytesMut::new();
        }
    }

    /// `unread` are the octets that streams hold, where the connection is not closed: then what was read is credited.
    pub(super) fn check(&self, unread: Option<u64>) {
        assert!(self.window <= MAX_WINDOW, "the connection's window is above 2^31-1");
        if let Some(unread) = unread {
            self.recv_window.check(unread);
        }
        let has_answer = self.settings_ack_waits || self.ping_ack_waits;
        assert!(!has_answer || !self.buffers.output.is_empty(), "an answer waits in an empty output");
    }
}

/// DATA.
impl Output {
    /// Octets that a stream may send now, in one DATA frame.
    #[inline]
    pub(super) fn room(&self, entry: &Entry, initial_window: u32) -> usize {
        if entry.state().send() != Side::Body || !self.has_room() {
            return 0;
        }
        // RFC 9113 §6.9.1: both windows have to allow it.
        let window = entry.send_window().available(initial_window);
        (window.clamp(0, self.window.into()) as usize).min(QUANTUM)
    }

    /// Whether any stream may send.
    #[inline]
    pub(super) fn may_send(&self) -> bool {
        self.has_room() && self.window > 0
    }

    /// Puts a DATA frame. Its stream has [`room`](Self::room) for it.
    pub(super) fn put_data(&mut self, id: StreamId, data: &[u8], end_stream: bool) {
        frame::put_data(&mut self.buffers.output, id, data, end_stream);
        self.consume(data.len());
    }

    #[inline]
    fn consume(&mut self, octets: usize) {
        debug_assert!(octets <= self.window as usize, "what is sent has room in the connection's window");
        self.window -= octets as u32;
    }

    /// Puts the buffers into a loan.
    #[inline]
    pub(super) fn lend(&mut self, loan: &mut Loan, room: usize) {
        let Buffers { batch, output } = &*loan.buffers;
        debug_assert!(batch.is_empty() && output.is_empty() && loan.kept.is_empty(), "what was lent before is settled");
        loan.room = room;
        loan.start = self.buffers.output.len();
        mem::swap(&mut loan.buffers, &mut self.buffers);
    }

    /// Takes the buffers back. Returns the octets of DATA that were put into them.
    #[inline]
    pub(super) fn settle(&mut self, id: StreamId, loan: &mut Loan) -> usize {
        mem::swap(&mut loan.buffers, &mut self.buffers);
        let payload = loan.start + HEAD_LENGTH;
        let sent = self.buffers.output.len().saturating_sub(payload);
        debug_assert!(sent <= loan.room, "a loan takes no more than it has room for");
        if sent > 0 {
            frame::set_data_head(&mut self.buffers.output[loan.start..payload], id, sent);
            self.consume(sent);
        } else {
            self.buffers.output.truncate(loan.start);
        }
        sent
    }
}

/// Windows (RFC 9113 §6.9).
impl Output {
    /// Takes the connection's WINDOW_UPDATE.
    pub(super) fn update_window(&mut self, increment: u32) -> Result<(), Violation> {
        if increment == 0 {
            return Err(Violation::ConnectionWindowUpdateZero);
        }
        let window = self.window.checked_add(increment).filter(|&window| window <= MAX_WINDOW);
        self.window = window.ok_or(Violation::ConnectionWindowOverflow)?;
        Ok(())
    }

    /// Books the octets of a DATA frame, its padding included; false where the connection's window does not allow them.
    #[inline]
    pub(super) fn receive(&mut self, octets: usize) -> bool {
        self.recv_window.receive(octets)
    }

    /// Gives the connection's window back what was received and is not held any more.
    #[inline]
    pub(super) fn give_back(&mut self, octets: usize) {
        if let Some(increment) = self.recv_window.give_back(octets) {
            frame::put_window_update(&mut self.buffers.output, 0, increment);
        }
    }

    /// Gives credit to the peer of a stream.
    #[inline]
    pub(super) fn put_window_update(&mut self, stream_id: u32, increment: u32) {
        frame::put_window_update(&mut self.buffers.output, stream_id, increment);
    }
}

/// Control frames.
impl Output {
    /// Acknowledges the peer's SETTINGS.
    pub(super) fn put_settings_ack(&mut self) {
        debug_assert!(!self.settings_ack_waits, "one answer waits at a time");
        frame::put_settings_ack(&mut self.buffers.output);
        self.settings_ack_waits = true;
    }

    pub(super) fn put_ping(&mut self, payload: [u8; 8]) {
        frame::put_ping(&mut self.buffers.output, payload, false);
    }

    /// Answers the peer's PING.
    pub(super) fn put_ping_ack(&mut self, payload: [u8; 8]) {
        debug_assert!(!self.ping_ack_waits, "one answer waits at a time");
        frame::put_ping(&mut self.buffers.output, payload, true);
        self.ping_ack_waits = true;
    }

    pub(super) fn put_rst_stream(&mut self, stream_id: u32, reason: Reason) {
        frame::put_rst_stream(&mut self.buffers.output, stream_id, reason);
    }

    pub(super) fn put_goaway(&mut self, last_stream_id: u32, reason: Reason, debug: &str) {
        frame::put_goaway(&mut self.buffers.output, last_stream_id, reason, debug);
    }
}

/// Header blocks.
impl Output {
    /// The peer's SETTINGS_HEADER_TABLE_SIZE (RFC 9113 §6.5.2).
    pub(super) fn set_max_table_size(&mut self, octets: u32) {
        self.encoder.set_max_table_size(octets as usize);
    }

    /// The header of a request, unless it cannot be sent over HTTP/2: then nothing was put.
    #[must_use]
    pub(super) fn put_request(&mut self, stream_id: u32, request: &Request<()>, end_stream: bool) -> bool {
        let path = request_path(request.uri());
        let fields = fields::request_fields(request, &path);
        fields.map(|fields| self.put_headers(stream_id, end_stream, fields)).is_some()
    }

    /// The header of a response; `date` is one that its own headers lack.
    pub(super) fn put_response(
        &mut self,
        id: StreamId,
        response: &Response<()>,
        exchange: Exchange,
        end_stream: bool,
        date: Option<&[u8; 29]>,
    ) {
        let status = response.status();
        let fields = fields::response_fields(&status, response.headers(), exchange, date);
        self.put_headers(id.value(), end_stream, fields);
    }

    /// The header of a response that has no content, to a stream that is not held.
    pub(super) fn put_refusal(&mut self, stream_id: u32, status: StatusCode, date: Option<&[u8; 29]>) {
        let date = date.map(|date| Field::new(b"date", date));
        let status = Field::new(b":status", status.as_str().as_bytes());
        self.put_headers(stream_id, true, [status, Field::new(b"content-length", b"0")].into_iter().chain(date));
    }

    pub(super) fn put_trailers(&mut self, id: StreamId, trailers: &HeaderMap) {
        self.put_headers(id.value(), true, fields::trailer_fields(trailers));
    }

    fn put_headers<'a>(&mut self, stream_id: u32, end_stream: bool, fields: impl Iterator<Item = Field<'a>>) {
        let encoder = &mut self.encoder;
        frame::put_headers(&mut self.buffers.output, stream_id, end_stream, |output| encoder.encode(fields, output));
    }
}
