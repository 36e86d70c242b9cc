//! Whole header blocks, and the messages that they begin or end (RFC 9113 §8.1).

use http::StatusCode;

use super::blocks::{Block, Opening};
use super::data::{handle_late, handle_stray};
use super::header_list::{HeaderList, Part};
use super::{Effect, Fault, Handled};
use crate::h2::events::Events;
use crate::h2::output::Output;
use crate::h2::streams::{Ending, Exchange, Place, Side, State, Streams};
use crate::h2::{Config, Counters, Event, Reason, StreamId, Violation};
use crate::hpack::{self, Decoder};

/// The parts that a whole header block may touch.
pub(in crate::h2) struct Messages<'a> {
    pub(in crate::h2) config: &'a Config,
    pub(in crate::h2) decoder: &'a mut Decoder,
    pub(in crate::h2) streams: &'a mut Streams,
    pub(in crate::h2) output: &'a mut Output,
    pub(in crate::h2) events: &'a mut Events,
    pub(in crate::h2) counters: &'a mut Counters,
    /// Whether the peer knows how many streams it may have.
    pub(in crate::h2) is_limit_known: bool,
    /// Whether the peer was told that new streams are not acted on any more.
    pub(in crate::h2) has_drained: bool,
}

impl Messages<'_> {
    /// A whole header block. Whatever becomes of it, it is decoded: the table has to stay in step (RFC 9113 §4.3).
    pub(in crate::h2) fn handle_block(&mut self, block: &Block<'_>) -> Handled {
        let Block { opening, octets } = block;
        let stream_id = opening.stream_id;
        match self.streams.place(stream_id) {
            Some(Place::Held(slot)) => self.handle_later_block(StreamId::new(stream_id, slot), *opening, octets),
            Some(Place::Closed(ending)) => {
                self.discard(octets)?;
                handle_late(stream_id, ending)
            }
            None if self.streams.numbers().check_new(stream_id)? => self.handle_new_stream(*opening, octets),
            None => {
                self.discard(octets)?;
                handle_stray(stream_id, self.streams)
            }
        }
    }

    /// Server: a block that opens a stream.
    fn handle_new_stream(&mut self, opening: Opening, block: &[u8]) -> Handled {
        let stream_id = opening.stream_id;
        self.streams.numbers_mut().open_peer(stream_id);
        // RFC 9113 §6.8: after the final GOAWAY it is as if the stream had not come.
        if self.has_drained {
            self.streams.remember(stream_id, Ending::ResetByUs);
            self.discard(block)?;
            return Ok(Effect::Taken);
        }
        self.streams.numbers_mut().accept(stream_id);
        // RFC 9113 §5.1.2
        if self.streams.are_all_active() && !self.make_place() {
            self.discard(block)?;
            return self.refuse(stream_id);
        }
        if self.streams.hold_too_many() {
            self.discard(block)?;
            self.decline(stream_id);
            return Ok(Effect::Taken);
        }
        let list = self.decode(Part::Request, block)?;
        let octets = list.octets();
        if opening.depends_on_itself {
            return Err(Fault::Stream(stream_id, Violation::SelfDependency));
        }
        match list.into_request(self.config.enable_connect_protocol, opening.end_stream) {
            Ok((request, expected)) => {
                let recv = if opening.end_stream { Side::Ended } else { Side::Body };
                let state = State::Active { recv, send: Side::Head };
                let id = self.streams.insert(stream_id, state, Exchange::new(request.method()), expected);
                let request = Box::new(request);
                self.events.push_list(Event::Request { id, request, end_stream: opening.end_stream }, octets);
                Ok(Effect::Block(block.len()))
            }
            Err(Violation::HeaderListTooLarge) => Ok(self.respond_header_list_too_large(opening)),
            Err(violation) => Err(Fault::Stream(stream_id, violation)),
        }
    }

    /// Resets the stream that the application was done with first, if there is one: its peer has had all that we say, and
    /// there are peers that never end their half. NO_ERROR says so (RFC 9113 §8.1).
    fn make_place(&mut self) -> bool {
        let Some(id) = self.streams.pop_dismissed() else { return false };
        self.streams.close(id.slot, Ending::ResetByUs);
        self.output.put_rst_stream(id.value(), Reason::NO_ERROR);
        self.events.push_replaced(id);
        true
    }

    /// Past the limit of streams. A peer that cannot know the limit yet is not blamed.
    fn refuse(&mut self, stream_id: u32) -> Handled {
        if self.is_limit_known {
            self.counters.streams_refused += 1;
            return Err(Fault::Stream(stream_id, Violation::TooManyStreams));
        }
        self.decline(stream_id);
        Ok(Effect::Taken)
    }

    /// A stream that there is no room for by no fault of the peer, whose own streams are within the limit.
    fn decline(&mut self, stream_id: u32) {
        self.counters.streams_refused += 1;
        self.streams.remember(stream_id, Ending::ResetByUs);
        self.output.put_rst_stream(stream_id, Violation::TooManyStreams.reason());
    }

    /// 431 Request Header Fields Too Large (RFC 6585 §5), and no interest in what follows.
    fn respond_header_list_too_large(&mut self, opening: Opening) -> Effect {
        self.counters.header_lists_refused += 1;
        let date = self.config.date.map(|now| now());
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.output.put_refusal(opening.stream_id, status, date.as_ref());
        if opening.end_stream {
            self.streams.remember(opening.stream_id, Ending::Finished);
        } else {
            self.output.put_rst_stream(opening.stream_id, Reason::NO_ERROR);
            self.streams.remember(opening.stream_id, Ending::ResetByUs);
        }
        Effect::Nothing
    }

    /// A block on a stream that is held: a response, or trailers.
    fn handle_later_block(&mut self, id: StreamId, opening: Opening, block: &[u8]) -> Handled {
        let part = match self.streams.slot(id.slot).state() {
            State::Active { recv: Side::Head, .. } => Part::Response,
            State::Active { recv: Side::Body, .. } => Part::Trailers,
            State::Active { recv: Side::Ended, .. } => {
                self.discard(block)?;
                return Err(Fault::Stream(id.value(), Violation::StreamHalfClosed));
            }
            State::Closed(ending) => {
                self.discard(block)?;
                return handle_late(id.value(), ending);
            }
        };
        let list = self.decode(part, block)?;
        let handled = match part {
            _ if opening.depends_on_itself => Err(Violation::SelfDependency),
            Part::Trailers => self.handle_trailers(id, list, opening.end_stream).map(|()| Effect::Block(block.len())),
            _ => self.handle_response(id, list, opening.end_stream).map(|status| {
                // RFC 9110 §15.2: there may be many, and none of them is of use by itself.
                if status.is_informational() { Effect::Nothing } else { Effect::Block(block.len()) }
            }),
        };
        match handled {
            Ok(effect) => Ok(effect),
            Err(violation) => {
                self.counters.header_lists_refused += u64::from(violation == Violation::HeaderListTooLarge);
                Err(Fault::Stream(id.value(), violation))
            }
        }
    }

    fn handle_trailers(&mut self, id: StreamId, list: HeaderList, end_stream: bool) -> Result<(), Violation> {
        let entry = self.streams.slot(id.slot);
        // RFC 9113 §8.5: a tunnel ends by END_STREAM on DATA alone.
        if entry.exchange() == Exchange::Tunnel {
            return Err(Violation::HeadersInTunnel);
        }
        // RFC 9113 §8.1
        if !end_stream {
            return Err(Violation::TrailersNotLast);
        }
        let octets = list.octets();
        let trailers = Box::new(list.into_trailers()?);
        // RFC 9113 §8.1.1
        if !entry.is_content_whole() {
            return Err(Violation::ContentLengthMismatch);
        }
        self.streams.set_recv(id.slot, Side::Ended);
        self.events.push_list(Event::Finished { id, trailers: Some(trailers) }, octets);
        Ok(())
    }

    fn handle_response(&mut self, id: StreamId, list: HeaderList, end_stream: bool) -> Result<StatusCode, Violation> {
        let exchange = self.streams.slot(id.slot).exchange();
        let octets = list.octets();
        let (response, expected) = list.into_response(exchange, end_stream)?;
        let status = response.status();
        if !status.is_informational() {
            let entry = self.streams.slot_mut(id.slot);
            entry.expect(expected);
            entry.set_response(status);
            self.streams.set_recv(id.slot, if end_stream { Side::Ended } else { Side::Body });
        }
        self.events.push_list(Event::Response { id, response: Box::new(response), end_stream }, octets);
        Ok(status)
    }

    fn decode(&mut self, part: Part, block: &[u8]) -> Result<HeaderList, Violation> {
        let mut list = HeaderList::new(part, self.config);
        self.decoder.decode(block, |field| list.visit(field)).map_err(compression_violation)?;
        Ok(list)
    }

    fn discard(&mut self, block: &[u8]) -> Result<(), Violation> {
        self.decoder.decode(block, |_| {}).map_err(compression_violation)
    }
}

/// RFC 9113 §4.3
fn compression_violation(error: hpack::Error) -> Violation {
    match error {
        hpack::Error::ListTooLarge | hpack::Error::TooManyFields => Violation::HeaderListFarTooLarge,
        _ => Violation::HeaderCompression,
    }
}
