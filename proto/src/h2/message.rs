//! Header blocks: HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10), and the messages that they begin or end (§8.1).

use super::frame::{self, HEAD_LENGTH, Head, flag, read_u31};
use super::head::{HeaderList, Part};
use super::recv::{checked_stream_id, strip_padding};
use super::state::{Ending, Exchange, Place, Side, State};
use super::timer::deadline;
use super::{Connection, Event, Reason, Role, Shutdown, StreamId, Violation};
use crate::hpack::{self, Field};

/// Octets of the priority fields in HEADERS (RFC 9113 §6.2).
const PRIORITY_LENGTH: usize = 5;
/// Glitches that one accepted header block makes up for.
const GLITCHES_PER_MESSAGE: u64 = 2;

/// What HEADERS says beside its fragment of the block.
#[derive(Clone, Copy)]
struct Opening {
    stream_id: u32,
    end_stream: bool,
    /// RFC 7540 §5.3.1
    depends_on_itself: bool,
}

/// A header block that waits for CONTINUATION frames.
pub(super) struct PartialBlock {
    opening: Opening,
    fragments: Vec<u8>,
    continuations: u32,
}

impl Connection {
    /// HEADERS (RFC 9113 §6.2). A block that is whole is decoded where it lies.
    pub(super) fn handle_headers(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        let stream_id = checked_stream_id(head)?;
        let mut fragment = strip_padding(head, payload)?;
        let mut depends_on_itself = false;
        if head.has(flag::PRIORITY) {
            let (priority, rest) = fragment.split_first_chunk::<PRIORITY_LENGTH>().ok_or(Violation::FrameLength)?;
            let [dependency @ .., _weight] = priority;
            depends_on_itself = read_u31(dependency) == stream_id;
            fragment = rest;
        }
        let opening = Opening { stream_id, end_stream: head.has(flag::END_STREAM), depends_on_itself };
        if head.has(flag::END_HEADERS) {
            return self.handle_header_block(opening, fragment);
        }
        self.partial_block = Some(Box::new(PartialBlock { opening, fragments: fragment.to_vec(), continuations: 0 }));
        self.timers.header = deadline(self.now, self.config.header_timeout);
        Ok(())
    }

    /// CONTINUATION (RFC 9113 §6.10).
    pub(super) fn handle_continuation(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        let block = self.partial_block.as_mut().ok_or(Violation::ContinuationUnexpected)?;
        if block.opening.stream_id != head.stream_id {
            return Err(Violation::ContinuationMissing);
        }
        block.continuations += 1;
        if block.continuations > self.config.max_continuations {
            return Err(Violation::TooManyContinuations);
        }
        block.fragments.extend_from_slice(payload);
        // No honest encoder makes a list longer than it was.
        if block.fragments.len() > super::head::hard_limits(&self.config).max_list_size {
            return Err(Violation::HeaderListFarTooLarge);
        }
        if !head.has(flag::END_HEADERS) {
            return Ok(());
        }
        self.timers.header = None;
        match self.partial_block.take() {
            Some(block) => self.handle_header_block(block.opening, &block.fragments),
            None => Ok(()),
        }
    }

    /// A whole header block. Whatever becomes of it, it is decoded: the table has to stay in step (RFC 9113 §4.3).
    fn handle_header_block(&mut self, opening: Opening, block: &[u8]) -> Result<(), Violation> {
        let stream_id = opening.stream_id;
        match self.streams.place(stream_id) {
            Some(Place::Held(slot)) => self.handle_later_block(StreamId::new(stream_id, slot), opening, block),
            Some(Place::Closed(ending)) => {
                self.discard(block)?;
                self.handle_late_frame(stream_id, ending)
            }
            // RFC 9113 §5.1.1; without push, a server opens no streams.
            None if self.role == Role::Server && self.is_ours(stream_id) => Err(Violation::StreamIdParity),
            None if self.role == Role::Server && !self.is_idle(stream_id) => Err(Violation::StreamIdDecreased),
            None if self.role == Role::Server => self.handle_new_stream(opening, block),
            None => {
                self.discard(block)?;
                self.handle_stray_frame(stream_id)
            }
        }
    }

    /// Server: a block that opens a stream.
    fn handle_new_stream(&mut self, opening: Opening, block: &[u8]) -> Result<(), Violation> {
        let stream_id = opening.stream_id;
        self.last_peer_id = stream_id;
        // RFC 9113 §6.8: after the final GOAWAY it is as if the stream had not come.
        if self.shutdown == Shutdown::Final {
            self.streams.remember(stream_id, Ending::ResetByUs);
            return self.discard(block);
        }
        self.last_accepted_id = stream_id;
        // RFC 9113 §5.1.2
        if self.has_all_streams() && !self.make_place() {
            self.discard(block)?;
            return self.refuse(stream_id);
        }
        if self.holds_too_many() {
            self.discard(block)?;
            self.decline(stream_id);
            return Ok(());
        }
        let list = self.decode(Part::Request, block)?;
        if opening.depends_on_itself {
            return self.fault(stream_id, Violation::SelfDependency);
        }
        match list.into_request(self.config.enable_connect_protocol, opening.end_stream) {
            Ok((request, expected)) => {
                self.accept_block(block);
                let recv = if opening.end_stream { Side::Ended } else { Side::Body };
                let state = State::Active { recv, send: Side::Head };
                let id = self.insert(stream_id, state, Exchange::new(request.method()), expected);
                let request = Box::new(request);
                self.events.push_back(Event::Request { id, request, end_stream: opening.end_stream });
                Ok(())
            }
            Err(Violation::HeaderListTooLarge) => self.respond_header_list_too_large(opening),
            Err(violation) => self.fault(stream_id, violation),
        }
    }

    /// Server: whether a new stream has to be refused, unless the application lets go of one.
    pub(super) fn is_full(&self) -> bool {
        self.role == Role::Server && (self.has_all_streams() || self.holds_too_many())
    }

    /// Whether the peer has all the streams that it may have (RFC 9113 §5.1.2).
    fn has_all_streams(&self) -> bool {
        self.streams.active() >= self.config.max_concurrent_streams as usize
    }

    /// Whether the application has not released more closed streams than it may.
    fn holds_too_many(&self) -> bool {
        self.streams.len() - self.streams.active() >= self.config.max_closed_streams()
    }

    /// Resets the stream that the application was done with first, if there is one: its peer has had all that we say, and
    /// there are peers that never end their half. NO_ERROR says so (RFC 9113 §8.1).
    fn make_place(&mut self) -> bool {
        let Some(id) = self.streams.pop_dismissed() else { return false };
        self.reset(id, Reason::NO_ERROR);
        self.events.push_back(Event::Reset { id, reason: Reason::NO_ERROR, remote: false });
        true
    }

    /// Past the limit of streams. A peer that cannot know the limit yet is not blamed.
    fn refuse(&mut self, stream_id: u32) -> Result<(), Violation> {
        self.counters.streams_refused += 1;
        if self.settings_acknowledged {
            return self.fault(stream_id, Violation::TooManyStreams);
        }
        self.put_refusal(stream_id);
        Ok(())
    }

    /// A stream that there is no room for by no fault of the peer, whose own streams are within the limit.
    fn decline(&mut self, stream_id: u32) {
        self.counters.streams_refused += 1;
        self.put_refusal(stream_id);
    }

    fn put_refusal(&mut self, stream_id: u32) {
        self.streams.remember(stream_id, Ending::ResetByUs);
        frame::put_rst_stream(&mut self.buffers.output, stream_id, Violation::TooManyStreams.reason());
    }

    /// 431 Request Header Fields Too Large (RFC 6585 §5), and no interest in what follows.
    fn respond_header_list_too_large(&mut self, opening: Opening) -> Result<(), Violation> {
        self.counters.header_lists_refused += 1;
        let date = self.config.date.map(|now| now());
        let date = date.as_ref().map(|date| Field::new(b"date", date));
        let fields = [Field::new(b":status", b"431"), Field::new(b"content-length", b"0")].into_iter().chain(date);
        frame::put_headers(&mut self.buffers.output, opening.stream_id, true, |output| {
            self.encoder.encode(fields, output)
        });
        if opening.end_stream {
            self.streams.remember(opening.stream_id, Ending::Finished);
        } else {
            frame::put_rst_stream(&mut self.buffers.output, opening.stream_id, Reason::NO_ERROR);
            self.streams.remember(opening.stream_id, Ending::ResetByUs);
        }
        self.glitch()
    }

    /// A block on a stream that is held: a response, or trailers.
    fn handle_later_block(&mut self, id: StreamId, opening: Opening, block: &[u8]) -> Result<(), Violation> {
        let entry = self.streams.slot(id.slot);
        let part = match entry.state {
            State::Active { recv: Side::Head, .. } => Part::Response,
            State::Active { recv: Side::Body, .. } => Part::Trailers,
            State::Active { recv: Side::Ended, .. } => {
                self.discard(block)?;
                return self.fault(id.value(), Violation::StreamHalfClosed);
            }
            State::Closed(ending) => {
                self.discard(block)?;
                return self.handle_late_frame(id.value(), ending);
            }
        };
        let exchange = entry.exchange;
        let list = self.decode(part, block)?;
        let handled = match part {
            _ if opening.depends_on_itself => Err(Violation::SelfDependency),
            Part::Trailers => self.handle_trailers(id, list, opening.end_stream),
            _ => self.handle_response(id, list, exchange, opening.end_stream),
        };
        match handled {
            Ok(()) => {
                self.accept_block(block);
                Ok(())
            }
            Err(violation) => {
                self.counters.header_lists_refused += u64::from(violation == Violation::HeaderListTooLarge);
                self.fault(id.value(), violation)
            }
        }
    }

    fn handle_trailers(&mut self, id: StreamId, list: HeaderList, end_stream: bool) -> Result<(), Violation> {
        // RFC 9113 §8.5: a tunnel ends by END_STREAM on DATA alone.
        if self.streams.slot(id.slot).exchange == Exchange::Tunnel {
            return Err(Violation::HeadersInTunnel);
        }
        // RFC 9113 §8.1
        if !end_stream {
            return Err(Violation::TrailersNotLast);
        }
        let trailers = Box::new(list.into_trailers()?);
        if !self.streams.slot_mut(id.slot).expected.take(0, true) {
            return Err(Violation::ContentLengthMismatch);
        }
        self.streams.set_recv(id.slot, Side::Ended);
        self.events.push_back(Event::Finished { id, trailers: Some(trailers) });
        Ok(())
    }

    fn handle_response(
        &mut self,
        id: StreamId,
        list: HeaderList,
        exchange: Exchange,
        end_stream: bool,
    ) -> Result<(), Violation> {
        let (response, expected) = list.into_response(exchange, end_stream)?;
        let entry = self.streams.slot_mut(id.slot);
        if !response.status().is_informational() {
            entry.expected = expected;
            entry.exchange = exchange.after_response(response.status());
            self.streams.set_recv(id.slot, if end_stream { Side::Ended } else { Side::Body });
        }
        self.events.push_back(Event::Response { id, response: Box::new(response), end_stream });
        Ok(())
    }

    fn decode(&mut self, part: Part, block: &[u8]) -> Result<HeaderList, Violation> {
        let mut list = HeaderList::new(part, &self.config);
        self.decoder.decode(block, |field| list.visit(field)).map_err(compression_violation)?;
        Ok(list)
    }

    fn discard(&mut self, block: &[u8]) -> Result<(), Violation> {
        self.decoder.decode(block, |_| {}).map_err(compression_violation)
    }

    fn accept_block(&mut self, block: &[u8]) {
        self.overhead.add_useful(HEAD_LENGTH + block.len());
        self.glitches.put_back(GLITCHES_PER_MESSAGE);
    }
}

/// RFC 9113 §4.3
fn compression_violation(error: hpack::Error) -> Violation {
    match error {
        hpack::Error::ListTooLarge | hpack::Error::TooManyFields => Violation::HeaderListFarTooLarge,
        _ => Violation::HeaderCompression,
    }
}
