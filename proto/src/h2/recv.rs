//! What the peer sends: frames in order, and each type's rules (RFC 9113 §4 to §6). Header blocks are in `message`.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::frame::{self, HEAD_LENGTH, Head, PREFACE, flag, kind, read_u31};
use super::settings::max_frame_size;
use super::state::{Ending, Place, Side, State, Wait};
use super::{CONTROL_ROOM, Connection, Event, Phase, Reason, Role, StreamId, Violation};

/// Octets of the connection's window that gather before they are credited: never so many that the peer would wait.
const CREDIT_BATCH: u32 = 1 << 30;
/// Events that the application has not heard, past which a new stream waits.
const MAX_UNHEARD: usize = 64;

impl Connection {
    /// [`handle_data`](Connection::handle_data): one position moves over the input, which becomes the batch.
    pub(super) fn recv(&mut self, now: Instant, input: &mut BytesMut) {
        if self.stopped {
            return;
        }
        self.end_batch();
        self.advance(now);
        if input.len() != self.unhandled {
            // Any octet says that the peer is there, also one of a frame that takes long to come.
            self.restart_keep_alive();
        }
        let mut position = 0;
        if self.phase != Phase::Closed
            && let Err(violation) = self.handle_frames(input, &mut position)
        {
            self.fail(violation);
        }
        self.begin_batch(input, position);
        if self.phase == Phase::Closed {
            input.clear();
            return;
        }
        self.unhandled = input.len();
        self.finish_batch(position);
    }

    /// Takes the handled octets off `input`, and holds them if they are to be read where they stand.
    fn begin_batch(&mut self, input: &mut BytesMut, position: usize) {
        let rest = input.len() - position;
        // What was not handled has to move then. That must not be the most of it: a peer could have the same octets moved
        // again and again.
        if !self.in_batch.is_empty() && rest <= position {
            std::mem::swap(&mut self.buffers.batch, input);
            input.extend_from_slice(&self.buffers.batch[position..]);
            return;
        }
        self.keep_batch(input);
        if rest == 0 { input.clear() } else { input.advance(position) }
    }

    /// What of the batch was not read is kept, and the rest is forgotten.
    pub(super) fn end_batch(&mut self) {
        if !self.buffers.batch.is_empty() {
            let batch = std::mem::take(&mut self.buffers.batch);
            self.keep_batch(&batch);
            self.buffers.batch = batch;
            self.buffers.batch.clear();
        }
    }

    fn keep_batch(&mut self, batch: &[u8]) {
        for slot in self.in_batch.drain(..) {
            if let Some(entry) = self.streams.at_mut(slot) {
                entry.unread.keep(batch);
            }
        }
    }

    fn handle_frames(&mut self, input: &mut [u8], position: &mut usize) -> Result<(), Violation> {
        // Places in it are numbers of 32 bits.
        let length = input.len().min(u32::MAX as usize);
        let input = &mut input[..length];
        if self.phase == Phase::Preface {
            let length = input.len().min(PREFACE.len());
            // RFC 9113 §3.4: what differs is answered at its first octet.
            if input[..length] != PREFACE[..length] {
                return Err(Violation::Preface);
            }
            if length < PREFACE.len() {
                return Ok(());
            }
            *position = length;
            self.phase = Phase::Settings;
        }
        while let Some(head) = Head::parse(&input[*position..]) {
            self.check_head(&head)?;
            let start = *position + HEAD_LENGTH;
            let Some(payload) = input.get(start..start + head.length) else { break };
            if self.must_stop(&head) {
                self.counters.stops += 1;
                self.stopped = true;
                break;
            }
            if *position > 0 && self.must_hear_first(&head) {
                self.stopped = true;
                break;
            }
            match head.kind {
                kind::DATA => self.handle_data_frame(&head, input, start)?,
                _ => self.handle_frame(&head, payload)?,
            }
            *position = start + head.length;
            if self.phase == Phase::Closed {
                break;
            }
        }
        Ok(())
    }

    /// What a head alone can break, so that nobody waits for the payload.
    #[inline]
    fn check_head(&self, head: &Head) -> Result<(), Violation> {
        // RFC 9113 §3.4
        if self.phase == Phase::Settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Violation::FirstFrame);
        }
        // RFC 9113 §4.2
        if head.length > max_frame_size(&self.config) as usize {
            return Err(Violation::FrameTooLarge);
        }
        let is_possible = match head.kind {
            kind::SETTINGS => head.length.is_multiple_of(6),
            kind::PING => head.length == 8,
            kind::GOAWAY => head.length >= 8,
            kind::RST_STREAM | kind::WINDOW_UPDATE => head.length == 4,
            _ => true,
        };
        if !is_possible {
            return Err(if head.kind == kind::SETTINGS { Violation::SettingsLength } else { Violation::FrameLength });
        }
        // RFC 9113 §6.10: nothing comes between the frames of a header block.
        if self.partial_block.is_some() && head.kind != kind::CONTINUATION {
            return Err(Violation::ContinuationMissing);
        }
        Ok(())
    }

    /// Whether a frame has to wait until answers have been sent.
    #[inline]
    fn must_stop(&self, head: &Head) -> bool {
        match head.kind {
            kind::SETTINGS if self.settings_ack_waits && !head.has(flag::ACK) => true,
            kind::PING if self.ping_ack_waits && !head.has(flag::ACK) => true,
            _ => self.buffers.output.len() > self.config.max_send_buffer + CONTROL_ROOM,
        }
    }

    /// Server: whether a new stream has to wait for the application to hear what came before it in its batch. That may be the
    /// end of a stream, which does not count any more (RFC 9113 §5.1.2); or so many requests that they would take much memory
    /// all at once, each a hundred times what it took on the wire.
    #[inline]
    fn must_hear_first(&self, head: &Head) -> bool {
        let is_new = head.kind == kind::HEADERS && head.stream_id > self.last_peer_id && self.role == Role::Server;
        is_new && (self.events.len() >= MAX_UNHEARD || self.is_full() && !self.events.is_empty())
    }

    fn handle_frame(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        match head.kind {
            kind::HEADERS => self.handle_headers(head, payload),
            kind::PRIORITY => self.handle_priority(head, payload),
            kind::RST_STREAM => self.handle_rst_stream(head, payload),
            kind::SETTINGS => self.handle_settings(head, payload),
            // RFC 9113 §8.4: a client cannot push, and we never allow a server to.
            kind::PUSH_PROMISE => Err(Violation::PushPromise),
            kind::PING => self.handle_ping(head, payload),
            kind::GOAWAY => self.handle_goaway(head, payload),
            kind::WINDOW_UPDATE => self.handle_window_update(head, payload),
            kind::CONTINUATION => self.handle_continuation(head, payload),
            // RFC 9113 §5.5
            _ => self.glitch(),
        }
    }

    /// What is done once for all frames of a batch.
    fn finish_batch(&mut self, octets: usize) {
        self.overhead.add_received(octets);
        if self.overhead.is_too_much(self.now) {
            return self.fail(Violation::TooMuchOverhead);
        }
        let initial = self.peer_settings.initial_window_size;
        if self.max_waiting_difference.is_some_and(|difference| i64::from(initial) + i64::from(difference) > 0) {
            self.wake_for_larger_initial_window(initial);
        }
    }

    /// RFC 9113 §6.9.2: streams that wait for their window may go on, or there are none that do any more.
    fn wake_for_larger_initial_window(&mut self, initial: u32) {
        self.max_waiting_difference = None;
        for (id, entry) in self.streams.iter_mut().filter(|(_, entry)| entry.wait == Wait::Window) {
            if entry.send_window.available(initial) > 0 {
                entry.wait = Wait::Turn;
                self.turns.push_back(id);
            } else {
                self.max_waiting_difference = self.max_waiting_difference.max(Some(entry.send_window.difference()));
            }
        }
    }

    /// DATA (RFC 9113 §6.1): the path that every message takes.
    #[inline]
    fn handle_data_frame(&mut self, head: &Head, input: &mut [u8], start: usize) -> Result<(), Violation> {
        let payload = &input[start..start + head.length];
        let stream_id = checked_stream_id(head)?;
        let data = strip_padding(head, payload)?;
        self.credit_connection(payload.len());
        let Some(Place::Held(slot)) = self.streams.place(stream_id) else {
            return self.handle_stray_frame(stream_id);
        };
        let end_stream = head.has(flag::END_STREAM);
        let entry = self.streams.slot_mut(slot);
        match entry.state {
            State::Active { recv: Side::Body, .. } => {}
            State::Active { recv: Side::Head, .. } => return self.fault(stream_id, Violation::DataBeforeHead),
            State::Active { recv: Side::Ended, .. } => return self.fault(stream_id, Violation::StreamHalfClosed),
            State::Closed(ending) => return self.handle_late_frame(stream_id, ending),
        }
        // RFC 9113 §6.9.1: the padding counts as well.
        if !entry.recv_window.receive(payload.len()) {
            return self.fault(stream_id, Violation::StreamWindowExceeded);
        }
        // RFC 9113 §8.1.1
        if !entry.expected.take(data.len(), end_stream) {
            return self.fault(stream_id, Violation::ContentLengthMismatch);
        }
        let id = StreamId::new(stream_id, slot);
        let (length, padding) = (data.len(), payload.len() - data.len());
        if length > 0 {
            self.overhead.add_useful(HEAD_LENGTH + length);
            // The length of its padding is one octet before, the padding behind.
            let start = start + usize::from(head.has(flag::PADDED));
            if entry.unread.is_empty() {
                push_readable(&mut self.events, id);
                entry.unread.place(start as u32, (start + length) as u32);
                self.in_batch.push(slot);
            } else if entry.unread.is_in_batch() && self.in_batch.last() == Some(&slot) {
                // Nothing that is to be read stands between: it joins what came before.
                let end = entry.unread.in_batch().end;
                input.copy_within(start..start + length, end);
                entry.unread.place(entry.unread.in_batch().start as u32, (end + length) as u32);
            } else {
                entry.unread.append(input, &input[start..start + length]);
            }
        }
        if end_stream {
            self.streams.set_recv(slot, Side::Ended);
            self.events.push_back(Event::Finished { id, trailers: None });
        } else if padding > 0 {
            self.give_back(id, padding);
        }
        if length == 0 && !end_stream { self.glitch() } else { Ok(()) }
    }

    /// The connection's window is credited on receipt.
    #[inline]
    fn credit_connection(&mut self, octets: usize) {
        self.uncredited += octets as u32;
        if self.uncredited >= CREDIT_BATCH {
            frame::put_window_update(&mut self.buffers.output, 0, self.uncredited);
            self.uncredited = 0;
        }
    }

    /// Gives credit back to a stream whose peer may still send.
    #[inline]
    pub(super) fn give_back(&mut self, id: StreamId, octets: usize) {
        let Some(entry) = self.streams.get_mut(id) else { return };
        if self.phase == Phase::Closed || entry.state.recv() == Side::Ended {
            return;
        }
        let clock = || self.now.saturating_duration_since(self.start).as_millis() as u32;
        if let Some(increment) = entry.recv_window.give_back(octets, &mut self.pool, clock) {
            frame::put_window_update(&mut self.buffers.output, id.value(), increment);
        }
    }

    /// PRIORITY (RFC 9113 §6.3): its content is no longer used.
    fn handle_priority(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        let stream_id = checked_stream_id(head)?;
        let violation = match payload.first_chunk::<4>() {
            _ if payload.len() != 5 => Violation::PriorityLength,
            // RFC 7540 §5.3.1
            Some(dependency) if read_u31(dependency) == stream_id => Violation::SelfDependency,
            _ => return self.glitch(),
        };
        // RFC 9113 §5.1: an idle stream cannot be reset, so that the connection must end.
        if self.is_idle(stream_id) { Err(violation) } else { self.fault(stream_id, violation) }
    }

    /// RST_STREAM (RFC 9113 §6.4).
    fn handle_rst_stream(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        let stream_id = checked_stream_id(head)?;
        let code: [u8; 4] = payload.try_into().map_err(|_| Violation::FrameLength)?;
        let reason = Reason::new(u32::from_be_bytes(code));
        self.counters.resets_received += 1;
        let Some(Place::Held(slot)) = self.streams.place(stream_id) else {
            return self.handle_stray_or_ignore(stream_id);
        };
        let State::Active { send, .. } = self.streams.slot(slot).state else {
            return self.glitch();
        };
        self.streams.close(slot, Ending::ResetByPeer);
        self.events.push_back(Event::Reset { id: StreamId::new(stream_id, slot), reason, remote: true });
        // A reset that comes before the answer has cost us and not the peer. After it, it is an ordinary end.
        if send == Side::Head && !self.resets.take(self.now) {
            return Err(Violation::TooManyResets);
        }
        Ok(())
    }

    /// WINDOW_UPDATE (RFC 9113 §6.9).
    fn handle_window_update(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        let increment: &[u8; 4] = payload.try_into().map_err(|_| Violation::FrameLength)?;
        let increment = read_u31(increment);
        if head.stream_id == 0 {
            return self.handle_connection_window_update(increment);
        }
        let stream_id = head.stream_id;
        let Some(Place::Held(slot)) = self.streams.place(stream_id) else {
            return self.handle_stray_or_ignore(stream_id);
        };
        let initial = self.peer_settings.initial_window_size;
        let entry = self.streams.slot_mut(slot);
        if entry.state.is_closed() {
            return self.glitch();
        }
        if increment == 0 {
            return self.fault(stream_id, Violation::StreamWindowUpdateZero);
        }
        if !entry.send_window.update(increment, initial) {
            return self.fault(stream_id, Violation::StreamWindowOverflow);
        }
        let difference = entry.send_window.difference();
        self.max_difference = self.max_difference.max(difference);
        if entry.wait == Wait::Window {
            if entry.send_window.available(initial) > 0 {
                entry.wait = Wait::Turn;
                self.turns.push_back(StreamId::new(stream_id, slot));
            } else {
                self.max_waiting_difference = self.max_waiting_difference.max(Some(difference));
            }
        }
        Ok(())
    }

    fn handle_connection_window_update(&mut self, increment: u32) -> Result<(), Violation> {
        if increment == 0 {
            return Err(Violation::ConnectionWindowUpdateZero);
        }
        let window = self.send_window.checked_add(increment).filter(|&window| window <= super::MAX_WINDOW);
        self.send_window = window.ok_or(Violation::ConnectionWindowOverflow)?;
        Ok(())
    }

    /// A frame of a stream that is not held.
    pub(super) fn handle_stray_frame(&mut self, stream_id: u32) -> Result<(), Violation> {
        match self.streams.place(stream_id) {
            Some(Place::Closed(ending)) => self.handle_late_frame(stream_id, ending),
            _ => self.handle_stray_or_ignore(stream_id),
        }
    }

    /// RFC 9113 §5.1 "idle": an error; and "closed": WINDOW_UPDATE and RST_STREAM may have crossed our END_STREAM, and of
    /// streams closed longer ago nothing is known.
    fn handle_stray_or_ignore(&mut self, stream_id: u32) -> Result<(), Violation> {
        if stream_id == 0 {
            return Err(Violation::StreamIdZero);
        }
        if self.is_idle(stream_id) { Err(Violation::StreamIdle) } else { self.glitch() }
    }

    /// RFC 9113 §5.1 "closed": DATA or HEADERS after the end.
    pub(super) fn handle_late_frame(&mut self, stream_id: u32, ending: Ending) -> Result<(), Violation> {
        match ending {
            Ending::Finished => Err(Violation::StreamClosed),
            Ending::ResetByPeer => self.fault(stream_id, Violation::StreamReset),
            // The peer may not have known.
            Ending::ResetByUs => Ok(()),
        }
    }

    /// A stream error (RFC 9113 §5.4.2): the peer's fault. The stream, held or not, is not idle.
    pub(super) fn fault(&mut self, stream_id: u32, violation: Violation) -> Result<(), Violation> {
        let reason = violation.reason();
        if let Some(Place::Held(slot)) = self.streams.place(stream_id) {
            let was_closed = self.streams.slot(slot).state.is_closed();
            self.streams.close(slot, Ending::ResetByUs);
            if !was_closed {
                self.events.push_back(Event::Reset { id: StreamId::new(stream_id, slot), reason, remote: false });
            }
        } else {
            self.streams.remember(stream_id, Ending::ResetByUs);
        }
        frame::put_rst_stream(&mut self.buffers.output, stream_id, reason);
        self.counters.resets_for_faults += 1;
        if self.resets.take(self.now) { Ok(()) } else { Err(Violation::TooManyResets) }
    }

    /// A frame that does nothing.
    pub(super) fn glitch(&mut self) -> Result<(), Violation> {
        self.counters.glitches += 1;
        if self.glitches.take(self.now) { Ok(()) } else { Err(Violation::TooManyGlitches) }
    }
}

/// Out of line, so that the event is written where it stays: to move what was written in pieces makes the processor wait.
#[inline(never)]
fn push_readable(events: &mut VecDeque<Event>, id: StreamId) {
    events.push_back(Event::Readable(id));
}

/// RFC 9113 §6: the frames of a stream name one.
#[inline]
pub(super) fn checked_stream_id(head: &Head) -> Result<u32, Violation> {
    if head.stream_id == 0 { Err(Violation::StreamIdZero) } else { Ok(head.stream_id) }
}

/// The payload of DATA or HEADERS without its padding (RFC 9113 §6.1).
#[inline]
pub(super) fn strip_padding<'a>(head: &Head, payload: &'a [u8]) -> Result<&'a [u8], Violation> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(Violation::FrameLength)?;
    // RFC 9113 §6.1: "If the length of the padding is the length of the frame payload or greater, the recipient MUST treat
    // this as a connection error (Section 5.4.1) of type PROTOCOL_ERROR."
    let length = rest.len().checked_sub(padding.into()).ok_or(Violation::Padding)?;
    Ok(&rest[..length])
}
