//! The frames that speak for the whole connection: SETTINGS, PING, GOAWAY (RFC 9113 §6.5, §6.7, §6.8).

use super::{Effect, Handled, check_no_stream_id};
use crate::h2::events::Events;
use crate::h2::frame::{Frame, flag, read_u31};
use crate::h2::output::Output;
use crate::h2::peer::{GoAway, Peer};
use crate::h2::streams::{Ending, Side, Streams};
use crate::h2::{DRAIN, Event, KEEP_ALIVE, Reason, StreamId, Violation};

/// SETTINGS (RFC 9113 §6.5) that acknowledge nothing.
pub(in crate::h2) fn handle_settings(
    frame: Frame<'_>,
    peer: &mut Peer,
    streams: &mut Streams,
    output: &mut Output,
    events: &mut Events,
) -> Result<(), Violation> {
    check_no_stream_id(frame.head)?;
    let (values, []) = frame.payload.as_chunks::<6>() else {
        return Err(Violation::SettingsLength);
    };
    // RFC 9113 §6.5.3: in the order in which they appear.
    for &[a, b, c, d, e, f] in values {
        let before = *peer.settings();
        peer.apply_setting(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]))?;
        let after = peer.settings();
        if after.initial_window_size != before.initial_window_size
            && !streams.fit_initial_window(after.initial_window_size)
        {
            return Err(Violation::InitialWindowOverflow);
        }
        if after.header_table_size != before.header_table_size {
            output.set_max_table_size(after.header_table_size);
        }
    }
    output.put_settings_ack();
    events.push(Event::Settings);
    Ok(())
}

/// The acknowledgement of SETTINGS (RFC 9113 §6.5).
pub(in crate::h2) fn check_settings_ack(frame: Frame<'_>) -> Result<(), Violation> {
    check_no_stream_id(frame.head)?;
    if frame.payload.is_empty() { Ok(()) } else { Err(Violation::SettingsAckLength) }
}

/// The PINGs of our own that the application knows nothing of, and that may be answered.
#[derive(Clone, Copy)]
pub(in crate::h2) struct OwnPings {
    pub(in crate::h2) drain: bool,
    pub(in crate::h2) keep_alive: bool,
}

/// PING (RFC 9113 §6.7).
pub(in crate::h2) fn handle_ping(
    frame: Frame<'_>,
    own: OwnPings,
    peer: &mut Peer,
    output: &mut Output,
    events: &mut Events,
) -> Handled {
    check_no_stream_id(frame.head)?;
    let payload: [u8; 8] = frame.payload.try_into().map_err(|_| Violation::FrameLength)?;
    if !frame.head.has(flag::ACK) {
        output.put_ping_ack(payload);
        return Ok(Effect::Taken);
    }
    match payload {
        DRAIN if own.drain => Ok(Effect::Drained),
        // Any input has answered this one already.
        KEEP_ALIVE if own.keep_alive => Ok(Effect::Taken),
        _ if peer.take_pong() => {
            events.push(Event::Pong(payload));
            Ok(Effect::Taken)
        }
        _ => Ok(Effect::Nothing),
    }
}

/// GOAWAY (RFC 9113 §6.8).
pub(in crate::h2) fn handle_goaway(
    frame: Frame<'_>,
    peer: &mut Peer,
    streams: &mut Streams,
    events: &mut Events,
) -> Handled {
    check_no_stream_id(frame.head)?;
    let (Some(last), Some(code)) = (frame.payload.first_chunk::<4>(), frame.payload.get(4..8)) else {
        return Err(Violation::FrameLength.into());
    };
    let last = read_u31(last);
    let reason = Reason::new(code.iter().fold(0, |code, &octet| code << 8 | u32::from(octet)));
    let before = peer.replace_goaway(GoAway::new(last, reason, frame.payload.get(8..).unwrap_or_default()));
    events.push(Event::GoAway { last, reason });
    // That takes a look at each stream, so it is not for a server's peer to ask for: none of the streams there is the server's.
    if before.as_ref().is_none_or(|before| last < before.last) && streams.numbers().are_ours_above(last) {
        drop_streams_above(last, reason, streams, events);
    }
    // One more follows where the first let everything in; a peer has no reason for many.
    if before.is_some() { Ok(Effect::Nothing) } else { Ok(Effect::Taken) }
}

/// The peer did nothing for these streams of ours (RFC 9113 §6.8). One that it has answered is no such stream, whatever it says, and
/// goes by the connection's error.
fn drop_streams_above(last: u32, error: Reason, streams: &mut Streams, events: &mut Events) {
    let is_above = |id: &StreamId| id.value() > last && streams.numbers().is_ours(id.value());
    let above: Vec<_> = streams.ids().filter(is_above).collect();
    for id in above {
        let state = streams.slot(id.slot).state();
        if !state.is_closed() {
            let is_answered = state.recv() != Side::Head && error != Reason::NO_ERROR;
            let reason = if is_answered { error } else { Reason::REFUSED_STREAM };
            streams.close(id.slot, Ending::ResetByPeer);
            events.push(Event::Reset { id, reason, remote: true, violation: None });
        }
    }
}
