//! The frames that speak for the whole connection: SETTINGS, PING, GOAWAY (RFC 9113 §6.5, §6.7, §6.8).

use super::config::{DEFAULT_WINDOW, MAX_WINDOW};
use super::frame::{self, Head, flag, read_u31};
use super::shutdown::Shutdown;
use super::state::Ending;
use super::timer::deadline;
use super::{Connection, DRAIN, Event, KEEP_ALIVE, MAX_DEBUG_DATA, Phase, Reason, Role, Violation};

impl Connection {
    /// SETTINGS (RFC 9113 §6.5).
    pub(super) fn handle_settings(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        if head.stream_id != 0 {
            return Err(Violation::StreamIdNotZero);
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() { self.handle_settings_ack() } else { Err(Violation::SettingsAckLength) };
        }
        let (values, []) = payload.as_chunks::<6>() else {
            return Err(Violation::SettingsLength);
        };
        let peer = if self.role == Role::Client { Role::Server } else { Role::Client };
        // RFC 9113 §6.5.3: in the order in which they appear.
        for &[a, b, c, d, e, f] in values {
            let before = self.peer_settings;
            self.peer_settings.apply(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]), peer)?;
            if self.peer_settings.initial_window_size != before.initial_window_size {
                self.handle_initial_window_change()?;
            }
            if self.peer_settings.header_table_size != before.header_table_size {
                self.encoder.set_max_table_size(self.peer_settings.header_table_size as usize);
            }
        }
        frame::put_settings_ack(&mut self.buffers.output);
        self.settings_ack_waits = true;
        self.events.push_back(Event::Settings);
        if self.phase == Phase::Settings {
            self.phase = Phase::Open;
            self.timers.preface = None;
            if !self.settings_acknowledged {
                self.timers.settings = deadline(self.now, self.config.settings_timeout);
            }
            return Ok(());
        }
        self.counters.settings_changes += 1;
        if self.settings.take(self.now) { Ok(()) } else { Err(Violation::TooManySettings) }
    }

    /// RFC 9113 §6.9.2: all streams' windows move. They are kept relative to the initial one, so nothing is to be done
    /// unless one might have passed 2³¹−1.
    fn handle_initial_window_change(&mut self) -> Result<(), Violation> {
        let initial = self.peer_settings.initial_window_size;
        let overflows = |difference: i32| i64::from(initial) + i64::from(difference) > i64::from(MAX_WINDOW);
        if overflows(self.max_difference) {
            let differences = self.streams.iter().map(|entry| entry.send_window.difference());
            self.max_difference = differences.max().unwrap_or(0).max(0);
            if overflows(self.max_difference) {
                return Err(Violation::InitialWindowOverflow);
            }
        }
        Ok(())
    }

    fn handle_settings_ack(&mut self) -> Result<(), Violation> {
        if self.settings_acknowledged {
            return self.glitch();
        }
        self.settings_acknowledged = true;
        self.timers.settings = None;
        self.decoder.handle_settings_acknowledged();
        // RFC 9113 §6.9.2: a smaller window holds from now on, for the streams that are open as well.
        let decrease = DEFAULT_WINDOW.saturating_sub(self.config.initial_window_size);
        if decrease > 0 {
            for (_, entry) in self.streams.iter_mut() {
                entry.recv_window.decrease(decrease);
            }
        }
        Ok(())
    }

    /// PING (RFC 9113 §6.7).
    pub(super) fn handle_ping(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        if head.stream_id != 0 {
            return Err(Violation::StreamIdNotZero);
        }
        let payload: [u8; 8] = payload.try_into().map_err(|_| Violation::FrameLength)?;
        if !head.has(flag::ACK) {
            frame::put_ping(&mut self.buffers.output, payload, true);
            self.ping_ack_waits = true;
            return Ok(());
        }
        match payload {
            DRAIN if self.shutdown == Shutdown::Announced => self.finish_drain(),
            // Any input has answered this one already.
            KEEP_ALIVE if self.config.keep_alive_interval.is_some() => {}
            _ if self.pings > 0 => {
                self.pings -= 1;
                self.events.push_back(Event::Pong(payload));
            }
            _ => return self.glitch(),
        }
        Ok(())
    }

    /// GOAWAY (RFC 9113 §6.8).
    pub(super) fn handle_goaway(&mut self, head: &Head, payload: &[u8]) -> Result<(), Violation> {
        if head.stream_id != 0 {
            return Err(Violation::StreamIdNotZero);
        }
        let (Some(last), Some(code)) = (payload.first_chunk::<4>(), payload.get(4..8)) else {
            return Err(Violation::FrameLength);
        };
        let last = read_u31(last);
        let reason = Reason::new(code.iter().fold(0, |code, &octet| code << 8 | u32::from(octet)));
        let before = self.peer_goaway.replace((last, reason));
        let debug_data = payload.get(8..).unwrap_or_default();
        self.peer_debug_data = debug_data.iter().take(MAX_DEBUG_DATA).copied().collect();
        self.events.push_back(Event::GoAway { last, reason });
        // One more follows where the first let everything in; a peer has no reason for many.
        if before.is_some() {
            self.glitch()?;
        }
        // What it names are the receiver's streams: a server opens none.
        if self.role == Role::Client && before.is_none_or(|(before, _)| last < before) {
            self.drop_streams_above(last);
        }
        self.end_if_drained();
        Ok(())
    }

    /// Client: nothing was done for these streams (RFC 9113 §6.8).
    fn drop_streams_above(&mut self, last: u32) {
        let above = self.streams.iter_mut().filter(|(id, entry)| id.value() > last && !entry.state.is_closed());
        for id in above.map(|(id, _)| id).collect::<Vec<_>>() {
            self.streams.close(id.slot, Ending::ResetByPeer);
            self.events.push_back(Event::Reset { id, reason: Reason::REFUSED_STREAM, remote: true });
        }
    }
}
