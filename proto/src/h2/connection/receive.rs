//! The octets of the peer: batches, the frames in them, and what each frame came to.

use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::Connection;
use crate::h2::frame::{Frame, HEAD_LENGTH, Head, PREFACE, flag, kind};
use crate::h2::input::{self, Block, DataFrame, Effect, Fault, Handled, Messages, OwnPings};
use crate::h2::life::Phase;
use crate::h2::settings::max_frame_size;
use crate::h2::{Role, Scope, Violation};
use crate::is_tls_alert;

/// Events that the application has not heard, past which a new stream waits.
const MAX_UNHEARD: usize = 64;
/// Octets of header lists that it has not heard, past which another waits: HPACK says 16 KiB in a few octets.
const MAX_UNHEARD_OCTETS: usize = 256 << 10;

/// Batches.
impl Connection {
    /// [`handle_data`](Connection::handle_data): one position moves over the input, which becomes the batch.
    pub(super) fn receive(&mut self, now: Instant, input: &mut BytesMut) {
        if self.input.is_stopped() {
            return;
        }
        self.end_batch();
        self.advance(now);
        if self.input.has_more(input.len()) {
            // Any octet says that the peer is there, also one of a frame that takes long to come.
            self.timers.restart_keep_alive(&self.config, now);
        }
        let mut position = 0;
        if !self.life.is_closed()
            && let Err(violation) = self.handle_frames(input, &mut position)
        {
            self.fail(violation);
        }
        self.begin_batch(input, position);
        if self.life.is_closed() {
            input.clear();
            return;
        }
        self.input.leave(input.len());
        self.finish_batch(position);
    }

    /// Takes the handled octets off `input`, and holds them if they are to be read where they stand.
    fn begin_batch(&mut self, input: &mut BytesMut, position: usize) {
        let batch = self.output.batch();
        let rest = input.len() - position;
        // What was not handled has to move then. That must not be the most of it: a peer could have the same octets moved
        // again and again.
        if self.streams.has_batch() && rest <= position {
            std::mem::swap(batch, input);
            input.extend_from_slice(&batch[position..]);
            return;
        }
        self.streams.keep_batch(input);
        if rest == 0 { input.clear() } else { input.advance(position) }
    }

    /// What of the batch was not read is kept, and the rest is forgotten.
    pub(super) fn end_batch(&mut self) {
        let batch = self.output.batch();
        if !batch.is_empty() {
            self.streams.keep_batch(batch);
            batch.clear();
        }
        debug_assert!(!self.streams.has_batch(), "what is noted down of a batch goes with it");
    }

    /// What is done once for all frames of a batch.
    fn finish_batch(&mut self, octets: usize) {
        if let Err(violation) = self.guard.receive(octets, self.clock.now()) {
            return self.fail(violation);
        }
        self.turns.handle_initial_window(&mut self.streams, self.peer.initial_window());
    }
}

/// Frames.
impl Connection {
    fn handle_frames(&mut self, input: &mut [u8], position: &mut usize) -> Result<(), Violation> {
        // Places in it are numbers of 32 bits.
        let length = input.len().min(u32::MAX as usize);
        let input = &mut input[..length];
        if self.life.phase() == Phase::Preface && !self.handle_preface(input, position)? {
            return Ok(());
        }
        // An alert is shorter than the head of a frame, and nothing comes behind it.
        if self.role == Role::Client && self.life.phase() == Phase::Settings && is_tls_alert(input) {
            return Err(Violation::TlsAlert);
        }
        while let Some(head) = Head::parse(&input[*position..]) {
            self.check_head(&head)?;
            let start = *position + HEAD_LENGTH;
            let Some(payload) = input.get(start..start + head.length) else { break };
            if self.must_stop(&head) {
                self.guard.counters_mut().stops += 1;
                self.input.stop();
                break;
            }
            if *position > 0 && self.must_hear_first(&head) {
                self.input.stop();
                break;
            }
            match head.kind {
                kind::DATA => {
                    let frame = DataFrame { head: &head, input, start };
                    let Self { streams, output, events, clock, .. } = self;
                    let handled = input::handle_data(frame, streams, output, events, clock);
                    self.conclude(handled)?;
                }
                _ => self.handle_frame(Frame { head: &head, payload })?,
            }
            *position = start + head.length;
            if self.life.is_closed() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the preface was whole (RFC 9113 §3.4): what differs is answered at its first octet.
    fn handle_preface(&mut self, input: &[u8], position: &mut usize) -> Result<bool, Violation> {
        let length = input.len().min(PREFACE.len());
        if input[..length] != PREFACE[..length] {
            return Err(Violation::Preface);
        }
        let is_whole = length == PREFACE.len();
        if is_whole {
            *position = length;
            self.life.handle_preface();
        }
        Ok(is_whole)
    }

    /// What a head alone can break, so that nobody waits for the payload.
    #[inline]
    fn check_head(&self, head: &Head) -> Result<(), Violation> {
        // RFC 9113 §3.4
        if self.life.phase() == Phase::Settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
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
        if self.input.has_partial_block() && head.kind != kind::CONTINUATION {
            return Err(Violation::ContinuationMissing);
        }
        Ok(())
    }

    /// Whether a frame has to wait until answers have been sent.
    #[inline]
    fn must_stop(&self, head: &Head) -> bool {
        match head.kind {
            kind::SETTINGS if self.output.settings_ack_waits() && !head.has(flag::ACK) => true,
            kind::PING if self.output.ping_ack_waits() && !head.has(flag::ACK) => true,
            _ => self.output.is_overfull(),
        }
    }

    /// Whether a header block has to wait for the application to hear what came before it in its batch. For a new stream of the
    /// peer that may be the end of another, which does not count any more (RFC 9113 §5.1.2); or it is so many requests, or so
    /// much of any messages, that they would take much memory all at once: each a hundred times what it took on the wire.
    #[inline]
    fn must_hear_first(&self, head: &Head) -> bool {
        if head.kind != kind::HEADERS {
            return false;
        }
        let is_many = || self.events.len() >= MAX_UNHEARD || self.streams.are_full() && !self.events.is_empty();
        let is_new = self.streams.numbers().is_new(head.stream_id);
        self.events.list_octets() >= MAX_UNHEARD_OCTETS || is_new && is_many()
    }

    /// A frame that is not DATA, by its type: each gets the parts that it may touch.
    fn handle_frame(&mut self, frame: Frame<'_>) -> Result<(), Violation> {
        let Self { streams, output, events, peer, turns, .. } = self;
        let handled = match frame.head.kind {
            kind::HEADERS => self.handle_headers(frame),
            kind::CONTINUATION => self.handle_continuation(frame),
            kind::SETTINGS => self.handle_settings(frame),
            kind::PRIORITY => input::handle_priority(frame, streams.numbers()),
            kind::RST_STREAM => {
                self.guard.counters_mut().resets_received += 1;
                input::handle_rst_stream(frame, streams, events)
            }
            // RFC 9113 §8.4: a client cannot push, and we never allow a server to.
            kind::PUSH_PROMISE => Err(Violation::PushPromise.into()),
            kind::PING => {
                let is_asking = self.config.keep_alive_interval.is_some();
                let own = OwnPings { drain: self.life.is_announced(), keep_alive: is_asking };
                input::handle_ping(frame, own, peer, output, events)
            }
            kind::GOAWAY => input::handle_goaway(frame, peer, streams, events),
            kind::WINDOW_UPDATE => input::handle_window_update(frame, peer.initial_window(), streams, output, turns),
            // RFC 9113 §5.5
            _ => Ok(Effect::Nothing),
        };
        self.conclude(handled)?;
        if frame.head.kind == kind::GOAWAY {
            self.end_if_drained();
        }
        Ok(())
    }

    fn handle_headers(&mut self, frame: Frame<'_>) -> Handled {
        match self.input.handle_headers(frame)? {
            Some(block) => self.handle_block(&block),
            None => {
                self.timers.await_end_headers(&self.config, self.clock.now());
                Ok(Effect::Taken)
            }
        }
    }

    fn handle_continuation(&mut self, frame: Frame<'_>) -> Handled {
        match self.input.handle_continuation(frame, &self.config)? {
            Some(block) => {
                self.timers.handle_end_headers();
                self.handle_block(&block)
            }
            None => Ok(Effect::Taken),
        }
    }

    fn handle_block(&mut self, block: &Block<'_>) -> Handled {
        let mut messages = Messages {
            config: &self.config,
            decoder: self.input.decoder(),
            streams: &mut self.streams,
            output: &mut self.output,
            events: &mut self.events,
            counters: self.guard.counters_mut(),
            is_limit_known: self.peer.has_acknowledged(),
            has_drained: self.life.is_final(),
        };
        messages.handle_block(block)
    }

    fn handle_settings(&mut self, frame: Frame<'_>) -> Handled {
        if frame.head.has(flag::ACK) {
            return self.handle_settings_ack(frame);
        }
        let Self { peer, streams, output, events, .. } = self;
        input::handle_settings(frame, peer, streams, output, events)?;
        let now = self.clock.now();
        if self.life.handle_settings() {
            self.timers.handle_first_settings(&self.config, now, self.peer.has_acknowledged());
        } else {
            self.guard.settings_change(now)?;
        }
        Ok(Effect::Taken)
    }

    /// The acknowledgement of our SETTINGS (RFC 9113 §6.5.3).
    fn handle_settings_ack(&mut self, frame: Frame<'_>) -> Handled {
        input::check_settings_ack(frame)?;
        if !self.peer.acknowledge() {
            return Ok(Effect::Nothing);
        }
        self.timers.handle_settings_acknowledged();
        self.input.decoder().handle_settings_acknowledged();
        self.streams.handle_settings_acknowledged();
        Ok(Effect::Taken)
    }
}

/// Effects.
impl Connection {
    /// Books what a frame came to.
    #[inline]
    fn conclude(&mut self, handled: Handled) -> Result<(), Violation> {
        match handled {
            Ok(Effect::Data(octets)) => {
                self.guard.receive_data(octets);
                Ok(())
            }
            Ok(Effect::Taken) => Ok(()),
            handled => self.conclude_rare(handled),
        }
    }

    /// Out of line: nearly every frame is DATA.
    #[inline(never)]
    fn conclude_rare(&mut self, handled: Handled) -> Result<(), Violation> {
        let now = self.clock.now();
        match handled {
            Ok(Effect::Taken) => {}
            Ok(Effect::Data(octets)) => self.guard.receive_data(octets),
            Ok(Effect::Block(octets)) => self.guard.receive_block(octets),
            Ok(Effect::Nothing) => self.guard.glitch(now)?,
            Ok(Effect::EarlyReset) => self.guard.early_reset(now)?,
            Ok(Effect::Drained) => self.finish_drain(true),
            Err(Fault::Stream(stream_id, violation)) => self.reset_for_fault(stream_id, violation)?,
            Err(Fault::Connection(violation)) => return Err(violation),
        }
        Ok(())
    }

    /// A stream error (RFC 9113 §5.4.2): the peer's fault.
    fn reset_for_fault(&mut self, stream_id: u32, violation: Violation) -> Result<(), Violation> {
        debug_assert_eq!(violation.scope(), Scope::Stream, "a rule of the connection is broken for all of it");
        if let Some(id) = self.streams.close_for_fault(stream_id) {
            self.events.push_reset(id, violation);
        }
        self.output.put_rst_stream(stream_id, violation.reason());
        self.guard.fault(self.clock.now())
    }
}
