//! The application's side of the machine: the verbs of its one stream.

use std::mem;

use bytes::{Buf, BytesMut};
use http::header::DATE;
use http::{HeaderMap, Response, StatusCode};

use super::connection::{Client, Connection, Half, State, Writer, batch};
use super::response::{Content, Framing, put_chunk, put_head, put_last_chunk};
use crate::h2::SendError;
use crate::loan::HEAD;
use crate::unread::Unread;
use crate::{Loan, Machine, MachineStream, Reason};

/// Octets that one `write` or one loan takes at most, as in HTTP/2: a longer one would only keep others waiting.
const QUANTUM: usize = 16 << 10;

/// The verbs of the one stream, from [`Connection::stream`](Machine::stream).
#[derive(Debug)]
pub struct Stream<'a>(pub(super) &'a mut Connection);

impl MachineStream for Stream<'_> {
    fn take(&mut self) -> BytesMut {
        let Connection { unread, buffers, window, .. } = &mut *self.0;
        let octets = unread.take(batch(buffers), BytesMut::new);
        *window -= octets.len() as u32;
        octets
    }

    fn credit(&mut self, octets: usize) {
        self.0.window += octets as u32;
    }

    fn unread(&self) -> usize {
        self.0.unread.len()
    }

    /// What is left of [`Config::initial_window_size`](crate::h2::Config::initial_window_size).
    fn recv_window(&self) -> i32 {
        i32::try_from(self.0.window()).unwrap_or(i32::MAX)
    }

    fn has_room(&self) -> bool {
        self.0.room() > 0
    }

    /// There is no room to send in anything but a tunnel.
    #[inline]
    fn lend(&mut self, loan: &mut Loan) {
        let connection = &mut *self.0;
        debug_assert!(
            loan.buffers.batch.is_empty() && loan.buffers.output.is_empty(),
            "what was lent before is settled"
        );
        debug_assert!(loan.kept.is_empty(), "what was lent before is settled");
        loan.head = 0;
        loan.start = connection.queued();
        loan.room = match connection.state {
            State::Tunnel { send: Half::Open, .. } => connection.room(),
            _ => 0,
        };
        if connection.unread.is_in_batch() {
            loan.unread = connection.unread.in_batch();
        } else {
            loan.unread = 0..connection.unread.len();
            loan.kept = connection.unread.take_kept();
        }
        mem::swap(&mut loan.buffers, connection.buffers.get_or_insert_default());
    }

    #[inline]
    fn settle(&mut self, loan: &mut Loan) {
        let connection = &mut *self.0;
        mem::swap(&mut loan.buffers, connection.buffers.get_or_insert_default());
        debug_assert!(connection.queued().saturating_sub(loan.start) <= loan.room, "what finds no room is handed back");
        loan.head = HEAD.len();
        if connection.unread.is_in_batch() {
            connection.unread.place(loan.unread.start as u32, loan.unread.end as u32);
        } else if !loan.kept.is_empty() {
            let mut kept = mem::take(&mut loan.kept);
            kept.advance(loan.unread.start);
            if !kept.is_empty() {
                connection.unread.put_back(kept);
            }
        }
        connection.check();
    }

    /// In content that is framed by its length, what is more than that is dropped.
    fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        self.0.write(data, end_stream)
    }

    /// A 101 makes a tunnel. Another informational response is followed by one more. Any other response ends the exchange, for
    /// which [`Event::Finished`](crate::h2::Event::Finished) follows, and the connection, unless that
    /// [is left](crate::Machine::is_left): its content is framed by its
    /// `content-length`, or else in chunks (RFC 9112 §6, §7.1).
    ///
    /// Fields that frame a message or speak of a connection are ours to say, and left out, as are those that `Connection`
    /// names. Where there can be no content (204, 205, 304), or none is announced, the response ends our half, whatever
    /// `end_stream` says.
    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        self.0.respond(response, end_stream)
    }

    /// Trailers are left out of content that is framed by its length, and of each the fields that are left out of a response.
    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
        let connection = &mut *self.0;
        match connection.state {
            State::Answering(Framing::Chunked) => put_last_chunk(&mut connection.buffers().output, trailers),
            State::Answering(Framing::Length(_)) => {}
            State::Asked(_) | State::Tunnel { send: Half::Open, .. } => return Err(SendError::OutOfOrder),
            _ => return Err(SendError::Closed),
        }
        connection.finish_send();
        Ok(())
    }

    /// Closes the connection at once. A client that waits for its response is told 500 (INTERNAL_ERROR) or 503
    /// (REFUSED_STREAM); else without a word. A tunnel whose half of ours is open [is aborted](Machine::is_aborted), but for
    /// NO_ERROR.
    fn reset(&mut self, reason: Reason) {
        let status = match reason {
            _ if self.0.is_tunnel() => return self.0.break_off(reason),
            Reason::INTERNAL_ERROR => StatusCode::INTERNAL_SERVER_ERROR,
            Reason::REFUSED_STREAM => StatusCode::SERVICE_UNAVAILABLE,
            _ => return self.0.abort(None),
        };
        let mut response = Response::new(());
        *response.status_mut() = status;
        match self.0.respond(&response, true) {
            Ok(()) => self.0.end(None),
            Err(_) => self.0.abort(None),
        }
    }

    /// Nothing: no other stream needs the place.
    fn dismiss(&mut self) {}

    /// The connection is closed with its stream. What is left to transmit is sent if the stream was closed, and dropped
    /// otherwise.
    fn release(self) {
        self.0.release();
    }

    fn is_closed(&self) -> bool {
        self.0.is_stream_closed()
    }

    fn is_send_closed(&self) -> bool {
        self.0.is_send_closed()
    }
}

impl Connection {
    /// Octets that may be sent now.
    #[inline]
    fn room(&self) -> usize {
        self.max_send_buffer.saturating_sub(self.queued()).min(QUANTUM)
    }

    fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        let taken = data.len().min(self.room());
        let is_all = taken == data.len();
        let output = &mut self.buffers.get_or_insert_default().output;
        match &mut self.state {
            State::Tunnel { send: Half::Open, .. } => output.extend_from_slice(&data[..taken]),
            State::Answering(Framing::Chunked) => {
                put_chunk(output, &data[..taken]);
                if end_stream && is_all {
                    put_last_chunk(output, &HeaderMap::new());
                }
            }
            State::Answering(Framing::Length(left)) => {
                // RFC 9112 §6.3: the client would take for another response what is more.
                let announced = taken.min(usize::try_from(*left).unwrap_or(usize::MAX));
                output.extend_from_slice(&data[..announced]);
                *left -= announced as u64;
            }
            _ => return 0,
        }
        self.writer = if is_all { Writer::Idle } else { Writer::Waiting };
        if end_stream && is_all {
            self.finish_send();
        }
        self.check();
        taken
    }

    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        let client = match self.state {
            State::Asked(client) => client,
            _ if self.is_send_closed() => return Err(SendError::Closed),
            _ => return Err(SendError::OutOfOrder),
        };
        let status = response.status();
        let is_tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
        let is_interim = status.is_informational() && !is_tunnel;
        // RFC 9110 §15.2
        if is_interim && end_stream {
            return Err(SendError::OutOfOrder);
        }
        let content = Content::new(response, end_stream);
        // RFC 9110 §6.6.1
        let lacks_date = !is_interim && !response.headers().contains_key(DATE);
        let date = self.date.filter(|_| lacks_date).map(|now| now());
        put_head(&mut self.buffers.get_or_insert_default().output, response, content, date, self.persists);
        if is_tunnel {
            self.begin_tunnel(client);
        } else if !is_interim {
            self.begin_content(content);
        }
        if is_tunnel && end_stream {
            self.finish_send();
        }
        self.check();
        Ok(())
    }

    fn begin_tunnel(&mut self, client: Client) {
        let recv = if matches!(client, Client::Open(_)) { Half::Open } else { Half::Ended };
        self.state = State::Tunnel { recv, send: Half::Open };
        if !self.unread.is_empty() {
            self.tell_readable();
        }
        if recv == Half::Ended {
            self.finish_recv();
        }
    }

    /// A refused client has nothing more to say, unless it goes on with other requests: this one has no content.
    fn begin_content(&mut self, content: Content) {
        self.state = content.framing().map_or(State::Ended, State::Answering);
        if !self.persists {
            self.unread = Unread::default();
        }
        self.finish_recv();
    }
}
